//! Ending leases: done, or not yet.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thrustmq_proto_compat::body::{BatchAck, BatchAckMessageRequestBody};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{AckMessageRequestHeader, ChangeInvisibleTimeRequestHeader};
use thrustmq_proto_compat::request_code::{
    AckMessage, BatchAckMessage, ChangeMessageInvisibleTime,
};

use super::lease::Handle;
use super::{Inner, Leased, PopConsumer};
use crate::error::{AdminError, RouteError};

/// Beyond it a message is acknowledged by itself: bits for all between would make the request long.
const BITS_MAX: i64 = 1_024;

/// What messages of one entry of a batch have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pop<'a> {
    topic: &'a str,
    kind: &'static str,
    pop_time_ms: i64,
    invisible_ms: i64,
    revive_queue: i32,
    queue_id: i32,
    first_offset: i64,
}

impl PopConsumer {
    /// The message is done: nobody gets it again. Without effect if its lease has ended.
    ///
    /// # Errors
    /// The broker is not known, does not answer, or refuses: then the message comes again.
    pub async fn ack(&self, message: &Leased) -> Result<(), AdminError> {
        self.inner.acknowledge(message).await
    }

    /// Messages are done, with one request for each broker.
    ///
    /// # Errors
    /// A broker is not known, does not answer, or refuses: its messages come again. The others are done.
    pub async fn ack_all<'a>(
        &self,
        messages: impl IntoIterator<Item = &'a Leased>,
    ) -> Result<(), AdminError> {
        let mut by_broker = BTreeMap::<&str, Vec<&Leased>>::new();
        for message in messages {
            let of_broker = by_broker.entry(&message.handle.broker_name);
            of_broker.or_default().push(message);
        }
        let mut outcome = Ok(());
        for (broker_name, messages) in by_broker {
            let ended = self.inner.acknowledge_all(broker_name, &messages).await;
            outcome = outcome.and(ended);
        }
        outcome
    }

    /// Gives a message a new lease, from now on: longer, because the work takes longer, or shorter, to have it
    /// delivered again soon. The message must be acknowledged with the new lease.
    ///
    /// # Errors
    /// The broker is not known, does not answer, or refuses, as it does if the lease has ended: then `message`
    /// is as it was.
    pub async fn change_invisible(
        &self,
        message: &mut Leased,
        time: Duration,
    ) -> Result<(), AdminError> {
        self.inner.change_invisible(message, time).await
    }
}

impl Inner {
    pub(super) async fn acknowledge(&self, leased: &Leased) -> Result<(), AdminError> {
        let handle = &leased.handle;
        let header = AckMessageRequestHeader {
            consumer_group: self.group.clone(),
            topic: self.stored_topic(leased),
            queue_id: handle.queue_id,
            extra_info: handle.text(),
            offset: handle.offset,
            broker_name: Some(handle.broker_name.clone()),
        };
        let address = self.address(leased).await?;
        let called = self.link.call::<AckMessage>(&address, &header, Vec::new());
        let acknowledged = called.await.map(|_| ());
        acknowledged.map_err(|cause| AdminError::Call { address, cause })
    }

    async fn acknowledge_all(
        &self,
        broker_name: &str,
        messages: &[&Leased],
    ) -> Result<(), AdminError> {
        let (together, alone): (Vec<_>, Vec<_>) = messages
            .iter()
            .copied()
            .partition(|leased| (0..BITS_MAX).contains(&leased.handle.distance()));
        let mut outcome = Ok(());
        for leased in alone {
            outcome = outcome.and(self.acknowledge(leased).await);
        }
        let Some(first) = together.first() else {
            return outcome;
        };
        let body = BatchAckMessageRequestBody {
            acks: self.batch(&together),
            broker_name: broker_name.to_owned(),
        };
        let body = fastjson::to_vec(&body).expect("plain names and numbers always encode");
        let address = self.address(first).await?;
        let called = self.link.call::<BatchAckMessage>(&address, &(), body).await;
        let acknowledged = called.map(|_| ());
        outcome.and(acknowledged.map_err(|cause| AdminError::Call { address, cause }))
    }

