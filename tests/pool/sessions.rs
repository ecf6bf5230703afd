//! Which operation a client does next.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use crate::operation::{Execution, Operation, Parameter, Rows, Types};
use crate::statements::{
    ANY, ASIDES, ASKED_ABOUT, CERTAIN, ENDS, Holds, INSIDE, Kind, LASTING_QUESTIONS, Place,
    QUESTIONS, STANDSTILLS, TRANSACTIONS, fill, one_of, prepared,
};
use crate::support::Flavour;
use crate::support::wire::caps;
use crate::twin::{PLACES, Twin};

/// Capabilities that clients differ in, and how often. Most log in with their schema; clients with other ones than
/// FOUND_ROWS and IGNORE_SPACE can use the same connections. For those with them one is closed, and another opened.
const CAPABILITIES: &[(u32, u32)] = &[
    (12, USUAL),
    (10, USUAL | caps::SESSION_TRACK),
    (4, caps::CONNECT_WITH_DB),
    (4, caps::CONNECT_WITH_DB | caps::SESSION_TRACK),
    (4, caps::DEPRECATE_EOF),
    (4, USUAL | caps::INTERACTIVE),
    (1, USUAL | caps::FOUND_ROWS),
    (1, USUAL | caps::IGNORE_SPACE),
];

const USUAL: u32 = caps::DEPRECATE_EOF | caps::CONNECT_WITH_DB;

/// How many connections the others leave to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    None,
    Some,
    /// Nobody else holds one.
    All,
}

/// What is known of a client to make up its next operation.
#[derive(Default)]
pub struct Plan {
    /// How many operations ago something was done that lasts until the session ends.
    lasting: Option<u32>,
    /// Whether tables are locked.
    locks: bool,
    /// Whether a role was set. A server keeps it when the session is reset; a pool does not, as `doc/POOLING.md` says, so
    /// that such sessions end in another way.
    has_role: bool,
    /// What is done next, with no other client in between.
    burst: VecDeque<Operation>,
    statements: [Statement; PLACES],
}

/// What is known of a prepared statement.
#[derive(Default)]
struct Statement {
    text: String,
    places: Vec<Place>,
    /// Those of the last execute, for their types.
    parameters: Option<Vec<Parameter>>,
    /// Whether modes or character sets that matter to it have changed since then. Who executes it all the same is refused if
    /// the connection has changed, too: on MySQL, if it was resolved for its parameters; elsewhere, if they are not bound
    /// again. Programs do not do that.
    is_stale: bool,
}

impl Plan {
    /// Whether it holds its connection, as far as can be told.
    pub fn holds(&self, twin: &Twin) -> bool {
        twin.connected()
            && (self.lasting.is_some() || self.locks || self.in_burst() || twin.in_transaction())
    }

    /// Whether no other client may come in between.
    pub fn in_burst(&self) -> bool {
        !self.burst.is_empty()
    }

    /// The next operation.
    pub fn next(
        &mut self,
        twin: &Twin,
        room: Room,
        flavour: Flavour,
        dice: &mut StdRng,
    ) -> Operation {
        let operation = self.choose(twin, room, flavour, dice);
        self.note(&operation);
        operation
    }

    fn choose(
        &mut self,
        twin: &Twin,
        room: Room,
        flavour: Flavour,
        dice: &mut StdRng,
    ) -> Operation {
        if !twin.connected() {
            self.burst.clear();
            return connect(dice);
        }
        if let Some(next) = self.burst.pop_front() {
            return next;
        }
        if self.lasting.is_some_and(|age| age > 4) && dice.random_ratio(1, 3) {
            return match dice.random_range(0..3) {
                0 if !self.has_role => Operation::ResetConnection,
                1 if !self.has_role => Operation::ChangeUser("{db}".to_owned()),
                _ => connect(dice),
            };
        }
        if (twin.in_transaction() || self.locks) && dice.random_ratio(1, 3) {
            let kind = if dice.random_ratio(1, 3) {
                &INSIDE
            } else {
                &ENDS
            };
            return Operation::Query(one_of(kind, flavour, dice));
        }
        let may_hold = room != Room::None || self.holds(twin);
        match dice.random_range(0..100) {
            0..18 => self.prepared(twin, may_hold, flavour, dice),
            18..20 => self.other(dice),
            23..29 => {
                let aside = Operation::Query(one_of(&ASIDES, flavour, dice));
                self.burst = VecDeque::from([aside]);
                Operation::Query(one_of(&CERTAIN, flavour, dice))
            }
            // In forms that the proxy does not answer; so they come next, as after all statements like that.
            21..23 => {
                let about = Operation::Query(one_of(&ASKED_ABOUT, flavour, dice));
                let kind = kind_of_question(may_hold);
                if kind.holds == Holds::Session {
                    self.lasting.get_or_insert(0);
                }
                let question = Operation::Query(one_of(kind, flavour, dice));
                self.burst = VecDeque::from([about, question]);
                // It must not fail, or the question is about the statement before.
                Operation::InitDb("{db}".to_owned())
            }
            // With nobody else's locks, for which it would wait, nor its own transaction, whose commit would
            // wait for the twin.
            20..21 if room == Room::All && !twin.in_transaction() && !self.locks => {
                let all = STANDSTILLS.choose(dice).expect("one");
                let texts: Vec<_> = all
                    .iter()
                    .filter_map(|sql| fill(sql, flavour, dice))
                    .collect();
                if texts.len() < all.len() {
                    return Operation::Ping;
                }
                self.burst = texts.into_iter().map(Operation::Query).collect();
                self.burst.pop_front().expect("several")
            }
            _ => {
                let kind = kind(may_hold, dice);
                if kind.holds == Holds::Session {
                    self.lasting.get_or_insert(0);
                }
                Operation::Query(one_of(kind, flavour, dice))
            }
        }
    }

