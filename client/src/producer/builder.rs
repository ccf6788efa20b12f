//! How a producer is made.

use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::{HeartbeatData, ProducerData};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::message::compress::CompressionType;
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_proto_compat::message::names;

use super::Producer;
use super::send_request::Sender;
use crate::error::StartError;
use crate::heartbeat::Heartbeat;
use crate::link::{Link, LinkOptions};

/// Settings of a [`Producer`]; the defaults are those of Java's client.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct ProducerBuilder {
    group: String,
    link: LinkOptions,
    body_bytes_max: usize,
    compression: CompressionType,
    compress_above_bytes: usize,
    delivery: DeliveryOptions,
}

/// How messages are brought to a broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeliveryOptions {
    pub(super) send_timeout: Duration,
    pub(super) retries: u32,
    pub(super) in_flight_max: u32,
    pub(super) batch_bytes_max: usize,
}

impl ProducerBuilder {
    pub(super) fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            link: LinkOptions::default(),
            body_bytes_max: 4 * 1024 * 1024,
            compression: CompressionType::Zlib,
            compress_above_bytes: 4 * 1024,
            delivery: DeliveryOptions {
                send_timeout: Duration::from_secs(3),
                retries: 2,
                in_flight_max: 10_000,
                batch_bytes_max: 4 * 1024 * 1024,
            },
        }
    }

    /// Where the name servers are: `host:port`, several with `;` between. Without it the environment
    /// variable `NAMESRV_ADDR` decides.
    pub fn name_servers(mut self, addresses: impl Into<String>) -> Self {
        self.link.name_servers = Some(addresses.into());
        self
    }

    /// How long a send may take, all tries together. Default 3 s.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.delivery.send_timeout = timeout;
        self
    }

    /// How often a failed send is tried again, on another broker where there is one. Default 2.
    pub fn retries(mut self, retries: u32) -> Self {
        self.delivery.retries = retries;
        self
    }

    /// Sends under way at a time; further ones wait. Default 10,000.
    pub fn in_flight_max(mut self, sends: u32) -> Self {
        self.delivery.in_flight_max = sends;
        self
    }

    /// Longest body, in bytes, before compression. Default 4 MiB, as at brokers.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Longest request of a batch, in bytes; longer batches are split. Default 4 MiB, as at brokers.
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.delivery.batch_bytes_max = bytes;
        self
    }

    /// How long bodies are compressed. Default zlib, which every client can read.
    pub fn compression(mut self, compression: CompressionType) -> Self {
        self.compression = compression;
        self
    }

    /// Bodies longer than this, in bytes, are compressed. Default 4 KiB.
    pub fn compress_above_bytes(mut self, bytes: usize) -> Self {
        self.compress_above_bytes = bytes;
        self
    }

    /// Where the producer gets the time from; tests pass a clock that they move.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.link.clock = clock;
        self
    }

    /// Starts the producer. It connects when it first sends, so that it may start before the servers.
    ///
    /// # Errors
    /// A setting is wrong; see [`StartError`].
    pub async fn start(self) -> Result<Producer, StartError> {
        names::check_group(&self.group).map_err(|why| StartError::Group {
            group: self.group.clone(),
            why,
        })?;
        if self.delivery.in_flight_max == 0 {
            return Err(StartError::ZeroLimit("in_flight_max"));
        }
        let link = Arc::new(Link::new(&self.link, None).await?);
        let heartbeat = heartbeat(&link.id.text, &self.group);
        let keys = UniqueKeys::new(
            link.id.address,
            std::process::id(),
            link.id.instance,
            link.clock.clone(),
        );
        let sender = Sender {
            group: self.group,
            keys,
            body_bytes_max: self.body_bytes_max,
            compression: self.compression,
            compression_level: 5,
            compress_above_bytes: self.compress_above_bytes,
        };
        Ok(Producer::run(link, sender, heartbeat, self.delivery))
    }
}

fn heartbeat(client_id: &str, group: &str) -> Heartbeat {
    let data = HeartbeatData {
        client_id: client_id.to_owned(),
        producer_data_set: vec![ProducerData {
            group_name: group.to_owned(),
        }],
        ..HeartbeatData::default()
    };
    Heartbeat {
        body: fastjson::to_vec(&data)
            .expect("plain names always encode")
            .into(),
        masters_only: true,
    }
}
