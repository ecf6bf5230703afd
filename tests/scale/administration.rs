//! Somebody looks at all clients, sorted, again and again, while one of them works: it waits hardly longer for its answers.

use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::echo::Echo;
use crate::support::wire::{Wire, caps};
use crate::support::{Over, PASSWORD, USER};
use crate::{alone, clients, launch, row};

/// How long latencies are measured, without and with somebody who looks.
const MEASURED: Duration = Duration::from_secs(2);
/// The most that a client may wait, of a hundred commands one excepted. The machine has the other ends of all connections to care
/// for, and a slice of a long answer takes some milliseconds in a debug build.
const LIMIT: Duration = Duration::from_millis(100);

/// The latencies of one client's commands, until `over`, the shortest first.
fn latencies(client: &mut Wire, over: impl Fn() -> bool) -> Vec<Duration> {
    let mut all = Vec::new();
    while !over() {
        let asked = Instant::now();
        assert_eq!(client.rows("SELECT one of them"), [["one of them"]]);
        all.push(asked.elapsed());
    }
    all.sort_unstable();
    all
}

fn percentile(latencies: &[Duration], of_hundred: usize) -> Duration {
    latencies[(latencies.len() * of_hundred / 100).min(latencies.len() - 1)]
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

#[track_caller]
fn stalls_nobody(workers: usize) {
    let _alone = alone();
    let echo = Echo::start();
    let dpm = launch(
        "dpml.passthrough_new_clients(listener, {}, { arg[1], tonumber(arg[2]) })
         admin = dpm.listener('127.0.0.1', 0)
         print('admin ' .. admin:socket_port())
         dpml.admin(admin, { users = { root = { password = 'secret' } } })",
        "",
        echo.port,
    )
    .option(&format!("--workers={workers}"))
    .open_files(crate::descriptors())
    .start();
    let mut crowd = Crowd::new(dpm.port(), false);
    let count = clients();
    crowd.log_in(count, 200);
    let line = dpm.line("admin ");
    let port = line.rsplit(' ').next().and_then(|word| word.parse().ok());
    let mut admin = Wire::login_as(port.expect("a port"), "root", "secret", caps::BASE);
    let mut client = Wire::login_as(dpm.port(), USER, PASSWORD, caps::BASE);

    let begun = Instant::now();
    let alone = latencies(&mut client, || begun.elapsed() > MEASURED);
    let over = Over::default();
    let (looks, beside) = std::thread::scope(|scope| {
        let _over = over.at_end();
        let looking = scope.spawn(|| {
            let _over = over.at_end_of_panic();
            let (begun, mut looks) = (Instant::now(), 0);
            while looks == 0 || begun.elapsed() < MEASURED {
                let shown = admin.rows("SHOW CLIENTS ORDER BY host DESC");
                // Those of the service itself are clients, too.
                assert!(shown.len() > count, "{}", shown.len());
                looks += 1;
            }
            over.declare();
            looks
        });
        let beside = latencies(&mut client, || over.is());
        (looking.join().expect("it has looked"), beside)
    });
    row(
        &format!("SHOW CLIENTS, {workers} workers"),
        &[
            ("clients", count.to_string()),
            ("looks", looks.to_string()),
            ("p50 ms without", ms(percentile(&alone, 50))),
            ("with", ms(percentile(&beside, 50))),
            ("p99 ms without", ms(percentile(&alone, 99))),
            ("with", ms(percentile(&beside, 99))),
        ],
    );
    let (before, with) = (percentile(&alone, 99), percentile(&beside, 99));
    assert!(with < before + LIMIT, "{with:?} beside, {before:?} alone");
    dpm.assert_no_errors();
}

#[test]
fn showing_all_clients_stalls_nobody() {
    stalls_nobody(1);
}

#[test]
fn showing_the_clients_of_all_workers_stalls_nobody() {
    stalls_nobody(2);
}
