//! Sending messages: [`Producer`] picks a queue, looks its broker up, sends, and tries another broker
//! where that can help.

mod batch;
mod builder;
mod deliver;
mod health;
mod hook;
mod in_flight;
mod linger;
mod queue_choice;
mod recall;
mod request_reply;
mod retry;
mod select;
mod send_request;
pub(crate) mod trace;
mod transaction;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::message::property_name;
use tokio::task::JoinHandle;
use tracing::debug;

pub use builder::ProducerBuilder;
pub use hook::{SendHook, Sent};
pub use request_reply::{RequestError, Requester};
pub use select::{at_random, by_hash};
pub use send_request::{SendReceipt, SendStatus};
pub use transaction::{Resolution, Transaction, TransactionError, TransactionProducer};

use crate::error::{RouteError, SendError};
use crate::heartbeat::{self, Heartbeat};
use crate::link::Link;
use crate::message::{Message, MessageError};
use crate::stop::StopSource;
use deliver::{Delivery, DeliveryOptions, master_address};
use health::BrokerHealth;
use hook::Hooks;
use in_flight::{InFlight, Place};
use linger::Linger;
use queue_choice::QueueChoice;
use send_request::{SendRequest, Sender};
use trace::TraceTask;

/// How long sends that are broken off may take to say so.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// Sends messages. Cheap to clone; all clones share connections and routes.
///
/// Call [`Producer::shutdown`] at the end: it waits for what is under way. A producer that is only
/// dropped stops its background task, and brokers see its connections close.
///
/// ```no_run
/// use thrustmq_client::{Message, Producer};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::builder("shop").name_servers("127.0.0.1:9876").start().await?;
/// let receipt = producer.send(Message::new("orders", "4711").tag("paid")).await?;
/// println!("{} is in {}", receipt.msg_id, receipt.queue);
/// producer.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Arc<Link>,
    heartbeat: Heartbeat,
    sender: Sender,
    delivery: Delivery,
    in_flight: InFlight,
    hooks: Hooks,
    linger: Option<Linger>,
    /// Sends traces; taken by shutdown.
    tracing: Mutex<Option<TraceTask>>,
    /// Ends the heartbeat.
    stop: StopSource,
    /// The heartbeat; taken by shutdown.
    background: Mutex<Option<JoinHandle<()>>>,
}

/// What a producer is made of.
struct Parts {
    link: Arc<Link>,
    sender: Sender,
    heartbeat: Heartbeat,
    options: DeliveryOptions,
    extras: Extras,
}

/// What only some producers have.
struct Extras {
    hooks: Hooks,
    linger: Option<Linger>,
    tracing: Option<TraceTask>,
}

/// A message that passed the hooks.
struct Passed {
    message: Message,
    started_ms: i64,
}

impl Producer {
    /// Begins to make a producer of `group`.
    pub fn builder(group: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(group)
    }

    fn run(parts: Parts) -> Self {
        let Parts {
            link,
            sender,
            heartbeat,
            options,
            extras,
        } = parts;
        let stop = StopSource::new();
        let beating = heartbeat::keep_alive(link.clone(), heartbeat.clone(), stop.signal());
        let in_flight = InFlight::new(options.in_flight);
        let delivery = Delivery {
            link: link.clone(),
            options,
            choice: QueueChoice::starting_at(link.id.instance as usize),
            health: BrokerHealth::default(),
            abort: StopSource::new(),
        };
        Self {
            inner: Arc::new(Inner {
                link,
                heartbeat,
                sender,
                delivery,
                in_flight,
                hooks: extras.hooks,
                linger: extras.linger,
                tracing: Mutex::new(extras.tracing),
                stop,
                background: Mutex::new(Some(tokio::spawn(beating))),
            }),
        }
    }

    /// Sends a message and waits until a broker has stored it. The queue is the next in turn.
    ///
    /// # Errors
    /// See [`SendError`]. After a timeout the message may be stored nonetheless.
    pub async fn send(&self, message: Message) -> Result<SendReceipt, SendError> {
        self.inner.send(message, None).await
    }

