//! The end of the log and its last records, found without going through all of it. Part of an
//! inspection.

use std::collections::VecDeque;

use thrustmq_proto_compat::message::record::{CheckBody, RecordView};
use thrustmq_proto_compat::message::{properties, property_name};

use crate::error::OpenError;

use super::directory::{OffsetFile, usual_length};
use super::log_walk::{Ending, LogFileReader};
use super::queue_files::{Queues, end_of};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSummary {
    /// Byte position in the log.
    pub physical_offset: i64,
    /// Bytes of the record.
    pub record_bytes: usize,
    /// Topic.
    pub topic: String,
    /// Queue within the topic.
    pub queue_id: i32,
    /// Entry number in its queue.
    pub queue_offset: i64,
    /// When it was stored, milliseconds.
    pub store_ms: i64,
    /// Its unique key.
    pub unique_key: String,
    /// Its keys, with blanks between.
    pub keys: String,
}

impl RecordSummary {
    fn of(view: &RecordView<'_>) -> Self {
        let text = view.properties_text();
        let property = |name| properties::get(&text, name).unwrap_or_default().to_owned();
        Self {
            physical_offset: view.physical_offset,
            record_bytes: view.record_bytes,
            topic: view.topic.to_owned(),
            queue_id: view.queue_id,
            queue_offset: view.queue_offset,
            store_ms: view.store_timestamp,
            unique_key: property(property_name::UNIQUE_KEY),
            keys: property(property_name::KEYS),
        }
    }
}

/// The end of the log and the records before it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) end: i64,
    pub(super) stop: Option<String>,
    pub(super) records: VecDeque<RecordSummary>,
}

impl Tail {
    /// Begins where the queues say that the log ends, and looks further back until there are
    /// enough records.
    pub(super) fn find(
        files: &[OffsetFile],
        queues: &Queues,
        wanted: usize,
    ) -> Result<Self, OpenError> {
        const FIRST_LOOK_BYTES: i64 = 1 << 20;
        let start = files.first().map_or(0, |file| file.start);
        let mut queues_end = start;
        for queue in queues.values().flat_map(|of_topic| of_topic.values()) {
            let end = queue.last(start)?.map_or(start, |last| end_of(&last));
            queues_end = queues_end.max(end);
        }
        let mut back = FIRST_LOOK_BYTES;
        loop {
            let from = queues_end.saturating_sub(back).max(start);
            let tail = Self::walk(files, from, wanted)?;
            if tail.records.len() >= wanted || from == start {
                return Ok(tail);
            }
            back = back.saturating_mul(16);
        }
    }

    /// Walks from the first record at an offset or behind it.
    fn walk(files: &[OffsetFile], from: i64, wanted: usize) -> Result<Self, OpenError> {
        let file_bytes = usual_length(files);
        let mut tail = Self {
            end: from,
            ..Self::default()
        };
        let end_of_file = |file: &OffsetFile| file.start.saturating_add_unsigned(file_bytes);
        for file in files.iter().filter(|file| end_of_file(file) > from) {
            let mut reader = LogFileReader::open(file, CheckBody::Skip, &|_| {})?;
            let mut at = u64::try_from(from - file.start).unwrap_or(0);
            if at > 0 {
                at = reader.find_sound(at, at)?.unwrap_or(file.length);
            }
            let walk = reader.walk(at, &mut |view| {
                tail.records.push_back(RecordSummary::of(view));
                if tail.records.len() > wanted {
                    tail.records.pop_front();
                }
                Ok::<(), OpenError>(())
            })?;
            if !walk.is_sound_anywhere() {
                break;
            }
            tail.end = walk.sound_end;
            tail.stop = None;
            match walk.ending {
                Ending::Filler => tail.end = end_of_file(file),
                Ending::Unwritten => {}
                Ending::Damaged(reason) => tail.stop = Some(reason.to_string()),
            }
        }
        Ok(tail)
    }
}
