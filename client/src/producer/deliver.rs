//! Brings one request to a broker: tries, pauses, other brokers. What is tried again and for how long
//! `retry.rs` decides, where to `queue_choice.rs` and `health.rs`.
//!
//! Every send moves its future about: what few of them await (a route that is not known, a pause) is boxed,
//! which keeps the others' small.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{CallError, Refusal};
use tracing::{Instrument, debug, debug_span};

use super::health::{BrokerHealth, TryEnd};
use super::in_flight::InFlightLimits;
use super::queue_choice::QueueChoice;
use super::retry::Tries;
use super::send_request::{SendReceipt, SendRequest, SendStatus};
use crate::error::{RouteError, SendError};
use crate::link::Link;
use crate::route::TopicRoute;
use crate::stop::StopSource;

/// Longest that a failed send waits for the route to be asked for again.
const ROUTE_WAIT_MAX: Duration = Duration::from_millis(200);

/// How messages are brought to a broker.
#[derive(Debug, Clone)]
pub(super) struct DeliveryOptions {
    pub(super) send_timeout: Duration,
    pub(super) try_timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) retry_codes: Arc<[ResponseCode]>,
    pub(super) retry_when_not_safe: bool,
    pub(super) avoid_ailing_brokers: bool,
    pub(super) in_flight: InFlightLimits,
    pub(super) batch_bytes_max: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) link: Arc<Link>,
    pub(super) options: DeliveryOptions,
    pub(super) choice: QueueChoice,
    pub(super) health: BrokerHealth,
    /// Stopped when what is under way is to end at once.
    pub(super) abort: StopSource,
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

/// The tries of one request so far.
struct Progress {
    started_ms: i64,
    tries: Tries,
    failed: Option<Failure>,
    /// It is stored, but not as safely as it should be.
    unsafe_receipt: Option<SendReceipt>,
}

impl Delivery {
    /// Tries until the message is stored, or there is no use or no time in trying again. To the `fixed`
    /// queue there is one try, for another queue would not do and a second try may overtake.
    pub(super) async fn deliver(
        &self,
        request: &mut SendRequest,
        fixed: Option<&MessageQueue>,
    ) -> Result<SendReceipt, SendError> {
        let span = debug_span!("send", topic = request.topic());
        self.deliver_in_tries(request, fixed).instrument(span).await
    }

    async fn deliver_in_tries(
        &self,
        request: &mut SendRequest,
        fixed: Option<&MessageQueue>,
    ) -> Result<SendReceipt, SendError> {
        let mut progress = self.begin(fixed.is_some());
        loop {
            let route = match self.link.cached_route(request.topic()) {
                Some(route) => route,
                None => Box::pin(self.link.publish_route(request.topic())).await?,
            };
            let several = fixed.is_none() && route.publishes_to_several_brokers();
            let now_ms = self.link.clock.now_ms();
            let Some(time) = progress.tries.begin(now_ms, several) else {
                return self.gave_up(progress);
            };
            let queue = match fixed {
                Some(queue) => queue,
                None => self.queue(&route, request.topic(), progress.failed_broker())?,
            };
            match self.try_noted(request, &route, queue, time).await {
                Ok(receipt) if self.is_safe_enough(&receipt) => return Ok(receipt),
                Ok(receipt) => {
                    progress.failed = Some(not_safe(&receipt));
                    progress.unsafe_receipt = Some(receipt);
                }
                Err(TryError::Final(error)) => return Err(error),
                Err(TryError::Again(failure)) => progress.failed = Some(failure),
            }
            Box::pin(self.pause(&progress, request.topic(), several)).await;
            if self.abort.is_stopped() {
                return self.gave_up(progress);
            }
        }
    }

    fn begin(&self, is_fixed: bool) -> Progress {
        let options = &self.options;
        let started_ms = self.link.clock.now_ms();
        let budget_ms = i64::try_from(options.send_timeout.as_millis()).unwrap_or(i64::MAX);
        let retries = if is_fixed { 0 } else { options.retries };
        let deadline_ms = started_ms.saturating_add(budget_ms);
        Progress {
            started_ms,
            tries: Tries::new(retries.saturating_add(1), deadline_ms, options.try_timeout),
            failed: None,
            unsafe_receipt: None,
        }
    }

    fn is_safe_enough(&self, receipt: &SendReceipt) -> bool {
        receipt.status == SendStatus::Stored || !self.options.retry_when_not_safe
    }

    /// Asks where the topic is now, and gives an only broker time to come back.
    async fn pause(&self, progress: &Progress, topic: &str, several: bool) {
        let mut abort = self.abort.signal();
        let tries = &progress.tries;
        let pause = tries.pause(self.link.clock.now_ms(), several);
        if tries.is_over() || (several && !progress.is_unreachable()) {
            return;
        }
        let renewed = async {
            let wait = if several { ROUTE_WAIT_MAX } else { pause };
            let renewal = self.link.renew_route(topic);
            tokio::time::timeout(wait, renewal).await
        };
        tokio::select! {
            () = abort.stopped() => {}
            _ = async { tokio::join!(renewed, tokio::time::sleep(pause)) } => {}
        }
    }

