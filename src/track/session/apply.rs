//! Updates what is known by answers.

use super::{ClientCollation, Doubt, Ending, Fact, Hides, Left, Session, Task, Transaction};
use crate::sql::effects::{Action, Assignment, Charset, Effects, Scope, Setting, Traces, Value};
use crate::track::canonical;
use crate::track::commands::Pending;
use crate::track::couplings::canonical_name;
use crate::track::transaction::with_next;

/// Errors about a missing or forbidden schema, after which the schema has not changed.
const NO_SCHEMA: [u16; 3] = [1044, 1046, 1049];
const SYNTAX_ERROR: u16 = 1064;
/// A function, or another routine, does not exist; the same if it would be one that is built in, without the space
/// before its parenthesis.
const NO_FUNCTION: [u16; 2] = [1305, 1630];

impl Session {
    /// A result of this command has ended; without a command, the login.
    pub(super) fn settle(&mut self, ending: Ending<'_>, pending: Option<&Pending>) {
        let task = pending.map(|pending| &pending.task);
        let index = pending.map_or(0, |pending| pending.results);
        let hides = pending.and_then(|pending| pending.hides);
        let effects = match task {
            Some(Task::Text(text)) => match (text.get(index), text.last()) {
                (Some(effects), _) => Some(effects.clone()),
                // A procedure has a result for each of its queries, and one of its own.
                (None, Some(last)) if last.action.may_be_anything() => Some(last.clone()),
                // More results than statements: the text was not understood.
                _ => (index > 0).then(Effects::opaque),
            },
            _ => None,
        };
        let Ending::Err(errno) = ending else {
            if let Some(effects) = &effects {
                self.succeeded(effects, hides);
            }
            match task {
                Some(Task::Use(name)) => {
                    self.left.remove(Traces::SCHEMA_CHARSET);
                    self.set_schema(name);
                }
                Some(Task::Reset) => self.reset(Doubt::Reset),
                Some(Task::ChangeUser(login)) => {
                    let kept = Left::KEPT & (self.left() | self.may_be_left().0);
                    let schema = login.schema.as_deref().unwrap_or_default();
                    self.begin(&login.user, schema, login.collation);
                    // MariaDB keeps roles, even when the account changes.
                    self.left.hid(kept, Doubt::Reset);
                }
                _ => {}
            }
            return self.told(ending, pending, effects.as_ref());
        };
        if !self.outlives_error(task, effects.as_ref(), errno) {
            self.transaction = Fact::Unknown(Doubt::Error);
            self.put_autocommit(Fact::Unknown(Doubt::Error));
        }
        self.warnings = Fact::Unknown(Doubt::Error);
        self.unused = false;
        match (task, &effects) {
            (_, Some(effects)) => self.failed(effects, hides, errno),
            (Some(Task::Use(_)), _) if !NO_SCHEMA.contains(&errno) => {
                self.put_schema(Fact::Unknown(Doubt::Error));
            }
            (Some(Task::ChangeUser(_) | Task::Reset), _) => self.doubt_all(Doubt::Error),
            _ => {}
        }
    }

    /// Whether there was no transaction, and what has failed begins none.
    fn outlives_error(&self, task: Option<&Task>, effects: Option<&Effects>, errno: u16) -> bool {
        let commits = self.autocommit == Fact::Known(true);
        commits
            && self.transaction == Fact::Known(Transaction::None)
            && match (task, effects.map(|effects| &effects.action)) {
                (Some(Task::Use(_) | Task::Prepare(_) | Task::Nothing | Task::Quiet), _) => true,
                (
                    _,
                    Some(Action::Plain | Action::Diagnostics | Action::Insert(_) | Action::Use(_)),
                ) => true,
                (_, Some(Action::Unfamiliar)) => errno == SYNTAX_ERROR,
                _ => false,
            }
    }

