//! Prepared statements of a pool's clients, which change their connections all the time, beside those
//! of clients of the server itself.

use mysql::prelude::Queryable as _;
use mysql::{OptsBuilder, Value};

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com, error, lenenc};
use crate::support::{Dpm, Flavour, Server, all, mariadb, mariadb11, mysql};

/// A pool of one connection, so that each client takes it from the one before.
fn pool(server: &Server, options: &str) -> Dpm {
    server.sql(
        "CREATE USER IF NOT EXISTS pooled@'%' IDENTIFIED BY 'b'; GRANT ALL ON *.* TO pooled@'%'",
    );
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = tonumber(arg[1]) }} }},
           users = {{ ann = {{ password = 'p' }} }}, backend = {{ user = 'pooled', password = 'b' }},
           size = 1, {options} }})"
    ))
    .arg(server.port)
    .start()
}

const INT: u8 = 8;
const DOUBLE: u8 = 5;
const TEXT: u8 = 253;
const BLOB: u8 = 252;
/// MariaDB's id of the statement that was prepared last.
const LAST: u32 = u32::MAX;

/// What a client has got, without ids, which differ.
#[derive(Debug, Clone, PartialEq)]
enum Got {
    Ok {
        affected: u64,
    },
    Err(u16, String),
    Prepared {
        columns: u16,
        params: u16,
    },
    /// The names and types of the columns, and the rows as they came.
    Rows(Vec<(String, u8)>, Vec<Vec<u8>>),
    Cursor,
    /// Rows, and whether they were the last.
    Fetched(Vec<Vec<u8>>, bool),
}

/// A client that prepares statements.
struct Client {
    wire: Wire,
    /// The id of the statement that it has prepared last.
    id: u32,
}

impl Client {
    fn of_pool(dpm: &Dpm) -> Client {
        let wire = Wire::login_as(dpm.port(), "ann", "p", caps::BASE | caps::MULTI);
        Client::using(wire)
    }

    fn of_server(server: &Server) -> Client {
        let wire = Wire::login_empty(server.port, caps::BASE | caps::MULTI);
        Client::using(wire)
    }

    fn using(wire: Wire) -> Client {
        let mut client = Client { wire, id: 0 };
        client.query("USE test");
        client
    }

    fn query(&mut self, sql: &str) -> Answer {
        self.wire.query(sql)
    }

    fn prepare(&mut self, sql: &str) -> Got {
        self.wire.command(com::STMT_PREPARE, sql.as_bytes());
        let head = self.wire.read();
        if head[0] == 0xFF {
            return failed(&head);
        }
        self.id = u32::from_le_bytes(head[1..5].try_into().unwrap());
        let columns = u16::from_le_bytes(head[5..7].try_into().unwrap());
        let params = u16::from_le_bytes(head[7..9].try_into().unwrap());
        for count in [params, columns].into_iter().filter(|count| *count > 0) {
            for _ in 0..=count {
                self.wire.read();
            }
        }
        Got::Prepared { columns, params }
    }

    fn execute(&mut self, id: u32, types: Option<&[u8]>, values: &[u8]) -> Got {
        self.execute_with(id, types, values, 0)
    }

    /// Values that follow no types must be as many bytes of `bound`'s types.
    fn execute_with(&mut self, id: u32, types: Option<&[u8]>, values: &[u8], flags: u8) -> Got {
        let mut argument = id.to_le_bytes().to_vec();
        argument.extend([flags, 1, 0, 0, 0]);
        if let Some(types) = types {
            argument.extend(vec![0; types.len().div_ceil(8)]);
            argument.push(1);
            argument.extend(types.iter().flat_map(|one| [*one, 0]));
        } else if !values.is_empty() {
            argument.extend([0, 0]);
        }
        argument.extend_from_slice(values);
        self.wire.command(com::STMT_EXECUTE, &argument);
        self.answer()
    }

    fn about(&mut self, com: u8, id: u32, more: &[u8]) {
        let argument = [&id.to_le_bytes()[..], more].concat();
        self.wire.command(com, &argument);
    }

    fn reset(&mut self, id: u32) -> Got {
        self.about(com::STMT_RESET, id, b"");
        self.answer()
    }

    fn fetch(&mut self, id: u32, rows: u32) -> Got {
        self.about(com::STMT_FETCH, id, &rows.to_le_bytes());
        let mut fetched = Vec::new();
        loop {
            let packet = self.wire.read();
            match packet[0] {
                0xFF => return failed(&packet),
                0xFE => return Got::Fetched(fetched, packet[3] & 128 != 0),
                _ => fetched.push(packet),
            }
        }
    }

