//! The topics that a broker creates at its start, as Java's `TopicConfigManager.init` does.

use thrustmq_proto_compat::body::TopicConfig;
use thrustmq_proto_compat::message::names;

use super::{PERM_INHERIT, PERM_READ, PERM_WRITE};
use crate::config::BrokerConfig;

const SCHEDULE_QUEUES: i32 = 18;
const BENCHMARK_QUEUES: i32 = 1_024;
const DEFAULT_QUEUES: i32 = 16;

/// The system topics of a broker of this configuration.
pub(super) fn system_topics(config: &BrokerConfig) -> Vec<TopicConfig> {
    let usual = PERM_READ | PERM_WRITE;
    let inherited = |is_usable| PERM_INHERIT | if is_usable { usual } else { 0 };
    let cluster = &config.broker_cluster_name;
    let revive = format!("{}{cluster}", names::REVIVE_TOPIC_PREFIX);
    let sync_member = format!("{}{}", names::SYNC_MEMBER_TOPIC_PREFIX, config.broker_name);
    let mut topics = vec![
        topic(names::SELF_TEST_TOPIC, 1, usual),
        topic(names::BENCHMARK_TOPIC, BENCHMARK_QUEUES, usual),
        topic(
            cluster,
            DEFAULT_QUEUES,
            inherited(config.cluster_topic_enable),
        ),
        topic(
            &config.broker_name,
            1,
            inherited(config.broker_topic_enable),
        ),
        topic(names::OFFSET_MOVED_TOPIC, 1, usual),
        topic(names::SCHEDULE_TOPIC, SCHEDULE_QUEUES, usual),
        topic(&names::reply_topic(cluster), 1, usual),
        topic(&revive, config.revive_queues, usual),
        topic(&sync_member, 1, PERM_INHERIT),
        topic(names::HALF_TOPIC, 1, usual),
        topic(names::OP_HALF_TOPIC, 1, usual),
        topic(names::ROCKSDB_HALF_TOPIC, 1, usual),
        topic(names::ROCKSDB_OP_HALF_TOPIC, 1, usual),
        topic(names::TIMER_TOPIC, 1, usual),
    ];
    if config.auto_create_topic {
        let queues = config.default_topic_queues;
        topics.push(topic(names::AUTO_CREATE_TOPIC, queues, inherited(true)));
    }
    if config.trace_topic_enable {
        topics.push(topic(&config.trace_topic, 1, usual));
    }
    topics
}

fn topic(name: &str, queues: i32, perm: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        ..TopicConfig::default()
    }
}
