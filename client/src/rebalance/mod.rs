//! Which queues of a topic a member of a group takes.
//!
//! Every member decides for itself, from the same sorted lists of queues and members: all members of a
//! group, in whatever language, must use the same strategy, or queues are consumed twice or not at all.

mod consistent_hash;
mod machine_room;

use std::borrow::Cow;
use std::fmt;

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::division;

use crate::namespace::{NO_NAMESPACE, Namespace};

pub use consistent_hash::ConsistentHash;
pub use machine_room::{ByMachineRoom, MachineRoomNearby};

/// What a strategy decides upon. Names are those that the application uses, without a namespace.
///
/// Tests of a strategy of one's own make their views themselves:
///
/// ```
/// use thrustmq_client::MessageQueue;
/// use thrustmq_client::rebalance::{Average, GroupView, RebalanceStrategy};
///
/// let queues = [0, 1, 2].map(|queue_id| MessageQueue {
///     topic: "orders".to_owned(),
///     broker_name: "broker-a".to_owned(),
///     queue_id,
/// });
/// let members = ["10.0.0.1@a".to_owned(), "10.0.0.2@b".to_owned()];
/// let view = GroupView::new("billing", "10.0.0.1@a", &queues, &members);
/// assert_eq!(Average.divide(&view), queues[..2]);
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct GroupView<'a> {
    /// The group.
    pub group: &'a str,
    /// The client id of the member for whom is to be decided; it is one of `members`.
    pub client_id: &'a str,
    /// The queues of one topic, sorted by broker and number. Retry topics are divided too.
    pub queues: &'a [MessageQueue],
    /// The client ids of all members, sorted.
    pub members: &'a [String],
    /// What the names lack that servers use.
    namespace: &'a Namespace,
}

impl<'a> GroupView<'a> {
    /// What is to be divided. `queues` and `members` must be sorted.
    pub fn new(
        group: &'a str,
        client_id: &'a str,
        queues: &'a [MessageQueue],
        members: &'a [String],
    ) -> Self {
        Self {
            group,
            client_id,
            queues,
            members,
            namespace: &NO_NAMESPACE,
        }
    }

    /// Of a client with a namespace, which the names do not have.
    pub(crate) fn within(self, namespace: &'a Namespace) -> Self {
        Self { namespace, ..self }
    }

    /// A queue's name as servers and members in other languages have it.
    fn wrapped<'q>(&self, queue: &'q MessageQueue) -> Cow<'q, MessageQueue> {
        self.namespace.wrap_queue(queue)
    }
}

