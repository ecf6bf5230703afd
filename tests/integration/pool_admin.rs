//! The pool's administrative statements, on a pool that a table in Lua stands for: what they show, and how they can be
//! asked.

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps};
use crate::support::{Cli, Dpm, Flavour, PASSWORD, USER, connect_as, eventually, mariadb};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// A pool of two servers, two of whose clients are held. What is done to it is printed.
const POOL: &str = r#"
local dpml = require "dpml"
local native = {}
function native:pools()
    return { { account = "app", capabilities = "FOUND_ROWS", state = "active", clients = 40, held = 2, waiting = 3, maxwait = 1.5004,
        connections = 3, free = 1 } }
end
function native:servers()
    return {
        { server = "db1:3306", role = "primary", state = "up", weight = 1, connections = 3, free = 1, busy = 2,
            opening = 0, size = 20 },
        { server = "db2:3306", role = "replica", state = "down", weight = 1, connections = 0, free = 0, busy = 0,
            opening = 0, size = 20 } }
end
function native:clients()
    return { { client = 7, user = "ann", host = "10.0.0.9", state = "held", since = 60, reason = "user-variable",
        server = "db1:3306", thread = 41 } }
end
function native:held()
    return {
        { client = 7, user = "ann", server = "db1:3306", thread = 41, reason = "user-variable",
            statement = "SET @a = 'private'", since = 60, advice = "pass values as parameters" },
        { client = 8, user = "bob", server = "db1:3306", thread = 42, reason = "transaction", statement = "BEGIN",
            since = 90, advice = "COMMIT" },
        { client = 9, user = "cid", reason = "replication", since = 70, advice = "none" } }
end
function native:refused()
    return { { reason = "diagnostics-wanted", statement = "SHOW WARNINGS", times = 2, since = 5, user = "bob",
        advice = "ask at once" } }
end
function native:counters()
    return { { name = "opened", value = 3, description = "Connections that were opened." },
        { name = "died", value = 1, description = "Connections that have died." } }
end
function native:drain(name) print("drain " .. name) return name == "db1:3306" end
function native:enable(name) print("enable " .. name) return name == "db1:3306" end
function native:pause() print("pause") end
function native:resume() print("resume") end
function native:kill(id) print("kill " .. id) return id == 7 end
local pool = { native = native, topology = { views = { ["db2:3306"] = { lag = 3, why = "it does not answer" } } } }
"#;

fn pool(after: &str) -> Dpm {
    Launch::script(&format!("{POOL}\n{after}"))
        .server(mariadb())
        .start()
}

/// The pool with its administrative statements; `options` besides who may log in.
fn serve(options: &str) -> Dpm {
    pool(&format!(
        "local listener = require('harness').listen(function() end)
         require('dpml.pool.admin').serve(pool, listener, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }}, {options} }})"
    ))
}

fn login(dpm: &Dpm) -> Wire {
    Wire::login_as(dpm.port(), USER, PASSWORD, MODERN)
}

#[test]
fn tables_are_shown() {
    let dpm = serve("");
    let mut wire = login(&dpm);
    assert_eq!(
        wire.rows("SHOW POOLS"),
        [[
            "app",
            "FOUND_ROWS",
            "active",
            "40",
            "2",
            "3",
            "1.5",
            "3",
            "1"
        ]]
    );
    let servers = wire.rows("show global servers;");
    assert_eq!(servers[0][..4], ["db1:3306", "primary", "up", "1"]);
    assert_eq!(servers[1][..4], ["db2:3306", "replica", "down", "1"]);
    assert_eq!(servers[1][9..], ["3", "it does not answer"]);
    let client = [
        "7",
        "ann",
        "10.0.0.9",
        "held",
        "60",
        "user-variable",
        "db1:3306",
        "41",
    ];
    assert_eq!(wire.rows("SHOW CLIENTS"), [client]);
    let refused = wire.rows("SHOW REFUSED");
    assert_eq!(
        refused[0][..3],
        ["diagnostics-wanted", "SHOW WARNINGS", "2"]
    );
    assert_eq!(refused[0][4..], ["bob", "ask at once"]);
    assert_eq!(
        wire.rows("SHOW COUNTERS WHERE Value > 2"),
        [["opened", "3", "Connections that were opened."]]
    );
    assert_eq!(wire.rows("SHOW STATUS"), [["died", "1"], ["opened", "3"]]);
    assert_eq!(wire.rows("SHOW STATUS LIKE 'op%'"), [["opened", "3"]]);
    let help = wire.rows("SHOW HELP");
    assert!(help.iter().any(|row| row[0] == "SHOW HELD"), "{help:?}");
}

