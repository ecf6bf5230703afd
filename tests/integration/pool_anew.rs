//! Sessions that begin anew, by COM_CHANGE_USER and COM_RESET_CONNECTION: as servers begin them.

use crate::pool::{pool, value};
use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Greeting, Wire, auth_packet, caps, com};
use crate::support::{Dpm, Server, all};

/// A pool in which each client has the account of its own name at the server: "anew_a" and "anew_b".
fn own_accounts(server: &Server, size: u32) -> Dpm {
    server.sql(
        "CREATE USER IF NOT EXISTS anew_a@'%' IDENTIFIED BY 'p', anew_b@'%' IDENTIFIED BY 'p';
         GRANT ALL ON *.* TO anew_a@'%'; GRANT ALL ON *.* TO anew_b@'%'",
    );
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = tonumber(arg[1]) }} }},
           users = {{ anew_a = {{ password = 'p' }}, anew_b = {{ password = 'p' }} }}, size = {size} }})"
    ))
    .arg(server.port)
    .start()
}

fn prepare(wire: &mut Wire, sql: &str) -> u32 {
    wire.command(com::STMT_PREPARE, sql.as_bytes());
    let head = wire.read();
    assert_eq!(head[0], 0, "{sql}");
    let columns = u16::from_le_bytes(head[5..7].try_into().unwrap());
    for _ in 0..=columns {
        wire.read();
    }
    u32::from_le_bytes(head[1..5].try_into().unwrap())
}

fn execute(wire: &mut Wire, id: u32) -> Vec<u8> {
    let mut argument = id.to_le_bytes().to_vec();
    argument.extend([0, 1, 0, 0, 0]);
    wire.command(com::STMT_EXECUTE, &argument);
    wire.read()
}

/// Leaves all kinds of things in a session, and its connection in a transaction.
fn leave_things(wire: &mut Wire) {
    for sql in [
        "USE test",
        "SET time_zone = '+05:00', last_insert_id = 7, @a = 1",
        "CREATE TEMPORARY TABLE left_here (a INT)",
        "SET autocommit = 0",
        "UPDATE test.anew SET a = a + 1",
    ] {
        let answer = wire.query(sql);
        assert!(matches!(answer, Answer::Ok(_)), "{sql}: {answer:?}");
    }
}

/// Nothing of that is there.
#[track_caller]
fn is_anew(wire: &mut Wire, statement: u32, schema: &str) {
    let unknown = execute(wire, statement);
    assert_eq!(
        (unknown[0], &unknown[1..3]),
        (0xFF, &1243_u16.to_le_bytes()[..])
    );
    assert_eq!(value(wire, "SELECT @@time_zone"), "SYSTEM");
    assert_eq!(value(wire, "SELECT LAST_INSERT_ID()"), "0");
    assert_eq!(value(wire, "SELECT @@autocommit"), "1");
    assert_eq!(value(wire, "SELECT @a IS NULL"), "1");
    assert_eq!(value(wire, "SELECT DATABASE()"), schema);
    let gone = wire.query("SELECT * FROM test.left_here");
    assert!(matches!(gone, Answer::Err(1146, ..)), "{gone:?}");
}

all! {
    /// The session of another user begins anew, on connections of that user's account; what was open is rolled back.
    fn another_user(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.anew (a INT); DELETE FROM test.anew; INSERT INTO test.anew VALUES (1)");
        let dpm = own_accounts(server, 4);
        let mut client = Wire::login_as(dpm.port(), "anew_a", "p", caps::BASE);
        let statement = prepare(&mut client, "SELECT 5");
        leave_things(&mut client);
        let thread = value(&mut client, "SELECT CONNECTION_ID()");
        assert_eq!(client.change_user("anew_b", "p")[0], 0);
        assert!(value(&mut client, "SELECT CURRENT_USER()").starts_with("anew_b@"));
        assert!(value(&mut client, "SELECT USER()").starts_with("anew_b@"));
        assert_ne!(value(&mut client, "SELECT CONNECTION_ID()"), thread);
        is_anew(&mut client, statement, "test");
        // The locks of the transaction are gone, and so is its change.
        client.query("SET SESSION innodb_lock_wait_timeout = 5");
        assert_eq!(value(&mut client, "SELECT a FROM test.anew FOR UPDATE"), "1");
        // Others with the first account never get a connection of the second, and the reverse.
        for user in ["anew_a", "anew_b", "anew_a"] {
            let mut other = Wire::login_as(dpm.port(), user, "p", caps::BASE);
            assert!(value(&mut other, "SELECT CURRENT_USER()").starts_with(&format!("{user}@")));
            is_fresh(&mut other);
        }
        // And back.
        assert_eq!(client.change_user("anew_a", "p")[0], 0);
        assert!(value(&mut client, "SELECT CURRENT_USER()").starts_with("anew_a@"));
    }
}

