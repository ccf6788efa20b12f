//! The walk through one log file: its records in order, what is damaged between them, and how the
//! file ends.

use thrustmq_proto_compat::message::record::{
    self, CheckBody, MAGIC_BLANK, RecordError, RecordView,
};

use crate::commit_log::reader::{Step, step};
use crate::error::OpenError;

use super::block::{BlockReader, OnRead};
use super::directory::OffsetFile;

/// Fewer bytes hold no record, so that what is damaged can always be replaced by one.
pub(super) const RECORD_BYTES_MIN: u64 = 92;
/// A record that says it is longer is taken for damaged.
const RECORD_BYTES_MAX: usize = 256 << 20;
/// So much is looked at before a record's length is known.
const HEAD_BYTES: usize = 64 << 10;

/// Bytes of a log file that are no record, with something sound behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    /// Physical offset of the first.
    pub(super) from: i64,
    /// Physical offset behind the last.
    pub(super) to: i64,
    pub(super) reason: RecordError,
    /// Store time of the record before it; 0 if there is none in its file.
    pub(super) timestamp_before: i64,
}

/// What lies behind the last sound record of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The filler: the log goes on in the next file.
    Filler,
    /// Nothing but zeros, or nothing at all.
    Unwritten,
    /// Bytes that are no record.
    Damaged(RecordError),
}

/// What a walk found.
#[derive(Debug, Clone)]
pub(super) struct FileWalk {
    pub(super) regions: Vec<Region>,
    pub(super) records: u64,
    /// Physical offset behind the last sound record, in front of the filler.
    pub(super) sound_end: i64,
    pub(super) ending: Ending,
    /// Store time of the last sound record; 0 without any.
    pub(super) last_timestamp: i64,
}

impl FileWalk {
    /// Whether the file holds a record, or the filler that says it is full.
    pub(super) fn is_sound_anywhere(&self) -> bool {
        self.records > 0 || self.ending == Ending::Filler
    }
}

/// One log file that is being walked.
#[derive(Debug)]
pub(super) struct LogFileReader<'a> {
    file: &'a OffsetFile,
    reader: BlockReader<'a>,
    body: CheckBody,
}

impl<'a> LogFileReader<'a> {
    pub(super) fn open(
        file: &'a OffsetFile,
        body: CheckBody,
        on_read: OnRead<'a>,
    ) -> Result<Self, OpenError> {
        let reader = BlockReader::open(&file.path, on_read)?;
        Ok(Self { file, reader, body })
    }

    /// Tells of the bytes that nobody had to read, for whoever counts.
    pub(super) fn pass_over_rest(&mut self) {
        self.reader.pass_over_rest();
    }

