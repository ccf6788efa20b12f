//! One message with its listener, until it is done or back at the broker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thrustmq_proto_compat::header::ConsumerSendMsgBackRequestHeader;
use thrustmq_proto_compat::request_code::ConsumerSendMsgBack;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::context::Context;
use super::listener::Consumed;
use super::offsets;
use super::worker::AssignedQueue;
use crate::ReceivedMessage;
use crate::error::AdminError;
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
    pub(super) async fn run(self, mut message: ReceivedMessage, permit: OwnedSemaphorePermit) {
        let Some(process) = self.queue.process() else {
            return;
        };
        let queue_offset = message.queue_offset;
        let mut permit = Some(permit);
        loop {
            let time = self.context.options.consume_timeout;
            let consumed = self.context.listener.consume(message.clone(), time).await;
            drop(permit.take());
            let now_ms = self.context.link.clock.now_ms();
            self.queue.last_consume_ms.store(now_ms, Ordering::Relaxed);
            // A revoked queue's messages come again at their new owner.
            if consumed == Consumed::Success || process.is_revoked() {
                return process.finish(queue_offset);
            }
            match self.send_back(&message).await {
                Ok(()) => return process.finish(queue_offset),
                Err(cause) => {
                    let shown = message.message_id();
                    warn!(message = shown, %cause, "message not sent back, it is consumed again here");
                }
            }
            message.reconsume_times = message.reconsume_times.saturating_add(1);
            permit = self.wait_for_turn().await;
            if permit.is_none() {
                return;
            }
        }
    }

    async fn wait_for_turn(&self) -> Option<OwnedSemaphorePermit> {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = stop.stopped() => return None,
            () = tokio::time::sleep(LOCAL_RETRY_DELAY) => {}
        }
        self.context.permits.clone().acquire_owned().await.ok()
    }

    async fn send_back(&self, message: &ReceivedMessage) -> Result<(), AdminError> {
        let context = &self.context;
        let queue = &self.queue.queue;
        let address = offsets::address(&context.link, queue).await?;
        let header = ConsumerSendMsgBackRequestHeader {
            offset: message.physical_offset,
            group: context.group.clone(),
            delay_level: BROKER_CHOOSES,
            origin_msg_id: Some(message.message_id()),
            origin_topic: Some(message.topic.clone()),
            unit_mode: false,
            max_reconsume_times: Some(context.options.reconsume_times_max),
            broker_name: Some(queue.broker_name.clone()),
        };
        let reply = context
            .link
            .call::<ConsumerSendMsgBack>(&address, &header, Vec::new())
            .await;
        reply
            .map(|_| ())
            .map_err(|cause| AdminError::Call { address, cause })
    }
}
