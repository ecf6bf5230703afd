//! The real clients through a proxy without callbacks: they must not notice it.

use std::fmt::Write as _;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{LocalInfileHandler, OptsBuilder};

use crate::support::{
    self, Cli, Dpm, Flavour, PASSWORD, Server, USER, both, mariadb, mysql, process, python,
};

both! {
    /// The whole login, with whatever plugin the account has. MySQL's goes through the RSA exchange
    /// here: its client asks for the key, since the proxy offers no TLS.
    fn logs_in_and_queries(server) {
        let dpm = Dpm::passthrough(server);
        let who = "SELECT CURRENT_USER(), @@port";
        let said = Cli::query(server.flavour, dpm.port(), who);
        assert_eq!(said, format!("{USER}@%\t{}\n", server.port));
        let mut conn = support::connect(dpm.port());
        assert_eq!(conn.query_first::<i64, _>("SELECT 1 + 1").unwrap(), Some(2));
        drop(conn);
        dpm.wait_until_idle();
    }
}

both! {
    fn a_full_caching_sha2_login_works_after_the_server_forgot_the_account(server) {
        let dpm = Dpm::passthrough(server);
        for _ in 0..2 {
            // Empties the server's cache of fast logins.
            server.sql("FLUSH PRIVILEGES");
            assert_eq!(Cli::query(server.flavour, dpm.port(), "SELECT 7"), "7\n");
            server.sql("FLUSH PRIVILEGES");
            assert_eq!(python(dpm.port(), "
with connect() as conn, conn.cursor() as cursor:
    cursor.execute('SELECT 8')
    print(cursor.fetchone()[0])
"), "8\n");
        }
    }
}

both! {
    fn a_wrong_password_is_refused_by_the_server(server) {
        let dpm = Dpm::passthrough(server);
        let error = support::connect_as(dpm.port(), USER, "wrong").unwrap_err().to_string();
        assert!(error.contains("1045"), "{error}");
        let done = Cli::tool(server.flavour, "mysql")
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-unobody", "-e", "SELECT 1"])
            .arg(format!("-P{}", dpm.port()))
            .run();
        assert!(done.err().contains("1045"), "{}", done.err());
        dpm.wait_until_idle();
    }
}

both! {
    fn the_clients_of_the_other_kind_work_too(server) {
        if server.flavour.is_mariadb() && !support::server::mysql_available() {
            return;
        }
        let other = match server.flavour {
            Flavour::MariaDb | Flavour::MariaDb11 => Flavour::MySql,
            Flavour::MySql => Flavour::MariaDb,
        };
        let dpm = Dpm::passthrough(server);
        let said = Cli::query(other, dpm.port(),
            "SELECT 1; SELECT 'two' UNION SELECT 'three'; DO 0; SELECT NULL");
        assert_eq!(said, "1\ntwo\nthree\nNULL\n");
    }
}

both! {
    /// `\s`, `use`, completion of names (COM_FIELD_LIST), warnings, errors that do not end a session.
    fn a_session_of_the_interactive_client(server) {
        let dpm = Dpm::passthrough(server);
        let base = server.database();
        let session = format!("\
\\s
use {base}
CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20));
INSERT INTO t VALUES (1, 'one'), (2, NULL), (3, '');
use {base}
SELECT * FROM nowhere;
SHOW WARNINGS;
SELECT * FROM t ORDER BY id;
SELECT 1/0;
DELIMITER //
CREATE PROCEDURE p() BEGIN SELECT 'a'; SELECT 'b'; END//
DELIMITER ;
CALL p();
\\u test
SELECT DATABASE();
");
        let run = |port| {
            server.sql(&format!("DROP DATABASE {base}; CREATE DATABASE {base}"));
            let done = Cli::interactive(server.flavour, port)
                // The tables' names are read for completion, with COM_FIELD_LIST where it exists.
                .args(["--force", "--table", "--auto-rehash", "--show-warnings", "--comments"])
                .stdin(session.clone())
                .run();
            (done.out(), done.err())
        };
        let ((direct, direct_err), (through, through_err)) = (run(server.port), run(dpm.port()));
        // The parts of `\s` that depend on the connection or the time.
        let steady = |text: &str, port: u16| -> Vec<String> {
            text.lines()
                .filter(|line| !["Connection id", "Uptime", "Threads:", "SSL:"].iter().any(|it| line.contains(it)))
                .map(|line| line.replace(&port.to_string(), "PORT"))
                .collect()
        };
        assert_eq!(steady(&direct, server.port), steady(&through, dpm.port()));
        assert_eq!(steady(&direct_err, server.port), steady(&through_err, dpm.port()));
        assert!(through.contains("Threads:"), "COM_STATISTICS: {through}");
        dpm.wait_until_idle();
    }
}

/// Tables with every kind of value, an empty one, a view, a trigger and a routine.
fn sample_schema(server: &Server) -> String {
    let base = server.database();
    let mut rows = String::new();
    for i in 0..3000 {
        let separator = if i == 0 { "" } else { "," };
        write!(
            rows,
            "{separator}({i}, {}, {}, 'name {i} \\'quoted\\' \\n', LEFT(UNHEX(SHA2({i}, 256)), 20), '2026-01-{:02} 12:34:56', {})",
            i * 7919 % 1000,
            f64::from(i) / 8.0,
            i % 28 + 1,
            if i % 3 == 0 { "NULL".to_owned() } else { format!("REPEAT('x', {i})") },
        )
        .unwrap();
    }
    server.sql(&format!(
        "USE {base};
         CREATE TABLE t (id INT PRIMARY KEY, n BIGINT, d DOUBLE, name VARCHAR(100), b VARBINARY(20),
             at DATETIME, body TEXT, KEY (n));
         INSERT INTO t VALUES {rows};
         CREATE TABLE none_here (id INT PRIMARY KEY);
         CREATE VIEW v AS SELECT id, name FROM t WHERE n > 500;
         CREATE TRIGGER tr BEFORE INSERT ON none_here FOR EACH ROW SET NEW.id = NEW.id + 1;
         CREATE PROCEDURE p() SELECT COUNT(*) FROM t;
         CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 3;"
    ));
    base
}

both! {
    fn a_dump_is_identical_and_can_be_sourced(server) {
        let dpm = Dpm::passthrough(server);
        let base = sample_schema(server);
        let dump = |port, base: &str| {
            let cli = Cli::login(server.flavour, "mysqldump", port)
                .args(["--routines", "--triggers", "--hex-blob", "--skip-dump-date"]);
            let cli = match server.flavour {
                Flavour::MariaDb | Flavour::MariaDb11 => cli,
                // Other tests write meanwhile.
                Flavour::MySql => cli.arg("--set-gtid-purged=OFF"),
            };
            cli.arg("--no-tablespaces").arg(base).ok()
        };
        let (direct, through) = (dump(server.port, &base), dump(dpm.port(), &base));
        assert!(direct.len() > 2_000_000, "{} bytes", direct.len());
        let differ = direct.lines().zip(through.lines()).find(|(a, b)| a != b);
        assert!(direct == through, "the dumps differ: {differ:?}");

        let copy = server.database();
        let file = dpm.folder.join("dump.sql");
        std::fs::write(&file, &direct).unwrap();
        Cli::client(server.flavour, dpm.port())
            .arg(&copy)
            .stdin(format!("source {}\n", file.display()))
            .ok();
        let again = dump(dpm.port(), &copy).replace(&copy, &base);
        assert!(direct == again, "the sourced copy differs");
        dpm.wait_until_idle();
    }
}

both! {
    fn loads_100_megabytes_of_local_data(server) {
        let dpm = Dpm::passthrough(server);
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (id INT, body TEXT) ENGINE=MyISAM"));
        let file = dpm.folder.join("data.tsv");
        let mut text = String::with_capacity(101 << 20);
        let mut lines = 0u64;
        while text.len() < 100 << 20 {
            writeln!(text, "{lines}\t{}", "abcdefghijklmnop".repeat(64)).unwrap();
            lines += 1;
        }
        std::fs::write(&file, text).unwrap();
        let load = format!(
            "SET sql_log_bin = 0; LOAD DATA LOCAL INFILE '{}' INTO TABLE t; SELECT ROW_COUNT(); \
             SELECT COUNT(*), SUM(id), SUM(LENGTH(body)) FROM t",
            file.display()
        );
        let said = Cli::client(server.flavour, dpm.port())
            .args(["--local-infile=1", "-e", &load, &base])
            .ok();
        let sum = lines * (lines - 1) / 2;
        assert_eq!(said, format!("{lines}\n{lines}\t{sum}\t{}\n", lines * 1024));
        assert!(dpm.memory_kib("VmHWM") < 60 << 10, "it streams: {} KiB", dpm.memory_kib("VmHWM"));
        server.sql(&format!("DROP DATABASE {base}"));
    }
}

both! {
    /// An empty file, one that does not exist, a statement that fails, and a client that gives up.
    fn local_data_in_its_odd_cases(server) {
        let dpm = Dpm::passthrough(server);
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (id INT PRIMARY KEY)"));
        let options = |content: &'static [u8]| -> OptsBuilder {
            support::options(dpm.port()).db_name(Some(&base)).local_infile_handler(Some(
                LocalInfileHandler::new(move |_, stream| std::io::Write::write_all(stream, content)),
            ))
        };
        let load = "LOAD DATA LOCAL INFILE 'it' INTO TABLE t";
        let mut conn = mysql::Conn::new(options(b"")).unwrap();
        conn.query_drop(load).unwrap();
        let mut conn = mysql::Conn::new(options(b"1\n2\n")).unwrap();
        conn.query_drop(load).unwrap();
        assert!(conn.query_drop("LOAD DATA LOCAL INFILE 'it' INTO TABLE nowhere").is_err());
        conn.query_drop(format!("{load}; SELECT 5")).unwrap();
        assert_eq!(conn.query_first::<i64, _>("SELECT SUM(id) FROM t").unwrap(), Some(3));
        let done = Cli::client(server.flavour, dpm.port())
            .args(["--force", "--local-infile=1", &base])
            .stdin("LOAD DATA LOCAL INFILE '/does/not/exist' INTO TABLE t; SELECT 'still here';")
            .run();
        assert_eq!(done.out(), "still here\n", "{}", done.err());
    }
}

