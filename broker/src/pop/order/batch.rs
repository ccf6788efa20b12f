//! One queue that one group pops in order, without I/O: at most one batch is in flight. The next pop
//! is given nothing until each message of the batch is done or visible again; then it reads from the
//! first message that is not done. A pop that repeats the attempt of the batch reads it again.
//!
//! The caller tells the time and where the group's committed offset is: what lies before that is done,
//! whatever the batch says.

use std::collections::BTreeMap;

use thrustmq_proto_compat::body::OrderInfo;

/// Messages of a batch at most: a bit each in Java's file.
const BATCH_MESSAGES_MAX: usize = 64;

/// A pop that was given messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant<'a> {
    /// The client's name for this attempt to receive; a repetition has the same.
    pub(crate) attempt_id: Option<&'a str>,
    pub(crate) pop_ms: i64,
    pub(crate) invisible_ms: i64,
    /// Offsets of the messages, ascending.
    pub(crate) offsets: &'a [i64],
}

/// What an acknowledgement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acked {
    /// The group goes on at this offset.
    Commit(i64),
    /// It is of a pop that another has taken the place of, or of a batch that nobody remembers.
    Stale,
    /// The batch has no such message.
    NotInBatch,
}

/// The batch in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    attempt_id: Option<String>,
    pop_ms: i64,
    invisible_ms: i64,
    /// Ascending, not empty, at most [`BATCH_MESSAGES_MAX`].
    offsets: Vec<i64>,
    /// A bit for each of `offsets`.
    done: u64,
    /// Where a client has changed it.
    visible_ms: BTreeMap<i64, i64>,
    /// How often a message was given before, if it was.
    consumed: BTreeMap<i64, i32>,
    granted_ms: i64,
}

impl Batch {
    /// The batch that a pop takes, in place of the one before. `None` if it has no message.
    pub(crate) fn granted(grant: Grant<'_>, before: Option<&Self>, now_ms: i64) -> Option<Self> {
        let offsets: Vec<i64> = grant
            .offsets
            .iter()
            .copied()
            .take(BATCH_MESSAGES_MAX)
            .collect();
        if offsets.is_empty() {
            return None;
        }
        let consumed = before.map(|before| before.counts_for(grant.attempt_id, &offsets));
        Some(Self {
            attempt_id: grant.attempt_id.map(str::to_owned),
            pop_ms: grant.pop_ms,
            invisible_ms: grant.invisible_ms,
            offsets,
            done: 0,
            visible_ms: BTreeMap::new(),
            consumed: consumed.unwrap_or_default(),
            granted_ms: now_ms,
        })
    }

    /// How often the messages of the next batch were given before.
    fn counts_for(&self, attempt_id: Option<&str>, offsets: &[i64]) -> BTreeMap<i64, i32> {
        if self.is_of(attempt_id) {
            // The same attempt once more: nobody has seen the messages.
            return self.consumed.clone();
        }
        let again = offsets
            .iter()
            .filter(|offset| self.offsets.contains(offset));
        again
            .map(|offset| {
                let before = self.consumed.get(offset).copied().unwrap_or(0);
                (*offset, before.saturating_add(1))
            })
            .collect()
    }

    /// How often each message was given before, where it was.
    pub(crate) fn consumed(&self) -> &BTreeMap<i64, i32> {
        &self.consumed
    }

    /// How often all of them were given before.
    pub(crate) fn consumed_min(&self) -> i32 {
        if self.consumed.len() < self.offsets.len() {
            return 0;
        }
        self.consumed.values().copied().min().unwrap_or(0)
    }

    /// When the batch was given.
    pub(crate) fn granted_ms(&self) -> i64 {
        self.granted_ms
    }

    /// Whether a pop of this attempt has to wait.
    pub(crate) fn blocks(&self, attempt_id: Option<&str>, committed: i64, now_ms: i64) -> bool {
        !self.is_of(attempt_id) && self.free_ms(committed) > now_ms
    }

    /// Whether every message is done.
    pub(crate) fn is_done(&self) -> bool {
        self.open(i64::MIN).next().is_none()
    }

