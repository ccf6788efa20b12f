//! Storing a message that names light queues: its record is encoded under the append lock, since the
//! entry numbers that it gets there are among its properties.

use std::sync::Arc;

use thrustmq_proto_compat::message::{properties, property_name};

use crate::api::{Appended, NewMessage};
use crate::append::{appended, check_body, checksum, store};
use crate::commit_log::queue_offsets::LightTarget;
use crate::error::AppendError;
use crate::light;
use crate::shared::Shared;

pub(crate) fn append(
    shared: &Arc<Shared>,
    message: &NewMessage<'_>,
    queues_max: usize,
) -> Result<Appended, AppendError> {
    let asked = light::asked(message.topic, message.properties);
    let without = light::without_offsets(message.properties);
    // Where it stands it is no longer the last property.
    let without = properties::without(&without, property_name::CRC32);
    store(shared, message, |records, target| {
        check_body(shared, message.body.len())?;
        let light = LightTarget {
            asked: &asked,
            queues_max,
        };
        let appender = &shared.appender;
        appender.append_light(records, target, light, |offsets, records| {
            let mut text = without.clone().into_owned();
            if !offsets.is_empty() {
                let offsets = light::offsets_text(offsets);
                properties::push(&mut text, property_name::INNER_MULTI_QUEUE_OFFSET, &offsets);
            }
            let message = NewMessage {
                properties: &text,
                ..*message
            };
            Ok(records.push(&message, checksum(shared))?)
        })
    })
    .map(appended)
}
