//! Processes that are killed, at any operation, and after some of them the power fails: what one of
//! them left in the system's memory, names as well as bytes, the next takes for granted, though it is
//! not on the disk.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests

mod support;

use std::path::Path;
use std::sync::Arc;

use support::durable::{Change, DurableDisk, Fate};
use support::ledger::Ledger;
use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{AppendError, Disk, FlushMode, FlushOutcome, OpenError, Store, StoreOptions};

const LIVES: usize = 12;
/// So many processes at most between two power cuts.
const KILLED_MAX: u64 = 3;

fn try_open(root: &Path, disk: Disk, random: &mut Random) -> Result<Store, OpenError> {
    let options = StoreOptions {
        flush: [FlushMode::Async { interval_ms: 1 }, FlushMode::Sync][random.below(2) as usize],
        consume_queue_flush_interval_ms: 1 + random.below(5),
        disk,
        ..options(root)
    };
    let arrivals = Arc::new(Arrivals::default());
    Store::open(options, Clock::by_hand(START_MS), arrivals)
}

/// A test that fails must not wait for flushes that are held.
struct Release<'a>(&'a DurableDisk);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.hold_flushes(false);
        }
    }
}

/// Appends, flushes, deletes, waits for a checkpoint.
fn work(store: &Store, disk: &DurableDisk, ledger: &mut Ledger, random: &mut Random) {
    let mut is_held = false;
    let _release = Release(disk);
    for _ in 0..random.below(40) {
        let topic = ["a", "b", "c"][random.below(3) as usize];
        match random.below(14) {
            0 if !is_held => assert_eq!(ledger.flush(store), FlushOutcome::Flushed),
            0 | 1 => {
                is_held = !is_held;
                if random.below(2) == 0 {
                    disk.hold_flushes(is_held);
                } else {
                    disk.hold_log_flushes(is_held);
                }
            }
            2 => ledger.append_batch(store, topic, 3).unwrap(),
            3 if random.below(4) == 0 => ledger.delete_topic(store, topic),
            3 | 4 => {
                if !is_held {
                    wait_dispatched(store);
                }
                std::thread::sleep(std::time::Duration::from_millis(random.below(8)));
            }
            _ => ledger.append(store, topic, random.below(3) as i32).unwrap(),
        }
    }
}

/// Appends until the process is dead, or a few times; what fails was not appended.
fn work_until_dead(store: &Store, disk: &DurableDisk, ledger: &mut Ledger, random: &mut Random) {
    disk.cut_power_after(random.below(25) as u32);
    for _ in 0..random.below(20) {
        let topic = ["a", "b", "c", "d"][random.below(4) as usize];
        let appended = ledger.append(store, topic, random.below(2) as i32);
        match appended {
            Ok(()) => {}
            Err(AppendError::NotWritable(_)) => break,
            Err(other) => println!("{other}"),
        }
        if random.below(4) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(random.below(4)));
        }
    }
}

/// One process, from its start to its being killed.
fn life(disk: &Arc<DurableDisk>, root: &Path, ledger: &mut Ledger, random: &mut Random) {
    let dies_young = random.below(3) == 0;
    if dies_young {
        disk.cut_power_after(random.below(60) as u32);
    }
    let opened = try_open(root, disk.disk(), random);
    match opened {
        Ok(store) => {
            if !dies_young {
                *ledger = ledger.check(&store);
                work(&store, disk, ledger, random);
                work_until_dead(&store, disk, ledger, random);
            }
            disk.kill(store);
        }
        Err(error) => {
            assert!(dies_young, "{error}");
            disk.revive();
        }
    }
}

/// The last process before the power fails.
fn last_life(
    disk: &Arc<DurableDisk>,
    root: &Path,
    ledger: &mut Ledger,
    random: &mut Random,
) -> Store {
    let store = try_open(root, disk.disk(), random).unwrap();
    *ledger = ledger.check(&store);
    work(&store, disk, ledger, random);
    store
}

