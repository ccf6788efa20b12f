//! The calls of one connection that wait for their answers, by opaque.
//!
//! Invariant: each call that was begun ends exactly once: by its answer, its deadline, its caller's
//! forgetting, or the end of the connection.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thrustmq_proto_compat::command::Command;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::callbacks::{Callback, Callbacks, Finished, Outcome, Permit};
use crate::error::CallError;
use crate::integer_hash::IntegerMap;

/// Who waits.
pub(crate) enum Done {
    /// A future, which watches its time itself.
    Future(oneshot::Sender<Outcome>),
    /// A callback, whose time the sweep watches.
    Callback(Callback),
}

struct Waiting {
    done: Done,
    deadline: Instant,
    timeout_ms: u64,
    permit: Permit,
}

/// The table of one connection.
pub(crate) struct Pending {
    table: Mutex<Table>,
    in_flight: Arc<AtomicUsize>,
    in_flight_max: usize,
    next_opaque: AtomicI32,
    callbacks: Arc<Callbacks>,
}

#[derive(Default)]
struct Table {
    waiting: IntegerMap<i32, Waiting>,
    closed: bool,
}

impl Pending {
    pub(crate) fn new(in_flight_max: usize, callbacks: Arc<Callbacks>) -> Self {
        Self {
            table: Mutex::default(),
            in_flight: Arc::default(),
            in_flight_max,
            next_opaque: AtomicI32::new(0),
            callbacks,
        }
    }

    /// The number for a request that nobody waits for.
    pub(crate) fn next_opaque(&self) -> i32 {
        self.next_opaque.fetch_add(1, Ordering::Relaxed)
    }

    /// Enters a call and returns its opaque. A refused call gives `done` back.
    pub(crate) fn begin(&self, done: Done, timeout: Duration) -> Result<i32, (CallError, Done)> {
        let Some(permit) = self.permit() else {
            let limit = self.in_flight_max;
            return Err((CallError::TooManyInFlight { limit }, done));
        };
        let opaque = self.next_opaque();
        let waiting = Waiting {
            done,
            deadline: deadline_after(timeout),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            permit,
        };
        let mut table = self.lock();
        if table.closed {
            return Err((CallError::Closed, waiting.done));
        }
        table.waiting.insert(opaque, waiting);
        Ok(opaque)
    }

    /// Ends the call that `answer` belongs to; `false` if there is none (any more). A callback is put
    /// into `finished`, so that those of one read are given to the callback threads together.
    pub(crate) fn complete(&self, answer: Command, finished: &mut Vec<Finished>) -> bool {
        let Some(waiting) = self.remove(answer.opaque) else {
            return false;
        };
        finished.extend(waiting.end(Ok(answer)));
        true
    }

    /// Hands `finished` to the callback threads.
    pub(crate) fn call_back_all(&self, finished: &mut Vec<Finished>) {
        self.callbacks.run_all(finished);
    }

    /// Ends a call that could not be sent.
    pub(crate) fn fail(&self, opaque: i32, error: CallError) {
        if let Some(waiting) = self.remove(opaque) {
            self.end(waiting, Err(error));
        }
    }

    /// Ends a call whose caller is gone.
    pub(crate) fn forget(&self, opaque: i32) {
        self.remove(opaque);
    }

    /// Ends the calls whose time is over.
    pub(crate) fn expire(&self, now: Instant, addr: impl Fn() -> String) {
        let is_over = |_: &i32, waiting: &mut Waiting| waiting.deadline <= now;
        let over: Vec<_> = self.lock().waiting.extract_if(is_over).collect();
        for (_, waiting) in over {
            let (addr, ms) = (addr(), waiting.timeout_ms);
            self.end(waiting, Err(CallError::Timeout { addr, ms }));
        }
    }

    /// Ends all calls: the connection is closed.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        let waiting = std::mem::take(&mut table.waiting);
        drop(table);
        for waiting in waiting.into_values() {
            self.end(waiting, Err(CallError::Closed));
        }
    }

    /// Calls in flight, those included whose callback has not run yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Gives the callback of a call that never began its outcome, on a callback thread.
    pub(crate) fn call_back(&self, callback: Callback, outcome: Outcome) {
        self.callbacks.run(Finished {
            callback,
            outcome,
            permit: None,
        });
    }

    fn end(&self, waiting: Waiting, outcome: Outcome) {
        if let Some(finished) = waiting.end(outcome) {
            self.callbacks.run(finished);
        }
    }

    fn permit(&self) -> Option<Permit> {
        Permit::take(&self.in_flight, self.in_flight_max)
    }

    fn remove(&self, opaque: i32) -> Option<Waiting> {
        self.lock().waiting.remove(&opaque)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a time that begins now; that of an endless one is far away.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    Instant::now() + timeout.min(FAR)
}

impl Waiting {
    /// Tells a future; a callback is left to the callback threads.
    fn end(self, outcome: Outcome) -> Option<Finished> {
        match self.done {
            Done::Future(tell) => {
                // A caller that is gone needs no outcome.
                let _ = tell.send(outcome);
                None
            }
            Done::Callback(callback) => Some(Finished {
                callback,
                outcome,
                permit: Some(self.permit),
            }),
        }
    }
}
