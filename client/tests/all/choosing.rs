//! Producers whose application decides which queue a message goes to.

use std::collections::BTreeSet;

use thrustmq_client::{
    Admin, ConsumeResult, Message, MessageError, NewTopic, SendError, at_random, by_hash,
};

use crate::standalone::{Received, Standalone, wait_until};

async fn with_topic(topic: &str, queues: u16) -> Standalone {
    let servers = Standalone::start().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    let topic = NewTopic::named(topic).queues(queues);
    admin.create_topic("DefaultCluster", &topic).await.unwrap();
    admin.close().await;
    servers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_to_the_queue_that_was_chosen() {
    let servers = with_topic("t", 5).await;
    let producer = servers.producer().await;
    let queues = producer.publish_queues("t").await.unwrap();
    assert_eq!(
        queues.iter().map(|q| q.queue_id).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    let message = || Message::new("t", "x");
    for queue in queues.iter().rev() {
        let receipt = producer.send_to(queue, message()).await.unwrap();
        assert_eq!(receipt.queue, *queue);
    }
    for _ in 0..3 {
        let sent = producer.send_selected(message(), by_hash("hello")).await;
        assert_eq!(sent.unwrap().queue.queue_id, 99_162_322 % 5);
    }
    let sent = producer.send_selected(message(), |queues, _| queues.len() - 2);
    assert_eq!(sent.await.unwrap().queue.queue_id, 3);
    producer
        .send_selected(message(), at_random())
        .await
        .unwrap();

    let failed = producer.send_selected(message(), |_, _| 5).await;
    let failed = failed.unwrap_err();
    assert!(
        matches!(
            failed,
            SendError::NoSuchQueue {
                index: 5,
                queues: 5
            }
        ),
        "{failed}"
    );
    let failed = producer.send_to(&queues[0], Message::new("u", "x")).await;
    let failed = failed.unwrap_err();
    assert!(
        matches!(
            failed,
            SendError::Message(MessageError::QueueOfOtherTopic { .. })
        ),
        "{failed}"
    );
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_sharding_key_are_in_order_in_one_queue() {
    let servers = with_topic("t", 4).await;
    let producer = servers.producer().await;
    for n in 0..10 {
        for key in ["order-1", "order-2", "order-3"] {
            let message = Message::new("t", format!("{key}: {n}"));
            producer.send_ordered(message, key).await.unwrap();
        }
    }
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("30 messages", || received.len() == 30).await;
    for key in ["order-1", "order-2", "order-3"] {
        let mut of_key = received.all();
        of_key.retain(|m| m.properties.get("__SHARDINGKEY") == Some(key));
        of_key.sort_by_key(|message| message.queue_offset);
        let queues: BTreeSet<_> = of_key.iter().map(|message| message.queue_id).collect();
        assert_eq!((of_key.len(), queues.len()), (10, 1));
        for (n, message) in of_key.iter().enumerate() {
            assert_eq!(message.body, format!("{key}: {n}").as_bytes());
        }
    }
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}
