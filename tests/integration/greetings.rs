//! Clients that log in at the proxy are greeted as by the servers behind it.

use crate::support::dpm::Launch;
use crate::support::wire::{
    Answer, Greeting, Wire, auth_packet, caps, com, greeting as mock_greeting,
};
use crate::support::{
    Dpm, Flavour, MockServer, PASSWORD, Server, USER, both, eventually, mariadb, mariadb11, mysql,
};

/// A proxy for servers, which are options of its backends in Lua, with more options of its own.
fn proxy(backends: &[String], more: &str) -> Dpm {
    let list: Vec<String> = backends
        .iter()
        .map(|backend| {
            format!("{{ host = '127.0.0.1', user = '{USER}', password = '{PASSWORD}', {backend} }}")
        })
        .collect();
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         dpml.proxy_new_clients(l, {{}}, {{ users = {{ empty = '', ann = {{ password = 'p' }} }}, backend = {{ {} }}, {more} }})",
        list.join(", ")
    ))
    .start()
}

fn at(server: &Server) -> String {
    format!("port = {}", server.port)
}

/// What a client sees of a greeting: version, collation, status, both halves of the capabilities.
type Seen = (String, u8, u16, u32, u32);

fn greeted(port: u16) -> Seen {
    let packet = Wire::connect(port).read();
    let greeting = Greeting::parse(&packet);
    let rest = &packet[1 + greeting.version.len() + 1..];
    let status = u16::from_le_bytes([rest[16], rest[17]]);
    // Not those of the client's own leg: TLS, compression, and how it proves who it is.
    let own = 0x20 | caps::SSL | 0x400_0000 | 0x1000_0000 | 0x4000_0000;
    (
        greeting.version,
        rest[15],
        status,
        greeting.capabilities & !own,
        greeting.extended,
    )
}

both! {
    /// The very first client, too.
    fn as_the_server_does(server) {
        let dpm = proxy(&[at(server)], "");
        let port = dpm.port();
        assert_eq!(greeted(port), greeted(server.port));
        // On unix sockets as well.
        let dpm = proxy(&[format!("path = '{}'", server.socket.display())], "");
        assert_eq!(greeted(dpm.port()), greeted(server.port));
    }
}

#[test]
fn as_mariadb_11_does() {
    if let Some(server) = mariadb11() {
        let dpm = proxy(&[at(server)], "");
        assert_eq!(greeted(dpm.port()), greeted(server.port));
    }
}

both! {
    fn a_server_with_autocommit_off_shows(server) {
        let own = Server::start_own(server.flavour, &["--autocommit=0", "--character-set-server=utf8mb4", "--collation-server=utf8mb4_bin"]);
        let dpm = proxy(&[at(&own)], "");
        let seen = greeted(dpm.port());
        assert_eq!(seen, greeted(own.port));
        // MySQL does not say it in its greeting.
        assert_eq!((seen.1, seen.2), (46, if server.flavour.is_mariadb() { 0 } else { 2 }));
        // In the OK of the login and of COM_CHANGE_USER.
        let mut wire = Wire::connect(dpm.port());
        let greeting = Greeting::parse(&wire.read());
        wire.authenticate(&greeting, "empty", "", caps::BASE);
        let off = if server.flavour.is_mariadb() { 0 } else { 2 };
        assert_eq!(wire.read()[3..5], [off, 0]);
        assert_eq!(wire.change_user("ann", "p")[3..5], [off, 0]);
        // The server comes back with other settings.
        own.kill();
        assert!(wire.closed());
        own.restart(&["--character-set-server=latin1", "--collation-server=latin1_bin"]);
        eventually("it greets as it does now", || greeted(dpm.port()) == greeted(own.port));
        assert_eq!(greeted(dpm.port()).1, 47);
    }
}

#[test]
fn a_server_that_is_not_there_yet_or_no_longer() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    let direct = greeted(server.port);
    server.kill();
    let dpm = proxy(&[at(&server)], "");
    let port = dpm.port();
    assert_eq!(greeted(port).0, "8.0.0-dpm");
    server.restart(&[]);
    eventually("it greets as the server", || greeted(port) == direct);
    server.kill();
    assert_eq!(greeted(port), direct, "as last known");
}

#[test]
fn a_server_that_accepts_and_says_nothing_delays_clients_by_a_second() {
    let silent = MockServer::new();
    let dpm = proxy(&[format!("port = {}", silent.port)], "");
    let begun = std::time::Instant::now();
    assert_eq!(greeted(dpm.port()).0, "8.0.0-dpm");
    assert!(begun.elapsed().as_millis() < 5000);
    let begun = std::time::Instant::now();
    assert_eq!(greeted(dpm.port()).0, "8.0.0-dpm");
    assert!(
        begun.elapsed().as_millis() < 900,
        "and only those that come at first"
    );
}

