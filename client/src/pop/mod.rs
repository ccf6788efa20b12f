//! [`PopConsumer`]: messages on lease. The broker shares them out one by one; a consumer that is slow keeps
//! no queue from the others.

mod acknowledge;
mod builder;
mod lease;
mod listener;
mod receive;

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::debug;

pub use builder::PopConsumerBuilder;
pub use listener::{PopListener, PopResult};

use crate::ReceivedMessage;
use crate::heartbeat::{self, Heartbeat};
use crate::link::Link;
use crate::stop::StopSource;
use crate::subscription::Subscription;
use lease::Handle;

/// Takes messages on lease, acknowledges them one by one. Cheap to clone.
///
/// For as long as a lease lasts nobody else of the group gets the message; when it ends without an
/// acknowledgement the broker delivers the message again, and after too often to the topic `%DLQ%group`. There
/// are no queues to share out: any number of members may take from any queue, and come and go without a
/// rebalance. What it costs against a [`PushConsumer`](crate::PushConsumer) is a request for each
/// acknowledgement, and all order, unless it is asked for with [`fifo`](PopConsumerBuilder::fifo).
///
/// Brokers serve it from version 5.0 on.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use thrustmq_client::PopConsumer;
///
/// let consumer = PopConsumer::builder("billing")
///     .name_servers("127.0.0.1:9876")
///     .subscribe("orders", "*")
///     .invisible_time(Duration::from_secs(30))
///     .start()
///     .await?;
/// for message in consumer.receive(16, Duration::from_secs(10)).await? {
///     println!("{} {:?}", message.message_id(), message.body);
///     consumer.ack(&message).await?;
/// }
/// consumer.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PopConsumer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Arc<Link>,
    group: String,
    /// Topics, as the servers call them, and what is wanted of each.
    subscriptions: Vec<(String, Subscription)>,
    invisible_time: Duration,
    from_first: bool,
    is_ordered: bool,
    /// Where the next pop begins, so that each broker gets its turn.
    turn: AtomicUsize,
    /// Numbers ordered pops; with the time of the start, so that none comes again after a restart.
    attempts: AtomicUsize,
    started_ms: i64,
    stop: StopSource,
    /// The heartbeat; taken by shutdown.
    background: Mutex<Option<JoinHandle<()>>>,
}

/// A message on lease.
///
/// ```no_run
/// # async fn example(consumer: thrustmq_client::PopConsumer) -> Result<(), thrustmq_client::AdminError> {
/// use std::time::Duration;
/// for mut leased in consumer.receive(8, Duration::from_secs(5)).await? {
///     if leased.delivery() > 1 {
///         consumer.change_invisible(&mut leased, Duration::from_secs(120)).await?;
///     }
///     consumer.ack(&leased).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Leased {
    message: ReceivedMessage,
    handle: Handle,
}

impl PopConsumer {
    /// Begins to make a consumer of `group`.
    pub fn builder(group: impl Into<String>) -> PopConsumerBuilder {
        PopConsumerBuilder::new(group)
    }

    /// The id by which brokers and tools know this consumer.
    pub fn client_id(&self) -> &str {
        &self.inner.link.id.text
    }

    /// Says goodbye to the brokers and closes the connections; calls under way end with an error. Leases
    /// that were not acknowledged end by themselves. A second call does nothing.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.stop.stop();
        let background = inner.background.lock();
        let background = background.unwrap_or_else(PoisonError::into_inner).take();
        let Some(background) = background else {
            return;
        };
        if let Err(cause) = background.await {
            debug!(%cause, "heartbeat task ended badly");
        }
        heartbeat::unregister(&inner.link, None, Some(inner.group.clone())).await;
        inner.link.close().await;
    }
}

impl Leased {
    /// When the lease ends, in milliseconds since 1970 by the broker's clock.
    pub fn lease_ends_ms(&self) -> i64 {
        self.handle.ends_ms()
    }

    /// Which delivery of the message to the group this is, from 1 on.
    pub fn delivery(&self) -> i32 {
        self.message.reconsume_times.saturating_add(1)
    }

    /// The message alone.
    pub fn into_message(self) -> ReceivedMessage {
        self.message
    }
}

impl Deref for Leased {
    type Target = ReceivedMessage;

    fn deref(&self) -> &ReceivedMessage {
        &self.message
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased")
            .field("message", &self.message)
            .field("handle", &self.handle.text())
            .finish()
    }
}

impl Inner {
    fn begin_heartbeat(self: &Arc<Self>, heartbeat: Heartbeat) {
        let beating = heartbeat::keep_alive(self.link.clone(), heartbeat, self.stop.signal());
        let mut background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *background = Some(tokio::spawn(beating));
    }
}
