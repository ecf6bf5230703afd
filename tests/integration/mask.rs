//! `dpml.mask` against those who want to see what it hides, and for those who do not.

use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::wire::{Wire, caps, com};
use crate::support::{Flavour, PASSWORD, Server, USER, python};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// What makes the tables, each line a statement.
const SETUP: &str = include_str!("mask/setup.sql");
const ROWS: &[&str] = &[
    "DELETE FROM customers",
    "DELETE FROM other",
    "DELETE FROM pairs",
    "DELETE FROM uniques",
    "DELETE FROM legacy",
    "TRUNCATE TABLE counted",
    "INSERT INTO customers VALUES (1, 'zebra7413@hidden.example', 4929123456781234, 'Zoe', 'n1')",
    "INSERT INTO customers VALUES (2, 'quokka5512@hidden.example', NULL, 'Quinn', 'n2')",
    "INSERT INTO other VALUES (1, 'public', 5, 'x'), (2, 'open', 7, 'w')",
    "INSERT INTO pairs VALUES (1, 'p1'), (2, 'p2')",
    "INSERT INTO legacy VALUES (1, 'zebra7413@hidden.example')",
];

const COLUMNS: &str = "customers.email,customers.card,legacy.email";

/// The masked values, in the forms that the tricks give them.
fn secrets() -> Vec<Vec<u8>> {
    let card = 4_929_123_456_781_234_u64;
    let mut all: Vec<Vec<u8>> = [
        "zebra",
        "quokka",
        "hidden.ex",
        "arbez",
        "7a65627261",
        "emvicme3",
        "4929123456781234",
        "49291234",
        "4,929,123",
        "4321876543219294",
        "4.9291234",
        "zabra",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    all.push(format!("{card:x}").into_bytes());
    all.push(card.to_le_bytes().to_vec());
    all.push((card as f64).to_le_bytes().to_vec());
    all
}

/// Whether the bytes have a masked value; those of zero between letters in UTF-16 do not hide it.
fn shows(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    let narrow: Vec<u8> = lower.iter().copied().filter(|byte| *byte != 0).collect();
    secrets().iter().any(|secret| {
        let has = |text: &[u8]| text.windows(secret.len()).any(|window| window == secret);
        has(bytes) || has(&lower) || has(&narrow)
    })
}

/// A database with the tables, at a server.
struct Ground {
    server: Server,
    base: String,
}

impl Ground {
    fn new(flavour: Flavour) -> Ground {
        let options: &[&str] = match flavour {
            Flavour::MySql => &[
                "--performance-schema=ON",
                "--log-bin-trust-function-creators=1",
            ],
            _ => &["--log-bin-trust-function-creators=1"],
        };
        let server = Server::start_own(flavour, options);
        let base = server.database();
        let ground = Ground { server, base };
        ground.build();
        ground
    }

    /// Each line, as far as this server has what it makes.
    fn send(&self, wire: &mut Wire, lines: impl Iterator<Item = &'static str>) {
        for line in lines {
            wire.exchange(com::QUERY, line.trim_end_matches(';').as_bytes());
        }
    }

    fn build(&self) {
        let mut wire = Wire::login_empty(self.server.port, MODERN);
        let again = format!(
            "DROP DATABASE IF EXISTS {0}; CREATE DATABASE {0}",
            self.base
        );
        wire.exchange(com::QUERY, again.as_bytes());
        wire.exchange(com::INIT_DB, self.base.as_bytes());
        self.send(&mut wire, SETUP.lines());
        let of_server: &[&str] = match self.server.flavour {
            Flavour::MySql => &[
                "CREATE VIEW user_variables_view AS SELECT variable_value x FROM performance_schema.user_variables_by_thread",
            ],
            _ => &[
                "CREATE VIEW user_variables_view AS SELECT variable_value x FROM information_schema.user_variables",
                "CREATE SEQUENCE numbers",
            ],
        };
        self.send(&mut wire, of_server.iter().copied());
        self.send(&mut wire, ROWS.iter().copied());
    }

    /// Undoes what statements may have changed.
    fn restore(&self, lines: &[&str]) {
        let begins = |words: &[&str]| {
            lines.iter().any(|line| {
                let first = line.split(' ').next().unwrap_or_default();
                words.contains(&first)
            })
        };
        if begins(&["CREATE", "ALTER", "RENAME", "DROP", "ANALYZE"]) {
            self.build();
        } else if begins(&["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "SET", "DO"]) {
            let mut wire = Wire::login_empty(self.server.port, MODERN);
            wire.exchange(com::INIT_DB, self.base.as_bytes());
            self.send(&mut wire, ROWS.iter().copied());
        }
    }

    /// All that a client receives that sends these lines.
    fn run(&self, port: u16, lines: &[&str], prepares: bool) -> Vec<Vec<u8>> {
        let mut wire = Wire::login_empty(port, MODERN);
        wire.exchange(com::INIT_DB, self.base.as_bytes());
        let mut received = Vec::new();
        for line in lines {
            let prepared = match prepares {
                true => wire.exchange(com::STMT_PREPARE, line.as_bytes()),
                false => Vec::new(),
            };
            let id = match prepared.first().map(Vec::as_slice) {
                Some([0, a, b, c, d, _, _, 0, 0, ..]) => Some(u32::from_le_bytes([*a, *b, *c, *d])),
                _ => None,
            };
            received.extend(prepared);
            received.extend(match id {
                Some(id) => wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 1, &[])),
                None => wire.exchange(com::QUERY, line.as_bytes()),
            });
        }
        received
    }
}

