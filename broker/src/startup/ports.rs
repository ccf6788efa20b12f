//! The addresses of a broker: the two that it listens on, and the one that it tells.

use std::io;
use std::net::SocketAddr;

use super::StartError;
use crate::config::BrokerConfig;

/// The fast port lies this far below the main port.
const FAST_PORT_BELOW: u16 = 2;
/// Attempts to find two free ports that lie so, where any will do.
const FREE_PORT_ATTEMPTS: usize = 20;

/// The two addresses to listen on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening {
    pub(super) main: SocketAddr,
    pub(super) fast: SocketAddr,
}

/// With port 0: two free ports that lie as the protocol wants them.
pub(super) fn reserve_ports(config: &BrokerConfig) -> Result<Listening, StartError> {
    let refused = |port: u16, cause: io::Error| StartError::Listen {
        address: format!("{}:{port}", config.bind_address),
        cause,
    };
    let ip = config.bind_address.parse().map_err(|_| {
        refused(
            config.listen_port,
            io::Error::new(io::ErrorKind::InvalidInput, "not an IP address"),
        )
    })?;
    let pair = |port: u16| {
        let fast = port.checked_sub(FAST_PORT_BELOW).filter(|fast| *fast > 0)?;
        Some(Listening {
            main: SocketAddr::new(ip, port),
            fast: SocketAddr::new(ip, fast),
        })
    };
    if config.listen_port != 0 {
        let no_room = || io::Error::new(io::ErrorKind::InvalidInput, "no port two below it");
        return pair(config.listen_port).ok_or_else(|| refused(config.listen_port, no_room()));
    }
    let free_pair = || {
        let listener = std::net::TcpListener::bind((ip, 0)).ok()?;
        let pair = pair(listener.local_addr().ok()?.port())?;
        std::net::TcpListener::bind(pair.fast).ok().map(|_| pair)
    };
    let found = (0..FREE_PORT_ATTEMPTS).find_map(|_| free_pair());
    found.ok_or_else(|| refused(0, io::ErrorKind::AddrInUse.into()))
}

/// The address that records carry.
pub(super) async fn resolve(address: &str) -> Result<SocketAddr, StartError> {
    let failed = |cause| StartError::Address {
        address: address.to_owned(),
        cause,
    };
    let mut found = tokio::net::lookup_host(address).await.map_err(failed)?;
    found
        .next()
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}
