//! What all tasks of one consumer share. Nothing here changes while the consumer runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::listener::Listener;
use super::process_queue::HoldLimits;
use super::subscription::TagFilter;
use crate::link::Link;

/// Where a group begins with a queue that it never consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConsumeFrom {
    /// With what comes from now on. A queue whose first messages were never removed is consumed from
    /// its beginning all the same: brokers take the group for an old one there.
    #[default]
    LastOffset,
    /// With the oldest message that is still there.
    FirstOffset,
    /// With the first message stored at or after this time, in milliseconds since 1970.
    TimestampMs(i64),
}

/// Limits of a consumer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConsumeOptions {
    pub(super) from: ConsumeFrom,
    /// Listeners at work at a time.
    pub(super) concurrency: usize,
    pub(super) pull_batch: i32,
    pub(super) hold: HoldLimits,
    pub(super) consume_timeout: Duration,
    pub(super) reconsume_times_max: i32,
    pub(super) shutdown_wait: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) link: Arc<Link>,
    pub(super) group: String,
    /// Where the group's messages go that are to be consumed again.
    pub(super) retry_topic: String,
    /// Topic → filter, the group's retry topic among them.
    pub(super) subscriptions: BTreeMap<String, TagFilter>,
    /// When the subscriptions were made, milliseconds.
    pub(super) subscription_version: i64,
    pub(super) listener: Listener,
    /// One permit for each listener at work.
    pub(super) permits: Arc<Semaphore>,
    pub(super) options: ConsumeOptions,
    /// When the consumer started, milliseconds.
    pub(super) started_ms: i64,
}
