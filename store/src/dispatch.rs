//! From the log to queues and index: the thread `store-dispatch`, and recovery, which does the same
//! for what a crash left undone.

use std::borrow::Cow;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use thrustmq_proto_compat::message::record::{CheckBody, RecordError, RecordView};
use thrustmq_proto_compat::message::sys_flag;

use crate::api::{Arrival, QueueEntry};
use crate::commit_log::reader::{Step, step};
use crate::consume_queue::Put;
use crate::consume_queue::table::{ConsumeQueues, EntryPlace};
use crate::deletions::Deletions;
use crate::index::Index;
use crate::layout::is_directory_name;
use crate::light::{self, LightEntry};
use crate::offset::Mark;
use crate::options::StoreOptions;
use crate::record_properties::{KnownProperties, keys_of, tags_code_of};
use crate::shared::Shared;
use crate::wakeup::Wakeup;

const IDLE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
/// So many entries of a light queue may be missing, with what damaged places of the log held.
const LIGHT_GAP_MAX: i64 = 1_000_000;

/// Where records are dispatched to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets<'a> {
    pub(crate) queues: &'a ConsumeQueues,
    pub(crate) index: Option<&'a Index>,
    pub(crate) deletions: &'a Deletions,
    pub(crate) options: &'a StoreOptions,
}

/// What dispatching a record did to its queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dispatched {
    /// Absent for records without an entry. A gap may be one of a light queue.
    pub(crate) put: Option<Put>,
    pub(crate) tags_code: i64,
    /// It has entries in light queues.
    pub(crate) is_light: bool,
}

impl Targets<'_> {
    /// Puts the record's entry into its queue and its keys into the index, unless its topic was
    /// deleted since. A gap is left to the caller: then the index is not touched either.
    pub(crate) fn dispatch(&self, view: &RecordView<'_>, text: &str) -> io::Result<Dispatched> {
        let known = KnownProperties::read(text);
        let tags_code = tags_code_of(view, &known, &self.options.delay_levels_ms);
        // A light queue outlives the topics that its messages were sent to.
        let is_light =
            known.names_light_queues() && self.light_entries(view, &known).next().is_some();
        let is_alive = !self.deletions.covers(view.topic, view.physical_offset);
        let mut put = if is_alive {
            self.put(view, tags_code)?
        } else {
            None
        };
        if is_light && put != Some(Put::Gap) {
            put = self.put_light(view, &known, tags_code)?.or(put);
        }
        if is_alive && put != Some(Put::Gap) {
            self.index(view, &known)?;
        }
        Ok(Dispatched {
            put,
            tags_code,
            is_light,
        })
    }

    /// Entries in light queues that the store keeps, and that were not deleted.
    fn light_entries<'k>(
        &self,
        view: &RecordView<'_>,
        known: &KnownProperties<'k>,
    ) -> impl Iterator<Item = LightEntry<'k>> {
        let are_kept = self.options.light_queues_max.is_some();
        let entries = are_kept.then(|| known.light_entries(view));
        let at = view.physical_offset;
        let is_deleted = move |entry: &LightEntry<'_>| self.deletions.covers(entry.queue, at);
        entries
            .into_iter()
            .flatten()
            .filter(move |entry| !is_deleted(entry))
    }

    /// Puts the record's entries into light queues; a gap ends it.
    fn put_light(
        &self,
        view: &RecordView<'_>,
        known: &KnownProperties<'_>,
        tags_code: i64,
    ) -> io::Result<Option<Put>> {
        let entry = entry_of(view, tags_code);
        for light in self.light_entries(view, known) {
            let place = light_place(&light);
            if self.queues.put(place, &entry)? == Put::Gap {
                if self.is_nonsense(place) {
                    tracing::warn!(?place, "record names an impossible place in a light queue");
                    continue;
                }
                return Ok(Some(Put::Gap));
            }
        }
        Ok(None)
    }

    /// Whether a place lies too far behind the end of a light queue: then this store gave no such
    /// number.
    fn is_nonsense(&self, place: EntryPlace<'_>) -> bool {
        let queue = self.queues.find(place.topic, place.queue_id);
        let next = queue.map_or(0, |queue| queue.next());
        next > 0 && place.queue_offset - next > LIGHT_GAP_MAX
    }

    fn put(&self, view: &RecordView<'_>, tags_code: i64) -> io::Result<Option<Put>> {
        if !sys_flag::has_queue_entry(view.sys_flag) {
            return Ok(None);
        }
        if !is_directory_name(view.topic) || view.queue_id < 0 {
            tracing::error!(topic = ?view.topic, queue_id = view.queue_id, "record of an impossible queue is skipped");
            return Ok(None);
        }
        let entry = entry_of(view, tags_code);
        self.queues.put(place_of(view), &entry).map(Some)
    }

    /// Dispatches a record after a gap: the entries missing before it stay blank.
    pub(crate) fn dispatch_after_gap(
        &self,
        view: &RecordView<'_>,
        text: &str,
    ) -> io::Result<Dispatched> {
        if !self.deletions.covers(view.topic, view.physical_offset) {
            self.queues.fill_up_to(place_of(view))?;
        }
        let known = KnownProperties::read(text);
        for light in self.light_entries(view, &known) {
            let place = light_place(&light);
            if !self.is_nonsense(place) {
                self.queues.fill_up_to(place)?;
            }
        }
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

fn light_place<'a>(light: &LightEntry<'a>) -> EntryPlace<'a> {
    EntryPlace {
        topic: light.queue,
        queue_id: light::QUEUE_ID,
        queue_offset: light.queue_offset,
    }
}

