//! Queue entries beside the log: every record has its entry, every entry its record.
//!
//! Going along the log, each record looks its entry up; a queue whose entries were not all found so
//! is gone through entry by entry.

use std::collections::HashMap;
use std::path::Path;

use thrustmq_proto_compat::message::record::RecordView;
use thrustmq_proto_compat::message::sys_flag;

use crate::api::QueueEntry;
use crate::consume_queue::entry::{self, ENTRY_BYTES};
use crate::consume_queue::table::EntryPlace;
use crate::error::OpenError;
use crate::light;
use crate::record_properties::KnownProperties;

use super::entry_check::{LogOfEntries, QueuesChecked};
use super::finding::FindingKind;
use super::queue_facts::QueueFacts;

/// Entries of one read.
const BLOCK_ENTRIES: i64 = 128;
/// Blocks that are kept in memory, 3 KB each.
const BLOCKS_MAX: usize = 10_000;

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
        let place = EntryPlace {
            topic: view.topic,
            queue_id: view.queue_id,
            queue_offset: view.queue_offset,
        };
        self.check_entry(place, view, known)
    }

    /// Looks up the entries that a record has in light queues.
    pub(super) fn check_light(
        &mut self,
        view: &RecordView<'_>,
        known: &KnownProperties<'_>,
    ) -> Result<(), OpenError> {
        let facts = self.facts;
        for light in known.light_entries(view) {
            let (topic, queue_id) = (light.queue, light::QUEUE_ID);
            // A store that keeps no light queues makes no entries in them.
            let Some(begin) = facts.begin(topic, queue_id) else {
                continue;
            };
            let is_old = begin.physical_offset > view.physical_offset
                || begin.number > light.queue_offset
                || facts.deletions.covers(topic, view.physical_offset);
            if !is_old {
                let place = EntryPlace {
                    topic,
                    queue_id,
                    queue_offset: light.queue_offset,
                };
                self.check_entry(place, view, known)?;
            }
        }
        Ok(())
    }

    fn check_entry(
        &mut self,
        place: EntryPlace<'_>,
        view: &RecordView<'_>,
        known: &KnownProperties<'_>,
    ) -> Result<Standing, OpenError> {
        let facts = self.facts;
        if facts
            .queue(place.topic, place.queue_id)
            .is_none_or(|queue| queue.end <= place.queue_offset)
        {
            return Ok(self.miss(place, view));
        }
        let entry = self.entry(place)?;
        if facts.describes(&entry, view, known) {
            self.tally(place.topic, place.queue_id).matched += 1;
            return Ok(Standing::Present);
        }
        if entry::is_blank(&entry) {
            return Ok(self.miss(place, view));
        }
        // Of an earlier life, or its entry is wrong: that is found from the entry's side.
        Ok(Standing::Old)
    }

    fn miss(&mut self, place: EntryPlace<'_>, view: &RecordView<'_>) -> Standing {
        if self.facts.aborted && view.physical_offset >= self.facts.queues_end {
            self.undispatched += 1;
            return Standing::Missing;
        }
        let missing = Missing {
            count: 1,
            queue_offset: place.queue_offset,
            physical_offset: view.physical_offset,
        };
        Missing::add(
            &mut self.tally(place.topic, place.queue_id).missing,
            missing,
        );
        Standing::Missing
    }

    fn entry(&mut self, place: EntryPlace<'_>) -> Result<QueueEntry, OpenError> {
        const NONE: QueueEntry = QueueEntry {
            physical_offset: 0,
            record_bytes: 0,
            tags_code: 0,
        };
        let Some(queue) = self.facts.queue(place.topic, place.queue_id) else {
            return Ok(NONE);
        };
        if self.blocks > BLOCKS_MAX {
            let tallies = self.tallies.values_mut().flat_map(HashMap::values_mut);
            tallies.for_each(|tally| tally.block = Vec::new());
            self.blocks = 0;
        }
        let number = place.queue_offset;
        let tally = self.tally(place.topic, place.queue_id);
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
