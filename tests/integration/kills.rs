//! KILL with the number that the proxy has greeted a client with.

use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Greeting, Wire, caps, com};
use crate::support::{
    Cli, Dpm, Flavour, MockServer, PASSWORD, Server, USER, both, eventually, mariadb, mysql,
    process, python,
};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// Users "ann" and "bob", who share an account at the server, and "dba", who has one of its own. There is a plug-in,
/// so that commands pass through Lua.
fn proxy(server: &Server) -> Dpm {
    let port = server.port;
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         local server = {{ host = '127.0.0.1', port = {port}, user = 'empty' }}
         dpml.proxy_new_clients(l, {{ new_command = function(cmd) print('cmd ' .. cmd:argument()) end }}, {{
           users = {{ ann = '', bob = '', dba = '', [{USER:?}] = {{ password = '{PASSWORD}' }} }},
           backend = function(client, auth)
             if auth:user() ~= 'dba' then return server end
             return {{ host = '127.0.0.1', port = {port}, user = '{USER}', password = '{PASSWORD}' }}
           end }})"
    ))
    .start()
}

/// A client, and the number that it was greeted with.
fn client(port: u16, user: &str) -> (Wire, u32) {
    let mut wire = Wire::connect(port);
    let greeting = Greeting::parse(&wire.read());
    wire.authenticate(&greeting, user, "", MODERN);
    let ok = wire.read();
    assert_eq!(ok[0], 0, "{}", ok.escape_ascii());
    (wire, greeting.thread)
}

fn error(answer: &Answer) -> u16 {
    match answer {
        Answer::Err(number, ..) => *number,
        _ => 0,
    }
}

/// Whether the answer is that of a killed GET_LOCK, which MariaDB answers with NULL.
fn is_interrupted(answer: &Answer) -> bool {
    match answer {
        Answer::Rows { rows, .. } => rows.iter().all(|row| row[0].is_none()),
        answer => error(answer) == 1317,
    }
}

both! {
    fn every_form_of_it_ends_the_query_that_it_names(server) {
        let dpm = proxy(server);
        let port = dpm.port();
        let (mut killer, _) = client(port, "ann");
        let (mut victim, id) = client(port, "ann");
        let is_mariadb = server.flavour.is_mariadb();
        let forms = [
            "KILL QUERY {}", "kill query {}", "/* a */ KILL /*! QUERY */ {} -- b", "/*!50000 KILL QUERY {} */",
            "-- a\nKILL QUERY {};", "KILL QUERY ({})", "KILL QUERY '{}'", "SELECT 1; KILL QUERY {}",
        ];
        let of_mariadb = ["KILL HARD QUERY {}", "KILL SOFT QUERY {}", "SET STATEMENT max_statement_time = 9 FOR KILL QUERY {}"];
        for form in forms.iter().chain(of_mariadb.iter().filter(|_| is_mariadb)) {
            let latch = server.latch();
            victim.command(com::QUERY, latch.query.as_bytes());
            eventually("it runs", || server.running(&latch.query) == 1);
            let sql = form.replace("{}", &id.to_string());
            let answer = killer.query(&sql);
            if sql.starts_with("SELECT") {
                assert!(matches!(killer.answer(), Answer::Ok(_)));
            } else {
                assert!(matches!(answer, Answer::Ok(_)), "{sql}: {answer:?}");
            }
            assert!(is_interrupted(&victim.answer()), "{sql}");
            latch.open();
            assert_eq!(victim.rows("SELECT 'still here'"), [["still here"]]);
        }
        // The connection.
        let answer = killer.query(&format!("KILL {id}"));
        assert!(matches!(answer, Answer::Ok(_)), "{answer:?}");
        assert!(victim.closed());
        // By a command of the protocol, which the newest servers no longer have.
        let (mut victim, id) = client(port, "ann");
        killer.command(com::PROCESS_KILL, &id.to_le_bytes());
        if error(&killer.answer()) == 0 {
            assert!(victim.closed());
        }
        assert_eq!(killer.rows("SELECT 'unharmed'"), [["unharmed"]]);
    }
}

