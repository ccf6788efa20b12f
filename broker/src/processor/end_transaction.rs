//! The ends of transactions: 37, and 323, which lets one that was given up be asked about again.
//!
//! 37 runs on a pool of its own, mostly oneway. What counts is the transaction, not the record that a
//! producer names: a check may have stored the half message again meanwhile.

use bytes::Bytes;
use thrustmq_proto_compat::header::{
    EndTransactionRequestHeader, ResumeCheckHalfMessageRequestHeader,
};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::names::HALF_TOPIC;
use thrustmq_proto_compat::message::properties::{self, Properties};
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody, RecordView};
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply, Responder};
use thrustmq_store::Appended;

use super::send_refusals::end_refusal;
use crate::broker::Broker;
use crate::config::{BrokerConfig, FlushDiskType};
use crate::refusal;
use crate::timer::{self, ForTimer, Scheduled, WAITING_IN};
use crate::transaction::{
    self, BeginEnd, Ending, HALF_QUEUE, Immunity, RealPlace, committed, committed_properties,
};

/// 37 END_TRANSACTION.
pub(crate) fn end_transaction(
    broker: &Broker,
    incoming: Incoming<EndTransactionRequestHeader>,
    responder: Responder,
) {
    let config = broker.config.current();
    let end = End {
        broker,
        config: &config,
        header: &incoming.header,
    };
    match end.take() {
        Ok(Some(waits_for)) => {
            let answer = move |_| responder.send(Ok(Reply::success()));
            broker.store.when_flushed(waits_for, Box::new(answer));
        }
        Ok(None) => responder.send(Ok(Reply::success())),
        Err(refusal) => responder.refuse(refusal),
    }
}

/// The wish of a producer to end a transaction.
struct End<'a> {
    broker: &'a Broker,
    config: &'a BrokerConfig,
    header: &'a EndTransactionRequestHeader,
}

impl End<'_> {
    /// What has to be on the disk before the answer, if the producer waits for that.
    fn take(&self) -> Result<Option<i64>, Refusal> {
        let wish = self.header.commit_or_rollback;
        if wish != sys_flag::TRANSACTION_COMMIT && wish != sys_flag::TRANSACTION_ROLLBACK {
            // The producer does not know, or says what nobody knows: the transaction stays open.
            return Ok(None);
        }
        let record = self.half_record()?;
        let (view, text) = half_in(&record)?;
        self.check_time(&view, &text)?;
        self.check_half(&view, &text)?;
        let real = RealPlace::in_properties(&text).ok_or_else(refusal::half_message_gone)?;
        let appended = if wish == sys_flag::TRANSACTION_COMMIT {
            self.commit(&view, &text, real)?
        } else {
            self.roll_back(&view, &text, real)?
        };
        let waits = self.config.flush_disk_type == FlushDiskType::SyncFlush && !is_unwaited(&text);
        Ok(appended
            .filter(|_| waits)
            .map(|appended| appended.end_offset))
    }

    fn half_record(&self) -> Result<Bytes, Refusal> {
        let record = self.broker.store.record_at(self.header.commit_log_offset);
        record.map_err(|_| refusal::half_message_gone())
    }

    /// A producer that asked for a time of its own before the first check has to answer within it.
    fn check_time(&self, view: &RecordView<'_>, text: &str) -> Result<(), Refusal> {
        if self.header.from_transaction_check {
            return Ok(());
        }
        let usual_ms = self.config.transaction_timeout_ms;
        let Some(Immunity::Own(own_ms)) = Immunity::demanded(text) else {
            return Ok(());
        };
        let age_ms = self
            .broker
            .clock
            .now_ms()
            .saturating_sub(view.born_timestamp);
        if age_ms > own_ms.max(usual_ms) {
            return Err(refusal::transaction_end_too_late());
        }
        Ok(())
    }

    fn check_half(&self, view: &RecordView<'_>, text: &str) -> Result<(), Refusal> {
        let header = self.header;
        if properties::get(text, name::PRODUCER_GROUP) != Some(&header.producer_group) {
            return Err(refusal::transaction_of_other_group());
        }
        if view.queue_offset != header.tran_state_table_offset {
            return Err(refusal::transaction_queue_offset_wrong());
        }
        Ok(())
    }

    fn commit(
        &self,
        view: &RecordView<'_>,
        text: &str,
        real: RealPlace<'_>,
    ) -> Result<Option<Appended>, Refusal> {
        let broker = self.broker;
        let log_end = broker.store.watermarks().written;
        let Some(ending) = mine(broker.transactions.begin_commit(view, text, log_end))? else {
            return Ok(None);
        };
        match self.store_committed(view, text, real) {
            Ok(appended) => {
                let transactions = &broker.transactions;
                transactions.finish_commit(&ending, self.config, real.topic);
                Ok(Some(appended))
            }
            Err(refusal) => {
                broker.transactions.give_up(&ending);
                Err(refusal)
            }
        }
    }

    fn store_committed(
        &self,
        view: &RecordView<'_>,
        text: &str,
        real: RealPlace<'_>,
    ) -> Result<Appended, Refusal> {
        let broker = self.broker;
        let mut properties_text = committed_properties(text);
        let waiting = self.waiting_place(real, &mut properties_text)?;
        let mut message = committed(view, real, &properties_text);
        if let Some((topic, queue_id)) = waiting {
            (message.topic, message.queue_id) = (topic, queue_id);
        }
        message.store_host = broker.advertised;
        let appended = broker.store.append(&message).map_err(|error| {
            broker.stats.record_put_failure();
            end_refusal(self.config, &error)
        })?;
        let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
        let stats = &broker.stats;
        stats.record_put(message.topic, message.queue_id, 1, bytes);
        Ok(appended)
    }

    /// Where the message waits first, if it has a delay: that begins now.
    fn waiting_place(
        &self,
        real: RealPlace<'_>,
        properties_text: &mut String,
    ) -> Result<Option<(&'static str, i32)>, Refusal> {
        let Self { broker, config, .. } = self;
        let level = properties::get(properties_text, name::DELAY_LEVEL);
        let level = level.and_then(|level| level.parse().ok()).unwrap_or(0);
        if level > 0 {
            let delay = &broker.delay;
            let scheduled = delay.schedule(level, real.topic, real.queue_id, properties_text);
            return Ok(Some((scheduled.topic, scheduled.queue_id)));
        }
        let message = ForTimer {
            topic: real.topic,
            queue_id: real.queue_id,
            now_ms: broker.clock.now_ms(),
        };
        let scheduled = timer::schedule(broker.timer.as_ref(), config, message, properties_text)?;
        Ok(matches!(scheduled, Scheduled::Waits { .. }).then_some(WAITING_IN))
    }

    fn roll_back(
        &self,
        view: &RecordView<'_>,
        text: &str,
        real: RealPlace<'_>,
    ) -> Result<Option<Appended>, Refusal> {
        let broker = self.broker;
        let Some(ending) = mine(broker.transactions.begin_rollback(view, text))? else {
            return Ok(None);
        };
        let rolled_back = transaction::roll_back(broker, &ending, real.topic);
        rolled_back.map_err(|error| end_refusal(self.config, &error))
    }
}

