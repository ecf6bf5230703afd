//! Statements that turned out to be followed by questions about them.

use std::collections::VecDeque;

use crate::sql::{self, Mode};

/// How many are remembered.
const MAX: usize = 256;

/// The digests of statements after which a connection is not given to another client before the next
/// statement, because that one has asked for diagnostics that were lost. The ones that were needed
/// longest ago are forgotten first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learnt {
    /// The last one needed comes last.
    digests: VecDeque<[u8; 16]>,
}

impl Learnt {
    /// None yet.
    pub fn new() -> Learnt {
        Learnt::default()
    }

    /// After a statement with this digest, diagnostics were asked for and had been lost.
    pub fn learn(&mut self, digest: [u8; 16]) {
        if self.needs(&digest) {
            return;
        }
        if self.digests.len() >= MAX {
            self.digests.pop_front();
        }
        self.digests.push_back(digest);
    }

    /// Whether the connection is kept for the next statement after this one.
    pub fn holds(&mut self, sql: &[u8], mode: Mode) -> bool {
        !self.digests.is_empty() && self.needs(&sql::digest_hash(sql, mode))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Whether it is among them, as the last one from now on.
    fn needs(&mut self, digest: &[u8; 16]) -> bool {
        let Some(place) = self.digests.iter().position(|one| one == digest) else {
            return false;
        };
        if let Some(digest) = self.digests.remove(place) {
            self.digests.push_back(digest);
        }
        true
    }
}
