//! A disk that fails: whatever fails and whenever, the caller gets an error, and what was
//! acknowledged before is there when the disk is sound again.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use support::durable::{DurableDisk, Fate, Fault, SECTOR_BYTES};
use support::ledger::Ledger;
use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{
    Disk, DiskAction, FlushMode, FlushOutcome, NotWritable, OpenError, QueryRequest,
    RetentionOptions, Store, StoreOptions,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What is done, and to which part of the directory.
type Kind = (DiskAction, String);

const ASYNC: FlushMode = FlushMode::Async { interval_ms: 5 };

fn try_open(root: &Path, disk: Disk) -> Result<Store, OpenError> {
    try_open_as(FlushMode::Sync, root, disk)
}

fn try_open_as(flush: FlushMode, root: &Path, disk: Disk) -> Result<Store, OpenError> {
    let options = StoreOptions {
        flush,
        disk,
        retention: RetentionOptions {
            reserved_hours: 1,
            ..RetentionOptions::default()
        },
        ..options(root)
    };
    let clock = Clock::by_hand(START_MS);
    let open = || {
        Store::open(
            options.clone(),
            clock.clone(),
            Arc::new(Arrivals::default()),
        )
    };
    let mut opened = open();
    // Another test starts programs: until such a one has begun it shares the locks of this process,
    // those that were given back as well.
    for _ in 0..1_000 {
        if !matches!(opened, Err(OpenError::InUse { .. })) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        opened = open();
    }
    opened
}

/// Sends to two topics and waits for the disk each time, whatever it says. Returns the last answer.
fn send(store: &Store, ledger: &mut Ledger, count: usize) -> Option<FlushOutcome> {
    let mut outcome = None;
    for number in 0..count {
        let topic = ["a", "b"][number % 2];
        if ledger.append(store, topic, number as i32 % 3).is_ok() {
            let before = outcome.replace(ledger.flush(store));
            let recovered = before == Some(FlushOutcome::Failed) && outcome != before;
            assert!(!recovered, "acknowledged after a failed flush");
        }
    }
    let reason = store.not_writable();
    assert_ne!(reason, Some(NotWritable::ThreadDied));
    outcome
}

/// A directory after a crash, with several files of everything.
fn crashed() -> (Image, Ledger) {
    let dir = memory_dir();
    let disk = DurableDisk::new(dir.path());
    let store = try_open(dir.path(), disk.disk()).unwrap();
    let mut ledger = Ledger::default();
    assert_eq!(send(&store, &mut ledger, 40), Some(FlushOutcome::Flushed));
    let cut = disk.cut_power(SECTOR_BYTES);
    (cut.image(|_| Fate::Lost), ledger)
}

/// Everything that a store asks of the disk when it opens a directory, and when it is used.
fn kinds() -> (BTreeSet<Kind>, BTreeSet<Kind>) {
    let (image, mut ledger) = crashed();
    let disk = DurableDisk::new(image.path());
    let store = try_open(image.path(), disk.disk()).unwrap();
    let opening = disk.seen();
    let disk = DurableDisk::new(image.path());
    drop(store);
    let store = try_open(image.path(), disk.disk()).unwrap();
    send(&store, &mut ledger, 40);
    ledger.delete_topic(&store, "b");
    store.shutdown();
    (opening, disk.seen())
}

/// After a power cut that takes all that was not flushed, all that was acknowledged is there.
fn check_worst_case(disk: &DurableDisk, ledger: &Ledger) -> Ledger {
    let image = disk.cut_power(SECTOR_BYTES).image(|_| Fate::Lost);
    let store = try_open(image.path(), Disk::default()).unwrap();
    let mut survivors = ledger.check(&store);
    survivors.append_everywhere(&store);
    survivors.check(&store)
}

/// Whether a fault of the running store leaves the disk in doubt, even if the next try succeeds.
fn proves_nothing_after(fault: &Fault) -> bool {
    let of_checkpoint = [DiskAction::Sync, DiskAction::Write].contains(&fault.action);
    fault.action == DiskAction::FlushMap
        || (fault.action == DiskAction::SyncDirectory && fault.area == "consumequeue")
        || (of_checkpoint && fault.area == "checkpoint")
}

/// Uses a store while something fails, then on.
fn fail_while_running(flush: FlushMode, fault: &Fault) {
    let dir = memory_dir();
    let disk = DurableDisk::new(dir.path());
    let store = try_open_as(flush, dir.path(), disk.disk()).unwrap();
    let mut ledger = Ledger::default();
    send(&store, &mut ledger, 10);
    disk.fail(Some(fault.clone()));
    let during = send(&store, &mut ledger, 30);
    disk.fail(None);
    let flush_failed = during == Some(FlushOutcome::Failed);
    wait_until("writable, or refusing for good", || {
        match store.not_writable() {
            None => disk.failed() == 0 || !proves_nothing_after(fault),
            reason => reason == Some(NotWritable::FlushFailed),
        }
    });
    if store.not_writable().is_none() {
        assert!(!flush_failed, "writable after a failed flush");
        assert_eq!(send(&store, &mut ledger, 5), Some(FlushOutcome::Flushed));
    }
    drop(store);
    // The same machine goes on, with what it takes for written; then its power fails.
    let store = try_open(dir.path(), disk.disk()).unwrap();
    let mut ledger = ledger.check(&store);
    // Time for checkpoints, which vouch for what was derived.
    let pause = Duration::from_millis(10);
    std::thread::sleep(pause);
    assert_eq!(send(&store, &mut ledger, 5), Some(FlushOutcome::Flushed));
    std::thread::sleep(pause);
    check_worst_case(&disk, &ledger);
}

fn fail_while_opening(image: &Image, ledger: &Ledger, fault: &Fault) {
    let image = Image::of(image.path());
    let disk = DurableDisk::new(image.path());
    disk.fail(Some(fault.clone()));
    let opened = try_open(image.path(), disk.disk());
    disk.fail(None);
    if let Ok(store) = opened {
        ledger.check(&store);
    }
    check_worst_case(&disk, ledger);
}

/// One fault after the other, each at its first occasion and at a random one.
fn each_fault(kinds: &BTreeSet<Kind>, random: &mut Random, mut test: impl FnMut(&Fault)) {
    for (number, (action, area)) in kinds.iter().enumerate() {
        for skip in [0, random.below(20) as u32] {
            let fault = Fault {
                action: *action,
                area: area.clone(),
                skip,
                times: [1, 2, u32::MAX][random.below(3) as usize],
                os_error: [EIO, ENOSPC][number % 2],
            };
            println!("{fault:?}");
            test(&fault);
        }
    }
}

#[test]
fn whatever_fails_in_use_what_was_acknowledged_stays() {
    let mut random = Random::seeded("whatever_fails_in_use_what_was_acknowledged_stays");
    let (_, running) = kinds();
    for flush in [FlushMode::Sync, ASYNC] {
        each_fault(&running, &mut random, |fault| {
            fail_while_running(flush, fault);
        });
    }
}

#[test]
fn whatever_fails_when_opening_what_was_acknowledged_stays() {
    let mut random = Random::seeded("whatever_fails_when_opening_what_was_acknowledged_stays");
    let (opening, _) = kinds();
    let (image, ledger) = crashed();
    each_fault(&opening, &mut random, |fault| {
        fail_while_opening(&image, &ledger, fault);
    });
}

#[test]
fn a_file_that_cannot_be_removed_goes_the_next_time() {
    const HOUR_MS: i64 = 3_600_000;
    let dir = memory_dir();
    let disk = DurableDisk::new(dir.path());
    let clock = Clock::by_hand(START_MS);
    let options = StoreOptions {
        retention: RetentionOptions {
            reserved_hours: 1,
            ..RetentionOptions::default()
        },
        disk: disk.disk(),
        ..options(dir.path())
    };
    let store = open_at(options.clone(), &clock);
    for number in 0..60 {
        clock.advance_ms(HOUR_MS / 10);
        append(&store, "t", 0, &format!("{number}-{}", "x".repeat(300)));
    }
    wait_flushed(&store);
    wait_dispatched(&store);
    disk.fail(Some(Fault {
        action: DiskAction::Remove,
        area: "commitlog".to_owned(),
        skip: 1,
        times: 1,
        os_error: EIO,
    }));
    assert_eq!(store.delete_expired(), 0, "an error, logged");
    assert_eq!(disk.failed(), 1);
    let min = store.watermarks().min;
    assert!(min >= 2 * LOG_FILE_BYTES as i64);
    assert!(Image::of(dir.path()).log_files()[0].0 < min as u64);
    assert!(store.delete_expired() > 0);
    let min = store.watermarks().min;
    assert_eq!(Image::of(dir.path()).log_files()[0].0, min as u64);
    let expected = bodies(&store, "t", 0);
    drop(store);
    assert_eq!(bodies(&open_at(options, &clock), "t", 0), expected);
}

/// A file system of its own, so small that it is soon full.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Nothing if this process may not mount any.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "thrustmq-test"])
            .arg(dir.path())
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then_some(Self { dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file that takes all the room there is.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = fs::File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

/// A store on it, whose queues are much larger than the disk.
fn open_on(disk: &SmallDisk) -> Store {
    open(StoreOptions {
        consume_queue_file_bytes: 20 << 20,
        commit_log_file_bytes: 1 << 18,
        retention: RetentionOptions {
            disk_warning_percent: 100,
            ..RetentionOptions::default()
        },
        ..options(disk.path())
    })
}

#[test]
fn a_full_disk_is_an_error_until_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: a small file system can only be mounted by root");
        return;
    };
    let store = open_on(&disk);
    let mut ledger = Ledger::default();
    ledger.append(&store, "first", 0).unwrap();
    assert_eq!(ledger.flush(&store), FlushOutcome::Flushed);
    let filler = disk.fill();
    // Each new queue needs a block.
    let refused = (0..50).find_map(|number| {
        std::thread::sleep(Duration::from_millis(2));
        let topic = format!("topic-{number}");
        ledger.append(&store, &topic, 0).err()
    });
    // The queues may be behind.
    let refused = refused.or_else(|| {
        wait_until("refusing", || store.not_writable().is_some());
        ledger.append(&store, "late", 0).err()
    });
    let refused = refused.expect("a refusal").to_string();
    assert!(refused.contains("No space left on device"), "{refused}");
    fs::remove_file(filler).unwrap();
    wait_until("writable", || store.not_writable().is_none());
    ledger.append(&store, "first", 0).unwrap();
    assert_eq!(ledger.flush(&store), FlushOutcome::Flushed);
    ledger.check(&store);
    drop(store);
}

/// Reading a hole of a mapped file needs a block too on this file system, and kills the process where
/// there is none.
#[test]
fn a_disk_that_is_full_before_the_first_key_is_an_error_until_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: a small file system can only be mounted by root");
        return;
    };
    let store = open_on(&disk);
    store.append(&message("t", 0, b"no key", "")).unwrap();
    wait_dispatched(&store);
    let filler = disk.fill();
    append(&store, "t", 0, "key");
    wait_until("refusing", || store.not_writable().is_some());
    let index: Vec<_> = fs::read_dir(disk.path().join("index")).unwrap().collect();
    assert!(index.is_empty(), "{index:?}");
    fs::remove_file(filler).unwrap();
    wait_until("writable", || store.not_writable().is_none());
    wait_dispatched(&store);
    let found = store.query(&QueryRequest {
        topic: "t",
        key: "key",
        messages_max: 10,
        begin_ms: 0,
        end_ms: i64::MAX,
    });
    assert_eq!(found.unwrap().records.len(), 1);
}
