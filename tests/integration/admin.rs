//! The administrative service of the whole program: what it shows, who may do what, and what clients of all sorts ask.

use std::time::Duration;

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com, error};
use crate::support::{Cli, Dpm, Flavour, PASSWORD, USER, both, connect_as, eventually, mariadb};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// An administrative listener, and (as the second "port" that is printed) one that passes clients on.
fn serve(options: &str, more: &str) -> Dpm {
    launch(options, more).start()
}

fn launch(options: &str, more: &str) -> Launch {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         admin = require('harness').listen(function() end)
         dpml.admin(admin, {{
             users = {{ root = {{ password = 'secret' }}, ann = {{ password = 'secret' }}, eve = {{ password = 'secret' }},
                 {USER} = {{ password = '{PASSWORD}' }} }},
             roles = {{ root = 'admin', ann = 'operator' }}, {options} }})
         served = dpm.listener('127.0.0.1', 0)
         print('served ' .. served:socket_port())
         dpml.passthrough_new_clients(served, {{}}, {{ arg[1], tonumber(arg[2]) }})
         {more}"
    ))
    .server(mariadb())
}

fn served(dpm: &Dpm) -> u16 {
    let line = dpm.line("served ");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn login(dpm: &Dpm, user: &str) -> Wire {
    Wire::login_as(dpm.port(), user, "secret", MODERN)
}

#[track_caller]
fn accepted(wire: &mut Wire, sql: &str) {
    let answer = wire.query(sql);
    assert!(matches!(answer, Answer::Ok(_)), "{sql}: {answer:?}");
}

#[test]
fn what_there_is_is_shown() {
    let dpm = serve("", "dpml.digests {}");
    let place = format!("127.0.0.1:{}", served(&dpm));
    let mut client = Wire::login_empty(served(&dpm), caps::BASE);
    client.rows("SELECT 40 + 2");
    let mut wire = login(&dpm, "eve");
    let tables = wire.rows("SHOW TABLES");
    assert!(tables.len() > 20, "{tables:?}");
    // Each table can be shown, by both of its names, and has the columns that it is described with.
    for name in tables.iter().map(|row| &row[0]) {
        let described = wire.rows(&format!("DESCRIBE {name}"));
        for sql in [
            format!("SHOW {}", name.replace('_', " ")),
            format!("SELECT * FROM dpm.`{name}` LIMIT 3"),
        ] {
            for row in wire.rows(&sql) {
                assert_eq!(row.len(), described.len(), "{sql}");
            }
        }
    }
    let clients = wire.rows(&format!(
        "SELECT user, server FROM clients WHERE listener = '{place}'"
    ));
    let server = format!("{}:{}", mariadb().host(), mariadb().port);
    assert_eq!(clients, [["empty", server.as_str()]]);
    let digests = wire.rows("SELECT digest, calls FROM digests WHERE digest LIKE '%+%'");
    assert_eq!(digests, [["SELECT ? + ?", "1"]]);
    let listening = wire.rows("SHOW LISTENING LIKE '%' ORDER BY Connection");
    assert_eq!(listening.len(), 2);
    assert_eq!(listening[1][1..], [place.as_str(), "tcp", "open"]);
    let stats = wire.rows("SHOW STATS WHERE Name = 'listeners'");
    assert_eq!(stats, [["listeners", "2", "Listeners open now."]]);
    assert_eq!(
        wire.rows("SHOW STATUS LIKE 'listeners'"),
        [["listeners", "2"]]
    );
    let config = wire.rows("SHOW CONFIG WHERE Name = 'max_packet'");
    assert_eq!(config[0][..2], ["max_packet", "67108864"]);
    assert_eq!(wire.rows("SHOW WORKERS")[0][..2], ["1", "running"]);
    assert!(wire.rows("SHOW TASKS")[0][3].contains("services.lua"));
    let log = wire.rows("SHOW LOG WHERE Message LIKE '%accepted from%' ORDER BY Line DESC LIMIT 1");
    assert_eq!((log[0][2].as_str(), log.len()), ("INFO", 1));
    let help = wire.rows("SHOW HELP WHERE Statement LIKE 'SHOW POOL%'");
    assert!(help.is_empty(), "{help:?}");
    wire.refuses("SHOW NOTHING", 1064, "SHOW HELP");
    wire.refuses("SHOW CLIENTS WHERE nobody = 1", 1054, "there are Client");
    dpm.assert_no_errors();
}

/// Who is given no role may look only; what is done is logged with the account, and so is what was refused.
#[test]
fn roles_are_kept() {
    let dpm = serve("eval = true", "");
    let [mut eve, mut ann, mut root] = ["eve", "ann", "root"].map(|user| login(&dpm, user));
    let mut client = Wire::login_empty(served(&dpm), caps::BASE);
    let id = eve.rows("SELECT client FROM clients WHERE user = 'empty'")[0][0].clone();
    for sql in [
        &format!("KILL {id}"),
        "PAUSE LISTENER x",
        "RESUME LISTENER x",
        "DRAIN LISTENER x",
        "DRAIN SERVER x",
        "RELOAD",
        "SET LOG LEVEL trace",
        "EVAL 'dpm.exit(1)'",
        "/* SHOW CLIENTS */ RELOAD",
    ] {
        eve.refuses(sql, 1227, "privilege");
    }
    assert_eq!(
        dpm.count("dpml.admin: 'eve'@127.0.0.1 (client 3): refused, as"),
        9
    );
    ann.refuses("EVAL '1'", 1227, "EVAL");
    accepted(&mut ann, "RELOAD");
    dpm.line("dpml.admin: 'ann'@127.0.0.1");
    let rows = root.rows("EVAL '1 + 1, nil, \"it''s\"'");
    assert_eq!(
        rows,
        [
            ["1", "number", "2"],
            ["2", "nil", "NULL"],
            ["3", "string", "it's"]
        ]
    );
    root.refuses("EVAL 'error(\"no\")'", 1105, "no");
    root.refuses("EVAL 'local local'", 1064, "EVAL");
    root.refuses("KILL 4000000000", 1094, "SHOW CLIENTS");
    root.refuses("KILL 1", 1094, "SHOW CLIENTS");
    root.refuses("KILL QUERY 1", 1295, "KILL QUERY");
    accepted(&mut ann, &format!("KILL {id}"));
    dpm.line(&format!(": KILL {id}"));
    assert!(client.closed());
}

#[test]
fn eval_is_off_unless_it_is_wanted() {
    let dpm = serve("", "");
    login(&dpm, "root").refuses("EVAL '1'", 1064, "not known");
}

#[test]
fn listeners_are_paused_and_drained() {
    let dpm = serve("", "");
    let place = format!("127.0.0.1:{}", served(&dpm));
    let mut root = login(&dpm, "root");
    let mut old = Wire::login_empty(served(&dpm), caps::BASE);
    accepted(&mut root, &format!("PAUSE LISTENER '{place}'"));
    assert_eq!(
        root.rows("SELECT state FROM listening WHERE connection = 2"),
        [["paused"]]
    );
    let mut waits = Wire::connect(served(&dpm));
    assert!(waits.silent(Duration::from_millis(200)));
    assert_eq!(old.rows("SELECT 1"), [["1"]]);
    accepted(&mut root, &format!("RESUME LISTENER `{place}`"));
    assert_eq!(waits.read()[0], 10, "it is greeted");
    accepted(&mut root, "DRAIN LISTENER 2");
    let mut late = Wire::connect(served(&dpm));
    let refusal = late.read();
    assert_eq!(
        (refusal[0], &refusal[1..3]),
        (0xFF, &1053u16.to_le_bytes()[..])
    );
    assert_eq!(old.rows("SELECT 1"), [["1"]]);
    accepted(&mut root, &format!("RESUME LISTENER {place}"));
    Wire::login_empty(served(&dpm), caps::BASE);
    root.refuses("PAUSE LISTENER 1", 1105, "administrative service itself");
    root.refuses("PAUSE LISTENER nowhere", 1477, "SHOW LISTENING");
}

#[test]
fn the_logs_level_is_set() {
    let dpm = launch(
        "",
        "dpm.on_signal('HUP', function() dpm.log('debug', 'a word') print('said') end)",
    )
    .env("RUST_LOG", "warn")
    .start();
    let mut root = login(&dpm, "root");
    let say = |times| {
        dpm.signal("HUP");
        eventually("it was said", || dpm.count("said") == times);
    };
    say(1);
    accepted(&mut root, "SET LOG LEVEL = 'debug'");
    say(2);
    accepted(&mut root, "SET LOG LEVEL warn");
    say(3);
    assert_eq!(dpm.count("a word"), 1);
    assert_eq!(
        root.rows("SELECT level FROM log WHERE message = 'a word'"),
        [["DEBUG"]]
    );
    root.refuses("SET LOG LEVEL loud", 1231, "OFF, ERROR");
}

#[test]
fn plug_ins_are_reloaded() {
    let dpm = launch(
        "",
        "local path = arg[3]
         local function write(text) local file = io.open(path, 'w') file:write(text) file:close() end
         write('return {}')
         dpml.reloadable(path, 3600)
         dpm.on_signal('USR2', function() write('return 1') print('written') end)",
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plugin.lua");
    let dpm = dpm.arg(path.display()).start();
    let mut root = login(&dpm, "root");
    assert_eq!(root.rows("SHOW PLUGINS")[0][1..], ["1", "NULL"]);
    dpm.signal("USR2");
    dpm.line("written");
    root.refuses("RELOAD PLUGINS", 1105, "SHOW PLUGINS");
    assert!(root.rows("SHOW PLUGINS")[0][2].contains("expected a plug-in"));
}

both! {
    fn pools_are_administered(server) {
        let dpm = Launch::script(
            "local dpml = require 'dpml'
             admin = require('harness').listen(function() end)
             local users = { root = { password = 'secret' } }
             dpml.admin(admin, { users = users, roles = { root = 'admin' } })
             served = dpm.listener('127.0.0.1', 0)
             print('served ' .. served:socket_port())
             dpml.pool(served, { servers = { { host = arg[1], port = tonumber(arg[2]) } },
                 users = { empty = { password = '' } }, queue_timeout = 60 })",
        )
        .server(server)
        .start();
        let mut root = login(&dpm, "root");
        let mut client = Wire::login_empty(served(&dpm), caps::BASE);
        assert_eq!(client.rows("SELECT 1"), [["1"]]);
        let name = root.rows("SELECT Server FROM pool_servers")[0][0].clone();
        assert_eq!(root.rows("SHOW POOL CLIENTS WHERE User = 'empty'").len(), 1);
        assert_eq!(root.rows("SHOW POOLS")[0][1], "empty");
        accepted(&mut root, "PAUSE POOL");
        client.command(com::QUERY, b"SELECT 2");
        assert!(client.silent(Duration::from_millis(200)));
        accepted(&mut root, "RESUME POOL");
        assert!(matches!(client.answer(), Answer::Rows { .. }));
        accepted(&mut root, &format!("DRAIN SERVER '{name}'"));
        eventually("it is drained", || root.rows("SELECT state FROM pool_servers") != [["up"]]);
        accepted(&mut root, &format!("ENABLE SERVER '{name}'"));
        root.refuses("DRAIN SERVER nowhere", 1477, "SHOW SERVERS");
        let opened = root.rows("SELECT * FROM pool_counters WHERE Name = 'opened'");
        assert_ne!(opened[0][2], "0");
    }
}

/// What clients, graphical ones and monitoring programs ask by themselves.
#[test]
fn other_programs_find_their_way() {
    let dpm = serve("", "");
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let shown = Cli::client(flavour, dpm.port())
            .args(["--auto-rehash", "dpm"])
            .stdin("\\s\nSHOW CLIENTS;\nSELECT @@version_comment;\n")
            .ok();
        for wanted in ["Current database", USER, "dpm admin"] {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
    }
    let mut wire = login(&dpm, "eve");
    for sql in [
        "SELECT 1",
        "SET NAMES utf8mb4",
        "SHOW DATABASES",
        "SELECT @@version, @@session.auto_increment_increment AS auto_increment_increment",
        "SHOW VARIABLES LIKE 'lower_case_%'",
        "SHOW FULL TABLES FROM `dpm`",
        "SHOW FULL COLUMNS FROM `clients` FROM `dpm`",
        "SHOW FULL PROCESSLIST",
        "SHOW WARNINGS",
        "SHOW ENGINES",
        "SHOW COLLATION",
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE 1 = 1 ORDER BY SCHEMA_NAME",
        "SELECT DATABASE()",
        "USE dpm",
        "COMMIT",
    ] {
        let answer = wire.query(sql);
        assert!(!matches!(answer, Answer::Err(..)), "{sql}: {answer:?}");
    }
    let mut conn = connect_as(dpm.port(), "eve", "secret").unwrap();
    let clients: Vec<(u32, String, u64)> = conn
        .exec(
            "SELECT client, user, seconds FROM clients WHERE user = ?",
            ("eve",),
        )
        .unwrap();
    assert!(clients.len() >= 2, "{clients:?}");
}

/// Statements that are to break it, or to pass for others.
#[test]
fn it_is_attacked() {
    let dpm = serve("", "");
    let mut wire = login(&dpm, "eve");
    let long = "x".repeat(100_000);
    for (sql, number) in [
        (format!("SHOW CLIENTS WHERE user = '{long}'"), 1064),
        (format!("SHOW CLIENTS LIKE '{}'", "%a".repeat(400)), 1105),
        (format!("SHOW CLIENTS WHERE {}1", "(".repeat(1000)), 1064),
        (
            format!("SHOW CLIENTS WHERE {} user = 'x'", "NOT ".repeat(500)),
            1054,
        ),
        ("SHOW CLIENTS; KILL 2".to_owned(), 1064),
        (
            "SHOW CLIENTS WHERE user = 'x' OR '1' = '1'".to_owned(),
            1064,
        ),
        (
            "SHOW CLIENTS LIMIT 99999999999999999999, 1 x".to_owned(),
            1064,
        ),
        (
            "SELECT client FROM clients INTO OUTFILE '/tmp/x'".to_owned(),
            1064,
        ),
        ("SELECT LOAD_FILE('/etc/passwd')".to_owned(), 1064),
        ("SELECT * FROM clients, servers".to_owned(), 1064),
        ("SHOW".to_owned(), 1064),
        ("SELECT".to_owned(), 1064),
        ("KILL".to_owned(), 1227),
        ("\0\0\0".to_owned(), 1064),
    ] {
        let what = &sql[..sql.len().min(60)];
        match wire.query(&sql) {
            Answer::Err(found, ..) => assert_eq!(found, number, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(
        wire.rows("SHOW CLIENTS WHERE user = 'O''Reilly' OR user = 'a\\'b'")
            .len(),
        0
    );
    // Names that were made up show up nowhere.
    for number in 0..20 {
        assert!(connect_as(dpm.port(), &format!("made-up-{number}"), "x").is_err());
    }
    assert!(wire.rows("SHOW USERS LIKE 'made%'").is_empty());
    dpm.assert_no_errors();
}

/// A client that reads nothing of a long answer holds a bounded part of it, and nobody else waits.
#[test]
fn a_client_that_does_not_read_is_no_burden() {
    let dpm = serve(
        "",
        "dpml.declare_figures { name = 'many', columns = { { name = 'number', type = 'integer', kind = 'note' }, { name = 'text' } },
             metrics = false, entries = function()
                 local number = 0
                 return function()
                     number = number + 1
                     return number <= 1e7 and { number = number, text = ('x'):rep(1000) } or nil
                 end
             end }",
    );
    let mut lazy = login(&dpm, "eve");
    lazy.command(com::QUERY, b"SHOW MANY");
    let mut other = login(&dpm, "ann");
    eventually("it is held back", || {
        other
            .rows("SELECT name, value FROM stats WHERE name = 'buffered' AND value > 100000")
            .len()
            == 1
    });
    let held = other.rows("SELECT value FROM stats WHERE name = 'buffered'")[0][0].clone();
    assert!(held.parse::<u64>().unwrap() < 4 << 20, "{held}");
    // What is to be sorted is bounded, too.
    other.refuses("SHOW MANY ORDER BY number DESC", 1038, "100000");
    assert_eq!(
        other.rows("SELECT number FROM many LIMIT 2"),
        [["1"], ["2"]]
    );
    drop(lazy);
    eventually("the task has ended", || {
        other
            .rows("SHOW TASKS WHERE Waits_for = 'send_resultset'")
            .is_empty()
    });
}

/// A table of 20,000 rows is sorted and sent in slices.
#[test]
fn long_answers_stall_nobody() {
    let dpm = serve(
        "",
        "dpml.declare_figures { name = 'many', order = 'number', metrics = false,
             columns = { { name = 'number', type = 'integer', kind = 'note' }, { name = 'text' } }, entries = function()
                 local number = 0
                 return function()
                     number = number + 1
                     return number <= 20000 and { number = number * 7919 % 20011, text = 'x' } or nil
                 end
             end }",
    );
    let mut wire = login(&dpm, "eve");
    let ticks = |wire: &mut Wire| -> u64 {
        let rows = wire.rows("SELECT value FROM stats WHERE name = 'ticks'");
        rows[0][0].parse().unwrap()
    };
    let before = ticks(&mut wire);
    let rows = wire.rows("SHOW MANY");
    assert_eq!(rows.len(), 20_000);
    let numbers: Vec<u32> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, other| one > other));
    // The loop went round meanwhile, for all others.
    let passes = ticks(&mut wire) - before;
    assert!(passes > 20, "{passes}");
}

#[test]
fn options_are_checked() {
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         listener = dpm.listener('127.0.0.1', 0)
         print(pcall(dpml.admin, listener, {}))
         print(pcall(dpml.admin, listener, { users = {}, roles = { ann = 'god' } }))
         print(pcall(dpml.admin, listener, { users = {}, evil = true }))
         everywhere = dpm.listener(nil, 0)
         dpml.admin(everywhere, { users = {} })",
    )
    .start();
    dpm.line("dpml.admin: who may log in?");
    dpm.line("roles: ann: expected \"viewer\", \"operator\" or \"admin\", got god");
    dpm.line("there is no option evil");
    dpm.line("can be reached from other machines, and uses no TLS");
}

