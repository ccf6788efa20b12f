//! Sends many small messages with few requests.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example batch
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;

use thrustmq_client::{Message, Producer};

const TOPIC: &str = "measurements";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let producer = Producer::builder("sensors")
        .name_servers(name_servers)
        // A request takes at most so much; longer batches are split.
        .batch_bytes_max(64 * 1024)
        .start()
        .await?;

    let measurements = (0..5_000)
        .map(|n| Message::new(TOPIC, format!("{n}: 20.5 °C")).key(n.to_string()))
        .collect();
    match producer.send_batch(measurements).await {
        Ok(receipts) => println!("5000 messages took {} requests", receipts.len()),
        Err(failed) => {
            // What is stored is stored; the rest can be sent again.
            println!("{failed}");
            producer.send_batch(failed.unsent).await?;
        }
    }
    producer.shutdown().await;
    Ok(())
}
