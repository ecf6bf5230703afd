//! Connections go over to the new process.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, TxOpts};

use super::{FUSE, Family, gone, installed, launch, signal};
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{
    Dpm, Over, PASSWORD, USER, connect, eventually, let_time_pass, mariadb, process,
};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// A passthrough whose clients move.
fn movable(options: &str) -> String {
    format!(
        "{FUSE}
        local h = require('harness')
        h.passthrough(nil, nil, {{ {options} }})
        dpm.on_move(
            function(client) return 'number ' .. client:id() end,
            function(listener, client, server, text)
                if text ~= 'number ' .. client:id() then return nil, 'what is ' .. text .. '?' end
                h.pairs[client:id()] = {{ client, server }}
                client:register(dpm.MY_CLOSING, function(id) h.pairs[id] = nil end)
                print('adopted in ' .. pid())
                return true
            end)"
    )
}

/// So many clients have gone over so far.
fn all_adopted(dpm: &Dpm, count: usize) {
    eventually("they have gone over", || dpm.count("adopted in") >= count);
    assert_eq!(dpm.count("adopted in"), count);
}

#[test]
fn clients_go_over_and_notice_nothing() {
    let family = Family::start(launch(&movable("")));
    let port = family.0.port();
    let mut plain = Wire::login(port, PLAIN);
    let mut conn = connect(port);
    let id: u32 = conn.query_first("SELECT CONNECTION_ID()").unwrap().unwrap();
    conn.query_drop("SET @kept = 'here', time_zone = '+05:00'")
        .unwrap();
    conn.query_drop("USE information_schema").unwrap();
    let statement = conn.prep("SELECT ? + 1, ?").unwrap();
    assert_eq!(plain.rows("SELECT 1"), [["1"]]);
    for round in 1..=3 {
        let old = family.last();
        family.upgrade();
        gone(old);
        all_adopted(&family.0, 2 * round);
        assert_eq!(plain.rows("SELECT 7"), [["7"]]);
        let row: (i64, String) = conn.exec_first(&statement, (41, "text")).unwrap().unwrap();
        assert_eq!(row, (42, "text".to_owned()));
        let kept: (u32, String, String, String) = conn
            .query_first("SELECT CONNECTION_ID(), @kept, @@time_zone, DATABASE()")
            .unwrap()
            .unwrap();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            kept,
            (id, text("here"), text("+05:00"), text("information_schema"))
        );
        // It is as any other: prepares, resets and changes its user.
        let another = conn.prep("SELECT ?").unwrap();
        assert_eq!(conn.exec_first(&another, (round,)).unwrap(), Some(round));
    }
    conn.reset().unwrap();
    assert!(plain.change_user(USER, PASSWORD).first() != Some(&0xFF));
    assert_eq!(plain.rows("SELECT 8"), [["8"]]);
    // The end of a client is the end of its server.
    drop((plain, conn));
    let last = family.last();
    let next = family.upgrade();
    gone(last);
    signal(next, "USR1");
    eventually("no connection is left", || {
        family
            .0
            .lines("STATS ")
            .last()
            .is_some_and(|stats| stats.contains("clients=0") && stats.contains("servers=0"))
    });
}

#[test]
fn compressed_clients_and_those_of_several_workers_go_over() {
    let family = Family::start(
        launch(&movable("compression = { 'zlib' }"))
            .option("--workers")
            .option("2"),
    );
    let port = family.0.port();
    let long = "x".repeat(3000);
    let mut clients: Vec<Conn> = (0..6)
        .map(|_| {
            let options = crate::support::options(port).compress(Some(mysql::Compression::new(6)));
            Conn::new(options).unwrap()
        })
        .collect();
    let ask = |clients: &mut Vec<Conn>| {
        for conn in clients {
            let answer: String = conn
                .exec_first("SELECT CONCAT(?, 'y')", (&long,))
                .unwrap()
                .unwrap();
            assert_eq!(answer.len(), 3001);
        }
    };
    for round in 1..=2 {
        let old = family.last();
        if round == 2 {
            ask(&mut clients);
        }
        family.upgrade();
        gone(old);
        all_adopted(&family.0, 6 * round);
        ask(&mut clients);
    }
}