/// The longest held comes first, and no literal is shown unless that is wanted.
#[test]
fn held_clients_are_told_why() {
    let dpm = serve("");
    let held = login(&dpm).rows("SHOW HELD");
    let reasons: Vec<&str> = held.iter().map(|row| row[4].as_str()).collect();
    assert_eq!(reasons, ["transaction", "replication", "user-variable"]);
    assert_eq!(
        held[2][..6],
        ["7", "ann", "db1:3306", "41", "user-variable", "SET @a = ?"]
    );
    assert_eq!(held[2][7..], ["60", "pass values as parameters"]);
    assert_eq!(held[1][2..6], ["NULL", "NULL", "replication", "NULL"]);

    let dpm = serve("literals = true");
    assert_eq!(login(&dpm).rows("SHOW HELD")[2][5], "SET @a = 'private'");
}

#[test]
fn rows_are_chosen_and_sorted() {
    let dpm = serve("");
    let mut wire = login(&dpm);
    let mut clients = |more: &str| -> Vec<String> {
        let rows = wire.rows(&format!("SHOW HELD {more}"));
        rows.into_iter().map(|mut row| row.remove(0)).collect()
    };
    assert_eq!(clients("WHERE Reason = 'transaction'"), ["8"]);
    assert_eq!(clients("WHERE seconds > 70.5"), ["8"]);
    assert_eq!(clients("WHERE thread IS NULL"), ["9"]);
    assert_eq!(
        clients("WHERE Thread IS NOT NULL AND (User IN ('ann', 'cid') OR User LIKE 'c%')"),
        ["7"]
    );
    assert_eq!(clients("WHERE Thread <> 42"), ["7"], "NULL is neither");
    assert_eq!(clients("LIKE '_'"), ["8", "9", "7"]);
    assert_eq!(clients("ORDER BY client"), ["7", "8", "9"]);
    assert_eq!(clients("ORDER BY Thread, User DESC"), ["9", "7", "8"]);
    assert_eq!(clients("ORDER BY User DESC LIMIT 1"), ["9"]);
    assert_eq!(
        clients("WHERE Seconds < 1e3 ORDER BY Client LIMIT 1, 5"),
        ["8", "9"]
    );
    assert_eq!(clients("ORDER BY Client LIMIT 1 OFFSET 2"), ["9"]);
    let all = wire.rows("SELECT * FROM pool.`held`");
    assert_eq!((all.len(), all[0].len()), (3, 9));
    let some = wire.rows("SELECT reason, Client FROM held WHERE Client = 7");
    assert_eq!(some, [["user-variable", "7"]]);
}

#[test]
fn conditions_that_are_not_understood_are_refused() {
    let dpm = serve("");
    let mut wire = login(&dpm);
    wire.refuses("SHOW HELD WHERE Nobody = 1", 1054, "there are Client, User");
    wire.refuses("SHOW HELD WHERE Client + 1 = 2", 1064, "SHOW HELP");
    wire.refuses("SHOW HELD LIMIT x", 1064, "SHOW HELP");
    wire.refuses("SHOW NOTHING", 1064, "There is no SHOW NOTHING");
    wire.refuses("SELECT COUNT(*) FROM held", 1064, "SHOW HELP");
    wire.refuses("SELECT * FROM nowhere", 1146, "SHOW TABLES");
    wire.refuses("SELECT nobody FROM held", 1054, "there are Client, User");
    wire.refuses("SHOW HELD; DRAIN SERVER x", 1064, "One complete statement");
    wire.refuses("FLUSH POOL", 1064, "SHOW HELP");
}

