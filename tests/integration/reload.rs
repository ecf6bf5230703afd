//! The whole startfile is reloaded: a new Lua state, old clients that move, and nobody who notices.

use std::fs;
use std::net::TcpStream;

use mysql::prelude::Queryable;

use crate::support::client::connect_as;
use crate::support::dpm::Launch;
use crate::support::http::Http;
use crate::support::wire::{Answer, Wire, caps};
use crate::support::{Dpm, PASSWORD, Server, USER, both, eventually, mariadb};

pub const PLAIN: u32 = caps::BASE | caps::MULTI;

/// What every startfile here begins with.
const HEAD: &str = "
    local dpml = require 'dpml'
    local listener = dpm.listener('127.0.0.1', 0)
    local administrators = dpm.listener('127.0.0.1', 0)
    dpml.admin(administrators, { users = { root = { password = 'r' } }, roles = { root = 'admin' }, eval = true })
    dpm.on_signal('USR1', require('harness').print_stats)
    print('port ' .. listener:socket_port())
    print('admin ' .. administrators:socket_port())
    local SERVER = { host = arg[1], port = tonumber(arg[2]), user = arg[3], password = arg[4] }
";

/// Writes the startfile anew.
pub fn write(dpm: &Dpm, script: &str) {
    fs::write(dpm.folder.join("start.lua"), format!("{HEAD}{script}")).unwrap();
}

pub fn launch(server: &Server, script: &str) -> Launch {
    let launch = Launch::script("").server(server).arg(USER).arg(PASSWORD);
    fs::write(launch.folder().join("start.lua"), format!("{HEAD}{script}")).unwrap();
    launch
}

fn start(script: &str) -> Dpm {
    launch(mariadb(), script).start()
}

/// Logs in to the administrative service.
pub fn administrator(dpm: &Dpm) -> Wire {
    let line = dpm.line("admin ");
    let port = line.trim_start_matches("admin ").parse().unwrap();
    Wire::login_as(port, "root", "r", PLAIN)
}

/// The new startfile is in use.
fn reload(dpm: &Dpm, script: &str, number: u32) {
    write(dpm, script);
    dpm.signal("HUP");
    dpm.line(&format!("startfile {number} is in use"));
}

fn eventually_moved(dpm: &Dpm) {
    eventually("all clients have moved", || {
        dpm.stat("clients_in_older_startfiles") == 0.0
    });
}

/// Why clients stay, from SHOW CLIENTS.
fn stays(root: &mut Wire) -> Vec<Vec<String>> {
    root.rows("SELECT startfile, stays FROM clients WHERE user <> 'root' ORDER BY client")
}

const PASSTHROUGH: &str =
    "dpml.passthrough_new_clients(listener, PLUGIN, { arg[1], tonumber(arg[2]) })";

fn passthrough(plugin: &str) -> String {
    PASSTHROUGH.replace("PLUGIN", plugin)
}

/// A passthrough whose plug-in says which commands came to it.
fn tells(name: &str) -> String {
    passthrough(&format!(
        "{{ new_command = function(cmd) print('{name} has ' .. cmd:argument()) end }}"
    ))
}

fn is_ok(answer: &Answer) -> bool {
    matches!(answer, Answer::Ok(_))
}

#[test]
fn clients_move_and_new_ones_go_to_the_new_startfile() {
    let dpm = start(&tells("one"));
    let port = dpm.port();
    let mut old = Wire::login(port, PLAIN);
    assert!(is_ok(&old.query("SET @x = 'kept'")));
    old.rows("SELECT 'before'");
    dpm.line("one has SELECT 'before'");
    reload(&dpm, &tells("two"), 2);
    eventually_moved(&dpm);
    assert_eq!(old.rows("SELECT @x"), [["kept"]]);
    dpm.line("two has SELECT @x");
    let mut new = Wire::login(port, PLAIN);
    new.rows("SELECT 'new'");
    dpm.line("two has SELECT 'new'");
    assert!(!dpm.wrote("one has SELECT @x"));
    assert_eq!(dpm.stat("startfiles"), 1.0);
    assert_eq!(dpm.stat("clients"), 2.0);
    dpm.assert_no_errors();
}

