//! Reads the tokens of a text, one after the other, with a look at the next: the places in it, and
//! what is found there.

use std::collections::HashSet;

use super::{Access, MAX_NAMES, MAX_TOKENS, Name, Reading, Tables, Use, Ways};
use crate::sql::Mode;
use crate::sql::tokens::{Kind, Token, Tokens};
use crate::sql::words;

/// How deep parentheses are followed.
const MAX_DEPTH: usize = 250;

/// What is expected at a point of a statement.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A statement.
    Statement,
    /// A query, or else what is expected in this place.
    Start(Within),
    /// The query behind UNION, EXCEPT or INTERSECT.
    Operand,
    /// An expression: names are columns.
    Expression,
    /// A table, with what is done with it.
    Table(Access),
    /// What may follow a table: its alias, its partitions, hints.
    Beside(Access),
    /// A condition in a list of tables.
    On(Access),
    /// The name of a common table expression.
    With { recursive: bool },
    /// What follows the last of them.
    WithNext { recursive: bool },
    /// `SET a = b`, of UPDATE.
    Assignments,
    /// The definition of a table or a view.
    Definition,
    /// The rest of a statement that reads no table.
    Skipped,
}

/// What parentheses contain, unless it is a query.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Expression,
    Tables(Access),
    Definition,
}

/// Parentheses that are open, or the statement itself.
#[derive(Debug)]
pub(super) struct Frame {
    pub place: Place,
    /// The name of the common table expression that it defines, which is visible behind it.
    pub defines: Option<Vec<u8>>,
    /// Whether it is a SELECT whose FROM has not come yet.
    pub selects: bool,
    /// How many common table expressions are visible outside of it.
    pub visible: usize,
}

impl Frame {
    fn new(place: Place, visible: usize) -> Frame {
        Frame {
            place,
            defines: None,
            selects: false,
            visible,
        }
    }
}

/// The verbs that matter beyond the first word.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub(super) enum Verb {
    #[default]
    Other,
    Insert,
    Update,
    /// DELETE FROM, and DELETE … FROM.
    Delete {
        from_first: bool,
    },
    Load,
    Set,
    Rename,
}

/// An assignment of UPDATE.
#[derive(Debug)]
pub(super) struct Assignment {
    /// The number of frames around it.
    pub depth: usize,
    pub target: Vec<u8>,
    pub has_value: bool,
}

