//! Clusters and broker groups: 106, 901, and the write permission of a broker's queues, 205 and 327.

use thrustmq_proto_compat::body::GetBrokerMemberGroupResponseBody;
use thrustmq_proto_compat::header::{
    AddWritePermOfBrokerRequestHeader, AddWritePermOfBrokerResponseHeader,
    GetBrokerMemberGroupRequestHeader, WipeWritePermOfBrokerRequestHeader,
    WipeWritePermOfBrokerResponseHeader,
};
use thrustmq_remoting::{Handled, Incoming, Peer, Reply};

use super::json;
use crate::route_table::WritePermission;
use crate::state::State;

/// 106: all clusters, brokers and addresses.
pub(crate) fn cluster_info(state: &State, _incoming: Incoming<()>) -> Handled<()> {
    Ok(Reply::success().with_body(json(&state.routes.cluster_info())?))
}

/// 901: the members of one group.
pub(crate) fn member_group(
    state: &State,
    incoming: Incoming<GetBrokerMemberGroupRequestHeader>,
) -> Handled<()> {
    let header = incoming.header;
    let group = state
        .routes
        .member_group(&header.cluster_name, &header.broker_name);
    let body = GetBrokerMemberGroupResponseBody {
        broker_member_group: Some(group),
    };
    Ok(Reply::success().with_body(json(&body)?))
}

/// 205: takes the write permission.
pub(crate) fn wipe_write_permission(
    state: &State,
    incoming: Incoming<WipeWritePermOfBrokerRequestHeader>,
) -> Handled<WipeWritePermOfBrokerResponseHeader> {
    let broker = &incoming.header.broker_name;
    let wipe_topic_count = set(state, broker, WritePermission::Wipe, &incoming.peer);
    Ok(Reply::ok(WipeWritePermOfBrokerResponseHeader {
        wipe_topic_count,
    }))
}

/// 327: gives it back.
pub(crate) fn add_write_permission(
    state: &State,
    incoming: Incoming<AddWritePermOfBrokerRequestHeader>,
) -> Handled<AddWritePermOfBrokerResponseHeader> {
    let broker = &incoming.header.broker_name;
    let add_topic_count = set(state, broker, WritePermission::Restore, &incoming.peer);
    Ok(Reply::ok(AddWritePermOfBrokerResponseHeader {
        add_topic_count,
    }))
}

/// How many topics the broker has, as the header counts them.
fn set(state: &State, broker: &str, permission: WritePermission, peer: &Peer) -> i32 {
    let topics = state.routes.set_write_permission(broker, permission);
    tracing::info!(broker, ?permission, topics, %peer, "write permission changed");
    i32::try_from(topics).unwrap_or(i32::MAX)
}
