//! Finding messages by time, by key and by physical offset.

use std::collections::BTreeMap;

use bytes::Bytes;
use thrustmq_proto_compat::message::record::{self, CheckBody, RecordError, RecordView};
use thrustmq_proto_compat::message::{properties, property_name};

use crate::api::{Boundary, QueryOutcome, QueryRequest, QueueEntry};
use crate::commit_log::reader::{RecordReader, Step, step};
use crate::consume_queue::entry::is_blank;
use crate::error::ReadError;
use crate::file_reader::Wait;
use crate::index::file::Search;
use crate::shared::Shared;

/// Messages that a query looks at for each it may find: others have keys of the same hash. (Java
/// goes back three times.)
const LOOKS_PER_MESSAGE: usize = 3;

/// The queue offset that belongs to a store time (Java: `ConsumeQueue.getOffsetInQueueByTime`).
pub(crate) fn offset_by_time(
    shared: &Shared,
    topic: &str,
    queue_id: i32,
    timestamp_ms: i64,
    boundary: Boundary,
) -> Result<i64, ReadError> {
    let Some(queue) = shared.queues.find(topic, queue_id) else {
        return Ok(0);
    };
    let range = queue.range();
    let access = shared.entry_access(Wait::Disk);
    let stored_before = |limit: fn(i64, i64) -> bool| {
        queue.partition_point(range.min, range.max, access, |entry| {
            let stored = store_time(shared, entry)?;
            Ok(stored.is_none_or(|stored| limit(stored, timestamp_ms)))
        })
    };
    Ok(match boundary {
        Boundary::Lower => stored_before(|stored, wanted| stored < wanted)?,
        Boundary::Upper => {
            let behind = stored_before(|stored, wanted| stored <= wanted)?;
            // Nothing that old: Java says 0 here, wherever the queue begins.
            if behind == range.min { 0 } else { behind - 1 }
        }
    })
}

/// When the message of an entry was stored, milliseconds; nothing if the log does not hold it.
pub(crate) fn store_time(shared: &Shared, entry: &QueueEntry) -> Result<Option<i64>, ReadError> {
    if is_blank(entry) {
        return Ok(None);
    }
    shared.log.store_time(entry.physical_offset)
}

/// The record at a physical offset.
pub(crate) fn record_at(
    shared: &Shared,
    physical_offset: i64,
    wait: Wait,
) -> Result<Bytes, ReadError> {
    let min = shared.progress.min();
    let end = shared.progress.written();
    let outside = ReadError::OutOfRange {
        physical_offset,
        min,
        end,
    };
    if physical_offset < min || physical_offset >= end {
        return Err(outside);
    }
    if !shared.is_young(physical_offset) {
        let record = shared.log.read_record(physical_offset, end, wait)?;
        return record.ok_or(outside);
    }
    let mut reader = RecordReader::new(&shared.log);
    let rest = reader.rest_of_file(physical_offset)?.ok_or(outside)?;
    let no_record = |source| ReadError::NoRecord {
        physical_offset,
        source,
    };
    match step(&rest, physical_offset, CheckBody::Skip) {
        Step::Record(view) => Ok(rest.slice(..view.record_bytes)),
        Step::NextFile => Err(no_record(RecordError::Blank { bytes: rest.len() })),
        Step::Stop(error) => Err(no_record(error)),
    }
}

/// Messages by key, oldest first; of too many, the newest.
pub(crate) fn query(
    shared: &Shared,
    request: &QueryRequest<'_>,
) -> Result<QueryOutcome, ReadError> {
    let Some(index) = &shared.index else {
        return Ok(QueryOutcome::default());
    };
    let mut found = Found::new(shared, request);
    index.find(request, &mut |offset| found.look_at(offset));
    let (offset, timestamp) = index.last_update();
    Ok(QueryOutcome {
        records: found.oldest_first()?,
        index_last_update_timestamp: timestamp,
        index_last_update_physical_offset: offset,
    })
}

/// The messages that a query has found so far.
struct Found<'a> {
    shared: &'a Shared,
    request: &'a QueryRequest<'a>,
    /// By physical offset: two keys of a message may have one hash, and a damaged index may have no
    /// order.
    records: BTreeMap<i64, Bytes>,
    records_max: usize,
    looks_left: usize,
    /// One that may be wanted cannot be read.
    unreadable: Option<ReadError>,
}

impl<'a> Found<'a> {
    fn new(shared: &'a Shared, request: &'a QueryRequest<'a>) -> Self {
        let found_max = shared.options.query_messages_max;
        Self {
            shared,
            request,
            records: BTreeMap::new(),
            records_max: request.messages_max.min(found_max),
            looks_left: found_max.saturating_mul(LOOKS_PER_MESSAGE),
            unreadable: None,
        }
    }

    /// Takes the message at an offset if it is wanted.
    fn look_at(&mut self, offset: i64) -> Search {
        if self.records.len() >= self.records_max || self.looks_left == 0 {
            return Search::Enough;
        }
        if self.records.contains_key(&offset) {
            return Search::On;
        }
        self.looks_left -= 1;
        match record_at(self.shared, offset, Wait::Disk) {
            Ok(record) if is_wanted(self.shared, &record, self.request) => {
                self.records.insert(offset, record);
            }
            // A key of the same hash, or a message that has expired.
            Ok(_) | Err(ReadError::NoRecord { .. } | ReadError::OutOfRange { .. }) => {}
            Err(error) => {
                self.unreadable = Some(error);
                return Search::Enough;
            }
        }
        Search::On
    }

    fn oldest_first(self) -> Result<Vec<Bytes>, ReadError> {
        if let Some(error) = self.unreadable {
            return Err(error);
        }
        Ok(self.records.into_values().collect())
    }
}

/// Keys of one hash differ, and the index knows times by the second only.
fn is_wanted(shared: &Shared, bytes: &[u8], request: &QueryRequest<'_>) -> bool {
    let Ok(view) = record::check(bytes, CheckBody::Skip) else {
        return false;
    };
    if shared.deletions.covers(view.topic, view.physical_offset) {
        return false;
    }
    let in_time = (request.begin_ms..=request.end_ms).contains(&view.store_timestamp);
    in_time && view.topic == request.topic && has_key(&view, request.key)
}

fn has_key(view: &RecordView<'_>, key: &str) -> bool {
    let text = view.properties_text();
    let unique = properties::get(&text, property_name::UNIQUE_KEY);
    let keys = properties::get(&text, property_name::KEYS).unwrap_or_default();
    unique == Some(key)
        || keys
            .split(property_name::KEY_SEPARATOR)
            .any(|one| one == key)
}
