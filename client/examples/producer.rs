//! Sends messages in the four ways there are.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example producer
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;

use thrustmq_client::{Message, Producer, SendError};

const TOPIC: &str = "greetings";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    // A producer is made once, cloned to wherever it is needed, and shut down at the end.
    let producer = Producer::builder("greeters")
        .name_servers(name_servers)
        .start()
        .await?;

    // Wait for the broker's answer: the message is stored when the receipt is there.
    let message = Message::new(TOPIC, "hello")
        .tag("new")
        .key("order-1")
        .property("language", "en");
    let receipt = producer.send(message).await?;
    println!(
        "{} is number {} of {}",
        receipt.msg_id, receipt.queue_offset, receipt.queue
    );

    // Go on at once and learn the outcome later. Thousands may be under way at a time.
    let message = Message::new(TOPIC, "hello, later");
    producer
        .send_with_callback(message, |outcome| match outcome {
            Ok(receipt) => println!("{} was sent", receipt.msg_id),
            Err(cause) => println!("not sent: {cause}"),
        })
        .await?;

    // Several messages of one topic in one request.
    let batch = (0..10)
        .map(|n| Message::new(TOPIC, format!("hello {n}")))
        .collect();
    let receipts = producer.send_batch(batch).await?;
    println!("the batch took {} request(s)", receipts.len());

    // No answer, no promise: for what may be lost.
    producer.send_oneway(Message::new(TOPIC, "hello?")).await?;

    // Errors say what to do about them.
    match producer.send(Message::new("not a topic", "x")).await {
        Err(SendError::Message(mistake)) => println!("as expected: {mistake}"),
        other => println!("unexpected: {other:?}"),
    }

    // Waits for what is under way.
    producer.shutdown().await;
    Ok(())
}