/// doc/ADMIN.md has every table with its columns, and every statement.
#[test]
fn the_page_has_all_of_it() {
    let dpm = serve(
        "eval = true",
        "dpml.digests {}
         dpml.pool(dpm.listener('127.0.0.1', 0), { servers = { { host = arg[1], port = tonumber(arg[2]) } }, users = {} })
         dpml.multiplex(dpm.listener('127.0.0.1', 0), { users = { ann = { password = 'x' } },
             fleet = { { host = arg[1], port = tonumber(arg[2]), user = 'empty', name = 'db1' } } })
         dpml.autoexplain { side = { host = arg[1], port = tonumber(arg[2]), user = 'empty' } }",
    );
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/ADMIN.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut wire = login(&dpm, "eve");
    for name in wire.rows("SHOW TABLES") {
        let columns = wire.rows(&format!("DESCRIBE {}", name[0]));
        let columns: Vec<&str> = columns.iter().map(|row| row[0].as_str()).collect();
        let statement = format!("| `SHOW {}` |", name[0].to_uppercase().replace('_', " "));
        let line = page.lines().find(|line| line.starts_with(&statement));
        let line = line.unwrap_or_else(|| panic!("doc/ADMIN.md has no {statement}"));
        assert!(
            line.ends_with(&format!("| {} |", columns.join(", "))),
            "{line}: {columns:?}"
        );
    }
    let members = wire.rows("SELECT server, problem FROM multiplexer_servers");
    assert_eq!(members, [["db1", "NULL"]]);
    assert!(wire.rows("SHOW PLANS").is_empty());
    for row in wire.rows("SHOW HELP") {
        if !row[0].starts_with(['S', '…']) {
            assert!(
                page.contains(&format!("| `{}` |", row[0])),
                "doc/ADMIN.md: {}",
                row[0]
            );
        }
    }
}