/// A session in which nothing was set.
#[track_caller]
fn is_fresh(wire: &mut Wire) {
    assert_eq!(value(wire, "SELECT @@time_zone"), "SYSTEM");
    assert_eq!(value(wire, "SELECT @a IS NULL"), "1");
}

all! {
    /// The same user's session begins anew, too; a wrong password ends it.
    fn the_same_user_again(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.anew_again (a INT)");
        server.sql("CREATE TABLE IF NOT EXISTS test.anew (a INT)");
        let dpm = own_accounts(server, 1);
        let mut client = Wire::login_as(dpm.port(), "anew_a", "p", caps::BASE);
        let statement = prepare(&mut client, "SELECT 5");
        leave_things(&mut client);
        assert_eq!(client.change_user("anew_a", "p")[0], 0);
        is_anew(&mut client, statement, "test");
        let mut other = Wire::login_as(dpm.port(), "anew_b", "p", caps::BASE);
        is_fresh(&mut other);
        // Who fails stays who it was, as elsewhere.
        client.query("SET time_zone = '+01:00'");
        let refused = client.change_user("anew_b", "wrong");
        assert_eq!((refused[0], &refused[1..3]), (0xFF, &1045_u16.to_le_bytes()[..]));
        assert!(value(&mut client, "SELECT CURRENT_USER()").starts_with("anew_a@"));
        assert_eq!(value(&mut client, "SELECT @@time_zone"), "+01:00");
        is_fresh(&mut other);
    }
}

all! {
    /// The schema stays, also where not all of the session was known after an error.
    fn a_reset_keeps_the_schema_after_an_error(server) {
        server.sql("CREATE DATABASE IF NOT EXISTS anew_schema");
        let dpm = pool(server, 1, "");
        let login = || Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
        let (mut client, mut other) = (login(), login());
        for is_shared in [false, true] {
            client.query("USE test");
            client.query("SELECT 1");
            client.query("INSERT INTO no_such_schema.t VALUES (1)");
            client.query("USE anew_schema");
            if is_shared {
                other.query("SELECT 1");
            }
            client.command(com::RESET_CONNECTION, b"");
            assert_eq!(client.read()[0], 0);
            assert_eq!(value(&mut client, "SELECT DATABASE()"), "anew_schema");
        }
    }
}

/// A client whose login asks for a character set, at a pool or a server.
fn in_charset(port: u16, user: &str, password: &str, collation: u8) -> Wire {
    let mut wire = Wire::connect(port);
    let greeting = Greeting::parse(&wire.read());
    wire.capabilities = caps::BASE & greeting.capabilities;
    let mut packet = auth_packet(&greeting.nonce, user, password, caps::BASE);
    packet[8] = collation;
    wire.write(&packet);
    loop {
        let answer = wire.read();
        match answer[0] {
            0 => return wire,
            0xFE => wire.write(b""),
            _ => panic!("{answer:?}"),
        }
    }
}

const CHARSETS: &str = "SELECT CONCAT_WS(' ', @@character_set_client, @@character_set_connection, \
    @@character_set_results, @@collation_connection, DATABASE())";

all! {
    /// After a reset the schema is that of before, and the character sets are what the server makes them.
    fn a_reset_leaves_what_the_server_leaves(server) {
        let dpm = pool(server, 1, "");
        for collation in [8, 33, 45, 224] {
            let login = |port: u16, pooled: bool| match pooled {
                true => Wire::login_in(port, "ann", "p", caps::BASE, collation),
                false => in_charset(port, "empty", "", collation),
            };
            let seen = [(server.port, false), (dpm.port(), true)].map(|(port, pooled)| {
                let mut wire = login(port, pooled);
                let mut seen = vec![value(&mut wire, CHARSETS)];
                wire.query("USE test");
                wire.query("SET NAMES latin2");
                seen.push(value(&mut wire, CHARSETS));
                wire.command(com::RESET_CONNECTION, b"");
                assert_eq!(wire.read()[0], 0);
                seen.push(value(&mut wire, CHARSETS));
                // What it begins with is set where others have had the connection, too.
                if pooled {
                    value(&mut login(port, true), "SELECT 1");
                }
                seen.push(value(&mut wire, CHARSETS));
                seen
            });
            assert_eq!(seen[1], seen[0], "collation {collation}");
        }
    }
}

all! {
    /// A reset ends what held its connection, and closes prepared statements.
    fn a_reset_begins_anew(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.anew (a INT)");
        let dpm = pool(server, 1, "");
        let mut client = Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
        let statement = prepare(&mut client, "SELECT 5");
        leave_things(&mut client);
        client.command(com::RESET_CONNECTION, b"");
        assert_eq!(client.read()[0], 0);
        is_anew(&mut client, statement, "test");
        let mut other = Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
        is_fresh(&mut other);
    }
}

