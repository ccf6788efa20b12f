//! Live producers by group.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock, RwLockWriteGuard};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_remoting::Peer;

use super::client::{ClientIdentity, Member};

/// By the id of the connection.
type Members = BTreeMap<u64, Arc<Member>>;

/// All producers that sent a heartbeat and have not left.
#[derive(Debug)]
pub(crate) struct ProducerTable {
    groups: RwLock<HashMap<String, Members>>,
    clock: Clock,
}

impl ProducerTable {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            groups: RwLock::default(),
            clock,
        }
    }

    /// Takes a heartbeat: a new member, or a sign of life of one.
    pub(crate) fn register(&self, group: &str, client: &ClientIdentity) {
        let now_ms = self.clock.now_ms();
        let mut groups = self.write();
        if !groups.contains_key(group) {
            groups.insert(group.to_owned(), Members::new());
        }
        let Some(members) = groups.get_mut(group) else {
            return;
        };
        if let Some(member) = members.get(&client.peer.id()) {
            member.touch(now_ms);
            return;
        }
        let addr = client.peer.remote_addr();
        tracing::info!(group, client_id = client.client_id, %addr, "producer joins");
        let member = Arc::new(Member::new(client.clone(), now_ms));
        members.insert(client.peer.id(), member);
    }

    /// Takes one client out of one group.
    pub(crate) fn unregister(&self, group: &str, peer: &Peer) {
        let mut groups = self.write();
        if let Some(members) = groups.get_mut(group) {
            members.remove(&peer.id());
            if members.is_empty() {
                groups.remove(group);
            }
        }
    }

    /// Takes a closed connection out of all groups.
    pub(crate) fn remove_connection(&self, peer: &Peer) {
        self.retain(|id, _| id != peer.id());
    }

    /// Takes out who has been silent for too long, and gives those back.
    pub(crate) fn remove_expired(&self, silence_ms_max: i64) -> Vec<Arc<Member>> {
        let now_ms = self.clock.now_ms();
        let mut expired = Vec::new();
        self.retain(|_, member| {
            let is_expired = member.is_expired(now_ms, silence_ms_max);
            if is_expired {
                expired.push(member.clone());
            }
            !is_expired
        });
        expired
    }

    /// Members of a group; `None` if it has none.
    pub(crate) fn members(&self, group: &str) -> Option<Vec<Arc<Member>>> {
        let groups = self.groups.read().expect("no holder of this lock panics");
        Some(groups.get(group)?.values().cloned().collect())
    }

    /// Members of all groups.
    pub(crate) fn all(&self) -> BTreeMap<String, Vec<Arc<Member>>> {
        let groups = self.groups.read().expect("no holder of this lock panics");
        let groups = groups.iter();
        groups
            .map(|(group, members)| (group.clone(), members.values().cloned().collect()))
            .collect()
    }

    fn retain(&self, mut keep: impl FnMut(u64, &Arc<Member>) -> bool) {
        self.write().retain(|_, members| {
            members.retain(|id, member| keep(*id, member));
            !members.is_empty()
        });
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Members>> {
        self.groups.write().expect("no holder of this lock panics")
    }
}
