//! Named OS threads behind a bounded queue: one pool a family of requests.
//!
//! The connection tasks put requests in, in batches and without ever waiting; the threads run their
//! handlers. A panic in a handler ends that request only. Requests, and their bytes if the owner says
//! so, are bounded: what does not fit is answered at once.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thrustmq_proto_compat::command::Command;
use tokio::time::Instant;

use crate::admission::{Admission, Overdue, OverdueReason, QueueLook};
use crate::budget::{BudgetSpent, ByteBudget, HeldBytes};
use crate::hooks::Hooks;
use crate::options::PoolOptions;
use crate::peer::{InLine, Peer};
use crate::queue::JobQueue;
use crate::refusal::Refusal;
use crate::reply::Responder;
use crate::turn;
use crate::worker;

const NO_LIMIT: i64 = -1;
/// Once the first request has waited this long, an owner is asked again and again.
const ADMISSION_LOOKS_FROM: Duration = Duration::from_millis(100);
const KIBIBYTE: usize = 1_024;
const MEBIBYTE: usize = 1_024 * KIBIBYTE;

/// A fixed number of threads and the queue that they work off.
pub struct Pool {
    options: PoolOptions,
    queue: Arc<JobQueue<Job>>,
    wait_ms_max: AtomicI64,
    bytes: Arc<ByteBudget>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lends_while: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// The pool's queue is full, or the pool is shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue of pool {pool} is full, which takes {capacity} requests")]
pub struct PoolFull {
    /// The pool's name.
    pub pool: &'static str,
    /// Requests that may wait in it.
    pub capacity: usize,
}

/// How requests of one code are handled, once a thread has them.
pub(crate) struct Handling {
    pub(crate) run: Box<dyn Fn(Request, Responder) + Send + Sync>,
    pub(crate) hooks: Hooks,
}

/// A request on its way to a handler.
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) received_ms: i64,
}

/// A request in a pool's queue.
pub(crate) struct QueuedRequest {
    pub(crate) handling: Arc<Handling>,
    pub(crate) request: Request,
    pub(crate) responder: Responder,
    pub(crate) queued_at: Instant,
    /// Set if later requests of its peer must not overtake it.
    pub(crate) in_line: Option<InLine>,
}

#[allow(clippy::large_enum_variant)] // nearly every job is a request: a box would cost each an allocation
pub(crate) enum Job {
    Request(QueuedRequest),
    Other(turn::Job),
}

impl Pool {
    /// Starts the threads.
    pub fn new(options: PoolOptions) -> Arc<Self> {
        let threads = options.threads.max(1);
        let spare_places = options.lends.saturating_sub(threads);
        let queue = JobQueue::with_spare_places(options.queue_capacity, spare_places);
        let queue = Arc::new(queue);
        let threads = worker::start(options.name, threads, &queue, run_job);
        Arc::new(Self {
            options,
            queue,
            wait_ms_max: AtomicI64::new(NO_LIMIT),
            bytes: ByteBudget::unlimited(),
            threads: Mutex::new(threads),
            lends_while: OnceLock::new(),
        })
    }

