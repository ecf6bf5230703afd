//! Limits for each user of a pool: how many clients, and how many connections for them.

use crate::pool::value;
use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Greeting, Wire, caps, com, error};
use crate::support::{Dpm, Server, all, eventually};

/// A pool for "ann" and "bob", who share an account at the server.
fn pool(server: &Server, size: u32, options: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = tonumber(arg[1]) }} }},
           users = {{ ann = {{ password = 'p' }}, bob = {{ password = 'p' }} }}, backend = {{ user = 'empty' }},
           size = {size}, {options} }})"
    ))
    .arg(server.port)
    .start()
}

fn login(dpm: &Dpm, user: &str) -> Wire {
    Wire::login_as(dpm.port(), user, "p", caps::BASE)
}

/// A client, and the number that it was greeted with.
fn numbered(dpm: &Dpm, user: &str) -> (Wire, u32) {
    let mut wire = Wire::connect(dpm.port());
    let greeting = Greeting::parse(&wire.read());
    wire.authenticate(&greeting, user, "p", caps::BASE);
    assert_eq!(wire.read()[0], 0);
    (wire, greeting.thread)
}

/// The answer to a login.
fn refused_login(dpm: &Dpm, user: &str) -> Answer {
    let mut wire = Wire::connect(dpm.port());
    let greeting = Greeting::parse(&wire.read());
    wire.authenticate(&greeting, user, "p", caps::BASE);
    error(&wire.read())
}

#[track_caller]
fn done(wire: &mut Wire, sql: &str) {
    let answer = wire.query(sql);
    assert!(!matches!(answer, Answer::Err(..)), "{sql}: {answer:?}");
}

/// Begins a transaction that keeps the connection.
#[track_caller]
fn hold(wire: &mut Wire) {
    done(wire, "BEGIN");
    done(wire, "SELECT COUNT(*) FROM mysql.plugin");
}

all! {
    /// Whoever waits because of a user's limit holds up nobody else, and is served as soon as one of that user's is free.
    fn a_user_uses_as_many_connections_as_it_may(server) {
        let dpm = pool(server, 3, "max_user_connections = { ann = 1 }");
        let (mut holder, mut waiter) = (login(&dpm, "ann"), login(&dpm, "ann"));
        hold(&mut holder);
        waiter.command(com::QUERY, b"SELECT 'ann'");
        dpm.settle();
        let (mut first, mut second) = (login(&dpm, "bob"), login(&dpm, "bob"));
        hold(&mut first);
        hold(&mut second);
        assert!(waiter.silent(std::time::Duration::from_millis(300)));
        done(&mut holder, "COMMIT");
        assert!(matches!(waiter.answer(), Answer::Rows { .. }));
        // All of hers may have a connection that they do not use.
        for client in [&mut holder, &mut waiter] {
            assert_eq!(value(client, "SELECT 1"), "1");
        }
        dpm.assert_no_errors();
    }
}

