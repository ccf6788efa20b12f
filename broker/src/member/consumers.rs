//! Live consumers by group, and what each group subscribes to.
//!
//! A pull reads its group's state (a read lock and an `Arc`); a heartbeat that changes nothing
//! writes one atomic. A change replaces the group's state as a whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock, RwLockWriteGuard};

use thrustmq_proto_compat::body::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_remoting::Peer;

use super::client::{ClientIdentity, Member};
use super::subscription::{Differences, Subscription, Subscriptions, compile};

/// How a group's consumers say they consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConsumeMode {
    pub(crate) consume_type: ConsumeType,
    pub(crate) message_model: MessageModel,
    pub(crate) consume_from_where: ConsumeFromWhere,
}

/// One group as its consumers' heartbeats describe it.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerGroup {
    pub(crate) mode: ConsumeMode,
    /// What its members subscribe to: of each topic the newest.
    pub(crate) subscriptions: Subscriptions,
    differences: Differences,
    /// By the id of the connection.
    members: BTreeMap<u64, Arc<Member>>,
}

/// One consumer's heartbeat for one group.
#[derive(Debug)]
pub(crate) struct ConsumerHeartbeat<'a> {
    pub(crate) group: &'a str,
    pub(crate) client: &'a ClientIdentity,
    pub(crate) mode: ConsumeMode,
    /// `None` if the client left them out, because they are what they were.
    pub(crate) subscriptions: Option<Vec<SubscriptionData>>,
    /// Number that stands for the subscriptions; 0 from clients that give none.
    pub(crate) fingerprint: i32,
}

/// What a heartbeat did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registered {
    /// A member came, or the topics changed: the group has to share its queues again.
    pub(crate) is_changed: bool,
    /// It told something new of members or subscriptions.
    pub(crate) is_new: bool,
    /// The group was last seen with another fingerprint.
    pub(crate) is_fingerprint_new: bool,
}

/// All consumers that sent a heartbeat and have not left.
#[derive(Debug)]
pub(crate) struct ConsumerTable {
    groups: RwLock<HashMap<Arc<str>, Arc<ConsumerGroup>>>,
    fingerprints: RwLock<HashMap<String, i32>>,
    clock: Clock,
}

