//! Names: of tables, columns, functions and variables.

use super::reader::{Place, Reader, Verb, Within};
use super::{Access, Name, Use, Ways};
use crate::sql::statement::FUNCTION_KEYWORDS;
use crate::sql::tokens::{Kind, Token};
use crate::sql::words::{self, Known};

/// A name without its quotes.
pub(super) fn unquoted(text: &[u8]) -> Vec<u8> {
    let (quote, inner) = match text {
        [quote @ (b'`' | b'"' | b'\''), inner @ .., last] if quote == last => (*quote, inner),
        _ => return text.to_vec(),
    };
    let mut name = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        name.push(byte);
        if byte == quote && bytes.peek() == Some(&quote) {
            bytes.next();
        }
    }
    name
}

/// Names with dots between them.
pub(super) struct Chain {
    pub parts: Vec<Vec<u8>>,
    pub is_quoted: bool,
    /// Where it ends.
    pub to: usize,
}

impl Chain {
    pub(super) fn into_name(mut self) -> Option<Name> {
        let name = self.parts.pop()?;
        let schema = self.parts.pop();
        self.parts.is_empty().then_some(Name { schema, name })
    }
}

impl Reader<'_> {
    /// The names that begin with this token.
    pub(super) fn chain(&mut self, first: Token) -> Chain {
        let mut chain = Chain {
            parts: vec![unquoted(self.text(first))],
            is_quoted: first.kind == Kind::Quoted,
            to: first.to,
        };
        while self.is_next(b".") {
            self.advance();
            let Some(next) = self.peek() else { break };
            if !matches!(next.kind, Kind::Word | Kind::Quoted) {
                break;
            }
            self.advance();
            // More are an error on all servers.
            if chain.parts.len() < 4 {
                chain.parts.push(unquoted(self.text(next)));
            }
            chain.is_quoted = next.kind == Kind::Quoted;
            chain.to = next.to;
        }
        chain
    }

    /// A name where a table is expected.
    pub(super) fn table(&mut self, token: Token, word: Option<&Known>, access: Access) {
        let name = word.map_or("", |known| known.name);
        match name {
            "LATERAL" if self.is_next(b"(") => return,
            "DUAL" => return self.set_place(Place::Beside(access)),
            "JSON_TABLE" if self.is_next(b"(") => {
                self.ways(Ways::DERIVES);
                self.set_place(Place::Beside(access));
                self.advance();
                return self.push(Place::Start(Within::Expression));
            }
            _ if word.is_some_and(|known| known.reserved) => {
                self.give_up("it is not understood");
                return self.set_place(Place::Expression);
            }
            _ => {}
        }
        let chain = self.chain(token);
        // A function, unless it is the target of an INSERT with its columns.
        if self.is_next(b"(") && access.contains(Access::READ) {
            self.give_up("a function is used as a table");
        }
        self.set_place(Place::Beside(access));
        let is_alone = chain.parts.len() == 1;
        match chain.into_name() {
            Some(name) if is_alone && access != Access::WRITE && self.ctes.contains(&name.name) => {
            }
            Some(name) => self.add_table(name, access),
            None => self.give_up("it is not understood"),
        }
    }

    /// A name in an expression.
    pub(super) fn column_or_function(&mut self, token: Token, word: Option<&'static Known>) {
        if word.is_some_and(|known| known.reserved) {
            return;
        }
        let chain = self.chain(token);
        if self.is_next(b"(") {
            return self.function(chain, word);
        }
        let depth = self.frames.len();
        let is_set = self.verb == Verb::Set;
        match &mut self.assignment {
            Some(assignment) if assignment.depth == depth && !assignment.has_value => {
                assignment.target = chain.parts.last().cloned().unwrap_or_default();
                if is_set {
                    self.ways(Ways::SETS_SYSTEM);
                }
            }
            Some(_) => {
                let name = chain.parts.last().cloned().unwrap_or_default();
                self.add_copy(&name);
            }
            None => {}
        }
    }

    /// A name that a parenthesis follows.
    fn function(&mut self, chain: Chain, word: Option<&'static Known>) {
        let is_adjacent = self.peek().is_some_and(|next| next.from == chain.to);
        let is_built_in =
            |known: &&Known| !known.keyword && !FUNCTION_KEYWORDS.contains(&known.name);
        // A quoted keyword is a name, and so are some whose parenthesis does not follow directly.
        let known = match chain.parts.as_slice() {
            [name] if chain.is_quoted => words::lookup(name).filter(is_built_in),
            [_] => word.filter(|known| is_adjacent || !FUNCTION_KEYWORDS.contains(&known.name)),
            _ => None,
        };
        match known.map_or("", |known| known.name) {
            "LAST_INSERT_ID" => {
                self.advance();
                if !self.is_next(b")") {
                    self.ways(Ways::SETS_INSERT_ID);
                }
                self.push(Place::Start(Within::Expression));
            }
            "LOAD_FILE" => self.hide("LOAD_FILE reads any file"),
            "SETVAL" => self.ways(Ways::STORES),
            "VALUE" if self.verb == Verb::Insert => {}
            "NEXTVAL" | "LASTVAL" | "GET_LOCK" | "RELEASE_LOCK" | "RELEASE_ALL_LOCKS" => {}
            _ if known.is_some_and(|known| known.harmless) => {}
            _ => match chain.into_name() {
                Some(name) => self.add_routine(name),
                None => self.give_up("it is not understood"),
            },
        }
    }

    /// `@x` or `@@x`.
    pub(super) fn variable(&mut self, text: &[u8]) {
        if let Place::Start(within) = self.place() {
            self.begin_within(within);
        }
        let depth = self.frames.len();
        let is_assigned = self.verb == Verb::Set
            && self
                .assignment
                .as_ref()
                .is_some_and(|assignment| assignment.depth == depth && !assignment.has_value);
        let may_be_set = self.is_next(b":=") || self.into_variables || self.verb == Verb::Load;
        if text.starts_with(b"@@") {
            if is_assigned {
                self.ways(Ways::SETS_SYSTEM);
            }
        } else {
            let name = unquoted(text.get(1..).unwrap_or_default()).to_ascii_lowercase();
            match (is_assigned, may_be_set) {
                (true, _) => self.add_variable(name, Use::Set),
                (false, true) => self.add_variable(name, Use::MaySet),
                (false, false) => self.add_variable(name, Use::Read),
            }
        }
        if matches!(self.place(), Place::Table(_) | Place::Statement) {
            self.give_up("it is not understood");
        }
    }
}
