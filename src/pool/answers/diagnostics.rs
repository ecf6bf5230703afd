//! What statements about the statement before would tell a client: its warnings, `ROW_COUNT()` and
//! `FOUND_ROWS()`.
//!
//! A server keeps these with the connection, and the next statement replaces some of them. While a
//! client has its connection, it asks its server. When the connection is given to another client,
//! what is known goes with the client ([`Diagnostics::unread`], [`Diagnostics::read`],
//! [`Diagnostics::part`]), and the proxy answers the plain forms of the statements that ask
//! ([`Diagnostics::answer`]). Everything else that asks for what is not there any more is refused,
//! and [`Learnt`].
//!
//! - `manner`: what a command does to each of the values
//! - `asked`: which values a statement asks for, and in which form
//! - `conditions`: warnings and errors
//! - `answer`: answers that are made up
//! - `written`: diagnostics as bytes
//! - `learnt`: statements after which connections are not given away

mod answer;
mod asked;
mod conditions;
mod learnt;
mod manner;
mod written;

#[cfg(test)]
mod tests;

pub use answer::{Answer, refusal};
pub use asked::{Asked, Needs, asked};
pub use conditions::{Condition, Conditions};
pub use learnt::Learnt;
pub use manner::{Manner, manner};

use crate::pool::answers::made_up::{self, Results};
use crate::pool::flavour::Flavour;
use crate::wire::ErrPacket;
use asked::What;
use manner::Treatment;

/// How a result has ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// With an OK that no rows came before.
    Ok {
        /// Affected rows.
        affected: u64,
        /// How many warnings it has announced.
        warnings: u16,
    },
    /// With the end of rows.
    Rows {
        /// How many rows there were, if they were counted.
        rows: Option<u64>,
        /// How many warnings it has announced.
        warnings: u16,
    },
    /// With an ERR.
    Err {
        /// Its number.
        errno: u16,
        /// Its text.
        message: &'a [u8],
    },
    /// In another way, such as the EOF that answers COM_SET_OPTION.
    Other,
}

/// A value, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held<T> {
    /// The client's connection has it. It may be known here, too.
    There(Option<T>),
    /// It is known; the connection, if the client has one, has another client's.
    Here(T),
    /// Nobody has it any more.
    Lost,
}

impl<T> Held<T> {
    fn known(&self) -> Option<&T> {
        match self {
            Held::There(value) => value.as_ref(),
            Held::Here(value) => Some(value),
            Held::Lost => None,
        }
    }

    fn is_there(&self) -> bool {
        matches!(self, Held::There(_))
    }

    /// Whether it may have been replaced is not known.
    fn may_be_replaced(&mut self) {
        *self = match self {
            Held::There(_) => Held::There(None),
            Held::Here(_) | Held::Lost => Held::Lost,
        };
    }

    /// The client no longer has that connection.
    fn part(&mut self) {
        *self = match std::mem::replace(self, Held::Lost) {
            Held::There(Some(value)) | Held::Here(value) => Held::Here(value),
            Held::There(None) | Held::Lost => Held::Lost,
        };
    }
}

/// What must be read from a connection before it is given away.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    sql: &'static [u8],
    of: Of,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Of {
    Conditions,
    FoundRows,
}

impl Unread {
    /// The query.
    pub fn sql(&self) -> &'static [u8] {
        self.sql
    }
}

/// What is known of a client's diagnostics, and of where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    flavour: Flavour,
    conditions: Held<Conditions>,
    row_count: Held<i64>,
    found_rows: Held<u64>,
    /// Whether the last statement was one that is about `FOUND_ROWS()`.
    counts_rows: bool,
    /// How many conditions MySQL announces in the OKs of commands that keep them: those of the last statement, and once they
    /// were listed, only those that have come since. `None` for all that there are.
    announced: Option<u16>,
}

impl Default for Diagnostics {
    fn default() -> Diagnostics {
        Diagnostics::new()
    }
}

impl Diagnostics {
    /// Those of a client that has just logged in, at the proxy, and has no connection yet.
    pub fn new() -> Diagnostics {
        Diagnostics {
            flavour: Flavour::MySql,
            conditions: Held::Here(Conditions::none()),
            row_count: Held::Here(0),
            // That of the server's own login, which differs by versions.
            found_rows: Held::Lost,
            counts_rows: false,
            announced: None,
        }
    }

