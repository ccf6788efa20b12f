//! Which queues of a topic a member of a group takes, by the strategies that RocketMQ fixed. Every
//! member, in whatever language, and a broker that divides for them, compute the same division from
//! the same sorted lists, so that no two take the same queue.

use crate::body::{MessageQueue, TopicRouteData};

/// Bit of a topic's permissions: its queues can be read.
const PERMISSION_READ: i32 = 4;

/// The queues of a topic that can be read, sorted by broker and number.
pub fn readable_queues(topic: &str, route: &TopicRouteData) -> Vec<MessageQueue> {
    let readable = route.queue_datas.iter();
    let readable = readable.filter(|data| data.perm & PERMISSION_READ != 0);
    let mut queues: Vec<_> = readable
        .flat_map(|data| {
            (0..data.read_queue_nums).map(|queue_id| MessageQueue {
                broker_name: data.broker_name.clone(),
                queue_id,
                topic: topic.to_owned(),
            })
        })
        .collect();
    queues.sort();
    queues.dedup();
    queues
}

/// Neighbouring queues in equal shares; the first members take one more where it does not divide.
///
/// `queues` and `clients` must be sorted. A client that is not in the list gets nothing: the broker
/// has not seen its heartbeat yet.
pub fn average(queues: &[MessageQueue], clients: &[String], client_id: &str) -> Vec<MessageQueue> {
    let Some(index) = clients.iter().position(|client| client == client_id) else {
        return Vec::new();
    };
    let (share, rest) = (queues.len() / clients.len(), queues.len() % clients.len());
    let start = index * share + index.min(rest);
    let count = share + usize::from(index < rest);
    queues.iter().skip(start).take(count).cloned().collect()
}

/// Queues dealt like cards: each member takes every n-th. What [`average`] asks for holds here too.
pub fn by_circle(
    queues: &[MessageQueue],
    clients: &[String],
    client_id: &str,
) -> Vec<MessageQueue> {
    let Some(index) = clients.iter().position(|client| client == client_id) else {
        return Vec::new();
    };
    let dealt = queues.iter().skip(index).step_by(clients.len());
    dealt.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::QueueData;

    fn queues(count: i32) -> Vec<MessageQueue> {
        (0..count)
            .map(|queue_id| MessageQueue {
                topic: "t".into(),
                broker_name: "a".into(),
                queue_id,
            })
            .collect()
    }

    fn clients(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("client-{n:02}")).collect()
    }

    fn ids(queues: &[MessageQueue]) -> Vec<i32> {
        queues.iter().map(|queue| queue.queue_id).collect()
    }

    #[test]
    fn shares_are_those_of_java() {
        let (queues, clients) = (queues(8), clients(3));
        assert_eq!(ids(&average(&queues, &clients, "client-00")), [0, 1, 2]);
        assert_eq!(ids(&average(&queues, &clients, "client-01")), [3, 4, 5]);
        assert_eq!(ids(&average(&queues, &clients, "client-02")), [6, 7]);
        assert!(average(&queues, &clients, "stranger").is_empty());
    }

    #[test]
    fn queues_are_dealt_like_cards() {
        let (queues, clients) = (queues(8), clients(3));
        assert_eq!(ids(&by_circle(&queues, &clients, "client-00")), [0, 3, 6]);
        assert_eq!(ids(&by_circle(&queues, &clients, "client-02")), [2, 5]);
        assert!(by_circle(&queues, &clients, "stranger").is_empty());
    }

    #[test]
    fn every_queue_goes_to_exactly_one_member() {
        for queue_count in 0..20 {
            for client_count in 1..12 {
                let (queues, clients) = (queues(queue_count), clients(client_count));
                for divide in [average, by_circle] {
                    let of_one = |client: &String| divide(&queues, &clients, client);
                    let mut taken: Vec<_> = clients.iter().flat_map(of_one).collect();
                    taken.sort();
                    assert_eq!(
                        taken, queues,
                        "{queue_count} queues, {client_count} clients"
                    );
                }
            }
        }
    }

    #[test]
    fn queues_that_can_be_read_are_sorted() {
        let data = |broker_name: &str, perm| QueueData {
            broker_name: broker_name.into(),
            perm,
            read_queue_nums: 2,
            ..QueueData::default()
        };
        let route = TopicRouteData {
            queue_datas: vec![data("b", 6), data("c", 2), data("a", 4)],
            ..TopicRouteData::default()
        };
        let queues = readable_queues("t", &route);
        let names: Vec<_> = queues
            .iter()
            .map(|queue| (&*queue.broker_name, queue.queue_id))
            .collect();
        assert_eq!(names, [("a", 0), ("a", 1), ("b", 0), ("b", 1)]);
        assert!(queues.iter().all(|queue| queue.topic == "t"));
    }
}
