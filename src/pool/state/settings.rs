//! The settings of a session.

use std::collections::BTreeMap;

use super::snapshot::Snapshot;
use super::unknown::Unknown;
use super::variables::is_setting;
use crate::sql::{Mode, is_plain_charset};
use crate::track::{Fact, Session, Transaction};

/// What a session has set, as far as another connection can take it over. Pure data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    schema: Option<Vec<u8>>,
    /// The values of the variables that were mentioned; `None` for NULL.
    variables: BTreeMap<String, Option<Vec<u8>>>,
    /// The statements that lead to the characteristics of the next transaction, or of the open one
    /// if it was not used yet.
    characteristics: Vec<u8>,
}

impl Settings {
    /// Those of a client that has just logged in with this schema, and with the character set and
    /// collation of its login.
    pub fn at_login(schema: Option<&[u8]>, charset: &str, collation: &str) -> Settings {
        let mut settings = Settings {
            schema: schema.map(<[u8]>::to_vec),
            ..Settings::default()
        };
        for (name, value) in [
            ("character_set_client", charset),
            ("character_set_results", charset),
            ("collation_connection", collation),
        ] {
            settings.set_variable(name, Some(value.as_bytes()));
        }
        settings
    }

    /// Those of a session, on a connection that began with this snapshot.
    ///
    /// # Errors
    /// Something has to be read first.
    pub fn of(session: &Session, snapshot: &Snapshot) -> Result<Settings, Unknown> {
        let mut unknown = Unknown::default();
        let mut settings = Settings::default();
        unknown.settle = session.is_unsettled();
        unknown.all = !session.others_are_initial();
        match session.schema() {
            Fact::Known(schema) => settings.schema = schema.map(<[u8]>::to_vec),
            Fact::Unknown(_) => unknown.schema = true,
        }
        match session.characteristics() {
            _ if !is_replayable(session) => {}
            Fact::Known(text) => settings.characteristics = text.to_vec(),
            Fact::Unknown(_) => unknown.characteristics = true,
        }
        for (name, fact) in session.mentioned().filter(|(name, _)| is_setting(name)) {
            match fact {
                // The status flag tells.
                _ if name == "autocommit" => {}
                Fact::Known(value) => settings.set_variable(name, value),
                Fact::Unknown(_) => unknown.names.push(name.to_string()),
            }
        }
        match session.autocommit() {
            Fact::Known(on) => settings.set_autocommit(on, session, snapshot),
            Fact::Unknown(_) => unknown.settle = true,
        }
        if session.last_insert_id().known().is_none() {
            unknown.last_insert_id = true;
        }
        match unknown == Unknown::default() {
            true => Ok(settings),
            false => Err(unknown),
        }
    }

    fn set_autocommit(&mut self, on: bool, session: &Session, snapshot: &Snapshot) {
        let value: &[u8] = if on { b"ON" } else { b"OFF" };
        let was_mentioned = session.mentioned().any(|(name, _)| name == "autocommit");
        if was_mentioned || snapshot.value("autocommit") != Some(Some(value)) {
            self.set_variable("autocommit", Some(value));
        }
    }

    fn set_variable(&mut self, name: &str, value: Option<&[u8]>) {
        self.variables
            .insert(name.to_string(), value.map(<[u8]>::to_vec));
    }

    /// These settings were put on the connection of this session, which began with the snapshot.
    pub fn were_put_on(&self, session: &mut Session) {
        let values = self.variables.iter();
        session.learn_variables(values.map(|(name, value)| (name.as_str(), value.as_deref())));
        session.learn_schema(self.schema.as_deref());
    }

    /// The schema.
    pub fn schema(&self) -> Option<&[u8]> {
        self.schema.as_deref()
    }

    /// The value of a variable, by its one name; `None` if it has the server's initial one.
    pub fn variable(&self, name: &str) -> Option<Option<&[u8]>> {
        self.variables.get(name).map(Option::as_deref)
    }

    /// All variables that were mentioned, with their values.
    pub fn variables(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let all = self.variables.iter();
        all.map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Whether each statement commits itself, on connections that begin with this snapshot.
    pub fn autocommit(&self, snapshot: &Snapshot) -> bool {
        self.effective("autocommit", snapshot) != Some(b"OFF")
    }

    /// The statements that lead to the characteristics of the next transaction.
    pub fn characteristics(&self) -> &[u8] {
        &self.characteristics
    }

    /// The modes in which texts of this session are parsed.
    pub fn mode(&self, snapshot: &Snapshot) -> Mode {
        let sql_mode = self.effective("sql_mode", snapshot);
        let has = |word: &[u8]| {
            let mut modes = sql_mode?.split(|byte| *byte == b',');
            Some(modes.any(|one| one == word))
        };
        let charset = self.effective("character_set_client", snapshot);
        let charset = charset.and_then(|name| std::str::from_utf8(name).ok());
        Mode {
            no_backslash_escapes: has(b"NO_BACKSLASH_ESCAPES"),
            ansi_quotes: has(b"ANSI_QUOTES"),
            plain_charset: charset.and_then(is_plain_charset).unwrap_or(false),
        }
    }

    /// The value that a variable has on a connection that began with this snapshot.
    pub(super) fn effective<'a>(&'a self, name: &str, snapshot: &'a Snapshot) -> Option<&'a [u8]> {
        match self.variables.get(name) {
            Some(value) => value.as_deref(),
            None => snapshot.value(name).flatten(),
        }
    }
}

/// Whether the session is in no transaction, or in one that was begun and not used yet, and which
/// another connection can begin as well.
fn is_replayable(session: &Session) -> bool {
    session.transaction() == Fact::Known(Transaction::None)
}
