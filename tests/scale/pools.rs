//! A pool with thousands of clients, of accounts, of prepared statements and of those who wait, before a real server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;

use crate::crowd::Crowd;
use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Dpm, PASSWORD, Server, USER, eventually, mariadb, options, process};
use crate::{alone, clients, descriptors, row, share_of};

/// The most that an idle client may cost, in bytes.
const IDLE_CLIENT: u64 = if cfg!(debug_assertions) { 2300 } else { 2048 };

/// The pool's end of a client is all that has a descriptor, so there are more of them than elsewhere.
fn pooled(full: usize) -> usize {
    full.min(share_of(4 * full))
        .min(descriptors() as usize - 500)
}

/// A pool before the server; `options` may say more.
fn pool(server: &Server, options: &str) -> Dpm {
    Launch::script(&format!(
        "dpm.config {{ handshake_timeout = 60, connect_timeout = 60 }}
         dpml = require 'dpml'
         port = tonumber(arg[1])
         listener = require('harness').listen(function() end)
         pool = dpml.pool(listener, {{
             servers = {{ {{ host = '127.0.0.1', port = port, role = 'primary' }} }},
             monitor = {{ user = '{USER}', password = '{PASSWORD}' }},
             auth_plugin = 'mysql_native_password', queue_timeout = 300,
             max_waiting = 20000, size = 20, {options}
         }})
         -- What is counted of the pool, by its names.
         dpm.on_signal('USR2', function()
             local found = {{}}
             for name, value in pairs(pool:status('counters')) do
                 found[#found + 1] = name .. '=' .. value
             end
             for _, one in ipairs(pool:status('pools')) do
                 found[#found + 1] = 'waiting=' .. one.waiting
             end
             print('pool ' .. table.concat(found, ' '))
         end)"
    ))
    .quiet()
    .arg(server.port)
    .open_files(descriptors())
    .start()
}

const USERS: &str = "users = { happy = { password = 'wheefun' } },";

/// What is counted of a pool, summed over its groups of connections.
fn counted(dpm: &Dpm) -> BTreeMap<String, u64> {
    let before = dpm.lines("pool ").len();
    dpm.signal("USR2");
    let mut counted = BTreeMap::new();
    eventually("the pool tells", || dpm.lines("pool ").len() > before);
    for pair in dpm.lines("pool ")[before].split(' ') {
        let (name, value) = pair.split_once('=').expect("a pair");
        *counted.entry(name.to_owned()).or_default() += value.parse::<u64>().expect("a number");
    }
    counted
}

/// An idle client of a pool costs two kilobytes at most, whatever its last statement was.
#[test]
fn idle_clients_of_a_pool_are_small() {
    const FEW: usize = 100;
    let _alone = alone();
    let server = mariadb();
    let dpm = pool(server, USERS);
    let mut crowd = Crowd::new(dpm.port(), false);
    let long = "x".repeat(2000);
    let mut sizes = Vec::new();
    let count = pooled(5_000);
    for count in [FEW, count] {
        crowd.log_in(count - crowd.len(), 200);
        crowd.ask(
            200,
            |n| format!("SELECT {n}, '{long}' = ''"),
            |n| format!("{n}\t0"),
        );
        sizes.push(dpm.memory_kib("VmRSS") * 1024);
    }
    let each = (sizes[1] - sizes[0]) / (count - FEW) as u64;
    row(
        "idle clients of a pool",
        &[
            ("clients", count.to_string()),
            ("connections", "20".to_string()),
            ("bytes each", each.to_string()),
        ],
    );
    assert!(each <= IDLE_CLIENT, "{each} bytes each");
    dpm.assert_no_errors();
}

/// As many clients as there may be all ask at once. Each is given its own answer.
#[test]
fn all_clients_of_a_pool_ask_at_once() {
    let _alone = alone();
    let dpm = pool(mariadb(), USERS);
    let mut crowd = Crowd::new(dpm.port(), false);
    let count = pooled(10_000);
    let logins = crowd.log_in(count, 500);
    let worked = process::time_run(dpm.pid());
    let took = crowd.ask(usize::MAX, |n| format!("SELECT {n}"), |n| n.to_string());
    let work = process::time_run(dpm.pid()) - worked;
    row(
        "clients of a pool ask at once",
        &[
            ("clients", count.to_string()),
            ("logins ms", logins.all.as_millis().to_string()),
            ("all answered ms", took.all.as_millis().to_string()),
            (
                "proxy's CPU µs each",
                (work.as_micros() / count as u128).to_string(),
            ),
        ],
    );
    assert_eq!(counted(&dpm)["waiting"], 0);
    crowd.leave();
    eventually("all have left", || dpm.stat("clients") < 1.0);
    dpm.assert_no_errors();
}

/// Many accounts wait at once, each for connections of its own, for which others have to be closed: what each costs
/// does not grow with their number. (It takes long since the server has a catalogue to show to each; that the queue
/// does not mind thousands is tested where it is.)
#[test]
fn accounts_that_wait_at_once() {
    let _alone = alone();
    let server = Server::start_own(mariadb().flavour, &[]);
    let many = share_of(600);
    server.sql(&format!(
        "INSERT INTO mysql.global_priv
         SELECT '%', CONCAT('account', seq), JSON_OBJECT('access', (1 << 30) - 1, 'plugin', 'mysql_native_password',
             'authentication_string', PASSWORD('{PASSWORD}')) FROM test.seq_0_to_{many};
         FLUSH PRIVILEGES"
    ));
    let all = "authenticate = function() return { password = 'wheefun' } end,";
    let dpm = pool(&server, all);
    let mut costs = Vec::new();
    let mut crowd = Crowd::with_names(dpm.port(), |n| format!("account{n}"));
    for count in [many / 8, many] {
        crowd.log_in(count - crowd.len(), 20);
        let worked = process::time_run(dpm.pid());
        let took = crowd.ask(
            usize::MAX,
            |_| "SELECT USER()".to_owned(),
            |n| format!("account{n}@127.0.0.1"),
        );
        let work = (process::time_run(dpm.pid()) - worked) / count as u32;
        row(
            "accounts of a pool ask at once",
            &[
                ("accounts", count.to_string()),
                ("all answered ms", took.all.as_millis().to_string()),
                ("proxy's CPU µs each", work.as_micros().to_string()),
            ],
        );
        costs.push(work);
    }
    assert!(costs[1] < costs[0] * 3, "{costs:?} each");
    dpm.assert_no_errors();
}

/// A pool with many servers: reads go to all of the replicas. (They are one server behind as many ports.)
#[test]
fn reads_over_many_servers() {
    let _alone = alone();
    let servers = share_of(100);
    let list = format!(
        "servers = (function()
        local all = {{}}
        for nth = 1, {servers} do
            local door = dpm.listener('127.0.0.1', 0)
            dpml.passthrough_new_clients(door, {{}}, {{ '127.0.0.1', port }})
            all[nth] = {{ host = '127.0.0.1', port = door:socket_port(), role = nth == 1 and 'primary' or 'replica' }}
        end
        return all
    end)(), split = true, size = 2, min_idle = 1,"
    );
    let dpm = pool(mariadb(), &format!("{USERS} {list}"));
    let mut crowd = Crowd::new(dpm.port(), false);
    let count = share_of(3_600);
    crowd.log_in(count, 200);
    let read = |crowd: &mut Crowd| {
        crowd.ask(
            usize::MAX,
            |n| format!("SELECT {n} FROM mysql.db LIMIT 0"),
            |_| String::new(),
        )
    };
    let took = read(&mut crowd);
    let worked = process::time_run(dpm.pid());
    read(&mut crowd);
    let work = (process::time_run(dpm.pid()) - worked) / count as u32;
    let opened = counted(&dpm)["opened"];
    row(
        "reads over many servers",
        &[
            ("servers", servers.to_string()),
            ("clients", count.to_string()),
            ("all answered ms", took.all.as_millis().to_string()),
            ("connections", opened.to_string()),
            ("proxy's CPU µs each", work.as_micros().to_string()),
        ],
    );
    let fewest = servers as u64;
    assert!(opened >= fewest, "only {opened} connections were opened");
    dpm.assert_no_errors();
}

/// Clients that have prepared the same statements, more than a connection keeps. Each executes each, with values of
/// its own.
#[test]
fn prepared_statements_of_many_clients() {
    const THREADS: usize = 10;
    let _alone = alone();
    let dpm = pool(mariadb(), &format!("{USERS} max_prepared = 64,"));
    // Their square is what takes time.
    let count = ((clients() as f64 / 9_000.0).sqrt() * 1000.0) as usize / THREADS * THREADS / 4;
    let port = dpm.port();
    let (before, begun) = (dpm.memory_kib("VmRSS"), Instant::now());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let options = || options(port).stmt_cache_size(count);
                let mut all: Vec<mysql::Conn> = (0..count / THREADS)
                    .map(|_| mysql::Conn::new(options()).expect("a login"))
                    .collect();
                for statement in 0..count {
                    let sql = format!("SELECT {statement}, ?");
                    for (nth, conn) in all.iter_mut().enumerate() {
                        let value = (thread * 1_000_000 + nth * 1000 + statement) as u64;
                        let got: Option<(u64, u64)> =
                            conn.exec_first(&*sql, (value,)).expect("an answer");
                        assert_eq!(got, Some((statement as u64, value)));
                    }
                }
            });
        }
    });
    let executed = count * count / THREADS * THREADS;
    row(
        "prepared statements",
        &[
            ("clients", count.to_string()),
            ("statements each", count.to_string()),
            ("ms", begun.elapsed().as_millis().to_string()),
            ("at most bytes each", {
                let grown = dpm.memory_kib("VmHWM").saturating_sub(before);
                (grown * 1024 / executed as u64).to_string()
            }),
        ],
    );
    dpm.assert_no_errors();
}