    /// A result of a command of the client's has ended.
    pub fn ended(&mut self, manner: Manner, outcome: Outcome<'_>) {
        self.counts_rows = manner.counts_rows;
        self.announced = match (manner.conditions, manner.announces, outcome) {
            (Treatment::Keeps, true, Outcome::Err { .. }) => {
                self.announced.map(|n| n.saturating_add(1))
            }
            (Treatment::Keeps, true, _) => self.announced,
            (Treatment::Keeps, false, Outcome::Err { .. }) => Some(1),
            (Treatment::Keeps, false, _) => Some(0),
            (Treatment::Hides, ..) => None,
            (_, _, Outcome::Ok { warnings, .. } | Outcome::Rows { warnings, .. }) => Some(warnings),
            _ => None,
        };
        match (manner.row_count, outcome) {
            (Treatment::Keeps, Outcome::Ok { .. } | Outcome::Rows { .. } | Outcome::Other) => {}
            (Treatment::Replaces, Outcome::Ok { affected, .. }) => {
                self.row_count = Held::There(i64::try_from(affected).ok());
            }
            _ => self.row_count = Held::There(Some(-1)),
        }
        let found = match outcome {
            Outcome::Rows { rows: Some(1), .. } => manner.found_one_row,
            _ => manner.found_rows,
        };
        match (found, outcome) {
            (_, Outcome::Err { .. }) | (Treatment::Keeps | Treatment::KeepsUnlessTold, _) => {}
            (Treatment::Replaces, Outcome::Rows { rows, .. }) => {
                self.found_rows = Held::There(rows);
            }
            (Treatment::Replaces | Treatment::Hides, _) => self.found_rows = Held::There(None),
            (Treatment::Unclear, _) => self.found_rows.may_be_replaced(),
        }
        self.conditions_after(manner.conditions, outcome);
    }

    fn conditions_after(&mut self, treatment: Treatment, outcome: Outcome<'_>) {
        match (treatment, outcome) {
            // MySQL adds the error to what is there.
            (Treatment::Keeps, Outcome::Err { errno, message })
                if self.flavour == Flavour::MySql =>
            {
                self.conditions = match std::mem::replace(&mut self.conditions, Held::Lost) {
                    Held::There(_) => Held::There(None),
                    Held::Here(mut all) => match all.push(Condition::error(errno, message)) {
                        true => Held::Here(all),
                        false => Held::Lost,
                    },
                    Held::Lost => Held::Lost,
                };
            }
            (_, Outcome::Err { .. }) => self.conditions = Held::There(None),
            (Treatment::Keeps, _) => {}
            (treatment, Outcome::Ok { warnings, .. } | Outcome::Rows { warnings, .. }) => {
                match (warnings, treatment) {
                    (1.., _) => self.conditions = Held::There(None),
                    (0, Treatment::KeepsUnlessTold) => {}
                    (0, Treatment::Replaces) => {
                        self.conditions = Held::There(Some(Conditions::none()));
                    }
                    (0, _) => self.conditions_may_be_gone(),
                }
            }
            (_, Outcome::Other) => self.conditions_may_be_gone(),
        }
    }

    /// The conditions were kept, or replaced by none.
    fn conditions_may_be_gone(&mut self) {
        let are_none = self.conditions.known().is_some_and(Conditions::is_empty);
        if !are_none {
            self.conditions.may_be_replaced();
        }
    }

    /// What is to be read, in this order, before the client's connection is given to another one, so
    /// that it can be carried. Most often that is nothing.
    pub fn unread(&self) -> impl Iterator<Item = Unread> + use<> {
        let conditions = Unread {
            sql: b"SHOW WARNINGS",
            of: Of::Conditions,
        };
        // After the conditions, which it may replace.
        let found_rows = Unread {
            sql: b"SELECT FOUND_ROWS()",
            of: Of::FoundRows,
        };
        let wants_conditions = self.conditions == Held::There(None);
        let wants_rows = self.counts_rows && self.found_rows == Held::There(None);
        let conditions = wants_conditions.then_some(conditions);
        conditions
            .into_iter()
            .chain(wants_rows.then_some(found_rows))
    }

