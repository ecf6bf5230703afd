//! What is wrong with a packet that could not be decoded, in words for a log or a Lua error.

use std::fmt;

/// Why a packet could not be decoded: which packet, which of its fields, and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{packet} packet: field '{field}': {problem}")]
pub struct DecodeError {
    /// The kind of packet, in lower case ("err", "handshake").
    pub packet: &'static str,
    /// The field at which decoding stopped.
    pub field: &'static str,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The packet ends before the field does.
    Truncated,
    /// So many bytes follow the last field.
    TrailingBytes(usize),
    /// The value is not valid; the text says why.
    Invalid(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated"),
            Self::TrailingBytes(n) => write!(f, "{n} trailing bytes"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl DecodeError {
    /// An error for `field` of a `packet`.
    pub const fn new(packet: &'static str, field: &'static str, problem: Problem) -> Self {
        Self {
            packet,
            field,
            problem,
        }
    }

    /// An error that says why a value is not valid.
    pub const fn invalid(packet: &'static str, field: &'static str, why: &'static str) -> Self {
        Self::new(packet, field, Problem::Invalid(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_sentence() {
        let error = DecodeError::new("err", "errnum", Problem::Truncated);
        assert_eq!(error.to_string(), "err packet: field 'errnum': truncated");
    }
}
