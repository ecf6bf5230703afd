//! `wait_timeout`, which each client has for itself: it acts where the client is, and connections keep the server's.
//!
//! What a client says of it is said to the server in other words. Where it is set, the server is told the value that the
//! connection has anyway, so that the rest of the statement, its errors and its reports are the server's own. Where it is asked
//! for, the client's value stands in its place. Whatever is in another form goes to the server as it is.

use super::made_up::{charset, row_of};
use super::reader::Reader;
use crate::pool::flavour::Flavour;
use crate::sql::{Kind, Mode};
use crate::wire::TextRow;

const NAME: &[u8] = b"wait_timeout";

/// The highest value that servers take, in seconds.
const MAX: u32 = 31_536_000;

/// How long a client may be silent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as the server lets clients by default.
    Default,
    /// So many seconds.
    Seconds(u32),
}

/// What a statement says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing, or what the server may see as it is.
    Nothing,
    /// It sets it; the server is to execute this text.
    Sets(Patience, Vec<u8>),
    /// It asks for it; the server is to execute this text.
    Asks(Vec<u8>),
}

/// What a text says of it. `own` is the client's value if that is not the connection's, `kept` the connection's.
pub fn said(sql: &[u8], mode: Mode, own: Option<u32>, kept: u32) -> Said {
    let mentions = mentions(sql);
    if !mentions {
        return Said::Nothing;
    }
    let reader = Reader::new(sql, mode);
    if reader.is("SET") && mentions {
        if let Some((patience, sql)) = sets(reader, kept) {
            return Said::Sets(patience, sql);
        }
        return Said::Nothing;
    }
    let Some(own) = own else {
        return Said::Nothing;
    };
    let asks = match mentions && reads(&reader) {
        true => asks(reader, own),
        false => None,
    };
    asks.map_or(Said::Nothing, Said::Asks)
}

/// A quick look, which spares most texts the reading.
fn mentions(sql: &[u8]) -> bool {
    memchr::memchr_iter(b'_', sql).any(|at| {
        let from = at.wrapping_sub(b"wait".len());
        let found = sql.get(from..from.wrapping_add(NAME.len()));
        found.is_some_and(|found| found.eq_ignore_ascii_case(NAME))
    })
}

/// Whether it is a statement in which values can stand in place of variables; definitions are none.
fn reads(reader: &Reader<'_>) -> bool {
    const READING: &[&str] = &[
        "SELECT", "WITH", "VALUES", "DO", "CALL", "INSERT", "REPLACE", "UPDATE", "DELETE",
    ];
    reader.is_operator(b"(") || READING.iter().any(|word| reader.is(word))
}

/// Whether this is the session's variable: `@@wait_timeout`, `@@session.wait_timeout`.
fn is_variable(text: &[u8]) -> bool {
    let Some(name) = text.strip_prefix(b"@@") else {
        return false;
    };
    let lower = name.to_ascii_lowercase();
    let scopes = [&b"session."[..], b"local."];
    let name = scopes.iter().find_map(|scope| lower.strip_prefix(*scope));
    is_name(name.unwrap_or(&lower))
}

fn is_name(text: &[u8]) -> bool {
    let name = text.strip_prefix(b"`").unwrap_or(text);
    let name = name.strip_suffix(b"`").unwrap_or(name);
    name.eq_ignore_ascii_case(NAME)
}

/// `SET …`: the last value that it sets, and the text with the connection's own value in its place. `None` if it sets none, or
/// one that only the server can judge.
fn sets(mut reader: Reader<'_>, kept: u32) -> Option<(Patience, Vec<u8>)> {
    let kept = kept.to_string();
    let sql = reader.sql;
    let mut text = Vec::new();
    let mut copied = 0;
    let mut patience = None;
    let mut is_global = false;
    reader.step();
    loop {
        is_global |= ["GLOBAL", "PERSIST", "PERSIST_ONLY"]
            .iter()
            .any(|word| reader.is(word));
        match takes_target(&mut reader) {
            // After GLOBAL, servers differ in what is meant.
            Some(Target::Plain) if is_global => return None,
            Some(_) => {
                patience = Some(value(&reader)?);
                let token = reader.now?;
                text.extend_from_slice(sql.get(copied..token.from)?);
                text.extend_from_slice(kept.as_bytes());
                copied = token.to;
                reader.step();
                let is_all =
                    reader.now.is_none() || reader.is_operator(b",") || reader.is_operator(b";");
                is_all.then_some(())?;
            }
            None => skip_part(&mut reader),
        }
        if !reader.takes_operator(b",") {
            break;
        }
    }
    text.extend_from_slice(sql.get(copied..)?);
    let patience = patience.filter(|_| reader.is_over())?;
    Some((patience, text))
}

