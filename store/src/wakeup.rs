//! How one thread of the store sleeps until others have work for it.
//!
//! Waking costs the notifier one load while the sleeper is awake anyway.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Duration;

/// Belongs to the one thread that waits on it.
#[derive(Debug, Default)]
pub(crate) struct Wakeup {
    asleep: AtomicBool,
    stopping: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Wakeup {
    /// Whether the thread has to be woken to see what was stored before.
    #[inline]
    pub(crate) fn is_needed(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed)
    }

    /// Wakes the thread if it sleeps. What it should see must have been stored before.
    #[inline]
    pub(crate) fn notify(&self) {
        if self.is_needed()
            && self.asleep.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.sleeper.get()
        {
            thread.unpark();
        }
    }

    /// Asks the thread to finish its work and end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.notify();
    }

    /// Whether the thread should end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Sleeps until notified, at most `timeout`; not at all if there is work already or it
    /// should end.
    pub(crate) fn wait(&self, timeout: Duration, has_work: impl Fn() -> bool) {
        let sleeper = self.sleeper.get_or_init(thread::current);
        debug_assert_eq!(sleeper.id(), thread::current().id(), "one thread a wake-up");
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `is_needed`: either we see its work, or it sees us asleep.
        fence(Ordering::SeqCst);
        if !has_work() && !self.is_stopping() {
            thread::park_timeout(timeout);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn no_notice_is_lost() {
        const ROUNDS: u32 = if cfg!(miri) { 50 } else { 20_000 };
        let wakeup = Arc::new(Wakeup::default());
        let posted = Arc::new(AtomicU32::new(0));
        let seen = Arc::new(AtomicU32::new(0));
        let worker = {
            let (wakeup, posted, seen) = (wakeup.clone(), posted.clone(), seen.clone());
            let work = move || {
                while seen.load(Ordering::Relaxed) < ROUNDS {
                    let now = posted.load(Ordering::Acquire);
                    if now == seen.load(Ordering::Relaxed) {
                        // A lost notice would make the test take hours.
                        wakeup.wait(Duration::from_secs(60), || {
                            posted.load(Ordering::Acquire) != now
                        });
                    } else {
                        seen.store(now, Ordering::Release);
                    }
                }
            };
            thread::Builder::new()
                .name("worker".into())
                .spawn(work)
                .unwrap()
        };
        for round in 1..=ROUNDS {
            posted.store(round, Ordering::Release);
            wakeup.notify();
            while round % 64 == 0 && seen.load(Ordering::Acquire) < round {
                std::hint::spin_loop();
            }
        }
        worker.join().unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), ROUNDS);
    }
}
