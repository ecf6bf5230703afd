//! Clients that write through a pool while their cluster fails over: what was acknowledged is there, nobody gets more
//! than one error, and that one says what is known.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use mysql::{Conn, Error};

use crate::support::cluster::{self, Cluster, Kind};
use crate::support::dpm::{Dpm, Launch};
use crate::support::{Over, options};

/// How many clients write at a time while a primary changes, and while it dies.
const CLIENTS: usize = 20;
const MANY_CLIENTS: usize = 200;

/// How many connections a pool has to a server: as many commands may be executed when it dies, and no others have an
/// unknown outcome.
const SIZE: usize = 8;

/// The account of the writers, which cannot write where it should not.
const WRITER: &str = "writer";
const SECRET: &str = "quillwort";

/// A pool before a cluster, with more options in Lua. A client that comes before the catalogue was read keeps no
/// connection for that: who keeps one loses it with the server, which is not what these tests are about.
pub fn pool(cluster: &Cluster, more: &str) -> Dpm {
    let servers: Vec<_> = cluster
        .ports()
        .iter()
        .map(|port| format!("{{ '127.0.0.1', {port} }}"))
        .collect();
    Launch::script(&format!(
        "local listener = dpm.listener('127.0.0.1', 0)
         pool = require('dpml.pool').pool(listener, {{
             servers = {{ {} }}, users = {{ {WRITER} = {{ password = '{SECRET}' }} }},
             size = {SIZE}, failover_timeout = 60, hold_opaque = false, {more}
         }})
         print('port ' .. listener:socket_port())",
        servers.join(", ")
    ))
    .start()
}

/// The table that is written to, and the account that writes.
pub fn prepare(cluster: &Cluster) {
    let identified = match cluster.kind.flavour().is_mariadb() {
        true => format!("IDENTIFIED BY '{SECRET}'"),
        false => format!("IDENTIFIED WITH caching_sha2_password BY '{SECRET}'"),
    };
    // All but what lets it write where nobody else can.
    let less = match cluster.kind.flavour().is_mariadb() {
        true => "REVOKE SUPER, READ_ONLY ADMIN",
        false => "REVOKE SUPER",
    };
    cluster.node(0).sql(&format!(
        "CREATE USER IF NOT EXISTS {WRITER} {identified}; \
         GRANT ALL ON *.* TO {WRITER}; {less} ON *.* FROM {WRITER}; \
         DROP TABLE IF EXISTS test.written; \
         CREATE TABLE test.written (client INT, number INT, PRIMARY KEY (client, number))"
    ));
}

/// A client with that account.
pub fn writer(port: u16) -> Conn {
    let options = options(port).user(Some(WRITER)).pass(Some(SECRET));
    Conn::new(options.read_timeout(Some(Duration::from_secs(90)))).expect("a login")
}

/// What one client has seen.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<u32>,
    errors: Vec<String>,
    /// The longest time between two answers.
    gap: Duration,
}

/// Lets clients write one row after the other, until what `meanwhile` does is over and all go on.
fn write_while(port: u16, clients: usize, meanwhile: impl FnOnce()) -> Vec<Seen> {
    let over = Over::default();
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let _over = over.at_end();
        for client in 0..clients {
            let (over, all) = (&over, &all);
            scope.spawn(move || {
                let mut conn = writer(port);
                let mut seen = Seen::default();
                let mut last = Instant::now();
                for number in 0.. {
                    if over.is() {
                        break;
                    }
                    let insert = format!("INSERT INTO test.written VALUES ({client}, {number})");
                    match conn.query_drop(insert) {
                        Ok(()) => seen.acknowledged.push(number),
                        Err(Error::MySqlError(err)) => seen.errors.push(err.to_string()),
                        Err(other) => {
                            seen.errors.push(other.to_string());
                            conn = writer(port);
                        }
                    }
                    seen.gap = seen.gap.max(last.elapsed());
                    last = Instant::now();
                }
                all.lock().expect("no panic").push((client, seen));
            });
        }
        meanwhile();
    });
    let mut all = all.into_inner().expect("no panic");
    all.sort_by_key(|(client, _)| *client);
    all.into_iter().map(|(_, seen)| seen).collect()
}

