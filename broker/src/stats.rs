//! Counters of the broker, of topics, of queues and of groups.
//!
//! Handlers count (`record_…`: a read lock to find the counters, then relaxed additions; puts, of
//! which there are most, are added once a turn: tally.rs); the sampling of startup.rs calls
//! [`BrokerStats::sample`] every second; admin handlers read.

mod by_name;
mod counters;
mod tally;
mod totals;
mod traffic;

use std::sync::{Arc, RwLock};

use foldhash::HashMap;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::names;

use counters::Counters;
use tally::{QueuePuts, TopicPuts};
use totals::PutTimes;
pub(crate) use totals::{MessageCounts, Rate, Totals};
use traffic::{CallSum, Occasional};
pub(crate) use traffic::{SpanData, Traffic};

/// Queues that are counted one by one in a topic; a topic with more is counted as a whole.
const QUEUES_MAX: usize = 4_096;

/// As Java names what reads the delay levels.
const DELAY_GROUP: &str = "SCHEDULE_CONSUMER";

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
    acknowledged: Traffic,
    leased: Traffic,
    producer_registrations: Occasional,
    consumer_registrations: Occasional,
    connections: PerConnectionEvent,
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
            acknowledged: Traffic::new(now_ms),
            leased: Traffic::new(now_ms),
            producer_registrations: Occasional::default(),
            consumer_registrations: Occasional::default(),
            connections: PerConnectionEvent::default(),
            topics: RwLock::default(),
            groups: RwLock::default(),
        }
    }

    /// Counts messages that were stored with one call, and how long their producer had to wait: when
    /// the thread's turn ends, or now if it has none.
    pub(crate) fn record_timed_put(self: &Arc<Self>, topic: &str, queue_id: i32, put: Put) {
        let Put {
            messages,
            bytes,
            took_ms,
        } = put;
        let call = CallSum::of_one(messages, bytes);
        tally::count(self, (counted_as(topic), queue_id), call, Some(took_ms));
    }

    /// Counts messages that were stored with one call, for no producer that waits; when the thread's turn
    /// ends as well.
    pub(crate) fn record_put(
        self: &Arc<Self>,
        topic: &str,
        queue_id: i32,
        messages: u64,
        bytes: u64,
    ) {
        let call = CallSum::of_one(messages, bytes);
        tally::count(self, (counted_as(topic), queue_id), call, None);
    }

    /// Adds what a thread has counted. A topic that was removed meanwhile is counted anew, as if this had
    /// been put after the removal: a send that is under way then does the same.
    fn add_puts(&self, topics: &[TopicPuts], times: &PutTimes) {
        let (mut all, mut of_users) = (CallSum::default(), CallSum::default());
        for topic in topics {
            let counters = self.of_topic(&topic.name);
            let sum = topic.sum();
            all += sum;
            if !counters.is_system {
                of_users += sum;
            }
            counters.traffic.add_calls(&sum);
            self.add_to_queues(&counters, &topic.queues);
        }
        self.totals.add_put(all.messages, all.bytes);
        self.totals.add_put_times(times);
        self.put.add_calls(&all);
        self.put_of_users.add_calls(&of_users);
    }

    fn add_to_queues(&self, counters: &Counters, queues: &[QueuePuts]) {
        let index = |queue: &QueuePuts| self.counted_queue(queue.id);
        let Some(last) = queues.iter().filter_map(index).max() else {
            return;
        };
        let counted = counters.queues_to(last, &self.clock);
        for queue in queues {
            if let Some(traffic) = index(queue).and_then(|index| counted.get(index)) {
                traffic.add_calls(&queue.sum);
                traffic.add_times(&queue.sum);
            }
        }
    }

    /// Counts a message that could not be stored.
    pub(crate) fn record_put_failure(&self) {
        self.totals.add_put_failure();
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

    /// Counts a delayed message that has left `queue_id` of the delay levels: as what Java's group of them got, which is
    /// in no total.
    pub(crate) fn record_delay_end(&self, queue_id: i32, bytes: u64) {
        let counters = self.of_group(names::SCHEDULE_TOPIC, DELAY_GROUP);
        counters.traffic.add(1, bytes);
        self.record_queue(&counters, queue_id, 1, bytes);
    }

    /// Counts how long a pull took that found messages.
    pub(crate) fn record_get_latency(&self, group: &str, topic: &str, queue_id: i32, took_ms: i64) {
        let counters = self.of_group(topic, group);
        match counters.queue(queue_id) {
            Some(queue) => queue.add_time(took_ms),
            None => counters.traffic.add_time(took_ms),
        }
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
        let now_ms = self.clock.now_ms();
        self.of_group(topic, group).send_back.add(1, now_ms);
    }

    /// Counts a message that was given up.
    pub(crate) fn record_dead_letter(&self, group: &str, topic: &str) {
        let now_ms = self.clock.now_ms();
        self.of_group(topic, group).dead_letter.add(1, now_ms);
    }

    /// Counts a message that was given up when its consumer gave it back; `topic` is what the consumer
    /// says where it came from.
    pub(crate) fn record_dead_send_back(&self, group: &str, topic: &str) {
        let now_ms = self.clock.now_ms();
        self.of_group(topic, group).dead_send_back.add(1, now_ms);
    }

    /// Counts popped messages that were acknowledged.
    pub(crate) fn record_acknowledged(&self, group: &str, topic: &str, messages: u64) {
        self.acknowledged.add(messages, 0);
        let now_ms = self.clock.now_ms();
        let counters = self.of_group(topic, group);
        counters.acknowledged.add(messages, now_ms);
    }

    /// Counts a pop that put messages of a queue on lease.
    pub(crate) fn record_leased(&self, group: &str, topic: &str) {
        self.leased.add(1, 0);
        let now_ms = self.clock.now_ms();
        self.of_group(topic, group).leased.add(1, now_ms);
    }

    /// Counts that a producer told of itself, and how long that took.
    pub(crate) fn record_producer_registration(&self, took_ms: i64) {
        self.producer_registrations
            .add(took_ms.unsigned_abs(), self.clock.now_ms());
    }

    /// Counts that a consumer told of itself, and how long that took.
    pub(crate) fn record_consumer_registration(&self, took_ms: i64) {
        self.consumer_registrations
            .add(took_ms.unsigned_abs(), self.clock.now_ms());
    }

    /// Counts what became of a connection.
    pub(crate) fn record_connection(&self, activity: ConnectionActivity) {
        self.connections.of(activity).add(1, self.clock.now_ms());
    }

    /// Takes the samples that are due; once a second.
    pub(crate) fn sample(&self) {
        let now_ms = self.clock.now_ms();
        self.totals.sample(now_ms, self.message_counts());
        let of_broker = [
            &self.put,
            &self.get,
            &self.put_of_users,
            &self.get_of_users,
            &self.acknowledged,
            &self.leased,
        ];
        for traffic in of_broker {
            traffic.sample(now_ms);
        }
        self.producer_registrations.sample(now_ms);
        self.consumer_registrations.sample(now_ms);
        self.connections.sample(now_ms);
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

    fn record_queue(&self, counters: &Counters, queue_id: i32, messages: u64, bytes: u64) {
        let Some(index) = self.counted_queue(queue_id) else {
            return;
        };
        if let Some(queue) = counters.queues_to(index, &self.clock).get(index) {
            queue.add(messages, bytes);
        }
    }

    /// Where a queue is counted by itself, if it is.
    fn counted_queue(&self, queue_id: i32) -> Option<usize> {
        let index = usize::try_from(queue_id).ok()?;
        (self.counts_queues && index < QUEUES_MAX).then_some(index)
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
        let topic = counted_as(topic);
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
        let (topic, group) = (counted_as(topic), counted_as(group));
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
        let answers_of = topic.strip_suffix(names::REPLY_TOPIC_SUFFIX);
        let is_system = names::is_system_topic(topic) || answers_of == Some(&self.cluster);
        Arc::new(Counters::new(is_system, self.clock.now_ms()))
    }

    fn all_counters(&self) -> Vec<Arc<Counters>> {
        let topics = self.topics.read().expect("no panics");
        let groups = self.groups.read().expect("no panics");
        let of_groups = groups.values().flat_map(HashMap::values);
        topics.values().chain(of_groups).cloned().collect()
    }
}

/// What becomes of connections, as Java names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionActivity {
    Connect,
    Idle,
    Exception,
    Close,
}

