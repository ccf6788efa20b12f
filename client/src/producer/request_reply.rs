//! Requests over topics: [`Requester`] sends a message and waits until whoever consumes it replies;
//! the broker that takes the reply pushes it over the requester's connection.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::header::ReplyMessageRequestHeader;
use thrustmq_proto_compat::message::compress::{DecompressError, decompress};
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::message::{names, property_name, sys_flag};
use thrustmq_proto_compat::request_code::PushReplyMessageToClient;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Handled, Incoming, Pool, PoolOptions, Refusal, Reply, Routes};
use tokio::sync::oneshot;
use tokio::time::timeout_at;
use tracing::debug;

use super::send_request::REPLY;
use super::{Producer, ProducerBuilder, SendReceipt};
use crate::ReceivedMessage;
use crate::error::{SendError, StartError};
use crate::message::{Message, MessageError};
use crate::received::BODY_BYTES_MAX;

/// Requests that may wait for their replies.
const REQUESTS_MAX: usize = 10_000;
/// Replies that may wait to be passed on.
const QUEUE_CAPACITY: usize = 1_000;

/// Why a request has no reply.
///
/// ```
/// use thrustmq_client::RequestError;
/// /// A consumer may have it all the same.
/// fn is_late(why: &RequestError) -> bool {
///     matches!(why, RequestError::Timeout { .. })
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request is not sent.
    #[error("{0}")]
    Send(#[from] SendError),
    /// It is sent; nobody replied in time.
    #[error(
        "no reply within {ms} ms: check that a consumer of the topic runs and calls `Producer::reply`"
    )]
    Timeout {
        /// How long the reply was waited for, with the sending.
        ms: u64,
    },
    /// Too many requests wait for their replies.
    #[error(
        "{0} requests wait for their replies already: wait for some, or shorten their timeouts"
    )]
    TooMany(usize),
}

/// Sends messages and waits for the replies to them.
///
/// The other side consumes the message as any other, and calls [`Producer::reply`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use thrustmq_client::{Message, Producer};
///
/// let requester = Producer::builder("shop")
///     .name_servers("127.0.0.1:9876")
///     .start_requester()
///     .await?;
/// let request = Message::new("prices", "apples");
/// let reply = requester.request(request, Duration::from_secs(3)).await?;
/// println!("{:?}", reply.body);
/// requester.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Requester {
    producer: Producer,
    waiting: Arc<Waiting>,
    /// The brokers that know us, and so can push replies.
    greeted: tokio::sync::Mutex<BTreeSet<String>>,
    _pool: RequestPool,
}

pub(super) async fn start(builder: ProducerBuilder) -> Result<Requester, StartError> {
    let pool = RequestPool(Pool::new(PoolOptions {
        name: "client-requests",
        threads: 1,
        queue_capacity: QUEUE_CAPACITY,
        lends: 0,
    }));
    let waiting = Arc::new(Waiting::default());
    let routes = Routes::builder(waiting.clone())
        .on::<PushReplyMessageToClient>(&pool.0, take_reply)
        .build();
    let producer = builder.start_serving(Some(routes)).await?;
    Ok(Requester {
        producer,
        waiting,
        greeted: tokio::sync::Mutex::default(),
        _pool: pool,
    })
}

impl Requester {
    /// Sends a message and waits for the reply, both together at most for `timeout`.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(
        &self,
        message: Message,
        timeout: Duration,
    ) -> Result<ReceivedMessage, RequestError> {
        let deadline = tokio::time::Instant::now() + timeout;
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let exchanged = timeout_at(deadline, self.exchange(message, ms)).await;
        exchanged.unwrap_or(Err(RequestError::Timeout { ms }))
    }

    async fn exchange(&self, message: Message, ms: u64) -> Result<ReceivedMessage, RequestError> {
        self.greet(message.topic()).await?;
        let inner = &self.producer.inner;
        let id = inner.sender.keys.next_key();
        let request = message
            .with_system(property_name::CORRELATION_ID, id.as_str())
            .with_system(property_name::REPLY_TO_CLIENT, inner.link.id.text.as_str())
            .with_system(property_name::TTL, ms.to_string());
        let mut reply = self.waiting.expect(id)?;
        self.producer.send(request).await?;
        Ok(reply.await_reply().await)
    }

    /// Makes sure that the brokers of a topic know us before anybody may reply over them.
    async fn greet(&self, topic: &str) -> Result<(), SendError> {
        let link = &self.producer.inner.link;
        link.publish_route(&link.namespace.wrap(topic)).await?;
        let brokers = link.broker_addresses(true);
        let mut greeted = self.greeted.lock().await;
        if *greeted != brokers {
            self.producer.inner.heartbeat.beat(link).await;
            *greeted = brokers;
        }
        Ok(())
    }

    /// For messages that want no reply.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Shuts the producer down as [`Producer::shutdown`] does. Requests that still wait end with a
    /// timeout.
    pub async fn shutdown(&self) {
        self.producer.shutdown().await;
    }
}

impl Producer {
    /// Replies to a message that a [`Requester`] sent, in whatever language it runs.
    ///
    /// # Errors
    /// The message is no request, or the reply was not sent. The broker refuses replies to requesters
    /// that are gone.
    pub async fn reply(
        &self,
        request: &ReceivedMessage,
        body: impl Into<Bytes>,
    ) -> Result<SendReceipt, SendError> {
        let property = |name: &'static str| {
            let value = request.properties.get(name);
            value.ok_or(SendError::Message(MessageError::NoRequest(name)))
        };
        let topic = names::reply_topic(property(property_name::CLUSTER)?);
        let mut reply = Message::new(topic, body).with_system(property_name::MESSAGE_TYPE, REPLY);
        for name in [
            property_name::CORRELATION_ID,
            property_name::REPLY_TO_CLIENT,
            property_name::TTL,
        ] {
            reply = reply.with_system(name, property(name)?);
        }
        self.send(reply).await
    }
}

