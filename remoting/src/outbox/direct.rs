//! A worker thread writes to a connection's socket itself.
//!
//! It holds the outbox's lock only to take frames; while it writes, [`Writer::Thread`] keeps the task
//! from doing so.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Closing, Outbox, State, WakeUnlocking, Writer};
use crate::batch::Batch;
use crate::turn::Answers;

/// With more than this to write, a thread leaves it to the task.
const WRITTEN_BYTES_MAX: usize = 64 * 1024;
/// Pieces that a thread writes at once.
const SLICES_PER_WRITE: usize = 16;

/// A socket that any thread can write to.
pub(crate) trait DirectWrite: Send + Sync {
    /// Writes what the socket takes now.
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
}

thread_local! {
    static WRITING: RefCell<Batch> = RefCell::default();
}

impl Answers for Outbox {
    fn wake(&self) {
        self.lock().wake_unlocking();
    }

    fn write(&self) {
        WRITING.with_borrow_mut(|written| {
            let Some(socket) = self.begin_write(written) else {
                return;
            };
            self.is_written.store(true, Ordering::Relaxed);
            loop {
                if !write_all(&*socket, written) {
                    return self.leave_rest(mem::take(written));
                }
                if !self.write_on(written) {
                    return;
                }
            }
        });
    }
}

/// `false`: the socket took not everything, or it failed, which the task will find out as well.
fn write_all(socket: &dyn DirectWrite, batch: &mut Batch) -> bool {
    while !batch.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let count = batch.fill(&mut slices);
        match socket.try_write(slices.get(..count).unwrap_or_default()) {
            Ok(written @ 1..) => batch.advance(written),
            Ok(0) | Err(_) => return false,
        }
    }
    true
}

impl Outbox {
    /// Takes what waits for a thread that would write it; `None`: the task has to, or somebody writes.
    fn begin_write(&self, written: &mut Batch) -> Option<Arc<dyn DirectWrite>> {
        let mut state = self.lock();
        if state.writer != Writer::Nobody {
            // Whoever it is looks again.
            return None;
        }
        let socket = state.socket.clone();
        let Some(socket) = socket.filter(|_| state.suits_thread()) else {
            state.wake_unlocking();
            return None;
        };
        self.swap_out(&mut state, written, Writer::Thread);
        (!written.is_empty()).then_some(socket)
    }

    /// A thread has written all that it took: takes what came meanwhile, `false` if the thread is done.
    fn write_on(&self, written: &mut Batch) -> bool {
        written.clear();
        let mut state = self.lock();
        if state.suits_thread() {
            self.swap_out(&mut state, written, Writer::Thread);
        } else {
            state.writer = Writer::Nobody;
        }
        if !written.is_empty() {
            return true;
        }
        if state.is_attended || !matches!(state.closing, Closing::No) {
            state.wake_unlocking();
        }
        false
    }

    /// A thread could not write all: the task goes on.
    fn leave_rest(&self, rest: Batch) {
        let mut state = self.lock();
        if state.is_closed() {
            return;
        }
        state.being_written = rest.len();
        state.writer = Writer::Nobody;
        state.rest = rest;
        state.wake_unlocking();
    }
}

impl State {
    fn suits_thread(&self) -> bool {
        self.batch.len() <= WRITTEN_BYTES_MAX && self.rest.is_empty() && !self.is_closed()
    }
}
