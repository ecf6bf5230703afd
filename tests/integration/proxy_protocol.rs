//! The PROXY protocol: on listeners, with HAProxy in front, and towards servers, which show whose
//! connection it is.

use std::fmt::Write as _;
use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::wire::{Greeting, Wire, caps};
use crate::support::{Cli, Dpm, Flavour, Server, USER, eventually, mariadb, process};

/// A passthrough whose listener has these options, its connects those; it says who has come.
fn passthrough(listener: &str, connect: &str, port: u16) -> Dpm {
    let script = format!(
        "local h = require('harness')
         h.listen(function(c)
           print('came ' .. c:socket_address() .. ' ' .. c:socket_port() .. ' ' .. tostring(c:secure()))
           local s = dpm.connect(arg[1], tonumber(arg[2]), {{ {connect} }})
           local id = c:id()
           h.pairs[id] = {{ c, s }}
           c:on_close(function() h.pairs[id] = nil end)
           dpm.proxy_connect(c, s)
         end, {{ {listener} }})"
    );
    Launch::script(&script).arg("127.0.0.1").arg(port).start()
}

const TRUSTED: &str = "proxy_protocol = { '10.0.0.0/8', '127.0.0.1', '::1' }";

fn believing_server(flavour: Flavour) -> Server {
    Server::start_own(flavour, &["--proxy-protocol-networks=127.0.0.1"])
}

/// Connects, says this, and logs in.
fn login_behind(header: &[u8], port: u16) -> Wire {
    let mut wire = Wire::connect(port);
    wire.raw(header);
    let greeting = Greeting::parse(&wire.read());
    wire.authenticate(&greeting, "empty", "", caps::BASE);
    assert_eq!(wire.read()[0], 0);
    wire
}

fn local_port(wire: &mut Wire) -> u16 {
    wire.stream().local_addr().unwrap().port()
}

const WHO: &str = "SELECT host FROM information_schema.processlist WHERE id = CONNECTION_ID()";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend_from_slice(&[command, family]);
    header.extend_from_slice(&(body.len() as u16).to_be_bytes());
    header.extend_from_slice(body);
    header
}

#[test]
fn a_server_is_told_who_the_client_is() {
    let server = believing_server(Flavour::MariaDb);
    for version in [1, 2] {
        let towards = format!("proxy_protocol = {version}, client = c");
        let dpm = passthrough("", &towards, server.port);
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
        let address = format!("127.0.0.1:{}", local_port(&mut wire));
        assert_eq!(wire.rows(WHO), [[address]]);
        let said = Cli::query(server.flavour, dpm.port(), "SELECT USER()");
        assert_eq!(said, format!("{USER}@127.0.0.1\n"));

        // The header names no client.
        let dpm = passthrough("", &format!("proxy_protocol = {version}"), server.port);
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
        let shown = wire.rows(WHO)[0][0].clone();
        assert!(shown.starts_with("127.0.0.1:"), "{shown}");
        assert_ne!(shown, format!("127.0.0.1:{}", local_port(&mut wire)));
    }
}

#[test]
fn from_header_to_header() {
    let server = believing_server(Flavour::MariaDb);
    for version in [1, 2] {
        let dpm = passthrough(
            TRUSTED,
            &format!("proxy_protocol = {version}, client = c"),
            server.port,
        );
        let mut wire = login_behind(
            b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 3306\r\n",
            dpm.port(),
        );
        assert_eq!(wire.rows(WHO), [["192.0.2.7:5555"]]);
        dpm.line("came 192.0.2.7 5555 false");
        let mut body = vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        body.extend_from_slice(&[0; 16]);
        body.extend_from_slice(&[0x15, 0xb3, 0x0c, 0xea]);
        let mut wire = login_behind(&v2(0x21, 0x21, &body), dpm.port());
        assert_eq!(wire.rows(WHO), [["2001:db8::7:5555"]]);
        dpm.line("came 2001:db8::7 5555 false");
        dpm.assert_no_errors();
    }
}

#[test]
fn headers_go_before_tls() {
    if !Flavour::MariaDb11.available() {
        return;
    }
    // It has a certificate of its own making.
    let server = believing_server(Flavour::MariaDb11);
    let towards = "proxy_protocol = 2, client = c, tls = 'required'";
    let dpm = passthrough(TRUSTED, towards, server.port);
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 3306\r\n";
    let mut wire = login_behind(header, dpm.port());
    assert_eq!(wire.rows(WHO), [["192.0.2.7:5555"]]);
    let cipher = wire.rows("SHOW STATUS LIKE 'Ssl_cipher'");
    assert_ne!(cipher[0][1], "");
}

