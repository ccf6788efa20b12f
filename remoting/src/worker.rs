//! The loop of a thread that works off a queue, in turns. Used by pools and callbacks.
//!
//! A thread takes several jobs at once. When one of them turns out slow it gives the others back: in
//! the queue another thread may take them, and whoever watches the queue sees them wait.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::{JobQueue, Share};
use crate::turn::Turn;

/// Jobs in one turn.
const TURN_JOBS_MAX: usize = 64;
/// A job that takes longer is slow; after it a thread takes one at a time, until one is not.
const SLOW_JOB: Duration = Duration::from_millis(5);
/// An answer does not wait longer than this for those that follow it.
const TURN_TIME_MAX: Duration = Duration::from_micros(200);

/// A thread that serves connections does not stay away from them longer than this, but for the last job.
const LENT_TIME_MAX: Duration = Duration::from_micros(500);

/// Starts `count` threads that give each job of `queue` to `run` until the queue is closed.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    count: usize,
    queue: &Arc<JobQueue<T>>,
    run: fn(T),
) -> Vec<JoinHandle<()>> {
    let start_one = |number| {
        let queue = Arc::clone(queue);
        Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(move || work(&queue, count, run))
            .expect("a process that can't start its threads can't serve")
    };
    (0..count).map(start_one).collect()
}

fn work<T>(queue: &JobQueue<T>, threads: usize, run: fn(T)) {
    let mut jobs = VecDeque::new();
    let mut is_slow = false;
    while queue.take(&mut jobs, share(is_slow, threads)) {
        let turn = Turn::begin();
        let mut now = Instant::now();
        let mut turn_end = now + TURN_TIME_MAX;
        let mut turn_jobs = 0;
        loop {
            while let Some(job) = jobs.pop_front() {
                let began = now;
                run(job);
                now = Instant::now();
                turn_jobs += 1;
                if turn_jobs >= TURN_JOBS_MAX || now >= turn_end {
                    turn.flush();
                    turn_jobs = 0;
                    turn_end = now + TURN_TIME_MAX;
                }
                is_slow = now.saturating_duration_since(began) >= SLOW_JOB;
                if is_slow {
                    queue.give_back(&mut jobs);
                }
            }
            if !queue.try_take(&mut jobs, share(is_slow, threads)) {
                break;
            }
        }
    }
}

/// Runs jobs in a turn of this thread, which is not one of the queue's, until one turns out slow or they
/// take too long together: the others stay in `jobs`. The turn ends when its owner drops it.
pub(crate) fn run_now<T>(jobs: &mut Vec<T>, run: fn(T)) -> Turn {
    let turn = Turn::begin();
    let began = Instant::now();
    let mut left = jobs.drain(..);
    for job in left.by_ref() {
        run(job);
        if began.elapsed() >= LENT_TIME_MAX {
            break;
        }
    }
    let left: Vec<T> = left.collect();
    if !left.is_empty() {
        *jobs = left;
    }
    turn
}

fn share(is_slow: bool, threads: usize) -> Share {
    if is_slow {
        Share::One
    } else {
        Share::OfThreads(threads)
    }
}

/// Runs `job` such that a panic in it ends neither the thread nor the process; its message is the
/// error.
pub(crate) fn run_caught(job: impl FnOnce()) -> Result<(), String> {
    // What a job leaves half-done is its own affair: it shares state only through locks and atomics.
    catch_unwind(AssertUnwindSafe(job)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default()
    })
}
