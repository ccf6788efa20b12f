//! One queue as one group pops it: which messages are on lease, until when, and who may end a lease.
//!
//! Decisions only: no store, no clock, no lock. `table.rs` keeps one for each queue with leases and
//! calls it under its lock; the same calls rebuild it from the journal after a start.
//!
//! A message that was popped has one lease, or is done. A lease is named by its [`Handle`]; the pop
//! time in it changes with every new lease, so that an old handle names nothing. Whoever is about to
//! end a lease takes it first, writes that into the journal, and finishes it then: what was not
//! written is given back. An acknowledgement that finds the lease taken is not lost: who took it is
//! told when it gives the lease back.

use std::collections::{BTreeMap, BTreeSet};

/// Names a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Handle {
    /// The message's place in its queue.
    pub(crate) offset: i64,
    /// When it was popped, milliseconds.
    pub(crate) pop_time_ms: i64,
}

/// A message on lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Where the pop began that it is part of.
    pub(crate) start_offset: i64,
    /// When it was popped, milliseconds.
    pub(crate) pop_time_ms: i64,
    /// For how long it is nobody else's, milliseconds.
    pub(crate) invisible_ms: i64,
    /// Which record of the journal holds it.
    pub(crate) journal_offset: i64,
    /// How often it could not be delivered again.
    pub(crate) attempts: u32,
}

impl Lease {
    /// When the message goes to its group again, milliseconds.
    pub(crate) fn due_ms(&self) -> i64 {
        self.pop_time_ms.saturating_add(self.invisible_ms)
    }
}

/// Leases of messages that were popped together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// What is the same for all of them.
    pub(crate) lease: Lease,
    /// When they are due, milliseconds.
    pub(crate) due_ms: i64,
    /// The messages.
    pub(crate) offsets: Vec<i64>,
}

/// Why nothing can be popped now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotNow {
    /// Somebody else is popping.
    Busy,
    /// Too many messages are on lease.
    Full,
}

/// A lease that was taken, and of which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) offset: i64,
    pub(crate) lease: Lease,
}

/// What is left to do for who gives a lease back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenBack {
    /// Nothing: it goes on.
    OnLease,
    /// The message was acknowledged meanwhile: the lease is still taken, and has to be finished.
    Acknowledged,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    lease: Lease,
    due_ms: i64,
    is_taken: bool,
    /// An acknowledgement came while it was taken.
    is_acknowledged: bool,
}

/// The leases of one queue to one group.
#[derive(Debug, Default)]
pub(crate) struct QueueState {
    is_busy: bool,
    leases: BTreeMap<i64, Held>,
    /// Leases that nobody has taken, by the time at which they are due.
    due: BTreeSet<(i64, i64)>,
    /// How many leases each record of the journal holds.
    by_journal: BTreeMap<i64, usize>,
}

impl QueueState {
    /// Begins a pop from `start_offset`: until [`QueueState::end`] nobody else can begin one.
    ///
    /// # Errors
    /// Another pop is under way, or `leases_max` messages are on lease.
    pub(crate) fn begin(
        &mut self,
        start_offset: i64,
        pop_time_ms: i64,
        leases_max: usize,
    ) -> Result<(), NotNow> {
        // The group was sent back within one millisecond: the old handles would name the new leases.
        let names_clash = || {
            let mut again = self.leases.range(start_offset..);
            again.any(|(_, held)| held.lease.pop_time_ms == pop_time_ms)
        };
        if self.is_busy || names_clash() {
            return Err(NotNow::Busy);
        }
        if self.leases.len() >= leases_max {
            return Err(NotNow::Full);
        }
        self.is_busy = true;
        Ok(())
    }

    /// Ends a pop.
    pub(crate) fn end(&mut self) {
        self.is_busy = false;
    }

    /// Puts messages on lease; a message that was on lease before has this lease from now on.
    pub(crate) fn grant(&mut self, grant: &Grant) {
        for offset in &grant.offsets {
            self.remove(*offset);
            self.insert(*offset, grant.lease, grant.due_ms);
        }
    }

    /// As [`QueueState::grant`], as the journal tells it: what has a younger lease keeps that. Java's
    /// checkpoints come late, and a lease may have been changed before.
    pub(crate) fn grant_recorded(&mut self, mut grant: Grant) {
        let is_younger = |held: &Held| held.lease.pop_time_ms > grant.lease.pop_time_ms;
        let leases = &self.leases;
        grant
            .offsets
            .retain(|offset| !leases.get(offset).is_some_and(is_younger));
        self.grant(&grant);
    }

