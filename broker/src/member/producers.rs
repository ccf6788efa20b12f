//! Live producers by group, and by client id: replies find their requester so.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_remoting::Peer;

use super::client::{ClientIdentity, Member};

/// By the id of the connection.
type Members = BTreeMap<u64, Arc<Member>>;

#[derive(Debug, Default)]
struct Table {
    groups: HashMap<String, Members>,
    /// The same members by client id, in the order in which they joined.
    clients: HashMap<String, Vec<Arc<Member>>>,
}

/// All producers that sent a heartbeat and have not left.
#[derive(Debug)]
pub(crate) struct ProducerTable {
    table: RwLock<Table>,
    clock: Clock,
}

impl ProducerTable {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            table: RwLock::default(),
            clock,
        }
    }

    /// Takes a heartbeat: a new member, or a sign of life of one.
    pub(crate) fn register(&self, group: &str, client: &ClientIdentity) {
        let now_ms = self.clock.now_ms();
        let mut table = self.write();
        let Table { groups, clients } = &mut *table;
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
        members.insert(client.peer.id(), Arc::clone(&member));
        let of_client = clients.entry(client.client_id.clone()).or_default();
        of_client.push(member);
    }

    /// Takes one client out of one group.
    pub(crate) fn unregister(&self, group: &str, peer: &Peer) {
        let mut table = self.write();
        let Table { groups, clients } = &mut *table;
        if let Some(members) = groups.get_mut(group) {
            if let Some(member) = members.remove(&peer.id()) {
                forget(clients, &member);
            }
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

    /// The connection of a client, whatever its groups: the newest that still stands.
    pub(crate) fn connection_of(&self, client_id: &str) -> Option<Peer> {
        let table = self.read();
        let members = table.clients.get(client_id)?.iter().rev();
        let mut peers = members.map(|member| &member.client.peer);
        peers.find(|peer| peer.is_open()).cloned()
    }

    /// Members of a group; `None` if it has none.
    pub(crate) fn members(&self, group: &str) -> Option<Vec<Arc<Member>>> {
        Some(self.read().groups.get(group)?.values().cloned().collect())
    }

    /// Members of all groups.
    pub(crate) fn all(&self) -> BTreeMap<String, Vec<Arc<Member>>> {
        let table = self.read();
        let groups = table.groups.iter();
        groups
            .map(|(group, members)| (group.clone(), members.values().cloned().collect()))
            .collect()
    }

    fn retain(&self, mut keep: impl FnMut(u64, &Arc<Member>) -> bool) {
        let mut table = self.write();
        let Table { groups, clients } = &mut *table;
        groups.retain(|_, members| {
            members.retain(|id, member| {
                let is_kept = keep(*id, member);
                if !is_kept {
                    forget(clients, member);
                }
                is_kept
            });
            !members.is_empty()
        });
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().expect("no holder of this lock panics")
    }
}

fn forget(clients: &mut HashMap<String, Vec<Arc<Member>>>, gone: &Arc<Member>) {
    let client_id = gone.client.client_id.as_str();
    if let Some(members) = clients.get_mut(client_id) {
        members.retain(|member| !Arc::ptr_eq(member, gone));
        if members.is_empty() {
            clients.remove(client_id);
        }
    }
}
