//! Pull consumers.

use std::future::IntoFuture;
use std::time::Duration;

use thrustmq_client::{AdminError, Message, PullConsumer, Subscription};

use crate::standalone::{Standalone, wait_until_async};

async fn consumer(servers: &Standalone) -> PullConsumer {
    PullConsumer::builder("readers")
        .name_servers(servers.name_servers())
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_read_from_where_the_application_says() {
    let servers = Standalone::start_with(&[("defaultTopicQueueNums", "1")]).await;
    let producer = servers.producer().await;
    let consumer = consumer(&servers).await;
    let absent = consumer.queues("orders").await;
    assert!(matches!(absent, Err(AdminError::Route(_))));
    for n in 0..5 {
        let tag = if n % 2 == 0 { "even" } else { "odd" };
        let message = Message::new("orders", n.to_string());
        let message = message.tag(tag).property("n", n.to_string());
        producer.send(message).await.unwrap();
    }
    let [queue] = &consumer.queues("orders").await.unwrap()[..] else {
        panic!("one queue")
    };
    wait_until_async("all of them", async || {
        consumer.max_offset(queue).await.unwrap() == 5
    })
    .await;
    let read = async |wanted: Subscription, offset, max| {
        let call = consumer.pull(queue, offset).subscription(wanted);
        let pull = call.messages_max(max).await.unwrap();
        let bodies: Vec<_> = pull.messages.iter().map(|m| m.body.clone()).collect();
        (bodies.concat(), pull.next_offset, pull.is_moved)
    };
    let all = read(Subscription::all(), 1, 2).await;
    assert_eq!(all, (b"12".to_vec(), 3, false));
    let odd = read(Subscription::tags("odd"), 0, 32).await;
    assert_eq!(odd, (b"13".to_vec(), 5, false));
    let some = read(Subscription::sql("n > 2"), 0, 32).await;
    assert_eq!(some, (b"34".to_vec(), 5, false));
    let behind = read(Subscription::all(), 99, 1).await;
    assert_eq!(behind, (Vec::new(), 5, true));
    assert_eq!(consumer.committed(queue).await.unwrap(), None);
    consumer.commit(queue, 3).await.unwrap();
    assert_eq!(consumer.committed(queue).await.unwrap(), Some(3));
    assert_eq!(consumer.min_offset(queue).await.unwrap(), 0);
    assert_eq!(consumer.max_offset(queue).await.unwrap(), 5);
    assert_eq!(consumer.offset_at(queue, 0).await.unwrap(), 0);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_waits_for_a_message() {
    let servers = Standalone::start_with(&[("defaultTopicQueueNums", "1")]).await;
    let producer = servers.producer().await;
    producer.send(Message::new("orders", "0")).await.unwrap();
    let consumer = consumer(&servers).await;
    let queues = consumer.queues("orders").await.unwrap();
    let queue = &queues[0];
    // What was answered may not be in its queue yet.
    wait_until_async("the first message", async || {
        consumer.max_offset(queue).await.unwrap() == 1
    })
    .await;
    let nothing = consumer.pull(queue, 1).await.unwrap();
    assert!(nothing.messages.is_empty() && nothing.next_offset == 1);
    let wait = Duration::from_secs(60);
    let waiting = consumer.pull(queue, 1).wait(wait).into_future();
    let (pull, sent) = tokio::join!(waiting, producer.send(Message::new("orders", "1")));
    assert_eq!(sent.unwrap().queue_offset, 1);
    assert_eq!(pull.unwrap().messages[0].body, "1");
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}