/// Texts between empty lines, without comments.
fn paragraphs(text: &'static str) -> Vec<Vec<&'static str>> {
    let mut all = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.is_empty() {
            true => all.push(Vec::new()),
            false => all.last_mut().unwrap().push(line),
        }
    }
    all.retain(|lines| !lines.is_empty());
    all
}

/// How many of the tricks show something if nothing is masked, at least: servers differ in what they
/// understand.
fn least(flavour: Flavour) -> usize {
    match flavour {
        Flavour::MySql => 250,
        _ => 250,
    }
}

/// Masked values by the names of columns that are not masked, in all the ways that results are made: servers then
/// may say that they come from those columns.
fn renamed() -> Vec<String> {
    const VALUES: &[&str] = &[
        "email",
        "(email)",
        "CONCAT(email)",
        "MAX(email)",
        "card",
        "card + 0",
        "MIN(email) OVER ()",
    ];
    const TAILS: &[&str] = &[
        "customers",
        "customers ORDER BY 1 DESC",
        "customers GROUP BY id, email, card",
        "customers GROUP BY email, card WITH ROLLUP",
        "customers GROUP BY 1 ORDER BY NULL",
        "customers c JOIN other o ON o.id = c.id GROUP BY c.id, c.email, card ORDER BY COUNT(*)",
        "customers HAVING 1 LIMIT 5",
        "(SELECT * FROM customers) AS customers",
        "(SELECT DISTINCT email, card FROM customers) AS other",
        "contacts AS c JOIN customers USING (id) ORDER BY RAND()",
    ];
    let mut all = Vec::new();
    for value in VALUES {
        let value = value.to_string();
        for tail in TAILS {
            let value = match tail.contains(" JOIN other") {
                true => value.replace("email", "c.email"),
                false => value.clone(),
            };
            for head in ["", "DISTINCT ", "SQL_BUFFER_RESULT "] {
                for alias in ["id", "name", "customers"] {
                    all.push(format!("SELECT {head}{value} AS {alias} FROM {tail}"));
                }
            }
        }
    }
    all
}

