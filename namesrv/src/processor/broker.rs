//! What brokers say of themselves: 103, 104, 322, 904.

use thrustmq_proto_compat::body::{
    DataVersion, KVTable, RegisterBrokerBody, TopicConfigSerializeWrapper,
};
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    BrokerHeartbeatRequestHeader, QueryDataVersionRequestHeader, QueryDataVersionResponseHeader,
    RegisterBrokerRequestHeader, RegisterBrokerResponseHeader, UnRegisterBrokerRequestHeader,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Handled, Incoming, Peer, Refusal, Reply};

use super::{json, read, system_error};
use crate::kv_config::ORDER_TOPIC_CONFIG;
use crate::route_table::{BrokerAddress, Member, NotYetKnown, Registered, Registration, Topics};
use crate::state::{State, connection};

/// A broker that does not say how long it may be silent.
const SILENCE_MS_MAX: i64 = 120_000;
/// From 3.0.11 on, a registration's body is a RegisterBrokerBody.
const REGISTER_BODY_VERSION: i32 = 39;

/// 103: a broker registers, at its start, on a change of its topics, and every 30 s.
pub(crate) fn register(
    state: &State,
    incoming: Incoming<RegisterBrokerRequestHeader>,
) -> Handled<RegisterBrokerResponseHeader> {
    let Incoming {
        header,
        command,
        peer,
        ..
    } = incoming;
    let body = command.body.to_bytes();
    check_crc(&header, &body, &peer)?;
    let config = state.config.current();
    let reading = Reading {
        version: command.version,
        is_compressed: header.compressed,
        delete_absent: config.delete_topic_with_broker_registration,
    };
    let registration = registration(state, header, &command, &body, peer);
    let registered = registered(state, registration, &body, reading)?;
    if let Some(notice) = registered.notice {
        state.tell(notice);
    }
    let reply = Reply::ok(RegisterBrokerResponseHeader {
        ha_server_address: registered.ha_address,
        master_address: registered.master_address,
    });
    let ordered = state.kv.namespace(ORDER_TOPIC_CONFIG);
    Ok(
        match ordered.filter(|_| config.return_order_topic_config_to_broker) {
            Some(table) => reply.with_body(json(&KVTable { table })?),
            None => reply,
        },
    )
}

/// 104: a broker leaves. It is answered before its routes are gone.
pub(crate) fn unregister(
    state: &State,
    incoming: Incoming<UnRegisterBrokerRequestHeader>,
) -> Handled<()> {
    let header = incoming.header;
    let member = Member {
        name: header.broker_name,
        id: header.broker_id,
        at: BrokerAddress {
            cluster: header.cluster_name,
            address: header.broker_address,
        },
    };
    let leaving = state.routes.asked(member);
    if !state.unregistrations.submit(leaving) {
        tracing::warn!(peer = %incoming.peer, "queue of unregistrations is full");
        return Ok(Reply::success().with_code(ResponseCode::SYSTEM_ERROR));
    }
    Ok(Reply::success())
}

/// 322: whether a broker has to register again; it counts as a sign of life.
pub(crate) fn query_data_version(
    state: &State,
    incoming: Incoming<QueryDataVersionRequestHeader>,
) -> Handled<QueryDataVersionResponseHeader> {
    let at = BrokerAddress {
        cluster: incoming.header.cluster_name,
        address: incoming.header.broker_address,
    };
    let body = incoming.command.body.to_bytes();
    let theirs: Option<DataVersion> = if body.is_empty() {
        None
    } else {
        Some(read(&body)?)
    };
    let ours = state.routes.touch(&at, state.clock.now_ms());
    let changed = ours.is_none() || ours != theirs;
    let reply = Reply::ok(QueryDataVersionResponseHeader { changed });
    Ok(match ours {
        Some(ours) => reply.with_body(json(&ours)?),
        None => reply,
    })
}

