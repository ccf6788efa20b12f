//! The requests of a load and what their answers count for. The generator shares the machine with
//! the server, so it should cost little: requests are copies of a template.

use thrustmq_proto_compat::response_code::ResponseCode;

use super::answer::Answer;
use super::measured::Measured;
use super::pull::PullRequests;
use super::send::SendRequests;
use super::transaction::TransactionRequests;

pub(super) const GROUP: &str = "thrustmq-bench";

/// Makes the requests of one connection.
#[derive(Debug)]
pub(super) enum Requests {
    Send(SendRequests),
    Pull(PullRequests),
    Transaction(TransactionRequests),
}

/// What an answer counts for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Messages(u64),
    /// The first of two requests: the second follows in the same slot.
    First,
    /// The second of two, with so many messages.
    FollowUp(u64),
    Failure,
}

impl Requests {
    /// Before some requests that are written together.
    pub(super) fn begin(&mut self) {
        match self {
            Self::Send(send) => send.begin(),
            Self::Transaction(transaction) => transaction.begin(),
            Self::Pull(_) => {}
        }
    }

    /// Appends the next request, which is number `slot` of those in flight.
    pub(super) fn append(&mut self, slot: u16, out: &mut Vec<u8>) {
        match self {
            Self::Send(send) => send.append(slot, out),
            Self::Pull(pull) => pull.append(slot, out),
            Self::Transaction(transaction) => transaction.append(slot, out),
        }
    }

    /// Whether there is another request for the slot.
    pub(super) fn has_next(&self, slot: u16) -> bool {
        match self {
            Self::Pull(pull) => pull.has_next(slot),
            Self::Send(_) | Self::Transaction(_) => true,
        }
    }

    /// Takes the answer to the request in `slot`.
    pub(super) fn count(
        &mut self,
        slot: u16,
        answer: &Answer<'_>,
        measured: &mut Measured,
    ) -> Counted {
        match self {
            Self::Send(send) => send.count(answer, measured),
            Self::Pull(pull) => pull.count(slot, answer, measured),
            Self::Transaction(transaction) => transaction.count(slot, answer, measured),
        }
    }

    /// A connection broke or fell silent: so many requests will not be answered.
    pub(super) fn lose(&mut self, requests: u64, measured: &mut Measured) {
        match self {
            Self::Send(send) => measured.uncertain += requests.saturating_mul(send.messages()),
            Self::Transaction(transaction) => transaction.lose(measured),
            Self::Pull(_) => {}
        }
    }
}

/// Counts what a broker said when it refused.
pub(super) fn refused(answer: &Answer<'_>, measured: &mut Measured) -> Counted {
    let Answer { code, remark, .. } = answer;
    measured.fail(
        &kind(*code),
        format!("{} {}: {remark}", code.0, code.name()),
    );
    Counted::Failure
}

fn kind(code: ResponseCode) -> String {
    match code.name() {
        "UNKNOWN" => code.0.to_string(),
        name => name.to_owned(),
    }
}
