//! The threads on which a server's connections live, each with a runtime of its own.
//!
//! A connection stays on its thread, so that what comes for it wakes that thread and no other: the
//! workers of one shared runtime wake each other to look for work, which on a broker with little load
//! costs more than the work.

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// Threads on which a server's connections live, at most: more bring nothing, for they only move bytes and run
/// short handlers.
pub const CONNECTION_THREADS_MAX: usize = 4;

/// They end when this is dropped, and the connections with them.
pub(crate) struct IoThreads {
    threads: Vec<IoThread>,
    next: AtomicUsize,
}

struct IoThread {
    runtime: Handle,
    /// Dropped to end the thread.
    _running: oneshot::Sender<()>,
}

impl IoThreads {
    pub(crate) fn start() -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, NonZero::get);
        let threads: io::Result<Vec<IoThread>> = (0..processors.min(CONNECTION_THREADS_MAX))
            .map(start_one)
            .collect();
        Ok(Self {
            threads: threads?,
            next: AtomicUsize::new(0),
        })
    }

    /// The runtime for the next connection.
    pub(crate) fn next(&self) -> &Handle {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        &self.threads[number].runtime
    }
}

fn start_one(number: usize) -> io::Result<IoThread> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (running, ended) = oneshot::channel();
    thread::Builder::new()
        .name(format!("connections-{number}"))
        .spawn(move || run(&runtime, ended))?;
    Ok(IoThread {
        runtime: handle,
        _running: running,
    })
}

fn run(runtime: &Runtime, ended: oneshot::Receiver<()>) {
    // Nothing is ever sent: it ends when the other half is dropped.
    let _ = runtime.block_on(ended);
}
