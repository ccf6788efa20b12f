//! Receives messages as a stream, until Ctrl-C.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example stream
//! cargo run -p thrustmq-client --example producer       # in a third one
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;

use thrustmq_client::{ConsumeFrom, PushConsumer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let mut messages = PushConsumer::builder("streamed")
        .name_servers(name_servers)
        .subscribe("greetings", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        // As many deliveries as this are held at a time; no more come until one is done.
        .concurrency(8)
        .stream()
        .await?;

    // It is a `futures_core::Stream` as well, for programs that use the combinators of other crates.
    loop {
        let delivery = tokio::select! {
            delivery = messages.next() => delivery,
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(delivery) = delivery else {
            break;
        };
        match std::str::from_utf8(&delivery.body) {
            Ok(text) => {
                println!("{}: {text}", delivery.message_id());
                delivery.ack();
            }
            // Dropping it would do the same.
            Err(_) => delivery.retry_later(),
        }
    }
    messages.shutdown().await;
    Ok(())
}
