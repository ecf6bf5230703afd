//! Reading the catalogue: which queries to send, and what their rows say.
//!
//! `ROUTINE_DEFINITION` and `ACTION_STATEMENT` are the exact text only if there is no quote in it: MySQL shows
//! `'it''s'` as `'it's'`, and a text made with that in mind would look as if its statements were part of a
//! string. So what has quotes is asked for once more, by SHOW CREATE.

use std::collections::VecDeque;

use super::definition::Definition;
use super::graph::{Builder, Defined};
use super::{Catalogue, Harmless, Unseen, lower};
use crate::sql::{Mode, body};
use crate::track::{Doubt, Traces};

/// How many queries are sent at once.
const BATCH: usize = 256;
/// Beyond this the account's server is one that nobody can read in time.
const MAX_ROWS: usize = 1_000_000;

const ROUTINES: &str = "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_BODY, ROUTINE_DEFINITION, SQL_MODE \
     FROM information_schema.ROUTINES \
     WHERE ROUTINE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";
const VIEWS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS \
     WHERE TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";
const TRIGGERS: &str = "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, ACTION_STATEMENT, \
     SQL_MODE FROM information_schema.TRIGGERS";
const LOADABLE_MARIADB: &str = "SELECT name FROM mysql.func";
const LOADABLE_MYSQL: &str = "SELECT UDF_NAME FROM performance_schema.user_defined_functions";
/// Columns that take their values from sequences.
const DEFAULTS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.COLUMNS \
     WHERE COLUMN_DEFAULT LIKE '%nextval(%' \
     AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";
/// Where the account may see triggers: NULL for everywhere.
const PRIVILEGES: &str = "SELECT NULL FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER' \
     AND GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''') \
     UNION ALL SELECT TABLE_SCHEMA FROM information_schema.SCHEMA_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER' \
     AND GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";

/// A query, and what its rows are about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Routines,
    Views,
    Triggers,
    Loadable,
    Defaults,
    Privileges,
    /// The exact text of a routine, or of a trigger of this table.
    Exact {
        defined: Defined,
        schema: Vec<u8>,
        name: Vec<u8>,
        table: (Vec<u8>, Vec<u8>),
    },
}

/// The catalogue while it is read: [queries](Reading::queries) are to be sent until there are none; for each in
/// turn, its rows are told, then that it is `done` or has `failed`.
/// The connection has to send and show texts in utf8mb4.
#[derive(Clone, Debug)]
pub struct Reading {
    is_mariadb: bool,
    steps: VecDeque<Step>,
    builder: Builder,
    rows: usize,
    /// Whether the current query has had rows.
    found: bool,
    /// Something that everything depends on could not be read.
    is_incomplete: bool,
    sees_all: bool,
    seen: Vec<Vec<u8>>,
}

impl Reading {
    /// Of a server of this kind.
    pub fn new(is_mariadb: bool, harmless: Harmless) -> Reading {
        let mut steps = VecDeque::from([
            Step::Routines,
            Step::Views,
            Step::Triggers,
            Step::Loadable,
            Step::Privileges,
        ]);
        if is_mariadb {
            steps.push_back(Step::Defaults);
        }
        Reading {
            is_mariadb,
            steps,
            builder: Builder::new(harmless),
            rows: 0,
            found: false,
            is_incomplete: false,
            sees_all: false,
            seen: Vec::new(),
        }
    }

    /// The next queries; none once all is read.
    pub fn queries(&self) -> Vec<Vec<u8>> {
        let next = self.steps.iter().take(BATCH);
        next.map(|step| self.query(step)).collect()
    }

