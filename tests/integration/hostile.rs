//! Peers that break the protocol cost one log line and one connection.

use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::wire::{Greeting, MockServer, Wire, caps, com, err, frames, greeting};
use crate::support::{Dpm, PASSWORD, PATIENCE, USER, let_time_pass, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// The startfiles that every kind of misbehaviour is tried on: without and with Lua.
const STARTFILES: [&str; 2] = [
    "require('harness').passthrough()",
    "local h = require('harness') h.passthrough(h.trace(''))",
];

/// A small pseudo-random generator, the same in every run.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.byte()).collect()
    }
}

/// The proxy still serves clients, and nothing is left of the connections before.
#[track_caller]
fn unharmed(dpm: &Dpm) {
    dpm.wait_until_idle();
    let mut wire = Wire::login(dpm.port(), PLAIN);
    assert_eq!(wire.rows("SELECT 'fine'"), [["fine"]]);
    drop(wire);
    dpm.wait_until_idle();
    assert!(!dpm.wrote("panicked"), "nothing panics");
}

/// A client that has read its greeting.
fn greeted(dpm: &Dpm) -> (Wire, Greeting) {
    let mut wire = Wire::connect(dpm.port());
    let greeting = Greeting::parse(&wire.read());
    (wire, greeting)
}

#[test]
fn clients_that_send_noise_instead_of_a_login() {
    for startfile in STARTFILES {
        let dpm = Dpm::start(startfile, mariadb());
        let mut noise = Noise(0x5EED);
        for round in 0..50 {
            let (mut wire, _) = greeted(&dpm);
            let mut packet = noise.bytes(1 + round * 7);
            // A well-formed frame, or random bytes.
            if round % 2 == 0 {
                packet = frames(&packet, &mut 1);
            }
            let _ = std::io::Write::write_all(wire.stream(), &packet);
            let _ = wire.stream().shutdown(std::net::Shutdown::Write);
            assert!(wire.closed(), "round {round}");
        }
        unharmed(&dpm);
    }
}

#[test]
fn logins_with_wrong_lengths() {
    let dpm = Dpm::start(STARTFILES[1], mariadb());
    let (probe, hello) = greeted(&dpm);
    drop(probe);
    let mut whole = crate::support::wire::auth_packet(&hello.nonce, USER, PASSWORD, PLAIN);
    whole.extend_from_slice(b"mysql_native_password\0");
    for cut in 0..whole.len() {
        let (mut wire, _) = greeted(&dpm);
        wire.write(&whole[..cut]);
        // Some cuts leave a packet that the server refuses, others one that it accepts.
        let _ = wire.stream().shutdown(std::net::Shutdown::Write);
        assert!(wire.closed(), "cut at {cut}");
    }
    for (at, value) in [(36 + USER.len(), 255), (36 + USER.len() + 1, 0), (32, 0)] {
        let (mut wire, _) = greeted(&dpm);
        let mut packet = whole.clone();
        packet[at.min(whole.len() - 1)] = value;
        wire.write(&packet);
        let _ = wire.stream().shutdown(std::net::Shutdown::Write);
        assert!(wire.closed(), "byte {at}");
    }
    unharmed(&dpm);
}

#[test]
fn a_client_that_asks_for_what_was_not_offered() {
    let uncompressed = "require('harness').listen(function(c)
        local s = dpm.connect(arg[1], tonumber(arg[2]))
        c:on_close(function() s = nil end)
        dpm.proxy_connect(c, s)
    end, { compression = false })";
    for (bit, name, startfile) in [
        (caps::SSL, "SSL", STARTFILES[0]),
        (caps::COMPRESS, "COMPRESS", uncompressed),
    ] {
        let dpm = Dpm::start(startfile, mariadb());
        let (mut wire, hello) = greeted(&dpm);
        assert_eq!(hello.capabilities & bit, 0, "{name} is masked");
        let mut packet =
            crate::support::wire::auth_packet(&hello.nonce, USER, PASSWORD, PLAIN | bit);
        packet.extend_from_slice(b"mysql_native_password\0");
        if bit == caps::SSL {
            packet.truncate(32);
        }
        wire.write(&packet);
        let answer = wire.read();
        assert_eq!(answer[0], 0xFF, "{name}");
        assert!(wire.closed());
        unharmed(&dpm);
    }
}

#[test]
fn clients_that_send_noise_as_commands() {
    for startfile in STARTFILES {
        let dpm = Dpm::start(startfile, mariadb());
        let mut noise = Noise(0xC0FFEE);
        for round in 0..30 {
            let mut wire = Wire::login(dpm.port(), PLAIN);
            let bytes = noise.bytes(5 + round * 11);
            let _ = std::io::Write::write_all(wire.stream(), &bytes);
            let _ = wire.stream().shutdown(std::net::Shutdown::Write);
            assert!(wire.closed(), "round {round}");
        }
        unharmed(&dpm);
    }
}