/// Waits until clients have written this many rows more, on any node that answers.
#[track_caller]
fn rows_are_added(cluster: &Cluster, node: usize, more: usize) {
    let count = || {
        let count = cluster
            .node(node)
            .try_sql("SELECT COUNT(*) FROM test.written");
        count
            .ok()
            .and_then(|count| count.trim().parse::<usize>().ok())
    };
    let mut before = None;
    // A cluster on a busy machine may need half a minute before it has another primary.
    cluster::until("clients write", || {
        let now = count();
        before = before.or(now);
        now.zip(before)
            .is_some_and(|(now, before)| now >= before + more)
    });
}

/// That all that was acknowledged is there, and that no client had more than one error, which begins so.
#[track_caller]
fn check(cluster: &Cluster, node: usize, seen: &[Seen], error: Option<&str>) {
    let there = cluster
        .node(node)
        .sql("SELECT client, number FROM test.written");
    let there: HashSet<&str> = there.lines().collect();
    let mut lost = Vec::new();
    for (client, seen) in seen.iter().enumerate() {
        let acknowledged = seen.acknowledged.iter();
        let rows = acknowledged.map(|number| format!("{client}\t{number}"));
        lost.extend(rows.filter(|row| !there.contains(&**row)));
        assert!(
            seen.errors.len() <= usize::from(error.is_some()),
            "client {client}: {:?}",
            seen.errors
        );
        for each in &seen.errors {
            assert!(
                each.contains(error.unwrap_or_default()),
                "client {client}: {each}"
            );
        }
        assert!(
            !seen.acknowledged.is_empty(),
            "client {client} has written nothing"
        );
    }
    assert!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
    let gap = seen.iter().map(|seen| seen.gap).max().unwrap_or_default();
    let errors: usize = seen.iter().map(|seen| seen.errors.len()).sum();
    assert!(
        errors <= SIZE,
        "{errors} errors, of {SIZE} commands that were executed"
    );
    println!(
        "{:?}, {} clients: {errors} errors, {gap:?} without service",
        cluster.kind,
        seen.len()
    );
}

fn a_planned_change_is_not_noticed(kind: Kind) {
    let Some(cluster) = cluster::shared(kind) else {
        return;
    };
    prepare(&cluster);
    let dpm = pool(&cluster, "");
    let seen = write_while(dpm.port(), CLIENTS, || {
        rows_are_added(&cluster, 0, 50);
        cluster.promote(1);
        rows_are_added(&cluster, 1, 200);
        cluster.promote(0);
        rows_are_added(&cluster, 0, 200);
    });
    check(&cluster, 0, &seen, None);
}

fn a_death_costs_one_error_at_most(kind: Kind) {
    let Some(cluster) = cluster::shared(kind) else {
        return;
    };
    prepare(&cluster);
    let dpm = pool(&cluster, "");
    let mut heir = 1;
    let seen = write_while(dpm.port(), MANY_CLIENTS, || {
        rows_are_added(&cluster, 0, 2 * MANY_CLIENTS);
        cluster.kill(0);
        if kind != Kind::Galera && kind != Kind::Group {
            heir = cluster.most_advanced(&[1, 2]);
            cluster.promote(heir);
        }
        rows_are_added(&cluster, heir, 4 * MANY_CLIENTS);
    });
    check(&cluster, heir, &seen, Some("outcome-unknown: "));
}

#[test]
fn a_planned_change_is_not_noticed_on_mariadb() {
    a_planned_change_is_not_noticed(Kind::MariaDb);
}

#[test]
fn a_planned_change_is_not_noticed_on_mysql() {
    a_planned_change_is_not_noticed(Kind::MySql);
}

#[test]
fn a_death_costs_one_error_at_most_on_mariadb() {
    a_death_costs_one_error_at_most(Kind::MariaDb);
}

#[test]
fn a_death_costs_one_error_at_most_on_mysql() {
    a_death_costs_one_error_at_most(Kind::MySql);
}

#[test]
fn a_death_costs_one_error_at_most_on_galera() {
    a_death_costs_one_error_at_most(Kind::Galera);
}

#[test]
fn a_death_costs_one_error_at_most_in_a_group() {
    a_death_costs_one_error_at_most(Kind::Group);
}
