//! A pool whose clients are spread over several workers: there is one budget, and whoever waits gets what another worker does
//! not use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::pool::value;
use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Greeting, Wire, caps, com};
use crate::support::{Dpm, Over, Server, all, eventually};

/// A pool of this account's.
fn pool(server: &Server, (workers, size): (usize, u32), user: &str, options: &str) -> Dpm {
    server.sql(&format!(
        "DROP USER IF EXISTS {user}@'%'; CREATE USER {user}@'%' IDENTIFIED BY 'b';
         GRANT ALL ON *.* TO {user}@'%'; CREATE USER IF NOT EXISTS monitor@'%' IDENTIFIED BY 'm'"
    ));
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = tonumber(arg[1]) }} }},
           users = {{ ann = {{ password = 'p' }}, bob = {{ password = 'p' }} }}, backend = {{ user = '{user}', password = 'b' }},
           monitor = {{ user = 'monitor', password = 'm' }}, size = {size}, min_idle = 0, {options} }})
         local admin = dpm.listener('127.0.0.1', 0)
         print('admin ' .. admin:socket_port())
         pool:admin(admin, {{ users = {{ ann = {{ password = 'p' }} }} }})
         dpm.on_signal('HUP', function()
           dpml.spawn(function()
             local servers = pool:status('servers', {{ all_workers = true }})
             print(('status: %d of %d'):format(servers[1].connections, servers[1].size))
           end)
         end)"
    ))
    .option(&format!("--workers={workers}"))
    .arg(server.port)
    .start()
}

/// So many clients of each worker, by the worker's number, which is in that of a connection.
fn spread(dpm: &Dpm, workers: usize, each: usize) -> HashMap<u32, Vec<Wire>> {
    let mut clients: HashMap<u32, Vec<Wire>> = HashMap::new();
    for _ in 0..workers * each {
        let mut wire = Wire::connect(dpm.port());
        let greeting = Greeting::parse(&wire.read());
        wire.authenticate(&greeting, "ann", "p", caps::BASE);
        assert_eq!(wire.read()[0], 0);
        let worker = (greeting.thread >> 26) + 1;
        clients.entry(worker).or_default().push(wire);
    }
    assert_eq!(clients.len(), workers, "all workers have some");
    clients
}

/// From now on the server refuses the account more connections, which would be an error in the log. (Not before, as the
/// logins of clients are judged by the server, too, which takes a connection beside the pool's.)
fn limit(server: &Server, user: &str, size: usize) {
    eventually("nothing is open", || connections(server, user) == 0);
    server.sql(&format!(
        "ALTER USER {user}@'%' WITH MAX_USER_CONNECTIONS {size}; FLUSH USER_RESOURCES"
    ));
}

/// Begins a transaction, which keeps the connection.
#[track_caller]
fn hold(wire: &mut Wire) {
    done(wire, "BEGIN");
    done(wire, "SELECT COUNT(*) FROM mysql.plugin");
}

/// How many connections the account has, as the server counts them.
fn connections(server: &Server, user: &str) -> usize {
    let sql = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{user}'");
    server.sql(&sql).trim().parse().unwrap()
}

#[track_caller]
fn done(wire: &mut Wire, sql: &str) {
    let answer = wire.query(sql);
    assert!(!matches!(answer, Answer::Err(..)), "{sql}: {answer:?}");
}

all! {
    /// The idle connection of one worker is closed, and another worker opens one in its place.
    fn who_waits_gets_what_another_worker_does_not_use(server) {
        let user = "one_budget";
        let dpm = pool(server, (3, 1), user, "");
        let mut clients = spread(&dpm, 3, 1);
        limit(server, user, 1);
        let mut asks = |worker: u32| {
            let wire = &mut clients.get_mut(&worker).unwrap()[0];
            value(wire, "SELECT CONNECTION_ID()")
        };
        let first = asks(1);
        assert_eq!(asks(1), first);
        let third = asks(3);
        assert_ne!(third, first);
        assert_eq!(asks(3), third);
        assert_ne!(asks(2), third);
        assert_eq!(connections(server, user), 1);
        assert!(dpm.count("clients of another worker need its place") >= 2);
        dpm.assert_no_errors();
    }
}

