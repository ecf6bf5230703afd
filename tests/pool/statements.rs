//! The statements that sessions are made of, as templates: `{name}` is one of the values of that name.
//!
//! The prefixes `M `, `M10 `, `M11 ` and `MY ` say on which servers a template is used; without one it is used on all.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::support::Flavour;

/// What a statement does to the connection it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Nothing that another client could feel: the pool restores it, or there is nothing to restore.
    Nothing,
    /// It may begin a transaction, or locks that have an end of their own.
    Transaction,
    /// It holds the connection until the session ends.
    Session,
}

/// Templates of one kind, and how often they are used.
pub struct Kind {
    pub weight: u32,
    pub holds: Holds,
    pub templates: &'static [&'static str],
}

/// The values of `{name}`.
const VALUES: &[(&str, &[&str])] = &[
    ("n", &["1", "2", "3", "4", "5", "6", "7", "12", "40"]),
    ("id", &["1", "2", "3", "5", "9", "70", "200", "0", "NULL"]),
    ("big", &["65536", "131072", "70000", "1048576"]),
    ("bit", &["0", "1", "DEFAULT"]),
    (
        "mode",
        &[
            "''",
            "'ANSI_QUOTES'",
            "'NO_BACKSLASH_ESCAPES'",
            "'PIPES_AS_CONCAT'",
            "'ANSI'",
            "'TRADITIONAL'",
            "'STRICT_ALL_TABLES'",
            "'IGNORE_SPACE'",
            "DEFAULT",
            "'NO_ZERO_DATE'",
            "'NO_UNSIGNED_SUBTRACTION,HIGH_NOT_PRECEDENCE'",
            "'NO_AUTO_VALUE_ON_ZERO'",
            "CONCAT(@@sql_mode, ',ANSI_QUOTES')",
            "'no such mode'",
        ],
    ),
    (
        "zone",
        &[
            "'+00:00'",
            "'+01:00'",
            "'-11:30'",
            "'SYSTEM'",
            "DEFAULT",
            "'no such zone'",
            "'+13:00'",
        ],
    ),
    (
        "names",
        &[
            "latin1",
            "utf8mb4",
            "utf8mb4 COLLATE utf8mb4_bin",
            "latin1 COLLATE latin1_german1_ci",
            "cp1251",
            "utf8mb4 COLLATE utf8mb4_unicode_ci",
            "ascii",
            "DEFAULT",
            "koi8r",
            "gbk",
            "latin1 COLLATE utf8mb4_bin",
            "'utf8mb4'",
            "sjis",
        ],
    ),
    (
        "charset",
        &[
            "latin1", "utf8mb4", "cp1251", "koi8r", "gbk", "binary", "DEFAULT",
        ],
    ),
    (
        "results",
        &[
            "latin1", "utf8mb4", "cp1251", "NULL", "utf16", "binary", "DEFAULT",
        ],
    ),
    (
        "collation",
        &[
            "utf8mb4_bin",
            "utf8mb4_general_ci",
            "latin1_bin",
            "latin1_german2_ci",
            "cp1251_general_ci",
            "DEFAULT",
        ],
    ),
    (
        "level",
        &[
            "READ UNCOMMITTED",
            "READ COMMITTED",
            "REPEATABLE READ",
            "SERIALIZABLE",
        ],
    ),
    (
        "isolation",
        &[
            "'READ-UNCOMMITTED'",
            "'READ-COMMITTED'",
            "'REPEATABLE-READ'",
            "'SERIALIZABLE'",
            "DEFAULT",
        ],
    ),
    ("access", &["READ ONLY", "READ WRITE"]),
    ("locale", &["de_DE", "fr_FR", "en_US", "ja_JP"]),
    ("var", &["@a", "@b", "@`c d`", "@A"]),
    (
        "value",
        &[
            "1",
            "'x'",
            "NULL",
            "1.50",
            "1e0",
            "X'ff00'",
            "_latin1 X'e9'",
            "''",
            "CAST(-1 AS UNSIGNED)",
            "'it''s \\\\ \"q\"'",
            "N'n'",
            "@a",
        ],
    ),
    (
        "string",
        &[
            "'x'", "'a'", "'B'", "''", "'it''s'", "'\\\\'", "\"q\"", "'a\\'b'",
        ],
    ),
];

