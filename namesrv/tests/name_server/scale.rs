//! 10,000 topics × 3 brokers: nothing here may be slow enough to notice, even unoptimised.

use std::time::Duration;

use thrustmq_proto_compat::request_code::GetAllTopicListFromNameserver;

use crate::harness::{Broker, Harness};

const TOPICS: usize = 10_000;
const BROKERS: i64 = 3;

/// Time as the runtime sees it: tests may not read the system's clock themselves.
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_topics_on_three_brokers() {
    let harness = Harness::start().await;
    let names: Vec<String> = (0..TOPICS)
        .map(|n| format!("topic-with-a-usual-name-{n:05}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let brokers: Vec<Broker> = (0..BROKERS)
        .map(|n| Broker::new(&harness, &format!("broker-{n}"), 0, &names))
        .collect();
    for broker in &brokers {
        let body = broker.body_json();
        let begin = now();
        assert_eq!(broker.register_body(body.clone()).await.code, 0);
        let first = begin.elapsed();
        let begin = now();
        assert_eq!(broker.register_body(body).await.code, 0);
        let again = begin.elapsed();
        println!("registered in {first:?}, again in {again:?}");
        assert!(first < Duration::from_secs(40) && again < Duration::from_secs(10));
    }
    let begin = now();
    for name in names.iter().step_by(10) {
        let route = harness.route(name).await.unwrap();
        assert_eq!(
            (route.queue_datas.len(), route.broker_datas.len()),
            (3, 3),
            "{name}"
        );
    }
    println!("{} routes in {:?}", TOPICS / 10, begin.elapsed());
    let reply = harness
        .call::<GetAllTopicListFromNameserver>(&(), Vec::new())
        .await
        .unwrap();
    assert!(reply.body.len() > TOPICS * 20);

    let begin = now();
    for broker in &brokers {
        broker.client.shutdown().await;
    }
    harness.until_gone(names[0]).await;
    println!("all gone in {:?}", begin.elapsed());
    harness.stop().await;
}
