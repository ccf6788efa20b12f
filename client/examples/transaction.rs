//! Pays an order and tells of it, both or neither.
//!
//! ```sh
//! thrustmq standalone                                   # in another terminal
//! cargo run -p thrustmq-client --example transaction
//! ```
//!
//! The name server's address comes from `NAMESRV_ADDR`, or is `127.0.0.1:9876`.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::sync::{Arc, Mutex};

use thrustmq_client::{Message, Producer, Resolution};

/// Stands for the application's database.
type Paid = Arc<Mutex<BTreeSet<String>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name_servers = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let paid = Paid::default();
    let database = paid.clone();
    let producer = Producer::builder("payments")
        .name_servers(name_servers)
        // A broker asks this if it does not hear how a transaction ended.
        .start_transactions(move |message| {
            let order = message.keys().next().unwrap_or_default().to_owned();
            let is_paid = database.lock().is_ok_and(|paid| paid.contains(&order));
            async move {
                if is_paid {
                    Resolution::Commit
                } else {
                    Resolution::Rollback
                }
            }
        })
        .await?;

    for order in ["4711", "4712"] {
        let message = Message::new("paid-orders", format!("{order} is paid")).key(order);
        let transaction = producer.begin(message).await?;
        match pay(&paid, order) {
            Ok(()) => transaction.commit().await?,
            Err(why) => {
                println!("{order}: {why}");
                transaction.roll_back().await?;
            }
        }
    }
    producer.shutdown().await;
    Ok(())
}

fn pay(paid: &Paid, order: &str) -> Result<(), &'static str> {
    if order == "4712" {
        return Err("the card is not accepted");
    }
    let mut paid = paid.lock().map_err(|_| "the database is down")?;
    paid.insert(order.to_owned());
    println!("{order} is paid");
    Ok(())
}