/// Settings that a pool restores.
const SETTINGS: Kind = Kind {
    weight: 18,
    holds: Holds::Nothing,
    templates: &[
        "SET sql_mode={mode}",
        "SET SESSION sql_mode = {mode}",
        "SET @@sql_mode={mode}",
        "SET @@session.sql_mode:={mode}",
        "SET LOCAL `sql_mode`={mode}",
        "SET sql_mode={mode}, time_zone={zone}, sort_buffer_size={big}",
        "SET time_zone={zone}",
        "SET @@time_zone={zone}",
        "SET NAMES {names}",
        "SET CHARACTER SET {names}",
        "SET character_set_results={results}",
        "SET character_set_client={charset}",
        "SET character_set_connection={charset}",
        "SET collation_connection={collation}",
        "SET NAMES latin1, collation_connection={collation}, @@character_set_results={results}",
        "SET SESSION TRANSACTION ISOLATION LEVEL {level}",
        "SET SESSION TRANSACTION {access}",
        "SET SESSION TRANSACTION ISOLATION LEVEL {level}, {access}",
        "M10 SET tx_isolation={isolation}",
        "M11 SET transaction_isolation={isolation}",
        "MY SET transaction_isolation={isolation}",
        "SET sort_buffer_size={big}",
        "SET @@sort_buffer_size={big}",
        "SET div_precision_increment={n}",
        "SET @@div_precision_increment={n}",
        "SET group_concat_max_len={n}",
        "SET max_sort_length={big}",
        "SET lc_time_names={locale}",
        "SET @@lc_time_names='{locale}'",
        "SET sql_select_limit={n}",
        "SET sql_select_limit=DEFAULT",
        "SET sql_safe_updates={bit}",
        "SET foreign_key_checks={bit}, unique_checks={bit}",
        "SET @@foreign_key_checks={bit}",
        "SET sql_auto_is_null={bit}",
        "SET sql_quote_show_create={bit}",
        "SET sql_notes={bit}",
        "SET sql_warnings={bit}",
        "SET sql_big_selects={bit}",
        "SET default_week_format={n}",
        "SET auto_increment_increment={n}",
        "SET auto_increment_increment={n}, auto_increment_offset={n}",
        "SET innodb_lock_wait_timeout={n}",
        "SET lock_wait_timeout={big}",
        "SET wait_timeout={big}",
        "SET net_write_timeout={big}",
        "SET optimizer_switch='index_merge=off'",
        "SET optimizer_switch=DEFAULT",
        "SET default_storage_engine=MyISAM",
        "SET last_insert_id={n}",
        "SET @@last_insert_id={n}",
        "SET @@identity={n}",
        "SET max_error_count={n}",
        "SET big_tables={bit}",
        "SET max_length_for_sort_data={big}",
        "SET updatable_views_with_limit={bit}",
        "USE {db}",
        "USE {db}x",
        "USE no_such_database",
        "SET no_such_variable=1",
        "SET sql_mode=(SELECT 'ANSI_QUOTES')",
        "M SET STATEMENT sort_buffer_size={big} FOR SELECT @@sort_buffer_size",
        "M SET STATEMENT time_zone={zone}, sql_mode={mode} FOR SELECT @@time_zone",
        "MY SELECT /*+ SET_VAR(sort_buffer_size={big}) */ @@sort_buffer_size",
    ],
};

