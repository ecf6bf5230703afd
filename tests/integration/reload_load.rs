//! Ten reloads under constant load: no query fails, no transaction is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::reload::{administrator, launch};
use crate::support::client::connect_as;
use crate::support::wire::Answer;
use crate::support::{Server, both, connect, eventually, let_time_pass};

const CLIENTS: usize = 50;
const RELOADS: usize = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// What a client has done.
#[derive(Default)]
struct Done {
    commits: u64,
    latencies: Vec<Duration>,
}

impl Done {
    fn timed<T>(&mut self, run: impl FnOnce() -> mysql::Result<T>) -> T {
        let begun = Instant::now();
        let result = run();
        self.latencies.push(begun.elapsed());
        result.expect("no query fails")
    }

    fn transaction(&mut self, conn: &mut Conn, table: &str, client: usize) {
        self.timed(|| conn.query_drop("BEGIN"));
        let update = format!("UPDATE {table} SET n = n + 1 WHERE id = {client}");
        self.timed(|| conn.query_drop(update));
        let select = format!("SELECT n FROM {table} WHERE id = {client}");
        let n: Option<u64> = self.timed(|| conn.query_first(select));
        assert_eq!(n, Some(self.commits + 1));
        self.timed(|| conn.query_drop("COMMIT"));
        self.commits += 1;
    }
}

/// One client: a third of them in transactions, a third with a statement that was prepared at the beginning.
fn work(port: u16, table: &str, client: usize, is_over: &AtomicBool) -> Done {
    let mut conn = connect_as(port, "app", "a").unwrap();
    let statement = conn.prep("SELECT ? + 1").unwrap();
    let mut done = Done::default();
    let mut round = 0;
    while !is_over.load(Ordering::Relaxed) {
        round += 1;
        match client % 3 {
            0 => done.transaction(&mut conn, table, client),
            1 => {
                let sum: Option<i64> = done.timed(|| conn.exec_first(&statement, (round,)));
                assert_eq!(sum, Some(round + 1));
            }
            _ => {
                let same: Option<i64> = done.timed(|| conn.query_first(format!("SELECT {round}")));
                assert_eq!(same, Some(round));
            }
        }
        // As an application that does something else in between.
        let_time_pass(Duration::from_millis(2));
    }
    done
}

fn ten_reloads(server: &Server, name: &str, script: &str, workers: usize) {
    let table = format!("reload.{name}");
    let mut direct = connect(server.port);
    direct
        .query_drop("CREATE DATABASE IF NOT EXISTS reload")
        .unwrap();
    direct
        .query_drop(format!("DROP TABLE IF EXISTS {table}"))
        .unwrap();
    direct
        .query_drop(format!("CREATE TABLE {table} (id INT PRIMARY KEY, n INT)"))
        .unwrap();
    for client in 0..CLIENTS {
        direct
            .query_drop(format!("INSERT INTO {table} VALUES ({client}, 0)"))
            .unwrap();
    }
    let dpm = launch(server, script)
        .option(&format!("--workers={workers}"))
        .quiet()
        .start();
    let port = dpm.port();
    let mut root = administrator(&dpm);
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (table, is_over) = (table.clone(), is_over.clone());
            thread::spawn(move || work(port, &table, client, &is_over))
        })
        .collect();
    let comes_and_goes = {
        let is_over = is_over.clone();
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let mut conn = connect_as(port, "app", "a").expect("no client is refused");
                conn.query_drop("SELECT 1").expect("no query fails");
            }
        })
    };
    for _ in 0..RELOADS {
        let_time_pass(PAUSE);
        // Not more than eight older startfiles may have clients, and a busy machine moves them more slowly.
        eventually("the startfile is reloaded", || match root.query("RELOAD") {
            Answer::Ok(_) => true,
            Answer::Err(1105, _, why) if why.contains("older startfiles still have") => false,
            answer => panic!("{answer:?}"),
        });
        assert!(
            clients.iter().all(|client| !client.is_finished()),
            "a client has failed"
        );
    }
    let_time_pass(PAUSE);
    is_over.store(true, Ordering::Relaxed);
    comes_and_goes.join().expect("no client is refused");
    let mut latencies = Vec::new();
    let mut commits = 0;
    for client in clients {
        let done = client.join().expect("no query fails");
        latencies.extend(done.latencies);
        commits += done.commits;
    }
    let sum: Option<u64> = direct
        .query_first(format!("SELECT SUM(n) FROM {table}"))
        .unwrap();
    assert_eq!(sum, Some(commits), "no transaction is lost");
    direct.query_drop(format!("DROP TABLE {table}")).unwrap();
    latencies.sort_unstable();
    let at = |share: f64| {
        latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0
    };
    println!(
        "{name}, {workers} workers: {} statements, {commits} transactions, {RELOADS} reloads: 50 % in {:.2} ms, 99 % in {:.2} ms, 99.9 % in {:.2} ms, all in {:.2} ms",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    assert!(latencies.len() > 2 * CLIENTS, "there was load");
}

const PROXIED: &str = "
    dpml.proxy_new_clients(listener, { new_command = function() end },
        { users = { app = { password = 'a' } }, backend = SERVER })";

const POOLED: &str = "
    dpml.pool(listener, { users = { app = { password = 'a' } }, servers = { { host = SERVER.host, port = SERVER.port } },
        backend = { user = SERVER.user, password = SERVER.password }, size = 20 })";

both! {
    fn nobody_notices_ten_reloads(server) {
        ten_reloads(server, "proxied", PROXIED, 1);
    }
}

both! {
    fn nobody_notices_ten_reloads_of_a_pool(server) {
        ten_reloads(server, "pooled", POOLED, 1);
    }
}

both! {
    fn nobody_notices_ten_reloads_of_two_workers(server) {
        ten_reloads(server, "two", PROXIED, 2);
    }
}
