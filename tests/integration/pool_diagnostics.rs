//! What the pool believes of diagnostics, compared with what real servers say: warnings,
//! `ROW_COUNT()` and `FOUND_ROWS()` of statements that come before.

use dpm::pool::answers::diagnostics::{Answer as Reply, Diagnostics, Outcome, asked, manner};
use dpm::pool::{Flavour as Kind, Results};
use dpm::sql::Mode;
use dpm::wire::{Capabilities, Column, Com, Eof, ErrPacket, Ok as OkPacket, TextRow};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::server::{Flavour, Server, mariadb, mariadb11, mysql};
use crate::support::wire::{Wire, caps, com};

const CAPABILITIES: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// Statements that ask, in forms that the proxy answers.
const PLAIN: &[&str] = &[
    "SHOW WARNINGS",
    "SHOW WARNINGS LIMIT 1",
    "SHOW WARNINGS LIMIT 1, 1",
    "SHOW ERRORS",
    "SHOW COUNT(*) WARNINGS",
    "SHOW COUNT(*) ERRORS",
    "SELECT @@warning_count",
    "SELECT @@session.error_count AS errors",
    "SELECT ROW_COUNT()",
    "select found_rows( ) as n, Row_Count()",
    "SELECT FOUND_ROWS()",
];

/// Statements that ask in others.
const OTHERS: &[&str] = &[
    "SELECT ROW_COUNT() + 0",
    "SELECT FOUND_ROWS() FROM three",
    "GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT",
    "RESIGNAL",
    "SET @a = 1; SHOW WARNINGS",
];

/// Statements that change any of the values, or not.
const STATEMENTS: &[&str] = &[
    "SELECT * FROM three",
    "SELECT * FROM three LIMIT 2",
    "SELECT * FROM three LIMIT 1, 1",
    "SELECT * FROM three LIMIT 2 OFFSET 1",
    "SELECT * FROM three ORDER BY b LIMIT 1",
    "SELECT * FROM three WHERE a > 100",
    "SELECT MIN(a) FROM three WHERE a > 100",
    "SELECT COUNT(*) FROM three",
    "SELECT b, COUNT(*) FROM three GROUP BY b",
    "SELECT DISTINCT b FROM three LIMIT 1",
    "SELECT SQL_CALC_FOUND_ROWS * FROM three LIMIT 1",
    "(SELECT a FROM three LIMIT 1) UNION ALL SELECT a FROM three LIMIT 2",
    "SELECT a FROM three UNION SELECT 7",
    "SELECT * FROM (SELECT * FROM three LIMIT 2) x",
    "SELECT 1",
    "SELECT 1 FROM DUAL",
    "SELECT 1 LIMIT 0",
    "SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED)",
    "SELECT CAST(b AS SIGNED) FROM texts",
    "SELECT a INTO @x FROM three LIMIT 1",
    "SELECT 1 INTO @x",
    "(SELECT 1)",
    "SELECT @@sql_mode, DATABASE(), CONCAT('a', 1)",
    "SELECT CHARSET('x'), LAST_INSERT_ID()",
    "SELECT GROUP_CONCAT(a) FROM three",
    "SELECT SUM(a) FROM three",
    "SELECT MAX(a), COUNT(*) FROM three",
    "WITH c AS (SELECT * FROM three) SELECT * FROM c",
    "INSERT INTO numbers VALUES (1), (2)",
    "INSERT INTO numbers VALUES ('a'), ('b'), (3)",
    "INSERT INTO numbers SELECT a FROM three WHERE a > 1",
    "INSERT INTO numbers VALUES ((SELECT MAX(a) FROM three))",
    "REPLACE INTO numbers VALUES (5)",
    "UPDATE numbers SET a = 5 ORDER BY a LIMIT 1",
    "UPDATE numbers SET a = a",
    "DELETE FROM numbers",
    "DELETE FROM numbers WHERE a IN (SELECT a FROM three)",
    "SET @a = 1",
    "SET @a = (SELECT MAX(a) FROM three)",
    "SET NAMES utf8mb4",
    "SET sort_buffer_size = 1",
    "SET NAMES latin1",
    "BEGIN",
    "COMMIT",
    "SAVEPOINT s",
    "DO 1",
    "DO CAST('x' AS SIGNED)",
    "DO (SELECT 1 FROM three LIMIT 1)",
    "SHOW TABLES",
    "SHOW VARIABLES LIKE 'autocommit'",
    "SHOW SESSION VARIABLES LIKE 'autocommit'",
    "SHOW GLOBAL STATUS LIKE 'Com_ha_open'",
    "SHOW FULL COLUMNS FROM three",
    "SHOW COLUMNS FROM three",
    "SHOW DATABASES LIKE 'x'",
    "SHOW CREATE TABLE three",
    "EXPLAIN SELECT * FROM three",
    "CREATE TABLE IF NOT EXISTS three (a INT)",
    "DROP TABLE IF EXISTS missing",
    "DROP TEMPORARY TABLE IF EXISTS passing",
    "CREATE OR REPLACE VIEW seen AS SELECT 1",
    "ALTER TABLE numbers COMMENT 'x'",
    "TRUNCATE TABLE numbers",
    "OPTIMIZE TABLE numbers",
    "PREPARE s FROM 'SELECT 1'",
    "CALL inserts()",
    "CALL selects()",
    "CALL fails()",
    "SELECT adds()",
    "DO adds()",
    "SELECT * FROM missing",
    "SELECT 'é' FROM missing_é",
    "nonsense",
    "/* nothing */",
    "SELECT 1; INSERT INTO numbers VALUES (1), (2)",
    "INSERT INTO numbers VALUES ('x'); SELECT 1",
    "SET @a = 1; DO 1",
];

