//! Clients that have other modes, zones, character sets, databases and transactions, and never cease to take
//! connections away from the others. What they see of their own sessions must be theirs, too.

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::compare;
use crate::support::Over;
use crate::support::outcome::Outcome;
use crate::support::wire::{Greeting, Wire, caps, com, text_row};

/// How many there are.
pub const ANTAGONISTS: usize = 6;

/// How many statements of the clients there are for one of each antagonist.
const PACE: usize = 8;
/// How long an antagonist waits for that.
const PATIENCE: Duration = Duration::from_millis(100);

/// Settings, and how they are read back: as the pool must keep them.
const SETTINGS: [(&str, &str); ANTAGONISTS] = [
    (
        "SET sql_mode='ANSI_QUOTES', time_zone='+03:00'",
        "ANSI_QUOTES +03:00 utf8mb4 1",
    ),
    (
        "SET sql_mode='', time_zone='-05:00', character_set_results=latin1",
        " -05:00 latin1 1",
    ),
    (
        "SET @@sql_mode='NO_BACKSLASH_ESCAPES', time_zone='+00:00'",
        "NO_BACKSLASH_ESCAPES +00:00 utf8mb4 1",
    ),
    (
        "SET sql_mode='PIPES_AS_CONCAT', time_zone='+09:30', autocommit=0",
        "PIPES_AS_CONCAT +09:30 utf8mb4 0",
    ),
    (
        "SET sql_mode='IGNORE_SPACE', @@time_zone='+02:00', div_precision_increment=9",
        "IGNORE_SPACE +02:00 utf8mb4 1",
    ),
    (
        "SET sql_mode='STRICT_ALL_TABLES', time_zone='+01:00', sql_select_limit=1",
        "STRICT_ALL_TABLES +01:00 utf8mb4 1",
    ),
];

const READ: &str = "SELECT CONCAT(@@sql_mode, ' ', @@time_zone, ' ', @@character_set_results, ' ', @@autocommit + 0)";

/// What became of their statements, and whose turn it is to have a transaction.
#[derive(Default)]
pub struct Tally {
    pub statements: AtomicUsize,
    pub without_connection: AtomicUsize,
    transfers: Mutex<()>,
}

/// Gives each of them its turns: as often beside a fast program as beside a slow one.
pub struct Turns(Vec<SyncSender<()>>);

impl Turns {
    /// The turns, and what each antagonist has of them.
    pub fn new() -> (Turns, Vec<Receiver<()>>) {
        let (turns, own) = (0..ANTAGONISTS).map(|_| sync_channel(1)).unzip();
        (Turns(turns), own)
    }

    /// The clients have done so much.
    pub fn advance(&self, done: usize) {
        if let Some(turn) = self.0.get(done % PACE) {
            // One that is busy has its turn already, or does without.
            let _ = turn.try_send(());
        }
    }
}

/// One of them, until all is over.
pub fn run(number: usize, port: u16, turns: &Receiver<()>, tally: &Tally, over: &Over) {
    let (set, wanted) = SETTINGS[number];
    let mut round = number;
    while !over.is() {
        round += 1;
        let Some(mut wire) = login(port) else {
            tally.without_connection.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let mut ask = |sql: &str| answer(&mut wire, sql, tally);
        if ask(set).is_none() {
            continue;
        }
        for turn in 0..20 {
            if over.is() {
                return;
            }
            if let Some(told) = ask(READ) {
                assert_eq!(told, wanted, "antagonist {number} has another's session");
            }
            // One holds a connection at a time.
            if turn % 5 == 0
                && let Ok(_turn) = tally.transfers.try_lock()
            {
                transfer(round + turn, &mut ask);
            }
            if turns.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }
}

/// Moves money, or thinks better of it. The sum of all accounts stays.
fn transfer(round: usize, ask: &mut impl FnMut(&str) -> Option<String>) {
    let (from, to) = (round % 6 + 1, (round / 2) % 6 + 1);
    if from == to || ask("BEGIN").is_none() {
        return;
    }
    // In the order of their numbers, so that two never wait for each other.
    let mut moves = [(from, "- 7"), (to, "+ 7")];
    moves.sort();
    let moved = moves.iter().all(|(account, by)| {
        ask(&format!(
            "UPDATE bank.accounts SET n = n {by} WHERE id = {account}"
        ))
        .is_some()
    });
    ask(if moved && !round.is_multiple_of(3) {
        "COMMIT"
    } else {
        "ROLLBACK"
    });
}

fn login(port: u16) -> Option<Wire> {
    let mut wire = Wire::new(TcpStream::connect(("127.0.0.1", port)).ok()?);
    let first = wire.try_read().ok()?;
    if first[0] == 0xFF {
        return None;
    }
    let capabilities = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF | caps::CONNECT_WITH_DB;
    wire.schema = "bank".to_owned();
    wire.authenticate(&Greeting::parse(&first), "empty", "", capabilities);
    (wire.try_read().ok()?[0] == 0).then_some(wire)
}

/// The first value of an answer, or nothing where it has no rows; none if there was no connection.
fn answer(wire: &mut Wire, sql: &str, tally: &Tally) -> Option<String> {
    tally.statements.fetch_add(1, Ordering::Relaxed);
    let outcomes = wire.try_outcomes(com::QUERY, sql.as_bytes()).ok()?;
    match &outcomes[0] {
        Outcome::Rows { rows, .. } => {
            let row = rows.first().map(|row| text_row(row));
            let value = row.and_then(|row| row.into_iter().next()?);
            Some(String::from_utf8_lossy(&value.unwrap_or_default()).into_owned())
        }
        Outcome::Err(1040, ..) => {
            tally.without_connection.fetch_add(1, Ordering::Relaxed);
            None
        }
        // Their connection is ended.
        Outcome::Err(1053 | 1317 | 1927, ..) => None,
        Outcome::Err(1105, _, text) if compare::reason(text).is_some() => None,
        Outcome::Err(number, _, text) => panic!("{sql}: {number} {text}"),
        _ => Some(String::new()),
    }
}
