//! What can go wrong, an enum for each operation. Every text says what to do about it.

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::message::names::NameError;
use thrustmq_remoting::{CallError, Refusal};

use crate::message::{Message, MessageError};
use crate::producer::SendReceipt;

/// Why a producer or consumer does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The group's name is not allowed.
    #[error("group '{group}' is not a valid name: {why}")]
    Group {
        /// The name as given.
        group: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// A subscribed topic's name is not allowed.
    #[error("topic '{topic}' is not a valid name: {why}")]
    Topic {
        /// The name as given.
        topic: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// Nobody said where the name servers are.
    #[error(
        "no name server is known: call `name_servers(\"host:9876\")` on the builder or set the \
         environment variable NAMESRV_ADDR"
    )]
    NoNameServer,
    /// A consumer without a topic would never receive anything.
    #[error("the consumer subscribes to nothing: call `subscribe(topic, tags)` on the builder")]
    NothingSubscribed,
    /// A limit of the builder is zero.
    #[error("`{0}` must be at least 1")]
    ZeroLimit(&'static str),
    /// The operating system gave no thread.
    #[error("no thread for the requests of brokers: {0}")]
    Thread(String),
}

/// Why the place of a topic is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No name server answered.
    #[error("no name server of {addresses:?} answered: check that one runs there ({last})")]
    NoNameServer {
        /// All addresses that were tried.
        addresses: Vec<String>,
        /// What the last one failed with.
        last: CallError,
    },
    /// The name servers do not know the topic, and no broker creates it on first use.
    #[error(
        "topic '{0}' does not exist: create it, or let a broker with autoCreateTopicEnable=true \
         register at the name servers"
    )]
    NoSuchTopic(String),
    /// The name server refused, or its answer cannot be read.
    #[error("name server {address} gave no route: {cause}")]
    BadAnswer {
        /// The name server.
        address: String,
        /// What is wrong.
        cause: String,
    },
    /// The topic is known, but none of its brokers can take or give messages.
    #[error(
        "topic '{0}' has no queue that can be used: its brokers are down, or its permission forbids it"
    )]
    NoQueue(String),
}

/// Why a message was not sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message itself is at fault; nothing was sent.
    #[error("{0}")]
    Message(#[from] MessageError),
    /// Where to send is not known; nothing was sent.
    #[error("{0}")]
    Route(#[from] RouteError),
    /// The broker that owns the queue is not in the topic's route.
    #[error(
        "no address is known of the master of broker '{broker_name}': it is down or not registered"
    )]
    NoBroker {
        /// The broker.
        broker_name: String,
    },
    /// The broker said no, and no other broker is to be asked.
    #[error("broker '{broker_name}' refused: {refusal}")]
    Refused {
        /// The broker.
        broker_name: String,
        /// Its code and remark.
        refusal: Refusal,
    },
    /// Every try failed; the message may be stored if the last failure is a timeout.
    #[error("{tries} tries within {elapsed_ms} ms failed, the last at '{broker_name}': {last}")]
    Exhausted {
        /// How often it was tried.
        tries: u32,
        /// For how long.
        elapsed_ms: i64,
        /// The broker of the last try.
        broker_name: String,
        /// What the last try failed with.
        last: CallError,
    },
    /// The answer cannot be read; the message is probably stored.
    #[error("broker '{broker_name}' answered what cannot be read: {cause}")]
    BadAnswer {
        /// The broker.
        broker_name: String,
        /// What is wrong.
        cause: String,
    },
    /// The producer was shut down.
    #[error("the producer is shut down")]
    ShutDown,
}

/// Why a batch was not sent as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{} requests of the batch are stored, {} messages are not: {cause}", stored.len(), unsent.len())]
pub struct BatchSendError {
    /// What is stored, a receipt for each request that the batch was split into.
    pub stored: Vec<SendReceipt>,
    /// What is not, in order.
    pub unsent: Vec<Message>,
    /// Why.
    pub cause: SendError,
}

/// Why an administrative call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The client does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The name servers gave no answer, or no such topic.
    #[error("{0}")]
    Route(#[from] RouteError),
    /// A broker or name server gave no answer, or refused.
    #[error("{address} did not do it: {cause}")]
    Call {
        /// Whom we asked.
        address: String,
        /// What came of it.
        cause: CallError,
    },
    /// An answer that cannot be read.
    #[error("{address} answered what cannot be read: {cause}")]
    BadAnswer {
        /// Whom we asked.
        address: String,
        /// What is wrong.
        cause: String,
    },
    /// No such cluster.
    #[error("cluster '{cluster}' is not registered; registered are {known:?}")]
    NoSuchCluster {
        /// The name as given.
        cluster: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A queue whose broker is not in the route.
    #[error("no address is known of the broker of queue {0:?}")]
    NoBroker(MessageQueue),
}
