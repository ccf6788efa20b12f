//! What a replica copies from its master, and how replicas stand: 43, 45 and 907.

use thrustmq_proto_compat::body::HARuntimeInfo;
use thrustmq_remoting::{Handled, Incoming, Reply};

use crate::broker::Broker;
use crate::processor::json_body;

/// `GET_ALL_CONSUMER_OFFSET`.
pub(crate) fn all_consumer_offsets(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    json_body::answer(Reply::success(), &broker.offsets.snapshot())
}

/// `GET_BROKER_HA_STATUS`: a master to which no replica is connected.
pub(crate) fn ha_status(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    let body = HARuntimeInfo {
        master: true,
        master_commit_log_max_offset: broker.store.watermarks().written,
        ..HARuntimeInfo::default()
    };
    json_body::answer(Reply::success(), &body)
}

/// `GET_ALL_DELAY_OFFSET`.
pub(crate) fn all_delay_offsets(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    Ok(Reply::success().with_body(broker.delay.progress_json()))
}
