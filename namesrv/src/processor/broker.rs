//! What brokers say of themselves: 103, 104, 322, 904.

use bytes::Bytes;
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
use crate::route_table::{BrokerAddress, Member, Registration, Topics};
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
    let is_compressed = header.compressed;
    let registration = registration(state, header, (&command, &body), peer);
    let config = state.config.current();
    let delete_absent = config.delete_topic_with_broker_registration;
    let now_ms = state.clock.now_ms();
    let renewed = match delete_absent {
        true => None,
        false => state.routes.renew(&registration, now_ms),
    };
    let registered = match renewed {
        Some(registered) => registered,
        None => {
            let topics = read_topics(&body, command.version, is_compressed)?;
            let registered = state
                .routes
                .register(registration, topics, delete_absent, now_ms);
            registered.map_err(|_| system_error("register broker failed"))?
        }
    };
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
    let theirs = match body.is_empty() {
        true => None,
        false => Some(read::<DataVersion>(&body)?),
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
    (command, body): (&Command, &Bytes),
    peer: Peer,
) -> Registration {
    let encoding = (header.compressed, command.version);
    Registration {
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
        fingerprint: state.routes.fingerprint(body, encoding),
        connection: connection(peer),
    }
}

fn read_topics(body: &Bytes, version: i32, is_compressed: bool) -> Result<Topics, Refusal> {
    if body.is_empty() {
        return Ok(Topics::default());
    }
    let is_old = version < REGISTER_BODY_VERSION;
    let topics = match (is_old, is_compressed) {
        (true, _) => fastjson::from_slice(body).map(topics_of_old),
        (false, true) => RegisterBrokerBody::from_packed(body, version).map(topics_of),
        (false, false) => fastjson::from_slice(body).map(topics_of),
    };
    topics.map_err(|error| system_error(format!("Failed to decode RegisterBrokerBody: {error}")))
}

fn topics_of(body: RegisterBrokerBody) -> Topics {
    let wrapper = body.topic_config_serialize_wrapper;
    Topics {
        data_version: wrapper.data_version,
        configs: wrapper.topic_config_table.into_values().collect(),
        mappings: wrapper.topic_queue_mapping_info_map,
        filter_servers: Some(body.filter_server_list),
    }
}

fn topics_of_old(wrapper: TopicConfigSerializeWrapper) -> Topics {
    Topics {
        data_version: wrapper.data_version,
        configs: wrapper.topic_config_table.into_values().collect(),
        ..Topics::default()
    }
}
