//! What stored routines, views and triggers hide: judged by their definitions, which are read from the
//! server's catalogue, with the same function as any other text.
//!
//! What is in the schema `sys` is not looked at, and opaque.
//!
//! [`Reading`] says which queries to send, takes their rows, and makes a [`Catalogue`] of them. What cannot be
//! read, contains dynamic SQL, or is not understood is opaque; so are loadable functions. What the pool was
//! told to be harmless is not looked at.

mod definition;
mod graph;
mod harmless;
mod reading;

use std::collections::HashSet;

pub use harmless::Harmless;
pub use reading::Reading;

use crate::sql::effects::{Action, Effects, effects};
use crate::sql::{Access, Kind, Mode, Name, Tokens, Ways, statement, tables};
use crate::track::{Doubt, Traces};
use graph::{Graph, Object};

/// How many names of a statement that passed by are suspected.
const MAX_SUSPECTS: usize = 4096;
/// Longer names are no server's.
const MAX_NAME: usize = 256;

/// What a statement hides: what it uses may do this.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Hides {
    /// It may leave this behind.
    pub traces: Traces,
    /// It may leave anything behind, for this reason.
    pub opaque: Option<Doubt>,
    /// It calls routines that are not declared harmless.
    pub calls: bool,
}

impl Hides {
    /// Nothing is hidden.
    pub const NOTHING: Hides = Hides {
        traces: Traces::empty(),
        opaque: None,
        calls: false,
    };

    /// Whether nothing is hidden.
    pub fn is_nothing(&self) -> bool {
        *self == Hides::NOTHING
    }

    fn opaque(why: Doubt) -> Hides {
        Hides {
            opaque: Some(why),
            ..Hides::NOTHING
        }
    }

    fn and(self, other: Hides) -> Hides {
        Hides {
            traces: self.traces | other.traces,
            opaque: self.opaque.or(other.opaque),
            calls: self.calls || other.calls,
        }
    }
}

/// What is known of a server's routines, views and triggers.
#[derive(Clone, Debug)]
pub struct Catalogue {
    graph: Graph,
    /// Names, in lower case, whose use may hide something.
    names: HashSet<Vec<u8>>,
    /// Whether one of them has other characters than ASCII.
    has_others: bool,
    /// Names that a definition has passed by with since the catalogue was read.
    suspects: HashSet<Vec<u8>>,
    /// In these schemas it cannot be seen which tables have triggers.
    unseen: Unseen,
}

/// Where the account cannot see triggers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unseen {
    Nowhere,
    /// Everywhere but in the schemas that match these patterns of LIKE, in lower case.
    OutsideOf(Vec<Vec<u8>>),
}

impl Unseen {
    fn covers(&self, schema: Option<&[u8]>) -> bool {
        match (self, schema) {
            (Unseen::Nowhere, _) => false,
            (Unseen::OutsideOf(seen), Some(schema)) => {
                !seen.iter().any(|pattern| is_like(schema, pattern))
            }
            (Unseen::OutsideOf(_), None) => true,
        }
    }
}

impl Catalogue {
    fn new(graph: Graph, unseen: Unseen) -> Catalogue {
        let names: HashSet<Vec<u8>> = graph.telling_names().collect();
        Catalogue {
            has_others: names.iter().any(|name| !name.is_ascii()),
            names,
            graph,
            suspects: HashSet::new(),
            unseen,
        }
    }

    /// Nothing could be read: all routines and all tables are opaque.
    pub fn unread() -> Catalogue {
        Catalogue::new(Graph::unread(), Unseen::OutsideOf(Vec::new()))
    }

    /// Whether nothing could be read.
    pub fn is_unread(&self) -> bool {
        self.graph.is_unread()
    }

    /// Whether there are tables of which it cannot be seen if they have triggers: writing them is opaque.
    pub fn is_blind(&self) -> bool {
        self.unseen != Unseen::Nowhere
    }