    /// An answer in the binary protocol.
    fn answer(&mut self) -> Got {
        let first = self.wire.read();
        match first[0] {
            0 => Got::Ok {
                affected: lenenc(&first[1..]).0,
            },
            0xFF => failed(&first),
            count => {
                let columns = (0..count).map(|_| column(&self.wire.read())).collect();
                let eof = self.wire.read();
                if eof[3] & 64 != 0 {
                    return Got::Cursor;
                }
                let mut rows = Vec::new();
                loop {
                    let packet = self.wire.read();
                    match packet[0] {
                        0xFF => return failed(&packet),
                        0xFE => return Got::Rows(columns, rows),
                        _ => rows.push(packet),
                    }
                }
            }
        }
    }
}

fn failed(packet: &[u8]) -> Got {
    match error(packet) {
        Answer::Err(number, _, message) => Got::Err(number, message),
        other => panic!("{other:?}"),
    }
}

/// The name and the type of a column.
fn column(mut packet: &[u8]) -> (String, u8) {
    let mut name = &packet[..0];
    for at in 0..6 {
        let (len, size) = lenenc(packet);
        if at == 4 {
            name = &packet[size..size + len as usize];
        }
        packet = &packet[size + len as usize..];
    }
    (String::from_utf8_lossy(name).into_owned(), packet[7])
}

/// A client of the server, and two of the pool's: the second takes the connection after each step.
struct Both {
    direct: Client,
    pooled: Client,
    thief: Client,
}

impl Both {
    fn of(server: &Server, dpm: &Dpm) -> Both {
        Both {
            direct: Client::of_server(server),
            pooled: Client::of_pool(dpm),
            thief: Client::of_pool(dpm),
        }
    }

    /// Both do the same, and get the same.
    #[track_caller]
    fn check(&mut self, mut step: impl FnMut(&mut Client) -> Got) -> Got {
        let got = step(&mut self.pooled);
        assert_eq!(got, step(&mut self.direct));
        self.steal();
        got
    }

    /// The same while the pool's client keeps its connection.
    #[track_caller]
    fn check_held(&mut self, mut step: impl FnMut(&mut Client) -> Got) -> Got {
        let got = step(&mut self.pooled);
        assert_eq!(got, step(&mut self.direct));
        got
    }

    fn steal(&mut self) {
        let rows = self
            .thief
            .wire
            .rows("SELECT @@sql_mode = 'ANSI_QUOTES', @@time_zone");
        assert_eq!(rows[0].len(), 2);
    }

    #[track_caller]
    fn query(&mut self, sql: &str) {
        self.direct.query(sql);
        self.pooled.query(sql);
        self.steal();
    }
}

fn int(value: i64) -> [u8; 8] {
    value.to_le_bytes()
}

fn text(value: &str) -> Vec<u8> {
    [&[value.len() as u8], value.as_bytes()].concat()
}

all! {
    fn each_client_executes_its_own(server) {
        let dpm = pool(server, "");
        let mut clients: Vec<_> = (0..4).map(|_| Both::of(server, &dpm)).collect();
        // They have different ids, and others' types are not theirs.
        for (at, both) in clients.iter_mut().enumerate() {
            for filler in 0..at {
                both.check(|client| client.prepare(&format!("SELECT {filler}")));
            }
            both.check(|client| client.prepare("SELECT ?"));
            assert_eq!(both.pooled.id as usize, at + 1);
        }
        for round in 0..3 {
            for (at, both) in clients.iter_mut().enumerate() {
                let (types, value) = match at % 2 {
                    0 => (INT, int(round)),
                    _ => (DOUBLE, (round as f64 + 0.5).to_le_bytes()),
                };
                let sent = [types];
                let types = (round == 0).then_some(&sent[..]);
                let got = both.check(|client| client.execute(client.id, types, &value));
                assert!(matches!(got, Got::Rows(columns, _) if columns[0].1 == sent[0]));
            }
        }
        // An id that is not the client's is nobody's.
        for both in &mut clients {
            both.check(|client| client.execute(99, None, b""));
            both.check(|client| client.reset(99));
            both.check(|client| client.fetch(99, 1));
        }
    }
}

