//! Transactions: messages that become visible when their producer says so.
//!
//! A send stores a half message ([`Transactions::sent`]); `processor/end_transaction.rs` ends it, once,
//! whoever asks how often for what; the thread `transaction-check` asks producers about those that stay
//! open, and gives up what nobody ends. Records are Java's: half messages and marks of ended ones in a
//! topic each, how far both are done in the offsets of `CID_RMQ_SYS_TRANS`, so that a broker of either
//! kind goes on where the other stopped.
//!
//! What is decided stands apart from what is read and written: `open_halves`, `operations` and `rebuild`
//! know neither store nor clock.

mod half;
mod message;
mod metrics;

mod known_offsets;
mod open_halves;
mod operations;
mod rebuild;

mod table;

mod checks;
mod load;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::names::HALF_TOPIC;
use thrustmq_proto_compat::message::record::{NewMessage, RecordView};
use thrustmq_store::{AppendError, Appended};

pub(crate) use checks::run;
pub(crate) use half::Immunity;
use half::{Half, HalfPlace, TransactionKey};
pub(crate) use message::{
    HALF_PROPERTIES_BYTES_MAX, HALF_QUEUE, RealPlace, committed, committed_properties, to_half,
};
use metrics::Metrics;
use operations::Batch;
use table::Table;
pub(crate) use table::{BeginEnd, Ending};

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::metadata_file::LoadError;

/// The transactions of this broker.
#[derive(Debug)]
pub(crate) struct Transactions {
    table: Table,
    metrics: Metrics,
    /// Which producer of a group is asked next.
    turns: AtomicUsize,
}

impl Transactions {
    /// Reads `transactionMetrics` of the store directory; what is open, the check thread reads.
    pub(crate) fn open(root: &Path, clock: Clock) -> Result<Self, LoadError> {
        Ok(Self {
            table: Table::new(clock.clone()),
            metrics: Metrics::open(root, clock)?,
            turns: AtomicUsize::new(0),
        })
    }

    /// Whether no more half messages are taken for now.
    pub(crate) fn is_full(&self) -> bool {
        self.table.is_full()
    }

    /// A half message was stored, of a producer or anew after it was given up.
    pub(crate) fn sent(&self, message: &NewMessage<'_>, appended: &Appended) {
        self.table.stored(&half_of(message, appended));
        if let Some(real) = RealPlace::in_properties(message.properties) {
            self.metrics.add(real.topic, 1);
        }
    }

    /// Begins to commit the transaction of a half record; the log ends at `log_end` or behind it.
    pub(crate) fn begin_commit(
        &self,
        half: &RecordView<'_>,
        properties_text: &str,
        log_end: i64,
    ) -> BeginEnd {
        let key = TransactionKey::of(half, properties_text);
        self.table.begin_end(key, Some(log_end))
    }

    /// Begins to roll back the transaction of a half record.
    pub(crate) fn begin_rollback(&self, half: &RecordView<'_>, properties_text: &str) -> BeginEnd {
        let key = TransactionKey::of(half, properties_text);
        self.table.begin_end(key, None)
    }

    /// The commit has stored its message for `topic`.
    pub(crate) fn finish_commit(&self, ending: &Ending, config: &BrokerConfig, topic: &str) {
        self.table
            .finish_commit(ending, &checks::batch_rules(config));
        self.metrics.add(topic, -1);
    }

    /// The transaction stays open: it could not be ended.
    pub(crate) fn give_up(&self, ending: &Ending) {
        self.table.give_up(ending);
    }

    /// Writes `transactionMetrics`.
    pub(crate) fn persist(&self) {
        self.metrics.persist();
    }

    /// Ends the check thread, which writes what there is to write first.
    pub(crate) fn stop(&self) {
        self.table.stop();
    }

    fn next_turn(&self) -> usize {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.table.is_stopped()
    }
}

/// Rolls a transaction for `topic` back, in the log first: nothing else would tell of it.
///
/// # Errors
/// The store does not take the mark; the transaction stays open.
pub(crate) fn roll_back(
    broker: &Broker,
    ending: &Ending,
    topic: &str,
) -> Result<Option<Appended>, AppendError> {
    let transactions = &broker.transactions;
    let Some(batch) = transactions.table.rollback_batch(ending) else {
        return Ok(None);
    };
    match append_operation(broker, &batch) {
        Ok(appended) => {
            let table = &transactions.table;
            table.finish_rollback(ending, appended.queue_offset, &batch);
            transactions.metrics.add(topic, -1);
            Ok(Some(appended))
        }
        Err(error) => {
            transactions.give_up(ending);
            Err(error)
        }
    }
}

fn append_operation(broker: &Broker, batch: &Batch) -> Result<Appended, AppendError> {
    let (body, properties) = (batch.body(), message::operation_properties());
    let now_ms = broker.clock.now_ms();
    let operation =
        message::operation(&body, &properties, batch.vouched, now_ms, broker.advertised);
    append_counted(broker, &operation)
}

fn append_counted(broker: &Broker, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
    let appended = broker.store.append(message)?;
    let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
    let stats = &broker.stats;
    stats.record_put(message.topic, message.queue_id, 1, bytes);
    Ok(appended)
}

fn half_of(message: &NewMessage<'_>, appended: &Appended) -> Half {
    debug_assert_eq!(message.topic, HALF_TOPIC);
    Half {
        key: TransactionKey::in_properties(message.properties, message.born_timestamp),
        place: place_of(appended),
        immunity: Immunity::in_properties(message.properties),
    }
}

/// A half record that was stored again with other properties.
fn half_at(view: &RecordView<'_>, properties_text: &str, appended: &Appended) -> Half {
    Half {
        key: TransactionKey::of(view, properties_text),
        place: place_of(appended),
        immunity: Immunity::in_properties(properties_text),
    }
}

fn place_of(appended: &Appended) -> HalfPlace {
    HalfPlace {
        queue_offset: appended.queue_offset,
        physical_offset: appended.physical_offset,
    }
}

#[cfg(test)]
mod tests;
