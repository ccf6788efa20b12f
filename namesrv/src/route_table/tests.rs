//! Each rule of 07-namesrv on its own, and the cases in which Java leaves something behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thrustmq_proto_compat::body::{DataVersion, QueueData, TopicConfig};

use super::*;

/// A connection of which only the number counts.
#[derive(Debug, Default)]
pub(super) struct FakeConnection {
    pub(super) id: u64,
    pub(super) closed: AtomicBool,
}

impl Connection for FakeConnection {
    fn id(&self) -> u64 {
        self.id
    }

    fn close(&self, _why: &'static str) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

pub(super) fn member(name: &str, id: i64, address: &str) -> Member {
    Member {
        name: name.to_owned(),
        id,
        at: BrokerAddress {
            cluster: "c".to_owned(),
            address: address.to_owned(),
        },
    }
}

pub(super) fn registration(member: &Member, fingerprint: u64) -> Registration {
    Registration {
        member: member.clone(),
        ha_address: format!("ha-{}", member.at.address),
        zone: None,
        acting_master: Some(false),
        silence_ms_max: 120_000,
        fingerprint,
        now_ms: 0,
        connection: Arc::new(FakeConnection {
            id: fingerprint,
            closed: AtomicBool::new(false),
        }),
    }
}

pub(super) fn config(name: &str) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: 4,
        write_queue_nums: 4,
        perm: 6,
        ..TopicConfig::default()
    }
}

pub(super) fn topics(counter: i64, names: &[&str]) -> Topics {
    Topics {
        data_version: DataVersion {
            state_version: 0,
            timestamp: 1,
            counter,
        },
        configs: names.iter().map(|n| config(n)).collect(),
        mappings: BTreeMap::new(),
        filter_servers: None,
        delete_absent: false,
    }
}

/// A table in which `member` has registered with topics t and u.
fn with(member: &Member) -> RouteTable {
    let table = RouteTable::default();
    register(&table, member, topics(1, &["t", "u"]));
    table
}

fn register(table: &RouteTable, member: &Member, topics: Topics) -> Registered {
    let registration = registration(member, 1);
    table.register(registration, topics).unwrap()
}

fn perm(table: &RouteTable, topic: &str, broker: &str) -> Option<i32> {
    let route = table.pick(topic, false).ok()?;
    let queue = route.queue_datas.iter().find(|q| q.broker_name == broker)?;
    Some(queue.perm)
}

fn names_of(list: TopicList) -> Vec<String> {
    list.topic_list.into_iter().collect()
}

fn asked(table: &RouteTable, member: &Member) -> Vec<Leaving> {
    vec![table.asked(member.clone())]
}

