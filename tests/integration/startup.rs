//! `dpm` without arguments: the server without a database that is built in.

use std::time::Duration;

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Cli, Dpm, Flavour, connect_as, options, process, python};

const PLAIN: u32 = caps::BASE | caps::MULTI;
const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// The program alone, on a free port.
fn start() -> Dpm {
    Launch::built_in().arg(0).start()
}

/// The command-line client, logged in as the program says.
fn client(port: u16) -> Cli {
    Cli::tool(Flavour::MariaDb, "mysql")
        .args([
            "--no-defaults",
            "--protocol=tcp",
            "-h127.0.0.1",
            "-udpm",
            "-pdpm",
        ])
        .arg(format!("-P{port}"))
}

fn query(port: u16, statements: &str) -> String {
    client(port).args(["-N", "-B", "-e", statements]).ok()
}

#[test]
fn it_says_how_to_connect_and_that_works() {
    let dpm = start();
    let port = dpm.listening();
    let files = dpm.open_files();
    let try_this = dpm.line("try  ");
    let words: Vec<&str> = try_this
        .split_whitespace()
        .skip_while(|word| *word != "-h")
        .collect();
    assert_eq!(
        words,
        [
            "-h",
            "127.0.0.1",
            "-P",
            &port.to_string(),
            "-u",
            "dpm",
            "-pdpm"
        ]
    );
    let said = Cli::tool(Flavour::MariaDb, "mysql")
        .arg("--no-defaults")
        .args(words)
        .args(["-N", "-B", "-e", "SELECT 1"])
        .ok();
    assert_eq!(said, "1\n");
    dpm.wait_for_open_files(files);
}

#[test]
fn the_clients_of_newer_servers_log_in() {
    let dpm = start();
    for flavour in [Flavour::MySql, Flavour::MariaDb11] {
        if flavour.available() {
            let cli = Cli::client(flavour, dpm.listening());
            let said = cli.args(["-udpm", "-pdpm", "-e", "SELECT 1"]).ok();
            assert_eq!(said, "1\n", "{flavour:?}");
        }
    }
}

#[test]
fn the_command_line_client_works() {
    let dpm = start();
    let port = dpm.listening();
    assert!(query(port, "HELLO").starts_with("Hello from dpm"));
    for (sql, answer) in [
        ("SELECT 1", "1"),
        ("select 1 as one, 2.5", "1\t2.5"),
        ("/* who asks */ SELECT 5 FROM DUAL LIMIT 1", "5"),
        (
            "SELECT USER(), CURRENT_USER(), DATABASE()",
            "dpm@127.0.0.1\tdpm@%\tNULL",
        ),
        (
            "SELECT @@max_allowed_packet, @@session.autocommit",
            "16777216\t1",
        ),
        ("USE dpm; SELECT DATABASE()", "dpm"),
        ("SHOW DATABASES", "dpm"),
        ("USE dpm; SHOW TABLES", ""),
        ("SET NAMES utf8mb4", ""),
        (
            "SHOW VARIABLES LIKE 'lower_case%'",
            "lower_case_table_names\t0",
        ),
        ("SHOW SESSION VARIABLES LIKE 'autocommi_'", "autocommit\t1"),
        ("SHOW STATUS LIKE 'nothing%'", ""),
        ("SHOW WARNINGS", ""),
    ] {
        assert_eq!(query(port, sql).trim_end_matches('\n'), answer, "{sql}");
    }
    let status = query(port, "SHOW STATUS LIKE 'dpm%'");
    assert!(status.contains("dpm_clients\t1\n"), "{status}");
    assert!(query(port, "SHOW GLOBAL STATUS").contains("dpm_callbacks\t"));
}

