//! How a push consumer is made.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData,
};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::message::names;
use tokio::sync::Semaphore;

use super::PushConsumer;
use super::broker_requests;
use super::context::{ConsumeFrom, ConsumeOptions, Context};
use super::listener::{ConsumeResult, Listener};
use super::process_queue::HoldLimits;
use super::subscription::{ALL, TagFilter};
use crate::ReceivedMessage;
use crate::error::StartError;
use crate::heartbeat::Heartbeat;
use crate::link::{Link, LinkOptions};

/// Settings of a [`PushConsumer`]; the defaults are those of Java's client.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct PushConsumerBuilder {
    group: String,
    link: LinkOptions,
    subscriptions: BTreeMap<String, TagFilter>,
    options: ConsumeOptions,
}

impl PushConsumerBuilder {
    pub(super) fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            link: LinkOptions::default(),
            subscriptions: BTreeMap::new(),
            options: ConsumeOptions {
                from: ConsumeFrom::default(),
                concurrency: 20,
                pull_batch: 32,
                hold: HoldLimits::default(),
                consume_timeout: Duration::from_secs(15 * 60),
                reconsume_times_max: 16,
                shutdown_wait: Duration::from_secs(10),
            },
        }
    }

    /// Where the name servers are: `host:port`, several with `;` between. Without it the environment
    /// variable `NAMESRV_ADDR` decides.
    pub fn name_servers(mut self, addresses: impl Into<String>) -> Self {
        self.link.name_servers = Some(addresses.into());
        self
    }

    /// Subscribes to a topic: `*` for all messages, or tags with `||` between. All members of a group
    /// must subscribe to the same.
    pub fn subscribe(mut self, topic: impl Into<String>, tags: &str) -> Self {
        self.subscriptions
            .insert(topic.into(), TagFilter::parse(tags));
        self
    }

    /// Where a new group begins. Default [`ConsumeFrom::LastOffset`].
    pub fn consume_from(mut self, from: ConsumeFrom) -> Self {
        self.options.from = from;
        self
    }

    /// Listeners at work at a time, over all queues. Default 20.
    pub fn concurrency(mut self, listeners: usize) -> Self {
        self.options.concurrency = listeners;
        self
    }

    /// Messages that one pull brings at most. Default 32.
    pub fn pull_batch(mut self, messages: u16) -> Self {
        self.options.pull_batch = i32::from(messages);
        self
    }

    /// Messages of one queue that may wait for listeners before pulling pauses. Default 1,000.
    pub fn queue_messages_max(mut self, messages: usize) -> Self {
        self.options.hold.messages_max = messages;
        self
    }

    /// Bytes of one queue that may wait for listeners before pulling pauses. Default 100 MiB.
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.options.hold.bytes_max = bytes;
        self
    }

    /// A listener that takes longer is given up, and its message delivered again. Default 15 minutes.
    pub fn consume_timeout(mut self, timeout: Duration) -> Self {
        self.options.consume_timeout = timeout;
        self
    }

    /// Deliveries after the first, before a message goes to the dead-letter topic. Default 16.
    pub fn reconsume_times_max(mut self, times: u16) -> Self {
        self.options.reconsume_times_max = i32::from(times);
        self
    }

    /// How long a shutdown waits for the listeners at work. Default 10 s.
    pub fn shutdown_wait(mut self, wait: Duration) -> Self {
        self.options.shutdown_wait = wait;
        self
    }

    /// Where the consumer gets the time from; tests pass a clock that they move.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.link.clock = clock;
        self
    }

    /// Starts the consumer: `listener` is called for each message. It connects by itself, also to
    /// servers that start later.
    ///
    /// # Errors
    /// A setting is wrong; see [`StartError`].
    pub async fn start<F, Fut>(mut self, listener: F) -> Result<PushConsumer, StartError>
    where
        F: Fn(ReceivedMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ConsumeResult> + Send + 'static,
    {
        self.check()?;
        let retry_topic = names::retry_topic(&self.group);
        self.subscriptions
            .insert(retry_topic.clone(), TagFilter::parse(ALL));
        let served = broker_requests::serve(&self.group);
        let link = Link::new(&self.link, Some(served.routes.clone())).await?;
        let now_ms = link.clock.now_ms();
        let context = Arc::new(Context {
            link: Arc::new(link),
            group: self.group,
            retry_topic,
            subscriptions: self.subscriptions,
            subscription_version: now_ms,
            listener: Listener::new(listener),
            permits: Arc::new(Semaphore::new(self.options.concurrency)),
            options: self.options,
            started_ms: now_ms,
        });
        let heartbeat = heartbeat(&context);
        Ok(PushConsumer::run(context, heartbeat, served))
    }

    fn check(&self) -> Result<(), StartError> {
        names::check_group(&self.group).map_err(|why| StartError::Group {
            group: self.group.clone(),
            why,
        })?;
        if self.subscriptions.is_empty() {
            return Err(StartError::NothingSubscribed);
        }
        for topic in self.subscriptions.keys() {
            names::check_topic(topic).map_err(|why| StartError::Topic {
                topic: topic.clone(),
                why,
            })?;
        }
        for (name, limit) in [
            ("concurrency", self.options.concurrency),
            ("pull_batch", self.options.pull_batch as usize),
            ("queue_messages_max", self.options.hold.messages_max),
            ("queue_bytes_max", self.options.hold.bytes_max),
        ] {
            if limit == 0 {
                return Err(StartError::ZeroLimit(name));
            }
        }
        Ok(())
    }
}

