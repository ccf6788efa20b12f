//! Counters of the broker, of topics, of queues and of groups.
//!
//! Handlers count (`record_…`: a read lock to find the counters, then relaxed additions); the
//! sampling of startup.rs calls [`BrokerStats::sample`] every second; admin handlers read.

mod totals;
mod traffic;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::names;

pub(crate) use totals::{MessageCounts, Rate, Totals};
use traffic::Measure;
pub(crate) use traffic::{SpanData, Traffic, TrafficData};

/// Queues that are counted one by one in a topic; a topic with more is counted as a whole.
const QUEUES_MAX: usize = 4_096;

/// Counters of one topic, or of one group in one topic.
#[derive(Debug)]
struct Counters {
    traffic: Traffic,
    send_back: Traffic,
    dead_letter: Traffic,
    queues: RwLock<Vec<Arc<Traffic>>>,
    is_system: bool,
}

type ByGroup = HashMap<Arc<str>, Arc<Counters>>;

/// All counters of the broker.
#[derive(Debug)]
pub(crate) struct BrokerStats {
    clock: Clock,
    cluster: String,
    counts_queues: bool,
    totals: Totals,
    put: Traffic,
    get: Traffic,
    put_of_users: Traffic,
    get_of_users: Traffic,
    topics: RwLock<HashMap<Arc<str>, Arc<Counters>>>,
    groups: RwLock<HashMap<Arc<str>, ByGroup>>,
}

impl BrokerStats {
    /// Counters at zero. `cluster` is the key of the broker-wide ones; `counts_queues` is Java's
    /// `enableDetailStat`.
    pub(crate) fn new(cluster: &str, counts_queues: bool, clock: Clock) -> Self {
        let now_ms = clock.now_ms();
        Self {
            clock,
            cluster: cluster.to_owned(),
            counts_queues,
            totals: Totals::new(now_ms),
            put: Traffic::new(now_ms),
            get: Traffic::new(now_ms),
            put_of_users: Traffic::new(now_ms),
            get_of_users: Traffic::new(now_ms),
            topics: RwLock::default(),
            groups: RwLock::default(),
        }
    }

    /// Counts messages that were stored with one call.
    pub(crate) fn record_put(&self, topic: &str, queue_id: i32, messages: u64, bytes: u64) {
        self.totals.add_put(messages, bytes);
        self.put.add(messages, bytes);
        let counters = self.of_topic(topic);
        if !counters.is_system {
            self.put_of_users.add(messages, bytes);
        }
        counters.traffic.add(messages, bytes);
        self.record_queue(&counters, queue_id, messages, bytes);
    }

    /// Counts a message that could not be stored.
    pub(crate) fn record_put_failure(&self) {
        self.totals.add_put_failure();
    }

    /// Counts how long storing took.
    pub(crate) fn record_put_time(&self, took_ms: i64) {
        self.totals.add_put_time(took_ms);
    }

    /// Counts messages that one pull was answered with.
    pub(crate) fn record_get(&self, group: &str, topic: &str, queue_id: i32, given: Given) {
        let Given { messages, bytes } = given;
        self.totals.add_found(messages);
        self.get.add(messages, bytes);
        let counters = self.of_group(topic, group);
        if !counters.is_system {
            self.get_of_users.add(messages, bytes);
        }
        counters.traffic.add(messages, bytes);
        self.record_queue(&counters, queue_id, messages, bytes);
    }

    /// Counts a pull that found no message.
    pub(crate) fn record_get_miss(&self) {
        self.totals.add_miss();
    }

    /// Counts how long looking for messages took.
    pub(crate) fn record_get_time(&self, took_ms: i64) {
        self.totals.add_get_time(took_ms);
    }

    /// Counts a message that a consumer gave back for another try.
    pub(crate) fn record_send_back(&self, group: &str, topic: &str) {
        self.of_group(topic, group).send_back.add(1, 0);
    }

    /// Counts a message that was given up.
    pub(crate) fn record_dead_letter(&self, group: &str, topic: &str) {
        self.of_group(topic, group).dead_letter.add(1, 0);
    }

    /// Takes the samples that are due; once a second.
    pub(crate) fn sample(&self) {
        let now_ms = self.clock.now_ms();
        self.totals.sample(now_ms, self.message_counts());
        for traffic in [&self.put, &self.get, &self.put_of_users, &self.get_of_users] {
            traffic.sample(now_ms);
        }
        for counters in self.all_counters() {
            counters.sample(now_ms);
        }
    }

    /// Forgets a topic and its groups.
    pub(crate) fn remove_topic(&self, topic: &str) {
        self.topics.write().expect("no panics").remove(topic);
        self.groups.write().expect("no panics").remove(topic);
    }