/// One that is in the middle of a command moves when that is answered.
#[test]
fn a_client_moves_between_two_commands() {
    let dpm = start(&tells("one"));
    let mut client = Wire::login(dpm.port(), PLAIN);
    client.command(3, b"SELECT SLEEP(3)");
    dpm.line("one has SELECT SLEEP(3)");
    reload(&dpm, &tells("two"), 2);
    assert_eq!(dpm.stat("clients_in_older_startfiles"), 1.0);
    assert!(matches!(client.answer(), Answer::Rows { .. }));
    eventually_moved(&dpm);
    client.rows("SELECT 'after'");
    dpm.line("two has SELECT 'after'");
    eventually("the state has ended", || dpm.stat("startfiles") == 1.0);
}

/// Startfiles that cannot be used, and what is said of them.
const UNUSABLE: [(&str, &str); 8] = [
    ("this is no Lua", "start.lua:"),
    ("error('on purpose')", "on purpose"),
    (
        "return { selftest = function() error('wrong') end }",
        "wrong",
    ),
    (
        "return { selftest = function() return false, 'not yet' end }",
        "its selftest has failed: not yet",
    ),
    (
        "return { selftest = function() while true do end end }",
        "has run for longer than it may",
    ),
    ("require 'no.such.module'", "no.such.module"),
    ("dpm.listener('192.0.2.1', 4000)", "192.0.2.1"),
    ("dpm.exit(3)", "must not end the program"),
];

#[test]
fn what_cannot_be_used_changes_nothing() {
    let good = format!("dpm.config {{ drain = 7 }} {}", tells("one"));
    let dpm = start(&good);
    let mut root = administrator(&dpm);
    let mut client = Wire::login(dpm.port(), PLAIN);
    let open = dpm.open_files();
    for (script, what) in UNUSABLE {
        let script = format!(
            "dpm.config {{ drain = 1 }} dpm.listener('127.0.0.1', 0)
             dpm.subscribe('x', print) {} {script}",
            tells("bad")
        );
        write(&dpm, &script);
        match root.query("RELOAD") {
            Answer::Err(1105, _, message) => {
                assert!(message.contains("everything stays as it was"), "{message}");
                assert!(message.contains(what), "{message}");
            }
            answer => panic!("{script}: {answer:?}"),
        }
        dpm.line("the startfile is not reloaded");
        client.rows("SELECT 1");
    }
    assert!(!dpm.wrote("bad has"));
    assert_eq!(dpm.stat("reloads_failed"), UNUSABLE.len() as f64);
    assert_eq!(dpm.stat("startfiles"), 1.0);
    assert_eq!(root.rows("SHOW CONFIG LIKE 'drain%'")[0][1], "7");
    assert_eq!(dpm.open_files(), open);
    write(&dpm, &tells("two"));
    assert!(is_ok(&root.query("RELOAD")));
    eventually_moved(&dpm);
    client.rows("SELECT 2");
    dpm.line("two has SELECT 2");
    assert_eq!(root.rows("SHOW CONFIG LIKE 'drain%'")[0][1], "10");
}

/// A plug-in that counts the commands of each client.
fn counts(more: &str) -> String {
    passthrough(&format!(
        "function(client)
             local count = 0
             return {{
                 new_command = function(cmd) count = count + 1 print(client:id() .. ' has ' .. count) end,
                 closing = function() print('gone for good') end,
                 {more}
             }}
         end"
    ))
}

#[test]
fn a_plug_in_with_state_saves_and_restores_it() {
    let keeps = counts(
        "save = function() return tostring(count) end,
         restore = function(_, text, server, auth)
             count = tonumber(text)
             print('restored for ' .. auth:user() .. ' ' .. tostring(server ~= nil))
         end",
    );
    let dpm = start(&counts(""));
    let mut root = administrator(&dpm);
    let mut client = Wire::login(dpm.port(), PLAIN);
    client.rows("SELECT 1");
    reload(&dpm, &keeps, 2);
    dpm.settle();
    assert_eq!(
        stays(&mut root),
        [["1", "its plug-in has state of its own, and no save"]]
    );
    let mut second = Wire::login(dpm.port(), PLAIN);
    second.rows("SELECT 1");
    second.rows("SELECT 1");
    reload(&dpm, &keeps, 3);
    dpm.line(&format!("restored for {USER} true"));
    second.rows("SELECT 1");
    dpm.line(" has 3");
    assert_eq!(
        stays(&mut root),
        [
            ["1", "its plug-in has state of its own, and no save"],
            ["3", "NULL"]
        ]
    );
    // What fails leaves the client where it was.
    reload(
        &dpm,
        &counts("save = function() return '' end, restore = function() error('on purpose') end"),
        4,
    );
    dpm.line("it cannot be taken in");
    second.rows("SELECT 1");
    dpm.line(" has 4");
    assert!(stays(&mut root)[1][1].contains("the log has it"));
    assert!(!dpm.wrote("gone for good"));
    drop((client, second));
    eventually("the old states have ended", || {
        dpm.stat("startfiles") == 1.0
    });
    assert_eq!(dpm.count("gone for good"), 2);
}