    fn query(&self, step: &Step) -> Vec<u8> {
        let text = match step {
            Step::Routines => ROUTINES,
            Step::Views => VIEWS,
            Step::Triggers => TRIGGERS,
            Step::Loadable if self.is_mariadb => LOADABLE_MARIADB,
            Step::Loadable => LOADABLE_MYSQL,
            Step::Defaults => DEFAULTS,
            Step::Privileges => PRIVILEGES,
            Step::Exact {
                defined,
                schema,
                name,
                ..
            } => {
                let kind: &[u8] = match defined {
                    Defined::Function => b"FUNCTION ",
                    Defined::Procedure => b"PROCEDURE ",
                    _ => b"TRIGGER ",
                };
                let full = [quoted(schema), quoted(name)].join(&b'.');
                return [b"SHOW CREATE ", kind, &full].concat();
            }
        };
        text.as_bytes().to_vec()
    }

    /// A row of the answer to the first query that is not done.
    pub fn row(&mut self, values: &[Option<&[u8]>]) {
        self.rows += 1;
        self.found = true;
        if self.rows > MAX_ROWS {
            self.is_incomplete = true;
            return;
        }
        let Some(step) = self.steps.front().cloned() else {
            return;
        };
        match (step, values) {
            (Step::Routines, [Some(schema), Some(name), Some(kind), language, text, mode]) => {
                self.routine(schema, name, kind, *language, *text, *mode);
            }
            (Step::Views, [Some(schema), Some(name), text]) => self.view(schema, name, *text),
            (Step::Triggers, [Some(schema), Some(name), Some(of), Some(table), text, mode]) => {
                self.trigger((schema, name), (of, table), *text, *mode);
            }
            (Step::Loadable, [Some(name)]) => self.builder.add_loadable(name),
            (Step::Defaults, [Some(schema), Some(table)]) => {
                let mut definition = Definition::of_query(b"SELECT 1", Mode::default());
                definition.hides.traces = Traces::SEQUENCES;
                let all = vec![definition];
                self.builder.add(Defined::Triggers, schema, table, all);
            }
            (Step::Privileges, [None]) => self.sees_all = true,
            (Step::Privileges, [Some(schema)]) => self.seen.push(lower(schema)),
            (
                Step::Exact {
                    defined,
                    schema,
                    name,
                    table,
                },
                [_, Some(mode), text, ..],
            ) => {
                let text = *text;
                let definition = exact(defined, text, mode);
                match defined {
                    Defined::Triggers => {
                        self.builder
                            .add(defined, &table.0, &table.1, vec![definition]);
                    }
                    _ => self.builder.add(defined, &schema, &name, vec![definition]),
                }
            }
            // A row that is not understood.
            _ => self.is_incomplete = true,
        }
    }

    /// All rows of the query were told.
    pub fn done(&mut self) {
        let step = self.steps.pop_front();
        if !std::mem::take(&mut self.found) {
            self.missing(step);
        }
    }

    /// The query was refused.
    pub fn failed(&mut self) {
        self.found = false;
        let step = self.steps.pop_front();
        match step {
            Some(Step::Routines | Step::Views | Step::Triggers | Step::Defaults) => {
                self.is_incomplete = true;
            }
            step => self.missing(step),
        }
    }

    /// No text was shown.
    fn missing(&mut self, step: Option<Step>) {
        if let Some(Step::Exact {
            defined,
            schema,
            name,
            table,
        }) = step
        {
            let (why, schema, name) = match defined {
                Defined::Triggers => (Doubt::Hidden, table.0, table.1),
                _ => (Doubt::Routine, schema, name),
            };
            let all = vec![Definition::opaque(why)];
            self.builder.add(defined, &schema, &name, all);
        }
    }

    /// What was read.
    pub fn finish(self) -> Catalogue {
        if self.is_incomplete || !self.steps.is_empty() {
            return Catalogue::unread();
        }
        let unseen = match self.sees_all {
            true => Unseen::Nowhere,
            false => Unseen::OutsideOf(self.seen),
        };
        Catalogue::new(self.builder.finish(), unseen)
    }

