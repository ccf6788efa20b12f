//! Power cuts: of what was not flushed any part may have reached the disk, bytes as well as names.
//!
//! Whatever part it was: what was acknowledged is there, nothing torn is served, no message is there
//! twice, no offset is skipped or used again, and a second start gives the same.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::durable::{Change, DurableDisk, Fate, PowerCut, SECTOR_BYTES};
use support::ledger::Ledger;
use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{Disk, FlushMode, FlushOutcome, Store, StoreOptions};

/// What is done with an image takes turns.
static ROUND: AtomicUsize = AtomicUsize::new(0);

const PAGE_BYTES: usize = 4096;
const ASYNC: FlushMode = FlushMode::Async { interval_ms: 5 };

fn opened(root: &Path, disk: Disk, flush: FlushMode) -> Store {
    let options = StoreOptions {
        flush,
        disk,
        ..options(root)
    };
    open_at(options, &Clock::by_hand(START_MS))
}

/// What is found in an image is what should be, stays so, and can be added to. Returns what was
/// found.
fn check_image(image: &Image, ledger: &Ledger) -> Ledger {
    let store = opened(image.path(), Disk::default(), ASYNC);
    let found = ledger.check(&store);
    if ROUND.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
        // Killed at once, and started again.
        let killed = Image::of(image.path());
        found.check(&opened(killed.path(), Disk::default(), ASYNC));
        return found;
    }
    let mut more = found.clone();
    more.append_everywhere(&store);
    more.check(&store);
    drop(store);
    more.check(&opened(image.path(), Disk::default(), ASYNC));
    found
}

/// A store on a disk that is watched, with messages that are all on the disk.
struct Prepared {
    dir: tempfile::TempDir,
    disk: Arc<DurableDisk>,
    store: Store,
    ledger: Ledger,
}

impl Prepared {
    fn new(messages: usize) -> Self {
        let dir = memory_dir();
        let disk = DurableDisk::new(dir.path());
        let store = opened(dir.path(), disk.disk(), ASYNC);
        let mut ledger = Ledger::default();
        for number in 0..messages {
            ledger.append(&store, "a", number as i32 % 2).unwrap();
        }
        assert_eq!(ledger.flush(&store), FlushOutcome::Flushed);
        wait_dispatched(&store);
        disk.hold_flushes(true);
        Self {
            dir,
            disk,
            store,
            ledger,
        }
    }

    fn cut_power(self, block_bytes: usize) -> (PowerCut, Ledger) {
        wait_dispatched(&self.store);
        let cut = self.disk.cut_power(block_bytes);
        drop(self.store);
        drop(self.dir);
        (cut, self.ledger)
    }
}

/// Any fate.
fn any(random: &mut Random) -> Fate {
    match random.below(5) {
        0 | 1 => Fate::Lost,
        2 | 3 => Fate::Done,
        _ => Fate::Begun(random.below(PAGE_BYTES as u64) as usize),
    }
}

/// Of the log the bytes before an offset are there, of everything else any part.
fn log_until(end: usize, random: &mut Random) -> impl FnMut(&Change) -> Fate {
    move |change| match change {
        Change::Block(path, block) if path.starts_with("commitlog") => {
            let name = path.file_name().unwrap().to_str().unwrap();
            let begin = name.parse::<usize>().unwrap() + block * SECTOR_BYTES;
            Fate::Begun(end.saturating_sub(begin))
        }
        Change::Block(..) | Change::Name(_) | Change::Length(_) => any(random),
    }
}

#[test]
fn the_log_may_end_at_every_byte() {
    let mut random = Random::seeded("the_log_may_end_at_every_byte");
    let mut prepared = Prepared::new(5);
    let begin = prepared.store.watermarks().flushed as usize;
    for queue_id in [0, 1] {
        let (ledger, store) = (&mut prepared.ledger, &prepared.store);
        ledger.append(store, "a", queue_id).unwrap();
    }
    let end = prepared.store.watermarks().written as usize;
    let (cut, ledger) = prepared.cut_power(SECTOR_BYTES);
    for end in begin..=end {
        check_image(&cut.image(log_until(end, &mut random)), &ledger);
    }
}

#[test]
fn the_log_may_end_at_every_record_and_in_every_filler() {
    let mut random = Random::seeded("the_log_may_end_at_every_record_and_in_every_filler");
    let mut prepared = Prepared::new(5);
    let mut ends = vec![prepared.store.watermarks().flushed as usize];
    for number in 0..60 {
        let (ledger, store) = (&mut prepared.ledger, &prepared.store);
        if number % 10 == 0 {
            ledger.append_batch(store, "a", 3).unwrap();
        } else {
            ledger.append(store, "a", number % 2).unwrap();
        }
        let end = store.watermarks().written as usize;
        ends.push(end);
        if end / LOG_FILE_BYTES as usize != ends[ends.len() - 2] / LOG_FILE_BYTES as usize {
            let filler = ends[ends.len() - 2];
            ends.extend(filler..filler + 9);
        }
    }
    let (cut, ledger) = prepared.cut_power(SECTOR_BYTES);
    for end in ends {
        check_image(&cut.image(log_until(end, &mut random)), &ledger);
    }
}

/// Every subset if there are few changes, random ones otherwise.
fn check_subsets(cut: &PowerCut, ledger: &Ledger, random: &mut Random) {
    let changes = cut.changes.len();
    println!("{changes} changes: {:?}", cut.changes);
    if changes <= 10 {
        for subset in 0..1_u32 << changes {
            let fate = |change: &Change| {
                let index = cut.changes.iter().position(|other| other == change);
                if subset >> index.unwrap() & 1 == 1 {
                    Fate::Done
                } else {
                    Fate::Lost
                }
            };
            check_image(&cut.image(fate), ledger);
        }
    } else {
        for _ in 0..100 {
            check_image(&cut.image(|_| any(random)), ledger);
        }
    }
}

