//! Queue entries beside the log: every record has its entry, every entry its record.
//!
//! Going along the log, each record looks its entry up; a queue whose entries were not all found so
//! is gone through entry by entry.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::message::record::{CheckBody, RecordView};
use thrustmq_proto_compat::message::sys_flag;

use crate::api::QueueEntry;
use crate::checkpoint::read_checkpoint;
use crate::consume_queue::entry::{self, ENTRY_BYTES};
use crate::deletions::Deletions;
use crate::dispatch::{KnownProperties, tags_code_of};
use crate::error::OpenError;
use crate::layout::Layout;
use crate::options::StoreOptions;

use super::directory::OffsetFile;
use super::finding::{FindingKind, Findings};
use super::log_walk::LogFileReader;
use super::queue_files::{QueueOnDisk, Queues, end_of, find_queues, points_into};

/// Entries of one read.
const BLOCK_ENTRIES: i64 = 128;
/// Blocks that are kept in memory, 3 KB each.
const BLOCKS_MAX: usize = 10_000;
/// Entries of these queues belong to records of other topics (Java: `MixAll.LMQ_PREFIX`).
const LIGHT_QUEUE_PREFIX: &str = "%LMQ%";

/// What all threads know of the queues.
#[derive(Debug)]
pub(super) struct QueueFacts {
    pub(super) queues: Queues,
    /// First entry of each queue that points into the log, and its physical offset.
    begins: HashMap<Box<str>, TopicBegin>,
    pub(super) log_min: i64,
    /// Behind the last record that any queue has an entry of.
    pub(super) queues_end: i64,
    /// The store was not closed: its next start makes what is missing at the end.
    pub(super) aborted: bool,
    /// The log was on the disk before this, as the checkpoint says; 0 if it does not.
    pub(super) on_disk: i64,
    deletions: Deletions,
    delay_levels_ms: Vec<i64>,
}

/// Where the entries of a topic begin; its records before are of an earlier life of the topic.
#[derive(Debug)]
struct TopicBegin {
    physical_offset: i64,
    queues: BTreeMap<i32, QueueBegin>,
}

#[derive(Debug, Clone, Copy)]
struct QueueBegin {
    number: i64,
    physical_offset: i64,
}

impl QueueFacts {
    pub(super) fn of(layout: &Layout, log_min: i64) -> Result<Self, OpenError> {
        let queues = find_queues(&layout.consume_queue)?;
        let checkpoint = read_checkpoint(&layout.checkpoint)?;
        let offsets = checkpoint.and_then(|checkpoint| checkpoint.offsets);
        let closed = offsets.and_then(|offsets| offsets.closed);
        let mut begins = HashMap::new();
        let mut queues_end = log_min;
        for (topic, of_topic) in &queues {
            let mut begin = TopicBegin {
                physical_offset: i64::MAX,
                queues: BTreeMap::new(),
            };
            for (queue_id, queue) in of_topic {
                let number = queue.range(log_min)?.min;
                let first = queue.entries(number, 1)?;
                let physical_offset = first
                    .first()
                    .map_or(i64::MAX, |entry| entry.physical_offset);
                begin.physical_offset = begin.physical_offset.min(physical_offset);
                let of_queue = QueueBegin {
                    number,
                    physical_offset,
                };
                begin.queues.insert(*queue_id, of_queue);
                let last = queue.last(log_min)?;
                queues_end = queues_end.max(last.map_or(log_min, |last| end_of(&last)));
            }
            begins.insert(topic.clone(), begin);
        }
        Ok(Self {
            queues,
            begins,
            log_min,
            queues_end,
            aborted: layout.was_aborted()? || offsets.is_some() && closed.is_none(),
            on_disk: offsets.map_or(0, |offsets| closed.unwrap_or(offsets.flushed)),
            deletions: Deletions::open(layout.disk.clone(), layout.deleted_topics.clone())?,
            delay_levels_ms: StoreOptions::default().delay_levels_ms,
        })
    }

    fn queue(&self, topic: &str, queue_id: i32) -> Option<&QueueOnDisk> {
        self.queues.get(topic)?.get(&queue_id)
    }