/// What hides a setting from those who do not read as the server does.
const HIDDEN: Kind = Kind {
    weight: 4,
    holds: Holds::Nothing,
    templates: &[
        "/*! SET sql_mode={mode} */",
        "/*!40101 SET NAMES {names} */",
        "SET /* sql_mode='' */ time_zone /**/ = {zone} -- , sql_mode='ANSI'",
        "SET time_zone={zone} # , sql_mode='ANSI'",
        "-- a comment\nSET time_zone={zone}",
        "/* SET time_zone='+05:00' */ SELECT @@time_zone",
        "SELECT 'SET time_zone=''+05:00''' AS text",
        "SET time_zone=/*!50000 {zone} */",
        "sEt/**/sEsSiOn/**/tImE_zOnE={zone}",
        "\tSET\n\tsql_mode\n=\n{mode}\n;",
        "SET `time_zone`={zone}, @@session.`sort_buffer_size`={big};",
        "/*!50000 USE */ {db}x",
    ],
};

/// Queries whose answers depend on the session. (None for `IS NULL` while `sql_auto_is_null` is on: servers answer only the
/// first one after an INSERT with its row, and show nowhere whether there was one.)
const QUERIES: Kind = Kind {
    weight: 24,
    holds: Holds::Nothing,
    templates: &[
        "SELECT * FROM {db}.t WHERE id < {n} ORDER BY id",
        "SELECT id, v, s FROM {db}.t WHERE s = {string} ORDER BY id",
        "SELECT COUNT(*), MAX(v) FROM {db}.t",
        "SELECT * FROM t ORDER BY id LIMIT {n}",
        "SELECT SQL_CALC_FOUND_ROWS id FROM {db}.t ORDER BY id LIMIT 2",
        "SELECT id FROM {db}.t UNION SELECT id FROM {db}.u ORDER BY 1 LIMIT {n}",
        "SELECT * FROM {db}.w ORDER BY id",
        "SELECT DATABASE(), SCHEMA()",
        "SELECT @@sql_mode, @@time_zone, @@autocommit",
        "SELECT @@character_set_client, @@character_set_results, @@character_set_connection, @@collation_connection",
        "SELECT @@sort_buffer_size, @@div_precision_increment, @@lc_time_names, @@sql_select_limit",
        "SELECT @@foreign_key_checks, @@unique_checks, @@sql_safe_updates, @@sql_auto_is_null, @@sql_notes",
        "M10 SELECT @@tx_isolation, @@tx_read_only",
        "M11 SELECT @@tx_isolation, @@tx_read_only",
        "MY SELECT @@transaction_isolation, @@transaction_read_only",
        "SELECT @@auto_increment_increment, @@default_storage_engine, @@optimizer_switch, @@max_error_count",
        "SELECT 1/3, \"a\", 'a' || 'b', 'a\\\\b', CAST(0 AS UNSIGNED) - 1",
        "SELECT FROM_UNIXTIME(86400), UNIX_TIMESTAMP('2020-01-01')",
        "SELECT DATE_FORMAT('2020-03-01', '%M %W'), WEEK('2020-03-01')",
        "SELECT 'a' = 'A', 'a' = 'ä', HEX('ä'), CHARSET('x'), COLLATION('x')",
        "SELECT GROUP_CONCAT(s ORDER BY id) FROM {db}.t",
        "SELECT NOT 1 BETWEEN -5 AND 5 FROM {db}.t",
        "SELECT LAST_INSERT_ID(), @@last_insert_id, @@identity",
        "SELECT CURRENT_USER(), CURRENT_ROLE()",
        "SELECT 1",
        "SELECT REPEAT('x', 3000)",
        "SELECT CAST('x' AS SIGNED), 1/0",
        "SHOW CREATE TABLE {db}.u",
        "SHOW TABLES",
        "SHOW SESSION VARIABLES",
        "SHOW VARIABLES LIKE 'character\\_set%'",
        "DO 1",
        "EXPLAIN SELECT 1",
        "SELECT {db}.twice({n}), {db}.twice(v) FROM {db}.t ORDER BY id LIMIT 2",
        "CALL {db}.shows({n})",
        "VALUES ROW(1, {n}), ROW(2, 3)",
        "WITH c AS (SELECT {n} AS n) SELECT n FROM c",
        "SELECT {n} INTO OUTFILE '/no/such/folder'",
        "(SELECT 1)",
        "TABLE {db}.u",
    ],
};

