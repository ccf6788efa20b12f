//! Starting, stopping, starting again.

use thrustmq_broker::{BrokerOptions, BrokerServer};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::header::UpdateConsumerOffsetRequestHeader;
use thrustmq_proto_compat::request_code::{QueryConsumerOffset, UpdateConsumerOffset};

use crate::harness::{SUSPEND, TestBroker, config, pull_header};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_messages_topics_and_offsets() {
    let broker = TestBroker::start().await;
    for n in 0..5 {
        broker.send("orders", 0, &n.to_string(), &[]).await;
    }
    broker.pull_some("orders", 0).await;
    let commit = UpdateConsumerOffsetRequestHeader {
        consumer_group: "g".to_owned(),
        topic: "orders".to_owned(),
        queue_id: 0,
        commit_offset: 3,
        ..UpdateConsumerOffsetRequestHeader::default()
    };
    let answer = broker.call::<UpdateConsumerOffset>(&commit, vec![]).await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let dir = broker.stop().await;
    let broker = TestBroker::start_in(dir, |config| config.auto_create_topic = false).await;
    assert_eq!(broker.send("orders", 0, "5", &[]).await.queue_offset, 5);
    let query = thrustmq_proto_compat::header::QueryConsumerOffsetRequestHeader {
        consumer_group: "g".to_owned(),
        topic: "orders".to_owned(),
        queue_id: 0,
        ..Default::default()
    };
    let answer = broker.call::<QueryConsumerOffset>(&query, vec![]).await;
    assert_eq!(answer.fields.get("offset"), Some("3"));
    while broker.pull_some("orders", 0).await.messages.len() < 6 {}
    let bodies = broker.pull_some("orders", 0).await.bodies();
    assert_eq!(bodies, ["0", "1", "2", "3", "4", "5"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_the_same_directory_or_port_is_told_so() {
    let broker = TestBroker::start().await;
    let start = |config| {
        let options = BrokerOptions {
            config,
            ..BrokerOptions::default()
        };
        async {
            BrokerServer::start(options, Clock::system())
                .await
                .unwrap_err()
                .to_string()
        }
    };
    let root = broker.dir.path().display();
    let error = start(config(broker.dir.path())).await;
    assert_eq!(
        error,
        format!("data directory {root} is in use by another process")
    );
    let other = tempfile::tempdir().unwrap();
    let mut taken = config(other.path());
    taken.listen_port = broker.server.addresses().listen.port();
    let error = start(taken.clone()).await;
    assert!(
        error.starts_with(&format!("can not listen on {}: ", broker.address)),
        "{error}"
    );
    // Nothing of the failed start is left: the directory is free.
    taken.listen_port = 0;
    let options = BrokerOptions {
        config: taken,
        ..BrokerOptions::default()
    };
    BrokerServer::start(options, Clock::system())
        .await
        .unwrap()
        .shutdown()
        .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = start(config(&file.path().join("below"))).await;
    assert!(
        error.starts_with("data directory ") && error.contains(" is unusable: "),
        "{error}"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_the_pulls_that_wait() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "1", &[]).await;
    broker.pull_some("orders", 0).await;
    let mut header = pull_header("g", "orders", 0, 1);
    header.sys_flag |= SUSPEND;
    header.suspend_timeout_ms = 25_000;
    let TestBroker {
        server,
        client,
        address,
        dir: _dir,
    } = broker;
    let request = thrustmq_proto_compat::command::Command::request::<
        thrustmq_proto_compat::request_code::PullMessage,
    >(&header);
    let mut waiting = Box::pin(client.call(&address, request, crate::harness::TIMEOUT));
    let again = thrustmq_proto_compat::command::Command::request::<
        thrustmq_proto_compat::request_code::PullMessage,
    >(&pull_header("g", "orders", 0, 1));
    // When a later request of the same connection is answered, the broker knows of the pull; then it
    // gets time to park it.
    let later = async {
        let answer = client.call(&address, again, crate::harness::TIMEOUT).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        answer
    };
    tokio::select! {
        biased;
        early = &mut waiting => panic!("{early:?}"),
        answer = later => assert_eq!(answer.unwrap().code, 19),
    }
    let begun = tokio::time::Instant::now();
    server.shutdown().await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    assert_eq!(waiting.await.unwrap().code, 19);
    client.shutdown().await;
}
