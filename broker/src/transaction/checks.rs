//! The thread `transaction-check`: writes the marks of ended transactions, and asks producers what
//! became of those that stay open.
//!
//! The only one who notes how far both queues are done, and only when all marks are written: what the
//! mark of one half record tells holds for later records of its transaction as well.

use std::sync::Arc;

use thrustmq_proto_compat::body::TopicConfig;
use thrustmq_proto_compat::message::names::{CHECK_MAX_TIME_TOPIC, HALF_TOPIC, OP_HALF_TOPIC};
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody, NewMessage, Placement, RecordView};
use thrustmq_remoting::CallError;
use thrustmq_store::{AppendError, Appended, ReadError};

use super::half::{HalfPlace, check_times};
use super::load::{self, own_queue};
use super::message::{self, HALF_QUEUE, Question, RealPlace};
use super::open_halves::{Due, DueRules, Moved, Step};
use super::operations::BatchRules;
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::member::Member;
use crate::topic::{PERM_READ, PERM_WRITE};

/// Longest sleep: settings and the wall clock may change.
const SLEEP_MS_MAX: i64 = 1_000;
/// Pause after the start could not be read.
const RETRY_MS: i64 = 5_000;
/// Pause while queues are still filled from the log after a start.
const CATCH_UP_MS: i64 = 20;
/// Transactions that are looked at before marks have their turn.
const LOOKS_MAX: usize = 64;
/// How long a producer has to read questions that fill its connection.
const FULL_WAIT_MS: i64 = 10;
const FULL_TRIES: usize = 100;
const DISCARD_QUEUES: i32 = 1;
const HOUR_MS: i64 = 3_600_000;

/// Runs until [`super::Transactions::stop`], and leaves with all marks written.
pub(crate) fn run(broker: &Arc<Broker>) {
    if !load_until_done(broker) {
        return;
    }
    let mut pass_begun_ms = broker.clock.now_ms();
    while !broker.transactions.is_stopped() {
        let config = broker.config.current();
        let now_ms = broker.clock.now_ms();
        let next_pass_ms = pass_begun_ms.saturating_add(config.transaction_check_interval_ms);
        // A clock that was set back must not silence the checks.
        if now_ms >= next_pass_ms || now_ms < pass_begun_ms {
            pass_begun_ms = now_ms;
            check_all(broker, &config);
            continue;
        }
        let marks_due_ms = broker
            .transactions
            .table
            .marks_due_ms(&batch_rules(&config));
        if marks_due_ms.is_some_and(|due_ms| due_ms <= now_ms) && write_marks(broker, &config) {
            continue;
        }
        let next_ms = marks_due_ms.map_or(next_pass_ms, |due_ms| due_ms.min(next_pass_ms));
        let wait_ms = next_ms.saturating_sub(now_ms).clamp(1, SLEEP_MS_MAX);
        broker.transactions.table.wait(wait_ms);
    }
    note_done(broker, &broker.config.current());
}

pub(super) fn batch_rules(config: &BrokerConfig) -> BatchRules {
    BatchRules {
        bytes_max: config.transaction_op_bytes_max,
        interval_ms: config.transaction_op_interval_ms,
    }
}

/// False if the broker stops first.
fn load_until_done(broker: &Broker) -> bool {
    let transactions = &broker.transactions;
    let log_end = broker.store.watermarks().confirm;
    while !transactions.is_stopped() {
        if broker.store.watermarks().dispatched < log_end {
            transactions.table.wait(CATCH_UP_MS);
            continue;
        }
        match load::load(broker) {
            Ok(loaded) if !transactions.is_stopped() => {
                transactions.metrics.correct(&loaded.open_of_topics);
                let open = transactions.table.load(loaded.rebuild, loaded.read_to);
                tracing::info!(open, "transactions are known");
                return true;
            }
            Ok(_) => return false,
            Err(error) => {
                tracing::error!(%error, "transactions can not be read: none can be ended");
                transactions.table.wait(RETRY_MS);
            }
        }
    }
    false
}