all! {
    /// Two connections, four workers, clients of all of them: all are served, and the server never has more than two (it
    /// would refuse them, which would be told).
    fn all_are_served_and_the_budget_is_kept(server) {
        let user = "four_workers";
        let dpm = pool(server, (4, 2), user, "queue_timeout = 30");
        let clients = spread(&dpm, 4, 3);
        limit(server, user, 2);
        let (over, served) = (Over::default(), AtomicUsize::new(0));
        thread::scope(|scope| {
            let _over = over.at_end();
            let all: Vec<_> = clients
                .into_iter()
                .flat_map(|(worker, wires)| wires.into_iter().map(move |wire| (worker, wire)))
                .map(|(worker, mut wire)| {
                    let (over, served) = (&over, &served);
                    scope.spawn(move || {
                        let _over = over.at_end_of_panic();
                        let (mut count, mut longest) = (0, Duration::ZERO);
                        while !over.is() {
                            let asked = Instant::now();
                            assert_eq!(value(&mut wire, "SELECT 7"), "7");
                            longest = longest.max(asked.elapsed());
                            count += 1;
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        (worker, count, longest)
                    })
                })
                .collect();
            eventually("many commands are served", || served.load(Ordering::Relaxed) > 2000);
            over.declare();
            for client in all {
                let (worker, count, longest) = client.join().unwrap();
                assert!(count > 5, "a client of worker {worker} had {count} answers, and waited for {longest:?}");
            }
        });
        assert!(connections(server, user) <= 2);
        assert_eq!(dpm.count("max_user_connections"), 0, "the server has seen more than two");
        dpm.assert_no_errors();
    }
}

all! {
    /// A connection in use is nobody else's; the first that becomes free goes to who has waited for it, in whichever worker.
    fn what_is_held_is_waited_for(server) {
        let user = "held_elsewhere";
        let dpm = pool(server, (2, 1), user, "queue_timeout = 30");
        let mut clients = spread(&dpm, 2, 2);
        limit(server, user, 4);
        let mut second = clients.remove(&2).unwrap();
        let mut first = clients.remove(&1).unwrap();
        hold(&mut first[0]);
        second[0].command(com::QUERY, b"SELECT 'second'");
        dpm.settle();
        assert!(second[0].silent(Duration::from_millis(200)));
        // Another of the same worker comes later: it is not before the one that waits elsewhere.
        first[1].command(com::QUERY, b"SELECT SLEEP(0.2), 'later'");
        dpm.settle();
        done(&mut first[0], "COMMIT");
        assert!(matches!(second[0].answer(), Answer::Rows { .. }));
        assert!(first[1].silent(Duration::from_millis(100)), "it still sleeps, as it was not the first");
        assert!(matches!(first[1].answer(), Answer::Rows { .. }));
        // A client that leaves in a transaction gives its place to the other worker, too.
        hold(&mut first[0]);
        second[1].command(com::QUERY, b"SELECT 'at last'");
        dpm.settle();
        drop(first);
        assert!(matches!(second[1].answer(), Answer::Rows { .. }));
        dpm.assert_no_errors();
    }
}

all! {
    /// Connections that die give their places back to all.
    fn connections_that_die_are_nobodys(server) {
        let user = "dying_elsewhere";
        let dpm = pool(server, (2, 2), user, "");
        let mut clients = spread(&dpm, 2, 2);
        for round in 0..3 {
            for worker in [1, 2] {
                let ids: Vec<_> = clients.get_mut(&worker).unwrap().iter_mut().map(|wire| value(wire, "SELECT CONNECTION_ID()")).collect();
                server.sql(&format!("KILL {}", ids[round % 2]));
                eventually("it is gone", || {
                    let alive = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {}", ids[round % 2]);
                    server.sql(&alive).trim() == "0"
                });
                dpm.settle();
            }
        }
        assert!(connections(server, user) <= 2);
    }
}

all! {
    /// What a user may have, and how many may wait, holds for all workers together.
    fn limits_hold_for_the_program(server) {
        let user = "limited_elsewhere";
        let options = "max_user_connections = { ann = 1 }, max_waiting = 1, queue_timeout = 30";
        let dpm = pool(server, (2, 4), user, options);
        let mut clients = spread(&dpm, 2, 2);
        limit(server, user, 4);
        let mut second = clients.remove(&2).unwrap();
        let mut first = clients.remove(&1).unwrap();
        hold(&mut first[0]);
        second[0].command(com::QUERY, b"SELECT 'ann'");
        dpm.settle();
        assert!(second[0].silent(Duration::from_millis(200)), "ann has one already");
        let answer = first[1].query("SELECT 'one too many'");
        assert!(matches!(answer, Answer::Err(1040, ..)), "one waits already: {answer:?}");
        let mut bob = Wire::login_as(dpm.port(), "bob", "p", caps::BASE);
        assert_eq!(value(&mut bob, "SELECT 'bob'"), "bob");
        done(&mut first[0], "COMMIT");
        assert!(matches!(second[0].answer(), Answer::Rows { .. }));
        dpm.assert_no_errors();
    }
}

all! {
    /// Figures are those of all workers, and what an administrator does holds for all.
    fn one_pool_is_shown_and_paused(server) {
        let user = "shown_together";
        let dpm = pool(server, (2, 4), user, "queue_timeout = 1");
        let mut clients: Vec<_> = spread(&dpm, 2, 2).into_values().flatten().collect();
        for client in &mut clients {
            hold(client);
        }
        let line = dpm.line("admin ");
        let port = line.rsplit(' ').next().unwrap().parse().unwrap();
        let mut admin = Wire::login_as(port, "ann", "p", caps::BASE);
        let counts = "SELECT clients, held, waiting, connections FROM pools";
        assert_eq!(admin.rows(counts), [["4", "4", "0", "4"]]);
        assert_eq!(admin.rows("SELECT connections, busy, size FROM servers"), [["4", "4", "4"]]);
        for worker in [1, 2] {
            let of = format!("SELECT client FROM held WHERE worker = {worker}");
            assert_eq!(admin.rows(&of).len(), 2);
        }
        assert_eq!(admin.rows("SHOW COUNTERS LIKE 'held'")[0][1], "4");
        dpm.signal("HUP");
        eventually("both tell", || dpm.count("status: 4 of 4") == 2);
        // A paused server has no more to do, and nobody waits in vain: the queue's clock stands.
        let name = admin.rows("SELECT server FROM servers")[0][0].clone();
        assert!(matches!(admin.query(&format!("PAUSE SERVER '{name}'")), Answer::Ok(_)));
        assert_eq!(admin.rows("SELECT state FROM servers"), [["paused"]]);
        for client in &mut clients {
            done(client, "COMMIT");
            client.command(com::QUERY, b"SELECT 'later'");
        }
        for client in &mut clients {
            assert!(client.silent(Duration::from_millis(400)));
        }
        assert_eq!(connections(server, user), 4, "they stay open");
        assert!(matches!(admin.query(&format!("RESUME SERVER '{name}'")), Answer::Ok(_)));
        for client in &mut clients {
            assert!(matches!(client.answer(), Answer::Rows { .. }));
        }
        admin.refuses("PAUSE SERVER 'nowhere'", 1477, "nowhere");
        dpm.assert_no_errors();
    }
}