/// The right to end the transaction; `None` if that is done, by this producer or another.
fn mine(begin: BeginEnd) -> Result<Option<Ending>, Refusal> {
    match begin {
        BeginEnd::Yours(ending) => Ok(Some(ending)),
        // Java ends it again and says so; the first end counts, and is what the asker wanted or not.
        BeginEnd::Ended => Ok(None),
        BeginEnd::Unknown => Err(refusal::half_message_gone()),
        BeginEnd::NotLoaded => Err(refusal::transactions_not_known_yet()),
    }
}

fn half_in(record: &Bytes) -> Result<(RecordView<'_>, String), Refusal> {
    let view = record::check(record, CheckBody::Skip).ok();
    let view = view.filter(|view| view.topic == HALF_TOPIC);
    let view = view.ok_or_else(refusal::half_message_gone)?;
    let text = view.properties_text().into_owned();
    Ok((view, text))
}

fn is_unwaited(properties_text: &str) -> bool {
    properties::get(properties_text, name::WAIT_STORE_OK)
        .is_some_and(|wait| !wait.eq_ignore_ascii_case("true"))
}

/// 323 RESUME_CHECK_HALF_MESSAGE: a half message that was given up is stored anew, unchecked.
pub(crate) fn resume_check(
    broker: &Broker,
    incoming: Incoming<ResumeCheckHalfMessageRequestHeader>,
) -> Handled<()> {
    let message_id = incoming.header.msg_id.unwrap_or_default();
    let id = OffsetId::decode(&message_id).map_err(|_| refusal::half_message_not_resumable())?;
    let record = broker.store.record_at(id.physical_offset);
    let record = record.map_err(|_| refusal::half_message_not_resumable())?;
    let view = record::check(&record, CheckBody::Skip);
    let view = view.map_err(|_| refusal::half_message_not_resumable())?;
    let mut properties = Properties::parse(&view.properties_text());
    properties.set(name::TRANSACTION_CHECK_TIMES, "0");
    let text = properties.to_text();
    if RealPlace::in_properties(&text).is_none() {
        return Err(refusal::half_message_not_resumed());
    }
    let mut message = view.as_new(&text);
    message.topic = HALF_TOPIC;
    message.queue_id = HALF_QUEUE;
    message.store_host = broker.advertised;
    message.prepared_transaction_offset = 0;
    let appended = broker.store.append(&message);
    let appended = appended.map_err(|_| refusal::half_message_not_resumed())?;
    broker.transactions.sent(&message, &appended);
    tracing::info!(message_id, "half message is resumed");
    Ok(Reply::success())
}
