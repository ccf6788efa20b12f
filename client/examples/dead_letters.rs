//! Shows the messages that a group gave up, and sends them back.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example dead_letters -- billing
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;

use thrustmq_client::{Admin, AdminError, Redrive, RouteError, TimeRange};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let group = env::args().nth(1).unwrap_or_else(|| "billing".to_owned());
    let admin = Admin::connect(name_servers).await?;
    let mut dead = match admin.dead_letters(&group, TimeRange::all()).await {
        Err(AdminError::Route(RouteError::NoSuchTopic(_))) => {
            println!("{group} has given up nothing");
            return Ok(());
        }
        dead => dead?,
    };
    while let Some(found) = dead.next().await? {
        println!("{} {:?}", found.message.message_id(), found.message.body);
    }
    let redrive = Redrive::of(&group).messages_max(1_000);
    let tell = |now: &thrustmq_client::RedriveProgress| println!("{} sent back", now.messages);
    let done = admin.redrive(&redrive, tell).await?;
    for (topic, messages) in &done.by_topic {
        println!("{messages} messages are in {topic} again");
    }
    admin.close().await;
    Ok(())
}
