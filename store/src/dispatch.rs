//! From the log to queues and index: the thread `store-dispatch`, and recovery, which does the same
//! for what a crash left undone.

use std::borrow::Cow;
use std::io;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use thrustmq_proto_compat::message::record::{CheckBody, RecordError, RecordView};
use thrustmq_proto_compat::message::tags_code::tags_code;
use thrustmq_proto_compat::message::{names, properties, property_name, sys_flag};

use crate::api::{Arrival, QueueEntry};
use crate::commit_log::reader::{Step, step};
use crate::consume_queue::Put;
use crate::consume_queue::table::{ConsumeQueues, EntryPlace};
use crate::index::{Index, Keys};
use crate::layout::is_directory_name;
use crate::offset::Mark;
use crate::shared::Shared;

const IDLE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
/// Delay of a level that the table does not know (Java: `computeDeliverTimestamp`).
const UNKNOWN_LEVEL_DELAY_MS: i64 = 1_000;

/// The properties that queues and index need, found in one pass.
#[derive(Debug, Default)]
pub(crate) struct KnownProperties<'a> {
    tags: &'a str,
    keys: &'a str,
    unique_key: Option<&'a str>,
    delay_level: Option<&'a str>,
}

impl<'a> KnownProperties<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        let mut known = Self::default();
        for entry in properties::entries(text) {
            match entry.name {
                property_name::TAGS => known.tags = entry.value,
                property_name::KEYS => known.keys = entry.value,
                property_name::UNIQUE_KEY => known.unique_key = Some(entry.value),
                property_name::DELAY_LEVEL => known.delay_level = Some(entry.value),
                _ => {}
            }
        }
        known
    }
}

/// Where records are dispatched to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets<'a> {
    pub(crate) queues: &'a ConsumeQueues,
    pub(crate) index: Option<&'a Index>,
    pub(crate) delay_levels_ms: &'a [i64],
}

/// What dispatching a record did to its queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dispatched {
    /// Absent for records without an entry.
    pub(crate) put: Option<Put>,
    pub(crate) tags_code: i64,
}

impl Targets<'_> {
    /// Puts the record's entry into its queue and its keys into the index. A gap is left to the
    /// caller: then the index is not touched either.
    pub(crate) fn dispatch(&self, view: &RecordView<'_>, text: &str) -> io::Result<Dispatched> {
        let known = KnownProperties::read(text);
        let tags_code = tags_code_of(view, &known, self.delay_levels_ms);
        let put = self.put(view, tags_code)?;
        if put != Some(Put::Gap) {
            self.index(view, &known)?;
        }
        Ok(Dispatched { put, tags_code })
    }

    fn put(&self, view: &RecordView<'_>, tags_code: i64) -> io::Result<Option<Put>> {
        if !sys_flag::has_queue_entry(view.sys_flag) {
            return Ok(None);
        }
        if !is_directory_name(view.topic) || view.queue_id < 0 {
            tracing::error!(topic = ?view.topic, queue_id = view.queue_id, "record of an impossible queue is skipped");
            return Ok(None);
        }
        let entry = QueueEntry {
            physical_offset: view.physical_offset,
            record_bytes: view.record_bytes as i32,
            tags_code,
        };
        self.queues.put(place_of(view), &entry).map(Some)
    }

    /// Dispatches a record after a gap: the entries missing before it stay blank.
    pub(crate) fn dispatch_after_gap(
        &self,
        view: &RecordView<'_>,
        text: &str,
    ) -> io::Result<Dispatched> {
        self.queues.fill_up_to(place_of(view))?;
        self.dispatch(view, text)
    }

    fn index(&self, view: &RecordView<'_>, known: &KnownProperties<'_>) -> io::Result<()> {
        match (self.index, keys_of(view, known)) {
            (Some(index), Some(keys)) => {
                index.put(&keys, view.physical_offset, view.store_timestamp)
            }
            _ => Ok(()),
        }
    }
}

/// The keys that the index has of a record; none of rolled-back transactions.
pub(crate) fn keys_of<'a>(view: &RecordView<'a>, known: &KnownProperties<'a>) -> Option<Keys<'a>> {
    let kind = sys_flag::transaction_type(view.sys_flag);
    (kind != sys_flag::TRANSACTION_ROLLBACK).then_some(Keys {
        topic: view.topic,
        unique_key: known.unique_key,
        keys: known.keys,
    })
}

/// The hash of the tag; in the schedule topic, the time of delivery.
pub(crate) fn tags_code_of(
    view: &RecordView<'_>,
    known: &KnownProperties<'_>,
    delay_levels_ms: &[i64],
) -> i64 {
    let level = known
        .delay_level
        .filter(|_| view.topic == names::SCHEDULE_TOPIC);
    let level: Option<usize> = level.and_then(|level| level.parse().ok());
    match level {
        Some(level) if level > 0 => {
            let level = level.min(delay_levels_ms.len());
            let delay_ms = delay_levels_ms.get(level.wrapping_sub(1));
            view.store_timestamp + delay_ms.copied().unwrap_or(UNKNOWN_LEVEL_DELAY_MS)
        }
        _ => tags_code(known.tags),
    }
}

