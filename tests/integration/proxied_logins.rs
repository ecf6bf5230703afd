//! Clients that log in at the proxy: what they are told when there is no server for them, and what the log is told.

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Greeting, Wire, auth_packet, caps, error, native_answer};
use crate::support::{Dpm, Server, both, mariadb, process};

/// A proxy at which "ann" logs in with the password "p", and which logs in at the server as `account`.
fn proxy(port: u16, account: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         dpml.proxy_new_clients(l, {{}}, {{ users = {{ ann = {{ password = 'p' }} }},
           backend = {{ host = '127.0.0.1', port = tonumber(arg[1]), {account} }} }})"
    ))
    .arg(port)
    .quiet()
    .start()
}

/// The answer to a login of "ann".
fn told(port: u16, capabilities: u32) -> Answer {
    let mut wire = Wire::connect(port);
    let greeting = Greeting::parse(&wire.read());
    wire.authenticate(&greeting, "ann", "p", caps::BASE | capabilities);
    error(&wire.read())
}

both! {
    /// The backend's account stays unknown to clients, whatever the reason.
    fn a_refused_login_names_the_clients_own_account(server) {
        let refused = "Access denied for user 'ann'@'127.0.0.1'";
        server.sql("CREATE USER secret_app@'%' IDENTIFIED BY 's'; CREATE USER secret_lock@'%' IDENTIFIED BY 's' ACCOUNT LOCK;
            CREATE USER secret_full@'%' IDENTIFIED BY 's' WITH MAX_USER_CONNECTIONS 1");
        let mut seen = Vec::new();
        for (account, capabilities, number, text) in [
            ("user = 'secret_app', password = 'no'", 0, 1045, format!("{refused} (using password: YES)")),
            ("user = 'secret_nobody', password = 'no'", 0, 1045, format!("{refused} (using password: YES)")),
            ("user = 'secret_lock', password = 's'", 0, 0, format!("{refused} (using password: YES)")),
            ("user = 'secret_app', password = 's'", caps::CONNECT_WITH_DB, 1044, format!("{refused} to database 'test'")),
            ("user = 'secret_app', password = 's', database = 'mysql'", caps::CONNECT_WITH_DB, 1044, format!("{refused} to database 'test'")),
        ] {
            let dpm = proxy(server.port, account);
            let answer = told(dpm.port(), capabilities);
            let Answer::Err(errnum, _, message) = &answer else { panic!("{account}: {answer:?}") };
            assert!(number == 0 || *errnum == number, "{account}: {answer:?}");
            assert_eq!(*message, text, "{account}");
            let line = dpm.line("there is no server for it: ERROR ");
            assert!(line.contains("WARN") && line.contains(&errnum.to_string()), "{line}");
            assert_eq!(dpm.count("there is no server"), 1);
            seen.push(line);
        }
        assert!(seen[0].contains("secret_app"), "the log has the server's words: {}", seen[0]);
        // One connection, which is taken.
        let full = "user = 'secret_full', password = 's'";
        let dpm = proxy(server.port, full);
        let taken = Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
        let Answer::Err(1226, _, message) = told(dpm.port(), 0) else { panic!("no error") };
        assert_eq!(message, "User 'ann' has exceeded the 'max_user_connections' resource (current value: 1)");
        drop(taken);
        server.sql("DROP USER secret_app@'%', secret_lock@'%', secret_full@'%'");
    }
}

both! {
    /// Also after the login.
    fn missing_privileges_name_the_clients_own_account(server) {
        server.sql("CREATE USER IF NOT EXISTS secret_poor@'%' IDENTIFIED BY 's'");
        let dpm = proxy(server.port, "user = 'secret_poor', password = 's'");
        let mut wire = Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
        for (sql, number) in [("USE mysql", 1044), ("SELECT * FROM mysql.user", 1142), ("CALL sys.nothing()", 1370)] {
            let Answer::Err(errnum, _, message) = wire.query(sql) else { panic!("no error") };
            assert_eq!(errnum, number, "{message}");
            assert!(message.contains("'ann'@'127.0.0.1'") && !message.contains("secret_poor"), "{message}");
        }
    }
}

both! {
    /// A session that ends as it begins, since init_connect fails.
    fn an_init_connect_that_fails(server) {
        let own = Server::start_own(server.flavour, &["--init-connect=SELECT nothing"]);
        own.sql("CREATE USER secret_init@'%' IDENTIFIED BY 's'");
        let dpm = proxy(own.port, "user = 'secret_init', password = 's'");
        let mut wire = Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
        let Answer::Err(1184, _, message) = wire.query("SELECT 1") else { panic!("no error") };
        assert!(!message.contains("secret_init"), "{message}");
        assert!(dpm.line("Aborted connection").contains("secret_init"));
    }
}

both! {
    /// What names nobody is shown as it is.
    fn a_database_that_does_not_exist_is_named(server) {
        let dpm = proxy(server.port, "user = 'happy', password = 'wheefun'");
        let mut wire = Wire::connect(dpm.port());
        let greeting = Greeting::parse(&wire.read());
        let mut packet = auth_packet(&greeting.nonce, "ann", "p", caps::BASE | caps::CONNECT_WITH_DB);
        packet.truncate(packet.len() - 5);
        packet.extend_from_slice(b"nowhere\0mysql_native_password\0");
        wire.write(&packet);
        let Answer::Err(1049, _, message) = error(&wire.read()) else { panic!("no error") };
        assert_eq!(message, "Unknown database 'nowhere'");
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_one_warning() {
    let dead = process::free_port();
    let dpm = proxy(dead, "user = 'app', password = 's'");
    let Answer::Err(1105, state, message) = told(dpm.port(), 0) else {
        panic!("no error");
    };
    assert_eq!(state, "08S01");
    assert!(message.starts_with("Can't connect"), "{message}");
    let line = dpm.line("there is no server for it");
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains(&format!("127.0.0.1:{dead}")), "{line}");
    assert_eq!(dpm.count("there is no server"), 1);
}

#[test]
fn many_failures_do_not_fill_the_log() {
    let dpm = proxy(process::free_port(), "user = 'app', password = 's'");
    for _ in 0..60 {
        told(dpm.port(), 0);
    }
    let logged = dpm.count("there is no server");
    assert!((20..60).contains(&logged), "{logged}");
}

/// A service whose script has no server.
fn service(account: &str, more: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         local function db()
           return dpml.connect {{ host = '127.0.0.1', port = tonumber(arg[1]), {account} }}
         end
         dpml.accept_clients(l, {{ users = {{ ann = {{ password = 'p' }} }}, {more} }})"
    ))
    .arg(mariadb().port)
    .quiet()
    .start()
}

