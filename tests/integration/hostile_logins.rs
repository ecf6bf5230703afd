//! Logins with wrong lengths, and endless rounds of authentication: each costs one connection.
//! Another client of the same listener is not affected, and memory stays bounded.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::wire::{Greeting, NONCE, Wire, auth_packet, caps, com, frames};
use crate::support::{Dpm, MockServer, Over, PASSWORD, USER, eventually, let_time_pass};

const CONNECT_ATTRS: u32 = 0x10_0000;
const LENENC_DATA: u32 = 0x20_0000;

/// Accepts logins with the password of `happy`, and answers every command with OK. It reads logins
/// as a script would.
const VERIFIER: &str = "
local dpml = require('dpml')
listener = dpm.listener('127.0.0.1', 0, { handshake_timeout = 5 })
dpml.authenticate_new_clients(listener, {
    new_client = function(client, auth)
        local _ = { auth:user(), auth:databasename(), auth:attributes(), auth:auth_plugin() }
        client:register(dpm.MYC_SENT_CMD, function(cmd, id, c)
            if cmd:command() == dpm.COM_QUIT or cmd:command() == dpm.COM_CHANGE_USER then return end
            dpm.wire_packet(c, dpm.new_ok_pkt())
            return dpm.DPM_NOPROXY
        end)
    end,
}, { happy = { password = arg[1] } })
print('port ' .. listener:socket_port())
";

/// A client that pings repeatedly, and returns the longest time to an answer.
struct Bystander {
    over: Arc<Over>,
    thread: Option<std::thread::JoinHandle<(u32, Duration)>>,
}

impl Bystander {
    fn on(port: u16) -> Bystander {
        let over = Arc::new(Over::default());
        let ends = Arc::clone(&over);
        let mut wire = Wire::login(port, caps::BASE);
        let thread = std::thread::spawn(move || {
            let (mut answers, mut longest) = (0, Duration::ZERO);
            while !ends.is() {
                let asked = Instant::now();
                wire.command(com::PING, b"");
                assert_eq!(wire.read()[0], 0);
                longest = longest.max(asked.elapsed());
                answers += 1;
                let_time_pass(Duration::from_millis(2));
            }
            (answers, longest)
        });
        Bystander {
            over,
            thread: Some(thread),
        }
    }

    #[track_caller]
    fn was_undisturbed(mut self) {
        self.over.declare();
        let thread = self.thread.take().expect("it is asked once");
        let (answers, longest) = thread.join().expect("its connection has held");
        assert!(answers > 5, "{answers} answers");
        // Machines are busy; a loop that stands still takes far longer.
        assert!(longest < Duration::from_secs(3), "{longest:?}");
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.over.declare();
    }
}

fn verifier() -> Dpm {
    Launch::script(VERIFIER).arg(PASSWORD).start()
}

/// A whole auth packet: answer, database, plugin and attributes.
fn whole(greeting: &Greeting) -> Vec<u8> {
    let capabilities = caps::BASE | caps::CONNECT_WITH_DB | CONNECT_ATTRS | LENENC_DATA;
    let mut packet = auth_packet(&greeting.nonce, USER, PASSWORD, capabilities);
    packet.extend_from_slice(b"mysql_native_password\0");
    packet.extend_from_slice(b"\x13\x05_name\x04mock\x03_os\x04none");
    packet
}

/// Logs in with a packet that `change` has changed. The login has to end in any case.
fn attempt(port: u16, bend: impl FnOnce(&mut Vec<u8>)) {
    let mut wire = Wire::connect(port);
    let greeting = Greeting::parse(&wire.read());
    let mut packet = whole(&greeting);
    bend(&mut packet);
    let _ = wire.stream().write_all(&frames(&packet, &mut 1));
    let _ = wire.stream().shutdown(std::net::Shutdown::Write);
    assert!(wire.closed(), "it ends");
}

#[track_caller]
fn nothing_is_left(dpm: &Dpm, peak_before: u64) {
    eventually("all but the bystander are gone", || {
        dpm.stat("clients") <= 1.0
    });
    let grown = dpm.memory_kib("VmHWM").saturating_sub(peak_before);
    assert!(grown < 16 << 10, "grown by {grown} KiB");
    assert!(!dpm.wrote("panicked"), "nothing panics");
}

#[test]
fn every_byte_of_an_auth_packet_may_lie() {
    let dpm = verifier();
    let port = dpm.port();
    let bystander = Bystander::on(port);
    attempt(port, |_| {});
    let peak = dpm.memory_kib("VmHWM");
    let len = {
        let mut wire = Wire::connect(port);
        whole(&Greeting::parse(&wire.read())).len()
    };
    for at in 0..len {
        attempt(port, |packet| packet.truncate(at));
        for value in [0, 1, 0x7F, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF] {
            attempt(port, |packet| packet[at] = value);
        }
    }
    nothing_is_left(&dpm, peak);
    bystander.was_undisturbed();
}

