//! Requests and replies.

use std::time::Duration;

use thrustmq_client::{
    ConsumeResult, Message, MessageError, Producer, RequestError, Requester, SendError,
};

use crate::standalone::{Received, Standalone, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

async fn requester(servers: &Standalone) -> Requester {
    let builder = Producer::builder("askers").name_servers(servers.name_servers());
    builder
        .send_timeout(Duration::from_secs(20))
        .start_requester()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_gets_its_reply() {
    let servers = Standalone::start().await;
    let replier = servers.producer().await;
    let producer = replier.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("prices", "*")
        .start(move |message| {
            let producer = producer.clone();
            async move {
                let body = format!("price of {}", String::from_utf8_lossy(&message.body));
                match producer.reply(&message, body).await {
                    Ok(_) => ConsumeResult::Success,
                    Err(_) => ConsumeResult::Later,
                }
            }
        })
        .await
        .unwrap();
    let requester = requester(&servers).await;
    let ask = |what: String| async {
        let asked = what.clone();
        let reply = requester
            .request(Message::new("prices", what), PATIENCE)
            .await;
        (asked, reply.unwrap())
    };
    // More than is packed, and several at a time.
    let long = "apples ".repeat(2_000);
    let replies = tokio::join!(ask("pears".into()), ask(long), ask("plums".into()));
    for (asked, reply) in [replies.0, replies.1, replies.2] {
        assert_eq!(reply.body, format!("price of {asked}"));
    }
    consumer.shutdown().await;
    requester.shutdown().await;
    replier.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_reply_ends_in_time_and_no_request_is_not_replied_to() {
    let servers = Standalone::start().await;
    let requester = requester(&servers).await;
    let received = Received::default();
    let sink = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("prices", "*")
        .start(move |message| {
            sink.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    let plain = Message::new("prices", "nobody asks");
    requester.producer().send(plain).await.unwrap();
    wait_until("the message", || received.len() == 1).await;
    let reply = requester.producer().reply(&received.all()[0], "x").await;
    assert!(matches!(
        reply,
        Err(SendError::Message(MessageError::NoRequest(_)))
    ));
    let request = Message::new("prices", "apples");
    let unanswered = requester.request(request, Duration::from_millis(300)).await;
    assert!(matches!(unanswered, Err(RequestError::Timeout { ms: 300 })));
    consumer.shutdown().await;
    requester.shutdown().await;
    servers.stop().await;
}