#[test]
fn a_script_whose_connect_fails_is_one_warning() {
    for (more, what) in [
        (
            "handler = function(session) for cmd in session:commands() do db() end end",
            "its handler",
        ),
        ("new_command = function() db() end", "its command"),
    ] {
        let dpm = service("user = 'secret_app', password = 'no'", more);
        let mut wire = Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
        assert_eq!(
            wire.query("SELECT 1 + 1"),
            Answer::Err(
                1045,
                "28000".into(),
                "Access denied for user 'ann'@'127.0.0.1' (using password: YES)".into()
            ),
            "{what}"
        );
        let line = dpm.line(&format!("{what} has no server: ERROR 1045"));
        assert!(
            line.contains("WARN") && line.contains("secret_app"),
            "{line}"
        );
        assert_eq!(dpm.count("has no server"), 1);
    }
}

#[test]
fn a_connect_that_takes_too_long_is_a_warning() {
    let silent = crate::support::MockServer::new();
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         dpml.accept_clients(l, { users = { ann = { password = 'p' } }, new_command = function()
           dpml.connect { host = '127.0.0.1', port = tonumber(arg[1]), timeout_ms = 200, user = 'app' }
         end })",
    )
    .arg(silent.port)
    .quiet()
    .start();
    let mut wire = Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
    assert!(matches!(wire.query("SELECT 1 + 1"), Answer::Err(3024, ..)));
    dpm.line("its command has no server: ERROR 3024");
}

#[test]
fn a_member_of_the_fleet_that_cannot_be_reached_is_one_warning() {
    let dead = process::free_port();
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         dpml.multiplex(l, { users = { ann = { password = 'p' } }, fleet = {
           { host = '127.0.0.1', port = tonumber(arg[1]), user = 'app', password = 's' } } })",
    )
    .arg(dead)
    .quiet()
    .start();
    let line = dpm.line("Can't connect to server on");
    assert!(
        line.contains("WARN") && line.contains(&dead.to_string()),
        "{line}"
    );
}

/// The packet of a client that may name its method, and does not: either there is nothing where the name
/// would be, or an empty name.
fn without_a_method(port: u16, user: &str, answer: &[u8], tail: &[u8]) -> (Wire, Vec<u8>) {
    let mut wire = Wire::connect(port);
    let greeting = Greeting::parse(&wire.read());
    wire.capabilities = caps::BASE & greeting.capabilities;
    let mut packet = auth_packet(&greeting.nonce, user, "", caps::BASE);
    packet.pop();
    packet.push(answer.len() as u8);
    packet.extend_from_slice(answer);
    packet.extend_from_slice(tail);
    wire.write(&packet);
    let first = wire.read();
    (wire, first)
}

#[test]
fn a_client_that_names_no_method_is_asked_to_switch() {
    let dpm = service("user = 'nobody'", "new_command = function() end");
    for tail in [&b""[..], b"\0", b"unheard_of\0"] {
        let (mut wire, switch) = without_a_method(dpm.port(), "ann", &[7; 20], tail);
        let asked = switch.strip_prefix(b"\xFEmysql_native_password\0");
        let asked = asked.or(switch.strip_prefix(b"\xFEcaching_sha2_password\0"));
        let nonce = asked.unwrap_or_else(|| panic!("{tail:?}: {}", switch.escape_ascii()));
        if switch.starts_with(b"\xFEmysql") {
            wire.write(&native_answer("p", &nonce[..20]));
            assert_eq!(wire.read()[0], 0, "{tail:?}");
        }
    }
}

/// What a client leaves out stays out: MariaDB takes an empty name for an unknown method.
#[test]
fn a_client_that_names_no_method_logs_in_through_the_proxy_as_it_does_directly() {
    let direct = mariadb().port;
    let dpm = Dpm::passthrough(mariadb());
    for port in [direct, dpm.port()] {
        let (_, ok) = without_a_method(port, "empty", b"", b"");
        assert_eq!(ok[0], 0, "{}", ok.escape_ascii());
        let (_, switch) = without_a_method(port, "empty", b"", b"\0");
        assert_eq!(switch[0], 0xFE, "{}", switch.escape_ascii());
    }
}
