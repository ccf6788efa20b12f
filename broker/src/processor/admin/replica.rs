//! What a replica copies from its master: 43 and 45.

use thrustmq_remoting::{Handled, Incoming, Reply};

use crate::broker::Broker;
use crate::processor::json_body;

/// `GET_ALL_CONSUMER_OFFSET`.
pub(crate) fn all_consumer_offsets(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    json_body::answer(Reply::success(), &broker.offsets.snapshot())
}

/// `GET_ALL_DELAY_OFFSET`.
pub(crate) fn all_delay_offsets(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    Ok(Reply::success().with_body(broker.delay.progress_json()))
}
