//! One pull: the request, and what its answer means. Pure; `worker.rs` and `PullConsumer` send and act.

use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{PullMessageRequestHeader, PullMessageResponseHeader};
use thrustmq_proto_compat::request_code::{LitePullMessage, PullMessage};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::Refusal;

use crate::subscription::Subscription;

const COMMIT_OFFSET: i32 = 1;
const MAY_WAIT: i32 = 2;
const HAS_SUBSCRIPTION: i32 = 4;
const IS_LITE: i32 = 16;

/// How long the broker may keep a push consumer's pull that finds nothing.
pub(super) const PUSH_WAIT: Duration = Duration::from_secs(15);
/// How long we wait for the answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a pull asks for.
#[derive(Debug)]
pub(crate) struct PullRequest<'a> {
    pub(crate) group: &'a str,
    pub(crate) queue: &'a MessageQueue,
    pub(crate) offset: i64,
    /// Committed with the pull, to spare a request; 0 commits nothing.
    pub(crate) commit_offset: i64,
    pub(crate) messages_max: i32,
    /// What is wanted, for who has not said it with a heartbeat.
    pub(crate) subscription: Option<&'a Subscription>,
    /// Version of the subscription that the heartbeat carried.
    pub(crate) subscription_version: i64,
    /// How long the broker may keep a pull that finds nothing.
    pub(crate) wait: Duration,
    /// Of a lite pull consumer: brokers serve these with threads of their own.
    pub(crate) is_lite: bool,
}

impl PullRequest<'_> {
    pub(crate) fn command(&self) -> Command {
        if self.is_lite {
            Command::request::<LitePullMessage>(&self.header())
        } else {
            Command::request::<PullMessage>(&self.header())
        }
    }

    fn header(&self) -> PullMessageRequestHeader {
        PullMessageRequestHeader {
            consumer_group: self.group.to_owned(),
            topic: self.queue.topic.clone(),
            queue_id: self.queue.queue_id,
            queue_offset: self.offset,
            max_msg_nums: self.messages_max,
            sys_flag: self.flags(),
            commit_offset: self.commit_offset,
            suspend_timeout_ms: i64::try_from(self.wait.as_millis()).unwrap_or(i64::MAX),
            subscription: self
                .subscription
                .map(|wanted| wanted.expression().to_owned()),
            sub_version: self.subscription_version,
            expression_type: self
                .subscription
                .map(|wanted| wanted.expression_type().to_owned()),
            broker_name: Some(self.queue.broker_name.clone()),
            ..PullMessageRequestHeader::default()
        }
    }

    fn flags(&self) -> i32 {
        let flags = [
            (self.commit_offset > 0, COMMIT_OFFSET),
            (!self.wait.is_zero(), MAY_WAIT),
            (self.subscription.is_some(), HAS_SUBSCRIPTION),
            (self.is_lite, IS_LITE),
        ];
        let set = flags.into_iter().filter(|(is_set, _)| *is_set);
        set.map(|(_, flag)| flag).sum()
    }
}

/// What an answer means.
#[derive(Debug, PartialEq)]
pub(crate) enum Pulled {
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
pub(crate) fn pulled(answer: Command) -> Pulled {
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
            subscription: None,
            subscription_version: 9,
            wait: PUSH_WAIT,
            is_lite: false,
        };
        let header: PullMessageRequestHeader = request.command().header().unwrap();
        assert_eq!(
            (header.sys_flag, header.queue_offset, header.sub_version),
            (2, 7, 9)
        );
        request.commit_offset = 5;
        let header: PullMessageRequestHeader = request.command().header().unwrap();
        assert_eq!((header.sys_flag, header.commit_offset), (3, 5));
        let wanted = Subscription::sql("a > 5");
        request.subscription = Some(&wanted);
        request.wait = Duration::ZERO;
        let header: PullMessageRequestHeader = request.command().header().unwrap();
        assert_eq!((header.sys_flag, header.suspend_timeout_ms), (5, 0));
        assert_eq!(header.subscription.as_deref(), Some("a > 5"));
        assert_eq!(header.expression_type.as_deref(), Some("SQL92"));
        request.is_lite = true;
        let lite = request.command();
        let header: PullMessageRequestHeader = lite.header().unwrap();
        assert_eq!((lite.code, header.sys_flag), (361, 21));
    }
}
