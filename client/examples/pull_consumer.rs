//! Reads all messages of a topic that are there now, queue by queue.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! thrustmq produce greetings hello
//! cargo run -p thrustmq-client --example pull_consumer
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;

use thrustmq_client::PullConsumer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let consumer = PullConsumer::builder("readers")
        .name_servers(name_servers)
        .start()
        .await?;
    for queue in consumer.queues("greetings").await? {
        // Where the group stopped the last time, or where the queue begins.
        let mut offset = match consumer.committed(&queue).await? {
            Some(offset) => offset,
            None => consumer.min_offset(&queue).await?,
        };
        let end = consumer.max_offset(&queue).await?;
        while offset < end {
            let pull = consumer.pull(&queue, offset).messages_max(16).await?;
            for message in &pull.messages {
                println!("{queue} {}: {:?}", message.queue_offset, message.body);
            }
            offset = pull.next_offset;
        }
        consumer.commit(&queue, offset).await?;
    }
    consumer.shutdown().await;
    Ok(())
}
