//! How many parameters a connection's statements take: COM_STMT_EXECUTE cannot be translated
//! without, where only one end of a link knows query attributes.

use std::collections::HashMap;

use super::step::Head;
use crate::wire::{Com, LAST_PREPARED};

/// Beyond this many no more are noted. (Servers allow 16,382 unless they are told otherwise.)
const MOST: usize = 1 << 16;

/// The statements of a connection, by their ids.
#[derive(Debug, Default)]
pub struct Statements {
    params: HashMap<u32, u16>,
}

impl Statements {
    /// Takes note of the answer to COM_STMT_PREPARE: header(1) id(4) columns(2) parameters(2).
    pub fn prepared(&mut self, head: Head<'_>) {
        if let [_, i0, i1, i2, i3, _, _, p0, p1, ..] = *head.bytes
            && self.params.len() < MOST
        {
            let params = u16::from_le_bytes([p0, p1]);
            for id in [u32::from_le_bytes([i0, i1, i2, i3]), LAST_PREPARED] {
                self.params.insert(id, params);
            }
        }
    }

    /// Takes note of a command that ends statements.
    pub fn command(&mut self, head: Head<'_>) {
        match (head.first().map(Com), head.bytes) {
            (Some(Com::STMT_CLOSE), [_, i0, i1, i2, i3, ..]) => {
                let id = u32::from_le_bytes([*i0, *i1, *i2, *i3]);
                self.params.remove(&id);
            }
            (Some(Com::RESET_CONNECTION | Com::CHANGE_USER), _) => self.params.clear(),
            _ => {}
        }
    }

    /// How many parameters a statement takes; none, if it is not known, so that the server says
    /// that it does not know it either.
    pub fn params(&self, id: u32) -> u16 {
        self.params.get(&id).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_come_and_go() {
        let mut statements = Statements::default();
        statements.prepared(Head::of(b"\0\x07\0\0\0\x01\0\x03\0\0\0\0"));
        assert_eq!(statements.params(7), 3);
        assert_eq!(statements.params(LAST_PREPARED), 3);
        assert_eq!(statements.params(8), 0);
        statements.command(Head::of(b"\x19\x07\0\0\0"));
        assert_eq!(statements.params(7), 0);
        statements.command(Head::of(b"\x1f"));
        assert_eq!(statements.params(LAST_PREPARED), 0);
    }
}
