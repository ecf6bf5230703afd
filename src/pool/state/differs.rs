//! The commands that lead from one session's settings to another's.

use std::collections::BTreeSet;

use super::settings::{Settings, statements};
use super::snapshot::Snapshot;
use super::variables::{follow, stays_with_client};

/// Ends a transaction, and forgets the characteristics of the next one, whatever `completion_type`
/// says.
const END_TRANSACTION: &[u8] = b"ROLLBACK AND NO CHAIN NO RELEASE";

/// A command to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// COM_QUERY.
    Query(Vec<u8>),
    /// COM_INIT_DB.
    InitDb(Vec<u8>),
}

/// The settings of a session, and its `LAST_INSERT_ID()`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Side<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// `LAST_INSERT_ID()`; `None` if it is not known.
    pub last_insert_id: Option<u64>,
}

/// Why a connection cannot get to a session's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The connection has a schema, and the session has none: only a login leads there, not even a
    /// reset.
    Schema,
    /// The server does not have this variable, or nobody knows the value that it should get.
    Variable(String),
}

/// The commands that give a connection the settings of another session. It began with `snapshot`,
/// and has the settings `from` now. Empty if nothing differs. They can be sent without waiting for
/// the answers between them, as long as the connection is closed if one fails.
///
/// # Errors
/// No commands do that: the session needs another connection.
pub fn differs(from: Side<'_>, to: Side<'_>, snapshot: &Snapshot) -> Result<Vec<Step>, Obstacle> {
    let (now, wanted) = (from.settings, to.settings);
    if now.schema().is_some() && wanted.schema().is_none() {
        return Err(Obstacle::Schema);
    }
    let schema = wanted.schema().filter(|_| now.schema() != wanted.schema());
    let mut names = differing(now, wanted, snapshot);
    let mut steps = Vec::new();
    // COM_INIT_DB takes names in the character set of the client, and they are known in UTF-8.
    let is_foreign = schema.is_some_and(|name| !name.is_ascii()) && !is_unicode(wanted, snapshot);
    if is_foreign {
        names.insert("character_set_client");
    }
    let mut assignments = Vec::new();
    if let Some(set) = set_names(now, wanted, snapshot, &mut names) {
        assignments.push(set);
    }
    for name in names {
        assignments.push(assignment(name, wanted, snapshot)?);
    }
    if let Some(id) = to
        .last_insert_id
        .filter(|_| from.last_insert_id != to.last_insert_id)
    {
        assignments.push(format!("@@session.last_insert_id={id}"));
    }
    // A transaction keeps what it began with.
    let is_begun = !wanted.characteristics().is_empty();
    let begins_anew =
        now.characteristics() != wanted.characteristics() || is_begun && !assignments.is_empty();
    if begins_anew && !now.characteristics().is_empty() {
        steps.push(Step::Query(END_TRANSACTION.to_vec()));
    }
    let set = (!assignments.is_empty())
        .then(|| Step::Query(format!("SET {}", assignments.join(",")).into_bytes()));
    let choose = schema.map(|name| Step::InitDb(name.to_vec()));
    if is_foreign {
        let unicode = b"SET @@session.character_set_client=_utf8mb4'utf8mb4'";
        steps.push(Step::Query(unicode.to_vec()));
        steps.extend(choose);
        steps.extend(set);
    } else {
        steps.extend(set);
        steps.extend(choose);
    }
    if begins_anew {
        let begin = statements(wanted.characteristics());
        steps.extend(begin.map(|statement| Step::Query(statement.to_vec())));
    }
    Ok(steps)
}

/// The variables to be set, in an order in which none undoes what was set before: by name, so that
/// character sets come before collations.
fn differing<'a>(
    now: &'a Settings,
    wanted: &'a Settings,
    snapshot: &'a Snapshot,
) -> BTreeSet<&'a str> {
    let mentioned = now.variables().chain(wanted.variables());
    let mentioned = mentioned.map(|(name, _)| name);
    let differs = |name: &&str| {
        let effective = now.effective(name, snapshot);
        effective.is_none() || effective != target(name, wanted, snapshot)
    };
    let mut names: BTreeSet<&str> = mentioned.filter(differs).collect();
    let following: Vec<&str> = names
        .iter()
        .flat_map(|name| follow(name))
        .copied()
        .collect();
    names.extend(
        following
            .into_iter()
            .filter(|name| snapshot.value(name).is_some()),
    );
    names
}

/// On MariaDB a client's character set has a collation that no variable shows. It is set together with others, which are to be
/// set after it then. `None` if nothing of it differs.
fn set_names(
    now: &Settings,
    wanted: &Settings,
    snapshot: &Snapshot,
    names: &mut BTreeSet<&str>,
) -> Option<String> {
    let collation = wanted.client_collation(snapshot);
    let is_same = now.client_collation(snapshot) == collation;
    if !snapshot.is_mariadb() || is_same && !names.contains("character_set_client") {
        return None;
    }
    let charset = target("character_set_client", wanted, snapshot)??;
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if !charset.iter().all(is_part) {
        return None;
    }
    let collation = collation.within(charset).map(String::from_utf8_lossy);
    names.remove("character_set_client");
    names.extend(["character_set_results", "collation_connection"]);
    let charset = String::from_utf8_lossy(charset);
    Some(match collation {
        Some(collation) => format!("NAMES {charset} COLLATE {collation}"),
        None => format!("NAMES {charset}"),
    })
}

fn assignment(name: &str, wanted: &Settings, snapshot: &Snapshot) -> Result<String, Obstacle> {
    match (snapshot.value(name), target(name, wanted, snapshot)) {
        (Some(initial), Some(value)) => {
            let value = written(name, value, initial);
            Ok(format!("@@session.{}={value}", snapshot.name(name)))
        }
        _ => Err(Obstacle::Variable(name.to_string())),
    }
}

/// What a variable is to be.
fn target<'a>(
    name: &str,
    wanted: &'a Settings,
    snapshot: &'a Snapshot,
) -> Option<Option<&'a [u8]>> {
    match stays_with_client(name) {
        true => snapshot.value(name),
        false => wanted.effective(name, snapshot),
    }
}

fn is_unicode(settings: &Settings, snapshot: &Snapshot) -> bool {
    let charset = settings.effective("character_set_client", snapshot);
    matches!(charset, Some(Some(b"utf8mb4" | b"utf8mb3" | b"utf8")))
}

/// A value as SQL that is read the same in every SQL mode and character set of a client.
fn written(name: &str, value: Option<&[u8]>, initial: Option<&[u8]>) -> String {
    let Some(value) = value else {
        return String::from("NULL");
    };
    let text = String::from_utf8_lossy(value);
    // No text, and the only one of its kind.
    if name == "system_versioning_asof" && value == b"DEFAULT" {
        return text.into_owned();
    }
    // Quoted numbers are refused, and only a variable for numbers begins with one.
    if is_number(value) && initial.is_some_and(is_number) {
        return text.into_owned();
    }
    if matches!(value, b"ON" | b"OFF") {
        return text.into_owned();
    }
    // All of these are the same in every character set that a client can have. Without a character
    // set of its own, the text would be in that of the connection, and MySQL takes no UTF-16.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_,-+:./= ".contains(byte);
    match value.iter().all(is_plain) {
        true => format!("_utf8mb4'{text}'"),
        false => {
            let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("_utf8mb4 0x{digits}")
        }
    }
}

fn is_number(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    digits.first().is_some_and(u8::is_ascii_digit)
        && points <= 1
        && digits
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.')
}