    fn begin(&self, topic: &str, queue_id: i32) -> Option<QueueBegin> {
        self.begins.get(topic)?.queues.get(&queue_id).copied()
    }

    /// Whether an entry says of a record what it should.
    fn describes(
        &self,
        entry: &QueueEntry,
        view: &RecordView<'_>,
        known: &KnownProperties<'_>,
    ) -> bool {
        let at_place = entry.physical_offset == view.physical_offset
            && usize::try_from(entry.record_bytes) == Ok(view.record_bytes);
        // Times of delivery depend on the broker's delay levels, and codes below all hashes are
        // places in Java's extended queues.
        let is_free = view.topic == names::SCHEDULE_TOPIC || entry.tags_code < i64::from(i32::MIN);
        at_place && (is_free || entry.tags_code == tags_code_of(view, known, &self.delay_levels_ms))
    }
}

/// What became of the records of one queue.
#[derive(Debug, Default)]
struct Tally {
    block_first: i64,
    block: Vec<QueueEntry>,
    /// Records whose entry is right.
    matched: i64,
    /// Records without an entry.
    missing: Option<Missing>,
}

/// Records of one queue that have no entry.
#[derive(Debug, Clone, Copy)]
struct Missing {
    count: u64,
    queue_offset: i64,
    physical_offset: i64,
}

impl Missing {
    fn add(into: &mut Option<Self>, other: Self) {
        *into = Some(match *into {
            None => other,
            Some(mut all) => {
                all.count += other.count;
                if other.physical_offset < all.physical_offset {
                    all.queue_offset = other.queue_offset;
                    all.physical_offset = other.physical_offset;
                }
                all
            }
        });
    }
}

/// What a record is to its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has an entry, or needs none.
    Present,
    /// It should have an entry.
    Missing,
    /// It was left behind by an earlier life of its topic.
    Old,
}

/// The records of one thread, beside their queues.
#[derive(Debug)]
pub(super) struct QueueChecker<'a> {
    facts: &'a QueueFacts,
    tallies: HashMap<Box<str>, HashMap<i32, Tally>>,
    blocks: usize,
    /// Records that the next start will dispatch.
    undispatched: u64,
    /// Records of topics that have no queue.
    topicless: u64,
}

impl<'a> QueueChecker<'a> {
    pub(super) fn new(facts: &'a QueueFacts) -> Self {
        Self {
            facts,
            tallies: HashMap::new(),
            blocks: 0,
            undispatched: 0,
            topicless: 0,
        }
    }

    /// Looks the entry of a record up.
    pub(super) fn check(
        &mut self,
        view: &RecordView<'_>,
        known: &KnownProperties<'_>,
    ) -> Result<Standing, OpenError> {
        if !sys_flag::has_queue_entry(view.sys_flag) {
            return Ok(Standing::Present);
        }
        let facts = self.facts;
        if facts.deletions.covers(view.topic, view.physical_offset) {
            return Ok(Standing::Old);
        }
        let Some(topic) = facts.begins.get(view.topic) else {
            self.topicless += 1;
            return Ok(Standing::Old);
        };
        let begin = facts.begin(view.topic, view.queue_id);
        if begin.map_or(topic.physical_offset, |begin| begin.physical_offset) > view.physical_offset
            || begin.is_some_and(|begin| begin.number > view.queue_offset)
        {
            return Ok(Standing::Old);
        }
        if facts
            .queue(view.topic, view.queue_id)
            .is_none_or(|queue| queue.end <= view.queue_offset)
        {
            return Ok(self.miss(view));
        }
        let entry = self.entry(view)?;
        if facts.describes(&entry, view, known) {
            self.tally(view.topic, view.queue_id).matched += 1;
            return Ok(Standing::Present);
        }
        if entry::is_blank(&entry) {
            return Ok(self.miss(view));
        }
        // Of an earlier life, or its entry is wrong: that is found from the entry's side.
        Ok(Standing::Old)
    }

    fn miss(&mut self, view: &RecordView<'_>) -> Standing {
        if self.facts.aborted && view.physical_offset >= self.facts.queues_end {
            self.undispatched += 1;
            return Standing::Missing;
        }
        let missing = Missing {
            count: 1,
            queue_offset: view.queue_offset,
            physical_offset: view.physical_offset,
        };
        Missing::add(&mut self.tally(view.topic, view.queue_id).missing, missing);
        Standing::Missing
    }