all! {
    fn types_that_were_bound_before_count(server) {
        let dpm = pool(server, "");
        let mut one = Both::of(server, &dpm);
        let mut other = Both::of(server, &dpm);
        let sql = "SELECT ?, ? + 1";
        one.check(|client| client.prepare(sql));
        other.check(|client| client.prepare(sql));
        let of_double = [1.5f64.to_le_bytes(), 2.5f64.to_le_bytes()].concat();
        let of_int = [int(5), int(6)].concat();
        let of_text = [text("7"), text("8")].concat();
        other.check(|client| client.execute(client.id, Some(&[DOUBLE; 2]), &of_double));
        // The other's DOUBLE would make these 5.0 on MySQL.
        one.check(|client| client.execute(client.id, Some(&[INT; 2]), &of_int));
        let two = one.pooled.execute(one.pooled.id, None, &of_int);
        assert_eq!(two, one.direct.execute(one.direct.id, None, &of_int));
        // The client's own types count on while it has the same connection.
        one.check_held(|client| client.execute(client.id, Some(&[DOUBLE; 2]), &of_double));
        one.check_held(|client| client.execute(client.id, Some(&[TEXT; 2]), &of_text));
        other.check(|client| client.execute(client.id, None, &of_double));
    }
}

all! {
    fn cursors_and_long_data_keep_the_connection(server) {
        let dpm = pool(server, "");
        let table = server.database();
        let mut both = Both::of(server, &dpm);
        both.pooled.query(&format!("CREATE TABLE {table}.d (k INT PRIMARY KEY, v LONGTEXT)"));
        both.pooled.query(&format!("CREATE TABLE {table}.p LIKE {table}.d"));
        both.direct.prepare(&format!("INSERT INTO {table}.d VALUES (?, ?)"));
        both.pooled.prepare(&format!("INSERT INTO {table}.p VALUES (?, ?)"));
        for (value, types) in [(1, Some(&[INT, BLOB][..])), (2, None), (2, None), (3, None)] {
            // The second 2 fails, and its data is gone.
            let got = both.check(|client| {
                for piece in ["one ", "two"] {
                    let data = [&[1, 0], piece.as_bytes()].concat();
                    client.about(com::STMT_SEND_LONG_DATA, client.id, &data);
                }
                match client.execute(client.id, types, &int(value)) {
                    Got::Err(number, _) => Got::Err(number, String::new()),
                    other => other,
                }
            });
            assert!(matches!(got, Got::Ok { affected: 1 } | Got::Err(1062, _)));
        }
        let rows = both.pooled.wire.rows(&format!("SELECT v FROM {table}.p ORDER BY k"));
        assert_eq!(rows, vec![vec!["one two".to_string()]; 3]);
        // For a parameter that does not exist: nothing but a reset helps.
        let more = [int(9).to_vec(), text("x")].concat();
        both.check(|client| {
            client.about(com::STMT_SEND_LONG_DATA, client.id, b"\x09\0abc");
            client.execute(client.id, None, &more)
        });
        let refused = both.check(|client| client.execute(client.id, None, &more));
        assert!(matches!(refused, Got::Err(1210, _)));
        both.check(|client| client.reset(client.id));
        both.check(|client| client.execute(client.id, Some(&[INT, TEXT]), &more));
        // Cursors.
        both.check(|client| client.prepare("SELECT 1 UNION SELECT 2 UNION SELECT 3"));
        let opened = both.check_held(|client| client.execute_with(client.id, None, b"", 1));
        assert_eq!(opened, Got::Cursor);
        let first = both.check_held(|client| client.fetch(client.id, 2));
        assert!(matches!(first, Got::Fetched(rows, false) if rows.len() == 2));
        let last = both.check(|client| client.fetch(client.id, 2));
        assert!(matches!(last, Got::Fetched(rows, true) if rows.len() == 1));
        let none = both.pooled.fetch(both.pooled.id, 1);
        let id = both.pooled.id;
        assert!(matches!(none, Got::Err(1421, text) if text.contains(&format!("({id})"))));
        for ended in [com::STMT_RESET, com::STMT_CLOSE] {
            both.check_held(|client| client.execute_with(client.id, None, b"", 1));
            both.check_held(|client| client.fetch(client.id, 1));
            both.pooled.about(ended, id, b"");
            if ended == com::STMT_RESET {
                assert_eq!(both.pooled.answer(), Got::Ok { affected: 0 });
                both.direct.reset(both.direct.id);
            }
            // Nothing keeps the connection any more.
            both.steal();
        }
    }
}

