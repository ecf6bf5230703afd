//! The files of facts: read, run on a server, compared.

use std::collections::HashMap;

use crate::support::outcome::{
    AUTOCOMMIT, Block, DB_DROPPED, IN_TRANS, METADATA_CHANGED, Outcome, Told,
};
use crate::support::wire::{caps, com, lenenc, text_row};
use crate::support::{Flavour, Server, Wire};

/// What the pool asks servers for.
pub const CAPABILITIES: u32 = caps::BASE | caps::MULTI | caps::SESSION_TRACK | caps::DEPRECATE_EOF;

/// All facts of a file.
pub struct Facts<'a> {
    /// Commands before the first fact.
    before: Vec<Step<'a>>,
    facts: Vec<(&'a str, Vec<Step<'a>>)>,
}

/// One command, and what is expected of it.
struct Step<'a> {
    line: usize,
    /// On which servers it runs.
    on: &'a str,
    command: &'a str,
    /// Servers, and what they answer.
    answers: Vec<(&'a str, &'a str)>,
}

impl<'a> Facts<'a> {
    #[track_caller]
    pub fn parse(text: &'a str) -> Facts<'a> {
        let mut all = Facts {
            before: Vec::new(),
            facts: Vec::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            let steps = match all.facts.last_mut() {
                Some((_, steps)) => steps,
                None => &mut all.before,
            };
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(title) = line.strip_prefix("== ") {
                all.facts.push((title, Vec::new()));
            } else if line.starts_with(' ') {
                let (on, answer) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
                let step = steps.last_mut().expect("a command before its answer");
                step.answers.push((on, answer.trim()));
            } else {
                let (on, command) = match line.split_once(": ") {
                    Some((on @ ("M" | "M10" | "M11" | "MY9"), command)) => (on, command),
                    _ => ("all", line),
                };
                steps.push(Step {
                    line: number,
                    on,
                    command,
                    answers: Vec::new(),
                });
            }
        }
        all
    }

    /// Runs them all, and says what is different.
    pub fn compare(&self, server: &Server, file: &str) -> Vec<String> {
        let flavour = server.flavour;
        let database = format!("facts_{file}");
        server.sql(&format!("CREATE DATABASE IF NOT EXISTS {database}"));
        let mut session = Session::new(server, &database);
        for step in self.before.iter().filter(|step| is_meant(step.on, flavour)) {
            let answer = session.run(step.command);
            assert!(!answer.contains("ERR "), "{}: {answer}", step.command);
        }
        let show = std::env::var_os("DPM_SHOW_FACTS").is_some();
        let mut differences = Vec::new();
        for (title, steps) in &self.facts {
            let mut sessions = HashMap::from([("", Session::new(server, &database))]);
            let mut who = "";
            for step in steps.iter().filter(|step| is_meant(step.on, flavour)) {
                if let Some(name) = step.command.strip_prefix("as ") {
                    who = name;
                    sessions
                        .entry(who)
                        .or_insert_with(|| Session::new(server, &database));
                    continue;
                }
                let session = sessions.get_mut(who).expect("a session");
                let answer = session.run(step.command);
                if show {
                    println!(
                        "{:?} {file}:{}: {}\n    {answer}",
                        flavour, step.line, step.command
                    );
                }
                let wanted = step.answers.iter().find(|(on, _)| is_meant(on, flavour));
                let right = match wanted {
                    Some((_, wanted)) => answer == *wanted,
                    None => !answer.contains("ERR "),
                };
                if !right {
                    differences.push(format!(
                        "{title}\n  {file}.txt:{}: {}\n    wanted: {}\n    told:   {answer}",
                        step.line,
                        step.command,
                        wanted.map_or("no error", |(_, wanted)| wanted),
                    ));
                }
            }
        }
        differences
    }
}

/// Whether "M", "M10" and so on means this server.
fn is_meant(on: &str, flavour: Flavour) -> bool {
    match on {
        "all" => true,
        "M" => flavour.is_mariadb(),
        "M10" => flavour == Flavour::MariaDb,
        "M11" => flavour == Flavour::MariaDb11,
        "MY9" => flavour == Flavour::MySql,
        other => panic!("no server is called {other}"),
    }
}

/// What the server calls itself.
pub fn version(server: &Server) -> String {
    server
        .sql("SELECT CONCAT(@@version_comment, ' ', VERSION())")
        .trim()
        .to_owned()
}

/// A connection with its trackers on.
pub struct Session {
    pub wire: Wire,
    flavour: Flavour,
    statement: u32,
}

impl Session {
    pub fn new(server: &Server, database: &str) -> Session {
        let mut session = Session {
            wire: Wire::login_empty(server.port, CAPABILITIES),
            flavour: server.flavour,
            statement: 0,
        };
        session.run(&format!("COM_INIT_DB {database}"));
        session.track("*");
        session
    }

