//! CPU time and memory of processes, as Linux counts them.

use std::fs;
use std::process;

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

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// What it has for itself, without maps of files.
    pub(super) anonymous: u64,
    /// With maps of files.
    pub(super) resident: u64,
    /// The most that was resident since it started.
    pub(super) resident_peak: u64,
}

/// What a process holds now.
pub(super) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("--pid {pid}: {path}"))?;
    Ok(parse_memory(&text))
}

fn parse_memory(status: &str) -> Memory {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    };
    Memory {
        anonymous: bytes("RssAnon:").unwrap_or_default(),
        resident: bytes("VmRSS:").unwrap_or_default(),
        resident_peak: bytes("VmHWM:").unwrap_or_default(),
    }
}

/// What a server, if its process is known, and this process use while it is measured.
#[derive(Debug)]
pub(super) struct Usage {
    pid: Option<u32>,
    begun: Option<CpuTimes>,
    /// CPU time in microseconds.
    pub(super) server_cpu_us: Option<u64>,
    pub(super) generator_cpu_us: Option<u64>,
    /// At the last look.
    pub(super) memory: Option<Memory>,
    pub(super) anonymous_peak: Option<u64>,
    /// Before the run.
    pub(super) anonymous_before: Option<u64>,
}

impl Usage {
    /// Of nothing yet.
    ///
    /// # Errors
    /// There is no such process.
    pub(super) fn new(pid: Option<u32>) -> anyhow::Result<Self> {
        let memory = pid.map(memory).transpose()?;
        Ok(Self {
            pid,
            begun: None,
            server_cpu_us: None,
            generator_cpu_us: None,
            memory,
            anonymous_peak: memory.map(|memory| memory.anonymous),
            anonymous_before: memory.map(|memory| memory.anonymous),
        })
    }

    /// From here on, if it has not begun.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        if self.begun.is_none() {
            self.begun = Some(CpuTimes::now(self.pid)?);
        }
        Ok(())
    }

    /// To here.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        self.begin()?;
        let now = CpuTimes::now(self.pid)?;
        let begun = self.begun.as_ref();
        let since = |after: Option<u64>, before: Option<u64>| Some(after?.saturating_sub(before?));
        self.server_cpu_us = since(now.server, begun.and_then(|times| times.server));
        self.generator_cpu_us = since(now.generator, begun.and_then(|times| times.generator));
        self.look();
        Ok(())
    }

    /// Notes the memory; a server that has ended keeps what it had.
    pub(super) fn look(&mut self) {
        let Some(Ok(memory)) = self.pid.map(memory) else {
            return;
        };
        self.anonymous_peak = self.anonymous_peak.max(Some(memory.anonymous));
        self.memory = Some(memory);
    }
}

/// CPU time in microseconds, of those processes where it can be read.
#[derive(Debug)]
struct CpuTimes {
    server: Option<u64>,
    generator: Option<u64>,
}

impl CpuTimes {
    fn now(pid: Option<u32>) -> anyhow::Result<Self> {
        Ok(Self {
            server: pid.map(cpu_us).transpose()?,
            generator: cpu_us(process::id()).ok(),
        })
    }
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
    fn memory_is_in_bytes() {
        let status = "Name:\ta\nVmHWM:\t    30 kB\nVmRSS:\t  20 kB\nRssAnon:\t 7 kB\n";
        let memory = parse_memory(status);
        let expected = Memory {
            anonymous: 7 * 1024,
            resident: 20 * 1024,
            resident_peak: 30 * 1024,
        };
        assert_eq!(memory, expected);
    }

    #[test]
    fn our_own_process_can_be_read() {
        let mut usage = Usage::new(Some(process::id())).unwrap();
        usage.begin().unwrap();
        usage.end().unwrap();
        assert_eq!(
            usage.server_cpu_us.is_some(),
            usage.generator_cpu_us.is_some()
        );
        assert!(usage.anonymous_peak >= usage.memory.map(|memory| memory.anonymous));
        assert!(memory(process::id()).unwrap().anonymous > 0);
    }
}
