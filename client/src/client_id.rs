//! Who this client is to brokers and name servers: its address, its id, its unique keys.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::ClientConfig;

/// Tells the clients of one process apart.
static CLIENTS: AtomicU32 = AtomicU32::new(0);

/// Clients and groups of which this process has a member: two members of one id would each take all
/// queues of their group.
static MEMBERS: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());

/// A client's name and address.
#[derive(Debug, Clone)]
pub(crate) struct ClientId {
    /// `address@instance@unit`. The instance is `process#time` and a number, different for every
    /// client, unless the application names it; the unit is there only if the application names one.
    /// `@STREAM` follows at a lite pull consumer, as in Java: its offset file is found by it.
    pub(crate) text: String,
    /// The address by which name servers see this machine.
    pub(crate) address: IpAddr,
    /// Number of the client within the process, and a little of the start time, so that two
    /// processes of one number do not make the same keys.
    pub(crate) instance: u32,
}

impl ClientId {
    /// The id of a new client that talks to `name_server`.
    pub(crate) fn new(name_server: Option<SocketAddr>, config: &ClientConfig) -> Self {
        let address = name_server
            .and_then(address_towards)
            .unwrap_or(Ipv4Addr::LOCALHOST.into());
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        let now_ms = config.clock.now_ms();
        let instance = (now_ms as u32).wrapping_shl(8).wrapping_add(number);
        let process = std::process::id();
        let made = || format!("{process}#{now_ms}{number:03}");
        let name = config.instance_name.clone().unwrap_or_else(made);
        let unit = config.unit_name.as_deref().filter(|unit| !unit.is_empty());
        let unit = unit.map(|unit| format!("@{unit}")).unwrap_or_default();
        let kind = if config.is_stream { "@STREAM" } else { "" };
        Self {
            text: format!("{address}@{name}{unit}{kind}"),
            address,
            instance,
        }
    }
}

/// A client's place in a group, of which it has only one.
#[derive(Debug)]
pub(crate) struct Membership {
    member: (String, String),
}

impl Membership {
    /// Enters a group; `None` if a client of the same id is in it.
    pub(crate) fn enter(client_id: &str, group: &str) -> Option<Self> {
        let member = (client_id.to_owned(), group.to_owned());
        let is_new = members().insert(member.clone());
        // Made only if it is ours: dropping it leaves the group.
        is_new.then(|| Self { member })
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        members().remove(&self.member);
    }
}

fn members() -> MutexGuard<'static, BTreeSet<(String, String)>> {
    MEMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The local address that a packet to `peer` would leave from; nothing is sent.
fn address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use thrustmq_proto_compat::clock::Clock;

    #[test]
    fn an_application_may_name_instance_and_unit() {
        let named = ClientConfig::new().instance_name("till-7");
        assert_eq!(ClientId::new(None, &named).text, "127.0.0.1@till-7");
        let in_unit = ClientId::new(None, &named.unit_name("east"));
        assert_eq!(in_unit.text, "127.0.0.1@till-7@east");
        let unit_only = ClientId::new(None, &ClientConfig::new().unit_name("east"));
        assert!(unit_only.text.ends_with("@east") && unit_only.text.contains('#'));
    }

    #[test]
    fn a_group_has_one_member_of_a_name() {
        let first = Membership::enter("till-7", "tills");
        assert!(first.is_some() && Membership::enter("till-7", "tills").is_none());
        assert!(Membership::enter("till-7", "others").is_some());
        assert!(Membership::enter("till-8", "tills").is_some());
        drop(first);
        assert!(Membership::enter("till-7", "tills").is_some());
    }

    #[test]
    fn two_clients_of_a_process_differ() {
        let config = ClientConfig::new().clock(Clock::by_hand(1_700_000_000_000));
        let name_server = Some("127.0.0.1:9876".parse().unwrap());
        let (first, second) = (
            ClientId::new(name_server, &config),
            ClientId::new(None, &config),
        );
        assert_ne!(first.text, second.text);
        assert_ne!(first.instance, second.instance);
        assert_eq!(first.address, IpAddr::from(Ipv4Addr::LOCALHOST));
        assert!(first.text.starts_with("127.0.0.1@"));
    }
}