    fn other(&self, dice: &mut StdRng) -> Operation {
        let name = ["{db}", "{db}x", "no_such_database"];
        let name = name.choose(dice).expect("a name").to_string();
        match dice.random_range(0..8) {
            0..3 => Operation::InitDb(name),
            3 => Operation::Ping,
            4 if !self.has_role => Operation::ResetConnection,
            5 if !self.has_role => Operation::ChangeUser("{db}".to_owned()),
            6 => Operation::MultiStatements(dice.random()),
            _ => connect(dice),
        }
    }

    /// Something of the binary protocol.
    fn prepared(
        &mut self,
        twin: &Twin,
        may_hold: bool,
        flavour: Flavour,
        dice: &mut StdRng,
    ) -> Operation {
        let place = dice.random_range(0..PLACES);
        let may_be_stale = dice.random_ratio(1, 60);
        let prepares = !twin.has(place) || dice.random_ratio(1, 8);
        let statement = &mut self.statements[place];
        if prepares {
            let (text, places) = prepared(dice);
            statement.places = places;
            return Operation::Prepare(place, text);
        }
        match dice.random_range(0..20) {
            0 => return Operation::Close(place),
            1 => return Operation::Reset(place),
            _ => {}
        }
        // MySQL remembers for what types a statement was executed before, and tells of results accordingly: a
        // statement that is prepared again on another connection is like one that was executed for its present ones.
        let remembers_types = flavour == Flavour::MySql;
        if remembers_types && statement.is_stale && !may_be_stale {
            return Operation::Prepare(place, statement.text.clone());
        }
        let before = &mut statement.parameters;
        let types = match before {
            Some(_) if (!statement.is_stale || may_be_stale) && dice.random_ratio(1, 3) => {
                Types::AsBefore
            }
            _ => Types::Sent,
        };
        // MariaDB loses long data for a parameter that was bound with another type before, and a statement that the pool has
        // prepared again was not.
        let long = may_hold
            && !statement.places.is_empty()
            && types == Types::Sent
            && before.is_none()
            && dice.random_ratio(1, 10);
        let parameters: Vec<_> = match (types, &before) {
            (_, Some(before)) if types == Types::AsBefore || remembers_types => {
                let pairs = before.iter().zip(&statement.places);
                pairs.map(|(p, place)| alike(p, *place, dice)).collect()
            }
            _ => {
                let places = statement.places.iter().enumerate();
                let value = |(at, place): (usize, &Place)| match long && at == 0 {
                    true => Parameter::Long,
                    false => parameter(*place, dice),
                };
                places.map(value).collect()
            }
        };
        if types == Types::Sent {
            statement.is_stale &= remembers_types;
            *before = (!parameters.contains(&Parameter::Long)).then(|| parameters.clone());
        }
        let by_cursor = may_hold && dice.random_ratio(1, 12);
        let rows = if by_cursor {
            Rows::ByCursor
        } else {
            Rows::AtOnce
        };
        let execute = Operation::Execute(
            place,
            Execution {
                parameters,
                types,
                rows,
            },
        );
        let mut all = VecDeque::from([execute]);
        if long {
            let pieces = dice.random_range(1..3);
            for _ in 0..pieces {
                all.push_front(Operation::LongData(place, 0, b"long data ".repeat(30)));
            }
        }
        if long {
            all.push_back(Operation::Close(place));
        }
        if by_cursor {
            // The rest of a cursor's life: one that is closed before its end, or not at all.
            all.push_back(Operation::Fetch(place, 1));
            all.push_back(Operation::Query("SELECT 1".to_owned()));
            all.push_back(Operation::Fetch(place, dice.random_range(1..100)));
            // MySQL 9.7 never answers an execute without a cursor of a statement that has had one.
            all.push_back(Operation::Close(place));
        }
        if statement.text.contains("ROW_COUNT") {
            all.push_front(Operation::Query("UPDATE {db}.u SET s = 'asked'".to_owned()));
        }
        let first = all.pop_front().expect("one at least");
        self.burst = all;
        first
    }

