//! Clients that are connected: producers, and what consumers tell of themselves or do on demand.

use std::collections::{BTreeMap, BTreeSet};

use thrustmq_proto_compat::body::{
    CMResult, ConsumeMessageDirectlyResult, ConsumerRunningInfo, ProducerConnection, ProducerInfo,
    ProducerTableInfo,
};
use thrustmq_proto_compat::header::{
    ConsumeMessageDirectlyResultRequestHeader, GetConsumerRunningInfoRequestHeader,
    GetProducerConnectionListRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    ConsumeMessageDirectly, GetAllProducerInfo, GetConsumerRunningInfo, GetProducerConnectionList,
};

use super::Admin;
use super::messages::place;
use crate::error::AdminError;

/// The producers of a broker, by their groups.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let groups = admin.producers_of_broker("127.0.0.1:10911").await?;
/// println!("{:?}", groups.keys());
/// # Ok(())
/// # }
/// ```
pub type ProducersByGroup = BTreeMap<String, Vec<ProducerInfo>>;

/// What a consumer tells of itself: its settings, queues, rates, and its stack if that was asked for.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let info = admin.consumer_info("billing", "10.0.0.7@4711", false).await?;
/// println!("{info:?}");
/// # Ok(())
/// # }
/// ```
pub type ConsumerInfo = ConsumerRunningInfo;

/// What became of a message that a consumer got on demand.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let id = "7F00000100002A9F0000000000001000";
/// let consumed = admin.consume_directly("billing", "10.0.0.7@4711", id).await?;
/// println!("{} after {} ms", consumed.result, consumed.elapsed_ms);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedDirectly {
    /// Whether the listener was content.
    pub is_success: bool,
    /// The listener's answer in Java's words, such as `CR_LATER`.
    pub result: String,
    /// What it said besides.
    pub remark: Option<String>,
    /// How long it took.
    pub elapsed_ms: i64,
}

impl Admin {
    /// The producers that are connected to a broker, by group.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn producers_of_broker(&self, address: &str) -> Result<ProducersByGroup, AdminError> {
        let table: ProducerTableInfo = self.ask::<GetAllProducerInfo, _>(address, &()).await?;
        Ok(table.data)
    }

    /// The producers of a group that are connected to the brokers of a topic.
    ///
    /// # Errors
    /// There is no such topic, a broker does not answer, or none knows the group.
    pub async fn producers_of_group(
        &self,
        group: &str,
        topic: &str,
    ) -> Result<ProducerConnection, AdminError> {
        let header = GetProducerConnectionListRequestHeader {
            producer_group: group.to_owned(),
        };
        let brokers = self.brokers_of(topic).await?;
        first_of(brokers, async |address: String| {
            self.ask::<GetProducerConnectionList, _>(&address, &header)
                .await
        })
        .await
    }

    /// What a member of a group tells of itself. With `with_stack` a Java client adds its threads'
    /// stacks; others have none to show.
    ///
    /// # Errors
    /// No broker knows the group or the member, or it does not answer.
    pub async fn consumer_info(
        &self,
        group: &str,
        client_id: &str,
        with_stack: bool,
    ) -> Result<ConsumerInfo, AdminError> {
        let header = GetConsumerRunningInfoRequestHeader {
            consumer_group: group.to_owned(),
            client_id: client_id.to_owned(),
            jstack_enable: with_stack,
        };
        let brokers = self.brokers_of_group(group).await?;
        first_of(brokers, async |address: String| {
            self.ask::<GetConsumerRunningInfo, _>(&address, &header)
                .await
        })
        .await
    }

    /// Has a member of a group consume a message now, wherever the group is. The message is named by the
    /// id that its broker gave.
    ///
    /// # Errors
    /// The id is none, the broker that it names does not answer or has no such message or member.
    pub async fn consume_directly(
        &self,
        group: &str,
        client_id: &str,
        offset_msg_id: &str,
    ) -> Result<ConsumedDirectly, AdminError> {
        let address = place(offset_msg_id)?.store_host.to_string();
        let header = ConsumeMessageDirectlyResultRequestHeader {
            consumer_group: group.to_owned(),
            client_id: Some(client_id.to_owned()),
            msg_id: Some(offset_msg_id.to_owned()),
            ..ConsumeMessageDirectlyResultRequestHeader::default()
        };
        let done: ConsumeMessageDirectlyResult = self
            .ask::<ConsumeMessageDirectly, _>(&address, &header)
            .await?;
        let result = done.consume_result;
        Ok(ConsumedDirectly {
            is_success: matches!(result, Some(CMResult::Success | CMResult::Commit)),
            result: result.map_or_else(|| "unknown".to_owned(), |result| result.name().to_owned()),
            remark: done.remark,
            elapsed_ms: done.spent_time_mills,
        })
    }
}

/// What the first broker answers that can: clients are connected to all of them, but to some later than
/// to others.
async fn first_of<T>(
    brokers: BTreeSet<String>,
    ask: impl AsyncFn(String) -> Result<T, AdminError>,
) -> Result<T, AdminError> {
    let mut failed = AdminError::NoBrokers;
    for address in brokers {
        match ask(address).await {
            Ok(answer) => return Ok(answer),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
