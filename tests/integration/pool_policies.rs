//! What a script decides in a pool: `on_hold`, `choose`, `tag`; and `statement_timeout`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::pool::{login, pool, value};
use crate::pool_limits::problem;
use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Flavour, Server, all, eventually};

#[track_caller]
fn done(wire: &mut Wire, sql: &str) {
    let answer = wire.query(sql);
    assert!(!matches!(answer, Answer::Err(..)), "{sql}: {answer:?}");
}

/// Whether it is a refusal of the pool's for this reason.
fn is_refused(answer: &Answer, reason: &str) -> bool {
    matches!(answer, Answer::Err(1105, state, message) if state == "HY000" && message.starts_with(reason))
}

fn is_interrupted(answer: &Answer) -> bool {
    match answer {
        Answer::Rows { rows, .. } => rows.iter().all(|row| row[0].as_deref() == Some(b"1")),
        answer => matches!(answer, Answer::Err(1317, ..)),
    }
}

const ON_HOLD: &str = "on_hold = function(reason, client, sql)
    print('on_hold ' .. reason .. ' ' .. client:id() .. ' ' .. sql)
    return ({ ['temporary-table'] = 'refuse', ['user-variable'] = 'release', ['named-lock'] = 'refuse' })[reason]
  end,";

all! {
    /// What keeps a connection by its text never reaches the server.
    fn a_script_refuses_what_would_keep_a_connection(server) {
        let dpm = pool(server, 1, ON_HOLD);
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        done(&mut one, "USE test");
        for _ in 0..2 {
            let answer = one.query("CREATE TEMPORARY TABLE refused (a INT)");
            assert!(is_refused(&answer, "temporary-table: "), "{answer:?}");
            let answer = one.query("SELECT GET_LOCK('refused by a script', 0)");
            assert!(is_refused(&answer, "named-lock: "), "{answer:?}");
            one.command(com::STMT_PREPARE, b"SELECT GET_LOCK('refused by a script', 0)");
            let answer = one.answer();
            assert!(is_refused(&answer, "named-lock: "), "{answer:?}");
        }
        assert_eq!(server.sql("SELECT IS_FREE_LOCK('refused by a script')"), "1\n");
        assert!(matches!(one.query("SELECT * FROM refused"), Answer::Err(1146, ..)));
        assert_eq!(value(&mut two, "SELECT 'shared'"), "shared");
        dpm.line("on_hold temporary-table ");
        assert_eq!(dpm.count("on_hold named-lock "), 4);
        dpm.assert_no_errors();
    }
}

all! {
    /// Whoever is released keeps what it has as long as nobody else needs the connection; then that is gone, and all else is
    /// restored. Nobody else ever sees it.
    fn a_script_releases_what_would_keep_a_connection(server) {
        let dpm = pool(server, 1, ON_HOLD);
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        done(&mut one, "SET time_zone = '+03:00'");
        for round in 0..3 {
            done(&mut one, &format!("SET @kept = {round}"));
            assert_eq!(value(&mut one, "SELECT @kept"), round.to_string());
            assert_eq!(value(&mut two, "SELECT @kept"), "NULL");
            assert_eq!(value(&mut one, "SELECT @kept"), "NULL");
            assert_eq!(value(&mut one, "SELECT @@time_zone"), "+03:00");
        }
        // What is done by INTO shows in the text, too; and what only the server knows is asked for after the answer.
        done(&mut one, "SELECT 7 INTO @kept");
        assert_eq!(value(&mut two, "SELECT @kept"), "NULL");
        assert_eq!(value(&mut two, "SELECT @@time_zone = '+03:00'"), "0");
        dpm.line("on_hold user-variable ");
        dpm.assert_no_errors();
    }
}

