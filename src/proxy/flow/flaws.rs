//! Commands that no server can execute: they are answered as servers answer them, and not shown to
//! hooks or forwarded.

use crate::proxy::id::ConnId;
use crate::proxy::table::conn::Role;
use crate::proxy::table::core::Core;
use crate::session::Head;
use crate::wire::{Capabilities, ChangeUser, Com, ErrPacket};

/// What is wrong with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is empty, has a code that the proxy does not know, or is a COM_CHANGE_USER that cannot be
    /// read, for which servers have the same words.
    Unknown,
    /// It is too short, and nobody waits for an answer, but MySQL answers with an error.
    Malformed,
    /// The same where no MySQL stands behind: MariaDB says nothing, nor do services.
    Ignored,
}

impl Flaw {
    /// What the client is told.
    pub fn answer(self) -> Option<ErrPacket> {
        match self {
            Flaw::Unknown => Some(ErrPacket::new(1047, b"08S01", "Unknown command".into())),
            Flaw::Malformed => {
                let message = "Malformed communication packet.";
                Some(ErrPacket::new(1835, b"HY000", message.into()))
            }
            Flaw::Ignored => None,
        }
    }
}

/// Whether the command has no answer, and is too short for what it names.
pub(crate) fn is_cut_short(head: Head<'_>) -> bool {
    match head.first().map(Com) {
        Some(Com::STMT_CLOSE) => head.len < 5,
        Some(Com::STMT_SEND_LONG_DATA) => head.len < 7,
        _ => false,
    }
}

/// Whether the proxy may have to answer this command, or ends with it. Those before it are
/// answered first.
pub(crate) fn waits_for_answers(head: Head<'_>) -> bool {
    match head.first().map(Com) {
        None | Some(Com::QUIT | Com::CHANGE_USER) => true,
        Some(com) => !com.is_known() || is_cut_short(head),
    }
}

impl Core {
    /// What is wrong with a client's command, if anything is.
    pub(crate) fn flaw(&self, client: ConnId, command: &[u8]) -> Option<Flaw> {
        match command.split_first() {
            Some((first, argument)) if Com(*first) == Com::CHANGE_USER => {
                ChangeUser::decode(argument)
                    .is_err()
                    .then_some(Flaw::Unknown)
            }
            Some((first, _)) if Com(*first).is_known() => {
                is_cut_short(Head::of(command)).then(|| match self.is_before_mysql(client) {
                    true => Flaw::Malformed,
                    false => Flaw::Ignored,
                })
            }
            _ => Some(Flaw::Unknown),
        }
    }

    fn is_before_mysql(&self, client: ConnId) -> bool {
        let server = self.peer(client).and_then(|server| self.open(server));
        server.is_some_and(|server| match &server.role {
            // MariaDB uses the flag's bit to say that it is no MySQL.
            Role::Server(session) => session
                .really_offered()
                .contains(Capabilities::LONG_PASSWORD),
            _ => false,
        })
    }
}
