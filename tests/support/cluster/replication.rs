//! A primary and two replicas: GTIDs, row format, and semi-synchronous, so that a write that was acknowledged is on
//! a replica.

use super::{Cluster, Flavour, Kind, Server, common_options, until};
use crate::support::{PASSWORD, USER};

/// How long a primary waits for a replica's acknowledgement before it goes on without, in milliseconds: longer than
/// any test lets it.
const ACKNOWLEDGEMENT: u32 = 600_000;

fn options(kind: Kind, id: usize) -> Vec<String> {
    let common = [
        "--binlog-format=ROW".to_owned(),
        "--log-slave-updates=ON".to_owned(),
        "--relay-log=relay".to_owned(),
        "--report-host=127.0.0.1".to_owned(),
        // A replica notices within this time that its source is silent.
        "--slave-net-timeout=2".to_owned(),
    ];
    let own = match kind.flavour() {
        Flavour::MySql => vec![
            "--gtid-mode=ON".to_owned(),
            "--enforce-gtid-consistency=ON".to_owned(),
            "--plugin-load-add=semisync_source.so;semisync_replica.so".to_owned(),
            format!("--loose-rpl-semi-sync-source-timeout={ACKNOWLEDGEMENT}"),
        ],
        Flavour::MariaDb | Flavour::MariaDb11 => vec![
            "--gtid-strict-mode=ON".to_owned(),
            format!("--rpl-semi-sync-master-timeout={ACKNOWLEDGEMENT}"),
            "--rpl-semi-sync-master-wait-point=AFTER_SYNC".to_owned(),
        ],
    };
    common_options(id)
        .into_iter()
        .chain(common)
        .chain(own)
        .collect()
}

pub fn start(kind: Kind) -> Cluster {
    let options: Vec<_> = (0..3).map(|id| options(kind, id)).collect();
    let flavour = kind.flavour();
    let nodes = std::thread::scope(|scope| {
        let starting: Vec<_> = options
            .iter()
            .map(|options| {
                scope.spawn(move || {
                    let options: Vec<_> = options.iter().map(String::as_str).collect();
                    let node = Server::start_own(flavour, &options);
                    // All begin with the same data and an empty history. At later starts no statement may be run.
                    node.wait_for_socket();
                    node.sql(words(flavour).forget);
                    std::fs::write(node.folder().join("init.sql"), "").expect("a file");
                    node
                })
            })
            .collect();
        let started = starting.into_iter().map(|node| node.join());
        started.collect::<Result<Vec<_>, _>>().expect("they start")
    });
    follow(&nodes[1], nodes[0].port);
    follow(&nodes[2], nodes[0].port);
    lead(&nodes[0]);
    let cluster = Cluster {
        kind,
        nodes,
        options,
    };
    until("the replicas replicate", || is_whole(&cluster));
    cluster
}

/// The statements of each kind of server.
struct Words {
    forget: &'static str,
    lead: &'static str,
    demote: &'static str,
    follow: &'static str,
    start: &'static str,
    stop_applying: &'static str,
    start_applying: &'static str,
    status: &'static str,
    history: &'static str,
    has_reached: &'static str,
}

fn words(flavour: Flavour) -> Words {
    match flavour {
        Flavour::MySql => Words {
            forget: "RESET BINARY LOGS AND GTIDS",
            lead: "STOP REPLICA; RESET REPLICA ALL; SET GLOBAL rpl_semi_sync_replica_enabled = OFF; \
                   SET GLOBAL rpl_semi_sync_source_enabled = ON; SET GLOBAL super_read_only = OFF; \
                   SET GLOBAL read_only = OFF",
            demote: "SET GLOBAL super_read_only = ON",
            follow: "SET GLOBAL super_read_only = ON; STOP REPLICA; \
                     SET GLOBAL rpl_semi_sync_source_enabled = OFF; SET GLOBAL rpl_semi_sync_replica_enabled = ON; \
                     CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, \
                     SOURCE_USER = '{user}', SOURCE_PASSWORD = '{password}', SOURCE_AUTO_POSITION = 1, \
                     SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, \
                     SOURCE_RETRY_COUNT = 100000, SOURCE_HEARTBEAT_PERIOD = 0.5",
            start: "START REPLICA",
            stop_applying: "STOP REPLICA SQL_THREAD",
            start_applying: "START REPLICA",
            status: "SHOW REPLICA STATUS",
            history: "SELECT @@GLOBAL.gtid_executed",
            has_reached: "SELECT GTID_SUBSET('{position}', @@GLOBAL.gtid_executed)",
        },
        Flavour::MariaDb | Flavour::MariaDb11 => Words {
            forget: "RESET MASTER; SET GLOBAL gtid_slave_pos = ''",
            lead: "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL rpl_semi_sync_slave_enabled = OFF; \
                   SET GLOBAL rpl_semi_sync_master_enabled = ON; SET GLOBAL read_only = OFF",
            demote: "SET GLOBAL read_only = ON",
            // Its own writes count, too, if it was a primary.
            follow: "SET GLOBAL read_only = ON; STOP SLAVE; SET GLOBAL rpl_semi_sync_master_enabled = OFF; \
                     SET GLOBAL rpl_semi_sync_slave_enabled = ON; \
                     SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos; \
                     CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = '{user}', \
                     MASTER_PASSWORD = '{password}', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, \
                     MASTER_HEARTBEAT_PERIOD = 0.5",
            start: "START SLAVE",
            stop_applying: "STOP SLAVE SQL_THREAD",
            start_applying: "START SLAVE",
            status: "SHOW SLAVE STATUS",
            history: "SELECT @@GLOBAL.gtid_current_pos",
            has_reached: "SELECT MASTER_GTID_WAIT('{position}', 0) = 0",
        },
    }
}

