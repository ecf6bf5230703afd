//! What a statement does, and what its words alone can prove about that.
//!
//! Scripts that refuse writes rely on this, and an attacker who wants to get past them knows how it
//! works. So a statement does not count as read-only merely because it has no word that is known to
//! write: each function that it calls must be known, and every way in which a server may read the
//! text must give the same result.

mod current;
mod reader;

use bitflags::bitflags;

use super::Mode;
use super::tokens::{Doubts, Tokens};
pub(super) use reader::FUNCTION_KEYWORDS;
use reader::Reader;

bitflags! {
    /// By what a statement may change something, whatever its verb.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
    pub struct Changes: u8 {
        /// It calls a function that is not known to change nothing: a stored one, for example.
        const CALL = 1;
        /// `LAST_INSERT_ID(x)`.
        const LAST_INSERT_ID = 2;
        /// `@x := 1`.
        const ASSIGNMENT = 4;
        /// It counts a sequence up, or sets it.
        const SEQUENCE = 8;
        /// `GET_LOCK`, `RELEASE_LOCK`, `RELEASE_ALL_LOCKS`.
        const NAMED_LOCK = 16;
        /// `SQL_CALC_FOUND_ROWS`.
        const FOUND_ROWS = 32;
    }
}

/// What is known of a text of one or more statements.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The verb of the first statement; "OTHER" if it has none that is known.
    pub kind: &'static str,
    /// Whether all of it is proven to write nothing, to lock nothing and to leave the session
    /// unchanged.
    pub read_only: bool,
    /// The same if the functions that it calls, beside those that servers have built in, change nothing.
    pub read_only_but_for_calls: bool,
    /// Whether it locks what it reads.
    pub locking: bool,
    /// Whether it has an INTO: of a SELECT, the result goes into variables or a file.
    pub into: bool,
    /// Whether the result of a SELECT goes into variables or a file: it has an INTO other than that
    /// of INSERT and REPLACE.
    pub selects_into: bool,
    /// Whether it is not a SELECT, but contains one.
    pub has_select: bool,
    /// By what it may change something beside what its verb says.
    pub changes: Changes,
    /// How many statements there are.
    pub multi: usize,
    /// Whether EXPLAIN can be inserted before it, at `main_from`.
    pub explainable: bool,
    /// Where the first statement begins.
    pub main_from: usize,
    /// Whether the server may read the text as another statement.
    pub ambiguous: bool,
}

/// What a text does; `None` if there is no statement in it.
pub fn statement(sql: &[u8], mode: Mode) -> Option<Statement> {
    let reading = read(sql, mode);
    let mut statement = Statement {
        ambiguous: mode.is_in_doubt(reading.doubts),
        read_only: reading.is_proven(mode, reading.read_only),
        read_only_but_for_calls: reading.is_proven(mode, reading.read_only_but_for_calls),
        explainable: reading.is_proven(mode, reading.explainable),
        ..reading.statement?
    };
    if reading
        .doubts
        .intersects(Doubts::ESCAPED_QUOTE | Doubts::DOUBLE_QUOTE)
    {
        for other in other_modes(mode) {
            let other = read(sql, other);
            let fails = other.is_proven_to_fail(mode);
            statement.read_only &= fails || other.is_proven(mode, other.read_only);
            statement.read_only_but_for_calls &=
                fails || other.is_proven(mode, other.read_only_but_for_calls);
            statement.explainable &= fails || other.is_proven(mode, other.explainable);
        }
    }
    Some(statement)
}

/// The modes that the session may have, other than the one that is assumed.
pub(super) fn other_modes(mode: Mode) -> impl Iterator<Item = Mode> {
    let both = |known: Option<bool>| {
        [false, true]
            .into_iter()
            .filter(move |b| known.is_none_or(|known| known == *b))
    };
    let assumed = [
        mode.no_backslash_escapes.unwrap_or(false),
        mode.ansi_quotes.unwrap_or(false),
    ];
    both(mode.no_backslash_escapes)
        .flat_map(move |escapes| both(mode.ansi_quotes).map(move |quotes| [escapes, quotes]))
        .filter(move |pair| *pair != assumed)
        .map(move |[escapes, quotes]| Mode {
            no_backslash_escapes: Some(escapes),
            ansi_quotes: Some(quotes),
            ..mode
        })
}

/// The text read in one mode.
struct Reading {
    statement: Option<Statement>,
    read_only: bool,
    read_only_but_for_calls: bool,
    explainable: bool,
    doubts: Doubts,
    unterminated: bool,
    /// Whether it has a body whose end cannot be found.
    has_body: bool,
}

impl Reading {
    /// Whether there are no doubts other than those that reading it in the other modes resolves.
    fn is_certain(&self, mode: Mode) -> bool {
        let tried = Doubts::ESCAPED_QUOTE | Doubts::DOUBLE_QUOTE;
        !mode.is_in_doubt(self.doubts - tried)
    }

    fn is_proven(&self, mode: Mode, claim: bool) -> bool {
        claim && !self.unterminated && self.is_certain(mode)
    }

    /// A single unterminated statement fails on every server.
    fn is_proven_to_fail(&self, mode: Mode) -> bool {
        let multi = self.statement.map_or(0, |statement| statement.multi);
        self.unterminated && multi <= 1 && !self.has_body && self.is_certain(mode)
    }
}

fn read(sql: &[u8], mode: Mode) -> Reading {
    let mut tokens = Tokens::new(sql, mode);
    let mut reader = Reader::new(sql);
    let mut unterminated = false;
    for token in tokens.by_ref() {
        unterminated |= token.unterminated;
        if token.kind.is_code() {
            reader.take(&token);
        }
    }
    reader.end_statement();
    let explainable = reader.explainable
        && reader
            .statement
            .is_some_and(|statement| statement.multi == 1);
    Reading {
        statement: reader.statement,
        read_only: reader.read_only,
        read_only_but_for_calls: reader.read_only_but_for_calls,
        explainable,
        doubts: tokens.doubts(),
        unterminated: unterminated || tokens.in_version_comment(),
        has_body: reader.has_body,
    }
}

#[cfg(test)]
mod tests;
