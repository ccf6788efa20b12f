//! When a thread that delivers has to wake: the time of the next message that is due.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug)]
struct State {
    due_ms: i64,
    stopped: bool,
}

/// Set by arrivals, waited for by one thread.
#[derive(Debug)]
pub(crate) struct Alarm {
    state: Mutex<State>,
    rung: Condvar,
}

impl Default for Alarm {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                due_ms: i64::MAX,
                stopped: false,
            }),
            rung: Condvar::new(),
        }
    }
}

impl Alarm {
    /// Wakes the waiting thread at `due_ms`, if it would wake later.
    pub(crate) fn set_before(&self, due_ms: i64) {
        let mut state = self.lock();
        if due_ms < state.due_ms {
            state.due_ms = due_ms;
            self.rung.notify_one();
        }
    }

    /// Forgets the time; arrivals from now on set it again.
    pub(crate) fn clear(&self) {
        self.lock().due_ms = i64::MAX;
    }

    /// Waits until the set time may have come, at most `wait_ms_max`; `now_ms` gives the time.
    pub(crate) fn wait(&self, now_ms: impl Fn() -> i64, wait_ms_max: i64) {
        let started_ms = now_ms();
        let mut state = self.lock();
        while !state.stopped {
            let now_ms = now_ms();
            let until_ms = state.due_ms.min(started_ms.saturating_add(wait_ms_max));
            let left_ms = until_ms.saturating_sub(now_ms);
            if left_ms <= 0 {
                return;
            }
            let left = Duration::from_millis(left_ms.unsigned_abs());
            let woken = self.rung.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends all waiting for good.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.rung.notify_all();
    }

    /// Whether waiting has ended for good.
    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::Builder;

    use thrustmq_proto_compat::clock::Clock;

    use super::*;

    #[test]
    fn an_arrival_that_is_due_ends_the_wait() {
        let alarm = Arc::new(Alarm::default());
        let clock = Clock::system();
        let waiting = {
            let (alarm, clock) = (Arc::clone(&alarm), clock.clone());
            let wait = move || {
                alarm.wait(|| clock.now_ms(), 60_000);
                clock.now_ms()
            };
            Builder::new().name("waits".into()).spawn(wait).unwrap()
        };
        let due_ms = clock.now_ms() + 50;
        alarm.set_before(due_ms);
        alarm.set_before(due_ms + 60_000);
        let woken_ms = waiting.join().unwrap();
        assert!(woken_ms >= due_ms && woken_ms < due_ms + 30_000);
    }

    #[test]
    fn stop_ends_the_wait() {
        let alarm = Alarm::default();
        alarm.stop();
        alarm.wait(|| 0, 60_000);
        assert!(alarm.is_stopped());
    }
}