    /// What was to be read has been read. `limit` is the session's `max_error_count`, and `charset`
    /// its `character_set_results`.
    pub fn read<'a>(
        &mut self,
        unread: Unread,
        rows: impl Iterator<Item = Vec<Option<&'a [u8]>>>,
        charset: Option<&[u8]>,
        limit: u64,
    ) {
        // In a character set that is not known, nothing can be read.
        let Some(set) = made_up::charset(self.flavour, charset) else {
            return;
        };
        match unread.of {
            Of::Conditions => {
                if let Some(read) = Conditions::read(rows, (set, charset), limit) {
                    self.conditions = Held::There(Some(read));
                }
            }
            Of::FoundRows => {
                let mut rows = rows;
                let first = rows.next().and_then(|row| row.first().copied().flatten());
                self.found_rows = Held::There(first.and_then(|text| set.parse(text)));
            }
        }
    }

    /// The client gets a connection, to such a server.
    pub fn arrive(&mut self, flavour: Flavour) {
        self.part();
        self.flavour = flavour;
    }

    /// The session begins anew, as after a reset.
    pub fn begin_anew(&mut self) {
        *self = Diagnostics {
            flavour: self.flavour,
            found_rows: std::mem::replace(&mut self.found_rows, Held::Lost),
            ..Diagnostics::new()
        };
        self.part();
    }

    /// The proxy has accepted a SET in the server's place.
    pub fn accepted_set(&mut self) {
        self.row_count = Held::Here(0);
        self.announced = None;
        if self.flavour == Flavour::MySql {
            self.conditions = Held::Here(Conditions::none());
        }
    }

    /// The proxy has refused a command with this error.
    pub fn refused(&mut self, err: &ErrPacket) {
        self.row_count = Held::Here(-1);
        self.announced = None;
        let mut conditions = Conditions::none();
        conditions.push(Condition::error(err.errnum, &err.message));
        self.conditions = Held::Here(conditions);
    }

    /// The client has lost its connection, or the connection has executed something else: from now on
    /// only what is known counts.
    pub fn part(&mut self) {
        self.conditions.part();
        self.row_count.part();
        self.found_rows.part();
        self.counts_rows = false;
    }

    /// Whether the client's connection has all of it. Then no statement need be looked at.
    pub fn are_there(&self) -> bool {
        self.conditions.is_there() && self.row_count.is_there() && self.found_rows.is_there()
    }

    /// How many warnings COM_PING, COM_INIT_DB and COM_SET_OPTION announce on MySQL if the connection has another
    /// client's. `None` if it has this client's.
    pub fn own_warnings(&self) -> Option<u16> {
        if self.conditions.is_there() || self.flavour == Flavour::MariaDb {
            return None;
        }
        if self.announced.is_some() {
            return self.announced;
        }
        let count = self.conditions.known().and_then(|known| known.warnings);
        Some(count.unwrap_or_default().try_into().unwrap_or(u16::MAX))
    }

    /// Whether the connection has what this statement asks for.
    fn has(&self, needs: Needs) -> bool {
        (!needs.contains(Needs::CONDITIONS) || self.conditions.is_there())
            && (!needs.contains(Needs::ROW_COUNT) || self.row_count.is_there())
            && (!needs.contains(Needs::FOUND_ROWS) || self.found_rows.is_there())
    }

    /// How a statement is answered that asks for diagnostics. `charset` is the client's
    /// `character_set_results`; NULL is `None`.
    pub fn answer(&self, asked: &Asked<'_>, charset: Option<&[u8]>) -> Answer {
        if self.has(asked.needs()) {
            return Answer::Server;
        }
        match self.made_up(asked, charset) {
            Some(results) => Answer::Own(results),
            None => Answer::Refused(asked.needs()),
        }
    }

    fn made_up(&self, asked: &Asked<'_>, charset: Option<&[u8]>) -> Option<Results> {
        match asked {
            Asked::Conditions {
                errors_only,
                offset,
                limit,
            } => {
                let known = self.conditions.known()?;
                let rows = known.list(*errors_only, *offset, *limit, charset)?;
                answer::conditions(self.flavour, charset, rows)
            }
            Asked::Values(items) => {
                let values: Option<Vec<_>> = items
                    .iter()
                    .map(|item| Some((item, self.value(item.what)?)))
                    .collect();
                answer::values(self.flavour, charset, &values?)
            }
            Asked::Other(_) => None,
        }
    }

    fn value(&self, what: What) -> Option<String> {
        Some(match what {
            What::Warnings => self.conditions.known()?.warnings?.to_string(),
            What::Errors => self.conditions.known()?.errors?.to_string(),
            What::RowCount => self.row_count.known()?.to_string(),
            What::FoundRows => self.found_rows.known()?.to_string(),
        })
    }

    /// A statement was answered by the proxy. How many warnings its end announces.
    pub fn answered(&mut self, asked: &Asked<'_>, results: &Results) -> u16 {
        self.row_count = Held::Here(-1);
        self.announced = asked.keeps_conditions().then_some(0);
        let Asked::Values(items) = asked else {
            return 0;
        };
        self.found_rows = Held::Here(results.rows.len() as u64);
        if self.flavour == Flavour::MariaDb || asked.keeps_conditions() {
            return 0;
        }
        let mut conditions = Conditions::none();
        for item in items {
            if item.what == What::FoundRows {
                conditions.push(Condition::found_rows_is_deprecated());
            }
        }
        let warnings = conditions.warnings.unwrap_or(0);
        self.conditions = Held::Here(conditions);
        warnings.try_into().unwrap_or(u16::MAX)
    }
}