pub(super) struct Reader<'a> {
    pub sql: &'a [u8],
    tokens: Tokens<'a>,
    next: Option<Token>,
    pub frames: Vec<Frame>,
    pub verb: Verb,
    pub assignment: Option<Assignment>,
    /// The common table expressions that are visible.
    pub ctes: Vec<Vec<u8>>,
    pub found: Tables,
    tables: HashSet<(Name, Access)>,
    routines: HashSet<Name>,
    copies: HashSet<(Vec<u8>, Vec<u8>)>,
    /// The tables that the current statement writes.
    pub written: Vec<Name>,
    variables: HashSet<(Vec<u8>, Use)>,
    /// Whether user variables are set, as they follow INTO.
    pub into_variables: bool,
    /// Whether the current statement has begun, and whether it is only explained.
    begun: bool,
    pub explains: bool,
    pub fails: bool,
    /// Whether the rest cannot be read.
    pub ended: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sql: &'a [u8], mode: Mode) -> Reader<'a> {
        let mut reader = Reader {
            sql,
            tokens: Tokens::new(sql, mode),
            next: None,
            frames: vec![Frame::new(Place::Statement, 0)],
            verb: Verb::Other,
            assignment: None,
            ctes: Vec::new(),
            found: Tables::default(),
            tables: HashSet::new(),
            routines: HashSet::new(),
            copies: HashSet::new(),
            written: Vec::new(),
            variables: HashSet::new(),
            into_variables: false,
            begun: false,
            explains: false,
            fails: false,
            ended: false,
        };
        reader.advance();
        reader
    }

    pub(super) fn read(mut self) -> Reading {
        let mut left = MAX_TOKENS;
        while !self.ended
            && let Some(token) = self.advance()
        {
            self.take(token);
            left -= 1;
            if left == 0 {
                self.give_up("it is too long");
                self.ended = true;
            }
        }
        if self.frames.len() > 1 && !self.ended {
            self.fails = true;
        }
        // What is behind a point where reading has ended can still be in doubt, but adds nothing.
        self.fails |= self.tokens.in_version_comment() && !self.ended;
        if self.found.statements > 1
            && (self.found.prepares.is_some() || self.found.executes.is_some())
        {
            self.give_up("PREPARE and EXECUTE are not followed among several statements");
        }
        Reading {
            tables: self.found,
            doubts: self.tokens.doubts(),
            fails: self.fails,
        }
    }

    /// The next token that is code; the one after it can then be looked at.
    pub(super) fn advance(&mut self) -> Option<Token> {
        let token = self.next;
        self.next = self.tokens.by_ref().find(|token| token.kind.is_code());
        self.fails |= self.next.is_some_and(|token| token.unterminated);
        token
    }

    pub(super) fn peek(&self) -> Option<Token> {
        self.next
    }

    /// The tokens that have not been read yet.
    pub(super) fn rest(&self) -> impl Iterator<Item = Token> + use<'a> {
        let rest = self.next.into_iter().chain(self.tokens.clone());
        rest.filter(|token| token.kind.is_code())
    }

    pub(super) fn text(&self, token: Token) -> &'a [u8] {
        self.sql.get(token.from..token.to).unwrap_or_default()
    }

    /// Whether the next token is this operator.
    pub(super) fn is_next(&self, operator: &[u8]) -> bool {
        self.next
            .is_some_and(|token| token.kind == Kind::Operator && self.text(token) == operator)
    }

    /// The next token as a known word; "" if it is none.
    pub(super) fn next_word(&self) -> &'static str {
        match self.next {
            Some(token) if token.kind == Kind::Word => {
                words::lookup(self.text(token)).map_or("", |known| known.name)
            }
            _ => "",
        }
    }

    /// Takes the next token if it is one of these words.
    pub(super) fn skip_word(&mut self, words: &[&str]) -> bool {
        let is_one = words.contains(&self.next_word()) && !self.next_word().is_empty();
        if is_one {
            self.advance();
        }
        is_one
    }

    pub(super) fn give_up(&mut self, reason: &'static str) {
        self.found.give_up(reason);
    }

    /// What is read is not known, but nothing else is done.
    pub(super) fn hide(&mut self, reason: &'static str) {
        self.found.unknown.get_or_insert(reason);
    }

    pub(super) fn place(&self) -> Place {
        self.frames
            .last()
            .map_or(Place::Skipped, |frame| frame.place)
    }

    pub(super) fn set_place(&mut self, place: Place) {
        if let Some(frame) = self.frames.last_mut() {
            frame.place = place;
        }
    }

    pub(super) fn is_outermost(&self) -> bool {
        self.frames.len() == 1
    }

    pub(super) fn ways(&mut self, ways: Ways) {
        self.found.ways |= match self.explains {
            true => ways - Ways::STORES,
            false => ways,
        };
    }

    fn is_full(&mut self) -> bool {
        let is_full = self.found.names() >= MAX_NAMES;
        if is_full {
            self.give_up("it names too many tables");
        }
        is_full
    }

    pub(super) fn add_table(&mut self, name: Name, access: Access) {
        let access = match self.explains {
            true => Access::READ,
            false => access,
        };
        if self.is_full() {
            return;
        }
        if access.contains(Access::WRITE) {
            self.written.push(name.clone());
        }
        if self.tables.insert((name.clone(), access)) {
            self.found.tables.push((name, access));
        }
    }

    pub(super) fn add_routine(&mut self, name: Name) {
        if !self.is_full() && self.routines.insert(name.clone()) {
            self.found.routines.push(name);
        }
    }

    /// A common table expression can be used from here on.
    pub(super) fn add_cte(&mut self, name: Vec<u8>) {
        if self.ctes.len() >= MAX_NAMES {
            self.give_up("it names too many tables");
        } else {
            self.ctes.push(name);
        }
    }

    pub(super) fn add_variable(&mut self, name: Vec<u8>, how: Use) {
        if !self.is_full() && self.variables.insert((name.clone(), how)) {
            self.found.variables.push((name, how));
        }
    }

    /// The value of a column is part of what is assigned.
    pub(super) fn add_copy(&mut self, from: &[u8]) {
        let Some(assignment) = &self.assignment else {
            return;
        };
        if self.verb == Verb::Set {
            return;
        }
        let copy = (from.to_vec(), assignment.target.clone());
        if !self.is_full() && self.copies.insert(copy.clone()) {
            self.found.copies.push(copy);
        }
    }

    fn end_statement(&mut self) {
        self.frames.clear();
        self.frames.push(Frame::new(Place::Statement, 0));
        self.ctes.clear();
        self.verb = Verb::Other;
        self.assignment = None;
        self.into_variables = false;
        self.explains = false;
        self.written.clear();
        self.begun = false;
    }

    fn take(&mut self, token: Token) {
        let text = self.text(token);
        if text == b";" && token.kind == Kind::Operator {
            self.fails |= self.frames.len() > 1;
            return self.end_statement();
        }
        if !self.begun {
            self.begun = true;
            self.found.statements += 1;
        }
        if self.place() == Place::Skipped {
            return;
        }
        match token.kind {
            Kind::Operator => self.operator(text),
            Kind::Variable => self.variable(text),
            Kind::Word | Kind::Quoted => self.name_or_keyword(token),
            _ => self.value(),
        }
    }

    /// A literal, or a placeholder.
    fn value(&mut self) {
        match self.place() {
            // In another mode it may be a name.
            Place::Table(_) | Place::With { .. } | Place::Statement | Place::Operand => {
                self.fails = true;
            }
            Place::Start(within) => self.begin_within(within),
            _ => {}
        }
    }

    fn operator(&mut self, text: &[u8]) {
        match (text, self.place()) {
            (b"(", _) => return self.open(),
            (b")", _) => return self.close(),
            (_, Place::Start(within)) => self.begin_within(within),
            _ => {}
        }
        match (text, self.place()) {
            (b",", Place::Beside(access) | Place::On(access)) => {
                self.set_place(Place::Table(access));
            }
            (b",", Place::WithNext { recursive }) => self.set_place(Place::With { recursive }),
            (b"=" | b":=", _) => {
                let depth = self.frames.len();
                if let Some(assignment) = &mut self.assignment
                    && assignment.depth == depth
                {
                    assignment.has_value = true;
                }
            }
            (b",", Place::Assignments) => {
                if let Some(assignment) = &mut self.assignment {
                    assignment.has_value = false;
                }
            }
            // {OJ a LEFT JOIN b ON …}
            (b"{", Place::Table(_)) => {
                self.advance();
            }
            (b".", Place::Table(_)) => {}
            // A variable without a name.
            (b"@", _) => self.variable(text),
            (_, Place::Table(_) | Place::Statement | Place::Operand | Place::With { .. }) => {
                self.give_up("it is not understood");
            }
            _ => {}
        }
    }

    /// What follows in parentheses is no query.
    pub(super) fn begin_within(&mut self, within: Within) {
        self.set_place(match within {
            Within::Expression => Place::Expression,
            Within::Tables(access) => Place::Table(access),
            Within::Definition => Place::Definition,
        });
    }

    pub(super) fn open(&mut self) {
        let inner = match self.place() {
            Place::Statement | Place::Operand | Place::With { .. } => {
                Place::Start(Within::Expression)
            }
            Place::Start(within) => Place::Start(within),
            Place::Table(access) => Place::Start(Within::Tables(access)),
            Place::Definition => Place::Start(Within::Definition),
            _ => Place::Start(Within::Expression),
        };
        // What the parentheses are to what is around them.
        match self.place() {
            Place::Table(access) | Place::Start(Within::Tables(access)) => {
                self.set_place(Place::Beside(access));
            }
            Place::Statement | Place::Operand | Place::Start(Within::Expression) => {
                self.set_place(Place::Expression);
            }
            Place::Start(Within::Definition) => self.set_place(Place::Definition),
            _ => {}
        }
        self.push(inner);
    }

    pub(super) fn push(&mut self, place: Place) {
        if self.frames.len() >= MAX_DEPTH {
            self.give_up("it is nested too deeply");
            self.ended = true;
        } else {
            self.frames.push(Frame::new(place, self.ctes.len()));
        }
    }

    fn close(&mut self) {
        if self.frames.len() == 1 {
            self.fails = true;
            return;
        }
        if let Some(frame) = self.frames.pop() {
            self.ctes.truncate(frame.visible);
            if let Some(name) = frame.defines {
                self.add_cte(name);
            }
        }
    }
}