    /// Forgets a group in all topics.
    pub(crate) fn remove_group(&self, group: &str) {
        let mut topics = self.groups.write().expect("no panics");
        topics.retain(|_, groups| {
            groups.remove(group);
            !groups.is_empty()
        });
    }

    /// Totals of the broker.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Messages of users' topics, put and given out since the start.
    pub(crate) fn message_counts(&self) -> MessageCounts {
        MessageCounts {
            put: self.put_of_users.messages(),
            got: self.get_of_users.messages(),
        }
    }

    /// Messages put to a topic a second, over the last minute.
    pub(crate) fn topic_put_rate(&self, topic: &str) -> f64 {
        self.find("TOPIC_PUT_NUMS", topic)
            .map_or(0.0, |data| data.minute.per_second)
    }

    /// Messages of a topic given to a group a second, over the last minute.
    pub(crate) fn group_get_rate(&self, group: &str, topic: &str) -> f64 {
        self.find("GROUP_GET_NUMS", &format!("{topic}@{group}"))
            .map_or(0.0, |data| data.minute.per_second)
    }

    /// One item by Java's name and key (11-observability, 315); `None` if nothing was counted.
    pub(crate) fn find(&self, name: &str, key: &str) -> Option<TrafficData> {
        let (item, measure) = split_measure(name)?;
        let of_cluster = |traffic: &Traffic| (key == self.cluster).then(|| traffic.data(measure));
        match item {
            "TOPIC_PUT" => Some(self.topic(key)?.traffic.data(measure)),
            "QUEUE_PUT" => {
                let (topic, queue_id) = key.rsplit_once('@')?;
                Some(self.topic(topic)?.queue(queue_id)?.data(measure))
            }
            "GROUP_GET" => Some(self.group(key)?.traffic.data(measure)),
            "QUEUE_GET" => {
                let (topic, rest) = key.split_once('@')?;
                let (queue_id, group) = rest.split_once('@')?;
                let counters = self.group(&format!("{topic}@{group}"))?;
                Some(counters.queue(queue_id)?.data(measure))
            }
            "SNDBCK_PUT" => Some(self.group(key)?.send_back.data(measure)),
            "DLQ_PUT" => Some(self.group(key)?.dead_letter.data(measure)),
            "BROKER_PUT" => of_cluster(&self.put),
            "BROKER_GET" => of_cluster(&self.get),
            "BROKER_PUT_USERS" => of_cluster(&self.put_of_users),
            "BROKER_GET_USERS" => of_cluster(&self.get_of_users),
            _ => None,
        }
    }

    fn record_queue(&self, counters: &Counters, queue_id: i32, messages: u64, bytes: u64) {
        let index = usize::try_from(queue_id).unwrap_or(usize::MAX);
        if !self.counts_queues || index >= QUEUES_MAX {
            return;
        }
        let counted = counters
            .queues
            .read()
            .expect("no panics")
            .get(index)
            .map(|queue| {
                queue.add(messages, bytes);
            });
        if counted.is_none() {
            counters.grow(index, self.clock.now_ms());
            self.record_queue(counters, queue_id, messages, bytes);
        }
    }

    fn topic(&self, topic: &str) -> Option<Arc<Counters>> {
        self.topics.read().expect("no panics").get(topic).cloned()
    }

    /// By `topic@group`.
    fn group(&self, key: &str) -> Option<Arc<Counters>> {
        let (topic, group) = key.split_once('@')?;
        self.groups
            .read()
            .expect("no panics")
            .get(topic)?
            .get(group)
            .cloned()
    }

    fn of_topic(&self, topic: &str) -> Arc<Counters> {
        if let Some(counters) = self.topic(topic) {
            return counters;
        }
        let mut topics = self.topics.write().expect("no panics");
        topics
            .entry(topic.into())
            .or_insert_with(|| self.new_counters(topic))
            .clone()
    }

    fn of_group(&self, topic: &str, group: &str) -> Arc<Counters> {
        let found = {
            let topics = self.groups.read().expect("no panics");
            topics
                .get(topic)
                .and_then(|groups| groups.get(group))
                .cloned()
        };
        if let Some(counters) = found {
            return counters;
        }
        let mut topics = self.groups.write().expect("no panics");
        let groups = topics.entry(topic.into()).or_default();
        groups
            .entry(group.into())
            .or_insert_with(|| self.new_counters(topic))
            .clone()
    }