fn no_trick_works(flavour: Flavour) {
    let ground = Ground::new(flavour);
    let dpm = Launch::demo("mask", &ground.server).arg(COLUMNS).start();
    let port = dpm.listening();
    let mut failed = Vec::new();
    let mut working = 0;
    for lines in paragraphs(include_str!("mask/tricks.txt")) {
        let works = shows(&ground.run(ground.server.port, &lines, false).concat());
        working += usize::from(works);
        if std::env::var_os("DPM_TEST_TRICKS").is_some() && !works {
            eprintln!("shows nothing: {lines:?}");
        }
        ground.restore(&lines);
        for prepares in [false, true] {
            let received = ground.run(port, &lines, prepares);
            if shows(&received.concat()) {
                let text: Vec<_> = received
                    .iter()
                    .map(|packet| packet.escape_ascii().to_string())
                    .collect();
                failed.push(format!("{lines:?} (prepared: {prepares}): {text:#?}"));
            }
            ground.restore(&lines);
        }
    }
    for prepares in [false, true] {
        let mut wire = Wire::login_empty(port, MODERN);
        wire.exchange(com::INIT_DB, ground.base.as_bytes());
        for line in renamed() {
            let received = one(&mut wire, &line, prepares);
            if shows(&received.concat()) {
                failed.push(format!("{line} (prepared: {prepares}): {received:?}"));
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} of them:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(
        working >= least(flavour),
        "only {working} tricks show anything without the mask"
    );
}

/// What a client sees of packets, without what differs from one connection to the next.
fn seen(packets: &[Vec<u8>]) -> Vec<String> {
    packets
        .iter()
        .map(|packet| packet.escape_ascii().to_string())
        .collect()
}

fn ordinary_statements_are_left_alone(flavour: Flavour) {
    let ground = Ground::new(flavour);
    let dpm = Launch::demo("mask", &ground.server).arg(COLUMNS).start();
    let port = dpm.listening();
    let lines: Vec<_> = include_str!("mask/ordinary.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    for prepares in [false, true] {
        ground.build();
        let direct: Vec<_> = lines.iter().map(|line| (*line, ())).collect();
        let mut straight = Wire::login_empty(ground.server.port, MODERN);
        straight.exchange(com::INIT_DB, ground.base.as_bytes());
        let mut answers = Vec::new();
        for (line, ()) in &direct {
            answers.push(one(&mut straight, line, prepares));
        }
        drop(straight);
        ground.build();
        let mut masked = Wire::login_empty(port, MODERN);
        masked.exchange(com::INIT_DB, ground.base.as_bytes());
        let mut different = Vec::new();
        for (line, answer) in lines.iter().zip(&answers) {
            let through = one(&mut masked, line, prepares);
            if seen(&through) != seen(answer) {
                different.push(format!(
                    "{line}\n  {:#?}\n  {:#?}",
                    seen(&through),
                    seen(answer)
                ));
            }
        }
        assert!(
            different.is_empty(),
            "{} (prepared: {prepares}):\n{}",
            different.len(),
            different.join("\n")
        );
    }
}

/// A statement's answer, by either protocol.
fn one(wire: &mut Wire, line: &str, prepares: bool) -> Vec<Vec<u8>> {
    if prepares {
        let prepared = wire.exchange(com::STMT_PREPARE, line.as_bytes());
        if let Some([0, a, b, c, d, _, _, 0, 0, ..]) = prepared.first().map(Vec::as_slice) {
            let id = u32::from_le_bytes([*a, *b, *c, *d]);
            return wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[]));
        }
    }
    wire.exchange(com::QUERY, line.as_bytes())
}

mod tricks {
    use super::*;

    #[test]
    fn mariadb() {
        no_trick_works(Flavour::MariaDb);
    }

    #[test]
    fn mariadb11() {
        if Flavour::MariaDb11.available() {
            no_trick_works(Flavour::MariaDb11);
        }
    }

    #[test]
    fn mysql() {
        if Flavour::MySql.available() {
            no_trick_works(Flavour::MySql);
        }
    }
}

mod ordinary {
    use super::*;

    #[test]
    fn mariadb() {
        ordinary_statements_are_left_alone(Flavour::MariaDb);
    }

    #[test]
    fn mariadb11() {
        if Flavour::MariaDb11.available() {
            ordinary_statements_are_left_alone(Flavour::MariaDb11);
        }
    }

    #[test]
    fn mysql() {
        if Flavour::MySql.available() {
            ordinary_statements_are_left_alone(Flavour::MySql);
        }
    }
}