all! {
    fn tables_change_between_prepare_and_execute(server) {
        let dpm = pool(server, "");
        let database = server.database();
        let mut both = Both::of(server, &dpm);
        both.pooled.query(&format!("CREATE TABLE {database}.t (a INT)"));
        both.pooled.query(&format!("INSERT INTO {database}.t VALUES (1)"));
        both.check(|client| client.prepare(&format!("SELECT * FROM {database}.t")));
        both.check(|client| client.execute(client.id, None, b""));
        for change in ["ADD b INT DEFAULT 7", "MODIFY b VARCHAR(9)", "DROP a"] {
            server.sql(&format!("ALTER TABLE {database}.t {change}"));
            let got = both.check(|client| client.execute(client.id, None, b""));
            assert!(matches!(got, Got::Rows(..)), "{change}: {got:?}");
        }
        server.sql(&format!("DROP TABLE {database}.t"));
        let gone = both.check(|client| client.execute(client.id, None, b""));
        assert!(matches!(gone, Got::Err(1146, _)));
    }
}

all! {
    fn a_statement_stays_in_the_setting_of_its_prepare(server) {
        let dpm = pool(server, "");
        let mut both = Both::of(server, &dpm);
        both.query("SET sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'");
        both.check(|client| client.prepare("SELECT \"x\", DATABASE(), ? FROM (SELECT 5 AS x) AS t"));
        both.query("SET sql_mode = ''");
        both.query("USE mysql");
        let value = text("v");
        let got = both.check(|client| client.execute(client.id, Some(&[TEXT]), &value));
        assert!(matches!(got, Got::Rows(columns, _) if columns[0].0 == "x"));
        assert_eq!(both.pooled.wire.rows("SELECT DATABASE(), @@sql_mode"), [["mysql", ""]]);
        both.query("SET NAMES latin1");
        let value = b"\x01\xe9";
        both.check(|client| client.execute(client.id, Some(&[TEXT]), value));
        // What was bound in one character set is still read in it.
        both.query("SET NAMES utf8mb4");
        both.check(|client| client.execute(client.id, None, value));
        both.check(|client| client.execute(client.id, Some(&[TEXT]), &text("é")));
    }
}