    /// An entry for each pop of each queue.
    fn batch(&self, messages: &[&Leased]) -> Vec<BatchAck> {
        let mut pops = BTreeMap::<Pop<'_>, Vec<u8>>::new();
        for leased in messages {
            let handle = &leased.handle;
            let bits = pops.entry(pop_of(leased)).or_default();
            set_bit(bits, handle.distance());
        }
        let entry = |(pop, bits): (Pop<'_>, Vec<u8>)| BatchAck {
            bit_set: STANDARD.encode(bits),
            consumer_group: self.group.clone(),
            invisible_time: pop.invisible_ms,
            pop_time: pop.pop_time_ms,
            queue_id: pop.queue_id,
            retry: pop.kind.to_owned(),
            revive_queue_id: pop.revive_queue,
            start_offset: pop.first_offset,
            topic: self.link.namespace.wrap(pop.topic).into_owned(),
        };
        pops.into_iter().map(entry).collect()
    }

    pub(super) async fn change_invisible(
        &self,
        leased: &mut Leased,
        time: Duration,
    ) -> Result<(), AdminError> {
        let handle = &leased.handle;
        let header = ChangeInvisibleTimeRequestHeader {
            consumer_group: self.group.clone(),
            topic: self.stored_topic(leased),
            queue_id: handle.queue_id,
            extra_info: handle.text(),
            offset: handle.offset,
            invisible_time_ms: i64::try_from(time.as_millis()).unwrap_or(i64::MAX),
            broker_name: Some(handle.broker_name.clone()),
        };
        let address = self.address(leased).await?;
        let called = self
            .link
            .call::<ChangeMessageInvisibleTime>(&address, &header, Vec::new());
        let reply = match called.await {
            Ok(reply) => reply,
            Err(cause) => return Err(AdminError::Call { address, cause }),
        };
        leased.handle = Handle {
            first_offset: handle.offset,
            pop_time_ms: reply.header.pop_time_ms,
            invisible_ms: reply.header.invisible_time_ms,
            revive_queue: reply.header.revive_queue_id,
            ..handle.clone()
        };
        Ok(())
    }

    /// The topic that the message lies in, as the servers call it.
    fn stored_topic(&self, leased: &Leased) -> String {
        let topic = self.link.namespace.wrap(&leased.message.topic);
        leased.handle.kind.topic(&topic, &self.group)
    }

    async fn address(&self, leased: &Leased) -> Result<String, AdminError> {
        let topic = self.link.namespace.wrap(&leased.message.topic);
        let route = self.link.subscribe_route(&topic).await?;
        let address = route.master_address(&leased.handle.broker_name);
        let address = address.ok_or_else(|| RouteError::NoQueue(topic.into_owned()))?;
        Ok(address.to_owned())
    }
}

fn pop_of(leased: &Leased) -> Pop<'_> {
    let handle = &leased.handle;
    Pop {
        topic: &leased.message.topic,
        kind: handle.kind.mark(),
        pop_time_ms: handle.pop_time_ms,
        invisible_ms: handle.invisible_ms,
        revive_queue: handle.revive_queue,
        queue_id: handle.queue_id,
        first_offset: handle.first_offset,
    }
}

/// Sets a bit of a set as Java's `BitSet` has its bytes: the lowest first.
fn set_bit(bits: &mut Vec<u8>, number: i64) {
    let number = usize::try_from(number).unwrap_or_default();
    let at = number / 8;
    if bits.len() <= at {
        bits.resize(at + 1, 0);
    }
    if let Some(byte) = bits.get_mut(at) {
        *byte |= 1 << (number % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_java_s_sets() {
        let mut bits = Vec::new();
        for number in [0, 3, 17] {
            set_bit(&mut bits, number);
        }
        assert_eq!(bits, [0b1001, 0, 0b10]);
    }
}