#[derive(Debug, Default)]
struct PerConnectionEvent {
    connect: Occasional,
    idle: Occasional,
    exception: Occasional,
    close: Occasional,
}

impl PerConnectionEvent {
    fn of(&self, activity: ConnectionActivity) -> &Occasional {
        match activity {
            ConnectionActivity::Connect => &self.connect,
            ConnectionActivity::Idle => &self.idle,
            ConnectionActivity::Exception => &self.exception,
            ConnectionActivity::Close => &self.close,
        }
    }

    fn sample(&self, now_ms: i64) {
        for item in [&self.connect, &self.idle, &self.exception, &self.close] {
            item.sample(now_ms);
        }
    }
}

/// What one send has put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// From its arrival on, milliseconds.
    pub(crate) took_ms: i64,
}

/// What one pull was answered with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Given {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Light queues, of which there may be tens of thousands, are counted as one, and so are their groups.
fn counted_as(name: &str) -> &str {
    if names::is_light_queue(name) {
        names::LIGHT_QUEUE_PREFIX
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> (Arc<BrokerStats>, Clock) {
        let clock = Clock::by_hand(1_000_000);
        let stats = BrokerStats::new("c", true, clock.clone());
        (Arc::new(stats), clock)
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
    fn delayed_messages_that_left_are_no_gets_of_the_broker() {
        let (stats, clock) = stats();
        stats.record_delay_end(17, 100);
        clock.advance_ms(10_000);
        stats.sample();
        let sum = |name, key| stats.find(name, key).map(|data| data.minute.sum);
        let of_levels = "SCHEDULE_TOPIC_XXXX@SCHEDULE_CONSUMER";
        assert_eq!(sum("GROUP_GET_NUMS", of_levels), Some(1));
        let of_level = "SCHEDULE_TOPIC_XXXX@17@SCHEDULE_CONSUMER";
        assert_eq!(sum("QUEUE_GET_SIZE", of_level), Some(100));
        assert_eq!(sum("BROKER_GET_NUMS", "c"), None);
    }

    #[test]
    fn what_happens_now_and_then_is_there_once_it_happened() {
        let (stats, clock) = stats();
        let names = [
            ("GROUP_ACK_NUMS", "t@g"),
            ("GROUP_CK_NUMS", "t@g"),
            ("SNDBCK2DLQ_TIMES", "null@t@g@SEND_BACK_TO_DLQ"),
            ("CHANNEL_ACTIVITY", "CLOSE"),
            ("CONSUMER_REGISTER_TIME", "c"),
        ];
        stats.record_get("g", "t", 0, Given::default());
        let sums = || {
            let found = names.map(|(name, key)| stats.find(name, key));
            found.map(|data| data.map(|data| data.minute.sum))
        };
        assert_eq!(sums(), [None; 5]);
        stats.record_leased("g", "t");
        stats.record_acknowledged("g", "t", 3);
        stats.record_dead_send_back("g", "t");
        stats.record_connection(ConnectionActivity::Close);
        stats.record_consumer_registration(7);
        clock.advance_ms(10_000);
        stats.sample();
        assert_eq!(sums(), [Some(3), Some(1), Some(1), Some(1), Some(7)]);
        let sum = |name, key| stats.find(name, key).map(|data| data.minute.sum);
        assert_eq!(sum("BROKER_ACK_NUMS", "c"), Some(3));
        assert_eq!(sum("BROKER_CK_NUMS", "c"), Some(1));
        assert_eq!(sum("CHANNEL_ACTIVITY", "CONNECT"), None);
        assert_eq!(sum("PRODUCER_REGISTER_TIME", "c"), None);
        assert_eq!(sum("SNDBCK2DLQ_TIMES", "me@t@g@SEND_BACK_TO_DLQ"), None);
    }

    #[test]
    fn latencies_are_those_of_queues() {
        let (stats, clock) = stats();
        for took_ms in [10, 30] {
            let (messages, bytes) = (1, 100);
            let put = Put {
                messages,
                bytes,
                took_ms,
            };
            stats.record_timed_put("t", 3, put);
            stats.record_get("g", "t", 3, Given { messages, bytes });
            stats.record_get_latency("g", "t", 3, took_ms / 10);
        }
        stats.record_put("t", 3, 1, 100);
        clock.advance_ms(10_000);
        stats.sample();
        let average = |name, key| stats.find(name, key).map(|data| data.minute.per_call);
        assert_eq!(average("TOPIC_PUT_LATENCY", "3@t"), Some(20.0));
        assert_eq!(average("TOPIC_PUT_LATENCY", "4@t"), None);
        assert_eq!(average("GROUP_GET_LATENCY", "3@t@g"), Some(2.0));
        assert_eq!(average("GROUP_GET_LATENCY", "t@g"), None);
        assert_eq!(average("QUEUE_PUT_LATENCY", "3@t"), None);
        let puts = stats
            .find("TOPIC_PUT_NUMS", "t")
            .map(|data| data.minute.sum);
        assert_eq!(puts, Some(3));
    }

    #[test]
    fn system_topics_are_left_out_of_what_users_did() {
        let (stats, _) = stats();
        stats.record_put("rmq_sys_x", 0, 1, 1);
        stats.record_put("c_REPLY_TOPIC", 0, 1, 1);
        stats.record_put("t", 0, 1, 1);
        assert_eq!(stats.message_counts(), MessageCounts { put: 1, got: 0 });
        assert_eq!(stats.totals().put_messages(), 3);
    }

    #[test]
    fn light_queues_are_counted_as_one() {
        let (stats, _) = stats();
        let given = Given {
            messages: 1,
            bytes: 1,
        };
        for queue in ["%LMQ%a", "%LMQ%b"] {
            stats.record_get("%LMQ%g", queue, 0, given);
        }
        let counted: Vec<_> = stats.groups.read().unwrap().keys().cloned().collect();
        assert_eq!(counted.len(), 1, "{counted:?}");
    }

    #[test]
    fn what_is_removed_is_not_found() {
        let (stats, _) = stats();
        stats.record_put("t", 0, 1, 1);
        stats.record_send_back("g", "t");
        assert!(stats.find("SNDBCK_PUT_NUMS", "t@g").is_some());
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
