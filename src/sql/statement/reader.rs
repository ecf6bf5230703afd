//! Reads the tokens of a text: where statements end, what their verbs are, and which words, calls and
//! operators change what can be proven about them.

use super::current::{Current, FRESH, Stage};
use super::{Changes, Statement};
use crate::sql::tokens::{Kind, Token};
use crate::sql::words::{self, Known};

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
pub(in crate::sql) const FUNCTION_KEYWORDS: &[&str] = &[
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

/// Reads a text token by token, statement by statement.
pub(super) struct Reader<'a> {
    sql: &'a [u8],
    current: Current,
    before: [Before<'a>; 4],
    /// Where the token before ended, and whether it was a word with non-ASCII bytes.
    before_end: usize,
    before_is_mixed: bool,
    /// The result for the statements that have ended.
    pub(super) statement: Option<Statement>,
    pub(super) read_only: bool,
    pub(super) read_only_but_for_calls: bool,
    pub(super) explainable: bool,
    pub(super) has_body: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sql: &'a [u8]) -> Reader<'a> {
        Reader {
            sql,
            current: FRESH,
            before: [Before::Nothing; 4],
            before_end: 0,
            before_is_mixed: false,
            statement: None,
            read_only: true,
            read_only_but_for_calls: true,
            explainable: false,
            has_body: false,
        }
    }

    pub(super) fn end_statement(&mut self) {
        let current = std::mem::replace(&mut self.current, FRESH);
        self.before = [Before::Nothing; 4];
        let Some(from) = current.from else {
            return;
        };
        self.read_only &= current.is_read_only();
        self.read_only_but_for_calls &= Current {
            changes: current.changes - Changes::CALL,
            ..current
        }
        .is_read_only();
        self.has_body |= current.has_body;
        match &mut self.statement {
            Some(statement) => {
                statement.multi += 1;
                statement.locking |= current.locking;
                statement.into |= current.into;
                statement.selects_into |= current.selects_into;
                statement.changes |= current.changes;
            }
            none => {
                let kind = current.verb.unwrap_or("OTHER");
                self.explainable = current.is_explainable();
                *none = Some(Statement {
                    kind,
                    read_only: false,
                    read_only_but_for_calls: false,
                    locking: current.locking,
                    into: current.into,
                    selects_into: current.selects_into,
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

    pub(super) fn take(&mut self, token: &Token) {
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
                // The first one of INSERT and REPLACE names their table.
                let inserts = matches!(current.verb, Some("INSERT" | "REPLACE"));
                current.selects_into |= !inserts || current.into || current.selects;
                current.into = true;
                current.explain_into |= current.stage == Stage::Explain;
            }
            "UPDATE" | "SHARE" if self.before[0].is_word("FOR") => current.locking = true,
            "LOCK" => current.locking |= current.stage != Stage::Verb,
            // NEXT VALUE FOR, but not PREVIOUS VALUE FOR
            "FOR" if self.before[0].is_word("VALUE") && !self.before[1].is_word("PREVIOUS") => {
                current.changes |= Changes::SEQUENCE;
            }
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
