//! Opening a directory: lock, recovery, threads, in this order.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU32};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::thread::{self, JoinHandle};

use thrustmq_proto_compat::clock::Clock;

use crate::api::ArrivalListener;
use crate::append_pace::AppendPace;
use crate::checkpoint::CheckpointFile;
use crate::commit_log::CommitLog;
use crate::commit_log::appender::Appender;
use crate::consume_queue::entry::ENTRY_BYTES;
use crate::consume_queue::table::ConsumeQueues;
use crate::counters::Counters;
use crate::deletions::Deletions;
use crate::dispatch::DispatchWanted;
use crate::error::OpenError;
use crate::flush_waiters::FlushWaiters;
use crate::index::Index;
use crate::index::file::IndexSize;
use crate::layout::{DirectoryLock, Layout};
use crate::offset::Progress;
use crate::options::StoreOptions;
use crate::recovery::{Recovered, Recovery};
use crate::retention_state::Retention;
use crate::running::Running;
use crate::shared::{Follower, Health, Shared};
use crate::touch::Touching;
use crate::unreadable::Unreadable;
use crate::wakeup::Wakeup;
use crate::{dispatch, flush, retention, touch, upkeep};

/// A store whose threads run.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) running: Running,
}

/// Opens the directory, recovers it and starts the threads.
pub(crate) fn open(
    options: StoreOptions,
    clock: Clock,
    arrivals: Arc<dyn ArrivalListener>,
) -> Result<Opened, OpenError> {
    check(&options)?;
    let layout = Layout::of(&options);
    layout.make_directories()?;
    let lock = layout.lock()?;
    let aborted = layout.was_aborted()?;
    layout.mark_running()?;
    let mut parts = Parts::open(&options, &layout, &clock)?;
    let recovered = parts.recover(&options, &layout, aborted)?;
    let progress = Arc::new(Progress::default());
    progress.restore(recovered.min, recovered.end);
    let appender = Appender::new(
        Arc::clone(&parts.log),
        Arc::clone(&progress),
        clock.clone(),
        recovered.queue_offsets,
    );
    let appender = appender.map_err(OpenError::io("map", &layout.commit_log))?;
    let shared = Arc::new_cyclic(|shared| Shared {
        follower: Waker::from(Arc::new(Follower(Weak::clone(shared)))),
        appender,
        opened_ms: clock.now_ms(),
        recovered: recovered.summary,
        memory_bytes: memory_bytes(&options),
        opened_end: recovered.end.end,
        unreadable: Unreadable::default(),
        progress,
        log: parts.log,
        queues: parts.queues,
        deletions: parts.deletions,
        index: parts.index,
        arrivals,
        counters: Counters::default(),
        append_pace: AppendPace::default(),
        health: Health::default(),
        flush_waiters: FlushWaiters::new(options.flush_waiters_max),
        dispatch_wanted: DispatchWanted::default(),
        wake_flush: Arc::default(),
        wake_checkpoint: Wakeup::default(),
        wake_retention: Wakeup::default(),
        touching: Touching::default(),
        flushing: AtomicU32::new(0),
        dispatching: Mutex::new(()),
        retention: Retention::new(options.retention.clone()),
        page_cache_busy_ms: AtomicI64::new(options.page_cache_busy_ms),
        layout,
        clock,
        options,
    });
    let running = run(&shared, parts.checkpoint, lock)?;
    Ok(Opened { shared, running })
}

/// Starts the threads.
fn run(
    shared: &Arc<Shared>,
    checkpoint: CheckpointFile,
    lock: DirectoryLock,
) -> Result<Running, OpenError> {
    Ok(Running {
        flush: start("store-flush", shared, flush::run)?,
        dispatch: start("store-dispatch", shared, dispatch::run)?,
        checkpoint: start("store-checkpoint", shared, |shared| {
            upkeep::run(shared, checkpoint);
        })?,
        retention: start("store-retention", shared, retention::run)?,
        touch: start("store-touch", shared, touch::run)?,
        _lock: lock,
    })
}

