//! The one writer of the log: gives each record its place and copies it into the map.
//!
//! Records come encoded; under the append lock only offsets, the store time and the
//! checksum over all of it are patched in. The
//! appender owns the queue offsets, so that there is no second lock.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::{
    self, BLANK_BYTES, Checksum, EncodeError, NewMessage, Placement,
};

use super::CommitLog;
use super::queue_offsets::{LightTarget, QueueOffsets};
use crate::error::AppendError;
use crate::file_queue::QueueFile;
use crate::mapped_file::MappedFile;
use crate::offset::{Mark, Progress};

/// A clock that jumped must not block the store for ever (Java: `PutMessageLock` check).
const LOCK_HELD_MS_MAX: i64 = 10_000_000;

/// Records of one queue, encoded one behind the other, still without their place.
#[derive(Debug, Default)]
pub(crate) struct EncodedRecords {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl EncodedRecords {
    pub(crate) fn push(
        &mut self,
        message: &NewMessage<'_>,
        checksum: Checksum,
    ) -> Result<(), EncodeError> {
        let length = record::encode(message, checksum, &mut self.bytes)?;
        self.lengths.push(length);
        Ok(())
    }

    /// Forgets the records; memory beyond `bytes_max` is given back.
    pub(crate) fn clear(&mut self, bytes_max: usize) {
        self.bytes.clear();
        self.lengths.clear();
        self.bytes.shrink_to(bytes_max);
    }

    pub(crate) fn lengths(&self) -> &[usize] {
        &self.lengths
    }
}

/// Queue that records go to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) topic: &'a str,
    pub(crate) queue_id: i32,
    /// Prepared and rolled-back transaction records have no place in their queue.
    pub(crate) has_queue_entry: bool,
    /// What the clock said when the append began, milliseconds.
    pub(crate) begun_ms: i64,
}

/// Appends to the log.
#[derive(Debug)]
pub(crate) struct Appender {
    log: Arc<CommitLog>,
    progress: Arc<Progress>,
    clock: Clock,
    state: Mutex<AppendState>,
    /// When the lock was taken that is held now; 0 if none is.
    locked_since_ms: AtomicI64,
    /// Where the next file begins, once it is worth preparing; 0 before.
    prepare_at: AtomicI64,
    prepared: Mutex<Option<Arc<QueueFile>>>,
}

#[derive(Debug)]
struct AppendState {
    tail: Option<Tail>,
    queue_offsets: QueueOffsets,
    last_timestamp: i64,
    closed: bool,
}

/// The file at the end of the log.
#[derive(Debug)]
struct Tail {
    start: i64,
    map: Arc<MappedFile>,
}

impl Appender {
    /// Continues a recovered log.
    pub(crate) fn new(
        log: Arc<CommitLog>,
        progress: Arc<Progress>,
        clock: Clock,
        queue_offsets: QueueOffsets,
    ) -> io::Result<Self> {
        let tail = match log.files.last() {
            Some(file) => Some(Tail {
                start: file.start,
                map: file.map()?,
            }),
            None => None,
        };
        let state = AppendState {
            tail,
            queue_offsets,
            last_timestamp: progress.written_mark().timestamp,
            closed: false,
        };
        Ok(Self {
            log,
            progress,
            clock,
            state: Mutex::new(state),
            locked_since_ms: AtomicI64::new(0),
            prepare_at: AtomicI64::new(0),
            prepared: Mutex::new(None),
        })
    }

    /// Puts the records behind the log, all in one file, and returns the place of the first.
    pub(crate) fn append(
        &self,
        records: &mut EncodedRecords,
        target: Target<'_>,
    ) -> Result<Placement, AppendError> {
        self.locked(target.begun_ms, |state, now_ms| {
            self.place(state, records, target, now_ms)
        })
    }

    /// As [`Appender::append`] for one record that goes to light queues too: `encode` gets its numbers
    /// there.
    pub(crate) fn append_light(
        &self,
        records: &mut EncodedRecords,
        target: Target<'_>,
        light: LightTarget<'_>,
        encode: impl FnOnce(&[Option<i64>], &mut EncodedRecords) -> Result<(), AppendError>,
    ) -> Result<Placement, AppendError> {
        self.locked(target.begun_ms, |state, now_ms| {
            let offsets = state.queue_offsets.of_light(&light)?;
            encode(&offsets, records)?;
            let placed = self.place(state, records, target, now_ms)?;
            state.queue_offsets.advance_light(&light)?;
            Ok(placed)
        })
    }

    fn locked(
        &self,
        begun_ms: i64,
        place: impl FnOnce(&mut AppendState, i64) -> Result<Placement, AppendError>,
    ) -> Result<Placement, AppendError> {
        // Whoever need not wait for the lock has just looked at the clock.
        let (mut state, now_ms) = match self.state.try_lock() {
            Ok(state) => (state, begun_ms),
            Err(_) => {
                let state = self.state();
                (state, self.clock.now_ms())
            }
        };
        if state.closed {
            return Err(AppendError::ShutDown);
        }
        self.locked_since_ms.store(now_ms, Ordering::Relaxed);
        let placed = place(&mut state, now_ms);
        self.locked_since_ms.store(0, Ordering::Relaxed);
        placed
    }