#[test]
fn auth_packets_that_are_far_too_long() {
    let dpm = verifier();
    let port = dpm.port();
    let bystander = Bystander::on(port);
    let peak = dpm.memory_kib("VmHWM");
    let long = |bytes: usize| vec![b'x'; bytes];
    for _ in 0..8 {
        // At most a megabyte is read; the announced length counts.
        attempt(port, |packet| packet.extend_from_slice(&long(1 << 20)));
        attempt(port, |packet| packet.extend_from_slice(&long(20 << 20)));
        // Attributes and an answer with the largest possible lengths.
        attempt(port, |packet| {
            let at = packet.len() - 20;
            packet.splice(
                at..=at,
                [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            );
        });
        attempt(port, |packet| {
            let at = 32 + USER.len() + 1;
            packet.splice(
                at..=at,
                [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
            );
        });
        // A name without an end.
        attempt(port, |packet| {
            packet.truncate(32);
            packet.extend_from_slice(&long(900_000));
        });
    }
    // And many that announce much and then fall silent.
    let mut stalled: Vec<Wire> = (0..64).map(|_| Wire::connect(port)).collect();
    for wire in &mut stalled {
        wire.read();
        wire.raw(&[0xFF, 0xFF, 0x0F, 1]);
        wire.raw(&long(1000));
    }
    drop(stalled);
    nothing_is_left(&dpm, peak);
    bystander.was_undisturbed();
}

#[test]
fn changes_of_user_that_lie() {
    let dpm = verifier();
    let port = dpm.port();
    let bystander = Bystander::on(port);
    let peak = dpm.memory_kib("VmHWM");
    let mut change = vec![com::CHANGE_USER];
    change.extend_from_slice(USER.as_bytes());
    change.extend_from_slice(b"\0\x14");
    change.extend_from_slice(&[7; 20]);
    change.extend_from_slice(b"test\0\x2d\0mysql_native_password\0");
    for at in 1..change.len() {
        for bend in [None, Some(0), Some(0xFE), Some(0xFF)] {
            let mut wire = Wire::login(port, caps::BASE);
            let mut packet = change.clone();
            match bend {
                None => packet.truncate(at),
                Some(value) => packet[at] = value,
            }
            let _ = wire.stream().write_all(&frames(&packet, &mut 0));
            let _ = wire.stream().shutdown(std::net::Shutdown::Write);
            assert!(wire.closed(), "it ends");
        }
    }
    nothing_is_left(&dpm, peak);
    bystander.was_undisturbed();
}

/// A server whose handshake names `caching_sha2_password`, and that answers a login with arbitrary
/// packets.
#[test]
fn servers_whose_rounds_go_nowhere() {
    let mock = MockServer::new();
    let dpm = Launch::script(
        "
        local dpml, kept = require('dpml'), {}
        local function try()
            kept[#kept + 1] = dpml.connect_mysql_server{ host = '127.0.0.1', port = tonumber(arg[1]),
                user = 'happy', pass = arg[2], callback = function(server, err)
                    print('ENDED', err and err.message)
                end }
        end
        dpm.on_signal('USR2', try)
        kept.timer = dpm.new_timer()
        kept.timer:schedule(3600, 0, function() end)
        dpm.config{ handshake_timeout = 2 }
        print('READY')
        ",
    )
    .arg(mock.port)
    .arg(PASSWORD)
    .start();
    dpm.line("READY");
    let peak = dpm.memory_kib("VmHWM");
    let mut greeting = crate::support::wire::greeting(caps::BASE);
    let plugin = greeting.len() - b"mysql_native_password\0".len();
    greeting.splice(plugin.., *b"caching_sha2_password\0");
    let switch = |plugin: &[u8], data: &[u8]| [&[0xFE], plugin, data].concat();
    let pem = |bytes: usize| {
        [
            b"\x01-----BEGIN PUBLIC KEY-----\n",
            &vec![b'A'; bytes][..],
            b"\n-----END PUBLIC KEY-----\n",
        ]
        .concat()
    };
    let answers: Vec<Vec<u8>> = vec![
        vec![],
        vec![0x01],
        vec![0x01, 0x04],
        vec![0x01, 0x05],
        vec![0x01; 5000],
        vec![0xFE],
        switch(b"caching_sha2_password", b""),
        switch(b"caching_sha2_password\0", b"short\0"),
        switch(b"caching_sha2_password\0", NONCE),
        switch(b"caching_sha2_password\0", &vec![b'n'; 1 << 19]),
        switch(b"client_ed25519\0", b""),
        switch(b"parsec\0", &[0xFF; 3]),
        switch(b"mysql_clear_password\0", b""),
        switch(b"dialog\0", b"\x02Password: "),
        switch(&vec![b'p'; 1 << 19], b""),
        pem(10),
        pem(1 << 19),
        vec![0x02, 0, 0],
        vec![0x00],
        vec![0xFF],
        vec![0x55; 1 << 21],
    ];
    for (ended, answer) in answers.iter().enumerate() {
        dpm.signal("USR2");
        let mut wire = mock.accept();
        wire.write(&greeting);
        wire.read();
        // The same again and again: a login does not go on for ever.
        let begun = Instant::now();
        wire.lenient = true;
        wire.timeout(Duration::from_millis(200));
        let mut seq = 2;
        while begun.elapsed() < Duration::from_secs(4) && dpm.count("ENDED") <= ended {
            if wire.stream().write_all(&frames(answer, &mut seq)).is_err() {
                break;
            }
            let _ = wire.try_read();
            seq = wire.seq;
        }
        drop(wire);
        eventually("the login ends", || dpm.count("ENDED") > ended);
    }
    eventually("all servers are gone", || dpm.stat("servers") == 0.0);
    // Half a megabyte a round, which callbacks have seen.
    let grown = dpm.memory_kib("VmHWM").saturating_sub(peak);
    assert!(grown < 32 << 10, "grown by {grown} KiB");
    assert!(!dpm.wrote("panicked"), "nothing panics");
    assert!(!dpm.wrote(PASSWORD), "and no password is shown");
}
