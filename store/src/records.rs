//! From a queue entry to its record: a slice of the map if it is young, else read from the disk and
//! vouched for. The one place through which consumers are given messages.

use bytes::Bytes;
use thrustmq_proto_compat::message::names::is_light_queue;
use thrustmq_proto_compat::message::record::{CheckBody, RecordView};

use crate::api::QueueEntry;
use crate::commit_log::cold::{ColdReader, Extent};
use crate::commit_log::reader::{RecordReader, Step, step};
use crate::consume_queue::ConsumeQueue;
use crate::consume_queue::entry::{is_blank, is_written};
use crate::error::ReadError;
use crate::file_reader::Wait;
use crate::light;
use crate::record_properties::KnownProperties;
use crate::shared::Shared;

/// An entry whose record is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) queue: &'a ConsumeQueue,
    pub(crate) queue_offset: i64,
    pub(crate) entry: QueueEntry,
    /// The entry itself comes from memory.
    pub(crate) is_young: bool,
}

impl Wanted<'_> {
    fn extent(&self) -> Extent {
        extent_of(&self.entry)
    }

    fn name(&self) -> String {
        let Self {
            queue,
            queue_offset,
            ..
        } = self;
        format!("entry {queue_offset} of {}-{}", queue.topic, queue.queue_id)
    }

    /// Whether the entry can be one that follows an entry of this physical offset.
    pub(crate) fn check_behind(&self, before: Option<i64>) -> Result<(), ReadError> {
        if self.is_young {
            return Ok(());
        }
        if !is_written(&self.entry) {
            return Err(self.damaged("was never written"));
        }
        if before.is_some_and(|before| before >= self.entry.physical_offset) {
            return Err(self.damaged("points before the entry before it"));
        }
        Ok(())
    }

    fn damaged(&self, problem: &str) -> ReadError {
        let reason = format!("{} {problem}", self.name());
        self.queue.damaged(self.queue_offset, reason)
    }
}

/// Where an entry says that its record lies.
pub(crate) fn extent_of(entry: &QueueEntry) -> Extent {
    Extent {
        start: entry.physical_offset,
        bytes: usize::try_from(entry.record_bytes).unwrap_or(0),
    }
}

/// Finds records for one caller.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    shared: &'a Shared,
    young: RecordReader<'a>,
    old: ColdReader<'a>,
}

impl<'a> Records<'a> {
    pub(crate) fn new(shared: &'a Shared, wait: Wait) -> Self {
        Self {
            shared,
            young: RecordReader::new(&shared.log),
            old: ColdReader::new(&shared.log, wait),
        }
    }

    /// The record of an entry; nothing if the log does not hold it any more. Neighbours up to
    /// `run_end` are read along if the disk is read.
    pub(crate) fn get(
        &mut self,
        wanted: &Wanted<'_>,
        run_end: impl FnOnce() -> i64,
    ) -> Result<Option<Bytes>, ReadError> {
        let entry = &wanted.entry;
        if is_blank(entry) {
            return Ok(None);
        }
        wanted.check_behind(None)?;
        if self.is_gone(entry) {
            return Ok(None);
        }
        let extent = wanted.extent();
        if extent.end() > self.shared.progress.written() {
            return Err(wanted.damaged("points behind the end of the log"));
        }
        let is_young = wanted.is_young && self.shared.is_young(entry.physical_offset);
        let record = if is_young {
            self.young.read(extent.start, extent.bytes)?
        } else {
            self.old.read(extent, run_end)?
        };
        let Some(record) = record else {
            // The file may have gone since: the start of the log moves first.
            let missing = || Err(wanted.damaged("points at a log file that is missing"));
            return if self.is_gone(entry) {
                Ok(None)
            } else {
                missing()
            };
        };
        if !is_young {
            vouch(wanted, &record).map_err(|problem| {
                let reason = format!("{} points here, but {problem}", wanted.name());
                self.shared.log.files.damaged(extent.start, reason)
            })?;
        }
        Ok(Some(record))
    }

    /// Whether the entry points before the log.
    fn is_gone(&self, entry: &QueueEntry) -> bool {
        entry.physical_offset < self.shared.progress.min()
    }
}

/// Whether the bytes are sound, and the record that the entry means.
fn vouch(wanted: &Wanted<'_>, record: &[u8]) -> Result<(), String> {
    let start = wanted.entry.physical_offset;
    match step(record, start, CheckBody::Crc) {
        Step::Record(view) if view.record_bytes != record.len() => {
            Err(format!("the record there has {} bytes", view.record_bytes))
        }
        Step::Record(view) if !is_meant(wanted, &view) => Err(format!(
            "message {} of {}-{} is there",
            view.queue_offset, view.topic, view.queue_id
        )),
        Step::Record(_) => Ok(()),
        Step::NextFile => Err("the log file ends there".to_owned()),
        Step::Stop(error) => Err(error.to_string()),
    }
}

fn is_meant(wanted: &Wanted<'_>, view: &RecordView<'_>) -> bool {
    let queue = wanted.queue;
    if view.topic == &*queue.topic
        && view.queue_id == queue.queue_id
        && view.queue_offset == wanted.queue_offset
    {
        return true;
    }
    // Or it says itself that it is there as well.
    is_light_queue(&queue.topic) && queue.queue_id == light::QUEUE_ID && {
        let text = view.properties_text();
        let mut entries = KnownProperties::read(&text).light_entries(view);
        entries
            .any(|entry| *entry.queue == *queue.topic && entry.queue_offset == wanted.queue_offset)
    }
}
