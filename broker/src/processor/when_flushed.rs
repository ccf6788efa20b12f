//! Answers that promise something stored: with a synchronous flush they wait until it is on the disk.

use thrustmq_proto_compat::table::SentHeader;
use thrustmq_remoting::{Reply, Responder};

use crate::broker::Broker;
use crate::config::FlushDiskType;

/// Sends the answer when everything before `end_offset` is as safe as this broker makes it. What does
/// not get to the disk in time is answered all the same: the client can do nothing about it.
pub(super) fn send_when_flushed<H: SentHeader + Send + 'static>(
    broker: &Broker,
    end_offset: i64,
    responder: Responder,
    reply: Reply<H>,
) {
    let waits = broker.config.current().flush_disk_type == FlushDiskType::SyncFlush;
    if !waits || end_offset <= 0 {
        return responder.send(Ok(reply));
    }
    let finish = move |_| responder.send(Ok(reply));
    broker.store.when_flushed(end_offset, Box::new(finish));
}
