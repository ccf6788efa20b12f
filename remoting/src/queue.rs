//! A bounded queue between threads, which lets its owner look at its head: pools need the head's age,
//! and both ends work in batches. Used by pools, callbacks and events.
//!
//! To wake a thread costs more than most jobs. So at most one is being woken at a time, and whoever
//! takes a job and leaves others wakes the next: short jobs keep few threads busy, long ones all.
//!
//! A queue has at least as many places as threads. A thread of another kind may borrow one while no job
//! is there, and run its own jobs at once; of a queue's threads and borrowers no more run at a time than it
//! has places.
//!
//! Invariant: while a job is there, a thread waits and a place is free, a thread is being woken, or one
//! that took a job, or a borrower, has yet to look whether it left others.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs in the order in which they came.
pub(crate) struct JobQueue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    capacity: usize,
    /// Places beyond one for each thread.
    spare_places: usize,
}

/// How many jobs a thread takes at once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Share {
    /// One.
    One,
    /// A share for one of so many threads.
    OfThreads(usize),
}

struct State<T> {
    jobs: VecDeque<T>,
    waiting: usize,
    /// Places that threads of other kinds have.
    borrowed: usize,
    /// Whether one of those that wait was notified and has not run yet.
    is_notified: bool,
    closed: bool,
}

impl<T> JobQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self::with_spare_places(capacity, 0)
    }

    /// A queue that lends more places than it has threads.
    pub(crate) fn with_spare_places(capacity: usize, spare_places: usize) -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                waiting: 0,
                borrowed: 0,
                is_notified: false,
                closed: false,
            }),
            ready: Condvar::new(),
            capacity,
            spare_places,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends a job; gives it back if there is no room or the queue is closed.
    pub(crate) fn push(&self, job: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.jobs.len() >= self.capacity {
            return Err(job);
        }
        state.jobs.push_back(job);
        self.wake_next(state);
        Ok(())
    }

    /// Appends a job whatever the length, for jobs that another limit bounds; gives it back if the
    /// queue is closed.
    pub(crate) fn push_beyond(&self, job: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed {
            return Err(job);
        }
        state.jobs.push_back(job);
        self.wake_next(state);
        Ok(())
    }

    /// Appends jobs from the front of `jobs` as far as there is room; the others stay in `jobs`.
    pub(crate) fn push_all(&self, jobs: &mut Vec<T>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let fit = jobs
            .len()
            .min(self.capacity.saturating_sub(state.jobs.len()));
        state.jobs.extend(jobs.drain(..fit));
        self.wake_next(state);
    }

    /// Puts jobs that were taken back to the front, in their order.
    pub(crate) fn give_back(&self, jobs: &mut VecDeque<T>) {
        if jobs.is_empty() {
            return;
        }
        let mut state = self.lock();
        while let Some(job) = jobs.pop_back() {
            state.jobs.push_front(job);
        }
        self.wake_next(state);
    }

    /// Moves a share of the jobs into `into`, and waits for the first. `false`: the queue is closed and
    /// empty.
    pub(crate) fn take(&self, into: &mut VecDeque<T>, share: Share) -> bool {
        let mut state = self.lock();
        loop {
            if state.borrowed <= state.waiting + self.spare_places
                && move_share(&mut state.jobs, into, share)
            {
                self.wake_next(state);
                return true;
            }
            if state.closed && state.jobs.is_empty() && state.borrowed == 0 {
                return false;
            }
            state.waiting += 1;
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
            // Whether by that notice or by chance: whoever runs looks after the jobs.
            state.is_notified = false;
        }
    }

    /// As [`JobQueue::take`] without waiting: `false` if there is no job.
    pub(crate) fn try_take(&self, into: &mut VecDeque<T>, share: Share) -> bool {
        let mut state = self.lock();
        let any = move_share(&mut state.jobs, into, share);
        self.wake_next(state);
        any
    }

    /// Takes a place while nothing is to be done; `false`: there is none. Whoever got it gives it back with
    /// [`JobQueue::give_back_place`].
    pub(crate) fn borrow_place(&self) -> bool {
        let mut state = self.lock();
        let is_free = state.jobs.is_empty()
            && !state.closed
            && state.borrowed < state.waiting + self.spare_places;
        state.borrowed += usize::from(is_free);
        is_free
    }

    /// The other half of [`JobQueue::borrow_place`].
    pub(crate) fn give_back_place(&self) {
        let mut state = self.lock();
        state.borrowed -= 1;
        if state.closed {
            // They may be waiting for that to end.
            self.ready.notify_all();
        }
        self.wake_next(state);
    }

    /// What `read` makes of the head, if there is one.
    pub(crate) fn peek<R>(&self, read: impl FnOnce(&T) -> R) -> Option<R> {
        self.lock().jobs.front().map(read)
    }

    /// Takes jobs off the head as long as `unwanted` holds.
    pub(crate) fn take_while(&self, unwanted: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        while let Some(job) = state.jobs.pop_front_if(|job| unwanted(job)) {
            taken.push(job);
        }
        taken
    }

    /// Takes no further jobs; those that are there are still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    /// Wakes a thread for the jobs that are left.
    fn wake_next(&self, mut state: MutexGuard<'_, State<T>>) {
        let is_free = state.waiting > 0 && state.waiting + self.spare_places > state.borrowed;
        if state.jobs.is_empty() || !is_free || state.is_notified {
            return;
        }
        state.is_notified = true;
        drop(state);
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the only thread takes at once.
const SHARE_MAX: usize = 64;
/// What one of several threads takes at once.
const SHARE_OF_SEVERAL_MAX: usize = 16;

/// Of several threads each takes half of an even share, at least one job: so no job waits behind a slow
/// one while another thread is free, unless many wait anyway.
fn move_share<T>(from: &mut VecDeque<T>, into: &mut VecDeque<T>, share: Share) -> bool {
    let share = match share {
        Share::One => 1,
        Share::OfThreads(0 | 1) => SHARE_MAX,
        Share::OfThreads(threads) => (from.len() / (2 * threads)).clamp(1, SHARE_OF_SEVERAL_MAX),
    };
    let count = from.len().min(share);
    into.extend(from.drain(..count));
    count > 0
}

#[cfg(test)]
mod tests;
