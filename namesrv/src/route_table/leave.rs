//! How members go: asked to, their connection closed, or silent for too long. All take one path, in
//! batches (RouteInfoManager.unRegisterBroker).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{BrokerAddress, Connection, Member, MinBrokerIdNotice, PERM_WRITE, Tables};

/// Why a member goes. The reason is checked again when it is applied, since a broker can come back
/// while it waits in the queue.
#[derive(Debug)]
pub(crate) enum Leaving {
    /// It said so, when its registration had this number ([`super::RouteTable::asked`]).
    Asked { member: Member, number: Option<u64> },
    /// The connection with this number closed.
    ConnectionClosed(u64),
    /// It said nothing for too long.
    Silent(BrokerAddress),
}

/// A member that has said nothing for longer than it may.
#[derive(Debug)]
pub(crate) struct Silent {
    pub(crate) at: BrokerAddress,
    pub(crate) silence_ms_max: i64,
    pub(crate) connection: Arc<dyn Connection>,
}

/// The broker groups that a batch touched.
#[derive(Default)]
struct Touched {
    gone: BTreeSet<Arc<str>>,
    /// Groups that lost a member; of those that lost their lowest id, its address.
    reduced: BTreeMap<Arc<str>, Option<String>>,
}

impl Tables {
    pub(super) fn silent(&self, now_ms: i64) -> Vec<Silent> {
        let live = self.live.iter();
        let silent = live.filter(|(_, l)| l.is_silent(now_ms));
        silent
            .map(|(at, l)| Silent {
                at: at.clone(),
                silence_ms_max: l.silence_ms_max,
                connection: Arc::clone(&l.connection),
            })
            .collect()
    }

    pub(super) fn leave(&mut self, batch: Vec<Leaving>, now_ms: i64) -> Vec<MinBrokerIdNotice> {
        let mut touched = Touched::default();
        for leaving in batch {
            for member in self.leaving_members(leaving, now_ms) {
                self.remove_member(&member, &mut touched);
            }
        }
        touched
            .reduced
            .retain(|name, _| !touched.gone.contains(name));
        self.clean_topics(&touched);
        let reduced = touched.reduced.into_iter();
        reduced
            .filter_map(|(name, offline)| self.lost_min_notice(&name, offline?))
            .collect()
    }

    fn leaving_members(&self, leaving: Leaving, now_ms: i64) -> Vec<Member> {
        let live = self.live.iter();
        let found = live.filter(|(at, l)| match &leaving {
            Leaving::Asked { .. } => false,
            Leaving::ConnectionClosed(id) => l.connection.id() == *id,
            Leaving::Silent(silent) => *at == silent && l.is_silent(now_ms),
        });
        let mut members: Vec<Member> = found
            .map(|(at, l)| Member {
                name: l.name.to_string(),
                id: l.id,
                at: at.clone(),
            })
            .collect();
        if let Leaving::Asked { member, number } = leaving {
            // A broker that restarted meanwhile has registered again, and stays.
            if self.number(&member.at) == number {
                members.push(member);
            }
        }
        members
    }

    /// The number of a member's latest registration.
    pub(super) fn number(&self, at: &BrokerAddress) -> Option<u64> {
        self.live.get(at).map(|l| l.number)
    }

    fn remove_member(&mut self, member: &Member, touched: &mut Touched) {
        let live = self.live.get(&member.at);
        if live.is_some_and(|l| *l.name == *member.name) {
            self.live.remove(&member.at);
        }
        let Some((name, _)) = self.brokers.get_key_value(member.name.as_str()) else {
            return;
        };
        let name = Arc::clone(name);
        let Some(broker) = self.brokers.get_mut(&name) else {
            return;
        };
        let was_min = broker.min_id() == Some(member.id);
        let before = broker.addresses.len();
        broker
            .addresses
            .retain(|_, address| *address != member.at.address);
        if broker.addresses.len() == before {
            return;
        }
        tracing::info!(broker = %name, id = member.id, address = member.at.address, "broker unregistered");
        if broker.addresses.is_empty() {
            self.remove_broker(&name);
            touched.gone.insert(name);
        } else {
            let offline = was_min.then(|| member.at.address.clone());
            let noted = touched.reduced.entry(name).or_default();
            *noted = offline.or(noted.take());
        }
    }

    fn remove_broker(&mut self, name: &Arc<str>) {
        self.brokers.remove(name);
        self.clusters.retain(|_, names| {
            names.remove(name);
            !names.is_empty()
        });
    }

    /// Drops the queues of brokers that are gone, and makes those of a group without a master read-only
    /// where a slave may act for it.
    fn clean_topics(&mut self, touched: &Touched) {
        let reduced = touched.reduced.keys();
        let masterless: Vec<&Arc<str>> = reduced
            .filter(|name| {
                let broker = self.brokers.get(*name);
                broker.is_some_and(|b| b.acting_master && !b.has_master())
            })
            .collect();
        if touched.gone.is_empty() && masterless.is_empty() {
            return;
        }
        self.topics.retain(|_, brokers| {
            for name in &touched.gone {
                brokers.remove(name);
            }
            for name in &masterless {
                if let Some(queues) = brokers.get_mut(*name) {
                    queues.perm &= !PERM_WRITE;
                }
            }
            !brokers.is_empty()
        });
    }

    /// The members that are left learn of their new lowest id.
    fn lost_min_notice(&self, name: &Arc<str>, offline: String) -> Option<MinBrokerIdNotice> {
        let broker = self.brokers.get(name).filter(|b| b.acting_master)?;
        let (min_id, min_address) = broker.addresses.iter().next()?;
        Some(MinBrokerIdNotice {
            broker_name: name.to_string(),
            min_broker_id: *min_id,
            min_broker_address: min_address.clone(),
            offline_broker_address: Some(offline),
            ha_address: None,
            recipients: broker.addresses.values().cloned().collect(),
        })
    }
}

impl super::Liveness {
    fn is_silent(&self, now_ms: i64) -> bool {
        self.updated_ms.saturating_add(self.silence_ms_max) < now_ms
    }
}
