//! Which sends are let in and how long they may wait: by what appends to the log take at the moment,
//! not by a clock in the queue alone.
//!
//! A wait that slow appends do not explain (a process that was stopped, a busy processor) will be over
//! when the processor is back, and costs less than a refusal: so it is refused only when the sender
//! has given up anyway. Bytes in flight are the pool's affair (`Pools::apply_limits`).
//!
//! Slowness counts only once several looks in a row have found it: a single slow append, a clock that
//! was set or a stop in the middle of an append is over by then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use thrustmq_remoting::{Admission, Overdue, OverdueReason, QueueLook};
use thrustmq_store::{AppendLatency, Store};

use crate::config::{BrokerConfig, LiveConfig};

/// Clients wait this long for the answer to a send, unless they are told otherwise.
const SENDER_WAIT_MS: i64 = 3_000;
/// So many looks in a row must find appends slow. Two servers look, each every 10 ms when it matters.
const SLOW_LOOKS_MIN: u32 = 4;

/// Decides on the requests of the send pool.
#[derive(Debug)]
pub(crate) struct SendAdmission {
    store: Arc<Store>,
    config: LiveConfig,
    slow_looks: AtomicU32,
    /// Whether the last look found that new sends must not come in, and how many waited then.
    is_refusing: AtomicBool,
    queued: AtomicUsize,
}

/// What keeps sends from being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slowness {
    /// An append takes longer than `osPageCacheBusyTimeOutMills`.
    PageCacheBusy,
    /// What waits will take longer than sends may wait.
    Appends,
}

impl SendAdmission {
    pub(crate) fn new(store: Arc<Store>, config: LiveConfig) -> Self {
        Self {
            store,
            config,
            slow_looks: AtomicU32::new(0),
            is_refusing: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
        }
    }

    /// What this look finds, if those before it found something as well.
    fn steady_slowness(&self, found: Option<Slowness>) -> Option<Slowness> {
        if found.is_none() {
            self.slow_looks.store(0, Ordering::Relaxed);
            return None;
        }
        let looks = self.slow_looks.load(Ordering::Relaxed).saturating_add(1);
        self.slow_looks.store(looks, Ordering::Relaxed);
        found.filter(|_| looks >= SLOW_LOOKS_MIN)
    }
}

impl Admission for SendAdmission {
    fn refuses_new(&self) -> Option<String> {
        if !self.is_refusing.load(Ordering::Relaxed) {
            return None;
        }
        let queued = self.queued.load(Ordering::Relaxed);
        Some(appends_text(self.store.append_latency(), queued))
    }

    fn overdue(&self, queue: QueueLook) -> Option<Overdue> {
        let config = self.config.current();
        let latency = self.store.append_latency();
        let slowness = self.steady_slowness(judge(&config, latency, queue.queued));
        self.queued.store(queue.queued, Ordering::Relaxed);
        self.is_refusing
            .store(slowness.is_some(), Ordering::Relaxed);
        overdue(&config, latency, queue.queued, slowness)
    }
}

fn judge(config: &BrokerConfig, latency: AppendLatency, queued: usize) -> Option<Slowness> {
    let slowest_ms = latency.in_progress_ms.max(latency.average_us / 1_000);
    if slowest_ms > config.log_busy_ms_max {
        return Some(Slowness::PageCacheBusy);
    }
    let wait_ms_max = config.send_queue_wait_ms_max;
    let is_slow =
        latency.in_progress_ms > wait_ms_max || expected_wait_ms(latency, queued) > wait_ms_max;
    (config.fast_failure && is_slow).then_some(Slowness::Appends)
}

/// How long a send that came now would wait: the log takes one after the other, whatever the number of
/// threads.
fn expected_wait_ms(latency: AppendLatency, queued: usize) -> i64 {
    let appends = i64::try_from(queued).unwrap_or(i64::MAX);
    appends.saturating_mul(latency.average_us) / 1_000
}

