//! Each demo does what its header says.

use mysql::prelude::Queryable as _;

use crate::support::cli::Session;
use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{
    self, Cli, Flavour, PASSWORD, Server, USER, both, connect_as, eventually, mariadb, process,
    python,
};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

both! {
    fn direct(server) {
        let dpm = Launch::demo("direct", server).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        assert_eq!(Cli::query(server.flavour, port, "hello; HELLO; SELECT 'hello'"), "2\n2\nhello\n");
        let mut wire = Wire::login_empty(port, MODERN);
        // When one end closes, so does the other.
        let _ = wire.query("KILL CONNECTION_ID()");
        assert!(wire.closed());
        dpm.wait_for_open_files(files);
    }
}

both! {
    fn tls(server) {
        let dpm = Launch::demo("tls", server).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        // The server needs the password itself, since its cache is empty.
        server.sql("FLUSH PRIVILEGES");
        let demand = match server.flavour {
            Flavour::MySql => "--ssl-mode=REQUIRED",
            _ => "--ssl",
        };
        let said = Cli::client(server.flavour, port).args([demand, "-e", "SELECT 'hello'"]).ok();
        assert_eq!(said, "hello\n");
        dpm.line("dpm: happy came with TLSv1.3, TLS_");
        dpm.line("dpm: its certificate is self-signed, SHA-256 ");
        dpm.wait_for_open_files(files);
    }
}

#[test]
fn direct_to_a_unix_socket() {
    let server = mariadb();
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demos/direct.lua");
    let dpm = Launch::file(demo)
        .arg(server.socket.display())
        .arg(0)
        .arg(0)
        .start();
    assert_eq!(
        Cli::query(Flavour::MariaDb, dpm.listening(), "HELLO"),
        "2\n"
    );
}

/// One command-line client of the pool.
fn pooled(port: u16) -> Session {
    Cli::client(Flavour::MariaDb, port).session()
}

#[test]
fn pool_one_shares_a_server_connection() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    let mut dpm = Launch::demo("pool-one", &server).start();
    let port = dpm.listening();
    let files = dpm.open_files();

    let mut clients: Vec<Session> = (0..4).map(|_| pooled(port)).collect();
    let ids: Vec<String> = clients
        .iter_mut()
        .map(|c| c.ask("SELECT CONNECTION_ID()"))
        .collect();
    assert!(
        ids.iter().all(|id| *id == ids[0]),
        "one connection: {ids:?}"
    );
    let list = Cli::query(Flavour::MariaDb, port, "SHOW PROCESSLIST");
    assert_eq!(list.matches(&format!("\t{USER}\t")).count(), 1, "{list}");
    clients[0].send("USE test");
    assert_eq!(clients[0].ask("SELECT DATABASE()"), "test");
    assert_eq!(
        clients[3].ask("SELECT DATABASE()"),
        "test",
        "USE in one moves them all"
    );

    // When a client quits or disconnects, the server stays for the others.
    assert_eq!(clients.pop().unwrap().quit(), 0);
    drop(clients.pop().unwrap());
    assert_eq!(clients[1].ask("SELECT CONNECTION_ID()"), ids[0]);

    // While the server is busy, the others wait; no client gets another's answer.
    let latch = server.latch();
    clients[0].send(&latch.query);
    eventually("it runs", || server.running(&latch.query) == 1);
    clients[1].send("SELECT 'quick'");
    dpm.settle();
    latch.open();
    assert_eq!(clients[1].line(), "quick");
    assert_eq!(clients[0].line(), "1");

    // Nor that of one who has left.
    let mut leaver = Wire::login(port, MODERN);
    let latch = server.latch();
    leaver.command(com::QUERY, latch.query.as_bytes());
    eventually("it runs", || server.running(&latch.query) == 1);
    drop(leaver);
    clients[1].send("SELECT 'mine'");
    dpm.settle();
    latch.open();
    assert_eq!(clients[1].line(), "mine");
    let mut guesser = Wire::login(port, MODERN);
    for _ in 0..3 {
        let question = guesser.exchange(com::CHANGE_USER, b"root\0\0\0");
        assert_eq!(question[0][0], 0xFE, "an answer to another challenge");
        guesser.write(b"a guess");
        assert_eq!(guesser.read()[..3], [0xFF, 0x15, 0x04], "1045");
    }
    assert!(guesser.closed(), "three guesses and no more");

    for shape in [caps::BASE | caps::MULTI, MODERN] {
        let mut wire = Wire::login(port, shape);
        for statement in ["SELECT 1", "SELECT ?, 2", "DO ?", "DO 0"] {
            let id = wire.prepare(statement);
            let parameters: &[Option<&[u8]>] = if statement.contains('?') {
                &[Some(b"1")]
            } else {
                &[]
            };
            let argument = execute_argument(id, 0, parameters);
            let answer = wire.exchange(com::STMT_EXECUTE, &argument);
            assert_ne!(answer[0][0], 0xFF, "{statement} {shape:x}");
            wire.exchange(com::STMT_CLOSE, &id.to_le_bytes());
        }
    }
    let mut conn = support::connect(port);
    assert_eq!(
        conn.exec_first::<i64, _, _>("SELECT ? + 1", (4,)).unwrap(),
        Some(5)
    );
    assert!(conn.query_drop("SELEKT").is_err());
    assert_eq!(conn.query_first("SELECT 7").unwrap(), Some(7));
    drop(conn);
    let refused = connect_as(port, USER, "wrong").unwrap_err().to_string();
    assert!(refused.contains("1045"), "{refused}");
    if Flavour::MySql.available() {
        let said = Cli::query(Flavour::MySql, port, "SELECT 6");
        assert_eq!(said, "6\n");
    }
    // Clients negotiate different capabilities: not all can share a server, but none affects the
    // others.
    let said = python(port, "print(connect().query('SELECT 1'))");
    assert_eq!(said, "1\n");
    let mut old = Wire::login(port, caps::BASE);
    assert!(matches!(old.query("SELECT 1"), Answer::Err(1105, ..)));
    drop(old);
    assert_eq!(clients[1].ask("SELECT CONNECTION_ID()"), ids[0]);
    drop(clients);
    dpm.wait_for_open_files(files);

    server.kill();
    assert_eq!(dpm.wait_for_end().code(), Some(1), "no server, no pool");
}

