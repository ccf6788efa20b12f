//! Groups: create, change, delete and show. 200, 201, 207, 225, 352 and 353.

use thrustmq_proto_compat::body::{
    GroupForbidden, SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper,
};
use thrustmq_proto_compat::header::{
    DeleteSubscriptionGroupRequestHeader, GetAllSubscriptionGroupRequestHeader,
    GetAllSubscriptionGroupResponseHeader, GetSubscriptionGroupConfigRequestHeader,
    UpdateGroupForbiddenRequestHeader,
};
use thrustmq_proto_compat::message::names;
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply};

use super::page::{self, PageRequest};
use crate::broker::Broker;
use crate::processor::json_body;
use crate::refusal;
use crate::topic::QUEUES_MAX;

/// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP`.
pub(crate) fn update_group(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    if incoming.command.body.is_empty() {
        return Ok(Reply::success());
    }
    let group: SubscriptionGroupConfig = json_body::read(&incoming.command)?;
    upsert(broker, vec![group])
}

/// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST`: all of them or none.
pub(crate) fn update_groups(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    let groups: SubscriptionGroupList = json_body::read(&incoming.command)?;
    upsert(broker, groups.group_config_list)
}

/// `DELETE_SUBSCRIPTIONGROUP`, with its offsets if they are to go as well.
pub(crate) fn delete_group(
    broker: &Broker,
    incoming: Incoming<DeleteSubscriptionGroupRequestHeader>,
) -> Handled<()> {
    let group = &incoming.header.group_name;
    broker.groups.remove(group);
    if incoming.header.clean_offset {
        broker.offsets.remove_group(group);
    }
    if broker.config.current().auto_delete_unused_stats {
        broker.stats.remove_group(group);
    }
    Ok(Reply::success())
}

/// `GET_ALL_SUBSCRIPTIONGROUP_CONFIG`: all groups, or a page of them.
pub(crate) fn all_groups(
    broker: &Broker,
    incoming: Incoming<GetAllSubscriptionGroupRequestHeader>,
) -> Handled<GetAllSubscriptionGroupResponseHeader> {
    let header = incoming.header;
    let snapshot = broker.groups.snapshot();
    let total = i32::try_from(snapshot.groups.len()).unwrap_or(i32::MAX);
    let page = page::take(
        PageRequest {
            first: header.group_seq,
            entries_max: header.max_group_num,
            data_version: header.data_version.as_deref(),
        },
        &broker.config.current(),
        &snapshot.data_version,
        snapshot.groups,
    );
    let mut body = SubscriptionGroupWrapper {
        subscription_group_table: page
            .map(|(name, group)| (name, SubscriptionGroupConfig::clone(&group)))
            .collect(),
        forbidden_table: snapshot.forbidden,
        data_version: snapshot.data_version,
    };
    let shown = &body.subscription_group_table;
    body.forbidden_table
        .retain(|group, _| shown.contains_key(group));
    let header = GetAllSubscriptionGroupResponseHeader {
        total_group_num: Some(total),
    };
    json_body::answer(Reply::ok(header), &body)
}

/// `GET_SUBSCRIPTIONGROUP_CONFIG`: one group; asking for it creates it where that is allowed.
pub(crate) fn group_config(
    broker: &Broker,
    incoming: Incoming<GetSubscriptionGroupConfigRequestHeader>,
) -> Handled<()> {
    let config = broker.groups.find(&incoming.header.group);
    let config = config.ok_or_else(refusal::no_group_here)?;
    json_body::answer(Reply::success(), &*config)
}

/// `UPDATE_AND_GET_GROUP_FORBIDDEN`: whether a group may read a topic.
pub(crate) fn group_forbidden(
    broker: &Broker,
    incoming: Incoming<UpdateGroupForbiddenRequestHeader>,
) -> Handled<()> {
    let UpdateGroupForbiddenRequestHeader {
        group,
        topic,
        readable,
    } = incoming.header;
    if let Some(readable) = readable {
        broker.groups.set_read_forbidden(&group, &topic, !readable);
    }
    let body = GroupForbidden {
        readable: Some(!broker.groups.is_read_forbidden(&group, &topic)),
        group: Some(group),
        topic: Some(topic),
    };
    json_body::answer(Reply::success().with_remark(""), &body)
}

fn upsert(broker: &Broker, groups: Vec<SubscriptionGroupConfig>) -> Handled<()> {
    groups.iter().try_for_each(check)?;
    let outcome = broker.groups.upsert_all(groups);
    outcome.map_err(refusal::attributes_refused)?;
    Ok(Reply::success())
}

fn check(group: &SubscriptionGroupConfig) -> Result<(), Refusal> {
    let name = &group.group_name;
    names::check_group(name).map_err(|error| refusal::invalid_group_name(name, error))?;
    // Java lets retry topics have any number of queues, and then walks them all.
    if group.retry_queue_nums > QUEUES_MAX {
        let retry_topic = names::retry_topic(name);
        return Err(refusal::queue_counts_out_of_range(&retry_topic, QUEUES_MAX));
    }
    Ok(())
}
