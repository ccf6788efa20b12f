//! Taking messages: one pop at a broker after the other, and if none has any, waiting at all of them at a time.
//!
//! Waiting takes no lease (NOTIFICATION), so that a call which is given up while it waits leaves nothing
//! behind. A pop that is given up after it was sent does: its messages come again when their leases end.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{
    NotificationRequestHeader, NotificationResponseHeader, PopMessageRequestHeader,
    PopMessageResponseHeader,
};
use thrustmq_proto_compat::request_code::{Notification, PopMessage};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{CallError, Refusal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, error};

use super::lease::PopAnswer;
use super::{Inner, Leased, PopConsumer};
use crate::error::AdminError;
use crate::namespace::NO_NAMESPACE;
use crate::received::pulled_records;
use crate::route::MASTER_ID;
use crate::subscription::Subscription;

/// Brokers give no more at a time.
pub(super) const POP_MESSAGES_MAX: u16 = 32;
const ANY_QUEUE: i32 = -1;
const FROM_FIRST: i32 = 0;
const FROM_LAST: i32 = 1;
/// Beyond the time that a broker may hold a request, its answer may take so long.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// So long a pop is waited for though the caller's time is over: given up, its messages would be nobody's
/// until their leases end.
const POP_TIME_MIN: Duration = Duration::from_secs(2);
/// Longer waits count as this.
const RECEIVE_WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long a broker holds a request at most: connections are not trusted for longer.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Before asking again brokers that would not wait, or could not be asked.
const PAUSE: Duration = Duration::from_millis(200);
/// An ordered pop whose answer is lost is repeated: the same attempt gets the same messages.
const ORDERED_TRIES: u32 = 2;

/// A broker of a topic.
#[derive(Debug, Clone)]
struct Target {
    topic: String,
    wanted: Subscription,
    broker_name: String,
    address: String,
}

impl PopConsumer {
    /// Takes messages on lease, of one broker and topic at a time, and waits for some at most this long. None
    /// if none came; never more than 32. A broker that does not answer may take 2 s more.
    ///
    /// # Errors
    /// No topic is known, or no broker answers; a broker refuses.
    pub async fn receive(
        &self,
        messages_max: u16,
        wait: Duration,
    ) -> Result<Vec<Leased>, AdminError> {
        let never = std::future::pending();
        self.inner
            .receive_unless(messages_max, wait, pin!(never))
            .await
    }
}

impl Inner {
    /// As [`PopConsumer::receive`]; waits only as long as it is not given up.
    pub(super) async fn receive_unless(
        &self,
        messages_max: u16,
        wait: Duration,
        mut given_up: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Vec<Leased>, AdminError> {
        let deadline = Instant::now() + wait.min(RECEIVE_WAIT_MAX);
        loop {
            let targets = self.targets().await?;
            let received = self.receive_once(&targets, messages_max, deadline).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !received.is_empty() || left.is_zero() {
                return Ok(received);
            }
            let waiting = self.wait_for_messages(targets, left.min(WAIT_MAX));
            tokio::select! {
                () = given_up.as_mut() => return Ok(Vec::new()),
                () = sleep(left) => return Ok(Vec::new()),
                () = waiting => {}
            }
        }
    }
}

impl Inner {
    /// The brokers of all topics that are known.
    async fn targets(&self) -> Result<Vec<Target>, AdminError> {
        let mut targets = Vec::new();
        let mut unknown = None;
        for (topic, wanted) in &self.subscriptions {
            let route = match self.link.subscribe_route(topic).await {
                Ok(route) => route,
                Err(cause) => {
                    unknown = Some(cause);
                    continue;
                }
            };
            let queues = route.subscribe_queues().iter();
            let brokers: BTreeSet<&str> = queues.map(|queue| queue.broker_name.as_str()).collect();
            let masters = brokers.into_iter().filter_map(|broker_name| {
                let address = route.broker_address(broker_name, MASTER_ID)?;
                Some(Target {
                    topic: topic.clone(),
                    wanted: wanted.clone(),
                    broker_name: broker_name.to_owned(),
                    address: address.to_owned(),
                })
            });
            targets.extend(masters);
        }
        match unknown {
            Some(cause) if targets.is_empty() => Err(cause.into()),
            _ => Ok(targets),
        }
    }

    /// What the first broker has that has any. An error only if there is no other answer.
    async fn receive_once(
        &self,
        targets: &[Target],
        messages_max: u16,
        deadline: Instant,
    ) -> Result<Vec<Leased>, AdminError> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut failed = None;
        let mut is_answered = false;
        for place in 0..targets.len() {
            let at = first.wrapping_add(place) % targets.len();
            let Some(target) = targets.get(at) else {
                continue;
            };
            match self.pop(target, messages_max, deadline).await {
                Ok(messages) if messages.is_empty() => is_answered = true,
                Ok(messages) => return Ok(messages),
                Err(cause) => {
                    // Its broker may have moved: the next call shall know.
                    let _ = self.link.renewed_route(&target.topic).await;
                    failed = Some(AdminError::Call {
                        address: target.address.clone(),
                        cause,
                    });
                }
            }
        }
        match failed {
            Some(cause) if !is_answered => Err(cause),
            _ => Ok(Vec::new()),
        }
    }

