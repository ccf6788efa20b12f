//! What can go wrong, an enum for each operation. Every text says what to do about it.

use std::path::PathBuf;

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::message::compress::CompressionType;
use thrustmq_proto_compat::message::names::NameError;
use thrustmq_remoting::{CallError, Refusal};

use crate::admin::RedriveProgress;
use crate::message::{Message, MessageError};
use crate::producer::SendReceipt;

/// Why a producer or consumer does not start.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use thrustmq_client::{Producer, StartError};
/// let wrong = Producer::builder("a b").name_servers("127.0.0.1:9876").start().await;
/// assert!(matches!(wrong, Err(StartError::Group { .. })));
/// # });
/// ```
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
    /// The group's name is the one that Java's clients start with, and so not allowed.
    #[error("group '{0}' is reserved: give the producers of your application a group of their own")]
    ReservedGroup(String),
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
    /// The application was built without the compression that the producer shall use.
    #[error(
        "the client was built without {_0:?}: enable the feature `{}` of thrustmq-client, or choose zlib",
        _0.feature()
    )]
    CompressionNotBuilt(CompressionType),
    /// A broker does not evaluate a condition of [`Subscription::sql`](crate::Subscription::sql).
    #[error(
        "the broker does not take the condition '{condition}' on topic '{topic}': {refusal}; correct it, \
         or set enablePropertyFilter=true in the broker's configuration"
    )]
    Filter {
        /// The topic subscribed to.
        topic: String,
        /// The condition as given.
        condition: String,
        /// What the broker said.
        refusal: Refusal,
    },
    /// The offsets of a broadcasting consumer cannot be read.
    #[error(
        "the offsets below {} cannot be read: {cause}; repair or remove offsets.json and its .bak there, or \
         call `offset_directory` on the builder", directory.display()
    )]
    OffsetFile {
        /// The directory of the offsets.
        directory: PathBuf,
        /// What is wrong.
        cause: std::io::Error,
    },
    /// Another consumer of the group in this process has the same client id.
    #[error(
        "another consumer of group '{group}' in this process is '{client_id}' too, and both would \
         take the same queues: give each its own `instance_name`, or none"
    )]
    ClientIdTaken {
        /// The id.
        client_id: String,
        /// The group.
        group: String,
    },
    /// A time of the configuration is zero.
    #[error("`{0}` must be longer than nothing")]
    ZeroTime(&'static str),
    /// A certificate, a key or a name for TLS cannot be used.
    #[cfg(feature = "tls")]
    #[error("TLS cannot be used: {what}: {cause}")]
    Tls {
        /// The file, or the setting.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The operating system gave no thread.
    #[error("no thread for the requests of brokers: {0}")]
    Thread(String),
}

/// Why the place of a topic is not known.
///
/// ```
/// use thrustmq_client::RouteError;
/// fn is_to_be_created(why: &RouteError) -> bool {
///     matches!(why, RouteError::NoSuchTopic(_))
/// }
/// ```
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
///
/// ```
/// use thrustmq_client::SendError;
/// /// Nothing was sent, and sending it again is no use.
/// fn is_our_mistake(why: &SendError) -> bool {
///     matches!(why, SendError::Message(_) | SendError::Forbidden(_))
/// }
/// ```
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
    /// A hook of the producer forbids the message; nothing was sent.
    #[error("a hook forbids the message: {0}")]
    Forbidden(String),
    /// The selector chose a queue that is not there.
    #[error("the selector chose queue {index} of {queues}: choose one of 0 to {queues} - 1")]
    NoSuchQueue {
        /// What it chose.
        index: usize,
        /// How many there are.
        queues: usize,
    },
    /// The producer was shut down.
    #[error("the producer is shut down")]
    ShutDown,
}

/// Why a message was not taken back.
///
/// ```
/// use thrustmq_client::RecallError;
/// /// It was delivered already, or the broker does not allow it.
/// fn is_refused(why: &RecallError) -> bool {
///     matches!(why, RecallError::Call { .. })
/// }
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RecallError {
    /// Not a handle.
    #[error("'{0}' is no recall handle: take it from the receipt of a message with a delay")]
    Handle(String),
    /// Where to ask is not known.
    #[error("{0}")]
    Route(#[from] RouteError),
    /// The broker that holds the message is not in the topic's route.
    #[error(
        "no address is known of the master of broker '{broker_name}': it is down or not registered"
    )]
    NoBroker {
        /// The broker.
        broker_name: String,
    },
    /// The broker refused, because the message was delivered already or it does not allow it
    /// (`recallMessageEnable`), or did not answer.
    #[error("broker '{broker_name}' did not take the message back: {cause}")]
    Call {
        /// The broker.
        broker_name: String,
        /// What came of the call.
        cause: CallError,
    },
}

