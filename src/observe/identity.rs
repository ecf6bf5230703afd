//! Who a client is, and in which schema its statements run, as far as its commands tell.

use crate::proxy::{Decoded, Incoming};
use crate::wire::{ChangeUser, Com};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub user: Box<[u8]>,
    pub schema: Box<[u8]>,
    /// The schema that the command under way changes to if it succeeds.
    next_schema: Option<Box<[u8]>>,
}

impl Identity {
    /// The packet that a login consists of.
    pub fn login(&mut self, packet: Incoming<'_>) {
        if let Ok(Decoded::Auth(auth)) = packet.decode() {
            self.user = auth.user.into();
            self.schema = auth.database.unwrap_or_default().into();
        }
    }

    /// A command begins.
    pub fn command(&mut self, com: Com, packet: Incoming<'_>) {
        let argument = packet.payload.get(1..).unwrap_or_default();
        self.next_schema = match com {
            Com::QUERY => packet.sql().and_then(used_schema),
            Com::INIT_DB => Some(argument.into()),
            _ => None,
        };
        if com == Com::CHANGE_USER
            && let Ok(change) = ChangeUser::decode(argument)
        {
            self.user = change.user.into();
            self.schema = change.database.into();
        }
    }

    /// The command has been answered.
    pub fn answered(&mut self, failed: bool) {
        if let Some(schema) = self.next_schema.take().filter(|_| !failed) {
            self.schema = schema;
        }
    }
}

/// The schema that `USE schema` changes to.
fn used_schema(sql: &[u8]) -> Option<Box<[u8]>> {
    let text = sql.trim_ascii();
    let (word, name) = text.split_at_checked(3)?;
    if !word.eq_ignore_ascii_case(b"USE") {
        return None;
    }
    let name = name.strip_suffix(b";").unwrap_or(name).trim_ascii();
    let quoted = name
        .strip_prefix(b"`")
        .and_then(|name| name.strip_suffix(b"`"));
    Some(quoted.unwrap_or(name).into())
}
