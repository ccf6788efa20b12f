//! What waits to be sent on one connection. Any thread puts frames in; the connection's task swaps
//! all of them out at once and writes them, or a worker thread does that has nothing else to do.
//!
//! Invariants: one of them writes at a time, and looks again before it stops. `is_attended` is false
//! only while nothing waits and nobody writes, so whoever finds it false sees to it that somebody
//! will, and nobody else does. What a thread could not write goes out before all else. Answers are
//! always taken as long as the connection is open, requests only below the byte limit. At the limit
//! the task stops reading from the peer; what was read before may still fill the outbox to some
//! multiple of it, then it is refused unhandled.

mod direct;

use std::cell::RefCell;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use thrustmq_proto_compat::command::{Body, Command};
use thrustmq_proto_compat::frame::{self, FrameError};
use thrustmq_proto_compat::table::SentHeader;

use crate::batch::Batch;
use crate::turn;

pub(crate) use direct::DirectWrite;

/// At so many times the byte limit requests that were read before it was reached are refused.
const OVERFULL_TIMES: usize = 4;

/// The sending side of one connection.
pub(crate) struct Outbox {
    state: Mutex<State>,
    is_overfull: AtomicBool,
    /// The task is to give back its buffers.
    is_quiet: AtomicBool,
    /// A thread wrote since this was last asked.
    is_written: AtomicBool,
    bytes_max: usize,
    oneways_max: usize,
}

#[derive(Default)]
struct State {
    batch: Batch,
    /// What a thread took and could not write.
    rest: Batch,
    /// Bytes that were taken out of the batch and are not written.
    being_written: usize,
    writer: Writer,
    oneways: usize,
    waker: Option<Waker>,
    is_attended: bool,
    closing: Closing,
    socket: Option<Arc<dyn DirectWrite>>,
}

/// Who holds frames that were taken out and are not written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Nobody,
    Task,
    Thread,
}

/// What the task finds when it wants to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Frames to write.
    Frames,
    /// Nothing; what comes next wakes the task, if no thread writes it.
    Nothing,
    /// A thread is writing; if it leaves anything to the task it wakes it.
    ByThread,
}

