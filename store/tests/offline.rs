//! The tools on directories that are damaged in every way: what is found, and what is not.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_store::offline::{
    Change, DirectoryOptions, FindingKind, InspectRequest, Repair, Verification, bytes_to_verify,
    inspect, repair, verify,
};
use thrustmq_store::{Appended, OpenError, Store};

const QUEUES: i32 = 3;
const MESSAGES: usize = 200;

fn directory(root: &Path) -> DirectoryOptions {
    DirectoryOptions {
        index_slots: 50,
        index_entries: 100,
        ..DirectoryOptions::new(root.into())
    }
}

/// Several files of everything, closed cleanly.
fn filled() -> (Image, Vec<Appended>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let appended = fill(&store);
    store.shutdown();
    drop(store);
    (Image::of(dir.path()), appended)
}

fn fill(store: &Store) -> Vec<Appended> {
    let appended = (0..MESSAGES).map(|number| {
        let mut half = message("topic-0", 0, b"half", "KEYS\u{1}half\u{2}");
        half.sys_flag = sys_flag::TRANSACTION_PREPARED;
        if number % 20 == 7 {
            store.append(&half).unwrap();
        }
        let body = format!("body-{number}");
        append(
            store,
            &format!("topic-{}", number % 2),
            number as i32 % QUEUES,
            &body,
        )
    });
    let appended = appended.collect();
    wait_dispatched(store);
    appended
}

fn verified(image: &Image) -> Verification {
    verify(&directory(image.path()), &|_| {}).unwrap()
}

fn counts(verification: &Verification) -> Vec<(FindingKind, u64)> {
    let counts: &BTreeMap<_, _> = &verification.findings.counts;
    counts.iter().map(|(kind, count)| (*kind, *count)).collect()
}

/// Writes at an offset of the log.
fn overwrite_log(image: &Image, physical_offset: i64, bytes: &[u8]) {
    let (start, path) = image
        .log_files()
        .into_iter()
        .rfind(|(start, _)| *start <= physical_offset as u64)
        .unwrap();
    overwrite(&path, physical_offset as u64 - start, bytes);
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn a_sound_directory_is_found_sound() {
    let (image, appended) = filled();
    let done = AtomicU64::new(0);
    let options = directory(image.path());
    let verification = verify(&options, &|bytes| {
        done.fetch_add(bytes, Ordering::Relaxed);
    });
    let verification = verification.unwrap();
    assert_eq!(verification.findings.first, []);
    assert_eq!(verification.notes, Vec::<String>::new());
    assert_eq!(verification.records, MESSAGES as u64 + 10);
    assert_eq!(verification.queue_entries, MESSAGES as u64);
    assert_eq!(verification.index_entries, MESSAGES as u64 + 10);
    assert_eq!(verification.queues, 6);
    assert_eq!(verification.log_end, appended[MESSAGES - 1].end_offset);
    assert_eq!(done.into_inner(), bytes_to_verify(&options).unwrap());
}

#[test]
fn a_running_store_is_not_verified_but_can_be_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    let refused = verify(&directory(dir.path()), &|_| {});
    assert!(
        matches!(refused, Err(OpenError::InUse { .. })),
        "{refused:?}"
    );
    let inspection = inspect(&directory(dir.path()), &InspectRequest::default()).unwrap();
    assert!(inspection.in_use && inspection.abort);
    assert_eq!(inspection.log_end, store.watermarks().written);
}

#[test]
fn inspection_tells_what_is_there() {
    let (image, appended) = filled();
    let request = InspectRequest {
        last_records: 3,
        topic: Some("topic-1".to_owned()),
    };
    let inspection = inspect(&directory(image.path()), &request).unwrap();
    assert!(!inspection.in_use && !inspection.abort);
    assert_eq!((inspection.log_start, inspection.log_stop), (0, None));
    assert_eq!(inspection.log_end, appended[MESSAGES - 1].end_offset);
    let log = &inspection.log;
    assert_eq!(log.count, image.log_files().len() as u64);
    assert_eq!(log.bytes, log.count * LOG_FILE_BYTES);
    assert_eq!(log.first.as_deref(), Some("00000000000000000000"));
    let last: Vec<_> = inspection
        .last_records
        .iter()
        .map(|record| {
            let place = (record.physical_offset, record.queue_offset);
            assert_eq!((&*record.unique_key, record.store_ms), ("", START_MS));
            (record.keys.clone(), place)
        })
        .collect();
    let expected: Vec<_> = (MESSAGES - 3..MESSAGES)
        .map(|number| {
            let appended = &appended[number];
            (
                format!("body-{number}"),
                (appended.physical_offset, appended.queue_offset),
            )
        })
        .collect();
    assert_eq!(last, expected);
    let queues: Vec<_> = inspection
        .queues
        .iter()
        .map(|queue| (queue.queue_id, queue.range.max))
        .collect();
    assert_eq!(queues, [(0, 33), (1, 34), (2, 33)]);
    assert_eq!(
        inspection.queues[1].first_physical_offset,
        Some(appended[1].physical_offset)
    );
    assert_eq!(inspection.index_files.len(), 3);
    assert!(inspection.checkpoint.unwrap().log_ms > 0);
}