    /// Takes the lease that a handle names; `None` if there is none, or somebody has it.
    pub(crate) fn take(&mut self, handle: Handle) -> Option<Taken> {
        self.take_for(handle, false)
    }

    /// As [`QueueState::take`], to acknowledge: who has the lease is told.
    pub(crate) fn take_acknowledged(&mut self, handle: Handle) -> Option<Taken> {
        self.take_for(handle, true)
    }

    /// Takes leases that are due, the oldest first.
    pub(crate) fn take_due(&mut self, now_ms: i64, leases_max: usize) -> Vec<Taken> {
        let due = self.due.range(..=(now_ms, i64::MAX)).take(leases_max);
        let due: Vec<i64> = due.map(|(_, offset)| *offset).collect();
        due.into_iter()
            .filter_map(|offset| self.take_at(offset))
            .collect()
    }

    /// Takes the leases that one record of the journal holds, to write them again.
    pub(crate) fn take_of_journal(&mut self, journal_offset: i64) -> Vec<Taken> {
        let free = self.leases.iter().filter(|(_, held)| !held.is_taken);
        let of_record = free.filter(|(_, held)| held.lease.journal_offset == journal_offset);
        let offsets: Vec<i64> = of_record.map(|(offset, _)| *offset).collect();
        offsets
            .into_iter()
            .filter_map(|offset| self.take_at(offset))
            .collect()
    }

    /// A message whose lease was taken is done; one that was popped anew meanwhile is not.
    pub(crate) fn finish(&mut self, offset: i64) {
        if self.is_taken(offset) {
            self.remove(offset);
        }
    }

    /// Gives a taken lease back, as it was or as it is now written in the journal. That of a message
    /// that was popped anew meanwhile is over.
    pub(crate) fn give_back(&mut self, offset: i64, lease: Lease, due_ms: i64) -> GivenBack {
        if !self.is_taken(offset) {
            return GivenBack::OnLease;
        }
        let is_acknowledged = self
            .leases
            .get(&offset)
            .is_some_and(|held| held.is_acknowledged);
        self.remove(offset);
        self.insert(offset, lease, due_ms);
        if is_acknowledged {
            self.take_at(offset);
            return GivenBack::Acknowledged;
        }
        GivenBack::OnLease
    }

    /// When the next lease is due.
    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// How many messages are on lease.
    pub(crate) fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// The oldest record of the journal that holds a lease.
    pub(crate) fn oldest_journal_offset(&self) -> Option<i64> {
        self.by_journal.keys().next().copied()
    }

    /// Whether it can be forgotten.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_busy && self.leases.is_empty()
    }

    fn take_for(&mut self, handle: Handle, to_acknowledge: bool) -> Option<Taken> {
        let held = self.leases.get_mut(&handle.offset)?;
        if held.lease.pop_time_ms != handle.pop_time_ms {
            return None;
        }
        if held.is_taken {
            held.is_acknowledged |= to_acknowledge;
            return None;
        }
        self.take_at(handle.offset)
    }

    fn is_taken(&self, offset: i64) -> bool {
        self.leases.get(&offset).is_some_and(|held| held.is_taken)
    }

    fn take_at(&mut self, offset: i64) -> Option<Taken> {
        let held = self.leases.get_mut(&offset)?;
        held.is_taken = true;
        self.due.remove(&(held.due_ms, offset));
        let lease = held.lease;
        Some(Taken { offset, lease })
    }

    fn insert(&mut self, offset: i64, lease: Lease, due_ms: i64) {
        let held = Held {
            lease,
            due_ms,
            is_taken: false,
            is_acknowledged: false,
        };
        self.leases.insert(offset, held);
        self.due.insert((due_ms, offset));
        *self.by_journal.entry(lease.journal_offset).or_default() += 1;
    }

    fn remove(&mut self, offset: i64) {
        let Some(held) = self.leases.remove(&offset) else {
            return;
        };
        self.due.remove(&(held.due_ms, offset));
        let journal_offset = held.lease.journal_offset;
        if let Some(count) = self.by_journal.get_mut(&journal_offset) {
            *count -= 1;
            if *count == 0 {
                self.by_journal.remove(&journal_offset);
            }
        }
    }
}

#[cfg(test)]
mod tests;
