//! Message trace as Java's clients write it (11-observability §11.3): a record for each message that
//! was sent, many of them in one message of the trace topic. A task with a producer of its own sends
//! them; what it cannot keep up with is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::message::property_name;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};

use super::hook::{SendHook, Sent};
use super::send_request::SendReceipt;
use super::{Producer, ProducerBuilder, SendStatus};
use crate::config::ClientConfig;
use crate::error::StartError;
use crate::link::Link;
use crate::message::Message;
use crate::stop::{StopSignal, StopSource};
use crate::trace_record::{SentTrace, TraceRecord, TracedKind};

/// Records that wait, as many as Java's client keeps.
const RECORDS_MAX: usize = 2_048;
/// So many are sent without waiting for more.
const RECORDS_AT_ONCE: usize = 10;
/// How long a record waits for others.
const GATHER_TIME: Duration = Duration::from_secs(5);
/// Longest body of records, in bytes, but for one record that is longer.
const BODY_BYTES_MAX: usize = 128_000;
/// Longest list of keys, in bytes: with its ids it has to fit the properties.
const KEYS_BYTES_MAX: usize = 16 * 1024;
/// How long a message of records may take; nobody waits for it but shutdown.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the traced group in the name of the group that traces.
const GROUP_BYTES_MAX: usize = 80;

/// One record as it travels, and the keys by which it is found.
#[derive(Debug)]
pub(crate) struct TraceText {
    pub(crate) text: String,
    pub(crate) keys: String,
}

/// Takes records; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tracer {
    records: mpsc::Sender<TraceText>,
    dropped: Arc<AtomicU64>,
}

/// The task that sends records.
#[derive(Debug)]
pub(crate) struct TraceTask {
    stop: StopSource,
    task: JoinHandle<()>,
}

impl Tracer {
    /// Starts to trace the client of `group`; `kind` is `PRODUCE` or `CONSUME`.
    pub(crate) async fn start(
        config: &ClientConfig,
        group: &str,
        kind: &str,
    ) -> Result<(Self, TraceTask), StartError> {
        let group = group.get(..GROUP_BYTES_MAX).unwrap_or(group);
        let group = format!("_INNER_TRACE_PRODUCER-{group}-{kind}-1");
        let builder = ProducerBuilder::new(group).config(config.clone());
        // A producer starts its tracer, which starts a producer: one without a tracer.
        let producer = Box::pin(builder.send_timeout(SEND_TIMEOUT).start()).await?;
        let (records, receiver) = mpsc::channel(RECORDS_MAX);
        let stop = StopSource::new();
        let task = tokio::spawn(run(receiver, producer, stop.signal()));
        let tracer = Self {
            records,
            dropped: Arc::default(),
        };
        Ok((tracer, TraceTask { stop, task }))
    }

    /// Has a record sent, unless too many wait.
    pub(crate) fn record(&self, record: TraceText) {
        if self.records.try_send(record).is_ok() {
            return;
        }
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            debug!(dropped, "trace records dropped");
        }
    }
}

impl TraceTask {
    /// Sends what is left and ends.
    pub(crate) async fn shutdown(self) {
        self.stop.stop();
        if timeout(2 * SEND_TIMEOUT, self.task).await.is_err() {
            debug!("trace records are left unsent");
        }
    }
}

async fn run(mut records: mpsc::Receiver<TraceText>, producer: Producer, mut stop: StopSignal) {
    let mut had_trouble = false;
    while let Some(first) = next(&mut records, &mut stop).await {
        let batch = gather(first, &mut records, &mut stop).await;
        let sent = producer.send(batch.into_message()).await;
        match &sent {
            Err(cause) if !had_trouble => warn!(%cause, "trace records not sent"),
            Err(cause) => debug!(%cause, "trace records not sent"),
            Ok(_) => {}
        }
        had_trouble = sent.is_err();
    }
    producer.shutdown().await;
}

/// The next record; none after the last, when the client stops.
async fn next(records: &mut mpsc::Receiver<TraceText>, stop: &mut StopSignal) -> Option<TraceText> {
    tokio::select! {
        next = records.recv() => next,
        () = stop.stopped() => {
            records.close();
            records.recv().await
        }
    }
}

/// Waits for a few records, and takes what is there besides.
async fn gather(
    first: TraceText,
    records: &mut mpsc::Receiver<TraceText>,
    stop: &mut StopSignal,
) -> TraceBatch {
    let mut batch = TraceBatch::default();
    batch.push(&first);
    let deadline = Instant::now() + GATHER_TIME;
    while !batch.is_full() {
        let more = if batch.records < RECORDS_AT_ONCE {
            let more = timeout_at(deadline, next(records, stop)).await;
            more.ok().flatten()
        } else {
            records.try_recv().ok()
        };
        let Some(more) = more else { break };
        batch.push(&more);
    }
    batch
}

