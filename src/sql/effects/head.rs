//! The beginning of a statement.

use smallvec::SmallVec;

use crate::sql::words;
use crate::sql::{Kind, Mode, Tokens};

/// How many tokens are examined.
const MAX_TOKENS: usize = 256;

/// So many tokens of most statements fit in without memory being allocated.
const USUAL_TOKENS: usize = 32;

/// The end of `@@warning_count` and `@@error_count`.
const COUNT: &[u8] = b"_count";

/// The kinds of objects that are created, altered and dropped.
const OBJECTS: &[&str] = &[
    "DATABASE",
    "EVENT",
    "FUNCTION",
    "INDEX",
    "PACKAGE",
    "PREPARE",
    "PROCEDURE",
    "ROLE",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "TABLE",
    "TABLES",
    "TABLESPACE",
    "TRIGGER",
    "USER",
    "VIEW",
];

/// A token that is code.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub kind: Kind,
    pub text: &'a [u8],
}

impl Item<'_> {
    /// Whether it is this word, which is in upper case.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether it is this operator.
    pub(super) fn is_operator(&self, text: &str) -> bool {
        self.kind == Kind::Operator && self.text == text.as_bytes()
    }
}

/// The first tokens of a statement.
#[derive(Debug)]
pub(super) struct Head<'a> {
    items: SmallVec<[Item<'a>; USUAL_TOKENS]>,
    is_whole: bool,
}

impl<'a> Head<'a> {
    pub(super) fn new(sql: &'a [u8], mode: Mode) -> Head<'a> {
        let mut tokens = Tokens::new(sql, mode).filter(|token| token.kind.is_code());
        let items = tokens.by_ref().take(MAX_TOKENS).map(|token| Item {
            kind: token.kind,
            text: sql.get(token.from..token.to).unwrap_or_default(),
        });
        let items = items.collect();
        Head {
            items,
            is_whole: tokens.next().is_none(),
        }
    }

    /// Whether there are no other tokens.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(super) fn items(&self) -> &[Item<'a>] {
        &self.items
    }

    /// Whether this word (in upper case) is at this position.
    pub(super) fn is(&self, index: usize, word: &str) -> bool {
        self.items.get(index).is_some_and(|item| item.is(word))
    }

    /// Whether this word occurs anywhere.
    pub(super) fn has(&self, word: &str) -> bool {
        self.items.iter().any(|item| item.is(word))
    }

    /// The name at this position, if nothing follows it.
    pub(super) fn name(&self, index: usize) -> Option<Vec<u8>> {
        let item = self.items.get(index)?;
        if self.items.len() > index + 1 || !self.is_whole {
            return None;
        }
        name(item)
    }

    /// The schema of DROP DATABASE.
    pub(super) fn name_of_dropped(&self) -> Option<Vec<u8>> {
        match self.is(2, "IF") && self.is(3, "EXISTS") {
            true => self.name(4),
            false => self.name(2),
        }
    }

    /// The kind of object that is created, altered or dropped.
    pub(super) fn object(&self) -> Option<&'static str> {
        let (_, object) = self.place_of_object()?;
        Some(object)
    }

    /// Whether this word is between the verb and the object.
    pub(super) fn has_before_object(&self, word: &str) -> bool {
        let place = self.place_of_object().map_or(0, |(place, _)| place);
        self.items.iter().take(place).any(|item| item.is(word))
    }

    /// The same, with its place.
    pub(super) fn place_of_object(&self) -> Option<(usize, &'static str)> {
        self.items
            .iter()
            .enumerate()
            .skip(1)
            .find_map(|(place, item)| {
                let object = OBJECTS.iter().find(|object| item.is(object))?;
                Some((place, *object))
            })
    }

    /// SHOW WARNINGS, SHOW ERRORS and SHOW COUNT(*) of them.
    pub(super) fn is_about_diagnostics(&self) -> bool {
        let is_one = |item: Option<&Item<'_>>| {
            item.is_some_and(|item| item.is("WARNINGS") || item.is("ERRORS"))
        };
        is_one(self.items.get(1)) || self.is(1, "COUNT") && is_one(self.items.get(5))
    }

    /// A query of `@@warning_count` or `@@error_count`, or one that is too long to find out.
    pub(super) fn names_diagnostics(&self) -> bool {
        let names = |item: &Item<'_>| {
            let end = item.text.len().checked_sub(COUNT.len());
            let end = end.and_then(|end| item.text.get(end..));
            item.kind == Kind::Variable
                && item.text.starts_with(b"@@")
                && end.is_some_and(|end| end.eq_ignore_ascii_case(COUNT))
        };
        self.items.iter().any(names)
    }

    /// SET STATEMENT, and not a variable of that name.
    pub(super) fn sets_for_statement(&self) -> bool {
        let assigns = |item: &Item<'_>| item.is_operator("=") || item.is_operator(":=");
        self.is(1, "STATEMENT") && !self.items.get(2).is_some_and(assigns)
    }

    /// ANALYZE TABLE; without TABLE it is MariaDB's ANALYZE, which executes a statement.
    pub(super) fn is_analyze_table(&self) -> bool {
        self.is(1, "TABLE")
            || self.is(2, "TABLE") && (self.is(1, "LOCAL") || self.is(1, "NO_WRITE_TO_BINLOG"))
    }
}

/// A name, without its quotes.
pub(super) fn name(item: &Item<'_>) -> Option<Vec<u8>> {
    match item.kind {
        Kind::Word if !words::lookup(item.text).is_some_and(|known| known.reserved) => {
            Some(item.text.to_vec())
        }
        Kind::Quoted => {
            let (quote, rest) = item.text.split_first()?;
            let (last, inner) = rest.split_last()?;
            (last == quote && !inner.contains(quote)).then(|| inner.to_vec())
        }
        _ => None,
    }
}