#[test]
fn one_dpm_behind_another() {
    let server = mariadb();
    let folder = process::folder("socket");
    let path = folder.join("s").display().to_string();
    for version in [1, 2] {
        // Over TCP.
        let behind = passthrough(TRUSTED, "", server.port);
        let towards = format!("proxy_protocol = {version}, client = c");
        let front = passthrough("", &towards, behind.port());
        let mut wire = Wire::login_empty(front.port(), caps::BASE);
        wire.rows("SELECT 1");
        behind.line(&format!("came 127.0.0.1 {} false", local_port(&mut wire)));

        // A connection of the front's own.
        let front = passthrough("", &format!("proxy_protocol = {version}"), behind.port());
        Wire::login_empty(front.port(), caps::BASE).rows("SELECT 1");
        eventually("it is known as itself", || {
            behind.lines("came ").len() == 2 && !behind.lines("came ")[1].ends_with(" 0 false")
        });

        // Over a unix socket.
        let behind = Launch::script(&format!(
            "local listener = dpm.listener_unix('{path}', '0700', {{ proxy_protocol = {{ 'unix' }} }})
             require('dpml')
             dpml.passthrough_new_clients(listener, {{
               new_client = function(c)
                 print('came ' .. c:socket_address() .. ' ' .. c:socket_port() .. ' ' .. tostring(c:secure()))
               end }}, {{ arg[1], tonumber(arg[2]) }})
             print('ready')"
        ))
        .server(server)
        .start();
        behind.line("ready");
        let front = Launch::script(&format!(
            "require('dpml')
             local listener = dpm.listener('127.0.0.1', 0)
             dpml.passthrough_new_clients(listener, {{}}, {{ '{path}', proxy_protocol = {version} }})
             print('port ' .. listener:socket_port())"
        ))
        .start();
        let mut wire = Wire::login_empty(front.port(), caps::BASE);
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        behind.line(&format!("came 127.0.0.1 {} false", local_port(&mut wire)));
        behind.assert_no_errors();
        front.assert_no_errors();
    }
}

#[test]
fn dpml_s_own_connections_take_the_options() {
    let server = believing_server(Flavour::MariaDb);
    let dpm = Dpm::start(
        &format!(
            "require('dpml')
             dpml.connect_mysql_server{{
               host = arg[1], port = tonumber(arg[2]), user = 'empty', compression = 'zlib',
               proxy_protocol = 2, idle_timeout = 100,
               callback = function(s, err)
                 assert(s, err)
                 server = s
                 dpml.execute_query_buffered(s, \"{WHO}\", function(_, _, result, err)
                   print('seen ' .. tostring(err or result.rows[1][1]) .. ' ' .. tostring(s:compression()))
                 end)
               end }}"
        ),
        &server,
    );
    let seen = dpm.line("seen ");
    assert!(seen.starts_with("seen 127.0.0.1:"), "{seen}");
    assert!(seen.ends_with(" zlib"), "{seen}");
}

#[test]
fn headers_that_keep_the_sockets_own_address() {
    let dpm = passthrough(TRUSTED, "", mariadb().port);
    let headers: [&[u8]; 7] = [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 5555 3306\r\n",
        &v2(0x20, 0, b""),
        &v2(0x20, 0x11, &[9; 12]),
        &v2(0x21, 0x31, &[7; 216]),
        &v2(0x21, 0x31, &[7; 5000]),
        &v2(0x20, 0x11, &[7; 65_535]),
    ];
    for (n, header) in headers.into_iter().enumerate() {
        let mut wire = login_behind(header, dpm.port());
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        dpm.line(&format!("came 127.0.0.1 {} false", local_port(&mut wire)));
        assert_eq!(dpm.lines("came ").len(), n + 1);
    }
    dpm.assert_no_errors();
}

#[test]
fn nobody_is_told_before_the_header_is_there() {
    let dpm = passthrough(TRUSTED, "", mariadb().port);
    let mut wire = Wire::connect(dpm.port());
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 3306\r\n";
    for byte in header.split_last().unwrap().1.chunks(5) {
        wire.raw(byte);
        assert!(wire.silent(Duration::from_millis(20)));
    }
    assert!(!dpm.wrote("came "));
    wire.raw(b"\n");
    Greeting::parse(&wire.read());
    dpm.line("came 192.0.2.7 5555");
}

