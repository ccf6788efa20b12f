//! Queue entries, each beside the record that it points at. Only queues are gone through so whose
//! entries were not all found from the log's side.

use thrustmq_proto_compat::message::record::{CheckBody, RecordView};

use crate::api::QueueEntry;
use crate::consume_queue::entry;
use crate::error::OpenError;
use crate::light;
use crate::record_properties::KnownProperties;

use super::directory::OffsetFile;
use super::finding::{FindingKind, Findings};
use super::log_walk::LogFileReader;
use super::queue_facts::QueueFacts;
use super::queue_files::{QueueOnDisk, points_into};

/// The log as a place to look records up.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogOfEntries<'a> {
    pub(super) files: &'a [OffsetFile],
    pub(super) end: i64,
}

/// What was found of all queues.
#[derive(Debug, Default)]
pub(super) struct QueuesChecked {
    pub(super) findings: Findings,
    pub(super) entries: u64,
    pub(super) undispatched: u64,
    pub(super) topicless: u64,
}

impl QueuesChecked {
    pub(super) fn judge(
        &mut self,
        queue: &QueueOnDisk,
        matched: i64,
        facts: &QueueFacts,
        log: &LogOfEntries<'_>,
    ) -> Result<(), OpenError> {
        if let Some(misfit) = &queue.misfit {
            let text = || misfit.problem.clone();
            self.findings
                .add(FindingKind::MisfitFile, &misfit.path, 0, &text);
            return Ok(());
        }
        let begin = facts.begin(&queue.topic, queue.queue_id);
        let begin = begin.map_or(queue.first, |begin| begin.number);
        let mut real = 0;
        queue.for_each(&mut |number, entry| {
            self.entries += 1;
            real += i64::from(points_into(entry, facts.log_min));
            if number >= begin && !entry::is_written(entry) {
                self.tell(queue, number, &|| {
                    "is empty, with others behind it".to_owned()
                });
            }
            Ok(())
        })?;
        if real == matched {
            return Ok(());
        }
        let mut reader = EntryReader { log, current: None };
        queue.for_each(&mut |number, entry| {
            if points_into(entry, facts.log_min)
                && let Some(problem) = reader.problem(queue, number, entry, facts)?
            {
                self.tell(queue, number, &|| problem.clone());
            }
            Ok(())
        })
    }

    fn tell(&mut self, queue: &QueueOnDisk, number: i64, problem: &dyn Fn() -> String) {
        let Some(place) = queue.place_of(number) else {
            return;
        };
        self.findings
            .add(FindingKind::QueueEntry, place.path, place.at, &|| {
                format!("entry {number} {}", problem())
            });
    }
}

/// Looks records up for entries, which come in the log's order.
struct EntryReader<'a> {
    log: &'a LogOfEntries<'a>,
    current: Option<(i64, LogFileReader<'a>)>,
}

impl EntryReader<'_> {
    fn problem(
        &mut self,
        queue: &QueueOnDisk,
        number: i64,
        entry: &QueueEntry,
        facts: &QueueFacts,
    ) -> Result<Option<String>, OpenError> {
        let at = entry.physical_offset;
        if at >= self.log.end {
            return Ok(Some(format!("points at {at}, behind the end of the log")));
        }
        let files = self.log.files;
        let index = files
            .partition_point(|file| file.start <= at)
            .checked_sub(1);
        let Some(file) = index.and_then(|index| files.get(index)) else {
            return Ok(Some(format!("points at {at}, before the log")));
        };
        if self
            .current
            .as_ref()
            .is_none_or(|(start, _)| *start != file.start)
        {
            let reader = LogFileReader::open(file, CheckBody::Crc, &|_| {})?;
            self.current = Some((file.start, reader));
        }
        let Some((_, reader)) = &mut self.current else {
            return Ok(None);
        };
        let in_file = u64::try_from(at - file.start).unwrap_or(0);
        let Some(view) = reader.record_at(in_file)? else {
            return Ok(Some(format!(
                "points at {at} of the log, where no record begins"
            )));
        };
        let text = view.properties_text();
        let known = KnownProperties::read(&text);
        if !is_of(queue, number, &view, &known) {
            let (topic, id, offset) = (view.topic, view.queue_id, view.queue_offset);
            return Ok(Some(format!(
                "points at {at} of the log, which is number {offset} of queue {id} of {topic}"
            )));
        }
        if !facts.describes(entry, &view, &known) {
            return Ok(Some(format!(
                "has another size or tag than its record at {at} of the log"
            )));
        }
        Ok(None)
    }
}

/// Whether a record is this message of this queue, which may be a light one.
fn is_of(
    queue: &QueueOnDisk,
    number: i64,
    view: &RecordView<'_>,
    known: &KnownProperties<'_>,
) -> bool {
    let is_own = *view.topic == *queue.topic
        && view.queue_id == queue.queue_id
        && view.queue_offset == number;
    let mut light = known.light_entries(view);
    is_own
        || queue.queue_id == light::QUEUE_ID
            && light.any(|entry| *entry.queue == *queue.topic && entry.queue_offset == number)
}