/// Divides a topic's queues among the members of a group.
///
/// A strategy must give each queue to exactly one member and depend on nothing but the view: all
/// members run it for themselves. Queues that are not in the view are ignored.
///
/// ```
/// use thrustmq_client::rebalance::{GroupView, RebalanceStrategy};
/// use thrustmq_client::{MessageQueue, PushConsumer};
///
/// /// Queue by queue in turn, whichever brokers they are of.
/// #[derive(Debug)]
/// struct ByNumber;
///
/// impl RebalanceStrategy for ByNumber {
///     fn divide(&self, view: &GroupView<'_>) -> Vec<MessageQueue> {
///         let ours = view.members.iter().position(|member| member == view.client_id);
///         let is_ours = |queue: &&MessageQueue| {
///             Some(queue.queue_id as usize % view.members.len()) == ours
///         };
///         view.queues.iter().filter(is_ours).cloned().collect()
///     }
/// }
///
/// let builder = PushConsumer::builder("billing").rebalance(ByNumber);
/// # let _ = builder;
/// ```
pub trait RebalanceStrategy: fmt::Debug + Send + Sync {
    /// The queues of the member `view.client_id`.
    fn divide(&self, view: &GroupView<'_>) -> Vec<MessageQueue>;
}

/// Neighbouring queues in equal shares; the first members take one more where it does not divide. The
/// default, in Java as well (`AVG`). [`GroupView`] shows it at work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Average;

impl RebalanceStrategy for Average {
    fn divide(&self, view: &GroupView<'_>) -> Vec<MessageQueue> {
        division::average(view.queues, view.members, view.client_id)
    }
}

/// Queues dealt like cards, so that each member has some of every broker (`AVG_BY_CIRCLE`).
///
/// ```
/// use thrustmq_client::PushConsumer;
/// use thrustmq_client::rebalance::Circle;
///
/// let builder = PushConsumer::builder("billing").rebalance(Circle);
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Circle;

impl RebalanceStrategy for Circle {
    fn divide(&self, view: &GroupView<'_>) -> Vec<MessageQueue> {
        division::by_circle(view.queues, view.members, view.client_id)
    }
}

/// This member takes these queues, whatever the others do (`CONFIG`).
///
/// Topics of which no queue is named are divided as [`Average`] does: a group's retry topic, mostly.
/// (In Java nobody consumes those.) Queues of a namespace may be named with it or without.
///
/// ```
/// use thrustmq_client::rebalance::Configured;
/// use thrustmq_client::{MessageQueue, PushConsumer};
///
/// let mine = MessageQueue {
///     topic: "orders".to_owned(),
///     broker_name: "broker-a".to_owned(),
///     queue_id: 3,
/// };
/// let builder = PushConsumer::builder("billing").rebalance(Configured::new([mine]));
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Configured {
    queues: Vec<MessageQueue>,
}

impl Configured {
    /// A member with these queues.
    pub fn new(queues: impl IntoIterator<Item = MessageQueue>) -> Self {
        Self {
            queues: queues.into_iter().collect(),
        }
    }
}

impl RebalanceStrategy for Configured {
    fn divide(&self, view: &GroupView<'_>) -> Vec<MessageQueue> {
        let topic = view.queues.first().map(|queue| view.wrapped(queue));
        let is_named = |queue: &&MessageQueue| {
            let queue = view.wrapped(queue);
            topic
                .as_ref()
                .is_some_and(|topic| topic.topic == queue.topic)
        };
        if !self.queues.iter().any(|queue| is_named(&queue)) {
            return Average.divide(view);
        }
        self.queues.iter().filter(is_named).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn queue(topic: &str, broker_name: &str, queue_id: i32) -> MessageQueue {
        MessageQueue {
            topic: topic.to_owned(),
            broker_name: broker_name.to_owned(),
            queue_id,
        }
    }

    /// `count` queues on each of these brokers.
    pub(super) fn queues(brokers: &[&str], count: i32) -> Vec<MessageQueue> {
        let of = |broker: &&str| {
            let broker = (*broker).to_owned();
            (0..count).map(move |queue_id| queue("t", &broker, queue_id))
        };
        brokers.iter().flat_map(of).collect()
    }

    /// Each queue goes to exactly one of the members.
    pub(super) fn is_whole(
        strategy: &dyn RebalanceStrategy,
        queues: &[MessageQueue],
        members: &[String],
    ) -> bool {
        let of = |member: &String| strategy.divide(&GroupView::new("g", member, queues, members));
        let mut taken: Vec<_> = members.iter().flat_map(of).collect();
        taken.sort();
        taken == queues
    }

    #[test]
    fn shares_are_whole() {
        for count in 0..9 {
            let members: Vec<_> = (0..=count).map(|n| format!("10.0.0.{n}@x")).collect();
            let queues = queues(&["a", "b"], count);
            assert!(is_whole(&Average, &queues, &members));
            assert!(is_whole(&Circle, &queues, &members));
            assert!(is_whole(&ConsistentHash::default(), &queues, &members));
        }
    }

    #[test]
    fn configured_queues_are_those_of_the_topic() {
        let mine = Configured::new([queue("t", "a", 1), queue("u", "a", 0)]);
        let members = ["one".to_owned()];
        let all = queues(&["a"], 3);
        let view = GroupView::new("g", "one", &all, &members);
        assert_eq!(mine.divide(&view), [queue("t", "a", 1)]);
        let namespace = Namespace::new(Some("east"));
        let wrapped = Configured::new([queue("east%t", "a", 1)]);
        for mine in [&mine, &wrapped] {
            let taken = mine.divide(&view.within(&namespace));
            assert_eq!((taken.len(), taken[0].queue_id), (1, 1));
        }
        let retries = [queue("%RETRY%g", "a", 0)];
        let view = GroupView::new("g", "one", &retries, &members);
        assert_eq!(mine.divide(&view), retries);
    }
}