/// Statements that change rows, and what they leave of LAST_INSERT_ID().
const WRITES: Kind = Kind {
    weight: 16,
    holds: Holds::Nothing,
    templates: &[
        "INSERT INTO {db}.t (s) VALUES ({string})",
        "INSERT INTO {db}.t (s) VALUES ('m'), ({string})",
        "INSERT INTO {db}.t VALUES ({id}, NULL, 'id')",
        "INSERT IGNORE INTO {db}.t VALUES ({id}, 1, 'ignored')",
        "REPLACE INTO {db}.t VALUES ({id}, NULL, 'replaced')",
        "INSERT INTO {db}.t (v, s) VALUES ({n}, 'd') ON DUPLICATE KEY UPDATE s = 'updated'",
        "INSERT INTO {db}.t (v) VALUES ({n}) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)",
        "INSERT INTO {db}.t (s) SELECT s FROM {db}.u",
        "INSERT INTO {db}.t (v) VALUES (NULL), ({n}), ({n})",
        "M INSERT INTO {db}.t (s) VALUES ('r') RETURNING id, s",
        "UPDATE {db}.u SET s = {string} WHERE id = {n}",
        "UPDATE {db}.u SET s = 'all'",
        "UPDATE {db}.u SET id = LAST_INSERT_ID(id) WHERE id = {n}",
        "DELETE FROM {db}.t WHERE id > 6",
        "DELETE FROM {db}.t WHERE id > 4 ORDER BY id LIMIT 1",
        "SELECT LAST_INSERT_ID({n})",
        "DO LAST_INSERT_ID({n})",
        "CALL {db}.inserts()",
        "SELECT {db}.inserts_too()",
        "INSERT INTO {db}.quiet VALUES ({n}) ON DUPLICATE KEY UPDATE v = v + 1",
        "TRUNCATE TABLE {db}.t",
        "ALTER TABLE {db}.u ADD c{n} INT",
        "ALTER TABLE {db}.u DROP c{n}",
        "OPTIMIZE TABLE {db}.u",
        "CREATE TABLE {db}.made (a INT)",
        "DROP TABLE IF EXISTS {db}.made",
    ],
};

/// What is asked about the statement before, in forms that the proxy can answer.
pub const ASIDES: Kind = Kind {
    weight: 0,
    holds: Holds::Nothing,
    templates: &[
        "SHOW WARNINGS",
        "SHOW WARNINGS",
        "SHOW ERRORS",
        "SHOW WARNINGS LIMIT 1",
        "SHOW COUNT(*) WARNINGS",
        "SELECT ROW_COUNT()",
        "SELECT @@warning_count, @@error_count",
        "SELECT LAST_INSERT_ID()",
    ],
};

/// Statements that are followed by one of those: what they do to the diagnostics is certain.
pub const CERTAIN: Kind = Kind {
    weight: 0,
    holds: Holds::Nothing,
    templates: &[
        "SELECT * FROM t ORDER BY id LIMIT {n}",
        "SELECT id, CAST(s AS SIGNED) FROM t ORDER BY id",
        "SELECT 'certain' + 1 FROM u",
        "INSERT INTO t (s) VALUES ({string}), ('certain')",
        "INSERT IGNORE INTO t VALUES ({id}, 1, 'ignored')",
        "INSERT INTO t (v) VALUES ('x')",
        "UPDATE u SET s = {string}",
        "DELETE FROM t WHERE id > 6",
        "SELECT * FROM no_such_table",
        "SELECT no_such_column FROM t",
        "INSERT INTO u VALUES (1, 'twice')",
    ],
};

/// Statements that are followed by a question about them in a form that the pool refuses, until it has learnt
/// that. So they are unlike all others.
pub const ASKED_ABOUT: Kind = Kind {
    weight: 0,
    holds: Holds::Nothing,
    templates: &[
        "SELECT id AS asked FROM t WHERE id < {n} ORDER BY id",
        "SELECT SQL_CALC_FOUND_ROWS id AS asked FROM t LIMIT 1",
        "SELECT 'asked' + 1 FROM u",
    ],
};