all! {
    /// A client that still has its last connection waits for the limit all the same; and loses nothing if that connection dies
    /// meanwhile.
    fn connections_that_are_not_used_are_free_for_all_of_a_user(server) {
        let dpm = pool(server, 3, "max_user_connections = 1");
        let ((mut one, id_of_one), mut two) = (numbered(&dpm, "ann"), login(&dpm, "ann"));
        // A connection in a schema is of no use to clients that have none.
        done(&mut two, "USE test");
        let own = value(&mut two, "SELECT CONNECTION_ID()");
        hold(&mut one);
        assert_ne!(value(&mut one, "SELECT CONNECTION_ID()"), own);
        two.command(com::QUERY, b"SELECT CONNECTION_ID()");
        dpm.settle();
        assert!(two.silent(std::time::Duration::from_millis(200)));
        done(&mut one, "ROLLBACK");
        assert!(matches!(&two.answer(), Answer::Rows { rows, .. } if rows[0][0].as_deref() == Some(own.as_bytes())));
        // Once more, and the connection dies.
        hold(&mut one);
        two.command(com::QUERY, b"SELECT 'unharmed'");
        dpm.settle();
        server.sql(&format!("KILL {own}"));
        eventually("it is gone", || server.sql(&format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {own}")) == "0\n");
        dpm.settle();
        done(&mut one, "ROLLBACK");
        assert!(matches!(&two.answer(), Answer::Rows { rows, .. } if rows[0][0].as_deref() == Some(b"unharmed")));
        // The end of a client that holds gives its place back.
        hold(&mut one);
        two.command(com::QUERY, b"SELECT 'again'");
        dpm.settle();
        let mut killer = login(&dpm, "ann");
        done(&mut killer, &format!("KILL {id_of_one}"));
        assert!(one.closed());
        assert!(matches!(two.answer(), Answer::Rows { .. }));
        dpm.assert_no_errors();
    }
}

all! {
    /// A KILL QUERY ends the wait, whether or not the client still has a connection; it hits nobody else.
    fn a_wait_for_the_limit_is_interrupted(server) {
        let dpm = pool(server, 3, "max_user_connections = 1");
        let (mut holder, (mut two, id_of_two), (mut three, id_of_three)) = (login(&dpm, "ann"), numbered(&dpm, "ann"), numbered(&dpm, "ann"));
        assert_eq!(value(&mut two, "SELECT 2"), "2");
        hold(&mut holder);
        for (client, id) in [(&mut two, id_of_two), (&mut three, id_of_three)] {
            client.command(com::QUERY, b"SELECT 'never'");
            dpm.settle();
            let mut killer = login(&dpm, "ann");
            done(&mut killer, &format!("KILL QUERY {id}"));
            let answer = client.answer();
            assert!(matches!(answer, Answer::Err(1317, ..)), "{answer:?}");
        }
        done(&mut holder, "COMMIT");
        assert_eq!(value(&mut two, "SELECT 2"), "2");
        assert_eq!(value(&mut three, "SELECT 3"), "3");
    }
}

all! {
    /// It ends with an error that says why; and the places of a user who waits are not those of others.
    fn a_user_who_waits_takes_no_places_of_others(server) {
        let dpm = pool(server, 2, "max_user_connections = { ann = 1 }, max_waiting = 1, queue_timeout = 3");
        let mut ann: Vec<_> = (0..3).map(|_| login(&dpm, "ann")).collect();
        let mut bob: Vec<_> = (0..2).map(|_| login(&dpm, "bob")).collect();
        hold(&mut ann[0]);
        hold(&mut bob[0]);
        ann[1].command(com::QUERY, b"SELECT 1");
        dpm.settle();
        let answer = ann[2].query("SELECT 1");
        assert!(matches!(&answer, Answer::Err(1040, _, message) if message.contains("too many clients wait")), "{answer:?}");
        bob[1].command(com::QUERY, b"SELECT 1");
        let answer = ann[1].answer();
        assert!(matches!(&answer, Answer::Err(1040, _, message) if message.contains("max_user_connections")), "{answer:?}");
        let answer = bob[1].answer();
        assert!(matches!(&answer, Answer::Err(1040, _, message) if message.contains("none became free")), "{answer:?}");
        assert_eq!(value(&mut ann[0], "SELECT 'goes on'"), "goes on");
    }
}

all! {
    /// Many clients, whose connections are taken from them all the time: never are there more of a user's than it may have.
    fn a_crowd_stays_within_the_limit(server) {
        let dpm = pool(server, 4, "max_user_connections = 2, queue_timeout = 30");
        let mut clients: Vec<_> = (0..12).map(|at| login(&dpm, ["ann", "bob"][at % 2])).collect();
        for round in 0..6 {
            for (at, client) in clients.iter_mut().enumerate() {
                let user = ["ann", "bob"][at % 2];
                // Whose statements run, the servers tell.
                client.command(com::QUERY, format!("/* {user} limit {round} */ SELECT SUM(info LIKE '/* {user} limit%'), SLEEP(0.01) FROM information_schema.processlist WHERE user = 'empty'").as_bytes());
            }
            for client in &mut clients {
                let answer = client.answer();
                let Answer::Rows { rows, .. } = &answer else { panic!("{answer:?}") };
                let count = String::from_utf8_lossy(rows[0][0].as_deref().unwrap_or(b"1")).into_owned();
                assert!(["1", "2"].contains(&&*count), "{count}");
            }
        }
        dpm.assert_no_errors();
    }
}

all! {
    fn a_user_has_as_many_clients_as_it_may(server) {
        let dpm = pool(server, 2, "max_user_clients = { ann = 2 }");
        let (mut one, two) = (login(&dpm, "ann"), login(&dpm, "ann"));
        for _ in 0..2 {
            let answer = refused_login(&dpm, "ann");
            assert!(matches!(&answer, Answer::Err(1226, state, message) if state == "42000" && message.contains("'ann'")), "{answer:?}");
        }
        let mut bob: Vec<_> = (0..4).map(|_| login(&dpm, "bob")).collect();
        // Who changes its user into one that is full is closed, as nobody's session is left to go on with.
        let answer = error(&bob[0].change_user("ann", "p"));
        assert!(matches!(&answer, Answer::Err(1226, ..)), "{answer:?}");
        assert!(bob[0].closed());
        drop(two);
        eventually("one has left", || !matches!(refused_login(&dpm, "ann"), Answer::Err(1226, ..)));
        assert_eq!(value(&mut one, "SELECT 1"), "1");
        assert_eq!(value(&mut bob[1], "SELECT 1"), "1");
    }
}

#[test]
fn limits_that_are_none() {
    for (options, told) in [
        (
            "max_user_clients = -1",
            "max_user_clients: expected a whole number, or { [user] = number }; 0 is no limit",
        ),
        (
            "max_user_clients = { 5 }",
            "max_user_clients: expected { [user] = number }, such as { app = 5 }; 0 is no limit",
        ),
        (
            "max_user_connections = 'many'",
            "max_user_connections: expected a whole number",
        ),
        (
            "max_user_connections = { ann = 1.5 }",
            "max_user_connections: expected { [user] = number }",
        ),
    ] {
        let said = problem(options);
        assert!(said.contains(told), "{options}: {said}");
    }
}

/// What the library says to these options of a pool when it starts.
pub fn problem(options: &str) -> String {
    let mut dpm = Launch::script(&format!(
        "local l = require('harness').listen(function() end)
         print(select(2, pcall(require('dpml').pool, l, {{ servers = {{}}, users = {{ ann = '' }}, {options} }})))
         dpm.exit(0)"
    ))
    .start();
    let said = dpm.line("dpml.pool: ");
    dpm.wait_for_end();
    said
}
