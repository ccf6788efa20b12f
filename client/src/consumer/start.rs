//! How a push consumer starts: with which kind of listener, and what is checked before.

use std::future::Future;
use std::sync::Arc;

use thrustmq_proto_compat::body::{
    CheckClientRequestBody, ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel,
};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::request_code::CheckClientConfig;
use thrustmq_remoting::CallError;
use tokio::sync::{Notify, mpsc, watch};
use tracing::debug;

use super::PushConsumer;
use super::broker_requests;
use super::builder::PushConsumerBuilder;
use super::concurrency::Concurrency;
use super::context::{ConsumeFrom, Context};
use super::listener::{BatchResult, Call, ConsumeResult, Listener, OrderedResult, Outcomes};
use super::offset_file::{self, OffsetFile};
use super::stream::{self, MessageStream};
use super::trace::TraceConsumption;
use crate::ReceivedMessage;
use crate::error::StartError;
use crate::heartbeat::Heartbeat;
use crate::link::Link;
use crate::producer::trace::Tracer;
use crate::route::MASTER_ID;
use crate::subscription::Subscription;

/// The instance name of broadcasting consumers that have no other.
const STABLE_INSTANCE: &str = "DEFAULT";

impl PushConsumerBuilder {
    /// Starts the consumer: `listener` is called for each message, many at a time. It connects by
    /// itself, also to servers that start later.
    ///
    /// # Errors
    /// A setting is wrong, or a broker does not take a subscription; see [`StartError`].
    pub async fn start<F, Fut>(mut self, listener: F) -> Result<PushConsumer, StartError>
    where
        F: Fn(ReceivedMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ConsumeResult> + Send + 'static,
    {
        self.options.consume_batch = 1;
        let call = Call::of_one(move |message| {
            let working = listener(message);
            async move { Outcomes::All(working.await.into()) }
        });
        self.launch(Listener::Concurrent(call)).await
    }

    /// Starts the consumer: `listener` is called with up to [`consume_batch`](Self::consume_batch)
    /// messages of a queue at a time, and says with one [`ConsumeResult`] what became of all, or with a
    /// [`BatchResult`] what became of each.
    ///
    /// # Errors
    /// A setting is wrong, or a broker does not take a subscription; see [`StartError`].
    pub async fn start_batch<F, Fut, R>(self, listener: F) -> Result<PushConsumer, StartError>
    where
        F: Fn(Vec<ReceivedMessage>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: Into<BatchResult>,
    {
        let call = Call::new(move |messages| {
            let working = listener(messages);
            async move { Outcomes::Some(working.await.into()) }
        });
        self.launch(Listener::Concurrent(call)).await
    }

    /// Starts the consumer in order: of each queue one message at a time, in the order of the queue, the
    /// next only after the one before it has succeeded. Queues are locked at their brokers, so that no
    /// other member of the group works on one of them at the same time. All members of a group must
    /// consume in order.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// use thrustmq_client::{OrderedResult, PushConsumer, ReceivedMessage};
    ///
    /// # async fn book(_: &ReceivedMessage) -> Result<(), ()> { Ok(()) }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let consumer = PushConsumer::builder("bookings")
    ///     .subscribe("orders", "*")
    ///     .start_orderly(|message| async move {
    ///         match book(&message).await {
    ///             Ok(()) => OrderedResult::Success,
    ///             Err(()) => OrderedResult::SuspendQueue(Duration::from_secs(1)),
    ///         }
    ///     })
    ///     .await?;
    /// # let _ = consumer;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A setting is wrong, or a broker does not take a subscription; see [`StartError`].
    pub async fn start_orderly<F, Fut>(mut self, listener: F) -> Result<PushConsumer, StartError>
    where
        F: Fn(ReceivedMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = OrderedResult> + Send + 'static,
    {
        self.options.consume_batch = 1;
        self.launch(Listener::Ordered(Call::of_one(listener))).await
    }

    /// As [`start_orderly`](Self::start_orderly), with up to [`consume_batch`](Self::consume_batch)
    /// messages of a queue at a time. The result is that of all of them.
    ///
    /// # Errors
    /// A setting is wrong, or a broker does not take a subscription; see [`StartError`].
    pub async fn start_orderly_batch<F, Fut>(self, listener: F) -> Result<PushConsumer, StartError>
    where
        F: Fn(Vec<ReceivedMessage>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = OrderedResult> + Send + 'static,
    {
        self.launch(Listener::Ordered(Call::new(listener))).await
    }

    /// Starts the consumer with a stream instead of a listener. As many deliveries as
    /// [`concurrency`](Self::concurrency) says are under way at a time: when the program holds so many
    /// without a word, no more come, and pulling stops at the queues' limits.
    ///
    /// ```no_run
    /// use thrustmq_client::PushConsumer;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut messages = PushConsumer::builder("billing").subscribe("orders", "*").stream().await?;
    /// while let Some(delivery) = messages.next().await {
    ///     println!("{} {:?}", delivery.message_id(), delivery.body);
    ///     delivery.ack();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A setting is wrong, or a broker does not take a subscription; see [`StartError`].
    pub async fn stream(mut self) -> Result<MessageStream, StartError> {
        self.options.consume_batch = 1;
        let (sender, deliveries) = mpsc::channel(1);
        let listener = Listener::Concurrent(stream::listener(sender));
        Ok(MessageStream::new(deliveries, self.launch(listener).await?))
    }

    pub(super) async fn launch(mut self, listener: Listener) -> Result<PushConsumer, StartError> {
        // Traces name the group as the application does.
        let traced_group = self.group.clone();
        self.wrap_names();
        self.check(&listener)?;
        self.complete(&listener);
        let tracing = match self.traces {
            true => Some(Tracer::start(&self.link, &traced_group, "CONSUME").await?),
            false => None,
        };
        let served = broker_requests::serve(&self.group);
        let link = Link::new(&self.link, Some(served.routes.clone())).await?;
        // Who assigns its queues itself takes none of the group's.
        let shares = !self.subscriptions.is_empty();
        if self.options.model == MessageModel::Clustering && shares {
            link.join_group(&self.group)?;
        }
        let mut context = self.into_context(listener, link)?;
        let (tracer, tracing) = tracing.unzip();
        context.tracer = tracer.map(|tracer| trace(&context, tracer, traced_group));
        let context = Arc::new(context);
        for (topic, wanted) in &context.subscriptions {
            check_filter(&context, topic, wanted).await?;
        }
        let heartbeat = heartbeat(&context);
        Ok(PushConsumer::run(context, heartbeat, served, tracing))
    }

    /// From here on all names are those that servers know.
    fn wrap_names(&mut self) {
        let namespace = &self.link.namespace;
        self.group = namespace.wrap(&self.group).into_owned();
        let subscriptions = std::mem::take(&mut self.subscriptions).into_iter();
        self.subscriptions = subscriptions
            .map(|(topic, wanted)| (namespace.wrap(&topic).into_owned(), wanted))
            .collect();
    }

    /// Settings that follow from others.
    fn complete(&mut self, listener: &Listener) {
        let is_ordered = listener.is_ordered();
        let default = if is_ordered { i32::MAX } else { 16 };
        self.options.reconsume_times_max = self.reconsume_times_max.map_or(default, i32::from);
        if is_ordered {
            self.options.hold.span_max = i64::MAX;
        }
        if self.options.model == MessageModel::Broadcasting {
            let name = &mut self.link.instance_name;
            name.get_or_insert_with(|| STABLE_INSTANCE.to_owned());
        } else if !matches!(listener, Listener::Polled(_)) {
            let retry_topic = names::retry_topic(&self.group);
            self.subscriptions.insert(retry_topic, Subscription::all());
        }
    }

    fn into_context(self, listener: Listener, link: Link) -> Result<Context, StartError> {
        let now_ms = link.clock.now_ms();
        let directory = self.offset_directory;
        let offset_file = match self.options.model {
            MessageModel::Clustering => None,
            MessageModel::Broadcasting => {
                let directory = directory.unwrap_or_else(offset_file::default_directory);
                let file = OffsetFile::open(&directory, &link.id.text, &self.group);
                Some(file.map_err(|cause| StartError::OffsetFile { directory, cause })?)
            }
        };
        Ok(Context {
            link: Arc::new(link),
            retry_topic: names::retry_topic(&self.group),
            group: self.group,
            subscriptions: self.subscriptions,
            subscription_version: now_ms,
            listener,
            concurrency: Concurrency::new(self.options.concurrency),
            suspended: watch::Sender::new(false),
            lock_wanted: Notify::new(),
            hooks: self.hooks,
            tracer: None,
            strategy: self.strategy,
            offset_file,
            options: self.options,
            started_ms: now_ms,
        })
    }

    fn check(&self, listener: &Listener) -> Result<(), StartError> {
        names::check_group(&self.group).map_err(|why| StartError::Group {
            group: self.group.clone(),
            why,
        })?;
        if self.subscriptions.is_empty() && !matches!(listener, Listener::Polled(_)) {
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
            ("consume_batch", self.options.consume_batch),
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

fn trace(context: &Context, tracer: Tracer, group: String) -> TraceConsumption {
    let (id, clock) = (&context.link.id, context.link.clock.clone());
    let calls = UniqueKeys::new(id.address, std::process::id(), id.instance, clock);
    TraceConsumption::new(tracer, group, calls)
}

/// Asks a broker whether it takes a condition. Those that do not answer are believed to: the consumer
/// starts before its servers do, if need be.
async fn check_filter(
    context: &Context,
    topic: &str,
    wanted: &Subscription,
) -> Result<(), StartError> {
    if !wanted.is_sql() {
        return Ok(());
    }
    let route = match context.link.subscribe_route(topic).await {
        Ok(route) => route,
        Err(cause) => {
            debug!(topic, %cause, "condition not checked");
            return Ok(());
        }
    };
    let mut names = route.brokers().keys();
    let Some(address) = names.find_map(|name| route.broker_address(name, MASTER_ID)) else {
        return Ok(());
    };
    let body = CheckClientRequestBody {
        client_id: context.link.id.text.clone(),
        group: context.group.clone(),
        subscription_data: Some(wanted.to_data(topic, context.subscription_version)),
        ..CheckClientRequestBody::default()
    };
    let body = fastjson::to_vec(&body).expect("plain names and numbers always encode");
    match context
        .link
        .call::<CheckClientConfig>(address, &(), body)
        .await
    {
        Err(CallError::Refused(refusal)) => Err(StartError::Filter {
            topic: topic.to_owned(),
            condition: wanted.expression().to_owned(),
            refusal,
        }),
        Err(cause) => {
            debug!(topic, %cause, "condition not checked");
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

fn heartbeat(context: &Context) -> Heartbeat {
    let subscriptions = context.subscriptions.iter();
    let consumer = ConsumerData {
        group_name: context.group.clone(),
        consume_type: match context.is_polled() {
            true => ConsumeType::Actively,
            false => ConsumeType::Passively,
        },
        message_model: context.options.model,
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
    Heartbeat::of_consumer(&context.link.id.text, consumer)
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
