//! The route of one topic as the client uses it: the queues to publish to, the queues to read from,
//! and where their brokers are. Pure: made from the name server's answer, never changed.

use std::collections::{BTreeMap, HashMap};

use thrustmq_proto_compat::body::{BrokerData, MessageQueue, QueueData, TopicRouteData};
use thrustmq_proto_compat::division::readable_queues;

/// Id of a broker group's master; slaves have higher ids.
pub(crate) const MASTER_ID: i64 = 0;

const PERMISSION_WRITE: i32 = 2;

/// Where a topic's queues are.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let route = admin.route("orders").await?;
/// println!("{} queues on {:?}", route.subscribe_queues().len(), route.brokers().keys());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicRoute {
    publish: Vec<MessageQueue>,
    subscribe: Vec<MessageQueue>,
    brokers: HashMap<String, BTreeMap<i64, String>>,
}

impl TopicRoute {
    /// Queues that take messages, ordered by broker and number. Those of a broker group without a
    /// master are left out: only masters store.
    pub fn publish_queues(&self) -> &[MessageQueue] {
        &self.publish
    }

    /// Queues that can be read, ordered by broker and number.
    pub fn subscribe_queues(&self) -> &[MessageQueue] {
        &self.subscribe
    }

    /// Addresses of the topic's brokers by broker name and broker id; id 0 is the master.
    pub fn brokers(&self) -> &HashMap<String, BTreeMap<i64, String>> {
        &self.brokers
    }

    /// Whether a failed send has another broker to go to.
    pub(crate) fn publishes_to_several_brokers(&self) -> bool {
        let first = self.publish.first().map(|queue| &queue.broker_name);
        self.publish
            .iter()
            .any(|queue| Some(&queue.broker_name) != first)
    }

    /// Reads the name server's answer.
    pub(crate) fn of(topic: &str, data: &TopicRouteData) -> Self {
        let brokers = broker_table(&data.broker_datas);
        let ordered = data.order_topic_conf.as_deref().and_then(ordered_queues);
        let mut queue_datas: Vec<&QueueData> = data.queue_datas.iter().collect();
        queue_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        let has_master = |name: &str| {
            brokers
                .get(name)
                .is_some_and(|addresses| addresses.contains_key(&MASTER_ID))
        };
        let publish = match ordered {
            Some(ordered) => ordered
                .iter()
                .flat_map(|(broker, count)| queues_of(topic, broker, *count))
                .collect(),
            None => queue_datas
                .iter()
                .filter(|data| data.perm & PERMISSION_WRITE != 0 && has_master(&data.broker_name))
                .flat_map(|data| queues_of(topic, &data.broker_name, data.write_queue_nums))
                .collect(),
        };
        Self {
            publish,
            subscribe: readable_queues(topic, data),
            brokers,
        }
    }

    /// What a topic's route will be once a broker has created it from `template`, the route of the
    /// auto-creation topic, with at most `queues_max` queues a broker.
    pub(crate) fn of_template(topic: &str, template: &TopicRouteData, queues_max: i32) -> Self {
        let mut data = template.clone();
        for queue_data in &mut data.queue_datas {
            let queues = queue_data.read_queue_nums.min(queues_max);
            queue_data.read_queue_nums = queues;
            queue_data.write_queue_nums = queues;
        }
        Self::of(topic, &data)
    }

    /// The address of a broker: the one with this id if it is there, else another of its group.
    pub(crate) fn broker_address(&self, broker_name: &str, broker_id: i64) -> Option<&str> {
        let group = self.brokers().get(broker_name)?;
        let found = group.get(&broker_id).or_else(|| group.values().next());
        found.map(String::as_str)
    }

    /// The address of the master of a broker group: only it stores.
    pub(crate) fn master_address(&self, broker_name: &str) -> Option<&str> {
        self.brokers()
            .get(broker_name)?
            .get(&MASTER_ID)
            .map(String::as_str)
    }
}

