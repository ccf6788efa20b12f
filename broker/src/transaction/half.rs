//! What the broker must know of a half message, read from its record: which transaction it belongs to,
//! and how long its producer is left alone.

use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::RecordView;

/// What all half records of one transaction have in common: a check stores the half message again, at
/// another place, and a producer may answer for either place.
///
/// A producer that repeats a send whose answer it missed begins another transaction, as it dates the
/// message anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TransactionKey {
    unique_key: Box<str>,
    born_ms: i64,
}

impl TransactionKey {
    pub(crate) fn new(unique_key: &str, born_ms: i64) -> Self {
        Self {
            unique_key: unique_key.into(),
            born_ms,
        }
    }

    /// Of a half record, or of the message that its commit has stored.
    pub(crate) fn of(view: &RecordView<'_>, properties_text: &str) -> Self {
        Self::in_properties(properties_text, view.born_timestamp)
    }

    pub(crate) fn in_properties(properties_text: &str, born_ms: i64) -> Self {
        let unique_key = properties::get(properties_text, name::UNIQUE_KEY);
        Self::new(unique_key.unwrap_or_default(), born_ms)
    }

    /// When the producer made the message, milliseconds.
    pub(crate) fn born_ms(&self) -> i64 {
        self.born_ms
    }
}

/// Where a half record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HalfPlace {
    /// Its number in the half queue.
    pub(crate) queue_offset: i64,
    /// Its byte position in the log.
    pub(crate) physical_offset: i64,
}

/// One half record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Half {
    pub(crate) key: TransactionKey,
    pub(crate) place: HalfPlace,
    pub(crate) immunity: Immunity,
}

impl Half {
    /// Of a record of the half topic.
    pub(crate) fn of(view: &RecordView<'_>, properties_text: &str) -> Self {
        Self {
            key: TransactionKey::of(view, properties_text),
            place: HalfPlace {
                queue_offset: view.queue_offset,
                physical_offset: view.physical_offset,
            },
            immunity: Immunity::in_properties(properties_text),
        }
    }
}

/// For how long after its birth a half message is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Immunity {
    /// For `transactionTimeOut`.
    Usual,
    /// For a time of its own, milliseconds.
    Own(i64),
}

impl Immunity {
    /// What `CHECK_IMMUNITY_TIME_IN_SECONDS` says. What is no number means the usual time.
    pub(crate) fn in_properties(properties_text: &str) -> Self {
        let seconds = properties::get(properties_text, name::CHECK_IMMUNITY_TIME_IN_SECONDS);
        match seconds.map(str::parse::<i64>) {
            Some(Ok(seconds)) if seconds != -1 => Self::Own(seconds.saturating_mul(1_000)),
            _ => Self::Usual,
        }
    }

    /// The same, but `None` if nothing is asked for. What is no number is less than any time.
    pub(crate) fn demanded(properties_text: &str) -> Option<Self> {
        let seconds = properties::get(properties_text, name::CHECK_IMMUNITY_TIME_IN_SECONDS)?;
        let seconds = seconds.parse::<i64>().unwrap_or(0);
        Some(Self::Own(seconds.saturating_mul(1_000)))
    }

    pub(crate) fn ms(self, usual_ms: i64) -> i64 {
        match self {
            Self::Usual => usual_ms,
            Self::Own(own_ms) => own_ms,
        }
    }
}

/// How often the producer has been asked already.
pub(crate) fn check_times(properties_text: &str) -> i32 {
    let times = properties::get(properties_text, name::TRANSACTION_CHECK_TIMES);
    times.and_then(|times| times.parse().ok()).unwrap_or(0)
}

/// The offset that a half message had when its producer was told of it, if it was stored again since
/// without a check: Java does that with those that may not be checked yet.
pub(crate) fn prepared_queue_offset(properties_text: &str) -> Option<i64> {
    let offset = properties::get(properties_text, name::TRANSACTION_PREPARED_QUEUE_OFFSET);
    offset?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, value: &str) -> String {
        let mut text = String::new();
        properties::push(&mut text, name, value);
        text
    }

    #[test]
    fn immunity_is_what_the_producer_asks_for_or_the_usual_time() {
        let of = |value: &str| {
            let text = text("CHECK_IMMUNITY_TIME_IN_SECONDS", value);
            Immunity::in_properties(&text).ms(6_000)
        };
        assert_eq!(of("60"), 60_000);
        assert_eq!(of("0"), 0);
        assert_eq!(of("-1"), 6_000);
        assert_eq!(of("soon"), 6_000);
        assert_eq!(Immunity::in_properties("").ms(6_000), 6_000);
    }

    #[test]
    fn counts_and_offsets_that_are_no_numbers_count_as_absent() {
        assert_eq!(check_times(&text("TRANSACTION_CHECK_TIMES", "3")), 3);
        assert_eq!(check_times(&text("TRANSACTION_CHECK_TIMES", "x")), 0);
        let prepared = |value| prepared_queue_offset(&text("TRAN_PREPARED_QUEUE_OFFSET", value));
        assert_eq!((prepared("12"), prepared("x")), (Some(12), None));
    }
}