    fn succeeded(&mut self, effects: &Effects, hides: Option<Hides>) {
        let schema = self.schema.known().and_then(Option::as_deref);
        self.left.succeeded(effects, schema);
        if let Some(hides) = hides {
            self.hid(hides);
        }
        match &effects.action {
            Action::Plain | Action::Diagnostics | Action::Begin | Action::Transaction => {}
            Action::Insert(_) | Action::Definition => {}
            Action::Use(name) => self.set_schema(name),
            Action::DropSchema(name) => self.dropped(name),
            Action::Set(settings) => {
                for setting in settings {
                    self.set(setting);
                }
            }
            Action::NextTransaction(next) => {
                let now = self.characteristics.known();
                let text = now.and_then(|now| with_next(now, *next));
                self.put_characteristics(match text {
                    Some(text) => Fact::Known(text),
                    None => Fact::Unknown(Doubt::Expression),
                });
            }
            Action::Function | Action::Call => {
                self.ran_functions(Doubt::Routine, hides.unwrap_or(Hides::ANYTHING));
            }
            Action::Unfamiliar | Action::Opaque => {
                self.ran_functions(Doubt::Routine, Hides::TEXT);
            }
        }
        if effects.tables && self.doubts_tables() {
            self.doubt_functions(Doubt::Hidden);
        }
        if effects.is_passing && !self.reports() {
            self.doubt_values(Doubt::Expression);
        }
        if effects.sets_insert_id {
            self.last_insert_id = Fact::Unknown(Doubt::Expression);
        }
    }

    fn failed(&mut self, effects: &Effects, hides: Option<Hides>, errno: u16) {
        let why = Doubt::Error;
        if self.reports() {
            self.unsettled |= match &effects.action {
                Action::Unfamiliar if errno == SYNTAX_ERROR => false,
                Action::Use(_) => !NO_SCHEMA.contains(&errno),
                Action::Plain | Action::Diagnostics | Action::Insert(_) => effects.tables,
                _ => true,
            };
        }
        let schema = self.schema.known().and_then(Option::as_deref);
        self.left.failed(effects, schema);
        // Whether all functions exist is found out before any is called.
        let hides = match hides {
            Some(hides)
                if matches!(hides.opaque, Some(Doubt::Loadable | Doubt::Missing))
                    && NO_FUNCTION.contains(&errno) =>
            {
                Some(Hides {
                    opaque: None,
                    ..hides
                })
            }
            hides => hides,
        };
        if let Some(hides) = hides {
            self.hid(hides);
        }
        match &effects.action {
            Action::Plain | Action::Diagnostics | Action::Definition => {}
            Action::Begin | Action::Transaction => self.doubt_characteristics(why),
            Action::Set(settings) if self.reports() && settings.iter().any(sets_insert_id) => {
                self.last_insert_id = Fact::Unknown(why);
            }
            // What it has changed all the same will be reported.
            Action::Use(_) | Action::Set(_) | Action::NextTransaction(_) if self.reports() => {}
            Action::NextTransaction(_) => self.put_characteristics(Fact::Unknown(why)),
            Action::Insert(_) => self.last_insert_id = Fact::Unknown(why),
            Action::Use(_) if NO_SCHEMA.contains(&errno) => {}
            Action::Use(_) => self.put_schema(Fact::Unknown(why)),
            Action::DropSchema(name) => {
                if self.may_be_schema(name) {
                    self.put_schema(Fact::Unknown(why));
                }
            }
            Action::Set(settings) => {
                for setting in settings {
                    self.set(setting);
                    for name in names_of(setting) {
                        self.variables.doubt(&name, why);
                    }
                }
            }
            Action::Function => self.ran_functions(why, hides.unwrap_or(Hides::ANYTHING)),
            Action::Unfamiliar if errno == SYNTAX_ERROR => return,
            Action::Call => self.ran_anything(why, hides.unwrap_or(Hides::ANYTHING)),
            Action::Unfamiliar | Action::Opaque => self.ran_anything(why, Hides::TEXT),
        }
        if effects.tables && self.doubts_tables() {
            self.doubt_functions(Doubt::Hidden);
        }
        if effects.is_passing && !self.reports() {
            self.doubt_values(why);
        }
        if effects.sets_insert_id {
            self.last_insert_id = Fact::Unknown(why);
        }
        self.doubt_characteristics(why);
    }

