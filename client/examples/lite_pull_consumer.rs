//! Receives messages as a member of a group, a poll at a time, until none came for 10 s.
//!
//! ```sh
//! thrustmq standalone                                       # in another terminal
//! cargo run -p thrustmq-client --example lite_pull_consumer
//! cargo run -p thrustmq-client --example producer           # in a third one
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;
use std::time::Duration;

use thrustmq_client::{ConsumeFrom, LitePullConsumer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let mut consumer = LitePullConsumer::builder("polled")
        .name_servers(name_servers)
        .subscribe("greetings", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .poll_batch(10)
        .start()
        .await?;

    loop {
        // Also says that the messages of the poll before are done.
        let messages = consumer.poll(Duration::from_secs(10)).await;
        if messages.is_empty() {
            break;
        }
        for message in &messages {
            let text = String::from_utf8_lossy(&message.body);
            println!(
                "{} of queue {}: {text}",
                message.message_id(),
                message.queue_id
            );
        }
        // Every 5 s without it.
        consumer.commit().await?;
    }

    consumer.shutdown().await;
    Ok(())
}
