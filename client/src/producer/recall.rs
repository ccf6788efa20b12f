//! Takes back a message that waits for its time.

use bytes::Bytes;
use thrustmq_proto_compat::header::RecallMessageRequestHeader;
use thrustmq_proto_compat::message::id::RecallHandle;
use thrustmq_proto_compat::request_code::RecallMessage;

use super::Producer;
use crate::error::RecallError;

impl Producer {
    /// Takes back a message with [`deliver_at`](crate::Message::deliver_at) or
    /// [`deliver_after`](crate::Message::deliver_after) that is not delivered yet, by the handle of its
    /// receipt. Returns the message's id. Brokers allow it where `recallMessageEnable=true`.
    ///
    /// # Errors
    /// See [`RecallError`]. A broker cannot always tell whether it was in time: a message that is due
    /// within moments may be delivered all the same.
    ///
    /// ```no_run
    /// # async fn example(producer: thrustmq_client::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use thrustmq_client::Message;
    ///
    /// let reminder = Message::new("reminders", "pay").deliver_after(Duration::from_secs(3_600));
    /// let receipt = producer.send(reminder).await?;
    /// if let Some(handle) = receipt.recall_handle {
    ///     producer.recall(&handle).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recall(&self, handle: &str) -> Result<String, RecallError> {
        let inner = &self.inner;
        let read = RecallHandle::decode(handle);
        let RecallHandle {
            topic, broker_name, ..
        } = read.map_err(|_| RecallError::Handle(handle.to_owned()))?;
        let route = inner.link.publish_route(&topic).await?;
        let Some(address) = route.master_address(&broker_name) else {
            return Err(RecallError::NoBroker { broker_name });
        };
        let header = RecallMessageRequestHeader {
            producer_group: Some(inner.sender.group.clone()),
            topic,
            recall_handle: handle.to_owned(),
            broker_name: Some(broker_name.clone()),
        };
        let recalled = inner
            .link
            .call::<RecallMessage>(address, &header, Bytes::new());
        match recalled.await {
            Ok(answer) => Ok(answer.header.msg_id),
            Err(cause) => Err(RecallError::Call { broker_name, cause }),
        }
    }
}
