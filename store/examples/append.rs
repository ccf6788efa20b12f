//! How fast one thread appends, and how far dispatch keeps up: `append [messages] [body bytes] [record checksum: true or false]`.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // a measurement, by the real clock

use std::sync::Arc;
use std::time::{Duration, Instant};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{
    Arrival, ArrivalListener, NewMessage, ReadError, ReadRequest, Store, StoreOptions,
};

/// Appends that are timed together: others on the machine disturb only some of these rounds.
const ROUND: u64 = 100;

struct Nobody;

impl ArrivalListener for Nobody {
    fn arrived(&self, _arrival: &Arrival<'_>) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let messages: u64 = arguments.next().as_deref().unwrap_or("1000000").parse()?;
    let body_bytes: usize = arguments.next().as_deref().unwrap_or("1024").parse()?;
    let record_checksum: bool = arguments.next().as_deref().unwrap_or("true").parse()?;
    let dir = tempfile::tempdir()?;
    let options = StoreOptions {
        root: dir.path().into(),
        record_checksum,
        ..StoreOptions::default()
    };
    let store = Store::open(options, Clock::system(), Arc::new(Nobody))?;
    let body = vec![b'x'; body_bytes];
    let mut message = NewMessage {
        topic: "measured",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 0,
        born_host: "127.0.0.1:4000".parse()?,
        store_host: "127.0.0.1:10911".parse()?,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        properties: "UNIQ_KEY\u{1}7F0000010000000000000000000000FF\u{2}WAIT\u{1}true\u{2}TAGS\u{1}a\u{2}",
    };
    let begin = Instant::now();
    let mut rounds = Vec::new();
    for _ in 0..messages / ROUND {
        let begin = Instant::now();
        for number in 0..ROUND {
            message.queue_id = (number % 8) as i32;
            store.append(&message)?;
        }
        rounds.push(begin.elapsed());
    }
    report("appended", messages, begin.elapsed());
    rounds.sort();
    for (name, percent) in [("tenth", 10), ("half", 50)] {
        let round = rounds.get(rounds.len() * percent / 100);
        report(
            &format!("best {name}"),
            ROUND,
            round.copied().unwrap_or_default(),
        );
    }
    while store.watermarks().dispatched < store.watermarks().written {
        std::thread::sleep(Duration::from_millis(1));
    }
    report("dispatched", messages, begin.elapsed());
    let begin = Instant::now();
    report("read", read_all(&store)?, begin.elapsed());
    println!("{:?}", store.counters());
    Ok(())
}

fn read_all(store: &Store) -> Result<u64, ReadError> {
    let mut messages = 0;
    for queue_id in 0..8 {
        let mut offset = 0;
        loop {
            let outcome = store.read(&ReadRequest {
                topic: "measured",
                queue_id,
                offset,
                messages_max: 32,
                bytes_max: 1 << 20,
                filter: None,
            })?;
            if outcome.records.is_empty() {
                break;
            }
            messages += outcome.records.len() as u64;
            offset = outcome.next_offset;
        }
    }
    Ok(messages)
}

fn report(what: &str, messages: u64, took: Duration) {
    let each_ns = took.as_nanos() / u128::from(messages.max(1));
    let per_second = messages as f64 / took.as_secs_f64();
    println!("{what}: {messages} messages, {per_second:.0}/s, {each_ns} ns each");
}
