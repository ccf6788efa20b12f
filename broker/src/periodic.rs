//! Work that is done again and again: two threads, each with a list of jobs and their periods.
//!
//! `broker-sweep` does what needs no disk, so that no slow disk delays it; `broker-persist` writes
//! the files that are not written by whoever changes them.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::processor::{heartbeat, pop_order, pull};
use crate::store_options::apply_live_options;

/// One thing to do every `period_ms` of the configuration in force.
struct Job {
    period_ms: fn(&BrokerConfig) -> i64,
    run: fn(&Arc<Broker>),
}

/// The running threads.
pub(crate) struct Periodic {
    /// Dropped to end them.
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Periodic {
    /// Starts the threads.
    pub(crate) fn start(broker: &Arc<Broker>) -> std::io::Result<Self> {
        let sweeps = vec![
            job(|_| 1_000, |broker| broker.stats.sample()),
            job(|_| 1_000, sweep_overdue_pulls),
            job(|_| 5_000, sweep_missed_pulls),
            job(|_| 10_000, |broker| heartbeat::remove_expired(broker)),
            job(|_| 10_000, |broker| broker.locks.remove_expired()),
            job(|_| 1_000, apply_live_config),
        ];
        let persists = vec![
            job(
                |config| config.consumer_offset_flush_ms,
                |broker| broker.offsets.flush(),
            ),
            job(
                |config| config.delay_offset_flush_ms,
                |broker| broker.delay.persist(),
            ),
            job(
                // Filters change seldom: nothing is written where none did.
                |_| 1_000,
                |broker| {
                    let kept_ms = broker.config.current().dead_filter_kept_ms;
                    broker.filters.persist(kept_ms);
                },
            ),
            job(
                |config| config.transaction_metrics_flush_ms,
                |broker| broker.transactions.persist(),
            ),
            job(|_| 10_000, |broker| pop_order::persist(broker)),
        ];
        let (stop, stopped) = bounded(0);
        let threads = [("broker-sweep", sweeps), ("broker-persist", persists)]
            .into_iter()
            .map(|(name, jobs)| {
                let (broker, stopped) = (Arc::clone(broker), stopped.clone());
                Builder::new()
                    .name(name.to_owned())
                    .spawn(move || run(&broker, &jobs, &stopped))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { stop, threads })
    }

    /// Ends the threads; blocks until the jobs under way are done.
    pub(crate) fn stop(self) {
        drop(self.stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of periodic work panicked");
            }
        }
    }
}

fn job(period_ms: fn(&BrokerConfig) -> i64, run: fn(&Arc<Broker>)) -> Job {
    Job { period_ms, run }
}

fn run(broker: &Arc<Broker>, jobs: &[Job], stopped: &Receiver<()>) {
    let begun_ms = broker.clock.now_ms();
    let config = broker.config.current();
    let first_due_ms = jobs.iter().map(|job| begun_ms + (job.period_ms)(&config));
    let mut due_ms: Vec<i64> = first_due_ms.collect();
    loop {
        let now_ms = broker.clock.now_ms();
        let config = broker.config.current();
        for (job, due_ms) in jobs.iter().zip(&mut due_ms) {
            let period_ms = (job.period_ms)(&config);
            // Neither a clock that was set back nor a period that was long silences a job.
            if now_ms >= *due_ms || *due_ms > now_ms + period_ms {
                (job.run)(broker);
                *due_ms = now_ms + period_ms;
            }
        }
        let next_ms = due_ms.iter().min().copied().unwrap_or(i64::MAX);
        let wait_ms = next_ms
            .saturating_sub(broker.clock.now_ms())
            .clamp(1, 1_000);
        let wait = Duration::from_millis(wait_ms.unsigned_abs());
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Pools and store have limits of their own, which follow the configuration.
fn apply_live_config(broker: &Arc<Broker>) {
    let config = broker.config.current();
    broker.pools.apply_limits(&config);
    apply_live_options(&config, &broker.store);
}

fn sweep_overdue_pulls(broker: &Arc<Broker>) {
    pull::wake(broker, broker.hold.take_overdue(broker.clock.now_ms()));
}

/// Wakes pulls that messages wait for which did not wake them, such as those whose tags the pull
/// does not want: so the consumer's offset moves on.
fn sweep_missed_pulls(broker: &Arc<Broker>) {
    for (topic, queue_id) in broker.hold.queues() {
        let end = broker.store.queue_range(&topic, queue_id).max;
        pull::wake(broker, broker.hold.take_behind(&topic, queue_id, end));
    }
}
