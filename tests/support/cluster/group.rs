//! Group Replication: three members, one of which is the primary.

use super::{Cluster, Flavour, Kind, Server, common_options, until};
use crate::support::{PASSWORD, USER, process};

const NAME: &str = "2b5c1d6e-6a0b-11ef-9a52-00155d010203";

fn options(id: usize, ports: &[u16]) -> Vec<String> {
    let seeds: Vec<_> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let own = [
        "--gtid-mode=ON".to_owned(),
        "--enforce-gtid-consistency=ON".to_owned(),
        "--report-host=127.0.0.1".to_owned(),
        // Its members are listed there.
        "--performance-schema=ON".to_owned(),
        "--plugin-load-add=group_replication.so".to_owned(),
        format!("--loose-group-replication-group-name={NAME}"),
        "--loose-group-replication-start-on-boot=OFF".to_owned(),
        format!(
            "--loose-group-replication-local-address=127.0.0.1:{}",
            ports[id]
        ),
        format!("--loose-group-replication-group-seeds={}", seeds.join(",")),
        "--loose-group-replication-recovery-get-public-key=ON".to_owned(),
        // A member that is silent is expelled after the five seconds that cannot be changed.
        "--loose-group-replication-member-expel-timeout=0".to_owned(),
        // One that finds itself expelled tries again.
        "--loose-group-replication-autorejoin-tries=10".to_owned(),
    ];
    common_options(id).into_iter().chain(own).collect()
}

pub fn start() -> Cluster {
    let ports: Vec<u16> = (0..3).map(|_| process::free_port()).collect();
    let options: Vec<_> = (0..3).map(|id| options(id, &ports)).collect();
    let nodes = std::thread::scope(|scope| {
        let starting: Vec<_> = options
            .iter()
            .map(|options| {
                scope.spawn(move || {
                    let options: Vec<_> = options.iter().map(String::as_str).collect();
                    let node = Server::start_own(Flavour::MySql, &options);
                    node.wait_for_socket();
                    node.sql("RESET BINARY LOGS AND GTIDS");
                    std::fs::write(node.folder().join("init.sql"), "").expect("a file");
                    node
                })
            })
            .collect();
        let started = starting.into_iter().map(|node| node.join());
        started.collect::<Result<Vec<_>, _>>().expect("they start")
    });
    nodes[0].sql(&format!(
        "SET GLOBAL group_replication_bootstrap_group = ON; \
         START GROUP_REPLICATION USER = '{USER}', PASSWORD = '{PASSWORD}'; \
         SET GLOBAL group_replication_bootstrap_group = OFF"
    ));
    std::thread::scope(|scope| {
        for node in &nodes[1..] {
            scope.spawn(|| join(node));
        }
    });
    let cluster = Cluster {
        kind: Kind::Group,
        nodes,
        options,
    };
    until("the group is whole", || is_whole(&cluster));
    cluster
}

/// Makes a server a member.
pub fn join(node: &Server) {
    node.sql(&format!(
        "START GROUP_REPLICATION USER = '{USER}', PASSWORD = '{PASSWORD}'"
    ));
    until("the member is online", || {
        node.sql(
            "SELECT member_state FROM performance_schema.replication_group_members \
             WHERE member_id = @@server_uuid",
        )
        .trim()
            == "ONLINE"
    });
}

pub fn promote(cluster: &Cluster, index: usize) {
    cluster.nodes[index].sql("SELECT group_replication_set_as_primary(@@server_uuid)");
}

/// Whether all are members, and the first is the primary.
pub fn is_whole(cluster: &Cluster) -> bool {
    cluster.nodes.iter().enumerate().all(|(index, node)| {
        let answer = node.try_sql(
            "SELECT COUNT(*), MAX(member_role = 'PRIMARY' AND member_id = @@server_uuid) \
             FROM performance_schema.replication_group_members WHERE member_state = 'ONLINE'",
        );
        let expected = if index == 0 { "3\t1" } else { "3\t0" };
        answer.is_ok_and(|answer| answer.trim() == expected)
    })
}
