//! What a statement does, and what its words alone can prove about that.
//!
//! Scripts that refuse writes rely on this, and an attacker who wants to get past them knows how it
//! works. So a statement does not count as read-only merely because it has no word that is known to
//! write: each function that it calls must be known, and every way in which a server may read the
//! text must give the same result.

use bitflags::bitflags;

use super::Mode;
use super::tokens::{Doubts, Kind, Token, Tokens};
use super::words::{self, Known};

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
    /// Whether it locks what it reads.
    pub locking: bool,
    /// Whether it has an INTO: of a SELECT, the result goes into variables or a file.
    pub into: bool,
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
        explainable,
        doubts: tokens.doubts(),
        unterminated: unterminated || tokens.in_version_comment(),
        has_body: reader.has_body,
    }
}

/// How far a statement has been read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Its verb is expected, perhaps after parentheses.
    Verb,
    /// After WITH: a name, its columns or AS, its query, and a comma or the main verb.
    WithName,
    WithAs,
    WithColumns,
    WithBody,
    WithNext,
    /// MariaDB's CYCLE … RESTRICT.
    WithCycle,
    /// After EXPLAIN: the explained statement is expected, or a table.
    Explain,
    /// After START, BEGIN, and CREATE or ALTER.
    Start,
    Begin,
    Create,
    Rest,
}

/// One statement, as far as it has been read.
#[derive(Copy, Clone, Debug)]
struct Current {
    from: Option<usize>,
    stage: Stage,
    verb: Option<&'static str>,
    /// The verb that an EXPLAIN explains.
    explained: Option<&'static str>,
    depth: usize,
    /// The depth of parentheses at WITH.
    with_depth: usize,
    /// Whether it has a body, in which semicolons do not end the statement.
    has_body: bool,
    selects: bool,
    locking: bool,
    into: bool,
    explain_into: bool,
    analyzes: bool,
    /// By what it changes something, whatever its verb.
    changes: Changes,
    /// Whether it has a word that does not belong in a query that only reads.
    strays: bool,
}

const FRESH: Current = Current {
    from: None,
    stage: Stage::Verb,
    verb: None,
    explained: None,
    depth: 0,
    with_depth: 0,
    has_body: false,
    selects: false,
    locking: false,
    into: false,
    explain_into: false,
    analyzes: false,
    changes: Changes::empty(),
    strays: false,
};

impl Current {
    /// Whether, as a query, it only reads.
    fn only_reads(&self) -> bool {
        !(self.strays || self.locking || self.into) && self.changes.is_empty()
    }

    fn is_read_only(&self) -> bool {
        match (self.verb, self.explained) {
            (Some("SELECT" | "TABLE" | "VALUES"), _) => self.only_reads(),
            (Some("SHOW"), _) => !self.locking && self.changes.is_empty(),
            (Some("EXPLAIN"), Some("SELECT" | "TABLE" | "VALUES")) => self.only_reads(),
            (Some("EXPLAIN"), Some(_)) => {
                !(self.analyzes || self.explain_into) && self.changes.is_empty()
            }
            (Some("EXPLAIN"), None) => !self.analyzes && self.only_reads(),
            _ => false,
        }
    }

    fn is_explainable(&self) -> bool {
        match self.verb {
            Some("SELECT") => !self.into,
            Some("INSERT" | "REPLACE" | "UPDATE" | "DELETE") => true,
            _ => false,
        }
    }
}

/// A token before the current one, as far as it matters.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Before<'a> {
    Nothing,
    Word(Option<&'static Known>),
    Quoted(&'a [u8]),
    Dot,
    Close,
    /// `LAST_INSERT_ID(`
    LastInsertId,
    Other,
}

impl Before<'_> {
    fn is_word(self, name: &str) -> bool {
        matches!(self, Before::Word(Some(known)) if known.name == name)
    }
}

/// Functions that take locks and give them back.
const NAMED_LOCKS: &[&str] = &["GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS"];

