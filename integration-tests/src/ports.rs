//! Ports that are free now and that no other test of this process is given.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range that systems take outgoing ports from (32768 and up on Linux), so that no client takes one.
const FIRST: u32 = 12_000;
const LAST: u32 = 32_000;
/// A broker needs its port, the one two below (fast port) and the one above (replication).
const STEP: u32 = 5;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A port whose neighbours from two below to one above are free as well.
pub fn free_port() -> anyhow::Result<u16> {
    let blocks = (LAST - FIRST) / STEP;
    let first_block = process::id().wrapping_mul(97) % blocks;
    for _ in 0..blocks {
        let block = (first_block + TAKEN.fetch_add(1, Ordering::Relaxed)) % blocks;
        let port = u16::try_from(FIRST + block * STEP + 2)?;
        if (port - 2..=port + 1).all(is_free) {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port between {FIRST} and {LAST}")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("0.0.0.0", port)).is_ok()
}