/// A server that greets with these capabilities and this version, and lets anybody in.
fn mock(version: &str, capabilities: u32, collation: u8, status: u8) -> u16 {
    let mock = MockServer::new();
    let end = 1 + "8.0.99-mock".len();
    let usual = mock_greeting(capabilities);
    let mut packet = vec![10];
    packet.extend_from_slice(version.as_bytes());
    packet.extend_from_slice(&usual[end..]);
    let rest = 1 + version.len() + 1;
    packet[rest + 15] = collation;
    packet[rest + 16] = status;
    let port = mock.port;
    std::thread::spawn(move || {
        loop {
            let mut wire = mock.accept();
            wire.write(&packet);
            if wire.try_read().is_ok() {
                wire.write(&crate::support::wire::ok());
                let _ = wire.try_read();
            }
        }
    });
    port
}

#[test]
fn several_servers_have_the_lowest_version_and_what_all_can() {
    let all = caps::BASE
        | caps::MULTI
        | caps::DEPRECATE_EOF
        | caps::SESSION_TRACK
        | caps::CONNECT_WITH_DB;
    for (servers, version, collation, status, lacks) in [
        (
            vec![
                ("9.7.4", all, 255, 2),
                ("8.0.36", all & !caps::DEPRECATE_EOF, 8, 2),
            ],
            "8.0.36",
            8,
            2,
            caps::DEPRECATE_EOF,
        ),
        (
            vec![
                ("8.0.36", all, 33, 0),
                ("8.0.4", all & !caps::SESSION_TRACK, 45, 2),
            ],
            "8.0.4",
            45,
            0,
            caps::SESSION_TRACK,
        ),
        (
            vec![
                ("5.5.5-10.11.19-MariaDB", all, 8, 2),
                ("11.8.9-MariaDB", all, 45, 2),
            ],
            "5.5.5-10.11.19-MariaDB",
            8,
            2,
            0,
        ),
        (
            vec![
                ("11.8.9-MariaDB", all, 45, 2),
                ("5.5.5-10.11.19-MariaDB", all, 8, 2),
            ],
            "5.5.5-10.11.19-MariaDB",
            8,
            2,
            0,
        ),
        // Those of another family have a say in the capabilities only.
        (
            vec![
                ("11.8.9-MariaDB", all, 45, 2),
                ("8.0.36", all & !caps::DEPRECATE_EOF, 255, 2),
            ],
            "11.8.9-MariaDB",
            45,
            2,
            caps::DEPRECATE_EOF,
        ),
    ] {
        let ports: Vec<u16> = servers
            .iter()
            .map(|(version, caps, collation, status)| mock(version, *caps, *collation, *status))
            .collect();
        let backends: Vec<String> = ports.iter().map(|port| format!("port = {port}")).collect();
        let dpm = proxy(&backends, "");
        let port = dpm.port();
        let expected = (version.to_owned(), collation, status);
        eventually(version, || {
            let seen = greeted(port);
            (seen.0, seen.1, seen.2) == expected && seen.3 & lacks == 0
        });
        let seen = greeted(port);
        assert_eq!(seen.3 & all & !lacks, all & !lacks, "{version}");
    }
}

/// What clients do by what they were greeted with, at MariaDB.
#[test]
fn mariadbs_own_capabilities_work_through_the_proxy() {
    for server in [Some(mariadb()), mariadb11()].into_iter().flatten() {
        let dpm = proxy(&[at(server)], "");
        let modern = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;
        let extended = caps::extended::METADATA
            | caps::extended::BULK
            | caps::extended::CACHE
            | caps::extended::PROGRESS;
        let table = format!("{}.shapes", server.database());
        server.sql(&format!(
            "CREATE TABLE {table} (g POINT); INSERT INTO {table} VALUES (POINT(1, 2))"
        ));
        let query = format!("SELECT g FROM {table}");
        let mut ends =
            [server.port, dpm.port()].map(|port| Wire::login_extended(port, modern, extended));
        let seen = ends.each_mut().map(|wire| {
            assert_eq!(wire.extended, extended);
            wire.command(com::QUERY, query.as_bytes());
            let packets: Vec<Vec<u8>> = (0..4).map(|_| wire.read()).collect();
            packets
        });
        assert_eq!(seen[0], seen[1]);
        assert!(
            seen[1]
                .iter()
                .any(|packet| packet.windows(5).any(|bytes| bytes == b"point")),
            "{seen:?}"
        );
        // Two rows by one command.
        let table = format!("{}.bulk", server.database());
        server.sql(&format!("CREATE TABLE {table} (a INT)"));
        let mut wire = Wire::login_extended(dpm.port(), modern, extended);
        wire.command(
            com::STMT_PREPARE,
            format!("INSERT INTO {table} VALUES (?)").as_bytes(),
        );
        let prepared = wire.read();
        assert_eq!(prepared[0], 0);
        wire.read();
        let mut argument = prepared[1..5].to_vec();
        argument.extend_from_slice(&[128, 0, 3, 0, 0, 7, 0, 0, 0, 0, 8, 0, 0, 0]);
        wire.command(com::STMT_BULK_EXECUTE, &argument);
        let Answer::Ok(_) = wire.answer() else {
            panic!("no OK")
        };
        assert_eq!(server.sql(&format!("SELECT SUM(a) FROM {table}")), "15\n");
    }
}