#[test]
fn transactions_are_waited_for() {
    let family = Family::start(launch(&movable("")));
    let mut conn = Wire::login(family.0.port(), PLAIN);
    conn.query("BEGIN");
    let old = family.last();
    family.upgrade();
    conn.query("SELECT 1");
    let_time_pass(Duration::from_millis(300));
    all_adopted(&family.0, 0);
    conn.query("ROLLBACK");
    gone(old);
    all_adopted(&family.0, 1);
    assert_eq!(conn.rows("SELECT 7"), [["7"]]);
}

#[test]
fn what_is_refused_stays() {
    let script = movable("");
    let family = Family::start(launch(&script));
    let mut conn = Wire::login(family.0.port(), PLAIN);
    let refuses = script.replace(
        "if text ~=",
        "if pid() then return nil, 'not this one' end if text ~=",
    );
    for (changed, why) in [
        (refuses, "not this one"),
        (
            script.replace("h.pairs[client:id()] =", "error('as the test wants it')"),
            "as the test wants it",
        ),
        (
            script.replace("dpm.on_move(", "local _ = tostring("),
            "does not know how to take clients in",
        ),
    ] {
        fs::write(family.0.folder.join("start.lua"), changed).unwrap();
        let before = family.0.count("this process serves on");
        let new = family.begin_after_failure();
        family.0.line(why);
        assert_eq!(conn.rows("SELECT 7"), [["7"]]);
        signal(new, "KILL");
        eventually("it serves on", || {
            family.0.count("this process serves on") > before
        });
    }
    fs::write(family.0.folder.join("start.lua"), script).unwrap();
    family.begin_after_failure();
    gone(family.0.pid());
    assert_eq!(conn.rows("SELECT 7"), [["7"]]);
}

/// A program that is handed one connection, and then does nothing, or dies.
const TAKER: &str = r#"#!/usr/bin/env python3
import os, socket, struct, sys, time
line = socket.socket(fileno=os.dup(0))
def say(kind, content=b""):
    line.sendall(struct.pack("<BBI", kind, 0, len(content)) + content)
def hear():
    head, fds, _, _ = socket.recv_fds(line, 6, 4)
    while len(head) < 6:
        head += line.recv(6 - len(head))
    kind, _, length = struct.unpack("<BBI", head)
    content = b""
    while len(content) < length:
        content += line.recv(length - len(content))
    return kind, content
say(1, struct.pack("<BIQ", 2, 8, 1))
while hear()[0] != 4: pass
say(5)
while hear()[0] != 6: pass
say(7, struct.pack("<I", 64))
while hear()[0] != 8: pass
print("TAKER has one", flush=True)
time.sleep(0.5)
END
"#;

#[test]
fn what_was_not_acknowledged_is_the_old_ones() {
    let path = installed();
    let family = Family::start(launch(&movable("")).runs(&path));
    let mut conn = Wire::login(family.0.port(), PLAIN);
    for end in [
        "os._exit(0)",
        "say(99)",
        "say(10, struct.pack('<I', 77)); os.kill(os.getpid(), 9)",
        "line.close()",
    ] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, TAKER.replace("END", end)).unwrap();
        std::process::Command::new("chmod")
            .arg("+x")
            .arg(&path)
            .status()
            .unwrap();
        let (has, serves) = (
            family.0.count("TAKER has one"),
            family.0.count("this process serves on"),
        );
        family.0.signal("USR2");
        eventually("it has the connection", || {
            family.0.count("TAKER has one") > has
        });
        // Sent while nobody has it for sure.
        conn.command(com::QUERY, b"SELECT 7");
        eventually("the old one goes on", || {
            family.0.count("this process serves on") > serves
        });
        assert!(
            matches!(conn.answer(), Answer::Rows { rows, .. } if rows == [[Some(b"7".to_vec())]])
        );
    }
    // Once it is acknowledged the old one does not touch it.
    let mut stays = Wire::login(family.0.port(), PLAIN);
    stays.query("BEGIN");
    fs::write(
        &path,
        TAKER
            .replace("END", "say(9, conn[1][:4]); time.sleep(0.3); os._exit(0)")
            .replace(
                "while hear()[0] != 8: pass",
                "conn = hear()\nwhile conn[0] != 8: conn = hear()",
            ),
    )
    .unwrap();
    family.0.signal("USR2");
    assert!(conn.closed());
    assert_eq!(
        Wire::login(family.0.port(), PLAIN).rows("SELECT 8"),
        [["8"]]
    );
}

