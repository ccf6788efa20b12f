//! The key-value configuration: 100, 101, 102, 219.

use thrustmq_proto_compat::body::KVTable;
use thrustmq_proto_compat::header::{
    DeleteKVConfigRequestHeader, GetKVConfigRequestHeader, GetKVConfigResponseHeader,
    GetKVListByNamespaceRequestHeader, PutKVConfigRequestHeader,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply};

use super::{json, system_error};
use crate::state::State;

/// 100: sets a value. Java answers success even if the file could not be written; we say so.
pub(crate) fn put(state: &State, incoming: Incoming<PutKVConfigRequestHeader>) -> Handled<()> {
    let PutKVConfigRequestHeader {
        namespace,
        key,
        value,
    } = incoming.header;
    let put = state.kv.put(&namespace, &key, &value);
    put.map_err(|error| not_kept(&error))?;
    tracing::info!(namespace, key, value, peer = %incoming.peer, "kv config item set");
    Ok(Reply::success())
}

/// 101: reads a value.
pub(crate) fn get(
    state: &State,
    incoming: Incoming<GetKVConfigRequestHeader>,
) -> Handled<GetKVConfigResponseHeader> {
    let GetKVConfigRequestHeader { namespace, key } = incoming.header;
    let value = state.kv.get(&namespace, &key);
    if value.is_none() {
        let remark = format!("No config item, Namespace: {namespace} Key: {key}");
        return Err(Refusal::new(ResponseCode::QUERY_NOT_FOUND, remark));
    }
    Ok(Reply::ok(GetKVConfigResponseHeader { value }))
}

/// 102: removes a value.
pub(crate) fn delete(
    state: &State,
    incoming: Incoming<DeleteKVConfigRequestHeader>,
) -> Handled<()> {
    let DeleteKVConfigRequestHeader { namespace, key } = incoming.header;
    let deleted = state.kv.delete(&namespace, &key);
    deleted.map_err(|error| not_kept(&error))?;
    tracing::info!(namespace, key, peer = %incoming.peer, "kv config item deleted");
    Ok(Reply::success())
}

/// 219: all values of a namespace.
pub(crate) fn list(
    state: &State,
    incoming: Incoming<GetKVListByNamespaceRequestHeader>,
) -> Handled<()> {
    let namespace = incoming.header.namespace;
    let Some(table) = state.kv.namespace(&namespace) else {
        let remark = format!("No config item, Namespace: {namespace}");
        return Err(Refusal::new(ResponseCode::QUERY_NOT_FOUND, remark));
    };
    Ok(Reply::success().with_body(json(&KVTable { table })?))
}

fn not_kept(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "kv config not written");
    system_error(format!(
        "kv config can not be written, nothing is changed: {error}"
    ))
}