/// How the target of an assignment is written.
enum Target {
    /// By its name alone.
    Plain,
    /// With `SESSION`, or `@@`.
    Scoped,
}

/// Steps over the target of an assignment and its sign, if it is this variable.
fn takes_target(reader: &mut Reader<'_>) -> Option<Target> {
    let mut ahead = reader.clone();
    let is_scoped = ahead.takes("SESSION") || ahead.takes("LOCAL");
    let target = match ahead.kind()? {
        Kind::Variable if !is_scoped && is_variable(ahead.text()) => Target::Scoped,
        Kind::Word | Kind::Quoted if is_name(ahead.text()) => match is_scoped {
            true => Target::Scoped,
            false => Target::Plain,
        },
        _ => return None,
    };
    ahead.step();
    (ahead.takes_operator(b"=") || ahead.takes_operator(b":=")).then_some(())?;
    *reader = ahead;
    Some(target)
}

fn value(reader: &Reader<'_>) -> Option<Patience> {
    if reader.is("DEFAULT") {
        return Some(Patience::Default);
    }
    let text = std::str::from_utf8(reader.text()).ok()?;
    let seconds = text
        .parse()
        .ok()
        .filter(|_| reader.kind() == Some(Kind::Number))?;
    (1..=MAX)
        .contains(&seconds)
        .then_some(Patience::Seconds(seconds))
}

/// Skips what is left of a part.
fn skip_part(reader: &mut Reader<'_>) {
    let mut depth = 0_usize;
    while reader.now.is_some() {
        if depth == 0 && (reader.is_operator(b",") || reader.is_operator(b";")) {
            return;
        }
        depth = deeper(reader, depth);
        reader.step();
    }
}

fn deeper(reader: &Reader<'_>, depth: usize) -> usize {
    match (reader.kind(), reader.text()) {
        (Some(Kind::Operator), b"(") => depth + 1,
        (Some(Kind::Operator), b")") => depth.saturating_sub(1),
        _ => depth,
    }
}

/// The text with the client's value in place of the variable. A column that is nothing else keeps its name.
fn asks(mut reader: Reader<'_>, own: u32) -> Option<Vec<u8>> {
    const ENDS: &[&str] = &[
        "FROM",
        "WHERE",
        "GROUP",
        "HAVING",
        "ORDER",
        "LIMIT",
        "INTO",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "FOR",
        "LOCK",
        "VALUES",
        "SET",
    ];
    let sql = reader.sql;
    let mut text = Vec::new();
    let mut copied = 0;
    let mut depth = 0;
    // Whether what is at the top is a list of columns, and a column begins.
    let (mut in_columns, mut begins) = (false, false);
    while let Some(token) = reader.now {
        if reader.kind() == Some(Kind::Variable) && is_variable(reader.text()) {
            text.extend_from_slice(sql.get(copied..token.from)?);
            text.extend_from_slice(format!("CAST({own} AS UNSIGNED)").as_bytes());
            copied = token.to;
            let name = reader.text();
            reader.step();
            let ends = reader.now.is_none()
                || reader.is_operator(b",")
                || reader.is_operator(b";")
                || ENDS.iter().any(|word| reader.is(word));
            if in_columns && begins && depth == 0 && ends {
                let quoted = name.iter().flat_map(|byte| match byte {
                    b'`' => vec![b'`', b'`'],
                    other => vec![*other],
                });
                text.extend_from_slice(b" AS `");
                text.extend(quoted);
                text.push(b'`');
            }
            begins = false;
            continue;
        }
        if depth == 0 {
            in_columns =
                reader.is("SELECT") || in_columns && !ENDS.iter().any(|word| reader.is(word));
            begins = reader.is("SELECT")
                || reader.is("DISTINCT")
                || reader.is("ALL")
                || reader.is_operator(b",");
        }
        depth = deeper(&reader, depth);
        reader.step();
    }
    (copied > 0).then(|| {
        text.extend_from_slice(sql.get(copied..).unwrap_or_default());
        text
    })
}