both! {
    fn nobody_else_is_hit(server) {
        let dpm = proxy(server);
        let port = dpm.port();
        let (mut ann, own) = client(port, "ann");
        let (mut bob, id_of_bob) = client(port, "bob");
        // A number of the server's is not one of the proxy's.
        let stranger = server.latch();
        let mut busy = Wire::login_empty(server.port, MODERN);
        let thread: u32 = busy.rows("SELECT CONNECTION_ID()")[0][0].parse().unwrap();
        busy.command(com::QUERY, stranger.query.as_bytes());
        eventually("it runs", || server.running(&stranger.query) == 1);
        let thread = if thread == own || thread == id_of_bob { 1_000_000 } else { thread };
        for (sql, number) in [
            (format!("KILL QUERY {thread}"), 1094),
            (format!("KILL {thread}"), 1094),
            (format!("DO 1; KILL {thread}"), 0),
            (format!("KILL {thread} + 0"), 1295),
            (format!("KILL {thread}.0"), 1295),
            (format!("PREPARE s FROM 'KILL {thread}'"), 1295),
            (format!("KILL QUERY {id_of_bob}"), 1095),
            (format!("KILL {id_of_bob}"), 1095),
            ("KILL 0".to_owned(), 1094),
        ] {
            let answer = ann.query(&sql);
            if number == 0 {
                assert_eq!(error(&answer), 1094, "the whole text is refused: {sql}");
            } else {
                assert_eq!(error(&answer), number, "{sql}: {answer:?}");
            }
        }
        ann.command(com::PROCESS_KILL, &thread.to_le_bytes());
        assert_eq!(error(&ann.answer()), 1094);
        ann.command(com::STMT_PREPARE, b"KILL ?");
        assert_eq!(error(&ann.answer()), 1295);
        assert_eq!(bob.rows("SELECT 'here'"), [["here"]]);
        assert_eq!(server.running(&stranger.query), 1);
        stranger.open();
        assert!(matches!(busy.answer(), Answer::Rows { .. }));
        // What the server computes is its own number.
        assert_eq!(error(&ann.query("KILL QUERY CONNECTION_ID()")), 1317);
        // One who has the privilege may.
        let (mut dba, _) = {
            let mut wire = Wire::connect(port);
            let greeting = Greeting::parse(&wire.read());
            wire.authenticate(&greeting, "dba", "", MODERN);
            assert_eq!(wire.read()[0], 0);
            (wire, greeting.thread)
        };
        let answer = dba.query(&format!("KILL {id_of_bob}"));
        assert!(matches!(answer, Answer::Ok(_)), "{answer:?}");
        assert!(bob.closed());
        // Who has gone, or has changed the user, is not there as before.
        assert_eq!(error(&dba.query(&format!("KILL {id_of_bob}"))), 1094);
        // Oneself.
        let _ = ann.query(&format!("KILL {own}"));
        assert!(ann.closed());
    }
}

/// After COM_CHANGE_USER a client has another connection, and its number means that.
#[test]
fn a_client_that_has_changed_its_user() {
    let server = mariadb();
    let dpm = proxy(server);
    let (mut killer, _) = client(dpm.port(), "bob");
    let (mut victim, id) = client(dpm.port(), "ann");
    assert_eq!(error(&killer.query(&format!("KILL QUERY {id}"))), 1095);
    victim.command(com::CHANGE_USER, b"bob\0\0\0\x2d\0mysql_native_password\0");
    assert_eq!(victim.read()[0], 0xFE);
    victim.write(b"");
    assert_eq!(victim.read()[0], 0);
    let latch = server.latch();
    victim.command(com::QUERY, latch.query.as_bytes());
    eventually("it runs", || server.running(&latch.query) == 1);
    assert!(matches!(
        killer.query(&format!("KILL QUERY {id}")),
        Answer::Ok(_)
    ));
    assert!(is_interrupted(&victim.answer()));
}

/// A client at another server of the list.
#[test]
fn a_client_at_another_server() {
    let servers = [mariadb(), &Server::start_own(Flavour::MariaDb, &[])];
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         local l, n = require('harness').listen(function() end), 0
         dpml.proxy_new_clients(l, {}, { users = { ann = '' }, backend = function()
           n = n % 2 + 1
           return { host = '127.0.0.1', port = tonumber(arg[n]), user = 'empty' }
         end })",
    )
    .arg(servers[0].port)
    .arg(servers[1].port)
    .start();
    let (mut killer, _) = client(dpm.port(), "ann");
    let (mut victim, id) = client(dpm.port(), "ann");
    let latch = servers[1].latch();
    victim.command(com::QUERY, latch.query.as_bytes());
    eventually("it runs", || servers[1].running(&latch.query) == 1);
    // What stands beside it would be lost.
    assert_eq!(
        error(&killer.query(&format!("SELECT 1; KILL QUERY {id}"))),
        1295
    );
    assert!(matches!(
        killer.query(&format!("KILL QUERY {id}")),
        Answer::Ok(_)
    ));
    assert!(is_interrupted(&victim.answer()));
    assert_eq!(victim.rows("SELECT 'here'"), [["here"]]);
}

/// Ctrl-C in the command-line clients: a second connection, which sends KILL QUERY.
#[test]
fn ctrl_c_of_the_command_line_clients() {
    for (server, flavour) in [
        (Some(mariadb()), Flavour::MariaDb),
        (mysql(), Flavour::MySql),
    ] {
        let Some(server) = server else { continue };
        let dpm = proxy(server);
        let latch = server.latch();
        let cli = Cli::client(flavour, dpm.port()).args(["--sigint-ignore=0", "-e", &latch.query]);
        let mut running = cli.start();
        eventually("it runs", || server.running(&latch.query) == 1);
        process::signal(&running, "INT");
        eventually("it is interrupted", || server.running(&latch.query) == 0);
        dpm.line("cmd KILL");
        let _ = running.kill();
    }
}

