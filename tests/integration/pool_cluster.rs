//! The topology that a pool finds out, against real clusters: who is the primary, who can be used, how late replicas are.

use crate::pool_topology::Watcher;
use crate::support::cluster::{self, Kind};

/// The names of the servers.
const NAMES: [&str; 3] = ["a", "b", "c"];

fn replication(kind: Kind) {
    let Some(cluster) = cluster::shared(kind) else {
        return;
    };
    let mut watcher = Watcher::new(&cluster);
    watcher.until(&[("a", "primary"), ("b", "replica"), ("c", "replica")]);
    // A planned change.
    cluster.promote(1);
    watcher.until(&[("b", "primary"), ("a", "replica"), ("c", "replica")]);
    // A death, and what follows it.
    cluster.kill(1);
    watcher.until(&[("b", "Can't connect"), ("a", "replica"), ("c", "replica")]);
    let heir = cluster.most_advanced(&[0, 2]);
    cluster.promote(heir);
    watcher.until(&[(NAMES[heir], "primary"), (NAMES[2 - heir], "replica")]);
    cluster.restart(1);
    watcher.until(&[("b", "replica"), (NAMES[heir], "primary")]);
    // A replica that applies nothing gets later and later.
    cluster.lag(1);
    cluster::until("b is late", || watcher.lag("b") >= 2.0);
    assert_eq!(watcher.shown("b"), "replica");
    cluster.catch_up(1);
    cluster::until("b has caught up", || watcher.lag("b") < 1.0);
    // Two primaries: the one that hung, while another was promoted, and the other, which the third follows.
    cluster.freeze(heir);
    watcher.until(&[(NAMES[heir], "it has not answered within")]);
    cluster.promote(1);
    watcher.until(&[("b", "primary")]);
    cluster.thaw(heir);
    watcher.until(&[
        (NAMES[heir], "it accepts writes, but another"),
        ("b", "primary"),
    ]);
    cluster.promote(0);
    watcher.until(&[("a", "primary"), ("b", "replica"), ("c", "replica")]);
}

#[test]
fn replication_is_followed_on_mariadb() {
    replication(Kind::MariaDb);
}

#[test]
fn replication_is_followed_on_mysql() {
    replication(Kind::MySql);
}

#[test]
fn one_node_of_galera_gets_the_writes() {
    let Some(cluster) = cluster::shared(Kind::Galera) else {
        return;
    };
    let mut watcher = Watcher::new(&cluster);
    cluster::until("there is one primary", || {
        let roles = NAMES.map(|name| watcher.shown(name));
        let count = |role| roles.iter().filter(|each| *each == role).count();
        count("primary") == 1 && count("replica") == 2
    });
    let first = NAMES
        .iter()
        .position(|name| watcher.shown(name) == "primary");
    let first = first.expect("a primary");
    // It answers, but its part of the cluster is the smaller one.
    cluster.isolate(first);
    watcher.until(&[(NAMES[first], "Galera: ")]);
    let second = (0..3).find(|node| watcher.shown(NAMES[*node]) == "primary");
    let second = second.expect("another primary");
    cluster.rejoin(first);
    watcher.until(&[(NAMES[first], "replica"), (NAMES[second], "primary")]);
    cluster.kill(second);
    watcher.until(&[(NAMES[second], "Can't connect")]);
    cluster::until("a third primary", || {
        NAMES.iter().any(|name| watcher.shown(name) == "primary")
    });
    cluster.restart(second);
    watcher.until(&[(NAMES[second], "replica")]);
}

#[test]
fn a_group_elects_its_primary() {
    let Some(cluster) = cluster::shared(Kind::Group) else {
        return;
    };
    let mut watcher = Watcher::new(&cluster);
    watcher.until(&[("a", "primary"), ("b", "replica"), ("c", "replica")]);
    cluster.promote(1);
    watcher.until(&[("b", "primary"), ("a", "replica"), ("c", "replica")]);
    cluster.kill(1);
    watcher.until(&[("b", "Can't connect")]);
    cluster::until("another primary", || {
        ["a", "c"]
            .iter()
            .any(|name| watcher.shown(name) == "primary")
    });
    // The last one alone is not a majority.
    cluster.freeze(2);
    watcher.until(&[("a", "Group Replication: ")]);
    cluster.thaw(2);
}