#[test]
fn an_empty_command_and_a_wrong_sequence_number() {
    for startfile in STARTFILES {
        let dpm = Dpm::start(startfile, mariadb());
        let mut wire = Wire::login(dpm.port(), PLAIN);
        wire.raw(&[0, 0, 0, 0]);
        // A server may answer that with an error.
        wire.lenient = true;
        assert!(wire.try_read().is_err() || wire.silent(Duration::from_millis(1)));
        drop(wire);
        let mut wire = Wire::login(dpm.port(), PLAIN);
        wire.raw(&[1, 0, 0, 77, com::PING]);
        assert!(wire.closed(), "sequence number 77");
        unharmed(&dpm);
    }
}

#[test]
fn a_packet_of_4_gigabytes_is_announced_but_never_comes() {
    // Only a callback makes the proxy wait for a whole packet. `max_packet` bounds that.
    let dpm = Dpm::start(
        "dpm.config { max_packet = 1048576 }
         require('harness').passthrough({ [dpm.MYC_SENT_CMD] = function() end })",
        mariadb(),
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    wire.raw(&[0xFF, 0xFF, 0xFF, 0, com::QUERY]);
    let chunk = vec![b' '; 1 << 20];
    let mut refused = false;
    for _ in 0..4 {
        refused |= std::io::Write::write_all(wire.stream(), &chunk).is_err();
    }
    assert!(refused || wire.closed(), "beyond max_packet");
    assert!(dpm.memory_kib("VmHWM") < 64 << 10);
    unharmed(&dpm);

    // A row whose second value says it has 4 GB, in a packet of a few bytes.
    let server = MockServer::new();
    let dpm = Launch::script(
        "local h = require('harness')
         local rset
         h.passthrough(nil, {
           [dpm.MYS_SENT_RSET] = function(packet) rset = packet end,
           [dpm.MYS_SENDING_ROWS] = function(row)
             print('parsed', pcall(rset.parse_row_array, rset, row))
           end })",
    )
    .arg("127.0.0.1")
    .arg(server.port)
    .start();
    let port = dpm.port();
    let client = std::thread::spawn(move || {
        let mut wire = Wire::login(port, PLAIN);
        wire.command(com::QUERY, b"x");
        wire.closed()
    });
    let mut peer = server.accept_login(PLAIN);
    peer.read_command();
    peer.write(&[2]);
    peer.write(&crate::support::wire::column("c"));
    peer.write(&crate::support::wire::column("d"));
    peer.write(&crate::support::wire::eof(2));
    peer.write(&[0, 0xFE, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3]);
    dpm.line("parsed\tfalse");
    drop(peer);
    assert!(client.join().unwrap());
    dpm.wait_until_idle();
    assert!(dpm.memory_kib("VmHWM") < 64 << 10);
}

#[test]
fn a_handshake_that_never_ends() {
    let silent = MockServer::new();
    let script = "dpm.config { handshake_timeout = 1, connect_timeout = 1 }
                  require('harness').passthrough()";
    let begun = Instant::now();
    // A server that accepts and sends nothing.
    let dpm = Launch::script(script)
        .arg("127.0.0.1")
        .arg(silent.port)
        .start();
    let mut client = Wire::connect(dpm.port());
    let _server = silent.accept();
    assert!(client.closed());
    dpm.wait_until_idle();
    // A client that does not answer the greeting, and one that trickles its answer.
    let dpm = Dpm::start(script, mariadb());
    let (mut mute, _) = greeted(&dpm);
    let (mut slow, _) = greeted(&dpm);
    slow.raw(&[0x60, 0, 0, 1]);
    while begun.elapsed() < Duration::from_secs(5) {
        if std::io::Write::write_all(slow.stream(), b"\x05").is_err() {
            break;
        }
        let_time_pass(Duration::from_millis(100));
    }
    assert!(mute.closed() && slow.closed());
    assert!(begun.elapsed() < Duration::from_secs(20));
    // One that is logged in is not touched.
    let mut wire = Wire::login(dpm.port(), PLAIN);
    let_time_pass(Duration::from_millis(1500));
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    drop(wire);
    unharmed(&dpm);
}

/// Runs a server that misbehaves at some point, and expects the client to be let go, and the next
/// client to be served.
fn with_server(what: &str, misbehave: impl Fn(&MockServer)) {
    for startfile in STARTFILES {
        let server = MockServer::new();
        let dpm = Launch::script(startfile)
            .arg("127.0.0.1")
            .arg(server.port)
            .start();
        let port = dpm.port();
        let client = std::thread::spawn(move || {
            let mut wire = Wire::connect(port);
            wire.lenient = true;
            if let Ok(first) = wire.try_read()
                && first.first() == Some(&10)
            {
                let greeting = Greeting::parse(&first);
                wire.authenticate(&greeting, USER, PASSWORD, PLAIN);
                if wire
                    .try_read()
                    .is_ok_and(|answer| answer.first() == Some(&0))
                {
                    wire.command(com::QUERY, b"SELECT 1");
                    // It gets an error instead of the answer, or is closed.
                    return match wire.try_read() {
                        Ok(answer) => answer.first() == Some(&0xFF) || wire.closed(),
                        Err(_) => true,
                    };
                }
            }
            wire.closed()
        });
        misbehave(&server);
        assert!(client.join().unwrap(), "{what}");
        dpm.wait_until_idle();

        let client = std::thread::spawn(move || {
            let mut wire = Wire::login(port, PLAIN);
            wire.rows("SELECT 1")
        });
        let mut peer = server.accept_login(PLAIN);
        peer.read_command();
        peer.send_rows(&["c"], &[&[Some(b"fine")]]);
        assert_eq!(client.join().unwrap(), [["fine"]], "{what}");
        assert!(!dpm.wrote("panicked"), "{what}");
    }
}

#[test]
fn servers_that_send_noise() {
    with_server("as a greeting", |server| {
        let mut wire = server.accept();
        wire.raw(&Noise(1).bytes(300));
    });
    with_server("a cut greeting", |server| {
        let mut wire = server.accept();
        wire.write(&greeting(PLAIN)[..20]);
    });
    with_server("protocol 9", |server| {
        let mut wire = server.accept();
        wire.write(b"\x093.20.1\0\x01\0\0\0abcdefgh\0");
    });
    with_server("as the answer to the login", |server| {
        let mut wire = server.accept();
        wire.write(&greeting(PLAIN));
        wire.read();
        wire.raw(&Noise(2).bytes(100));
    });
    with_server("as the answer to a command", |server| {
        let mut wire = server.accept_login(PLAIN);
        wire.read_command();
        wire.raw(&Noise(3).bytes(100));
    });
    with_server("an empty packet", |server| {
        let mut wire = server.accept_login(PLAIN);
        wire.read_command();
        wire.write(b"");
    });
    with_server("half an answer", |server| {
        let mut wire = server.accept_login(PLAIN);
        wire.read_command();
        wire.write(&[3]);
        wire.write(&crate::support::wire::column("c"));
    });
    with_server("half a packet", |server| {
        let mut wire = server.accept_login(PLAIN);
        wire.read_command();
        wire.raw(&[50, 0, 0, 1, 1, 2, 3]);
    });
    with_server("18 quintillion columns", |server| {
        let mut wire = server.accept_login(PLAIN);
        wire.read_command();
        wire.write(&[0xFE, 255, 255, 255, 255, 255, 255, 255, 255]);
    });
}

#[test]
fn a_server_that_is_full_before_any_handshake() {
    for startfile in STARTFILES {
        let server = MockServer::new();
        let dpm = Launch::script(startfile)
            .arg("127.0.0.1")
            .arg(server.port)
            .start();
        let mut client = Wire::connect(dpm.port());
        let mut peer = server.accept();
        // 1040 has no SQLSTATE here.
        peer.write(b"\xff\x10\x04Too many connections");
        let answer = client.read();
        assert_eq!(&answer[..3], b"\xff\x10\x04");
        assert!(answer.ends_with(b"Too many connections"));
        assert!(client.closed());
        dpm.wait_until_idle();
    }
}

#[test]
fn an_unsolicited_error_of_a_server_reaches_the_client_and_ends_the_pair() {
    for startfile in STARTFILES {
        let server = MockServer::new();
        let dpm = Launch::script(startfile)
            .arg("127.0.0.1")
            .arg(server.port)
            .start();
        let port = dpm.port();
        let (in_sender, is_in) = std::sync::mpsc::channel();
        let client = std::thread::spawn(move || {
            let mut wire = Wire::login(port, PLAIN);
            in_sender.send(()).expect("somebody waits");
            wire.seq = 0;
            let packet = wire.read();
            (packet, wire.closed())
        });
        let mut peer = server.accept_login(PLAIN);
        is_in.recv_timeout(PATIENCE).expect("the client is let in");
        peer.seq = 0;
        peer.write(&err(4031, "HY000", "too idle"));
        let (packet, closed) = client.join().unwrap();
        assert_eq!(packet, err(4031, "HY000", "too idle"));
        assert!(closed);
        dpm.wait_until_idle();
    }
}