/// 904: a sign of life, every second where acting masters are enabled.
pub(crate) fn heartbeat(
    state: &State,
    incoming: Incoming<BrokerHeartbeatRequestHeader>,
) -> Handled<()> {
    let at = BrokerAddress {
        cluster: incoming.header.cluster_name,
        address: incoming.header.broker_address,
    };
    state.routes.touch(&at, state.clock.now_ms());
    Ok(Reply::success())
}

fn check_crc(
    header: &RegisterBrokerRequestHeader,
    body: &[u8],
    peer: &Peer,
) -> Result<(), Refusal> {
    let crc32 = crc32fast::hash(body) & 0x7fff_ffff;
    if header.body_crc32 == 0 || u32::try_from(header.body_crc32) == Ok(crc32) {
        return Ok(());
    }
    tracing::warn!(%peer, expected = header.body_crc32, crc32, "registration's crc32 does not match");
    Err(system_error("crc32 not match"))
}

fn registration(
    state: &State,
    header: RegisterBrokerRequestHeader,
    command: &Command,
    body: &[u8],
    peer: Peer,
) -> Registration {
    let routes = &state.routes;
    Registration {
        fingerprint: routes.fingerprint(body, header.compressed, command.version),
        member: Member {
            name: header.broker_name,
            id: header.broker_id,
            at: BrokerAddress {
                cluster: header.cluster_name,
                address: header.broker_address,
            },
        },
        ha_address: header.ha_server_address,
        zone: command.fields.get("__ZONE_NAME").map(str::to_owned),
        acting_master: header.enable_acting_master,
        silence_ms_max: header.heartbeat_timeout_ms.unwrap_or(SILENCE_MS_MAX),
        now_ms: state.clock.now_ms(),
        connection: connection(peer),
    }
}

/// How a registration's body is read.
struct Reading {
    /// The broker's.
    version: i32,
    is_compressed: bool,
    delete_absent: bool,
}

/// Registers; the body is read only if it is not the one that the broker sent the last time.
fn registered(
    state: &State,
    registration: Registration,
    body: &[u8],
    reading: Reading,
) -> Result<Registered, Refusal> {
    let is_renewable = !reading.delete_absent;
    if is_renewable && let Some(registered) = state.routes.renew(&registration) {
        return Ok(registered);
    }
    let topics = read_topics(body, reading)?;
    let registered = state.routes.register(registration, topics);
    registered.map_err(|NotYetKnown| system_error("register broker failed"))
}

fn read_topics(body: &[u8], reading: Reading) -> Result<Topics, Refusal> {
    if body.is_empty() {
        return Ok(Topics::default());
    }
    let Reading {
        version,
        is_compressed,
        delete_absent,
    } = reading;
    let is_old = version < REGISTER_BODY_VERSION;
    let topics = match (is_old, is_compressed) {
        (true, _) => fastjson::from_slice(body).map(topics_of_old),
        (false, true) => RegisterBrokerBody::from_packed(body, version).map(topics_of),
        (false, false) => fastjson::from_slice(body).map(topics_of),
    };
    let unreadable = |error| system_error(format!("Failed to decode RegisterBrokerBody: {error}"));
    Ok(Topics {
        delete_absent,
        ..topics.map_err(unreadable)?
    })
}

fn topics_of(body: RegisterBrokerBody) -> Topics {
    let wrapper = body.topic_config_serialize_wrapper;
    Topics {
        data_version: wrapper.data_version,
        configs: wrapper.topic_config_table.into_values().collect(),
        mappings: wrapper.topic_queue_mapping_info_map,
        filter_servers: Some(body.filter_server_list),
        delete_absent: false,
    }
}

fn topics_of_old(wrapper: TopicConfigSerializeWrapper) -> Topics {
    Topics {
        data_version: wrapper.data_version,
        configs: wrapper.topic_config_table.into_values().collect(),
        ..Topics::default()
    }
}
