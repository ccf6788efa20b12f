//! The control task of a consumer: the only one that gives queues out and takes them back.
//!
//! It rebalances in turns and when members change, commits offsets, answers brokers, and at the end
//! stops everything in order: no more pulls, listeners to their end, offsets, goodbye.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::{GetConsumerStatusBody, MessageQueue, ResetOffsetBody};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, Sleep};
use tracing::{debug, info, warn};

use super::assigned_queue::{self, AssignedQueue};
use super::broker_requests::{BrokerRequest, Requests};
use super::context::Context;
use super::locks;
use super::offsets;
use super::polling::Chosen;
use super::process_queue::ProcessQueue;
use super::rebalance::{self, Division};
use super::running_info;
use super::worker;
use crate::heartbeat::Heartbeat;
use crate::queue_offsets::CommitWait;
use crate::stop::{StopSignal, StopSource};

/// Between two rebalances when all is well.
const REBALANCE_INTERVAL: Duration = Duration::from_secs(20);
/// Between two rebalances while a topic's division is unknown.
const REBALANCE_RETRY: Duration = Duration::from_secs(1);
/// Before a rebalance that was asked for: several notices of one change come close together.
const REBALANCE_DELAY: Duration = Duration::from_millis(50);
/// Between two renewals of the queues' locks.
const LOCK_INTERVAL: Duration = Duration::from_secs(20);
/// Before asking for locks that queues wait for: several begin to wait together.
const LOCK_DELAY: Duration = Duration::from_millis(20);
/// Before asking again for locks that are not ours yet.
const LOCK_RETRY: Duration = Duration::from_millis(500);

/// A queue that is ours, and what ends its task.
struct Assigned {
    queue: Arc<AssignedQueue>,
    stop: StopSource,
    /// Stops when the task has ended.
    ended: StopSignal,
}

/// See the module.
pub(super) struct Control {
    context: Arc<Context>,
    heartbeat: Heartbeat,
    assigned: HashMap<MessageQueue, Assigned>,
    /// The same, for the consumer's handle.
    shown: watch::Sender<Vec<Arc<AssignedQueue>>>,
    /// Queues given up whose listener is still at work in order: nobody else may begin with them.
    releasing: HashMap<MessageQueue, Arc<AssignedQueue>>,
    /// A task that released a queue returns it.
    tasks: JoinSet<Option<MessageQueue>>,
    requests: Requests,
    rebalance_at: Instant,
    /// When to ask for the queues' locks.
    lock_at: Instant,
    /// Topics whose division is unknown, so that each is told once and not every second.
    unknown: BTreeSet<String>,
}

