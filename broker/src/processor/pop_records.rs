//! Records on their way to who popped them: which they are, and retried ones under the topic that
//! consumers know them by.

use bytes::Bytes;
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody, Checksum, Placement, RecordView};
use thrustmq_store::light_queue_offset;

use crate::pop::info::ExtraInfo;

/// Where records stand in the queue that they were read from.
pub(super) fn offsets_of(topic: &str, records: &[Bytes]) -> Vec<i64> {
    let is_light = names::is_light_queue(topic);
    let offset = |record: &Bytes| {
        let light = is_light.then(|| light_offset(topic, record)).flatten();
        light.unwrap_or_else(|| record::queue_offset(record))
    };
    records.iter().map(offset).collect()
}

/// A record in a light queue belongs to another topic, whose offset it has in front.
fn light_offset(queue: &str, record: &[u8]) -> Option<i64> {
    let view = record::check(record, CheckBody::Skip).ok()?;
    light_queue_offset(view.topic, &view.properties_text(), queue)
}

/// The record under another topic, with its handle: the consumer can not make it out of the answer.
pub(super) fn with_topic(record: &Bytes, topic: &str, info: &ExtraInfo) -> Bytes {
    let view = record::check(record, CheckBody::Skip).ok();
    // What can not be renamed, its consumer gets under the name of the retry topic.
    view.and_then(|view| renamed(&view, topic, info))
        .unwrap_or_else(|| record.clone())
}

fn renamed(view: &RecordView<'_>, topic: &str, info: &ExtraInfo) -> Option<Bytes> {
    let mut properties = Properties::parse(&view.properties_text());
    if !properties.contains(name::POP_CK) {
        properties.set(name::POP_CK, info.handle(view.queue_offset));
    }
    let text = properties.to_text();
    let mut message = view.as_new(&text);
    message.topic = topic;
    let mut bytes = Vec::new();
    record::encode(&message, Checksum::Append, &mut bytes).ok()?;
    let placement = Placement {
        queue_offset: view.queue_offset,
        physical_offset: view.physical_offset,
        store_timestamp: view.store_timestamp,
    };
    record::patch(&mut bytes, placement);
    Some(bytes.into())
}
