//! Asks for prices over a topic, and answers.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example request_reply
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;
use std::time::Duration;

use thrustmq_client::{ConsumeResult, Message, Producer, PushConsumer, RequestError};

const TOPIC: &str = "prices";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let requester = Producer::builder("shops")
        .name_servers(name_servers.as_str())
        .start_requester()
        .await?;
    // Nobody answers this one; it also creates the topic where brokers do so.
    let unheard = Message::new(TOPIC, "apples");
    match requester.request(unheard, Duration::from_millis(500)).await {
        Err(RequestError::Timeout { ms }) => println!("nobody answered within {ms} ms"),
        other => println!("unexpected: {other:?}"),
    }

    let replier = Producer::builder("warehouses")
        .name_servers(name_servers.as_str())
        .start()
        .await?;
    let producer = replier.clone();
    let consumer = PushConsumer::builder("warehouse")
        .name_servers(name_servers)
        .subscribe(TOPIC, "*")
        .start(move |message| {
            let producer = producer.clone();
            async move {
                match producer.reply(&message, "1.20").await {
                    Ok(_) => ConsumeResult::Success,
                    Err(why) => {
                        println!("not replied: {why}");
                        ConsumeResult::Success // The requester has given up, or will.
                    }
                }
            }
        })
        .await?;
    let request = Message::new(TOPIC, "pears");
    let reply = requester.request(request, Duration::from_secs(30)).await?;
    println!("pears cost {}", String::from_utf8_lossy(&reply.body));

    consumer.shutdown().await;
    replier.shutdown().await;
    requester.shutdown().await;
    Ok(())
}
