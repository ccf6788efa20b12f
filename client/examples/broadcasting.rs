//! Receives every message of a topic, whoever else does, until Ctrl-C: to empty a cache, for instance.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example broadcasting
//! cargo run -p thrustmq-client --example producer       # in a third one
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`; the member's name from
//! `MEMBER`: two on one machine need different names.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;

use thrustmq_client::{ClientConfig, ConsumeResult, PushConsumer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let member = env::var("MEMBER").unwrap_or_else(|_| "first".to_owned());
    let config = ClientConfig::new()
        .name_servers(name_servers)
        // Part of the name of the file that says how far this member is.
        .instance_name(member);
    let consumer = PushConsumer::builder("cache-owners")
        .config(config)
        .broadcasting()
        // Default: `.rocketmq_offsets` in the home directory.
        .offset_directory(env::temp_dir().join("rocketmq_offsets"))
        .subscribe("greetings", "*")
        .start(|message| async move {
            // One that fails does not come again.
            println!("{} {:?}", message.message_id(), message.body);
            ConsumeResult::Success
        })
        .await?;

    println!("consuming as {}, end with Ctrl-C", consumer.client_id());
    tokio::signal::ctrl_c().await?;
    consumer.shutdown().await;
    Ok(())
}
