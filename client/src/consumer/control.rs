//! The control task of a consumer: the only one that gives queues out and takes them back.
//!
//! It rebalances in turns and when members change, commits offsets, answers brokers, and at the end
//! stops everything in order: no more pulls, listeners to their end, offsets, goodbye.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::{GetConsumerStatusBody, MessageQueue, ResetOffsetBody};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use super::broker_requests::{BrokerRequest, Requests};
use super::context::Context;
use super::offsets::{self, CommitWait};
use super::rebalance::{self, Division};
use super::running_info;
use super::worker::{self, AssignedQueue};
use crate::heartbeat::Heartbeat;
use crate::stop::{StopSignal, StopSource};

/// Between two rebalances when all is well.
const REBALANCE_INTERVAL: Duration = Duration::from_secs(20);
/// Between two rebalances while a topic's division is unknown.
const REBALANCE_RETRY: Duration = Duration::from_secs(1);
/// Before a rebalance that was asked for: several notices of one change come close together.
const REBALANCE_DELAY: Duration = Duration::from_millis(50);
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// A queue that is ours, and what ends its task.
struct Assigned {
    queue: Arc<AssignedQueue>,
    stop: StopSource,
}

/// See the module.
pub(super) struct Control {
    context: Arc<Context>,
    heartbeat: Heartbeat,
    assigned: HashMap<MessageQueue, Assigned>,
    tasks: JoinSet<()>,
    requests: Requests,
    rebalance_at: Instant,
    /// Topics whose division is unknown, so that each is told once and not every second.
    unknown: BTreeSet<String>,
}

impl Control {
    pub(super) fn new(context: Arc<Context>, heartbeat: Heartbeat, requests: Requests) -> Self {
        Self {
            context,
            heartbeat,
            assigned: HashMap::new(),
            tasks: JoinSet::new(),
            requests,
            rebalance_at: Instant::now(),
            unknown: BTreeSet::new(),
        }
    }