/// What the clients under load have seen.
#[derive(Default)]
struct Seen {
    done: AtomicU64,
    committed: AtomicU64,
    failures: Mutex<Vec<String>>,
    latencies: Mutex<Vec<Duration>>,
}

/// Does one thing again and again.
fn work(seen: &Seen, over: &Over, mut once: impl FnMut() -> mysql::Result<()>) {
    let mut latencies = Vec::new();
    while !over.is() {
        let begun = Instant::now();
        if let Err(error) = once() {
            seen.failures.lock().unwrap().push(error.to_string());
            break;
        }
        latencies.push(begun.elapsed());
        seen.done.fetch_add(1, Ordering::Relaxed);
        // 50 clients that ask without a pause are more than this machine has time for.
        let_time_pass(Duration::from_millis(2));
    }
    seen.latencies.lock().unwrap().append(&mut latencies);
}

fn wrong(what: impl std::fmt::Debug) -> mysql::Error {
    mysql::Error::IoError(std::io::Error::other(format!("wrong: {what:?}")))
}

fn client(number: usize, port: u16, seen: &Seen, over: &Over) {
    let mut conn = connect(port);
    match number % 3 {
        0 => work(seen, over, || {
            let mut transaction = conn.start_transaction(TxOpts::default())?;
            transaction.exec_drop("INSERT INTO upgraded.t (client) VALUES (?)", (number,))?;
            transaction.query_drop("INSERT INTO upgraded.t (client) VALUES (0)")?;
            transaction.commit()?;
            seen.committed.fetch_add(2, Ordering::Relaxed);
            Ok(())
        }),
        1 => {
            let statement = conn.prep("SELECT ? + 1, ?").unwrap();
            let mut round = 0_u64;
            work(seen, over, || {
                round += 1;
                let row: Option<(u64, String)> = conn.exec_first(&statement, (round, "kept"))?;
                match row {
                    Some((next, text)) if next == round + 1 && text == "kept" => Ok(()),
                    other => Err(wrong(other)),
                }
            });
        }
        _ => {
            conn.query_drop(format!("SET @mine = {number}")).unwrap();
            work(seen, over, || {
                match conn.query_first::<usize, _>("SELECT @mine")? {
                    Some(mine) if mine == number => Ok(()),
                    other => Err(wrong(other)),
                }
            });
        }
    }
}