both! {
    /// Packets split at 16 MB, in both directions at once, and at the exact multiples.
    fn a_row_of_40_megabytes_both_ways(server) {
        let dpm = Dpm::passthrough(server);
        let mut conn = support::connect(dpm.port());
        for length in [40 << 20, (1 << 24) - 1, (1 << 24) - 2, (2 << 24) - 2] {
            // The query's packet has the quotes and the words around it too.
            for around in [0, "?SELECT ''".len()] {
                let text = "x".repeat(length - around);
                let back: Option<String> = conn.query_first(format!("SELECT '{text}'")).unwrap();
                assert!(back.as_deref() == Some(&text), "{length} - {around}");
            }
        }
        // A row whose first value announces itself with 0xFE.
        let back: Option<(String, i64)> =
            conn.query_first("SELECT REPEAT('y', 17 << 20), 5").unwrap();
        assert!(back.is_some_and(|(text, five)| text.len() == 17 << 20 && five == 5));
        let text = "z".repeat(17 << 20);
        let back: Option<String> = conn.exec_first("SELECT ?", (&text,)).unwrap();
        assert!(back.as_deref() == Some(&text), "binary");
        assert_eq!(conn.query_first::<i64, _>("SELECT 9").unwrap(), Some(9));
    }
}

both! {
    fn serves_200_clients_at_once(server) {
        let dpm = Dpm::passthrough(server);
        let port = dpm.port();
        let base = server.database();
        server.sql(&format!(
            "USE {base}; CREATE TABLE t (id INT PRIMARY KEY, body VARCHAR(200));
             SET @i = 0;
             INSERT INTO t SELECT @i := @i + 1, REPEAT(LEFT(SHA2(@i, 256), 32), 5) FROM
                 information_schema.collations a, information_schema.collations b LIMIT 5000"
        ));
        std::thread::scope(|scope| {
            for client in 0..200i64 {
                let base = &base;
                std::thread::Builder::new().stack_size(512 << 10).spawn_scoped(scope, move || {
                    let mut conn = support::connect(port);
                    conn.select_db(base).unwrap();
                    for round in 0..5 {
                        let low = (client * 37 + round * 911) % 4000;
                        let rows: Vec<(i64, String)> = conn
                            .exec("SELECT id, body FROM t WHERE id > ? AND id <= ? + 200 ORDER BY id", (low, low))
                            .unwrap();
                        let text: Vec<(i64, String)> = conn
                            .query(format!("SELECT id, body FROM t WHERE id > {low} AND id <= {low} + 200 ORDER BY id"))
                            .unwrap();
                        assert_eq!(rows, text);
                        assert_eq!(rows.len(), 200);
                        for (at, (id, body)) in rows.iter().enumerate() {
                            assert_eq!(*id, low + 1 + at as i64);
                            assert_eq!(body.len(), 160);
                        }
                        let crc: Option<u64> = conn
                            .query_first(format!("SELECT SUM(CRC32(body)) FROM t WHERE id > {low} AND id <= {low} + 200"))
                            .unwrap();
                        let own: u64 = rows.iter().map(|(_, body)| u64::from(crc32(body.as_bytes()))).sum();
                        assert_eq!(crc, Some(own));
                    }
                }).unwrap();
            }
        });
        dpm.wait_until_idle();
    }
}

