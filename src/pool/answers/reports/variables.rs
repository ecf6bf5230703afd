//! The variables by which a session chooses what its server reports.

use bitflags::bitflags;
use std::rc::Rc;

use super::said::Setting;
use crate::pool::answers::made_up::{self, Charset, Results, row_of};
use crate::pool::flavour::Flavour;
use crate::pool::judging::reason::Reason;
use crate::pool::state::Snapshot;
use crate::sql::effects::Value;
use crate::wire::{Column, ColumnType, ErrPacket, TextRow, column_flags};

bitflags! {
    /// What is reported besides variables.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
    pub(super) struct Kinds: u8 {
        const SCHEMA = 1;
        const STATE_CHANGE = 2;
        const TRANSACTION_STATE = 4;
        const CHARACTERISTICS = 8;
        const GTIDS = 16;
    }
}

/// Which variables are reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    All,
    /// These, in lower case.
    Some(Rc<[Box<[u8]>]>),
}

/// One of the variables.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Tracker {
    /// `session_track_gtids`, on MySQL.
    Gtids,
    /// `session_track_schema`.
    Schema,
    /// `session_track_state_change`.
    StateChange,
    /// `session_track_system_variables`.
    SystemVariables,
    /// `session_track_transaction_info`.
    TransactionInfo,
}

impl Tracker {
    /// All of them, in the order of SHOW VARIABLES.
    pub const ALL: [Tracker; 5] = [
        Tracker::Gtids,
        Tracker::Schema,
        Tracker::StateChange,
        Tracker::SystemVariables,
        Tracker::TransactionInfo,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Tracker::Gtids => "session_track_gtids",
            Tracker::Schema => "session_track_schema",
            Tracker::StateChange => "session_track_state_change",
            Tracker::SystemVariables => "session_track_system_variables",
            Tracker::TransactionInfo => "session_track_transaction_info",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &[u8]) -> Option<Tracker> {
        Tracker::ALL
            .into_iter()
            .find(|one| one.name().as_bytes().eq_ignore_ascii_case(name))
    }

    fn is_boolean(self) -> bool {
        matches!(self, Tracker::Schema | Tracker::StateChange)
    }
}

/// What a client is told of changes of its session: by its server's defaults, or by what it has set.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trackers {
    pub(super) flavour: Flavour,
    /// Whether variables that share their storage are reported under one name.
    pub(super) shares_names: bool,
    pub(super) kinds: Kinds,
    pub(super) variables: Listed,
    /// Whether the last report of a transaction was that one has been begun.
    pub(super) told_begun: bool,
    /// The list as it is shown.
    pub(super) list: Option<Rc<[u8]>>,
}

const TRANSACTION: Kinds = Kinds::TRANSACTION_STATE.union(Kinds::CHARACTERISTICS);

impl Trackers {
    /// As the server has them after a login or a reset.
    pub fn of(snapshot: &Snapshot) -> Trackers {
        let flavour = snapshot.flavour();
        let value = |tracker: Tracker| snapshot.value(tracker.name()).flatten().unwrap_or_default();
        let is = |tracker, text: &str| value(tracker).eq_ignore_ascii_case(text.as_bytes());
        let mut kinds = Kinds::empty();
        kinds.set(Kinds::SCHEMA, is(Tracker::Schema, "ON"));
        kinds.set(Kinds::STATE_CHANGE, is(Tracker::StateChange, "ON"));
        kinds.set(Kinds::GTIDS, is(Tracker::Gtids, "OWN_GTID"));
        if is(Tracker::TransactionInfo, "CHARACTERISTICS") {
            kinds |= TRANSACTION;
        }
        kinds.set(
            Kinds::TRANSACTION_STATE,
            !is(Tracker::TransactionInfo, "OFF"),
        );
        let list = value(Tracker::SystemVariables);
        Trackers {
            flavour,
            shares_names: snapshot.shares_names(),
            kinds,
            variables: listed(list),
            told_begun: false,
            list: Some(list.into()),
        }
    }

