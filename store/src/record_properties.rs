//! What queues and index need of a record's properties. Dispatch, recovery and `offline` go by it.

use thrustmq_proto_compat::message::record::RecordView;
use thrustmq_proto_compat::message::tags_code::tags_code;
use thrustmq_proto_compat::message::{names, properties, property_name, sys_flag};

use crate::index::Keys;
use crate::light::{self, LightEntry};

/// Delay of a level that the table does not know (Java: `computeDeliverTimestamp`).
const UNKNOWN_LEVEL_DELAY_MS: i64 = 1_000;

/// The properties that queues and index need, found in one pass.
#[derive(Debug, Default)]
pub(crate) struct KnownProperties<'a> {
    tags: &'a str,
    keys: &'a str,
    unique_key: Option<&'a str>,
    delay_level: Option<&'a str>,
    light_queues: Option<&'a str>,
    light_offsets: Option<&'a str>,
}

impl<'a> KnownProperties<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        let mut known = Self::default();
        for entry in properties::entries(text) {
            match entry.name {
                property_name::TAGS => known.tags = entry.value,
                property_name::KEYS => known.keys = entry.value,
                property_name::UNIQUE_KEY => known.unique_key = Some(entry.value),
                property_name::DELAY_LEVEL => known.delay_level = Some(entry.value),
                property_name::INNER_MULTI_DISPATCH => known.light_queues = Some(entry.value),
                property_name::INNER_MULTI_QUEUE_OFFSET => known.light_offsets = Some(entry.value),
                _ => {}
            }
        }
        known
    }

    /// Whether the record may have entries in light queues. Hardly any has, and this costs less to ask.
    pub(crate) fn names_light_queues(&self) -> bool {
        self.light_queues.is_some()
    }

    /// The record's entries in light queues.
    pub(crate) fn light_entries(
        &self,
        view: &RecordView<'_>,
    ) -> impl Iterator<Item = LightEntry<'a>> + use<'a> {
        let is_visible = sys_flag::has_queue_entry(view.sys_flag);
        let names = self.light_queues.filter(|_| is_visible);
        light::entries(view.topic, names, self.light_offsets)
    }
}

/// The keys that the index has of a record; none of rolled-back transactions.
pub(crate) fn keys_of<'a>(view: &RecordView<'a>, known: &KnownProperties<'a>) -> Option<Keys<'a>> {
    let kind = sys_flag::transaction_type(view.sys_flag);
    (kind != sys_flag::TRANSACTION_ROLLBACK).then_some(Keys {
        topic: view.topic,
        unique_key: known.unique_key,
        keys: known.keys,
    })
}

/// The hash of the tag; in the schedule topic, the time of delivery.
pub(crate) fn tags_code_of(
    view: &RecordView<'_>,
    known: &KnownProperties<'_>,
    delay_levels_ms: &[i64],
) -> i64 {
    let level = known
        .delay_level
        .filter(|_| view.topic == names::SCHEDULE_TOPIC);
    let level: Option<usize> = level.and_then(|level| level.parse().ok());
    match level {
        Some(level) if level > 0 => {
            let level = level.min(delay_levels_ms.len());
            let delay_ms = delay_levels_ms.get(level.wrapping_sub(1));
            view.store_timestamp + delay_ms.copied().unwrap_or(UNKNOWN_LEVEL_DELAY_MS)
        }
        _ => tags_code(known.tags),
    }
}
