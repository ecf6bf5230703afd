//! The verbs of statements.

use super::names::unquoted;
use super::reader::{Assignment, Place, Reader, Verb};
use super::{Access, Ways};
use crate::sql::tokens::{Kind, Token};

/// What SHOW shows without rows of tables, or texts of statements.
const SHOWN: &[&str] = &[
    "BINARY",
    "CHARACTER",
    "CHARSET",
    "COLLATION",
    "COLUMNS",
    "COUNT",
    "CREATE",
    "DATABASES",
    "ENGINES",
    "EVENTS",
    "FIELDS",
    "FUNCTION",
    "GRANTS",
    "INDEX",
    "INDEXES",
    "KEYS",
    "MASTER",
    "OPEN",
    "PACKAGE",
    "PLUGINS",
    "PRIVILEGES",
    "PROCEDURE",
    "REPLICA",
    "REPLICAS",
    "SCHEMAS",
    "SLAVE",
    "STATUS",
    "STORAGE",
    "TABLE",
    "TABLES",
    "TRIGGERS",
    "VARIABLES",
];

/// The character sets in which a byte of ASCII may be half of a character.
const HALVES: &[&[u8]] = &[b"gbk", b"gb18030", b"big5", b"sjis", b"cp932"];

impl Reader<'_> {
    pub(super) fn verb_word(&mut self, name: &str) {
        let both = Access::READ | Access::WRITE;
        match name {
            "SELECT" => self.select(),
            "WITH" => self.set_place(Place::With { recursive: false }),
            "VALUES" | "DO" | "KILL" | "PURGE" => self.set_place(Place::Expression),
            "TABLE" => self.set_place(Place::Table(Access::READ)),
            "INSERT" | "REPLACE" => {
                self.verb = Verb::Insert;
                self.ways(Ways::STORES);
                while self.skip_word(&[
                    "LOW_PRIORITY",
                    "DELAYED",
                    "HIGH_PRIORITY",
                    "IGNORE",
                    "INTO",
                ]) {}
                self.set_place(Place::Table(Access::WRITE));
            }
            "UPDATE" => {
                self.verb = Verb::Update;
                self.ways(Ways::STORES);
                while self.skip_word(&["LOW_PRIORITY", "IGNORE"]) {}
                self.set_place(Place::Table(both));
            }
            "DELETE" => self.delete(),
            "TRUNCATE" => {
                self.skip_word(&["TABLE"]);
                self.set_place(Place::Table(Access::WRITE));
            }
            "LOAD" => self.load(),
            "SET" => self.set(),
            "SHOW" => self.show(),
            "EXPLAIN" | "DESCRIBE" | "DESC" => self.explain(),
            "ANALYZE" => self.analyze(),
            "CHECKSUM" => {
                self.skip_word(&["TABLE", "TABLES"]);
                self.set_place(Place::Table(Access::READ));
            }
            "CALL" => self.call(),
            "PREPARE" => self.prepare(),
            "EXECUTE" => self.execute(),
            "BEGIN" => match self.peek() {
                Some(next) if self.next_word() != "WORK" && self.text(next) != b";" => {
                    self.cannot_follow("blocks of statements are not followed");
                }
                _ => self.set_place(Place::Skipped),
            },
            "HANDLER" => {
                self.hide("HANDLER reads by another name");
                self.set_place(Place::Skipped);
            }
            "GET" => {
                self.ways(Ways::DIAGNOSTICS);
                self.into_variables = true;
                self.set_place(Place::Expression);
            }
            "CREATE" => self.create(),
            "ALTER" => self.alter(),
            "RENAME" => {
                self.verb = Verb::Rename;
                self.ways(Ways::DEFINES | Ways::STORES | Ways::ALTERS);
                let is_table = self.skip_word(&["TABLE", "TABLES"]);
                self.set_place(match is_table {
                    true => Place::Table(Access::WRITE),
                    false => Place::Skipped,
                });
            }
            "DROP" => self.drop_word(),
            "USE" => {
                self.ways(Ways::SCHEMA);
                self.set_place(Place::Skipped);
            }
            "CACHE" | "CHANGE" | "CHECK" | "COMMIT" | "DEALLOCATE" | "FLUSH" | "GRANT" | "HELP"
            | "LOCK" | "OPTIMIZE" | "RELEASE" | "REPAIR" | "RESET" | "REVOKE" | "ROLLBACK"
            | "SAVEPOINT" | "START" | "STOP" | "UNLOCK" | "XA" => {
                self.set_place(Place::Skipped);
            }
            _ => self.cannot_follow("it is not understood"),
        }
    }

    /// Nothing of this statement or of those after it is known.
    pub(super) fn cannot_follow(&mut self, reason: &'static str) {
        self.give_up(reason);
        self.ended = true;
    }

    fn delete(&mut self) {
        while self.skip_word(&["LOW_PRIORITY", "QUICK", "IGNORE", "HISTORY"]) {}
        let from_first = self.next_word() == "FROM";
        self.verb = Verb::Delete { from_first };
        // Names of tables behind FROM, or their aliases.
        while self.peek().is_some_and(|next| self.text(next) != b";") && !self.skip_word(&["FROM"])
        {
            self.advance();
        }
        self.set_place(Place::Table(Access::READ | Access::WRITE));
    }

    /// What a file on the server contains is not known: it may be that of a table.
    fn load(&mut self) {
        self.verb = Verb::Load;
        self.ways(Ways::STORES);
        let mut is_local = false;
        while self.peek().is_some_and(|next| self.text(next) != b";")
            && !self.skip_word(&["INFILE"])
        {
            is_local |= self.next_word() == "LOCAL";
            self.advance();
        }
        if !is_local {
            self.give_up("a file on the server is read");
        }
        self.set_place(Place::Expression);
    }

    fn show(&mut self) {
        while self.skip_word(&["ALL", "EXTENDED", "FULL", "GLOBAL", "LOCAL", "SESSION"]) {}
        let word = self.next_word();
        if matches!(word, "WARNINGS" | "ERRORS") {
            self.ways(Ways::DIAGNOSTICS);
        } else if !SHOWN.contains(&word) {
            self.hide("it may show statements of others, or values from indexes");
        }
        self.set_place(Place::Expression);
    }

    fn explain(&mut self) {
        self.explains = true;
        loop {
            match self.next_word() {
                "EXTENDED" | "PARTITIONS" => {}
                "FORMAT" => {
                    self.advance();
                    self.advance(); // =
                }
                "ANALYZE" => self.explains = false,
                "INTO" => {
                    self.advance();
                    if let Some(token) = self.peek() {
                        self.into_variables = true;
                        self.variable(self.text(token));
                        self.into_variables = false;
                    }
                }
                "FOR" => {
                    self.advance();
                    if !matches!(self.next_word(), "DATABASE" | "SCHEMA") {
                        self.hide("it explains a statement of another session");
                        return self.set_place(Place::Skipped);
                    }
                    self.advance();
                }
                _ => break,
            }
            self.advance();
        }
        const EXPLAINED: &[&str] = &[
            "DELETE", "INSERT", "REPLACE", "SELECT", "TABLE", "UPDATE", "VALUES", "WITH",
        ];
        let is_statement = EXPLAINED.contains(&self.next_word()) || self.is_next(b"(");
        // Else it describes a table.
        self.set_place(match is_statement {
            true => Place::Statement,
            false => Place::Skipped,
        });
    }

    /// ANALYZE TABLE, or MariaDB's ANALYZE, which executes a statement.
    fn analyze(&mut self) {
        if matches!(self.next_word(), "TABLE" | "LOCAL" | "NO_WRITE_TO_BINLOG") {
            return self.set_place(Place::Skipped);
        }
        if self.skip_word(&["FORMAT"]) {
            self.advance(); // =
            self.advance();
        }
    }

    fn call(&mut self) {
        self.ways(Ways::CALLS);
        self.set_place(Place::Expression);
        let Some(first) = self.advance() else { return };
        if !matches!(first.kind, Kind::Word | Kind::Quoted) {
            return self.give_up("it is not understood");
        }
        match self.chain(first).into_name() {
            Some(name) => self.add_routine(name),
            None => self.give_up("it is not understood"),
        }
    }

    /// The text of a literal without escapes.
    fn literal(&self, token: Option<Token>) -> Option<Vec<u8>> {
        let text = self.text(token.filter(|token| token.kind == Kind::String)?);
        let is_plain = matches!(text, [b'\'' | b'"', ..]) && !text.contains(&b'\\');
        is_plain.then(|| unquoted(text))
    }

    fn prepare(&mut self) {
        let name = self.advance().map(|name| unquoted(self.text(name)));
        let has_from = self.skip_word(&["FROM"]);
        let text = self.advance();
        let ends = self.peek().is_none() || self.is_next(b";");
        match (name, self.literal(text)) {
            (Some(name), Some(text)) if has_from && ends && self.found.prepares.is_none() => {
                self.found.prepares = Some((name, text));
            }
            _ => self.give_up("the text that it prepares is not known"),
        }
        self.set_place(Place::Skipped);
    }

    fn execute(&mut self) {
        let is_immediate = self.next_word() == "IMMEDIATE";
        let name = self.advance().map(|name| unquoted(self.text(name)));
        match name {
            Some(name) if !is_immediate && self.found.executes.is_none() => {
                self.found.executes = Some(name);
            }
            _ => self.give_up("the text that it executes is not known"),
        }
        self.set_place(Place::Expression);
    }

    fn set(&mut self) {
        if self.sets_text_to_run() {
            self.give_up("it sets a text that is executed later");
        }
        if self.may_set_charset_of_halves() {
            self.give_up("in that character set quotes may be halves of characters");
        }
        self.verb = Verb::Set;
        match self.next_word() {
            "PASSWORD" | "ROLE" | "TRANSACTION" | "RESOURCE" | "DEFAULT" => {
                self.ways(Ways::SETS_SYSTEM);
                self.set_place(Place::Expression);
            }
            "STATEMENT" => self.set_statement(),
            _ => {
                self.set_place(Place::Assignments);
                self.assignment = Some(Assignment {
                    depth: self.frames.len(),
                    target: Vec::new(),
                    has_value: false,
                });
            }
        }
    }

    /// `SET STATEMENT a = 1 FOR SELECT …`
    fn set_statement(&mut self) {
        self.verb = Verb::Other;
        self.set_place(Place::Statement);
        while self.peek().is_some_and(|next| self.text(next) != b";") && !self.skip_word(&["FOR"]) {
            if self.is_next(b"(") {
                return self.cannot_follow("it is not understood");
            }
            self.advance();
        }
    }

    /// Whether SET names a variable whose text is executed at logins, or in other threads.
    fn sets_text_to_run(&self) -> bool {
        const RUN: &[&[u8]] = &[b"init_connect", b"init_replica", b"init_slave"];
        self.rest()
            .take_while(|token| self.text(*token) != b";")
            .filter(|token| token.kind != Kind::String)
            .any(|token| {
                let text = self.text(token).to_ascii_lowercase();
                RUN.iter().any(|name| {
                    text.ends_with(name) || text.ends_with(&[name, b"`".as_slice()].concat())
                })
            })
    }

    /// Whether SET may choose a character set in which the tokens would be others.
    fn may_set_charset_of_halves(&self) -> bool {
        let ends = |token: &Token| self.text(*token) == b";";
        let mut tokens = self.rest().take_while(|token| !ends(token)).peekable();
        let mut is_charset = false;
        while let Some(token) = tokens.next() {
            let text = self.text(token).to_ascii_lowercase();
            let has = |part: &[u8]| memchr::memmem::find(&text, part).is_some();
            if HALVES.iter().any(|name| has(name)) {
                return true;
            }
            if is_charset && !matches!(text.as_slice(), b"=" | b":=" | b"set") {
                is_charset = false;
                let is_plain = token.kind == Kind::Word && !text.starts_with(b"_")
                    || token.kind == Kind::String
                        && matches!(text.as_slice(), [b'\'' | b'"', ..])
                        && !has(b"\\");
                let follows = tokens.peek().is_none_or(|next| {
                    let next = self.text(*next);
                    next == b"," || next.eq_ignore_ascii_case(b"collate")
                });
                if !is_plain || !follows {
                    return true;
                }
            }
            is_charset |= matches!(text.as_slice(), b"names" | b"charset" | b"character")
                || token.kind != Kind::String && has(b"character_set_client")
                || token.kind == Kind::Variable && has(b"charset");
        }
        false
    }
}
