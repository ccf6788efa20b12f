//! How a producer is made.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::{HeartbeatData, ProducerData};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::message::compress::CompressionType;
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::Routes;

use super::deliver::DeliveryOptions;
use super::hook::{Hooks, SendHook};
use super::in_flight::InFlightLimits;
use super::linger::{Linger, LingerOptions};
use super::request_reply::{self, Requester};
use super::retry::RETRY_CODES;
use super::send_request::Sender;
use super::trace::{TraceSends, Tracer};
use super::transaction::{self, Checker, Resolution, TransactionProducer};
use super::{Extras, Parts, Producer};
use crate::ReceivedMessage;
use crate::config::ClientConfig;
use crate::error::StartError;
use crate::heartbeat::Heartbeat;
use crate::link::Link;
use crate::namespace::Namespace;

/// Settings of a [`Producer`]; the defaults are those of Java's client.
///
/// ```no_run
/// use std::time::Duration;
/// use thrustmq_client::Producer;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::builder("shop")
///     .name_servers("127.0.0.1:9876")
///     .send_timeout(Duration::from_secs(5))
///     .retries(3)
///     .trace(true)
///     .start()
///     .await?;
/// # drop(producer);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct ProducerBuilder {
    group: String,
    link: ClientConfig,
    body_bytes_max: usize,
    compression: CompressionType,
    compress_above_bytes: usize,
    delivery: DeliveryOptions,
    linger: Duration,
    linger_bytes_max: usize,
    hooks: Hooks,
    traces: bool,
}

