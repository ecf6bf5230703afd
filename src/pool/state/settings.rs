//! The settings of a session.

use std::collections::BTreeMap;

use super::snapshot::Snapshot;
use super::unknown::Unknown;
use super::variables::{is_nullable, is_setting, needs_privilege};
use crate::sql::{Mode, is_plain_charset};
use crate::track::{ClientCollation, Doubt, Fact, Session, Transaction};

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Text(Vec<u8>),
    Null,
    /// Nobody knows, and whoever comes next has to set it.
    Uncertain,
}

impl Value {
    fn of(value: Option<&[u8]>) -> Value {
        value.map_or(Value::Null, |text| Value::Text(text.to_vec()))
    }

    fn text(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => Some(text),
            Value::Null | Value::Uncertain => None,
        }
    }
}

/// What a transaction may do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only reads.
    ReadOnly,
    /// It may write, too.
    ReadWrite,
}

/// What a session has set, as far as another connection can take it over. Pure data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    pub(super) schema: Option<Vec<u8>>,
    /// The variables that were mentioned, by their one names.
    pub(super) variables: BTreeMap<String, Value>,
    /// The collation of the client's character set, which makes a difference on MariaDB.
    pub(super) client_collation: ClientCollation,
    /// The statements that lead to the characteristics of the next transaction, or of the open one
    /// if it was not used yet.
    pub(super) characteristics: Vec<u8>,
}

impl Settings {
    /// Those of a client that has just logged in with this schema, and with the character set and
    /// collation of its login.
    pub fn at_login(schema: Option<&[u8]>, charset: &str, collation: &str) -> Settings {
        let variables = [
            ("character_set_client", charset),
            ("character_set_results", charset),
            ("collation_connection", collation),
        ];
        Settings {
            schema: schema.map(<[u8]>::to_vec),
            variables: variables
                .map(|(name, value)| (name.to_string(), Value::Text(value.as_bytes().to_vec())))
                .into(),
            client_collation: ClientCollation::Named(collation.as_bytes().to_vec()),
            characteristics: Vec::new(),
        }
    }

    /// What a reset makes of a session that has begun with these settings, and has others now: it leaves
    /// the schema as it is.
    pub fn after_reset(&self, now: &Settings, snapshot: Option<&Snapshot>) -> Settings {
        let settings = Settings {
            schema: now.schema.clone(),
            ..self.clone()
        };
        settings.with_resets(snapshot)
    }

    /// What COM_CHANGE_USER makes of a session that is to begin with these settings, on a connection that began with
    /// this snapshot: MySQL begins it as a login does.
    pub fn after_change_of_user(self, snapshot: Option<&Snapshot>) -> Settings {
        self.with_resets(snapshot.filter(|snapshot| snapshot.is_mariadb()))
    }

    fn with_resets(mut self, snapshot: Option<&Snapshot>) -> Settings {
        for (name, value) in snapshot.map_or(&[][..], Snapshot::reset) {
            let value = Value::of(value.as_deref());
            self.variables.insert((*name).to_string(), value);
        }
        self
    }

    /// Those of a session, on a connection that began with this snapshot. They can be put on another
    /// connection.
    ///
    /// # Errors
    /// Something has to be read first.
    pub fn of(session: &Session, snapshot: &Snapshot) -> Result<Settings, Unknown> {
        let (settings, unknown) = Settings::known(session, snapshot);
        match unknown.is_nothing() && session.last_insert_id().known().is_some() {
            true => Ok(settings),
            false => Err(unknown),
        }
    }

    /// Those of a session whose transaction is about to be ended. `None` if something else has to be read first.
    pub fn without_transaction(session: &Session, snapshot: &Snapshot) -> Option<Settings> {
        let (mut settings, unknown) = Settings::known(session, snapshot);
        settings.characteristics.clear();
        let is_known = unknown.is_of_transaction() && session.last_insert_id().known().is_some();
        is_known.then_some(settings)
    }