fn heartbeat(context: &Context) -> Heartbeat {
    let subscriptions = context.subscriptions.iter();
    let consumer = ConsumerData {
        group_name: context.group.clone(),
        consume_type: ConsumeType::Passively,
        message_model: MessageModel::Clustering,
        consume_from_where: match context.options.from {
            ConsumeFrom::LastOffset => ConsumeFromWhere::LastOffset,
            ConsumeFrom::FirstOffset => ConsumeFromWhere::FirstOffset,
            ConsumeFrom::TimestampMs(_) => ConsumeFromWhere::Timestamp,
        },
        subscription_data_set: subscriptions
            .map(|(topic, filter)| filter.to_data(topic, context.subscription_version))
            .collect(),
        unit_mode: false,
    };
    let data = HeartbeatData {
        client_id: context.link.id.text.clone(),
        consumer_data_set: vec![consumer],
        // Java's consumers send back as producers of this group, and tools list them so.
        producer_data_set: vec![ProducerData {
            group_name: names::CLIENT_INNER_PRODUCER_GROUP.to_owned(),
        }],
        ..HeartbeatData::default()
    };
    Heartbeat {
        body: fastjson::to_vec(&data)
            .expect("plain names and numbers always encode")
            .into(),
        masters_only: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> PushConsumerBuilder {
        PushConsumerBuilder::new("g").name_servers("127.0.0.1:1")
    }

    async fn start(builder: PushConsumerBuilder) -> StartError {
        builder
            .start(|_| async { ConsumeResult::Success })
            .await
            .unwrap_err()
    }

    #[tokio::test]
    async fn wrong_settings_are_told_before_anything_starts() {
        assert!(matches!(
            start(builder()).await,
            StartError::NothingSubscribed
        ));
        let bad_topic = builder().subscribe("a b", "*");
        assert!(matches!(start(bad_topic).await, StartError::Topic { .. }));
        let nobody = builder().subscribe("t", "*").concurrency(0);
        assert!(matches!(
            start(nobody).await,
            StartError::ZeroLimit("concurrency")
        ));
        let mut nameless = builder().subscribe("t", "*");
        nameless.group = String::new();
        assert!(matches!(start(nameless).await, StartError::Group { .. }));
    }
}