    fn entry(&mut self, view: &RecordView<'_>) -> Result<QueueEntry, OpenError> {
        const NONE: QueueEntry = QueueEntry {
            physical_offset: 0,
            record_bytes: 0,
            tags_code: 0,
        };
        let Some(queue) = self.facts.queue(view.topic, view.queue_id) else {
            return Ok(NONE);
        };
        if self.blocks > BLOCKS_MAX {
            let tallies = self.tallies.values_mut().flat_map(HashMap::values_mut);
            tallies.for_each(|tally| tally.block = Vec::new());
            self.blocks = 0;
        }
        let number = view.queue_offset;
        let tally = self.tally(view.topic, view.queue_id);
        let held = |tally: &Tally| {
            let at = usize::try_from(number - tally.block_first).ok()?;
            tally.block.get(at).copied()
        };
        if let Some(entry) = held(tally) {
            return Ok(entry);
        }
        let is_new = tally.block.is_empty();
        tally.block = queue.entries(number, BLOCK_ENTRIES)?;
        tally.block_first = number;
        let entry = held(tally).unwrap_or(NONE);
        self.blocks += usize::from(is_new);
        Ok(entry)
    }

    fn tally(&mut self, topic: &str, queue_id: i32) -> &mut Tally {
        if !self.tallies.contains_key(topic) {
            self.tallies.insert(topic.into(), HashMap::new());
        }
        let tallies = self.tallies.get_mut(topic).expect("inserted above");
        tallies.entry(queue_id).or_default()
    }

    /// Adds what another thread counted.
    pub(super) fn merge(&mut self, other: Self) {
        self.undispatched += other.undispatched;
        self.topicless += other.topicless;
        for (topic, queues) in other.tallies {
            for (queue_id, theirs) in queues {
                let ours = self.tally(&topic, queue_id);
                ours.matched += theirs.matched;
                if let Some(missing) = theirs.missing {
                    Missing::add(&mut ours.missing, missing);
                }
            }
        }
    }

    /// Judges the queues once all records were seen.
    pub(super) fn finish(
        mut self,
        log: &LogOfEntries<'_>,
        queue_dir: &Path,
    ) -> Result<QueuesChecked, OpenError> {
        let facts = self.facts;
        let mut checked = QueuesChecked {
            undispatched: self.undispatched,
            topicless: self.topicless,
            ..QueuesChecked::default()
        };
        let mut topics: Vec<_> = facts.queues.iter().collect();
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        for queue in topics.into_iter().flat_map(|(_, queues)| queues.values()) {
            let matched = self.tally(&queue.topic, queue.queue_id).matched;
            checked.judge(queue, matched, facts, log)?;
        }
        for (topic, queues) in &self.tallies {
            for (queue_id, tally) in queues {
                let Some(missing) = tally.missing else {
                    continue;
                };
                let dir = queue_dir.join(&**topic).join(queue_id.to_string());
                let at = missing.queue_offset.saturating_mul(ENTRY_BYTES as i64);
                let at = u64::try_from(at).unwrap_or(0);
                checked.findings.add(FindingKind::MissingQueueEntry, &dir, at, &|| {
                    let Missing { count, queue_offset, physical_offset } = missing;
                    format!("{count} records of the log have no entry here, the first is number {queue_offset} at offset {physical_offset} of the log")
                });
            }
        }
        Ok(checked)
    }
}

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
    fn judge(
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
        if queue.topic.starts_with(LIGHT_QUEUE_PREFIX) {
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
        let is_of_queue = *view.topic == *queue.topic && view.queue_id == queue.queue_id;
        if !is_of_queue || view.queue_offset != number {
            let (topic, id, offset) = (view.topic, view.queue_id, view.queue_offset);
            return Ok(Some(format!(
                "points at {at} of the log, which is number {offset} of queue {id} of {topic}"
            )));
        }
        let text = view.properties_text();
        if !facts.describes(entry, &view, &KnownProperties::read(&text)) {
            return Ok(Some(format!(
                "has another size or tag than its record at {at} of the log"
            )));
        }
        Ok(None)
    }
}
