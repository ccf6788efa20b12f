//! Receives messages in the order of their queues, until Ctrl-C.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example orderly_consumer
//! cargo run -p thrustmq-client --example producer       # in a third one
//! ```
//!
//! Started twice, the two share the queues, and each queue keeps its order. The name server's address
//! comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;
use std::time::Duration;

use thrustmq_client::{ConsumeFrom, OrderedResult, PushConsumer, ReceivedMessage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let consumer = PushConsumer::builder("greeted-in-order")
        .name_servers(name_servers)
        .subscribe("greetings", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        // Without it a message that fails holds its queue for ever.
        .reconsume_times_max(5)
        .start_orderly(greet)
        .await?;

    println!("consuming as {}, end with Ctrl-C", consumer.client_id());
    tokio::signal::ctrl_c().await?;

    // Lets the listeners at work end, commits, and gives the queues to other members at once.
    consumer.shutdown().await;
    Ok(())
}

/// Called for one message of a queue at a time.
async fn greet(message: ReceivedMessage) -> OrderedResult {
    let Ok(text) = std::str::from_utf8(&message.body) else {
        // It will not be text the next time either: to `%DLQ%greeted-in-order`, and on.
        return OrderedResult::DeadLetter;
    };
    if text.is_empty() {
        // The same message again in a second; its queue waits.
        return OrderedResult::SuspendQueue(Duration::from_secs(1));
    }
    println!(
        "queue {} {}: {text}",
        message.queue_id, message.queue_offset
    );
    OrderedResult::Success
}
