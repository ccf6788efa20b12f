//! How many bytes of requests may be in flight at a time: queued, handled, or parked until something
//! else comes about.
//!
//! Invariant: what a request takes it gives back once, when the guard that it was given is dropped. The
//! guard lies in the request's responder, so no way of ending a request can forget it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that requests of one pool hold, and how many they may.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    in_flight: AtomicUsize,
    bytes_max: AtomicUsize,
}

/// There is no room for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BudgetSpent {
    /// What other requests hold.
    pub(crate) in_flight_bytes: usize,
    pub(crate) bytes_max: usize,
}

impl ByteBudget {
    /// A budget without a limit: nothing is counted.
    pub(crate) fn unlimited() -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicUsize::new(0),
            bytes_max: AtomicUsize::new(usize::MAX),
        })
    }

    /// Counts the requests that come from now on; `None`: counts none.
    pub(crate) fn set_bytes_max(&self, bytes_max: Option<usize>) {
        let bytes_max = bytes_max.unwrap_or(usize::MAX);
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes so many bytes; nothing is held where there is no limit. A request that is larger than the
    /// limit passes alone: otherwise it never could.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Option<HeldBytes>, BudgetSpent> {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        if bytes_max == usize::MAX {
            return Ok(None);
        }
        let before = self.in_flight.fetch_add(bytes, Ordering::Relaxed);
        let held = HeldBytes {
            budget: Arc::clone(self),
            bytes,
        };
        if before > 0 && before.saturating_add(bytes) > bytes_max {
            return Err(BudgetSpent {
                in_flight_bytes: before,
                bytes_max,
            });
        }
        Ok(Some(held))
    }
}

/// Bytes that a request holds until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.budget
            .in_flight
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_holds_nothing() {
        let budget = ByteBudget::unlimited();
        assert!(budget.take(1_000).unwrap().is_none());
        budget.set_bytes_max(Some(100));
        let first = budget.take(60).unwrap();
        let spent = budget.take(41).unwrap_err();
        assert_eq!((spent.in_flight_bytes, spent.bytes_max), (60, 100));
        assert_eq!(budget.in_flight(), 60);
        let second = budget.take(40).unwrap();
        assert_eq!(budget.in_flight(), 100);
        drop(first);
        assert_eq!(budget.in_flight(), 40);
        // What was counted is given back though nothing is counted any more.
        budget.set_bytes_max(None);
        drop(second);
        assert_eq!(budget.in_flight(), 0);
    }

    #[test]
    fn a_request_above_the_limit_passes_alone() {
        let budget = ByteBudget::unlimited();
        budget.set_bytes_max(Some(100));
        let large = budget.take(500).unwrap();
        assert!(budget.take(1).is_err());
        drop(large);
        assert!(budget.take(1).unwrap().is_some());
    }
}