#[test]
fn nobody_notices_five_upgrades() {
    let mut direct = connect(mariadb().port);
    direct
        .query_drop("DROP DATABASE IF EXISTS upgraded")
        .unwrap();
    direct.query_drop("CREATE DATABASE upgraded").unwrap();
    direct
        .query_drop("CREATE TABLE upgraded.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, client INT) ENGINE=InnoDB")
        .unwrap();
    let flag = process::folder("flag").join("flag");
    let waits = format!(
        "{} local flag = io.open('{}') if flag then print('waits') while true do end end",
        movable(""),
        flag.display()
    );
    let family = Family::start(launch(&waits).quiet());
    let port = family.0.port();
    let (over, seen) = (Over::default(), Seen::default());
    std::thread::scope(|scope| {
        let _end = over.at_end();
        let (over, seen) = (&over, &seen);
        for number in 0..50 {
            scope.spawn(move || client(number, port, seen, over));
        }
        eventually("they work", || seen.done.load(Ordering::Relaxed) > 1000);
        for round in 1..=5 {
            let old = family.last();
            if round == 3 {
                // One that dies in the middle of its start.
                fs::write(&flag, "").unwrap();
                let new = family.begin_upgrade();
                family.0.line("waits");
                fs::remove_file(&flag).unwrap();
                signal(new, "KILL");
                eventually("the old one serves on", || {
                    family.0.wrote("this process serves on")
                });
                family.begin_upgrade_of(old);
            } else {
                family.upgrade();
            }
            gone(old);
            all_adopted(&family.0, 50 * round);
            let before = seen.done.load(Ordering::Relaxed);
            eventually("they go on", || {
                seen.done.load(Ordering::Relaxed) > before + 500
            });
        }
    });
    let failures = seen.failures.lock().unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    let rows: u64 = direct
        .query_first("SELECT COUNT(*) FROM upgraded.t")
        .unwrap()
        .unwrap();
    assert_eq!(
        rows,
        seen.committed.load(Ordering::Relaxed),
        "no transaction is lost"
    );
    let mut latencies = seen.latencies.lock().unwrap();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "five upgrades under 50 clients: {} done; median {:?}, 99 % {:?}, 99.9 % {:?}, longest {:?}",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// A startfile with a listener of the library's.
fn library(serves: &str) -> String {
    format!(
        "{FUSE}
        local dpml = require('dpml')
        local listener = dpm.listener('127.0.0.1', 0)
        print('port ' .. listener:socket_port())
        local server = {{ host = arg[1], port = tonumber(arg[2]) }}
        {serves}"
    )
}

#[test]
fn clients_of_the_library_go_over_with_their_plug_ins() {
    let plugin = "local seen = {}
        dpml.passthrough_new_clients(listener, {
            new_command = function(_, id) seen[id] = (seen[id] or 0) + 1 print('seen ' .. seen[id]) end,
            save = function(client) return tostring(seen[client:id()] or 0) end,
            restore = function(client, text) seen[client:id()] = tonumber(text) end,
        }, server.host, server.port)";
    let family = Family::start(launch(&library(plugin)));
    let mut conn = Wire::login(family.0.port(), PLAIN);
    for round in 1..=3 {
        assert_eq!(conn.rows("SELECT 7"), [["7"]]);
        family.0.line(&format!("seen {round}"));
        let old = family.last();
        family.upgrade();
        gone(old);
    }
    assert_eq!(conn.rows("SELECT 7"), [["7"]]);
    family.0.line("seen 4");
}

#[test]
fn pooled_clients_go_over_with_their_sessions() {
    let pool = "dpml.pool(listener, { users = { app = { password = 'a' } }, servers = { server },
        backend = { user = 'happy', password = 'wheefun' }, size = 3 })";
    let family = Family::start(launch(&library(pool)));
    let login = || crate::support::connect_as(family.0.port(), "app", "a").unwrap();
    let (mut conn, mut held) = (login(), login());
    conn.query_drop("SET sql_mode = 'ANSI_QUOTES'").unwrap();
    let statement = conn.prep("SELECT ? + 1").unwrap();
    held.query_drop("BEGIN").unwrap();
    held.query_drop("SELECT 1").unwrap();
    let old = family.last();
    family.upgrade();
    let kept = |conn: &mut Conn| {
        let mode: Option<String> = conn.query_first("SELECT @@sql_mode").unwrap();
        assert_eq!(mode.as_deref(), Some("ANSI_QUOTES"));
        assert_eq!(conn.exec_first(&statement, (41,)).unwrap(), Some(42));
    };
    kept(&mut conn);
    held.query_drop("COMMIT").unwrap();
    gone(old);
    held.query_drop("SELECT 1").unwrap();
    let old = family.last();
    family.upgrade();
    gone(old);
    kept(&mut conn);
}
