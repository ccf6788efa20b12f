//! The threads that run the callbacks of calls, so that none runs on an I/O task.
//!
//! Their queue has no limit of its own: each callback in it holds its call's permit until it has run,
//! so it is bounded by the calls that may be in flight.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};

use thrustmq_proto_compat::command::Command;

use crate::error::CallError;
use crate::queue::JobQueue;
use crate::worker;

const THREADS: usize = 4;

/// How a call ended.
pub(crate) type Outcome = Result<Command, CallError>;

/// What a caller wants to be done with it.
pub(crate) type Callback = Box<dyn FnOnce(Outcome) + Send>;

/// One of the calls that may be in flight; given back when dropped.
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Permit {
    pub(crate) fn take(in_flight: &Arc<AtomicUsize>, in_flight_max: usize) -> Option<Self> {
        let permit = Self(Arc::clone(in_flight));
        let before = in_flight.fetch_add(1, Ordering::Relaxed);
        (before < in_flight_max).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A callback and what it is to be called with.
pub(crate) struct Finished {
    pub(crate) callback: Callback,
    pub(crate) outcome: Outcome,
    /// Absent if the call was refused before it was sent.
    pub(crate) permit: Option<Permit>,
}

/// The callback threads of one server or client. They start with the first callback.
pub(crate) struct Callbacks {
    queue: Arc<JobQueue<Finished>>,
    started: Once,
}

impl Callbacks {
    pub(crate) fn new() -> Self {
        Self {
            queue: Arc::new(JobQueue::new(usize::MAX)),
            started: Once::new(),
        }
    }

    pub(crate) fn run(&self, finished: Finished) {
        self.run_all(&mut vec![finished]);
    }

    /// Runs all of `finished` and leaves it empty.
    pub(crate) fn run_all(&self, finished: &mut Vec<Finished>) {
        if finished.is_empty() {
            return;
        }
        self.started.call_once(|| {
            worker::start("callback", THREADS, &self.queue, run_one);
        });
        // It has room for all, and closes only when the last that could get here is gone.
        self.queue.push_all(finished);
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn run_one(finished: Finished) {
    let Finished {
        callback,
        outcome,
        permit,
    } = finished;
    if let Err(panic) = worker::run_caught(|| callback(outcome)) {
        tracing::error!(panic, "a call's callback panicked");
    }
    drop(permit);
}