    /// Switches the trackers on.
    pub fn track(&mut self, variables: &str) {
        let gtids = match self.flavour {
            Flavour::MySql => ", session_track_gtids='OWN_GTID'",
            _ => "",
        };
        let answer = self.run(&format!(
            "SET session_track_schema=1, session_track_state_change=1, \
             session_track_transaction_info='CHARACTERISTICS', \
             session_track_system_variables='{variables}'{gtids}"
        ));
        assert!(!answer.contains("ERR"), "{answer}");
    }

    /// Runs a command, and shows what its answer tells.
    pub fn run(&mut self, command: &str) -> String {
        let (name, argument) = command.split_once(' ').unwrap_or((command, ""));
        let text = argument.as_bytes();
        let (byte, argument) = match name {
            "track" => {
                self.track(argument);
                return String::new();
            }
            "count" => {
                let outcomes = self.wire.outcomes(com::QUERY, text);
                return match outcomes.first() {
                    Some(Outcome::Rows { rows, .. }) => rows.len().to_string(),
                    other => format!("ERR {other:?}"),
                };
            }
            "COM_INIT_DB" => (com::INIT_DB, text.to_vec()),
            "COM_PING" => (com::PING, Vec::new()),
            "COM_STATISTICS" => (com::STATISTICS, Vec::new()),
            "COM_RESET_CONNECTION" => (com::RESET_CONNECTION, Vec::new()),
            "COM_CHANGE_USER" => return self.change_user(argument),
            "COM_SET_OPTION" => {
                let option: u16 = argument.parse().expect("a number");
                (com::SET_OPTION, option.to_le_bytes().to_vec())
            }
            "COM_STMT_PREPARE" => (com::STMT_PREPARE, text.to_vec()),
            "COM_STMT_EXECUTE" => {
                let parameters: Vec<_> = match argument {
                    "" => Vec::new(),
                    _ => argument.split(',').map(|p| Some(p.as_bytes())).collect(),
                };
                let cursor = 0;
                let argument =
                    crate::support::exchange::execute_argument(self.statement, cursor, &parameters);
                (com::STMT_EXECUTE, argument)
            }
            "COM_STMT_RESET" => (com::STMT_RESET, self.statement.to_le_bytes().to_vec()),
            "COM_STMT_CLOSE" => (com::STMT_CLOSE, self.statement.to_le_bytes().to_vec()),
            _ => (com::QUERY, command.as_bytes().to_vec()),
        };
        let outcomes = self.wire.outcomes(byte, &argument);
        if let Some(Outcome::Prepared { statement, .. }) = outcomes.last() {
            self.statement = *statement;
        }
        let protocol = match byte {
            com::STMT_EXECUTE | com::STMT_FETCH => Protocol::Binary,
            _ => Protocol::Text,
        };
        let mut shown: Vec<_> = outcomes.iter().map(|o| show(o, protocol)).collect();
        if shown.len() > 1 {
            let silent = shown.iter_mut().filter(|result| result.is_empty());
            silent.for_each(|result| *result = "OK".to_owned());
        }
        shown.join("; ")
    }