/// What is asked about them.
pub const QUESTIONS: Kind = Kind {
    weight: 0,
    holds: Holds::Nothing,
    templates: &[
        "SELECT ROW_COUNT(), FOUND_ROWS(), LAST_INSERT_ID()",
        "SELECT ROW_COUNT() + 1",
        "SELECT FOUND_ROWS() FROM {db}.u",
    ],
};

/// The same, into user variables.
pub const LASTING_QUESTIONS: Kind = Kind {
    weight: 0,
    holds: Holds::Session,
    templates: &[
        "SELECT ROW_COUNT(), FOUND_ROWS(), LAST_INSERT_ID()",
        "GET DIAGNOSTICS @a = NUMBER",
        "GET DIAGNOSTICS CONDITION 1 @b = MESSAGE_TEXT",
    ],
};

/// Errors of all kinds.
const ERRORS: Kind = Kind {
    weight: 6,
    holds: Holds::Nothing,
    templates: &[
        "nonsense",
        "",
        ";",
        "SELECT * FROM {db}.no_such_table",
        "SELECT no_such_column FROM {db}.t",
        "INSERT INTO {db}.u VALUES (1, 'twice')",
        "INSERT INTO {db}.t (v) VALUES ('x')",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='signalled'",
        "CALL {db}.fails({n})",
        "SELECT (SELECT id FROM {db}.t)",
        "DROP TABLE {db}.no_such_table",
        "SELECT 'unterminated",
        "SELECT 1 /* unterminated",
        "CALL {db}.changes_and_fails({n})",
        "ROLLBACK TO no_such_savepoint",
    ],
};

/// Routines that change the session that calls them.
const ROUTINES: Kind = Kind {
    weight: 4,
    holds: Holds::Nothing,
    templates: &[
        "CALL {db}.sets_div({n})",
        "SELECT {db}.sets_div_too({n})",
        "CALL {db}.sets_div_quietly({n})",
        "CALL {db}.warns()",
        "CALL {db}.commits()",
    ],
};

/// Several statements in one text.
const SEVERAL: Kind = Kind {
    weight: 4,
    holds: Holds::Nothing,
    templates: &[
        "SELECT 1; SELECT 2",
        "SET sql_mode={mode}; SELECT @@sql_mode",
        "INSERT INTO {db}.t (s) VALUES ('several'); SELECT LAST_INSERT_ID(); SELECT ROW_COUNT()",
        "BEGIN; UPDATE {db}.u SET s = 'x'; COMMIT",
        "BEGIN; UPDATE {db}.u SET s = 'y'; ROLLBACK; SELECT s FROM {db}.u",
        "SET time_zone={zone}; nonsense; SET time_zone='+09:00'",
        "SELECT 1; CALL {db}.shows(2); SELECT 3",
        "USE {db}x; SELECT DATABASE(); USE {db}",
    ],
};

/// Transactions.
pub const TRANSACTIONS: Kind = Kind {
    weight: 8,
    holds: Holds::Transaction,
    templates: &[
        "BEGIN",
        "BEGIN WORK",
        "START TRANSACTION",
        "START TRANSACTION READ ONLY",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "/*!50000 START */ TRANSACTION",
        "SET TRANSACTION ISOLATION LEVEL {level}",
        "SET TRANSACTION {access}",
        "SET @@transaction_isolation={isolation}",
        "SET autocommit=0",
        "SET @@autocommit=0",
        "LOCK TABLES {db}.t READ, {db}.u WRITE",
        "CALL {db}.begins()",
        "BEGIN; UPDATE {db}.u SET s = 'z'",
        "XA START '{db}'",
    ],
};

/// What is done inside a transaction besides queries and writes.
pub const INSIDE: Kind = Kind {
    weight: 0,
    holds: Holds::Nothing,
    templates: &[
        "SAVEPOINT s1",
        "SAVEPOINT s2",
        "ROLLBACK TO s1",
        "ROLLBACK TO SAVEPOINT s2",
        "RELEASE SAVEPOINT s1",
        "COMMIT AND CHAIN",
        "ROLLBACK AND CHAIN",
        "SET TRANSACTION READ ONLY",
        "SELECT id FROM {db}.t ORDER BY id LIMIT 1 FOR UPDATE",
        "XA END '{db}'",
        "XA COMMIT '{db}' ONE PHASE",
        "XA ROLLBACK '{db}'",
    ],
};

