//! Where a topic is: 105, the question that every client asks every 30 s.

use thrustmq_proto_compat::body::TopicRouteData;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::GetRouteInfoRequestHeader;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply};

use super::{json, standard_json, system_error};
use crate::config::NamesrvConfig;
use crate::kv_config::ORDER_TOPIC_CONFIG;
use crate::route_table::{NoRoute, keep_zone};
use crate::state::State;

/// From 4.9.4 on, clients read standard JSON.
const STANDARD_JSON_VERSION: i32 = 401;
/// Where Java's remark sends people.
const FAQ: &str = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

/// 105: the route of a topic.
pub(crate) fn route_of_topic(
    state: &State,
    incoming: Incoming<GetRouteInfoRequestHeader>,
) -> Handled<()> {
    let GetRouteInfoRequestHeader {
        topic,
        accept_standard_json_only,
    } = incoming.header;
    let config = state.config.current();
    if !is_ready(state, &config) {
        tracing::info!(topic, peer = %incoming.peer, "name server not ready");
        return Err(system_error("name server not ready"));
    }
    let picked = state.routes.pick(&topic, config.support_acting_master);
    let mut route = picked.map_err(|why| no_route(&topic, why))?;
    if config.order_message_enable {
        route.order_topic_conf = state.kv.get(ORDER_TOPIC_CONFIG, &topic);
    }
    let is_standard = incoming.command.version >= STANDARD_JSON_VERSION
        || accept_standard_json_only.unwrap_or(false);
    let body = encode(route, &incoming.command, is_standard)?;
    Ok(Reply::success().with_body(body))
}

/// A zone's client gets the brokers of its zone, and always in fastjson's style (Java: ZoneRouteRPCHook).
fn encode(
    mut route: TopicRouteData,
    request: &Command,
    is_standard: bool,
) -> Result<Vec<u8>, Refusal> {
    let by_zone = request.fields.get("__ZONE_MODE");
    let zone = request.fields.get("__ZONE_NAME").map(str::trim);
    match zone.filter(|zone| !zone.is_empty()) {
        Some(zone) if by_zone.is_some_and(|mode| mode.eq_ignore_ascii_case("true")) => {
            keep_zone(&mut route, zone);
            json(&route)
        }
        _ if is_standard => standard_json(&route),
        _ => json(&route),
    }
}

/// Whether brokers have had the time to register after the start, where that is asked for.
fn is_ready(state: &State, config: &NamesrvConfig) -> bool {
    let wait_ms = i64::try_from(config.wait_for_service_s.saturating_mul(1_000));
    let up_ms = state.clock.now_ms().saturating_sub(state.started_ms);
    !config.need_wait_for_service || up_ms >= wait_ms.unwrap_or(i64::MAX)
}

/// Java's text first, as tools and people search for it; then the reason, which Java does not tell.
fn no_route(topic: &str, why: NoRoute) -> Refusal {
    let reason = match why {
        NoRoute::NoBroker => {
            "No broker has registered with this name server: check that brokers run, that their \
            namesrvAddr names it, and that they can reach it."
                .to_owned()
        }
        NoRoute::NoTopic { brokers } => format!(
            "The topic is not created: none of the brokers registered with this name server ({brokers}) has it. \
             Create it, for example with mqadmin updateTopic, or set autoCreateTopicEnable=true on a broker."
        ),
    };
    let remark = format!("No topic route info in name server for the topic: {topic}{FAQ} {reason}");
    Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark)
}