#[test]
fn columns_have_types() {
    let dpm = serve("");
    let mut conn = connect_as(dpm.port(), USER, PASSWORD).unwrap();
    // By the binary protocol, in which numbers and times have a form of their own.
    let held = conn
        .exec_first(
            "SELECT Client, Seconds, Since, Thread FROM held WHERE Client = ?",
            (9,),
        )
        .unwrap();
    let (client, seconds, since, thread): (u32, f64, mysql::Value, Option<u32>) = held.unwrap();
    assert_eq!((client, seconds, thread), (9, 70.0, None));
    assert!(matches!(since, mysql::Value::Date(2020.., ..)), "{since:?}");
}

#[test]
fn the_pool_is_acted_on() {
    let dpm = serve("");
    let mut wire = login(&dpm);
    for name in ["db1:3306", "'db1:3306'", "`db1:3306`"] {
        assert!(matches!(
            wire.query(&format!("DRAIN SERVER {name}")),
            Answer::Ok(_)
        ));
    }
    eventually("each is done", || dpm.count("drain db1:3306") == 3);
    assert!(matches!(
        wire.query("enable server db1:3306"),
        Answer::Ok(_)
    ));
    wire.refuses("DRAIN SERVER db9", 1477, "SHOW SERVERS");
    wire.refuses("DRAIN SERVER", 1064, "SHOW HELP");
    assert!(matches!(wire.query("PAUSE POOL"), Answer::Ok(_)));
    dpm.line("pause");
    assert!(matches!(wire.query("RESUME POOL"), Answer::Ok(_)));
    dpm.line("resume");
    assert!(matches!(wire.query("KILL 7"), Answer::Ok(_)));
    dpm.line("kill 7");
    wire.refuses("KILL 99", 1094, "SHOW CLIENTS");
    wire.refuses("KILL QUERY 7", 1295, "KILL QUERY");
    wire.refuses("PAUSE POOL now", 1064, "SHOW HELP");
    assert_eq!(dpm.count("kill "), 2);
}

#[test]
fn command_line_clients_find_their_way() {
    let dpm = serve("");
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        // With a database, and with completion, the client asks for tables and their columns.
        let shown = Cli::client(flavour, dpm.port())
            .args(["--auto-rehash", "pool"])
            .stdin("SELECT @@version_comment;\nSHOW DATABASES;\nSHOW TABLES;\n\\s\nSHOW HELD;\n")
            .ok();
        for wanted in [
            "dpm pool",
            "pool\n",
            "held\n",
            "Current database",
            "user-variable",
        ] {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
    }
}

/// What a script reads has the same figures as what SHOW shows.
#[test]
fn scripts_read_the_same() {
    let dpm = pool(
        "local figures = require 'dpml.pool.figures'
         local status = figures.status(pool)
         print('first', status.pools[1].first_waiter_seconds, status.held[1].reason, status.held[1].statement)
         print('counters', status.counters.opened, figures.status(pool, 'counters').died)
         print('literals', figures.status(pool, 'held', { literals = true })[1].statement)
         print(pcall(figures.status, pool, 'nothing'))
         listener = dpm.listener('127.0.0.1', 0)",
    );
    dpm.line("first\t1.5\tuser-variable\tSET @a = ?");
    dpm.line("counters\t3\t1");
    dpm.line("literals\tSET @a = 'private'");
    dpm.line("there is no table nothing, only clients, counters, held");
}

#[test]
fn options_are_checked() {
    let dpm = pool(
        "listener = dpm.listener('127.0.0.1', 0)
         local serve = require('dpml.pool.admin').serve
         print(pcall(serve, pool, listener, {}))
         print(pcall(serve, pool, listener, { users = {}, literals = 1 }))
         print(pcall(serve, pool, listener, { users = {}, litterals = true }))",
    );
    dpm.line("pool:admin: who may log in?");
    dpm.line("literals: expected a boolean");
    dpm.line("there is no option litterals");
}