/// Callbacks of the script's own: nobody knows what they know.
#[test]
fn clients_of_the_scripts_own_stay() {
    let dpm = start(
        "require('harness').pairs = {} listener:register(dpm.MYC_CONNECT, function(c)
        local s = dpm.connect(arg[1], tonumber(arg[2]))
        require('harness').pairs[c:id()] = { c, s }
        dpm.proxy_connect(c, s)
    end)",
    );
    let mut root = administrator(&dpm);
    let mut client = Wire::login(dpm.port(), PLAIN);
    reload(&dpm, &tells("two"), 2);
    client.rows("SELECT 1");
    dpm.settle();
    assert_eq!(
        stays(&mut root),
        [["1", "functions of the script's own serve it"]]
    );
    drop(client);
    eventually("the old state has ended", || dpm.stat("startfiles") == 1.0);
    // A listener that nobody opens any more; the administrator is moved all the same.
    let closes =
        "local SERVER = nil listener:close()".replace("listener:close()", "dpm.close(listener)");
    reload(&dpm, &closes, 3);
    assert!(TcpStream::connect(("127.0.0.1", dpm.port())).is_err());
    root.rows("SELECT 1");
}

#[test]
fn twenty_reloads_leave_nothing_behind() {
    let dpm = start(&tells("one"));
    let mut root = administrator(&dpm);
    let mut client = Wire::login(dpm.port(), PLAIN);
    let mut memory = Vec::new();
    let mut open = 0;
    for round in 0..20 {
        assert!(is_ok(&root.query("RELOAD")));
        client.rows("SELECT 1");
        eventually("one state is left", || dpm.stat("startfiles") == 1.0);
        memory.push(dpm.memory_kib("VmRSS"));
        if round == 9 {
            open = dpm.open_files();
        }
    }
    assert_eq!(dpm.open_files(), open);
    assert_eq!(dpm.stat("reloads"), 20.0);
    let (middle, end) = (memory[9], memory[19]);
    assert!(end < middle + 4096, "KiB after each reload: {memory:?}");
}

#[test]
fn old_startfiles_are_bounded() {
    let script = counts("");
    let dpm = start(&script);
    let mut root = administrator(&dpm);
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Wire::login(dpm.port(), PLAIN));
        assert!(is_ok(&root.query("RELOAD")));
        dpm.settle();
    }
    clients.push(Wire::login(dpm.port(), PLAIN));
    match root.query("RELOAD") {
        Answer::Err(1105, _, message) => {
            assert!(
                message.contains("8 older startfiles still have 8 clients"),
                "{message}"
            );
        }
        answer => panic!("{answer:?}"),
    }
    // KILL reaches the clients of all of them.
    let oldest = &root.rows("SELECT client FROM clients WHERE startfile = 1 AND user <> 'root'")[0]
        [0]
    .clone();
    assert!(is_ok(&root.query(&format!("KILL {oldest}"))));
    eventually("that one has ended", || dpm.stat("startfiles") == 8.0);
    assert!(is_ok(&root.query("RELOAD")));
    for client in &mut clients[1..] {
        client.rows("SELECT 1");
    }
}

/// What beside connections belongs to a startfile.
#[test]
fn timers_subscriptions_duties_and_requests_go_over() {
    let script = |name: &str| {
        format!(
            "{} local name = '{name}'
             dpm.new_timer():schedule(0, 20, function() io.stderr:write('tick ' .. name .. '\\n') end)
             dpm.subscribe('c', function(text) print(name .. ' hears ' .. text) end)
             dpm.once('duty', function() print(name .. ' is the one') end)
             dpm.shared('s'):incr('count', 1, 0)
             print('count ' .. dpm.shared('s'):get('count'))
             dpm.on_signal('USR2', function() dpm.publish('c', 'a word from ' .. name) end)
             local web = dpm.http_listener('127.0.0.1', 0, function(_, exchange) exchange:answer(200, {{}}, name) end)
             print('http ' .. web:port())",
            counts("")
        )
    };
    let dpm = start(&script("one"));
    dpm.line("one is the one");
    let client = Wire::login(dpm.port(), PLAIN);
    reload(&dpm, &script("two"), 2);
    dpm.line("two is the one");
    dpm.line("count 2");
    dpm.line("tick two");
    let http: u16 = dpm.lines("http ")[1]
        .trim_start_matches("http ")
        .parse()
        .unwrap();
    assert_eq!(dpm.lines("http ")[0], dpm.lines("http ")[1]);
    assert!(Http::connect(http).get("/").body.contains("two"));
    dpm.signal("USR2");
    dpm.line("one hears a word from two");
    dpm.line("two hears a word from two");
    drop(client);
    eventually("the old state has ended", || dpm.stat("startfiles") == 1.0);
    let ticks = dpm.count("tick one");
    dpm.signal("USR2");
    eventually("it is heard again", || dpm.count("two hears a word") == 2);
    assert_eq!(dpm.count("one hears a word"), 1);
    assert_eq!(dpm.count("tick one"), ticks);
}

