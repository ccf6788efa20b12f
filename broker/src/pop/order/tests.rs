//! One queue under random schedules against a model; `SEED` repeats a run.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

const QUEUE: GroupQueue<'_> = GroupQueue {
    group: "g",
    topic: "t",
    queue_id: 0,
};

fn open(dir: &Path, clock: &Clock) -> OrderTable {
    OrderTable::open(dir, clock.clone()).unwrap()
}

fn grant<'a>(attempt_id: Option<&'a str>, pop_ms: i64, offsets: &'a [i64]) -> Grant<'a> {
    Grant {
        attempt_id,
        pop_ms,
        invisible_ms: 1_000,
        offsets,
    }
}

impl Consumed {
    fn list(&self, topic: &str, queue_id: i32) -> String {
        let mut list = String::new();
        crate::pop::info::push_order_counts(&mut list, topic, queue_id, self);
        list
    }
}

/// Pops these offsets, which must be possible.
fn pop(table: &OrderTable, attempt_id: Option<&str>, pop_ms: i64, offsets: &[i64]) -> Consumed {
    let reading = table.begin(QUEUE).unwrap();
    assert_eq!(reading.start(attempt_id, || offsets[0]), Some(offsets[0]));
    reading.grant(grant(attempt_id, pop_ms, offsets))
}

#[test]
fn a_batch_blocks_until_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(0);
    let table = open(dir.path(), &clock);
    assert_eq!(
        pop(&table, Some("a"), 0, &[10, 11, 12]).list("T", 3),
        "0 3 0"
    );
    assert!(!table.is_free(QUEUE, Some("b"), 10));
    assert!(
        table.is_free(QUEUE, Some("a"), 10),
        "the attempt may be repeated"
    );
    assert!(table.is_free(QUEUE, None, 13), "all of it is committed");
    assert_eq!(table.ack(QUEUE, 11, 0, 10), Acked::Commit(10));
    assert_eq!(table.ack(QUEUE, 10, 0, 10), Acked::Commit(12));
    assert_eq!(table.ack(QUEUE, 12, 7, 12), Acked::Stale);
    assert_eq!(table.ack(QUEUE, 13, 0, 12), Acked::NotInBatch);
    assert!(!table.is_free(QUEUE, None, 12));
    assert_eq!(table.ack(QUEUE, 12, 0, 12), Acked::Commit(13));
    let reading = table.begin(QUEUE).unwrap();
    assert_eq!(
        reading.start(None, || 12),
        Some(13),
        "it is not committed yet"
    );
    drop(reading);
    table.settle(QUEUE);
    assert!(table.is_free(QUEUE, None, 13));
    assert!(table.changes().unwrap().table.is_empty());
}

#[test]
fn messages_that_are_visible_again_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(0);
    let table = open(dir.path(), &clock);
    pop(&table, Some("a"), 0, &[10, 11]);
    table.ack(QUEUE, 10, 0, 10);
    table.change_visible(QUEUE, 11, 0, 5_000);
    clock.advance_ms(4_999);
    assert!(!table.is_free(QUEUE, None, 11), "a client wanted more time");
    clock.advance_ms(1);
    let again = pop(&table, Some("b"), 5_000, &[11, 12]);
    assert_eq!(again.list("T", 3), "0 qo3%11 1;0 3 0");
    let repeated = pop(&table, Some("b"), 5_001, &[11, 12]);
    assert_eq!(repeated, again, "nobody has seen the first answer");
    clock.advance_ms(1_002);
    let third = pop(&table, Some("c"), 6_002, &[11, 12]);
    assert_eq!(third.list("%RETRY%g_T", 3), "1 qo3%11 2;1 qo3%12 1;1 3 1");
    table.clear(QUEUE);
    assert!(table.is_free(QUEUE, None, 0));
}

