//! The queues that a topic has, told as it changes: for consumers that assign queues themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use thrustmq_proto_compat::body::MessageQueue;
use tokio::sync::watch;

use super::LitePullConsumer;
use crate::error::AdminError;
use crate::link::Link;
use crate::route::TopicRoute;

/// The queues of a topic as they change; made by [`LitePullConsumer::topic_queues`], where an example is.
///
/// ```no_run
/// # async fn example(consumer: thrustmq_client::LitePullConsumer) -> Result<(), thrustmq_client::AdminError> {
/// let mut queues = consumer.topic_queues("orders").await?;
/// println!("{} queues, then {}", queues.current().len(), queues.changed().await.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TopicQueues {
    link: Arc<Link>,
    /// As servers call it.
    topic: String,
    known: BTreeSet<MessageQueue>,
    changes: watch::Receiver<()>,
}

impl LitePullConsumer {
    /// The queues of a topic that can be read, as the name servers know them now, in order.
    ///
    /// # Errors
    /// No name server answers, or there is no such topic.
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, AdminError> {
        let queues = queues(&self.consumer.context.link, topic).await?;
        Ok(queues.into_iter().collect())
    }

    /// Tells of changes of [`queues`](Self::queues): when a topic gets more queues, or a broker with
    /// some comes or goes. The name servers are asked every
    /// [`route_interval`](crate::ClientConfig::route_interval).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use thrustmq_client::LitePullConsumer;
    ///
    /// let mut consumer = LitePullConsumer::builder("audit").start().await?;
    /// let mut changes = consumer.topic_queues("orders").await?;
    /// consumer.assign(changes.current(), "*").await?;
    /// loop {
    ///     tokio::select! {
    ///         queues = changes.changed() => consumer.assign(queues, "*").await?,
    ///         messages = consumer.poll(Duration::from_secs(5)) => println!("{messages:?}"),
    ///     }
    /// }
    /// # #[allow(unreachable_code)]
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// No name server answers, or there is no such topic.
    pub async fn topic_queues(&self, topic: &str) -> Result<TopicQueues, AdminError> {
        let link = self.consumer.context.link.clone();
        Ok(TopicQueues {
            changes: link.route_changes(),
            known: queues(&link, topic).await?,
            topic: link.namespace.wrap(topic).into_owned(),
            link,
        })
    }
}

impl TopicQueues {
    /// The queues, as they were told last.
    pub fn current(&self) -> Vec<MessageQueue> {
        self.known.iter().cloned().collect()
    }

    /// Waits for the next change; the queues then. A topic whose route cannot be had keeps the queues that
    /// it had: its brokers may only be restarting. Cancel safe.
    pub async fn changed(&mut self) -> Vec<MessageQueue> {
        loop {
            // The link that tells is ours: it never fails.
            let _ = self.changes.changed().await;
            let route = self.link.cached_route(&self.topic);
            if let Some(queues) = route.map(|route| plain(&self.link, &route))
                && queues != self.known
            {
                self.known = queues;
                return self.current();
            }
        }
    }
}

/// A topic's queues as the name servers know them now, as applications call both.
async fn queues(link: &Link, topic: &str) -> Result<BTreeSet<MessageQueue>, AdminError> {
    let route = link.renewed_route(&link.namespace.wrap(topic)).await?;
    Ok(plain(link, &route))
}

fn plain(link: &Link, route: &TopicRoute) -> BTreeSet<MessageQueue> {
    let queues = route.subscribe_queues().iter();
    queues
        .map(|queue| link.namespace.plain_queue(queue).into_owned())
        .collect()
}