/// One connection, which somebody keeps, and as many who wait for it as may. One more is refused at once; all others
/// are served.
#[test]
fn a_queue_that_is_full() {
    let _alone = alone();
    let count = share_of(3_600);
    let dpm = pool(
        mariadb(),
        &format!("{USERS} size = 1, min_idle = 0, max_waiting = {count},"),
    );
    let mut holder = Wire::login(dpm.port(), caps::BASE);
    assert!(matches!(
        holder.query("SELECT GET_LOCK('scale', 0)"),
        Answer::Rows { .. }
    ));
    let mut crowd = Crowd::new(dpm.port(), false);
    crowd.log_in(count, 200);
    let mut late = Wire::login(dpm.port(), caps::BASE);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let asks = scope.spawn(move || {
            crowd.ask(usize::MAX, |n| format!("SELECT {n}"), |n| n.to_string());
            crowd
        });
        eventually("all wait", || counted(&dpm)["waiting"] == count as u64);
        let Answer::Err(1040, ..) = late.query("SELECT 1") else {
            panic!("there is no room for one more");
        };
        late.command(com::PING, b"");
        holder.query("SELECT RELEASE_LOCK('scale')");
        asks.join().expect("all are served");
    });
    row(
        "a queue that is full",
        &[
            ("clients", count.to_string()),
            ("connections", "1".to_string()),
            ("all answered ms", begun.elapsed().as_millis().to_string()),
        ],
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(counted(&dpm)["waiting"], 0);
}