    /// Those of a session that stays on its connection: its transaction and its `LAST_INSERT_ID()` need not be had
    /// elsewhere. `None` if something else has to be read first.
    pub fn in_place(session: &Session, snapshot: &Snapshot) -> Option<Settings> {
        let (mut settings, unknown) = Settings::known(session, snapshot);
        settings.characteristics.clear();
        unknown.stays_in_place().then_some(settings)
    }

    /// Those of a session whose client is gone: only good for [`differs`](super::differs) to come
    /// from. `None` if what is not known cannot be set without having been read.
    pub fn left_behind(session: &Session, snapshot: &Snapshot) -> Option<Settings> {
        let (mut settings, unknown) = Settings::known(session, snapshot);
        for name in unknown.uncertain()? {
            settings.variables.insert(name.clone(), Value::Uncertain);
        }
        Some(settings)
    }

    fn known(session: &Session, snapshot: &Snapshot) -> (Settings, Unknown) {
        let mut settings = Settings::default();
        let mut unknown = Unknown::of(session);
        if let Fact::Known(Some(schema)) = session.schema() {
            settings.schema = Some(schema.to_vec());
        }
        if let Fact::Known(text) = session.characteristics() {
            settings.characteristics = text.to_vec();
        }
        settings.client_collation = session.client_collation().clone();
        let mut mentions_autocommit = false;
        for (name, fact) in session.mentioned() {
            match fact {
                // The status flag tells.
                _ if name == "autocommit" => mentions_autocommit = true,
                _ if !is_setting(name) => {}
                // The server does not have it: another one has, and changes it with the one that was
                // set.
                Fact::Unknown(Doubt::Coupled) if snapshot.value(name).is_none() => {}
                Fact::Known(Some(b"")) if is_nullable(name) => {
                    settings.variables.insert(name.to_string(), Value::Null);
                }
                Fact::Known(value) => {
                    settings
                        .variables
                        .insert(name.to_string(), Value::of(value));
                }
                Fact::Unknown(_) => unknown.add(name),
            }
        }
        if let Fact::Known(on) = session.autocommit() {
            let value: &[u8] = if on { b"ON" } else { b"OFF" };
            if mentions_autocommit || snapshot.value("autocommit") != Some(Some(value)) {
                settings
                    .variables
                    .insert("autocommit".to_string(), Value::of(Some(value)));
            }
        }
        (settings, unknown)
    }

    /// The same settings with another schema, and other values of these variables.
    pub fn with(&self, schema: Option<&[u8]>, variables: &[(&str, &[u8])]) -> Settings {
        let mut settings = Settings {
            schema: schema.map(<[u8]>::to_vec),
            ..self.clone()
        };
        for (name, value) in variables {
            let value = Value::of(Some(value));
            settings.variables.insert((*name).to_string(), value);
        }
        settings
    }

    /// These settings were put on the connection of this session by the commands of
    /// [`differs`](super::differs).
    pub fn were_put_on(&self, session: &mut Session) {
        session.learn_variables(self.variables());
        session.learn_client_collation(self.client_collation.clone());
        session.learn_schema(self.schema.as_deref());
    }

    /// The schema.
    pub fn schema(&self) -> Option<&[u8]> {
        self.schema.as_deref()
    }

    /// The value of a variable, by its one name; `None` if it was not mentioned, so that it is the
    /// server's initial one.
    pub fn variable(&self, name: &str) -> Option<Option<&[u8]>> {
        self.variables.get(name).map(Value::text)
    }

    /// All variables that were mentioned, with their values.
    pub fn variables(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let all = self.variables.iter();
        all.map(|(name, value)| (name.as_str(), value.text()))
    }

    /// Whether each statement commits itself, on connections that begin with this snapshot.
    pub fn autocommit(&self, snapshot: &Snapshot) -> bool {
        self.effective("autocommit", snapshot) != Some(Some(b"OFF"))
    }

    /// The statements that lead to the characteristics of the next transaction, or of the open one
    /// if it was not used yet.
    pub fn characteristics(&self) -> &[u8] {
        &self.characteristics
    }

