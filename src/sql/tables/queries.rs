//! The words of queries, and of the parts that other statements share with them.

use super::names::unquoted;
use super::reader::{Assignment, Place, Reader, Verb, Within};
use super::{Access, Ways};
use crate::sql::tokens::{Kind, Token};
use crate::sql::words::{self, Known};

impl Reader<'_> {
    pub(super) fn name_or_keyword(&mut self, token: Token) {
        let text = self.text(token);
        let word = match token.kind {
            Kind::Word => words::lookup(text),
            _ => None,
        };
        if token.kind == Kind::Word && hides_keyword(text) {
            self.give_up("a byte in it may be a blank");
        }
        let name = word.map_or("", |known| known.name);
        match self.place() {
            Place::Statement => self.verb_word(name),
            Place::With { recursive } => self.with_name(token, name, recursive),
            Place::WithNext { recursive } => self.with_next(name, recursive),
            Place::Table(access) => self.table(token, word, access),
            Place::Start(within) => {
                if matches!(within, Within::Tables(_))
                    && matches!(name, "SELECT" | "WITH" | "VALUES" | "TABLE")
                {
                    self.ways(Ways::DERIVES);
                }
                self.start(token, name, within);
            }
            Place::Operand => match name {
                "SELECT" => self.select(),
                "VALUES" => self.set_place(Place::Expression),
                "TABLE" => self.set_place(Place::Table(Access::READ)),
                "ALL" | "DISTINCT" => {}
                _ => self.give_up("it is not understood"),
            },
            Place::Skipped => {}
            place => {
                if !self.keyword(name, place) {
                    self.other_name(token, word, place);
                }
            }
        }
    }

    /// The first word in parentheses.
    fn start(&mut self, token: Token, name: &str, within: Within) {
        match name {
            "SELECT" => self.select(),
            "WITH" => self.set_place(Place::With { recursive: false }),
            "VALUES" => self.set_place(Place::Expression),
            "TABLE" => self.set_place(Place::Table(Access::READ)),
            _ => {
                self.begin_within(within);
                self.name_or_keyword(token);
            }
        }
    }

    pub(super) fn select(&mut self) {
        self.set_place(Place::Expression);
        if let Some(frame) = self.frames.last_mut() {
            frame.selects = true;
        }
    }

    fn other_name(&mut self, token: Token, word: Option<&'static Known>, place: Place) {
        match place {
            Place::Beside(_) => {}
            Place::Definition => self.definition_word(word),
            _ => self.column_or_function(token, word),
        }
    }

    /// A word that changes what is expected; false if it is none.
    fn keyword(&mut self, name: &str, place: Place) -> bool {
        let tables = match place {
            Place::Beside(access) | Place::On(access) => Some(access),
            _ => None,
        };
        let is_insert = self.verb == Verb::Insert && self.is_outermost();
        match (name, tables) {
            ("SELECT", _) => self.select(),
            ("FROM", _) => {
                self.into_variables = false;
                if let Some(frame) = self.frames.last_mut()
                    && frame.selects
                {
                    frame.selects = false;
                    frame.place = Place::Table(Access::READ);
                }
            }
            ("UNION" | "EXCEPT" | "INTERSECT", _) if place != Place::Definition => {
                self.ways(Ways::DERIVES);
                self.set_place(Place::Operand);
            }
            ("ON", _) if is_insert && self.skip_word(&["DUPLICATE"]) => {
                self.skip_word(&["KEY"]);
                if self.skip_word(&["UPDATE"]) {
                    self.assignments();
                }
            }
            ("JOIN" | "STRAIGHT_JOIN", Some(access)) => self.set_place(Place::Table(access)),
            ("ON", Some(access)) => self.set_place(Place::On(access)),
            ("USING", Some(access)) => self.using(access),
            ("USE" | "FORCE" | "IGNORE", Some(_)) if matches!(place, Place::Beside(_)) => {
                self.index_hint();
            }
            ("AS", Some(_)) if matches!(place, Place::Beside(_)) => {
                self.alias();
            }
            ("FOR", Some(access)) => {
                let of_time = matches!(self.next_word(), "SYSTEM_TIME" | "PORTION");
                self.set_place(match of_time {
                    true => Place::On(access),
                    false => Place::Expression,
                });
            }
            (
                "WHERE" | "GROUP" | "HAVING" | "ORDER" | "LIMIT" | "PROCEDURE" | "FETCH" | "LOCK",
                _,
            ) if place != Place::Definition => {
                self.end_of_tables();
            }
            ("INTO", _) if self.verb != Verb::Load => self.into(),
            ("RETURNING", _) if self.is_outermost() && self.may_return() => self.returning(),
            ("SET", _) if self.is_outermost() && self.verb == Verb::Update => self.assignments(),
            ("SET" | "VALUES" | "VALUE", Some(_)) if is_insert => {
                self.set_place(Place::Expression);
            }
            ("VALUES", _) if self.assignment.is_some() && self.is_next(b"(") => {
                self.skip_parentheses();
            }
            ("SET", _) if self.verb == Verb::Load => self.set_place(Place::Expression),
            ("TABLE", Some(_)) if is_insert => self.set_place(Place::Table(Access::READ)),
            ("WITH", Some(_)) if is_insert => self.set_place(Place::With { recursive: false }),
            ("TABLE", None) if self.verb == Verb::Load => {
                self.set_place(Place::Table(Access::WRITE));
            }
            ("TO", _) if self.verb == Verb::Rename => self.set_place(Place::Table(Access::WRITE)),
            _ => return false,
        }
        true
    }

    fn may_return(&self) -> bool {
        matches!(self.verb, Verb::Insert | Verb::Update | Verb::Delete { .. })
    }

    /// The rows that were written are read.
    fn returning(&mut self) {
        self.end_of_tables();
        let written = std::mem::take(&mut self.written);
        for name in written {
            self.add_table(name, Access::READ | Access::WRITE);
        }
    }

    fn end_of_tables(&mut self) {
        let depth = self.frames.len();
        if self
            .assignment
            .as_ref()
            .is_some_and(|assignment| assignment.depth == depth)
        {
            self.assignment = None;
        }
        self.set_place(Place::Expression);
    }

    fn assignments(&mut self) {
        self.set_place(Place::Assignments);
        self.assignment = Some(Assignment {
            depth: self.frames.len(),
            target: Vec::new(),
            has_value: false,
        });
    }

    /// The USING of a join, or that of `DELETE FROM a USING b`.
    fn using(&mut self, access: Access) {
        let deletes = self.verb == Verb::Delete { from_first: true } && self.is_outermost();
        if deletes {
            self.verb = Verb::Delete { from_first: false };
            self.set_place(Place::Table(access));
        } else {
            self.set_place(Place::Beside(access));
        }
    }

    /// `USE INDEX FOR JOIN (i)`
    fn index_hint(&mut self) {
        self.skip_word(&["INDEX", "KEY"]);
        if self.skip_word(&["FOR"]) && !self.skip_word(&["JOIN"]) {
            self.skip_word(&["ORDER", "GROUP"]);
            self.skip_word(&["BY"]);
        }
    }

    fn alias(&mut self) {
        let is_name = |token: Token| !matches!(token.kind, Kind::Operator);
        if self.peek().is_some_and(is_name) {
            self.advance();
        }
    }

    fn into(&mut self) {
        match self.next_word() {
            "OUTFILE" | "DUMPFILE" => self.ways(Ways::WRITES_FILE),
            _ => self.into_variables = true,
        }
        self.set_place(Place::Expression);
    }

    /// Parentheses that contain only names.
    pub(super) fn skip_parentheses(&mut self) {
        self.advance();
        while let Some(token) = self.peek()
            && self.text(token) != b";"
        {
            self.advance();
            match self.text(token) {
                b")" => return,
                b"(" => self.give_up("it is not understood"),
                _ => {}
            }
        }
    }

    fn with_name(&mut self, token: Token, word: &str, recursive: bool) {
        if word == "RECURSIVE" && !self.is_next(b"(") && self.next_word() != "AS" {
            return self.set_place(Place::With { recursive: true });
        }
        let name = unquoted(self.text(token));
        self.ways(Ways::DERIVES);
        if self.is_next(b"(") {
            self.skip_parentheses();
        }
        if !self.skip_word(&["AS"]) || !self.is_next(b"(") {
            return self.give_up("it is not understood");
        }
        self.advance();
        self.set_place(Place::WithNext { recursive });
        if recursive {
            self.add_cte(name);
            self.push(Place::Start(Within::Expression));
        } else {
            self.push(Place::Start(Within::Expression));
            if let Some(frame) = self.frames.last_mut() {
                frame.defines = Some(name);
            }
        }
    }

    fn with_next(&mut self, name: &str, recursive: bool) {
        match name {
            "CYCLE" => {
                while self.peek().is_some_and(|next| self.text(next) != b";")
                    && !self.skip_word(&["RESTRICT"])
                {
                    self.advance();
                }
                self.set_place(Place::WithNext { recursive });
            }
            "SELECT" => self.select(),
            "VALUES" => self.set_place(Place::Expression),
            "TABLE" => self.set_place(Place::Table(Access::READ)),
            _ if self.is_outermost() => self.verb_word(name),
            _ => self.give_up("it is not understood"),
        }
    }
}

/// Whether parts of a word between bytes that are not ASCII are keywords: in some character sets such a
/// byte is a blank.
fn hides_keyword(text: &[u8]) -> bool {
    !text.is_ascii()
        && text
            .split(|byte| *byte >= 0x80)
            .any(|part| words::lookup(part).is_some_and(|known| known.reserved))
}
