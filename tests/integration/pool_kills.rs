//! KILL of a pool's clients, with the numbers that they were greeted with.

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Greeting, Wire, caps, com};
use crate::support::{Cli, Dpm, Flavour, PASSWORD, Server, USER, all, eventually, process};

/// A pool of so many connections for "ann" and "bob", who share an account at the server, or with accounts of their own.
fn pool(server: &Server, size: u32, accounts: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = tonumber(arg[1]) }} }}, size = {size}, {accounts} }})"
    ))
    .arg(server.port)
    .start()
}

const SHARED: &str = "users = { ann = '', bob = '' }, backend = { user = 'empty' }";

/// A client, and the number that it was greeted with.
fn client(dpm: &Dpm, user: &str, password: &str) -> (Wire, u32) {
    let mut wire = Wire::connect(dpm.port());
    let greeting = Greeting::parse(&wire.read());
    wire.authenticate(&greeting, user, password, caps::BASE | caps::MULTI);
    let ok = wire.read();
    assert_eq!(ok[0], 0, "{}", ok.escape_ascii());
    (wire, greeting.thread)
}

fn number(answer: &Answer) -> u16 {
    match answer {
        Answer::Err(number, ..) => *number,
        _ => 0,
    }
}

/// Whether the answer is that of a killed SLEEP.
fn is_interrupted(answer: &Answer) -> bool {
    match answer {
        Answer::Rows { rows, .. } => rows.iter().all(|row| row[0].as_deref() == Some(b"1")),
        answer => number(answer) == 1317,
    }
}

/// A statement that runs until it is ended, and that no other test executes.
fn long() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(100);
    format!("SELECT SLEEP({})", NEXT.fetch_add(1, Ordering::Relaxed))
}

all! {
    /// Although all connections are in use.
    fn a_statement_is_ended_by_every_form(server) {
        let dpm = pool(server, 1, SHARED);
        let (mut victim, id) = client(&dpm, "ann", "");
        for form in ["KILL QUERY {}", "/* a */ kill query {};", "/*!50000 KILL QUERY {} */"] {
            let (mut killer, _) = client(&dpm, "ann", "");
            let long = long();
            victim.command(com::QUERY, long.as_bytes());
            eventually("it runs", || server.running(&long) == 1);
            let answer = killer.query(&form.replace("{}", &id.to_string()));
            assert!(matches!(answer, Answer::Ok(_)), "{form}: {answer:?}");
            assert!(is_interrupted(&victim.answer()), "{form}");
            assert_eq!(victim.rows("SELECT 'still here'"), [["still here"]]);
        }
        dpm.assert_no_errors();
    }
}

all! {
    fn a_client_is_ended_whatever_it_does(server) {
        let dpm = pool(server, 2, SHARED);
        let (mut killer, own) = client(&dpm, "ann", "");
        // It has no connection.
        let (mut idle, id) = client(&dpm, "ann", "");
        assert!(matches!(killer.query(&format!("KILL {id}")), Answer::Ok(_)));
        assert!(idle.closed());
        // It executes a statement: that ends, too.
        let (mut busy, id) = client(&dpm, "ann", "");
        let long = long();
        busy.command(com::QUERY, long.as_bytes());
        eventually("it runs", || server.running(&long) == 1);
        killer.command(com::PROCESS_KILL, &id.to_le_bytes());
        assert!(matches!(killer.answer(), Answer::Ok(_)));
        assert!(busy.closed());
        eventually("the statement has ended", || server.running(&long) == 0);
        // It keeps its connection: a transaction.
        let (mut holder, id) = client(&dpm, "ann", "");
        holder.query("SELECT GET_LOCK('of the killed', 0)");
        assert!(matches!(killer.query(&format!("KILL {id}")), Answer::Ok(_)));
        assert!(holder.closed());
        eventually("its lock is gone", || server.sql("SELECT IS_FREE_LOCK('of the killed')") == "1\n");
        // Itself: MariaDB tells the two kinds of KILL apart.
        let killed = if server.flavour.is_mariadb() { 1927 } else { 1317 };
        assert_eq!(number(&killer.query("KILL QUERY CONNECTION_ID()")), 1317);
        assert_eq!(number(&killer.query(&format!("KILL {own}"))), killed);
        assert!(killer.closed());
        let (mut again, _) = client(&dpm, "ann", "");
        assert_eq!(again.rows("SELECT 'unharmed'"), [["unharmed"]]);
        assert_eq!(number(&again.query("KILL CONNECTION_ID()")), killed);
        assert!(again.closed());
        dpm.assert_no_errors();
    }
}

all! {
    /// Who waits for a connection is told as by a server that executes its statement.
    fn a_command_that_waits_is_interrupted(server) {
        let dpm = pool(server, 1, SHARED);
        let (mut busy, _) = client(&dpm, "bob", "");
        busy.query("BEGIN");
        busy.query("SELECT COUNT(*) FROM mysql.plugin");
        let (mut waits, id) = client(&dpm, "ann", "");
        waits.command(com::QUERY, b"SELECT 1");
        let (mut killer, _) = client(&dpm, "ann", "");
        dpm.settle();
        assert!(matches!(killer.query(&format!("KILL QUERY {id}")), Answer::Ok(_)));
        assert_eq!(number(&waits.answer()), 1317);
        drop(busy);
        assert_eq!(waits.rows("SELECT 'still here'"), [["still here"]]);
    }
}

