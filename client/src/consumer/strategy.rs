//! Which queues of a topic a member of a group takes. Every member computes the same division from
//! the same sorted lists, so that no two take the same queue.

use thrustmq_proto_compat::body::MessageQueue;

/// Neighbouring queues in equal shares; the first members take one more where it does not divide.
///
/// `queues` and `clients` must be sorted. A client that is not in the list gets nothing: the broker
/// has not seen its heartbeat yet.
pub(crate) fn average(
    queues: &[MessageQueue],
    clients: &[String],
    client_id: &str,
) -> Vec<MessageQueue> {
    let Some(index) = clients.iter().position(|client| client == client_id) else {
        return Vec::new();
    };
    let (share, rest) = (queues.len() / clients.len(), queues.len() % clients.len());
    let start = index * share + index.min(rest);
    let count = share + usize::from(index < rest);
    queues.iter().skip(start).take(count).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_queue_goes_to_exactly_one_member() {
        for queue_count in 0..20 {
            for client_count in 1..12 {
                let (queues, clients) = (queues(queue_count), clients(client_count));
                let taken: Vec<_> = clients
                    .iter()
                    .flat_map(|client| average(&queues, &clients, client))
                    .collect();
                assert_eq!(
                    taken, queues,
                    "{queue_count} queues, {client_count} clients"
                );
            }
        }
    }
}
