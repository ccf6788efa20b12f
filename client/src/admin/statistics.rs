//! What brokers count: by name as they keep it, and the rates of a topic and its groups.

use std::collections::BTreeMap;

use thrustmq_proto_compat::body::{BrokerStatsData, BrokerStatsItem};
use thrustmq_proto_compat::header::ViewBrokerStatsDataRequestHeader;
use thrustmq_proto_compat::request_code::ViewBrokerStatsData;
use thrustmq_remoting::CallError;

use super::Admin;
use crate::error::AdminError;

/// Messages of a topic that were stored.
const TOPIC_IN: &str = "TOPIC_PUT_NUMS";
/// Messages of a topic that a group got.
const GROUP_OUT: &str = "GROUP_GET_NUMS";

/// One item of a broker's statistics, over three spans that end now.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let put = admin.statistics("127.0.0.1:10911", "TOPIC_PUT_NUMS", "orders").await?;
/// println!("{} today", put.map_or(0, |put| put.sum_of_day()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statistics {
    /// The last minute.
    pub minute: Statistic,
    /// The last hour.
    pub hour: Statistic,
    /// The last day.
    pub day: Statistic,
}

/// What was counted over a span.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// if let Some(put) = admin.statistics("127.0.0.1:10911", "TOPIC_PUT_NUMS", "orders").await? {
///     println!("{:.1} a second", put.minute.per_second);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statistic {
    /// The sum.
    pub sum: i64,
    /// The sum by seconds.
    pub per_second: f64,
    /// The average of one event.
    pub average: f64,
}

impl Statistics {
    /// The sum of a day, or of as long as the broker has counted.
    pub fn sum_of_day(&self) -> i64 {
        let sums = [self.day.sum, self.hour.sum, self.minute.sum];
        sums.into_iter().find(|sum| *sum != 0).unwrap_or_default()
    }
}

/// How much comes into a topic, and goes out to its groups.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let rates = admin.topic_rates("orders").await?;
/// println!("{:.1} a second come in", rates.in_per_second);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopicRates {
    /// Messages stored a second, over the last minute.
    pub in_per_second: f64,
    /// Messages stored within a day.
    pub in_per_day: i64,
    /// By group.
    pub groups: BTreeMap<String, GroupRates>,
}

/// How much of a topic goes out to a group.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// for (group, rates) in admin.topic_rates("orders").await?.groups {
///     println!("{group}: {:.1} a second, {} behind", rates.out_per_second, rates.lag);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GroupRates {
    /// Messages delivered a second, over the last minute.
    pub out_per_second: f64,
    /// Messages delivered within a day.
    pub out_per_day: i64,
    /// Messages that are not committed yet.
    pub lag: i64,
}

impl Admin {
    /// An item of a broker's statistics, by the names that RocketMQ gives: `TOPIC_PUT_NUMS` of a topic,
    /// `GROUP_GET_NUMS` of `topic@group`, `BROKER_PUT_NUMS` of the cluster, and so on. None if nothing of
    /// the kind was counted lately.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn statistics(
        &self,
        address: &str,
        name: &str,
        key: &str,
    ) -> Result<Option<Statistics>, AdminError> {
        let header = ViewBrokerStatsDataRequestHeader {
            stats_name: name.to_owned(),
            stats_key: key.to_owned(),
        };
        let asked = self.ask::<ViewBrokerStatsData, BrokerStatsData>(address, &header);
        match asked.await {
            Ok(data) => Ok(Some(Statistics {
                minute: statistic(data.stats_minute),
                hour: statistic(data.stats_hour),
                day: statistic(data.stats_day),
            })),
            // There is no code for it: SYSTEM_ERROR and "The stats <..> not exist".
            Err(AdminError::Call {
                cause: CallError::Refused(refusal),
                ..
            }) if refusal.remark.contains("not exist") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How much comes into a topic, and goes out to the groups that consume it, on all brokers together.
    ///
    /// # Errors
    /// There is no such topic, or a broker does not answer.
    pub async fn topic_rates(&self, topic: &str) -> Result<TopicRates, AdminError> {
        let brokers = self.brokers_of(topic).await?;
        let mut rates = TopicRates::default();
        for broker in &brokers {
            let found = self.statistics(broker, TOPIC_IN, topic).await?;
            let found = found.unwrap_or_default();
            rates.in_per_second += found.minute.per_second;
            rates.in_per_day += found.sum_of_day();
        }
        for group in self.groups_of_topic(topic).await? {
            let mut of_group = GroupRates::default();
            let key = format!("{topic}@{group}");
            for broker in &brokers {
                let found = self.statistics(broker, GROUP_OUT, &key).await?;
                let found = found.unwrap_or_default();
                of_group.out_per_second += found.minute.per_second;
                of_group.out_per_day += found.sum_of_day();
            }
            let lags = self.lag_in(&group, topic).await?;
            of_group.lag = lags.iter().map(super::QueueLag::messages).sum();
            rates.groups.insert(group, of_group);
        }
        Ok(rates)
    }
}

fn statistic(item: BrokerStatsItem) -> Statistic {
    Statistic {
        sum: item.sum,
        per_second: item.tps,
        average: item.avgpt,
    }
}
