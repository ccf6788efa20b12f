//! Light queues: their entries point at records of other topics, in order, without gap, whatever
//! happens to the store in between.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::offline::{DirectoryOptions, verify};
use thrustmq_store::{AppendError, Appended, NewBatchItem, Store, StoreOptions};

const QUEUES_MAX: usize = 6;

fn light_options(root: &Path) -> StoreOptions {
    StoreOptions {
        light_queues_max: Some(QUEUES_MAX),
        ..options(root)
    }
}

fn text(entries: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in entries {
        properties::push(&mut text, name, value);
    }
    text
}

fn to_light(store: &Store, topic: &str, body: &str, names: &str) -> Result<Appended, AppendError> {
    let stale = ("INNER_MULTI_QUEUE_OFFSET", "77,88,99");
    let properties = text(&[stale, ("TAGS", "t"), ("INNER_MULTI_DISPATCH", names)]);
    store.append(&message(topic, 0, body.as_bytes(), &properties))
}

/// Bodies of a light queue, each vouched for by its record.
fn light_bodies(store: &Store, queue: &str) -> Vec<String> {
    let range = store.queue_range(queue, 0);
    let (mut bodies, mut offset) = (Vec::new(), range.min);
    while offset < range.max {
        let outcome = read(store, queue, 0, offset);
        for (number, bytes) in (offset..).zip(&outcome.records) {
            let view = record::check(bytes, CheckBody::Crc).unwrap();
            let text = view.properties_text();
            let names = properties::get(&text, "INNER_MULTI_DISPATCH").unwrap();
            let numbers = properties::get(&text, "INNER_MULTI_QUEUE_OFFSET").unwrap();
            let mut pairs = names.split(',').zip(numbers.split(','));
            assert!(
                pairs.any(|pair| pair == (queue, number.to_string().as_str())),
                "{text}"
            );
            bodies.push(String::from_utf8(view.body.to_vec()).unwrap());
        }
        assert!(outcome.next_offset > offset, "{outcome:?}");
        offset = outcome.next_offset;
    }
    bodies
}

#[test]
fn a_message_goes_to_all_queues_that_it_names_and_each_tells_of_its_arrival() {
    let dir = memory_dir();
    let arrivals = Arc::new(Arrivals::default());
    let clock = Clock::by_hand(START_MS);
    let store = Store::open(light_options(dir.path()), clock, arrivals.clone()).unwrap();
    to_light(&store, "orders", "one", "%LMQ%a,%LMQ%b").unwrap();
    to_light(&store, "orders", "two", "%LMQ%b,nothing,%LMQ%b,%LMQ%x/y").unwrap();
    append(&store, "orders", 0, "plain");
    for elsewhere in [
        "%RETRY%g",
        "%DLQ%g",
        "SCHEDULE_TOPIC_XXXX",
        "rmq_sys_wheel_timer",
    ] {
        to_light(&store, elsewhere, "on its way", "%LMQ%a").unwrap();
    }
    to_light(&store, "orders", "three", "%LMQ%a,%LMQ%b").unwrap();
    wait_dispatched(&store);
    assert_eq!(light_bodies(&store, "%LMQ%a"), ["one", "three"]);
    assert_eq!(light_bodies(&store, "%LMQ%b"), ["one", "two", "three"]);
    assert_eq!(
        bodies(&store, "orders", 0),
        ["one", "two", "plain", "three"]
    );
    let arrived = arrivals.0.lock().unwrap();
    let of_light = arrived.iter().filter(|one| one.0.starts_with("%LMQ%"));
    let of_light: Vec<_> = of_light.map(|one| (&one.0[5..], one.1, one.2)).collect();
    assert_eq!(
        of_light,
        [
            ("a", 0, 0),
            ("b", 0, 0),
            ("b", 0, 1),
            ("b", 0, 1),
            ("a", 0, 1),
            ("b", 0, 2)
        ]
    );
}

