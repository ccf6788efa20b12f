use super::*;
use crate::config::BrokerConfig;

fn open(dir: &Path, change: impl FnOnce(&mut BrokerConfig)) -> TopicTable {
    let mut config = BrokerConfig {
        broker_name: "broker-a".into(),
        ..BrokerConfig::default()
    };
    change(&mut config);
    let clock = Clock::by_hand(1_000);
    let config = LiveConfig::new(config, None, clock.clone());
    TopicTable::open(dir, config, clock, &MetadataWriter::new()).unwrap()
}

fn auto<'a>(topic: &'a str, default_topic: &'a str, queues: i32) -> AutoTopic<'a> {
    AutoTopic {
        topic,
        default_topic,
        queues,
        sys_flag: 0,
    }
}

fn topic(name: &str) -> TopicConfig {
    TopicConfig {
        topic_name: name.into(),
        ..TopicConfig::default()
    }
}

#[test]
fn a_new_broker_has_its_system_topics() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path(), |_| {});
    let perm = |name: &str| topics.find(name).unwrap().perm;
    assert_eq!(perm("TBW102"), 7);
    assert_eq!(perm("DefaultCluster"), 7);
    assert_eq!(perm("rmq_sys_SYNC_BROKER_MEMBER_broker-a"), 1);
    assert_eq!(
        topics.find("SCHEDULE_TOPIC_XXXX").unwrap().write_queue_nums,
        18
    );
    assert!(topics.is_system("broker-a") && !topics.is_system("mine"));
    assert_eq!(topics.data_version().counter, 0);
}

#[test]
fn a_first_message_creates_its_topic_from_the_template() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path(), |_| {});
    let created = topics.create_for_send(auto("t", "TBW102", 4)).unwrap();
    assert!(created.is_changed);
    assert_eq!(
        (created.config.perm, created.config.write_queue_nums),
        (6, 4)
    );
    let again = topics.create_for_send(auto("t", "TBW102", 2)).unwrap();
    assert!(!again.is_changed);
    assert_eq!(again.config.write_queue_nums, 4);
    let many = topics.create_for_send(auto("many", "TBW102", 400)).unwrap();
    assert_eq!(many.config.read_queue_nums, 8);
    assert_eq!(topics.data_version().counter, 2);
}

#[test]
fn nothing_is_created_where_it_may_not_be() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path(), |config| config.auto_create_topic = false);
    assert!(topics.create_for_send(auto("t", "TBW102", 4)).is_none());
    assert!(
        topics
            .create_for_send(auto("t", "SELF_TEST_TOPIC", 4))
            .is_none()
    );
    assert!(topics.create_for_send(auto("t", "absent", 4)).is_none());
    assert!(topics.create_for_send(auto("t", "broker-a", 4)).is_some());
}

#[test]
fn topics_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path(), |_| {});
    let mut config = topic("t");
    config
        .attributes
        .insert("+message.type".into(), "FIFO".into());
    topics.upsert(config).unwrap();
    topics.write_changes();
    let reopened = open(dir.path(), |_| {});
    assert_eq!(
        reopened.find("t").unwrap().attributes["message.type"],
        "FIFO"
    );
    assert_eq!(reopened.data_version(), topics.data_version());
}

#[test]
fn the_data_version_moves_only_with_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path(), |_| {});
    assert!(topics.upsert(topic("t")).unwrap().is_changed);
    assert!(!topics.upsert(topic("t")).unwrap().is_changed);
    assert!(!topics.create_for_group(topic("t")).is_changed);
    assert!(!topics.remove("absent"));
    assert_eq!(topics.data_version().counter, 1);
    assert!(topics.remove("t"));
    assert!(!topics.contains("t"));
    assert_eq!(topics.data_version().counter, 2);
}

#[test]
fn an_ordered_topic_makes_the_retry_topic_follow() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path(), |_| {});
    topics.create_for_group(topic("%RETRY%g"));
    topics.mark_ordered(["%RETRY%g", "absent"]);
    assert!(topics.is_ordered("%RETRY%g"));
    assert!(topics.create_for_group(topic("%RETRY%g")).is_changed);
    assert!(!topics.is_ordered("%RETRY%g"));
}
