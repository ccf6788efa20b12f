//! An application's own test against real servers in its process: nothing to install, nothing to
//! start, nothing to clean up.
//!
//! ```sh
//! cargo run -p thrustmq-client --example testing
//! ```
//!
//! In a project of yours, under `[dev-dependencies]`:
//! `thrustmq-client = { version = "0.1", features = ["testing"] }`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::error::Error;

use thrustmq_client::testing::{BROKER, Standalone};
use thrustmq_client::{ConsumeFrom, ConsumeResult, Message, Producer, PushConsumer};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A name server and a broker on free ports, with a setting that makes retries quick.
    let mut servers = Standalone::builder()
        .broker_setting("messageDelayLevel", "1s 1s 1s 1s")
        .start()
        .await?;
    servers.create_topic("orders", 4).await?;

    // What is tested gets the configuration as it would in production.
    let (sink, mut received) = mpsc::channel(10);
    let consumer = PushConsumer::builder("order-service")
        .config(servers.config())
        .subscribe("orders", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            let sink = sink.clone();
            async move {
                // The first delivery fails, as it may in production.
                if message.reconsume_times == 0 {
                    return ConsumeResult::Later;
                }
                match sink.send(message).await {
                    Ok(()) => ConsumeResult::Success,
                    Err(_) => ConsumeResult::Later,
                }
            }
        })
        .await?;
    let producer = Producer::builder("shop")
        .config(servers.config())
        .start()
        .await?;
    producer.send(Message::new("orders", "4711")).await?;
    let message = received.recv().await.ok_or("the consumer is gone")?;
    println!(
        "{:?} came after {} failure(s)",
        message.body, message.reconsume_times
    );

    // Brokers go away and come back: clients find them again.
    servers.stop_broker(BROKER).await;
    servers.start_broker(BROKER).await?;

    producer.shutdown().await;
    consumer.shutdown().await;
    // The servers stop, and what they stored is removed, when `servers` goes.
    Ok(())
}
