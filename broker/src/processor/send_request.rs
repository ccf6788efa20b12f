//! A send as its handlers see it: texts stay where the command has them.

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{SendMessageRequestHeader, SendMessageView};
use thrustmq_remoting::{Incoming, Peer, Refusal};

/// A send, of one message or of several, or a reply.
#[derive(Clone, Copy)]
pub(super) struct SendRequest<'a> {
    pub(super) header: SendMessageView<'a>,
    pub(super) command: &'a Command,
    pub(super) peer: &'a Peer,
}

impl<'a> SendRequest<'a> {
    /// With one-letter names.
    pub(super) fn read(incoming: &'a Incoming<()>) -> Result<Self, Refusal> {
        Ok(Self {
            header: SendMessageView::read(&incoming.command.fields)?,
            command: &incoming.command,
            peer: &incoming.peer,
        })
    }

    /// With full names.
    pub(super) fn of_long(incoming: &'a Incoming<SendMessageRequestHeader>) -> Self {
        Self {
            header: SendMessageView::from(&incoming.header),
            command: &incoming.command,
            peer: &incoming.peer,
        }
    }
}
