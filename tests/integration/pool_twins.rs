//! What the random sessions of `tests/pool` have found, each once: short sessions whose connection another client has between
//! any two of their commands, beside the same on a connection of their own.

use super::pool::pool;
use crate::support::outcome::{Block, Outcome, STATE_CHANGED, Told};
use crate::support::wire::{Wire, caps, com, lenenc};
use crate::support::{Server, all};

/// What a client does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Query(&'static str),
    InitDb(&'static str),
    /// COM_SET_OPTION: several statements in a text.
    Several(bool),
    /// Prepares a statement, which later steps mean.
    Prepare(&'static str),
    Execute(&'static [Parameter]),
    /// The same without the types of the parameters.
    Untyped(&'static [Parameter]),
    /// COM_PING
    Ping,
    /// COM_CHANGE_USER to the account that it has, in the database `test`.
    ChangeUser,
    /// Another client has its connection.
    Steal,
    /// Another client would like to have it, and does not get it.
    IsKept,
    /// The same, and then that connection is gone.
    Elsewhere,
}

#[derive(Clone, Copy, Debug)]
enum Parameter {
    Null,
    Integer(i64),
    Double(f64),
    Text(&'static str),
}

use Parameter::*;
use Step::*;

/// A client, of the pool or of the server.
struct Client {
    wire: Wire,
    account: [&'static str; 2],
    statement: u32,
}

impl Client {
    /// Logs in, with a name and a password.
    fn new(port: u16, account: [&'static str; 2], database: &str) -> Client {
        let capabilities = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;
        let mut wire = Wire::login_as(port, account[0], account[1], capabilities);
        wire.outcomes(com::INIT_DB, database.as_bytes());
        Client {
            wire,
            account,
            statement: 0,
        }
    }

    fn does(&mut self, step: Step) -> Vec<Outcome> {
        let wire = &mut self.wire;
        match step {
            Query(sql) => wire.outcomes(com::QUERY, sql.as_bytes()),
            InitDb(name) => wire.outcomes(com::INIT_DB, name.as_bytes()),
            Several(may) => wire.outcomes(com::SET_OPTION, &[u8::from(!may), 0]),
            Ping => wire.outcomes(com::PING, b""),
            ChangeUser => {
                let [name, password] = self.account;
                assert_eq!(wire.change_user(name, password)[0], 0, "{name}");
                Vec::new()
            }
            Steal | IsKept | Elsewhere => Vec::new(),
            Prepare(sql) => {
                let mut outcomes = wire.outcomes(com::STMT_PREPARE, sql.as_bytes());
                if let Some(Outcome::Prepared { statement, .. }) = outcomes.first_mut() {
                    self.statement = std::mem::take(statement);
                }
                outcomes
            }
            Execute(parameters) | Untyped(parameters) => {
                let has_types = matches!(step, Execute(_));
                let argument = execute(self.statement, parameters, has_types);
                wire.outcomes(com::STMT_EXECUTE, &argument)
            }
        }
    }
}

fn execute(statement: u32, parameters: &[Parameter], has_types: bool) -> Vec<u8> {
    let mut argument = statement.to_le_bytes().to_vec();
    argument.extend([0, 1, 0, 0, 0]);
    if parameters.is_empty() {
        return argument;
    }
    let mut nulls = vec![0; parameters.len().div_ceil(8)];
    for (at, parameter) in parameters.iter().enumerate() {
        nulls[at / 8] |= u8::from(matches!(parameter, Null)) << (at % 8);
    }
    argument.extend(nulls);
    argument.push(has_types.into());
    for parameter in parameters.iter().filter(|_| has_types) {
        let kind = match parameter {
            Null => 6,
            Integer(_) => 8,
            Double(_) => 5,
            Text(_) => 0xFD,
        };
        argument.extend([kind, 0]);
    }
    for parameter in parameters {
        match parameter {
            Null => {}
            Integer(number) => argument.extend(number.to_le_bytes()),
            Double(number) => argument.extend(number.to_le_bytes()),
            Text(text) => {
                argument.push(text.len().try_into().expect("a short text"));
                argument.extend(text.as_bytes());
            }
        }
    }
    argument
}

/// An answer in words. What may differ is left out: which collation of its character set a column has, and what MySQL tells of
/// transactions although nobody has asked for it.
fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(told) => format!("OK {}", told_in_words(told)),
        Outcome::Err(number, state, message) => format!("ERR {number} {state} {message}"),
        Outcome::Rows { columns, rows, end } => {
            let [columns, rows] = [shown_all(columns, definition), shown_all(rows, escaped)];
            format!("{columns}{rows}end {}", told_in_words(end))
        }
        Outcome::Prepared {
            parameters,
            columns,
            ..
        } => {
            let [parameters, columns] = [parameters, columns].map(|all| shown_all(all, definition));
            format!("prepared {parameters}; {columns}")
        }
        Outcome::Other(bytes) => escaped(bytes),
    }
}

fn shown_all(all: &[Vec<u8>], one: fn(&[u8]) -> String) -> String {
    all.iter().map(|bytes| one(bytes) + "\n").collect()
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn told_in_words(told: &Told) -> String {
    let is_variable = |block: &&Block| matches!(block, Block::Variable(..));
    let variables = told.blocks.iter().filter(is_variable);
    let variables: String = variables.map(|block| format!(" {block}")).collect();
    let status = told.status & !STATE_CHANGED;
    let info = escaped(&told.info);
    format!(
        "{} rows, id {}, status {status:#x}, {} warnings {info}{variables}",
        told.affected, told.insert_id, told.warnings
    )
}

fn definition(bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    // Catalogue, schema, table and column under both names, and the length of what follows.
    for _ in 0..6 {
        let (len, size) = lenenc(&bytes[at..]);
        at += size + usize::try_from(len).expect("a length");
    }
    const BINARY: [u8; 2] = [63, 0];
    if bytes[at + 1..at + 3] != BINARY {
        bytes[at + 1..at + 3].fill(b'?');
    }
    escaped(&bytes)
}

/// Has a client of a pool of one connection do it, and one of the server, each in a database of its own; their answers are the
/// same. Returns the last one.
fn alike(server: &Server, steps: &[Step]) -> Vec<Outcome> {
    let base = server.database();
    // Of the same length, as metadata have the lengths of names.
    let [of_pool, of_server] = ["p", "d"].map(|side| {
        let name = format!("{base}{side}");
        server.sql(&format!("CREATE DATABASE {name}"));
        let mut admin = Wire::login_empty(server.port, caps::BASE);
        admin.outcomes(com::INIT_DB, name.as_bytes());
        for sql in DATABASE {
            let made = admin.outcomes(com::QUERY, sql.as_bytes());
            assert!(matches!(made[..], [Outcome::Ok(_)]), "{sql}: {made:?}");
        }
        name
    });
    let dpm = pool(server, 1, "queue_timeout = 2");
    let login = |name: &str| Client::new(dpm.port(), ["ann", "p"], name);
    let (mut pooled, mut thief) = (login(&of_pool), login("test"));
    let mut direct = Client::new(server.port, ["empty", ""], &of_server);
    let mut last = Vec::new();
    for step in steps {
        if let IsKept = step {
            let answer = thief.does(Query("SELECT 1"));
            assert!(matches!(answer[..], [Outcome::Err(1040, ..)]), "{answer:?}");
            continue;
        }
        if let Steal | Elsewhere = step {
            let answer = thief.does(Query("SELECT CONNECTION_ID()"));
            let Outcome::Rows { rows, .. } = &answer[0] else {
                panic!("{answer:?}");
            };
            if let Elsewhere = step {
                let id = String::from_utf8_lossy(&rows[0][1..]);
                server.sql(&format!("KILL {id}"));
            }
            continue;
        }
        let got: Vec<_> = pooled.does(*step).iter().map(shown).collect();
        let got: Vec<_> = got
            .iter()
            .map(|one| one.replace(&of_pool, &of_server))
            .collect();
        last = direct.does(*step);
        let wanted: Vec<_> = last.iter().map(shown).collect();
        println!("{step:?}: {wanted:#?}");
        assert_eq!(got, wanted, "{step:?}");
    }
    last
}

/// What each client's database has.
const DATABASE: &[&str] = &[
    "CREATE TABLE u (id INT PRIMARY KEY, s VARCHAR(40)) ENGINE=InnoDB",
    "INSERT INTO u VALUES (1, 'x'), (2, 'y')",
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v INT UNIQUE, s VARCHAR(40)) ENGINE=InnoDB CHARSET=utf8mb4",
    "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'B'), (3, 3, 'it''s'), (4, NULL, 'c')",
    "CREATE PROCEDURE begins() START TRANSACTION",
    "CREATE PROCEDURE begins_and_fails() BEGIN START TRANSACTION; SIGNAL SQLSTATE '45000'; END",
];

all! {
    /// What is made up of the statement before is in the character set that the client wants, names and all.
    fn answers_of_the_proxy_are_in_the_clients_character_set(server) {
        for asked in [
            "SHOW WARNINGS",
            "SHOW COUNT(*) WARNINGS",
            "SELECT ROW_COUNT()",
            "SELECT @@warning_count, @@error_count AS errors",
        ] {
            alike(server, &[
                Query("SET character_set_results = utf16"),
                Query("SELECT CAST('x' AS SIGNED) FROM u"),
                Steal,
                Query(asked),
            ]);
        }
    }
}

all! {
    fn a_transaction_that_an_error_has_ended_is_not_begun_again(server) {
        alike(server, &[
            Query("CALL begins()"),
            Steal,
            Query("DROP TABLE no_such_table"),
            Steal,
            Query("SET @@autocommit = 1"),
        ]);
    }
}

all! {
    /// One that has used nothing goes with its client, also after an error, and answers of the proxy tell of it.
    fn a_transaction_outlives_errors(server) {
        for begin in ["BEGIN", "CALL begins()", "CALL begins_and_fails()"] {
            alike(server, &[
                Query(begin),
                Query("SELECT 1"),
                Steal,
                Query("SELECT * FROM no_such_table"),
                Steal,
                Query("SHOW COUNT(*) WARNINGS"),
                Query("SELECT 1"),
                Query("COMMIT"),
                Query("SELECT 1"),
            ]);
        }
        // One that has used a table stays where it is. What was read of it before that turned out is answered by the proxy.
        alike(server, &[
            Query("BEGIN"),
            Query("INSERT INTO u VALUES (1, 'twice')"),
            IsKept,
            Query("SHOW WARNINGS LIMIT 1"),
            Query("SELECT 1"),
            Query("ROLLBACK"),
        ]);
    }
}

all! {
    fn columns_that_have_changed_are_told_of_on_any_connection(server) {
        alike(server, &[
            Prepare("SELECT * FROM u ORDER BY id"),
            Execute(&[]),
            Query("ALTER TABLE u ADD c INT"),
            Elsewhere,
            Execute(&[]),
            Execute(&[]),
            Query("ALTER TABLE u DROP c"),
            Steal,
            Execute(&[]),
            Steal,
            Execute(&[]),
        ]);
    }
}

all! {
    /// MySQL prepares a statement again for values of another type, in the modes of that moment: what comes of it belongs to
    /// the client, whichever connection it gets.
    fn statements_are_as_executes_before_have_left_them(server) {
        const TEXT: &str = "SELECT ? + 1, \"a\", CHARSET('x'), 'b' || 'c'";
        // In the modes that it was prepared in, after these have changed.
        alike(server, &[
            Prepare(TEXT),
            Execute(&[Double(7.125)]),
            Query("SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'"),
            Execute(&[Double(8.5)]),
            Steal,
            Execute(&[Double(8.5)]),
        ]);
        // In those of the execute, once it was prepared again there.
        alike(server, &[
            Query("SET sql_mode = 'ANSI_QUOTES'"),
            Prepare("SELECT ?, 'a' || 'b'"),
            Query("SET sql_mode = 'PIPES_AS_CONCAT'"),
            Execute(&[Integer(1)]),
            Query("SET sql_mode = ''"),
            Steal,
            Execute(&[Integer(2)]),
            Elsewhere,
            Query("SET sql_mode = 'PIPES_AS_CONCAT'"),
            Execute(&[Integer(2)]),
        ]);
        // As what its parameters were resolved before.
        for text in ["SELECT ?", "SELECT ? + 1", "SELECT id FROM u WHERE id < ?", "UPDATE u SET s = ? WHERE id = 1"] {
            alike(server, &[
                Prepare(text),
                Execute(&[Integer(1)]),
                Elsewhere,
                Execute(&[Integer(2)]),
                Elsewhere,
                Execute(&[Double(1.5)]),
                Elsewhere,
                Execute(&[Double(2.5)]),
                // As a DOUBLE, on every connection.
                Elsewhere,
                Execute(&[Integer(2)]),
                Elsewhere,
                Execute(&[Text("2")]),
            ]);
        }
    }
}

all! {
    fn warnings_are_told_in_the_ok_of_commands_that_keep_them(server) {
        for command in [Ping, Several(true), Several(false), InitDb("test")] {
            alike(server, &[
                Query("SELECT CAST('x' AS SIGNED)"),
                Steal,
                command,
                Query("SHOW COUNT(*) WARNINGS"),
            ]);
            alike(server, &[Query("SELECT 1"), Steal, command]);
            alike(server, &[
                Query("SELECT CAST('x' AS SIGNED)"),
                Query("SHOW WARNINGS"),
                InitDb("no_such_database"),
                Steal,
                command,
            ]);
            // MySQL tells of them no more once they were listed.
            for listed in ["SHOW WARNINGS", "SHOW COUNT(*) WARNINGS", "SELECT @@warning_count"] {
                let steps = [Query("SELECT CAST('x' AS SIGNED)"), Query(listed), Steal, command, command];
                alike(server, &steps);
                let steps = [Query("SELECT CAST('x' AS SIGNED)"), Steal, Query(listed), Steal, command];
                alike(server, &steps);
            }
        }
    }
}

all! {
    /// What was set in a transaction is known although the transaction is nowhere else.
    fn a_statement_is_prepared_again_in_the_middle_of_a_transaction(server) {
        alike(server, &[
            Prepare("SELECT ?, @@sql_mode, CHARSET('x'), COLLATION('x')"),
            Elsewhere,
            Query("BEGIN"),
            Query("UPDATE u SET s = 'z' WHERE id = 1"),
            Query("SET sql_mode = 'PIPES_AS_CONCAT'"),
            Query("SET NAMES utf8mb4 COLLATE utf8mb4_bin"),
            Execute(&[Text("a")]),
            Query("SELECT @@sql_mode, @@collation_connection"),
            Query("SELECT 'a' || 'b', 'a' = 'A', s FROM u ORDER BY id"),
            Query("ROLLBACK"),
            Steal,
            Query("SELECT @@sql_mode, @@collation_connection, s FROM u ORDER BY id"),
        ]);
        // Nor is one that has used nothing begun once more.
        alike(server, &[
            Prepare("SELECT ?, 'a' || 'b'"),
            Query("SET sql_mode = 'PIPES_AS_CONCAT'"),
            Elsewhere,
            Query("BEGIN"),
            Query("SAVEPOINT here"),
            Execute(&[Text("a")]),
            Query("RELEASE SAVEPOINT here"),
            Query("COMMIT"),
        ]);
    }
}

all! {
    /// An error that comes after some of the answer has used it, like any other.
    fn what_an_error_has_used_of_the_next_transaction_is_gone(server) {
        for fails in ["SELECT (SELECT id FROM u)", "SELECT no_such_column FROM u", "INSERT INTO u VALUES (1, 'twice')"] {
            alike(server, &[
                Query("SET TRANSACTION READ ONLY"),
                Query(fails),
                Steal,
                Query("UPDATE u SET s = 'z' WHERE id = 1"),
            ]);
        }
    }
}

all! {
    /// MariaDB compares parameters by a collation that no variable shows.
    fn parameters_have_the_clients_collation(server) {
        const TEXT: &str = "SELECT ?, COLLATION(?)";
        for set in [
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SET NAMES utf8mb4",
            "SET NAMES latin1 COLLATE latin1_bin",
            "SET character_set_client = latin1",
            "SET collation_connection = utf8mb4_unicode_ci",
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin, collation_connection = utf8mb4_unicode_ci",
            "SET NAMES latin1, collation_connection = utf8mb4_bin, character_set_results = NULL",
            "SET CHARACTER SET latin1",
        ] {
            alike(server, &[
                Query(set),
                Steal,
                Prepare(TEXT),
                Execute(&[Text("a"), Text("b")]),
                Steal,
                Execute(&[Text("a"), Text("b")]),
                Query("SELECT @@character_set_client, @@character_set_results, @@collation_connection"),
                Query("SET character_set_results = utf8mb4"),
                Elsewhere,
                Execute(&[Text("a"), Text("b")]),
            ]);
        }
    }
}

all! {
    fn types_that_were_never_bound(server) {
        alike(server, &[
            Prepare("SELECT ?, ?"),
            Untyped(&[Integer(1), Null]),
            Untyped(&[Null, Null]),
            Elsewhere,
            Untyped(&[Null, Null]),
            Untyped(&[Integer(1), Null]),
            Execute(&[Integer(1), Text("a")]),
            Steal,
            Untyped(&[Integer(2), Text("b")]),
            Untyped(&[Null, Null]),
        ]);
    }
}

all! {
    /// Servers do not prepare what cannot be executed, and know the types of what they have prepared before.
    fn types_are_bound_by_an_execute_that_fails(server) {
        alike(server, &[
            Prepare("UPDATE u SET s = ? WHERE id = ?"),
            Query("SET SESSION TRANSACTION READ ONLY"),
            Elsewhere,
            Execute(&[Integer(9), Integer(3)]),
            Ping,
            Query("SHOW WARNINGS"),
            Query("SELECT ROW_COUNT()"),
            Query("SET SESSION TRANSACTION READ WRITE"),
            Untyped(&[Integer(6), Integer(-2)]),
        ]);
    }
}

all! {
    fn several_statements_are_allowed_as_before_after_a_change_of_user(server) {
        for may in [false, true] {
            alike(server, &[
                Several(may),
                ChangeUser,
                Query("SELECT 1; SELECT 2"),
                Steal,
                Query("SELECT 1; SELECT 2"),
            ]);
        }
    }
}
