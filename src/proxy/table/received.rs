//! What comes of receiving a packet.

use std::borrow::Cow;
use std::rc::Rc;

use super::sides::Numbering;
use crate::proxy::flow::flaws::Flaw;
use crate::proxy::info::ConnInfo;
use crate::session::{Event, PacketKind, Step};
use crate::wire::{Capabilities, Com, ErrPacket, Status};

/// A packet that its session has received.
pub(crate) struct Received<'a> {
    pub info: Rc<ConnInfo>,
    pub step: Step,
    pub payload: Cow<'a, [u8]>,
    /// The capabilities to decode it with.
    pub capabilities: Capabilities,
    /// An ERR that answers nothing.
    pub unsolicited: bool,
    /// From a server at which its client has logged in: when one closes, so does the other.
    pub passthrough: bool,
    /// Part of a response that is to be dropped.
    pub discard: bool,
    /// How it is numbered for the other end.
    pub numbering: Numbering,
    /// Part of a result that was announced as one of OUT parameters.
    pub out_params: bool,
    /// What is known of the server's status.
    pub status: Status,
    /// The command that a server is answering.
    pub answers: Option<Com>,
    /// The prepared statement that the command is about.
    pub statement: Option<u32>,
    /// What is wrong with a client's command, if anything is.
    pub flaw: Option<Flaw>,
}

impl Received<'_> {
    /// Whether it is the EOF after columns or parameters, which is not on the wire under
    /// CLIENT_DEPRECATE_EOF. (The EOF that ends COM_FIELD_LIST's answer is.)
    pub(crate) fn is_behind_columns(&self) -> bool {
        let columns = Event::ServerSentFields
            .set()
            .with(Event::ServerSentParams.set());
        self.step.kind == PacketKind::Eof
            && self.step.events.meets(columns)
            && self.answers != Some(Com::FIELD_LIST)
    }

    /// A client's command that will be answered.
    pub(crate) fn expects_answer(&self) -> bool {
        self.step.kind == PacketKind::Command
            && self
                .payload
                .first()
                .is_some_and(|first| Com(*first).expects_answer())
    }

    pub(crate) fn is_quit(&self) -> bool {
        self.step.kind == PacketKind::Command && self.payload.first() == Some(&Com::QUIT.0)
    }
}

/// Why a packet was not accepted, and the error to send to the client.
pub(crate) struct Refusal {
    pub reason: String,
    pub answer: Option<ErrPacket>,
    /// The packet was a server's.
    pub by_server: bool,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Refusal {
            reason,
            answer: None,
            by_server: false,
        }
    }
}
