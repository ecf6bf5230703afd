//! Strangers: clients of the pool that have the accounts and capabilities of those under test, and so
//! use the same connections, with other settings. What they see of their own sessions must be theirs, too.

use std::net::TcpStream;
use std::time::Duration;

use crate::ground::Ground;
use crate::support::outcome::Outcome;
use crate::support::wire::{Greeting, Wire, caps, com, text_row};
use crate::support::{Over, let_time_pass};

/// What strangers set, and what they must see of it afterwards.
const SETTINGS: [(&str, &str); 3] = [
    (
        "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', time_zone = '+03:00', character_set_results = latin1",
        "ANSI_QUOTES,NO_BACKSLASH_ESCAPES +03:00 latin1 1",
    ),
    (
        "SET sql_mode = 'IGNORE_SPACE', time_zone = '-05:00', autocommit = 0, sql_select_limit = 1",
        "IGNORE_SPACE -05:00 utf8mb4 0",
    ),
    (
        "SET sql_mode = 'STRICT_ALL_TABLES', time_zone = '+09:30', foreign_key_checks = 0, div_precision_increment = 9",
        "STRICT_ALL_TABLES +09:30 utf8mb4 1",
    ),
];

const READ: &str = "SELECT CONCAT(@@sql_mode, ' ', @@time_zone, ' ', @@character_set_results, ' ', @@autocommit + 0)";

/// How many there are for each group of connections: more than connections, so that they take those of
/// the clients under test.
const OF_EACH_GROUP: usize = 2;

/// What they do in turn, and what each must answer: warnings, errors, insert ids and transactions that the
/// clients under test must not see.
const TURNS: [&[(&str, &str)]; 6] = [
    &[("SELECT LAST_INSERT_ID(4711)", "4711")],
    &[("SELECT CAST('a stranger' AS SIGNED)", "0")],
    &[("SELECT no_such_column", "1054")],
    &[
        ("BEGIN", ""),
        ("SELECT COUNT(*) * 0 FROM information_schema.SCHEMATA", "0"),
        ("ROLLBACK", ""),
    ],
    &[("SELECT LAST_INSERT_ID()", "4711")],
    &[("SELECT 1 UNION SELECT 1", "1")],
];

/// A client, who has logged in.
struct Stranger {
    wire: Wire,
    /// What it must see of its settings.
    settings: &'static str,
}

/// Takes connections away as long as clients under test are at work. Returns what was wrong, if anything.
pub fn run(ground: &Ground, over: &Over) -> Option<String> {
    let done = visits(ground, over);
    done.err()
        .map(|problem| format!("{} [pool]: a stranger: {problem}", ground.title))
}

fn visits(ground: &Ground, over: &Over) -> Result<(), String> {
    let mut admin = Wire::login_as(ground.admin, "stranger", "", caps::BASE);
    let mut round = 0;
    while !over.is() {
        if !ground.is_visited() {
            let_time_pass(Duration::from_millis(3));
            continue;
        }
        // Of those whom the clients under test can share connections with.
        let groups = admin.rows("SELECT Account, Capabilities FROM pools WHERE Clients > 0");
        let mut strangers = Vec::new();
        for group in groups.iter().flat_map(|group| [group; OF_EACH_GROUP]) {
            round += 1;
            strangers.push(enter(ground, &group[0], &group[1], round)?);
        }
        for turn in TURNS.iter().cycle().skip(round).take(2 * TURNS.len()) {
            for stranger in &mut strangers {
                expect(stranger, READ, stranger.settings)?;
                for (sql, wanted) in *turn {
                    expect(stranger, sql, wanted)?;
                }
            }
            let_time_pass(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Logs one in that can share connections with the clients of a group.
fn enter(
    ground: &Ground,
    account: &str,
    capabilities: &str,
    number: usize,
) -> Result<Stranger, String> {
    let (sql, settings) = SETTINGS[number % SETTINGS.len()];
    let user = account.replacen("b_", "s_", 1);
    let address = ("127.0.0.1", ground.port(crate::Way::Pool));
    let stream = TcpStream::connect(address).map_err(|e| e.to_string())?;
    let mut wire = Wire::new(stream);
    wire.timeout(Duration::from_secs(90));
    let greeting = wire.try_read().map_err(|e| e.to_string())?;
    let wanted = caps::BASE | caps::DEPRECATE_EOF | caps::of_pool(capabilities);
    wire.authenticate(&Greeting::parse(&greeting), &user, "", wanted);
    let answer = wire.try_read().map_err(|e| e.to_string())?;
    if answer.first() != Some(&0) {
        return Err(format!("{user}: {}", answer.escape_ascii()));
    }
    let mut stranger = Stranger { wire, settings };
    expect(&mut stranger, sql, "")?;
    expect(&mut stranger, "USE mysql", "")?;
    expect(&mut stranger, "SELECT LAST_INSERT_ID(4711)", "4711")?;
    Ok(stranger)
}

/// Compares the first value of an answer, nothing where it has no rows, or the number of an error.
fn expect(stranger: &mut Stranger, sql: &str, wanted: &str) -> Result<(), String> {
    let outcomes = stranger.wire.try_outcomes(com::QUERY, sql.as_bytes());
    let outcomes = outcomes.map_err(|e| format!("{sql}: {e}"))?;
    let told = match outcomes.first() {
        Some(Outcome::Rows { rows, .. }) => {
            let row = rows.first().map(|row| text_row(row));
            let value = row.and_then(|row| row.into_iter().next()?);
            String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
        }
        Some(Outcome::Err(number, _, _)) if wanted == number.to_string() => return Ok(()),
        Some(Outcome::Err(number, _, text)) => format!("{number} {text}"),
        _ => String::new(),
    };
    if told == wanted {
        return Ok(());
    }
    Err(format!("{sql}: {told:?} instead of {wanted:?}"))
}