#[test]
fn there_is_a_limit_and_batches_do_not_take_part() {
    let dir = memory_dir();
    let store = open(light_options(dir.path()));
    to_light(&store, "t", "m", "%LMQ%1,%LMQ%2,%LMQ%3,%LMQ%4,%LMQ%5").unwrap();
    let refused = to_light(&store, "t", "m", "%LMQ%5,%LMQ%6,%LMQ%7").unwrap_err();
    assert!(
        matches!(
            refused,
            AppendError::TooManyLightQueues {
                queues_max: QUEUES_MAX
            }
        ),
        "{refused}"
    );
    // A new one that is named twice counts once.
    to_light(&store, "t", "n", "%LMQ%6,%LMQ%5,%LMQ%6").unwrap();
    to_light(&store, "t", "o", "%LMQ%6").unwrap();
    let properties = text(&[
        ("INNER_MULTI_DISPATCH", "%LMQ%1"),
        ("INNER_MULTI_QUEUE_OFFSET", "123456"),
    ]);
    let item = NewBatchItem {
        flag: 0,
        body: b"batched",
        properties: &properties,
    };
    store
        .append_batch(&message("t", 0, b"", ""), &[item])
        .unwrap();
    wait_dispatched(&store);
    assert_eq!(light_bodies(&store, "%LMQ%1"), ["m"]);
    assert_eq!(light_bodies(&store, "%LMQ%5"), ["m", "n"]);
    assert_eq!(light_bodies(&store, "%LMQ%6"), ["n", "o"]);
    assert_eq!(bodies(&store, "t", 0), ["m", "n", "o", "batched"]);
}

/// Other programs that read the log may take the first value of a name: what clients say is not in it at all.
#[test]
fn only_the_store_says_the_numbers_in_light_queues() {
    let dir = memory_dir();
    let store = open(light_options(dir.path()));
    to_light(&store, "t", "in one", "%LMQ%a").unwrap();
    to_light(&store, "t", "in none", "other,%LMQ%x/y").unwrap();
    let properties = text(&[("INNER_MULTI_QUEUE_OFFSET", "123456")]);
    let item = NewBatchItem {
        flag: 0,
        body: b"batched",
        properties: &properties,
    };
    store
        .append_batch(&message("t", 0, b"", ""), &[item])
        .unwrap();
    wait_dispatched(&store);
    let said = |bytes: &[u8]| {
        let view = record::check(bytes, CheckBody::Crc).unwrap();
        let text = view.properties_text().into_owned();
        let numbers = properties::entries(&text)
            .filter(|entry| entry.name == "INNER_MULTI_QUEUE_OFFSET")
            .map(|entry| entry.value.to_owned());
        numbers.collect::<Vec<_>>()
    };
    let records = read(&store, "t", 0, 0).records;
    let said: Vec<_> = records.iter().map(|bytes| said(bytes)).collect();
    assert_eq!(said, [vec!["0".to_owned()], vec![], vec![]]);
}

#[test]
fn a_store_without_light_queues_makes_none() {
    let dir = memory_dir();
    let store = open(options(dir.path()));
    to_light(&store, "t", "m", "%LMQ%1").unwrap();
    wait_dispatched(&store);
    assert_eq!(store.queue_range("%LMQ%1", 0).max, 0);
    assert_eq!(bodies(&store, "t", 0), ["m"]);
}

/// What was appended, in order: topic, body, light queues, end of its record.
#[derive(Default)]
struct Model {
    messages: Vec<(String, String, Vec<String>, i64)>,
    deleted: BTreeMap<String, i64>,
}

impl Model {
    fn append(&mut self, store: &Store, random: &mut Random) {
        let topic = format!("topic-{}", random.below(2));
        let body = format!("body-{}", self.messages.len());
        let names = random.below(4);
        let names = (0..names).map(|_| format!("%LMQ%{}", random.below(4)));
        let mut names: Vec<_> = names.collect();
        names.dedup();
        let appended = if names.is_empty() {
            append(store, &topic, 0, &body)
        } else {
            to_light(store, &topic, &body, &names.join(",")).unwrap()
        };
        self.messages
            .push((topic, body, names, appended.end_offset));
    }

