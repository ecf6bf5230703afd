//! Which server a statement goes to, where reads may go to replicas.
//!
//! It is asked outside of transactions only, of clients that commit each statement and whose connection is not
//! held. What is not proven to read only goes to the primary.

use crate::pool::judging::catalogue::Hides;
use crate::sql::{Kind, Mode, Statement, Tokens, statement};

/// Where a statement goes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the server that can write.
    Primary,
    /// It only reads tables, and a replica may answer.
    Replica,
    /// Where the client's last statement went: it is about the session, or about that statement.
    Stay,
}

/// Where a text goes. `hides` is what the catalogue knows of what it uses.
pub fn route(sql: &[u8], mode: Mode, hides: &Hides) -> Route {
    let Some(about) = statement(sql, mode) else {
        return Route::Stay;
    };
    if about.ambiguous || !hides.is_nothing() {
        return Route::Primary;
    }
    match about.kind {
        "SELECT" | "TABLE" | "VALUES" => query(sql, mode, &about),
        "SHOW" if found(sql, mode).asks_for_diagnostics => Route::Stay,
        "GET" if about.multi == 1 => Route::Stay,
        "USE" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" if about.multi == 1 => Route::Stay,
        "SET" if about.multi == 1 && is_of_session(sql, mode, &about) => Route::Stay,
        _ => Route::Primary,
    }
}

/// All functions that it calls are declared harmless.
fn query(sql: &[u8], mode: Mode, about: &Statement) -> Route {
    let found = found(sql, mode);
    if !about.read_only_but_for_calls || found.is_about_server {
        return Route::Primary;
    }
    match found.asks_for_diagnostics || !found.has_tables {
        true => Route::Stay,
        false => Route::Replica,
    }
}

/// Words that decide.
#[derive(Copy, Clone, Debug, Default)]
struct Found {
    has_tables: bool,
    /// It asks for what the statement before has left.
    asks_for_diagnostics: bool,
    /// It is about locks, sequences, or the server itself.
    is_about_server: bool,
}

fn found(sql: &[u8], mode: Mode) -> Found {
    const DIAGNOSTICS: &[&[u8]] = &[
        b"ERRORS",
        b"FOUND_ROWS",
        b"PROFILE",
        b"PROFILES",
        b"ROW_COUNT",
        b"WARNINGS",
    ];
    const SERVER: &[&[u8]] = &[
        b"INFORMATION_SCHEMA",
        b"IS_FREE_LOCK",
        b"IS_USED_LOCK",
        b"LASTVAL",
        b"MYSQL",
        b"PERFORMANCE_SCHEMA",
        b"PREVIOUS",
        b"SYS",
    ];
    let mut found = Found::default();
    for token in Tokens::new(sql, mode) {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        let word = match token.kind {
            Kind::Word => text,
            // A name, or a string that may be one.
            Kind::Quoted | Kind::String => text
                .get(1..text.len().saturating_sub(1))
                .unwrap_or_default(),
            Kind::Variable => {
                found.asks_for_diagnostics |= is_count(text);
                continue;
            }
            _ => continue,
        };
        let is_one = |list: &[&[u8]]| list.iter().any(|one| word.eq_ignore_ascii_case(one));
        let is_word = token.kind == Kind::Word;
        found.has_tables |= is_word && is_one(&[b"FROM", b"JOIN", b"TABLE"]);
        found.asks_for_diagnostics |= is_word && is_one(DIAGNOSTICS);
        found.is_about_server |= is_one(SERVER);
    }
    found
}

/// `@@warning_count` and `@@error_count`.
fn is_count(variable: &[u8]) -> bool {
    let is_system = variable.starts_with(b"@@");
    let lower = variable.to_ascii_lowercase();
    is_system && (lower.ends_with(b"warning_count") || lower.ends_with(b"error_count"))
}

