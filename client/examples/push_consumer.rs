//! Receives messages as a member of a group, until Ctrl-C.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example push_consumer
//! cargo run -p thrustmq-client --example producer       # in a third one
//! ```
//!
//! Started twice, the two share the topic's queues. The name server's address comes from
//! `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;

use thrustmq_client::{ConsumeFrom, ConsumeResult, PushConsumer, ReceivedMessage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let consumer = PushConsumer::builder("greeted")
        .name_servers(name_servers)
        // `*` is every message; `new || old` would be those with one of the two tags.
        .subscribe("greetings", "*")
        // Where the group begins the first time; later it goes on where it was.
        .consume_from(ConsumeFrom::FirstOffset)
        // As many messages as this are worked on at a time.
        .concurrency(8)
        .start(greet)
        .await?;

    println!("consuming as {}, end with Ctrl-C", consumer.client_id());
    tokio::signal::ctrl_c().await?;

    // Lets the listeners at work end, and commits what they did.
    consumer.shutdown().await;
    Ok(())
}

/// Called for each message, at least once.
async fn greet(message: ReceivedMessage) -> ConsumeResult {
    let Ok(text) = std::str::from_utf8(&message.body) else {
        // The broker delivers it again, later and later, and at last to `%DLQ%greeted`.
        return ConsumeResult::Later;
    };
    println!(
        "{} (delivery {}): {text}",
        message.message_id(),
        message.reconsume_times + 1
    );
    ConsumeResult::Success
}