#[test]
fn what_is_no_header_costs_one_connection() {
    let dpm = passthrough(TRUSTED, "", mariadb().port);
    let mut seen = String::new();
    let long_line = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        &long_line,
        &v2(0x31, 0x11, &[0; 12]),
        &v2(0x21, 0x11, &[0; 11]),
    ] {
        let mut wire = Wire::connect(dpm.port());
        wire.raw(bytes);
        assert!(wire.closed());
        write!(seen, "{} ", bytes.len()).unwrap();
    }
    // Closed in the middle of a header, or at once, like a port check.
    let mut wire = Wire::connect(dpm.port());
    wire.raw(b"PROXY TCP4");
    drop(wire);
    drop(Wire::connect(dpm.port()));
    eventually("six warnings", || dpm.count(" WARN ") == 6);
    assert!(dpm.wrote("expected a PROXY protocol header, got something else"));
    assert!(!dpm.wrote("came "));
    dpm.wait_until_idle();
    login_behind(b"PROXY UNKNOWN\r\n", dpm.port());
}

#[test]
fn a_header_that_does_not_come() {
    let listener = format!("{TRUSTED}, handshake_timeout = 0.3");
    let dpm = passthrough(&listener, "", mariadb().port);
    let mut wire = Wire::connect(dpm.port());
    wire.raw(b"PROXY ");
    assert!(wire.closed());
    dpm.line("its PROXY header took longer than handshake_timeout");
    dpm.wait_until_idle();
}

#[test]
fn who_is_not_listed_is_a_plain_client() {
    let dpm = passthrough(
        "proxy_protocol = { '192.0.2.0/24', 'unix' }",
        "",
        mariadb().port,
    );
    assert_eq!(Cli::query(Flavour::MariaDb, dpm.port(), "SELECT 1"), "1\n");
    // And the header is not accepted. What a client sends before the handshake is read after the
    // handshake, not at a time-out.
    let mut wire = Wire::connect(dpm.port());
    wire.timeout(Duration::from_secs(5));
    wire.raw(b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 3306\r\n");
    assert!(wire.closed());
    assert!(!dpm.wrote("192.0.2.7"));
}

#[test]
fn options_are_checked() {
    let script = "
        local function complaint(...)
          local ok, message = pcall(...)
          assert(not ok)
          print('complaint ' .. message)
        end
        complaint(dpm.listener, '127.0.0.1', 0, { proxy_protocol = 'all' })
        complaint(dpm.listener, '127.0.0.1', 0, { proxy_protocol = { 'localhost' } })
        complaint(dpm.listener, '127.0.0.1', 0, { client = 1 })
        complaint(dpm.connect, '127.0.0.1', 1, { proxy_protocol = 3 })
        complaint(dpm.connect, '127.0.0.1', 1, { proxy_protocol = 1, client = 'me' })
        complaint(dpm.connect, '127.0.0.1', 1, { client = dpm.listener('127.0.0.1', 0) })
        complaint(dpm.listener, '127.0.0.1', 0, { compression = 'lz4' })
        complaint(dpm.listener, '127.0.0.1', 0, { compression = { 'zlib', level = 10 } })
        complaint(dpm.listener, '127.0.0.1', 0, { compression = { 'zlib', levle = 1 } })
        complaint(dpm.connect, '127.0.0.1', 1, { compression = true })
        print('done')";
    let dpm = Dpm::start(script, mariadb());
    dpm.line("done");
    let complaints = dpm.lines("complaint ");
    for (complaint, part) in complaints.iter().zip([
        "proxy_protocol: expected a list of addresses",
        "got 'localhost'",
        "there is no option client",
        "expected 1 or 2, got 3",
        "client: expected a client, got string",
        "client: expected a client, got conn",
        "got \"lz4\"",
        "level: an integer from 1 to 9, got 10",
        "got a field 'levle'",
        "or false, got boolean",
    ]) {
        assert!(complaint.contains(part), "{complaint}");
    }
    assert_eq!(complaints.len(), 10);
}

/// HAProxy, the most common load balancer.
#[test]
fn behind_haproxy() {
    for send in ["send-proxy", "send-proxy-v2"] {
        let dpm = passthrough(TRUSTED, "", mariadb().port);
        let port = process::free_port();
        let folder = process::folder("haproxy");
        let config = folder.join("haproxy.cfg");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n\
             listen mysql\n  bind 127.0.0.1:{port}\n  server dpm 127.0.0.1:{} {send}\n",
            dpm.port()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = process::command("haproxy");
        command.arg("-db").arg("-f").arg(&config);
        let mut haproxy = process::spawn(command);
        eventually("HAProxy listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let mut wire = Wire::login_empty(port, caps::BASE);
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        dpm.line(&format!("came 127.0.0.1 {}", local_port(&mut wire)));
        assert_eq!(Cli::query(Flavour::MariaDb, port, "SELECT 2"), "2\n");
        let _ = haproxy.kill();
        let _ = haproxy.wait();
    }
}