#[test]
fn pool_one_without_a_server_ends() {
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demos/pool-one.lua");
    let mut dpm = Launch::file(demo)
        .arg("127.0.0.1")
        .arg(process::free_port())
        .arg(0)
        .start();
    assert_eq!(dpm.wait_for_end().code(), Some(1));
    dpm.line("dpm: pool-one: ERROR 2003 (HY000): Can't connect to server on '127.0.0.1:");
}

#[test]
fn pool_one_serves_many_at_once() {
    let dpm = Launch::demo("pool-one", mariadb()).start();
    let port = dpm.listening();
    std::thread::scope(|scope| {
        for client in 0..8 {
            scope.spawn(move || {
                let mut wire = Wire::login(port, MODERN);
                for round in 0..50 {
                    let value = format!("{client}.{round}");
                    assert_eq!(wire.rows(&format!("SELECT '{value}'")), [[value]]);
                }
            });
        }
    });
}

both! {
    fn autoexplain(server) {
        let base = server.database();
        server.sql(&format!("USE {base}; CREATE TABLE stock (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO stock VALUES (1, 'a'), (2, 'b')"));
        // No statement takes a minute, so only those are explained for which the server reports no
        // index.
        let dpm = Launch::demo("autoexplain", server).arg(60_000).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        let mut wires = [caps::BASE | caps::MULTI, MODERN].map(|shape| Wire::login_empty(port, shape));
        for wire in &mut wires {
            for id in ["1", "2"] {
                assert_eq!(wire.rows(&format!("SELECT id FROM {base}.stock WHERE id = {id}")), [[id]]);
                assert_eq!(wire.rows(&format!("SELECT id FROM {base}.stock WHERE name > '' AND id = id + {id} - {id}")).len(), 2);
            }
            // Errors are the client's own.
            let Answer::Err(1146, _, message) = wire.query("SELECT * FROM test.nothing") else { panic!("an error") };
            assert_eq!(message, "Table 'test.nothing' doesn't exist");
        }
        let line = dpm.line("autoexplain: digest=");
        assert!(line.contains("WARN") && line.contains("flags=full_scan") && line.contains("tables=stock"), "{line}");
        dpm.line("stock: ALL, key none, 2 rows");
        assert_eq!(dpm.count("autoexplain: digest="), 1);

        let admin = dpm.line("SHOW PLANS on 127.0.0.1:");
        let admin = admin.rsplit(':').next().unwrap();
        let said = Cli::tool(Flavour::MariaDb, "mysql")
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-udpm", "-pdpm", "-N", "-B", "-e", "SHOW PLANS"])
            .arg(format!("-P{admin}"))
            .ok();
        assert!(said.contains("\tfull_scan") && said.contains("WHERE name > ?"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        drop(wires);
        // The side connection stays.
        dpm.wait_for_open_files(files + 1);
    }
}

both! {
    fn rows(server) {
        let base = server.database();
        server.sql(&format!("USE {base}; CREATE TABLE t (id INT, name VARCHAR(20));
            INSERT INTO t VALUES (1, 'ann'), (2, NULL), (NULL, 'bob')"));
        let dpm = Launch::demo("rows", server).start();
        let port = dpm.listening();
        let said = Cli::interactive(server.flavour, port)
            .args(["-B", &base, "-e", "SELECT 'a' AS b; SELECT id, name FROM t; DO 1; SELECT 5 AS five"])
            .ok();
        assert_eq!(
            said,
            "B\nA\nDPM WAS HERE\n\
             ID\tNAME\n1\tANN\n2\tNULL\nNULL\tBOB\nNULL\tDPM WAS HERE\n\
             FIVE\n5\nNULL\n"
        );
        // With auto-rehash it asks for the columns of every table: those are left alone.
        let said = Cli::interactive(server.flavour, port)
            .args(["-B", "-N", "--auto-rehash"])
            .stdin(format!("USE {base};\nSELECT 'x';\n"))
            .ok();
        assert_eq!(said, "X\nDPM WAS HERE\n");
        for shape in [caps::BASE | caps::MULTI, MODERN] {
            let mut wire = Wire::login_empty(port, shape);
            assert_eq!(wire.rows("SELECT 'a'; SELECT 'b'"), [["A"], ["DPM WAS HERE"]]);
            let Answer::Rows { rows, .. } = wire.answer() else { panic!("rows") };
            assert_eq!(rows.len(), 2, "of the second result, too");
            assert!(matches!(wire.query("SELEKT"), Answer::Err(1064, ..)));
            assert_eq!(wire.rows("SELECT 'c'"), [["C"], ["DPM WAS HERE"]]);
            // With a cursor or without, and as often as one likes.
            let id = wire.prepare("SELECT 'd' AS d, ?");
            for cursor in [0, 1, 0] {
                let argument = execute_argument(id, cursor, &[Some(b"e")]);
                let answer = wire.exchange(com::STMT_EXECUTE, &argument);
                let rows: Vec<_> = answer.iter().filter(|packet| packet.ends_with(b"DPM WAS HERE")).collect();
                assert_eq!(rows.len(), 1, "{answer:?}");
                assert!(answer.iter().any(|packet| packet.ends_with(b"\x01D\x01E")), "{answer:?}");
            }
        }
        // The rows of a prepared statement have another encoding.
        let mut conn = support::connect(port);
        let values: Vec<(Option<i64>, Option<String>)> =
            conn.exec(format!("SELECT id, name FROM {base}.t WHERE id < ?"), (5,)).unwrap();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(values, [(Some(1), some("ANN")), (Some(2), None), (None, some("DPM WAS HERE"))]);
    }
}

both! {
    fn auth(server) {
        let dpm = Launch::demo("auth", server).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        let client = |flavour, user: &str| {
            Cli::client(flavour, port).args(["-u", user]).arg(format!("-p{user}"))
        };
        let whoami = "SELECT CURRENT_USER(), DATABASE()";
        for flavour in [Flavour::MariaDb, Flavour::MariaDb11, Flavour::MySql] {
            if !flavour.available() {
                continue;
            }
            for user in ["ann", "bob", "old"] {
                for _ in 0..2 {
                    let said = client(flavour, user).args(["-D", "test", "-e", whoami]).ok();
                    assert_eq!(said, format!("{USER}@%\ttest\n"), "{user}");
                }
            }
            // The server knows what this client can do.
            let file = process::folder("demo-auth").join("numbers");
            std::fs::write(&file, "1\n2\n").unwrap();
            let load = format!(
                "CREATE TEMPORARY TABLE n (i INT); LOAD DATA LOCAL INFILE '{}' INTO TABLE n; SELECT SUM(i) FROM n",
                file.display()
            );
            let said = client(flavour, "ann").args(["-D", "test", "--local-infile=1", "-e", &load]).ok();
            assert_eq!(said, "3\n");
            let refused = client(flavour, "ann").arg("-pwrong").run();
            assert!(refused.err().contains("ERROR 1045 (28000)"), "{}", refused.err());
            let refused = client(flavour, USER).arg(format!("-p{PASSWORD}")).run();
            assert!(refused.err().contains("ERROR 1045 (28000)"), "{}", refused.err());
            let refused = client(flavour, "ann").args(["-D", "nowhere"]).run();
            assert!(refused.err().contains("ERROR 1049 (42000)"), "{}", refused.err());
        }
        // Another user gets another server connection.
        let mut wire = Wire::login_as(port, "ann", "ann", MODERN);
        let before = wire.rows("SELECT CONNECTION_ID()");
        assert_eq!(wire.change_user("old", "old")[0], 0);
        assert_eq!(wire.rows("SELECT CURRENT_USER()"), [[format!("{USER}@%")]]);
        assert_ne!(wire.rows("SELECT CONNECTION_ID()"), before);
        assert_eq!(wire.change_user("ann", "old")[..3], [0xFF, 0x15, 0x04]);
        assert_eq!(wire.rows("SELECT 'as old'"), [["as old"]]);
        drop(wire);
        dpm.wait_for_open_files(files);
    }
}

/// The startfile of the README, but for its ports.
#[test]
fn the_readme() {
    let readme = include_str!("../../README.md");
    let script = readme.split("```lua\n").nth(1).expect("a startfile");
    let script = script.split("```").next().unwrap();
    assert!(script.lines().count() <= 12, "a ten-line startfile");
    let server = mariadb();
    let script = script
        .replace("3306", &server.port.to_string())
        .replace("5500", "0");
    let dpm = Launch::script(&format!(
        "{script} print('port ' .. listener:socket_port())"
    ))
    .start();
    let port = dpm.port();
    assert_eq!(Cli::query(Flavour::MariaDb, port, "SELECT 5"), "5\n");
    dpm.line("\tSELECT 5");
    dpm.wait_until_idle();
    assert!(readme.lines().count() <= 100, "two screens");
}