all! {
    /// Whatever a script refuses, what holds nothing is executed, from the first statement of the first client on.
    fn what_keeps_nothing_is_never_refused(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.unrefused (id INT)");
        let dpm = pool(server, 1, "on_hold = function(reason, client, sql) print('on_hold ' .. reason .. ' ' .. sql) return 'refuse' end,");
        let mut clients = [login(&dpm), login(&dpm)];
        for client in &mut clients {
            for sql in [
                "SELECT COUNT(*) FROM test.unrefused", "SET NAMES latin1, sql_mode = 'ANSI_QUOTES'", "SELECT 'it\\'s', \"id\" FROM test.unrefused",
                "SET sql_mode = DEFAULT", "SELECT \"a string\", 'a''b' /* and */ -- more", "USE test", "INSERT INTO unrefused VALUES (1)",
                "DELETE FROM unrefused", "SHOW TABLES", "BEGIN", "COMMIT", "SELECT LAST_INSERT_ID(), @@time_zone, NOW()", "SET @@time_zone = '+01:00'",
            ] {
                done(client, sql);
            }
        }
        dpm.settle();
        assert_eq!(dpm.count("on_hold "), 0);
        dpm.assert_no_errors();
    }
}

all! {
    /// What turns out after the statement is given up: a transaction is rolled back, and its client is told.
    fn a_script_refuses_transactions(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.no_transactions (id INT PRIMARY KEY); DELETE FROM test.no_transactions");
        let dpm = pool(server, 1, "on_hold = function(reason) return reason == 'transaction' and 'refuse' or nil end,");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        done(&mut one, "SET time_zone = '+03:00'");
        done(&mut one, "BEGIN");
        done(&mut one, "INSERT INTO test.no_transactions VALUES (1)");
        assert_eq!(value(&mut two, "SELECT COUNT(*) FROM test.no_transactions"), "0");
        let answer = one.query("INSERT INTO test.no_transactions VALUES (2)");
        assert!(is_refused(&answer, "transaction: "), "{answer:?}");
        // Once. From here on it is in no transaction.
        done(&mut one, "INSERT INTO test.no_transactions VALUES (3)");
        done(&mut one, "ROLLBACK");
        assert_eq!(value(&mut two, "SELECT GROUP_CONCAT(id) FROM test.no_transactions"), "3");
        assert_eq!(value(&mut one, "SELECT @@time_zone"), "+03:00");
        done(&mut one, "SET @a = 1");
        assert_eq!(value(&mut one, "SELECT @a"), "1");
        dpm.assert_no_errors();
    }
}

all! {
    /// A transaction cannot be released, nor does nonsense of a script's change anything.
    fn what_cannot_be_released_is_kept(server) {
        let dpm = pool(server, 2, "on_hold = function(reason) return reason == 'transaction' and 'release' or 'nonsense' end,");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        done(&mut one, "BEGIN");
        done(&mut one, "SELECT COUNT(*) FROM mysql.plugin");
        let thread = value(&mut one, "SELECT CONNECTION_ID()");
        for _ in 0..3 {
            assert_ne!(value(&mut two, "SELECT CONNECTION_ID()"), thread);
            assert_eq!(value(&mut one, "SELECT CONNECTION_ID()"), thread);
        }
        dpm.line("cannot be released");
        done(&mut one, "COMMIT");
        done(&mut one, "SET @a = 1");
        assert_eq!(value(&mut one, "SELECT @a"), "1");
        dpm.line("expected nil, \"release\" or \"refuse\", got nonsense");
    }
}

