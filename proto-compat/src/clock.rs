//! The one place that reads the system clock.
//!
//! Everything that needs the time takes a [`Clock`], so that tests can move it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where "now" comes from: the system, or a test's hand.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    by_hand: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The wall clock of this machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `start_ms` until [`Clock::advance_ms`] moves it.
    pub fn by_hand(start_ms: i64) -> Self {
        Self {
            by_hand: Some(Arc::new(AtomicI64::new(start_ms))),
        }
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn now_ms(&self) -> i64 {
        match &self.by_hand {
            Some(now_ms) => now_ms.load(Ordering::Relaxed),
            None => system_now_ms(),
        }
    }

    /// Moves a clock made by [`Clock::by_hand`]; the system's clock is not ours to move.
    pub fn advance_ms(&self, by_ms: i64) {
        if let Some(now_ms) = &self.by_hand {
            now_ms.fetch_add(by_ms, Ordering::Relaxed);
        }
    }
}

#[allow(clippy::disallowed_methods)] // the reason for this module
fn system_now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_by_hand_moves_for_all_who_hold_it() {
        let clock = Clock::by_hand(100);
        let held = clock.clone();
        clock.advance_ms(5);
        assert_eq!(held.now_ms(), 105);
    }

    #[test]
    fn the_system_s_clock_is_not_moved() {
        let clock = Clock::system();
        let before_ms = clock.now_ms();
        clock.advance_ms(1_000_000_000);
        let passed_ms = clock.now_ms() - before_ms;
        assert!((0..1_000_000).contains(&passed_ms), "{passed_ms}");
    }
}