/// The checksum that SQL's `CRC32` gives.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

both! {
    fn mysqladmin_works(server) {
        let dpm = Dpm::passthrough(server);
        let admin = |commands: &[&str]| {
            Cli::login(server.flavour, "mysqladmin", dpm.port()).args(commands).ok()
        };
        assert!(admin(&["ping"]).contains("mysqld is alive"));
        assert!(admin(&["status"]).contains("Threads: "));
        assert!(admin(&["version"]).contains("Server version"));
        assert!(admin(&["processlist"]).contains(USER));
        assert!(admin(&["extended-status"]).contains("Bytes_received"));
        assert!(admin(&["variables"]).contains("max_connections"));
        admin(&["flush-tables", "flush-status", "refresh"]);
        let base = server.database();
        admin(&["--force", "drop", &base]);
        admin(&["create", &base]);
        server.sql(&format!("USE {base}"));
        dpm.wait_until_idle();
    }
}

/// A server of its own, since it goes down.
fn shuts_down_through_the_proxy(flavour: Flavour) {
    let server = Server::start_own(flavour, &[]);
    let dpm = Dpm::passthrough(&server);
    let bystander = support::connect(dpm.port());
    Cli::login(flavour, "mysqladmin", dpm.port())
        .arg("shutdown")
        .ok();
    server.wait_for_end();
    drop(bystander);
    dpm.wait_until_idle();
    // Without a server a client is refused rather than left waiting.
    let done = Cli::client(flavour, dpm.port())
        .args(["-e", "SELECT 1"])
        .run();
    assert_ne!(done.code, 0);
    server.restart(&[]);
    assert_eq!(Cli::query(flavour, dpm.port(), "SELECT 1"), "1\n");
}

