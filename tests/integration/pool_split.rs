//! Reads on replicas: which go there, what they see, and what a late replica does to them.

use mysql::Conn;
use mysql::prelude::Queryable as _;

use crate::pool_failover::{pool, prepare, writer};
use crate::support::cluster::{self, Cluster, Kind};
use crate::support::dpm::Dpm;
use crate::support::eventually;

/// The number of a node's port, as it tells it itself.
fn port(conn: &mut Conn, sql: &str) -> u16 {
    let row: Option<(u16, Option<i64>)> = conn.query_first(sql).expect("an answer");
    row.expect("a row").0
}

const READ: &str = "SELECT @@port, MAX(number) FROM test.written";

/// A client whose reads go to replicas: these are known, and what the pool has read of the server's catalogue.
#[track_caller]
fn reader(dpm: &Dpm, cluster: &Cluster) -> Conn {
    let mut conn = writer(dpm.port());
    eventually("reads go to a replica", || {
        let on_replica = port(&mut conn, READ) != cluster.node(0).port;
        if !on_replica {
            conn = writer(dpm.port());
        }
        on_replica
    });
    conn
}

fn reads_go_to_replicas(kind: Kind) {
    let Some(cluster) = cluster::shared(kind) else {
        return;
    };
    prepare(&cluster);
    let primary = cluster.node(0).port;
    let dpm = pool(&cluster, "split = true");
    let mut conn = reader(&dpm, &cluster);
    for (sql, to_primary) in [
        (READ, false),
        (
            "SELECT @@port, number FROM test.written UNION SELECT @@port, 1",
            false,
        ),
        (
            "SELECT @@port, MAX(number) FROM test.written FOR UPDATE",
            true,
        ),
        (
            "/* dpm:primary */ SELECT @@port, MAX(number) FROM test.written",
            true,
        ),
        ("/* dpm:replica */ SELECT @@port, 1", false),
    ] {
        assert_eq!(port(&mut conn, sql) == primary, to_primary, "{sql}");
    }
    let named = format!(
        "/* dpm:server=127.0.0.1:{} */ SELECT @@port, 1",
        cluster.node(2).port
    );
    assert_eq!(port(&mut conn, &named), cluster.node(2).port);
    // A write, and what belongs to the statement before, is where that was.
    conn.query_drop("INSERT INTO test.written VALUES (1, 1)")
        .expect("a write");
    assert_eq!(port(&mut conn, "SELECT @@port, ROW_COUNT()"), primary);
    // Within a transaction all is on the primary, also if there is one because of autocommit.
    conn.query_drop("BEGIN").expect("an OK");
    assert_eq!(port(&mut conn, READ), primary);
    conn.query_drop("COMMIT").expect("an OK");
    assert_ne!(port(&mut conn, READ), primary);
    conn.query_drop("SET autocommit = 0").expect("an OK");
    assert_eq!(port(&mut conn, READ), primary);
    conn.query_drop("ROLLBACK").expect("an OK");
    conn.query_drop("SET autocommit = 1").expect("an OK");
    // The session goes with the client.
    conn.query_drop("SET time_zone = '+07:00'").expect("an OK");
    let zone = "/* dpm:replica */ SELECT @@port, @@time_zone = '+07:00'";
    let there: Option<(u16, bool)> = conn.query_first(zone).expect("an answer");
    assert!(there.is_some_and(|(port, is_set)| port != primary && is_set));
}

/// A client reads what it has written, and what others of its party have, at once.
fn reads_see_writes(kind: Kind, consistency: &str) {
    let Some(cluster) = cluster::shared(kind) else {
        return;
    };
    prepare(&cluster);
    let primary = cluster.node(0).port;
    // With a tag of a script's: that of the reader is the writer's.
    let policy = match consistency {
        "tag" => "tag = function(client, user) return user .. 's' end".to_string(),
        consistency => format!("consistency = '{consistency}'"),
    };
    let more = format!("split = true, consistency_timeout = 10, {policy}");
    let dpm = pool(&cluster, &more);
    let (mut conn, mut other) = (reader(&dpm, &cluster), reader(&dpm, &cluster));
    let mut on_replicas = 0;
    for number in 1..=50 {
        conn.query_drop(format!("INSERT INTO test.written VALUES (1, {number})"))
            .expect("a write");
        let reader = match consistency {
            "user" | "tag" => &mut other,
            _ => &mut conn,
        };
        let read: Option<(u16, Option<i64>)> = reader.query_first(READ).expect("an answer");
        let (port, seen) = read.expect("a row");
        assert_eq!(seen, Some(number), "on {port}");
        on_replicas += u32::from(port != primary);
    }
    // Galera's nodes cannot wait for each other's GTIDs.
    let least = if kind == Kind::Galera { 0 } else { 41 };
    assert!(
        on_replicas >= least,
        "only {on_replicas} of 50 reads went to replicas"
    );
}

fn late_replicas_are_not_waited_for_too_long(kind: Kind) {
    let Some(cluster) = cluster::shared(kind) else {
        return;
    };
    prepare(&cluster);
    let primary = cluster.node(0).port;
    let dpm = pool(
        &cluster,
        "split = true, consistency = 'session', consistency_timeout = 0.2, lag_limit = 1000",
    );
    let mut conn = reader(&dpm, &cluster);
    for replica in [1, 2] {
        cluster.lag(replica);
    }
    conn.query_drop("INSERT INTO test.written VALUES (1, 1)")
        .expect("a write");
    assert_eq!(port(&mut conn, READ), primary);
    for replica in [1, 2] {
        cluster.catch_up(replica);
    }
    eventually("a replica has it", || port(&mut conn, READ) != primary);
}

#[test]
fn reads_go_to_replicas_on_mariadb() {
    reads_go_to_replicas(Kind::MariaDb);
}

#[test]
fn reads_go_to_replicas_on_mysql() {
    reads_go_to_replicas(Kind::MySql);
}

#[test]
fn reads_see_the_clients_writes_on_mariadb() {
    reads_see_writes(Kind::MariaDb, "session");
}

#[test]
fn reads_see_the_clients_writes_on_mysql() {
    reads_see_writes(Kind::MySql, "session");
}

#[test]
fn reads_see_the_users_writes_on_mysql() {
    reads_see_writes(Kind::MySql, "user");
}

#[test]
fn reads_see_the_tags_writes_on_mariadb() {
    reads_see_writes(Kind::MariaDb, "tag");
}

#[test]
fn reads_see_the_tags_writes_on_mysql() {
    reads_see_writes(Kind::MySql, "tag");
}

#[test]
fn reads_see_the_clients_writes_on_galera() {
    reads_see_writes(Kind::Galera, "session");
}

#[test]
fn late_replicas_are_not_waited_for_too_long_on_mariadb() {
    late_replicas_are_not_waited_for_too_long(Kind::MariaDb);
}

#[test]
fn late_replicas_are_not_waited_for_too_long_on_mysql() {
    late_replicas_are_not_waited_for_too_long(Kind::MySql);
}