    /// The record at a place in the file.
    pub(super) fn record_at(&mut self, at: u64) -> Result<Option<RecordView<'_>>, OpenError> {
        match self.step(at)? {
            Step::Record(view) => Ok(Some(view)),
            Step::NextFile | Step::Stop(_) => Ok(None),
        }
    }

    /// Walks from a place in the file to its end; `visit` sees every sound record.
    pub(super) fn walk<E: From<OpenError>>(
        &mut self,
        from: u64,
        visit: &mut dyn FnMut(&RecordView<'_>) -> Result<(), E>,
    ) -> Result<FileWalk, E> {
        let mut at = from;
        let mut walk = FileWalk {
            regions: Vec::new(),
            records: 0,
            sound_end: self.physical(from),
            ending: Ending::Unwritten,
            last_timestamp: 0,
        };
        while at < self.file.length {
            let stop = match self.step(at)? {
                Step::Record(view) => {
                    visit(&view)?;
                    at += view.record_bytes as u64;
                    walk.records += 1;
                    walk.last_timestamp = view.store_timestamp;
                    walk.sound_end = self.physical(at);
                    continue;
                }
                Step::NextFile => {
                    walk.ending = Ending::Filler;
                    return Ok(walk);
                }
                Step::Stop(stop) => stop,
            };
            let Some(written) = self.reader.first_written(at)? else {
                return Ok(walk);
            };
            let Some(sound) = self.find_sound(at, written)? else {
                walk.ending = Ending::Damaged(stop);
                return Ok(walk);
            };
            walk.regions.push(Region {
                from: self.physical(at),
                to: self.physical(sound),
                reason: stop,
                timestamp_before: walk.last_timestamp,
            });
            at = sound;
            walk.sound_end = self.physical(at);
        }
        Ok(walk)
    }

    fn physical(&self, at: u64) -> i64 {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        self.file.start.saturating_add(at)
    }

    /// What lies at a place, with all its bytes in memory.
    fn step(&mut self, at: u64) -> Result<Step<'_>, OpenError> {
        let physical_offset = self.physical(at);
        let mut need = HEAD_BYTES;
        let head = self.reader.window(at, need)?;
        if let Err(RecordError::Truncated {
            need: record_bytes, ..
        }) = record::check(head, CheckBody::Skip)
            && record::physical_offset(head) == physical_offset
            && record_bytes <= RECORD_BYTES_MAX
        {
            need = record_bytes;
        }
        let body = self.body;
        let left = self.file.length.saturating_sub(at);
        let bytes = self.reader.window(at, need)?;
        Ok(match step(bytes, physical_offset, body) {
            // Without a checksum over the whole record, only the zeros tell that its end is missing.
            Step::Record(view) if view.ends_in_zeros() => Step::Stop(RecordError::Truncated {
                need: view.record_bytes,
                have: view.record_bytes - 1,
            }),
            Step::NextFile if filler_bytes(bytes) != left => Step::Stop(RecordError::Blank {
                bytes: usize::try_from(filler_bytes(bytes)).unwrap_or(usize::MAX),
            }),
            step @ (Step::Record(_) | Step::NextFile | Step::Stop(_)) => step,
        })
    }

    /// The first sound record or filler behind a damaged place; `written` is its first byte that is
    /// not zero.
    pub(super) fn find_sound(
        &mut self,
        damaged: u64,
        written: u64,
    ) -> Result<Option<u64>, OpenError> {
        let mut at = (damaged + RECORD_BYTES_MIN).max(written.saturating_sub(4));
        while at < self.file.length {
            let window = self.reader.window(at, HEAD_BYTES)?;
            let found = memchr::memchr2_iter(MAGIC_FIRST_BYTES[0], MAGIC_FIRST_BYTES[1], window);
            // The magic stands behind the length.
            let mut candidates = found
                .filter(|found| *found >= 4)
                .filter(|found| is_magic(window.get(*found..).unwrap_or_default()))
                .map(|found| at + found as u64 - 4);
            let candidate = candidates.next();
            let next = at + window.len().saturating_sub(7).max(1) as u64;
            match candidate {
                Some(candidate) if self.is_sound(candidate)? => return Ok(Some(candidate)),
                Some(candidate) => at = candidate + 1,
                None => at = next,
            }
        }
        Ok(None)
    }

    fn is_sound(&mut self, at: u64) -> Result<bool, OpenError> {
        Ok(!matches!(self.step(at)?, Step::Stop(_)))
    }
}

/// The bytes that a filler says it takes: all that are left of its file.
fn filler_bytes(bytes: &[u8]) -> u64 {
    let length = bytes.first_chunk();
    length.map_or(0, |length| u32::from_be_bytes(*length).into())
}

/// The first bytes of the magics of records and of the filler.
const MAGIC_FIRST_BYTES: [u8; 2] = [
    record::MAGIC_V1.to_be_bytes()[0],
    MAGIC_BLANK.to_be_bytes()[0],
];

fn is_magic(bytes: &[u8]) -> bool {
    let magic = bytes.first_chunk().map(|magic| i32::from_be_bytes(*magic));
    matches!(
        magic,
        Some(record::MAGIC_V1 | record::MAGIC_V2 | MAGIC_BLANK)
    )
}
