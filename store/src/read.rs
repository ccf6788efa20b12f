//! Reading a queue: from queue entries to records, within the limits of a pull.

use bytes::Bytes;

use crate::api::{QueueEntry, QueueRange, ReadOutcome, ReadRequest, ReadStatus};
use crate::consume_queue::ConsumeQueue;
use crate::consume_queue::entry::{ENTRY_BYTES, is_blank};
use crate::consume_queue::segment::{EntryAccess, Segment};
use crate::error::ReadError;
use crate::file_reader::Wait;
use crate::options::ReadLimit;
use crate::records::{Records, Wanted, extent_of};
use crate::shared::Shared;

/// Most bytes of one read, whatever is asked for (Java: `MAX_PULL_MSG_SIZE`).
const BYTES_MAX: usize = 128 << 20;
/// Records that lie further apart are not read together: copying costs more than a call.
const GAP_BYTES_MAX_IN_MEMORY: i64 = 4 << 10;
/// The same for the disk, for which a second access costs more.
const GAP_BYTES_MAX_ON_DISK: i64 = 64 << 10;
/// Fewer bytes cannot be asked for.
const BYTES_MIN: usize = 100;

pub(crate) fn read(
    shared: &Shared,
    request: &ReadRequest<'_>,
    wait: Wait,
) -> Result<ReadOutcome, ReadError> {
    let Some(queue) = shared.queues.find(request.topic, request.queue_id) else {
        let range = QueueRange::default();
        return Ok(nothing(ReadStatus::NoMatchedLogicQueue, 0, range));
    };
    let range = queue.range();
    let offset = request.offset;
    Ok(if range.max == 0 {
        nothing(ReadStatus::NoMessageInQueue, 0, range)
    } else if offset < range.min {
        nothing(ReadStatus::OffsetTooSmall, range.min, range)
    } else if offset == range.max {
        nothing(ReadStatus::OffsetOverflowOne, offset, range)
    } else if offset > range.max {
        nothing(ReadStatus::OffsetOverflowBadly, range.max, range)
    } else {
        Scan::new(shared, request, range, wait).run(&queue)?
    })
}

/// The record of one entry; nothing if there is no such entry, or the log no longer holds it.
pub(crate) fn read_one(
    shared: &Shared,
    queue: &ConsumeQueue,
    queue_offset: i64,
) -> Result<Option<Bytes>, ReadError> {
    let access = shared.entry_access(Wait::Disk);
    let Some(segment) = queue.segment(queue_offset, 1, access)? else {
        return Ok(None);
    };
    let Some(entry) = segment.get(0) else {
        return Ok(None);
    };
    let wanted = Wanted {
        queue,
        queue_offset,
        entry,
        is_young: segment.is_young(),
    };
    Records::new(shared, Wait::Disk).get(&wanted, || 0)
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
    access: EntryAccess,
    last_physical_offset: Option<i64>,
    outcome: ReadOutcome,
}

/// Neighbouring entries, and which of them is looked at.
#[derive(Clone, Copy)]
struct Look<'a> {
    queue: &'a ConsumeQueue,
    segment: &'a Segment,
    index: usize,
}

impl<'a> Scan<'a> {
    fn new(
        shared: &'a Shared,
        request: &'a ReadRequest<'a>,
        range: QueueRange,
        wait: Wait,
    ) -> Self {
        Self {
            shared,
            request,
            bytes_max: request.bytes_max.clamp(BYTES_MIN, BYTES_MAX),
            access: shared.entry_access(wait),
            last_physical_offset: None,
            outcome: nothing(ReadStatus::NoMatchedMessage, request.offset, range),
        }
    }

    fn run(mut self, queue: &ConsumeQueue) -> Result<ReadOutcome, ReadError> {
        match self.walk(queue) {
            Err(error) if self.outcome.records.is_empty() => return Err(error),
            // What was found is given; the next read begins with what cannot be.
            Ok(()) | Err(_) => {}
        }
        let behind = self.last_physical_offset.unwrap_or(0);
        self.outcome.suggest_slave = !self.shared.is_recent(behind);
        Ok(self.outcome)
    }