    /// The access of the transaction that was begun and not used yet, if there is one.
    pub fn begun(&self, snapshot: &Snapshot) -> Option<Access> {
        let mut access = match self.effective("transaction_read_only", snapshot) {
            Some(Some(b"ON")) => Access::ReadOnly,
            _ => Access::ReadWrite,
        };
        let mut is_begun = false;
        for statement in statements(&self.characteristics) {
            is_begun |= statement.starts_with(b"START TRANSACTION");
            if statement.ends_with(b"READ ONLY") {
                access = Access::ReadOnly;
            } else if statement.ends_with(b"READ WRITE") {
                access = Access::ReadWrite;
            }
        }
        is_begun.then_some(access)
    }

    /// The collation that its character set has on a connection that began with this snapshot.
    pub(super) fn client_collation(&self, snapshot: &Snapshot) -> ClientCollation {
        match (
            &self.client_collation,
            snapshot.value("collation_connection"),
        ) {
            (ClientCollation::AtLogin, Some(Some(name))) => ClientCollation::Named(name.to_vec()),
            (known, _) => known.clone(),
        }
    }

    /// The modes in which texts of this session are parsed.
    pub fn mode(&self, snapshot: &Snapshot) -> Mode {
        let sql_mode = self.effective("sql_mode", snapshot).flatten();
        let has = |word: &[u8]| {
            let mut modes = sql_mode?.split(|byte| *byte == b',');
            Some(modes.any(|one| one == word))
        };
        let charset = self.effective("character_set_client", snapshot).flatten();
        let charset = charset.and_then(|name| std::str::from_utf8(name).ok());
        Mode {
            no_backslash_escapes: has(b"NO_BACKSLASH_ESCAPES"),
            ansi_quotes: has(b"ANSI_QUOTES"),
            plain_charset: charset.and_then(is_plain_charset).unwrap_or(false),
        }
    }

    /// The value that a variable has on a connection that began with this snapshot; `None` if that
    /// is uncertain, or if the server does not have it.
    pub fn effective<'a>(&'a self, name: &str, snapshot: &'a Snapshot) -> Option<Option<&'a [u8]>> {
        match self.variables.get(name) {
            Some(Value::Uncertain) => None,
            Some(value) => Some(value.text()),
            None => snapshot.value(name),
        }
    }
}

/// Whether the session's account can set all variables that were changed, as far as they are known:
/// routines with the rights of others may have changed some that it cannot.
pub fn is_restorable(session: &Session, snapshot: &Snapshot) -> bool {
    let mut imposed = session
        .imposed()
        .filter(|name| needs_privilege(name, snapshot.is_mariadb()));
    imposed.all(|name| match session.variable(name) {
        Fact::Known(value) => snapshot.value(name) == Some(value),
        Fact::Unknown(_) => true,
    })
}

/// Whether a session's transaction can be given to another connection: there is none, or one that
/// was begun and not used, by statements that can be repeated.
pub(in crate::pool) fn has_movable_transaction(session: &Session) -> bool {
    if session.transaction() == Fact::Known(Transaction::None) {
        return true;
    }
    let Fact::Known(text) = session.characteristics() else {
        return false;
    };
    session.is_unused() && are_repeatable(text)
}

/// Whether characteristics are of a transaction that can be begun again.
pub(super) fn are_repeatable(characteristics: &[u8]) -> bool {
    statements(characteristics).all(is_repeatable)
}

/// Not XA, nor what reads the data of a moment.
fn is_repeatable(statement: &[u8]) -> bool {
    matches!(
        statement,
        b"START TRANSACTION" | b"START TRANSACTION READ ONLY" | b"START TRANSACTION READ WRITE"
    ) || statement.starts_with(b"SET TRANSACTION ")
}

/// The statements of a server's report of characteristics.
pub(super) fn statements(characteristics: &[u8]) -> impl Iterator<Item = &[u8]> {
    let statements = characteristics.split(|byte| *byte == b';');
    let statements = statements.map(<[u8]>::trim_ascii);
    statements.filter(|statement| !statement.is_empty())
}