/// Functions that are keywords if a parenthesis follows directly, and names otherwise.
const FUNCTION_KEYWORDS: &[&str] = &[
    "ADDDATE",
    "BIT_AND",
    "BIT_OR",
    "BIT_XOR",
    "CAST",
    "COUNT",
    "CURDATE",
    "CURTIME",
    "DATE_ADD",
    "DATE_SUB",
    "EXTRACT",
    "GROUP_CONCAT",
    "JSON_ARRAYAGG",
    "JSON_OBJECTAGG",
    "MAX",
    "MEDIAN",
    "MID",
    "MIN",
    "NOW",
    "POSITION",
    "SESSION_USER",
    "STD",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "ST_COLLECT",
    "SUBDATE",
    "SUBSTR",
    "SUBSTRING",
    "SUM",
    "SYSDATE",
    "SYSTEM_USER",
    "TRIM",
    "VARIANCE",
    "VAR_POP",
    "VAR_SAMP",
];

struct Reader<'a> {
    sql: &'a [u8],
    current: Current,
    before: [Before<'a>; 4],
    /// Where the token before ended, and whether it was a word with non-ASCII bytes.
    before_end: usize,
    before_is_mixed: bool,
    /// The result for the statements that have ended.
    statement: Option<Statement>,
    read_only: bool,
    explainable: bool,
    has_body: bool,
}

impl<'a> Reader<'a> {
    fn new(sql: &'a [u8]) -> Reader<'a> {
        Reader {
            sql,
            current: FRESH,
            before: [Before::Nothing; 4],
            before_end: 0,
            before_is_mixed: false,
            statement: None,
            read_only: true,
            explainable: false,
            has_body: false,
        }
    }

    fn end_statement(&mut self) {
        let current = std::mem::replace(&mut self.current, FRESH);
        self.before = [Before::Nothing; 4];
        let Some(from) = current.from else {
            return;
        };
        self.read_only &= current.is_read_only();
        self.has_body |= current.has_body;
        match &mut self.statement {
            Some(statement) => {
                statement.multi += 1;
                statement.locking |= current.locking;
                statement.into |= current.into;
                statement.changes |= current.changes;
            }
            none => {
                let kind = current.verb.unwrap_or("OTHER");
                self.explainable = current.is_explainable();
                *none = Some(Statement {
                    kind,
                    read_only: false,
                    locking: current.locking,
                    into: current.into,
                    has_select: current.selects && kind != "SELECT",
                    changes: current.changes,
                    multi: 1,
                    explainable: false,
                    main_from: from,
                    ambiguous: false,
                });
            }
        }
    }

    fn take(&mut self, token: &Token) {
        let text = &self.sql[token.from..token.to];
        let is_value = matches!(token.kind, Kind::String | Kind::Number | Kind::Placeholder);
        if is_value && self.current.stage == Stage::Rest && self.before[0] != Before::LastInsertId {
            self.push(Before::Other);
            self.before_is_mixed = false;
            self.before_end = token.to;
            return;
        }
        if text == b";" && !self.current.has_body {
            return self.end_statement();
        }
        self.current.from.get_or_insert(token.from);
        let is_argument = self.before[0] == Before::LastInsertId;
        let is_mixed = token.kind == Kind::Word && !text.is_ascii();
        if is_mixed {
            self.mixed_word(text);
        }
        let this = match token.kind {
            Kind::Word if is_mixed => Before::Other,
            Kind::Word => self.word(text),
            Kind::Quoted => Before::Quoted(&text[1..text.len() - usize::from(text.len() > 1)]),
            Kind::Operator => self.operator(text, token.from),
            _ => {
                self.no_verb();
                Before::Other
            }
        };
        if is_argument && this != Before::Close {
            self.current.changes |= Changes::LAST_INSERT_ID;
        }
        if token.kind == Kind::Quoted {
            self.no_verb();
            self.name();
        }
        self.before_is_mixed = is_mixed;
        self.before_end = token.to;
        if !is_mixed {
            self.push(this);
        }
    }

    fn push(&mut self, this: Before<'a>) {
        let [first, second, third, _] = self.before;
        self.before = [this, first, second, third];
    }

    fn word(&mut self, text: &[u8]) -> Before<'a> {
        let known = words::lookup(text);
        self.inspect(known);
        self.advance(known);
        Before::Word(known)
    }

    /// A word with non-ASCII bytes. In some character sets one of those bytes is a blank, so the
    /// parts between them are examined as words, too.
    fn mixed_word(&mut self, text: &[u8]) {
        for part in text.split(|byte| *byte >= 0x80) {
            if !part.is_empty() {
                let known = words::lookup(part);
                self.inspect(known);
                self.push(Before::Word(known));
            }
        }
        self.advance(None);
    }