#[test]
fn every_flipped_byte_of_a_record_is_found() {
    let (image, appended) = filled();
    let record = appended[50];
    let (_, path) = image.log_files().remove(0);
    let sound = fs::read(&path).unwrap();
    assert!(record.end_offset < LOG_FILE_BYTES as i64);
    for at in record.physical_offset..record.end_offset {
        let mut bytes = sound.clone();
        bytes[at as usize] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        let verification = verified(&image);
        assert_eq!(
            counts(&verification),
            [
                (FindingKind::DamagedLog, 1),
                (FindingKind::QueueEntry, 1),
                (FindingKind::IndexEntry, 1)
            ],
            "byte {at}: {:?}",
            verification.findings.first
        );
        let found = &verification.findings.first[0];
        assert_eq!(
            (found.path.as_path(), found.offset),
            (path.as_path(), record.physical_offset as u64)
        );
        assert!(
            found
                .text
                .contains(&format!("{} bytes", record.record_bytes)),
            "{found:?}"
        );
    }
}

#[test]
fn zeroed_pages_and_missing_files_are_found() {
    let (image, appended) = filled();
    overwrite_log(&image, 4096, &[0; 4096]);
    let verification = verified(&image);
    assert_eq!(verification.findings.count(FindingKind::DamagedLog), 1);
    let hit = |appended: &&Appended| appended.end_offset > 4096 && appended.physical_offset < 8192;
    let lost = appended.iter().filter(hit).count() as u64;
    assert_eq!(verification.findings.count(FindingKind::QueueEntry), lost);

    let (image, _) = filled();
    let (start, path) = image.log_files().remove(1);
    fs::remove_file(path).unwrap();
    let verification = verified(&image);
    assert_eq!(verification.findings.count(FindingKind::MissingLogFile), 1);
    assert!(
        verification
            .findings
            .first
            .iter()
            .any(|finding| finding.text.contains(&format!("from {start} to")))
    );
}

#[test]
fn a_lost_end_is_found_by_what_the_queues_know() {
    let (image, appended) = filled();
    image.cut_log(appended[MESSAGES - 5].end_offset);
    let verification = verified(&image);
    let found = [
        (FindingKind::DamagedTail, 1),
        (FindingKind::QueueEntry, 4),
        (FindingKind::IndexEntry, 4),
    ];
    assert_eq!(
        counts(&verification),
        found,
        "{:?}",
        verification.findings.first
    );
    assert_eq!(verification.log_end, appended[MESSAGES - 5].end_offset);
}

#[test]
fn what_java_leaves_behind_the_end_is_only_noted() {
    let (image, appended) = filled();
    overwrite_log(&image, appended[MESSAGES - 1].end_offset + 30, b"left over");
    let verification = verified(&image);
    assert!(
        verification.findings.is_empty(),
        "{:?}",
        verification.findings
    );
    assert_eq!(verification.notes.len(), 1, "{:?}", verification.notes);
}

#[test]
fn damaged_queue_entries_are_found() {
    let (image, _) = filled();
    let path = image
        .path()
        .join("consumequeue/topic-1/2/00000000000000000000");
    for at in 60..80 {
        let sound = fs::read(&path).unwrap();
        overwrite(&path, at, &[sound[at as usize] ^ 0x10]);
        let verification = verified(&image);
        assert_eq!(
            counts(&verification),
            [(FindingKind::QueueEntry, 1)],
            "byte {at}"
        );
        let found = &verification.findings.first[0];
        assert_eq!((found.path.as_path(), found.offset), (path.as_path(), 60));
        fs::write(&path, sound).unwrap();
    }
    overwrite(&path, 60, &[0; 20]);
    assert_eq!(counts(&verified(&image)), [(FindingKind::QueueEntry, 1)]);
    image.remove("consumequeue/topic-1/2");
    let verification = verified(&image);
    assert_eq!(counts(&verification), [(FindingKind::MissingQueueEntry, 1)]);
    assert!(
        verification.findings.first[0]
            .text
            .starts_with("33 records")
    );
}

