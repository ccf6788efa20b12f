//! CPU time of another process, as Linux counts it.

use std::fs;

use anyhow::{Context, anyhow};

/// Linux shows times in ticks of 10 ms, whatever the kernel was built with.
const TICK_US: u64 = 10_000;
/// Fields of user and system time, counted after the command's name.
const USER_AT: usize = 11;

/// User and system time that a process has used so far, in microseconds.
pub(super) fn cpu_us(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("--pid {pid}: {path}"))?;
    parse(&text).ok_or_else(|| anyhow!("--pid {pid}: {path} is not as expected"))
}

fn parse(stat: &str) -> Option<u64> {
    // The name stands in brackets and may hold blanks and brackets itself.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields
        .split_whitespace()
        .skip(USER_AT)
        .map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(ticks * TICK_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(parse(stat), Some(3_000_000));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn our_own_process_can_be_read() {
        assert!(cpu_us(std::process::id()).is_ok());
    }
}