/// Whether, and how, the connection is to end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Closing {
    #[default]
    No,
    /// Once all that waits is written.
    Drained(&'static str),
    /// As soon as the task looks.
    Now(&'static str),
    /// As `Now`, because nothing was read or written for too long.
    Idle,
    /// It has ended.
    Done,
}

/// Why a frame was not taken.
pub(crate) enum PushError {
    Closed,
    Full,
    TooManyOneways,
    Frame(FrameError),
}

impl Outbox {
    pub(crate) fn new(bytes_max: usize, oneways_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            is_overfull: AtomicBool::new(false),
            is_quiet: AtomicBool::new(false),
            is_written: AtomicBool::new(false),
            bytes_max,
            oneways_max,
        }
    }

    /// Lets threads write to the connection's socket.
    pub(crate) fn write_to(&self, socket: Arc<dyn DirectWrite>) {
        self.lock().socket = Some(socket);
    }

    /// Takes an answer, with the fields of `header` added to its own. It is seen to at the end of the
    /// thread's turn, if it has one.
    pub(crate) fn push_answer(
        self: &Arc<Self>,
        answer: &Command,
        header: &impl SentHeader,
    ) -> Result<(), PushError> {
        with_head(answer, header, |head| {
            self.push_answer_frame(head, &answer.body)
        })?
    }

    fn push_answer_frame(self: &Arc<Self>, head: &[u8], body: &Body) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.is_closed() {
            return Err(PushError::Closed);
        }
        state.batch.push(head, body);
        if state.unsent_bytes() / OVERFULL_TIMES >= self.bytes_max {
            self.is_overfull.store(true, Ordering::Relaxed);
        }
        if !mem::replace(&mut state.is_attended, true) {
            drop(state);
            turn::send_after_turn(self);
        }
        Ok(())
    }

    /// Takes a request, if the peer reads what it was sent before. Wakes the task at once: the
    /// caller may wait for the answer.
    pub(crate) fn push_request(&self, request: &Command) -> Result<(), PushError> {
        with_head(request, &(), |head| self.push_request_frame(head, request))?
    }

    fn push_request_frame(&self, head: &[u8], request: &Command) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.is_closed() {
            return Err(PushError::Closed);
        }
        if state.unsent_bytes() >= self.bytes_max {
            return Err(PushError::Full);
        }
        if request.is_oneway() && state.oneways >= self.oneways_max {
            return Err(PushError::TooManyOneways);
        }
        state.batch.push(head, &request.body);
        state.oneways += usize::from(request.is_oneway());
        if !mem::replace(&mut state.is_attended, true) {
            state.wake_unlocking();
        }
        Ok(())
    }

    /// Swaps what is to be written next into `written`, whose frames are written.
    pub(crate) fn take(&self, written: &mut Batch, cx: &Context<'_>) -> Taken {
        written.clear();
        let mut state = self.lock();
        if !state
            .waker
            .as_ref()
            .is_some_and(|w| w.will_wake(cx.waker()))
        {
            state.waker = Some(cx.waker().clone());
        }
        if state.writer == Writer::Thread {
            return Taken::ByThread;
        }
        if !state.rest.is_empty() {
            *written = mem::take(&mut state.rest);
            state.writer = Writer::Task;
            return Taken::Frames;
        }
        self.swap_out(&mut state, written, Writer::Task);
        if written.is_empty() {
            Taken::Nothing
        } else {
            Taken::Frames
        }
    }

    /// Swaps the batch into `written`; if there is nothing, nobody is the writer.
    fn swap_out(&self, state: &mut State, written: &mut Batch, writer: Writer) {
        mem::swap(&mut state.batch, written);
        state.oneways = 0;
        state.being_written = written.len();
        state.is_attended = !written.is_empty();
        state.writer = if state.is_attended {
            writer
        } else {
            Writer::Nobody
        };
        if state.being_written < self.bytes_max {
            self.is_overfull.store(false, Ordering::Relaxed);
        }
    }

    /// Whether so much waits that nothing more should be read from this peer; `unwritten` is what
    /// is left of the batch that the task took.
    pub(crate) fn is_over_limit(&self, unwritten: usize) -> bool {
        let mut state = self.lock();
        state.being_written = unwritten;
        state.unsent_bytes() >= self.bytes_max
    }

    /// Nothing has come or gone for a while: gives back the buffers here, and has the task do so.
    pub(crate) fn grow_quiet(&self) {
        let mut state = self.lock();
        if state.unsent_bytes() > 0 || state.is_closed() {
            return;
        }
        state.batch = Batch::default();
        self.is_quiet.store(true, Ordering::Relaxed);
        state.wake_unlocking();
    }

    /// Whether the task is to give back its buffers; each time once.
    pub(crate) fn take_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::Relaxed) && self.is_quiet.swap(false, Ordering::Relaxed)
    }

    /// Whether a thread wrote since the last time this was asked.
    pub(crate) fn take_is_written(&self) -> bool {
        self.is_written.swap(false, Ordering::Relaxed)
    }

    /// Whether requests of this peer should be refused rather than handled.
    pub(crate) fn is_overfull(&self) -> bool {
        self.is_overfull.load(Ordering::Relaxed)
    }

    pub(crate) fn closing(&self) -> Closing {
        self.lock().closing
    }

    /// Asks the task to end. A stronger wish replaces a weaker one, the first of two equals stays.
    pub(crate) fn request_close(&self, closing: Closing) {
        let mut state = self.lock();
        let weaker = matches!(
            (state.closing, closing),
            (Closing::No, _) | (Closing::Drained(_), Closing::Now(_) | Closing::Idle)
        );
        if weaker {
            state.closing = closing;
            state.wake_unlocking();
        }
    }

    /// The task has ended: nothing is taken any more, and what waits is dropped.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        *state = State {
            closing: Closing::Done,
            ..State::default()
        };
    }

    pub(crate) fn oneways_max(&self) -> usize {
        self.oneways_max
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_closed(&self) -> bool {
        matches!(self.closing, Closing::Done)
    }

    fn unsent_bytes(&self) -> usize {
        self.batch.len() + self.being_written
    }
}

trait WakeUnlocking {
    fn wake_unlocking(self);
}

impl WakeUnlocking for MutexGuard<'_, State> {
    /// Wakes the task without holding the lock that it takes first.
    fn wake_unlocking(self) {
        let waker = self.waker.clone();
        drop(self);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The scratch buffer of a thread is given back if a head made it larger than this.
const KEPT_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Encodes a frame's head in the thread's own buffer, so that no lock is held meanwhile, and gives it
/// to `push`.
fn with_head<R>(
    command: &Command,
    header: &impl SentHeader,
    push: impl FnOnce(&[u8]) -> R,
) -> Result<R, PushError> {
    HEAD.with_borrow_mut(|head| {
        if head.capacity() > KEPT_HEAD_BYTES_MAX {
            *head = Vec::new();
        }
        head.clear();
        frame::encode_head(command, header, head).map_err(PushError::Frame)?;
        Ok(push(head))
    })
}

thread_local! {
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod written_by_threads;
