//! One message with its listener, until it is done or back at the broker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thrustmq_proto_compat::header::ConsumerSendMsgBackRequestHeader;
use thrustmq_proto_compat::request_code::ConsumerSendMsgBack;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{error, warn};

use super::context::Context;
use super::listener::Consumed;
use super::offsets;
use super::worker::AssignedQueue;
use crate::ReceivedMessage;
use crate::error::AdminError;
use crate::received::PulledRecord;
use crate::stop::StopSignal;

/// Before a listener gets a message again that could not be sent back.
const LOCAL_RETRY_DELAY: Duration = Duration::from_secs(5);
/// The broker chooses the delay by how often the message failed.
const BROKER_CHOOSES: i32 = 0;

/// What the work on one message needs.
pub(super) struct Task {
    pub(super) context: Arc<Context>,
    pub(super) queue: Arc<AssignedQueue>,
    pub(super) stop: StopSignal,
}

impl Task {
    /// Runs the listener. A message that fails goes back to the broker; if that fails too, the
    /// listener gets it again here, for otherwise it would be lost.
    pub(super) async fn run(self, record: PulledRecord, permit: OwnedSemaphorePermit) {
        let Some(process) = self.queue.process() else {
            return;
        };
        let mut permit = Some(permit);
        let mut failures_here = 0;
        while permit.is_some() {
            let message = match record.decode(&self.context.retry_topic) {
                Ok(message) => message,
                Err(cause) => {
                    let (queue, offset) = (&self.queue.queue, record.queue_offset);
                    error!(%queue, offset, ?cause, "message left out since its body is damaged");
                    break;
                }
            };
            let back = self.back(&message);
            let consumed = self.consume(message, failures_here).await;
            drop(permit.take());
            // A revoked queue's messages come again at their new owner.
            if consumed == Consumed::Success || process.is_revoked() {
                break;
            }
            let message = back.origin_msg_id.as_deref();
            match consumed {
                Consumed::Panicked => warn!(message, "listener panicked"),
                Consumed::TimedOut => warn!(message, "listener took too long"),
                Consumed::Success | Consumed::Later => {}
            }
            match self.send_back(&back).await {
                Ok(()) => break,
                Err(cause) => {
                    warn!(message, %cause, "message not sent back, it is consumed again here")
                }
            }
            failures_here += 1;
            permit = self.wait_for_turn().await;
            if permit.is_none() {
                return;
            }
        }
        process.finish(record.queue_offset);
    }

    async fn consume(&self, mut message: ReceivedMessage, failures_here: i32) -> Consumed {
        message.reconsume_times = message.reconsume_times.saturating_add(failures_here);
        let time = self.context.options.consume_timeout;
        let consumed = self.context.listener.consume(message, time).await;
        let now_ms = self.context.link.clock.now_ms();
        self.queue.last_consume_ms.store(now_ms, Ordering::Relaxed);
        consumed
    }

    async fn wait_for_turn(&self) -> Option<OwnedSemaphorePermit> {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = stop.stopped() => return None,
            () = tokio::time::sleep(LOCAL_RETRY_DELAY) => {}
        }
        self.context.permits.clone().acquire_owned().await.ok()
    }

    /// How the message goes back, should it fail.
    fn back(&self, message: &ReceivedMessage) -> ConsumerSendMsgBackRequestHeader {
        ConsumerSendMsgBackRequestHeader {
            offset: message.physical_offset,
            group: self.context.group.clone(),
            delay_level: BROKER_CHOOSES,
            origin_msg_id: Some(message.message_id()),
            origin_topic: Some(message.topic.clone()),
            unit_mode: false,
            max_reconsume_times: Some(self.context.options.reconsume_times_max),
            broker_name: Some(self.queue.queue.broker_name.clone()),
        }
    }

    async fn send_back(&self, header: &ConsumerSendMsgBackRequestHeader) -> Result<(), AdminError> {
        let link = &self.context.link;
        let address = offsets::address(link, &self.queue.queue).await?;
        let reply = link
            .call::<ConsumerSendMsgBack>(&address, header, Vec::new())
            .await;
        reply
            .map(|_| ())
            .map_err(|cause| AdminError::Call { address, cause })
    }
}
