//! What clients are told of changes of their sessions.
//!
//! On every connection the pool has switched on all of a server's trackers. A client is to see what
//! its own server would tell it: by the server's defaults, or by what it has set itself. So
//! `session_track_…` are the proxy's variables for each client ([`Trackers`]): what is said of them is
//! recognised ([`said`]) and never reaches a server, and reports are filtered ([`Trackers::show`]).
//!
//! - `said`: statements that set these variables, or ask for them
//! - `variables`: their values
//! - `written`: these as bytes

mod said;
mod variables;
mod written;

#[cfg(test)]
mod tests;

pub use said::{Said, Setting, lists_variables, said};
pub use variables::{Tracker, Trackers};

use crate::pool::flavour::Flavour;
use crate::wire::session_changes::{self, SessionChange, change_type};
use crate::wire::{Capabilities, ErrPacket, Ok as OkPacket, Status};
use variables::{Kinds, Listed};

/// The error for a statement that uses these variables in a form that the proxy does not answer.
pub fn refusal() -> ErrPacket {
    variables::refused("session_track_…".as_bytes())
}

impl Trackers {
    /// An OK as a client that has agreed on these capabilities is to see it; `None` if as it is.
    pub fn show(&mut self, ok: &OkPacket, capabilities: Capabilities) -> Option<OkPacket> {
        if !ok.status.contains(Status::SESSION_STATE_CHANGED) {
            return None;
        }
        let changes = ok.session_changes.as_deref().unwrap_or_default();
        let shown = match capabilities.contains(Capabilities::SESSION_TRACK) {
            true => self.shown(changes),
            false => Vec::new(),
        };
        if shown == changes && !shown.is_empty() {
            return None;
        }
        let mut other = ok.clone();
        if shown.is_empty() {
            other.status.remove(Status::SESSION_STATE_CHANGED);
        }
        other.session_changes = (!shown.is_empty()).then_some(shown);
        Some(other)
    }

    /// The blocks that a client is to see. Of what cannot be decoded that is nothing.
    fn shown(&mut self, blocks: &[u8]) -> Vec<u8> {
        let Ok(mut changes) = session_changes::decode(blocks) else {
            return Vec::new();
        };
        changes.retain_mut(|change| self.shows(change));
        session_changes::encode(&changes)
    }

    /// Whether a change is shown, perhaps under the name that the client's own server would use.
    fn shows(&mut self, change: &mut SessionChange) -> bool {
        match change.change_type {
            change_type::SYSTEM_VARIABLES => self.shows_variable(change),
            change_type::SCHEMA => self.kinds.contains(Kinds::SCHEMA),
            change_type::STATE_CHANGE => self.kinds.contains(Kinds::STATE_CHANGE),
            change_type::GTIDS => self.kinds.contains(Kinds::GTIDS),
            change_type::TRANSACTION_CHARACTERISTICS => self.kinds.contains(Kinds::CHARACTERISTICS),
            change_type::TRANSACTION_STATE => self.shows_transaction(&mut change.value),
            _ => false,
        }
    }

    fn shows_transaction(&mut self, state: &mut Vec<u8>) -> bool {
        let is_begun = state.first() == Some(&b'T');
        let was_begun = std::mem::replace(&mut self.told_begun, is_begun);
        if self.kinds.contains(Kinds::TRANSACTION_STATE) {
            return true;
        }
        // MySQL tells even those who have not asked that a transaction was begun, and that it is over.
        if self.flavour != Flavour::MySql || is_begun == was_begun {
            return false;
        }
        // Of locks it tells them nothing.
        if !is_begun {
            *state = b"________".to_vec();
        }
        true
    }

    fn shows_variable(&self, change: &mut SessionChange) -> bool {
        let name = change.name.as_deref().unwrap_or_default();
        match &self.variables {
            Listed::All => true,
            Listed::Some(names) if lists(names, name) => true,
            // MariaDB reports these two under the name of the one that is listed first. The pool lists
            // the collation, which tells more.
            Listed::Some(names)
                if self.shares_names
                    && name == b"collation_connection"
                    && lists(names, b"character_set_connection") =>
            {
                let charset = change.value.split(|byte| *byte == b'_').next();
                change.value = charset.unwrap_or_default().to_vec();
                change.name = Some(b"character_set_connection".to_vec());
                true
            }
            Listed::Some(_) => false,
        }
    }
}

fn lists(names: &[Box<[u8]>], name: &[u8]) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}
