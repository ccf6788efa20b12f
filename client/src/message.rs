//! What an application sends: topic, body, and the properties that brokers and consumers read.
//!
//! A [`Message`] is checked as a whole before anything is sent, so that a mistake costs no round trip.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use thrustmq_proto_compat::message::{names, properties, properties::Properties, property_name};

/// The properties that delay a message.
const DELAYS: [&str; 4] = [
    property_name::DELAY_LEVEL,
    property_name::TIMER_DELIVER_MS,
    property_name::TIMER_DELAY_MS,
    property_name::TIMER_DELAY_SEC,
];

/// A message to be sent.
///
/// ```
/// use thrustmq_client::Message;
/// let message = Message::new("orders", "4711 is paid").tag("paid").key("4711").property("shop", "7");
/// assert_eq!(message.topic(), "orders");
/// ```
#[derive(Debug, Clone)]
pub struct Message {
    topic: String,
    body: Bytes,
    flag: i32,
    system: Properties,
    user: Properties,
}

/// Why a message is not sent at all.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use thrustmq_client::{Message, MessageError, Producer, SendError};
/// let producer = Producer::builder("shop").name_servers("127.0.0.1:9876").start().await.unwrap();
/// let empty = producer.send(Message::new("orders", "")).await;
/// assert!(matches!(empty, Err(SendError::Message(MessageError::EmptyBody))));
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The topic's name is not allowed.
    #[error("topic '{topic}' cannot be sent to: {why}")]
    Topic {
        /// The name as given.
        topic: String,
        /// What is wrong with it.
        why: String,
    },
    /// Brokers refuse messages without a body.
    #[error("the message has no body: put at least one byte in it")]
    EmptyBody,
    /// The body is longer than the producer's limit.
    #[error(
        "the body has {bytes} bytes, more than the {bytes_max} allowed: store it elsewhere and send a reference, \
         or raise `body_bytes_max` here and `maxMessageSize` at the broker"
    )]
    BodyTooLong {
        /// Bytes of the body.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// RocketMQ uses the name itself.
    #[error("the property name '{0}' is used by RocketMQ itself: choose another name")]
    ReservedProperty(String),
    /// A name or value is empty or holds one of the two separators of the wire format.
    #[error("property '{0}' is empty or holds a control character 1 or 2")]
    UnsendableProperty(String),
    /// All properties together do not fit the wire format.
    #[error("the properties take {bytes} bytes, more than the {bytes_max} that fit a message")]
    PropertiesTooLong {
        /// Bytes of all properties.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The topic is one of those that brokers keep for themselves.
    #[error("topic '{0}' is kept by brokers for themselves: send to a topic of your own")]
    SystemTopic(String),
    /// The queue belongs to another topic.
    #[error("the message is for topic '{topic}', the queue belongs to topic '{queue_topic}'")]
    QueueOfOtherTopic {
        /// The message's topic.
        topic: String,
        /// The queue's.
        queue_topic: String,
    },
    /// Only one of `delay_level`, `deliver_at` and `deliver_after` can decide.
    #[error(
        "the message has two delays: keep one of `delay_level`, `deliver_at` and `deliver_after`"
    )]
    SeveralDelays,
    /// A transaction decides when its message is delivered, and nothing else does.
    #[error("a {0} message cannot be part of a transaction: send it after the commit")]
    NotForTransaction(&'static str),
    /// Only what a requester sent can be replied to.
    #[error(
        "the message is no request, it has no property '{0}': reply only to what `Requester::request` sent"
    )]
    NoRequest(&'static str),
    /// A batch must be for one topic, and its messages not delayed.
    #[error("{0} cannot travel in a batch: send it by itself")]
    NotForBatch(&'static str),
}

impl Message {
    /// A message for `topic`.
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            body: body.into(),
            flag: 0,
            system: Properties::new(),
            user: Properties::new(),
        }
    }

    /// Sets the tag by which consumers can filter.
    pub fn tag(self, tag: impl Into<String>) -> Self {
        self.with_system(property_name::TAGS, tag)
    }

    /// Adds a key by which the message can be found later, such as an order number.
    pub fn key(self, key: impl AsRef<str>) -> Self {
        let keys = match self.system.get(property_name::KEYS) {
            Some(keys) => format!("{keys}{}{}", property_name::KEY_SEPARATOR, key.as_ref()),
            None => key.as_ref().to_owned(),
        };
        self.with_system(property_name::KEYS, keys)
    }

    /// Adds a property of the application's own.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user.set(name, value);
        self
    }

    /// Adds a property, as [`property`](Self::property) does: for hooks.
    pub fn set_property(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.user.set(name, value);
    }

    /// Delivers the message after one of the broker's delay levels, 1 (1 s) to 18 (2 h) by default.
    pub fn delay_level(self, level: u32) -> Self {
        self.with_system(property_name::DELAY_LEVEL, level.to_string())
    }

    /// Delivers the message at this time, to the millisecond as far as the broker's timer is that
    /// exact (a second by default). A time that is past counts as now. Brokers refuse times too far
    /// off, by default more than 3 days. The receipt has a handle by which
    /// [`Producer::recall`](crate::Producer::recall) takes the message back.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use thrustmq_client::Message;
    /// let new_year = UNIX_EPOCH + Duration::from_secs(1_798_761_600);
    /// let message = Message::new("greetings", "happy new year").deliver_at(new_year);
    /// # let _ = message;
    /// ```
    pub fn deliver_at(self, time: SystemTime) -> Self {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH);
        let ms = since_epoch.unwrap_or_default().as_millis();
        self.with_system(property_name::TIMER_DELIVER_MS, ms.to_string())
    }

    /// Delivers the message when this time has passed, counted by the broker from when it stores it.
    /// As [`deliver_at`](Self::deliver_at) otherwise.
    pub fn deliver_after(self, delay: Duration) -> Self {
        let ms = delay.as_millis().to_string();
        self.with_system(property_name::TIMER_DELAY_MS, ms)
    }

    /// `false`: the broker answers without waiting for its disk and its replicas.
    pub fn wait_store_ok(self, wait: bool) -> Self {
        self.with_system(property_name::WAIT_STORE_OK, wait.to_string())
    }

    /// Sets the number that RocketMQ carries for the application unread.
    pub fn flag(mut self, flag: i32) -> Self {
        self.flag = flag;
        self
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn user_flag(&self) -> i32 {
        self.flag
    }

    pub(crate) fn system_property(&self, name: &str) -> Option<&str> {
        self.system.get(name)
    }

    pub(crate) fn with_system(mut self, name: &str, value: impl Into<String>) -> Self {
        self.system.set(name, value);
        self
    }

    /// Checks everything that a broker would refuse.
    pub(crate) fn check(&self, body_bytes_max: usize) -> Result<(), MessageError> {
        names::check_topic(&self.topic).map_err(|why| MessageError::Topic {
            topic: self.topic.clone(),
            why: why.to_string(),
        })?;
        if !names::is_sendable_topic(&self.topic) {
            return Err(MessageError::SystemTopic(self.topic.clone()));
        }
        if self.body.is_empty() {
            return Err(MessageError::EmptyBody);
        }
        if self.body.len() > body_bytes_max {
            return Err(MessageError::BodyTooLong {
                bytes: self.body.len(),
                bytes_max: body_bytes_max,
            });
        }
        if self.delays().count() > 1 {
            return Err(MessageError::SeveralDelays);
        }
        self.check_properties()
    }

    /// Whether it is delivered later than it is stored.
    pub(crate) fn is_delayed(&self) -> bool {
        self.delays().next().is_some()
    }

    fn delays(&self) -> impl Iterator<Item = &str> {
        DELAYS.iter().filter_map(|name| self.system.get(name))
    }

    fn check_properties(&self) -> Result<(), MessageError> {
        for (name, _) in self.user.iter() {
            if property_name::ALL.contains(&name) {
                return Err(MessageError::ReservedProperty(name.to_owned()));
            }
        }
        for (name, value) in self.user.iter().chain(self.system.iter()) {
            if !is_sendable(name) || !is_sendable(value) {
                return Err(MessageError::UnsendableProperty(name.to_owned()));
            }
        }
        Ok(())
    }

    /// The text of all properties, with room for `spare_bytes` more.
    pub(crate) fn properties_text(&self, spare_bytes: usize) -> Result<String, MessageError> {
        let both = || self.system.iter().chain(self.user.iter());
        let bytes: usize = both()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum();
        let bytes = bytes + spare_bytes;
        if bytes > properties::TEXT_BYTES_MAX {
            return Err(MessageError::PropertiesTooLong {
                bytes,
                bytes_max: properties::TEXT_BYTES_MAX,
            });
        }
        let mut text = String::with_capacity(bytes);
        for (name, value) in both() {
            properties::push(&mut text, name, value);
        }
        Ok(text)
    }
}

