//! Each demo does what its header says.

use std::collections::BTreeSet;

use mysql::prelude::Queryable as _;

use crate::support::cli::Session;
use crate::support::cluster::{self, Kind};
use crate::support::collector::Collector;
use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::web::{Web, fine};
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{
    self, Cli, Flavour, PASSWORD, Server, USER, both, eventually, mariadb, process,
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

both! {
    fn pool(server) {
        let dpm = Launch::demo("pool", server).arg(0).start();
        let port = dpm.listening();
        let admin: u16 = dpm.line("dpm: pool: SHOW HELD on port ").rsplit(' ').next().unwrap().parse().unwrap();
        // Ten clients have five connections, and each its own session.
        let mut clients: Vec<Session> = (0..10).map(|_| Cli::client(server.flavour, port).session()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&format!("SET time_zone = '+0{number}:00'"));
        }
        let mut threads = BTreeSet::new();
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.ask("SELECT @@time_zone"), format!("+0{number}:00"));
            threads.insert(client.ask("SELECT CONNECTION_ID()"));
        }
        assert!(threads.len() <= 5, "{threads:?}");

        // What keeps a connection is shown.
        let held = || Cli::query(server.flavour, admin, "SELECT Reason, Statement FROM held");
        assert_eq!(held(), "");
        assert_eq!(clients[0].ask("SET @a = 5; SELECT @a"), "5");
        assert_eq!(held(), "user-variable\tSET @a = ?\n");
        assert_eq!(clients.remove(0).quit(), 0);
        eventually("nobody is held", || held().is_empty());
    }
}

#[test]
fn rw_split() {
    let cluster = cluster::shared(Kind::MariaDb).expect("a cluster");
    let (primary, replica) = (cluster.node(0), cluster.node(1));
    let dpm = Launch::demo("rw-split", primary)
        .arg(replica.host())
        .arg(replica.port)
        .start();
    primary.sql("CREATE TABLE IF NOT EXISTS test.read_here (id INT PRIMARY KEY)");
    let flavour = primary.flavour;
    let (primary, replica) = (primary.port.to_string(), replica.port.to_string());
    let ask = |sql: &str| Cli::query(flavour, dpm.listening(), sql).trim().to_owned();
    // Until it is known what the servers are for, all goes to the primary.
    let read = "SELECT @@port + COUNT(*) FROM test.read_here";
    eventually("reads go to the replica", || ask(read) == replica);
    assert_eq!(ask(&format!("BEGIN; {read}; COMMIT")), primary);
}

both! {
    fn failover(server) {
        let replica = Server::start_own(server.flavour, &["--read-only=1"]);
        let dpm = Launch::demo("failover", server).arg(replica.host()).arg(replica.port).start();
        dpm.line("is up, primary");
        let port = Cli::query(server.flavour, dpm.listening(), "SELECT @@port");
        assert_eq!(port, format!("{}\n", server.port));
    }
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
    assert!(readme.lines().count() <= 135, "three screens");
}

#[test]
fn tracing() {
    let collector = Collector::start();
    let dpm = Launch::demo("tracing", mariadb())
        .arg(collector.port)
        .start();
    let mut wire = Wire::login_empty(dpm.listening(), MODERN);
    wire.rows("SELECT 1 /*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/");
    let spans = collector.wait_for(1);
    assert_eq!(spans[0]["trace"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(spans[0]["service"]["service.name"], "shop-database");
}

#[test]
fn webhook() {
    let web = Web::serve(|_| Some(fine("")));
    let server = Server::start_own(Flavour::MariaDb, &[]);
    let hook = format!("http://127.0.0.1:{}/hook", web.port);
    let dpm = Launch::demo("webhook", &server).arg(hook).start();
    let mut wire = Wire::login_empty(dpm.listening(), MODERN);
    wire.rows("SELECT 1");
    server.kill();
    server.wait_for_end();
    eventually("the webhook is told", || !web.asked().is_empty());
    server.restart(&[]);
    eventually("the webhook is told again", || web.asked().len() > 1);
    let told: Vec<_> = web
        .asked()
        .iter()
        .map(|asked| String::from_utf8_lossy(&asked.body).into_owned())
        .collect();
    assert!(
        told[0].contains("does not answer") && told[1].contains("is back"),
        "{told:?}"
    );
}