/// The files of a directory, before recovery.
struct Parts {
    log: Arc<CommitLog>,
    queues: ConsumeQueues,
    index: Option<Index>,
    deletions: Deletions,
    checkpoint: CheckpointFile,
}

impl Parts {
    fn open(options: &StoreOptions, layout: &Layout, clock: &Clock) -> Result<Self, OpenError> {
        let size = IndexSize {
            slots: options.index_slots,
            entries: options.index_entries,
        };
        let index = options.index_enabled.then(|| {
            let dir = layout.index.clone();
            Index::open(layout.disk.clone(), dir, size, clock.clone())
        });
        let queue_dir = layout.consume_queue.clone();
        let queue_bytes = options.consume_queue_file_bytes;
        Ok(Self {
            log: CommitLog::open(layout, options)?,
            queues: ConsumeQueues::open(
                layout.disk.clone(),
                queue_dir,
                queue_bytes,
                memory_bytes(options),
            )?,
            index: index.transpose()?,
            deletions: Deletions::open(layout.disk.clone(), layout.deleted_topics.clone())?,
            checkpoint: CheckpointFile::open(&layout.disk, &layout.checkpoint)?,
        })
    }

    fn recover(
        &mut self,
        options: &StoreOptions,
        layout: &Layout,
        aborted: bool,
    ) -> Result<Recovered, OpenError> {
        let recovery = Recovery {
            options,
            log: &self.log,
            queues: &self.queues,
            index: self.index.as_ref(),
            deletions: &self.deletions,
            checkpoint: self.checkpoint.last(),
            checkpoint_file: &mut self.checkpoint,
            aborted,
        };
        let recovered = recovery.run();
        if matches!(recovered, Err(OpenError::Damaged { .. })) && !aborted {
            // The next attempt must not take the damage for the end that a crash left.
            let closed = layout.mark_closed();
            closed.map_err(OpenError::io("mark as closed", &layout.root))?;
        }
        recovered
    }
}

fn check(options: &StoreOptions) -> Result<(), OpenError> {
    let whole_entries = options
        .consume_queue_file_bytes
        .is_multiple_of(ENTRY_BYTES as u64);
    let rules = [
        (
            "commit_log_file_bytes",
            options.commit_log_file_bytes >= 4096,
            "must be 4096 or more",
        ),
        (
            "commit_log_file_bytes",
            options.commit_log_file_bytes <= i32::MAX as u64,
            "must be less than 2 GiB",
        ),
        (
            "consume_queue_file_bytes",
            options.consume_queue_file_bytes > 0,
            "must not be 0",
        ),
        (
            "consume_queue_file_bytes",
            whole_entries,
            "must be a multiple of 20",
        ),
        ("index_slots", options.index_slots > 0, "must not be 0"),
        (
            "index_entries",
            options.index_entries > 1,
            "must be 2 or more",
        ),
        (
            "index_entries",
            options.index_entries <= i32::MAX as u32,
            "must be less than 2^31",
        ),
    ];
    for (option, holds, problem) in rules {
        if !holds {
            return Err(OpenError::Options { option, problem });
        }
    }
    Ok(())
}

/// Bytes at the end of the log that are taken to be in memory.
fn memory_bytes(options: &StoreOptions) -> i64 {
    let system = rustix::system::sysinfo();
    let total = u128::from(system.totalram) * u128::from(system.mem_unit);
    let share = total * u128::from(options.memory_share_percent) / 100;
    i64::try_from(share).unwrap_or(i64::MAX)
}

fn start(
    name: &str,
    shared: &Arc<Shared>,
    run: impl FnOnce(&Shared) + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let shared = Arc::clone(shared);
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _watch = Watch(&shared);
        run(&shared);
    });
    spawned.map_err(|source: io::Error| OpenError::Io {
        action: "start thread",
        path: name.into(),
        source,
    })
}

/// Stops appends when its thread panics: messages that nobody dispatches or flushes must not be
/// taken.
struct Watch<'a>(&'a Shared);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let name = thread::current().name().unwrap_or_default().to_owned();
            tracing::error!(
                thread = name,
                "thread panicked: the store takes no messages"
            );
            self.0.health.thread_died();
        }
    }
}