    /// Sends a message to this queue, in one try: it never goes to another.
    ///
    /// # Errors
    /// As [`send`](Self::send), and if the queue is of another topic.
    pub async fn send_to(
        &self,
        queue: &MessageQueue,
        message: Message,
    ) -> Result<SendReceipt, SendError> {
        if queue.topic != message.topic() {
            let mistake = MessageError::QueueOfOtherTopic {
                topic: message.topic().to_owned(),
                queue_topic: queue.topic.clone(),
            };
            return Err(mistake.into());
        }
        self.inner.send(message, Some(queue)).await
    }

    /// Sends a message to the queue that `select` chooses: it gets the topic's queues and the message,
    /// and returns the place of one among them. [`by_hash`] and [`at_random`] are ready-made. There is
    /// one try: the message goes there or nowhere.
    ///
    /// # Errors
    /// As [`send`](Self::send), and if there is no such queue.
    pub async fn send_selected(
        &self,
        message: Message,
        select: impl FnOnce(&[MessageQueue], &Message) -> usize + Send,
    ) -> Result<SendReceipt, SendError> {
        let queue = self.inner.select(&message, select).await?;
        self.inner.send(message, Some(&queue)).await
    }

    /// Sends a message that is to be consumed after those sent before it with the same sharding key
    /// (an order number, for instance): all of them go to one queue, which an orderly consumer reads
    /// in order. Wait for each before you send the next.
    ///
    /// When it fails it is not sent to another queue, for that would break the order; the application
    /// decides whether to send it again or to stop.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_ordered(
        &self,
        message: Message,
        sharding_key: impl AsRef<str>,
    ) -> Result<SendReceipt, SendError> {
        let key = sharding_key.as_ref();
        let message = message.with_system(property_name::SHARDING_KEY, key);
        self.send_selected(message, by_hash(key)).await
    }

    /// The queues of a topic that messages can be sent to, ordered by broker and number. A topic that
    /// does not exist has those that its creation will give it.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn publish_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, RouteError> {
        self.inner.queues(topic).await
    }

    /// Sends a message and returns; `done` gets the outcome, on the runtime's threads.
    ///
    /// Waits only while as much is under way as [`ProducerBuilder::in_flight_max`] and
    /// [`ProducerBuilder::in_flight_bytes_max`] allow.
    ///
    /// # Errors
    /// The message is at fault, or the producer shut down; `done` is not called then.
    pub async fn send_with_callback(
        &self,
        message: Message,
        done: impl FnOnce(Result<SendReceipt, SendError>) + Send + 'static,
    ) -> Result<(), SendError> {
        let inner = self.inner.clone();
        let passed = inner.pass(message)?;
        match inner.accept(&passed.message).await {
            Err(cause) => inner.tell(&passed, Err(cause)).map(drop),
            Ok((mut request, place)) => {
                tokio::spawn(async move {
                    let sent = inner.delivery.deliver(&mut request, None).await;
                    done(inner.tell(&passed, sent));
                    drop(place);
                });
                Ok(())
            }
        }
    }

    /// Sends a message without waiting for an answer: fast, and without any promise.
    ///
    /// # Errors
    /// The message is at fault, no broker is known, or none can be reached.
    pub async fn send_oneway(&self, message: Message) -> Result<(), SendError> {
        let inner = &self.inner;
        let passed = inner.pass(message)?;
        let sent = self.write_oneway(&passed.message).await;
        inner.tell_after(&passed, sent.as_ref().map(|()| None));
        sent
    }

    async fn write_oneway(&self, message: &Message) -> Result<(), SendError> {
        let inner = &self.inner;
        let (mut request, _place) = inner.accept(message).await?;
        let route = inner.link.publish_route(request.topic()).await?;
        let queue = inner.delivery.queue(&route, request.topic(), None)?;
        let address = inner.delivery.address(&route, queue)?;
        let client = inner.link.client();
        let sent = client.oneway(&address, request.command(queue)).await;
        sent.map_err(|last| SendError::Exhausted {
            tries: 1,
            elapsed_ms: 0,
            broker_name: queue.broker_name.clone(),
            last,
        })
    }

    /// Ends the producer. Later sends fail. Those under way get their send timeout to end, and are
    /// broken off then: each is stored or reported. Says goodbye to the brokers and closes the
    /// connections; a second call does nothing.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.in_flight.close_entry();
        let linger = inner.linger.as_ref().map(Linger::time);
        let patience = inner.delivery.options.send_timeout + linger.unwrap_or_default();
        let is_quiet = inner.in_flight.settled(patience).await;
        inner.stop.stop();
        let background = inner.background.lock();
        let background = background.unwrap_or_else(PoisonError::into_inner).take();
        let Some(background) = background else {
            return;
        };
        if let Err(cause) = background.await {
            debug!(%cause, "heartbeat task ended badly");
        }
        inner.delivery.abort.stop();
        let tracing = inner.tracing.lock();
        let tracing = tracing.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tracing) = tracing {
            tracing.shutdown().await;
        }
        if is_quiet {
            heartbeat::unregister(&inner.link, Some(inner.sender.group.clone()), None).await;
        }
        inner.link.close().await;
        if !is_quiet && !inner.in_flight.settled(ABORT_WAIT).await {
            debug!("shut down while sends are under way");
        }
    }
}