all! {
    /// MariaDB forgets after both that a client's login has asked for IGNORE_SPACE, and MySQL does not; whoever logs in gets
    /// it, also on a connection that was reset.
    fn who_ignores_spaces_does_so_as_at_the_server(server) {
        const MODE: &str = "SELECT FIND_IN_SET('IGNORE_SPACE', @@sql_mode) > 0";
        let capabilities = caps::BASE | caps::IGNORE_SPACE;
        let forgets = if server.flavour.is_mariadb() { "0" } else { "1" };
        let reset = |wire: &mut Wire| {
            wire.command(com::RESET_CONNECTION, b"");
            assert_eq!(wire.read()[0], 0);
        };
        let mut direct = Wire::login_as(server.port, "empty", "", capabilities);
        assert_eq!(value(&mut direct, MODE), "1");
        reset(&mut direct);
        assert_eq!(value(&mut direct, MODE), forgets);

        let dpm = pool(server, 1, "");
        let login = || Wire::login_as(dpm.port(), "ann", "p", capabilities);
        let mut client = login();
        assert_eq!(value(&mut client, MODE), "1");
        reset(&mut client);
        assert_eq!(value(&mut client, MODE), forgets);
        // It has left something, for which its connection is reset.
        client.query("SET @a = 1");
        drop(client);
        let mut client = login();
        assert_eq!(value(&mut client, MODE), "1");
        assert_eq!(client.change_user("ann", "p")[0], 0);
        assert_eq!(value(&mut client, MODE), forgets);
        assert_eq!(value(&mut login(), MODE), "1");
        assert_eq!(value(&mut client, MODE), forgets);
    }
}

all! {
    /// A session that begins anew while what was before is still being read, as another client gets its connection, has
    /// nothing of that.
    fn what_is_read_of_a_session_is_not_that_of_the_next(server) {
        let dpm = pool(server, 1, "");
        let login = || Wire::login_as(dpm.port(), "ann", "p", caps::BASE | caps::DEPRECATE_EOF);
        let (mut client, mut other) = (login(), login());
        for round in 0..30 {
            client.query("SET div_precision_increment = 7");
            // Its warning is read.
            client.query("SELECT 'x' + 1");
            other.send_command(com::QUERY, b"DO 1").expect("sent");
            client.send_command(com::RESET_CONNECTION, b"").expect("sent");
            assert_eq!((client.read()[0], other.read()[0]), (0, 0));
            let seen = value(&mut client, "SELECT @@div_precision_increment");
            assert_eq!(seen, "4", "in round {round}");
        }
    }
}

all! {
    /// Long data has no answer, so what comes after it is not taken for its answer: a schema that a client has tried in vain is
    /// not the one that it has.
    fn long_data_is_not_waited_for(server) {
        let schema = server.database();
        let dpm = pool(server, 1, "");
        let login = || Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
        let (mut one, mut two) = (login(), login());
        one.outcomes(com::STMT_PREPARE, b"SELECT LENGTH(?)");
        for (id, size) in [(1, 3), (2, 20 << 20)] {
            let mut long = vec![id, 0, 0, 0, 0, 0];
            long.resize(6 + size, b'x');
            one.command(com::STMT_SEND_LONG_DATA, &long);
            one.outcomes(com::INIT_DB, schema.as_bytes());
            one.outcomes(com::INIT_DB, b"no_such_database");
            one.outcomes(com::STMT_RESET, &[id, 0, 0, 0]);
            one.query("DO 1");
            one.outcomes(com::RESET_CONNECTION, b"");
            two.query("DO 1");
            assert_eq!(value(&mut one, "SELECT DATABASE()"), schema);
            one.outcomes(com::STMT_PREPARE, b"SELECT LENGTH(?)");
        }
    }
}

all! {
    /// A client may begin anew in the very moment in which its connection is being set up for another one.
    fn a_reset_keeps_the_clients_own_schema(server) {
        server.sql("CREATE DATABASE IF NOT EXISTS of_a_thief");
        let dpm = pool(server, 1, "");
        let login = |schema: &str| {
            let mut wire = Wire::login_as(dpm.port(), "ann", "p", caps::BASE);
            wire.outcomes(com::INIT_DB, schema.as_bytes());
            wire
        };
        let (mut client, mut thief) = (login("test"), login("of_a_thief"));
        for round in 0..300 {
            assert_eq!(value(&mut client, "SELECT 1"), "1");
            thief.send_command(com::QUERY, b"SELECT DATABASE()").expect("a command");
            // At another moment each time.
            for _ in 0..round * 20 {
                std::hint::spin_loop();
            }
            client.outcomes(com::RESET_CONNECTION, b"");
            thief.read_outcomes(com::QUERY).expect("an answer");
            assert_eq!(value(&mut client, "SELECT DATABASE()"), "test", "round {round}");
        }
    }
}
