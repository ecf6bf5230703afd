//! What one peer sends does not stop the others, however much it is and however small its parts are.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use dpm::wire::compressed::{Algorithm, Encoder, Numbers, Toolbox};

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, MockServer, Wire, caps, column, com, eof, frames, pack_row};
use crate::support::{Dpm, Over, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// The longest that a pass of the loop and a bystander's question may take. That is far more than
/// the slices, since the tests run without optimization on busy machines.
const PATIENCE: Duration = Duration::from_secs(2);

/// A service whose answers cost a callback each.
const SERVICE: &str = "
    local h = require 'harness'
    h.serve(function(c)
      c:register(dpm.MYC_SENT_CMD, function(cmd, id, conn)
        if cmd:command() ~= dpm.COM_STMT_CLOSE then dpm.wire_packet(conn, dpm.new_ok_pkt()) end
        return dpm.DPM_NOPROXY
      end)
      h.let_in(c)
    end)
    service = h.listener";

/// Asks again and again while the flood lasts, and checks that nobody has to wait.
fn bystander(dpm: &Dpm, port: u16, over: &Over) {
    let mut asked = 0;
    while !over.is() || asked == 0 {
        let begun = Instant::now();
        let mut wire = Wire::login_empty(port, PLAIN);
        assert!(matches!(wire.query("x"), Answer::Ok(_)));
        assert!(begun.elapsed() < 3 * PATIENCE, "{:?}", begun.elapsed());
        asked += 1;
    }
    let lag = Duration::from_micros(dpm.stat("loop_lag_max_us") as u64);
    assert!(lag < PATIENCE, "{lag:?}");
    println!("{asked} bystanders, the longest pass took {lag:?}");
}

/// Sends a flood and reads what comes back, while a bystander asks at the service.
fn flood(dpm: &Dpm, service: u16, wire: &mut Wire, bytes: &[u8], answers: usize) {
    wire.timeout(Duration::from_secs(100));
    let over = Over::default();
    std::thread::scope(|scope| {
        let _over = over.at_end();
        scope.spawn(|| bystander(dpm, service, &over));
        let mut writer = wire.stream().try_clone().unwrap();
        scope.spawn(move || writer.write_all(bytes).unwrap());
        let mut left = answers;
        let mut sink = vec![0; 1 << 16];
        while left > 0 {
            let read = wire.stream().read(&mut sink).unwrap();
            assert!(read > 0, "closed, with {left} bytes to come");
            left -= read.min(left);
        }
    });
}

fn service() -> (Dpm, u16) {
    let dpm = Launch::script(SERVICE).server(mariadb()).start();
    let port = dpm.port();
    (dpm, port)
}

/// An OK as a service sends it.
const OK: usize = 11;

#[test]
fn one_byte_queries_at_a_service() {
    const COUNT: usize = 350_000;
    let (dpm, port) = service();
    let mut wire = Wire::login_empty(port, PLAIN);
    let bytes = frames(b"\x03x", &mut 0).repeat(COUNT);
    flood(&dpm, port, &mut wire, &bytes, COUNT * OK);
    dpm.assert_no_errors();
}

#[test]
fn empty_packets() {
    const COUNT: usize = 350_000;
    let (dpm, port) = service();
    let mut wire = Wire::login_empty(port, PLAIN);
    let error = 4 + 9 + "Unknown command".len();
    flood(&dpm, port, &mut wire, &vec![0; 4 * COUNT], COUNT * error);
}

#[test]
fn commands_without_answers() {
    const COUNT: usize = 300_000;
    for callback in ["", "[dpm.MYC_SENT_CMD] = function() end"] {
        let mock = MockServer::new();
        let dpm = Launch::script(&format!(
            "{SERVICE}
             h.passthrough {{ {callback} }}"
        ))
        .arg("127.0.0.1")
        .arg(mock.port)
        .start();
        dpm.port();
        let ports = ports(&dpm);
        let port = ports[1];
        let client = std::thread::spawn(move || Wire::login_empty(port, PLAIN));
        let mut server = mock.accept_login(PLAIN);
        let mut wire = client.join().unwrap();
        let mut bytes = frames(&[com::STMT_CLOSE, 9, 0, 0, 0], &mut 0).repeat(COUNT);
        let len = bytes.len();
        bytes.extend(frames(b"\x0e", &mut 0));
        let answering = std::thread::spawn(move || {
            server.exact(len);
            assert_eq!(server.read_command().0, com::PING);
            server.write(&crate::support::wire::ok());
        });
        flood(&dpm, ports[0], &mut wire, &bytes, OK);
        answering.join().unwrap();
    }
}

/// The ports of both listeners.
fn ports(dpm: &Dpm) -> Vec<u16> {
    crate::support::eventually("both listen", || dpm.lines("port ").len() == 2);
    let ports = dpm.lines("port ");
    ports
        .iter()
        .map(|port| port.trim().parse().unwrap())
        .collect()
}

#[test]
fn rows_for_a_callback() {
    const COUNT: usize = 400_000;
    let mock = MockServer::new();
    let dpm = Launch::script(&format!(
        "{SERVICE}
         local seen = 0
         h.passthrough(nil, {{ [dpm.MYS_SENDING_ROWS] = function() seen = seen + 1 end }})"
    ))
    .arg("127.0.0.1")
    .arg(mock.port)
    .start();
    dpm.port();
    let ports = ports(&dpm);
    let port = ports[1];
    let client = std::thread::spawn(move || Wire::login_empty(port, PLAIN));
    let mut server = mock.accept_login(PLAIN);
    let mut wire = client.join().unwrap();
    let answer = std::thread::spawn(move || {
        assert_eq!(server.read_command().0, com::QUERY);
        let mut bytes = frames(&[1], &mut 1);
        bytes.extend(frames(&column("c"), &mut 2));
        bytes.extend(frames(&eof(2), &mut 3));
        for n in 0..COUNT {
            bytes.extend(frames(
                &pack_row(&[Some(b"x")]),
                &mut (n as u8).wrapping_add(4),
            ));
        }
        bytes.extend(frames(&eof(2), &mut (COUNT as u8).wrapping_add(4)));
        server.raw(&bytes);
        (server, bytes.len())
    });
    let query = frames(b"\x03x", &mut 0);
    flood(&dpm, ports[0], &mut wire, &query, COUNT * 6);
    drop(answer.join().unwrap());
    dpm.assert_no_errors();
}

/// Compressed, millions of bytes of commands fit into a few kilobytes.
#[test]
fn commands_in_a_tiny_compressed_frame() {
    const COUNT: usize = 300_000;
    let (dpm, port) = service();
    let mut wire = Wire::login_empty(port, PLAIN | caps::COMPRESS);
    let plain = frames(&[com::STMT_CLOSE, 9, 0, 0, 0], &mut 0).repeat(COUNT);
    let mut bytes = bytes::BytesMut::new();
    let mut numbers = Numbers::towards_server();
    numbers.send_command(true);
    let encoder = Encoder::new(Algorithm::Zlib, 6);
    let mut at = 0;
    while at < plain.len() {
        let number = numbers.give();
        at += encoder.frame(&mut Toolbox::default(), number, &plain[at..], &mut bytes);
    }
    // A ping in a frame of its own.
    bytes.extend_from_slice(&[5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, com::PING]);
    flood(&dpm, port, &mut wire, &bytes, 7 + OK);
    dpm.assert_no_errors();
}