impl Inner {
    fn request(&self, message: &Message) -> Result<SendRequest, MessageError> {
        SendRequest::of(&self.sender, message, self.link.clock.now_ms())
    }

    /// Shows a message to the hooks.
    fn pass(&self, mut message: Message) -> Result<Passed, SendError> {
        self.hooks.before(&mut message)?;
        Ok(Passed {
            message,
            started_ms: self.link.clock.now_ms(),
        })
    }

    /// Tells the hooks what came of it.
    fn tell(
        &self,
        passed: &Passed,
        sent: Result<SendReceipt, SendError>,
    ) -> Result<SendReceipt, SendError> {
        self.tell_after(passed, sent.as_ref().map(Some));
        sent
    }

    fn tell_after(&self, passed: &Passed, outcome: Result<Option<&SendReceipt>, &SendError>) {
        if self.hooks.are_none() {
            return; // Not even the time is asked for.
        }
        self.hooks.after(&Sent {
            message: &passed.message,
            outcome,
            started_ms: passed.started_ms,
            elapsed_ms: self.link.clock.now_ms().saturating_sub(passed.started_ms),
        });
    }

    /// Checks a message and waits for a place.
    async fn accept(&self, message: &Message) -> Result<(SendRequest, Place), SendError> {
        let request = self.request(message)?;
        let place = self.in_flight.enter(request.body_bytes()).await?;
        Ok((request, place))
    }

    async fn send(
        self: &Arc<Self>,
        message: Message,
        fixed: Option<&MessageQueue>,
    ) -> Result<SendReceipt, SendError> {
        let passed = self.pass(message)?;
        let sent = self.send_passed(&passed.message, fixed).await;
        self.tell(&passed, sent)
    }

    async fn send_passed(
        self: &Arc<Self>,
        message: &Message,
        fixed: Option<&MessageQueue>,
    ) -> Result<SendReceipt, SendError> {
        if let (Some(linger), None) = (&self.linger, fixed)
            && linger.takes(message, self.sender.compress_above_bytes)
        {
            return Box::pin(self.send_lingering(linger, message.clone())).await;
        }
        let (mut request, _place) = self.accept(message).await?;
        self.delivery.deliver(&mut request, fixed).await
    }

    /// A topic's queues, as the application calls it.
    async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, RouteError> {
        let namespace = &self.link.namespace;
        let route = self.link.publish_route(&namespace.wrap(topic)).await?;
        let mut queues = route.publish_queues().to_vec();
        for queue in &mut queues {
            namespace.unwrap(&mut queue.topic);
        }
        Ok(queues)
    }

    async fn select(
        &self,
        message: &Message,
        select: impl FnOnce(&[MessageQueue], &Message) -> usize,
    ) -> Result<MessageQueue, SendError> {
        message.check(self.sender.body_bytes_max)?;
        let queues = self.queues(message.topic()).await?;
        if queues.is_empty() {
            return Err(RouteError::NoQueue(message.topic().to_owned()).into());
        }
        let index = select(&queues, message);
        let chosen = queues.get(index).cloned();
        chosen.ok_or(SendError::NoSuchQueue {
            index,
            queues: queues.len(),
        })
    }
}
