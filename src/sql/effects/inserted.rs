//! Whether the id in an INSERT's OK was generated.
//!
//! Servers use the same field for the last id that was *given*, which does not become
//! `LAST_INSERT_ID()`. If all values are literals, an id that is not one of them was generated.

use crate::sql::words;
use crate::sql::{Kind, Mode, Tokens};

/// How many different numbers are compared.
const MAX_LITERALS: usize = 64;

/// The meaning of the id in an INSERT's OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// Generated, unless it is one of these.
    Unless(Vec<u64>),
    /// Generated or given.
    Unclear,
    /// It has no meaning, and ids may have been generated.
    Hidden,
}

/// The meaning of the id of this INSERT or REPLACE.
pub(super) fn inserted(sql: &[u8], mode: Mode) -> Inserted {
    let mut values = None;
    for token in Tokens::new(sql, mode).filter(|token| token.kind.is_code()) {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        let word = match token.kind {
            Kind::Word => words::lookup(text).map_or("", |known| known.name),
            _ => "",
        };
        if word == "RETURNING" {
            return Inserted::Hidden;
        }
        match &mut values {
            None if matches!(word, "VALUES" | "VALUE") => values = Some(Values::default()),
            None => {}
            Some(values) => values.take(token.kind, text, word),
        }
    }
    match values {
        Some(Values {
            literals,
            is_plain: true,
        }) => Inserted::Unless(literals),
        _ => Inserted::Unclear,
    }
}

/// The values after VALUES.
struct Values {
    literals: Vec<u64>,
    /// Whether all are literals.
    is_plain: bool,
}

impl Default for Values {
    fn default() -> Values {
        Values {
            literals: Vec::new(),
            is_plain: true,
        }
    }
}

impl Values {
    fn take(&mut self, kind: Kind, text: &[u8], word: &str) {
        let number = match kind {
            Kind::Operator if matches!(text, b"(" | b")" | b",") => return,
            Kind::Word if matches!(word, "NULL" | "DEFAULT") => return,
            Kind::Number => number(text),
            Kind::String => match text {
                [b'\'' | b'"', inner @ .., _] if !inner.contains(&b'\\') => match leading(inner) {
                    b"" => return,
                    digits => number(digits),
                },
                _ => None,
            },
            _ => None,
        };
        match number {
            Some(number) if self.literals.contains(&number) => {}
            Some(number) if self.literals.len() < MAX_LITERALS => self.literals.push(number),
            _ => self.is_plain = false,
        }
    }
}

/// The number that a server reads at the beginning of a string.
fn leading(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    let is_part =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b'e' | b'E');
    let len = text.iter().position(|byte| !is_part(byte));
    let number = text.get(..len.unwrap_or(text.len())).unwrap_or_default();
    match number.iter().any(u8::is_ascii_digit) {
        true => number,
        false => b"",
    }
}

/// A number converted for a column of integers; `None` if the result is not certain.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    // Beyond this a float cannot represent all integers.
    (number.abs() < 9e15).then(|| number.round() as i64 as u64)
}
