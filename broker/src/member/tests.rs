use std::sync::Arc;

use thrustmq_proto_compat::body::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Language;
use thrustmq_remoting::{Client, ClientOptions, Peer, Routes, Server, ServerOptions};

use super::*;

/// Connections to a server that answers nothing: what counts is that they are different.
struct Connections {
    _server: Server,
    _clients: Vec<Client>,
    peers: Vec<Peer>,
}

async fn connections(count: usize) -> Connections {
    let clock = Clock::system();
    let options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
    let routes = Routes::builder(Arc::new(())).build();
    let server = Server::bind(options, routes, None, clock.clone())
        .await
        .unwrap();
    let addr = server.local_addr().to_string();
    let (mut clients, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let client = Client::new(ClientOptions::default(), None, None, clock.clone());
        peers.push(client.connect(&addr).await.unwrap());
        clients.push(client);
    }
    Connections {
        _server: server,
        _clients: clients,
        peers,
    }
}

fn client(peer: &Peer, client_id: &str) -> ClientIdentity {
    ClientIdentity {
        peer: peer.clone(),
        client_id: client_id.into(),
        language: Language::Java,
        version: 513,
    }
}

fn subscription(topic: &str, sub_version: i64) -> SubscriptionData {
    SubscriptionData {
        topic: topic.into(),
        sub_string: "*".into(),
        sub_version,
        ..SubscriptionData::default()
    }
}

fn heartbeat<'a>(
    client: &'a ClientIdentity,
    subscriptions: Vec<SubscriptionData>,
) -> ConsumerHeartbeat<'a> {
    ConsumerHeartbeat {
        group: "g",
        client,
        mode: ConsumeMode {
            consume_type: ConsumeType::Passively,
            message_model: MessageModel::Clustering,
            consume_from_where: ConsumeFromWhere::LastOffset,
        },
        subscriptions: Some(subscriptions),
        fingerprint: 0,
    }
}

#[tokio::test]
async fn only_news_change_a_group() {
    let connections = connections(2).await;
    let consumers = ConsumerTable::new(Clock::by_hand(0));
    let one = client(&connections.peers[0], "one");
    let two = client(&connections.peers[1], "two");
    let changes = |client, subscriptions| {
        let registered = consumers.register(heartbeat(client, subscriptions));
        registered.is_changed
    };
    assert!(changes(&one, vec![subscription("t", 1)]));
    assert!(!changes(&one, vec![subscription("t", 1)]));
    assert!(changes(&two, vec![subscription("t", 1)]));
    assert!(changes(
        &one,
        vec![subscription("t", 1), subscription("u", 1)]
    ));
    assert!(!changes(
        &one,
        vec![subscription("t", 5), subscription("u", 1)]
    ));
    assert_eq!(
        consumers.subscription("g", "t").unwrap().data.sub_version,
        5
    );
    assert!(!changes(
        &two,
        vec![subscription("t", 4), subscription("u", 1)]
    ));
    assert_eq!(
        consumers.subscription("g", "t").unwrap().data.sub_version,
        5
    );
    assert!(!changes(&two, vec![subscription("u", 1)]));
    assert!(!consumers.leaves_out("g", "t"));
    assert!(changes(&one, vec![subscription("u", 1)]));
    assert!(consumers.leaves_out("g", "t") && !consumers.leaves_out("h", "t"));
    assert_eq!(
        consumers.groups_of("u").into_iter().collect::<Vec<_>>(),
        ["g"]
    );
    assert_eq!(consumers.find("g").unwrap().members().count(), 2);
}

#[tokio::test]
async fn a_heartbeat_without_subscriptions_keeps_them() {
    let connections = connections(1).await;
    let consumers = ConsumerTable::new(Clock::by_hand(0));
    let one = client(&connections.peers[0], "one");
    let mut first = heartbeat(&one, vec![subscription("t", 1)]);
    first.fingerprint = 7;
    assert!(!consumers.register(first).is_fingerprint_new);
    let mut again = heartbeat(&one, vec![]);
    again.subscriptions = None;
    again.fingerprint = 7;
    let registered = consumers.register(again);
    assert!(!registered.is_changed && !registered.is_fingerprint_new);
    assert!(consumers.subscription("g", "t").is_some());
    let mut other = heartbeat(&one, vec![subscription("t", 2)]);
    other.fingerprint = 8;
    assert!(consumers.register(other).is_fingerprint_new);
}