/// Commands that are no statements.
const COMMANDS: &[(u8, &[u8])] = &[
    (com::PING, b""),
    (com::INIT_DB, b"missing"),
    (com::STMT_PREPARE, b"SELECT * FROM three"),
    (com::STMT_PREPARE, b"SELECT * FROM missing"),
    (com::SET_OPTION, b"\0\0"),
    (com::STATISTICS, b""),
    (com::RESET_CONNECTION, b""),
];

fn kind(flavour: Flavour) -> Kind {
    match flavour.is_mariadb() {
        true => Kind::MariaDb,
        false => Kind::MySql,
    }
}

/// The client's tables, those of its private connection, and those of others. The names have the same
/// length, as they are in texts of warnings.
const DATABASES: [&str; 3] = ["diagnostics1", "diagnostics2", "diagnostics3"];

fn prepare_tables(server: &Server) {
    for name in DATABASES {
        server.sql(&format!(
            "CREATE DATABASE {name};
             USE {name};
             SET sql_mode = '';
             SET GLOBAL log_bin_trust_function_creators = 1;
             CREATE TABLE three (a INT PRIMARY KEY, b INT);
             INSERT INTO three VALUES (1, 1), (2, 1), (3, 2);
             CREATE TABLE texts (b VARCHAR(9));
             INSERT INTO texts VALUES ('x'), ('y'), ('z');
             CREATE TABLE numbers (a INT);
             CREATE PROCEDURE inserts() INSERT INTO numbers VALUES ('a'), ('b');
             CREATE PROCEDURE selects() SELECT * FROM three;
             CREATE PROCEDURE fails() SIGNAL SQLSTATE '45000';
             DELIMITER //
             CREATE FUNCTION adds() RETURNS INT
             BEGIN INSERT INTO numbers VALUES ('x'); RETURN 1; END//"
        ));
    }
}

/// A connection of its own to a server.
struct Connection {
    wire: Wire,
}

impl Connection {
    fn new(server: &Server, database: &str) -> Connection {
        let mut connection = Connection {
            wire: Wire::login_empty(server.port, CAPABILITIES),
        };
        connection.set_up("utf8mb4", database);
        connection
    }

    fn set_up(&mut self, charset: &str, database: &str) {
        let set = format!("SET NAMES {charset}, sql_mode = ''");
        self.run(com::QUERY, set.as_bytes());
        self.run(com::INIT_DB, database.as_bytes());
    }

    /// The packets of a command's answer.
    fn run(&mut self, command: u8, argument: &[u8]) -> Vec<Vec<u8>> {
        self.wire.exchange(command, argument)
    }

    fn rows(&mut self, sql: &[u8]) -> Vec<Vec<u8>> {
        let packets = self.run(com::QUERY, sql);
        let shown = results(&packets);
        assert_eq!(shown.len(), 1, "{}", String::from_utf8_lossy(sql));
        shown.into_iter().next().unwrap().rows
    }
}

/// A result as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    columns: Vec<Column>,
    rows: Vec<Vec<u8>>,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Ok { affected: u64, warnings: u16 },
    Eof,
    Err(u16, Vec<u8>),
}