impl Control {
    /// `shown` has the queues that are ours at any time.
    pub(super) fn new(
        context: Arc<Context>,
        heartbeat: Heartbeat,
        requests: Requests,
        shown: watch::Sender<Vec<Arc<AssignedQueue>>>,
    ) -> Self {
        Self {
            shown,
            context,
            heartbeat,
            assigned: HashMap::new(),
            releasing: HashMap::new(),
            tasks: JoinSet::new(),
            requests,
            rebalance_at: Instant::now(),
            lock_at: Instant::now(),
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
        let needs_locks = context.needs_locks();
        let mut routes = context.link.route_changes();
        let commits = context.commits();
        let commit_interval = context.options.commit_interval.unwrap_or(Duration::MAX);
        let mut commit_turn = tokio::time::interval(commit_interval);
        commit_turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.stopped() => break,
                () = tokio::time::sleep_until(self.rebalance_at) => self.rebalance().await,
                Ok(()) = routes.changed() => self.rebalance_soon(),
                () = context.rechosen() => self.rebalance().await,
                _ = commit_turn.tick(), if commits => self.commit(CommitWait::No).await,
                Some(request) = self.requests.next() => self.handle(request),
                () = tokio::time::sleep_until(self.lock_at), if needs_locks => self.lock().await,
                () = context.lock_wanted.notified() => self.lock_soon(),
                Some(ended) = self.tasks.join_next() => self.task_ended(ended.ok().flatten()),
            }
        }
        self.finish().await;
    }

    /// A queue that was released may be ours again meanwhile.
    fn task_ended(&mut self, released: Option<MessageQueue>) {
        if let Some(queue) = released {
            self.releasing.remove(&queue);
            self.rebalance_soon();
        }
    }

    fn lock_soon(&mut self) {
        self.lock_at = self.lock_at.min(Instant::now() + LOCK_DELAY);
    }

    /// Asks for the locks of all queues, of those too whose listener is still at work.
    async fn lock(&mut self) {
        let queues = self.queues().chain(self.releasing.values());
        let queues: Vec<_> = queues.cloned().collect();
        let pause = if locks::lock_all(&self.context, queues).await {
            LOCK_INTERVAL
        } else {
            LOCK_RETRY
        };
        self.lock_at = Instant::now() + pause;
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
        let is_known = match self.context.chosen() {
            Some(chosen) => {
                self.choose(&chosen).await;
                true
            }
            None => self.divide().await,
        };
        let pause = if is_known {
            REBALANCE_INTERVAL
        } else {
            REBALANCE_RETRY
        };
        self.rebalance_at = Instant::now() + pause;
    }

    /// To the queues that the application chose. One with another filter is taken anew where it stood:
    /// what was pulled with the old filter does not count.
    async fn choose(&mut self, chosen: &Chosen) {
        let old = assigned_queue::refiltered(self.queues(), chosen);
        let queues = old.iter().map(|old| old.queue.clone()).collect();
        self.revoke(queues).await;
        let begin = |old: &AssignedQueue| old.process().map(ProcessQueue::commit_offset);
        self.assign(old.iter().map(|old| (old.queue.clone(), begin(old))));
        self.change(None, &chosen.keys().cloned().collect()).await;
    }

    /// From what we have of a topic, or of all, to what is ours.
    async fn change(&mut self, topic: Option<&str>, ours: &BTreeSet<MessageQueue>) {
        let have = self.assigned.keys();
        let have = have.filter(|queue| topic.is_none_or(|topic| queue.topic == topic));
        let changes = rebalance::changes(have, ours);
        self.revoke(changes.revoked).await;
        self.assign(changes.added.into_iter().map(|queue| (queue, None)));
        assigned_queue::show(self.queues(), &self.shown);
    }

    /// Whether it is known of all topics which of their queues are ours.
    async fn divide(&mut self) -> bool {
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
                    self.change(Some(topic), &ours).await;
                }
            }
        }
        is_known
    }

    fn rebalance_soon(&mut self) {
        self.rebalance_at = self.rebalance_at.min(Instant::now() + REBALANCE_DELAY);
    }

    /// Begins with a queue: here, or where the group is.
    /// Takes queues in, each from its offset on if it has one. They share limits before any of them pulls.
    fn assign(&mut self, added: impl Iterator<Item = (MessageQueue, Option<i64>)>) {
        let entered = added.map(|(queue, begin)| self.enter(queue, begin));
        let tasks: Vec<_> = entered.collect();
        assigned_queue::share_limits(self.queues());
        for task in tasks.into_iter().flatten() {
            self.tasks.spawn(task);
        }
    }

    /// A queue is ours from here on, and consumed when its task is spawned.
    fn enter(
        &mut self,
        queue: MessageQueue,
        begin: Option<i64>,
    ) -> Option<impl Future<Output = Option<MessageQueue>> + Send + use<>> {
        if self.releasing.contains_key(&queue) {
            return None;
        }
        info!(group = self.context.group, %queue, "queue assigned");
        let (stop, alive) = (StopSource::new(), StopSource::new());
        let assigned = Assigned {
            queue: Arc::new(AssignedQueue::new(
                queue.clone(),
                self.context.wanted(&queue),
            )),
            ended: alive.signal(),
            stop,
        };
        if let Some(offset) = begin {
            assigned.queue.reset(offset);
        }
        let (context, queue_of_task) = (self.context.clone(), assigned.queue.clone());
        let stopping = assigned.stop.signal();
        self.assigned.insert(queue, assigned);
        Some(async move {
            // Dropped however the task ends.
            let _alive = alive;
            worker::run(context, queue_of_task, stopping).await;
            None
        })
    }

    /// Takes queues back: their new owners go on where we commit now, or, where messages are consumed
    /// in order, as soon as the listener has ended.
    async fn revoke(&mut self, queues: Vec<MessageQueue>) {
        let mut commits = JoinSet::new();
        for queue in queues {
            let Some(assigned) = self.assigned.remove(&queue) else {
                continue;
            };
            info!(group = self.context.group, %queue, "queue revoked");
            assigned.stop.stop();
            if self.context.needs_locks() {
                self.releasing.insert(queue, assigned.queue.clone());
                self.tasks.spawn(release(self.context.clone(), assigned));
                continue;
            }
            assigned.queue.revoke();
            if self.context.commits() {
                commits.spawn(commit(
                    self.context.clone(),
                    assigned.queue,
                    CommitWait::Yes,
                ));
            }
        }
        commits.join_all().await;
        offsets::write_file(&self.context).await;
    }

    async fn commit(&self, wait: CommitWait) {
        if !self.context.commits() {
            return;
        }
        let mut commits = JoinSet::new();
        for assigned in self.assigned.values() {
            commits.spawn(commit(self.context.clone(), assigned.queue.clone(), wait));
        }
        commits.join_all().await;
        offsets::write_file(&self.context).await;
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
                let consuming = running_info::consume_directly(self.context.clone(), direct);
                self.tasks.spawn(async {
                    consuming.await;
                    None
                });
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
                let queue = assigned.queue.clone();
                let committing = commit(self.context.clone(), queue, CommitWait::Yes);
                self.tasks.spawn(async {
                    committing.await;
                    None
                });
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
        let wait = tokio::time::sleep(self.context.options.shutdown_wait);
        if !self.listeners_end(wait).await {
            let group = &self.context.group;
            info!(group, "listeners still at work are given up");
            self.tasks.shutdown().await;
        }
        self.context.concurrency.close();
        self.commit(CommitWait::Yes).await;
        if self.context.needs_locks() {
            let queues = self.queues().chain(self.releasing.values());
            locks::unlock(&self.context, queues.cloned().collect()).await;
        }
    }

    /// Whether all tasks ended before `wait` did. Locks are renewed meanwhile.
    async fn listeners_end(&mut self, wait: Sleep) -> bool {
        let needs_locks = self.context.needs_locks();
        let mut wait = pin!(wait);
        loop {
            tokio::select! {
                biased;
                ended = self.tasks.join_next() => match ended {
                    Some(ended) => self.task_ended(ended.ok().flatten()),
                    None => return true,
                },
                () = &mut wait => return false,
                () = tokio::time::sleep_until(self.lock_at), if needs_locks => self.lock().await,
            }
        }
    }
}

async fn commit(context: Arc<Context>, queue: Arc<AssignedQueue>, wait: CommitWait) {
    offsets::commit(&context, &queue, wait).await;
}

/// Gives a queue that is consumed in order to its next owner: not before its listener has ended.
async fn release(context: Arc<Context>, mut assigned: Assigned) -> Option<MessageQueue> {
    assigned.ended.stopped().await;
    let queue = assigned.queue;
    offsets::commit(&context, &queue, CommitWait::Yes).await;
    queue.revoke();
    locks::unlock(&context, vec![queue.clone()]).await;
    Some(queue.queue.clone())
}
