//! Reading a queue: from queue entries to records, within the limits of a pull.

use crate::api::{QueueEntry, QueueRange, ReadOutcome, ReadRequest, ReadStatus};
use crate::commit_log::reader::RecordReader;
use crate::consume_queue::ConsumeQueue;
use crate::consume_queue::entry::ENTRY_BYTES;
use crate::options::ReadLimit;
use crate::shared::Shared;

/// Most bytes of one read, whatever is asked for (Java: `MAX_PULL_MSG_SIZE`).
const BYTES_MAX: usize = 128 << 20;
/// Fewer bytes cannot be asked for.
const BYTES_MIN: usize = 100;

pub(crate) fn read(shared: &Shared, request: &ReadRequest<'_>) -> ReadOutcome {
    let Some(queue) = shared.queues.find(request.topic, request.queue_id) else {
        return nothing(ReadStatus::NoMatchedLogicQueue, 0, QueueRange::default());
    };
    let range = queue.range();
    let offset = request.offset;
    if range.max == 0 {
        nothing(ReadStatus::NoMessageInQueue, 0, range)
    } else if offset < range.min {
        nothing(ReadStatus::OffsetTooSmall, range.min, range)
    } else if offset == range.max {
        nothing(ReadStatus::OffsetOverflowOne, offset, range)
    } else if offset > range.max {
        nothing(ReadStatus::OffsetOverflowBadly, range.max, range)
    } else {
        Scan::new(shared, request, range).run(&queue)
    }
}

fn nothing(status: ReadStatus, next_offset: i64, range: QueueRange) -> ReadOutcome {
    ReadOutcome {
        status,
        next_offset,
        min_offset: range.min,
        max_offset: range.max,
        records: Vec::new(),
        records_bytes: 0,
        message_count: 0,
        suggest_slave: false,
    }
}

/// One walk along a queue.
struct Scan<'a> {
    shared: &'a Shared,
    request: &'a ReadRequest<'a>,
    bytes_max: usize,
    reader: RecordReader<'a>,
    /// Entries before this physical offset point into a file that is gone.
    skip_before: i64,
    last_physical_offset: i64,
    outcome: ReadOutcome,
}

impl<'a> Scan<'a> {
    fn new(shared: &'a Shared, request: &'a ReadRequest<'a>, range: QueueRange) -> Self {
        Self {
            shared,
            request,
            bytes_max: request.bytes_max.clamp(BYTES_MIN, BYTES_MAX),
            reader: RecordReader::new(&shared.log),
            skip_before: i64::MIN,
            last_physical_offset: 0,
            outcome: nothing(ReadStatus::NoMatchedMessage, request.offset, range),
        }
    }

    fn run(mut self, queue: &ConsumeQueue) -> ReadOutcome {
        let wanted = self.request.messages_max.saturating_mul(ENTRY_BYTES);
        let bytes = wanted.max(self.shared.options.filter_bytes_max as usize);
        let mut entries_left = bytes / ENTRY_BYTES;
        while entries_left > 0 && self.outcome.next_offset < self.outcome.max_offset {
            let from = self.outcome.next_offset;
            let segment = match queue.segment(from) {
                Ok(Some(segment)) => segment,
                Ok(None) => return self.unreadable(queue),
                Err(error) => {
                    tracing::error!(%error, topic = self.request.topic, "cannot map a consume queue");
                    return self.unreadable(queue);
                }
            };
            let entries = segment.len().min(entries_left);
            entries_left -= entries;
            let mut taken = (0..entries).filter_map(|index| segment.get(index));
            if !taken.all(|entry| self.take(&entry)) {
                break;
            }
        }
        let behind = self.last_physical_offset;
        self.outcome.suggest_slave = !self.shared.is_recent(behind);
        self.outcome
    }

    /// The queue's own file is gone: the reader goes on behind it.
    fn unreadable(mut self, queue: &ConsumeQueue) -> ReadOutcome {
        if self.outcome.records.is_empty() {
            self.outcome.status = ReadStatus::OffsetFoundNull;
            self.outcome.next_offset = queue.begin_of_next_file(self.outcome.next_offset);
        }
        self.outcome
    }

    /// Looks at one entry; false if the read is full and the entry is left for the next one.
    fn take(&mut self, entry: &QueueEntry) -> bool {
        let record_bytes = entry.record_bytes.max(0) as usize;
        if self.is_full(entry.physical_offset, record_bytes) {
            return false;
        }
        self.last_physical_offset = entry.physical_offset;
        self.outcome.next_offset += 1;
        if entry.physical_offset < self.skip_before {
            return true;
        }
        let filter = self.request.filter;
        if filter.is_some_and(|filter| !filter.by_tags_code(entry.tags_code)) {
            self.found_none(ReadStatus::NoMatchedMessage);
            return true;
        }
        let record = self.reader.read(entry.physical_offset, record_bytes);
        let Ok(Some(record)) = record else {
            if let Err(error) = record {
                tracing::error!(%error, physical_offset = entry.physical_offset, "cannot map a log file");
            }
            self.found_none(ReadStatus::MessageWasRemoving);
            self.skip_before = self.shared.log.begin_of_next_file(entry.physical_offset);
            return true;
        };
        if filter.is_some_and(|filter| !filter.by_record(&record)) {
            self.found_none(ReadStatus::NoMatchedMessage);
            return true;
        }
        self.outcome.records_bytes += record.len();
        self.outcome.message_count += 1;
        self.outcome.records.push(record);
        self.outcome.status = ReadStatus::Found;
        self.skip_before = i64::MIN;
        true
    }

    fn found_none(&mut self, status: ReadStatus) {
        if self.outcome.records.is_empty() {
            self.outcome.status = status;
        }
    }

    /// Whether one more record would be too many; the first never is.
    fn is_full(&self, physical_offset: i64, record_bytes: usize) -> bool {
        let ReadOutcome {
            records_bytes,
            message_count,
            ..
        } = self.outcome;
        if message_count == 0 {
            return false;
        }
        let ReadLimit {
            bytes_max,
            messages_max,
        } = if self.shared.is_recent(physical_offset) {
            self.shared.options.read_limit_in_memory
        } else {
            self.shared.options.read_limit_on_disk
        };
        let bytes = records_bytes.saturating_add(record_bytes);
        message_count >= self.request.messages_max.min(messages_max)
            || bytes > self.bytes_max.min(bytes_max)
    }
}