/// The results in the packets of an answer to a query.
fn results(packets: &[Vec<u8>]) -> Vec<Shown> {
    let capabilities = Capabilities::from_bits_retain(u64::from(CAPABILITIES));
    let mut all = Vec::new();
    let mut packets = packets.iter();
    while let Some(head) = packets.next() {
        let mut shown = Shown {
            columns: Vec::new(),
            rows: Vec::new(),
            end: End::Eof,
        };
        let mut last = head;
        if !matches!(head[0], 0 | 0xFF) && head.len() < 7 {
            for _ in 0..head[0] {
                let column = packets.next().expect("a column");
                shown
                    .columns
                    .push(Column::decode(column, capabilities).unwrap());
            }
            for packet in packets.by_ref() {
                last = packet;
                if matches!(packet[0], 0xFE | 0xFF) {
                    break;
                }
                shown.rows.push(packet.clone());
            }
        }
        shown.end = match last[0] {
            0xFF => {
                let err = ErrPacket::decode(last, capabilities).unwrap();
                End::Err(err.errnum, err.message)
            }
            0xFE if Eof::decode(last, capabilities).is_ok() => End::Eof,
            _ => {
                let ok = OkPacket::decode(last, capabilities).unwrap();
                End::Ok {
                    affected: ok.affected_rows,
                    warnings: ok.warnings,
                }
            }
        };
        all.push(shown);
    }
    all
}

/// A client whose connection may be given to somebody else at any time.
struct Client {
    connection: usize,
    diagnostics: Diagnostics,
    charset: &'static [u8],
}

/// Those of a client that gets its first connection.
fn of(kind: Kind) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    diagnostics.arrive(kind);
    diagnostics
}

/// What a client gets.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Shown(Vec<Shown>),
    Refused,
}

impl Client {
    fn note(&mut self, kind: Kind, command: u8, argument: &[u8], packets: &[Vec<u8>]) {
        let sql = (command == com::QUERY).then_some(argument);
        let manner = manner(Com(command), sql, Mode::default(), kind);
        let Some(manner) = manner else {
            return;
        };
        if command == com::STMT_PREPARE && packets[0][0] == 0 {
            let warnings = u16::from_le_bytes([packets[0][10], packets[0][11]]);
            let affected = 0;
            self.diagnostics
                .ended(manner, Outcome::Ok { affected, warnings });
            return;
        }
        for shown in results(packets) {
            let outcome = match &shown.end {
                End::Ok { warnings, .. } if !shown.columns.is_empty() => Outcome::Rows {
                    rows: Some(shown.rows.len() as u64),
                    warnings: *warnings,
                },
                End::Ok { affected, warnings } => Outcome::Ok {
                    affected: *affected,
                    warnings: *warnings,
                },
                End::Eof => Outcome::Other,
                End::Err(errno, message) => Outcome::Err {
                    errno: *errno,
                    message,
                },
            };
            self.diagnostics.ended(manner, outcome);
        }
    }

    /// What the pool does before it gives a connection away.
    fn leave(&mut self, connection: &mut Connection) {
        let unread: Vec<_> = self.diagnostics.unread().collect();
        for unread in unread {
            let rows = connection.rows(unread.sql());
            let rows: Vec<Vec<Option<&[u8]>>> = rows
                .iter()
                .map(|row| TextRow::new(row).map(Result::unwrap).collect())
                .collect();
            self.diagnostics
                .read(unread, rows.into_iter(), Some(self.charset), 64);
        }
        self.diagnostics.part();
    }

    fn ask(&mut self, kind: Kind, sql: &str, connection: &mut Connection) -> Got {
        let asked = asked(sql.as_bytes(), Mode::default()).expect("it asks");
        match self.diagnostics.answer(&asked, Some(self.charset)) {
            Reply::Server => {
                let packets = connection.run(com::QUERY, sql.as_bytes());
                self.note(kind, com::QUERY, sql.as_bytes(), &packets);
                Got::Shown(results(&packets))
            }
            Reply::Own(made_up) => {
                let warnings = self.diagnostics.answered(&asked, &made_up);
                Got::Shown(vec![shown(made_up, warnings)])
            }
            Reply::Refused(_) => Got::Refused,
        }
    }
}

fn shown(results: Results, warnings: u16) -> Shown {
    Shown {
        columns: results.columns,
        rows: results.rows,
        end: End::Ok {
            affected: 0,
            warnings,
        },
    }
}

/// Without what may differ: the names of databases, and the bytes that a decoded column remembers.
fn alike(shown: Vec<Shown>) -> Vec<Shown> {
    let rename = |bytes: &mut Vec<u8>| {
        let name = DATABASES[1].as_bytes();
        let found: Vec<_> = memchr::memmem::find_iter(bytes, name).collect();
        for at in found {
            bytes[at..at + name.len()].copy_from_slice(DATABASES[0].as_bytes());
        }
    };
    shown
        .into_iter()
        .map(|mut shown| {
            for column in &mut shown.columns {
                column.original = Default::default();
                rename(&mut column.schema);
                rename(&mut column.name);
                rename(&mut column.org_name);
                // MariaDB 11.8 announces another collation of the same character set after SET NAMES
                // than after SET character_set_results.
                if column.character_set == 224 {
                    column.character_set = 45;
                }
            }
            shown.rows.iter_mut().for_each(rename);
            if let End::Err(_, message) = &mut shown.end {
                rename(message);
            }
            shown
        })
        .collect()
}

