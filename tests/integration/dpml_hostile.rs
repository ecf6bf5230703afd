//! The Lua library with hostile peers and scripts.

use std::time::{Duration, Instant};

use crate::dpml::run;
use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::wire::{Answer, MockServer, Wire, caps, com, ok};
use crate::support::{Dpm, PASSWORD, Server, USER, mariadb, process};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;
const PLAIN: u32 = caps::BASE | caps::MULTI;

/// A service that lets [`USER`] and `other` in; `more` goes among the options.
fn serve(more: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local listener = require('harness').listen(function() end)
         local credential = {{ password = '{PASSWORD}' }}
         dpml.accept_clients(listener, {{ users = {{ {USER} = credential, other = credential }}, {more} }})"
    ))
    .server(mariadb())
    .start()
}

const ECHO: &str = "new_command = function(cmd) return { fields = { 'sql' }, rows = { { cmd:argument():sub(1, 200) } } } end";

/// A script with a database connection `db` to this port, and `fails`.
fn with_db(port: u16, body: &str) -> Launch {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         require('harness').listen(function() end)
         function fails(fn, ...)
           local ok, err = pcall(fn, ...)
           return ok and 'no error' or tostring(err)
         end
         function open()
           return dpml.connect {{ host = '127.0.0.1', port = {port}, user = '{USER}', pass = '{PASSWORD}' }}
         end
         dpml.spawn(function() db = open() {body} print('the end') end)"
    ))
}

fn with_server(server: &Server, body: &str) -> Dpm {
    let dpm = with_db(server.port, body).start();
    dpm.line("the end");
    dpm
}

// Services -------------------------------------------------------------------------------------

#[test]
fn no_query_takes_the_square_of_its_length() {
    let dpm = serve(ECHO);
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    let many = 300_000;
    let began = Instant::now();
    for sql in [
        format!("SELECT 1{}x", " ".repeat(many)),
        format!("SELECT 1{}x", ";".repeat(many)),
        "/*!".repeat(many),
        format!("/*!{}", "1".repeat(many)),
        format!("USE{}``x", " ".repeat(many)),
        format!("SELECT 1{}+ @@version", " ".repeat(many)),
        format!("SHOW VARIABLES {}x", "LIKE '".repeat(many / 6)),
        format!("SHOW VARIABLES LIKE '{}x'", "%".repeat(25)),
        format!("SHOW VARIABLES LIKE '{}'", "%_".repeat(25)),
        format!("SELECT {}1", "(".repeat(many)),
        format!("SELECT {}1", "-".repeat(many)),
        format!("SELECT {}@@version", "1,".repeat(many)),
    ] {
        wire.command(com::QUERY, sql.as_bytes());
        let answer = wire.answer();
        assert!(matches!(answer, Answer::Rows { .. }), "{}", &sql[..20]);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!dpm.wrote("stack overflow"));
}

#[test]
fn like_is_matched_as_servers_do() {
    let dpm = serve(ECHO);
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    for (like, names) in [
        ("'net%'", "net_buffer_length net_write_timeout"),
        ("'NET\\_%'", "net_buffer_length net_write_timeout"),
        ("'%_read_only'", "transaction_read_only tx_read_only"),
        ("'%i%t%e%_timeout'", "interactive_timeout net_write_timeout"),
        ("'time\\\\_zone'", ""),
        ("'time_zone'", "time_zone"),
        ("'time_zone_'", ""),
        ("'%licens_'", "license"),
        ("'tx\\__ead_only'", "tx_read_only"),
        ("'tx\\_\\_ead_only'", ""),
        ("''", ""),
    ] {
        let rows = wire.rows(&format!("SHOW /*!50002 GLOBAL */ VARIABLES LIKE {like}"));
        let found: Vec<&str> = rows.iter().map(|row| &*row[0]).collect();
        let expected: Vec<&str> = names.split_whitespace().collect();
        assert_eq!(found, expected, "{like}");
    }
}