    /// Keeps count of what it will have done.
    fn note(&mut self, operation: &Operation) {
        if let Some(age) = &mut self.lasting {
            *age += 1;
        }
        match operation {
            Operation::Connect(_) | Operation::ResetConnection | Operation::ChangeUser(_) => {
                let burst = std::mem::take(&mut self.burst);
                *self = Plan {
                    burst,
                    ..Plan::default()
                };
            }
            Operation::Prepare(place, sql) => {
                let statement = &mut self.statements[*place];
                statement.text.clone_from(sql);
                (statement.parameters, statement.is_stale) = (None, false);
            }
            Operation::Query(sql) => {
                for statement in &mut self.statements {
                    statement.is_stale |=
                        statement.parameters.is_some() && statement.is_changed_by(sql);
                }
                self.has_role |= sql.contains("SET ROLE");
                if sql.starts_with("LOCK TABLES") {
                    self.locks = true;
                } else if sql == "UNLOCK TABLES" {
                    self.locks = false;
                }
            }
            _ => {}
        }
    }
}

impl Statement {
    /// Whether a query may change what its text means, or how its parameters are read.
    fn is_changed_by(&self, sql: &str) -> bool {
        let has = |words: &[&str]| words.iter().any(|words| sql.contains(words));
        let changes_charset = has(&["SET NAMES", "CHARACTER SET", "character_set_", "collation_"]);
        let depends_on_modes = self.text.contains(['(', '\'', '"']);
        changes_charset || depends_on_modes && has(&["sql_mode"])
    }
}

fn connect(dice: &mut StdRng) -> Operation {
    let chosen = CAPABILITIES.choose_weighted(dice, |(weight, _)| *weight);
    Operation::Connect(chosen.expect("one").1)
}

fn kind_of_question(may_hold: bool) -> &'static Kind {
    match may_hold {
        true => &LASTING_QUESTIONS,
        false => &QUESTIONS,
    }
}

/// A kind of statement, by its weight.
fn kind(may_hold: bool, dice: &mut StdRng) -> &'static Kind {
    let fits = |kind: &&Kind| may_hold || kind.holds == Holds::Nothing;
    let all: u32 = ANY.iter().filter(fits).map(|kind| kind.weight).sum();
    let mut at = dice.random_range(0..all);
    for kind in ANY.iter().filter(fits) {
        if at < kind.weight {
            return kind;
        }
        at -= kind.weight;
    }
    &TRANSACTIONS
}

fn parameter(place: Place, dice: &mut impl Rng) -> Parameter {
    match dice.random_range(0..8) {
        0 => Parameter::Null,
        1..4 => Parameter::Integer(dice.random_range(-2..10)),
        4 => Parameter::Double(f64::from(dice.random_range(0..100)) / 8.0),
        _ => text(place, dice),
    }
}

fn text(place: Place, dice: &mut impl Rng) -> Parameter {
    const ANYTHING: &[&[u8]] = &[b"a", b"", b"x\0'\"\\", "ä".as_bytes(), b"\xe4\xff"];
    const NUMBERS: &[&[u8]] = &[b"2", b"5", b"-1", b"40", b"0"];
    let texts = match place {
        Place::Anything => ANYTHING,
        Place::Number => NUMBERS,
    };
    Parameter::Text(texts[dice.random_range(0..texts.len())].to_vec())
}

/// Another value of the same type.
fn alike(parameter: &Parameter, place: Place, dice: &mut impl Rng) -> Parameter {
    match parameter {
        Parameter::Integer(_) => Parameter::Integer(dice.random_range(-2..10)),
        Parameter::Text(_) => text(place, dice),
        other => other.clone(),
    }
}