/// The commands that are no statements, and what is left of one session in the next.
#[test]
fn other_commands() {
    let ground = Ground::new(Flavour::MariaDb);
    let dpm = Launch::demo("mask", &ground.server).arg(COLUMNS).start();
    let mut wire = Wire::login_empty(dpm.listening(), MODERN);
    wire.exchange(com::INIT_DB, ground.base.as_bytes());
    let refused = |answer: &[Vec<u8>]| answer[0].starts_with(&[0xFF, 0x76, 0x04]);

    let processes = wire.exchange(com::PROCESS_INFO, b"").concat();
    assert!(!String::from_utf8_lossy(&processes).contains("empty"));
    assert!(!shows(
        &wire.exchange(com::FIELD_LIST, b"customers\0").concat()
    ));
    for command in [com::BINLOG_DUMP, com::BINLOG_DUMP_GTID] {
        assert!(refused(&wire.exchange(command, &[0; 20])));
    }
    // Collations of GBK, and of MariaDB's GBK without padding.
    for collation in [28_u16, 87, 1052] {
        let [low, high] = collation.to_le_bytes();
        let argument = [
            b"empty\0\0\0".as_slice(),
            &[low, high],
            b"mysql_native_password\0",
        ]
        .concat();
        assert!(refused(&wire.exchange(com::CHANGE_USER, &argument)));
    }
    // A schema is chosen by a command, too.
    let columns = wire.rows("SELECT CONCAT(note) FROM other WHERE id = 1");
    assert_eq!(columns, [["x"]]);
    let elsewhere = ground.server.database();
    ground.server.sql(&format!(
        "CREATE VIEW {elsewhere}.other AS SELECT email AS note, 1 AS id FROM {}.customers",
        ground.base
    ));
    wire.exchange(com::INIT_DB, elsewhere.as_bytes());
    assert!(!shows(
        &wire
            .exchange(com::QUERY, b"SELECT CONCAT(note) FROM other WHERE id = 1")
            .concat()
    ));
    wire.exchange(com::INIT_DB, ground.base.as_bytes());
    assert_eq!(
        wire.rows("SELECT CONCAT(note) FROM other WHERE id = 1"),
        [["x"]]
    );

    // What was left in variables goes with the session.
    wire.exchange(
        com::QUERY,
        b"SELECT email INTO @e FROM customers WHERE id = 1",
    );
    assert_eq!(wire.rows("SELECT @e"), [["***"]]);
    assert_eq!(wire.rows("SELECT @other IS NULL"), [["NULL"]]);
    wire.exchange(com::RESET_CONNECTION, b"");
    assert_eq!(wire.rows("SELECT @e IS NULL"), [["1"]]);
    ground.server.sql("CREATE DATABASE IF NOT EXISTS test");
    let changed = wire.change_user(USER, PASSWORD);
    assert_eq!(changed[0], 0, "{}", changed.escape_ascii());
    assert_eq!(wire.rows("SELECT @e IS NULL"), [["1"]]);
}

/// A definition that another client makes through the proxy counts at once, also for what is prepared.
#[test]
fn what_another_client_defines() {
    let ground = Ground::new(Flavour::MariaDb);
    let dpm = Launch::demo("mask", &ground.server).arg(COLUMNS).start();
    let mut wire = Wire::login_empty(dpm.listening(), MODERN);
    let mut other = Wire::login_empty(dpm.listening(), MODERN);
    for wire in [&mut wire, &mut other] {
        wire.exchange(com::INIT_DB, ground.base.as_bytes());
    }
    let ask = b"SELECT CONCAT(x) FROM swapped";
    other.exchange(
        com::QUERY,
        b"CREATE TABLE swapped AS SELECT note AS x FROM other",
    );
    assert_eq!(wire.rows("SELECT CONCAT(x) FROM swapped LIMIT 1"), [["x"]]);
    let id = wire.prepare("SELECT CONCAT(x) FROM swapped");
    let execute = execute_argument(id, 0, &[]);
    let rows = wire.exchange(com::STMT_EXECUTE, &execute);
    assert!(rows.iter().any(|row| row.ends_with(b"\x01x")), "{rows:?}");
    other.exchange(
        com::QUERY,
        b"RENAME TABLE swapped TO gone, renamed TO swapped",
    );
    let direct = ground.run(ground.server.port, &["SELECT x FROM swapped"], false);
    assert!(shows(&direct.concat()), "it is a view now");
    assert!(!shows(&wire.exchange(com::STMT_EXECUTE, &execute).concat()));
    assert!(!shows(&wire.exchange(com::QUERY, ask).concat()));
}