/// Records that travel together.
#[derive(Debug, Default)]
struct TraceBatch {
    records: usize,
    body: String,
    keys: String,
}

impl TraceBatch {
    fn push(&mut self, record: &TraceText) {
        self.records += 1;
        self.body.push_str(&record.text);
        if !self.keys.is_empty() {
            self.keys.push(property_name::KEY_SEPARATOR);
        }
        self.keys.push_str(&record.keys);
    }

    fn is_full(&self) -> bool {
        self.body.len() >= BODY_BYTES_MAX || self.keys.len() >= KEYS_BYTES_MAX
    }

    fn into_message(self) -> Message {
        Message::new(names::TRACE_TOPIC, self.body).key(self.keys)
    }
}

/// Traces what a producer sends.
#[derive(Debug)]
pub(super) struct TraceSends {
    pub(super) tracer: Tracer,
    pub(super) link: Arc<Link>,
    pub(super) group: String,
}

impl SendHook for TraceSends {
    fn after(&self, sent: &Sent<'_>) {
        let Ok(Some(receipt)) = sent.outcome else {
            return; // As Java: what is not stored, or not known to be, is not traced.
        };
        let Some(region) = &receipt.region else {
            return; // The broker does not want it traced.
        };
        let topic = self.link.namespace.wrap(sent.message.topic());
        let route = self.link.cached_route(&topic);
        let address = route
            .as_ref()
            .and_then(|route| route.master_address(&receipt.queue.broker_name));
        let keys = sent.message.system_property(property_name::KEYS);
        let store = Store {
            region,
            group: &self.group,
            address: address.unwrap_or_default(),
        };
        self.tracer.record(TraceText {
            text: TraceRecord::Sent(sent_trace(sent, receipt, &store)).encode(),
            keys: match keys {
                Some(keys) => format!("{} {keys}", receipt.msg_id),
                None => receipt.msg_id.clone(),
            },
        });
    }
}

/// Where a message is stored, and who sent it.
struct Store<'a> {
    region: &'a str,
    group: &'a str,
    address: &'a str,
}

fn sent_trace(sent: &Sent<'_>, receipt: &SendReceipt, store: &Store<'_>) -> SentTrace {
    let Sent { message, .. } = sent;
    let property = |name| message.system_property(name).map(str::to_owned);
    SentTrace {
        started_ms: sent.started_ms,
        region: store.region.to_owned(),
        group: store.group.to_owned(),
        topic: message.topic().to_owned(),
        message_id: receipt.msg_id.clone(),
        tag: property(property_name::TAGS),
        keys: property(property_name::KEYS),
        stored_at: store.address.to_owned(),
        body_bytes: i64::try_from(message.body().len()).unwrap_or(i64::MAX),
        elapsed_ms: sent.elapsed_ms,
        kind: kind(message),
        offset_message_id: receipt.offset_msg_id.clone(),
        is_success: receipt.status == SendStatus::Stored,
    }
}

fn kind(message: &Message) -> TracedKind {
    let is_half = message.system_property(property_name::TRANSACTION_PREPARED) == Some("true");
    match (is_half, message.is_delayed()) {
        (true, _) => TracedKind::Half,
        (_, true) => TracedKind::Delayed,
        _ => TracedKind::Normal,
    }
}

#[cfg(test)]
mod tests {
    use thrustmq_proto_compat::body::MessageQueue;

    use super::*;

    #[test]
    fn a_record_has_the_fields_of_java() {
        let message = Message::new("t", "body").tag("x").key("a").key("b");
        let receipt = SendReceipt {
            status: SendStatus::Stored,
            msg_id: "ID".into(),
            offset_msg_id: "PLACE".into(),
            queue: MessageQueue::default(),
            queue_offset: 7,
            transaction_id: None,
            recall_handle: None,
            region: None,
        };
        let sent = Sent {
            message: &message.delay_level(1),
            outcome: Ok(Some(&receipt)),
            started_ms: 1_700,
            elapsed_ms: 5,
        };
        let store = Store {
            region: "DefaultRegion",
            group: "pg",
            address: "1.2.3.4:10911",
        };
        let record = TraceRecord::Sent(sent_trace(&sent, &receipt, &store)).encode();
        let wanted = "Pub|1700|DefaultRegion|pg|t|ID|x|a b|1.2.3.4:10911|4|5|3|PLACE|true\u{2}";
        assert_eq!(record.replace('\u{1}', "|"), wanted);
    }

    #[test]
    fn a_batch_is_full_before_its_keys_are_too_long() {
        let mut batch = TraceBatch::default();
        let record = TraceText {
            text: "x\u{2}".into(),
            keys: "k".repeat(100),
        };
        while !batch.is_full() {
            batch.push(&record);
        }
        let message = batch.into_message();
        assert!(message.properties_text(0).unwrap().len() < 17_000);
        assert_eq!(message.topic(), "RMQ_SYS_TRACE_TOPIC");
    }
}