all! {
    /// `dpm:hold` keeps the connection until a statement comes without it.
    fn a_hint_holds(server) {
        let dpm = pool(server, 2, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        let thread = value(&mut one, "SELECT /* dpm:hold */ CONNECTION_ID()");
        for _ in 0..3 {
            assert_ne!(value(&mut two, "SELECT CONNECTION_ID()"), thread);
            assert_eq!(value(&mut one, "SELECT /* dpm:hold */ CONNECTION_ID()"), thread);
        }
    }
}

all! {
    /// The error is the server's own, the session goes on, and so does its transaction.
    fn statements_that_take_too_long_are_ended(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.too_long (id INT PRIMARY KEY); DELETE FROM test.too_long");
        let dpm = pool(server, 2, "statement_timeout = 0.5,");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        let begun = Instant::now();
        let answer = one.query("SELECT COUNT(*) FROM information_schema.columns a, information_schema.columns b, information_schema.columns c");
        assert!(matches!(answer, Answer::Err(1317, ..)), "{answer:?}");
        assert!(begun.elapsed() >= Duration::from_millis(450));
        done(&mut one, "BEGIN");
        done(&mut one, "INSERT INTO test.too_long VALUES (1)");
        assert!(is_interrupted(&one.query("SELECT SLEEP(30)")));
        // It waits for a lock.
        let answer = two.query("INSERT INTO test.too_long VALUES (1)");
        assert!(matches!(answer, Answer::Err(1317, ..)), "{answer:?}");
        done(&mut one, "INSERT INTO test.too_long VALUES (2)");
        done(&mut one, "COMMIT");
        assert_eq!(value(&mut two, "SELECT GROUP_CONCAT(id ORDER BY id) FROM test.too_long"), "1,2");
        // Who is silent takes no time, and a client that leaves in the middle is nobody's trouble.
        let left = "SELECT SLEEP(30), 'left in the middle'";
        one.command(com::QUERY, left.as_bytes());
        dpm.settle();
        drop(one);
        eventually("it is over", || server.running(left) == 0);
        assert_eq!(value(&mut two, "SELECT 1"), "1");
        dpm.assert_no_errors();
    }
}

all! {
    /// Statements that end just when they are ended: what comes after them, of the same client or of another, is never hit.
    fn the_end_of_a_statement_hits_no_other(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.hit (id INT PRIMARY KEY); REPLACE INTO test.hit VALUES (0)");
        let dpm = pool(server, 2, "statement_timeout = 0.3,");
        let mut clients: Vec<_> = (0..6).map(|_| login(&dpm)).collect();
        for round in 0..6 {
            for (at, client) in clients.iter_mut().enumerate() {
                let seconds = 0.28 + 0.02 * f64::from(round) + 0.01 * at as f64;
                client.command(com::QUERY, format!("SELECT SLEEP({seconds})").as_bytes());
            }
            for (at, client) in clients.iter_mut().enumerate() {
                let answer = client.answer();
                assert!(matches!(answer, Answer::Rows { .. } | Answer::Err(1317, ..)), "{answer:?}");
                for _ in 0..3 {
                    // It reads a table, as MariaDB's SLEEP waits for KILLs of others, up to two seconds.
                    assert_eq!(value(client, &format!("SELECT {at} + MAX(id) FROM test.hit WHERE id + 1 > 0")), at.to_string());
                }
            }
        }
        dpm.assert_no_errors();
    }
}

/// Each key has its server; when one is gone its keys go to the others, whose own stay where they are.
fn a_script_chooses_the_server(flavour: Flavour) {
    if !flavour.available() {
        return;
    }
    let servers = [0, 1].map(|_| Server::start_own(flavour, &[]));
    let names: Vec<_> = (0..16).map(|at| format!("user{at}")).collect();
    let users: String = names.iter().map(|name| format!("{name} = '', ")).collect();
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = {}, role = 'primary' }}, {{ host = '127.0.0.1', port = {}, role = 'primary' }} }},
           users = {{ {users} }}, backend = {{ user = 'empty' }}, size = 5,
           choose = dpml.by_key(function(client, user) assert(client:id()); return user end) }})",
        servers[0].port, servers[1].port
    ))
    .start();
    let mut clients: Vec<_> = names
        .iter()
        .map(|name| Wire::login_as(dpm.port(), name, "", caps::BASE))
        .collect();
    let port = |client: &mut Wire| value(client, "SELECT @@port");
    eventually("both are used", || {
        let used: Vec<_> = clients.iter_mut().map(port).collect();
        servers
            .iter()
            .all(|server| used.contains(&server.port.to_string()))
    });
    let places: Vec<_> = clients.iter_mut().map(port).collect();
    for _ in 0..3 {
        let again: Vec<_> = clients.iter_mut().map(port).collect();
        assert_eq!(again, places);
    }
    servers[1].kill();
    let left = servers[0].port.to_string();
    let mut moved = HashMap::new();
    for (at, client) in clients.iter_mut().enumerate() {
        let now = port(client);
        assert_eq!(now, left);
        *moved.entry(places[at] == left).or_insert(0) += 1;
    }
    assert_eq!(moved.len(), 2, "some have moved, and some have stayed");
}