    async fn pop(
        &self,
        target: &Target,
        messages_max: u16,
        deadline: Instant,
    ) -> Result<Vec<Leased>, CallError> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut tries = if self.is_ordered { ORDERED_TRIES } else { 1 };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let time = left.clamp(POP_TIME_MIN, ANSWER_TIME);
            let request = self.pop_request(target, messages_max, attempt);
            tries -= 1;
            match self
                .link
                .client()
                .call(&target.address, request, time)
                .await
            {
                Ok(answer) => return self.popped(target, answer).await,
                // It may have been done: the same attempt gets the same messages.
                Err(CallError::Timeout { .. } | CallError::Closed) if tries > 0 => {}
                Err(cause) => return Err(cause),
            }
        }
    }

    fn pop_request(&self, target: &Target, messages_max: u16, attempt: usize) -> Command {
        let invisible_ms = self.invisible_time.as_millis();
        Command::request::<PopMessage>(&PopMessageRequestHeader {
            consumer_group: self.group.clone(),
            topic: target.topic.clone(),
            queue_id: ANY_QUEUE,
            max_msg_nums: i32::from(messages_max.clamp(1, POP_MESSAGES_MAX)),
            invisible_time_ms: i64::try_from(invisible_ms).unwrap_or(i64::MAX),
            poll_time_ms: 0,
            born_time_ms: self.link.clock.now_ms(),
            init_mode: if self.from_first {
                FROM_FIRST
            } else {
                FROM_LAST
            },
            expression_type: Some(target.wanted.expression_type().to_owned()),
            expression: Some(target.wanted.expression().to_owned()),
            order: self.is_ordered.then_some(true),
            attempt_id: self.is_ordered.then(|| self.attempt_id(attempt)),
            broker_name: Some(target.broker_name.clone()),
        })
    }

    fn attempt_id(&self, attempt: usize) -> String {
        format!("{}-{}-{attempt}", self.link.id.text, self.started_ms)
    }

    async fn popped(&self, target: &Target, answer: Command) -> Result<Vec<Leased>, CallError> {
        match answer.response_code() {
            ResponseCode::SUCCESS => {}
            ResponseCode::POLLING_FULL
            | ResponseCode::POLLING_TIMEOUT
            | ResponseCode::PULL_NOT_FOUND
            | ResponseCode::SYSTEM_BUSY => return Ok(Vec::new()),
            code => {
                let remark = answer.remark.unwrap_or_default();
                return Err(CallError::Refused(Refusal::new(code, remark)));
            }
        }
        let header: PopMessageResponseHeader = answer.header()?;
        let mut messages = self.leased(target, &header, &answer.body.to_bytes());
        // Brokers compare hashes of tags only; others of the same hash are nobody's.
        let foreign: Vec<_> = messages
            .extract_if(.., |leased| !target.wanted.matches(leased.tags()))
            .collect();
        for leased in foreign {
            if let Err(cause) = self.acknowledge(&leased).await {
                debug!(%cause, "message with another tag not acknowledged, it comes again");
            }
        }
        Ok(messages)
    }

    /// The messages of an answer. One that cannot be read is left out: its lease ends.
    fn leased(
        &self,
        target: &Target,
        header: &PopMessageResponseHeader,
        records: &Bytes,
    ) -> Vec<Leased> {
        let answer = PopAnswer::read(&target.broker_name, header);
        let mut messages = Vec::new();
        for record in pulled_records(records, |_| true) {
            let (topic, offset) = (&target.topic, record.queue_offset);
            let mut message = match record.decode("", &NO_NAMESPACE) {
                Ok(message) => message,
                Err(cause) => {
                    error!(%cause, topic, offset, "message cannot be read");
                    continue;
                }
            };
            let Some(handle) = answer.handle(&message) else {
                error!(topic, offset, "broker names no lease of a message");
                continue;
            };
            if let Some(before) = answer.deliveries_before(&message) {
                message.reconsume_times = before;
            }
            message.topic.clone_from(topic);
            self.link.namespace.unwrap(&mut message.topic);
            messages.push(Leased { message, handle });
        }
        messages
    }

    /// Returns when a broker has messages, or none is willing to wait longer.
    async fn wait_for_messages(&self, targets: Vec<Target>, wait: Duration) {
        let mut waiting = JoinSet::new();
        for target in targets {
            let request = self.notification(&target, wait);
            let link = self.link.clone();
            waiting.spawn(async move {
                let time = wait + ANSWER_TIME;
                let answer = link.client().call(&target.address, request, time).await;
                let answer = answer
                    .ok()
                    .filter(|answer| answer.response_code() == ResponseCode::SUCCESS);
                let header = answer.and_then(|answer| answer.header().ok());
                header.is_some_and(|header: NotificationResponseHeader| header.has_msg)
            });
        }
        let begun = Instant::now();
        while let Some(told) = waiting.join_next().await {
            if told.is_ok_and(|has_messages| has_messages) {
                return;
            }
        }
        if begun.elapsed() < wait / 2 {
            sleep(PAUSE).await;
        }
    }

    fn notification(&self, target: &Target, wait: Duration) -> Command {
        Command::request::<Notification>(&NotificationRequestHeader {
            consumer_group: self.group.clone(),
            topic: target.topic.clone(),
            queue_id: ANY_QUEUE,
            poll_time_ms: i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
            born_time_ms: self.link.clock.now_ms(),
            order: self.is_ordered.then_some(true),
            attempt_id: None,
            broker_name: Some(target.broker_name.clone()),
        })
    }
}
