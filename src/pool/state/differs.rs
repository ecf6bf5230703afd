//! The commands that lead from one session's settings to another's.

use super::settings::Settings;
use super::snapshot::Snapshot;
use super::variables::{group, stays_with_client};

/// A command to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// COM_QUERY.
    Query(Vec<u8>),
    /// COM_INIT_DB.
    InitDb(Vec<u8>),
}

/// Settings, and the `LAST_INSERT_ID()` that goes with them.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Side<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// `LAST_INSERT_ID()`.
    pub last_insert_id: u64,
}

/// Why a connection cannot get to a session's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The connection has a schema, and the session has none: only a login leads there, not even a
    /// reset.
    Schema,
    /// A variable cannot be set to this value.
    Variable(String),
}

/// The commands that give a connection the settings of another session. It began with `snapshot`,
/// and has the settings `from` now. Empty if nothing differs.
///
/// # Errors
/// No commands do that: the session needs another connection.
pub fn differs(from: Side<'_>, to: Side<'_>, snapshot: &Snapshot) -> Result<Vec<Step>, Obstacle> {
    let mut steps = Vec::new();
    let (now, wanted) = (from.settings, to.settings);
    if now.schema().is_some() && wanted.schema().is_none() {
        return Err(Obstacle::Schema);
    }
    let begins_anew = now.characteristics() != wanted.characteristics();
    if begins_anew && !now.characteristics().is_empty() {
        steps.push(Step::Query(b"ROLLBACK AND NO CHAIN NO RELEASE".to_vec()));
    }
    let mut assignments = assignments(now, wanted, snapshot)?;
    if from.last_insert_id != to.last_insert_id {
        assignments.push(format!("@@session.last_insert_id={}", to.last_insert_id));
    }
    if !assignments.is_empty() {
        let set = format!("SET {}", assignments.join(","));
        steps.push(Step::Query(set.into_bytes()));
    }
    if let Some(schema) = wanted.schema().filter(|_| now.schema() != wanted.schema()) {
        steps.push(Step::InitDb(schema.to_vec()));
    }
    if begins_anew {
        let statements = wanted.characteristics().split(|byte| *byte == b';');
        let statements = statements.map(<[u8]>::trim_ascii);
        let statements = statements.filter(|statement| !statement.is_empty());
        steps.extend(statements.map(|statement| Step::Query(statement.to_vec())));
    }
    Ok(steps)
}

/// The assignments of the one SET.
fn assignments(
    now: &Settings,
    wanted: &Settings,
    snapshot: &Snapshot,
) -> Result<Vec<String>, Obstacle> {
    let mut names: Vec<&str> = Vec::new();
    let mentioned = now.variables().chain(wanted.variables());
    for (name, _) in mentioned {
        let target = target(name, wanted, snapshot);
        if now.effective(name, snapshot) == target || names.contains(&name) {
            continue;
        }
        match group(name) {
            [] => names.push(name),
            group => names.extend(group.iter().filter(|name| snapshot.value(name).is_some())),
        }
    }
    names.sort_unstable();
    names.dedup();
    // The character sets before the collation: BTreeMap's order has it so.
    let assigned = names.iter().map(|name| {
        let value = target(name, wanted, snapshot);
        let value = written(value, snapshot.value(name).flatten());
        Ok(format!("@@session.{}={value}", snapshot.name(name)))
    });
    assigned.collect()
}

/// What a variable is to be.
fn target<'a>(name: &str, wanted: &'a Settings, snapshot: &'a Snapshot) -> Option<&'a [u8]> {
    match stays_with_client(name) {
        true => snapshot.value(name).flatten(),
        false => wanted.effective(name, snapshot),
    }
}

/// A value as SQL, that every server reads the same whatever its mode and character set.
fn written(value: Option<&[u8]>, initial: Option<&[u8]>) -> String {
    let Some(value) = value else {
        return String::from("NULL");
    };
    let text = String::from_utf8_lossy(value);
    if is_number(value) && initial.is_some_and(is_number) {
        return text.into_owned();
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_,-+:./= ".contains(byte);
    match value.iter().all(is_plain) {
        true => format!("'{text}'"),
        false => {
            let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("_utf8mb4 0x{digits}")
        }
    }
}

fn is_number(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    digits.first().is_some_and(u8::is_ascii_digit)
        && digits
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && digits.iter().filter(|byte| **byte == b'.').count() <= 1
}