#[test]
fn statements_that_clients_prepare_are_bounded() {
    let dpm = serve(ECHO);
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    let mut refused = |argument: &[u8]| -> Option<u16> {
        wire.command(com::STMT_PREPARE, argument);
        let head = wire.read();
        if head[0] == 0xFF {
            return Some(u16::from_le_bytes([head[1], head[2]]));
        }
        None
    };
    // Eight million of anything.
    assert_eq!(refused(&b"?,".repeat(8_000_000)), Some(1390));
    assert_eq!(refused(&b"1,".repeat(8_000_000)), None);
    assert_eq!(refused(&b"1,".repeat(8_000_000)), Some(1105));
    let memory = dpm.memory_kib("VmHWM");
    assert!(memory < 400_000, "{memory}");
    // What is closed counts no more.
    wire.command(com::STMT_CLOSE, &1u32.to_le_bytes());
    let id = wire.prepare("SELECT ?");
    let argument = execute_argument(id, 0, &[Some(b"it's \\ it")]);
    wire.command(com::STMT_EXECUTE, &argument);
    let (_, _) = (wire.read(), wire.read());
    let row = wire.read();
    assert!(
        row.ends_with(b"SELECT 'it''s \\\\ it'"),
        "{}",
        String::from_utf8_lossy(&row)
    );
}

#[test]
fn who_is_refused_as_another_user_does_not_go_on_as_that_one() {
    for refusal in [
        "return require('dpml').new_error('28000', 1045, 'Not you')",
        "error('a bug')",
        "error()",
    ] {
        let dpm = serve(&format!(
            "new_client = function(_, session) if session.user == 'other' then {refusal} end end,
             new_command = function(cmd, client, session) return {{ fields = {{ 'u' }}, rows = {{ {{ session.user }} }} }} end"
        ));
        let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
        assert_eq!(wire.rows("who"), [[USER]]);
        assert_eq!(wire.change_user("other", PASSWORD)[0], 0xFF, "{refusal}");
        assert!(wire.closed(), "{refusal}");
        dpm.wait_until_idle();
    }
}

#[test]
fn errors_that_cannot_be_shown_are_answered() {
    let dpm = serve(
        "new_command = function(cmd)
           if cmd:argument() == 'userdata' then error(dpm.new_timer()) end
           if cmd:argument() == 'nil' then error() end
           if cmd:argument() == 'no number' then error(require('dpml').new_error('HY000', nil, 'x')) end
           error(setmetatable({}, { __tostring = function(self) error(self) end }))
         end",
    );
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    for sql in ["worst", "nil", "userdata", "no number", "worst"] {
        assert!(
            matches!(wire.query(sql), Answer::Err(1105 | 1064, ..)),
            "{sql}"
        );
    }
}

#[test]
fn commands_without_an_answer_do_not_pile_up() {
    for serving in [
        "new_command = function(cmd) taken = (taken or 0) + 1 print('taken ' .. taken) require('dpml').sleep(100000) end",
        "handler = function(session)
           for cmd in session:commands() do print('taken 1') require('dpml').sleep(100000) end
         end",
    ] {
        let dpm = serve(&format!("all_commands = true, {serving}"));
        let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
        let before = dpm.memory_kib("VmRSS");
        let patience = Some(Duration::from_secs(1));
        wire.stream().set_write_timeout(patience).unwrap();
        let mut packet = vec![0; 8_000_000];
        packet[0] = com::STMT_SEND_LONG_DATA;
        for _ in 0..40 {
            wire.seq = 0;
            if wire.try_write(&packet).is_err() {
                break;
            }
        }
        dpm.line("taken 1");
        assert!(!dpm.wrote("taken 2"));
        let grown = dpm.memory_kib("VmRSS") - before;
        assert!(grown < 100_000, "{grown} KiB");
    }
}

// Tasks ------------------------------------------------------------------------------------------