#[test]
fn damaged_index_files_are_found() {
    let (image, _) = filled();
    let index = fs::read_dir(image.path().join("index")).unwrap();
    let mut paths: Vec<_> = index.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let sound = fs::read(&paths[0]).unwrap();
    // The slots, then the entries, of which the first is never used; of an entry only the time is
    // not checked.
    let entries_at = 40 + 50 * 4;
    let entry = entries_at + 30 * 20;
    let places = (40..entries_at)
        .chain(entry..entry + 12)
        .chain(entry + 16..entry + 20);
    for at in places {
        overwrite(&paths[0], at, &[sound[at as usize] ^ 0x10]);
        assert!(!verified(&image).findings.is_empty(), "byte {at}");
        fs::write(&paths[0], &sound).unwrap();
    }
    OpenOptions::new()
        .write(true)
        .open(&paths[1])
        .unwrap()
        .set_len(100)
        .unwrap();
    assert_eq!(verified(&image).findings.count(FindingKind::MisfitFile), 1);
}

#[test]
fn a_crashed_directory_is_sound_but_for_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    let image = Image::of(dir.path());
    let verification = verified(&image);
    assert!(
        verification.findings.is_empty(),
        "{:?}",
        verification.findings
    );
    assert_eq!(verification.notes.len(), 1, "{:?}", verification.notes);
    // The last entry did not reach its file.
    let path = image
        .path()
        .join("consumequeue/topic-1/1/00000000000000000640");
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 20 * 20;
    overwrite(&path, end as u64, &[0; 20]);
    let verification = verified(&image);
    assert!(
        verification.findings.is_empty(),
        "{:?}",
        verification.findings
    );
    assert_eq!(verification.notes.len(), 2, "{:?}", verification.notes);
}

#[test]
fn records_of_a_deleted_topic_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    store.delete_topic("topic-1");
    append(&store, "topic-1", 1, "of the next life");
    store.delete_topic("topic-0");
    wait_dispatched(&store);
    store.shutdown();
    drop(store);
    let verification = verified(&Image::of(dir.path()));
    assert!(
        verification.findings.is_empty(),
        "{:?}",
        verification.findings
    );
    assert_eq!(verification.notes, Vec::<String>::new());
}

/// Every message that is left, by queue: its number and its body; and what can be found by key.
fn contents(store: &Store) -> BTreeMap<(String, i32), Vec<(i64, String)>> {
    let mut contents = BTreeMap::new();
    for topic in ["topic-0", "topic-1"] {
        for queue_id in 0..QUEUES {
            let range = store.queue_range(topic, queue_id);
            let mut messages = Vec::new();
            let mut offset = range.min;
            while offset < range.max {
                let outcome = read(store, topic, queue_id, offset);
                for bytes in &outcome.records {
                    let view = record::check(bytes, CheckBody::Crc).unwrap();
                    assert_eq!((view.topic, view.queue_id), (topic, queue_id));
                    let body = String::from_utf8(view.body.to_vec()).unwrap();
                    let found = store.query(&thrustmq_store::QueryRequest {
                        topic,
                        key: &body,
                        messages_max: 10,
                        begin_ms: 0,
                        end_ms: i64::MAX,
                    });
                    assert_eq!(
                        found.unwrap().records,
                        std::slice::from_ref(bytes),
                        "{body}"
                    );
                    messages.push((view.queue_offset, body));
                }
                assert!(outcome.next_offset > offset, "{outcome:?}");
                offset = outcome.next_offset;
            }
            contents.insert((topic.to_owned(), queue_id), messages);
        }
    }
    contents
}

/// What a sound directory of [`fill`] holds, but for the messages that `lost` says.
fn expected(lost: impl Fn(usize) -> bool) -> BTreeMap<(String, i32), Vec<(i64, String)>> {
    let mut next: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let mut contents: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for number in 0..MESSAGES {
        let queue = (format!("topic-{}", number % 2), number as i32 % QUEUES);
        let next = next.entry(queue.clone()).or_default();
        let messages = contents.entry(queue).or_default();
        if !lost(number) {
            messages.push((*next, format!("body-{number}")));
        }
        *next += 1;
    }
    contents
}