    async fn try_noted(
        &self,
        request: &mut SendRequest,
        route: &TopicRoute,
        queue: &MessageQueue,
        time: Duration,
    ) -> Result<SendReceipt, TryError> {
        if !self.options.avoid_ailing_brokers {
            return self.try_once(request, route, queue, time).await;
        }
        let begun_ms = self.link.clock.now_ms();
        let tried = self.try_once(request, route, queue, time).await;
        let now_ms = self.link.clock.now_ms();
        let end = match tried {
            Err(TryError::Again(_)) => TryEnd::Failed,
            _ => TryEnd::Answered,
        };
        let latency_ms = now_ms.saturating_sub(begun_ms);
        self.health
            .note(&queue.broker_name, end, latency_ms, now_ms);
        tried
    }

    async fn try_once(
        &self,
        request: &mut SendRequest,
        route: &TopicRoute,
        queue: &MessageQueue,
        time: Duration,
    ) -> Result<SendReceipt, TryError> {
        let broker_name = &queue.broker_name;
        let address = self.address(route, queue).map_err(TryError::Final)?;
        let again = |cause| {
            TryError::Again(Failure {
                broker_name: broker_name.clone(),
                cause,
            })
        };
        let client = self.link.client();
        let answer = client.call(&address, request.command(queue), time).await;
        let answer = answer.map_err(again)?;
        if let Some(read) = request.receipt(queue, &answer) {
            let mut receipt = read.map_err(|cause| {
                TryError::Final(SendError::BadAnswer {
                    broker_name: broker_name.clone(),
                    cause,
                })
            })?;
            self.link.namespace.unwrap(&mut receipt.queue.topic);
            return Ok(receipt);
        }
        let refusal = Refusal::new(answer.response_code(), answer.remark.unwrap_or_default());
        if self.options.retry_codes.contains(&refusal.code) {
            debug!(broker = broker_name, %refusal, "send refused");
            return Err(again(CallError::Refused(refusal)));
        }
        Err(TryError::Final(SendError::Refused {
            broker_name: broker_name.clone(),
            refusal,
        }))
    }

    /// Where sends to this queue go.
    pub(super) fn address<'a>(
        &self,
        route: &'a TopicRoute,
        queue: &MessageQueue,
    ) -> Result<Cow<'a, str>, SendError> {
        Ok(self.link.vip_address(master_address(route, queue)?))
    }

    /// The next queue.
    pub(super) fn queue<'a>(
        &self,
        route: &'a TopicRoute,
        topic: &str,
        failed_broker: Option<&str>,
    ) -> Result<&'a MessageQueue, SendError> {
        let now_ms = self.link.clock.now_ms();
        let is_well = |broker: &str| self.health.is_well(broker, now_ms);
        let queues = route.publish_queues();
        let queue = self.choice.choose(queues, failed_broker, is_well);
        queue.ok_or_else(|| RouteError::NoQueue(topic.to_owned()).into())
    }

    /// What to tell the application when no try is left. A refusal is told as such: it says what to do.
    fn gave_up(&self, progress: Progress) -> Result<SendReceipt, SendError> {
        if let Some(receipt) = progress.unsafe_receipt {
            return Ok(receipt);
        }
        let budget = self.options.send_timeout;
        let Failure { broker_name, cause } = progress.failed.unwrap_or_else(|| Failure {
            broker_name: String::new(),
            cause: CallError::Timeout {
                addr: "the name server".to_owned(),
                ms: u64::try_from(budget.as_millis()).unwrap_or(u64::MAX),
            },
        });
        if let CallError::Refused(refusal) = cause {
            return Err(SendError::Refused {
                broker_name,
                refusal,
            });
        }
        Err(SendError::Exhausted {
            tries: progress.tries.begun(),
            elapsed_ms: self.link.clock.now_ms() - progress.started_ms,
            broker_name,
            last: cause,
        })
    }
}

impl Progress {
    fn failed_broker(&self) -> Option<&str> {
        let failed = self.failed.as_ref();
        failed.map(|failure| failure.broker_name.as_str())
    }

    /// Whether the broker may have moved.
    fn is_unreachable(&self) -> bool {
        let cause = self.failed.as_ref().map(|failure| &failure.cause);
        matches!(cause, Some(CallError::Connect { .. } | CallError::Closed))
    }
}

/// The broker stored it, but not as safely as it should.
fn not_safe(receipt: &SendReceipt) -> Failure {
    let remark = "stored less safely than it should be";
    Failure {
        broker_name: receipt.queue.broker_name.clone(),
        cause: CallError::Refused(Refusal::new(ResponseCode::FLUSH_DISK_TIMEOUT, remark)),
    }
}

/// Only masters store.
pub(super) fn master_address<'a>(
    route: &'a TopicRoute,
    queue: &MessageQueue,
) -> Result<&'a str, SendError> {
    let address = route.master_address(&queue.broker_name);
    address.ok_or_else(|| SendError::NoBroker {
        broker_name: queue.broker_name.clone(),
    })
}