#[test]
fn a_wait_that_cannot_be_does_not_end_another_one() {
    let lines = run(
        "dpml.spawn(function()
           print(pcall(string.gsub, 'x', '.', function() dpml.sleep(20) end))
           local listener = dpm.listener('127.0.0.1', 0)
           listener:register(dpm.MYC_CONNECT, function(client) held = client end)
           local server = dpm.connect('127.0.0.1', listener:socket_port())
           server:on_close(function() print(pcall(dpml.sleep, 20)) end)
           dpml.sleep(50)
           dpm.close(server)
           local told = dpml.elapsed()
           dpml.sleep(200)
           print(told() > 150)
           dpm.exit(0)
         end)",
        &[],
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in &lines[..2] {
        assert!(line.contains("cannot do so in a callback"), "{line}");
    }
    assert_eq!(lines[2], "true");
}

#[test]
fn wait_all_waits_for_nothing_that_does_not_come() {
    let lines = run(
        "dpml.spawn(function()
           local function one() return 1 end
           print(pcall(dpml.with_timeout, 2000, dpml.wait_all, { one, nil, one }))
           local me
           me = dpml.spawn(function()
             dpml.sleep(1)
             print(pcall(dpml.with_timeout, 2000, dpml.wait_all, { one, me }))
           end)
           local task = dpml.spawn(function() dpml.sleep(1) return 'twice' end)
           print(dpml.wait_all { task, one, task })
         end)",
        &[],
    );
    assert!(
        lines[0].contains("dpml.wait_all: 2: expected a function or a task, got nil"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.contains("its own end")));
    assert!(lines.contains(&"twice\t1\ttwice".to_string()), "{lines:?}");
}

#[test]
fn an_error_that_cannot_be_shown_stops_no_other_task() {
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         require('harness').listen(function() end)
         local worst = setmetatable({}, { __tostring = function(self) error(self) end })
         dpml.spawn(function() dpml.sleep(1) error(worst) end)
         dpml.spawn(function() dpml.sleep(20) print('goes on') end)",
    )
    .start();
    dpm.line("an error that cannot be shown, a table");
    dpm.line("goes on");
}

// Databases --------------------------------------------------------------------------------------

#[test]
fn a_kill_that_is_never_answered_keeps_nobody_waiting() {
    let mock = MockServer::new();
    let dpm = with_db(
        mock.port,
        "print(fails(db.query, db, 'SELECT 1', nil, { timeout = 50 }))
         print(fails(db.query, db, 'SELECT 2'))",
    )
    .start();
    let mut server = mock.accept_login(PLAIN);
    server.read_command();
    let mut side = mock.accept_login(PLAIN);
    assert_eq!(side.read_command(), (com::QUERY, b"KILL QUERY 7".to_vec()));
    dpm.line("50 ms exceeded");
    dpm.line("the end");
    dpm.line("ERROR 2006");
    assert!(side.closed(), "and the side connection is none any more");
}