    /// The default schema is this one. The server's spelling is not known if the name has upper-case
    /// letters, or non-ASCII ones.
    pub fn set_schema(&mut self, name: &[u8]) {
        let is_certain = |byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        self.put_schema(match name {
            b"" => Fact::Known(None),
            name if name.iter().all(is_certain) && name.len() <= 256 => {
                Fact::Known(Some(name.to_vec()))
            }
            _ => Fact::Unknown(Doubt::Spelling),
        });
    }

    fn dropped(&mut self, name: &[u8]) {
        let is_it = matches!(&self.schema, Fact::Known(Some(schema)) if schema == name);
        if is_it {
            self.put_schema(Fact::Known(None));
        } else if self.may_be_schema(name) {
            self.put_schema(Fact::Unknown(Doubt::Spelling));
        }
    }

    fn may_be_schema(&self, name: &[u8]) -> bool {
        match &self.schema {
            Fact::Known(None) => false,
            Fact::Known(Some(schema)) => {
                !name.is_ascii() || !schema.is_ascii() || schema.eq_ignore_ascii_case(name)
            }
            Fact::Unknown(_) => true,
        }
    }

    fn set(&mut self, setting: &Setting) {
        match setting {
            Setting::Other => {}
            Setting::Charset(Charset::Names(charset, collation)) => {
                self.has_client_collation(ClientCollation::of_names(match collation {
                    Some(Value::Literal(collation)) => Some(collation),
                    _ => None,
                }));
                for name in ["client", "connection", "results"] {
                    self.variables
                        .set(&format!("character_set_{name}"), charset);
                }
                if let Some(Value::Literal(collation)) = collation
                    && let Some(Some(collation)) =
                        canonical::value("collation_connection", collation)
                {
                    self.variables
                        .is("collation_connection", &String::from_utf8_lossy(&collation));
                }
            }
            Setting::Charset(Charset::CharacterSet) => {
                self.has_client_collation(ClientCollation::OfCharset);
                for name in names_of(setting) {
                    self.variables.doubt(&name, Doubt::Expression);
                }
            }
            Setting::Transaction(all) => {
                if let Some(level) = all.isolation {
                    self.variables
                        .is("transaction_isolation", &level.replace(' ', "-"));
                }
                if let Some(read_only) = all.read_only {
                    self.variables.is(
                        "transaction_read_only",
                        if read_only { "ON" } else { "OFF" },
                    );
                }
            }
            Setting::Variable(Assignment { name, scope, value }) => {
                let Ok(name) = std::str::from_utf8(name) else {
                    return;
                };
                let name = canonical_name(name);
                if name == "session_track_schema" {
                    self.reports_schema = self.reports() && is_on(value);
                }
                if name.starts_with("session_track_") && !is_on(value) {
                    self.end_reports();
                }
                if name == "character_set_client" {
                    self.has_client_collation(ClientCollation::OfCharset);
                }
                if matches!(name, "last_insert_id" | "timestamp" | "insert_id") {
                    self.last_insert_id = match value {
                        Value::Literal(number)
                            if name == "last_insert_id" && *scope == Scope::Session =>
                        {
                            number_of(number).map_or(Fact::Unknown(Doubt::Expression), Fact::Known)
                        }
                        _ if name == "last_insert_id" => Fact::Unknown(Doubt::Expression),
                        _ => self.last_insert_id,
                    };
                }
                match scope {
                    // Servers report these whenever they change.
                    Scope::Unsaid if is_characteristic(name) && self.reports() => {}
                    Scope::Unsaid if is_characteristic(name) => {
                        self.put_characteristics(Fact::Unknown(Doubt::Expression));
                    }
                    // If it was for the session, the report says so.
                    Scope::Unclear if self.reports() => {}
                    Scope::Unclear => self.variables.set(name, &Value::Expression),
                    _ => self.variables.set(name, value),
                }
                if name == "collation_connection"
                    && let Value::Literal(collation) = value
                    && let Some(charset) = canonical::charset_of(collation)
                    && canonical::value(name, collation).is_some()
                {
                    self.variables.is("character_set_connection", charset);
                }
            }
        }
    }

