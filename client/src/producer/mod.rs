//! Sending messages: [`Producer`] picks a queue, looks its broker up, sends, and tries another broker
//! where that can help.

mod batch;
mod builder;
mod queue_choice;
mod retry;
mod send_request;

use std::sync::{Arc, Mutex, PoisonError};

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_remoting::{CallError, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tracing::debug;

pub use builder::ProducerBuilder;
pub use send_request::{SendReceipt, SendStatus};

use crate::error::{BatchSendError, RouteError, SendError};
use crate::heartbeat::{self, Heartbeat};
use crate::link::Link;
use crate::message::Message;
use crate::route::TopicRoute;
use crate::stop::StopSource;
use builder::DeliveryOptions;
use queue_choice::QueueChoice;
use retry::Tries;
use send_request::{SendRequest, Sender};

/// Sends messages. Cheap to clone; all clones share connections and routes.
///
/// Call [`Producer::shutdown`] at the end: it waits for what is under way. A producer that is only
/// dropped stops its background task, and brokers see its connections close.
#[derive(Debug, Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Arc<Link>,
    sender: Sender,
    options: DeliveryOptions,
    choice: QueueChoice,
    /// One permit for each send under way.
    in_flight: Arc<Semaphore>,
    stop: StopSource,
    /// The heartbeat; taken by shutdown.
    background: Mutex<Option<JoinHandle<()>>>,
}

/// A try that failed.
struct Failure {
    broker_name: String,
    cause: CallError,
}

/// What to do about it.
enum TryError {
    Final(SendError),
    Again(Failure),
}

impl Producer {
    /// Begins to make a producer of `group`.
    pub fn builder(group: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(group)
    }

    fn run(
        link: Arc<Link>,
        sender: Sender,
        heartbeat: Heartbeat,
        options: DeliveryOptions,
    ) -> Self {
        let stop = StopSource::new();
        let beating = heartbeat::keep_alive(link.clone(), heartbeat, stop.signal());
        let start = link.id.instance as usize;
        Self {
            inner: Arc::new(Inner {
                link,
                sender,
                options,
                choice: QueueChoice::starting_at(start),
                in_flight: Arc::new(Semaphore::new(options.in_flight_max as usize)),
                stop,
                background: Mutex::new(Some(tokio::spawn(beating))),
            }),
        }
    }

    /// Sends a message and waits until a broker has stored it.
    ///
    /// # Errors
    /// See [`SendError`]. After a timeout the message may be stored nonetheless.
    pub async fn send(&self, message: Message) -> Result<SendReceipt, SendError> {
        let inner = &self.inner;
        let mut request = SendRequest::of(&inner.sender, &message, inner.link.clock.now_ms())?;
        let _permit = inner.permit().await?;
        inner.deliver(&mut request).await
    }

    /// Sends a message and returns; `done` gets the outcome, on the runtime's threads.
    ///
    /// Waits only while [`ProducerBuilder::in_flight_max`] sends are under way.
    ///
    /// # Errors
    /// The message is at fault, or the producer shut down; `done` is not called then.
    pub async fn send_with_callback(
        &self,
        message: Message,
        done: impl FnOnce(Result<SendReceipt, SendError>) + Send + 'static,
    ) -> Result<(), SendError> {
        let inner = self.inner.clone();
        let mut request = SendRequest::of(&inner.sender, &message, inner.link.clock.now_ms())?;
        let permit = inner.permit().await?;
        tokio::spawn(async move {
            let outcome = inner.deliver(&mut request).await;
            done(outcome);
            drop(permit);
        });
        Ok(())
    }

    /// Sends a message without waiting for an answer: fast, and without any promise.
    ///
    /// # Errors
    /// The message is at fault, no broker is known, or none can be reached.
    pub async fn send_oneway(&self, message: Message) -> Result<(), SendError> {
        let inner = &self.inner;
        let mut request = SendRequest::of(&inner.sender, &message, inner.link.clock.now_ms())?;
        let _permit = inner.permit().await?;
        let route = inner.link.publish_route(request.topic()).await?;
        let queue = inner.queue(&route, request.topic(), None)?;
        let address = master_address(&route, queue)?;
        let sent = inner
            .link
            .client()
            .oneway(address, request.command(queue))
            .await;
        sent.map_err(|last| SendError::Exhausted {
            tries: 1,
            elapsed_ms: 0,
            broker_name: queue.broker_name.clone(),
            last,
        })
    }

    /// Sends messages of one topic together: one request, or as many as their size demands. Each
    /// request is stored as a whole or not at all, and in one queue.
    ///
    /// # Errors
    /// A message cannot travel in a batch (nothing is sent), or a request failed; the error tells
    /// what is stored and gives the rest back.
    pub async fn send_batch(
        &self,
        messages: Vec<Message>,
    ) -> Result<Vec<SendReceipt>, BatchSendError> {
        let inner = &self.inner;
        let mut stored = Vec::new();
        let mut requests = Vec::new();
        let parts = batch::split(&messages, inner.options.batch_bytes_max);
        for part in &parts {
            let request = messages.get(part.clone()).unwrap_or_default();
            match SendRequest::of_batch(&inner.sender, request, inner.link.clock.now_ms()) {
                Ok(request) => requests.push(request),
                Err(cause) => return Err(unsent(stored, messages, cause.into())),
            }
        }
        for (request, part) in requests.iter_mut().zip(parts) {
            let delivered = match inner.permit().await {
                Ok(_permit) => inner.deliver(request).await,
                Err(stopped) => Err(stopped),
            };
            match delivered {
                Ok(receipt) => stored.push(receipt),
                Err(cause) => {
                    let rest = messages.into_iter().skip(part.start).collect();
                    return Err(unsent(stored, rest, cause));
                }
            }
        }
        Ok(stored)
    }

