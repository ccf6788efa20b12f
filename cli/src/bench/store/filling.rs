//! Messages as a broker would store them, with a unique key each.

use std::thread;
use std::time::Duration;

use thrustmq_proto_compat::message::{properties, property_name};
use thrustmq_store::{AppendError, Appended, NewMessage, Store};

use super::TOPIC;

/// Makes messages, each with a key of its own.
#[derive(Debug)]
pub(super) struct Messages {
    body: Vec<u8>,
    queues: u64,
    number: u64,
    /// Of whoever makes messages beside us.
    source: u64,
}

impl Messages {
    pub(super) fn new(size: usize, queues: u16, source: u64) -> Self {
        Self {
            body: vec![b'x'; size],
            queues: u64::from(queues),
            number: 0,
            source,
        }
    }

    pub(super) fn append_to(&mut self, store: &Store) -> Result<Appended, AppendError> {
        self.number += 1;
        let mut text = String::with_capacity(64);
        let key = format!("{:016X}{:016X}", self.source, self.number);
        properties::push(&mut text, property_name::UNIQUE_KEY, &key);
        store.append(&NewMessage {
            topic: TOPIC,
            queue_id: (self.number % self.queues) as i32,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: ([127, 0, 0, 1], 4000).into(),
            store_host: ([127, 0, 0, 1], 10911).into(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &self.body,
            properties: &text,
        })
    }

    /// Appends until the log holds so many bytes. A disk that does not follow is waited for.
    pub(super) fn fill(&mut self, store: &Store, bytes: u64) -> anyhow::Result<u64> {
        const PAUSE: Duration = Duration::from_millis(10);
        let before = self.number;
        let end = i64::try_from(bytes).unwrap_or(i64::MAX);
        loop {
            match self.append_to(store) {
                Ok(appended) if appended.end_offset >= end => return Ok(self.number - before),
                Ok(_) => {}
                Err(AppendError::PageCacheBusy { .. }) => thread::sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Waits until queues and index know everything.
pub(super) fn wait_dispatched(store: &Store) {
    while store.watermarks().dispatched < store.watermarks().written {
        thread::sleep(Duration::from_millis(1));
    }
}