    /// What a text hides that is executed in this schema, if that is known. Costs no allocation where nothing
    /// in the text is suspicious.
    pub fn hides(&self, sql: &[u8], mode: Mode, schema: Option<&[u8]>) -> Hides {
        let Some(about) = statement(sql, mode) else {
            return Hides::NOTHING;
        };
        let calls = about.changes.contains(crate::sql::Changes::CALL) || about.kind == "CALL";
        let writes = self.unseen != Unseen::Nowhere && may_write(sql, mode, about.kind);
        let is_in_sys = schema.is_some_and(|schema| schema.eq_ignore_ascii_case(graph::SYS));
        if calls || writes || is_in_sys || about.multi > 1 || self.mentions(sql, mode) {
            return self.judged(sql, mode, schema);
        }
        Hides::NOTHING
    }

    /// Whether a suspicious name occurs anywhere in the text.
    fn mentions(&self, sql: &[u8], mode: Mode) -> bool {
        if self.graph.is_unread() {
            return true;
        }
        if self.names.is_empty() && self.suspects.is_empty() {
            return false;
        }
        names(sql, mode).any(|name| self.is_suspicious(name))
    }

    fn is_suspicious(&self, name: &[u8]) -> bool {
        let mut lower = [0; MAX_NAME];
        let Some(lower) = lower.get_mut(..name.len()) else {
            return false;
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        // Names may be in another character set than the catalogue, or written with doubled quotes.
        let is_odd = self.has_others && !name.is_ascii() || name.contains(&b'`');
        is_odd || self.names.contains(&*lower) || self.suspects.contains(&*lower)
    }

    fn judged(&self, sql: &[u8], mode: Mode, schema: Option<&[u8]>) -> Hides {
        // Definitions use nothing yet.
        let uses = |one: &Effects| one.tables || matches!(one.action, Action::Function);
        if !effects(sql, mode).iter().any(uses) {
            return Hides::NOTHING;
        }
        let used = tables(sql, mode);
        let schema = schema.map(lower);
        let mut hides = Hides::NOTHING;
        for routine in &used.routines {
            hides = hides.and(self.called(routine, schema.as_deref()));
        }
        for (table, access) in &used.tables {
            hides = hides.and(self.used(table, *access, schema.as_deref()));
        }
        if used.ways.contains(Ways::ANYTHING) {
            // What it uses is not known exactly: it may be anything that it names.
            for name in names(sql, mode).map(lower) {
                hides = hides.and(self.graph.anything_named(&name));
                if self.suspects.contains(&name) {
                    hides = hides.and(Hides::opaque(Doubt::Hidden));
                }
            }
        }
        hides
    }

    fn called(&self, routine: &Name, schema: Option<&[u8]>) -> Hides {
        let suspect = match self.suspects.contains(&lower(&routine.name)) {
            true => Hides::opaque(Doubt::Routine),
            false => Hides::NOTHING,
        };
        self.graph.called(routine, schema).and(suspect)
    }

    fn used(&self, table: &Name, access: Access, schema: Option<&[u8]>) -> Hides {
        let writes = access.contains(Access::WRITE);
        let named = table.schema.as_deref().map(lower);
        let place = named.as_deref().or(schema);
        let known = self.graph.used(table, writes, schema);
        let is_unseen = writes
            && self.unseen.covers(place)
            && !self.graph.is_harmless(place, &lower(&table.name));
        match is_unseen || self.suspects.contains(&lower(&table.name)) {
            true => known.and(Hides::opaque(Doubt::Hidden)),
            false => known,
        }
    }

    /// A text has passed by. If it may have changed a definition, the catalogue has to be read again: the names
    /// in it are opaque until then.
    pub fn passed(&mut self, sql: &[u8], mode: Mode) -> bool {
        if !alters(sql, mode) {
            return false;
        }
        for name in names(sql, mode).take(MAX_SUSPECTS) {
            if self.suspects.len() < MAX_SUSPECTS && name.len() <= MAX_NAME {
                self.suspects.insert(lower(name));
            }
        }
        true
    }
}

/// Whether a statement of this kind may write to a table by its verb.
fn may_write(sql: &[u8], mode: Mode, kind: &str) -> bool {
    match kind {
        "SELECT" | "SHOW" | "BEGIN" | "COMMIT" => false,
        // SET STATEMENT … FOR …
        "SET" => {
            let mut code = Tokens::new(sql, mode).filter(|token| token.kind.is_code());
            let second = code.nth(1);
            let second = second.and_then(|token| sql.get(token.from..token.to));
            second.is_some_and(|word| word.eq_ignore_ascii_case(b"STATEMENT"))
        }
        _ => true,
    }
}

/// Whether a text may change the definition of a routine, a view or a trigger, or move it.
fn alters(sql: &[u8], mode: Mode) -> bool {
    const VERBS: &[&[u8]] = &[
        b"ALTER",
        b"CREATE",
        b"DROP",
        b"INSTALL",
        b"RENAME",
        b"UNINSTALL",
    ];
    const OBJECTS: &[&[u8]] = &[
        b"DATABASE",
        b"FUNCTION",
        b"LIBRARY",
        b"NEXTVAL",
        b"PACKAGE",
        b"PROCEDURE",
        b"RENAME",
        b"SCHEMA",
        b"TRIGGER",
        b"VIEW",
    ];
    // Most texts are no definitions, as their first word shows.
    let mut code = Tokens::new(sql, mode).filter(|token| token.kind.is_code());
    let first = code.next().and_then(|token| sql.get(token.from..token.to));
    let may_define =
        first.is_some_and(|word| VERBS.iter().any(|verb| word.eq_ignore_ascii_case(verb)));
    if !may_define && memchr::memchr(b';', sql).is_none() {
        return false;
    }
    let Some(about) = statement(sql, mode) else {
        return false;
    };
    let defines = matches!(
        about.kind,
        "CREATE" | "ALTER" | "DROP" | "RENAME" | "INSTALL" | "UNINSTALL"
    );
    let is_one_of = |token: &crate::sql::Token, words: &[&[u8]]| {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        token.kind == Kind::Word && words.iter().any(|one| text.eq_ignore_ascii_case(one))
    };
    if defines {
        return Tokens::new(sql, mode).any(|token| is_one_of(&token, OBJECTS));
    }
    // One of several, each by itself: `SELECT DATABASE()` is no definition.
    let (mut is_first, mut may_define) = (true, false);
    let mut code = Tokens::new(sql, mode).filter(|token| token.kind.is_code());
    about.multi > 1
        && code.any(|token| {
            if std::mem::replace(&mut is_first, false) {
                may_define = is_one_of(&token, VERBS);
            }
            is_first = sql.get(token.from..token.to) == Some(b";");
            may_define && is_one_of(&token, OBJECTS)
        })
}

/// What may be a name in a text, without its quotes.
fn names(sql: &[u8], mode: Mode) -> impl Iterator<Item = &[u8]> {
    let may_be_quoted = mode.ansi_quotes != Some(false);
    Tokens::new(sql, mode).filter_map(move |token| {
        let text = sql.get(token.from..token.to)?;
        let inner = || text.get(1..text.len().checked_sub(1)?);
        match token.kind {
            Kind::Word => Some(text),
            Kind::Quoted => inner(),
            Kind::String if may_be_quoted && text.starts_with(b"\"") => inner(),
            _ => None,
        }
    })
}

/// In lower case, as servers compare names: all letters if it is UTF-8.
fn lower(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

/// LIKE with `%`, `_` and a backslash, as in the names of schemas that privileges are for. In quadratic time
/// at most, of names that are short.
fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut retry = None;
    while at < text.len() {
        let (one, len) = match pattern.get(place..) {
            Some([b'\\', escaped, ..]) => (Some(*escaped), 2),
            Some([byte, ..]) => (Some(*byte), 1),
            _ => (None, 0),
        };
        if one == Some(b'%') && len == 1 {
            retry = Some((at, place + 1));
            place += 1;
        } else if one == Some(b'_') && len == 1 || one.is_some() && one == text.get(at).copied() {
            at += 1;
            place += len;
        } else if let Some((from, behind)) = retry {
            at = from + 1;
            place = behind;
            retry = Some((at, behind));
        } else {
            return false;
        }
    }
    pattern
        .get(place..)
        .unwrap_or_default()
        .iter()
        .all(|byte| *byte == b'%')
}

/// A name that something in the catalogue uses, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Needs {
    name: Name,
    object: Object,
}

#[cfg(test)]
mod tests;