    /// A statement has set `character_set_client`.
    pub(super) fn has_client_collation(&mut self, collation: ClientCollation) {
        if self.is_mariadb() {
            self.learn_client_collation(collation);
        }
    }

    fn hid(&mut self, hides: Hides) {
        if hides.traces.contains(Traces::UNREPORTED) && self.is_mariadb() {
            self.variables.doubt_all(Doubt::Routine);
        }
        self.left
            .hid(hides.traces - Traces::UNREPORTED, Doubt::Routine);
        if let Some(why) = hides.opaque {
            self.left.may_be_anything(why);
        }
    }

    /// Functions have run: what the server does not report of what they can change is unknown.
    pub(super) fn ran_functions(&mut self, why: Doubt, hides: Hides) {
        self.hid(hides);
        match self.reports() {
            true => self.last_insert_id = Fact::Unknown(why),
            false => self.doubt_values(why),
        }
    }

    /// Anything may have run: what the server does not report is unknown.
    pub(super) fn ran_anything(&mut self, why: Doubt, hides: Hides) {
        self.ran_functions(why, hides);
        self.left.doubt_certain();
        match self.reports() {
            true => self.warnings = Fact::Unknown(why),
            false => self.doubt_rest(why),
        }
    }

    /// Marks everything that functions can change as unknown.
    pub(super) fn doubt_functions(&mut self, why: Doubt) {
        self.doubt_values(why);
        self.left.may_be_anything(why);
    }

    /// Marks everything as unknown.
    pub(super) fn doubt_all(&mut self, why: Doubt) {
        self.doubt_functions(why);
        self.doubt_rest(why);
        self.left.doubt_certain();
    }

    /// Marks the values that functions can change as unknown.
    fn doubt_values(&mut self, why: Doubt) {
        self.variables.doubt_all(why);
        self.last_insert_id = Fact::Unknown(why);
        self.put_characteristics(Fact::Unknown(why));
    }

    /// Marks as unknown what only procedures can change.
    fn doubt_rest(&mut self, why: Doubt) {
        self.put_schema(Fact::Unknown(why));
        self.transaction = Fact::Unknown(why);
        self.put_autocommit(Fact::Unknown(why));
        self.warnings = Fact::Unknown(why);
        self.no_backslash_escapes = None;
    }

    pub(super) fn doubt_characteristics(&mut self, why: Doubt) {
        if !self.reports() && self.characteristics != Fact::Known(Vec::new()) {
            self.put_characteristics(Fact::Unknown(why));
        }
    }
}

/// The variables of a setting, by the names under which they are kept.
pub(super) fn names_of(setting: &Setting) -> Vec<String> {
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
    match setting {
        Setting::Other => Vec::new(),
        Setting::Charset(Charset::Names(_, Some(_)) | Charset::CharacterSet) => all(&[
            "character_set_client",
            "character_set_connection",
            "character_set_results",
            "collation_connection",
        ]),
        Setting::Charset(Charset::Names(_, None)) => all(&[
            "character_set_client",
            "character_set_connection",
            "character_set_results",
        ]),
        Setting::Transaction(_) => all(&["transaction_isolation", "transaction_read_only"]),
        Setting::Variable(assignment) => {
            let name = String::from_utf8_lossy(&assignment.name);
            all(&[canonical_name(&name)])
        }
    }
}

fn sets_insert_id(setting: &Setting) -> bool {
    names_of(setting)
        .iter()
        .any(|name| name == "last_insert_id")
}

fn is_on(value: &Value) -> bool {
    matches!(value, Value::Literal(literal) if literal == b"1" || literal.eq_ignore_ascii_case(b"on"))
}

pub(super) fn is_characteristic(name: &str) -> bool {
    matches!(name, "transaction_isolation" | "transaction_read_only")
}

fn number_of(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