    fn check(&self, store: &Store) {
        wait_dispatched(store);
        for queue in 0..4 {
            let queue = format!("%LMQ%{queue}");
            let named = self.messages.iter().filter(|one| one.2.contains(&queue));
            let expected: Vec<_> = named.map(|one| one.1.clone()).collect();
            assert_eq!(light_bodies(store, &queue), expected, "{queue}");
        }
        for topic in ["topic-0", "topic-1"] {
            let since = self.deleted.get(topic).copied().unwrap_or(0);
            let of_topic = self
                .messages
                .iter()
                .filter(|one| one.0 == topic && one.3 > since);
            let expected: Vec<_> = of_topic.map(|one| one.1.clone()).collect();
            assert_eq!(bodies(store, topic, 0), expected, "{topic}");
        }
    }
}

fn assert_sound(root: &Path) {
    let options = DirectoryOptions {
        index_slots: 50,
        index_entries: 100,
        ..DirectoryOptions::new(root.into())
    };
    let verified = verify(&options, &|_| {}).unwrap();
    assert!(verified.findings.is_empty(), "{:?}", verified.findings);
}

#[test]
fn queues_are_the_same_after_every_end_of_the_store() {
    let mut random = Random::seeded("light queues");
    for round in 0..6 {
        let mut model = Model::default();
        let mut image = Image::empty();
        for step in 0..5 {
            let store = open(light_options(image.path()));
            model.check(&store);
            let early = fs::read(image.path().join("checkpoint")).unwrap();
            for _ in 0..random.below(60) {
                model.append(&store, &mut random);
            }
            if random.below(6) == 0 {
                wait_dispatched(&store);
                store.delete_topic("topic-1");
                let end = store.watermarks().written;
                model.deleted.insert("topic-1".to_owned(), end);
            }
            match random.below(3) {
                0 => {
                    model.check(&store);
                    store.shutdown();
                    drop(store);
                    assert_sound(image.path());
                }
                1 => {
                    // A crash before the checkpoint told of anything of this step.
                    wait_dispatched(&store);
                    wait_flushed(&store);
                    let crashed = Image::of(image.path());
                    drop(store);
                    fs::write(crashed.path().join("checkpoint"), early).unwrap();
                    image = crashed;
                }
                _ => {
                    store.shutdown();
                    drop(store);
                    image.remove("consumequeue");
                }
            }
            println!(
                "round {round}, step {step}: {} messages",
                model.messages.len()
            );
        }
        let store = open(light_options(image.path()));
        model.check(&store);
        store.shutdown();
        drop(store);
        assert_sound(image.path());
    }
}

/// An entry that points at another record is neither given nor passed over by `verify`.
#[test]
fn a_record_vouches_for_the_light_entries_that_point_at_it() {
    let dir = memory_dir();
    let store = open(light_options(dir.path()));
    for number in 0..3 {
        to_light(&store, "orders", &format!("m{number}"), "%LMQ%a").unwrap();
        to_light(&store, "orders", &format!("n{number}"), "%LMQ%b").unwrap();
    }
    wait_dispatched(&store);
    store.shutdown();
    drop(store);
    let path = dir
        .path()
        .join("consumequeue/%LMQ%a/0/00000000000000000000");
    let other = dir
        .path()
        .join("consumequeue/%LMQ%b/0/00000000000000000000");
    let mut entry = [0; 20];
    let file = OpenOptions::new().read(true).open(other).unwrap();
    file.read_exact_at(&mut entry, 20).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&entry, 20).unwrap();
    let options = DirectoryOptions {
        index_slots: 50,
        index_entries: 100,
        ..DirectoryOptions::new(dir.path().into())
    };
    let findings = verify(&options, &|_| {}).unwrap().findings;
    assert!(!findings.is_empty());
    let store = open(light_options(dir.path()));
    assert!(store.record_of("%LMQ%a", 0, 0).unwrap().is_some());
    let error = store.record_of("%LMQ%a", 0, 1).unwrap_err();
    assert!(error.to_string().contains("points here"), "{error}");
}
