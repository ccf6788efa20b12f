//! Reading the mapped log: young records for consumers, and the walk from record to record that dispatch
//! and recovery share.

use bytes::Bytes;
use thrustmq_proto_compat::message::record::{self, CheckBody, RecordError, RecordView};

use super::CommitLog;
use crate::error::ReadError;

/// What lies at a place of the log.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A record.
    Record(RecordView<'a>),
    /// Filler: the log goes on in the next file.
    NextFile,
    /// Nothing sound: a torn record, or the end of what was written.
    Stop(RecordError),
}

/// Looks at the front of `bytes`, which lie at `physical_offset` of the log.
pub(crate) fn step(bytes: &[u8], physical_offset: i64, body: CheckBody) -> Step<'_> {
    match record::check(bytes, body) {
        // Left over from an earlier life of the file.
        Ok(view) if view.physical_offset != physical_offset => Step::Stop(RecordError::Unwritten),
        Ok(view) => Step::Record(view),
        Err(RecordError::Blank { .. }) => Step::NextFile,
        Err(error) => Step::Stop(error),
    }
}

/// Reads records from the maps, for one caller; neighbours in one file share one owner.
#[derive(Debug)]
pub(crate) struct RecordReader<'a> {
    log: &'a CommitLog,
    current: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    start: i64,
    bytes: Bytes,
}

impl<'a> RecordReader<'a> {
    pub(crate) fn new(log: &'a CommitLog) -> Self {
        Self { log, current: None }
    }

    /// The bytes at an offset; nothing if the log does not hold them (any more).
    pub(crate) fn read(
        &mut self,
        physical_offset: i64,
        length: usize,
    ) -> Result<Option<Bytes>, ReadError> {
        let rest = self.rest_of_file(physical_offset)?;
        Ok(rest
            .filter(|rest| rest.len() >= length)
            .map(|rest| rest.slice(..length)))
    }

    /// Everything from an offset to the end of what its file holds.
    pub(crate) fn rest_of_file(
        &mut self,
        physical_offset: i64,
    ) -> Result<Option<Bytes>, ReadError> {
        if self
            .current_rest(physical_offset)
            .is_none_or(|rest| rest.is_empty())
        {
            self.current = match self.log.files.find(physical_offset) {
                Some(file) => Some(OpenFile {
                    start: file.start,
                    bytes: file.map().map_err(ReadError::disk(file.path(), 0))?.share(),
                }),
                None => None,
            };
        }
        Ok(self.current_rest(physical_offset))
    }

    fn current_rest(&self, physical_offset: i64) -> Option<Bytes> {
        let current = self.current.as_ref()?;
        let at = usize::try_from(physical_offset.checked_sub(current.start)?).ok()?;
        (at <= current.bytes.len()).then(|| current.bytes.slice(at..))
    }
}
