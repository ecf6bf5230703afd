//! CREATE, ALTER and DROP.

use super::names::unquoted;
use super::reader::{Place, Reader};
use super::{Access, Ways};
use crate::sql::tokens::Kind;
use crate::sql::words::{self, Known};

/// Storage engines whose tables have only rows that were written to them.
const ENGINES: &[&str] = &[
    "ARCHIVE",
    "ARIA",
    "BLACKHOLE",
    "COLUMNSTORE",
    "CSV",
    "HEAP",
    "INNODB",
    "MEMORY",
    "MYISAM",
    "NDB",
    "NDBCLUSTER",
    "ROCKSDB",
    "SEQUENCE",
    "TEMPTABLE",
];

/// How many words are looked at to find what is created.
const MAX_WORDS: usize = 64;

impl Reader<'_> {
    /// Moves on to the kind of object that is created, altered or dropped.
    fn object(&mut self) -> &'static str {
        for _ in 0..MAX_WORDS {
            let word = self.next_word();
            if self.peek().is_none() || self.is_next(b";") {
                return "";
            }
            self.advance();
            match word {
                "TEMPORARY" => self.ways(Ways::TEMPORARY),
                "DATABASE" | "EVENT" | "FUNCTION" | "INDEX" | "INSTANCE" | "LIBRARY"
                | "LOGFILE" | "PACKAGE" | "PREPARE" | "PROCEDURE" | "RESOURCE" | "ROLE"
                | "SCHEMA" | "SEQUENCE" | "SERVER" | "TABLE" | "TABLES" | "TABLESPACE"
                | "TRIGGER" | "UNDO" | "USER" | "VIEW" => {
                    return word;
                }
                _ => {}
            }
        }
        ""
    }

    /// The table or view that is defined.
    fn defined(&mut self) {
        self.ways(Ways::STORES);
        while self.skip_word(&["IF", "NOT", "EXISTS"]) {}
        let name = self
            .advance()
            .filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted));
        let name = name.and_then(|token| self.chain(token).into_name());
        self.set_place(Place::Definition);
        match name {
            Some(name) => self.add_table(name, Access::WRITE),
            None => self.give_up("it is not understood"),
        }
    }

    pub(super) fn create(&mut self) {
        self.ways(Ways::DEFINES);
        match self.object() {
            "TABLE" | "VIEW" => self.defined(),
            "DATABASE" | "INDEX" | "ROLE" | "SCHEMA" | "SEQUENCE" | "SERVER" | "TABLESPACE"
            | "UNDO" | "USER" | "LOGFILE" | "RESOURCE" => self.set_place(Place::Skipped),
            // Their bodies are run later, by others too.
            _ => self.cannot_follow("what a routine, trigger or event does is not followed"),
        }
    }

    pub(super) fn alter(&mut self) {
        self.ways(Ways::DEFINES | Ways::ALTERS);
        match self.object() {
            "TABLE" | "VIEW" => self.defined(),
            "DATABASE" | "FUNCTION" | "INSTANCE" | "LOGFILE" | "PROCEDURE" | "RESOURCE"
            | "SCHEMA" | "SEQUENCE" | "SERVER" | "TABLESPACE" | "UNDO" | "USER" => {
                self.set_place(Place::Skipped)
            }
            _ => self.cannot_follow("what a routine, trigger or event does is not followed"),
        }
    }

    pub(super) fn drop_word(&mut self) {
        self.ways(Ways::DEFINES);
        let object = self.object();
        while self.skip_word(&["IF", "EXISTS"]) {}
        self.set_place(match object {
            "TABLE" | "TABLES" | "VIEW" => Place::Table(Access::WRITE),
            _ => Place::Skipped,
        });
    }

    /// A word of a definition: some make a table of the rows of others.
    pub(super) fn definition_word(&mut self, word: Option<&'static Known>) {
        let name = word.map_or("", |known| known.name);
        let is_set = self.is_next(b"=");
        let takes_rows = match name {
            "UNION" => true,
            "WITH" => return self.with_of_definition(),
            "TABLE" if self.is_outermost() => return self.set_place(Place::Table(Access::READ)),
            "CONNECTION" if self.is_outermost() => {
                is_set || self.peek().is_some_and(|next| next.kind == Kind::String)
            }
            "ENGINE" if self.is_outermost() => return self.engine(),
            "EXCHANGE" => self.next_word() == "PARTITION",
            "IMPORT" => self.next_word() == "TABLESPACE",
            _ => false,
        };
        if takes_rows {
            self.give_up("the table has the rows of another");
        }
    }

    /// The query of a view or table, unless it is an option.
    fn with_of_definition(&mut self) {
        let is_option = matches!(
            self.next_word(),
            "CASCADED" | "CHECK" | "LOCAL" | "PARSER" | "SYSTEM" | "VALIDATION"
        );
        if !is_option {
            self.set_place(Place::With { recursive: false });
        }
    }

    /// `ENGINE = x`, unless it is a column of that name, which a type follows.
    fn engine(&mut self) {
        let is_reserved =
            words::lookup(self.next_word().as_bytes()).is_some_and(|word| word.reserved);
        if is_reserved {
            return;
        }
        if self.is_next(b"=") {
            self.advance();
        }
        let name = self.peek().map(|token| unquoted(self.text(token)));
        let is_known = |name: Vec<u8>| {
            ENGINES
                .iter()
                .any(|engine| engine.as_bytes().eq_ignore_ascii_case(&name))
        };
        if !name.is_some_and(is_known) {
            self.give_up("the table has the rows of another");
        }
    }
}