/// A client that takes the server's collation for its own, as PHP's do.
#[test]
fn clients_that_adopt_the_collation_write_and_compare_as_they_do_directly() {
    for server in [Some(mariadb()), mysql()].into_iter().flatten() {
        let dpm = proxy(&[at(server)], "");
        let table = format!("{}.t", server.database());
        server.sql(&format!(
            "CREATE TABLE {table} (a VARCHAR(9) CHARACTER SET utf8mb4)"
        ));
        let seen = [server.port, dpm.port()].map(|port| {
            let mut wire = Wire::connect(port);
            let packet = wire.read();
            let greeting = Greeting::parse(&packet);
            wire.capabilities = caps::BASE & greeting.capabilities;
            let mut auth = auth_packet(&greeting.nonce, "empty", "", wire.capabilities);
            auth[8] = packet[1 + greeting.version.len() + 1 + 15];
            auth.extend_from_slice(greeting.plugin.as_bytes());
            auth.push(0);
            wire.write(&auth);
            assert_eq!(wire.read()[0], 0);
            wire.command(
                com::QUERY,
                &[
                    b"INSERT INTO ".as_slice(),
                    table.as_bytes(),
                    b" VALUES ('\xE9')",
                ]
                .concat(),
            );
            let inserted = wire.answer();
            (
                inserted,
                wire.rows("SELECT 'ss' = '\u{DF}', @@collation_connection"),
            )
        });
        assert_eq!(seen[0], seen[1]);
    }
}

#[test]
fn options_overrule() {
    let server = mariadb();
    let direct = greeted(server.port);
    let dpm = proxy(
        &[at(server)],
        "server_version = '5.7.1-mine', collation = 'latin1_bin', capabilities = { [dpm.CLIENT_DEPRECATE_EOF] = false }",
    );
    let seen = greeted(dpm.port());
    assert_eq!(
        (seen.0.as_str(), seen.1, seen.3),
        ("5.7.1-mine", 47, direct.3 & !caps::DEPRECATE_EOF)
    );
    for how in [
        "dpml.accept_clients(l, { new_command = function() end,",
        "dpml.multiplex(l, {",
    ] {
        let dpm = Launch::script(&format!(
            "local dpml = require 'dpml'
             local l = require('harness').listen(function() end)
             {how} users = {{}}, server_version = '5.7.1-mine', collation = 63, capabilities = {{ [dpm.CLIENT_DEPRECATE_EOF] = false }} }})"
        )).start();
        let seen = greeted(dpm.port());
        assert_eq!(
            (seen.0.as_str(), seen.1, seen.3 & caps::DEPRECATE_EOF),
            ("5.7.1-mine", 63, 0),
            "{how}"
        );
    }
    for (wrong, told) in [
        (
            "'latin1'",
            "collation: 'latin1' is not known by name: give its id",
        ),
        (
            "2304",
            "collation: a handshake has room for ids from 1 to 255",
        ),
        ("{}", "collation: expected a string or integer, got table"),
    ] {
        let dpm = Launch::script(&format!(
            "local dpml = require 'dpml'
             dpml.accept_clients(dpm.listener('127.0.0.1', 0), {{ users = {{}}, new_command = print, collation = {wrong} }})"
        )).start();
        dpm.line(&format!("dpml.accept_clients: {told}"));
    }
}

/// The servers of a function are known once a client has had one.
#[test]
fn servers_that_a_function_chooses() {
    let server = mariadb();
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         dpml.proxy_new_clients(l, {{}}, {{ users = {{ empty = '' }}, backend = function()
           return {{ host = '127.0.0.1', port = {}, user = 'empty' }}
         end }})",
        server.port
    ))
    .start();
    assert_eq!(greeted(dpm.port()).0, "8.0.0-dpm");
    drop(Wire::login_empty(dpm.port(), caps::BASE));
    assert_eq!(greeted(dpm.port()), greeted(server.port));
}

/// The first connection is a whole login, and takes nobody's place.
#[test]
fn the_first_connection_leaves_in_order() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    let aborted = |name: &str| server.sql(&format!("SHOW GLOBAL STATUS LIKE 'Aborted_{name}'"));
    let before = (aborted("connects"), aborted("clients"));
    let dpm = proxy(&[at(&server)], "");
    greeted(dpm.port());
    assert_eq!((aborted("connects"), aborted("clients")), before);
}