    /// Sets some of them, or none if there is an error.
    ///
    /// # Errors
    /// As the server would refuse the values; or the pool cannot do what is asked for.
    pub fn set(&mut self, settings: &[Setting], snapshot: &Snapshot) -> Result<(), ErrPacket> {
        let mut other = self.clone();
        for setting in settings {
            other.set_one(setting, snapshot)?;
        }
        *self = other;
        Ok(())
    }

    fn set_one(&mut self, setting: &Setting, snapshot: &Snapshot) -> Result<(), ErrPacket> {
        let tracker = setting.tracker;
        if tracker == Tracker::Gtids && self.flavour == Flavour::MariaDb {
            return Err(unknown(tracker.name().as_bytes()));
        }
        let (text, is_number) = match &setting.value {
            Value::Literal(text) => (
                &text[..],
                text.iter()
                    .all(|byte| byte.is_ascii_digit() || *byte == b'-'),
            ),
            Value::Default => {
                self.take(tracker, &Trackers::of(snapshot));
                return Ok(());
            }
            Value::Expression => return Err(refused(tracker.name().as_bytes())),
        };
        let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
        let wrong = || Err(wrong_value(tracker, text));
        match tracker {
            Tracker::Schema | Tracker::StateChange => {
                let kind = match tracker {
                    Tracker::Schema => Kinds::SCHEMA,
                    _ => Kinds::STATE_CHANGE,
                };
                // In quotes, a number is no number.
                let is_on = is("ON") || is("TRUE") || text == b"1" && !setting.is_quoted;
                let is_off = is("OFF") || is("FALSE") || text == b"0" && !setting.is_quoted;
                if !is_on && !is_off {
                    return wrong();
                }
                self.kinds.set(kind, is_on);
            }
            Tracker::TransactionInfo => {
                let (state, all) = match text {
                    b"0" => (false, false),
                    b"1" => (true, false),
                    b"2" => (true, true),
                    _ if is("OFF") => (false, false),
                    _ if is("STATE") => (true, false),
                    _ if is("CHARACTERISTICS") => (true, true),
                    _ => return wrong(),
                };
                self.kinds.set(Kinds::TRANSACTION_STATE, state);
                self.kinds.set(Kinds::CHARACTERISTICS, all);
            }
            Tracker::Gtids => match text {
                b"0" => self.kinds.remove(Kinds::GTIDS),
                b"1" => self.kinds.insert(Kinds::GTIDS),
                b"2" => return Err(refused(tracker.name().as_bytes())),
                _ if is("OFF") => self.kinds.remove(Kinds::GTIDS),
                _ if is("OWN_GTID") => self.kinds.insert(Kinds::GTIDS),
                _ if is("ALL_GTIDS") => return Err(refused(tracker.name().as_bytes())),
                _ => return wrong(),
            },
            Tracker::SystemVariables => {
                if is_number && !setting.is_quoted {
                    let text = format!("Incorrect argument type to variable '{}'", tracker.name());
                    return Err(ErrPacket::new(1232, b"42000", text));
                }
                let is_null = is("NULL") && !setting.is_quoted;
                if is_null && self.flavour == Flavour::MariaDb {
                    return wrong();
                }
                self.set_list((!is_null).then_some(text), snapshot)?;
            }
        }
        Ok(())
    }

    /// A list that a client has set, or NULL.
    fn set_list(&mut self, text: Option<&[u8]>, snapshot: &Snapshot) -> Result<(), ErrPacket> {
        let variables = listed(text.unwrap_or_default());
        if let Listed::Some(names) = &variables {
            let is_known = |name: &[u8]| {
                let name = std::str::from_utf8(name).unwrap_or_default();
                snapshot.is_tracked(name)
            };
            if let Some(other) = names.iter().find(|name| !is_known(name)) {
                // The server may know it, as one of the whole server.
                return Err(refused(other));
            }
        }
        self.list = match (self.flavour, &variables, text) {
            (Flavour::MariaDb, Listed::Some(names), _) => {
                let mut names: Vec<_> = names.to_vec();
                names.sort();
                names.dedup();
                Some(names.join(&b',').into())
            }
            (_, _, text) => text.map(Rc::from),
        };
        self.variables = variables;
        Ok(())
    }