    /// Logs in once more, as an account without a password: its name, and a database.
    fn change_user(&mut self, argument: &str) -> String {
        let (user, database) = argument.split_once(' ').unwrap_or((argument, ""));
        let plugin = match self.flavour {
            Flavour::MySql => "caching_sha2_password",
            _ => "mysql_native_password",
        };
        let argument = format!("{user}\0\0{database}\0\x2d\0{plugin}\0");
        self.wire.command(com::CHANGE_USER, argument.as_bytes());
        let mut answer = self.wire.read();
        if answer[0] == 0xFE {
            // Without a password the answer to any challenge is empty.
            self.wire.write(&[]);
            answer = self.wire.read();
        }
        match answer[0] {
            0 => String::new(),
            _ => String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}

/// In which of the two protocols a row is.
#[derive(Clone, Copy)]
enum Protocol {
    Text,
    Binary,
}

/// A value in words.
fn shown(value: Option<&[u8]>) -> String {
    value.map_or("NULL".to_owned(), |v| {
        String::from_utf8_lossy(v).into_owned()
    })
}

/// Decodes a row of the binary protocol, with the types that the facts have.
fn binary_row(columns: &[Vec<u8>], row: &[u8]) -> Vec<Option<Vec<u8>>> {
    let (nulls, mut rest) = row[1..].split_at((columns.len() + 9) / 8);
    let values = columns.iter().enumerate().map(|(at, column)| {
        if nulls[(at + 2) / 8] & 1 << ((at + 2) % 8) != 0 {
            return None;
        }
        let (value, size) = match column_type(column) {
            3 => (
                i32::from_le_bytes(rest[..4].try_into().unwrap()).to_string(),
                4,
            ),
            8 => (
                i64::from_le_bytes(rest[..8].try_into().unwrap()).to_string(),
                8,
            ),
            // DATETIME: a length, the year, month, day, hour, minute, second.
            12 => {
                let clock: Vec<_> = rest[5..8].iter().map(|n| format!("{n:02}")).collect();
                (clock.join(":"), 8)
            }
            _ => {
                let (len, size) = lenenc(rest);
                let end = size + len as usize;
                (String::from_utf8_lossy(&rest[size..end]).into_owned(), end)
            }
        };
        rest = &rest[size..];
        Some(value.into_bytes())
    });
    values.collect()
}

/// The type in a column's definition.
fn column_type(definition: &[u8]) -> u8 {
    let mut rest = definition;
    // Catalogue, schema, table, original table, name, original name.
    for _ in 0..6 {
        let (len, size) = lenenc(rest);
        rest = &rest[size + len as usize..];
    }
    // The length of what follows, character set, length, type.
    rest[7]
}

/// A result in words: rows, what is unusual of the flags, the insert id, and the blocks.
fn show(outcome: &Outcome, protocol: Protocol) -> String {
    let mut words = Vec::new();
    match outcome {
        Outcome::Err(number, ..) => return format!("ERR {number}"),
        Outcome::Prepared { .. } => return "prepared".to_owned(),
        Outcome::Other(_) => return String::new(),
        Outcome::Ok(told) => {
            if told.insert_id != 0 {
                words.push(format!("id={}", told.insert_id));
            }
        }
        Outcome::Rows { columns, rows, .. } => {
            let values = rows.iter().map(|row| match protocol {
                Protocol::Text => text_row(row),
                Protocol::Binary => binary_row(columns, row),
            });
            words.extend(values.map(|values| {
                let values: Vec<_> = values.iter().map(|v| shown(v.as_deref())).collect();
                format!("({})", values.join(","))
            }));
        }
    }
    words.extend(outcome.told().into_iter().flat_map(flags_and_blocks));
    words.join(" ")
}

fn flags_and_blocks(told: &Told) -> Vec<String> {
    let flag = |bit: u16, name: &str| (told.status & bit != 0).then(|| name.to_owned());
    let mut words: Vec<_> = [
        flag(IN_TRANS, "+trx"),
        (told.status & AUTOCOMMIT == 0).then(|| "-autocommit".to_owned()),
        flag(DB_DROPPED, "+db_dropped"),
        flag(METADATA_CHANGED, "+metadata_changed"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let blocks = told.blocks.iter().map(|block| match block {
        // Numbers and server ids differ from run to run.
        Block::Variable(name, value) if name == "last_gtid" && !value.is_empty() => {
            "VAR last_gtid=…".to_owned()
        }
        Block::Gtids(_) => "GTID …".to_owned(),
        other => other.to_string(),
    });
    // MySQL reports this one with every statement if all are asked for.
    let mut blocks: Vec<_> = blocks
        .filter(|block| !block.starts_with("VAR statement_id="))
        .collect();
    // Variables come in no particular order, but before the rest.
    blocks.sort_by_key(|block| match block.starts_with("VAR ") {
        true => (0, block.clone()),
        false => (1, String::new()),
    });
    words.extend(blocks);
    words
}