#[test]
fn a_script_decides_itself_what_hup_does() {
    let dpm = start("dpm.on_signal('HUP', function() print('own') end)
        dpm.on_signal('USR2', function() dpm.reload(function(problem) print('done ' .. tostring(problem)) end) end)");
    let root = administrator(&dpm);
    dpm.signal("HUP");
    dpm.line("own");
    dpm.settle();
    assert_eq!(dpm.stat("reloads"), 0.0);
    // Whoever has asked is told, although its state is an older one then.
    write(&dpm, "error('no')");
    dpm.signal("USR2");
    dpm.line("done ");
    dpm.line("the startfile is not reloaded");
    write(&dpm, "print('new')");
    dpm.signal("USR2");
    dpm.line("new");
    dpm.line("done nil");
    drop(root);
    eventually("the old state has ended", || dpm.stat("startfiles") == 1.0);
}

const USERS: &str = "users = { app = { password = 'a' } }";

both! {
    /// In a transaction and with a prepared statement, and COM_CHANGE_USER still works.
    fn proxied_clients_move(server) {
        let script = |name: &str| format!(
            "dpml.proxy_new_clients(listener, {{ new_command = function(cmd) print('{name} ' .. cmd:command()) end }},
                {{ {USERS}, backend = SERVER }})");
        let dpm = launch(server, &script("one")).start();
        let mut client = connect_as(dpm.port(), "app", "a").unwrap();
        client.query_drop("CREATE DATABASE IF NOT EXISTS reload").unwrap();
        client.query_drop("USE reload").unwrap();
        client.query_drop("CREATE TEMPORARY TABLE t (a INT)").unwrap();
        client.query_drop("BEGIN").unwrap();
        client.query_drop("INSERT INTO t VALUES (1)").unwrap();
        let statement = client.prep("SELECT a + ? FROM t").unwrap();
        reload(&dpm, &script("two"), 2);
        eventually_moved(&dpm);
        let sum: Option<i64> = client.exec_first(&statement, (41,)).unwrap();
        assert_eq!(sum, Some(42));
        dpm.line("two 23");
        client.query_drop("ROLLBACK").unwrap();
        client.change_user(mysql::ChangeUserOpts::DEFAULT.with_pass(Some("a".into()))).unwrap();
        let one: Option<i64> = client.query_first("SELECT 1").unwrap();
        assert_eq!(one, Some(1));
        // KILL QUERY still finds it by the number that it was greeted with.
        let mut killer = connect_as(dpm.port(), "app", "a").unwrap();
        let id = client.connection_id();
        let sleeper = std::thread::spawn(move || client.query_drop("SELECT SLEEP(60) FROM DUAL").is_ok());
        dpm.line("two 3");
        eventually("it is killed", || {
            // Once it is killed, it leaves.
            let _ = killer.query_drop(format!("KILL QUERY {id}"));
            sleeper.is_finished()
        });
        dpm.assert_no_errors();
    }

}

both! {
    fn pooled_clients_move_with_their_sessions(server) {
        let script = format!("dpml.pool(listener, {{ {USERS}, servers = {{ {{ host = SERVER.host, port = SERVER.port }} }},
            backend = {{ user = SERVER.user, password = SERVER.password }}, size = 3 }})");
        let dpm = launch(server, &script).start();
        let mut root = administrator(&dpm);
        let mut client = connect_as(dpm.port(), "app", "a").unwrap();
        client.query_drop("SET sql_mode = 'ANSI_QUOTES'").unwrap();
        let statement = client.prep("SELECT ? + 1").unwrap();
        let mut held = connect_as(dpm.port(), "app", "a").unwrap();
        held.query_drop("CREATE DATABASE IF NOT EXISTS reload").unwrap();
        held.query_drop("CREATE TABLE IF NOT EXISTS reload.held (a INT)").unwrap();
        held.query_drop("BEGIN").unwrap();
        held.query_drop("INSERT INTO reload.held VALUES (1)").unwrap();
        reload(&dpm, &script, 2);
        eventually("the first has moved", || {
            stays(&mut root).iter().filter(|row| row[0] == "2").count() == 1
        });
        assert!(stays(&mut root)[1][1].contains("transaction"), "{:?}", stays(&mut root));
        let mode: Option<String> = client.query_first("SELECT @@sql_mode").unwrap();
        assert_eq!(mode.as_deref(), Some("ANSI_QUOTES"));
        let sum: Option<i64> = client.exec_first(&statement, (41,)).unwrap();
        assert_eq!(sum, Some(42));
        held.query_drop("COMMIT").unwrap();
        eventually_moved(&dpm);
        held.query_drop("SELECT 1").unwrap();
        assert_eq!(stays(&mut root), [["2", "NULL"], ["2", "NULL"]]);
        dpm.assert_no_errors();
    }
}