impl ConsumerTable {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            groups: RwLock::default(),
            fingerprints: RwLock::default(),
            clock,
        }
    }

    /// One group, if a consumer of it is here.
    pub(crate) fn find(&self, group: &str) -> Option<Arc<ConsumerGroup>> {
        let groups = self.groups.read().expect("no holder of this lock panics");
        groups.get(group).cloned()
    }

    /// What a group subscribes to in a topic.
    pub(crate) fn subscription(&self, group: &str, topic: &str) -> Option<Arc<Subscription>> {
        self.find(group)?.subscriptions.get(topic).cloned()
    }

    /// Whether the group's live consumers leave the topic out. Not so if there are none: nobody
    /// says then what the group subscribes to.
    pub(crate) fn leaves_out(&self, group: &str, topic: &str) -> bool {
        self.find(group).is_some_and(|state| {
            !state.subscriptions.is_empty() && !state.subscriptions.contains_key(topic)
        })
    }

    /// Groups whose live consumers subscribe to a topic.
    pub(crate) fn groups_of(&self, topic: &str) -> BTreeSet<String> {
        let groups = self.groups.read().expect("no holder of this lock panics");
        let subscribed = groups
            .iter()
            .filter(|(_, state)| state.subscriptions.contains_key(topic));
        subscribed.map(|(group, _)| group.to_string()).collect()
    }

    /// The consumer of a group that calls itself `client_id`.
    pub(crate) fn member(&self, group: &str, client_id: &str) -> Option<Arc<Member>> {
        let group = self.find(group)?;
        group
            .members()
            .find(|member| member.client.client_id == client_id)
            .cloned()
    }

    /// Takes a heartbeat.
    pub(crate) fn register(&self, heartbeat: ConsumerHeartbeat<'_>) -> Registered {
        let is_fingerprint_new = self.note_fingerprint(heartbeat.group, heartbeat.fingerprint);
        let known = self.find(heartbeat.group);
        let now_ms = self.clock.now_ms();
        let is_new = !known.is_some_and(|state| state.is_just_alive(&heartbeat, now_ms));
        Registered {
            is_changed: is_new && self.change(heartbeat),
            is_new,
            is_fingerprint_new,
        }
    }

    /// Takes one client out of one group, and gives what is left of it.
    pub(crate) fn unregister(&self, group: &str, peer: &Peer) -> Option<LeftGroup> {
        let is_leaving = |member: &Member| member.client.peer == *peer;
        self.without(&mut self.write(), group, &is_leaving)
    }

    /// Takes a closed connection out of all groups, and gives what is left of those it was in.
    pub(crate) fn remove_connection(&self, peer: &Peer) -> Vec<LeftGroup> {
        self.remove_where(|member| member.client.peer == *peer)
    }

    /// Takes out who has been silent for too long, and gives what is left of those groups.
    pub(crate) fn remove_expired(&self, silence_ms_max: i64) -> Vec<LeftGroup> {
        let now_ms = self.clock.now_ms();
        self.remove_where(|member| member.is_expired(now_ms, silence_ms_max))
    }

    fn note_fingerprint(&self, group: &str, fingerprint: i32) -> bool {
        let mut fingerprints = self
            .fingerprints
            .write()
            .expect("no holder of this lock panics");
        match fingerprints.get_mut(group) {
            Some(known) => std::mem::replace(known, fingerprint) != fingerprint,
            None => {
                fingerprints.insert(group.to_owned(), fingerprint);
                false
            }
        }
    }

    fn change(&self, heartbeat: ConsumerHeartbeat<'_>) -> bool {
        let now_ms = self.clock.now_ms();
        let mut groups = self.write();
        let group = heartbeat.group;
        let mut state = match groups.get(group) {
            Some(state) => ConsumerGroup::clone(state),
            None => ConsumerGroup::new(heartbeat.mode),
        };
        state.mode = heartbeat.mode;
        let is_changed = state.join(heartbeat, now_ms);
        groups.insert(group.into(), Arc::new(state));
        is_changed
    }

    fn remove_where(&self, leaves: impl Fn(&Member) -> bool) -> Vec<LeftGroup> {
        let mut groups = self.write();
        let names: Vec<Arc<str>> = groups
            .iter()
            .filter(|(_, state)| state.members().any(|member| leaves(member)))
            .map(|(group, _)| group.clone())
            .collect();
        let left = names.iter();
        left.filter_map(|group| self.without(&mut groups, group, &leaves))
            .collect()
    }

    /// Takes members out of a group.
    fn without(
        &self,
        groups: &mut HashMap<Arc<str>, Arc<ConsumerGroup>>,
        group: &str,
        leaves: &impl Fn(&Member) -> bool,
    ) -> Option<LeftGroup> {
        let mut state = ConsumerGroup::clone(groups.get(group)?);
        let mut gone = Vec::new();
        state.members.retain(|_, member| {
            let stays = !leaves(member);
            if !stays {
                let client = &member.client;
                let addr = client.peer.remote_addr();
                tracing::info!(group, client_id = client.client_id, %addr, "consumer leaves");
                gone.push(member.clone());
            }
            stays
        });
        let state = (!state.members.is_empty()).then(|| Arc::new(state));
        match &state {
            Some(state) => {
                groups.insert(group.into(), state.clone());
            }
            None => {
                groups.remove(group);
                self.forget_fingerprint(group);
            }
        }
        Some(LeftGroup {
            group: group.into(),
            gone,
            state,
        })
    }

    fn forget_fingerprint(&self, group: &str) {
        let mut fingerprints = self
            .fingerprints
            .write()
            .expect("no holder of this lock panics");
        fingerprints.remove(group);
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Arc<str>, Arc<ConsumerGroup>>> {
        self.groups.write().expect("no holder of this lock panics")
    }
}

/// A group that a member has left.
#[derive(Debug)]
pub(crate) struct LeftGroup {
    pub(crate) group: Arc<str>,
    /// Who has left.
    pub(crate) gone: Vec<Arc<Member>>,
    /// What is left of it; `None` if nobody is.
    pub(crate) state: Option<Arc<ConsumerGroup>>,
}

impl ConsumerGroup {
    fn new(mode: ConsumeMode) -> Self {
        Self {
            mode,
            subscriptions: Subscriptions::new(),
            differences: Differences::default(),
            members: BTreeMap::new(),
        }
    }

    /// The consumers of the group.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// Whether every member gets every message: then no one needs to share queues.
    pub(crate) fn is_broadcast(&self) -> bool {
        self.mode.message_model == MessageModel::Broadcasting
    }