/// Who waits for a chosen server that is taken out of service goes where it could have gone; and what a script answers that is
/// no server changes nothing.
#[test]
fn a_choice_ends_with_its_server() {
    let servers = [0, 1].map(|_| Server::start_own(Flavour::MariaDb, &[]));
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         local first = '127.0.0.1:{}'
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = {}, role = 'primary' }}, {{ host = '127.0.0.1', port = {}, role = 'primary' }} }},
           users = {{ ann = {{ password = 'p' }}, bob = {{ password = 'p' }} }}, backend = {{ user = 'empty' }}, size = 1,
           choose = function(names, client, user) return user == 'ann' and first or 'nonsense' end }})
         dpm.on_signal('HUP', function() pool.native:drain(first); print('drained') end)",
        servers[0].port, servers[0].port, servers[1].port
    ))
    .start();
    let login = |user| Wire::login_as(dpm.port(), user, "p", caps::BASE);
    let (mut holder, mut waiter, mut other) = (login("ann"), login("ann"), login("bob"));
    let first = servers[0].port.to_string();
    eventually("the choice is followed", || {
        value(&mut holder, "SELECT @@port") == first
    });
    done(&mut holder, "BEGIN");
    done(&mut holder, "SELECT COUNT(*) FROM mysql.plugin");
    // Its only connection is held.
    waiter.command(com::QUERY, b"SELECT @@port");
    dpm.settle();
    value(&mut other, "SELECT @@port");
    dpm.line("choose: expected nil or one of ");
    dpm.signal("HUP");
    dpm.line("drained");
    let answer = waiter.answer();
    let Answer::Rows { rows, .. } = &answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        rows[0][0].as_deref(),
        Some(servers[1].port.to_string().as_bytes())
    );
    assert_eq!(value(&mut holder, "SELECT @@port"), first);
}

#[test]
fn a_script_chooses_the_server_on_mariadb() {
    a_script_chooses_the_server(Flavour::MariaDb);
}

#[test]
fn a_script_chooses_the_server_on_mysql() {
    a_script_chooses_the_server(Flavour::MySql);
}

#[test]
fn keys_of_others_stay_where_they_are() {
    let mut dpm = Launch::script(
        "local choose = require('dpml').by_key(function(client, user) return user end)
         local counts, moved = {}, 0
         for number = 1, 3000 do
             local key = 'key ' .. number
             local all = choose({ 'db1:3306', 'db2:3306', 'db3:3306' }, nil, key)
             local less = choose({ 'db1:3306', 'db3:3306' }, nil, key)
             counts[all] = (counts[all] or 0) + 1
             if all ~= 'db2:3306' and less ~= all then
                 moved = moved + 1
             end
         end
         for name, count in pairs(counts) do
             assert(count > 900 and count < 1100, name .. ' has ' .. count)
         end
         print('moved ' .. moved, choose({ 'a' }, nil, nil))
         dpm.exit(0)",
    )
    .start();
    assert_eq!(dpm.line("moved"), "moved 0\tnil");
    dpm.wait_for_end();
}

#[test]
fn policies_that_are_none() {
    for (options, told) in [
        ("on_hold = 1", "on_hold: expected a function, got number"),
        ("choose = 'x'", "choose: expected a function, got string"),
        ("tag = 'x'", "tag: expected a function, got string"),
        (
            "consistency = 'tag'",
            "tag: expected a function of a client, for consistency = \"tag\"",
        ),
        (
            "consistency = 'user', tag = print",
            "consistency: with tag it is \"tag\", not \"user\"",
        ),
    ] {
        let said = problem(options);
        assert!(said.contains(told), "{options}: {said}");
    }
}
