//! What a replica copies of its master's timer: 60 and 61.

use thrustmq_remoting::{Handled, Incoming, Reply};

use crate::broker::Broker;
use crate::refusal;

/// `GET_TIMER_CHECK_POINT`: the 56 bytes of `timercheck`.
pub(crate) fn checkpoint(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    let timer = broker.timer.as_ref();
    let timer = timer.ok_or_else(refusal::timer_checkpoint_absent)?;
    let bytes = timer.checkpoint().encode().to_vec();
    Ok(Reply::success().with_body(bytes))
}

/// `GET_TIMER_METRICS`: `timermetrics`.
pub(crate) fn metrics(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    let timer = broker.timer.as_ref().ok_or_else(refusal::timer_absent)?;
    Ok(Reply::success().with_body(timer.metrics_json()))
}
