//! Sends messages whose order counts: those of one order go to one queue.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example ordered
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;

use thrustmq_client::{Message, Producer};

const TOPIC: &str = "order-steps";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let producer = Producer::builder("shops")
        .name_servers(name_servers)
        .start()
        .await?;

    for step in ["ordered", "paid", "shipped"] {
        for order in ["4711", "4712"] {
            let message = Message::new(TOPIC, format!("{order} is {step}")).tag(step);
            // Wait for each before the next: what is sent at a time may be stored in any order.
            let receipt = producer.send_ordered(message, order).await?;
            println!("{order} {step}: {}", receipt.queue);
        }
    }

    // The application may choose the queue itself: here the last.
    let message = Message::new(TOPIC, "the shop closes");
    let receipt = producer
        .send_selected(message, |queues, _| queues.len().saturating_sub(1))
        .await?;
    println!("closing: {}", receipt.queue);

    // Or name it.
    for queue in producer.publish_queues(TOPIC).await? {
        let message = Message::new(TOPIC, "the shop is closed");
        producer.send_to(&queue, message).await?;
    }
    producer.shutdown().await;
    Ok(())
}