fn broker_table(datas: &[BrokerData]) -> HashMap<String, BTreeMap<i64, String>> {
    datas
        .iter()
        .map(|data| {
            let addresses = data
                .broker_addrs
                .iter()
                .map(|(id, addr)| (*id, addr.clone()));
            (data.broker_name.clone(), addresses.collect())
        })
        .collect()
}

/// The queues of an ordered topic stand in its configuration: `broker-a:4;broker-b:4`. Anything
/// else there counts as no configuration.
fn ordered_queues(text: &str) -> Option<Vec<(&str, i32)>> {
    let items = text.split(';').filter(|item| !item.is_empty());
    let parsed: Option<Vec<_>> = items
        .map(|item| {
            let (broker, count) = item.split_once(':')?;
            Some((broker, count.parse().ok()?))
        })
        .collect();
    parsed.filter(|queues| !queues.is_empty())
}

fn queues_of(topic: &str, broker_name: &str, count: i32) -> impl Iterator<Item = MessageQueue> {
    (0..count).map(move |queue_id| MessageQueue {
        topic: topic.to_owned(),
        broker_name: broker_name.to_owned(),
        queue_id,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn queue_data(broker_name: &str, queues: i32, perm: i32) -> QueueData {
        QueueData {
            broker_name: broker_name.into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm,
            ..QueueData::default()
        }
    }

    fn broker_data(broker_name: &str, ids: &[i64]) -> BrokerData {
        BrokerData {
            cluster: "c".into(),
            broker_name: broker_name.into(),
            broker_addrs: ids
                .iter()
                .map(|id| (*id, format!("{broker_name}:{id}")))
                .collect(),
            ..BrokerData::default()
        }
    }

    pub(crate) fn two_brokers() -> TopicRouteData {
        TopicRouteData {
            queue_datas: vec![queue_data("b", 2, 6), queue_data("a", 8, 6)],
            broker_datas: vec![broker_data("a", &[0, 1]), broker_data("b", &[0])],
            ..TopicRouteData::default()
        }
    }

    fn names(queues: &[MessageQueue]) -> Vec<String> {
        queues
            .iter()
            .map(|q| format!("{}{}", q.broker_name, q.queue_id))
            .collect()
    }

    #[test]
    fn queues_are_ordered_by_broker_and_number() {
        let route = TopicRoute::of("t", &two_brokers());
        assert_eq!(names(route.publish_queues())[6..], ["a6", "a7", "b0", "b1"]);
        assert_eq!(route.publish_queues(), route.subscribe_queues());
        assert!(route.publishes_to_several_brokers());
        assert_eq!(route.brokers()["a"][&1], "a:1");
    }

    #[test]
    fn permissions_and_masters_decide() {
        let mut data = two_brokers();
        data.queue_datas[0].perm = 4;
        data.broker_datas[0].broker_addrs.remove(&MASTER_ID);
        let route = TopicRoute::of("t", &data);
        assert!(
            route.publish_queues().is_empty(),
            "b is read only, a has no master"
        );
        assert_eq!(route.subscribe_queues().len(), 10, "slaves can be read");
    }

    #[test]
    fn an_ordered_topic_lists_its_own_queues() {
        let mut data = two_brokers();
        data.order_topic_conf = Some("b:1;a:2".into());
        assert_eq!(
            names(TopicRoute::of("t", &data).publish_queues()),
            ["b0", "a0", "a1"]
        );
        data.order_topic_conf = Some("nonsense".into());
        assert_eq!(TopicRoute::of("t", &data).publish_queues().len(), 10);
    }

    #[test]
    fn a_topic_to_be_created_takes_the_smaller_queue_count() {
        let route = TopicRoute::of_template("new", &two_brokers(), 4);
        assert_eq!(
            names(route.publish_queues()),
            ["a0", "a1", "a2", "a3", "b0", "b1"]
        );
        assert!(
            route
                .publish_queues()
                .iter()
                .all(|queue| queue.topic == "new")
        );
    }
}
