//! When a connection's requests are sent: as soon as there is room (closed loop), or at a rate,
//! however fast the broker answers (open loop). No clock is read here.
//!
//! At a rate, a request's time counts from when it was due, not from when it left: a stall makes all
//! requests late that would have been sent meanwhile, and the percentiles show it.

use std::time::Duration;

use tokio::time::Instant;

use super::schedule::Schedule;

/// A broker that is so far behind the rate does not catch up: what is due still is given up.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// A request that may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Its time counts from here.
    pub(super) at: Instant,
    pub(super) is_measured: bool,
}

/// The pace of one connection.
#[derive(Debug, Clone)]
pub(super) enum Pace {
    Closed(Closed),
    Open(Open),
}

/// As fast as answers come.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    pub(super) measured_from: Instant,
    pub(super) end: End,
}

/// When a closed loop ends.
#[derive(Debug, Clone)]
pub(super) enum End {
    At(Instant),
    /// After so many measured requests.
    Requests(u64),
}

/// Every `step`th request of a schedule.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) schedule: Schedule,
    pub(super) next: u64,
    pub(super) step: u64,
}

impl Pace {
    /// The request to send now, if there is one.
    pub(super) fn next(&mut self, now: Instant) -> Option<Due> {
        match self {
            Self::Closed(closed) => closed.next(now),
            Self::Open(open) => open.next(now),
        }
    }

    /// Whether nothing will be sent any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Closed(closed) => closed.is_over(now),
            Self::Open(open) => open.next >= open.schedule.total(),
        }
    }

    /// How long until the next request is due; `None`: an answer has to come first.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Open(open) if !self.is_over(now) => {
                Some(open.schedule.wait(open.next, now).unwrap_or_default())
            }
            Self::Open(_) | Self::Closed(_) => None,
        }
    }

    /// Ends what can not be caught up with; how many requests that are.
    pub(super) fn give_up(&mut self, now: Instant) -> u64 {
        match self {
            Self::Open(open) => open.give_up(now),
            Self::Closed(_) => 0,
        }
    }

    /// Whether requests are sent one by one, as they become due.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }
}

impl Closed {
    fn next(&mut self, now: Instant) -> Option<Due> {
        if self.is_over(now) {
            return None;
        }
        let is_measured = now >= self.measured_from;
        if let (End::Requests(left), true) = (&mut self.end, is_measured) {
            *left -= 1;
        }
        Some(Due {
            at: now,
            is_measured,
        })
    }

    fn is_over(&self, now: Instant) -> bool {
        match self.end {
            End::At(end) => now >= end,
            End::Requests(left) => left == 0,
        }
    }
}

impl Open {
    fn next(&mut self, now: Instant) -> Option<Due> {
        let is_due =
            self.next < self.schedule.total() && self.schedule.wait(self.next, now).is_none();
        is_due.then(|| {
            let due = Due {
                at: now - self.schedule.since_due(self.next, now),
                is_measured: self.schedule.is_measured(self.next),
            };
            self.next += self.step.max(1);
            due
        })
    }

    fn give_up(&mut self, now: Instant) -> u64 {
        let total = self.schedule.total();
        let left = total.saturating_sub(self.next).div_ceil(self.step.max(1));
        let last = total.saturating_sub(1);
        if left == 0 || self.schedule.since_due(last, now) < BEHIND_MAX {
            return 0;
        }
        self.next = total;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_closed_loop_sends_at_once_until_its_end() {
        let start = Instant::now();
        let mut pace = Pace::Closed(Closed {
            measured_from: start + millis(10),
            end: End::At(start + millis(20)),
        });
        for (ms, is_measured) in [(0, false), (10, true), (19, true)] {
            let at = start + millis(ms);
            assert_eq!(pace.next(at), Some(Due { at, is_measured }));
        }
        assert_eq!(
            (pace.next(start + millis(20)), pace.wait(start)),
            (None, None)
        );
        assert!(pace.is_over(start + millis(20)) && !pace.is_over(start));
    }

    #[test]
    fn a_number_of_requests_is_counted_after_the_warm_up() {
        let start = Instant::now();
        let mut pace = Pace::Closed(Closed {
            measured_from: start + millis(10),
            end: End::Requests(2),
        });
        let sent = [0, 5, 10, 11, 12].map(|ms| pace.next(start + millis(ms)));
        let measured = sent.map(|due| due.map(|due| due.is_measured));
        let expected = [Some(false), Some(false), Some(true), Some(true), None];
        assert_eq!(measured, expected);
    }

    /// Two connections share 1,000 a second; the broker stalls for 100 ms from 50 ms on.
    #[test]
    fn a_stall_makes_all_late_that_were_due_meanwhile() {
        let start = Instant::now();
        let open = |next| {
            Pace::Open(Open {
                schedule: Schedule::new(start, 1_000, 0, 1),
                next,
                step: 2,
            })
        };
        let mut latencies = Vec::new();
        for mut pace in [open(0), open(1)] {
            for ms in (0..2_000).filter(|ms| !(50..150).contains(ms)) {
                let now = start + millis(ms);
                while let Some(due) = pace.next(now) {
                    latencies.push(now.duration_since(due.at).as_millis());
                }
            }
            assert!(pace.is_over(start));
        }
        latencies.sort_unstable();
        assert_eq!(latencies.len(), 1_000);
        assert_eq!(
            (latencies[899], latencies[900], latencies[999]),
            (0, 1, 100)
        );
    }

    #[test]
    fn what_can_not_be_caught_up_with_is_given_up() {
        let start = Instant::now();
        let mut pace = Pace::Open(Open {
            schedule: Schedule::new(start, 10, 0, 1),
            next: 1,
            step: 4,
        });
        assert_eq!(pace.wait(start + millis(40)), Some(millis(60)));
        assert!(pace.next(start + millis(100)).is_some());
        assert_eq!(pace.give_up(start + millis(10_800)), 0);
        assert_eq!(pace.give_up(start + millis(10_900)), 2);
        assert!(pace.is_over(start));
    }
}
