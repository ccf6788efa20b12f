//! Damaged files: a store in which one file was changed at random is refused or serves what was
//! stored.
//!
//! `SEED` repeats a run; the seed stands in the output of a test that failed.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests

#[path = "../fuzz/entry.rs"]
mod entry;
mod support;

use support::Random;

const ROUNDS: usize = 400;

/// Sound content with a few changes, behind a byte that says how the store was left.
fn damaged(random: &mut Random, sound: &[u8]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    let mut below = |limit: usize| random.below(limit.max(1) as u64) as usize;
    for _ in 0..=below(4) {
        let at = below(bytes.len());
        let other = below(bytes.len());
        let length = below(24).min(bytes.len() - at.max(other));
        match below(5) {
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at..at + length].fill(0),
            2 => bytes[at..at + length].fill(255),
            3 => bytes.copy_within(at..at + length, other),
            _ => bytes[at..at + length].fill_with(|| below(256) as u8),
        }
    }
    let how = below(4) as u8;
    if how & entry::OTHER_LENGTH != 0 {
        bytes.truncate(below(bytes.len() + 1));
    }
    bytes.insert(0, how);
    bytes
}

fn attack(name: &str, entry: impl Fn(&[u8])) {
    let mut random = Random::seeded(name);
    for crashed in [false, true] {
        let sound = entry::sound_file(name, crashed);
        let how = if crashed { entry::CRASHED } else { 0 };
        entry(&[&[how], &sound[..]].concat());
        for _ in 0..ROUNDS / 2 {
            entry(&damaged(&mut random, &sound));
        }
    }
}

#[test]
fn queues() {
    attack(entry::QUEUE, entry::queue);
}

#[test]
fn indexes() {
    attack(&entry::index_file(), entry::index);
}

#[test]
fn checkpoints() {
    attack(entry::CHECKPOINT, entry::checkpoint);
}
