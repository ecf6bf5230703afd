//! What two answers must have in common: everything, but for what names the connection.

use std::fmt::Write as _;

use crate::operation::{Operation, Parameter};
use crate::support::outcome::{Block, Outcome, STATE_CHANGED, Told};
use crate::support::wire::lenenc;

/// Variables that may differ between two connections, as `doc/POOLING.md` says.
const EXEMPT: &[&str] = &[
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "timestamp",
    "last_gtid",
    "statement_id",
    "wait_timeout",
    "interactive_timeout",
    "gtid_executed",
    "gtid_binlog_pos",
    "gtid_binlog_state",
    "gtid_current_pos",
    "gtid_owned",
];

/// Messages that name a statement's number, which differs.
const ABOUT_STATEMENTS: [&str; 2] = ["has no open cursor", "prepared statement handler"];

/// SERVER_QUERY_WAS_SLOW: a matter of time.
const WAS_SLOW: u16 = 0x0800;

/// The reason with which the pool refused a statement: the stable name that its text begins with.
pub fn reason(text: &str) -> Option<&str> {
    let (name, _) = text.split_once(':')?;
    let stable = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    stable.then_some(name)
}

/// An answer in words, in which the two databases have one name.
pub fn shown(outcomes: &[Outcome], operation: &Operation, names: [&str; 2]) -> String {
    let lists_variables = matches!(operation, Operation::Query(sql) if sql.starts_with("SHOW") && sql.contains("VARIABLES"));
    let has_null = matches!(operation, Operation::Execute(_, how) if how.parameters.contains(&Parameter::Null));
    let told_in_words = |told: &Told| told_in_words(told, operation, names);
    let mut text = String::new();
    for outcome in outcomes {
        let _ = match outcome {
            Outcome::Ok(told) => writeln!(text, "OK {}", told_in_words(told)),
            Outcome::Err(number, state, message) => {
                let message = what_matters(*number, message);
                writeln!(
                    text,
                    "ERR {number} {state} {}",
                    one_name(message.as_bytes(), names)
                )
            }
            Outcome::Rows { columns, rows, end } => {
                for column in columns {
                    let column = with_charset(column, has_null);
                    let _ = writeln!(text, "column {}", one_name(&column, names));
                }
                for row in rows {
                    if lists_variables && is_exempt(row) {
                        continue;
                    }
                    let row = one_name(row, names);
                    let _ = match ABOUT_STATEMENTS.iter().any(|words| row.contains(words)) {
                        // With the length before it.
                        true => writeln!(text, "row about a statement"),
                        false => writeln!(text, "row {row}"),
                    };
                }
                writeln!(text, "end {}", told_in_words(end))
            }
            Outcome::Prepared {
                parameters,
                columns,
                ..
            } => {
                for definition in parameters.iter().chain(columns) {
                    let definition = with_charset(definition, false);
                    let _ = writeln!(text, "definition {}", one_name(&definition, names));
                }
                writeln!(text, "prepared {} {}", parameters.len(), columns.len())
            }
            Outcome::Other(bytes) => writeln!(text, "{}", one_name(bytes, names)),
        };
    }
    text
}

fn told_in_words(told: &Told, operation: &Operation, names: [&str; 2]) -> String {
    // After an error MySQL tells the schema once more, as long as the connection is the same.
    let may_change_schema = match operation {
        Operation::InitDb(_) | Operation::Connect(_) | Operation::ChangeUser(_) => true,
        Operation::Query(sql) => sql.contains("USE "),
        _ => false,
    };
    let mut blocks: Vec<_> = told
        .blocks
        .iter()
        // MySQL tells the state of transactions now and then although nobody has asked for it.
        .filter(|block| !matches!(block, Block::Gtids(_) | Block::Transaction(_)))
        .filter(|block| may_change_schema || !matches!(block, Block::Schema(_)))
        .filter(
            |block| !matches!(block, Block::Variable(name, _) if EXEMPT.contains(&name.as_str())),
        )
        .map(|block| one_name(block.to_string().as_bytes(), names))
        .collect();
    blocks.sort();
    format!(
        "affected={} id={} status={:#x} warnings={} info='{}' {}",
        told.affected,
        told.insert_id,
        told.status & !(STATE_CHANGED | WAS_SLOW),
        told.warnings,
        one_name(&told.info, names),
        blocks.join(" ")
    )
}

/// A column's definition in which one collation stands for all of its character set: which of them is told depends on
/// the login, as `doc/POOLING.md` says.
fn with_charset(definition: &[u8], has_null: bool) -> Vec<u8> {
    let mut definition = definition.to_vec();
    let mut at = 0;
    let mut is_parameter = false;
    // Catalogue, schema, table and column under both names, and the length of what follows.
    for place in 0..6 {
        let (len, size) = lenenc(definition.get(at..).unwrap_or_default());
        is_parameter |=
            place == 4 && definition.get(at + size..at + size + len as usize) == Some(b"?");
        at += size + len as usize;
    }
    // MySQL tells of another length in the execute for which it prepares a statement again than in those after it.
    if is_parameter && let Some(length) = definition.get_mut(at + 3..at + 7) {
        length.fill(0);
    }
    // What it has resolved a parameter as that is NULL depends on the values before, as `doc/POOLING.md` says.
    if is_parameter && has_null {
        definition.truncate(at);
    }
    if let Some([low, high]) = definition.get_mut(at + 1..at + 3) {
        let number = charset_of(u16::from_le_bytes([*low, *high]));
        [*low, *high] = number.to_le_bytes();
    }
    definition
}

/// The collation that stands for those of its character set.
fn charset_of(collation: u16) -> u16 {
    match collation {
        5 | 15 | 31 | 47..=49 | 94 => 8,
        46 | 224..=247 | 255..=323 | 2304..=2559 => 45,
        83 | 192..=215 | 223 | 2048..=2303 => 33,
        14 | 23 | 50 | 52 => 51,
        74 => 7,
        87 => 28,
        88 => 13,
        65 => 11,
        55 | 101..=124 => 54,
        other => other,
    }
}

/// Whether a row of SHOW VARIABLES is one that may differ.
fn is_exempt(row: &[u8]) -> bool {
    let (len, size) = lenenc(row);
    let name = row.get(size..size + len as usize).unwrap_or_default();
    // In UTF-16, if the client asked for that.
    let name: Vec<u8> = name.iter().copied().filter(|&b| b != 0).collect();
    EXEMPT.iter().any(|exempt| exempt.as_bytes() == name)
}

/// The same of an error's message, without what may differ.
fn what_matters(number: u16, message: &str) -> String {
    match number {
        // MariaDB sometimes counts the rows of the statement before.
        1366 => match message.rsplit_once(" at row ") {
            Some((text, _)) => text.to_owned(),
            None => message.to_owned(),
        },
        // It names the collation that has come with the client's character set, which nothing else shows on MySQL.
        3988 => String::new(),
        // In UTF-16 servers send none, and the proxy its own.
        1210 | 1243 | 1421 => String::new(),
        _ => message.to_owned(),
    }
}

/// Bytes in words, with one name for both databases, in one byte a character or in two.
fn one_name(bytes: &[u8], [direct, pooled]: [&str; 2]) -> String {
    let wide = |name: &str| name.bytes().flat_map(|b| [0, b]).collect::<Vec<u8>>();
    let bytes = replaced(bytes, pooled.as_bytes(), direct.as_bytes());
    let bytes = replaced(&bytes, &wide(pooled), &wide(direct));
    bytes.escape_ascii().to_string()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(from.len() - 1) {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}