    fn walk(&mut self, queue: &ConsumeQueue) -> Result<(), ReadError> {
        let wanted = self.request.messages_max.saturating_mul(ENTRY_BYTES);
        let bytes = wanted.max(self.shared.options.filter_bytes_max as usize);
        let mut entries_left = bytes / ENTRY_BYTES;
        let mut records = Records::new(self.shared, self.access.wait);
        while entries_left > 0 && self.outcome.next_offset < self.outcome.max_offset {
            let from = self.outcome.next_offset;
            let Some(segment) = queue.segment(from, entries_left, self.access)? else {
                self.go_on_behind_file(queue);
                return Ok(());
            };
            entries_left -= segment.len().min(entries_left);
            for index in 0..segment.len() {
                let look = Look {
                    queue,
                    segment: &segment,
                    index,
                };
                if !self.take(&mut records, look)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The queue's own file is gone: the reader goes on behind it.
    fn go_on_behind_file(&mut self, queue: &ConsumeQueue) {
        if self.outcome.records.is_empty() {
            self.outcome.status = ReadStatus::OffsetFoundNull;
            self.outcome.next_offset = queue.begin_of_next_file(self.outcome.next_offset);
        }
    }

    /// Looks at one entry; false if the read is full and the entry is left for the next one.
    fn take(&mut self, records: &mut Records<'_>, look: Look<'_>) -> Result<bool, ReadError> {
        let Some(entry) = look.segment.get(look.index) else {
            return Ok(false);
        };
        if self.is_full(&entry, self.taken()) {
            return Ok(false);
        }
        if is_blank(&entry) {
            self.found_none(ReadStatus::MessageWasRemoving);
        } else {
            self.take_written(records, look, entry)?;
            self.last_physical_offset = Some(entry.physical_offset);
        }
        self.outcome.next_offset += 1;
        Ok(true)
    }

    fn take_written(
        &mut self,
        records: &mut Records<'_>,
        look: Look<'_>,
        entry: QueueEntry,
    ) -> Result<(), ReadError> {
        let wanted = Wanted {
            queue: look.queue,
            queue_offset: self.outcome.next_offset,
            entry,
            is_young: look.segment.is_young(),
        };
        // Also what the filter leaves out: a damaged entry has no tags.
        wanted.check_behind(self.last_physical_offset)?;
        if self.is_filtered_out(&entry) {
            self.found_none(ReadStatus::NoMatchedMessage);
            return Ok(());
        }
        match records.get(&wanted, || self.run_end(look, &entry))? {
            Some(record) => self.look_into(record),
            None => {
                self.check_gone(&wanted)?;
                self.found_none(ReadStatus::MessageWasRemoving);
            }
        }
        Ok(())
    }

    /// Entries stand in the log's order: one that points before the log has none before it that
    /// points into it.
    fn check_gone(&self, wanted: &Wanted<'_>) -> Result<(), ReadError> {
        let before = wanted.queue_offset - 1;
        if before < self.outcome.min_offset {
            return Ok(());
        }
        let entry = wanted.queue.get(before, self.access)?;
        let entry = entry.filter(|entry| !is_blank(entry));
        wanted.check_behind(entry.map(|entry| entry.physical_offset))
    }

    fn look_into(&mut self, record: Bytes) {
        let filter = self.request.filter;
        if filter.is_some_and(|filter| !filter.by_record(&record)) {
            return self.found_none(ReadStatus::NoMatchedMessage);
        }
        self.outcome.records_bytes += record.len();
        self.outcome.message_count += 1;
        self.outcome.records.push(record);
        self.outcome.status = ReadStatus::Found;
    }

    /// Where the records end that this read will want after the one of this entry, as long as they
    /// lie near each other.
    fn run_end(&self, look: Look<'_>, entry: &QueueEntry) -> i64 {
        let mut end = extent_of(entry).end();
        let mut taken = self.taken().and(entry);
        let gap_max = match self.access.wait {
            Wait::Never => GAP_BYTES_MAX_IN_MEMORY,
            Wait::Disk => GAP_BYTES_MAX_ON_DISK,
        };
        let following =
            (look.index + 1..look.segment.len()).map_while(|index| look.segment.get(index));
        for entry in following.filter(|entry| !self.is_filtered_out(entry)) {
            let gap = entry.physical_offset.saturating_sub(end);
            if !(0..=gap_max).contains(&gap) || self.is_full(&entry, taken) {
                break;
            }
            end = extent_of(&entry).end();
            taken = taken.and(&entry);
        }
        end
    }

    fn is_filtered_out(&self, entry: &QueueEntry) -> bool {
        let filter = self.request.filter;
        filter.is_some_and(|filter| !filter.by_tags_code(entry.tags_code))
    }

    fn found_none(&mut self, status: ReadStatus) {
        if self.outcome.records.is_empty() {
            self.outcome.status = status;
        }
    }

    fn taken(&self) -> Taken {
        Taken {
            messages: self.outcome.message_count,
            bytes: self.outcome.records_bytes,
        }
    }

    /// Whether one more record would be too many; the first never is.
    fn is_full(&self, entry: &QueueEntry, taken: Taken) -> bool {
        if taken.messages == 0 {
            return false;
        }
        let ReadLimit {
            bytes_max,
            messages_max,
        } = if self.shared.is_recent(entry.physical_offset) {
            self.shared.options.read_limit_in_memory
        } else {
            self.shared.options.read_limit_on_disk
        };
        let Taken { messages, bytes } = taken.and(entry);
        messages > self.request.messages_max.min(messages_max)
            || bytes > self.bytes_max.min(bytes_max)
    }
}

/// What a read gives.
#[derive(Clone, Copy)]
struct Taken {
    messages: usize,
    bytes: usize,
}

impl Taken {
    fn and(self, entry: &QueueEntry) -> Self {
        Self {
            messages: self.messages + 1,
            bytes: self.bytes.saturating_add(extent_of(entry).bytes),
        }
    }
}
