//! Up to where everything of a queue is accounted for: threads learn the offsets of what they stored in
//! another order than the log gave them.

use std::collections::BTreeSet;

/// Offsets of one queue that were accounted for.
#[derive(Debug, Default)]
pub(super) struct KnownOffsets {
    end: i64,
    /// Those behind a gap. What fills it is being stored by another thread.
    beyond: BTreeSet<i64>,
}

impl KnownOffsets {
    /// All before this one are accounted for.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    pub(super) fn add(&mut self, offset: i64) {
        if offset >= self.end {
            self.beyond.insert(offset);
            self.close_gaps();
        }
    }

    /// Everything before `end` is accounted for.
    pub(super) fn raise_to(&mut self, end: i64) {
        self.end = self.end.max(end);
        self.beyond = self.beyond.split_off(&self.end);
        self.close_gaps();
    }

    fn close_gaps(&mut self) {
        while self.beyond.remove(&self.end) {
            self.end += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_gaps() {
        let mut known = KnownOffsets::default();
        known.raise_to(5);
        known.add(6);
        assert_eq!(known.end(), 5);
        known.add(5);
        assert_eq!(known.end(), 7);
        known.add(3);
        known.add(9);
        known.raise_to(9);
        assert_eq!(known.end(), 10);
    }
}
