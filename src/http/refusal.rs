//! What is wrong with a request.

use std::fmt;

/// Why a request is not answered by the handler. The connection closes after the answer that says so, because
/// where the next request begins may be unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's status.
    pub status: u16,
    /// What is wrong, in a few words.
    pub reason: &'static str,
}

impl Refusal {
    /// A request that is not HTTP, or that two readers could understand differently.
    pub(super) const fn bad(reason: &'static str) -> Refusal {
        Refusal {
            status: 400,
            reason,
        }
    }

    /// Any other.
    pub const fn new(status: u16, reason: &'static str) -> Refusal {
        Refusal { status, reason }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.status, self.reason)
    }
}

impl std::error::Error for Refusal {}
