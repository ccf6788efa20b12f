//! What was appended, to be compared with what a store holds.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use thrustmq_store::{
    AppendError, FlushOutcome, NewBatchItem, QueryRequest, QueueRange, Store, Watermarks,
};

use super::{bodies, message, wait_dispatched};

/// One message.
#[derive(Debug, Clone)]
struct Sent {
    body: String,
    /// End of its record in the log.
    end_offset: i64,
}

/// Everything that was appended, by queue, oldest first. Each body is also the key of its message,
/// and no two are equal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    queues: BTreeMap<(String, i32), Vec<Sent>>,
    /// The log is on the disk up to here, as the store said.
    acknowledged: i64,
    numbers: usize,
}

impl Ledger {
    fn next_body(&mut self) -> String {
        self.numbers += 1;
        format!("{}-{}", self.numbers, "x".repeat(self.numbers * 75 % 300))
    }

    /// Appends a message.
    pub(crate) fn append(
        &mut self,
        store: &Store,
        topic: &str,
        queue_id: i32,
    ) -> Result<(), AppendError> {
        let body = self.next_body();
        let properties = format!("KEYS\u{1}{body}\u{2}TAGS\u{1}tag\u{2}");
        let appended = store.append(&message(topic, queue_id, body.as_bytes(), &properties))?;
        let queue = self.queues.entry((topic.to_owned(), queue_id)).or_default();
        assert_eq!(appended.queue_offset, queue.len() as i64, "offset is dense");
        queue.push(Sent {
            body,
            end_offset: appended.end_offset,
        });
        Ok(())
    }

    /// Appends messages as one batch.
    pub(crate) fn append_batch(
        &mut self,
        store: &Store,
        topic: &str,
        count: usize,
    ) -> Result<(), AppendError> {
        let bodies: Vec<_> = (0..count).map(|_| self.next_body()).collect();
        let keys: Vec<_> = bodies
            .iter()
            .map(|body| format!("KEYS\u{1}{body}\u{2}"))
            .collect();
        let items: Vec<_> = bodies
            .iter()
            .zip(&keys)
            .map(|(body, properties)| NewBatchItem {
                flag: 0,
                body: body.as_bytes(),
                properties,
            })
            .collect();
        let appended = store.append_batch(&message(topic, 0, b"", ""), &items)?;
        let queue = self.queues.entry((topic.to_owned(), 0)).or_default();
        let ends = appended.physical_offsets.iter().skip(1).copied();
        let ends = ends.chain([appended.end_offset]);
        queue.extend(
            bodies
                .into_iter()
                .zip(ends)
                .map(|(body, end_offset)| Sent { body, end_offset }),
        );
        Ok(())
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&mut self, store: &Store, topic: &str) {
        store.delete_topic(topic);
        self.queues.retain(|(name, _), _| name != topic);
    }

    /// Waits for the disk, and notes what it said.
    pub(crate) fn flush(&mut self, store: &Store) -> FlushOutcome {
        let (sender, receiver) = sync_channel(1);
        let written = store.watermarks().written;
        let callback = move |outcome| sender.send(outcome).unwrap();
        store.when_flushed(written, Box::new(callback));
        let outcome = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        if outcome == FlushOutcome::Flushed {
            self.acknowledged = self.acknowledged.max(written);
        }
        outcome
    }

    /// The store holds everything that was acknowledged, and of the rest what was appended before
    /// some moment; nothing else, nothing twice, each at its offset, and found by its key. Returns
    /// the ledger of that.
    pub(crate) fn check(&self, store: &Store) -> Self {
        wait_dispatched(store);
        let marks: Watermarks = store.watermarks();
        assert!(
            marks.written >= self.acknowledged,
            "{} were acknowledged, {marks:?}",
            self.acknowledged
        );
        let mut survivors = self.clone();
        survivors.acknowledged = marks.flushed;
        for ((topic, queue_id), queue) in &mut survivors.queues {
            queue.retain(|sent| sent.end_offset <= marks.written);
            let expected: Vec<_> = queue.iter().map(|sent| sent.body.as_str()).collect();
            assert_eq!(
                bodies(store, topic, *queue_id),
                expected,
                "{topic} {queue_id}"
            );
            for body in expected {
                let found = found(store, topic, body);
                assert_eq!(found, 1, "{body} of {topic} found by its key");
            }
        }
        survivors.queues.retain(|_, queue| !queue.is_empty());
        for topic in store.topics() {
            for queue_id in store.queues_of(&topic) {
                let known = survivors.queues.contains_key(&(topic.clone(), queue_id));
                let range = store.queue_range(&topic, queue_id);
                let is_empty = range == QueueRange::default();
                assert!(known || is_empty, "{topic} {queue_id} has {range:?}");
            }
        }
        survivors
    }

    /// Appends one message more to each queue.
    pub(crate) fn append_everywhere(&mut self, store: &Store) {
        let queues: Vec<_> = self.queues.keys().cloned().collect();
        for (topic, queue_id) in queues {
            self.append(store, &topic, queue_id).unwrap();
        }
    }
}

fn found(store: &Store, topic: &str, key: &str) -> usize {
    let outcome = store.query(&QueryRequest {
        topic,
        key,
        messages_max: 10,
        begin_ms: 0,
        end_ms: i64::MAX,
    });
    outcome.unwrap().records.len()
}