    fn place(
        &self,
        state: &mut AppendState,
        records: &mut EncodedRecords,
        target: Target<'_>,
        now_ms: i64,
    ) -> Result<Placement, AppendError> {
        self.make_room(state, records.bytes.len())?;
        // Searches by time need times that never go back, whatever the clock does.
        let store_timestamp = now_ms.max(state.last_timestamp);
        let AppendState {
            tail: Some(tail),
            queue_offsets,
            ..
        } = state
        else {
            return Err(AppendError::ShutDown);
        };
        let next = queue_offsets.next(target.topic, target.queue_id)?;
        let first = Placement {
            queue_offset: if target.has_queue_entry { *next } else { 0 },
            physical_offset: tail.start + tail.map.written() as i64,
            store_timestamp,
        };
        let end = patch_all(records, first, target.has_queue_entry);
        let appended = tail.map.append(&records.bytes);
        appended.map_err(|source| AppendError::CreateFile { source })?;
        if target.has_queue_entry {
            *next += records.lengths.len() as i64;
        }
        state.last_timestamp = store_timestamp;
        self.progress.advance_written(Mark {
            end,
            timestamp: store_timestamp,
        });
        Ok(first)
    }

    /// Makes the last file one that takes so many bytes and the filler behind them.
    fn make_room(&self, state: &mut AppendState, bytes: usize) -> Result<(), AppendError> {
        let needed = bytes.saturating_add(BLANK_BYTES);
        let file_bytes = self.log.file_bytes;
        if needed > file_bytes {
            return Err(AppendError::Illegal {
                reason: format!("{bytes} bytes do not fit a log file of {file_bytes}"),
            });
        }
        let left = state.tail.as_ref().map_or(0, |tail| tail.map.bytes_left());
        if needed <= left {
            return Ok(());
        }
        let next_start = match &state.tail {
            Some(tail) => tail.start + file_bytes as i64,
            None => self.progress.written(),
        };
        let next = self.next_file(next_start);
        let next = next.map_err(|source| AppendError::CreateFile { source })?;
        let map = next
            .map()
            .map_err(|source| AppendError::CreateFile { source })?;
        if let Some(tail) = &state.tail {
            if left >= BLANK_BYTES {
                let filled = tail.map.append(&record::blank(left as u32));
                filled.map_err(|source| AppendError::CreateFile { source })?;
            }
            tail.map.fill();
            self.progress.advance_written(Mark {
                end: next_start,
                timestamp: state.last_timestamp,
            });
        }
        self.log.files.push(next);
        state.tail = Some(Tail {
            start: next_start,
            map,
        });
        let after = next_start + file_bytes as i64;
        self.prepare_at.store(after, Ordering::Release);
        Ok(())
    }

    fn next_file(&self, start: i64) -> io::Result<Arc<QueueFile>> {
        // Held while the file is made, so that nobody makes it a second time meanwhile.
        let mut prepared = self.prepared();
        self.prepare_at.store(0, Ordering::Release);
        match prepared.take() {
            Some(file) if file.start == start => Ok(file),
            _ => self.log.files.make(start),
        }
    }

    /// Makes the next file ahead of its use, once the last one is half full. Called by the
    /// checkpoint thread.
    pub(crate) fn prepare_next_file(&self) -> io::Result<()> {
        let mut prepared = self.prepared();
        if self.should_prepare(self.progress.written()) {
            let start = self.prepare_at.swap(0, Ordering::AcqRel);
            *prepared = Some(self.log.files.make(start)?);
        }
        Ok(())
    }

    /// Whether [`Appender::prepare_next_file`] has something to do.
    #[inline]
    pub(crate) fn should_prepare(&self, written: i64) -> bool {
        let start = self.prepare_at.load(Ordering::Relaxed);
        start != 0 && written >= start - self.log.file_bytes as i64 / 2
    }

    /// Refuses all further appends and returns when the last one is done.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        let mut prepared = self.prepared();
        // The checkpoint thread runs on for a while, and must not make another one.
        self.prepare_at.store(0, Ordering::Release);
        if let Some(file) = prepared.take() {
            let discarded = self.log.files.discard(&file);
            if let Err(error) = discarded {
                tracing::warn!(%error, "cannot remove the prepared log file");
            }
        }
    }

    /// Entry numbers of a topic begin at 0 again, with the records behind the returned end.
    pub(crate) fn forget_topic(&self, topic: &str) -> i64 {
        let mut state = self.state();
        state.queue_offsets.remove(topic);
        self.progress.written()
    }

    /// Whether anything was ever appended to this life of a topic.
    pub(crate) fn knows_topic(&self, topic: &str) -> bool {
        self.state().queue_offsets.knows(topic)
    }

    /// For how long the lock has been held now, milliseconds.
    pub(crate) fn lock_held_ms(&self) -> i64 {
        let since = self.locked_since_ms.load(Ordering::Relaxed);
        if since == 0 {
            return 0;
        }
        let held = self.clock.now_ms().saturating_sub(since);
        if held < LOCK_HELD_MS_MAX {
            held.max(0)
        } else {
            0
        }
    }

    fn state(&self) -> MutexGuard<'_, AppendState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self) -> MutexGuard<'_, Option<Arc<QueueFile>>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the places into the records and returns the end of the last.
fn patch_all(records: &mut EncodedRecords, first: Placement, has_queue_entry: bool) -> i64 {
    let mut place = first;
    let mut rest = &mut records.bytes[..];
    for length in &records.lengths {
        let (record, tail) = rest.split_at_mut(*length);
        record::patch(record, place);
        place.physical_offset += *length as i64;
        place.queue_offset += i64::from(has_queue_entry);
        rest = tail;
    }
    place.physical_offset
}