impl ProducerBuilder {
    pub(super) fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            link: ClientConfig::default(),
            body_bytes_max: 4 * 1024 * 1024,
            compression: CompressionType::Zlib,
            compress_above_bytes: 4 * 1024,
            delivery: DeliveryOptions {
                send_timeout: Duration::from_secs(3),
                try_timeout: None,
                retries: 2,
                retry_codes: RETRY_CODES.into(),
                retry_when_not_safe: false,
                avoid_ailing_brokers: true,
                in_flight: InFlightLimits {
                    sends: 10_000,
                    bytes: 100 * 1024 * 1024,
                },
                batch_bytes_max: 4 * 1024 * 1024,
            },
            linger: Duration::ZERO,
            linger_bytes_max: 32 * 1024,
            hooks: Hooks::default(),
            traces: false,
        }
    }

    /// How it connects: name servers, credentials, timeouts and more. Replaces what `name_servers` and
    /// `clock` said before.
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.link = config;
        self
    }

    /// Where the name servers are: `host:port`, several with `;` between. Without it the environment
    /// variable `NAMESRV_ADDR` decides.
    pub fn name_servers(mut self, addresses: impl Into<String>) -> Self {
        self.link.name_servers = Some(addresses.into());
        self
    }

    /// How long a send may take, all tries together. Where the topic has several brokers each try gets
    /// its share of what is left, so that one that does not answer cannot use it up. Default 3 s.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.delivery.send_timeout = timeout;
        self
    }

    /// How long one try may take, but for the last, which gets all that is left. Default: its share of
    /// the send timeout; where the topic has one broker only, all of it, since a second try stores the
    /// message twice if the first was slow and not lost.
    pub fn try_timeout(mut self, timeout: Duration) -> Self {
        self.delivery.try_timeout = Some(timeout);
        self
    }

    /// How often a failed send is tried again, on another broker where there is one. An only broker
    /// gets up to half a second between two tries to come back. Default 2.
    pub fn retries(mut self, retries: u32) -> Self {
        self.delivery.retries = retries;
        self
    }

    /// The refusals after which another broker is tried; replaces those of Java's client: 1, 2, 14, 16,
    /// 17, 204, 205 and 1500.
    pub fn retry_codes(mut self, codes: impl IntoIterator<Item = i32>) -> Self {
        self.delivery.retry_codes = codes.into_iter().map(ResponseCode).collect();
        self
    }

    /// Whether a message that a broker stored less safely than it should
    /// ([`SendStatus`](super::SendStatus) other than `Stored`) is sent to another broker too. It is then
    /// stored twice. Default no.
    pub fn retry_when_not_safe(mut self, is_on: bool) -> Self {
        self.delivery.retry_when_not_safe = is_on;
        self
    }

    /// Whether a broker that failed or was slow is passed over for a while: 2 s after an answer that
    /// took 550 ms, up to 30 s after one that took 15 s, 10 s after a failure, as Java's table says. If
    /// all brokers are that ill they get messages nonetheless. Default yes; Java's client has it off.
    pub fn avoid_ailing_brokers(mut self, is_on: bool) -> Self {
        self.delivery.avoid_ailing_brokers = is_on;
        self
    }

    /// Sends under way at a time; further ones wait. Default 10,000.
    pub fn in_flight_max(mut self, sends: u32) -> Self {
        self.delivery.in_flight.sends = sends;
        self
    }

    /// Bytes of bodies under way at a time, as they travel; further sends wait. One message that is
    /// longer goes when nothing else does. Default 100 MiB.
    pub fn in_flight_bytes_max(mut self, bytes: u32) -> Self {
        self.delivery.in_flight.bytes = bytes;
        self
    }

    /// Longest body, in bytes, before compression. Default 4 MiB, as at brokers.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Longest request of a batch, in bytes; longer batches are split. Default 4 MiB, as at brokers.
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.delivery.batch_bytes_max = bytes;
        self
    }

    /// Lets small messages that are sent one by one wait so long for others of their topic, and sends
    /// them together as a batch: fewer requests for a later answer. Each message is reported by
    /// itself. Only [`Producer::send`] waits, and only with messages that may travel in a batch and are
    /// not compressed; they are not in order among those sent at a time. Default: nothing waits; a
    /// usual time is 10 ms.
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// Bytes at which a batch of messages that wait for each other is sent at once; longer messages do
    /// not wait. Default 32 KiB.
    pub fn linger_bytes_max(mut self, bytes: usize) -> Self {
        self.linger_bytes_max = bytes;
        self
    }

    /// Calls a hook around every send. May be called several times.
    pub fn hook(mut self, hook: impl SendHook) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Whether the producer writes message traces, as Java's client does with `enableMsgTrace`: what it
    /// sent, where to, when and how long it took, for the dashboard and `mqadmin`. They go to the topic
    /// `RMQ_SYS_TRACE_TOPIC`, which brokers have with `traceTopicEnable=true`, in the background, up
    /// to 5 s later. What cannot be sent is dropped. Default no.
    pub fn trace(mut self, is_on: bool) -> Self {
        self.traces = is_on;
        self
    }

    /// How bodies are compressed. Default zlib, which every client can read; the others take the features
    /// `lz4` and `zstd`, here and where the messages are received.
    pub fn compression(mut self, compression: CompressionType) -> Self {
        self.compression = compression;
        self
    }

    /// Bodies longer than this, in bytes, are compressed. Default 4 KiB.
    pub fn compress_above_bytes(mut self, bytes: usize) -> Self {
        self.compress_above_bytes = bytes;
        self
    }

    /// Where the producer gets the time from; tests pass a clock that they move.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.link.clock = clock;
        self
    }

    /// Starts the producer. It connects when it first sends, so that it may start before the servers.
    ///
    /// # Errors
    /// A setting is wrong; see [`StartError`].
    pub async fn start(self) -> Result<Producer, StartError> {
        self.start_serving(None).await
    }

    /// Starts a producer of transactions. `check` is asked what became of a transaction whose end a
    /// broker did not hear of: it looks at what the application has stored, and may be called by
    /// any producer of the group, also one that was started after the transaction began. If it
    /// panics, the broker asks again.
    ///
    /// # Errors
    /// A setting is wrong; see [`StartError`].
    pub async fn start_transactions<F, Fut>(
        self,
        check: F,
    ) -> Result<TransactionProducer, StartError>
    where
        F: Fn(ReceivedMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Resolution> + Send + 'static,
    {
        transaction::start(self, Checker::new(check)).await
    }

    /// Starts a producer that waits for replies to what it sends.
    ///
    /// # Errors
    /// A setting is wrong; see [`StartError`].
    pub async fn start_requester(self) -> Result<Requester, StartError> {
        request_reply::start(self).await
    }

    /// The group's name, as servers know it.
    pub(super) fn group(&self) -> String {
        self.link.namespace.wrap(&self.group).into_owned()
    }

    /// What topics are called at the servers.
    pub(super) fn namespace(&self) -> Namespace {
        self.link.namespace.clone()
    }

    async fn extras(&mut self, link: &Arc<Link>) -> Result<Extras, StartError> {
        let linger = LingerOptions {
            time: self.linger,
            bytes_max: self.linger_bytes_max.min(self.delivery.batch_bytes_max),
        };
        let mut extras = Extras {
            hooks: std::mem::take(&mut self.hooks),
            linger: (!self.linger.is_zero()).then(|| Linger::new(linger)),
            tracing: None,
        };
        if self.traces {
            let (tracer, task) = Tracer::start(&self.link, &self.group, "PRODUCE").await?;
            extras.tracing = Some(task);
            extras.hooks.push(Arc::new(TraceSends {
                tracer,
                link: link.clone(),
                group: self.group.clone(),
            }));
        }
        Ok(extras)
    }

    fn check_limits(&self) -> Result<(), StartError> {
        let delivery = &self.delivery;
        if delivery.in_flight.sends == 0 {
            return Err(StartError::ZeroLimit("in_flight_max"));
        }
        if delivery.in_flight.bytes == 0 {
            return Err(StartError::ZeroLimit("in_flight_bytes_max"));
        }
        if delivery.send_timeout.is_zero() {
            return Err(StartError::ZeroTime("send_timeout"));
        }
        if delivery
            .try_timeout
            .is_some_and(|timeout| timeout.is_zero())
        {
            return Err(StartError::ZeroTime("try_timeout"));
        }
        if !self.compression.is_built() {
            return Err(StartError::CompressionNotBuilt(self.compression));
        }
        Ok(())
    }

    /// Starts the producer, and serves what brokers ask of it.
    pub(super) async fn start_serving(
        mut self,
        routes: Option<Arc<Routes>>,
    ) -> Result<Producer, StartError> {
        let group = self.group();
        names::check_group(&group).map_err(|why| StartError::Group {
            group: group.clone(),
            why,
        })?;
        if self.group == names::DEFAULT_PRODUCER_GROUP {
            return Err(StartError::ReservedGroup(self.group));
        }
        self.check_limits()?;
        let link = Arc::new(Link::new(&self.link, routes).await?);
        let extras = self.extras(&link).await?;
        let heartbeat = heartbeat(&link.id.text, &group);
        let keys = UniqueKeys::new(
            link.id.address,
            std::process::id(),
            link.id.instance,
            link.clock.clone(),
        );
        let sender = Sender {
            group,
            namespace: self.link.namespace,
            keys,
            body_bytes_max: self.body_bytes_max,
            compression: self.compression,
            compression_level: 5,
            compress_above_bytes: self.compress_above_bytes,
            traces: self.traces,
        };
        Ok(Producer::run(Parts {
            link,
            sender,
            heartbeat,
            options: self.delivery,
            extras,
        }))
    }
}

fn heartbeat(client_id: &str, group: &str) -> Heartbeat {
    let data = HeartbeatData {
        client_id: client_id.to_owned(),
        producer_data_set: vec![ProducerData {
            group_name: group.to_owned(),
        }],
        ..HeartbeatData::default()
    };
    Heartbeat {
        body: fastjson::to_vec(&data)
            .expect("plain names always encode")
            .into(),
        masters_only: true,
    }
}
