//! The last step of messages that have waited, at a delay level or in the timer: into their topics.
//!
//! Their senders were answered long ago, and others wait behind them: so what would be refused of a
//! send for its light queues comes to its topic alone, and what has too many properties by now loses
//! those that the broker gave it.

use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_store::{AppendError, Appended, NewMessage, Store};

/// Stores a message that has waited.
///
/// # Errors
/// The store does not take it.
pub(crate) fn append_waited(
    store: &Store,
    message: &NewMessage<'_>,
) -> Result<Appended, AppendError> {
    let appended = store.append(message);
    let Err(AppendError::TooManyLightQueues { .. } | AppendError::PropertiesTooLong { .. }) =
        &appended
    else {
        return appended;
    };
    let topic = message.topic;
    if properties::get(message.properties, name::INNER_MULTI_DISPATCH).is_none() {
        // It was stored before `enabledAppendPropCRC` was turned on.
        let shorter = properties::without(message.properties, name::REAL_TOPIC);
        let shorter = properties::without(&shorter, name::REAL_QUEUE_ID);
        return store.append(&NewMessage {
            properties: &shorter,
            ..*message
        });
    }
    tracing::warn!(
        topic,
        "message names more light queues than there may be and comes to its topic alone"
    );
    let alone = properties::without(message.properties, name::INNER_MULTI_DISPATCH);
    store.append(&NewMessage {
        properties: &alone,
        ..*message
    })
}