    /// Whether the heartbeat tells nothing new; the member's sign of life is then noted.
    fn is_just_alive(&self, heartbeat: &ConsumerHeartbeat<'_>, now_ms: i64) -> bool {
        let Some(member) = self.members.get(&heartbeat.client.peer.id()) else {
            return false;
        };
        let says_nothing_new = member.client.client_id == heartbeat.client.client_id
            && self.mode == heartbeat.mode
            && heartbeat
                .subscriptions
                .as_deref()
                .is_none_or(|all| knows(member, all));
        if says_nothing_new {
            member.touch(now_ms);
        }
        says_nothing_new
    }

    /// What the consumer on a connection subscribes to in a topic; where it said nothing of it, what
    /// the group does.
    pub(crate) fn subscription_of(&self, peer: &Peer, topic: &str) -> Option<&Arc<Subscription>> {
        let member = self.members.get(&peer.id());
        let own = member.and_then(|member| member.subscriptions.get(topic));
        own.or_else(|| self.subscriptions.get(topic))
    }

    /// Whether a subscription is at least as new as `version`. Java's consumers raise their versions when
    /// they share queues anew, and may skip the heartbeat that says so: another member's counts too, as in
    /// Java, if it wants the same.
    pub(crate) fn is_latest(&self, subscription: &Subscription, version: i64) -> bool {
        let of_group = self.subscriptions.get(&subscription.data.topic);
        subscription.data.sub_version >= version
            || of_group.is_some_and(|of_group| {
                of_group.data.sub_version >= version && of_group.wants_the_same(subscription)
            })
    }

    /// Takes in a member, or what it says anew; whether it or a topic is new, or a topic went.
    fn join(&mut self, heartbeat: ConsumerHeartbeat<'_>, now_ms: i64) -> bool {
        let (group, client) = (heartbeat.group, heartbeat.client);
        let before = self.members.remove(&client.peer.id());
        let own = match (heartbeat.subscriptions, &before) {
            (Some(said), Some(before)) => compile(said, &before.subscriptions),
            (Some(said), None) => compile(said, &Subscriptions::new()),
            (None, Some(before)) => before.subscriptions.clone(),
            (None, None) => Subscriptions::new(),
        };
        tell_of_client(group, client, before.as_deref());
        let member = Arc::new(Member::new(client.clone(), now_ms).subscribed(own));
        self.members.insert(client.peer.id(), Arc::clone(&member));
        let is_changed = self.merge(&member.subscriptions);
        self.differences.tell(group, &member, self.members.values());
        before.is_none() || is_changed
    }

    /// Takes over newer subscriptions, and drops topics that no member subscribes to any more;
    /// whether a topic came or went. Of one topic the newest `sub_version` counts for the group.
    fn merge(&mut self, own: &Subscriptions) -> bool {
        let before = self.subscriptions.len();
        let members = &self.members;
        self.subscriptions.retain(|topic, _| {
            let mut members = members.values();
            members.any(|member| member.subscriptions.contains_key(topic))
        });
        let mut is_changed = self.subscriptions.len() != before;
        for (topic, subscription) in own {
            let known = self.subscriptions.get(topic);
            is_changed |= known.is_none();
            let version = subscription.data.sub_version;
            if known.is_none_or(|known| version > known.data.sub_version) {
                let subscription = Arc::clone(subscription);
                self.subscriptions.insert(topic.clone(), subscription);
            }
        }
        is_changed
    }
}

/// Whether a member said all this before, and nothing else.
fn knows(member: &Member, said: &[SubscriptionData]) -> bool {
    let topics: BTreeSet<&str> = said.iter().map(|one| one.topic.as_str()).collect();
    let is_known = |one: &SubscriptionData| {
        let known = member.subscriptions.get(&one.topic);
        known.is_some_and(|known| known.says(one))
    };
    topics.len() == member.subscriptions.len() && said.iter().all(is_known)
}

/// Logs who joins a group, or changes its name there.
fn tell_of_client(group: &str, client: &ClientIdentity, before: Option<&Member>) {
    let client_id = &client.client_id;
    match before {
        None => {
            let addr = client.peer.remote_addr();
            tracing::info!(group, client_id, %addr, "consumer joins");
        }
        Some(before) if before.client.client_id != *client_id => {
            let before = &before.client.client_id;
            tracing::error!(
                group,
                before,
                client_id,
                "consumer changes its id on one connection"
            );
        }
        Some(_) => {}
    }
}