/// What ends a transaction, whatever began it.
pub const ENDS: Kind = Kind {
    weight: 0,
    holds: Holds::Nothing,
    templates: &[
        "COMMIT",
        "ROLLBACK",
        "COMMIT",
        "SET autocommit=1",
        "SET @@autocommit=1",
        "UNLOCK TABLES",
        "CREATE TABLE IF NOT EXISTS {db}.made (a INT)",
    ],
};

/// What stays until the session ends.
pub const LASTING: Kind = Kind {
    weight: 6,
    holds: Holds::Session,
    templates: &[
        "SET {var}={value}",
        "SET {var}={value}, {var}={value}, sql_mode={mode}",
        "SELECT {var}:={value}",
        "SELECT {value}, 2 INTO @a, @b",
        "SELECT {var}",
        "SELECT @a, @b, @`c d`",
        "CALL {db}.gives(@a)",
        "CALL {db}.sets_variable({n})",
        "SELECT {db}.sets_variable_too({n})",
        "INSERT INTO {db}.trigger_sets VALUES ({n})",
        "SELECT * FROM {db}.w, (SELECT @v := {n}) x",
        "CREATE TEMPORARY TABLE {db}.temporary (a INT)",
        "CREATE TEMPORARY TABLE {db}.t (a INT)",
        "CREATE TEMPORARY TABLE temporary SELECT 1 AS a",
        "CREATE TEMPORARY TABLE {db}.temporary LIKE {db}.u",
        "SELECT * FROM {db}.temporary",
        "INSERT INTO {db}.temporary (a) VALUES ({n})",
        "DROP TEMPORARY TABLE IF EXISTS {db}.temporary",
        "DROP TABLE IF EXISTS {db}.temporary",
        "CALL {db}.makes_temporary()",
        "SELECT GET_LOCK('{db}', 1)",
        "DO GET_LOCK('{db}two', 0)",
        "SELECT IS_FREE_LOCK('{db}'), RELEASE_LOCK('{db}')",
        "SELECT RELEASE_ALL_LOCKS()",
        "SELECT {db}.takes_lock()",
        "HANDLER {db}.u OPEN",
        "HANDLER u READ FIRST",
        "HANDLER u READ NEXT",
        "HANDLER u CLOSE",
        "PREPARE p FROM 'SELECT ?, @@sql_mode'",
        "PREPARE p FROM 'UPDATE {db}.u SET s = ? WHERE id = 1'",
        "EXECUTE p USING @a",
        "EXECUTE p",
        "EXECUTE no_such_statement",
        // Whether it is this one that is missing, or one that it calls, is not known.
        "CALL {db}.no_such_procedure()",
        "DEALLOCATE PREPARE p",
        "EXECUTE IMMEDIATE 'SET @a = 7'",
        "SET ROLE pool_role",
        "SET ROLE NONE",
        "M SELECT NEXTVAL({db}.s)",
        "M SELECT LASTVAL({db}.s), PREVIOUS VALUE FOR {db}.s",
        "SET timestamp={big}; SELECT NOW(), @@timestamp; SET timestamp=DEFAULT",
        "SET timestamp={big}",
        "SET insert_id=500",
        "SET rand_seed1={n}, rand_seed2={n}",
        "SELECT RAND({n})",
        "SHOW PROFILES",
        // Some servers execute them, and others do not.
        "/*!99999 SET sql_mode='ANSI' */",
        "/*M!100100 SET time_zone={zone} */",
        // A loadable function, unless spaces are ignored.
        "SELECT COUNT (*) FROM {db}.t",
        "M SET sql_mode=ORACLE",
    ],
};

