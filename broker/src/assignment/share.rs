//! Who gets which queues: pure, from sorted lists.

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::division;

/// "Any queue of this broker", for a group that pops.
const ANY_QUEUE: i32 = -1;

/// The strategies that a broker divides by; the others need what only clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Neighbours in equal shares.
    Average,
    /// Dealt like cards.
    ByCircle,
}

impl Strategy {
    /// By the name that clients send.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        match name {
            "AVG" => Some(Self::Average),
            "AVG_BY_CIRCLE" => Some(Self::ByCircle),
            _ => None,
        }
    }

    fn divide(
        self,
        queues: &[MessageQueue],
        clients: &[String],
        client_id: &str,
    ) -> Vec<MessageQueue> {
        match self {
            Self::Average => division::average(queues, clients, client_id),
            Self::ByCircle => division::by_circle(queues, clients, client_id),
        }
    }
}

/// The queues of one member. `queues` and `clients` are sorted. With `pop_shares` the group pops,
/// and each member also takes the shares of that many members after it; if that is not positive, or
/// reaches around, every member takes all. `None` if nobody can say: a client without id, or a topic
/// without queues; the client then keeps what it has.
pub(crate) fn share(
    strategy: Strategy,
    queues: &[MessageQueue],
    clients: &[String],
    client_id: &str,
    pop_shares: Option<i32>,
) -> Option<Vec<MessageQueue>> {
    let is_all = |shares: &usize| *shares == 0 || shares.saturating_add(1) >= clients.len();
    let pop_shares = pop_shares.map(|shares| usize::try_from(shares).unwrap_or(0));
    if pop_shares.as_ref().is_some_and(is_all) {
        return Some(any_of_each_broker(queues));
    }
    if client_id.trim().is_empty() || queues.is_empty() {
        return None;
    }
    let Some(index) = clients.iter().position(|client| client == client_id) else {
        return Some(Vec::new());
    };
    if pop_shares.is_some() && clients.len() > queues.len() {
        // Nobody goes away with nothing.
        return Some(
            queues
                .get(index % queues.len())
                .cloned()
                .into_iter()
                .collect(),
        );
    }
    let members = clients.iter().cycle().skip(index);
    let mut taken: Vec<_> = members
        .take(pop_shares.unwrap_or(0) + 1)
        .flat_map(|member| strategy.divide(queues, clients, member))
        .collect();
    taken.sort();
    taken.dedup();
    Some(taken)
}

fn any_of_each_broker(queues: &[MessageQueue]) -> Vec<MessageQueue> {
    let any = |queue: &MessageQueue| MessageQueue {
        queue_id: ANY_QUEUE,
        ..queue.clone()
    };
    let mut brokers: Vec<_> = queues.iter().map(any).collect();
    brokers.sort();
    brokers.dedup();
    brokers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: i32) -> Vec<MessageQueue> {
        let queue = |queue_id| MessageQueue {
            broker_name: "b".into(),
            queue_id,
            topic: "t".into(),
        };
        (0..count).map(queue).collect()
    }

    fn clients(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("c{n}")).collect()
    }

    fn ids(
        queue_count: i32,
        client_count: usize,
        client_id: &str,
        pop_shares: Option<i32>,
    ) -> Vec<i32> {
        let (queues, clients) = (queues(queue_count), clients(client_count));
        let taken = share(Strategy::Average, &queues, &clients, client_id, pop_shares);
        taken.unwrap().iter().map(|queue| queue.queue_id).collect()
    }

    #[test]
    fn a_pulling_group_divides() {
        assert_eq!(ids(5, 2, "c0", None), [0, 1, 2]);
        assert_eq!(ids(5, 2, "c1", None), [3, 4]);
        assert!(ids(5, 2, "stranger", None).is_empty());
        let dealt = share(Strategy::ByCircle, &queues(5), &clients(2), "c1", None).unwrap();
        assert_eq!(dealt, [queues(5)[1].clone(), queues(5)[3].clone()]);
        let nobody = share(Strategy::Average, &queues(5), &clients(2), " ", None);
        assert_eq!(nobody, None);
        let nothing = share(Strategy::Average, &[], &clients(2), "c0", None);
        assert_eq!(nothing, None);
    }

    #[test]
    fn members_that_pop_share_with_those_after_them() {
        assert_eq!(ids(4, 4, "c1", Some(-1)), [-1], "all of them share all");
        assert_eq!(ids(4, 4, "c1", Some(3)), [-1]);
        assert_eq!(ids(4, 4, "c1", Some(1)), [1, 2]);
        assert_eq!(ids(4, 4, "c3", Some(1)), [0, 3]);
        assert_eq!(ids(2, 5, "c3", Some(1)), [1], "more members than queues");
        assert!(ids(4, 4, "stranger", Some(1)).is_empty());
    }

    #[test]
    fn who_may_pop_any_queue_names_each_broker_once() {
        let mut queues = queues(3);
        queues[2].broker_name = "c".into();
        let taken = share(Strategy::Average, &queues, &clients(1), "c0", Some(-1)).unwrap();
        let brokers: Vec<_> = taken.iter().map(|queue| &*queue.broker_name).collect();
        assert_eq!(brokers, ["b", "c"]);
        assert!(taken.iter().all(|queue| queue.queue_id == -1));
    }
}