fn entry_of(view: &RecordView<'_>, tags_code: i64) -> QueueEntry {
    QueueEntry {
        physical_offset: view.physical_offset,
        record_bytes: view.record_bytes as i32,
        tags_code,
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

/// Who appended more than this has not the time to dispatch it.
const FOLLOWED_BYTES_MAX: i64 = 256 << 10;
/// So often a thread that appended looks for what others appended while it dispatched.
const FOLLOWED_ROUNDS_MAX: usize = 8;

/// Who has something to dispatch, and who does it: the thread that appended, at the end of its turn, or the
/// thread `store-dispatch`.
///
/// One of them is at it at a time, who holds `Shared::dispatching`. Whoever finds another at it notes that
/// there is more, and leaves; the other looks at the note once he has let go of the lock.
#[derive(Debug, Default)]
pub(crate) struct DispatchWanted {
    is_more: AtomicBool,
    wakeup: Wakeup,
}

impl DispatchWanted {
    /// Has the thread dispatch all that is visible by now.
    pub(crate) fn notify(&self) {
        self.note();
        self.wakeup.notify();
    }

    pub(crate) fn stop(&self) {
        self.wakeup.stop();
    }

    /// There is something that was appended before this.
    fn note(&self) {
        self.is_more.store(true, Ordering::Release);
        // Either we find the lock free, or he who has it finds the note.
        fence(Ordering::SeqCst);
    }

    /// The other half of `note`, for who has let go of the lock.
    fn is_noted(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_more.load(Ordering::Relaxed)
    }

    /// What was noted until now is about to be dispatched.
    fn take_note(&self) {
        self.is_more.swap(false, Ordering::AcqRel);
    }
}

/// The thread `store-dispatch`. Ends when everything visible is dispatched.
pub(crate) fn run(shared: &Shared) {
    let wanted = &shared.dispatch_wanted;
    loop {
        let stopping = wanted.wakeup.is_stopping();
        wanted.take_note();
        let (from, limit) = (shared.progress.dispatched(), shared.visible_end());
        if from >= limit && stopping {
            return;
        }
        shared.counters.dispatch_behind(limit - from);
        match dispatch_to(shared, limit) {
            Ok(()) if shared.health.dispatch_works() => tracing::info!("dispatch works again"),
            Ok(()) => {}
            Err(_) if stopping => return,
            Err(error) => {
                pause_after(shared, &error);
                continue;
            }
        }
        let is_done = shared.progress.dispatched() >= limit;
        if is_done && !stopping {
            // What was appended meanwhile is seen to at the end of its thread's turn.
            wanted.wakeup.wait(IDLE, || wanted.is_noted());
        }
    }
}

/// Dispatches on the thread that appended, which holds no lock, if that is done soon; has the thread
/// `store-dispatch` do it otherwise.
pub(crate) fn follow(shared: &Shared) {
    if !dispatch_here(shared) {
        shared.dispatch_wanted.notify();
    }
}

/// `false`: the thread has to, for there is much, queues may have to wait for the disk, or it failed, which the
/// thread will find as well, and report.
fn dispatch_here(shared: &Shared) -> bool {
    let wanted = &shared.dispatch_wanted;
    for _ in 0..FOLLOWED_ROUNDS_MAX {
        wanted.note();
        let behind = shared.visible_end() - shared.progress.dispatched();
        if behind > FOLLOWED_BYTES_MAX || shared.flushing.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let Ok(no_topic_is_deleted) = shared.dispatching.try_lock() else {
            return true;
        };
        wanted.take_note();
        let (from, limit) = (shared.progress.dispatched(), shared.visible_end());
        if dispatch_file(shared, from, limit).is_err() || shared.progress.dispatched() < limit {
            return false;
        }
        drop(no_topic_is_deleted);
        if !wanted.is_noted() {
            return true;
        }
    }
    false
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
    shared.dispatch_wanted.wakeup.wait(RETRY, || false);
}

/// Dispatches from an offset to the end of its file, or to `limit`.
fn dispatch_file(shared: &Shared, from: i64, limit: i64) -> Result<(), DispatchError> {
    if from >= limit {
        return Ok(()); // Somebody else was faster.
    }
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
    let text: Cow<'_, str> = view.properties_text();
    let targets = Targets {
        queues: &shared.queues,
        index: shared.index.as_ref(),
        deletions: &shared.deletions,
        options: &shared.options,
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
    let arrival = Arrival {
        topic: view.topic,
        queue_id: view.queue_id,
        queue_offset: view.queue_offset,
        physical_offset: view.physical_offset,
        record_bytes: view.record_bytes as i32,
        tags_code: dispatched.tags_code,
        store_timestamp: view.store_timestamp,
        properties: &text,
    };
    if dispatched.put.is_some() {
        shared.arrivals.arrived(&arrival);
    }
    if dispatched.is_light {
        for light in targets.light_entries(view, &KnownProperties::read(&text)) {
            shared.arrivals.arrived(&Arrival {
                topic: light.queue,
                queue_id: light::QUEUE_ID,
                queue_offset: light.queue_offset,
                ..arrival
            });
        }
    }
    Ok(())
}
