//! One pull: the request, and what its answer means. Pure; `worker.rs` sends and acts.

use bytes::Bytes;
use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{PullMessageRequestHeader, PullMessageResponseHeader};
use thrustmq_proto_compat::request_code::PullMessage;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::Refusal;

const COMMIT_OFFSET: i32 = 1;
const MAY_WAIT: i32 = 2;

/// How long the broker may keep a pull that finds nothing, milliseconds.
const SUSPEND_MS: i64 = 15_000;
/// How long we wait for the answer.
pub(super) const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// What a pull asks for.
#[derive(Debug)]
pub(super) struct PullRequest<'a> {
    pub(super) group: &'a str,
    pub(super) queue: &'a MessageQueue,
    pub(super) offset: i64,
    /// Committed with the pull, to spare a request; 0 commits nothing.
    pub(super) commit_offset: i64,
    pub(super) messages_max: i32,
    /// Version of the subscription that the heartbeat carried.
    pub(super) subscription_version: i64,
}

impl PullRequest<'_> {
    pub(super) fn command(&self) -> Command {
        let commit = if self.commit_offset > 0 {
            COMMIT_OFFSET
        } else {
            0
        };
        Command::request::<PullMessage>(&PullMessageRequestHeader {
            consumer_group: self.group.to_owned(),
            topic: self.queue.topic.clone(),
            queue_id: self.queue.queue_id,
            queue_offset: self.offset,
            max_msg_nums: self.messages_max,
            sys_flag: commit | MAY_WAIT,
            commit_offset: self.commit_offset,
            suspend_timeout_ms: SUSPEND_MS,
            sub_version: self.subscription_version,
            broker_name: Some(self.queue.broker_name.clone()),
            ..PullMessageRequestHeader::default()
        })
    }
}

/// What an answer means.
#[derive(Debug, PartialEq)]
pub(super) enum Pulled {
    /// Records, perhaps none: go on at `next`.
    Messages {
        records: Bytes,
        next: i64,
        /// Broker id to pull from next time.
        suggested_broker: i64,
    },
    /// The offset is not in the queue: go on at `next`, which is.
    OffsetMoved { next: i64 },
    /// The broker has too much to do.
    Busy,
    /// The broker does not serve this pull.
    Refused(Refusal),
}

/// Reads an answer.
pub(super) fn pulled(answer: Command) -> Pulled {
    let code = answer.response_code();
    let is_ours = matches!(
        code,
        ResponseCode::SUCCESS
            | ResponseCode::PULL_NOT_FOUND
            | ResponseCode::PULL_RETRY_IMMEDIATELY
            | ResponseCode::PULL_OFFSET_MOVED
    );
    if code == ResponseCode::SYSTEM_BUSY {
        return Pulled::Busy;
    }
    if !is_ours {
        return Pulled::Refused(Refusal::new(code, answer.remark.unwrap_or_default()));
    }
    let header = match answer.header::<PullMessageResponseHeader>() {
        Ok(header) => header,
        Err(cause) => return Pulled::Refused(cause.into()),
    };
    let next = header.next_begin_offset;
    if code == ResponseCode::PULL_OFFSET_MOVED {
        return Pulled::OffsetMoved { next };
    }
    Pulled::Messages {
        records: answer.body.to_bytes(),
        next,
        suggested_broker: header.suggest_which_broker_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> Command {
        Command::answer(ResponseCode(code)).with_header(&PullMessageResponseHeader {
            suggest_which_broker_id: 1,
            next_begin_offset: 50,
            min_offset: 0,
            max_offset: 90,
            ..PullMessageResponseHeader::default()
        })
    }

    #[test]
    fn answers_mean_messages_moves_or_refusals() {
        for code in [0, 19, 20] {
            let meant = Pulled::Messages {
                records: Bytes::new(),
                next: 50,
                suggested_broker: 1,
            };
            assert_eq!(pulled(answer(code)), meant, "{code}");
        }
        assert_eq!(pulled(answer(21)), Pulled::OffsetMoved { next: 50 });
        assert_eq!(pulled(answer(2)), Pulled::Busy);
        assert!(matches!(pulled(answer(26)), Pulled::Refused(refusal) if refusal.code.0 == 26));
        let headless = Command::answer(ResponseCode::SUCCESS);
        assert!(matches!(pulled(headless), Pulled::Refused(_)));
    }

    #[test]
    fn an_offset_is_committed_only_if_there_is_one() {
        let queue = MessageQueue {
            topic: "t".into(),
            broker_name: "a".into(),
            queue_id: 1,
        };
        let mut request = PullRequest {
            group: "g",
            queue: &queue,
            offset: 7,
            commit_offset: 0,
            messages_max: 32,
            subscription_version: 9,
        };
        let header: PullMessageRequestHeader = request.command().header().unwrap();
        assert_eq!(
            (header.sys_flag, header.queue_offset, header.sub_version),
            (2, 7, 9)
        );
        request.commit_offset = 5;
        let header: PullMessageRequestHeader = request.command().header().unwrap();
        assert_eq!((header.sys_flag, header.commit_offset), (3, 5));
    }
}