#[test]
fn mysqladmin_shutdown_mariadb() {
    shuts_down_through_the_proxy(Flavour::MariaDb);
}

#[test]
fn mysqladmin_shutdown_mysql() {
    if mysql().is_some() {
        shuts_down_through_the_proxy(Flavour::MySql);
    }
}

both! {
    fn python_works(server) {
        let dpm = Dpm::passthrough(server);
        let said = python(dpm.port(), "
with connect(database='test', autocommit=False) as conn, conn.cursor() as cursor:
    conn.ping()
    cursor.execute('CREATE TEMPORARY TABLE x (id INT, body BLOB)')
    cursor.executemany('INSERT INTO x VALUES (%s, %s)', [(i, bytes([i])) for i in range(256)])
    conn.commit()
    cursor.execute('SELECT id, body FROM x ORDER BY id')
    print(all(ord(body) == id for id, body in cursor.fetchall()))
    try:
        cursor.execute('SELECT nothing')
    except pymysql.Error as error:
        print(error.args[0])
    conn.select_db('mysql')
    cursor.execute('SELECT DATABASE()')
    print(cursor.fetchone()[0])
with connect(cursorclass=pymysql.cursors.SSCursor) as conn, conn.cursor() as cursor:
    cursor.execute('SELECT REPEAT(65, 100) FROM information_schema.collations a, information_schema.collations b LIMIT 20000')
    print(sum(1 for row in cursor))
");
        assert_eq!(said, "True\n1054\nmysql\n20000\n");
        dpm.wait_until_idle();
    }
}

both! {
    fn a_binlog_is_streamed(server) {
        let dpm = Dpm::passthrough(server);
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.binlog_marker (id INT)"));
        let name = server.sql(match server.flavour {
            Flavour::MariaDb | Flavour::MariaDb11 => "SHOW MASTER STATUS",
            Flavour::MySql => "SHOW BINARY LOG STATUS",
        });
        let name = name.split('\t').next().unwrap().to_owned();
        let said = Cli::login(server.flavour, "mysqlbinlog", dpm.port())
            .args(["--read-from-remote-server", &name])
            .patience(Duration::from_secs(30))
            .ok();
        assert!(said.contains("binlog_marker"), "{}", process::clip(said.as_bytes()));
        dpm.wait_until_idle();
    }
}

#[test]
fn a_unix_socket_leads_to_the_same() {
    let server = mariadb();
    let path = process::folder("socket").join("dpm.sock");
    let dpm = support::dpm::Launch::script(
        "local path = arg[1]
         local keep = {}
         listener = dpm.listener_unix(arg[2], '0700')
         listener:register(dpm.MYC_CONNECT, function(c)
           local s = dpm.connect_unix(path)
           keep[c:id()] = { c, s }
           c:register(dpm.MY_CLOSING, function(id) keep[id] = nil end)
           print('from', c:socket_address(), 'kind', c:listener())
           dpm.proxy_connect(c, s)
         end)
         print('ready')",
    )
    .arg(server.socket.display())
    .arg(path.display())
    .start();
    dpm.line("ready");
    let said = Cli::tool(Flavour::MariaDb, "mysql")
        .args(["--no-defaults", "-N", "-B"])
        .args([
            format!("-u{USER}"),
            format!("-p{PASSWORD}"),
            format!("--socket={}", path.display()),
        ])
        .args(["-e", "SELECT 'over two sockets'"])
        .ok();
    assert_eq!(said, "over two sockets\n");
    // listener() says what sort of listener an object is, and a client is none.
    dpm.line("from\tlocalhost\tkind\t0");
    dpm.wait_until_idle();
}