fn any(random: &mut Random) -> Fate {
    match random.below(5) {
        0 | 1 => Fate::Lost,
        2 | 3 => Fate::Done,
        _ => Fate::Begun(random.below(4096) as usize),
    }
}

/// Everything, nothing, only bytes, or anything of what was not flushed reached the disk.
fn fates(random: &mut Random) -> impl FnMut(&Change) -> Fate {
    let kind = random.below(5);
    move |change| match (kind, change) {
        (0, _) | (1, Change::Name(_)) => Fate::Lost,
        (1, _) => Fate::Done,
        (2, Change::Name(_) | Change::Length(_)) => Fate::Done,
        (2, _) => any(random),
        _ => any(random),
    }
}

fn lives(seed: u64) {
    let mut random = Random::of(seed);
    let mut image = Image::empty();
    let mut ledger = Ledger::default();
    for number in 0..LIVES {
        println!("seed {seed}, life {number}");
        let disk = DurableDisk::new(image.path());
        for _ in 0..random.below(KILLED_MAX + 1) {
            life(&disk, image.path(), &mut ledger, &mut random);
        }
        let store = last_life(&disk, image.path(), &mut ledger, &mut random);
        let cut = disk.cut_power([512, 4096][random.below(2) as usize]);
        drop(store);
        for _ in 0..3 {
            let image = cut.image(fates(&mut random));
            let disk = DurableDisk::new(image.path());
            let store = try_open(image.path(), disk.disk(), &mut random).unwrap();
            ledger.check(&store);
        }
        image = cut.image(fates(&mut random));
    }
}

/// Waits until the checkpoint on the disk names this end for what is derived, and so many queues.
fn wait_checkpoint(disk: &DurableDisk, derived: i64, queues: i64) {
    let number_at = |bytes: &[u8], at: usize| {
        let number = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
        number.map(|bytes| i64::from_be_bytes(*bytes))
    };
    wait_until("in the checkpoint", || {
        let bytes = disk.durable("checkpoint");
        let (derived_at, queues_at) = (2048 + 60, 2048 + 84);
        number_at(&bytes, derived_at) == Some(derived)
            && number_at(&bytes, queues_at) == Some(queues)
    });
}

fn opened(root: &Path, disk: &Arc<DurableDisk>, clock: &Clock) -> Store {
    let options = StoreOptions {
        disk: disk.disk(),
        ..options(root)
    };
    open_at(options, clock)
}

#[test]
fn names_of_a_killed_process_become_durable() {
    let image = Image::empty();
    let disk = DurableDisk::new(image.path());
    let clock = Clock::by_hand(START_MS);
    let mut ledger = Ledger::default();
    let store = opened(image.path(), &disk, &clock);
    disk.hold_flushes(true);
    for topic in ["a", "b"] {
        ledger.append(&store, topic, 0).unwrap();
    }
    wait_dispatched(&store);
    disk.kill(store);
    let store = opened(image.path(), &disk, &clock);
    // With it the number of queues does not tell that one is missing.
    ledger.delete_topic(&store, "b");
    wait_checkpoint(&disk, store.watermarks().written, 1);
    let cut = disk.cut_power(512);
    drop(store);
    let image = cut.image(|_| Fate::Lost);
    let store = opened(image.path(), &DurableDisk::new(image.path()), &clock);
    let found = ledger.check(&store);
    assert_eq!(bodies(&store, "a", 0).len(), 1);
    found.check(&store);
}

