//! Statistics by name: 315.

use thrustmq_proto_compat::body::{BrokerStatsData, BrokerStatsItem};
use thrustmq_proto_compat::header::ViewBrokerStatsDataRequestHeader;
use thrustmq_remoting::{Handled, Incoming, Reply};

use crate::broker::Broker;
use crate::processor::json_body;
use crate::refusal;
use crate::stats::SpanData;

/// `VIEW_BROKER_STATS_DATA`: one item over the last minute, hour and day.
pub(crate) fn view_stats(
    broker: &Broker,
    incoming: Incoming<ViewBrokerStatsDataRequestHeader>,
) -> Handled<()> {
    let (name, key) = (&incoming.header.stats_name, &incoming.header.stats_key);
    let found = broker.stats.find(name, key);
    let found = found.ok_or_else(|| refusal::no_such_statistic(name, key))?;
    let body = BrokerStatsData {
        stats_day: item(found.day),
        stats_hour: item(found.hour),
        stats_minute: item(found.minute),
    };
    json_body::answer(Reply::success(), &body)
}

fn item(span: SpanData) -> BrokerStatsItem {
    BrokerStatsItem {
        avgpt: span.per_call,
        sum: span.sum,
        tps: span.per_second,
    }
}