#[test]
fn every_subset_of_changes_may_be_lost() {
    let mut random = Random::seeded("every_subset_of_changes_may_be_lost");
    // In the middle of a file, and where log and queues go on in their next file.
    for (messages, block_bytes) in [(3, PAGE_BYTES), (3, SECTOR_BYTES), (24, PAGE_BYTES)] {
        let mut prepared = Prepared::new(messages);
        let (ledger, store) = (&mut prepared.ledger, &prepared.store);
        ledger.append(store, "a", 0).unwrap();
        ledger.append(store, "a", 1).unwrap();
        let (cut, ledger) = prepared.cut_power(block_bytes);
        check_subsets(&cut, &ledger, &mut random);
    }
}

#[test]
fn a_page_lost_in_the_last_flushed_millisecond_is_no_damage() {
    let mut prepared = Prepared::new(20);
    prepared.disk.hold_flushes(false);
    wait_until("a time in the checkpoint", || {
        let bytes = prepared.disk.durable("checkpoint");
        bytes.iter().take(8).any(|byte| *byte != 0)
    });
    prepared.disk.hold_flushes(true);
    let flushed = prepared.store.watermarks().flushed as usize;
    while prepared.store.watermarks().written < (flushed as u64 + LOG_FILE_BYTES) as i64 {
        let (ledger, store) = (&mut prepared.ledger, &prepared.store);
        ledger.append(store, "a", 0).unwrap();
    }
    let (cut, ledger) = prepared.cut_power(SECTOR_BYTES);
    let next_file = (flushed as u64).next_multiple_of(LOG_FILE_BYTES) as usize;
    for end in [flushed, next_file - 600, next_file - 100] {
        // All of the next file is on the disk, of the one before not.
        let image = cut.image(|change| match change {
            Change::Block(path, block) if path.starts_with("commitlog") => {
                let name = path.file_name().unwrap().to_str().unwrap();
                let begin = name.parse::<usize>().unwrap() + block * SECTOR_BYTES;
                if begin >= next_file {
                    Fate::Done
                } else {
                    Fate::Begun(end.saturating_sub(begin))
                }
            }
            Change::Block(..) | Change::Name(_) | Change::Length(_) => Fate::Done,
        });
        // The checkpoint was torn: only its times are left.
        image.forget_offsets();
        check_image(&image, &ledger);
    }
}

/// Appends, flushes and pauses, as it comes.
fn work(store: &Store, disk: &DurableDisk, ledger: &mut Ledger, random: &mut Random) {
    let mut held = false;
    for _ in 0..random.below(50) {
        let topic = ["a", "b", "c"][random.below(3) as usize];
        match random.below(12) {
            0 if !held => assert_eq!(ledger.flush(store), FlushOutcome::Flushed),
            0 | 1 => {
                held = !held;
                disk.hold_flushes(held);
            }
            2 => ledger.append_batch(store, topic, 3).unwrap(),
            3 if random.below(4) == 0 => ledger.delete_topic(store, topic),
            3 => std::thread::sleep(std::time::Duration::from_millis(random.below(8))),
            _ => {
                let queue_id = random.below(3) as i32;
                ledger.append(store, topic, queue_id).unwrap();
            }
        }
    }
}

#[test]
fn any_life_may_end_at_any_time() {
    let mut random = Random::seeded("any_life_may_end_at_any_time");
    let mut image = Image::empty();
    let mut ledger = Ledger::default();
    for generation in 0..20 {
        let disk = DurableDisk::new(image.path());
        let flush = [ASYNC, FlushMode::Sync][random.below(2) as usize];
        let mut store = opened(image.path(), disk.disk(), flush);
        ledger = ledger.check(&store);
        work(&store, &disk, &mut ledger, &mut random);
        match random.below(4) {
            0 => {
                disk.hold_flushes(false);
                store.shutdown();
            }
            1 => {
                disk.kill(store);
                store = opened(image.path(), disk.disk(), flush);
                ledger = ledger.check(&store);
            }
            _ => {}
        }
        let block_bytes = [PAGE_BYTES, SECTOR_BYTES][random.below(2) as usize];
        let cut = disk.cut_power(block_bytes);
        drop(store);
        println!(
            "life {generation}: {flush:?}, {} changes",
            cut.changes.len()
        );
        for _ in 0..5 {
            check_image(&cut.image(|_| any(&mut random)), &ledger);
        }
        let next = cut.image(|_| any(&mut random));
        ledger = check_image(&Image::of(next.path()), &ledger);
        image = next;
    }
}

#[test]
fn recovery_itself_may_be_cut_short() {
    let mut random = Random::seeded("recovery_itself_may_be_cut_short");
    let mut prepared = Prepared::new(20);
    for number in 0..10 {
        let (ledger, store) = (&mut prepared.ledger, &prepared.store);
        ledger.append(store, "a", number % 3).unwrap();
    }
    let (cut, ledger) = prepared.cut_power(SECTOR_BYTES);
    let mut operations = 0;
    let mut is_dead = true;
    while is_dead {
        let image = cut.image(|_| any(&mut random));
        let disk = DurableDisk::new(image.path());
        disk.cut_power_after(operations);
        let options = StoreOptions {
            disk: disk.disk(),
            ..options(image.path())
        };
        let arrivals = Arc::new(Arrivals::default());
        let opened = Store::open(options, Clock::by_hand(START_MS), arrivals);
        is_dead = opened.is_err();
        let again = disk.cut_power(SECTOR_BYTES);
        drop(opened);
        check_image(&again.image(|_| any(&mut random)), &ledger);
        operations += 1;
    }
    println!("recovery takes {operations} operations");
}
