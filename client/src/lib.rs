//! The RocketMQ client for Rust applications: async, typed, for Apache's brokers and ThrustMQ's.
//!
//! ```no_run
//! use thrustmq_client::{ConsumeResult, Message, Producer, PushConsumer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let consumer = PushConsumer::builder("order-service")
//!     .name_servers("127.0.0.1:9876")
//!     .subscribe("orders", "paid || shipped")
//!     .start(|message| async move {
//!         println!("{} {:?}", message.message_id(), message.body);
//!         ConsumeResult::Success
//!     })
//!     .await?;
//!
//! let producer = Producer::builder("shop").name_servers("127.0.0.1:9876").start().await?;
//! let receipt = producer.send(Message::new("orders", "4711").tag("paid").key("4711")).await?;
//! println!("{} is in {}", receipt.msg_id, receipt.queue);
//!
//! producer.shutdown().await;
//! consumer.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Which type for what
//!
//! | To | Use |
//! |---|---|
//! | send messages: one, many, with a callback, without an answer | [`Producer`] |
//! | send a message if, and only if, a local transaction succeeds | [`TransactionProducer`] |
//! | send a request and wait for a consumer's reply | [`Requester`] |
//! | receive messages as a member of a group, by a listener | [`PushConsumer`] |
//! | the same as a stream | [`PushConsumerBuilder::stream`] |
//! | receive messages as a member of a group, when the application asks | [`LitePullConsumer`] |
//! | the same as a stream | [`LitePullConsumer::stream`] |
//! | take messages on lease, without queues to share | [`PopConsumer`], [`PopConsumerBuilder::listen`] |
//! | read queues from where the application says | [`PullConsumer`] |
//! | look after topics, groups, offsets, brokers and messages | [`Admin`] |
//! | say how they all connect: TLS, credentials, namespaces, timeouts | [`ClientConfig`] |
//!
//! Each is made by a builder whose defaults are those of Java's client, and started by `start`. A
//! client connects when it first needs to: it may start before the servers do, and finds them again
//! when they were gone. Every client has connections of its own, so make one for a program and clone
//! it, not one for each message.
//!
//! # What is promised
//!
//! - **A send that returns a receipt is stored** by the broker, as safely as the broker was
//!   configured to store; [`SendStatus`] tells. A send that fails is not, unless the error says that
//!   it may be: after a timeout nobody knows. Sending again then may store it twice.
//! - **A message is delivered at least once** to each group: until a listener returned
//!   [`ConsumeResult::Success`], it comes again, later and later, and after
//!   [`reconsume_times_max`](PushConsumerBuilder::reconsume_times_max) tries it goes to the topic
//!   `%DLQ%group`. Listeners must bear to see a message twice; [`key`](Message::key) helps to notice.
//! - **Messages of one queue are stored in the order of their sends**, each of which waited for the
//!   one before. Listeners of a [`PushConsumer`] run side by side and see no order.
//! - **Nothing waits for ever**: each call has a time, each queue and table a limit. A silent broker
//!   uses up its share of a send's time and no more.
//!
//! # The end
//!
//! Call `shutdown` on each client: a producer waits for what is under way, a consumer for its
//! listeners, and commits. One that is only dropped stops as well, but nobody waits: what is under
//! way when the runtime ends is lost, or comes again.
//!
//! # Errors
//!
//! Each kind of call has its error type: [`StartError`] for settings, before anything is connected;
//! [`SendError`] for sends, [`RouteError`] for topics and name servers, [`AdminError`] for the rest.
//! Their texts say what to do. Where a broker said no, its [`Refusal`] is in the error with its
//! code and its words.
//!
//! # Features of Cargo
//!
//! - `lz4`, `zstd`, on by default: bodies compressed so can be sent and received. Without them a program is
//!   smaller and builds without a C compiler; zlib, which all clients use unless told otherwise, is always there.
//! - `tls`: encrypted connections, with rustls; `ClientConfig::tls`.
//! - `name-server-domain`: an address server tells where the name servers are;
//!   `ClientConfig::name_server_domain`.
//! - `opentelemetry`: the context of a trace travels in the properties of messages; the module
//!   `opentelemetry`.
//! - `testing`: a name server and a broker in the process of your tests; the module `testing`.
//!
//! # Where it runs
//!
//! Everything runs on the tokio runtime on which it was started. It logs with `tracing`, of which
//! warnings and errors mean that somebody should look.
#![forbid(unsafe_code)]
// The modules stand in dependency order, leaves first.

mod credentials;
mod namespace;
#[cfg(feature = "tls")]
mod tls;

mod config;
#[cfg(feature = "name-server-domain")]
mod name_server_domain;

mod client_id;
mod message;
mod received;
mod route;
mod stop;
mod subscription;
mod trace_record;

mod route_cache;

mod error;
mod name_servers;

mod link;

mod queue_offsets;

mod admin;
mod heartbeat;

pub mod rebalance;

mod consumer;
mod pop;
mod producer;
mod pull_consumer;

#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use admin::{
    Admin, BrokerSetting, ConsumedDirectly, ConsumerInfo, FoundMessage, GroupConfig,
    GroupConnections, GroupRates, KeySearch, MessageWalk, NewGroup, NewTopic, OffsetRange,
    PermissionChange, ProducersByGroup, QueueLag, QueueStats, Redrive, RedriveProgress,
    Replication, Statistic, Statistics, TimeRange, TopicConfig, TopicRates, Traced,
};
pub use config::ClientConfig;
pub use consumer::{
    Assignments, BatchResult, ConsumeEnd, ConsumeFrom, ConsumeHook, ConsumeResult, ConsumedBatch,
    Delivery, LitePullConsumer, LitePullConsumerBuilder, MessageStream, OrderedResult,
    PolledMessages, PushConsumer, PushConsumerBuilder, TopicQueues,
};
pub use credentials::Credentials;
pub use error::{
    AdminError, BatchSendError, LitePullError, RecallError, RedriveCause, RedriveError, RouteError,
    SendError, StartError,
};
pub use message::{Message, MessageError};
pub use pop::{Leased, PopConsumer, PopConsumerBuilder, PopListener, PopResult};
pub use producer::{
    Producer, ProducerBuilder, RequestError, Requester, Resolution, SendHook, SendReceipt,
    SendStatus, Sent, Transaction, TransactionError, TransactionProducer, at_random, by_hash,
};
pub use pull_consumer::{Pull, PullCall, PullConsumer, PullConsumerBuilder};
pub use received::ReceivedMessage;
pub use route::TopicRoute;
pub use subscription::Subscription;
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use trace_record::{
    ConsumedTrace, ConsumingTrace, RecallTrace, SentTrace, TraceRecord, TracedKind,
    TransactionTrace,
};

pub use thrustmq_proto_compat::body::{MessageQueue, MessageRequestMode};
pub use thrustmq_proto_compat::clock::Clock;
pub use thrustmq_proto_compat::message::compress::CompressionType;
pub use thrustmq_remoting::{CallError, Refusal};