#[test]
fn a_route_names_queues_and_addresses_of_every_broker() {
    let table = with(&member("a", 0, "1:1"));
    register(&table, &member("b", 0, "2:1"), topics(1, &["t", "only-b"]));
    let route = table.pick("t", false).unwrap();
    let names: Vec<_> = route
        .queue_datas
        .iter()
        .map(|q| q.broker_name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(route.broker_datas[1].broker_addrs[&0], "2:1");
    assert_eq!(table.pick("only-b", false).unwrap().broker_datas.len(), 1);
}

#[test]
fn the_reason_for_no_route_is_told() {
    let table = RouteTable::default();
    assert_eq!(table.pick("t", false).unwrap_err(), NoRoute::NoBroker);
    let table = with(&member("a", 0, "1:1"));
    assert_eq!(
        table.pick("x", false).unwrap_err(),
        NoRoute::NoTopic { brokers: 1 }
    );
}

#[test]
fn rule_1_a_slave_that_became_master_is_no_longer_a_slave() {
    let table = with(&member("a", 1, "1:1"));
    register(&table, &member("a", 0, "1:1"), topics(2, &["t", "u"]));
    let group = table.member_group("c", "a");
    assert_eq!(
        group.broker_addrs.into_iter().collect::<Vec<_>>(),
        [(0, "1:1".to_owned())]
    );
}

#[test]
fn rule_2_an_older_state_does_not_take_a_place() {
    let table = RouteTable::default();
    let mut newer = topics(1, &["t", "u"]);
    newer.data_version.state_version = 5;
    register(&table, &member("a", 0, "1:1"), newer);
    let answer = register(&table, &member("a", 0, "2:1"), topics(9, &["x", "y"]));
    assert_eq!(answer, Registered::default());
    assert_eq!(table.member_group("c", "a").broker_addrs[&0], "1:1");
    assert!(table.pick("x", false).is_err());

    let mut newest = topics(1, &["x", "y"]);
    newest.data_version.state_version = 6;
    register(&table, &member("a", 0, "2:1"), newest);
    assert_eq!(table.member_group("c", "a").broker_addrs[&0], "2:1");
    assert!(
        table.silent(i64::MAX).iter().all(|s| s.at.address == "2:1"),
        "the former holder is forgotten"
    );
}

#[test]
fn rule_3_a_single_topic_needs_a_full_registration_first() {
    let table = RouteTable::default();
    let a = member("a", 0, "1:1");
    let refused = table.register(registration(&a, 1), topics(1, &["t"]));
    assert_eq!(refused, Err(NotYetKnown));
    assert!(table.cluster_info().broker_addr_table.is_empty());
    register(&table, &a, topics(1, &["t", "u"]));
    register(&table, &a, topics(2, &["v"]));
    assert_eq!(names_of(table.topics(TopicFilter::All)), ["t", "u", "v"]);
}

#[test]
fn rule_4_only_the_master_sets_topics_and_absent_ones_stay() {
    let a = member("a", 0, "1:1");
    let table = with(&a);
    let mut old_slave = registration(&member("a", 1, "2:1"), 2);
    old_slave.acting_master = None;
    table.register(old_slave, topics(7, &["s", "s2"])).unwrap();
    assert!(table.pick("s", false).is_err());

    register(&table, &a, topics(2, &["u", "v"]));
    assert_eq!(names_of(table.topics(TopicFilter::All)), ["t", "u", "v"]);
    let mut all = topics(3, &["u", "v"]);
    all.delete_absent = true;
    register(&table, &a, all);
    assert_eq!(names_of(table.topics(TopicFilter::All)), ["u", "v"]);
}

#[test]
fn rule_4_an_unchanged_version_adds_what_is_missing_but_changes_nothing() {
    let a = member("a", 0, "1:1");
    let table = with(&a);
    table.set_write_permission("a", WritePermission::Wipe);
    register(&table, &a, topics(1, &["t", "u", "v"]));
    assert_eq!(perm(&table, "t", "a"), Some(4));
    assert_eq!(perm(&table, "v", "a"), Some(6));
    register(&table, &a, topics(2, &["t", "u", "v"]));
    assert_eq!(perm(&table, "t", "a"), Some(6));
}

#[test]
fn rule_5_the_lowest_slave_speaks_read_only_for_a_group_without_master() {
    let table = RouteTable::default();
    let mut slave = registration(&member("a", 2, "2:1"), 1);
    slave.acting_master = Some(true);
    table.register(slave, topics(1, &["t", "u"])).unwrap();
    assert_eq!(perm(&table, "t", "a"), Some(4));

    let plain = table.pick("t", false).unwrap();
    assert!(plain.broker_datas[0].broker_addrs.contains_key(&2));
    let acting = table.pick("t", true).unwrap();
    assert_eq!(acting.broker_datas[0].broker_addrs[&0], "2:1");
    assert_eq!(acting.broker_datas[0].broker_addrs.len(), 1);
}

#[test]
fn a_group_that_loses_its_master_becomes_read_only() {
    let table = RouteTable::default();
    let (master, slave) = (member("a", 0, "1:1"), member("a", 1, "2:1"));
    for m in [&master, &slave] {
        let mut r = registration(m, 1);
        r.acting_master = Some(true);
        table.register(r, topics(1, &["t", "u"])).unwrap();
    }
    assert_eq!(perm(&table, "t", "a"), Some(6));
    let notices = table.leave(asked(&table, &master), 0);
    assert_eq!(perm(&table, "t", "a"), Some(4));
    assert_eq!(
        table.pick("t", true).unwrap().broker_datas[0].broker_addrs[&0],
        "2:1"
    );
    assert_eq!(
        notices,
        [MinBrokerIdNotice {
            broker_name: "a".to_owned(),
            min_broker_id: 1,
            min_broker_address: "2:1".to_owned(),
            offline_broker_address: Some("1:1".to_owned()),
            ha_address: None,
            recipients: vec!["2:1".to_owned()],
        }]
    );
}

#[test]
fn rule_6_a_slave_learns_its_master() {
    let table = with(&member("a", 0, "1:1"));
    let answer = register(&table, &member("a", 1, "2:1"), topics(1, &["t", "u"]));
    assert_eq!(answer.master_address.as_deref(), Some("1:1"));
    assert_eq!(answer.ha_address.as_deref(), Some("ha-1:1"));
}

#[test]
fn rule_7_the_others_learn_of_a_new_lowest_id() {
    let table = with(&member("a", 1, "2:1"));
    register(&table, &member("a", 2, "3:1"), topics(1, &["t", "u"]));
    let answer = register(&table, &member("a", 0, "1:1"), topics(1, &["t", "u"]));
    let notice = answer.notice.unwrap();
    assert_eq!(
        (notice.min_broker_id, notice.min_broker_address.as_str()),
        (0, "1:1")
    );
    assert_eq!(notice.ha_address.as_deref(), Some("ha-1:1"));
    assert_eq!(notice.recipients, ["2:1", "3:1"]);
}

#[test]
fn the_same_body_renews_without_being_read() {
    let a = member("a", 0, "1:1");
    let table = with(&a);
    assert!(table.renew(&registration(&a, 2)).is_none(), "another body");
    assert!(
        table
            .renew(&registration(&member("a", 1, "1:1"), 1))
            .is_none(),
        "another id"
    );
    let mut later = registration(&a, 1);
    later.now_ms = 500_000;
    assert!(table.renew(&later).is_some());
    assert!(table.silent(600_000).is_empty());
    table.delete_topic("t", None);
    assert!(
        table.renew(&registration(&a, 1)).is_none(),
        "a topic was taken"
    );
    register(&table, &a, topics(1, &["t", "u"]));
    assert_eq!(perm(&table, "t", "a"), Some(6));
    assert!(table.renew(&registration(&a, 1)).is_some());
}

#[test]
fn a_slave_that_comes_to_speak_is_read_again() {
    let table = RouteTable::default();
    let (master, slave) = (member("a", 0, "1:1"), member("a", 1, "2:1"));
    register(&table, &master, topics(1, &["t", "u"]));
    table
        .register(registration(&slave, 7), topics(1, &["t", "u", "s"]))
        .unwrap();
    assert!(table.renew(&registration(&slave, 7)).is_some());
    table.leave(asked(&table, &master), 0);
    assert!(table.renew(&registration(&slave, 7)).is_none());
}

#[test]
fn silence_is_checked_again_when_it_is_applied() {
    let a = member("a", 0, "1:1");
    let table = with(&a);
    assert!(table.silent(120_000).is_empty());
    let silent = table.silent(120_001);
    assert_eq!(silent[0].at, a.at);
    table.touch(&a.at, 100_000);
    table.leave(vec![Leaving::Silent(a.at.clone())], 120_001);
    assert!(table.pick("t", false).is_ok());
    table.leave(vec![Leaving::Silent(a.at.clone())], 220_001);
    assert_eq!(table.pick("t", false).unwrap_err(), NoRoute::NoBroker);
    assert!(table.cluster_info().cluster_addr_table.is_empty());
}

#[test]
fn a_close_that_comes_late_does_not_hit_the_new_connection() {
    let a = member("a", 0, "1:1");
    let table = with(&a);
    assert!(table.is_broker_connection(1));
    table
        .register(registration(&a, 2), topics(2, &["t", "u"]))
        .unwrap();
    table.leave(vec![Leaving::ConnectionClosed(1)], 0);
    assert!(table.pick("t", false).is_ok());
    table.leave(vec![Leaving::ConnectionClosed(2)], 0);
    assert!(table.pick("t", false).is_err());
}

#[test]
fn a_wish_to_leave_that_comes_late_does_not_hit_the_new_registration() {
    let a = member("a", 0, "1:1");
    let table = with(&a);
    for late in [asked(&table, &a), asked(&RouteTable::default(), &a)] {
        assert!(table.renew(&registration(&a, 1)).is_some());
        table.leave(late, 0);
        assert!(table.pick("t", false).is_ok());
    }
    table.leave(asked(&table, &a), 0);
    assert!(table.pick("t", false).is_err());
}

#[test]
fn a_process_under_a_new_name_leaves_its_old_group() {
    let table = with(&member("a", 0, "1:1"));
    register(&table, &member("b", 0, "1:1"), topics(1, &["t", "u"]));
    assert!(!table.cluster_info().broker_addr_table.contains_key("a"));
    assert_eq!(perm(&table, "t", "a"), None);
    assert_eq!(perm(&table, "t", "b"), Some(6));
}

#[test]
fn topics_are_dropped_in_one_cluster_or_all() {
    let table = with(&member("a", 0, "1:1"));
    let mut other = member("b", 0, "2:1");
    other.at.cluster = "d".to_owned();
    register(&table, &other, topics(1, &["t", "u"]));
    table.delete_topic("t", Some("nowhere"));
    assert_eq!(table.pick("t", false).unwrap().broker_datas.len(), 2);
    table.delete_topic("t", Some("c"));
    assert_eq!(
        table.pick("t", false).unwrap().broker_datas[0].broker_name,
        "b"
    );
    assert_eq!(names_of(table.topics(TopicFilter::Cluster("c"))), ["u"]);
    table.delete_topic("t", None);
    assert!(table.pick("t", false).is_err());
    assert_eq!(names_of(table.system_topics()), ["a", "b", "c", "d"]);
}

#[test]
fn a_topic_is_put_only_for_brokers_that_are_there() {
    let table = with(&member("a", 0, "1:1"));
    let queue = |broker: &str| QueueData {
        broker_name: broker.to_owned(),
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: 6,
        topic_sys_flag: 2,
    };
    assert!(!table.put_topic("p", &[queue("a"), queue("stranger")]));
    assert!(table.pick("p", false).is_err());
    assert!(table.put_topic("p", &[queue("a")]));
    assert!(table.put_topic("nothing", &[]));
    assert!(table.pick("nothing", false).is_err());
    assert_eq!(
        names_of(table.topics(TopicFilter::Flag(|f| f & 3 == 2))),
        ["p"]
    );
    assert_eq!(
        names_of(table.topics(TopicFilter::Flag(|f| f & 2 != 0))),
        ["p"]
    );
    assert!(
        table
            .topics(TopicFilter::Flag(|f| f & 1 != 0))
            .topic_list
            .is_empty()
    );
}

#[test]
fn write_permissions_count_topics() {
    let table = with(&member("a", 0, "1:1"));
    assert_eq!(table.set_write_permission("a", WritePermission::Wipe), 2);
    assert_eq!(perm(&table, "t", "a"), Some(4));
    assert_eq!(table.set_write_permission("a", WritePermission::Restore), 2);
    assert_eq!(perm(&table, "t", "a"), Some(6));
    assert_eq!(table.set_write_permission("x", WritePermission::Wipe), 0);
}

#[test]
fn a_zone_keeps_its_brokers_and_those_without_master() {
    let table = RouteTable::default();
    for (name, id, address, zone) in [
        ("a", 0, "1:1", "Z1"),
        ("b", 0, "2:1", "z2"),
        ("s", 1, "3:1", "z2"),
    ] {
        let mut r = registration(&member(name, id, address), 1);
        r.zone = Some(zone.to_owned());
        let mut t = topics(1, &["t", "u"]);
        t.filter_servers = Some(vec![format!("filter-{name}")]);
        table.register(r, t).unwrap();
    }
    let mut route = table.pick("t", false).unwrap();
    assert_eq!(route.filter_server_table.len(), 3);
    keep_zone(&mut route, "z1");
    let names: Vec<_> = route
        .queue_datas
        .iter()
        .map(|q| q.broker_name.as_str())
        .collect();
    assert_eq!(names, ["a", "s"]);
    assert_eq!(route.broker_datas.len(), 2);
    assert!(!route.filter_server_table.contains_key("2:1"));
}
