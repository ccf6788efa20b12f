//! The last step: a message is put where it goes, unless it went there before the start.

use thrustmq_proto_compat::message::record::{self, CheckBody, RecordView};
use thrustmq_store::{AppendError, Boundary, NewMessage, ReadError, ReadRequest, Store};

use super::{
    Departure, IDENTITIES_MAX, Progress, RETRY_MS, SEARCH_BYTES, SEARCH_MESSAGES, Service, Step,
    skipped,
};
use crate::timer::delivered::{Delivered, Identity};
use crate::timer::message::Outgoing;
use crate::waited::append_waited;

impl Service<'_> {
    /// Puts a message where it goes, unless it is there already.
    pub(super) fn depart(&mut self, progress: &mut Progress, departure: &Departure<'_>) -> Step {
        let Departure {
            view,
            waiting,
            text,
            leaving,
            is_checked,
        } = *departure;
        let outgoing = Outgoing::of(waiting, text, leaving);
        let known = progress.delivered.as_mut().filter(|_| is_checked);
        if let Some(delivered) = known {
            match self.was_delivered(delivered, progress.start.noted_read_ms, view, &outgoing) {
                Ok(true) => return Step::Done,
                Ok(false) => {}
                Err(ReadError::Damaged { .. }) => {
                    tracing::warn!(topic = outgoing.topic, "what was delivered cannot be read");
                }
                Err(error) => return self.fails_for_now(&error),
            }
        }
        let message = NewMessage {
            topic: &outgoing.topic,
            queue_id: outgoing.queue_id,
            prepared_transaction_offset: 0,
            ..view.as_new(&outgoing.properties)
        };
        match append_waited(self.store, &message) {
            Ok(appended) => {
                let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
                self.stats
                    .record_put(message.topic, message.queue_id, 1, bytes);
                progress.delivered_end = appended.end_offset;
                if leaving.rolls {
                    let behind = appended.queue_offset.saturating_add(1);
                    progress.known_end = progress.known_end.max(behind);
                }
                self.timer.left.add();
                self.succeeds();
                Step::Done
            }
            Err(AppendError::Illegal { .. } | AppendError::PropertiesTooLong { .. }) => {
                skipped("its topic cannot take it", view.physical_offset)
            }
            Err(error) => {
                self.fails(&error);
                Step::NotBefore(self.clock.now_ms().saturating_add(RETRY_MS))
            }
        }
    }

    fn was_delivered(
        &self,
        delivered: &mut Delivered,
        since_ms: i64,
        view: &RecordView<'_>,
        outgoing: &Outgoing,
    ) -> Result<bool, ReadError> {
        let identity = Identity::of(&outgoing.properties, view.born_timestamp, view.body);
        let Some(identity) = identity else {
            return Ok(false);
        };
        let (topic, queue_id) = (outgoing.topic.as_str(), outgoing.queue_id);
        let read = || delivered_since(self.store, topic, queue_id, since_ms);
        delivered.take(topic, queue_id, identity, read)
    }
}

/// Messages of a queue that came out of the timer at a time or later.
fn delivered_since(
    store: &Store,
    topic: &str,
    queue_id: i32,
    since_ms: i64,
) -> Result<Vec<Identity>, ReadError> {
    let mut offset = store.offset_by_time(topic, queue_id, since_ms, Boundary::Lower)?;
    let mut found = Vec::new();
    loop {
        let outcome = store.read(&ReadRequest {
            topic,
            queue_id,
            offset,
            messages_max: SEARCH_MESSAGES,
            bytes_max: SEARCH_BYTES,
            filter: None,
        })?;
        for record in &outcome.records {
            let Ok(view) = record::check(record, CheckBody::Skip) else {
                continue;
            };
            let text = view.properties_text();
            found.extend(Identity::of(&text, view.born_timestamp, view.body));
        }
        if outcome.next_offset <= offset || offset >= outcome.max_offset {
            return Ok(found);
        }
        if found.len() >= IDENTITIES_MAX {
            tracing::warn!(
                topic,
                queue_id,
                "too many messages were delivered since the timer's checkpoint: some may come twice"
            );
            return Ok(found);
        }
        offset = outcome.next_offset;
    }
}
