//! Leases as they are given, changed and ended: each step is written into the journal before it
//! counts. Called by the handlers and by `revive.rs`.

use std::sync::Arc;

use thrustmq_store::AppendError;

use super::Pop;
use super::journal::Checkpoint;
use super::queue_state::{GivenBack, Grant, Handle, Lease, NotNow, Taken};
use super::table::{Begin, DueLeases, Popping, QueueKey};
use crate::offset::OffsetTable;

/// Messages that a pop has read and now puts on lease.
#[derive(Debug)]
pub(crate) struct Read<'a> {
    pub(crate) start_offset: i64,
    pub(crate) pop_time_ms: i64,
    pub(crate) invisible_ms: i64,
    pub(crate) offsets: &'a [i64],
    /// They were popped before: it tells nothing of how far the group is.
    pub(crate) is_again: bool,
}

/// What became of an acknowledgement.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Acknowledged {
    /// Leases that have ended.
    pub(crate) messages: usize,
    /// What has to be on the disk for that to be safe.
    pub(crate) end_offset: i64,
}

/// A lease that goes on under another handle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changed {
    pub(crate) pop_time_ms: i64,
    /// What has to be on the disk for that to be safe.
    pub(crate) end_offset: i64,
}

impl Pop {
    /// Begins a pop of a queue.
    ///
    /// # Errors
    /// Another one is under way, or too many messages are on lease.
    pub(crate) fn begin(&self, key: &Arc<QueueKey>, begin: Begin) -> Result<Popping, NotNow> {
        let journal_queue = self.journal.queue_of(&key.group, &key.topic);
        self.table.begin(key, journal_queue, begin)
    }

    /// Puts messages on lease, and gives the end of the journal's record.
    pub(crate) fn lease(&self, popping: &Popping, read: &Read<'_>) -> Result<i64, AppendError> {
        let key = &popping.key;
        let journal_queue = self.journal.queue_of(&key.group, &key.topic);
        let _writing = self.begin_writing(journal_queue);
        let checkpoint = Checkpoint {
            start_offset: read.start_offset,
            pop_time_ms: read.pop_time_ms,
            invisible_ms: read.invisible_ms,
            offsets: read.offsets,
            is_written_again: read.is_again,
        };
        let appended = self.journal.write_checkpoint(key, &checkpoint)?;
        let lease = Lease {
            start_offset: read.start_offset,
            pop_time_ms: read.pop_time_ms,
            invisible_ms: read.invisible_ms,
            journal_offset: appended.queue_offset,
            attempts: 0,
        };
        let grant = Grant {
            lease,
            due_ms: lease.due_ms(),
            offsets: read.offsets.to_vec(),
        };
        self.table.grant(key, journal_queue, &grant);
        self.alarm.set_before(grant.due_ms);
        Ok(appended.end_offset)
    }

    /// Ends leases, all of one pop; handles that name none are passed over.
    pub(crate) fn acknowledge(
        &self,
        key: &QueueKey,
        handles: impl IntoIterator<Item = Handle>,
    ) -> Result<Acknowledged, AppendError> {
        let taken = self.table.take_acknowledged(key, handles);
        let Some(first) = taken.first() else {
            return Ok(Acknowledged::default());
        };
        match self.journal.write_done(key, &first.lease, &taken) {
            Ok(appended) => {
                let offsets = taken.iter().map(|one| one.offset);
                self.table.finish(key, offsets);
                Ok(Acknowledged {
                    messages: taken.len(),
                    end_offset: appended.end_offset,
                })
            }
            Err(error) => {
                for one in taken {
                    self.give_back(key, one, one.lease.due_ms());
                }
                Err(error)
            }
        }
    }