all! {
    fn nobody_else_is_hit(server) {
        let dpm = pool(server, 2, SHARED);
        let (mut ann, _) = client(&dpm, "ann", "");
        let (mut bob, id_of_bob) = client(&dpm, "bob", "");
        let long = long();
        bob.command(com::QUERY, long.as_bytes());
        eventually("it runs", || server.running(&long) == 1);
        let thread: u32 = server.sql("SELECT MAX(id) FROM information_schema.processlist").trim().parse().unwrap();
        let thread = if thread == id_of_bob { 1_000_000 } else { thread + 1_000_000 };
        for (sql, expected) in [
            (format!("KILL QUERY {thread}"), 1094),
            (format!("KILL {thread}"), 1094),
            (format!("KILL QUERY {id_of_bob}"), 1095),
            (format!("KILL {id_of_bob}"), 1095),
            (format!("DO 1; KILL {id_of_bob}"), 1094),
            ("KILL QUERY @@pseudo_thread_id".into(), 1295),
            ("KILL @x".into(), 1295),
            ("KILL 5 + 0".into(), 1295),
            (format!("PREPARE s FROM 'KILL {thread}'"), 1295),
        ] {
            assert_eq!(number(&ann.query(&sql)), expected, "{sql}");
        }
        ann.command(com::STMT_PREPARE, b"KILL ?");
        assert_eq!(number(&ann.answer()), 1295);
        assert_eq!(server.running(&long), 1);
        let (mut own, _) = client(&dpm, "bob", "");
        assert!(matches!(own.query(&format!("KILL QUERY {id_of_bob}")), Answer::Ok(_)));
        assert!(is_interrupted(&bob.answer()));
    }
}

all! {
    /// Accounts of their own at the server, which says who may kill whom.
    fn the_server_judges_between_accounts(server) {
        server.sql("DROP USER IF EXISTS killer_ann@'%', killer_bob@'%'; CREATE USER killer_ann@'%' IDENTIFIED BY 'a'; CREATE USER killer_bob@'%' IDENTIFIED BY 'b'");
        let accounts = format!("users = {{ killer_ann = {{ password = 'a' }}, killer_bob = {{ password = 'b' }}, [{USER:?}] = {{ password = '{PASSWORD}' }} }}");
        let dpm = pool(server, 3, &accounts);
        let (mut ann, _) = client(&dpm, "killer_ann", "a");
        let (mut bob, id_of_bob) = client(&dpm, "killer_bob", "b");
        let (mut dba, _) = client(&dpm, USER, PASSWORD);
        // It has no connection, and has one.
        for _ in 0..2 {
            for sql in [format!("KILL QUERY {id_of_bob}"), format!("KILL {id_of_bob}")] {
                assert_eq!(number(&ann.query(&sql)), 1095, "{sql}");
            }
            assert!(matches!(dba.query(&format!("KILL QUERY {id_of_bob}")), Answer::Ok(_)));
            assert_eq!(bob.rows("SELECT 'here'"), [["here"]]);
        }
        let long = long();
        bob.command(com::QUERY, long.as_bytes());
        eventually("it runs", || server.running(&long) == 1);
        assert!(matches!(dba.query(&format!("KILL QUERY {id_of_bob}")), Answer::Ok(_)));
        assert!(is_interrupted(&bob.answer()));
        assert!(matches!(dba.query(&format!("KILL {id_of_bob}")), Answer::Ok(_)));
        assert!(bob.closed());
        assert_eq!(ann.rows("SELECT 'unharmed'"), [["unharmed"]]);
    }
}

all! {
    /// Others take the connection as soon as it is free: they are never interrupted.
    fn a_stranger_is_never_hit(server) {
        let dpm = pool(server, 1, SHARED);
        let (mut victim, id) = client(&dpm, "ann", "");
        let (mut killer, _) = client(&dpm, "ann", "");
        let (mut stranger, _) = client(&dpm, "bob", "");
        for turn in 0..100 {
            victim.command(com::QUERY, b"SELECT SLEEP(0.002)");
            killer.command(com::QUERY, format!("KILL QUERY {id}").as_bytes());
            stranger.command(com::QUERY, b"SELECT SLEEP(0.001), 'whole'");
            let answer = stranger.answer();
            let Answer::Rows { rows, .. } = &answer else { panic!("turn {turn}: {answer:?}") };
            assert_eq!(rows[0][0].as_deref(), Some(&b"0"[..]), "turn {turn}: it was interrupted");
            victim.answer();
            assert!(matches!(killer.answer(), Answer::Ok(_)));
        }
        dpm.assert_no_errors();
    }
}

all! {
    /// The command-line client logs in once more to send a KILL.
    fn ctrl_c_in_the_client(server) {
        let dpm = pool(server, 1, &format!("users = {{ [{USER:?}] = {{ password = '{PASSWORD}' }} }}"));
        let long = long();
        let child = Cli::client(server.flavour, dpm.port()).args(["--sigint-ignore=0", "-e", &long]);
        let child = match server.flavour {
            Flavour::MySql => child,
            _ => child.arg("--skip-ssl"),
        };
        let mut child = child.start();
        eventually("it runs", || server.running(&long) == 1);
        process::signal(&child, "INT");
        eventually("the statement has ended", || server.running(&long) == 0);
        let _ = child.kill();
    }
}
