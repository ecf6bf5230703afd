//! Galera: three nodes, each of which can write.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Cluster, Flavour, Kind, Server, common_options, until};
use crate::support::process;

/// Where Debian's package galera-4 has it.
pub const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";

/// The ports of one node besides that for clients.
struct Ports {
    group: u16,
    transfer: u16,
}

fn options(id: usize, ports: &[Ports]) -> Vec<String> {
    let (group, transfer) = (ports[id].group, ports[id].transfer);
    let members = ports
        .iter()
        .map(|ports| format!("127.0.0.1:{}", ports.group));
    let members: Vec<_> = members.collect();
    let settings = [
        format!("gmcast.listen_addr=tcp://127.0.0.1:{group}"),
        format!("ist.recv_addr=127.0.0.1:{transfer}"),
        "gcache.size=32M".to_owned(),
        // A node that is silent is given up after two seconds instead of five.
        "evs.suspect_timeout=PT2S".to_owned(),
        "evs.inactive_timeout=PT6S".to_owned(),
        "evs.keepalive_period=PT0.5S".to_owned(),
        "evs.inactive_check_period=PT0.25S".to_owned(),
        "pc.wait_prim_timeout=PT60S".to_owned(),
    ];
    let own = [
        "--binlog-format=ROW".to_owned(),
        "--log-slave-updates=ON".to_owned(),
        "--innodb-autoinc-lock-mode=2".to_owned(),
        "--wsrep-on=ON".to_owned(),
        format!("--wsrep-provider={PROVIDER}"),
        "--wsrep-cluster-name=dpm".to_owned(),
        format!("--wsrep-cluster-address=gcomm://{}", members.join(",")),
        format!("--wsrep-node-address=127.0.0.1:{group}"),
        format!("--wsrep-node-name=node{id}"),
        "--wsrep-sst-method=handover".to_owned(),
        format!("--wsrep-provider-options={}", settings.join(";")),
    ];
    common_options(id).into_iter().chain(own).collect()
}

/// A data folder with the tests' accounts and a position in the history of a cluster: nodes that begin with copies of
/// it need no copy of each other's data.
fn template() -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let flavour = Flavour::MariaDb;
    let plain = flavour.template();
    let mut name = plain.file_name().expect("a name").to_owned();
    name.push("-galera");
    let template = plain.with_file_name(name);
    if template.exists() {
        return template;
    }
    let mut options = options(0, &[Ports::free()]);
    options.push("--wsrep-new-cluster".to_owned());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::start_on(flavour, &plain, "", &options);
    until("the first node is ready", || is_synced(&server));
    server.sql(&flavour.accounts());
    server.signal("TERM");
    server.wait_for_end();
    let fresh = template.with_extension(std::process::id().to_string());
    let done = process::run(
        {
            let mut copy = process::command("cp");
            copy.args(["-a", "--sparse=always"])
                .arg(server.folder().join("data"));
            copy.arg(&fresh);
            copy
        },
        Vec::new(),
        Duration::from_secs(60),
    );
    assert_eq!(done.code, 0, "{}", done.err());
    // Another process may have been faster; then its template is used.
    if std::fs::rename(&fresh, &template).is_err() {
        let _ = std::fs::remove_dir_all(&fresh);
    }
    template
}

impl Ports {
    fn free() -> Ports {
        Ports {
            group: process::free_port(),
            transfer: process::free_port(),
        }
    }
}

pub fn start() -> Cluster {
    let template = template();
    let ports: Vec<Ports> = (0..3).map(|_| Ports::free()).collect();
    let options: Vec<_> = (0..3).map(|id| options(id, &ports)).collect();
    let start = |id: usize| {
        let first: &[&str] = if id == 0 {
            &["--wsrep-new-cluster"]
        } else {
            &[]
        };
        let options = options[id].iter().map(String::as_str);
        let options: Vec<&str> = options.chain(first.iter().copied()).collect();
        let node = Server::start_on(Flavour::MariaDb, &template, "", &options);
        // One after the other: nodes that join at the same time disturb each other for longer.
        wait_until_synced(&node);
        node
    };
    Cluster {
        kind: Kind::Galera,
        nodes: (0..3).map(start).collect(),
        options,
    }
}

pub fn is_synced(node: &Server) -> bool {
    let status = node.try_sql(
        "SELECT variable_value FROM information_schema.global_status WHERE variable_name IN \
         ('wsrep_ready', 'wsrep_local_state_comment', 'wsrep_cluster_status') ORDER BY variable_name",
    );
    status.is_ok_and(|status| status.lines().eq(["Primary", "Synced", "ON"]))
}

pub fn wait_until_synced(node: &Server) {
    until("the node is a member", || is_synced(node));
}

pub fn isolate(node: &Server, wanted: bool) {
    let isolated = u8::from(wanted);
    node.sql(&format!(
        "SET GLOBAL wsrep_provider_options = 'gmcast.isolate={isolated}'"
    ));
}

/// The option that tells a node that was killed where it was in the history, which it finds in its data.
pub fn recovered_position(node: &Server, options: &[String]) -> String {
    let options = options.iter().map(String::as_str);
    let options: Vec<&str> = options.chain(["--wsrep-recover"]).collect();
    let log = node.recover(&options);
    let mut position = log
        .lines()
        .filter_map(|line| line.split_once("Recovered position: "));
    let (_, position) = position
        .next_back()
        .unwrap_or_else(|| panic!("no position: {log}"));
    format!("--wsrep-start-position={}", position.trim())
}
