//! Who this client is to brokers and name servers: its address, its id, its unique keys.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use thrustmq_proto_compat::clock::Clock;

/// Tells the clients of one process apart.
static CLIENTS: AtomicU32 = AtomicU32::new(0);

/// A client's name and address.
#[derive(Debug, Clone)]
pub(crate) struct ClientId {
    /// `address@process#instance`, different for every client.
    pub(crate) text: String,
    /// The address by which name servers see this machine.
    pub(crate) address: IpAddr,
    /// Number of the client within the process, and a little of the start time, so that two
    /// processes of one number do not make the same keys.
    pub(crate) instance: u32,
}

impl ClientId {
    /// The id of a new client that talks to `name_server`.
    pub(crate) fn new(name_server: Option<SocketAddr>, clock: &Clock) -> Self {
        let address = name_server
            .and_then(address_towards)
            .unwrap_or(Ipv4Addr::LOCALHOST.into());
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        let now_ms = clock.now_ms();
        let instance = (now_ms as u32).wrapping_shl(8).wrapping_add(number);
        let process = std::process::id();
        Self {
            text: format!("{address}@{process}#{now_ms}{number:03}"),
            address,
            instance,
        }
    }
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

    #[test]
    fn two_clients_of_a_process_differ() {
        let clock = Clock::by_hand(1_700_000_000_000);
        let name_server = Some("127.0.0.1:9876".parse().unwrap());
        let (first, second) = (
            ClientId::new(name_server, &clock),
            ClientId::new(None, &clock),
        );
        assert_ne!(first.text, second.text);
        assert_ne!(first.instance, second.instance);
        assert_eq!(first.address, IpAddr::from(Ipv4Addr::LOCALHOST));
        assert!(first.text.starts_with("127.0.0.1@"));
    }
}