#[test]
fn the_index_is_not_vouched_for_beyond_the_end_that_a_power_cut_left() {
    let image = Image::empty();
    let disk = DurableDisk::new(image.path());
    let clock = Clock::by_hand(START_MS);
    let mut ledger = Ledger::default();
    let store = opened(image.path(), &disk, &clock);
    ledger.append(&store, "a", 0).unwrap();
    assert_eq!(ledger.flush(&store), FlushOutcome::Flushed);
    wait_checkpoint(&disk, store.watermarks().written, 1);
    disk.hold_log_flushes(true);
    for _ in 0..8 {
        ledger.append(&store, "a", 0).unwrap();
    }
    // Time for the slots as well, which name places that the log on the disk does not have.
    wait_dispatched(&store);
    clock.advance_ms(100_000);
    wait_checkpoint(&disk, store.watermarks().written, 1);
    let cut = disk.cut_power(512);
    drop(store);
    let image = cut.image(|_| Fate::Lost);
    let disk = DurableDisk::new(image.path());
    let store = opened(image.path(), &disk, &clock);
    let mut ledger = ledger.check(&store);
    assert_eq!(bodies(&store, "a", 0).len(), 1);
    for _ in 0..4 {
        ledger.append(&store, "a", 0).unwrap();
        assert_eq!(ledger.flush(&store), FlushOutcome::Flushed);
        wait_dispatched(&store);
        wait_checkpoint(&disk, store.watermarks().written, 1);
    }
    let cut = disk.cut_power(512);
    drop(store);
    let image = cut.image(|_| Fate::Lost);
    let store = opened(image.path(), &DurableDisk::new(image.path()), &clock);
    ledger.check(&store);
    assert_eq!(bodies(&store, "a", 0).len(), 5);
}

/// A store with two index files, of which the checkpoint vouches for all but the last message.
fn filled(image: &Image, clock: &Clock) -> Ledger {
    let disk = DurableDisk::new(image.path());
    let mut ledger = Ledger::default();
    let store = opened(image.path(), &disk, clock);
    for number in 0..120 {
        ledger.append(&store, ["a", "b"][number % 2], 0).unwrap();
    }
    assert_eq!(ledger.flush(&store), FlushOutcome::Flushed);
    wait_dispatched(&store);
    wait_checkpoint(&disk, store.watermarks().written, 2);
    ledger.append(&store, "a", 0).unwrap();
    wait_dispatched(&store);
    disk.kill(store);
    ledger
}

/// A file or directory of the store, by its place among its neighbours.
fn nth(dir: &Path, number: usize) -> std::path::PathBuf {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.swap_remove(number)
}

/// What is damaged in it is built again, though the start is killed at any operation.
fn is_built_again(damage: impl Fn(&Path)) {
    let clock = Clock::by_hand(START_MS);
    let sound = Image::empty();
    let ledger = filled(&sound, &clock);
    damage(sound.path());
    for operations in 0.. {
        let image = Image::of(sound.path());
        let disk = DurableDisk::new(image.path());
        disk.cut_power_after(operations);
        let killed = try_open(image.path(), disk.disk(), &mut Random::of(1));
        let is_open = killed.is_ok();
        match killed {
            Ok(store) => disk.kill(store),
            Err(_) => disk.revive(),
        }
        ledger.check(&opened(image.path(), &disk, &clock));
        if is_open {
            break;
        }
    }
}

#[test]
fn an_index_file_that_is_none_goes_when_nobody_vouches_for_the_index() {
    is_built_again(|root| std::fs::write(nth(&root.join("index"), 0), [0; 7]).unwrap());
}

#[test]
fn an_index_whose_header_and_entries_differ_is_built_again() {
    is_built_again(|root| {
        let path = nth(&root.join("index"), 1);
        let mut bytes = std::fs::read(&path).unwrap();
        // Where the first entry points; number 0 is never used.
        bytes[40 + 50 * 4 + 20 + 11] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    });
}

#[test]
fn a_queue_that_is_none_goes_when_nobody_vouches_for_the_queues() {
    is_built_again(|root| {
        let queue = root.join("consumequeue").join("b").join("0");
        std::fs::write(nth(&queue, 1), [0; 7]).unwrap();
        // With it the number of queues does not tell that one is missing.
        let other = root.join("consumequeue").join("c").join("0");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("00000000000000000000"), [0; 20 * 16]).unwrap();
    });
}

#[test]
fn a_power_cut_may_come_after_kills() {
    let runs = std::env::var("LIVES_RUNS").map_or(5, |runs| runs.parse().unwrap());
    let first = seed("a_power_cut_may_come_after_kills");
    for seed in first..first + runs {
        lives(seed);
    }
}
