//! One configuration for all clients of a program: encrypted, signed, patient.
//!
//! ```sh
//! export NAMESRV_ADDR=mq.example:9876
//! export ROCKETMQ_CA_FILE=/etc/rocketmq/ca.pem      # without it: what the system trusts
//! export ROCKETMQ_ACCESS_KEY=orders ROCKETMQ_SECRET_KEY=…
//! cargo run -p thrustmq-client --features tls --example tls_and_credentials
//! ```
#![allow(clippy::print_stdout)] // an example shows what happens

use std::env;
use std::error::Error;
use std::time::Duration;

use thrustmq_client::{ClientConfig, Credentials, Message, Producer, SendError, Tls};

fn config() -> Result<ClientConfig, env::VarError> {
    // Routes tell brokers' IP addresses, certificates mostly names: `server_name` says which.
    let tls = match env::var("ROCKETMQ_CA_FILE") {
        Ok(path) => Tls::ca_file(path),
        Err(_) => Tls::system_roots(),
    };
    let credentials = Credentials::new(
        env::var("ROCKETMQ_ACCESS_KEY")?,
        env::var("ROCKETMQ_SECRET_KEY")?,
    );
    // The name servers come from NAMESRV_ADDR.
    Ok(ClientConfig::new()
        .tls(tls)
        .credentials(credentials)
        .call_timeout(Duration::from_secs(5)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = config()?;
    // Secrets are not shown.
    println!("{config:?}");
    let producer = Producer::builder("shop").config(config).start().await?;
    match producer.send(Message::new("orders", "4711")).await {
        Ok(receipt) => println!("{} is in {}", receipt.msg_id, receipt.queue),
        // A key that the broker does not accept: code 16, in the broker's words.
        Err(SendError::Refused {
            broker_name,
            refusal,
        }) => println!("{broker_name} refused: {refusal}"),
        Err(other) => println!("not sent: {other}"),
    }
    producer.shutdown().await;
    Ok(())
}