    /// The name of its threads.
    pub fn name(&self) -> &'static str {
        self.options.name
    }

    /// Requests that wait for a thread.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Requests that may wait for a thread.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// How long the first of the waiting requests has waited, in milliseconds; 0 if none waits.
    pub fn head_wait_ms(&self) -> u64 {
        self.head_wait(Instant::now()).map_or(0, |wait| {
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// Refuses requests that wait longer than this, from the next sweep of a server on; `None`: they
    /// wait without limit.
    pub fn set_wait_ms_max(&self, wait_ms_max: Option<u64>) {
        let limit = wait_ms_max.map_or(NO_LIMIT, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
        self.wait_ms_max.store(limit, Ordering::Relaxed);
    }

    /// Lends places only while `is_quick` says that handlers will not be kept waiting. Only the first call
    /// counts.
    pub fn lend_while(&self, is_quick: impl Fn() -> bool + Send + Sync + 'static) {
        let _is_set_once = self.lends_while.set(Box::new(is_quick));
    }

    /// Refuses requests that would bring the bytes in flight above this; `None`: bytes are neither
    /// counted nor limited. In flight is a request from its arrival until it is answered.
    pub fn set_bytes_max(&self, bytes_max: Option<usize>) {
        self.bytes.set_bytes_max(bytes_max);
    }

    /// Bytes of the requests in flight, as far as they are limited.
    pub fn bytes_in_flight(&self) -> usize {
        self.bytes.in_flight()
    }

    /// Runs `job` on one of the threads, after what waits already; in a pool that lends maybe on this
    /// thread, once it has finished what it is doing.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), PoolFull> {
        let mut job: turn::Job = Box::new(move || run_other(job));
        if self.lends() && self.queue.len() == 0 {
            match turn::take_over(job) {
                Ok(()) => return Ok(()),
                Err(refused) => job = refused,
            }
        }
        self.queue.push(Job::Other(job)).map_err(|_| self.full())
    }

    /// Takes no further requests, handles those that wait and ends the threads; blocks until they
    /// have ended. A thread of the pool itself may call it, and does not wait for itself.
    pub fn shutdown(&self) {
        self.queue.close();
        let threads = std::mem::take(&mut *self.lock_threads());
        for thread in threads {
            if thread.thread().id() != thread::current().id() {
                // A thread ends by its loop only: jobs' panics are caught.
                let _ = thread.join();
            }
        }
    }

    /// Takes the bytes of a request that has arrived.
    pub(crate) fn take_bytes(&self, bytes: usize) -> Result<Option<HeldBytes>, Refusal> {
        self.bytes
            .take(bytes)
            .map_err(|spent| self.bytes_spent(spent))
    }

    /// Handles requests of `peer` on this thread if the pool lends it a place and none of that peer's waits
    /// or runs in the pool, for they stay in order; queues the others. Those for which there is no room are
    /// answered.
    pub(crate) fn submit(&self, peer: &Peer, jobs: &mut Vec<Job>) {
        if self.lends_now() && !peer.is_in_line() && self.queue.borrow_place() {
            let turn = worker::run_now(jobs, run_job);
            // Another thread may want it: the end of the turn, with its writes, needs no place.
            self.queue.give_back_place();
            drop(turn);
        }
        if jobs.is_empty() {
            return;
        }
        if self.lends() {
            jobs.iter_mut().for_each(|job| job.stand_in_line(peer));
        }
        self.queue.push_all(jobs);
        for job in jobs.drain(..) {
            if let Job::Request(refused) = job {
                let code = refused.request.command.code;
                tracing::debug!(
                    pool = self.options.name,
                    code,
                    "request refused: the queue is full"
                );
                refused.responder.refuse(self.full().into());
            }
        }
    }

    /// Refuses the requests at the head that waited too long, and says when to look again: before
    /// then none can have. `None`: there is no limit. An owner's `admission` decides instead of the
    /// limit that was set.
    pub(crate) fn refuse_overdue(
        &self,
        now: Instant,
        admission: Option<&dyn Admission>,
    ) -> Option<Duration> {
        let head_wait = self.head_wait(now).unwrap_or_default();
        let overdue = match admission {
            Some(admission) => admission.overdue(QueueLook {
                queued: self.queued(),
                head_wait,
            }),
            None => self.overdue(),
        }?;
        for job in self
            .queue
            .take_while(|job| job.wait(now) > Some(overdue.wait_max))
        {
            self.refuse_job(job, now, &overdue);
        }
        // An owner may change its mind while requests wait: it is asked before they wait too long.
        let looks_from = match admission {
            Some(_) => overdue.wait_max.min(ADMISSION_LOOKS_FROM),
            None => overdue.wait_max,
        };
        let head_wait = self.head_wait(now).unwrap_or_default();
        Some(looks_from.saturating_sub(head_wait))
    }

    /// The limit that was set.
    fn overdue(&self) -> Option<Overdue> {
        let limit_ms = u64::try_from(self.wait_ms_max.load(Ordering::Relaxed)).ok()?;
        let pool = self.options.name;
        Some(Overdue {
            wait_max: Duration::from_millis(limit_ms),
            reason: OverdueReason::TimedOut,
            cause: format!("pool {pool} is busy: a request may wait {limit_ms} ms"),
        })
    }

    fn refuse_job(&self, job: Job, now: Instant, overdue: &Overdue) {
        let wait_ms = job.wait(now).unwrap_or_default().as_millis();
        if let Job::Request(refused) = job {
            let remark = format!(
                "[{}]broker busy, start flow control for a while, period in queue: {wait_ms}ms, size of queue: {}, {}",
                overdue.reason.mark(),
                self.queued(),
                overdue.cause
            );
            refused.responder.refuse(Refusal::busy(remark));
        }
    }

    fn lends(&self) -> bool {
        self.options.lends > 0
    }

    fn lends_now(&self) -> bool {
        self.lends() && self.lends_while.get().is_none_or(|is_quick| is_quick())
    }

    fn full(&self) -> PoolFull {
        PoolFull {
            pool: self.options.name,
            capacity: self.capacity(),
        }
    }

    fn bytes_spent(&self, spent: BudgetSpent) -> Refusal {
        Refusal::overload(format_args!(
            "{} of {} requests are in flight, allowed are {}",
            bytes_text(spent.in_flight_bytes),
            self.options.name,
            bytes_text(spent.bytes_max),
        ))
    }

    fn head_wait(&self, now: Instant) -> Option<Duration> {
        self.queue.peek(|job| job.wait(now)).flatten()
    }

    fn lock_threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("options", &self.options)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl Job {
    fn stand_in_line(&mut self, peer: &Peer) {
        if let Self::Request(queued) = self {
            queued.in_line = Some(InLine::behind(peer));
        }
    }

    /// How long a request has waited; `None` for what is not a request.
    fn wait(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Request(queued) => Some(now.saturating_duration_since(queued.queued_at)),
            Self::Other(_) => None,
        }
    }
}

/// A size as people read it.
fn bytes_text(bytes: usize) -> String {
    if bytes < 10 * MEBIBYTE {
        format!("{} KiB", bytes.div_ceil(KIBIBYTE))
    } else {
        format!("{} MiB", bytes.div_ceil(MEBIBYTE))
    }
}

fn run_job(job: Job) {
    match job {
        Job::Request(queued) => run_request(queued),
        Job::Other(job) => job(),
    }
}

fn run_other(job: impl FnOnce()) {
    if let Err(panic) = worker::run_caught(job) {
        tracing::error!(panic, "a pool's job panicked");
    }
}

fn run_request(queued: QueuedRequest) {
    let QueuedRequest {
        handling,
        mut request,
        mut responder,
        queued_at: _,
        in_line: _until_it_ran,
    } = queued;
    let (code, remote) = (request.command.code, responder.peer().remote_addr());
    if responder.peer().outbox().is_overfull() {
        // Its answer would wait behind all those that the peer does not read.
        let cause = "the answers that the client has not read yet fill its connection";
        return responder.refuse(Refusal::overload(cause));
    }
    responder.use_hooks(&handling.hooks);
    let ran = worker::run_caught(
        || match handling.hooks.before(remote, &mut request.command) {
            Ok(()) => (handling.run)(request, responder),
            Err(refusal) => responder.refuse(refusal),
        },
    );
    if let Err(panic) = ran {
        tracing::error!(code, peer = %remote, panic, "handler panicked");
    }
}