/// What is declared to be harmless is shown.
#[test]
fn declared_views_and_routines() {
    let ground = Ground::new(Flavour::MariaDb);
    ground.server.sql(&format!(
        "USE {}; CREATE VIEW public_names AS SELECT id, CONCAT(name) AS name FROM customers;
         CREATE FUNCTION twice(a INT) RETURNS INT DETERMINISTIC RETURN 2 * a;
         CREATE PROCEDURE count_others() SELECT COUNT(*) FROM other",
        ground.base
    ));
    let script = format!(
        "local dpml = require 'dpml'
         local listener = dpm.listener('127.0.0.1', 0)
         dpml.passthrough_new_clients(listener, dpml.chain {{ dpml.mask {{ columns = {{ 'customers.email' }},
             views = {{ 'PUBLIC_names' }}, routines = {{ '{}.twice', 'count_others' }} }},
             {{ new_command = function(cmd) print('seen: ' .. cmd:argument()) end }} }}, {{ '127.0.0.1', {} }})
         print('dpm: it is listening on 127.0.0.1:' .. listener:socket_port())",
        ground.base, ground.server.port
    );
    let dpm = Launch::script(&script).start();
    let mut wire = Wire::login_empty(dpm.listening(), MODERN);
    wire.exchange(com::INIT_DB, ground.base.as_bytes());
    assert_eq!(
        wire.rows("SELECT name FROM public_names WHERE id = 1"),
        [["Zoe"]]
    );
    let twice = format!(
        "SELECT {0}.twice(n), {0}.twice(21) FROM other WHERE id = 1",
        ground.base
    );
    assert_eq!(wire.rows(&twice), [["10", "42"]]);
    assert_eq!(
        wire.rows("SELECT twice(n) FROM other WHERE id = 1"),
        [["NULL"]],
        "of which schema it is, is not said"
    );
    assert_eq!(wire.rows("CALL count_others()"), [["2"]]);
    wire.answer();
    assert_eq!(
        wire.rows("SELECT UPPER(name) FROM customers WHERE id = 1"),
        [["***"]]
    );
    // A plug-in behind it in the chain sees each command once, also those that had to wait.
    dpm.line("seen: SELECT name FROM public_names WHERE id = 1");
    dpm.line("seen: SELECT UPPER(name)");
}

/// A text that would take hundreds of megabytes as a table of tokens is refused soon, and others are served.
#[test]
fn a_large_text() {
    let ground = Ground::new(Flavour::MariaDb);
    let dpm = Launch::demo("mask", &ground.server).arg(COLUMNS).start();
    let mut wire = Wire::login_empty(dpm.listening(), MODERN);
    let text = [b"select ".as_slice(), &b",".repeat(15_000_000)].concat();
    let answer = wire.exchange(com::QUERY, &text);
    assert!(
        answer[0].starts_with(&[0xFF, 0x76, 0x04]),
        "{}",
        answer[0].escape_ascii()
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
}

/// Clients that log in at the proxy, and those that log in with a character set in which quotes may be halves.
#[test]
fn logins() {
    let ground = Ground::new(Flavour::MariaDb);
    let script = format!(
        "local dpml = require 'dpml'
         local listener = dpm.listener('127.0.0.1', 0)
         local account = {{ password = '{PASSWORD}' }}
         dpml.proxy_new_clients(listener, dpml.mask {{ columns = {{ 'customers.email', 'customers.card' }} }}, {{
             users = {{ {USER} = account }},
             backend = {{ host = '127.0.0.1', port = {}, user = '{USER}', password = '{PASSWORD}' }},
         }})
         print('dpm: it is listening on 127.0.0.1:' .. listener:socket_port())",
        ground.server.port
    );
    let program = format!(
        "for charset in ['utf8mb4', 'latin1', 'gbk']:\n\
         \x20   try:\n\
         \x20       cursor = connect(charset=charset, database='{}').cursor()\n\
         \x20       for sql in ['SELECT id, email FROM customers WHERE id = 1', 'SELECT CONCAT(note) FROM other WHERE id = 1', 'SELECT COUNT(card) FROM customers']:\n\
         \x20           cursor.execute(sql)\n\
         \x20           print(cursor.fetchall())\n\
         \x20   except pymysql.err.MySQLError as error:\n\
         \x20       print(error.args[0])\n",
        ground.base
    );
    let rows = "((1, '***'),)\n(('x',),)\n((None,),)\n";
    let wanted = format!("{rows}{rows}1142\n");
    let passed = Launch::demo("mask", &ground.server).arg(COLUMNS).start();
    assert_eq!(python(passed.listening(), &program), wanted);
    let proxied = Launch::script(&script).start();
    assert_eq!(python(proxied.listening(), &program), wanted);
}
