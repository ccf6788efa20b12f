//! Strategies that know in which machine room brokers and members stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use thrustmq_proto_compat::body::MessageQueue;

use super::{GroupView, RebalanceStrategy};

/// Equal shares of the queues in some machine rooms, and nothing of others (`MACHINE_ROOM`).
///
/// A broker's room is what stands before the `@` in its name: `east@broker-a`. Queues of brokers
/// without a room are not consumed.
///
/// ```
/// use thrustmq_client::PushConsumer;
/// use thrustmq_client::rebalance::ByMachineRoom;
///
/// let builder = PushConsumer::builder("billing").rebalance(ByMachineRoom::new(["east", "west"]));
/// # let _ = builder;
/// ```
#[derive(Debug, Clone)]
pub struct ByMachineRoom {
    rooms: BTreeSet<String>,
}

impl ByMachineRoom {
    /// Consumes what is in these rooms.
    pub fn new(rooms: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            rooms: rooms.into_iter().map(Into::into).collect(),
        }
    }

    fn is_in_our_rooms(&self, queue: &MessageQueue) -> bool {
        let parts: Vec<_> = queue.broker_name.split('@').collect();
        matches!(parts[..], [room, broker] if !broker.is_empty() && self.rooms.contains(room))
    }
}

impl RebalanceStrategy for ByMachineRoom {
    fn divide(&self, view: &GroupView<'_>) -> Vec<MessageQueue> {
        let Some(index) = view.members.iter().position(|id| id == view.client_id) else {
            return Vec::new();
        };
        let ours = view
            .queues
            .iter()
            .filter(|queue| self.is_in_our_rooms(queue));
        let ours: Vec<_> = ours.cloned().collect();
        let members = view.members.len();
        let (share, rest) = (ours.len() / members, ours.len() % members);
        let mut taken: Vec<_> = ours
            .iter()
            .skip(index * share)
            .take(share)
            .cloned()
            .collect();
        if index < rest {
            // The rest stands at the end, not with the shares as in `Average`.
            taken.extend(ours.get(index + share * members).cloned());
        }
        taken
    }
}

type RoomOf<T> = Arc<dyn Fn(&T) -> String + Send + Sync>;

/// Queues go to members in their own machine room, divided there by another strategy; queues of a
/// room without members are divided among all (`MACHINE_ROOM_NEARBY`).
///
/// ```
/// use thrustmq_client::rebalance::{Average, MachineRoomNearby};
///
/// // Brokers are named `east.broker-a`, members are told apart by their unit name. It stands at the end
/// // of the client id, but for what says that a member is a lite pull consumer.
/// let strategy = MachineRoomNearby::new(
///     Average,
///     |queue| queue.broker_name.split('.').next().unwrap_or_default().to_owned(),
///     |client_id| {
///         let id = client_id.trim_end_matches("@STREAM");
///         id.rsplit('@').next().unwrap_or_default().to_owned()
///     },
/// );
/// # let _ = strategy;
/// ```
#[derive(Clone)]
pub struct MachineRoomNearby {
    within: Arc<dyn RebalanceStrategy>,
    room_of_queue: RoomOf<MessageQueue>,
    room_of_member: RoomOf<str>,
}

impl MachineRoomNearby {
    /// Divides by `within` in each room. The two functions say in which room the broker of a queue, and
    /// a member by its client id, stands.
    pub fn new(
        within: impl RebalanceStrategy + 'static,
        room_of_queue: impl Fn(&MessageQueue) -> String + Send + Sync + 'static,
        room_of_member: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        Self {
            within: Arc::new(within),
            room_of_queue: Arc::new(room_of_queue),
            room_of_member: Arc::new(room_of_member),
        }
    }
}

impl RebalanceStrategy for MachineRoomNearby {
    fn divide(&self, view: &GroupView<'_>) -> Vec<MessageQueue> {
        let mut queues_of: BTreeMap<String, Vec<MessageQueue>> = BTreeMap::new();
        for queue in view.queues {
            let room = (self.room_of_queue)(queue);
            queues_of.entry(room).or_default().push(queue.clone());
        }
        let mut members_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for member in view.members {
            let room = (self.room_of_member)(member);
            members_of.entry(room).or_default().push(member.clone());
        }
        let our_room = (self.room_of_member)(view.client_id);
        let mut taken = Vec::new();
        for (room, queues) in &queues_of {
            let members = match members_of.get(room) {
                Some(members) if *room == our_room => members,
                Some(_) => continue,
                None => view.members,
            };
            let view = GroupView::new(view.group, view.client_id, queues, members);
            taken.extend(self.within.divide(&view));
        }
        taken
    }
}

impl fmt::Debug for MachineRoomNearby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("MachineRoomNearby");
        text.field("within", &self.within).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rebalance::Average;
    use crate::rebalance::tests::{is_whole, queues};

    fn divide(
        strategy: &dyn RebalanceStrategy,
        queues: &[MessageQueue],
        members: &[&str],
    ) -> String {
        let members: Vec<_> = members.iter().map(|member| (*member).to_owned()).collect();
        let of = |member: &String| {
            let taken = strategy.divide(&GroupView::new("g", member, queues, &members));
            let names = taken
                .iter()
                .map(|q| format!("{}{}", q.broker_name, q.queue_id));
            names.collect::<Vec<_>>().join(" ")
        };
        members.iter().map(of).collect::<Vec<_>>().join(" | ")
    }

    /// As `AllocateMessageQueueByMachineRoom` of Java's client 5.5.0 gives them out.
    #[test]
    fn only_the_named_rooms_are_consumed_and_the_rest_stands_at_the_end() {
        let queues = queues(&["east@a", "north@b", "west@c", "x"], 3);
        let strategy = ByMachineRoom::new(["east", "west"]);
        assert_eq!(
            divide(&strategy, &queues, &["1", "2", "3", "4"]),
            "east@a0 west@c1 | east@a1 west@c2 | east@a2 | west@c0"
        );
        assert_eq!(divide(&strategy, &queues[3..6], &["1"]), "");
    }

    #[test]
    fn queues_stay_in_their_room_unless_nobody_is_there() {
        let first = |text: &str| text.chars().take(1).collect::<String>();
        let strategy = MachineRoomNearby::new(
            Average,
            move |queue| first(&queue.broker_name),
            move |client_id| first(client_id),
        );
        let queues = queues(&["e", "n", "w"], 2);
        let members = ["e1", "w1", "w2"];
        assert_eq!(
            divide(&strategy, &queues, &members),
            "e0 e1 n0 | n1 w0 | w1"
        );
        assert!(is_whole(&strategy, &queues, &members.map(str::to_owned)));
    }
}
