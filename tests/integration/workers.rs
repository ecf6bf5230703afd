//! Several workers in one program: who gets which clients, how they begin and end.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::wire::{Wire, caps};
use crate::support::{Dpm, both, eventually, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// Each client's number is printed with its worker's.
const TELL_WORKER: &str = "
    local h = require 'harness'
    local worker, count = dpm.worker()
    print('started ' .. worker .. ' of ' .. count)
    function tell_worker(c) print('client ' .. c:id() .. ' at ' .. worker) end
";

/// A program of two workers.
pub fn two(script: &str) -> Launch {
    Launch::script(&format!("{TELL_WORKER}{script}"))
        .option("--workers=2")
        .server(mariadb())
}

/// A passthrough that tells which worker has which client.
pub const PASSTHROUGH: &str = "
    h.passthrough()
    h.listener:listen(dpm.MYC_CONNECT, tell_worker)
";

/// How many clients each of two workers has had, once it was told of all.
pub fn spread(dpm: &Dpm, total: usize) -> [usize; 2] {
    eventually("all clients are told of", || {
        dpm.lines("client ").len() >= total
    });
    [1, 2].map(|worker| {
        let lines = dpm.lines("client ");
        let at = format!(" at {worker}");
        lines.iter().filter(|line| line.ends_with(&at)).count()
    })
}

pub fn login(port: u16) -> Wire {
    Wire::login(port, PLAIN)
}

both! {
    fn real_clients_are_served_by_both_alike(server) {
        let dpm = Launch::script(&format!("{TELL_WORKER}{PASSTHROUGH}"))
            .option("--workers=2")
            .server(server)
            .start();
        let port = dpm.port();
        let mut clients: Vec<_> = (0..20).map(|_| crate::support::connect(port)).collect();
        assert_eq!(spread(&dpm, 20), [10, 10]);
        for client in &mut clients {
            let one: Option<i64> = mysql::prelude::Queryable::query_first(client, "SELECT 1").unwrap();
            assert_eq!(one, Some(1));
        }
        let mut ids = dpm.lines("client ");
        ids.sort();
        ids.dedup_by_key(|line| line.split(' ').next().map(str::to_owned));
        assert_eq!(ids.len(), 20, "no number is given twice: {ids:?}");
        // Who leaves makes room with the worker that had it.
        drop(clients);
        eventually("nobody is left", || dpm.open_files() < 40);
        assert_eq!(dpm.count("started 1 of 2") + dpm.count("started 2 of 2"), 2);
        assert_eq!(dpm.lines("port ").len(), 2);
        assert_eq!(dpm.lines("port ")[0], dpm.lines("port ")[1], "one listener");
    }
}

#[test]
fn a_client_goes_to_the_worker_with_the_fewest() {
    let dpm = two(PASSTHROUGH).start();
    let port = dpm.port();
    let mut clients: Vec<_> = (0..10).map(|_| Some(login(port))).collect();
    assert_eq!(spread(&dpm, 10), [5, 5]);
    let lines = dpm.lines("client ");
    // All of worker 2 leave.
    for (client, line) in clients.iter_mut().zip(&lines) {
        if line.ends_with("at 2") {
            *client = None;
        }
    }
    eventually("they are gone", || {
        dpm.count("Client 127.0.0.1): closing") == 5
    });
    let _others: Vec<_> = (0..5).map(|_| login(port)).collect();
    assert_eq!(spread(&dpm, 15), [5, 10]);
}

#[test]
fn the_startfile_may_say_how_many_before_the_first_listener() {
    let script = format!("dpm.config {{ workers = 3 }} {TELL_WORKER}{PASSTHROUGH}");
    let dpm = Launch::script(&script).server(mariadb()).start();
    let port = dpm.port();
    let _clients: Vec<_> = (0..3).map(|_| login(port)).collect();
    for worker in 1..=3 {
        assert_eq!(dpm.count(&format!("started {worker} of 3")), 1);
        dpm.line(&format!(" at {worker}"));
    }
    // The command line wins.
    let dpm = Launch::script(&script)
        .option("--workers=1")
        .server(mariadb())
        .start();
    let _client = login(dpm.port());
    assert_eq!(dpm.lines("started "), ["1 of 1"]);

    let late = "l = dpm.listener('127.0.0.1', 0) dpm.config { workers = 2 }";
    let mut dpm = Launch::script(late).start();
    assert_eq!(dpm.wait_for_end().code(), Some(1));
    dpm.line(
        "workers: the number of workers is to be set in the startfile, before the first listener",
    );
    for wrong in ["0", "65", "1.5", "'many'", "true"] {
        let mut dpm = Launch::script(&format!("dpm.config {{ workers = {wrong} }}")).start();
        assert_eq!(dpm.wait_for_end().code(), Some(1), "{wrong}");
        dpm.line("expected \"auto\" or an integer from 1 to 64");
    }
}

#[test]
fn an_error_in_any_startfile_ends_the_program_with_one_message() {
    for (who, count) in [
        ("true", 2),
        ("dpm.worker() == 2", 2),
        ("dpm.worker() > 1", 4),
    ] {
        let script = format!("l = dpm.listener_unix(arg[1]) if {who} then error('as wanted') end");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut dpm = Launch::script(&script)
            .option(&format!("--workers={count}"))
            .arg(path.display())
            .start();
        assert_eq!(dpm.wait_for_end().code(), Some(1), "{who}");
        assert_eq!(dpm.count("as wanted"), 1, "{who}");
        assert!(!path.exists(), "{who}: the socket's file is gone");
    }
}

#[test]
fn without_anything_to_wait_for_it_ends() {
    let mut dpm = two("").start();
    assert_eq!(dpm.wait_for_end().code(), Some(0));
    // One worker's timer keeps all.
    let mut dpm = two(
        "dpm.subscribe('c', function(text, channel, from) print('got', text, channel, from) end)
         if worker == 2 then
           local n = 0
           dpm.new_timer():schedule(0, 20, function(t)
             n = n + 1
             print('published', dpm.publish('c', n))
             if n == 3 then t:cancel() end
           end)
         end"
        .replace("'c', n)", "'c', tostring(n))")
        .as_str(),
    )
    .start();
    assert_eq!(dpm.wait_for_end().code(), Some(0));
    for n in 1..=3 {
        assert_eq!(dpm.count(&format!("got\t{n}\tc\t2")), 2, "both get {n}");
    }
    assert_eq!(dpm.count("published\t2\t0"), 3);
}

#[test]
fn a_signal_ends_all_of_them_in_order() {
    let mut dpm = two(PASSTHROUGH).start();
    let port = dpm.port();
    let mut clients: Vec<_> = (0..4).map(|_| login(port)).collect();
    clients[0].command(3, b"SELECT SLEEP(1)");
    eventually("the command is under way", || {
        mariadb()
            .sql("SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(1)'")
            .contains('1')
    });
    dpm.signal("TERM");
    for client in &mut clients[1..] {
        assert!(client.closed());
    }
    // What is in flight is finished.
    assert_eq!(clients[0].read()[0], 1);
    assert_eq!(dpm.wait_for_end().code(), Some(0));
    assert_eq!(dpm.count("stopping: exchanges in flight"), 2);
    assert!(!dpm.wrote("a second time"));
}

#[test]
fn the_exit_code_is_the_one_that_any_worker_leaves_with() {
    for leaving in [1, 2] {
        let mut dpm = two(&format!(
            "l = dpm.listener('127.0.0.1', 0)
             if worker == {leaving} then
               dpm.new_timer():schedule(0, 1, function(t) t:cancel() dpm.exit(3) end)
             end"
        ))
        .start();
        assert_eq!(dpm.wait_for_end().code(), Some(3), "worker {leaving}");
    }
}

#[test]
fn a_signal_is_for_the_scripts_of_all() {
    let mut dpm = two(
        "dpm.on_signal('HUP', function() print('hup ' .. worker) end)
         l = dpm.listener('127.0.0.1', 0)
         dpm.new_timer():schedule(0, 1, function(t) t:cancel() print('runs ' .. worker) end)",
    )
    .start();
    dpm.line("runs 1");
    dpm.line("runs 2");
    dpm.signal("HUP");
    dpm.line("hup 1");
    dpm.line("hup 2");
    assert_eq!(dpm.stop().code(), Some(0));
}

#[test]
fn only_workers_that_listen_get_clients() {
    let dpm = two(&format!("if worker == 2 then {PASSTHROUGH} end")).start();
    let port = dpm.port();
    let mut clients: Vec<_> = (0..4).map(|_| login(port)).collect();
    assert_eq!(spread(&dpm, 4), [0, 4]);
    assert_eq!(clients[3].rows("SELECT 1"), [["1"]]);
    dpm.line("worker 2: connection");
}

#[test]
fn one_that_closes_its_listener_gets_none_any_more() {
    let dpm = two(&format!(
        "{PASSTHROUGH}
         dpm.on_signal('HUP', function()
           if worker == 1 then dpm.close(h.listener) end
           print('heard ' .. worker)
         end)"
    ))
    .start();
    let port = dpm.port();
    let mut first: Vec<_> = (0..2).map(|_| login(port)).collect();
    dpm.signal("HUP");
    dpm.line("heard 1");
    dpm.line("heard 2");
    let _others: Vec<_> = (0..3).map(|_| login(port)).collect();
    assert_eq!(spread(&dpm, 5), [1, 4]);
    for client in &mut first {
        assert_eq!(client.rows("SELECT 1"), [["1"]], "who is in stays in");
    }
}

#[test]
fn a_unix_socket_is_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut dpm = two("l = dpm.listener_unix(arg[3])
         l:register(dpm.MYC_CONNECT, function(c)
           tell_worker(c)
           dpm.wire_packet(c, dpm.new_handshake_pkt())
           kept = kept or {}
           kept[#kept + 1] = c
         end)
         print('listening')")
    .arg(path.display())
    .start();
    eventually("both listen", || dpm.count("listening") >= 2);
    let _clients: Vec<_> = (0..6)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    assert_eq!(spread(&dpm, 6), [3, 3]);
    assert_eq!(dpm.stop().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn limits_of_clients_are_the_programs() {
    let dpm = two("h.passthrough(nil, nil, { max_clients = 3 })").start();
    let port = dpm.port();
    let mut inside: Vec<_> = (0..3).map(|_| login(port)).collect();
    for _ in 0..4 {
        let mut wire = Wire::connect(port);
        assert_eq!(wire.read()[..3], *b"\xff\x10\x04");
    }
    inside.remove(0);
    eventually("there is room for another", || {
        Wire::connect(port).read()[0] == 10
    });
    let dpm = two("h.passthrough(nil, nil, { max_clients_per_address = 1 })").start();
    let port = dpm.port();
    let _inside = login(port);
    for _ in 0..4 {
        let mut wire = Wire::connect(port);
        assert_eq!(wire.read()[..3], *b"\xff\x10\x04");
    }
}

#[test]
fn the_limit_on_open_files_is_the_programs() {
    let dpm = two(PASSTHROUGH).open_files(120).start();
    let port = dpm.port();
    // Of 120 a quarter is reserved, and the second worker has some for itself.
    let mut inside = Vec::new();
    let refused = std::iter::repeat_with(|| Wire::connect(port)).take(100);
    for mut wire in refused {
        match wire.read()[0] {
            10 => inside.push(wire),
            _ => break,
        }
    }
    assert!((30..=45).contains(&inside.len()), "{}", inside.len());
    assert!(!dpm.wrote("accepting is paused"));
    let [one, two] = spread(&dpm, inside.len());
    assert!(one.abs_diff(two) <= 1, "{one} and {two}");
}

#[test]
fn a_slow_callback_leaves_the_other_worker_alone() {
    let dpm = two(&format!(
        "{PASSTHROUGH}
         h.listener:register(dpm.MYC_CONNECT, (function(before)
           return function(c, id)
             c:register(dpm.MYC_SENT_CMD, function(cmd)
               if cmd:argument() == 'SELECT 2' then
                 print('busy ' .. worker)
                 local begun = dpm.monotonic()
                 while dpm.monotonic() - begun < 3000 do end
               end
             end)
             return before(c, id)
           end
         end)(h.listener:register(dpm.MYC_CONNECT)))"
    ))
    .start();
    let port = dpm.port();
    let mut slow = login(port);
    let mut quick = login(port);
    let _idle = login(port);
    slow.command(3, b"SELECT 2");
    dpm.line("busy ");
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(quick.rows("SELECT 1"), [["1"]]);
    }
    // It has fewer clients, and gets the next one.
    let _another = login(port);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(slow.read()[0], 1);
}
