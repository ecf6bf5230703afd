//! A client of the pool, and its twin: the same client with a connection of its own to the same server.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use crate::compare;
use crate::operation::Operation;
use crate::support::outcome::{AUTOCOMMIT, Block, IN_TRANS, Outcome};
use crate::support::wire::{Greeting, Wire, caps, com, error};

/// How many prepared statements a client has at a time.
pub const PLACES: usize = 4;

/// The collation of logins: utf8mb4_general_ci, which all servers have.
const COLLATION: u8 = 45;

/// One of the two.
pub struct Side {
    port: u16,
    /// Its own database: of the same length for both, so that metadata is equal but for the name.
    database: String,
    wire: Option<Wire>,
    /// The plug-in that its server greeted with.
    plugin: String,
    statements: [Option<u32>; PLACES],
    /// The server's number of the connection.
    pub thread: u32,
}

/// How far an operation of one of the two has come.
#[derive(Clone, Copy)]
enum Begun {
    /// This command was sent, and is to be answered.
    Sent(u8),
    /// It takes several packets, one after the other.
    Later,
    /// There is nothing to do: it is not connected, or the statement is not there.
    Nothing,
}

/// How an operation ended.
#[derive(Debug)]
pub enum Verdict {
    /// Both answers are the same.
    Equal,
    /// There was nothing to do: the client is not connected, or the statement is not there.
    Skipped,
    /// The pool refused it, with this reason and all that it says, and nothing was done.
    Refused(String, String),
    /// The pool had no connection for it.
    NoConnection,
    /// The connection to the pool ended.
    Lost(String),
    /// The answers differ.
    Different(Difference),
}

/// What a twin got, and what the client of the pool got in its place.
#[derive(Debug, Clone)]
pub struct Difference {
    pub wanted: String,
    pub got: String,
}

impl Difference {
    /// The lines that are in one of them only; all if they are in another order.
    fn between(wanted: &str, got: &str) -> Difference {
        let lines_of = |text: &str, other: &str| {
            let only = text
                .lines()
                .filter(|line| !other.lines().any(|one| one == *line));
            only.collect::<Vec<_>>().join("\n")
        };
        let only = [lines_of(wanted, got), lines_of(got, wanted)];
        let [wanted, got] = match only.iter().all(String::is_empty) {
            true => [wanted.to_owned(), got.to_owned()],
            false => only,
        };
        Difference { wanted, got }
    }

    /// The connection to the pool ended, and nobody had ended it.
    pub fn lost(error: &str) -> Difference {
        Difference {
            wanted: "an answer".to_owned(),
            got: format!("the end of the connection: {error}"),
        }
    }
}

/// Both.
pub struct Twin {
    pub pooled: Side,
    pub direct: Side,
    /// The status flags of the last answer.
    pub status: u16,
    /// Whether servers may owe reports, to the pool's client and to its twin: after an error MariaDB tells with a later
    /// statement what was changed before it, after SET STATEMENT what has its old value again, and it does so on the
    /// connection that it happened on.
    owed: [bool; 2],
}

impl Side {
    fn new(port: u16, database: String) -> Side {
        Side {
            port,
            database,
            wire: None,
            plugin: String::new(),
            statements: [None; PLACES],
            thread: 0,
        }
    }

    /// Begins it.
    fn begin(&mut self, operation: &Operation) -> io::Result<Begun> {
        let filled = |sql: &String| sql.replace("{db}", &self.database).into_bytes();
        let place = |place: &usize| self.statements[*place];
        let about = |at: &usize, more: &[u8]| Some([&place(at)?.to_le_bytes(), more].concat());
        let command = match operation {
            Operation::Connect(_) | Operation::ChangeUser(_) => return Ok(Begun::Later),
            Operation::Query(sql) => Some((com::QUERY, filled(sql))),
            Operation::InitDb(name) => Some((com::INIT_DB, filled(name))),
            Operation::Prepare(at, sql) => {
                let text = filled(sql);
                // The one that was there is not used again, even if this cannot be prepared.
                self.statements[*at] = None;
                Some((com::STMT_PREPARE, text))
            }
            Operation::Ping => Some((com::PING, Vec::new())),
            Operation::MultiStatements(on) => Some((com::SET_OPTION, vec![u8::from(!on), 0])),
            Operation::ResetConnection => Some((com::RESET_CONNECTION, Vec::new())),
            Operation::Execute(at, how) => {
                place(at).map(|id| (com::STMT_EXECUTE, how.argument(id)))
            }
            Operation::LongData(at, parameter, data) => {
                let more = [&parameter.to_le_bytes(), data.as_slice()].concat();
                about(at, &more).map(|argument| (com::STMT_SEND_LONG_DATA, argument))
            }
            Operation::Fetch(at, rows) => {
                about(at, &rows.to_le_bytes()).map(|argument| (com::STMT_FETCH, argument))
            }
            Operation::Reset(at) => about(at, &[]).map(|argument| (com::STMT_RESET, argument)),
            Operation::Close(at) => about(at, &[]).map(|argument| (com::STMT_CLOSE, argument)),
        };
        match (command, &mut self.wire) {
            (Some((command, argument)), Some(wire)) => {
                wire.send_command(command, &argument)?;
                Ok(Begun::Sent(command))
            }
            _ => Ok(Begun::Nothing),
        }
    }

