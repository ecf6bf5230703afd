//! Private clusters of three real servers, as [`Server`] is one: replication with GTIDs, Galera, and Group
//! Replication. What a test does to a cluster (a promotion, a frozen node) is a method here.

mod galera;
mod group;
mod replication;

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::server::{Flavour, Server};

/// How long a cluster may take for what it does by itself: to elect, to notice a death, to join.
const PATIENCE: Duration = Duration::from_secs(60);

/// The kinds of cluster.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// MariaDB 10.11: a primary and two replicas that acknowledge what they have received.
    MariaDb,
    /// The same on MySQL 9.7.
    MySql,
    /// MariaDB 10.11 with Galera: every node can write.
    Galera,
    /// MySQL 9.7 with Group Replication, one primary.
    Group,
}

/// A running cluster. Killed and removed when dropped, or when the test process ends.
pub struct Cluster {
    /// What it is.
    pub kind: Kind,
    /// Its nodes. The first is the primary at the beginning.
    pub nodes: Vec<Server>,
    /// The options that each node was started with.
    options: Vec<Vec<String>>,
}

/// The cluster of a kind that the tests of a process share, for one test at a time and whole; `None` where it is not
/// installed.
pub fn shared(kind: Kind) -> Option<MutexGuard<'static, Cluster>> {
    static SHARED: [OnceLock<Mutex<Cluster>>; 4] = [const { OnceLock::new() }; 4];
    if !kind.available() {
        return None;
    }
    let cluster = SHARED[kind as usize].get_or_init(|| Mutex::new(Cluster::start(kind)));
    // A test that failed leaves a cluster that is repaired.
    let mut cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    cluster.repair();
    Some(cluster)
}

/// The program path of a server: it includes the scripts of this folder.
pub fn path_of_scripts() -> OsString {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/cluster");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&path).chain([folder]);
    std::env::join_paths(all).expect("folders without a colon")
}

/// What every node is started with. A commit is with the system when it is acknowledged, so that it survives the end of
/// the process.
fn common_options(id: usize) -> Vec<String> {
    vec![
        format!("--server-id={}", id + 1),
        "--innodb-flush-log-at-trx-commit=2".to_owned(),
    ]
}

/// Repeats `condition` until it is true. Panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Kind {
    /// Of which servers it consists.
    pub fn flavour(self) -> Flavour {
        match self {
            Kind::MariaDb | Kind::Galera => Flavour::MariaDb,
            Kind::MySql | Kind::Group => Flavour::MySql,
        }
    }

    /// Whether it is installed; if not, counts the calling test as skipped.
    fn available(self) -> bool {
        assert!(
            self != Kind::Galera || Path::new(galera::PROVIDER).exists(),
            "{} is missing: tests/run.sh installs the package galera-4",
            galera::PROVIDER
        );
        self.flavour().available()
    }
}

impl Cluster {
    /// Starts one for one test.
    pub fn start(kind: Kind) -> Cluster {
        match kind {
            Kind::MariaDb | Kind::MySql => replication::start(kind),
            Kind::Galera => galera::start(),
            Kind::Group => group::start(),
        }
    }

    /// One of its nodes.
    pub fn node(&self, index: usize) -> &Server {
        &self.nodes[index]
    }

    /// The ports of its nodes.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// Makes another node the primary: if the old one still answers, it is demoted first and nothing is lost.
    #[track_caller]
    pub fn promote(&self, index: usize) {
        match self.kind {
            Kind::MariaDb | Kind::MySql => replication::promote(self, index),
            Kind::Group => group::promote(self, index),
            Kind::Galera => panic!("every node of Galera's can write"),
        }
    }

    /// Of some replicas, the one that has the most of what the primary wrote.
    #[track_caller]
    pub fn most_advanced(&self, of: &[usize]) -> usize {
        replication::most_advanced(self, of)
    }

    /// Stops a node where it is: it stays connected and is silent.
    pub fn freeze(&self, index: usize) {
        self.nodes[index].signal("STOP");
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self, index: usize) {
        self.nodes[index].signal("CONT");
    }

    /// Kills a node, as a power cut would.
    pub fn kill(&self, index: usize) {
        self.nodes[index].kill();
    }

    /// Starts a killed node again. It becomes a member of the cluster: a replica, if there is a primary.
    #[track_caller]
    pub fn restart(&self, index: usize) {
        let mut options = self.options[index].clone();
        match self.kind {
            Kind::MariaDb | Kind::MySql => {
                options.extend(replication::options_of_restart(self.kind))
            }
            Kind::Galera => options.push(galera::recovered_position(&self.nodes[index], &options)),
            Kind::Group => {}
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.nodes[index].restart(&options);
        match self.kind {
            Kind::MariaDb | Kind::MySql => replication::rejoin(self, index),
            Kind::Galera => galera::wait_until_synced(&self.nodes[index]),
            Kind::Group => group::join(&self.nodes[index]),
        }
    }

    /// A replica applies nothing any more.
    #[track_caller]
    pub fn lag(&self, index: usize) {
        replication::apply(&self.nodes[index], false);
    }

    /// A replica applies again what it gets.
    #[track_caller]
    pub fn catch_up(&self, index: usize) {
        replication::apply(&self.nodes[index], true);
    }

    /// Cuts a node of Galera's off from the others, without disturbing its clients.
    #[track_caller]
    pub fn isolate(&self, index: usize) {
        galera::isolate(&self.nodes[index], true);
    }

    /// Ends that.
    #[track_caller]
    pub fn rejoin(&self, index: usize) {
        galera::isolate(&self.nodes[index], false);
        galera::wait_until_synced(&self.nodes[index]);
    }

    /// Makes the cluster as it was at the beginning, whatever a test has left: by the gentlest of means if the nodes
    /// are alive, otherwise by starting a new one.
    fn repair(&mut self) {
        for index in 0..self.nodes.len() {
            self.thaw(index);
        }
        let is_whole = match self.kind {
            Kind::MariaDb | Kind::MySql => replication::is_whole(self),
            Kind::Galera => self.nodes.iter().all(galera::is_synced),
            Kind::Group => group::is_whole(self),
        };
        if !is_whole {
            self.nodes.clear();
            *self = Cluster::start(self.kind);
        }
    }
}