#[test]
fn pythons_kill() {
    let dpm = proxy(mariadb());
    let said = python(
        dpm.port(),
        "
with connect() as killer, connect() as victim:
    killer.kill(victim.thread_id())
    try:
        with victim.cursor() as cursor: cursor.execute('SELECT 1')
        print('alive')
    except pymysql.err.OperationalError: print('killed')
",
    );
    assert_eq!(said, "killed\n");
}

/// A service with tasks that wait: `how` is its handler or its function.
fn service(how: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         local function work(cmd)
           if cmd:argument() == 'wait' then print 'waiting' dpml.sleep(60000) end
           return {{ columns = {{ 'said' }}, rows = {{ {{ cmd:argument() }} }} }}
         end
         dpml.accept_clients(l, {{ users = {{ ann = '', bob = '' }}, {how} }})"
    ))
    .start()
}

#[test]
fn services_cancel_the_task() {
    for (how, goes_on) in [
        ("new_command = work", true),
        ("handler = function(session) for cmd in session:commands() do session:send_resultset(work(cmd)) end end", false),
        ("handler = function(session) for cmd in session:commands() do
            local ok, result = pcall(work, cmd)
            if ok then session:send_resultset(result) else session:send_error(result.sqlstate, result.errnum, result.message) end
          end end", true),
    ] {
        let dpm = service(how);
        let port = dpm.port();
        let (mut killer, own) = client(port, "ann");
        let (mut bob, _) = client(port, "bob");
        for (sql, ends) in [("KILL QUERY {}", false), ("/* a */ kill query {} -- b", false), ("KILL {}", true)] {
            let (mut victim, id) = client(port, "ann");
            victim.command(com::QUERY, b"wait");
            eventually("it waits", || dpm.count("waiting") > 0);
            let sql = sql.replace("{}", &id.to_string());
            assert_eq!(error(&bob.query(&sql)), 1095);
            assert!(matches!(killer.query(&sql), Answer::Ok(_)), "{how} {sql}");
            assert_eq!(error(&victim.answer()), 1317, "{how} {sql}");
            if ends || !goes_on {
                assert!(victim.closed(), "{how} {sql}");
            } else {
                assert_eq!(victim.rows("hello"), [["hello"]]);
                // Nothing runs: nothing to end.
                assert!(matches!(killer.query(&sql), Answer::Ok(_)));
                assert_eq!(victim.rows("hello"), [["hello"]]);
            }
        }
        // An idle one, by the protocol's command; and oneself.
        let (mut idle, id) = client(port, "ann");
        killer.command(com::PROCESS_KILL, &id.to_le_bytes());
        assert!(matches!(killer.answer(), Answer::Ok(_)), "{how}");
        assert!(idle.closed());
        // A number that is no client's is the script's business.
        assert_eq!(killer.rows("KILL 4000000000"), [["KILL 4000000000"]]);
        assert_eq!(error(&killer.query(&format!("KILL {own}"))), 1317);
        assert!(killer.closed());
    }
}

#[test]
fn the_multiplexer_gives_up_a_round() {
    let silent = MockServer::new();
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         dpml.multiplex(l, { users = { ann = '' }, fleet = {
           { host = '127.0.0.1', port = tonumber(arg[1]), user = 'app' } } })",
    )
    .arg(silent.port)
    .start();
    let mut member = silent.accept_login(caps::BASE | caps::DEPRECATE_EOF);
    let (mut killer, _) = client(dpm.port(), "ann");
    let (mut victim, id) = client(dpm.port(), "ann");
    victim.command(com::QUERY, b"QUERY ALL 600 SELECT SLEEP(500)");
    member.read_command();
    assert!(victim.silent(Duration::from_millis(50)));
    assert!(matches!(
        killer.query(&format!("KILL QUERY {id}")),
        Answer::Ok(_)
    ));
    assert_eq!(error(&victim.answer()), 1317);
    assert!(!victim.rows("SHOW DB STATUS").is_empty());
    assert_eq!(error(&killer.query("KILL QUERY 4000000000")), 1094);
    assert_eq!(
        error(&killer.query(&format!("QUERY ALL 5 KILL {id}"))),
        1290,
        "for the members"
    );
}

/// What a handler passes on must not reach the server with a number of the proxy's.
#[test]
fn a_handler_that_forwards() {
    let server = mariadb();
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         dpml.accept_clients(l, { users = { ann = '' }, handler = function(session)
           local db = dpml.connect { host = arg[1], port = tonumber(arg[2]), user = 'empty', like = session.auth }
           for cmd in session:commands() do session:forward(cmd, db) end
         end })",
    )
    .server(server)
    .start();
    let (mut killer, _) = client(dpm.port(), "ann");
    let mut stranger = Wire::login_empty(server.port, MODERN);
    let thread = stranger.rows("SELECT 1000 + CONNECTION_ID() - 1000")[0][0].clone();
    assert_eq!(
        error(&killer.query(&format!("SELECT 1; KILL {thread}"))),
        1094
    );
    assert_eq!(stranger.rows("SELECT 'here'"), [["here"]]);
    assert_eq!(killer.rows("SELECT 'and here'"), [["and here"]]);
}
