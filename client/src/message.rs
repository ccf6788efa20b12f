//! What an application sends: topic, body, and the properties that brokers and consumers read.
//!
//! A [`Message`] is checked as a whole before anything is sent, so that a mistake costs no round trip.

use bytes::Bytes;
use thrustmq_proto_compat::message::{names, properties, properties::Properties, property_name};

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

    /// Delivers the message after one of the broker's delay levels, 1 (1 s) to 18 (2 h) by default.
    pub fn delay_level(self, level: u32) -> Self {
        self.with_system(property_name::DELAY_LEVEL, level.to_string())
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
        if self.body.is_empty() {
            return Err(MessageError::EmptyBody);
        }
        if self.body.len() > body_bytes_max {
            return Err(MessageError::BodyTooLong {
                bytes: self.body.len(),
                bytes_max: body_bytes_max,
            });
        }
        self.check_properties()
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
    fn properties_must_fit_their_length_field() {
        let message = Message::new("t", "b").property("p", "x".repeat(40_000));
        let error = message.properties_text(0).unwrap_err();
        assert!(matches!(
            error,
            MessageError::PropertiesTooLong { bytes: 40_003, .. }
        ));
    }
}
