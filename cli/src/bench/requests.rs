//! The requests of a load and what their answers count for. The generator shares the machine with
//! the server, so it should cost little: requests are copies of a template.

use bytes::BytesMut;
use thrustmq_proto_compat::response_code::ResponseCode;

use super::answer::Answer;
use super::pull::PullRequests;
use super::send::SendRequests;

pub(super) const GROUP: &str = "thrustmq-bench";

/// Makes the requests of one connection.
#[derive(Debug)]
pub(super) enum Requests {
    Send(SendRequests),
    Pull(PullRequests),
}

/// What an answer counts for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Messages(u64),
    Failure(String),
}

impl Requests {
    /// Before some requests that are written together.
    pub(super) fn begin(&mut self) {
        if let Self::Send(send) = self {
            send.begin();
        }
    }

    /// Appends the next request, which is number `slot` of those in flight.
    pub(super) fn append(&mut self, slot: u16, out: &mut BytesMut) {
        match self {
            Self::Send(send) => send.append(slot, out),
            Self::Pull(pull) => pull.append(slot, out),
        }
    }

    /// Takes the answer to the request in `slot`.
    pub(super) fn count(&mut self, slot: u16, answer: &Answer) -> Counted {
        match self {
            Self::Pull(pull) => pull.count(slot, answer),
            Self::Send(send) if answer.code == ResponseCode::SUCCESS => {
                Counted::Messages(send.messages())
            }
            Self::Send(_) => refused(answer),
        }
    }
}

/// What a broker said when it refused.
pub(super) fn refused(answer: &Answer) -> Counted {
    let Answer { code, remark, .. } = answer;
    Counted::Failure(format!("{} {}: {remark}", code.0, code.name()))
}
