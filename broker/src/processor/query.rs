//! Finding single messages: 12 by key, 33 by place in the commit log.

use thrustmq_proto_compat::command::Body;
use thrustmq_proto_compat::header::{
    QueryMessageRequestHeader, QueryMessageResponseHeader, ViewMessageRequestHeader,
};
use thrustmq_remoting::{Handled, Incoming, Reply};
use thrustmq_store::{QueryRequest, ReadError};

use crate::broker::Broker;
use crate::refusal;

/// Field by which clients say that the key is a unique key.
const UNIQUE_KEY_QUERY: &str = "_UNIQUE_KEY_QUERY";

/// 12 QUERY_MESSAGE.
pub(crate) fn query_message(
    broker: &Broker,
    incoming: Incoming<QueryMessageRequestHeader>,
) -> Handled<QueryMessageResponseHeader> {
    let header = &incoming.header;
    let is_unique = incoming.command.fields.get(UNIQUE_KEY_QUERY) == Some("true");
    let messages_max = if is_unique {
        broker.config.current().default_query_messages_max
    } else {
        header.max_num
    };
    let found = broker.store.query(&QueryRequest {
        topic: &header.topic,
        key: &header.key,
        messages_max: usize::try_from(messages_max).unwrap_or(0),
        begin_ms: header.begin_timestamp_ms,
        end_ms: header.end_timestamp_ms,
    });
    let found = found.map_err(refusal::unreadable)?;
    if found.records.is_empty() {
        return Err(refusal::no_message_of_key());
    }
    let answer = QueryMessageResponseHeader {
        index_last_update_timestamp_ms: found.index_last_update_timestamp,
        index_last_update_physical_offset: found.index_last_update_physical_offset,
    };
    Ok(Reply::ok(answer).with_body(Body::Many(found.records)))
}

/// 33 VIEW_MESSAGE_BY_ID.
pub(crate) fn view_message_by_id(
    broker: &Broker,
    incoming: Incoming<ViewMessageRequestHeader>,
) -> Handled<()> {
    let offset = incoming.header.offset;
    match broker.store.record_at(offset) {
        Ok(record) => Ok(Reply::success().with_body(record)),
        Err(error @ (ReadError::Disk { .. } | ReadError::Damaged { .. })) => {
            Err(refusal::unreadable(error))
        }
        Err(error) => {
            tracing::debug!(%error, "no message is viewed");
            Err(refusal::no_message_at(offset))
        }
    }
}
