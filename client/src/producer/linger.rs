//! Collects small messages that are sent one by one into batches: the messages of one topic wait for
//! each other a moment. `mod.rs` puts them in, a task for each batch takes them out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thrustmq_proto_compat::message::{names, property_name};
use tokio::sync::oneshot;

use super::Inner;
use super::in_flight::Place;
use super::send_request::{SendReceipt, SendRequest, batch_bytes};
use crate::error::SendError;
use crate::message::Message;

/// How long messages wait for others, and for how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct LingerOptions {
    pub(super) time: Duration,
    pub(super) bytes_max: usize,
}

/// The messages that wait. There are never more than sends may be under way.
#[derive(Debug)]
pub(super) struct Linger {
    options: LingerOptions,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Tells a batch from its successor.
    last_number: u64,
    batches: HashMap<Kind, Batch>,
}

/// What the messages of a batch must have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    topic: String,
    waits_for_store: bool,
}

#[derive(Debug)]
struct Batch {
    number: u64,
    bytes: usize,
    entries: Vec<Entry>,
}

/// A message that waits, and who waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    message: Message,
    outcome: oneshot::Sender<Result<SendReceipt, SendError>>,
    /// Kept until the message is sent, also if nobody waits for it any longer.
    place: Place,
}

/// What follows when a message was put in.
enum Next {
    /// Somebody else sends it.
    Nothing,
    /// It is the first of a batch, which has to be sent when its time is over.
    Later(Kind, u64),
    /// The batch is full.
    Now(Vec<Entry>),
}

impl Linger {
    pub(super) fn new(options: LingerOptions) -> Self {
        Self {
            options,
            waiting: Mutex::default(),
        }
    }

    /// How long a message waits at most.
    pub(super) fn time(&self) -> Duration {
        self.options.time
    }

    /// Whether a message may wait for others: it must be small and fit a batch.
    pub(super) fn takes(&self, message: &Message, compress_above_bytes: usize) -> bool {
        let bytes = message.body().len();
        let is_special = [
            property_name::TRANSACTION_PREPARED,
            property_name::MESSAGE_TYPE,
        ]
        .iter()
        .any(|name| message.system_property(name).is_some());
        bytes <= compress_above_bytes
            && bytes < self.options.bytes_max
            && !message.is_delayed()
            && !is_special
            && !names::is_retry_topic(message.topic())
    }

    fn put(&self, entry: Entry) -> Next {
        let kind = kind_of(&entry.message);
        let bytes = batch_bytes(&entry.message);
        let mut waiting = self.lock();
        let Some(batch) = waiting.batches.get_mut(&kind) else {
            waiting.last_number += 1;
            let number = waiting.last_number;
            let batch = Batch {
                number,
                bytes,
                entries: vec![entry],
            };
            waiting.batches.insert(kind.clone(), batch);
            return Next::Later(kind, number);
        };
        batch.bytes = batch.bytes.saturating_add(bytes);
        batch.entries.push(entry);
        if batch.bytes < self.options.bytes_max {
            return Next::Nothing;
        }
        let batch = waiting.batches.remove(&kind);
        batch.map_or(Next::Nothing, |batch| Next::Now(batch.entries))
    }