both! {
    /// Nobody but the servers knows the passwords.
    fn clients_with_accounts_of_the_server_move(server) {
        let script = "dpml.pool(listener, { accounts = 'server', servers = { { host = SERVER.host, port = SERVER.port } }, size = 3 })";
        let dpm = launch(server, script).start();
        let mut client = connect_as(dpm.port(), USER, PASSWORD).unwrap();
        client.query_drop("SELECT 1").unwrap();
        for number in 2..4 {
            reload(&dpm, script, number);
            eventually_moved(&dpm);
            let one: Option<i64> = client.query_first("SELECT 1").unwrap();
            assert_eq!(one, Some(1));
        }
        connect_as(dpm.port(), USER, "wrong").unwrap_err();
        assert!(!dpm.wrote(PASSWORD), "it is not in the log");
    }
}

#[test]
fn all_workers_use_a_startfile_or_none() {
    let tells = |name: &str| {
        format!(
            "local worker = dpm.worker() print('{name} at ' .. worker) {}",
            tells(name)
        )
    };
    let dpm = launch(mariadb(), &tells("one"))
        .option("--workers=2")
        .start();
    dpm.line("one at 2");
    let mut root = administrator(&dpm);
    let mut clients: Vec<_> = (0..4).map(|_| Wire::login(dpm.port(), PLAIN)).collect();
    let halting = "if worker == 2 then error('not here') end";
    write(&dpm, &format!("{} {halting}", tells("bad")));
    match root.query("RELOAD") {
        Answer::Err(1105, _, message) => {
            assert!(
                message.contains("worker 2: ") && message.contains("not here"),
                "{message}"
            );
        }
        answer => panic!("{answer:?}"),
    }
    for client in &mut clients {
        client.rows("SELECT 'still'");
    }
    assert_eq!(dpm.count("one has SELECT 'still'"), 4);
    write(&dpm, &tells("two"));
    assert!(is_ok(&root.query("RELOAD")));
    dpm.line("two at 1");
    dpm.line("two at 2");
    eventually("all have moved", || {
        for client in &mut clients {
            client.rows("SELECT 'moved'");
        }
        dpm.count("two has SELECT 'moved'") >= 8
    });
    Wire::login(dpm.port(), PLAIN).rows("SELECT 'new'");
    dpm.line("two has SELECT 'new'");
    assert!(!dpm.wrote("bad has"));
}

/// Plug-ins of the library let their clients go, in a chain, too.
#[test]
fn clients_of_ready_made_plug_ins_move() {
    let script = passthrough(
        "dpml.chain { dpml.slowlog {}, dpml.firewall { file = arg[5], learn = LEARN },
             dpml.autoexplain { side = { host = arg[1], port = tonumber(arg[2]), user = arg[3], password = arg[4] } } }",
    );
    let folder = tempfile::tempdir().unwrap();
    let learnt = folder.path().join("learnt");
    let learning = script.replace("LEARN", "true");
    let script = script.replace("LEARN", "false");
    let dpm = launch(mariadb(), &learning).arg(learnt.display()).start();
    let mut root = administrator(&dpm);
    let mut client = Wire::login(dpm.port(), PLAIN);
    client.rows("SELECT 1");
    reload(&dpm, &script, 2);
    dpm.settle();
    assert_eq!(stays(&mut root), [["2", "NULL"]]);
    client.rows("SELECT 2");
    assert!(matches!(
        client.query("SELECT 1 + 1"),
        Answer::Err(1142, ..)
    ));
}
