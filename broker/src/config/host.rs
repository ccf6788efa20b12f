//! What this machine is called, where it is reached and what it has, as defaults of the configuration.

use std::net::{IpAddr, UdpSocket};
use std::thread::available_parallelism;

/// The machine's name; Java's `DEFAULT_BROKER` where it has none.
pub(super) fn name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let environment = std::env::var("HOSTNAME").ok();
    [kernel, environment]
        .into_iter()
        .flatten()
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "DEFAULT_BROKER".to_owned())
}

/// The address that other machines see: the source of a packet to the outside.
pub(super) fn address() -> String {
    outgoing_address().map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())
}

/// Processors that this process may use.
pub(super) fn processors() -> usize {
    available_parallelism().map_or(1, |n| n.get())
}

/// `store` in the home directory.
pub(super) fn default_root_dir() -> String {
    let home = std::env::var("HOME").unwrap_or_else(|_| ".".to_owned());
    format!("{home}/store")
}

/// A variable of the environment, if it says something.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Connecting a datagram socket sends nothing; it only chooses the route.
fn outgoing_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_a_name_and_an_address() {
        assert!(!super::name().contains(char::is_whitespace));
        assert!(super::address().parse::<std::net::IpAddr>().is_ok());
    }
}
