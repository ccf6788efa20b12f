//! `thrustmq bench store read`.

use thrustmq_store::{ReadRequest, Store};
use tokio::time::Instant;

use super::arguments::{Flush, ReadArguments};
use super::filling::{Messages, wait_dispatched};
use super::{Directory, TOPIC, nanoseconds_each, open};
use crate::output;

/// Messages that are read at random places.
const RANDOM_READS: u64 = 100_000;

pub(super) fn run(arguments: &ReadArguments) -> anyhow::Result<()> {
    let directory = Directory::new(&arguments.fill.dir)?;
    let store = open(&directory.0, Flush::Async)?;
    let (size, queues) = (arguments.fill.size, arguments.fill.queues);
    Messages::new(size, queues, 0).fill(&store, arguments.bytes)?;
    wait_dispatched(&store);
    output::print(&format!("read {size} B, {queues} queues"));
    measure("just written", &store, queues)?;
    store.shutdown();
    drop(store);
    let store = open(&directory.0, Flush::Async)?;
    measure("reopened", &store, queues)?;
    store.shutdown();
    Ok(())
}

fn measure(what: &str, store: &Store, queues: u16) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut read = 0;
    for queue_id in 0..queues {
        read += read_queue(store, i32::from(queue_id))?;
    }
    tell(&format!("{what}, in order"), read, started);
    let started = Instant::now();
    for number in 0..RANDOM_READS {
        read_one(store, queues, number)?;
    }
    tell(&format!("{what}, one at random"), RANDOM_READS, started);
    Ok(())
}

fn tell(what: &str, messages: u64, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    let per_second = messages as f64 / seconds;
    let each_ns = nanoseconds_each(seconds, messages);
    output::print(&format!(
        "  {per_second:>12.0} msg/s {each_ns:>8.0} ns each, {what}"
    ));
}

fn request(queue_id: i32, offset: i64, messages_max: usize) -> ReadRequest<'static> {
    ReadRequest {
        topic: TOPIC,
        queue_id,
        offset,
        messages_max,
        bytes_max: 1 << 20,
        filter: None,
    }
}

fn read_queue(store: &Store, queue_id: i32) -> anyhow::Result<u64> {
    const PULL_MESSAGES: usize = 32;
    let mut messages = 0;
    let mut offset = 0;
    loop {
        let outcome = store.read(&request(queue_id, offset, PULL_MESSAGES))?;
        if outcome.records.is_empty() {
            return Ok(messages);
        }
        messages += outcome.records.len() as u64;
        offset = outcome.next_offset;
    }
}

fn read_one(store: &Store, queues: u16, number: u64) -> anyhow::Result<()> {
    // Steps of the golden ratio come everywhere, in no order.
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let queue_id = (random % u64::from(queues)) as i32;
    let range = store.queue_range(TOPIC, queue_id);
    let offset = range.min + ((random >> 16) % (range.max - range.min).max(1) as u64) as i64;
    let outcome = store.read(&request(queue_id, offset, 1))?;
    anyhow::ensure!(
        outcome.message_count == 1,
        "no message {offset} in queue {queue_id}"
    );
    Ok(())
}
