//! Messages that are delivered later, or taken back before.

use std::time::{Duration, Instant};

use thrustmq_client::{ConsumeResult, Message, MessageError, RecallError, SendError};

use crate::standalone::{Received, Standalone, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn delayed_messages_come_later_and_recalled_ones_never() {
    let servers = Standalone::start_with(&[("recallMessageEnable", "true")]).await;
    let producer = servers.producer().await;
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
    let started = Instant::now();
    let recalled = Message::new("t", "recalled").deliver_after(Duration::from_secs(5));
    let recalled = producer.send(recalled).await.unwrap();
    let handle = recalled
        .recall_handle
        .expect("a delayed message has a handle");
    assert_eq!(producer.recall(&handle).await.unwrap(), recalled.msg_id);
    let kept = Message::new("t", "kept").deliver_after(Duration::from_secs(7));
    producer.send(kept).await.unwrap();
    let past = Message::new("t", "past").deliver_at(std::time::UNIX_EPOCH);
    producer.send(past).await.unwrap();
    let now = producer.send(Message::new("t", "now")).await.unwrap();
    assert_eq!(now.recall_handle, None);

    wait_until("what is not delayed", || received.len() >= 2).await;
    if started.elapsed() < Duration::from_secs(5) {
        assert_eq!(received.bodies(), ["now", "past"]);
    }
    wait_until("what is delayed", || received.len() >= 3).await;
    assert!(started.elapsed() > Duration::from_secs(5), "too early");
    assert_eq!(received.bodies(), ["kept", "now", "past"]);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delayed_or_recalled_is_told() {
    let servers = Standalone::start_with(&[("recallMessageEnable", "false")]).await;
    let producer = servers.producer().await;
    let delayed = || Message::new("t", "x").deliver_after(Duration::from_secs(60));
    let batch = producer.send_batch(vec![delayed()]).await.unwrap_err();
    assert!(
        matches!(
            batch.cause,
            SendError::Message(MessageError::NotForBatch("a delayed message"))
        ),
        "{batch}"
    );
    let both = producer.send(delayed().delay_level(1)).await.unwrap_err();
    assert!(
        matches!(both, SendError::Message(MessageError::SeveralDelays)),
        "{both}"
    );
    let nonsense = producer.recall("nonsense").await.unwrap_err();
    assert!(matches!(nonsense, RecallError::Handle(_)), "{nonsense}");
    let receipt = producer.send(delayed()).await.unwrap();
    let handle = receipt.recall_handle.unwrap_or_default();
    let refused = producer.recall(&handle).await.unwrap_err();
    assert!(
        matches!(&refused, RecallError::Call { broker_name, .. } if broker_name == "broker-a"),
        "{refused}"
    );
    producer.shutdown().await;
    servers.stop().await;
}