    fn routine(
        &mut self,
        schema: &[u8],
        name: &[u8],
        kind: &[u8],
        language: Option<&[u8]>,
        text: Option<&[u8]>,
        mode: Option<&[u8]>,
    ) {
        if self.builder.is_harmless(schema, name) {
            return;
        }
        let defined = match kind {
            b"FUNCTION" => Defined::Function,
            b"PROCEDURE" => Defined::Procedure,
            _ => Defined::Package,
        };
        let mode = mode.unwrap_or_default();
        let judged = match (text, language) {
            (Some(text), Some(b"SQL")) if defined != Defined::Package && !is_oracle(mode) => {
                if has_quotes(text) {
                    self.steps.push_back(Step::Exact {
                        defined,
                        schema: schema.to_vec(),
                        name: name.to_vec(),
                        table: Default::default(),
                    });
                    return;
                }
                Definition::of_body(text, mode_of(mode), Doubt::Routine)
            }
            (Some(_), _) if defined == Defined::Package => {
                let mut package = Definition::opaque(Doubt::Routine);
                package.hides.traces = Traces::PACKAGE_VARIABLES;
                package
            }
            _ => Definition::opaque(Doubt::Routine),
        };
        self.builder.add(defined, schema, name, vec![judged]);
    }

    /// Views are shown in a form of their own, with backslashes in strings, whatever the mode was.
    fn view(&mut self, schema: &[u8], name: &[u8], text: Option<&[u8]>) {
        if self.builder.is_harmless(schema, name) {
            return;
        }
        let definition = match text {
            Some(text) if !text.is_empty() => Definition::of_query(text, mode_of(b"")),
            _ => Definition::opaque(Doubt::Hidden),
        };
        let written = vec![definition.written()];
        self.builder
            .add(Defined::WrittenView, schema, name, written);
        self.builder
            .add(Defined::View, schema, name, vec![definition]);
    }

    fn trigger(
        &mut self,
        (schema, name): (&[u8], &[u8]),
        (of, table): (&[u8], &[u8]),
        text: Option<&[u8]>,
        mode: Option<&[u8]>,
    ) {
        if self.builder.is_harmless(schema, name) || self.builder.is_harmless(of, table) {
            return;
        }
        let mode = mode.unwrap_or_default();
        let definition = match text {
            Some(text) if has_quotes(text) && !is_oracle(mode) => {
                self.steps.push_back(Step::Exact {
                    defined: Defined::Triggers,
                    schema: schema.to_vec(),
                    name: name.to_vec(),
                    table: (of.to_vec(), table.to_vec()),
                });
                return;
            }
            Some(text) if !text.is_empty() && !is_oracle(mode) => {
                Definition::of_body(text, mode_of(mode), Doubt::Hidden)
            }
            _ => Definition::opaque(Doubt::Hidden),
        };
        self.builder
            .add(Defined::Triggers, of, table, vec![definition]);
    }
}

/// What SHOW CREATE has shown.
fn exact(defined: Defined, text: Option<&[u8]>, mode: &[u8]) -> Definition {
    let why = match defined {
        Defined::Triggers => Doubt::Hidden,
        _ => Doubt::Routine,
    };
    let mode = mode_of(mode);
    match text.and_then(|text| body(text, mode)) {
        Some(body) => Definition::of_body(body, mode, why),
        None => Definition::opaque(why),
    }
}

fn has_quotes(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'\'' | b'"'))
}

fn has(sql_mode: &[u8], word: &[u8]) -> bool {
    sql_mode.split(|byte| *byte == b',').any(|one| one == word)
}

fn is_oracle(sql_mode: &[u8]) -> bool {
    has(sql_mode, b"ORACLE")
}

/// The mode of a definition. It is shown in utf8mb4, whatever it was written in.
fn mode_of(sql_mode: &[u8]) -> Mode {
    Mode {
        no_backslash_escapes: Some(has(sql_mode, b"NO_BACKSLASH_ESCAPES")),
        ansi_quotes: Some(has(sql_mode, b"ANSI_QUOTES")),
        plain_charset: true,
    }
}

fn quoted(name: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'`'];
    for byte in name {
        if *byte == b'`' {
            quoted.push(b'`');
        }
        quoted.push(*byte);
    }
    quoted.push(b'`');
    quoted
}
