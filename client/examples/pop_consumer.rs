//! Takes messages on lease, and calls a listener for each, until Ctrl-C.
//!
//! ```sh
//! thrustmq standalone                                  # in another terminal
//! cargo run -p thrustmq-client --example pop_consumer
//! cargo run -p thrustmq-client --example producer      # in a third one
//! ```
//!
//! Started several times, all take from the same queues. The name server's address comes from `NAMESRV_ADDR`,
//! or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;
use std::time::Duration;

use thrustmq_client::{ConsumeFrom, PopConsumer, PopResult};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let listener = PopConsumer::builder("leasing")
        .name_servers(name_servers)
        .subscribe("greetings", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        // A listener may take longer: its lease is renewed meanwhile.
        .invisible_time(Duration::from_secs(30))
        .listen(|message| async move {
            let Ok(text) = std::str::from_utf8(&message.body) else {
                // After 10 s the first time, and at last to `%DLQ%leasing`.
                return PopResult::Later;
            };
            println!("{}: {text}", message.message_id());
            PopResult::Done
        })
        .await?;

    println!(
        "consuming as {}, end with Ctrl-C",
        listener.consumer().client_id()
    );
    tokio::signal::ctrl_c().await?;
    listener.shutdown().await;
    Ok(())
}