#[tokio::test]
async fn who_leaves_or_falls_silent_is_gone() {
    let connections = connections(3).await;
    let clock = Clock::by_hand(0);
    let consumers = ConsumerTable::new(clock.clone());
    let clients: Vec<_> = connections
        .peers
        .iter()
        .map(|peer| client(peer, "c"))
        .collect();
    for client in &clients {
        consumers.register(heartbeat(client, vec![subscription("t", 1)]));
    }
    let left = consumers.unregister("g", &connections.peers[0]).unwrap();
    assert_eq!(left.state.unwrap().members().count(), 2);
    let left = consumers.remove_connection(&connections.peers[1]);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].state.as_ref().unwrap().members().count(), 1);
    assert!(
        consumers
            .remove_connection(&connections.peers[1])
            .is_empty()
    );
    clock.advance_ms(120_000);
    assert!(consumers.remove_expired(120_000).is_empty());
    clock.advance_ms(1);
    let left = consumers.remove_expired(120_000);
    assert!(left.len() == 1 && left[0].state.is_none());
    assert!(consumers.find("g").is_none());
}

#[tokio::test]
async fn a_sign_of_life_keeps_a_member() {
    let connections = connections(1).await;
    let clock = Clock::by_hand(0);
    let consumers = ConsumerTable::new(clock.clone());
    let producers = ProducerTable::new(clock.clone());
    let one = client(&connections.peers[0], "one");
    for _ in 0..3 {
        consumers.register(heartbeat(&one, vec![subscription("t", 1)]));
        producers.register("p", &one);
        clock.advance_ms(100_000);
        assert!(consumers.remove_expired(120_000).is_empty());
        assert!(producers.remove_expired(120_000).is_empty());
    }
    clock.advance_ms(20_001);
    assert_eq!(producers.remove_expired(120_000).len(), 1);
    assert!(producers.members("p").is_none());
}

#[tokio::test]
async fn producers_join_and_leave_group_by_group() {
    let connections = connections(2).await;
    let producers = ProducerTable::new(Clock::by_hand(0));
    let one = client(&connections.peers[0], "one");
    let two = client(&connections.peers[1], "two");
    producers.register("p", &one);
    producers.register("p", &two);
    producers.register("q", &one);
    producers.unregister("p", &one.peer);
    assert_eq!(producers.members("p").unwrap().len(), 1);
    producers.remove_connection(&one.peer);
    assert!(producers.members("q").is_none());
    assert_eq!(producers.all().len(), 1);
}

#[tokio::test]
async fn each_member_has_its_own_subscription() {
    let connections = connections(3).await;
    let consumers = ConsumerTable::new(Clock::by_hand(0));
    let [one, two, stranger] = [0, 1, 2].map(|at: usize| connections.peers[at].clone());
    let wanting = |expression: &str, version| SubscriptionData {
        sub_string: expression.into(),
        expression_type: Some("SQL92".into()),
        ..subscription("t", version)
    };
    let register = |peer, said| {
        consumers.register(heartbeat(&client(peer, "c"), said));
    };
    register(&one, vec![wanting("a = 1", 7)]);
    register(&two, vec![wanting("a = 2", 5), subscription("u", 1)]);
    let of = |peer, topic| {
        let group = consumers.find("g").unwrap();
        let subscription = group.subscription_of(peer, topic);
        subscription.map(|subscription| subscription.data.sub_string.clone())
    };
    assert_eq!(of(&one, "t").as_deref(), Some("a = 1"));
    assert_eq!(of(&two, "t").as_deref(), Some("a = 2"));
    // The newest is the group's, for whoever says nothing.
    assert_eq!(of(&stranger, "t").as_deref(), Some("a = 1"));
    assert_eq!(of(&one, "u").as_deref(), Some("*"));
    register(&one, vec![wanting("a = ", 8)]);
    let group = consumers.find("g").unwrap();
    assert!(group.subscription_of(&one, "t").unwrap().filter.is_err());
    assert!(group.subscription_of(&two, "t").unwrap().filter.is_ok());
    let kept = group.subscription_of(&two, "t").unwrap().clone();
    register(&two, vec![wanting("a = 2", 5)]);
    let group = consumers.find("g").unwrap();
    let now = group.subscription_of(&two, "t").unwrap();
    assert!(
        Arc::ptr_eq(now, &kept),
        "what is said again is not compiled again"
    );
}