/// Serves the brokers; its thread ends with the requester.
#[derive(Debug)]
struct RequestPool(Arc<Pool>);

impl Drop for RequestPool {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// The requests that wait for replies, by correlation id.
#[derive(Debug, Default)]
struct Waiting {
    requests: Mutex<HashMap<String, oneshot::Sender<ReceivedMessage>>>,
}

/// A reply to come. Dropped, nobody waits for it any longer.
struct Expected {
    waiting: Arc<Waiting>,
    id: String,
    reply: oneshot::Receiver<ReceivedMessage>,
}

impl Waiting {
    fn expect(self: &Arc<Self>, id: String) -> Result<Expected, RequestError> {
        let (sender, reply) = oneshot::channel();
        let mut requests = self.requests();
        if requests.len() >= REQUESTS_MAX {
            return Err(RequestError::TooMany(REQUESTS_MAX));
        }
        requests.insert(id.clone(), sender);
        let waiting = self.clone();
        Ok(Expected { waiting, id, reply })
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<ReceivedMessage>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Expected {
    /// The reply; for ever if it does not come.
    async fn await_reply(&mut self) -> ReceivedMessage {
        match (&mut self.reply).await {
            Ok(reply) => reply,
            // Its sender goes with us only.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.requests().remove(&self.id);
    }
}

fn take_reply(waiting: &Waiting, incoming: Incoming<ReplyMessageRequestHeader>) -> Handled<()> {
    let body = incoming.command.body.to_bytes();
    let reply = message_of(incoming.header, body);
    let reply =
        reply.map_err(|cause| Refusal::new(ResponseCode::SYSTEM_ERROR, cause.to_string()))?;
    let id = reply.properties.get(property_name::CORRELATION_ID);
    let request = id.and_then(|id| waiting.requests().remove(id));
    match request {
        // It may have given up at this moment.
        Some(request) => drop(request.send(reply)),
        None => debug!(topic = reply.topic, "reply to no request that waits"),
    }
    Ok(Reply::success())
}

/// A pushed reply as a received message. It has no place in a queue.
fn message_of(
    header: ReplyMessageRequestHeader,
    body: Bytes,
) -> Result<ReceivedMessage, DecompressError> {
    let is_packed = sys_flag::is_compressed(header.sys_flag) && !body.is_empty();
    let body_bytes = body.len();
    let body = if is_packed {
        decompress(&body, header.sys_flag, BODY_BYTES_MAX)?.into()
    } else {
        body
    };
    Ok(ReceivedMessage {
        topic: header.topic,
        body,
        properties: Properties::parse(header.properties.as_deref().unwrap_or_default()),
        flag: header.flag,
        sys_flag: sys_flag::without_compressed(header.sys_flag),
        queue_id: header.queue_id,
        queue_offset: 0,
        physical_offset: 0,
        born_timestamp: header.born_timestamp_ms,
        born_host: host(&header.born_host),
        store_timestamp: header.store_timestamp_ms,
        store_host: host(&header.store_host),
        reconsume_times: header.reconsume_times,
        prepared_transaction_offset: 0,
        body_crc: 0,
        store_bytes: body_bytes,
    })
}

/// An address as Java writes it, which may begin with a slash.
fn host(text: &str) -> SocketAddr {
    let address = text.trim_start_matches('/').parse();
    address.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(properties: &str) -> ReplyMessageRequestHeader {
        ReplyMessageRequestHeader {
            producer_group: "g".into(),
            topic: "c_REPLY_TOPIC".into(),
            default_topic: String::new(),
            default_topic_queue_nums: 4,
            queue_id: 0,
            sys_flag: 0,
            born_timestamp_ms: 1,
            flag: 7,
            properties: Some(properties.into()),
            reconsume_times: 0,
            unit_mode: false,
            born_host: "/10.0.0.1:5".into(),
            store_host: "10.0.0.2:6".into(),
            store_timestamp_ms: 2,
        }
    }

    #[test]
    fn a_pushed_reply_is_a_message() {
        let properties = format!("{}\u{1}x\u{2}", property_name::CORRELATION_ID);
        let reply = message_of(header(&properties), Bytes::from_static(b"yes")).unwrap();
        assert_eq!((&reply.body[..], reply.flag), (&b"yes"[..], 7));
        assert_eq!(
            reply.properties.get(property_name::CORRELATION_ID),
            Some("x")
        );
        assert_eq!(reply.born_host, "10.0.0.1:5".parse().unwrap());
        let mut packed = header("");
        packed.sys_flag = sys_flag::COMPRESSED;
        assert!(message_of(packed, Bytes::from_static(b"no zlib")).is_err());
    }

    #[test]
    fn who_gave_up_leaves_nothing_behind_and_no_more_wait_than_may() {
        let waiting = Arc::new(Waiting::default());
        let all: Vec<_> = (0..REQUESTS_MAX)
            .map(|id| waiting.expect(id.to_string()))
            .collect();
        assert!(all.iter().all(Result::is_ok));
        let more = waiting.expect("more".into());
        assert!(matches!(more, Err(RequestError::TooMany(REQUESTS_MAX))));
        drop(all);
        assert!(waiting.requests().is_empty());
    }
}