#[test]
fn the_last_statement_has_an_id_on_mariadb() {
    for server in [Some(mariadb()), mariadb11(), mysql()]
        .into_iter()
        .flatten()
    {
        let dpm = pool(server, "");
        let mut both = Both::of(server, &dpm);
        both.check(|client| client.execute(LAST, None, b""));
        both.check(|client| client.prepare("SELECT 1"));
        both.check(|client| client.prepare("SELECT 2"));
        let got = both.check(|client| client.execute(LAST, None, b""));
        assert_eq!(matches!(got, Got::Rows(..)), server.flavour.is_mariadb());
        both.check(|client| client.prepare("SELECT FROM"));
        both.check(|client| client.execute(LAST, None, b""));
        // Both at once, before the answer to the first has come.
        both.check(|client| {
            client.wire.command(com::STMT_PREPARE, b"SELECT 3");
            let argument = [&LAST.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
            client.wire.command(com::STMT_EXECUTE, &argument);
            client.wire.seq = 1;
            for _ in 0..3 {
                client.wire.read();
            }
            client.wire.seq = 1;
            client.answer()
        });
    }
}

#[test]
fn servers_keep_few_statements() {
    let server = Server::start_own(Flavour::MariaDb, &["--max-prepared-stmt-count=6"]);
    let dpm = pool(&server, "max_prepared = 4,");
    let count = |server: &Server| {
        let shown = server.sql("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'");
        shown
            .split_whitespace()
            .last()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    let mut client = Client::of_pool(&dpm);
    let ids: Vec<u32> = (0..10)
        .map(|n| {
            assert_eq!(
                client.prepare(&format!("SELECT {n}")),
                Got::Prepared {
                    columns: 1,
                    params: 0
                }
            );
            client.id
        })
        .collect();
    for id in ids.iter().chain(ids.iter().rev()) {
        assert!(matches!(client.execute(*id, None, b""), Got::Rows(..)));
        assert!(count(&server) <= 4);
    }
    // The same text again takes no more room.
    for _ in 0..5 {
        client.prepare("SELECT 1");
    }
    assert!(count(&server) <= 4);
    // Others have used up what there is: the pool gives up its own.
    let mut others = Client::of_server(&server);
    while count(&server) < 6 {
        others.prepare("SELECT 1");
    }
    assert!(matches!(
        client.prepare("SELECT 'new'"),
        Got::Prepared { .. }
    ));
    assert!(matches!(client.execute(ids[0], None, b""), Got::Rows(..)));
    assert!(matches!(client.execute(ids[5], None, b""), Got::Rows(..)));
}

all! {
    fn a_client_library(server) {
        let dpm = pool(server, "");
        let options = || {
            let options = OptsBuilder::default().ip_or_hostname(Some("127.0.0.1"));
            let options = options.tcp_port(dpm.port()).prefer_socket(false);
            options.user(Some("ann")).pass(Some("p")).db_name(Some("test"))
        };
        let mut clients: Vec<_> = (0..3)
            .map(|_| mysql::Conn::new(options()).expect("a login"))
            .collect();
        let database = server.database();
        clients[0]
            .query_drop(format!("CREATE TABLE {database}.t (k INT PRIMARY KEY, v TEXT)"))
            .unwrap();
        for round in 0..5 {
            for (at, client) in clients.iter_mut().enumerate() {
                let key = round * 10 + at;
                let insert = format!("INSERT INTO {database}.t VALUES (?, ?)");
                client.exec_drop(&insert, (key, format!("v{key}"))).unwrap();
                let select = format!("SELECT v, ? FROM {database}.t WHERE k = ?");
                let found: Option<(String, Value)> =
                    client.exec_first(&select, (at, key)).unwrap();
                assert_eq!(found.unwrap().0, format!("v{key}"));
            }
        }
        let sum: Option<u32> = clients[2]
            .exec_first(format!("SELECT COUNT(*) FROM {database}.t WHERE k > ?"), (-1,))
            .unwrap();
        assert_eq!(sum, Some(15));
    }
}

all! {
    /// A statement that its server has lost is prepared again, also in a transaction, and the client is not told.
    fn a_lost_statement_is_prepared_again(server) {
        server.sql(
            "CREATE USER IF NOT EXISTS pooled@'%' IDENTIFIED BY 'b'; GRANT ALL ON *.* TO pooled@'%'",
        );
        let mut stage = crate::support::stage::Stage::with(
            "local dpml = require 'dpml'
             pool = dpml.pool(h.listen(function() end), {
               servers = { { host = arg[1], port = tonumber(arg[2]) } }, size = 1,
               users = { ann = { password = 'p' } }, backend = { user = 'pooled', password = 'b' } })",
            server.port,
        );
        let mut client = Client::of_pool(&stage.dpm);
        client.prepare("SELECT ?, @@autocommit");
        let wanted = client.execute(client.id, Some(&[INT]), &[5, 0, 0, 0, 0, 0, 0, 0]);
        assert!(matches!(wanted, Got::Rows(..)), "{wanted:?}");
        for sql in ["DO 0", "BEGIN"] {
            client.query(sql);
            stage.lua(
                "for _, connection in pairs(pool.connections) do
                   for id = 1, 9 do
                     local cmd = dpm.new_cmd_pkt()
                     cmd:command(dpm.COM_STMT_CLOSE)
                     cmd:argument(string.char(id, 0, 0, 0))
                     dpm.wire_packet(connection, cmd)
                   end
                 end",
            );
            // The types are those of before.
            let got = client.execute(client.id, None, &[5, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(got, wanted, "after {sql}");
        }
        assert!(matches!(client.query("COMMIT"), Answer::Ok(_)));
    }
}

all! {
    /// Servers do not report the collation of SET NAMES, so it is read before a statement is prepared in it, or in another.
    fn what_was_set_just_before_counts(server) {
        let dpm = pool(server, "max_prepared = 1");
        let mut both = Both::of(server, &dpm);
        let sql = "SELECT CHARSET('x'), COLLATION('x')";
        let set = |client: &mut Client, names: &str| {
            let answer = client.query(&format!("SET NAMES {names}"));
            assert!(matches!(answer, Answer::Ok(_)), "{names}: {answer:?}");
        };
        let mut texts = Vec::new();
        for (prepared_in, executed_in) in [
            ("latin1, collation_connection = DEFAULT", "utf8mb4 COLLATE utf8mb4_bin"),
            ("utf8mb4 COLLATE utf8mb4_bin", "latin1, collation_connection = DEFAULT"),
            ("latin1 COLLATE latin1_german1_ci", "utf8mb4 COLLATE utf8mb4_bin"),
        ] {
            both.check(|client| {
                set(client, prepared_in);
                client.prepare(sql)
            });
            // The server keeps one statement, so the client's has to be prepared again.
            both.thief.prepare("SELECT 1");
            let got = both.check(|client| {
                set(client, executed_in);
                client.execute(client.id, None, b"")
            });
            let Got::Rows(_, rows) = got else {
                panic!("{got:?}");
            };
            texts.push(String::from_utf8_lossy(&rows[0]).into_owned());
        }
        assert!(texts[1].contains("utf8mb4_bin") && texts[2].contains("latin1_german1_ci"), "{texts:?}");
    }
}
