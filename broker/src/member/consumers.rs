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
    /// By topic.
    pub(crate) subscriptions: BTreeMap<String, Arc<SubscriptionData>>,
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
    pub(crate) fn subscription(&self, group: &str, topic: &str) -> Option<Arc<SubscriptionData>> {
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
        let is_changed = match self.find(heartbeat.group) {
            Some(state) if state.is_just_alive(&heartbeat, self.clock.now_ms()) => false,
            _ => self.change(heartbeat),
        };
        Registered {
            is_changed,
            is_fingerprint_new,
        }
    }

    /// Takes one client out of one group, and gives the members that stay.
    pub(crate) fn unregister(&self, group: &str, peer: &Peer) -> Option<Arc<ConsumerGroup>> {
        let is_leaving = |member: &Member| member.client.peer == *peer;
        self.without(&mut self.write(), group, &is_leaving)?.state
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
        let mut state = match groups.get(heartbeat.group) {
            Some(state) => ConsumerGroup::clone(state),
            None => ConsumerGroup::new(heartbeat.mode),
        };
        state.mode = heartbeat.mode;
        let joins = state.join(heartbeat.group, heartbeat.client, now_ms);
        let subscribes = heartbeat
            .subscriptions
            .is_some_and(|subscriptions| state.subscribe(subscriptions));
        groups.insert(heartbeat.group.into(), Arc::new(state));
        joins || subscribes
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
            subscriptions: BTreeMap::new(),
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
                .is_none_or(|all| self.knows(all));
        if says_nothing_new {
            member.touch(now_ms);
        }
        says_nothing_new
    }

    fn knows(&self, subscriptions: &[SubscriptionData]) -> bool {
        let topics: BTreeSet<&str> = subscriptions.iter().map(|one| one.topic.as_str()).collect();
        let is_known = |one: &SubscriptionData| {
            let known = self.subscriptions.get(&one.topic);
            known.is_some_and(|known| one.sub_version <= known.sub_version)
        };
        topics.len() == self.subscriptions.len() && subscriptions.iter().all(is_known)
    }

    /// Whether the client is new here.
    fn join(&mut self, group: &str, client: &ClientIdentity, now_ms: i64) -> bool {
        let member = Arc::new(Member::new(client.clone(), now_ms));
        match self.members.insert(client.peer.id(), member) {
            Some(before) => {
                if before.client.client_id != client.client_id {
                    let (before, client_id) = (&before.client.client_id, &client.client_id);
                    tracing::error!(
                        group,
                        before,
                        client_id,
                        "consumer changes its id on one connection"
                    );
                }
                false
            }
            None => {
                let addr = client.peer.remote_addr();
                tracing::info!(group, client_id = client.client_id, %addr, "consumer joins");
                true
            }
        }
    }

    /// Takes over newer subscriptions; whether a topic came or went. All members of a group have to
    /// subscribe alike: the newest `sub_version` wins.
    fn subscribe(&mut self, subscriptions: Vec<SubscriptionData>) -> bool {
        let topics: BTreeSet<String> = subscriptions.iter().map(|one| one.topic.clone()).collect();
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| topics.contains(topic));
        let mut is_changed = self.subscriptions.len() != before;
        for subscription in subscriptions {
            let known = self.subscriptions.get(&subscription.topic);
            is_changed |= known.is_none();
            if known.is_none_or(|known| subscription.sub_version > known.sub_version) {
                let topic = subscription.topic.clone();
                self.subscriptions.insert(topic, Arc::new(subscription));
            }
        }
        is_changed
    }
}