    /// Takes one of them from others.
    fn take(&mut self, tracker: Tracker, other: &Trackers) {
        let kinds = match tracker {
            Tracker::Gtids => Kinds::GTIDS,
            Tracker::Schema => Kinds::SCHEMA,
            Tracker::StateChange => Kinds::STATE_CHANGE,
            Tracker::TransactionInfo => TRANSACTION,
            Tracker::SystemVariables => {
                self.variables = other.variables.clone();
                self.list = other.list.clone();
                return;
            }
        };
        self.kinds = (self.kinds - kinds) | (other.kinds & kinds);
    }

    /// The value as SHOW VARIABLES has it.
    fn value(&self, tracker: Tracker) -> Option<&[u8]> {
        let on = |kind| match self.kinds.contains(kind) {
            true => &b"ON"[..],
            false => b"OFF",
        };
        Some(match tracker {
            Tracker::Schema => on(Kinds::SCHEMA),
            Tracker::StateChange => on(Kinds::STATE_CHANGE),
            Tracker::Gtids if self.kinds.contains(Kinds::GTIDS) => b"OWN_GTID",
            Tracker::Gtids => b"OFF",
            Tracker::TransactionInfo if self.kinds.contains(Kinds::CHARACTERISTICS) => {
                b"CHARACTERISTICS"
            }
            Tracker::TransactionInfo if self.kinds.contains(Kinds::TRANSACTION_STATE) => b"STATE",
            Tracker::TransactionInfo => b"OFF",
            Tracker::SystemVariables => self.list.as_deref()?,
        })
    }

    /// The answer to a SELECT of these, with the names of its columns. `None` if the server does not
    /// have one of them, or the character set of the client's results is not known.
    pub fn select(
        &self,
        items: &[(Tracker, &[u8])],
        character_set_results: Option<&[u8]>,
    ) -> Option<Results> {
        let is_missing = |tracker| self.flavour == Flavour::MariaDb && tracker == Tracker::Gtids;
        if items.iter().any(|(tracker, _)| is_missing(*tracker)) {
            return None;
        }
        let set = made_up::charset(self.flavour, character_set_results)?;
        let column = |(tracker, name): &(Tracker, &[u8])| {
            let name = name.to_vec();
            if tracker.is_boolean() {
                return Column {
                    name,
                    character_set: 63,
                    length: 1,
                    column_type: ColumnType::LONGLONG,
                    flags: column_flags::BINARY,
                    ..Column::default()
                };
            }
            let characters = match self.flavour {
                Flavour::MariaDb => self.value(*tracker).map_or(0, <[u8]>::len),
                Flavour::MySql => 21_845,
            };
            Column {
                name,
                character_set: set.number,
                length: u32::try_from(characters)
                    .unwrap_or(u32::MAX)
                    .saturating_mul(set.bytes),
                column_type: ColumnType::VAR_STRING,
                decimals: made_up::decimals(self.flavour),
                ..Column::default()
            }
        };
        let value = |(tracker, _): &(Tracker, &[u8])| {
            let value = self.value(*tracker);
            match (tracker.is_boolean(), value) {
                (true, Some(b"ON")) => Some(set.number("1")),
                (true, _) => Some(set.number("0")),
                (false, value) => value.map(|value| set.text(value)),
            }
        };
        let values: Vec<_> = items.iter().map(value).collect();
        let columns = items.iter().map(column).collect();
        let rows = vec![row_of(values.iter().map(Option::as_deref))];
        Some(Results { columns, rows }.defined_in(set))
    }

