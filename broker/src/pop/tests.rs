//! What a start makes of the journal and of the offsets that were written before the end. The end is a kill: the
//! journal is whole, the offsets are those of the last flush.

use std::time::Duration;

use tempfile::TempDir;
use thrustmq_proto_compat::body::TopicConfig;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_remoting::{Client, ClientOptions};
use thrustmq_store::{ArrivalListener, FlushMode, NewMessage, StoreOptions};

use super::leases::Read;
use super::queue_state::Handle;
use super::revive::Revival;
use super::table::{Begin, QueueKey};
use super::*;
use crate::config::LiveConfig;
use crate::group::GroupTable;
use crate::metadata_writer::MetadataWriter;
use crate::namesrv_link::NamesrvLink;
use crate::offset::{GroupQueue, OffsetTable, Popped};
use crate::stats::BrokerStats;
use crate::topic::TopicTable;

const TOPIC: &str = "T";
const GROUP: &str = "g";
const QUEUE: GroupQueue<'_> = GroupQueue {
    group: GROUP,
    topic: TOPIC,
    queue_id: 0,
};
const MESSAGES: i64 = 10;

struct NoListener;

impl ArrivalListener for NoListener {
    fn arrived(&self, _: &Arrival<'_>) {}
}

/// A broker's part that pops, and what it works with.
struct World {
    dir: TempDir,
    store: Arc<Store>,
    clock: Clock,
    config: BrokerConfig,
    offsets: OffsetTable,
    pop: Pop,
}

impl World {
    /// A queue with messages.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(1_700_000_000_000);
        let options = StoreOptions {
            root: dir.path().to_owned(),
            commit_log_file_bytes: 1 << 20,
            index_enabled: false,
            flush: FlushMode::Async { interval_ms: 1 },
            ..StoreOptions::default()
        };
        let store = Store::open(options, clock.clone(), Arc::new(NoListener)).unwrap();
        let (store, config) = (Arc::new(store), BrokerConfig::default());
        let world = Self {
            offsets: OffsetTable::open(dir.path(), &config, clock.clone()).unwrap(),
            pop: open(&config, &store, &clock),
            dir,
            store,
            clock,
            config,
        };
        for number in 0..MESSAGES {
            world.send(number);
        }
        world.dispatch();
        world
    }