fn is_sendable(text: &str) -> bool {
    !text.is_empty()
        && !text.contains([
            properties::NAME_VALUE_SEPARATOR,
            properties::ENTRY_SEPARATOR,
        ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_by_a_blank() {
        let message = Message::new("t", "b")
            .key("a")
            .key("b")
            .tag("x")
            .property("p", "v");
        let text = message.properties_text(0).unwrap();
        assert_eq!(properties::get(&text, "KEYS"), Some("a b"));
        assert_eq!(properties::get(&text, "TAGS"), Some("x"));
        assert_eq!(properties::get(&text, "p"), Some("v"));
        assert_eq!(message.check(10), Ok(()));
    }

    #[test]
    fn what_a_broker_would_refuse_is_refused_here() {
        let check = |message: Message| message.check(10).unwrap_err();
        assert!(matches!(
            check(Message::new("no blank", "b")),
            MessageError::Topic { .. }
        ));
        assert_eq!(check(Message::new("t", "")), MessageError::EmptyBody);
        let long = MessageError::BodyTooLong {
            bytes: 11,
            bytes_max: 10,
        };
        assert_eq!(check(Message::new("t", vec![0; 11])), long);
        let reserved = MessageError::ReservedProperty("TAGS".into());
        assert_eq!(
            check(Message::new("t", "b").property("TAGS", "x")),
            reserved
        );
        let separator = MessageError::UnsendableProperty("p".into());
        assert_eq!(
            check(Message::new("t", "b").property("p", "x\u{1}y")),
            separator
        );
        let empty = MessageError::UnsendableProperty("TAGS".into());
        assert_eq!(check(Message::new("t", "b").tag("")), empty);
    }

    #[test]
    fn one_delay_decides() {
        let message = || Message::new("t", "b");
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let timed = message().deliver_at(at);
        assert_eq!(
            timed.system_property("TIMER_DELIVER_MS"),
            Some("1700000000123")
        );
        let delayed = message().deliver_after(Duration::from_secs(2));
        assert_eq!(delayed.system_property("TIMER_DELAY_MS"), Some("2000"));
        assert!(delayed.is_delayed() && !message().is_delayed());
        assert_eq!(timed.check(10), Ok(()));
        for both in [timed.delay_level(3), delayed.deliver_at(at)] {
            assert_eq!(both.check(10), Err(MessageError::SeveralDelays));
        }
    }

    #[test]
    fn topics_of_brokers_are_not_sent_to() {
        let half = Message::new(names::HALF_TOPIC, "b");
        let refused = MessageError::SystemTopic(names::HALF_TOPIC.into());
        assert_eq!(half.check(10), Err(refused));
        assert_eq!(Message::new(names::TRACE_TOPIC, "b").check(10), Ok(()));
    }

    #[test]
    fn properties_must_fit_their_length_field() {
        let message = Message::new("t", "b").property("p", "x".repeat(40_000));
        let error = message.properties_text(0).unwrap_err();
        assert!(matches!(
            error,
            MessageError::PropertiesTooLong { bytes: 40_003, .. }
        ));
    }
}