/// Why a batch was not sent as a whole.
///
/// ```no_run
/// # async fn example(producer: thrustmq_client::Producer, batch: Vec<thrustmq_client::Message>) {
/// if let Err(why) = producer.send_batch(batch).await {
///     println!("{}; once more:", why.cause);
///     let _ = producer.send_batch(why.unsent).await;
/// }
/// # }
/// ```
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

/// Why a [`LitePullConsumer`](crate::LitePullConsumer) does not do what it was told.
///
/// ```no_run
/// use thrustmq_client::{LitePullConsumer, LitePullError, MessageQueue};
///
/// # fn example(consumer: &mut LitePullConsumer, queue: &MessageQueue) -> Result<(), LitePullError> {
/// match consumer.seek(queue, 0) {
///     Err(LitePullError::NotAssigned(queue)) => println!("{queue} went to another member"),
///     other => other?,
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LitePullError {
    /// The group shares the queues.
    #[error(
        "the consumer subscribes, so that its group shares the queues: call no `subscribe` on the builder to \
         assign queues yourself"
    )]
    Subscribed,
    /// The queue is another member's, or nobody's.
    #[error("queue {0} is not this consumer's: `assignment` says which are")]
    NotAssigned(MessageQueue),
    /// A server did not answer, or refused.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Why an administrative call failed.
///
/// ```
/// use thrustmq_client::{AdminError, RouteError};
/// fn is_absent(why: &AdminError) -> bool {
///     matches!(why, AdminError::Route(RouteError::NoSuchTopic(_)))
/// }
/// ```
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
    /// An id that names no place.
    #[error(
        "'{id}' is no id that a broker gave: {cause}; look for the id of a producer by the message's topic"
    )]
    NoPlace {
        /// The id as given.
        id: String,
        /// What is wrong with it.
        cause: String,
    },
    /// No broker knows the group.
    #[error("no broker knows group '{0}': check its name, or create it")]
    NoSuchGroup(String),
    /// No broker is registered that could be asked.
    #[error("no broker is registered: check that one runs and which name servers it is told")]
    NoBrokers,
    /// No broker of this name is registered.
    #[error("broker '{broker_name}' is not registered; registered are {known:?}")]
    NoSuchBroker {
        /// The name as given.
        broker_name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A queue whose broker is not in the route.
    #[error("no address is known of the broker of queue {0:?}")]
    NoBroker(MessageQueue),
}

/// Why not all dead letters were sent back.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) {
/// use thrustmq_client::Redrive;
/// if let Err(why) = admin.redrive(&Redrive::of("billing"), |_| {}).await {
///     println!("{} were sent before: {}", why.done.messages, why.cause);
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{} messages are sent back, then: {cause}; start it again to go on", done.messages)]
pub struct RedriveError {
    /// What was done.
    pub done: RedriveProgress,
    /// What ended it.
    pub cause: RedriveCause,
}

/// What ends a re-drive early.
///
/// ```
/// use thrustmq_client::RedriveCause;
/// fn is_of_one_message(cause: &RedriveCause) -> bool {
///     matches!(cause, RedriveCause::Send { .. })
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedriveCause {
    /// The dead letters cannot be read, or how far it is cannot be noted.
    #[error("{0}")]
    Admin(#[from] AdminError),
    /// A dead letter was not sent.
    #[error("the dead letter at {offset} is not sent: {cause}")]
    Send {
        /// Its number in the dead-letter queue.
        offset: i64,
        /// Why.
        cause: SendError,
    },
    /// A dead letter that no consumer gave up: somebody sent it to the topic.
    #[error(
        "the dead letter at {offset}, {message_id}, does not say from which topic it came: move it by hand"
    )]
    NoOrigin {
        /// Its id.
        message_id: String,
        /// Its number in the dead-letter queue.
        offset: i64,
    },
}