/// Locks that stop everybody's writes: they are taken and given back by one client, with nobody in between.
pub const STANDSTILLS: &[&[&str]] = &[
    &[
        "FLUSH TABLES WITH READ LOCK",
        "INSERT INTO {db}.t (s) VALUES ('locked')",
        "UNLOCK TABLES",
    ],
    &[
        "FLUSH TABLES {db}.t WITH READ LOCK",
        "SELECT COUNT(*) FROM {db}.t",
        "UNLOCK TABLES",
    ],
    &["M BACKUP LOCK {db}.t", "SELECT 1", "M BACKUP UNLOCK"],
    &[
        "MY LOCK INSTANCE FOR BACKUP",
        "SELECT 1",
        "MY UNLOCK INSTANCE",
    ],
];

/// What is prepared for the binary protocol: `?` stands for any value, `?n` for one that a column of numbers is compared with,
/// or set to.
///
/// MySQL resolves the latter as numbers, unless it has prepared the statement again for a text: it does so whenever the table
/// was altered, truncated, optimised or flushed meanwhile, by anybody, or was only evicted from its cache. What it says of a text
/// that is no number depends on that, also on one connection, so that no proxy could keep it equal.
const PREPARED: &[&str] = &[
    "SELECT ?, ?",
    "SELECT ? + 1, \"a\", @@sql_mode, @@time_zone, DATABASE()",
    "SELECT * FROM {db}.t WHERE id < ?n ORDER BY id",
    "SELECT * FROM t WHERE s = ? ORDER BY id",
    "SELECT * FROM {db}.u ORDER BY id",
    "INSERT INTO {db}.t (s) VALUES (?)",
    "INSERT INTO {db}.t (v, s) VALUES (?n, ?) ON DUPLICATE KEY UPDATE s = 'prepared'",
    "UPDATE {db}.u SET s = ? WHERE id = ?n",
    "SELECT 'a' = 'A', CHARSET('x'), COLLATION('x'), CHARSET(?)",
    "SET time_zone='+07:00'",
    "CALL {db}.shows(?n)",
    "SELECT 1 WHERE ? IS NULL",
    "nonsense ?",
    "DO 1",
    "DELETE FROM {db}.t WHERE id > ?n",
];

/// What a parameter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Anything,
    Number,
}

/// One of what is prepared: its text, and what its parameters are for.
pub fn prepared(dice: &mut StdRng) -> (String, Vec<Place>) {
    let template = PREPARED.choose(dice).expect("a statement");
    let places = template.split('?').skip(1);
    let places = places.map(|after| match after.starts_with('n') {
        true => Place::Number,
        false => Place::Anything,
    });
    (template.replace("?n", "?"), places.collect())
}

/// All that is used at any time.
pub const ANY: &[Kind] = &[
    SETTINGS,
    HIDDEN,
    QUERIES,
    WRITES,
    ERRORS,
    ROUTINES,
    SEVERAL,
    TRANSACTIONS,
    LASTING,
];

/// One of a kind's templates that this server understands, filled in.
pub fn one_of(kind: &Kind, flavour: Flavour, dice: &mut StdRng) -> String {
    loop {
        let template = kind.templates.choose(dice).expect("a template");
        if let Some(sql) = fill(template, flavour, dice) {
            return sql;
        }
    }
}

/// The text of a template; none if it is for other servers.
pub fn fill(template: &str, flavour: Flavour, dice: &mut StdRng) -> Option<String> {
    let text = match template.split_once(' ') {
        Some(("M", rest)) if flavour.is_mariadb() => rest,
        Some(("M10", rest)) if flavour == Flavour::MariaDb => rest,
        Some(("M11", rest)) if flavour == Flavour::MariaDb11 => rest,
        Some(("MY", rest)) if flavour == Flavour::MySql => rest,
        Some(("M" | "M10" | "M11" | "MY", _)) => return None,
        _ => template,
    };
    let mut parts = text.split('{');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once('}').expect("the end of a name");
        match VALUES.iter().find(|(known, _)| *known == name) {
            Some((_, values)) => filled.push_str(values.choose(dice).expect("a value")),
            // The database is filled in when the statement is sent.
            None => filled.push_str(&format!("{{{name}}}")),
        }
        filled.push_str(after);
    }
    Some(filled)
}
