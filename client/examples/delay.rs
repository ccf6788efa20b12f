//! Sends messages that are delivered later, and takes one back.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example delay
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime};

use thrustmq_client::{Message, Producer};

const TOPIC: &str = "reminders";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let producer = Producer::builder("remind")
        .name_servers(name_servers)
        .start()
        .await?;

    // By level: the third is 10 s, unless the broker is configured otherwise.
    producer
        .send(Message::new(TOPIC, "in 10 s").delay_level(3))
        .await?;

    // At a time.
    #[allow(clippy::disallowed_methods)] // an application knows no other clock
    let noon = SystemTime::now() + Duration::from_secs(20);
    producer
        .send(Message::new(TOPIC, "in 20 s").deliver_at(noon))
        .await?;

    // After a delay.
    let reminder = Message::new(TOPIC, "in an hour").deliver_after(Duration::from_secs(3_600));
    let receipt = producer.send(reminder).await?;
    if let Some(handle) = receipt.recall_handle {
        match producer.recall(&handle).await {
            Ok(id) => println!("{id} is taken back"),
            // Brokers allow it with recallMessageEnable=true.
            Err(why) => println!("not taken back: {why}"),
        }
    }
    producer.shutdown().await;
    Ok(())
}
