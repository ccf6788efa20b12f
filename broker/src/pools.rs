//! The broker's threads: one pool a family of requests (01-request-codes §1.1).
//!
//! Nothing here decides who runs where: `routes.rs` does. Limits of waiting follow the live
//! configuration (`apply_limits`); how long sends wait, `admission.rs` decides.

use std::sync::Arc;

use thrustmq_remoting::{CONNECTION_THREADS_MAX, Pool, PoolOptions};

use crate::config::BrokerConfig;

/// Reads that wait for the disk at one time: more would only make each of them slower.
const COLD_PULL_THREADS: usize = 4;
/// Reads that wait for those; their clients give up after 30 s.
const COLD_PULL_QUEUE_MAX: usize = 1_000;

/// All pools.
#[derive(Debug)]
pub(crate) struct Pools {
    /// Sends and send-backs: one thread by default, as the log has one writer.
    pub(crate) send: Arc<Pool>,
    /// Pulls, first runs and woken ones.
    pub(crate) pull: Arc<Pool>,
    /// Pulls of lite pull consumers.
    pub(crate) lite_pull: Arc<Pool>,
    /// Reads of old messages that have to wait for the disk.
    pub(crate) cold_pull: Arc<Pool>,
    /// Acknowledgements of popped messages, and changes of their leases.
    pub(crate) ack: Arc<Pool>,
    /// Replies to requests.
    pub(crate) reply: Arc<Pool>,
    /// Queries by key and id.
    pub(crate) query: Arc<Pool>,
    /// Ends of transactions; waits for the disk where a half message is old.
    pub(crate) end_transaction: Arc<Pool>,
    /// Heartbeats.
    pub(crate) heartbeat: Arc<Pool>,
    /// Clients that leave, and checks of their configuration.
    pub(crate) client_manage: Arc<Pool>,
    /// Offsets and group members.
    pub(crate) consumer_manage: Arc<Pool>,
    /// Division of queues among consumers.
    pub(crate) load_balance: Arc<Pool>,
    /// Everything else.
    pub(crate) admin: Arc<Pool>,
}

impl Pools {
    /// Starts all threads.
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let pools = Self {
            // A send waits for the log's lock only: all threads that read may go on.
            send: Pool::new(PoolOptions {
                lends: CONNECTION_THREADS_MAX,
                ..options("send", config.send_threads, config.send_queue_max)
            }),
            pull: lending("pull", config.pull_threads, config.pull_queue_max),
            lite_pull: lending(
                "lite-pull",
                config.lite_pull_threads,
                config.lite_pull_queue_max,
            ),
            cold_pull: pool("cold-pull", COLD_PULL_THREADS, COLD_PULL_QUEUE_MAX),
            ack: pool("ack", config.ack_threads, config.ack_queue_max),
            reply: pool("reply", config.reply_threads, config.reply_queue_max),
            query: pool("query", config.query_threads, config.query_queue_max),
            end_transaction: pool(
                "end-transaction",
                config.end_transaction_threads,
                config.end_transaction_queue_max,
            ),
            heartbeat: pool(
                "heartbeat",
                config.heartbeat_threads,
                config.heartbeat_queue_max,
            ),
            client_manage: pool(
                "client",
                config.client_manage_threads,
                config.client_manage_queue_max,
            ),
            consumer_manage: pool(
                "consumer",
                config.consumer_manage_threads,
                config.consumer_manage_queue_max,
            ),
            load_balance: pool(
                "load-balance",
                config.load_balance_threads,
                config.load_balance_queue_max,
            ),
            admin: pool("admin", config.admin_threads, config.admin_queue_max),
        };
        pools.apply_limits(config);
        pools
    }

    /// Sets how long requests may wait for a thread, and how many bytes of sends may be in flight. Offsets and clients that leave always wait, as
    /// in Java: refusing them would only make them come again.
    pub(crate) fn apply_limits(&self, config: &BrokerConfig) {
        let limits = [
            (&self.pull, config.pull_queue_wait_ms_max),
            (&self.ack, config.ack_queue_wait_ms_max),
            (&self.lite_pull, config.lite_pull_queue_wait_ms_max),
            (
                &self.end_transaction,
                config.end_transaction_queue_wait_ms_max,
            ),
            (&self.heartbeat, config.heartbeat_queue_wait_ms_max),
            (&self.admin, config.admin_queue_wait_ms_max),
        ];
        for (pool, wait_ms_max) in limits {
            let limit = u64::try_from(wait_ms_max).ok();
            pool.set_wait_ms_max(limit.filter(|_| config.fast_failure));
        }
        self.send.set_bytes_max(Some(config.send_bytes_max));
    }

    /// All pools, for figures and for shutdown: those that give work to others before them.
    pub(crate) fn all(&self) -> Vec<&Arc<Pool>> {
        vec![
            &self.send,
            &self.pull,
            &self.lite_pull,
            &self.cold_pull,
            &self.ack,
            &self.reply,
            &self.query,
            &self.end_transaction,
            &self.heartbeat,
            &self.client_manage,
            &self.consumer_manage,
            &self.load_balance,
            &self.admin,
        ]
    }

    /// Handles what is queued and ends all threads; blocks until they have ended.
    pub(crate) fn shutdown(&self) {
        self.all().into_iter().for_each(|pool| pool.shutdown());
    }
}

fn pool(name: &'static str, threads: usize, queue_capacity: usize) -> Arc<Pool> {
    Pool::new(options(name, threads, queue_capacity))
}

/// A pool whose handlers never wait: an idle one's requests are handled where they were read.
fn lending(name: &'static str, threads: usize, queue_capacity: usize) -> Arc<Pool> {
    Pool::new(PoolOptions {
        lends: threads,
        ..options(name, threads, queue_capacity)
    })
}

fn options(name: &'static str, threads: usize, queue_capacity: usize) -> PoolOptions {
    PoolOptions {
        name,
        threads,
        queue_capacity,
        lends: 0,
    }
}
