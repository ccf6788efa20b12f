//! The RocketMQ client for Rust applications: async, typed, for Apache's brokers and ThrustMQ's.
//!
//! ```no_run
//! use thrustmq_client::{ConsumeResult, Message, Producer, PushConsumer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let consumer = PushConsumer::builder("order-service")
//!     .name_servers("127.0.0.1:9876")
//!     .subscribe("orders", "paid || shipped")
//!     .start(|message| async move {
//!         println!("{} {:?}", message.message_id(), message.body);
//!         ConsumeResult::Success
//!     })
//!     .await?;
//!
//! let producer = Producer::builder("shop").name_servers("127.0.0.1:9876").start().await?;
//! let receipt = producer.send(Message::new("orders", "4711").tag("paid").key("4711")).await?;
//! println!("{} is in {}", receipt.msg_id, receipt.queue);
//!
//! producer.shutdown().await;
//! consumer.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Everything runs on the tokio runtime on which it was started. The modules stand in dependency
//! order, leaves first.
#![forbid(unsafe_code)]

mod client_id;
mod message;
mod received;
mod route;
mod stop;

mod route_cache;

mod error;
mod name_servers;

mod link;

mod admin;
mod heartbeat;

mod consumer;
mod producer;

pub use admin::{Admin, NewTopic, OffsetRange};
pub use consumer::{ConsumeFrom, ConsumeResult, PushConsumer, PushConsumerBuilder};
pub use error::{AdminError, BatchSendError, RouteError, SendError, StartError};
pub use message::{Message, MessageError};
pub use producer::{Producer, ProducerBuilder, SendReceipt, SendStatus};
pub use received::ReceivedMessage;
pub use route::TopicRoute;

pub use thrustmq_proto_compat::body::MessageQueue;
pub use thrustmq_proto_compat::clock::Clock;
pub use thrustmq_proto_compat::message::compress::CompressionType;
pub use thrustmq_remoting::{CallError, Refusal};