fn lead(node: &Server) {
    node.sql(words(node.flavour).lead);
}

/// Makes a node a replica of the one at this port.
fn follow(node: &Server, port: u16) {
    let words = words(node.flavour);
    let follow = words.follow.replace("{port}", &port.to_string());
    let follow = follow.replace("{user}", USER);
    node.sql(&follow.replace("{password}", PASSWORD));
    node.sql(words.start);
}

/// What a replica replicates from, if it does, and applies what it gets.
fn source(node: &Server) -> Option<u16> {
    let status = node.try_sql(words(node.flavour).status).ok()?;
    let columns: Vec<&str> = status.split('\t').collect();
    match columns.get(10..12)? {
        ["Yes", "Yes"] => columns.get(3)?.parse().ok(),
        _ => None,
    }
}

fn is_read_only(node: &Server) -> Option<bool> {
    let answer = node.try_sql("SELECT @@GLOBAL.read_only").ok()?;
    Some(answer.trim() == "1")
}

fn position(node: &Server) -> String {
    let position = node.sql(words(node.flavour).history);
    position.replace("\\n", "").split_whitespace().collect()
}

/// Whether a node that does not lead has everything up to this position.
fn has_reached(node: &Server, position: &str) -> bool {
    let question = words(node.flavour).has_reached;
    node.sql(&question.replace("{position}", position)).trim() == "1"
}

/// Whether the first node leads, and the others follow it.
pub fn is_whole(cluster: &Cluster) -> bool {
    let (first, others) = cluster.nodes.split_first().expect("three nodes");
    is_read_only(first) == Some(false)
        && first
            .try_sql(words(first.flavour).status)
            .is_ok_and(|status| status.is_empty())
        && others
            .iter()
            .all(|node| is_read_only(node) == Some(true) && source(node) == Some(first.port))
}

/// The node that has the most of the primary's writes, of some that follow it.
pub fn most_advanced(cluster: &Cluster, of: &[usize]) -> usize {
    let reached = |index: usize, by: usize| {
        let position = position(&cluster.nodes[index]);
        has_reached(&cluster.nodes[by], &position)
    };
    let best = of
        .iter()
        .copied()
        .reduce(|best, other| match reached(other, best) {
            true => best,
            false => other,
        });
    best.expect("at least one node")
}

pub fn promote(cluster: &Cluster, index: usize) {
    let new = &cluster.nodes[index];
    let others = || (0..cluster.nodes.len()).filter(move |other| *other != index);
    let alive: Vec<usize> = others()
        .filter(|other| cluster.nodes[*other].answers())
        .collect();
    for other in &alive {
        let node = &cluster.nodes[*other];
        if is_read_only(node) == Some(false) {
            node.sql(words(node.flavour).demote);
            let position = position(node);
            until("the replica has everything", || has_reached(new, &position));
        }
    }
    lead(new);
    for other in alive {
        follow(&cluster.nodes[other], new.port);
    }
}

/// A node begins as a replica, whatever it was: what no replica had acknowledged is not kept, on MariaDB.
pub fn options_of_restart(kind: Kind) -> Vec<String> {
    let of_kind = match kind.flavour() {
        Flavour::MySql => "--super-read-only=ON",
        Flavour::MariaDb | Flavour::MariaDb11 => "--rpl-semi-sync-slave-enabled=ON",
    };
    vec!["--read-only=ON".to_owned(), of_kind.to_owned()]
}

/// Makes a node that was started again follow the primary; if there is none it leads again.
pub fn rejoin(cluster: &Cluster, index: usize) {
    let others = cluster.nodes.iter().enumerate();
    let mut others = others.filter(|(other, node)| *other != index && node.answers());
    match others.find(|(_, node)| is_read_only(node) == Some(false)) {
        Some((_, primary)) => follow(&cluster.nodes[index], primary.port),
        None => lead(&cluster.nodes[index]),
    }
}

/// Starts or stops a replica's thread that applies what the other thread has got.
pub fn apply(node: &Server, wanted: bool) {
    let words = words(node.flavour);
    node.sql(match wanted {
        true => words.start_applying,
        false => words.stop_applying,
    });
}
