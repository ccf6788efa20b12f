//! What the owner of a pool decides about its requests from moment to moment: whether new ones come
//! in, and how long those that came in may wait.
//!
//! The pool's own limits, of requests and of bytes, hold beside it.

use std::time::Duration;

/// Decides on the requests of one pool.
pub trait Admission: Send + Sync {
    /// Why new requests are refused at the moment, if they are: `[REJECTREQUEST]…` and this sentence.
    /// Asked by I/O tasks for each request: it must be cheap.
    fn refuses_new(&self) -> Option<String>;

    /// Which of the waiting requests are refused at the moment. Asked again and again: every
    /// 10 ms once one has waited for 100 ms, and at least every 100 ms; several servers may share a pool, and
    /// each of them asks.
    fn overdue(&self, queue: QueueLook) -> Option<Overdue>;
}

/// What a look at a pool's queue finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLook {
    /// Requests that wait for a thread.
    pub queued: usize,
    /// How long the first of them has waited; zero if none waits.
    pub head_wait: Duration,
}

/// Requests that have waited longer are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// How long requests may wait.
    pub wait_max: Duration,
    /// What keeps the queue from moving.
    pub reason: OverdueReason,
    /// The sentence for people behind Java's text; it names what is saturated, with figures.
    pub cause: String,
}

/// Which of Java's texts a refused request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverdueReason {
    /// It waited too long.
    TimedOut,
    /// The page cache does not take what is there already.
    PageCacheBusy,
}

impl OverdueReason {
    /// The mark that Java's text begins with.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::TimedOut => "TIMEOUT_CLEAN_QUEUE",
            Self::PageCacheBusy => "PCBUSY_CLEAN_QUEUE",
        }
    }
}