fn place_of<'a>(view: &RecordView<'a>) -> EntryPlace<'a> {
    EntryPlace {
        topic: view.topic,
        queue_id: view.queue_id,
        queue_offset: view.queue_offset,
    }
}

/// Why dispatch cannot go on.
#[derive(Debug, thiserror::Error)]
enum DispatchError {
    #[error("queue, index or log file")]
    Io(#[from] io::Error),
    #[error("no record at offset {physical_offset}")]
    BadRecord {
        physical_offset: i64,
        source: RecordError,
    },
}

/// The thread `store-dispatch`. Ends when everything visible is dispatched.
pub(crate) fn run(shared: &Shared) {
    loop {
        let stopping = shared.wake_dispatch.is_stopping();
        let limit = shared.visible_end();
        let from = shared.progress.dispatched();
        if from >= limit {
            if stopping {
                return;
            }
            // Whoever appends now, on this core, is let on once before it has to pay for a wake-up.
            thread::yield_now();
            shared
                .wake_dispatch
                .wait(IDLE, || shared.visible_end() > from);
            continue;
        }
        shared.counters.dispatch_behind(limit - from);
        match dispatch_to(shared, limit) {
            Ok(()) if shared.health.dispatch_works() => tracing::info!("dispatch works again"),
            Ok(()) => {}
            Err(_) if stopping => return,
            Err(error) => pause_after(shared, &error),
        }
    }
}

fn dispatch_to(shared: &Shared, limit: i64) -> Result<(), DispatchError> {
    let dispatching = shared.dispatching.lock();
    let _no_topic_is_deleted = dispatching.unwrap_or_else(PoisonError::into_inner);
    dispatch_file(shared, shared.progress.dispatched(), limit).or_else(|_| {
        // The commonest cause that can be helped: too many maps.
        shared.queues.unmap_free();
        dispatch_file(shared, shared.progress.dispatched(), limit)
    })
}

fn pause_after(shared: &Shared, error: &DispatchError) {
    let cause = std::error::Error::source(error);
    let os_error = match error {
        DispatchError::Io(error) => error.raw_os_error(),
        DispatchError::BadRecord { .. } => None,
    };
    if shared.health.dispatch_failed(os_error.unwrap_or(0)) {
        tracing::error!(%error, cause, "dispatch failed: the store takes no messages until it works again");
    }
    shared.wake_dispatch.wait(RETRY, || false);
}

/// Dispatches from an offset to the end of its file, or to `limit`.
fn dispatch_file(shared: &Shared, from: i64, limit: i64) -> Result<(), DispatchError> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no log file at {from}"));
    let file = shared.log.files.find(from).ok_or_else(missing)?;
    let map = file.map()?;
    let end = (limit.min(file.end()) - file.start) as usize;
    let bytes = map.slice(0, end).ok_or_else(missing)?;
    let mut position = (from - file.start) as usize;
    while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
        let physical_offset = file.start + position as i64;
        match step(rest, physical_offset, CheckBody::Skip) {
            Step::Record(view) => {
                dispatch_record(shared, &view)?;
                position += view.record_bytes;
            }
            Step::NextFile => {
                shared.progress.advance_dispatched(Mark {
                    end: file.end(),
                    timestamp: shared.progress.dispatched_mark().timestamp,
                });
                break;
            }
            Step::Stop(source) => {
                return Err(DispatchError::BadRecord {
                    physical_offset,
                    source,
                });
            }
        }
    }
    Ok(())
}

fn advance(shared: &Shared, view: &RecordView<'_>) {
    shared.progress.advance_dispatched(Mark {
        end: view.physical_offset + view.record_bytes as i64,
        timestamp: view.store_timestamp,
    });
}

fn dispatch_record(shared: &Shared, view: &RecordView<'_>) -> io::Result<()> {
    if shared.deletions.covers(view.topic, view.physical_offset) {
        // It was on its way when its topic was deleted.
        advance(shared, view);
        return Ok(());
    }
    let text: Cow<'_, str> = view.properties_text();
    let targets = Targets {
        queues: &shared.queues,
        index: shared.index.as_ref(),
        delay_levels_ms: &shared.options.delay_levels_ms,
    };
    let mut dispatched = targets.dispatch(view, &text)?;
    if dispatched.put == Some(Put::Gap) {
        tracing::error!(
            topic = view.topic,
            queue_id = view.queue_id,
            queue_offset = view.queue_offset,
            "entries before a message are missing: they stay blank"
        );
        dispatched = targets.dispatch_after_gap(view, &text)?;
    }
    advance(shared, view);
    if dispatched.put.is_some() {
        shared.arrivals.arrived(&Arrival {
            topic: view.topic,
            queue_id: view.queue_id,
            queue_offset: view.queue_offset,
            physical_offset: view.physical_offset,
            record_bytes: view.record_bytes as i32,
            tags_code: dispatched.tags_code,
            store_timestamp: view.store_timestamp,
            properties: &text,
        });
    }
    Ok(())
}