    /// Notes what a word means anywhere in a statement.
    fn inspect(&mut self, known: Option<&'static Known>) {
        let current = &mut self.current;
        match known.map_or("", |known| known.name) {
            "" => {}
            "SELECT" => current.selects = true,
            "INTO" => {
                current.into = true;
                current.explain_into |= current.stage == Stage::Explain;
            }
            "UPDATE" | "SHARE" if self.before[0].is_word("FOR") => current.locking = true,
            "LOCK" => current.locking |= current.stage != Stage::Verb,
            // NEXT VALUE FOR
            "FOR" if self.before[0].is_word("VALUE") => current.changes |= Changes::SEQUENCE,
            "NEXTVAL" | "SETVAL" => current.changes |= Changes::SEQUENCE,
            "SQL_CALC_FOUND_ROWS" => current.changes |= Changes::FOUND_ROWS,
            "ANALYZE" => current.analyzes = true,
            // Without INSERT and REPLACE, which are also functions.
            "PROCEDURE" | "UPDATE" | "DELETE" | "CREATE" | "ALTER" | "DROP" | "CALL" | "GRANT"
            | "REVOKE" | "LOAD" | "RENAME" => current.strays = true,
            _ => {}
        }
    }

    fn operator(&mut self, text: &[u8], from: usize) -> Before<'a> {
        match text {
            b"(" => {
                let is_last_insert_id = self.call(self.before_end == from);
                self.current.depth += 1;
                if is_last_insert_id {
                    return Before::LastInsertId;
                }
            }
            b")" => {
                self.current.depth = self.current.depth.saturating_sub(1);
                self.end_of_parentheses();
                return Before::Close;
            }
            b"." => return Before::Dot,
            b"," if self.current.stage == Stage::WithNext => self.current.stage = Stage::WithName,
            b":=" => self.current.changes |= Changes::ASSIGNMENT,
            b"=" => {}
            _ => self.no_verb(),
        }
        Before::Other
    }

    /// A parenthesis opens; `is_adjacent` if it directly follows the token before. Returns true
    /// after LAST_INSERT_ID.
    fn call(&mut self, is_adjacent: bool) -> bool {
        let stage = self.current.stage;
        match stage {
            Stage::WithAs if self.before[0].is_word("AS") => {
                self.current.stage = Stage::WithBody;
                return false;
            }
            Stage::WithAs => {
                self.current.stage = Stage::WithColumns;
                return false;
            }
            // The main statement is in parentheses.
            Stage::WithNext => self.current.stage = Stage::Verb,
            Stage::Start | Stage::Begin => self.no_verb(),
            _ => {}
        }
        if self.before_is_mixed {
            self.current.changes |= Changes::CALL;
            return false;
        }
        // A quoted keyword is a name, and so are some whose parenthesis does not follow directly:
        // then this calls a stored function of that name.
        let is_built_in =
            |known: &&Known| !known.keyword && !FUNCTION_KEYWORDS.contains(&known.name);
        let known = match self.before[0] {
            Before::Word(Some(known))
                if !is_adjacent && FUNCTION_KEYWORDS.contains(&known.name) =>
            {
                None
            }
            Before::Word(known) => known,
            Before::Quoted(name) => words::lookup(name).filter(is_built_in),
            _ => return false,
        };
        match known {
            _ if self.is_columns_of_insert() => {}
            // A stored function, with its schema.
            _ if self.before[1] == Before::Dot => self.current.changes |= Changes::CALL,
            // INSERT(…) and REPLACE(…) are functions.
            Some(known) if known.harmless => {}
            Some(known) if known.name == "LAST_INSERT_ID" => return true,
            Some(known) if NAMED_LOCKS.contains(&known.name) => {
                self.current.changes |= Changes::NAMED_LOCK;
            }
            // INSERT … VALUE (…)
            Some(known) if known.name == "VALUE" && self.inserts() => {}
            // These have told already.
            Some(known) if matches!(known.name, "NEXTVAL" | "SETVAL") => {}
            // A table's alias, with its columns.
            _ if self.before[1] == Before::Close || self.before[1].is_word("AS") => {}
            _ => self.current.changes |= Changes::CALL,
        }
        false
    }

    /// Whether a parenthesis opens the list of columns after the table of an INSERT or REPLACE.
    fn is_columns_of_insert(&self) -> bool {
        let table = match self.before {
            [_, Before::Dot, _, before] => before,
            [_, before, ..] => before,
        };
        self.inserts() && matches!(table, Before::Word(Some(known)) if known.names_tables)
    }

    fn inserts(&self) -> bool {
        matches!(self.current.verb, Some("INSERT" | "REPLACE"))
    }

    fn end_of_parentheses(&mut self) {
        let current = &mut self.current;
        if current.depth > current.with_depth {
            return;
        }
        match current.stage {
            Stage::WithColumns => current.stage = Stage::WithAs,
            Stage::WithBody => current.stage = Stage::WithNext,
            _ => {}
        }
    }

    /// A name, which WITH may expect.
    fn name(&mut self) {
        if self.current.stage == Stage::WithName {
            self.current.stage = Stage::WithAs;
        }
    }

    /// The token is not a word: if a verb was expected, there is none.
    fn no_verb(&mut self) {
        let current = &mut self.current;
        match current.stage {
            Stage::Verb | Stage::WithNext | Stage::Start => current.stage = Stage::Rest,
            Stage::Begin => {
                current.verb = Some("COMPOUND");
                current.has_body = true;
                current.stage = Stage::Rest;
            }
            _ => {}
        }
    }

    /// The statement continues with a word.
    fn advance(&mut self, known: Option<&'static Known>) {
        let name = known
            .filter(|known| known.keyword)
            .map_or("", |known| known.name);
        match self.current.stage {
            Stage::Verb | Stage::WithNext => self.verb(name),
            Stage::WithName if name == "RECURSIVE" => {}
            Stage::WithName => self.name(),
            Stage::WithCycle if name == "RESTRICT" => self.current.stage = Stage::WithNext,
            Stage::Explain => match name {
                "SELECT" | "TABLE" | "VALUES" | "INSERT" | "REPLACE" | "UPDATE" | "DELETE"
                | "WITH" => {
                    self.verb(name);
                }
                _ => {}
            },
            Stage::Start => {
                if name == "TRANSACTION" {
                    self.current.verb = Some("BEGIN");
                }
                self.current.stage = Stage::Rest;
            }
            Stage::Begin if name == "WORK" => self.current.stage = Stage::Rest,
            Stage::Begin => self.no_verb(),
            Stage::Create => match name {
                "PROCEDURE" | "FUNCTION" | "TRIGGER" | "EVENT" | "PACKAGE" => {
                    self.current.has_body = self.current.verb == Some("CREATE") || name == "EVENT";
                    self.current.stage = Stage::Rest;
                }
                "TABLE" | "VIEW" | "INDEX" | "DATABASE" | "SCHEMA" | "USER" | "ROLE"
                | "SEQUENCE" | "SERVER" | "TABLESPACE" => self.current.stage = Stage::Rest,
                _ => {}
            },
            _ => {}
        }
    }

    fn verb(&mut self, name: &'static str) {
        let current = &mut self.current;
        let explains = current.verb == Some("EXPLAIN");
        current.stage = match name {
            "WITH" if current.stage != Stage::WithNext => {
                current.with_depth = current.depth;
                Stage::WithName
            }
            "CYCLE" if current.stage == Stage::WithNext => Stage::WithCycle,
            _ if explains => {
                current.explained = Some(name);
                Stage::Rest
            }
            _ => {
                current.verb = Some(match name {
                    "" | "WITH" => "OTHER",
                    "DESC" | "DESCRIBE" => "EXPLAIN",
                    "IF" | "CASE" | "LOOP" | "WHILE" | "REPEAT" | "FOR" | "DECLARE" => {
                        current.has_body = true;
                        "COMPOUND"
                    }
                    name => name,
                });
                match name {
                    "EXPLAIN" | "DESC" | "DESCRIBE" => Stage::Explain,
                    "START" => Stage::Start,
                    "BEGIN" => Stage::Begin,
                    "CREATE" | "ALTER" => Stage::Create,
                    _ => Stage::Rest,
                }
            }
        };
    }
}

#[cfg(test)]
mod tests;