/// One pass over everything that is open.
fn check_all(broker: &Arc<Broker>, config: &BrokerConfig) {
    let transactions = &broker.transactions;
    let rules = DueRules {
        now_ms: broker.clock.now_ms(),
        usual_immunity_ms: config.transaction_timeout_ms,
        age_ms_max: config.file_reserved_hours.saturating_mul(HOUR_MS),
    };
    let mut stretch = transactions.table.stretch(LOOKS_MAX);
    while !transactions.is_stopped() {
        let found = transactions.table.due(stretch, &rules);
        for due in &found.due {
            Look {
                broker,
                config,
                due,
            }
            .take();
        }
        let marks_due_ms = transactions.table.marks_due_ms(&batch_rules(config));
        if marks_due_ms.is_some_and(|due_ms| due_ms <= broker.clock.now_ms()) {
            write_marks(broker, config);
        }
        match found.next {
            Some(next) => stretch.from = next,
            None => break,
        }
    }
    note_done(broker, config);
}

/// Writes all marks; whether that went well.
fn write_marks(broker: &Broker, config: &BrokerConfig) -> bool {
    let transactions = &broker.transactions;
    loop {
        let log_end = broker.store.watermarks().written;
        let rules = batch_rules(config);
        let Some(batch) = transactions.table.take_marks(log_end, &rules) else {
            return true;
        };
        match super::append_operation(broker, &batch) {
            Ok(appended) => transactions
                .table
                .marks_written(appended.queue_offset, &batch),
            Err(error) => {
                tracing::info!(%error, "ends of transactions are not marked, will try again");
                transactions.table.marks_not_written(&batch);
                return false;
            }
        }
    }
}

fn note_done(broker: &Broker, config: &BrokerConfig) {
    // In this order: what is done by now has its mark in the op queue before that is noted.
    let done = broker.transactions.table.done_before();
    if !write_marks(broker, config) {
        return;
    }
    for (topic, offset) in [
        (HALF_TOPIC, done.half_offset),
        (OP_HALF_TOPIC, done.op_offset),
    ] {
        let queue = own_queue(topic);
        if broker.offsets.query(queue).unwrap_or(0) != offset {
            broker.offsets.commit(queue, offset, &broker.address);
        }
    }
}

/// A look at one half message that is due.
struct Look<'a> {
    broker: &'a Arc<Broker>,
    config: &'a BrokerConfig,
    due: &'a Due,
}