    /// The batch, if it was not full and sent before.
    fn take(&self, kind: &Kind, number: u64) -> Vec<Entry> {
        let mut waiting = self.lock();
        match waiting.batches.get(kind) {
            Some(batch) if batch.number == number => {}
            _ => return Vec::new(),
        }
        let batch = waiting.batches.remove(kind);
        batch.map(|batch| batch.entries).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind_of(message: &Message) -> Kind {
    Kind {
        topic: message.topic().to_owned(),
        waits_for_store: message.system_property(property_name::WAIT_STORE_OK) != Some("false"),
    }
}

impl Inner {
    /// Sends a message together with others that come soon.
    pub(super) async fn send_lingering(
        self: &Arc<Self>,
        linger: &Linger,
        message: Message,
    ) -> Result<SendReceipt, SendError> {
        // One that is at fault must not spoil the batch of others.
        self.request(&message)?;
        let place = self.in_flight.enter(message.body().len()).await?;
        let (sender, outcome) = oneshot::channel();
        let next = linger.put(Entry {
            message,
            outcome: sender,
            place,
        });
        match next {
            Next::Nothing => {}
            Next::Now(entries) => drop(tokio::spawn(send_together(self.clone(), entries))),
            Next::Later(kind, number) => {
                let inner = self.clone();
                tokio::spawn(async move {
                    let Some(linger) = &inner.linger else { return };
                    tokio::time::sleep(linger.time()).await;
                    let entries = linger.take(&kind, number);
                    send_together(inner.clone(), entries).await;
                });
            }
        }
        outcome.await.unwrap_or(Err(SendError::ShutDown))
    }
}

async fn send_together(inner: Arc<Inner>, entries: Vec<Entry>) {
    let (mut messages, mut waiting) = (Vec::new(), Vec::new());
    for entry in entries {
        messages.push(entry.message);
        waiting.push((entry.outcome, entry.place));
    }
    let now_ms = inner.link.clock.now_ms();
    let request = match &messages[..] {
        [] => return,
        [message] => SendRequest::of(&inner.sender, message, now_ms),
        several => SendRequest::of_batch(&inner.sender, several, now_ms),
    };
    let sent = match request {
        Ok(mut request) => inner.delivery.deliver(&mut request, None).await,
        Err(cause) => Err(cause.into()),
    };
    for (at, (outcome, _place)) in waiting.into_iter().enumerate() {
        // Whoever does not wait any longer does not want to know.
        let _ = outcome.send(match &sent {
            Ok(receipt) => Ok(receipt.of_message(at)),
            Err(cause) => Err(cause.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_flight::{InFlight, InFlightLimits};
    use super::*;

    fn linger() -> Linger {
        Linger::new(LingerOptions {
            time: Duration::from_millis(10),
            bytes_max: 500,
        })
    }

    async fn entry(topic: &str) -> Entry {
        let limits = InFlightLimits {
            sends: 10,
            bytes: 1_000,
        };
        Entry {
            message: Message::new(topic, vec![1; 100]),
            outcome: oneshot::channel().0,
            place: InFlight::new(limits).enter(1).await.unwrap(),
        }
    }

    #[tokio::test]
    async fn a_batch_ends_by_time_or_by_size() {
        let linger = linger();
        let Next::Later(kind, first) = linger.put(entry("t").await) else {
            panic!("the first of a batch")
        };
        assert!(matches!(linger.put(entry("t").await), Next::Nothing));
        assert!(matches!(linger.put(entry("u").await), Next::Later(..)));
        assert_eq!(linger.take(&kind, first).len(), 2);
        assert_eq!(linger.take(&kind, first).len(), 0, "it is gone");

        let Next::Later(kind, second) = linger.put(entry("t").await) else {
            panic!("the first of a batch")
        };
        assert!(matches!(linger.put(entry("t").await), Next::Nothing));
        let Next::Now(full) = linger.put(entry("t").await) else {
            panic!("more than 500 bytes")
        };
        assert_eq!(full.len(), 3);
        let Next::Later(_, third) = linger.put(entry("t").await) else {
            panic!("the first of a batch")
        };
        assert_eq!(linger.take(&kind, second).len(), 0, "its timer comes late");
        assert_eq!(linger.take(&kind, third).len(), 1);
    }

    #[test]
    fn only_small_and_plain_messages_wait() {
        let linger = linger();
        let small = || Message::new("t", "x");
        assert!(linger.takes(&small().tag("x").key("k"), 4_096));
        assert!(!linger.takes(&small().delay_level(1), 4_096));
        assert!(!linger.takes(&small().deliver_after(Duration::ZERO), 4_096));
        assert!(!linger.takes(&small().with_system("TRAN_MSG", "true"), 4_096));
        assert!(!linger.takes(&Message::new("%RETRY%g", "x"), 4_096));
        assert!(!linger.takes(&Message::new("t", vec![1; 500]), 4_096));
        assert!(!linger.takes(&Message::new("t", vec![1; 100]), 99));
    }
}
