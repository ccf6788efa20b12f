//! Hostile bytes: damaged fixtures and noise go through every reader without a panic, and what is
//! read survives being written and read again.
//!
//! `THRUSTMQ_TEST_SEED` repeats a run; the seed stands in the output of a test that failed.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout)] // the seed, which a failed test shows

#[path = "../../fuzz/entry.rs"]
mod entry;
#[path = "../golden/fixture.rs"]
#[allow(dead_code)] // the golden tests need more of it
mod fixture;
mod mutate;

use thrustmq_proto_compat::clock::Clock;

use mutate::Mutator;

const ROUNDS: usize = 20_000;
/// Length and mark, before the header.
const FRAME_HEAD_BYTES: usize = 8;

fn seed() -> u64 {
    let given = std::env::var("THRUSTMQ_TEST_SEED").ok();
    let seed = given.map_or(Clock::system().now_ms() as u64, |text| {
        text.parse().unwrap()
    });
    println!("THRUSTMQ_TEST_SEED={seed}");
    seed
}

fn attack(samples: &[Vec<u8>], reader: impl Fn(&[u8])) {
    assert!(!samples.is_empty());
    samples.iter().for_each(|sample| reader(sample));
    let mut mutator = Mutator::new(seed());
    for _ in 0..ROUNDS {
        reader(&mutator.damaged(samples));
    }
}

fn samples(file: &str, is_wanted: impl Fn(&serde_json::Value) -> bool) -> Vec<Vec<u8>> {
    let fixtures = fixture::read(file);
    let wanted = fixtures
        .iter()
        .filter(|f| is_wanted(f) && f["bytes"].is_string());
    wanted.map(|f| fixture::bytes(&f["bytes"])).collect()
}

fn headers(encoding: &str) -> Vec<Vec<u8>> {
    let frames = samples("frames.json", |f| f["encoding"] == encoding);
    frames
        .iter()
        .map(|frame| frame[FRAME_HEAD_BYTES..].to_vec())
        .collect()
}

#[test]
fn frames() {
    attack(&samples("frames.json", |_| true), entry::frame);
}

#[test]
fn json_headers() {
    attack(&headers("JSON"), entry::json_header);
}

#[test]
fn binary_headers() {
    attack(&headers("ROCKETMQ"), entry::binary_header);
}

#[test]
fn records_and_batches() {
    let mut samples_of_both = samples("records.json", |f| f["size"].as_u64() < Some(2_000));
    samples_of_both.extend(samples("batches.json", |_| true));
    attack(&samples_of_both, entry::record);
}

#[test]
fn json_bodies_and_packed_registrations() {
    let mut bodies = samples("bodies-5.5.0.json", |_| true);
    let texts = fixture::read("bodies-5.3.1.json");
    bodies.extend(
        texts
            .iter()
            .filter_map(|f| Some(f["text"].as_str()?.as_bytes().to_vec())),
    );
    attack(&bodies, entry::relaxed_json);
}
