//! How often memory is allocated for a statement: not at all, once a client has executed it before.
//!
//! The proxy runs in the test's thread, the only one whose allocations are counted; clients run in another. What logins
//! and first statements take is the same however many statements follow, so the difference of two runs is what statements take.

#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use dpm::proxy::Proxy;
use dpm::script::Script;
use support::wire::{Wire, caps, com};
use support::{Server, mariadb};

const FEW: u32 = 1_000;
const MANY: u32 = 6_000;

/// What of a statement's allocations may be due to what comes now and then, such as the looks at the server's health.
const NOW_AND_THEN: f64 = 0.2;

/// A pool of one connection on one port; the program ends when somebody connects to the other.
const POOL: &str = "
    local dpml = require 'dpml'
    -- Global, as a listener that nobody refers to closes.
    clients, control = dpm.listener('127.0.0.1', 0), dpm.listener('127.0.0.1', 0)
    control:register(dpm.MYC_CONNECT, function() dpm.exit(0) end)
    ports = { clients:socket_port(), control:socket_port() }
    dpml.digests { by = { 'user', 'schema', 'server' } }
    dpml.tracing { sample = 0, slower_than = 3600 }
    dpml.pool(clients, {
      servers = { { host = '127.0.0.1', port = tonumber(arg[1]), role = 'primary' } }, size = 1, health_interval = 3600,
      users = { ann = { password = 'p' } }, backend = { user = 'pooled', password = 'b' },
    })";

/// Allocations of a proxy while clients do something.
fn allocations(server: &Server, clients: impl FnOnce(u16) + Send + 'static) -> u64 {
    let mut startfile = tempfile::NamedTempFile::new().unwrap();
    startfile.write_all(POOL.as_bytes()).unwrap();
    let path = Some(startfile.path());
    let proxy = Proxy::new().unwrap();
    let script = Script::new(proxy.clone(), path).unwrap();
    script
        .set_arguments("pool", &[server.port.to_string()])
        .unwrap();
    script.run(&script.load(path).unwrap()).unwrap();
    let ports: Vec<u16> = script.lua().globals().get("ports").unwrap();
    let clients = thread::spawn(move || {
        clients(ports[0]);
        drop(TcpStream::connect(("127.0.0.1", ports[1])).unwrap());
    });
    let counted = allocation_counter::measure(|| {
        proxy.run().unwrap();
    });
    clients.join().unwrap();
    counted.count_total
}

/// Allocations of a proxy for each of a client's statements.
fn for_each_statement(clients: impl Fn(u16, u32) + Send + Copy + 'static) -> f64 {
    let server = mariadb();
    server.sql(
        "CREATE USER IF NOT EXISTS pooled@'%' IDENTIFIED BY 'b'; GRANT ALL ON *.* TO pooled@'%'",
    );
    let [few, many] =
        [FEW, MANY].map(|count| allocations(server, move |port| clients(port, count)));
    (many as f64 - few as f64) / f64::from(MANY - FEW)
}

fn login(port: u16) -> Wire {
    Wire::login_as(
        port,
        "ann",
        "p",
        caps::BASE | caps::DEPRECATE_EOF | caps::SESSION_TRACK,
    )
}

fn select(wire: &mut Wire) {
    let answer = wire.exchange(com::QUERY, b"SELECT 1, 'two'");
    assert_eq!(answer[0], [2], "two columns");
}

#[test]
fn statements_of_a_pools_client() {
    let each = for_each_statement(|port, count| {
        let mut client = login(port);
        (0..count).for_each(|_| select(&mut client));
    });
    assert!(each < NOW_AND_THEN, "{each}");
}

#[test]
fn statements_of_two_clients_in_turn() {
    let each = for_each_statement(|port, count| {
        let mut clients = [login(port), login(port)];
        for _ in 0..count / 2 {
            clients.iter_mut().for_each(select);
        }
    });
    // A table in Lua keeps the objects of the two connections alive that are linked.
    assert!(each < 1.0 + NOW_AND_THEN, "{each}");
}

#[test]
fn prepared_statements_of_a_pools_client() {
    let each = for_each_statement(|port, count| {
        let mut client = login(port);
        let prepared = client.exchange(com::STMT_PREPARE, b"SELECT 1, 'two'");
        let mut execute = prepared[0][1..5].to_vec();
        execute.extend([0, 1, 0, 0, 0]);
        for _ in 0..count {
            let answer = client.exchange(com::STMT_EXECUTE, &execute);
            assert_eq!(answer[0], [2], "two columns");
        }
    });
    assert!(each < NOW_AND_THEN, "{each}");
}