#[test]
fn its_status_works() {
    let dpm = start();
    let port = dpm.listening();
    // Its start as a person sees it, auto-rehash included.
    let said = client(port)
        .args(["-v", "-t"])
        .stdin("use dpm;\n\\s\nSELECT 1 AS one;\n")
        .ok();
    for part in [
        "Connection id:",
        "Current database:\tdpm",
        "Current user:\t\tdpm@127.0.0.1",
        "Uptime:",
        "Threads: 1",
        "| one  |",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let version = said
        .lines()
        .find(|line| line.starts_with("Server version:"))
        .unwrap_or_default();
    assert!(version.contains("dpm"), "{version}");
    let admin = |command: &str| {
        Cli::tool(Flavour::MariaDb, "mysqladmin")
            .args([
                "--no-defaults",
                "--protocol=tcp",
                "-h127.0.0.1",
                "-udpm",
                "-pdpm",
            ])
            .arg(format!("-P{port}"))
            .arg(command)
            .ok()
    };
    assert!(admin("ping").contains("alive"));
    assert!(admin("status").contains("Threads: "));
    assert!(admin("version").contains("Server version"));
    assert!(admin("extended-status").contains("dpm_callbacks"));
}

#[test]
fn only_the_documented_user_comes_in() {
    let dpm = start();
    let port = dpm.listening();
    let files = dpm.open_files();
    for (user, password) in [("dpm", "wrong"), ("dpm", ""), ("root", "dpm"), ("", "")] {
        let refused = connect_as(port, user, password).unwrap_err().to_string();
        assert!(refused.contains("1045"), "{user}: {refused}");
        assert!(
            refused.contains(&format!("'{user}'@'127.0.0.1'")),
            "{refused}"
        );
    }
    let done = client(port).args(["-e", "SELECT 1", "elsewhere"]).run();
    assert!(done.err().contains("ERROR 1049 (42000)"), "{}", done.err());
    assert!(done.err().contains("elsewhere"), "{}", done.err());
    dpm.wait_for_open_files(files);
}

#[test]
fn anything_else_is_an_error_that_explains() {
    let dpm = start();
    let port = dpm.listening();
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login_as(port, "dpm", "dpm", shape);
        for sql in [
            "",
            ";",
            "SELECT",
            "SELECT * FROM t",
            "SELECT 1 +",
            "SELECT (1",
            "SELECT 'open",
            r"SELECT 'open\",
            r"SELECT 'open\'",
            "SELECT 'open''",
            "SELECT 'a' 'b'",
            "SELECT nothing()",
            "SELECT @@nothing",
            "SELECT 1 FROM t",
            "SELECT 1; SELECT 2",
            "INSERT INTO t VALUES (1)",
            "SHOW",
            "SELECT 1 LIMIT x",
            "\0\u{1}",
            "SELECT 1 AS",
            "SELECT 1 + 1",
            "SELECT 'text'",
            "SELECT %s %d",
            "SELECT \u{fffd}",
        ] {
            match wire.query(sql) {
                Answer::Err(1064, state, message) => {
                    assert_eq!(state, "42000");
                    assert!(message.contains("without a database"), "{sql}: {message}");
                }
                other => panic!("{sql}: {other:?}"),
            }
        }
        assert!(matches!(wire.exchange(com::FIELD_LIST, b"t\0")[0][0], 0xFF));
        assert!(matches!(
            wire.exchange(com::INIT_DB, b"elsewhere")[0][0],
            0xFF
        ));
        assert_eq!(wire.exchange(com::INIT_DB, b"dpm")[0][0], 0);
        assert_eq!(wire.exchange(com::PING, b"")[0][0], 0);
        assert_eq!(wire.exchange(com::SET_OPTION, b"\0\0")[0][0], 0xFE);
        assert_eq!(wire.exchange(com::RESET_CONNECTION, b"")[0][0], 0);
        assert!(wire.exchange(com::STATISTICS, b"")[0].starts_with(b"Uptime: "));
        // What has no answer gets none.
        wire.command(com::STMT_CLOSE, b"\x01\0\0\0");
        assert_eq!(wire.rows("SELECT 17"), [["17"]]);
    }
    assert!(!dpm.wrote("traceback"), "no callback fails");
}

#[test]
fn libraries_connect() {
    let dpm = start();
    let port = dpm.listening();
    let login = options(port)
        .user(Some("dpm"))
        .pass(Some("dpm"))
        .db_name(Some("dpm"));
    let mut conn = mysql::Conn::new(login).unwrap();
    assert_eq!(conn.query_first("SELECT 2").unwrap(), Some(2));
    assert!(conn.ping().is_ok());
    assert_eq!(conn.exec_first("SELECT ?", (2,)).unwrap(), Some(2));
    drop(conn);
    let said = python(
        port,
        "
with connect(user='dpm', password='dpm', database='dpm') as conn, conn.cursor() as cursor:
    conn.ping()
    conn.commit()
    cursor.execute('SELECT %s, DATABASE()', (3,))
    print(cursor.fetchall())
    print(cursor.execute('SHOW STATUS LIKE %s', 'dpm_clients'), cursor.fetchone())
    try:
        cursor.execute('SELECT * FROM t')
    except pymysql.Error as error:
        print(error.args[0])
",
    );
    assert_eq!(said, "((3, 'dpm'),)\n1 ('dpm_clients', '1')\n1064\n");
}

#[test]
fn a_taken_port_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
    command.args(["--", &port]).env_remove("RUST_LOG");
    let done = process::run(command, Vec::new(), Duration::from_secs(20));
    assert_eq!(done.code, 1, "{}", done.out());
    for part in [&format!("127.0.0.1:{port}"), "in use", "dpm -- PORT"] {
        assert!(done.err().contains(part), "{part}: {}", done.err());
    }
    assert!(!done.err().contains("traceback"), "{}", done.err());
}

/// No variable of the environment, no file, no database; with the default port if that is free.
#[test]
fn a_bare_machine_will_do() {
    let folder = process::folder("bare");
    process::copy_program(&folder);
    let mut command = process::command("env");
    command
        .args([
            "-i",
            "timeout",
            "--preserve-status",
            "-s",
            "TERM",
            "1",
            "./dpm",
        ])
        .current_dir(&folder);
    let done = process::run(command, Vec::new(), Duration::from_secs(20));
    let told = done.out() + &done.err();
    assert!(told.contains("127.0.0.1:5500"), "{told}");
    assert_eq!(done.code, i32::from(told.contains("in use")), "{told}");
}