/// A client whose connection is often given away, and the same on a private connection.
struct Stage {
    kind: Kind,
    random: StdRng,
    client: Client,
    private: Connection,
    pooled: Vec<Connection>,
    trail: Vec<String>,
    asked: usize,
    refused: usize,
}

impl Stage {
    fn new(server: &Server, seed: u64) -> Stage {
        let kind = kind(server.flavour);
        Stage {
            kind,
            random: StdRng::seed_from_u64(seed),
            client: Client {
                connection: 0,
                diagnostics: of(kind),
                charset: b"utf8mb4",
            },
            private: Connection::new(server, DATABASES[1]),
            pooled: (0..2)
                .map(|_| Connection::new(server, DATABASES[0]))
                .collect(),
            trail: vec![format!("seed {seed}")],
            asked: 0,
            refused: 0,
        }
    }

    /// The connection is given to somebody else, and the client gets another one, on which somebody
    /// else has left something.
    fn moves(&mut self) {
        self.client.leave(&mut self.pooled[self.client.connection]);
        self.client.connection = 1 - self.client.connection;
        let other = &mut self.pooled[self.client.connection];
        let statement = STATEMENTS.choose(&mut self.random).unwrap();
        other.run(com::INIT_DB, DATABASES[2].as_bytes());
        other.run(com::QUERY, statement.as_bytes());
        other.run(com::QUERY, b"ROLLBACK");
        // As the pool sets it up.
        let charset = std::str::from_utf8(self.client.charset).unwrap();
        other.set_up(charset, DATABASES[0]);
        let text = format!("-- moved, after another's {statement}");
        self.trail.push(text);
    }

    fn run(&mut self, command: u8, argument: &[u8]) {
        let text = String::from_utf8_lossy(argument);
        self.trail.push(format!("{command}: {text}"));
        let connection = &mut self.pooled[self.client.connection];
        let packets = connection.run(command, argument);
        let direct = self.private.run(command, argument);
        if command == com::QUERY {
            let (got, direct) = (results(&packets), results(&direct));
            assert_eq!(alike(got), alike(direct), "{:#?}", self.trail);
        }
        self.client.note(self.kind, command, argument, &packets);
    }

    fn statement(&mut self) {
        let statement = *STATEMENTS.choose(&mut self.random).unwrap();
        self.run(com::QUERY, statement.as_bytes());
        match statement {
            "SET NAMES latin1" => self.client.charset = b"latin1",
            "SET NAMES utf8mb4" => self.client.charset = b"utf8mb4",
            // A client in a transaction keeps its connection.
            "BEGIN" => {
                if self.random.random() {
                    self.question();
                }
                self.run(com::QUERY, b"COMMIT");
            }
            _ => {}
        }
    }

    fn command(&mut self) {
        let (command, argument) = *COMMANDS.choose(&mut self.random).unwrap();
        self.run(command, argument);
        if command == com::RESET_CONNECTION {
            self.run(com::QUERY, b"SET NAMES utf8mb4, sql_mode = ''");
            self.client.charset = b"utf8mb4";
        }
    }

    fn question(&mut self) {
        let questions = match self.random.random_ratio(1, 5) {
            true => OTHERS,
            false => PLAIN,
        };
        let question = *questions.choose(&mut self.random).unwrap();
        self.trail.push(question.to_string());
        self.asked += 1;
        let connection = &mut self.pooled[self.client.connection];
        match self.client.ask(self.kind, question, connection) {
            Got::Shown(got) => {
                let direct = results(&self.private.run(com::QUERY, question.as_bytes()));
                assert_eq!(alike(got), alike(direct), "{:#?}", self.trail);
            }
            Got::Refused => {
                self.refused += 1;
                // So that both have the same error before them.
                self.run(com::QUERY, b"SELECT refused");
            }
        }
    }
}

#[test]
fn what_is_told_of_diagnostics_is_right_or_refused() {
    for server in [Some(mariadb()), mariadb11(), mysql()]
        .into_iter()
        .flatten()
    {
        prepare_tables(server);
        let (mut asked, mut refused) = (0, 0);
        for seed in 0..20 {
            let mut stage = Stage::new(server, seed);
            for _ in 0..200 {
                match stage.random.random_range(0..10) {
                    0..2 => stage.moves(),
                    2..6 => stage.statement(),
                    6 => stage.command(),
                    _ => stage.question(),
                }
            }
            asked += stage.asked;
            refused += stage.refused;
        }
        eprintln!("{:?}: {refused} of {asked} refused", server.flavour);
    }
}