/// Whether a SET is about the session alone.
fn is_of_session(sql: &[u8], mode: Mode, about: &Statement) -> bool {
    const OTHERS: &[&[u8]] = &[
        b"DEFAULT",
        b"GLOBAL",
        b"PASSWORD",
        b"PERSIST",
        b"PERSIST_ONLY",
        b"STATEMENT",
    ];
    const PREFIXES: &[&[u8]] = &[b"@@global.", b"@@persist.", b"@@persist_only."];
    let is_other = |token: crate::sql::Token| {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        let begins = |prefix: &&[u8]| {
            text.get(..prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
        };
        match token.kind {
            Kind::Word => OTHERS.iter().any(|one| text.eq_ignore_ascii_case(one)),
            Kind::Variable => PREFIXES.iter().any(begins),
            _ => false,
        }
    };
    about.changes.is_empty()
        && !about.has_select
        // DEFAULT may be a value, too: then it makes no difference where it is asked for.
        && !Tokens::new(sql, mode).any(is_other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Changes;
    use crate::track::Traces;

    /// Where it goes if no routine is declared harmless.
    fn to(sql: &str) -> Route {
        let about = statement(sql.as_bytes(), Mode::default());
        let hides = Hides {
            calls: about.is_some_and(|about| about.changes.contains(Changes::CALL)),
            ..Hides::NOTHING
        };
        route(sql.as_bytes(), Mode::default(), &hides)
    }

    #[test]
    fn reads_go_to_replicas() {
        for sql in [
            "SELECT * FROM t WHERE a = 1",
            "/* x */ (SELECT a FROM t) UNION (SELECT b FROM u)",
            "WITH x AS (SELECT * FROM t) SELECT * FROM x",
            "TABLE t",
            "SELECT LAST_INSERT_ID() FROM t",
            "SELECT @a, @@time_zone FROM t",
            "SELECT a FROM t; SELECT b FROM u",
            "SELECT COUNT(*) FROM t JOIN u USING (a)",
            "SELECT ? FROM t LIMIT ?",
        ] {
            assert_eq!(to(sql), Route::Replica, "{sql}");
        }
    }

    #[test]
    fn what_is_not_proven_to_read_goes_to_the_primary() {
        for sql in [
            "SELECT * FROM t FOR UPDATE",
            "SELECT * FROM t FOR SHARE",
            "SELECT * FROM t LOCK IN SHARE MODE",
            "SELECT * FROM t INTO @a",
            "SELECT * FROM t INTO OUTFILE 'x'",
            "SELECT GET_LOCK('a', 1) FROM t",
            "SELECT IS_FREE_LOCK('a') FROM t",
            "SELECT IS_USED_LOCK('a') FROM t",
            "SELECT NEXTVAL(s) FROM t",
            "SELECT NEXT VALUE FOR s FROM t",
            "SELECT LASTVAL(s) FROM t",
            "SELECT PREVIOUS VALUE FOR s FROM t",
            "SELECT f(a) FROM t",
            "SELECT shop.f(a) FROM t",
            "SELECT @a := a FROM t",
            "SELECT LAST_INSERT_ID(a) FROM t",
            "SELECT SQL_CALC_FOUND_ROWS * FROM t",
            "SELECT * FROM information_schema.processlist",
            "SELECT * FROM `mysql`.user",
            "SELECT * FROM \"performance_schema\".threads",
            "WITH x AS (SELECT 1) DELETE FROM t",
            "WITH x AS (SELECT 1) UPDATE t SET a = 1",
            "INSERT INTO t SELECT * FROM u",
            "DELETE FROM t RETURNING a",
            "SELECT a FROM t; DELETE FROM t",
            "CALL p()",
            "SHOW TABLES",
            "EXPLAIN SELECT * FROM t",
            "BEGIN",
            "SET GLOBAL a = 1",
            "SET @@global.a = 1",
            "SET a = f()",
            "SET a = (SELECT b FROM t)",
            "SET PASSWORD = 'x'",
            "SET DEFAULT ROLE r",
            "SET a = 1; DELETE FROM t",
            "USE a; DELETE FROM t",
            "SELECT /*!99999 1 INTO @a, */ a FROM t",
            "SELECT 'it\\'s' FROM t, '",
            "nonsense",
        ] {
            assert_eq!(to(sql), Route::Primary, "{sql}");
        }
    }

    #[test]
    fn what_is_about_the_session_stays() {
        for sql in [
            "SELECT 1",
            "SELECT @@version",
            "SELECT DATABASE(), CONNECTION_ID()",
            "SELECT FOUND_ROWS()",
            "SELECT ROW_COUNT()",
            "SELECT a, FOUND_ROWS() FROM t",
            "SELECT @@warning_count",
            "SHOW WARNINGS",
            "SHOW COUNT(*) ERRORS",
            "SHOW PROFILES",
            "GET DIAGNOSTICS @n = NUMBER",
            "SET NAMES utf8mb4",
            "SET @@session.time_zone = '+00:00', @a = 1",
            "USE shop",
            "COMMIT",
            "",
            "/* ping */",
        ] {
            assert_eq!(to(sql), Route::Stay, "{sql}");
        }
    }

    #[test]
    fn what_is_declared_harmless_reads() {
        let with = |sql: &str, hides| route(sql.as_bytes(), Mode::default(), &hides);
        let sql = "SELECT shop.price_of(a) FROM t";
        assert_eq!(with(sql, Hides::NOTHING), Route::Replica);
        let locks = Hides {
            traces: Traces::NAMED_LOCKS,
            ..Hides::NOTHING
        };
        assert_eq!(with("SELECT * FROM v", locks), Route::Primary);
        for sql in [
            "SELECT f(a), @a := 1 FROM t",
            "SELECT f(a) FROM t FOR UPDATE",
        ] {
            assert_eq!(with(sql, Hides::NOTHING), Route::Primary, "{sql}");
        }
    }
}