fn overdue(
    config: &BrokerConfig,
    latency: AppendLatency,
    queued: usize,
    slowness: Option<Slowness>,
) -> Option<Overdue> {
    if !config.fast_failure {
        return None;
    }
    let wait_ms_max = config.send_queue_wait_ms_max;
    let (reason, wait_ms_max, cause) = match slowness {
        Some(Slowness::PageCacheBusy) => (
            OverdueReason::PageCacheBusy,
            0,
            appends_text(latency, queued),
        ),
        Some(Slowness::Appends) => (
            OverdueReason::TimedOut,
            wait_ms_max,
            appends_text(latency, queued),
        ),
        None => (
            OverdueReason::TimedOut,
            wait_ms_max.max(SENDER_WAIT_MS),
            given_up_text(latency),
        ),
    };
    Some(Overdue {
        wait_max: Duration::from_millis(wait_ms_max.unsigned_abs()),
        reason,
        cause,
    })
}

fn appends_text(latency: AppendLatency, queued: usize) -> String {
    format!(
        "the disk of the commit log is slow: an append takes {} ms, \
         the one under way has taken {} ms, {queued} sends wait",
        average_text(latency),
        latency.in_progress_ms
    )
}

fn given_up_text(latency: AppendLatency) -> String {
    format!(
        "a sender waits {SENDER_WAIT_MS} ms and has given up; an append takes {} ms, \
         so not the disk but the broker's processor is busy",
        average_text(latency)
    )
}

/// Milliseconds with two digits behind the point.
fn average_text(latency: AppendLatency) -> String {
    let (ms, us) = (latency.average_us / 1_000, latency.average_us % 1_000);
    format!("{ms}.{:02}", us / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(average_us: i64, in_progress_ms: i64) -> AppendLatency {
        AppendLatency {
            average_us,
            in_progress_ms,
        }
    }

    #[test]
    fn only_slow_appends_make_sends_wait_too_long() {
        let config = BrokerConfig::default();
        let found = |average_us, in_progress_ms, queued| {
            judge(&config, latency(average_us, in_progress_ms), queued)
        };
        assert_eq!(found(0, 0, 10_000), None, "a full queue of fast appends");
        assert_eq!(found(15, 0, 10_000), None);
        assert_eq!(found(25, 0, 10_000), Some(Slowness::Appends));
        assert_eq!(found(10_000, 0, 20), None, "200 ms");
        assert_eq!(found(10_000, 0, 21), Some(Slowness::Appends));
        assert_eq!(found(900_000, 0, 0), None, "nobody waits");
        assert_eq!(found(0, 200, 0), None);
        assert_eq!(found(0, 201, 0), Some(Slowness::Appends));
        assert_eq!(found(0, 1_001, 0), Some(Slowness::PageCacheBusy));
        assert_eq!(found(1_001_000, 0, 0), Some(Slowness::PageCacheBusy));
        let patient = BrokerConfig {
            fast_failure: false,
            ..BrokerConfig::default()
        };
        assert_eq!(judge(&patient, latency(10_000, 0), 9_000), None);
        // As in Java a busy page cache keeps new sends out all the same.
        let busy = judge(&patient, latency(0, 1_001), 0);
        assert_eq!(busy, Some(Slowness::PageCacheBusy));
    }

    #[test]
    fn each_cause_has_its_wait_and_java_s_mark() {
        let config = BrokerConfig::default();
        let of = |slowness| {
            let overdue = overdue(&config, latency(12_345, 7), 40, slowness).unwrap();
            (overdue.reason, overdue.wait_max.as_millis(), overdue.cause)
        };
        let slow = "the disk of the commit log is slow: an append takes 12.34 ms, \
                    the one under way has taken 7 ms, 40 sends wait";
        assert_eq!(
            of(Some(Slowness::PageCacheBusy)),
            (OverdueReason::PageCacheBusy, 0, slow.to_owned())
        );
        assert_eq!(
            of(Some(Slowness::Appends)),
            (OverdueReason::TimedOut, 200, slow.to_owned())
        );
        let (reason, wait_ms, cause) = of(None);
        assert_eq!((reason, wait_ms), (OverdueReason::TimedOut, 3_000));
        assert!(cause.starts_with("a sender waits 3000 ms and has given up"));
        let patient = BrokerConfig {
            fast_failure: false,
            ..BrokerConfig::default()
        };
        let slowness = Some(Slowness::PageCacheBusy);
        assert_eq!(overdue(&patient, latency(0, 0), 0, slowness), None);
    }
}
