//! Names within a namespace: `namespace%topic`, as brokers and other clients of the namespace know
//! them. Applications say and see the plain ones.
//!
//! Invariant: whatever crosses from an application to a server is wrapped, and what comes back to the
//! application is unwrapped; everything between works with wrapped names.

use std::borrow::Cow;
use std::net::SocketAddr;

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::message::names::{
    DEAD_LETTER_PREFIX, REPLY_TOPIC_SUFFIX, RETRY_PREFIX, is_system_group, is_system_topic,
};
use thrustmq_remoting::{Refusal, RpcHook};

const SEPARATOR: char = '%';

/// The namespace of a client, mostly none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespace {
    name: Option<String>,
}

/// No namespace, for those who only borrow one.
pub(crate) static NO_NAMESPACE: Namespace = Namespace { name: None };

impl Namespace {
    pub(crate) fn new(name: Option<&str>) -> Self {
        Self {
            name: name.filter(|name| !name.is_empty()).map(str::to_owned),
        }
    }

    /// Its name, if there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The name by which servers know a topic or group. RocketMQ's own have no namespace, and a name
    /// that is wrapped already stays as it is.
    pub(crate) fn wrap<'a>(&self, name: &'a str) -> Cow<'a, str> {
        let Some(namespace) = &self.name else {
            return name.into();
        };
        let is_own =
            is_system_topic(name) || is_system_group(name) || name.ends_with(REPLY_TOPIC_SUFFIX);
        if name.is_empty() || is_own {
            return name.into();
        }
        let (prefix, rest) = split_prefix(name);
        if self.without(rest).is_some() {
            return name.into();
        }
        format!("{prefix}{namespace}{SEPARATOR}{rest}").into()
    }

    /// Gives a topic or group the name back that the application knows.
    pub(crate) fn unwrap(&self, name: &mut String) {
        let (prefix, rest) = split_prefix(name);
        if let Some(plain) = self.without(rest) {
            *name = format!("{prefix}{plain}");
        }
    }

    /// The name of a topic or group as the application knows it.
    pub(crate) fn plain<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.name.is_none() {
            return name.into();
        }
        let mut plain = name.to_owned();
        self.unwrap(&mut plain);
        plain.into()
    }

    /// A queue as the application knows it.
    pub(crate) fn plain_queue<'a>(&self, queue: &'a MessageQueue) -> Cow<'a, MessageQueue> {
        if self.name.is_none() {
            return Cow::Borrowed(queue);
        }
        let mut plain = queue.clone();
        self.unwrap(&mut plain.topic);
        Cow::Owned(plain)
    }

    /// A queue as servers know it.
    pub(crate) fn wrap_queue<'a>(&self, queue: &'a MessageQueue) -> Cow<'a, MessageQueue> {
        match self.wrap(&queue.topic) {
            Cow::Borrowed(_) => Cow::Borrowed(queue),
            Cow::Owned(topic) => Cow::Owned(MessageQueue {
                topic,
                ..queue.clone()
            }),
        }
    }

    fn without<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.name.as_deref()?)?
            .strip_prefix(SEPARATOR)
    }
}

/// The topics of a group's retries and dead letters keep their prefix in front.
fn split_prefix(name: &str) -> (&str, &str) {
    for prefix in [RETRY_PREFIX, DEAD_LETTER_PREFIX] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return (prefix, rest);
        }
    }
    ("", name)
}

/// Names the namespace in every request, for servers and proxies that keep namespaces apart themselves.
#[derive(Debug)]
pub(crate) struct NamespaceFields {
    pub(crate) namespace: String,
}

impl RpcHook for NamespaceFields {
    fn before(&self, _: SocketAddr, request: &mut Command) -> Result<(), Refusal> {
        request.fields.set("nsd", "true");
        request.fields.set("ns", &self.namespace);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped(namespace: &Namespace, name: &str) -> String {
        let mut name = name.to_owned();
        namespace.unwrap(&mut name);
        name
    }

    #[test]
    fn names_are_wrapped_once_and_unwrapped_again() {
        let namespace = Namespace::new(Some("east"));
        for (plain, wrapped) in [
            ("orders", "east%orders"),
            ("%RETRY%group", "%RETRY%east%group"),
            ("%DLQ%group", "%DLQ%east%group"),
        ] {
            assert_eq!(namespace.wrap(plain), wrapped);
            assert_eq!(namespace.wrap(wrapped), wrapped);
            assert_eq!(unwrapped(&namespace, wrapped), plain);
            assert_eq!(unwrapped(&namespace, plain), plain);
        }
        assert_eq!(unwrapped(&namespace, "west%orders"), "west%orders");
        assert_eq!(unwrapped(&namespace, "eastern%orders"), "eastern%orders");
    }

    #[test]
    fn queues_are_named_like_their_topics() {
        let queue = |topic: &str| MessageQueue {
            topic: topic.to_owned(),
            broker_name: "a".to_owned(),
            queue_id: 3,
        };
        let namespace = Namespace::new(Some("east"));
        for given in [queue("orders"), queue("east%orders")] {
            assert_eq!(*namespace.wrap_queue(&given), queue("east%orders"));
            assert_eq!(*namespace.plain_queue(&given), queue("orders"));
        }
        let own = queue("RMQ_SYS_TRACE_TOPIC");
        assert_eq!(*namespace.wrap_queue(&own), own);
        assert_eq!(*NO_NAMESPACE.plain_queue(&queue("x%y")), queue("x%y"));
        assert_eq!(namespace.plain("%RETRY%east%group"), "%RETRY%group");
        assert_eq!(NO_NAMESPACE.plain("east%group"), "east%group");
    }

    #[test]
    fn rocketmqs_own_names_stay() {
        let namespace = Namespace::new(Some("east"));
        for own in [
            "RMQ_SYS_TRACE_TOPIC",
            "TBW102",
            "CID_RMQ_SYS_X",
            "c_REPLY_TOPIC",
            "",
        ] {
            assert_eq!(namespace.wrap(own), own);
        }
    }

    #[test]
    fn without_a_namespace_nothing_changes() {
        for none in [Namespace::default(), Namespace::new(Some(""))] {
            assert_eq!(none.wrap("orders"), "orders");
            assert_eq!(unwrapped(&none, "east%orders"), "east%orders");
        }
    }

    #[test]
    fn every_request_names_the_namespace_once() {
        let hook = NamespaceFields {
            namespace: "east".to_owned(),
        };
        let mut request = Command::new(1);
        let remote = "127.0.0.1:1".parse().unwrap();
        hook.before(remote, &mut request).unwrap();
        hook.before(remote, &mut request).unwrap();
        let fields: Vec<_> = request.fields.iter().collect();
        assert_eq!(fields.len(), 2);
        assert_eq!(request.fields.get("ns"), Some("east"));
        assert_eq!(request.fields.get("nsd"), Some("true"));
    }
}