    /// Gives a message a new lease, from now on; `None` if the handle names none.
    pub(crate) fn change(
        &self,
        key: &QueueKey,
        handle: Handle,
        invisible_ms: i64,
    ) -> Result<Option<Changed>, AppendError> {
        let Some(taken) = self.table.take(key, handle) else {
            return Ok(None);
        };
        let _writing = self.begin_writing(self.journal.queue_of(&key.group, &key.topic));
        // Later than before even within one millisecond, or the old handle would name the new lease.
        let pop_time_ms = self
            .journal
            .clock
            .now_ms()
            .max(taken.lease.pop_time_ms.saturating_add(1));
        let checkpoint = Checkpoint {
            start_offset: handle.offset,
            pop_time_ms,
            invisible_ms,
            offsets: &[handle.offset],
            is_written_again: false,
        };
        let appended = match self.journal.write_checkpoint(key, &checkpoint) {
            Ok(appended) => appended,
            Err(error) => {
                self.give_back(key, taken, taken.lease.due_ms());
                return Err(error);
            }
        };
        // The new lease replaces the old one already; this record is for Java's brokers, which know
        // no better than to count them apart. Without it they would deliver the message once more.
        let ended = self.journal.write_done(key, &taken.lease, &[taken]);
        let lease = Lease {
            start_offset: handle.offset,
            pop_time_ms,
            invisible_ms,
            journal_offset: appended.queue_offset,
            attempts: 0,
        };
        let renewed = Taken { lease, ..taken };
        self.give_back(key, renewed, lease.due_ms());
        self.alarm.set_before(lease.due_ms());
        Ok(Some(Changed {
            pop_time_ms,
            end_offset: ended.map_or(appended.end_offset, |ended| ended.end_offset),
        }))
    }

    /// An operator sends a group to an offset: after a restart what the group popped before does not
    /// take it back to where it was.
    pub(crate) fn note_reset(&self, key: &QueueKey, offset: i64, offsets: &OffsetTable) {
        let journal_queue = self.journal.queue_of(&key.group, &key.topic);
        let marks = self.journal.store.watermarks();
        let is_all_in_queues = marks.dispatched >= marks.written;
        if is_all_in_queues && self.replayed(journal_queue, offsets).is_empty() {
            return;
        }
        let checkpoint = Checkpoint {
            start_offset: offset,
            pop_time_ms: self.journal.clock.now_ms(),
            invisible_ms: 0,
            offsets: &[],
            is_written_again: false,
        };
        if let Err(error) = self.journal.write_checkpoint(key, &checkpoint) {
            let QueueKey { group, topic, .. } = key;
            tracing::warn!(group, topic, %error, "a reset may not survive a restart: the journal of leases can not be written");
        }
    }

    /// A message went to its group's retry topic, or can not.
    pub(super) fn finish_revived(&self, key: &QueueKey, taken: Taken) {
        if let Err(error) = self.journal.write_done(key, &taken.lease, &[taken]) {
            let (topic, offset) = (&key.topic, taken.offset);
            tracing::warn!(topic, offset, %error, "message is delivered again, and after a restart once more: the journal of leases can not be written");
        }
        self.table.finish(key, [taken.offset]);
    }

    /// Gives a lease back; a message that was acknowledged meanwhile is done.
    pub(super) fn give_back(&self, key: &QueueKey, taken: Taken, due_ms: i64) {
        while self.table.give_back(key, taken, due_ms) == GivenBack::Acknowledged {
            if self.journal.write_done(key, &taken.lease, &[taken]).is_ok() {
                return self.table.finish(key, [taken.offset]);
            }
        }
    }

    /// Writes leases into the journal again that stand alone in its oldest record, so that the
    /// journal before them is no longer needed. Whether there were any.
    pub(super) fn write_again(&self, journal_queue: i32, oldest: i64) -> bool {
        let Some(due) = self.table.take_of_journal(journal_queue, oldest) else {
            return false;
        };
        let DueLeases { key, leases } = due;
        let Some(first) = leases.first().copied() else {
            return false;
        };
        let _writing = self.begin_writing(journal_queue);
        let offsets: Vec<i64> = leases.iter().map(|one| one.offset).collect();
        let checkpoint = Checkpoint {
            start_offset: first.lease.start_offset,
            pop_time_ms: first.lease.pop_time_ms,
            invisible_ms: first.lease.invisible_ms,
            offsets: &offsets,
            is_written_again: true,
        };
        let written = self.journal.write_checkpoint(&key, &checkpoint);
        let journal_offset = written.as_ref().map(|appended| appended.queue_offset);
        for mut one in leases {
            one.lease.journal_offset = journal_offset.unwrap_or(one.lease.journal_offset);
            self.give_back(&key, one, one.lease.due_ms());
        }
        written.is_ok()
    }

    fn begin_writing(&self, journal_queue: i32) -> super::table::Writing {
        let end = self.journal.end(journal_queue);
        self.table.begin_writing(journal_queue, end)
    }
}