    /// Waits for the sends under way, says goodbye to the brokers and closes the connections. Later
    /// sends fail; a second call does nothing.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.stop.stop();
        let all = inner.in_flight.acquire_many(inner.options.in_flight_max);
        if tokio::time::timeout(inner.options.send_timeout, all)
            .await
            .is_err()
        {
            debug!("shut down while sends are under way");
        }
        inner.in_flight.close();
        let background = inner
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(background) = background else {
            return;
        };
        if let Err(cause) = background.await {
            debug!(%cause, "heartbeat task ended badly");
        }
        heartbeat::unregister(&inner.link, Some(inner.sender.group.clone()), None).await;
        inner.link.close().await;
    }
}

fn unsent(stored: Vec<SendReceipt>, unsent: Vec<Message>, cause: SendError) -> BatchSendError {
    BatchSendError {
        stored,
        unsent,
        cause,
    }
}

impl Inner {
    async fn permit(&self) -> Result<OwnedSemaphorePermit, SendError> {
        if self.stop.is_stopped() {
            return Err(SendError::ShutDown);
        }
        self.in_flight
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| SendError::ShutDown)
    }

    /// Tries until the message is stored, or there is no use or no time in trying again.
    async fn deliver(&self, request: &mut SendRequest) -> Result<SendReceipt, SendError> {
        let clock = &self.link.clock;
        let started_ms = clock.now_ms();
        let budget_ms = i64::try_from(self.options.send_timeout.as_millis()).unwrap_or(i64::MAX);
        let deadline_ms = started_ms.saturating_add(budget_ms);
        let mut tries = Tries::new(self.options.retries.saturating_add(1), deadline_ms);
        let mut failed: Option<Failure> = None;
        loop {
            let route = self.link.publish_route(request.topic()).await?;
            let several = route.publishes_to_several_brokers();
            let Some(time) = tries.begin(clock.now_ms(), several) else {
                let elapsed_ms = clock.now_ms() - started_ms;
                return Err(gave_up(
                    failed,
                    tries.begun(),
                    elapsed_ms,
                    self.options.send_timeout,
                ));
            };
            let failed_broker = failed.as_ref().map(|failure| failure.broker_name.as_str());
            let queue = self.queue(&route, request.topic(), failed_broker)?;
            match self.try_once(request, &route, queue, time).await {
                Ok(receipt) => return Ok(receipt),
                Err(TryError::Final(error)) => return Err(error),
                Err(TryError::Again(failure)) => failed = Some(failure),
            }
        }
    }

    async fn try_once(
        &self,
        request: &mut SendRequest,
        route: &TopicRoute,
        queue: &MessageQueue,
        time: std::time::Duration,
    ) -> Result<SendReceipt, TryError> {
        let broker_name = &queue.broker_name;
        let address = master_address(route, queue).map_err(TryError::Final)?;
        let again = |cause| {
            TryError::Again(Failure {
                broker_name: broker_name.clone(),
                cause,
            })
        };
        let answer = self
            .link
            .client()
            .call(address, request.command(queue), time)
            .await;
        let answer = answer.map_err(again)?;
        match request.receipt(queue, &answer) {
            Some(Ok(receipt)) => return Ok(receipt),
            Some(Err(cause)) => {
                return Err(TryError::Final(SendError::BadAnswer {
                    broker_name: broker_name.clone(),
                    cause,
                }));
            }
            None => {}
        }
        let refusal = Refusal::new(answer.response_code(), answer.remark.unwrap_or_default());
        if retry::is_retried(refusal.code) {
            debug!(broker = broker_name, %refusal, "send refused");
            return Err(again(CallError::Refused(refusal)));
        }
        Err(TryError::Final(SendError::Refused {
            broker_name: broker_name.clone(),
            refusal,
        }))
    }

    fn queue<'a>(
        &self,
        route: &'a TopicRoute,
        topic: &str,
        failed_broker: Option<&str>,
    ) -> Result<&'a MessageQueue, SendError> {
        let queue = self.choice.choose(route.publish_queues(), failed_broker);
        queue.ok_or_else(|| RouteError::NoQueue(topic.to_owned()).into())
    }
}

fn master_address<'a>(route: &'a TopicRoute, queue: &MessageQueue) -> Result<&'a str, SendError> {
    route
        .master_address(&queue.broker_name)
        .ok_or_else(|| SendError::NoBroker {
            broker_name: queue.broker_name.clone(),
        })
}

/// What to tell the application when no try is left. A refusal is told as such: it says what to do.
fn gave_up(
    failed: Option<Failure>,
    tries: u32,
    elapsed_ms: i64,
    budget: std::time::Duration,
) -> SendError {
    let failure = failed.unwrap_or_else(|| Failure {
        broker_name: String::new(),
        cause: CallError::Timeout {
            addr: "the name server".to_owned(),
            ms: u64::try_from(budget.as_millis()).unwrap_or(u64::MAX),
        },
    });
    let Failure { broker_name, cause } = failure;
    if let CallError::Refused(refusal) = cause {
        return SendError::Refused {
            broker_name,
            refusal,
        };
    }
    SendError::Exhausted {
        tries,
        elapsed_ms,
        broker_name,
        last: cause,
    }
}
