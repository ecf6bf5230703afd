//! The variables of a connection right after its login or reset.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::variables::{is_nullable, is_of_session, is_passing};
use crate::pool::flavour::Flavour;
use crate::track::{Values, canonical_name, is_mariadb, shares_names};

/// Asks for a snapshot's rows.
const QUERY: &[u8] = b"SHOW SESSION VARIABLES";

/// Variables that are listed first: where a server reports several under the name that is listed
/// first, these are the better ones.
const FIRST: &[&str] = &[
    "last_gtid",
    "collation_connection",
    "collation_server",
    "autocommit",
];

/// The values of a connection's variables right after its login or reset, as far as sessions can set
/// them. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(Rc<Contents>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    values: Rc<Values>,
    /// A name that the server knows each variable under.
    names: BTreeMap<String, String>,
    /// All names for the list of what is tracked.
    tracked: Vec<String>,
    is_mariadb: bool,
    version: Vec<u8>,
    /// Whether variables that share their storage are reported under one name.
    shares_names: bool,
    init_connect: Vec<u8>,
    /// What a reset makes of variables that the login has set otherwise.
    reset: Vec<AfterReset>,
}

/// A variable, and its value after a reset; `None` for NULL.
type AfterReset = (&'static str, Option<Vec<u8>>);

/// Variables that a reset sets to the global values, and not to those of the login: on MySQL.
const RESET_ON_MYSQL: &[&str] = &[
    "character_set_client",
    "character_set_results",
    "collation_connection",
];
/// The same on MariaDB, where the capability IGNORE_SPACE has set it. COM_CHANGE_USER does so, too.
const RESET_ON_MARIADB: &[&str] = &["sql_mode"];

/// What a reset makes of other variables than the login has.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Resets(&'static [&'static str]);

impl Resets {
    /// Those of a connection with or without the capability IGNORE_SPACE.
    pub fn of(flavour: Flavour, ignores_space: bool) -> Resets {
        Resets(match flavour {
            Flavour::MySql => RESET_ON_MYSQL,
            Flavour::MariaDb if ignores_space => RESET_ON_MARIADB,
            Flavour::MariaDb => &[],
        })
    }

    /// The command that asks for their values after a reset; none if there are none.
    pub fn query(self) -> Option<Vec<u8>> {
        let columns: Vec<_> = self
            .0
            .iter()
            .map(|name| format!("@@global.{name}"))
            .collect();
        let sql = format!("SELECT {}", columns.join(", "));
        (!columns.is_empty()).then(|| sql.into_bytes())
    }

    /// The statement that makes a session after a reset what it was after its login, where clients cannot have meant that
    /// to be lost; none if nothing is.
    pub fn undo(self) -> Option<&'static [u8]> {
        let undo = b"SET SESSION sql_mode = CONCAT(@@sql_mode, ',IGNORE_SPACE')";
        (self.0 == RESET_ON_MARIADB).then_some(undo)
    }
}

impl Snapshot {
    /// With the row of [`Resets::query`].
    pub fn with_reset(self, resets: Resets, row: &[Option<Vec<u8>>]) -> Snapshot {
        let Snapshot(mut contents) = self;
        let values = resets.0.iter().copied().zip(row.iter().cloned());
        Rc::make_mut(&mut contents).reset = values.collect();
        Snapshot(contents)
    }

    /// What a reset makes of variables that the login has set otherwise.
    pub(super) fn reset(&self) -> &[AfterReset] {
        &self.0.reset
    }

    /// The command that asks for its rows.
    pub fn query() -> &'static [u8] {
        QUERY
    }

    /// From the rows of [`Snapshot::query`]: names and values.
    pub fn new<'a>(rows: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Snapshot {
        let mut values = Values::new();
        let mut names = BTreeMap::new();
        let mut tracked = Vec::new();
        let mut version = Vec::new();
        let mut init_connect = Vec::new();
        for (name, value) in rows {
            let Ok(name) = std::str::from_utf8(name).map(str::to_ascii_lowercase) else {
                continue;
            };
            let value = value.unwrap_or_default();
            match &*name {
                "version" => version = value.to_vec(),
                "init_connect" => init_connect = value.to_vec(),
                _ => {}
            }
            if !is_of_session(&name) && !FIRST.contains(&&*name) {
                continue;
            }
            tracked.push(name.clone());
            if is_passing(&name) {
                continue;
            }
            let one = canonical_name(&name).to_string();
            let is_null = is_nullable(&name) && value.is_empty();
            values.insert(one.clone(), (!is_null).then(|| value.to_vec()));
            names.insert(one, name);
        }
        let first = |name: &String| FIRST.iter().position(|first| first == name);
        tracked.sort_by_key(|name| first(name).unwrap_or(FIRST.len()));
        Snapshot(Rc::new(Contents {
            values: values.into(),
            names,
            tracked,
            is_mariadb: is_mariadb(&version),
            shares_names: shares_names(&version),
            version,
            init_connect,
            reset: Vec::new(),
        }))
    }

    /// The statement that switches on the trackers, for all variables of the session.
    pub fn enable_trackers(&self) -> Vec<u8> {
        // Where these share a name with their collation, that one is to be reported.
        let hides = |name: &str| {
            self.0.shares_names
                && matches!(
                    name,
                    "character_set_connection" | "character_set_server" | "character_set_database"
                )
        };
        let list = self.0.tracked.iter().map(String::as_str);
        let list: Vec<&str> = match self.0.is_mariadb && !self.0.shares_names {
            // There the list is too long for SHOW VARIABLES, which would warn of that.
            true => vec!["*"],
            false => list.filter(|name| !hides(name)).collect(),
        };
        let gtids = match self.0.values.contains_key("session_track_gtids") {
            true => ", session_track_gtids='OWN_GTID'",
            false => "",
        };
        format!(
            "SET session_track_schema=1, session_track_state_change=1, \
             session_track_transaction_info='CHARACTERISTICS'{gtids}, \
             session_track_system_variables='{}'",
            list.join(",")
        )
        .into_bytes()
    }

    /// All values, under the one name of each variable.
    pub fn values(&self) -> &Rc<Values> {
        &self.0.values
    }

    /// The value of a variable, under its one name; `None` if the server does not have it.
    pub fn value(&self, name: &str) -> Option<Option<&[u8]>> {
        self.0.values.get(name).map(Option::as_deref)
    }

    /// The name that the server knows a variable under.
    pub(super) fn name<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.names.get(name).map_or(name, String::as_str)
    }

    /// The server's version.
    pub fn version(&self) -> &[u8] {
        &self.0.version
    }

    /// What kind of server it is.
    pub fn flavour(&self) -> Flavour {
        match self.0.is_mariadb {
            true => Flavour::MariaDb,
            false => Flavour::MySql,
        }
    }

    /// Whether the server is a MariaDB.
    pub fn is_mariadb(&self) -> bool {
        self.0.is_mariadb
    }

    /// Whether the server reports variables that share their storage under one name.
    pub fn shares_names(&self) -> bool {
        self.0.shares_names
    }

    /// Whether this variable, in lower case, is reported when it changes.
    pub fn is_tracked(&self, name: &str) -> bool {
        self.0.tracked.iter().any(|one| one == name)
    }

    /// The statements that the server runs after logins of accounts without special privileges, and
    /// not after resets; empty if there are none.
    pub fn init_connect(&self) -> &[u8] {
        &self.0.init_connect
    }
}
