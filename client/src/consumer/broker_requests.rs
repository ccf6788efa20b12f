//! What brokers ask of a consumer: received on remoting's threads, handled by the control task.
//!
//! The handlers here only pass on. The queue to the control task is bounded; a request that does not
//! fit is refused, a notice that does not fit is dropped, since the queue then holds such a notice
//! already or the next rebalance comes by itself.

use std::sync::Arc;

use bytes::Bytes;
use thrustmq_proto_compat::body::ResetOffsetBody;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    GetConsumerStatusRequestHeader, NotifyConsumerIdsChangedRequestHeader, ResetOffsetRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    ConsumeMessageDirectly, GetConsumerRunningInfo, GetConsumerStatusFromClient,
    NotifyConsumerIdsChanged, ResetConsumerClientOffset,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Handled, Incoming, Pool, PoolOptions, Refusal, Reply, Responder, Routes};
use tokio::sync::mpsc;
use tracing::debug;

const QUEUE_CAPACITY: usize = 256;

/// A request for the control task.
pub(super) enum BrokerRequest {
    /// Members came or went.
    MembersChanged,
    /// Go on from other offsets.
    ResetOffsets(ResetOffsetBody),
    /// How far are you in this topic?
    Status { topic: String, responder: Responder },
    /// What are you doing?
    RunningInfo(Responder),
    /// Consume this record now.
    ConsumeDirectly(DirectMessage),
}

/// A record that an operator wants consumed, out of its turn.
pub(super) struct DirectMessage {
    pub(super) record: Bytes,
    pub(super) responder: Responder,
}

/// The handlers' state.
struct Inbox {
    group: String,
    requests: mpsc::Sender<BrokerRequest>,
}

/// The routes of a consumer, and where their requests arrive.
pub(super) struct Served {
    pub(super) routes: Arc<Routes>,
    pub(super) requests: Requests,
}

/// What brokers ask, in order. Dropped, it ends the thread that takes the requests in.
pub(super) struct Requests {
    receiver: mpsc::Receiver<BrokerRequest>,
    pool: Arc<Pool>,
}

impl Requests {
    /// The next request. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<BrokerRequest> {
        self.receiver.recv().await
    }

    /// Takes no more in; what is there already can still be had.
    pub(super) fn close(&mut self) {
        self.receiver.close();
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // Waits for a handler that only passes on.
        self.pool.shutdown();
    }
}

/// Serves the brokers of a consumer of `group`.
pub(super) fn serve(group: &str) -> Served {
    let (sender, receiver) = mpsc::channel(QUEUE_CAPACITY);
    let pool = Pool::new(PoolOptions {
        name: "client-requests",
        threads: 1,
        queue_capacity: QUEUE_CAPACITY,
        lends: 0,
    });
    let inbox = Arc::new(Inbox {
        group: group.to_owned(),
        requests: sender,
    });
    let routes = Routes::builder(inbox)
        .on::<NotifyConsumerIdsChanged>(&pool, members_changed)
        .on::<ResetConsumerClientOffset>(&pool, reset_offsets)
        .on_parked::<GetConsumerStatusFromClient>(&pool, status)
        .on_parked::<GetConsumerRunningInfo>(&pool, |inbox, incoming, responder| {
            let group = &incoming.header.consumer_group;
            inbox.park(group, responder, BrokerRequest::RunningInfo);
        })
        .on_parked::<ConsumeMessageDirectly>(&pool, |inbox, incoming, responder| {
            let group = &incoming.header.consumer_group;
            let record = incoming.command.body.to_bytes();
            inbox.park(group, responder, |responder| {
                BrokerRequest::ConsumeDirectly(DirectMessage { record, responder })
            });
        })
        .build();
    Served {
        routes,
        requests: Requests { receiver, pool },
    }
}

fn members_changed(
    inbox: &Inbox,
    incoming: Incoming<NotifyConsumerIdsChangedRequestHeader>,
) -> Handled<()> {
    if incoming.header.consumer_group == inbox.group {
        inbox.pass(BrokerRequest::MembersChanged)?;
    }
    Ok(Reply::success())
}

fn reset_offsets(inbox: &Inbox, incoming: Incoming<ResetOffsetRequestHeader>) -> Handled<()> {
    inbox.check_group(&incoming.header.group)?;
    let body = incoming.command.body.to_bytes();
    let offsets = fastjson::from_slice(&body)
        .map_err(|cause| Refusal::new(ResponseCode::SYSTEM_ERROR, cause.to_string()))?;
    inbox.pass(BrokerRequest::ResetOffsets(offsets))?;
    Ok(Reply::success())
}

fn status(inbox: &Inbox, incoming: Incoming<GetConsumerStatusRequestHeader>, responder: Responder) {
    let GetConsumerStatusRequestHeader { topic, group, .. } = incoming.header;
    inbox.park(&group, responder, |responder| BrokerRequest::Status {
        topic,
        responder,
    });
}

impl Inbox {
    fn check_group(&self, group: &str) -> Result<(), Refusal> {
        if group == self.group {
            return Ok(());
        }
        let remark = format!("The Consumer Group <{group}> not exist in this consumer");
        Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark))
    }

    fn pass(&self, request: BrokerRequest) -> Result<(), Refusal> {
        self.requests.try_send(request).map_err(|_| {
            debug!(group = self.group, "request of a broker dropped");
            Refusal::new(
                ResponseCode::SYSTEM_BUSY,
                "the consumer is busy or stopping, try again",
            )
        })
    }

    fn park(
        &self,
        group: &str,
        responder: Responder,
        request: impl FnOnce(Responder) -> BrokerRequest,
    ) {
        if let Err(refusal) = self.check_group(group) {
            return responder.refuse(refusal);
        }
        match self.requests.try_reserve() {
            Ok(place) => place.send(request(responder)),
            Err(_) => responder.refuse(Refusal::new(
                ResponseCode::SYSTEM_BUSY,
                "the consumer is busy or stopping, try again",
            )),
        }
    }
}