#[test]
fn a_queue_is_read_by_one_pop_at_a_time_and_others_are_woken() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(0);
    let table = open(dir.path(), &clock);
    let reading = table.begin(QUEUE).unwrap();
    assert!(table.begin(QUEUE).is_none());
    reading.grant(grant(Some("a"), 0, &[1]));
    table.stop();
    let freed = |for_all| Freed {
        queue: QUEUE.into(),
        for_all,
    };
    assert_eq!(
        table.take_free(),
        [freed(true)],
        "the repeated attempt is woken"
    );
    assert_eq!(table.begin(QUEUE).unwrap().start(Some("a"), || 1), Some(1));
    assert!(table.take_free().is_empty());
    clock.advance_ms(1_000);
    assert_eq!(
        table.take_free(),
        [freed(false)],
        "the message is visible again"
    );
    assert!(table.take_free().is_empty());
    table.ack(QUEUE, 1, 0, 1);
    table.settle(QUEUE);
    assert_eq!(table.take_free(), [freed(false)]);
    assert!(
        table.lock().queues.is_empty(),
        "nothing is left to remember"
    );
}

#[test]
fn batches_survive_in_the_file_of_java() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(0);
    let table = open(dir.path(), &clock);
    pop(&table, Some("a"), 9, &[100, 101, 103]);
    table.ack(QUEUE, 101, 9, 100);
    table.change_visible(QUEUE, 100, 9, 70_000);
    table.store(table.changes().unwrap());
    assert!(table.changes().is_none());
    let text = std::fs::read_to_string(dir.path().join("config/consumerOrderInfo.json")).unwrap();
    assert_eq!(
        text,
        r#"{"table":{"t@g":{0:{"a":"a","cm":2,"i":1000,"l":0,"o":[100,1,3],"ot":{100:70000},"popTime":9}}}}"#
    );
    let table = open(dir.path(), &clock);
    clock.advance_ms(60_000);
    assert!(!table.is_free(QUEUE, None, 100));
    assert!(
        table.is_free(QUEUE, None, 104),
        "what lies before the committed offset is done"
    );
    assert_eq!(table.ack(QUEUE, 100, 9, 100), Acked::Commit(103));
    table.clean(|_| true);
    assert!(!table.changes().unwrap().table.is_empty());
    table.clean(|_| false);
    assert!(table.changes().unwrap().table.is_empty());
}

#[test]
fn an_unknown_batch_skips_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let table = open(dir.path(), &Clock::by_hand(0));
    assert_eq!(table.ack(QUEUE, 12, 5, 10), Acked::Stale);
    assert_eq!(table.ack(QUEUE, 10, 5, 10), Acked::Commit(11));
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).unsigned_abs()).cast_signed()
    }

    fn one_of(&mut self, offsets: &BTreeMap<i64, i64>) -> i64 {
        let place = self.below(offsets.len() as u64);
        *offsets.keys().nth(place as usize).unwrap()
    }
}