/// A row of the server's answer to SHOW VARIABLES with the client's own value; `None` if it is another variable's.
pub fn listed(
    row: &[u8],
    flavour: Flavour,
    character_set_results: Option<&[u8]>,
    own: u32,
) -> Option<Vec<u8>> {
    let name = TextRow::new(row).next()?.ok()??;
    let set = charset(flavour, character_set_results)?;
    let is_own = set.text(NAME) == name;
    let value = set.text(own.to_string().as_bytes());
    is_own.then(|| row_of([Some(name), Some(&value[..])].into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(sql: &str) -> (Option<Patience>, String) {
        let text = |sql: Vec<u8>| String::from_utf8(sql).unwrap();
        match said(sql.as_bytes(), Mode::default(), Some(5), 28800) {
            Said::Nothing => (None, String::new()),
            Said::Sets(patience, sql) => (Some(patience), text(sql)),
            Said::Asks(sql) => (None, text(sql)),
        }
    }

    #[test]
    fn the_server_is_told_the_value_that_it_has() {
        for (sql, seconds, told) in [
            ("SET wait_timeout = 7", 7, "SET wait_timeout = 28800"),
            (
                "set session WAIT_TIMEOUT=7;",
                7,
                "set session WAIT_TIMEOUT=28800;",
            ),
            ("SET @@wait_timeout := 7", 7, "SET @@wait_timeout := 28800"),
            (
                "SET NAMES utf8mb4, @@SESSION.sql_mode = CONCAT(@@sql_mode, ',x'), @@session.`wait_timeout` = 2147483, autocommit=1",
                2_147_483,
                "SET NAMES utf8mb4, @@SESSION.sql_mode = CONCAT(@@sql_mode, ',x'), @@session.`wait_timeout` = 28800, autocommit=1",
            ),
            (
                "SET wait_timeout=7, wait_timeout=8",
                8,
                "SET wait_timeout=28800, wait_timeout=28800",
            ),
        ] {
            assert_eq!(
                said_of(sql),
                (Some(Patience::Seconds(seconds)), told.into()),
                "{sql}"
            );
        }
        assert_eq!(
            said_of("SET wait_timeout = DEFAULT"),
            (Some(Patience::Default), "SET wait_timeout = 28800".into())
        );
    }

    #[test]
    fn what_only_a_server_can_judge_goes_to_it() {
        for sql in [
            "SET wait_timeout = 0",
            "SET wait_timeout = -1",
            "SET wait_timeout = 99999999999",
            "SET wait_timeout = '7'",
            "SET wait_timeout = 7 + 1",
            "SET wait_timeout = @a",
            "SET GLOBAL wait_timeout = 7",
            "SET GLOBAL max_connections = 5, wait_timeout = 7",
            "SET @@global.wait_timeout = 7",
            "SET STATEMENT wait_timeout = 7 FOR SELECT 1",
            "SET lock_wait_timeout = 7, innodb_lock_wait_timeout = 8",
            "SET wait_timeout = 7; SELECT 1",
            "SET @x = 'wait_timeout = 7'",
            "CREATE PROCEDURE p() SELECT @@wait_timeout",
            "PREPARE s FROM 'SELECT @@wait_timeout'",
            "SELECT @@global.wait_timeout, '@@wait_timeout', @wait_timeout",
            "SHOW VARIABLES LIKE 'sql_mode'",
            "SHOW GLOBAL VARIABLES LIKE 'wait_timeout'",
            "SHOW STATUS",
            "SELECT 1",
        ] {
            assert_eq!(said_of(sql), (None, String::new()), "{sql}");
        }
    }

    #[test]
    fn the_clients_value_stands_where_it_is_asked_for() {
        for (sql, told) in [
            (
                "SELECT @@wait_timeout",
                "SELECT CAST(5 AS UNSIGNED) AS `@@wait_timeout`",
            ),
            (
                "select @@Session.`wait_timeout` , @@sql_mode from dual",
                "select CAST(5 AS UNSIGNED) AS `@@Session.``wait_timeout``` , @@sql_mode from dual",
            ),
            (
                "SELECT @@wait_timeout AS w, 1",
                "SELECT CAST(5 AS UNSIGNED) AS w, 1",
            ),
            ("SELECT @@wait_timeout w", "SELECT CAST(5 AS UNSIGNED) w"),
            (
                "SELECT f(1, @@wait_timeout, 2) x",
                "SELECT f(1, CAST(5 AS UNSIGNED), 2) x",
            ),
            (
                "SELECT a FROM t ORDER BY 1, @@wait_timeout",
                "SELECT a FROM t ORDER BY 1, CAST(5 AS UNSIGNED)",
            ),
            (
                "INSERT INTO t VALUES (1, @@wait_timeout)",
                "INSERT INTO t VALUES (1, CAST(5 AS UNSIGNED))",
            ),
        ] {
            assert_eq!(said_of(sql), (None, told.into()), "{sql}");
        }
    }

    #[test]
    fn lists_show_it() {
        let row = |name: &str, value: &str| {
            row_of([Some(name.as_bytes()), Some(value.as_bytes())].into_iter())
        };
        let listed = |row: &[u8]| listed(row, Flavour::MariaDb, Some(b"utf8mb4"), 5);
        let shown = listed(&row("wait_timeout", "28800"));
        assert_eq!(shown, Some(row("wait_timeout", "5")));
        assert_eq!(listed(&row("lock_wait_timeout", "28800")), None);
        assert_eq!(listed(b"\xFE"), None);
    }
}
