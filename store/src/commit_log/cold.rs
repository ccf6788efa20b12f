//! Old records: read by position into own memory, neighbours together.

use std::sync::Arc;

use bytes::Bytes;
use thrustmq_proto_compat::message::record::{CheckBody, RecordError};

use super::CommitLog;
use super::reader::{Step, step};
use crate::error::ReadError;
use crate::file_queue::QueueFile;
use crate::file_reader::{FileReader, Wait};

/// Most bytes of one read of several records.
const RUN_BYTES_MAX: usize = 256 << 10;
/// So many bytes are read of a record whose length is not known; most are shorter.
pub(crate) const FRONT_BYTES: usize = 4096;
/// No record is longer: a length that says so is damaged (Java: `MAX_PULL_MSG_SIZE`).
pub(crate) const RECORD_BYTES_MAX: usize = 128 << 20;

/// Where a record should lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) start: i64,
    pub(crate) bytes: usize,
}

impl Extent {
    pub(crate) fn end(&self) -> i64 {
        self.start.saturating_add(self.bytes as i64)
    }
}

/// Reads old records for one caller. Nothing is checked here.
#[derive(Debug)]
pub(crate) struct ColdReader<'a> {
    log: &'a CommitLog,
    wait: Wait,
    open: Option<OpenFile>,
    run: Run,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<QueueFile>,
    reader: FileReader,
}

impl OpenFile {
    fn position(&self, offset: i64) -> u64 {
        u64::try_from(offset.saturating_sub(self.file.start)).unwrap_or(0)
    }
}

/// Neighbouring records, read together.
#[derive(Debug, Default)]
struct Run {
    start: i64,
    bytes: Bytes,
}

impl Run {
    fn slice(&self, extent: Extent) -> Option<Bytes> {
        let at = usize::try_from(extent.start.checked_sub(self.start)?).ok()?;
        let end = at.checked_add(extent.bytes)?;
        (end <= self.bytes.len()).then(|| self.bytes.slice(at..end))
    }
}

impl<'a> ColdReader<'a> {
    pub(crate) fn new(log: &'a CommitLog, wait: Wait) -> Self {
        Self {
            log,
            wait,
            open: None,
            run: Run::default(),
        }
    }

    /// The bytes of a record; nothing if their file is gone. If they have to be read, those up to
    /// `run_end` are read along, as far as that is sensible.
    pub(crate) fn read(
        &mut self,
        extent: Extent,
        run_end: impl FnOnce() -> i64,
    ) -> Result<Option<Bytes>, ReadError> {
        if let Some(bytes) = self.record(extent) {
            return Ok(Some(bytes));
        }
        let (log, wait) = (self.log, self.wait);
        let Some(open) = self.open(extent.start)? else {
            return Ok(None);
        };
        if extent.end() > open.file.end() {
            let reason = format!("a record of {} bytes cannot be here", extent.bytes);
            return Err(log.files.damaged(extent.start, reason));
        }
        if extent.bytes > RUN_BYTES_MAX {
            let found = length_at(open, extent.start, wait)?;
            if found != Some(extent.bytes) {
                let reason = format!("a record of {} bytes is not here", extent.bytes);
                return Err(log.files.damaged(extent.start, reason));
            }
        }
        let run_end = run_end().clamp(extent.end(), open.file.end());
        let run_bytes = usize::try_from(run_end - extent.start).unwrap_or(0);
        let length = run_bytes.min(RUN_BYTES_MAX).max(extent.bytes);
        let position = open.position(extent.start);
        let bytes = open.reader.read(position, extent.bytes, length, wait)?;
        self.run = Run {
            start: extent.start,
            bytes: bytes.into(),
        };
        Ok(self.record(extent))
    }

    /// A record of the run. From the disk a run is read with much in it that nobody wants: no answer
    /// shall keep that in memory until it is sent.
    fn record(&self, extent: Extent) -> Option<Bytes> {
        let record = self.run.slice(extent)?;
        Some(match self.wait {
            Wait::Disk if record.len() < self.run.bytes.len() => Bytes::copy_from_slice(&record),
            Wait::Disk | Wait::Never => record,
        })
    }

    /// The file that holds an offset, open; nothing if it is gone.
    fn open(&mut self, offset: i64) -> Result<Option<&OpenFile>, ReadError> {
        let holds = |open: &OpenFile| (open.file.start..open.file.end()).contains(&offset);
        if !self.open.as_ref().is_some_and(holds) {
            self.open = None;
            let Some(file) = self.log.files.find(offset) else {
                return Ok(None);
            };
            let reader = file.reader()?;
            self.open = reader.map(|reader| OpenFile { file, reader });
        }
        Ok(self.open.as_ref())
    }
}

/// The length that a record gives itself: memory for a long one is taken only if it is there.
fn length_at(open: &OpenFile, offset: i64, wait: Wait) -> Result<Option<usize>, ReadError> {
    const LENGTH_BYTES: usize = 4;
    let position = open.position(offset);
    let front = open
        .reader
        .read(position, LENGTH_BYTES, LENGTH_BYTES, wait)?;
    let length = front.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    Ok(length.map(|length| length as usize))
}

impl CommitLog {
    /// The record that begins at an offset of the log, which ends at `log_end`; read from the disk
    /// and checked. Nothing if its file is gone.
    pub(crate) fn read_record(
        &self,
        physical_offset: i64,
        log_end: i64,
        wait: Wait,
    ) -> Result<Option<Bytes>, ReadError> {
        let mut reader = ColdReader::new(self, wait);
        let Some(open) = reader.open(physical_offset)? else {
            return Ok(None);
        };
        let rest = open.file.end().min(log_end).saturating_sub(physical_offset);
        let rest = usize::try_from(rest).unwrap_or(0).min(RECORD_BYTES_MAX);
        let read = |bytes: usize| {
            let position = open.position(physical_offset);
            open.reader.read(position, bytes, bytes, wait)
        };
        let mut bytes = read(rest.min(FRONT_BYTES))?;
        if let Step::Stop(RecordError::Truncated { need, .. }) =
            step(&bytes, physical_offset, CheckBody::Crc)
            && need <= rest
        {
            bytes = read(need)?;
        }
        let no_record = |source| ReadError::NoRecord {
            physical_offset,
            source,
        };
        let record_bytes = match step(&bytes, physical_offset, CheckBody::Crc) {
            Step::Record(view) => view.record_bytes,
            Step::NextFile => return Err(no_record(RecordError::Blank { bytes: rest })),
            Step::Stop(
                error @ (RecordError::BadCrc { .. }
                | RecordError::BadRecordCrc { .. }
                | RecordError::DamagedRecordCrc),
            ) => {
                return Err(self.files.damaged(physical_offset, error.to_string()));
            }
            Step::Stop(error) => return Err(no_record(error)),
        };
        Ok(Some(Bytes::from(bytes).slice(..record_bytes)))
    }

    /// When the record at an offset was stored, milliseconds; nothing if none is there.
    pub(crate) fn store_time(&self, physical_offset: i64) -> Result<Option<i64>, ReadError> {
        let record = match self.read_record(physical_offset, i64::MAX, Wait::Disk) {
            Ok(record) => record,
            // Retention asks for records that are being appended.
            Err(ReadError::NoRecord { .. } | ReadError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let view = record
            .as_deref()
            .map(|bytes| step(bytes, physical_offset, CheckBody::Skip));
        Ok(match view {
            Some(Step::Record(view)) => Some(view.store_timestamp),
            Some(Step::NextFile | Step::Stop(_)) | None => None,
        })
    }
}