/// What clients and disk would see.
struct World {
    clock: Clock,
    dir: tempfile::TempDir,
    table: OrderTable,
    committed: i64,
    /// Committed offset of the file.
    committed_on_disk: i64,
    /// Every message that was acknowledged by the pop that it was last given by.
    done: BTreeSet<i64>,
    /// The batch that clients have: attempt, pop time, and when each message is visible again.
    batch: Option<(String, i64, BTreeMap<i64, i64>)>,
    /// Since a kill the broker may have forgotten the batch.
    was_killed: bool,
    attempts: u32,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(1);
        Self {
            table: open(dir.path(), &clock),
            dir,
            clock,
            committed: 0,
            committed_on_disk: 0,
            done: BTreeSet::new(),
            batch: None,
            was_killed: false,
            attempts: 0,
        }
    }

    fn pop(&mut self, random: &mut Random) {
        // By two, so that no pop is a millisecond before another: a killed broker may remember the
        // one before, and rightly count an acknowledgement of it.
        self.clock.advance_ms(2);
        let is_repeated = self.batch.is_some() && random.below(4) == 0;
        if !is_repeated {
            self.attempts += 1;
        }
        let attempt = match &self.batch {
            Some((attempt, ..)) if is_repeated => attempt.clone(),
            _ => format!("attempt-{}", self.attempts),
        };
        let now_ms = self.clock.now_ms();
        let open = self.batch.iter().flat_map(|(_, _, visible)| visible);
        let mut open =
            open.filter(|(offset, _)| !self.done.contains(offset) && **offset >= self.committed);
        let must_block = !is_repeated && open.any(|(_, visible_ms)| *visible_ms > now_ms);
        let reading = self.table.begin(QUEUE).unwrap();
        let start = reading.start(Some(&attempt), || self.committed);
        if !self.was_killed {
            assert_eq!(start.is_none(), must_block, "attempt {attempt} at {now_ms}");
        }
        let Some(start) = start else { return };
        assert_eq!(start, self.committed, "what is not done comes first");
        let offsets: Vec<i64> = (start..).take(1 + random.below(4) as usize).collect();
        let invisible_ms = random.between(1, 50);
        reading.grant(Grant {
            attempt_id: Some(&attempt),
            pop_ms: now_ms,
            invisible_ms,
            offsets: &offsets,
        });
        self.was_killed = false;
        let visible = offsets
            .iter()
            .map(|offset| (*offset, now_ms + invisible_ms));
        self.done.retain(|offset| *offset < self.committed);
        self.batch = Some((attempt, now_ms, visible.collect()));
    }

    fn ack(&mut self, random: &mut Random) {
        let Some((_, pop_ms, visible)) = &self.batch else {
            return;
        };
        let offset = random.one_of(visible);
        let is_stale = random.below(8) == 0;
        let pop_ms = if is_stale { pop_ms - 1 } else { *pop_ms };
        match self.table.ack(QUEUE, offset, pop_ms, self.committed) {
            Acked::Commit(next) => {
                self.done.insert(offset);
                assert!(
                    (self.committed..next).all(|offset| self.done.contains(&offset)),
                    "{next} skips messages that nobody is done with"
                );
                self.committed = self.committed.max(next);
                self.table.settle(QUEUE);
            }
            Acked::Stale => assert!(
                is_stale
                    || self.was_killed
                    || offset < self.committed
                    || self.done.contains(&offset)
            ),
            Acked::NotInBatch => assert!(self.was_killed),
        }
    }

    fn change(&mut self, random: &mut Random) {
        let now_ms = self.clock.now_ms();
        let Some((_, pop_ms, visible)) = &mut self.batch else {
            return;
        };
        let offset = random.one_of(visible);
        let visible_ms = now_ms + random.between(0, 80);
        self.table
            .change_visible(QUEUE, offset, *pop_ms, visible_ms);
        visible.insert(offset, visible_ms);
    }

    /// As the broker writes its files: first the snapshot is taken, then the offsets are written.
    fn persist(&mut self) {
        let changes = self.table.changes();
        self.committed_on_disk = self.committed;
        if let Some(changes) = changes {
            self.table.store(changes);
        }
    }

    /// Whatever happened before: once all is visible again, a pop is served, and its batch ends.
    fn finish_a_batch(&mut self, random: &mut Random) {
        self.clock.advance_ms(1_000);
        let before = self.committed;
        self.pop(random);
        let (_, pop_ms, visible) = self.batch.clone().expect("the pop is served");
        let end = visible.last_key_value().unwrap().0 + 1;
        for offset in visible.into_keys() {
            let acked = self.table.ack(QUEUE, offset, pop_ms, before);
            assert_eq!(acked, Acked::Commit(offset + 1));
        }
        self.table.settle(QUEUE);
        assert!(end > before && self.table.is_free(QUEUE, None, end));
    }

    fn kill(&mut self) {
        self.table = open(self.dir.path(), &self.clock);
        self.committed = self.committed_on_disk;
        self.was_killed = true;
    }
}

#[test]
fn no_schedule_skips_a_message_or_gives_it_to_two() {
    let given = std::env::var("SEED").map(|seed| seed.parse().unwrap());
    let seed: u64 = given.unwrap_or_else(|_| Clock::system().now_ms().unsigned_abs());
    println!("SEED={seed}");
    for round in 0..12 {
        let mut random = Random(seed.wrapping_add(round).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut world = World::new();
        for _ in 0..500 {
            match random.below(100) {
                0..30 => world.pop(&mut random),
                30..70 => world.ack(&mut random),
                70..78 => world.change(&mut random),
                78..92 => world.clock.advance_ms(random.between(1, 40)),
                92..98 => world.persist(),
                _ => world.kill(),
            }
        }
        world.finish_a_batch(&mut random);
    }
}