    fn new_counters(&self, topic: &str) -> Arc<Counters> {
        let now_ms = self.clock.now_ms();
        Arc::new(Counters {
            traffic: Traffic::new(now_ms),
            send_back: Traffic::new(now_ms),
            dead_letter: Traffic::new(now_ms),
            queues: RwLock::default(),
            is_system: names::is_system_topic(topic),
        })
    }

    fn all_counters(&self) -> Vec<Arc<Counters>> {
        let topics = self.topics.read().expect("no panics");
        let groups = self.groups.read().expect("no panics");
        let of_groups = groups.values().flat_map(HashMap::values);
        topics.values().chain(of_groups).cloned().collect()
    }
}

/// What one pull was answered with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Counters {
    fn queue(&self, queue_id: &str) -> Option<Arc<Traffic>> {
        let index: usize = queue_id.parse().ok()?;
        self.queues.read().expect("no panics").get(index).cloned()
    }

    fn grow(&self, index: usize, now_ms: i64) {
        let mut queues = self.queues.write().expect("no panics");
        while queues.len() <= index {
            queues.push(Arc::new(Traffic::new(now_ms)));
        }
    }

    fn sample(&self, now_ms: i64) {
        self.traffic.sample(now_ms);
        self.send_back.sample(now_ms);
        self.dead_letter.sample(now_ms);
        for queue in self.queues.read().expect("no panics").iter() {
            queue.sample(now_ms);
        }
    }
}

/// `TOPIC_PUT_NUMS` is the messages of `TOPIC_PUT`, `TOPIC_PUT_SIZE` its bytes.
fn split_measure(name: &str) -> Option<(&str, Measure)> {
    match name {
        "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC" => Some(("BROKER_PUT_USERS", Measure::Messages)),
        "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC" => Some(("BROKER_GET_USERS", Measure::Messages)),
        _ => {
            let messages = name
                .strip_suffix("_NUMS")
                .map(|item| (item, Measure::Messages));
            messages.or_else(|| {
                name.strip_suffix("_SIZE")
                    .map(|item| (item, Measure::Bytes))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> (BrokerStats, Clock) {
        let clock = Clock::by_hand(1_000_000);
        (BrokerStats::new("c", true, clock.clone()), clock)
    }

    #[test]
    fn puts_and_gets_are_found_under_javas_names() {
        let (stats, clock) = stats();
        stats.record_put("t", 3, 2, 200);
        stats.record_get(
            "g",
            "t",
            3,
            Given {
                messages: 5,
                bytes: 50,
            },
        );
        clock.advance_ms(10_000);
        stats.sample();
        let sum = |name, key| stats.find(name, key).map(|data| data.minute.sum);
        assert_eq!(sum("TOPIC_PUT_NUMS", "t"), Some(2));
        assert_eq!(sum("TOPIC_PUT_SIZE", "t"), Some(200));
        assert_eq!(sum("QUEUE_PUT_NUMS", "t@3"), Some(2));
        assert_eq!(sum("QUEUE_PUT_NUMS", "t@2"), Some(0));
        assert_eq!(sum("GROUP_GET_NUMS", "t@g"), Some(5));
        assert_eq!(sum("QUEUE_GET_SIZE", "t@3@g"), Some(50));
        assert_eq!(sum("BROKER_PUT_NUMS", "c"), Some(2));
        assert_eq!(sum("BROKER_PUT_NUMS", "other"), None);
        assert_eq!(sum("GROUP_GET_NUMS", "t@nobody"), None);
        assert_eq!(sum("NO_SUCH_ITEM", "t"), None);
        assert!((stats.topic_put_rate("t") - 0.1).abs() < 1e-9);
    }

    #[test]
    fn system_topics_are_left_out_of_what_users_did() {
        let (stats, _) = stats();
        stats.record_put("rmq_sys_x", 0, 1, 1);
        stats.record_put("t", 0, 1, 1);
        assert_eq!(stats.message_counts(), MessageCounts { put: 1, got: 0 });
        assert_eq!(stats.totals().put_messages(), 2);
    }

    #[test]
    fn what_is_removed_is_not_found() {
        let (stats, _) = stats();
        stats.record_put("t", 0, 1, 1);
        stats.record_send_back("g", "t");
        stats.remove_group("g");
        assert_eq!(stats.find("SNDBCK_PUT_NUMS", "t@g"), None);
        stats.remove_topic("t");
        assert_eq!(stats.find("TOPIC_PUT_NUMS", "t"), None);
    }

    #[test]
    fn a_hostile_queue_id_costs_nothing() {
        let (stats, _) = stats();
        stats.record_put("t", i32::MAX, 1, 1);
        stats.record_put("t", -1, 1, 1);
        assert_eq!(stats.find("QUEUE_PUT_NUMS", "t@0"), None);
    }
}