#[test]
fn a_prepare_that_is_given_up_leaves_a_connection_that_works() {
    let mock = MockServer::new();
    let dpm = with_db(
        mock.port,
        "print(fails(db.query, db, 'SELECT ?', { 1 }, { timeout = 50 }))
         print('then ' .. db:query('SELECT 2', nil, { timeout = 4000 }).rows[1][1])",
    )
    .start();
    let mut server = mock.accept_login(PLAIN);
    assert_eq!(server.read_command().0, com::STMT_PREPARE);
    let mut side = mock.accept_login(PLAIN);
    side.read_command();
    side.write(&ok());
    // It has been prepared nevertheless, and is closed again.
    server.write(&[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(server.read_command(), (com::STMT_CLOSE, vec![9, 0, 0, 0]));
    assert_eq!(server.read_command(), (com::QUERY, b"DO 0".to_vec()));
    server.write(&ok());
    assert_eq!(server.read_command(), (com::QUERY, b"SELECT 2".to_vec()));
    server.send_rows(&["a"], &[&[Some(b"two")]]);
    dpm.line("50 ms exceeded");
    dpm.line("then two");
}

#[test]
fn results_without_rows_count_too() {
    let mock = MockServer::new();
    let dpm = with_db(
        mock.port,
        "print(fails(db.query, db, 'SELECT 1', nil, { max_bytes = 100000, timeout = 10000 }))",
    )
    .start();
    let mut server = mock.accept_login(PLAIN);
    server.read_command();
    let mut more = ok();
    more[3] = 10; // and more results exist
    for _ in 0..3000 {
        if server.try_write(&more).is_err() {
            break;
        }
    }
    dpm.line("its result exceeds 100000 bytes");
}

#[test]
fn a_statement_that_is_given_up_before_it_runs_is_closed() {
    let dpm = with_server(
        mariadb(),
        "dpml.spawn(function() db:query('SELECT SLEEP(0.6)') end)
         print(fails(db.query, db, 'SELECT ?', { 1 }, { timeout = 200 }))
         local prepared = db:query('SHOW SESSION STATUS LIKE \"Com_stmt_prepare\"').rows[1].Value
         local closed = db:query('SHOW SESSION STATUS LIKE \"Com_stmt_close\"').rows[1].Value
         print('prepared ' .. prepared .. ' closed ' .. closed)",
    );
    dpm.line("prepared 1 closed 1");
}

#[test]
fn rows_of_a_task_that_has_ended_hold_up_nobody() {
    let dpm = with_server(
        mariadb(),
        "local many = 'SELECT seq, REPEAT(\"x\", 1000) FROM test.seq_1_to_20000'
         dpml.spawn(function()
           for row in db:each(many) do break end
           dpml.sleep(100)
         end)
         dpml.sleep(20)
         print('next: ' .. db:query('SELECT 5 AS n', nil, { timeout = 5000 }).rows[1].n)
         -- Nor those of one that is cancelled within its loop.
         local task = dpml.spawn(function()
           for row in db:each(many) do dpml.sleep(100000) end
         end)
         dpml.sleep(20)
         dpml.spawn(function() dpml.sleep(50) task:cancel() end)
         print('next: ' .. db:query('SELECT 6 AS n', nil, { timeout = 5000 }).rows[1].n)",
    );
    dpm.line("next: 5");
    dpm.line("next: 6");
}

#[test]
fn a_transaction_that_is_interrupted_is_none_any_more() {
    let base = mariadb().database();
    mariadb().sql(&format!("CREATE TABLE {base}.t (n INT) ENGINE=InnoDB"));
    let dpm = with_server(
        mariadb(),
        &format!(
            "local function transaction(fn)
               return fails(dpml.with_timeout, 200, db.transaction, db, fn)
             end
             local function state()
               return db:query('SELECT @@in_transaction AS t, (SELECT COUNT(*) FROM {base}.t) AS n').rows[1]
             end
             -- At its commit, for which it has to wait.
             print(transaction(function()
               db:query('INSERT INTO {base}.t VALUES (1)')
               dpml.spawn(function() db:query('SELECT SLEEP(0.5)') end)
               dpml.sleep(20)
             end))
             local now = state()
             print('after commit: ' .. now.t .. ' ' .. now.n)
             -- Cancelled once more while it is rolled back.
             local task = dpml.spawn(function()
               db:transaction(function()
                 db:query('INSERT INTO {base}.t VALUES (2)')
                 dpml.spawn(function() fails(db.query, db, 'SELECT SLEEP(0.5)') end)
                 dpml.sleep(100000)
               end)
             end)
             dpml.sleep(50)
             task:cancel()
             dpml.sleep(50)
             task:cancel()
             fails(task.wait, task)
             dpml.sleep(600)
             print('after rollback: ' .. fails(state))"
        ),
    );
    dpm.line("after commit: 0 0");
    dpm.line("after rollback: ERROR 2006");
    assert_eq!(
        mariadb()
            .sql(&format!("SELECT COUNT(*) FROM {base}.t"))
            .trim(),
        "0"
    );
}

// Plug-ins ---------------------------------------------------------------------------------------

#[test]
fn a_plugin_that_fails_for_a_client_does_not_let_it_wait() {
    let login = format!(
        "{{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}' }}"
    );
    let users = format!("users = {{ {USER} = {{ password = '{PASSWORD}' }} }}");
    for (what, listens) in [
        (
            "passthrough",
            "dpml.passthrough_new_clients(listener, function() error('a bug') end, { arg[1], tonumber(arg[2]) })".to_string(),
        ),
        (
            "broker",
            format!("dpml.proxy_new_clients(listener, function() error('a bug') end, {{ {users}, backend = {login} }})"),
        ),
        (
            "passthrough to no address",
            "dpml.passthrough_new_clients(listener, {}, function() return { { '127.0.0.1', 1 }, { 'x', 'no port' } } end)".to_string(),
        ),
        (
            "broker to no login",
            format!("dpml.proxy_new_clients(listener, {{}}, {{ {users}, backend = function() return {{ {{ host = '127.0.0.1', port = 1 }}, {{ nothing = 1 }} }} end }})"),
        ),
    ] {
        let dpm = Dpm::start(
            &format!("local dpml = require 'dpml' local listener = require('harness').listen(function() end) {listens}"),
            mariadb(),
        );
        let began = Instant::now();
        let failed = crate::support::connect_as(dpm.port(), USER, PASSWORD);
        assert!(failed.is_err(), "{what}");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(4), "{what}: {took:?}");
        dpm.wait_until_idle();
    }
}

#[test]
fn each_link_of_a_chain_hears_of_the_end() {
    let dpm = Dpm::start(
        "local dpml = require 'dpml'
         local listener = require('harness').listen(function() end)
         local fails = { closing = function() error('a bug') end, finished_command = function() end }
         local hears = { closing = function() print('heard of it') end }
         dpml.passthrough_new_clients(listener, dpml.chain { fails, hears }, { arg[1], tonumber(arg[2]) })",
        mariadb(),
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    drop(wire);
    dpm.line("a bug");
    dpm.line("heard of it");
    dpm.wait_until_idle();
}

#[test]
fn a_folder_is_no_plugin() {
    let folder = process::folder("reloadable");
    let lines = run(
        "print(select(2, pcall(dpml.reloadable, arg[1])))",
        &[&folder.display().to_string()],
    );
    assert!(lines[0].contains("Is a directory"), "{lines:?}");
}

#[test]
fn commands_that_are_cut_short_are_nothing_for_the_log() {
    let dpm = Launch::script(&format!(
        "local listener = require('harness').listen(function() end)
         require('dpml').accept_clients(listener, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }},
           new_command = function() return {{ fields = {{ 'n' }}, rows = {{ {{ 1 }} }} }} end }})"
    ))
    .start();
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, PLAIN);
    let id = wire.prepare("SELECT ?");
    for (command, argument, errnum) in [
        (com::STMT_EXECUTE, vec![], 1210),
        (com::STMT_EXECUTE, id.to_le_bytes().to_vec(), 1210),
        (com::STMT_RESET, vec![1], 1210),
        (com::CHANGE_USER, vec![], 1047),
    ] {
        let answer = wire.exchange(command, &argument);
        match crate::support::wire::error(&answer[0]) {
            Answer::Err(number, ..) => assert_eq!(number, errnum, "{command} {argument:?}"),
            other => panic!("{command} {argument:?}: {other:?}"),
        }
    }
    wire.command(com::STMT_CLOSE, &[]);
    assert_eq!(wire.rows("SELECT 1"), [["1"]], "it goes on");
    dpm.assert_no_errors();
    assert!(!dpm.wrote("traceback"));
}