    /// The answer to SHOW VARIABLES with a pattern that only these fit.
    pub fn list(&self, pattern: &[u8], character_set_results: Option<&[u8]>) -> Option<Results> {
        let set = made_up::charset(self.flavour, character_set_results)?;
        let (schema, table) = match self.flavour {
            Flavour::MariaDb => ("information_schema", "SESSION_VARIABLES"),
            Flavour::MySql => ("performance_schema", "session_variables"),
        };
        let column = |name: &str, original: &str, characters: u32, flags: u16| Column {
            schema: schema.into(),
            table: table.into(),
            org_table: table.into(),
            name: name.into(),
            org_name: match self.flavour {
                Flavour::MariaDb => original.into(),
                Flavour::MySql => name.into(),
            },
            character_set: set.number,
            length: characters * set.bytes,
            column_type: ColumnType::VAR_STRING,
            flags,
            ..Column::default()
        };
        let not_null = column_flags::NOT_NULL | column_flags::NO_DEFAULT_VALUE;
        let value = match self.flavour {
            Flavour::MariaDb => column("Value", "VARIABLE_VALUE", 4096, not_null),
            Flavour::MySql => column("Value", "VARIABLE_VALUE", 1024, 0),
        };
        let columns = vec![
            column("Variable_name", "VARIABLE_NAME", 64, not_null),
            value,
        ];
        let rows = Tracker::ALL
            .into_iter()
            .filter(|one| *one != Tracker::Gtids || self.flavour == Flavour::MySql)
            .filter(|one| fits(pattern, one.name().as_bytes()))
            .map(|one| self.row(one, set))
            .collect();
        Some(Results { columns, rows }.defined_in(set))
    }

    /// A row of the server's answer to SHOW VARIABLES as the client is to see it; `None` if as it is.
    pub fn listed(&self, row: &[u8], character_set_results: Option<&[u8]>) -> Option<Vec<u8>> {
        let name = TextRow::new(row).next()?.ok()??;
        let set = made_up::charset(self.flavour, character_set_results)?;
        let of_this_name = |one: &Tracker| set.text(one.name().as_bytes()) == name;
        let tracker = Tracker::ALL.into_iter().find(of_this_name)?;
        Some(self.row(tracker, set))
    }

    /// Its row of SHOW VARIABLES.
    fn row(&self, tracker: Tracker, set: Charset) -> Vec<u8> {
        let name = set.text(tracker.name().as_bytes());
        let value = set.text(self.value(tracker).unwrap_or_default());
        row_of([Some(&name[..]), Some(&value)].into_iter())
    }
}

fn listed(text: &[u8]) -> Listed {
    if text == b"*" {
        return Listed::All;
    }
    let names = text
        .split(|byte| *byte == b',')
        .map(|name| name.trim_ascii().to_ascii_lowercase().into_boxed_slice())
        .filter(|name| !name.is_empty());
    Listed::Some(names.collect())
}

/// Whether a name fits the pattern of a LIKE. Both are short.
pub(in crate::pool::answers) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // The places in the pattern that may be reached.
    let after_percents = |mut at: usize, reached: &mut Vec<usize>| {
        loop {
            reached.push(at);
            if pattern.get(at) != Some(&b'%') {
                return;
            }
            at += 1;
        }
    };
    let mut now = Vec::new();
    after_percents(0, &mut now);
    for byte in name {
        let mut next = Vec::new();
        for at in now {
            match pattern.get(at) {
                Some(b'%') => after_percents(at, &mut next),
                Some(b'_') => after_percents(at + 1, &mut next),
                Some(b'\\')
                    if pattern
                        .get(at + 1)
                        .is_some_and(|one| one.eq_ignore_ascii_case(byte)) =>
                {
                    after_percents(at + 2, &mut next);
                }
                Some(one) if one.eq_ignore_ascii_case(byte) => after_percents(at + 1, &mut next),
                _ => {}
            }
        }
        next.sort_unstable();
        next.dedup();
        now = next;
    }
    now.contains(&pattern.len())
}

fn unknown(name: &[u8]) -> ErrPacket {
    let text = format!(
        "Unknown system variable '{}'",
        String::from_utf8_lossy(name)
    );
    ErrPacket::new(1193, b"HY000", text)
}

fn wrong_value(tracker: Tracker, value: &[u8]) -> ErrPacket {
    let text = format!(
        "Variable '{}' can't be set to the value of '{}'",
        tracker.name(),
        String::from_utf8_lossy(value)
    );
    ErrPacket::new(1231, b"42000", text)
}

/// The pool cannot do what is said of this variable.
pub(super) fn refused(name: &[u8]) -> ErrPacket {
    let reason = Reason::SessionTrack;
    let text = format!(
        "{}: what is said of '{}' is not what the proxy, which has this variable for each of a pool's \
         clients, can do; {}",
        reason.name(),
        String::from_utf8_lossy(name),
        reason.advice()
    );
    ErrPacket::new(1105, b"HY000", text)
}
