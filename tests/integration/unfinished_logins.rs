//! Clients that leave before they have logged in: servers count such connections, and shut out a host that has made too
//! many. For all clients of a proxy that is the proxy.

use std::net::{SocketAddr, UdpSocket};

use crate::support::dpm::Launch;
use crate::support::wire::{Greeting, Wire, caps, native_answer};
use crate::support::{Dpm, Flavour, MockServer, Server, both, eventually};

/// An address of this machine that servers do not take for their own host, if it has one.
fn address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only asks which address would be used.
    socket.connect("192.0.2.1:9").ok()?;
    socket
        .local_addr()
        .ok()
        .filter(|address| !address.ip().is_loopback())
}

fn strict(flavour: Flavour) -> Server {
    let options = [
        "--bind-address=*",
        "--skip-name-resolve=OFF",
        "--max-connect-errors=3",
    ];
    Server::start_own(flavour, &options)
}

/// A proxy before a server at this machine's own address: by the library, and by hand.
fn proxies(server: &Server, address: SocketAddr) -> [Dpm; 2] {
    [
        "dpml.passthrough_new_clients(l, {}, host, port)",
        "local pairs_ = {}
         l:register(dpm.MYC_CONNECT, function(client)
           local server = dpm.connect(host, port)
           pairs_[client:id()] = server
           client:register(dpm.MY_CLOSING, function(id) pairs_[id] = nil end)
           dpm.proxy_connect(client, server)
         end)",
    ]
    .map(|how| {
        Launch::script(&format!(
            "local dpml = require 'dpml'
             local l = require('harness').listen(function() end)
             local host, port = '{}', {}
             {how}",
            address.ip(),
            server.port
        ))
        .start()
    })
}

/// When it leaves, and how it comes so far.
type Leaver = (&'static str, fn(u16));

/// Clients at any point of their login.
const LEAVERS: [Leaver; 7] = [
    ("at once", |port| drop(Wire::connect(port))),
    ("after the greeting", |port| {
        Wire::connect(port).read();
    }),
    ("with a reset", |port| {
        let mut wire = Wire::connect(port);
        wire.read();
        wire.write(b"\x01"); // whose answer is not read
        drop(wire);
    }),
    ("after rubbish", |port| {
        let mut wire = Wire::connect(port);
        wire.read();
        wire.write(b"");
        assert_eq!(wire.read()[0], 0xFF);
    }),
    ("before TLS", |port| {
        let mut wire = Wire::connect(port);
        wire.read();
        let mut request = (caps::BASE | caps::SSL).to_le_bytes().to_vec();
        request.extend_from_slice(&[0; 28]);
        wire.write(&request);
    }),
    ("when asked to switch", |port| {
        let mut wire = Wire::connect(port);
        let greeting = Greeting::parse(&wire.read());
        let mut packet =
            crate::support::wire::auth_packet(&greeting.nonce, "happy", "", caps::BASE);
        packet.extend_from_slice(b"unheard_of\0");
        wire.write(&packet);
        assert_eq!(wire.read()[0], 0xFE);
    }),
    ("when asked for more", |port| {
        let mut wire = Wire::connect(port);
        let greeting = Greeting::parse(&wire.read());
        let mut packet =
            crate::support::wire::auth_packet(&greeting.nonce, "happy", "", caps::BASE);
        packet.pop();
        packet.push(32);
        packet.extend_from_slice(&[7; 32]);
        packet.extend_from_slice(b"caching_sha2_password\0");
        wire.write(&packet);
        let _ = wire.try_read();
    }),
];

both! {
    fn clients_that_leave_do_not_shut_the_others_out(shared) {
        let Some(address) = address() else { return };
        let server = strict(shared.flavour);
        for dpm in proxies(&server, address) {
            let port = dpm.port();
            for (when, leave) in LEAVERS {
                for _ in 0..8 {
                    leave(port);
                }
                dpm.wait_until_idle();
                println!("clients have left {when}");
                drop(Wire::login_empty(port, caps::BASE));
            }
            // Those that say nothing are closed before the server counts them.
            let mut silent = [(); 5].map(|()| Wire::connect(port));
            for wire in &mut silent {
                wire.read();
            }
            assert!(silent.iter_mut().all(Wire::closed));
            drop(Wire::login_empty(port, caps::BASE));
        }
        // And those that are there when the proxy ends.
        let [mut dpm, other] = proxies(&server, address);
        let mut silent = [(); 8].map(|()| Wire::connect(dpm.port()));
        for wire in &mut silent {
            wire.read();
        }
        dpm.signal("TERM");
        eventually("it ends", || !dpm.runs());
        drop(Wire::login_empty(other.port(), caps::BASE));
    }
}

/// What the proxy says instead of a client that has left.
#[test]
fn the_login_is_finished_as_nobodys() {
    let mock = MockServer::new();
    let dpm = Dpm::passthrough_to(mock.port);
    let client = Wire::connect(dpm.port());
    let mut server = mock.accept();
    server.write(&crate::support::wire::greeting(caps::BASE));
    drop(client);
    let auth = server.read();
    let user = b"client-left-before-its-login\0\0mysql_native_password\0";
    assert!(auth.ends_with(user), "{}", auth.escape_ascii());
    // Whatever the server asks for is answered by nothing of worth.
    server.write(b"\xFEclient_ed25519\0abcdefghijklmnopqrstuvwxyz012345");
    assert_eq!(server.read(), [0; 64]);
    server.write(b"\xFEcaching_sha2_password\0abcdefghijklmnopqrst\0");
    assert_eq!(server.read(), b"\0");
    server.write(b"\x01\x04");
    assert_eq!(server.read(), b"\0");
    // If there is such an account after all, it leaves in order.
    server.write(&crate::support::wire::ok());
    assert_eq!(
        server.read_command(),
        (crate::support::wire::com::QUIT, vec![])
    );
    assert!(server.closed());
    // A client's own password is not repeated, nor anything derived from it.
    let client = {
        let mut client = Wire::connect(dpm.port());
        let mut server = mock.accept();
        server.write(&crate::support::wire::greeting(caps::BASE));
        let greeting = Greeting::parse(&client.read());
        client.authenticate(&greeting, "ann", "secret", caps::BASE);
        let auth = server.read();
        let proof = native_answer("secret", &greeting.nonce);
        assert!(auth.windows(20).any(|bytes| bytes == proof));
        server.write(b"\xFEmysql_native_password\0abcdefghijklmnopqrst\0");
        client.read();
        drop(client);
        assert_eq!(server.read(), b"");
        server
    };
    drop(client);
    dpm.wait_until_idle();
}

/// A server that does not go on with it is left soon.
#[test]
fn a_server_that_says_nothing_more_is_left() {
    let mock = MockServer::new();
    let mut dpm = Dpm::passthrough_to(mock.port);
    let client = Wire::connect(dpm.port());
    let mut server = mock.accept();
    drop(client);
    assert!(server.closed());
    // Nor one that says too much.
    let client = Wire::connect(dpm.port());
    let mut server = mock.accept();
    drop(client);
    server.raw(&[0xFF, 0xFF, 0xFF, 0, 10, 0, 0]);
    assert!(server.closed());
    assert!(dpm.runs());
}