    /// Runs until the consumer stops, and ends it in order.
    pub(super) async fn run(mut self, mut stop: StopSignal) {
        let mut asked = stop.clone();
        tokio::select! {
            () = asked.stopped() => {}
            () = self.meet_brokers() => {}
        }
        let context = self.context.clone();
        let mut commit_turn = tokio::time::interval(COMMIT_INTERVAL);
        commit_turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.stopped() => break,
                () = tokio::time::sleep_until(self.rebalance_at) => self.rebalance().await,
                () = context.link.routes_changed() => self.rebalance_soon(),
                _ = commit_turn.tick() => self.commit(CommitWait::No).await,
                Some(request) = self.requests.next() => self.handle(request),
                Some(_) = self.tasks.join_next() => {}
            }
        }
        self.finish().await;
    }

    /// The brokers must know us before they serve us, so the routes and a heartbeat come first.
    async fn meet_brokers(&self) {
        for topic in self.context.subscriptions.keys() {
            if let Err(cause) = self.context.link.subscribe_route(topic).await {
                debug!(topic, %cause, "route not known at start");
            }
        }
        self.heartbeat.beat(&self.context.link).await;
    }

    async fn rebalance(&mut self) {
        let context = self.context.clone();
        let mut is_known = true;
        for topic in context.subscriptions.keys() {
            match rebalance::divide(&context, topic).await {
                Division::NotMet => is_known = false,
                Division::Unknown(cause) => {
                    is_known = false;
                    if self.unknown.insert(topic.clone()) {
                        warn!(
                            topic,
                            group = context.group,
                            cause,
                            "queues not divided yet"
                        );
                    }
                }
                Division::Absent => {}
                Division::Ours(ours) => {
                    self.unknown.remove(topic);
                    let have = self.assigned.keys().filter(|queue| queue.topic == *topic);
                    let changes = rebalance::changes(have, &ours);
                    self.revoke(changes.revoked).await;
                    changes
                        .added
                        .into_iter()
                        .for_each(|queue| self.assign(queue));
                }
            }
        }
        let pause = if is_known {
            REBALANCE_INTERVAL
        } else {
            REBALANCE_RETRY
        };
        self.rebalance_at = Instant::now() + pause;
    }

    fn rebalance_soon(&mut self) {
        self.rebalance_at = self.rebalance_at.min(Instant::now() + REBALANCE_DELAY);
    }

    fn assign(&mut self, queue: MessageQueue) {
        info!(group = self.context.group, %queue, "queue assigned");
        let stop = StopSource::new();
        let assigned = Arc::new(AssignedQueue::new(queue.clone()));
        self.tasks.spawn(worker::run(
            self.context.clone(),
            assigned.clone(),
            stop.signal(),
        ));
        let assigned = Assigned {
            queue: assigned,
            stop,
        };
        self.assigned.insert(queue, assigned);
    }

    /// Takes queues back: their new owners go on where we commit now.
    async fn revoke(&mut self, queues: Vec<MessageQueue>) {
        let mut commits = JoinSet::new();
        for queue in queues {
            let Some(assigned) = self.assigned.remove(&queue) else {
                continue;
            };
            info!(group = self.context.group, %queue, "queue revoked");
            assigned.stop.stop();
            assigned.queue.revoke();
            commits.spawn(commit(
                self.context.clone(),
                assigned.queue,
                CommitWait::Yes,
            ));
        }
        commits.join_all().await;
    }

    async fn commit(&self, wait: CommitWait) {
        let mut commits = JoinSet::new();
        for assigned in self.assigned.values() {
            commits.spawn(commit(self.context.clone(), assigned.queue.clone(), wait));
        }
        commits.join_all().await;
    }

    fn handle(&mut self, request: BrokerRequest) {
        match request {
            BrokerRequest::MembersChanged => self.rebalance_soon(),
            BrokerRequest::ResetOffsets(body) => self.reset(&body),
            BrokerRequest::Status { topic, responder } => {
                let body = GetConsumerStatusBody {
                    message_queue_table: running_info::status(&topic, self.queues()),
                    ..GetConsumerStatusBody::default()
                };
                responder.send(running_info::with_json(&body));
            }
            BrokerRequest::RunningInfo(responder) => {
                let info = running_info::running_info(&self.context, self.queues());
                responder.send(running_info::with_json(&info));
            }
            BrokerRequest::ConsumeDirectly(direct) => {
                self.tasks
                    .spawn(running_info::consume_directly(self.context.clone(), direct));
            }
        }
    }

    fn queues(&self) -> impl Iterator<Item = &Arc<AssignedQueue>> {
        self.assigned.values().map(|assigned| &assigned.queue)
    }

    fn reset(&mut self, body: &ResetOffsetBody) {
        for (queue, offset) in &body.offset_table {
            if let Some(assigned) = self.assigned.get(queue) {
                info!(group = self.context.group, %queue, offset, "offset reset by an operator");
                assigned.queue.reset(*offset);
                self.tasks.spawn(commit(
                    self.context.clone(),
                    assigned.queue.clone(),
                    CommitWait::Yes,
                ));
            }
        }
    }

    /// Waits for the listeners at work and commits what they did.
    async fn finish(mut self) {
        for assigned in self.assigned.values() {
            assigned.stop.stop();
        }
        self.requests.close();
        while let Some(request) = self.requests.next().await {
            self.handle(request);
        }
        let tasks = &mut self.tasks;
        let ending = async { while tasks.join_next().await.is_some() {} };
        let wait = self.context.options.shutdown_wait;
        if tokio::time::timeout(wait, ending).await.is_err() {
            info!(
                group = self.context.group,
                "listeners still at work are given up"
            );
            self.tasks.shutdown().await;
        }
        self.commit(CommitWait::Yes).await;
    }
}

async fn commit(context: Arc<Context>, queue: Arc<AssignedQueue>, wait: CommitWait) {
    if let Some(process) = queue.process() {
        offsets::commit(&context, &queue.queue, process, wait).await;
    }
}
