//! How many parameters a connection's statements take: COM_STMT_EXECUTE cannot be translated
//! without, where only one end of a link knows query attributes.

use std::collections::HashMap;

use super::step::Head;
use crate::wire::{Com, LAST_PREPARED};

/// Beyond this many no more are noted. (Servers allow 16,382 unless they are told otherwise.)
const MOST: usize = 1 << 16;

/// The statements of a connection, if there are any.
#[derive(Debug, Default)]
pub struct Statements(Option<Box<Known>>);

/// Statements by their ids.
#[derive(Debug, Default)]
struct Known {
    params: HashMap<u32, u16>,
    /// The one that the id [`LAST_PREPARED`] stands for, and how many parameters it takes.
    last: Option<(u32, u16)>,
}

impl Statements {
    /// Takes note of the answer to COM_STMT_PREPARE: header(1) id(4) columns(2) parameters(2).
    pub fn prepared(&mut self, head: Head<'_>) {
        if let [_, i0, i1, i2, i3, _, _, p0, p1, ..] = *head.bytes {
            let id = u32::from_le_bytes([i0, i1, i2, i3]);
            let params = u16::from_le_bytes([p0, p1]);
            let known = self.0.get_or_insert_default();
            known.last = Some((id, params));
            if known.params.len() < MOST || known.params.contains_key(&id) {
                known.params.insert(id, params);
            }
        }
    }

    /// Takes note of a command that ends statements.
    pub fn command(&mut self, head: Head<'_>) {
        let Some(known) = &mut self.0 else {
            return;
        };
        match (head.first().map(Com), head.bytes) {
            (Some(Com::STMT_CLOSE), [_, i0, i1, i2, i3, ..]) => {
                let id = u32::from_le_bytes([*i0, *i1, *i2, *i3]);
                known.params.remove(&id);
                known.last = known.last.filter(|(last, _)| *last != id);
            }
            // Until its answer has come, nobody knows which one is the last.
            (Some(Com::STMT_PREPARE), _) => known.last = None,
            (Some(Com::RESET_CONNECTION | Com::CHANGE_USER), _) => self.0 = None,
            _ => {}
        }
    }

    /// How many parameters a statement takes, if it is known.
    pub fn params(&self, id: u32) -> Option<u16> {
        let known = self.0.as_ref()?;
        match known.last {
            Some((last, params)) if id == LAST_PREPARED || id == last => Some(params),
            _ => known.params.get(&id).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u32, params: u8) -> Vec<u8> {
        let mut answer = vec![0];
        answer.extend_from_slice(&id.to_le_bytes());
        answer.extend_from_slice(&[1, 0, params, 0, 0, 0, 0]);
        answer
    }

    #[test]
    fn statements_come_and_go() {
        let mut statements = Statements::default();
        statements.prepared(Head::of(&answer(7, 3)));
        assert_eq!(statements.params(7), Some(3));
        assert_eq!(statements.params(LAST_PREPARED), Some(3));
        assert_eq!(statements.params(8), None);
        statements.command(Head::of(b"\x19\x07\0\0\0"));
        assert_eq!(statements.params(7), None);
        assert_eq!(statements.params(LAST_PREPARED), None);
        statements.prepared(Head::of(&answer(8, 2)));
        statements.command(Head::of(b"\x1f"));
        assert_eq!(statements.params(8), None);
        assert_eq!(statements.params(LAST_PREPARED), None);
    }

    #[test]
    fn the_last_is_not_the_one_before() {
        let mut statements = Statements::default();
        statements.prepared(Head::of(&answer(1, 3)));
        statements.command(Head::of(b"\x16SELECT ?"));
        assert_eq!(statements.params(LAST_PREPARED), None);
        assert_eq!(statements.params(1), Some(3));
        // Nor where too many are known for one more.
        for id in 0..=MOST as u32 {
            statements.prepared(Head::of(&answer(id, 2)));
        }
        statements.prepared(Head::of(&answer(99_999, 5)));
        assert_eq!(statements.params(LAST_PREPARED), Some(5));
        assert_eq!(statements.params(99_999), Some(5));
        statements.prepared(Head::of(&answer(100_000, 6)));
        assert_eq!(statements.params(99_999), None, "rather than a guess");
    }
}