/// Repairs, checks that it is told and copied, that nothing more is to do, and what a store then
/// holds. Returns the store, and what was done.
fn repaired(image: &Image, lost: impl Fn(usize) -> bool) -> (Store, Repair) {
    let directory = directory(image.path());
    let before = files_of(image.path());
    let planned = repair(&directory, None, &|_| {}).unwrap();
    assert_eq!(files_of(image.path()), before, "a plan changes nothing");
    let clock = Clock::by_hand(START_MS);
    let done = repair(&directory, Some(&clock), &|_| {}).unwrap();
    assert_eq!(
        (&done.changes, &done.lost),
        (&planned.changes, &planned.lost)
    );
    assert!(!done.changes.is_empty() && !done.verification.findings.is_empty());
    let copy = done.copy.as_ref().unwrap();
    assert!(copy.join("repair.txt").exists());
    let verification = verified(image);
    let findings = &verification.findings;
    assert!(findings.is_empty(), "{findings:?} after {:?}", done.changes);
    let again = repair(&directory, Some(&clock), &|_| {}).unwrap();
    assert_eq!((again.changes, again.copy), (vec![], None));
    let count: u64 = done.lost.iter().map(|lost| lost.messages).sum();
    assert_eq!(
        count,
        (0..MESSAGES).filter(|number| lost(*number)).count() as u64
    );
    let store = open(options(image.path()));
    wait_dispatched(&store);
    assert_eq!(contents(&store), expected(lost));
    (store, done)
}

/// Goes on with a repaired store, and opens it again, also with its queues built anew.
fn goes_on(image: &Image, store: Store, lost: impl Fn(usize) -> bool) {
    let next = append(&store, "topic-0", 0, "next");
    assert_eq!(next.queue_offset, 34, "no number is used twice");
    wait_dispatched(&store);
    store.shutdown();
    drop(store);
    assert_eq!(verified(image).findings.first, []);
    let mut with_next = expected(lost);
    let first = ("topic-0".to_owned(), 0);
    with_next
        .get_mut(&first)
        .unwrap()
        .push((34, "next".to_owned()));
    let store = open(options(image.path()));
    assert_eq!(contents(&store), with_next);
    store.shutdown();
    drop(store);
    image.remove("consumequeue");
    let store = open(options(image.path()));
    let rebuilt = contents(&store);
    assert_eq!(rebuilt, with_next);
}

