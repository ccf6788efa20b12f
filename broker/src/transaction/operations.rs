//! Which half messages have to be marked as done, and which marks are still needed: the op queue,
//! without store or clock.
//!
//! A mark is an offset of the half queue. Commits are marked in batches, a little later, as in Java;
//! until then the message that the commit stored is all that tells of it. So that a start need not
//! look for such messages in the whole log, each batch vouches: all commits that lie before some
//! place of the log are marked, by it or by batches before it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use super::known_offsets::KnownOffsets;

/// Stands behind every offset of a batch.
const SEPARATOR: char = ',';

/// How marks are gathered: `transactionOpMsgMaxSize`, `transactionOpBatchInterval`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchRules {
    pub(crate) bytes_max: usize,
    pub(crate) interval_ms: i64,
}

/// Marks to be written as one op message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) half_offsets: Vec<i64>,
    /// Commits before this place of the log are all marked once this batch is written.
    pub(crate) vouched: i64,
}

impl Batch {
    /// The body of the op message.
    pub(crate) fn body(&self) -> String {
        let mut body = String::new();
        for offset in &self.half_offsets {
            push(&mut body, *offset);
        }
        body
    }
}

/// The half offsets in the body of an op message. What is no number is left out.
pub(crate) fn half_offsets(body: &[u8]) -> Vec<i64> {
    let text = String::from_utf8_lossy(body);
    let numbers = text.split(SEPARATOR);
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn push(body: &mut String, offset: i64) {
    // Writing to a String cannot fail.
    let _ = write!(body, "{offset}{SEPARATOR}");
}

/// Marks that wait to be written, and op messages that are still needed.
#[derive(Debug, Default)]
pub(super) struct Operations {
    pending: VecDeque<i64>,
    pending_bytes: usize,
    pending_since_ms: i64,
    /// The highest half offset that each op message marks.
    written: BTreeMap<i64, i64>,
    known: KnownOffsets,
    /// Commits under way, by where the log ended when they began.
    commits: BTreeMap<i64, u32>,
    vouched: i64,
}

impl Operations {
    /// A commit begins to store its message behind `log_end`.
    pub(super) fn commit_begins(&mut self, log_end: i64) {
        *self.commits.entry(log_end).or_default() += 1;
    }

    /// It has stored it and marked its half message, or has given up.
    pub(super) fn commit_ends(&mut self, log_end: i64) {
        if let Some(count) = self.commits.get_mut(&log_end) {
            *count -= 1;
            if *count == 0 {
                self.commits.remove(&log_end);
            }
        }
    }

    /// A half offset is to be marked.
    pub(super) fn mark(&mut self, half_offset: i64, now_ms: i64) {
        if self.pending.is_empty() {
            self.pending_since_ms = now_ms;
        }
        self.pending.push_back(half_offset);
        self.pending_bytes += text_bytes(half_offset);
    }

    /// When the next batch is to be written; `None` if there is nothing to write.
    pub(super) fn due_ms(&self, rules: &BatchRules) -> Option<i64> {
        if self.pending.is_empty() {
            return None;
        }
        if self.pending_bytes >= rules.bytes_max {
            return Some(i64::MIN);
        }
        Some(self.pending_since_ms.saturating_add(rules.interval_ms))
    }

    /// The next batch, full or not. The log ended at `log_end` or behind it when this was called.
    pub(super) fn take(&mut self, log_end: i64, rules: &BatchRules) -> Option<Batch> {
        let mut half_offsets = Vec::new();
        let mut bytes = 0;
        while bytes < rules.bytes_max.max(1) {
            let Some(offset) = self.pending.pop_front() else {
                break;
            };
            bytes += text_bytes(offset);
            half_offsets.push(offset);
        }
        self.pending_bytes -= bytes;
        if half_offsets.is_empty() {
            return None;
        }
        let vouched = if self.pending.is_empty() {
            let oldest = self.commits.first_key_value();
            oldest.map_or(log_end, |(begun_at, _)| log_end.min(*begun_at))
        } else {
            self.vouched
        };
        Some(Batch {
            half_offsets,
            vouched,
        })
    }

    /// One mark that is written at once, as that of a rollback: nothing else tells of it.
    pub(super) fn alone(&self, half_offset: i64) -> Batch {
        Batch {
            half_offsets: vec![half_offset],
            vouched: self.vouched,
        }
    }

    /// A batch is in the op queue.
    pub(super) fn written(&mut self, op_offset: i64, batch: &Batch) {
        self.vouched = self.vouched.max(batch.vouched);
        self.known.add(op_offset);
        let highest = batch.half_offsets.iter().max().copied();
        self.written.insert(op_offset, highest.unwrap_or(-1));
    }

    /// A batch could not be written: it comes first again.
    pub(super) fn not_written(&mut self, batch: &Batch, now_ms: i64) {
        self.pending_since_ms = now_ms;
        for offset in batch.half_offsets.iter().rev() {
            self.pending.push_front(*offset);
            self.pending_bytes += text_bytes(*offset);
        }
    }

    /// The op queue was read up to `end`.
    pub(super) fn read_to(&mut self, end: i64) {
        self.known.raise_to(end);
    }

    /// Everything of the op queue before this offset marks only what the half queue has passed, which
    /// is all before `half_done_before`.
    pub(super) fn done_before(&mut self, half_done_before: i64) -> i64 {
        while let Some(first) = self.written.first_entry() {
            if *first.get() >= half_done_before {
                return self.known.end().min(*first.key());
            }
            first.remove();
        }
        self.known.end()
    }
}

fn text_bytes(offset: i64) -> usize {
    let digits = offset.checked_ilog10().unwrap_or(0) as usize + 1;
    digits + SEPARATOR.len_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BatchRules = BatchRules {
        bytes_max: 6,
        interval_ms: 100,
    };

    fn operations(half_offsets: &[i64]) -> Operations {
        let mut operations = Operations::default();
        for offset in half_offsets {
            operations.mark(*offset, 50);
        }
        operations
    }

    #[test]
    fn a_batch_is_due_when_it_is_full_or_has_waited() {
        assert_eq!(operations(&[]).due_ms(&RULES), None);
        assert_eq!(operations(&[1, 2]).due_ms(&RULES), Some(150));
        assert_eq!(operations(&[1, 2, 10]).due_ms(&RULES), Some(i64::MIN));
    }

    #[test]
    fn bodies_are_written_and_read_as_java_does() {
        let mut marked = operations(&[0, 17, 5]);
        let first = marked.take(1_000, &RULES).unwrap();
        assert_eq!(first.body(), "0,17,5,");
        assert_eq!(half_offsets(b"0,17,5,"), [0, 17, 5]);
        assert_eq!(half_offsets(b"x,,-1,8"), [-1, 8]);
        assert_eq!(marked.take(1_000, &RULES), None);
        assert_eq!((first.vouched, marked.pending_bytes), (1_000, 0));
    }

    #[test]
    fn a_batch_vouches_only_for_what_nobody_is_committing() {
        let mut marked = operations(&[1, 2, 3, 4]);
        marked.commit_begins(700);
        marked.commit_begins(700);
        let full = marked.take(1_000, &RULES).unwrap();
        assert_eq!((full.half_offsets.len(), full.vouched), (3, 0));
        marked.commit_ends(700);
        let rest = marked.take(1_000, &RULES).unwrap();
        assert_eq!((rest.half_offsets.len(), rest.vouched), (1, 700));
        marked.not_written(&rest, 60);
        marked.commit_ends(700);
        assert_eq!(marked.take(1_000, &RULES).unwrap().vouched, 1_000);
        marked.written(0, &rest);
        assert_eq!(marked.alone(9).vouched, 700);
    }

    #[test]
    fn op_messages_are_done_once_the_half_queue_has_passed_all_that_they_mark() {
        let mut marked = operations(&[]);
        marked.read_to(3);
        for (op_offset, half_offset) in [(3, 10), (5, 11), (4, 20)] {
            let batch = marked.alone(half_offset);
            marked.written(op_offset, &batch);
        }
        assert_eq!(marked.done_before(10), 3);
        assert_eq!(marked.done_before(12), 4);
        assert_eq!(marked.done_before(21), 6);
    }
}