impl Look<'_> {
    fn take(&self) {
        let place = self.due.place;
        let record = match self.broker.store.record_at(place.physical_offset) {
            Ok(record) => record,
            Err(ReadError::OutOfRange { .. }) => return self.gone(),
            // The store has told of it; the message is looked at again.
            Err(_) => return,
        };
        let Ok(view) = record::check(&record, CheckBody::Skip) else {
            return self.gone();
        };
        if view.topic != HALF_TOPIC || view.queue_offset != place.queue_offset {
            return self.gone();
        }
        let text = view.properties_text();
        let times = check_times(&text);
        let asked_too_often = times >= self.config.transaction_check_max && times > 0;
        match self.due.step {
            Step::PutBack => {
                let text = message::put_back_properties(&text, place.queue_offset);
                self.store_again(&view, &text);
            }
            Step::Check if !asked_too_often => {
                let text = message::checked_properties(&text, times.saturating_add(1));
                if let Some(placement) = self.store_again(&view, &text) {
                    self.ask(&view, &text, placement);
                }
            }
            Step::Check | Step::Discard => self.discard(&view, &text, times),
        }
    }

    fn gone(&self) {
        let HalfPlace {
            queue_offset,
            physical_offset,
        } = self.due.place;
        tracing::info!(
            queue_offset,
            physical_offset,
            "half message is gone, with its log file"
        );
        self.broker
            .transactions
            .table
            .gone(&self.due.key, self.due.place);
    }

    /// Where it is now, if its producer is to be asked.
    fn store_again(&self, view: &RecordView<'_>, properties_text: &str) -> Option<Placement> {
        let mut message = view.as_new(properties_text);
        message.store_host = self.broker.advertised;
        let appended = append(self.broker, &message)
            .inspect_err(
                |error| tracing::info!(%error, "half message is not checked, will try again"),
            )
            .ok()?;
        let half = super::half_at(view, properties_text, &appended);
        let moved = self.broker.transactions.table.moved(self.due.place, &half);
        (moved == Moved::Open).then_some(Placement {
            queue_offset: appended.queue_offset,
            physical_offset: appended.physical_offset,
            store_timestamp: view.store_timestamp,
        })
    }

    fn ask(&self, view: &RecordView<'_>, properties_text: &str, placement: Placement) {
        let group = properties::get(properties_text, name::PRODUCER_GROUP).unwrap_or_default();
        let question = Question {
            half: view,
            properties_text,
            placement,
            broker: self.broker.advertised,
            broker_name: &self.config.broker_name,
        };
        for _ in 0..FULL_TRIES {
            let Some(member) = self.producer_in_turn(group) else {
                tracing::debug!(group, "no producer of the group can be asked");
                return;
            };
            let Ok(command) = question.command() else {
                return;
            };
            match member.client.peer.oneway(command) {
                Err(CallError::TooManyInFlight { .. } | CallError::OutboxFull)
                    if !self.broker.transactions.is_stopped() =>
                {
                    self.broker.transactions.table.wait(FULL_WAIT_MS);
                }
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(group, %error, "producer is not asked");
                    return;
                }
            }
        }
    }

    /// One of the group whose connection stands; they take turns.
    fn producer_in_turn(&self, group: &str) -> Option<Arc<Member>> {
        let mut members = self.broker.producers.members(group)?;
        members.retain(|member| member.client.peer.is_open());
        let turn = self.broker.transactions.next_turn();
        let at = turn.checked_rem(members.len())?;
        Some(members.swap_remove(at))
    }

    fn discard(&self, view: &RecordView<'_>, properties_text: &str, times: i32) {
        let table = &self.broker.transactions.table;
        if !table.begin_discard(&self.due.key) {
            return;
        }
        let topic = discard_topic(self.broker);
        let mut message = view.as_new(properties_text);
        message.topic = &topic;
        message.queue_id = HALF_QUEUE;
        message.store_host = self.broker.advertised;
        if let Err(error) = append(self.broker, &message) {
            tracing::info!(%error, "half message is not discarded, will try again");
            return table.give_up_discard(&self.due.key);
        }
        table.finish_discard(&self.due.key);
        let real = RealPlace::in_properties(properties_text);
        let real_topic = real.map(|real| real.topic).unwrap_or_default();
        self.broker.transactions.metrics.add(real_topic, -1);
        let unique_key = properties::get(properties_text, name::UNIQUE_KEY).unwrap_or_default();
        tracing::warn!(
            real_topic,
            unique_key,
            times,
            topic,
            "half message that no producer ends is given up"
        );
    }
}

/// Creates the topic of discarded half messages if need be; its name.
fn discard_topic(broker: &Broker) -> String {
    let topic = CHECK_MAX_TIME_TOPIC.to_owned();
    if !broker.topics.contains(&topic) {
        let wanted = TopicConfig {
            topic_name: topic.clone(),
            read_queue_nums: DISCARD_QUEUES,
            write_queue_nums: DISCARD_QUEUES,
            perm: PERM_READ | PERM_WRITE,
            ..TopicConfig::default()
        };
        if broker.topics.create_if_absent(wanted).is_changed {
            broker.namesrv.register_soon();
        }
    }
    topic
}

fn append(broker: &Broker, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
    super::append_counted(broker, message)
}