    fn send(&self, number: i64) {
        let mut text = String::new();
        properties::push(&mut text, name::UNIQUE_KEY, &format!("m{number}"));
        self.store
            .append(&NewMessage {
                topic: TOPIC,
                queue_id: 0,
                flag: 0,
                sys_flag: 0,
                born_timestamp: 1,
                born_host: HOST.parse().unwrap(),
                store_host: HOST.parse().unwrap(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: b"m",
                properties: &text,
            })
            .unwrap();
    }

    fn dispatch(&self) {
        while self.store.watermarks().dispatched < self.store.watermarks().written {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A pop up to an offset, at another time than those before.
    fn pop(&self, end: i64) -> Vec<Handle> {
        self.clock.advance_ms(1);
        let (handles, _) = self.pop_while(end, || {});
        handles
    }

    /// Something happens after its messages were read.
    fn pop_while(&self, end: i64, meanwhile: impl FnOnce()) -> (Vec<Handle>, Popped) {
        let pop_time_ms = self.clock.now_ms();
        let start = self.offsets.query(QUEUE).unwrap_or(0);
        let begin = Begin {
            start_offset: start,
            pop_time_ms,
            leases_max: 100,
        };
        let popping = self.pop.begin(&key(), begin).unwrap();
        self.offsets.take_reset(QUEUE);
        let offsets: Vec<i64> = (start..end).collect();
        meanwhile();
        let read = Read {
            start_offset: start,
            pop_time_ms,
            invisible_ms: 60_000,
            offsets: &offsets,
            is_again: false,
        };
        self.pop.lease(&popping, &read).unwrap();
        let popped = self.offsets.commit_popped(QUEUE, end, "test");
        if let Popped::Reset(offset) = popped {
            self.pop.note_reset(&key(), offset, &self.offsets);
        }
        let handle = |offset: &i64| Handle {
            offset: *offset,
            pop_time_ms,
        };
        (offsets.iter().map(handle).collect(), popped)
    }

    fn acknowledge(&self, handles: &[Handle]) {
        let handles = handles.iter().copied();
        self.pop.acknowledge(&key(), handles).unwrap();
    }

    /// As `processor/admin/reset.rs` does it.
    fn reset(&self, offset: i64) {
        self.offsets.assign_reset(QUEUE, offset);
        self.pop.note_reset(&key(), offset, &self.offsets);
        self.offsets.flush();
    }

    fn kill(&mut self) {
        self.dispatch();
        let (dir, clock) = (self.dir.path(), self.clock.clone());
        self.offsets = OffsetTable::open(dir, &self.config, clock).unwrap();
        self.pop = open(&self.config, &self.store, &self.clock);
        self.pop.replay(&self.offsets);
    }

    /// What `pop-revive` does with leases that ran out.
    fn revive(&self) {
        let live = LiveConfig::new(self.config.clone(), None, self.clock.clone());
        let (dir, clock) = (self.dir.path(), &self.clock);
        let writer = MetadataWriter::new();
        let topics = TopicTable::open(dir, live.clone(), clock.clone(), &writer).unwrap();
        topics.create_if_absent(TopicConfig {
            topic_name: TOPIC.to_owned(),
            ..TopicConfig::default()
        });
        let groups = GroupTable::open(dir, live.clone(), clock.clone(), &writer).unwrap();
        groups.find(GROUP).unwrap();
        let stats = Arc::new(BrokerStats::new("c", false, clock.clone()));
        // A client wants one, though it is never used.
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let client = Client::new(ClientOptions::default(), None, None, clock.clone());
        let revival = Revival {
            pop: &self.pop,
            store: &self.store,
            topics: &topics,
            groups: &groups,
            offsets: &self.offsets,
            stats: &stats,
            namesrv: &NamesrvLink::new(None, client),
            config: &live,
            clock,
        };
        assert!(revival.revive_once());
        self.dispatch();
    }

    fn goes_on_at(&self) -> Option<i64> {
        self.offsets.query(QUEUE)
    }

    fn journal_records(&self) -> i64 {
        self.dispatch();
        let journal = &self.pop.journal;
        journal.end(journal.queue_of(GROUP, TOPIC))
    }
}

const HOST: &str = "10.0.0.2:10911";

fn open(config: &BrokerConfig, store: &Arc<Store>, clock: &Clock) -> Pop {
    let host = HOST.parse().unwrap();
    Pop::new(config, Arc::clone(store), host, clock.clone())
}

fn key() -> Arc<QueueKey> {
    Arc::new(QueueKey {
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        queue_id: 0,
    })
}

#[test]
fn leases_and_how_far_the_group_is_survive_a_kill() {
    let mut world = World::new();
    let first = world.pop(3);
    world.acknowledge(&first[..2]);
    world.pop(5);
    world.kill();
    assert_eq!(world.goes_on_at(), Some(5));
    assert_eq!(world.pop.table.lease_total(), 3);
    world.acknowledge(&first);
    assert_eq!(world.pop.table.lease_total(), 2);
}

#[test]
fn a_reset_behind_messages_that_are_all_acknowledged_survives_a_kill() {
    let mut world = World::new();
    let all = world.pop(3);
    world.acknowledge(&all);
    world.reset(1);
    world.kill();
    assert_eq!(world.goes_on_at(), Some(1));
    // What the group pops then counts again.
    world.pop(4);
    world.kill();
    assert_eq!(world.goes_on_at(), Some(4));
}

#[test]
fn a_reset_survives_though_the_journal_is_not_in_its_queue_yet() {
    for _ in 0..20 {
        let mut world = World::new();
        let all = world.pop(3);
        world.acknowledge(&all);
        // No wait for dispatch.
        world.reset(1);
        world.kill();
        assert_eq!(world.goes_on_at(), Some(1));
    }
}

#[test]
fn a_pop_that_was_under_way_does_not_undo_a_reset() {
    let mut world = World::new();
    world.pop(3);
    let (_, popped) = world.pop_while(6, || world.reset(1));
    assert_eq!(popped, Popped::Reset(1));
    assert_eq!(world.goes_on_at(), Some(1));
    world.offsets.flush();
    world.kill();
    assert_eq!(world.goes_on_at(), Some(1));
    assert_eq!(world.pop.table.lease_total(), 6);
}

#[test]
fn a_group_that_never_popped_is_reset_without_a_record() {
    let mut world = World::new();
    world.reset(2);
    assert_eq!(world.journal_records(), 0);
    world.kill();
    assert_eq!(world.goes_on_at(), Some(2));
}

#[test]
fn a_changed_lease_survives_a_kill_under_its_new_handle_only() {
    let mut world = World::new();
    let handles = world.pop(1);
    let changed = world.pop.change(&key(), handles[0], 60_000).unwrap();
    let renewed = Handle {
        pop_time_ms: changed.unwrap().pop_time_ms,
        ..handles[0]
    };
    world.kill();
    world.acknowledge(&handles);
    assert_eq!(world.pop.table.lease_total(), 1);
    world.acknowledge(&[renewed]);
    assert_eq!(world.pop.table.lease_total(), 0);
    world.kill();
    assert_eq!(world.pop.table.lease_total(), 0);
}

#[test]
fn a_lease_that_is_written_again_says_nothing_of_how_far_the_group_is() {
    let mut world = World::new();
    world.pop(3);
    world.reset(0);
    world.dispatch();
    let journal_queue = world.pop.journal.queue_of(GROUP, TOPIC);
    let end = world.pop.journal.end(journal_queue);
    let oldest = world.pop.table.oldest_needed(journal_queue, end);
    assert!(world.pop.write_again(journal_queue, oldest));
    world.kill();
    assert_eq!(world.goes_on_at(), Some(0));
    assert_eq!(world.pop.table.lease_total(), 3);
}

#[test]
fn a_message_that_was_given_again_before_a_kill_is_not_given_once_more() {
    let mut world = World::new();
    world.pop(1);
    let journal_queue = world.pop.journal.queue_of(GROUP, TOPIC);
    world.clock.advance_ms(60_000);
    let known = world.journal_records();
    world.revive();
    let retry = format!("%RETRY%{GROUP}_{TOPIC}");
    assert_eq!(world.store.queue_range(&retry, 0).max, 1);
    let record = world.store.record_of(&retry, 0, 0).unwrap().unwrap();
    let view = record::check(&record, CheckBody::Skip).unwrap();
    assert_eq!((view.body, view.reconsume_times), (&b"m"[..], 1));
    // Killed before the journal was told.
    world.pop = open(&world.config, &world.store, &world.clock);
    for offset in 0..known {
        world.pop.apply_late(journal_queue, offset);
    }
    assert_eq!(world.pop.table.lease_total(), 1);
    // An acknowledgement may be in the timer, if Java's broker had the directory.
    world.revive();
    assert_eq!(world.pop.table.lease_total(), 1);
    world.clock.advance_ms(3_000);
    world.revive();
    assert_eq!(world.store.queue_range(&retry, 0).max, 1);
    assert_eq!(world.pop.table.lease_total(), 0);
}
