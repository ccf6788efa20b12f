//! Makes a topic and looks at what it holds and who consumes it.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example admin
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;

use thrustmq_client::{Admin, NewTopic};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let admin = Admin::connect(name_servers).await?;
    let topic = NewTopic::named("orders").queues(4);
    let brokers = admin.create_topic("DefaultCluster", &topic).await?;
    println!("orders is on {}", brokers.join(", "));
    for stats in admin.topic_stats("orders").await? {
        let messages = stats.offsets.max - stats.offsets.min;
        println!("{} holds {messages} messages", stats.queue);
    }
    for group in admin.groups_of_topic("orders").await? {
        let lags = admin.lag(&group).await?;
        let behind: i64 = lags.iter().map(|lag| lag.messages()).sum();
        println!("{group} is {behind} messages behind");
    }
    admin.close().await;
    Ok(())
}