fn files_of(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_of(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn a_flipped_byte_costs_one_message() {
    let (image, appended) = filled();
    for number in [50, 51, 90] {
        overwrite_log(&image, appended[number].physical_offset + 95, b"\xFF");
    }
    let damaged = files_of(&image.path().join("commitlog"));
    let lost = |number| [50, 51, 90].contains(&number);
    let (store, done) = repaired(&image, lost);
    let bytes = [50, 51, 90].map(|number: usize| appended[number].record_bytes as u64);
    assert_eq!(done.lost_bytes, bytes.iter().sum::<u64>());
    // The copy has the damaged bytes, at their place.
    let (path, before) = damaged.first_key_value().unwrap();
    let copy = done
        .copy
        .unwrap()
        .join("commitlog")
        .join(path.file_name().unwrap());
    let copy = fs::read(copy).unwrap();
    let range = appended[50].physical_offset as usize..appended[51].end_offset as usize;
    assert_eq!(copy[range.clone()], before[range]);
    assert_eq!(copy[..100], [0; 100]);
    goes_on(&image, store, lost);
}

#[test]
fn zeroed_pages_cost_what_lay_in_them() {
    for at in [0, 4096, 8192, 12288] {
        let (image, appended) = filled();
        let (start, path) = image
            .log_files()
            .remove(at as usize / LOG_FILE_BYTES as usize);
        let before = fs::read(&path).unwrap();
        overwrite_log(&image, at, &[0; 4096]);
        let page = at..at + 4096;
        let lost = |number: usize| {
            let Appended {
                physical_offset,
                end_offset,
                ..
            } = appended[number];
            let mut bytes = (physical_offset..end_offset).filter(|at| page.contains(at));
            bytes.any(|at| before[at as usize - start as usize] != 0)
        };
        let (store, _) = repaired(&image, lost);
        goes_on(&image, store, lost);
    }
}

#[test]
fn a_missing_or_short_file_costs_its_messages() {
    let (image, appended) = filled();
    let (start, path) = image.log_files().remove(1);
    fs::remove_file(path).unwrap();
    let lost = |number: usize| {
        appended[number].physical_offset as u64 / LOG_FILE_BYTES == start / LOG_FILE_BYTES
    };
    let (store, _) = repaired(&image, lost);
    goes_on(&image, store, lost);

    let (image, appended) = filled();
    let (start, path) = image.log_files().remove(1);
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(5000)
        .unwrap();
    let cut = start as i64 + 5000..start as i64 + LOG_FILE_BYTES as i64;
    let lost = |number: usize| cut.contains(&(appended[number].end_offset - 1));
    let (store, done) = repaired(&image, lost);
    assert!(
        done.changes
            .iter()
            .any(|change| matches!(change, Change::SetLength { .. }))
    );
    goes_on(&image, store, lost);
}

#[test]
fn a_damaged_end_is_cut() {
    for garbage in [&[0; 600][..], &[0xA5; 600]] {
        let (image, appended) = filled();
        let end = appended[MESSAGES - 6].end_offset;
        image.cut_log(end);
        overwrite_log(&image, end, garbage);
        let (store, _) = repaired(&image, |number| number > MESSAGES - 6);
        assert_eq!(store.watermarks().written, end);
    }
}

#[test]
fn whole_files_of_garbage_at_the_end_are_moved_away() {
    let (image, appended) = filled();
    let (start, path) = image.log_files().pop().unwrap();
    let garbage = vec![0x5A; LOG_FILE_BYTES as usize];
    fs::write(&path, &garbage).unwrap();
    let (store, done) = repaired(&image, |number| {
        appended[number].physical_offset as u64 >= start
    });
    let copy = done
        .copy
        .unwrap()
        .join("commitlog")
        .join(path.file_name().unwrap());
    assert_eq!(fs::read(copy).unwrap(), garbage);
    assert_eq!(store.watermarks().written as u64, start);
}

#[test]
fn derived_files_are_built_again() {
    let damages: [fn(&Image); 4] = [
        |image| {
            overwrite(
                &image
                    .path()
                    .join("consumequeue/topic-1/2/00000000000000000000"),
                63,
                &[9],
            )
        },
        |image| image.remove("consumequeue/topic-0/1"),
        |image| image.remove("consumequeue/topic-0/1/00000000000000000320"),
        |image| {
            let index = fs::read_dir(image.path().join("index")).unwrap();
            overwrite(&index.last().unwrap().unwrap().path(), 60, &[77; 30]);
        },
    ];
    for damage in damages {
        let (image, _) = filled();
        damage(&image);
        let (store, _) = repaired(&image, |_| false);
        goes_on(&image, store, |_| false);
    }
}

#[test]
fn damage_at_random_places_is_repaired() {
    let mut random = Random::seeded("damage_at_random_places_is_repaired");
    for _ in 0..12 {
        let (image, appended) = filled();
        for _ in 0..=random.below(4) {
            // Damage that begins among the properties and takes the whole checksum with it cannot be
            // seen: it begins before.
            let record = appended[random.below(MESSAGES as u64) as usize];
            let at = record.physical_offset + random.below(90) as i64;
            let bytes = vec![random.below(256) as u8; 1 + random.below(300) as usize];
            let left = LOG_FILE_BYTES as usize - (at as u64 % LOG_FILE_BYTES) as usize;
            overwrite_log(&image, at, &bytes[..bytes.len().min(left)]);
        }
        let directory = directory(image.path());
        let clock = Clock::by_hand(START_MS);
        let done = repair(&directory, Some(&clock), &|_| {}).unwrap();
        let verification = verified(&image);
        assert!(
            verification.findings.is_empty(),
            "{:?}",
            verification.findings
        );
        let store = open(options(image.path()));
        wait_dispatched(&store);
        // All that is not named as lost is there, under its number.
        let mut all = expected(|_| false);
        for lost in &done.lost {
            let queue = (lost.topic.clone(), lost.queue_id);
            let messages = all.get_mut(&queue).unwrap();
            let left = contents(&store).remove(&queue).unwrap();
            messages.retain(|message| left.contains(message));
            let missing =
                (lost.first..=lost.last).filter(|number| left.iter().all(|left| left.0 != *number));
            assert_eq!(missing.count() as u64, lost.messages);
        }
        assert_eq!(contents(&store), all);
    }
}
