//! Which queues of a topic this consumer has now, and which it should have.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use thrustmq_proto_compat::body::{GetConsumerListByGroupResponseBody, MessageQueue};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::GetConsumerListByGroupRequestHeader;
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::request_code::GetConsumerListByGroup;
use tracing::debug;

use super::context::Context;
use crate::error::RouteError;
use crate::rebalance::GroupView;
use crate::route::{MASTER_ID, TopicRoute};

/// What a topic's division says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Division {
    /// These queues are ours.
    Ours(BTreeSet<MessageQueue>),
    /// Nobody could say, for this reason; what we have stays ours.
    Unknown(String),
    /// The brokers do not count us among the group yet; what we have stays ours.
    NotMet,
    /// There is no such topic, and that is nothing unusual.
    Absent,
}

/// Divides a topic among the group's members as they are now.
pub(super) async fn divide(context: &Context, topic: &str) -> Division {
    let route = match context.link.subscribe_route(topic).await {
        Ok(route) => route,
        // The retry topic comes into being with the group's first heartbeat, if at all.
        Err(RouteError::NoSuchTopic(_)) if names::is_retry_topic(topic) => return Division::Absent,
        Err(cause) => return Division::Unknown(cause.to_string()),
    };
    if context.is_broadcasting() {
        return Division::Ours(route.subscribe_queues().iter().cloned().collect());
    }
    let Some(mut members) = members(context, &route).await else {
        return Division::Unknown("no broker of the topic told the group's members".to_owned());
    };
    members.sort();
    members.dedup();
    if !members.contains(&context.link.id.text) {
        // The broker has forgotten us, or not met us yet: a heartbeat cures both.
        context.link.wake();
        return Division::NotMet;
    }
    match ours(context, &route, &members) {
        Some(ours) => Division::Ours(ours),
        None => Division::Unknown("the rebalance strategy panicked".to_owned()),
    }
}

/// Those of a topic's queues that the strategy gives us; nothing if it panics. It sees and says the
/// application's names.
fn ours(
    context: &Context,
    route: &TopicRoute,
    members: &[String],
) -> Option<BTreeSet<MessageQueue>> {
    let namespace = &context.link.namespace;
    let mut queues = route.subscribe_queues().to_vec();
    queues.sort();
    let plain: Vec<_> = queues
        .iter()
        .map(|queue| namespace.plain_queue(queue).into_owned())
        .collect();
    let group = namespace.plain(&context.group);
    let view = GroupView::new(&group, &context.link.id.text, &plain, members).within(namespace);
    // A strategy may be the application's: its panic must not end the consumer.
    let divide = AssertUnwindSafe(|| context.strategy.divide(&view));
    let ours = catch_unwind(divide).ok()?.into_iter();
    let wrapped = ours.map(|queue| namespace.wrap_queue(&queue).into_owned());
    Some(wrapped.filter(|queue| queues.contains(queue)).collect())
}

/// The group's members, from the first broker that tells them.
async fn members(context: &Context, route: &TopicRoute) -> Option<Vec<String>> {
    let header = GetConsumerListByGroupRequestHeader {
        consumer_group: context.group.clone(),
    };
    for broker_name in route.brokers().keys() {
        let Some(address) = route.broker_address(broker_name, MASTER_ID) else {
            continue;
        };
        let reply = context
            .link
            .call::<GetConsumerListByGroup>(address, &header, Vec::new())
            .await;
        let body = match reply {
            Ok(reply) => reply.body.to_bytes(),
            Err(cause) => {
                debug!(broker_name, %cause, "members not told");
                continue;
            }
        };
        match fastjson::from_slice::<GetConsumerListByGroupResponseBody>(&body) {
            Ok(list) => return Some(list.consumer_id_list),
            Err(cause) => debug!(broker_name, %cause, "members cannot be read"),
        }
    }
    None
}

/// What has to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) revoked: Vec<MessageQueue>,
    pub(super) added: Vec<MessageQueue>,
}

/// From what we have of a topic to what is ours.
pub(super) fn changes<'a>(
    have: impl Iterator<Item = &'a MessageQueue>,
    ours: &BTreeSet<MessageQueue>,
) -> Changes {
    let have: BTreeSet<&MessageQueue> = have.collect();
    Changes {
        revoked: have
            .iter()
            .filter(|queue| !ours.contains(**queue))
            .map(|q| (*q).clone())
            .collect(),
        added: ours
            .iter()
            .filter(|queue| !have.contains(queue))
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differences_are_acted_on() {
        let queue = |queue_id| MessageQueue {
            topic: "t".into(),
            broker_name: "a".into(),
            queue_id,
        };
        let have = [queue(0), queue(1)];
        let ours = BTreeSet::from([queue(1), queue(2)]);
        let expected = Changes {
            revoked: vec![queue(0)],
            added: vec![queue(2)],
        };
        assert_eq!(changes(have.iter(), &ours), expected);
        assert_eq!(changes(ours.iter(), &ours), Changes::default());
    }
}
