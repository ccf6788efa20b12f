//! Queues by consistent hashing: a member that comes or goes moves few queues of the others.

use std::collections::BTreeMap;

use thrustmq_proto_compat::body::MessageQueue;

use super::{GroupView, RebalanceStrategy};

/// Queues and members on a ring of hashes; a queue belongs to the next member (`CONSISTENT_HASH`).
/// Shares differ in size; what is won is that queues stay where they are when members come and go.
///
/// ```
/// use thrustmq_client::PushConsumer;
/// use thrustmq_client::rebalance::ConsistentHash;
///
/// let builder = PushConsumer::builder("billing").rebalance(ConsistentHash::new(50));
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ConsistentHash {
    virtual_nodes: u32,
}

impl Default for ConsistentHash {
    /// 10 places on the ring for each member, as in Java.
    fn default() -> Self {
        Self { virtual_nodes: 10 }
    }
}

impl ConsistentHash {
    /// With this many places on the ring for each member: more make shares more equal. All members of
    /// a group need the same number; 0 counts as 1.
    pub fn new(virtual_nodes: u32) -> Self {
        Self {
            virtual_nodes: virtual_nodes.max(1),
        }
    }
}

impl RebalanceStrategy for ConsistentHash {
    fn divide(&self, view: &GroupView<'_>) -> Vec<MessageQueue> {
        let mut ring = BTreeMap::new();
        for member in view.members {
            for node in 0..self.virtual_nodes {
                ring.insert(hash(&format!("{member}-{node}")), member);
            }
        }
        let owner = |queue: &MessageQueue| {
            let after = ring.range(hash(&java_text(&view.wrapped(queue)))..).next();
            after
                .or_else(|| ring.first_key_value())
                .map(|(_, member)| *member)
        };
        let is_ours = |queue: &&MessageQueue| owner(queue).is_some_and(|id| id == view.client_id);
        view.queues.iter().filter(is_ours).cloned().collect()
    }
}

/// Java's `MessageQueue.toString`, over which it takes the hash.
fn java_text(queue: &MessageQueue) -> String {
    let MessageQueue {
        topic,
        broker_name,
        queue_id,
    } = queue;
    format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
}

/// The first four bytes of the MD5 of a key.
fn hash(key: &str) -> u32 {
    let [a, b, c, d, ..] = md5::compute(key).0;
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Namespace;
    use crate::rebalance::tests::queues;

    /// What `AllocateMessageQueueConsistentHash` of Java's client 5.5.0 gives out.
    #[test]
    fn shares_are_those_of_java() {
        let members = ["10.0.0.1@1#1", "10.0.0.2@1#2", "10.0.0.3@DEFAULT"].map(str::to_owned);
        let mut queues = queues(&["broker-a", "broker-b"], 8);
        queues
            .iter_mut()
            .for_each(|queue| queue.topic = "orders".into());
        let of = |virtual_nodes, member| {
            let view = GroupView::new("g", member, &queues, &members);
            let taken = ConsistentHash::new(virtual_nodes).divide(&view);
            let names = taken
                .iter()
                .map(|q| format!("{}{}", &q.broker_name[7..], q.queue_id));
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(10, "10.0.0.1@1#1"), "a3 a4 b0 b1 b3 b4 b7");
        assert_eq!(of(10, "10.0.0.2@1#2"), "a2 a5 a6 b5");
        assert_eq!(of(10, "10.0.0.3@DEFAULT"), "a0 a1 a7 b2 b6");
        assert_eq!(of(200, "10.0.0.1@1#1"), "a3 a5 b0 b3 b4");
        assert_eq!(of(200, "10.0.0.3@DEFAULT"), "a0 a2 a4 b2 b7");
    }

    #[test]
    fn a_namespace_counts_as_it_does_in_java() {
        let namespace = Namespace::new(Some("east"));
        let members = ["10.0.0.1@1#1", "10.0.0.2@1#2"].map(str::to_owned);
        let plain = queues(&["a", "b"], 8);
        let wrapped: Vec<_> = plain
            .iter()
            .map(|queue| namespace.wrap_queue(queue).into_owned())
            .collect();
        let divide = |view: GroupView<'_>| {
            let taken = ConsistentHash::default().divide(&view).into_iter();
            taken
                .map(|q| (q.broker_name, q.queue_id))
                .collect::<Vec<_>>()
        };
        let view = |queues| GroupView::new("g", &members[0], queues, &members);
        let of_java = divide(view(&wrapped));
        assert_eq!(divide(view(&plain).within(&namespace)), of_java);
        assert_ne!(divide(view(&plain)), of_java, "the topic's name counts");
    }

    #[test]
    fn few_queues_move_when_a_member_leaves() {
        let members: Vec<_> = (0..5).map(|n| format!("10.0.0.{n}@1#2")).collect();
        let queues = queues(&["a", "b"], 50);
        let of = |member: &String, members: &[String]| {
            ConsistentHash::default().divide(&GroupView::new("g", member, &queues, members))
        };
        let left = &members[1..];
        for member in left {
            let (before, after) = (of(member, &members), of(member, left));
            assert!(before.iter().all(|queue| after.contains(queue)));
        }
    }
}