/// With several workers, all of them are shown, and clients of any of them can be closed.
#[test]
fn other_workers_are_reached() {
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         served = require('harness').listen(function() end)
         dpml.passthrough_new_clients(served, { new_client = function(client)
             print(('client %.0f of %d'):format(client:id(), (dpm.worker())))
         end }, { arg[1], tonumber(arg[2]) })
         admin = dpm.listener('127.0.0.1', 0)
         print('admin ' .. admin:socket_port())
         dpml.digests {}
         dpml.admin(admin, { users = { root = { password = 'secret' } }, roles = { root = 'operator' } })",
    )
    .option("--workers=2")
    .server(mariadb())
    .start();
    eventually("both listen", || dpm.count("admin ") == 2);
    let mut clients = [(); 4].map(|()| Wire::login_empty(dpm.port(), caps::BASE));
    eventually("all are told", || dpm.lines("client ").len() == 4);
    let line = dpm.line("admin ");
    let admin = line.rsplit(' ').next().unwrap().parse().unwrap();
    let mut root = Wire::login_as(admin, "root", "secret", MODERN);
    let workers = root.rows("SELECT worker, state FROM workers");
    assert_eq!(workers, [["1", "running"], ["2", "running"]]);
    // What is listed one by one has its worker's number behind it; what is counted is added up.
    let place = format!("127.0.0.1:{}", dpm.port());
    for client in &mut clients {
        client.rows("SELECT 42");
    }
    for worker in ["1", "2"] {
        let sql =
            format!("SELECT client FROM clients WHERE listener = '{place}' AND worker = {worker}");
        assert_eq!(root.rows(&sql).len(), 2, "of worker {worker}");
    }
    let described = root.rows("DESCRIBE clients");
    assert_eq!(described.last().map(|row| &*row[0]), Some("Worker"));
    let sums = format!("SELECT connections, queries FROM listeners WHERE listener = '{place}'");
    assert_eq!(root.rows(&sums), [["4", "4"]]);
    let digests = root.rows("SELECT digest, calls FROM digests WHERE calls = 4");
    assert_eq!(digests, [["SELECT ?", "4"]]);
    let ends = root.rows("SELECT min_us, mean_us, max_us FROM digests WHERE calls = 4");
    let ends: Vec<u64> = ends[0].iter().map(|value| value.parse().unwrap()).collect();
    assert!(ends.is_sorted(), "{ends:?}");
    // What acts does so in all workers.
    accepted(&mut root, &format!("DRAIN LISTENER '{place}'"));
    for _ in 0..4 {
        let mut refused = Wire::connect(dpm.port());
        assert!(matches!(error(&refused.read()), Answer::Err(1053, ..)));
    }
    accepted(&mut root, &format!("RESUME LISTENER '{place}'"));
    root.refuses("DRAIN LISTENER 'nowhere'", 1477, "nowhere");
    for line in dpm.lines("client ") {
        let id = line.split_whitespace().next().unwrap().to_owned();
        accepted(&mut root, &format!("KILL {id}"));
    }
    for client in &mut clients {
        assert!(client.closed());
    }
    root.refuses("KILL 67000000", 1094, "SHOW CLIENTS");
}
