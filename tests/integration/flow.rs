//! Back-pressure, queues, limits: memory stays bounded, whichever end stalls.

use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, MockServer, Wire, caps, com};
use crate::support::{Dpm, both, eventually, let_time_pass, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// 100,000 rows of 1 kB.
const LARGE: &[u8] = b"SELECT REPEAT('x', 1000) FROM information_schema.collations a, \
    information_schema.collations b LIMIT 100000";

both! {
    fn a_client_that_stalls_stops_its_server(server) {
        for startfile in [
            "require('harness').passthrough()",
            "require('harness').passthrough(nil, { [dpm.MYS_SENDING_ROWS] = function() end })",
        ] {
            let dpm = Dpm::start(startfile, server);
            let mut bystander = Wire::login_empty(dpm.port(), PLAIN);
            bystander.rows("SELECT 1");
            let before = dpm.memory_kib("VmRSS");
            let mut stalled = Wire::login_empty(dpm.port(), PLAIN);
            stalled.command(com::QUERY, LARGE);
            stalled.wait_for_data();
            dpm.settle();
            let grown = dpm.memory_kib("VmHWM").saturating_sub(before);
            assert!(grown < 6 << 10, "{grown} KiB more for one stalled client");
            let begun = Instant::now();
            assert_eq!(bystander.rows("SELECT 1"), [["1"]]);
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
            // It continues, and gets everything.
            match stalled.answer() {
                Answer::Rows { rows, .. } => assert_eq!(rows.len(), count(server)),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn count(server: &crate::support::Server) -> usize {
    let rows = server.sql("SELECT COUNT(*) FROM information_schema.collations");
    let rows: usize = rows.trim().parse().unwrap();
    (rows * rows).min(100_000)
}

#[test]
fn a_server_that_stalls_stops_its_client() {
    let server = MockServer::new();
    let dpm = Launch::script("require('harness').passthrough()")
        .arg("127.0.0.1")
        .arg(server.port)
        .start();
    let port = dpm.port();
    let client = std::thread::spawn(move || {
        let mut wire = Wire::login(port, PLAIN);
        let mut query = vec![b' '; 48 << 20];
        query[..7].copy_from_slice(b"SELECT ");
        wire.command(com::QUERY, &query);
        wire.answer()
    });
    let mut peer = server.accept_login(PLAIN);
    peer.wait_for_data();
    dpm.settle();
    assert!(
        dpm.memory_kib("VmHWM") < 40 << 10,
        "{} KiB",
        dpm.memory_kib("VmHWM")
    );
    let (_, query) = peer.read_command();
    assert_eq!(query.len(), 48 << 20);
    peer.write(&crate::support::wire::ok());
    assert!(matches!(client.join().unwrap(), Answer::Ok(_)));
}

#[test]
fn pause_and_resume_and_drained() {
    let dpm = Dpm::start(
        "local h = require('harness')
         h.passthrough({
           [dpm.MYC_SENT_CMD] = function(cmd, id, conn)
             if cmd:argument() ~= 'SELECT 2' then return end
             local s = h.pairs[id][2]
             s:pause()
             local t = dpm.new_timer()
             t:schedule(0, 200, function() t:cancel() print('resume') s:resume() end)
           end,
           [dpm.MY_DRAINED] = function(id, conn) print('drained', conn:pending()) end,
         })",
        mariadb(),
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    let begun = Instant::now();
    assert_eq!(wire.rows("SELECT 2"), [["2"]]);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    dpm.line("resume");
    wire.command(com::QUERY, LARGE);
    wire.wait_for_data();
    dpm.settle();
    assert!(matches!(wire.answer(), Answer::Rows { .. }));
    dpm.line("drained");
}

#[test]
fn a_queue_beyond_its_limit_closes_the_connection_with_a_reason() {
    let dpm = Dpm::start(
        "local h = require('harness')
         h.passthrough({
           [dpm.MYC_SENT_CMD] = function(cmd, id, conn)
             if cmd:argument() ~= 'flood' then return end
             local rset, field = dpm.new_rset_pkt(), dpm.new_field_pkt()
             field:name('x', dpm.MYSQL_TYPE_VAR_STRING)
             rset:add_field(field)
             dpm.wire_packet(conn, rset) dpm.wire_packet(conn, field)
             dpm.wire_packet(conn, dpm.new_eof_pkt())
             local row = dpm.new_row_pkt()
             rset:pack_row(row, { ('x'):rep(100000) })
             for i = 1, 1000 do
               if not pcall(dpm.wire_packet, conn, row) then print('stopped at', i) break end
             end
             print('reason', conn:close_reason())
             return dpm.DPM_NOPROXY
           end,
         }, nil, { max_queue = 4194304 })",
        mariadb(),
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    wire.command(com::QUERY, b"flood");
    let line = dpm.line("reason\t");
    assert!(!line.ends_with("nil"), "{line}");
    assert!(wire.closed());
    assert!(dpm.memory_kib("VmHWM") < 64 << 10);
    dpm.wait_until_idle();
}

#[test]
fn beyond_max_clients_there_is_error_1040() {
    let dpm = Dpm::start(
        "require('harness').passthrough(nil, nil, { max_clients = 2 })",
        mariadb(),
    );
    let first = Wire::login(dpm.port(), PLAIN);
    let _second = Wire::login(dpm.port(), PLAIN);
    let mut third = Wire::connect(dpm.port());
    let packet = third.read();
    assert_eq!(&packet[..3], b"\xff\x10\x04", "{packet:?}");
    assert!(third.closed());
    drop(first);
    eventually("room again", || dpm.stat("clients") == 1.0);
    let mut fourth = Wire::login(dpm.port(), PLAIN);
    assert_eq!(fourth.rows("SELECT 4"), [["4"]]);
}

#[test]
fn out_of_file_descriptors_it_waits_and_goes_on() {
    let dpm = Launch::script("require('harness').passthrough()")
        .server(mariadb())
        .open_files(64)
        .start();
    let port = dpm.port();
    let mut open: Vec<Wire> = (0..15).map(|_| Wire::login(port, PLAIN)).collect();
    let waiting: Vec<Wire> = (0..40).map(|_| Wire::connect(port)).collect();
    dpm.settle();
    for wire in &mut open {
        assert_eq!(
            wire.rows("SELECT 1"),
            [["1"]],
            "those inside are not disturbed"
        );
    }
    let busy = cpu_ticks(dpm.pid());
    let_time_pass(Duration::from_millis(500));
    assert!(cpu_ticks(dpm.pid()) - busy < 25, "it does not spin");
    drop(waiting);
    drop(open);
    dpm.wait_until_idle();
    assert_eq!(Wire::login(port, PLAIN).rows("SELECT 1"), [["1"]]);
}

/// User and system time in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn idle_pairs_are_cheap() {
    let server = MockServer::new();
    let dpm = Launch::script("require('harness').passthrough()")
        .arg("127.0.0.1")
        .arg(server.port)
        .start();
    let port = dpm.port();
    let before = dpm.memory_kib("VmRSS");
    let mut ends = Vec::new();
    for _ in 0..300 {
        let client = std::thread::spawn(move || Wire::login(port, PLAIN));
        ends.push(server.accept_login(PLAIN));
        ends.push(client.join().unwrap());
    }
    let each = (dpm.memory_kib("VmRSS") - before) / 300;
    assert!(each < 12, "{each} KiB for an idle pair");
    drop(ends);
    dpm.wait_until_idle();
}
