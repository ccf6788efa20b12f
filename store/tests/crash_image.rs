//! Power cuts: of the log only a part reached the disk, of what is derived any part.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::fs;
use std::path::Path;

use support::*;
use thrustmq_store::Appended;

struct Filled {
    dir: tempfile::TempDir,
    appended: Vec<Appended>,
}

/// A crashed store with messages of several sizes in one queue.
fn filled(count: usize) -> Filled {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let body = |number: usize| format!("{number}-{}", "x".repeat(number * 75 % 300));
    let appended = (0..count)
        .map(|number| append(&store, "t", 0, &body(number)))
        .collect();
    wait_dispatched(&store);
    wait_flushed(&store);
    // Without the abort file gone, and with all of the log in the files.
    let image = Image::of(dir.path());
    drop(store);
    Filled {
        dir: image.dir,
        appended,
    }
}

/// Opens the image: exactly the first `whole` messages are there, and the next one follows them.
fn assert_survivors(image: &Image, whole: usize) {
    let store = open(options(image.path()));
    let bodies = bodies(&store, "t", 0);
    assert_eq!(bodies.len(), whole);
    for (number, body) in bodies.iter().enumerate() {
        assert!(
            body.starts_with(&format!("{number}-")),
            "{body} is not the {number}th"
        );
    }
    let next = append(&store, "t", 0, "next");
    assert_eq!(next.queue_offset, whole as i64);
    wait_dispatched(&store);
    assert_eq!(support::bodies(&store, "t", 0).last().unwrap(), "next");
}

#[test]
fn the_last_record_may_be_torn_at_every_byte() {
    let filled = filled(5);
    let last = filled.appended[4];
    for end in last.physical_offset..last.end_offset {
        let image = Image::of(filled.dir.path());
        image.cut_log(end);
        assert_survivors(&image, 4);
    }
}

#[test]
fn the_log_may_end_at_every_record() {
    let filled = filled(60);
    for (number, appended) in filled.appended.iter().enumerate() {
        let image = Image::of(filled.dir.path());
        image.cut_log(appended.physical_offset);
        assert_survivors(&image, number);
    }
}

#[test]
fn the_filler_of_a_file_may_be_torn() {
    let filled = filled(60);
    let crossing = filled
        .appended
        .windows(2)
        .position(|pair| pair[0].end_offset != pair[1].physical_offset);
    let crossing = crossing.unwrap();
    let filler = filled.appended[crossing].end_offset;
    for bytes in 0..=8 {
        let image = Image::of(filled.dir.path());
        image.cut_log(filler + bytes);
        assert_survivors(&image, crossing + 1);
    }
}

#[test]
fn of_derived_files_any_block_may_be_lost() {
    let mut random = Random::seeded("of_derived_files_any_block_may_be_lost");
    let filled = filled(60);
    for _ in 0..15 {
        let image = Image::of(filled.dir.path());
        for dir in ["consumequeue", "index"] {
            lose_blocks(&image.path().join(dir), &mut random);
        }
        let end = random.below(61) as usize;
        if let Some(appended) = filled.appended.get(end) {
            image.cut_log(appended.physical_offset);
        }
        assert_survivors(&image, end);
    }
}

/// Zeroes every second block of 64 bytes, by chance.
fn lose_blocks(dir: &Path, random: &mut Random) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            lose_blocks(&path, random);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        for block in bytes.chunks_mut(64) {
            if random.below(2) == 0 {
                block.fill(0);
            }
        }
        fs::write(&path, bytes).unwrap();
    }
}