    /// Does what is left of it, and gives the answer; none if there was nothing to do.
    fn finish(&mut self, begun: Begun, operation: &Operation) -> io::Result<Option<Vec<Outcome>>> {
        match (begun, operation) {
            (Begun::Sent(command), _) => self.receive(command, operation),
            (Begun::Later, Operation::Connect(capabilities)) => {
                self.connect(*capabilities).map(Some)
            }
            (Begun::Later, Operation::ChangeUser(name)) => {
                let database = name.replace("{db}", &self.database);
                self.change_user(&database).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn receive(&mut self, command: u8, operation: &Operation) -> io::Result<Option<Vec<Outcome>>> {
        let Some(wire) = &mut self.wire else {
            return Ok(None);
        };
        let mut outcomes = wire.read_outcomes(command)?;
        match (operation, outcomes.first()) {
            (Operation::Prepare(at, _), Some(Outcome::Prepared { statement, .. })) => {
                self.statements[*at] = Some(*statement);
            }
            (Operation::Close(at), _) => self.statements[*at] = None,
            (Operation::ResetConnection, Some(Outcome::Ok(_))) => {
                self.statements = [None; PLACES];
                outcomes.extend(first_statement(wire)?);
            }
            _ => {}
        }
        Ok(Some(outcomes))
    }

    fn connect(&mut self, capabilities: u32) -> io::Result<Vec<Outcome>> {
        self.leave();
        let mut wire = Wire::new(TcpStream::connect(("127.0.0.1", self.port))?);
        wire.timeout(Duration::from_secs(30));
        wire.charset = COLLATION;
        wire.schema.clone_from(&self.database);
        let first = wire.try_read()?;
        if first[0] == 0xFF {
            return Ok(vec![refusal(&first)]);
        }
        let greeting = Greeting::parse(&first);
        let wanted = caps::BASE | caps::MULTI | capabilities;
        wire.authenticate(&greeting, "empty", "", wanted);
        let answer = wire.try_read()?;
        if answer[0] != 0 {
            return Ok(vec![refusal(&answer)]);
        }
        self.plugin = greeting.plugin;
        self.thread = greeting.thread;
        let mut outcomes = Vec::new();
        if capabilities & caps::CONNECT_WITH_DB == 0 {
            outcomes = wire.try_outcomes(com::INIT_DB, self.database.as_bytes())?;
        }
        outcomes.extend(first_statement(&mut wire)?);
        self.wire = Some(wire);
        Ok(outcomes)
    }

    fn change_user(&mut self, database: &str) -> io::Result<Vec<Outcome>> {
        let Some(wire) = &mut self.wire else {
            return Ok(Vec::new());
        };
        self.statements = [None; PLACES];
        let mut packet = format!("\x11empty\0\0{database}\0").into_bytes();
        packet.extend_from_slice(&[COLLATION, 0]);
        packet.extend_from_slice(self.plugin.as_bytes());
        packet.push(0);
        wire.seq = 0;
        wire.try_write(&packet)?;
        let mut answer = wire.try_read()?;
        if answer[0] == 0xFE {
            // Without a password the answer to any challenge is empty.
            wire.try_write(&[])?;
            answer = wire.try_read()?;
        }
        match answer[0] {
            0xFF => Ok(vec![refusal(&answer)]),
            _ => first_statement(wire),
        }
    }

    /// Closes the connection without a word.
    pub fn leave(&mut self) {
        self.wire = None;
        self.statements = [None; PLACES];
    }
}

fn has_reports(outcome: &Outcome) -> bool {
    outcome.told().is_some_and(|told| !told.blocks.is_empty())
}

fn without_variables(outcome: &mut Outcome) {
    if let Outcome::Ok(told) | Outcome::Rows { end: told, .. } = outcome {
        told.blocks
            .retain(|block| !matches!(block, Block::Variable(..) | Block::State));
    }
}

/// The first statement of each session. Before it FOUND_ROWS() is not defined: MariaDB gives what another
/// connection has left.
fn first_statement(wire: &mut Wire) -> io::Result<Vec<Outcome>> {
    wire.try_outcomes(com::QUERY, b"SELECT 1")
}

/// The error in a packet.
fn refusal(packet: &[u8]) -> Outcome {
    match error(packet) {
        crate::support::wire::Answer::Err(number, state, text) => Outcome::Err(number, state, text),
        other => panic!("not an error: {other:?}"),
    }
}

impl Twin {
    /// Client number `n`, not connected yet.
    pub fn new(n: usize, pool: u16, server: u16) -> Twin {
        Twin {
            pooled: Side::new(pool, database(n, 'p')),
            direct: Side::new(server, database(n, 'd')),
            status: AUTOCOMMIT,
            owed: [false; 2],
        }
    }

    /// Whether it is logged in.
    pub fn connected(&self) -> bool {
        self.pooled.wire.is_some() && self.direct.wire.is_some()
    }

    /// Whether a statement is at this place.
    pub fn has(&self, place: usize) -> bool {
        self.direct.statements[place].is_some()
    }

    /// Whether a transaction is open, or each statement begins one.
    pub fn in_transaction(&self) -> bool {
        self.status & IN_TRANS != 0 || self.status & AUTOCOMMIT == 0
    }

    /// Has both do it.
    pub fn perform(&mut self, operation: &Operation) -> Verdict {
        let verdict = self.compare(operation);
        if matches!(verdict, Verdict::Lost(_) | Verdict::NoConnection) && !self.pooled_is_there() {
            self.leave();
        }
        if matches!(operation, Operation::Connect(_)) && !matches!(verdict, Verdict::Equal) {
            self.leave();
        }
        verdict
    }

    /// Both leave.
    pub fn leave(&mut self) {
        self.pooled.leave();
        self.direct.leave();
        self.status = AUTOCOMMIT;
        self.owed = [false; 2];
    }

    fn pooled_is_there(&self) -> bool {
        self.pooled.wire.is_some()
    }

    fn compare(&mut self, operation: &Operation) -> Verdict {
        // Both at once: it takes the time of the slower one.
        let begun = [self.pooled.begin(operation), self.direct.begin(operation)];
        let [pooled, direct] = begun;
        let got = pooled.and_then(|begun| self.pooled.finish(begun, operation));
        let wanted = direct.and_then(|begun| self.direct.finish(begun, operation));
        let mut got = match got {
            Ok(Some(got)) => got,
            Ok(None) => return Verdict::Skipped,
            Err(error) => {
                self.pooled.leave();
                return Verdict::Lost(error.to_string());
            }
        };
        if got.iter().any(|one| matches!(one, Outcome::Err(1040, ..))) {
            return Verdict::NoConnection;
        }
        match got.last() {
            Some(Outcome::Err(1105, _, text)) if compare::reason(text).is_some() => {
                let reason = compare::reason(text).unwrap_or_default();
                return Verdict::Refused(reason.to_owned(), text.clone());
            }
            _ => {}
        }
        let mut wanted = match wanted {
            Ok(Some(wanted)) => wanted,
            Ok(None) => return Verdict::Skipped,
            Err(error) => {
                let got = format!("{got:?}");
                let wanted = error.to_string();
                return Verdict::Different(Difference { wanted, got });
            }
        };
        if let Some(told) = wanted.iter().rev().find_map(Outcome::told) {
            self.status = told.status;
        }
        let reports = [&got, &wanted].map(|all| all.iter().any(has_reports));
        let is_paid = [0, 1].map(|side| self.owed[side] && reports[side]);
        if is_paid.contains(&true) {
            let all = wanted.iter_mut().chain(&mut got);
            all.for_each(without_variables);
        }
        let owes = wanted.iter().any(|one| matches!(one, Outcome::Err(..)))
            || matches!(operation, Operation::Query(sql) if sql.starts_with("SET STATEMENT"));
        self.owed = [0, 1].map(|side| owes || (self.owed[side] && !is_paid[side]));
        let names = [self.direct.database.as_str(), self.pooled.database.as_str()];
        let wanted = compare::shown(&wanted, operation, names);
        let got = compare::shown(&got, operation, names);
        match wanted == got {
            true => Verdict::Equal,
            false => Verdict::Different(Difference::between(&wanted, &got)),
        }
    }
}

/// The database of a client, or of its twin.
pub fn database(n: usize, side: char) -> String {
    format!("{side}{n:03}")
}