    /// Where the group goes on: at the first message that is not done, or behind the last.
    pub(crate) fn next_offset(&self) -> i64 {
        let end = self.offsets.last().map_or(0, |last| last.saturating_add(1));
        self.open(i64::MIN).next().unwrap_or(end)
    }

    /// When every message is done or visible again.
    pub(crate) fn free_ms(&self, committed: i64) -> i64 {
        let open = self.open(committed);
        open.map(|offset| self.visible_ms_of(offset))
            .max()
            .unwrap_or(i64::MIN)
    }

    /// A client is done with a message that it got from the pop at `pop_ms`.
    pub(crate) fn ack(&mut self, offset: i64, pop_ms: i64) -> Acked {
        if pop_ms != self.pop_ms {
            return Acked::Stale;
        }
        let Ok(place) = self.offsets.binary_search(&offset) else {
            return Acked::NotInBatch;
        };
        self.done |= 1 << place;
        Acked::Commit(self.next_offset())
    }

    /// A client wants a message of the pop at `pop_ms` to be visible again at another time. Whether
    /// it is that pop's.
    pub(crate) fn change(&mut self, offset: i64, pop_ms: i64, visible_ms: i64) -> bool {
        let is_ours = pop_ms == self.pop_ms && self.offsets.binary_search(&offset).is_ok();
        if is_ours {
            self.visible_ms.insert(offset, visible_ms);
        }
        is_ours
    }

    fn is_of(&self, attempt_id: Option<&str>) -> bool {
        attempt_id.is_some() && self.attempt_id.as_deref() == attempt_id
    }

    fn open(&self, committed: i64) -> impl Iterator<Item = i64> {
        let places = self.offsets.iter().enumerate();
        let open = places
            .filter(move |(place, offset)| self.done & (1 << place) == 0 && **offset >= committed);
        open.map(|(_, offset)| *offset)
    }

    fn visible_ms_of(&self, offset: i64) -> i64 {
        let changed = self.visible_ms.get(&offset).copied();
        changed.unwrap_or(self.pop_ms.saturating_add(self.invisible_ms))
    }

    /// As `consumerOrderInfo.json` has it.
    pub(crate) fn to_info(&self) -> OrderInfo {
        let first = self.offsets.first().copied().unwrap_or(0);
        let distances = self.offsets.iter().skip(1).map(|offset| offset - first);
        OrderInfo {
            attempt_id: self.attempt_id.clone(),
            commit_offset_bit: self.done.cast_signed(),
            invisible_time: Some(self.invisible_ms),
            last_consume_timestamp: self.granted_ms,
            offset_list: std::iter::once(first).chain(distances).collect(),
            offset_consumed_count: (!self.consumed.is_empty()).then(|| self.consumed.clone()),
            offset_next_visible_time: (!self.visible_ms.is_empty())
                .then(|| self.visible_ms.clone()),
            pop_time: self.pop_ms,
        }
    }

    /// What the file says; `None` for what can not be a batch.
    pub(crate) fn of_info(info: OrderInfo) -> Option<Self> {
        let first = *info.offset_list.first()?;
        let rest = info.offset_list.iter().skip(1);
        let rest: Option<Vec<i64>> = rest.map(|distance| first.checked_add(*distance)).collect();
        let offsets: Vec<i64> = std::iter::once(first).chain(rest?).collect();
        let is_ascending = offsets.is_sorted_by(|a, b| a < b);
        if first < 0 || !is_ascending || offsets.len() > BATCH_MESSAGES_MAX {
            return None;
        }
        Some(Self {
            attempt_id: info.attempt_id,
            pop_ms: info.pop_time,
            invisible_ms: info.invisible_time.unwrap_or(0).max(0),
            offsets,
            done: info.commit_offset_bit.cast_unsigned(),
            visible_ms: info.offset_next_visible_time.unwrap_or_default(),
            consumed: info.offset_consumed_count.unwrap_or_default(),
            granted_ms: info.last_consume_timestamp,
        })
    }
}
