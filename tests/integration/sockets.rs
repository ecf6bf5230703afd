//! Listening and connecting: address families, names, unix sockets, time-outs and error texts.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crate::support::wire::{Answer, DeadServer, Greeting, MockServer, Wire, caps};
use crate::support::{Dpm, Stage, eventually, let_time_pass, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;

/// Connects, and gives the reason for which that failed.
#[track_caller]
fn failure(stage: &mut Stage, connect: &str) -> String {
    stage.lua(&format!(
        "reason = nil
         attempt = {connect}
         attempt:register(dpm.MY_CLOSING, function(id, conn) reason = conn:close_reason() end)"
    ));
    stage.until("reason ~= nil");
    stage.lua("return reason")
}

#[test]
fn ipv6_both_ways() {
    let server = TcpListener::bind("[::1]:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let mut stage = Stage::with("h.serve()", port);
    let line = stage.lua(
        "six = dpm.listener('::1', 0)
         six:register(dpm.MYC_CONNECT, function(c)
           clients[1] = c
           print('from', c:socket_address(), c:socket_port() > 0, c:listener())
         end)
         return six:socket_port(), six:socket_address(), six:listener()",
    );
    let (port, rest) = line.split_once('\t').unwrap();
    assert_eq!(rest, "::1\t1");
    let _client = Wire::connect_to(("::1", port.parse().unwrap()));
    stage.dpm.line("from\t::1\ttrue\t0");
    stage.lua("servers[1] = dpm.connect('::1', tonumber(arg[2]))");
    // The connection is there before anybody accepts it.
    stage.until("servers[1]:socket_address() == '::1' and servers[1]:state() == dpm.MYS_CONNECT");
}

#[test]
fn all_addresses() {
    let mut stage = Stage::before(1);
    for all in ["nil", "dpm.INADDR_ANY"] {
        let port: u16 = stage
            .lua(&format!(
                "all = dpm.listener({all}, 0)
                 all:register(dpm.MYC_CONNECT, function(c) clients[1] = c dpm.wire_packet(c, dpm.new_handshake_pkt()) end)
                 return all:socket_port()"
            ))
            .parse()
            .unwrap();
        for address in ["127.0.0.1", "127.0.0.2", "::1"] {
            assert_eq!(
                Wire::connect_to((address, port)).read()[0],
                10,
                "{address} of {all}"
            );
        }
        stage.lua("dpm.close(all)");
    }
}

#[test]
fn a_name_is_resolved() {
    let mut stage = Stage::before(mariadb().port);
    stage.lua("arg[1] = 'localhost'");
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return servers[1]:socket_address()"), "127.0.0.1");
}

/// Addresses that are only one together with their interface.
#[test]
fn addresses_have_scopes() {
    let mut stage = Stage::with("h.serve()", 1);
    // The first link-local address of this machine, if it has one.
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let link_local = interfaces.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [address, _, _, "20", _, name] = fields[..] else {
            return None;
        };
        let bits = u128::from_str_radix(address, 16).ok()?;
        Some(format!("{}%{name}", std::net::Ipv6Addr::from_bits(bits)))
    });
    for address in ["::1%1".to_owned()].into_iter().chain(link_local) {
        stage.lua(&format!(
            "from = nil
             scoped = dpm.listener('{address}', 0)
             scoped:register(dpm.MYC_CONNECT, function(c) from = c:socket_address() end)
             server = dpm.connect('{address}', scoped:socket_port())
             bracketed = dpm.connect('[{address}]', scoped:socket_port())"
        ));
        stage.until("from ~= nil");
        let (ip, _) = address.split_once('%').unwrap();
        assert_eq!(stage.lua("return from"), ip);
        stage.lua("dpm.close(server) dpm.close(bracketed) dpm.close(scoped)");
    }
    // It is known where this is to be, though not that there is nothing.
    let reason = failure(&mut stage, "dpm.connect('fe80::1234%lo', 1)");
    assert!(
        reason.starts_with("cannot connect to fe80::1234%lo:1"),
        "{reason}"
    );
    assert!(!reason.contains("lookup"), "{reason}");
    let reason = failure(&mut stage, "dpm.connect('fe80::1%no-such-interface', 1)");
    assert!(reason.starts_with("cannot connect"), "{reason}");
}

/// With a bare `dpm.proxy_connect`: a port where nobody listens, and a server that hangs up.
#[test]
fn a_client_hears_that_its_server_cannot_be_reached() {
    let free = crate::support::process::free_port();
    let mock = MockServer::new();
    for port in [free, mock.port] {
        let dpm = Dpm::passthrough_to(port);
        let mut wire = Wire::connect(dpm.port());
        if port == mock.port {
            drop(mock.accept());
        }
        let error = wire.read();
        assert_eq!(
            &error[..9],
            b"\xff\x51\x04#08S01",
            "{}",
            error.escape_ascii()
        );
        assert!(wire.closed());
        let line = dpm.line("there is no server for its login");
        assert!(line.contains("WARN"), "{line}");
        if port == free {
            assert!(line.contains(&format!("127.0.0.1:{free}")) && line.contains("refused"));
        }
        dpm.wait_until_idle();
    }
}

#[test]
fn failed_logins_are_counted() {
    let dpm = Dpm::passthrough(mariadb());
    for _ in 0..2 {
        let mut wire = Wire::connect(dpm.port());
        let greeting = Greeting::parse(&wire.read());
        wire.authenticate(&greeting, "nobody", "wrong", PLAIN);
        assert_eq!(wire.read()[0], 0xFF);
    }
    let mut wire = Wire::login(dpm.port(), PLAIN);
    assert_eq!(dpm.stat("failed_logins"), 2.0);
    wire.query("SELECT nothing");
    assert_eq!(dpm.stat("failed_logins"), 2.0);
    assert_eq!(wire.change_user(crate::support::USER, "wrong")[0], 0xFF);
    assert_eq!(dpm.stat("failed_logins"), 3.0);
}

#[test]
fn keep_alive_is_adjustable() {
    for (option, timer) in [
        ("", true),
        ("keepalive = 5", true),
        ("keepalive = 0", false),
    ] {
        let stage = Stage::with(&format!("h.serve(nil, {{ {option} }})"), 1);
        let mut wire = Wire::login_empty(stage.dpm.port(), PLAIN);
        let port = wire.stream().local_addr().unwrap().port();
        let remote = format!(":{port:04X}");
        // In the kernel's table a timer of kind 2 is keep-alive's; it may still wait for an ACK (1).
        let expected = if timer { "02:" } else { "00:" };
        eventually(option, || {
            let path = format!("/proc/{}/net/tcp", stage.dpm.pid());
            let table = std::fs::read_to_string(path).unwrap();
            let mut lines = table
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>());
            let line = lines.find(|fields| fields[2].ends_with(&remote)).unwrap();
            line[5].starts_with(expected)
        });
    }
}

#[test]
fn why_a_connect_failed() {
    let mut stage = Stage::before(1);
    let free = crate::support::process::free_port();
    let why = failure(&mut stage, &format!("dpm.connect('127.0.0.1', {free})"));
    assert!(
        why.contains("refused") && why.contains(&free.to_string()),
        "{why}"
    );
    let why = failure(&mut stage, "dpm.connect('no-such-host.invalid', 3306)");
    assert!(why.contains("cannot connect"), "{why}");
    let why = failure(&mut stage, "dpm.connect_unix('/nowhere/at/all')");
    assert!(
        why.contains("/nowhere/at/all") && why.contains("No such file"),
        "{why}"
    );
    let why = failure(&mut stage, "dpm.connect('', 3306)");
    assert!(why.contains("cannot connect"), "{why}");
    // Arguments that cannot be right are errors at once.
    for call in [
        "dpm.connect()",
        "dpm.connect('x')",
        "dpm.connect('x', 65536)",
        "dpm.connect('x', '1')",
        "dpm.connect('x', 1, { nope = 1 })",
        "dpm.connect('x', 1, { max_clients = 1 })",
        "dpm.connect_unix()",
        "dpm.listener('999.1.1.1', 0)",
        "dpm.listener('127.0.0.1')",
        "dpm.listener('203.0.113.1', 0)",
    ] {
        let said = stage.lua(&format!("return pcall(function() return {call} end)"));
        assert!(
            said.starts_with("false\t") && said.contains("dpm."),
            "{call}: {said}"
        );
    }
    let said = stage.lua("return pcall(dpm.listener, '127.0.0.1', h.listener:socket_port())");
    assert!(said.contains("in use"), "{said}");
}

#[test]
fn connect_timeout_where_nobody_answers() {
    let dead = DeadServer::new();
    let mut stage = Stage::before(1);
    let begun = Instant::now();
    let connect = format!(
        "dpm.connect('127.0.0.1', {}, {{ connect_timeout = 0.3 }})",
        dead.port
    );
    let why = failure(&mut stage, &connect);
    assert!(why.contains("connect_timeout"), "{why}");
    assert!(
        begun.elapsed() >= Duration::from_millis(300) && begun.elapsed() < Duration::from_secs(10)
    );
    stage.until("dpm.stats().timeouts == 1");
}

#[test]
fn handshake_timeout_of_a_server_and_of_a_client() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let mut stage = Stage::with("h.serve(nil, { handshake_timeout = 0.2 })", port);
    let why = failure(
        &mut stage,
        "dpm.connect('127.0.0.1', tonumber(arg[2]), { handshake_timeout = 0.2 })",
    );
    assert!(why.contains("handshake_timeout"), "{why}");
    let mut wire = Wire::connect(stage.dpm.port());
    wire.read();
    assert!(wire.closed());
    // Those who are logged in have time.
    let mut wire = stage.client(PLAIN);
    let_time_pass(Duration::from_millis(400));
    assert!(matches!(wire.query("x"), Answer::Err(1105, ..)));
}

#[test]
fn idle_timeout_counts_from_the_last_byte_and_spares_the_busy() {
    let mut stage = Stage::with("h.serve(nil, { idle_timeout = 1.5 })", mariadb().port);
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    for _ in 0..4 {
        let_time_pass(Duration::from_millis(500));
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    }
    assert!(
        matches!(wire.query("SELECT SLEEP(2.5)"), Answer::Rows { .. }),
        "it waits for an answer"
    );
    let begun = Instant::now();
    assert!(wire.closed());
    assert!(begun.elapsed() < Duration::from_secs(10));
    let why = stage.lua("return clients[1]:close_reason()");
    assert!(why.contains("idle_timeout"), "{why}");
    assert_eq!(
        stage.lua("return servers[1]:close_reason()"),
        "nil",
        "a pool's server has its own"
    );
}

/// Not after up to twice the time, whenever the last byte came.
#[test]
fn idle_timeout_is_as_long_as_it_says() {
    let mut stage = Stage::with("h.serve(nil, { idle_timeout = 2 })", mariadb().port);
    let mut wire = stage.client(PLAIN);
    let_time_pass(Duration::from_millis(300));
    assert!(matches!(wire.query("x"), Answer::Err(1105, ..)));
    let begun = Instant::now();
    assert!(wire.closed());
    let took = begun.elapsed().as_secs_f64();
    assert!((1.9..3.2).contains(&took), "{took} s");
}

#[test]
fn unix_sockets_both_ways() {
    let folder = crate::support::process::folder("sock");
    let path = folder.join("s");
    let text = path.to_str().unwrap();
    let mut stage = Stage::before(mariadb().port);
    let listen = format!(
        "ul = dpm.listener_unix('{text}'%s)
         ul:register(dpm.MYC_CONNECT, function(c)
           clients[1] = c
           print('unix', c:socket_address(), c:socket_port(), c:listener())
           c:register(dpm.MYC_WAITING, function(auth, id, conn)
             c:register(dpm.MYC_WAITING, nil)
             dpm.wire_packet(c, dpm.new_ok_pkt())
           end)
           dpm.wire_packet(c, dpm.new_handshake_pkt())
         end)
         return ul:listener()"
    );
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(stage.lua(&listen.replace("%s", "")), "2");
    assert_eq!(mode(), 0o700, "by default");
    // A live one is not taken away.
    let said = stage.lua(&format!("return pcall(dpm.listener_unix, '{text}')"));
    assert!(said.contains("in use"), "{said}");
    stage.lua("dpm.close(ul)");
    assert_eq!(stage.lua(&listen.replace("%s", ", '0666'")), "2");
    assert_eq!(mode(), 0o666);

    // A client by the unix socket, a server by its own.
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut head = [0; 5];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    assert_eq!(head[4], 10, "a greeting");
    stage.dpm.line("unix\tlocalhost\t0\t0");
    let socket = mariadb().socket.display();
    stage.lua(&format!(
        "dpm.connect = function() return dpm.connect_unix('{socket}') end"
    ));
    stage.server();
    assert_eq!(stage.lua("return servers[1]:socket_address()"), "localhost");
    let mut wire = stage.client_from(1, PLAIN);
    stage.lua("dpm.proxy_connect(clients[#clients], servers[1])");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
}

#[test]
fn a_stale_socket_file_is_replaced_and_no_other_file() {
    let folder = crate::support::process::folder("sock");
    let mut stage = Stage::before(1);
    stage.lua("held = setmetatable({}, nil)");
    let mut listen = |path: &std::path::Path, rest: &str| {
        let path = path.display();
        stage.lua(&format!(
            "local ok, what = pcall(dpm.listener_unix, '{path}'{rest}) held[#held + 1] = what return ok, what"
        ))
    };
    let stale = folder.join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    assert!(listen(&stale, "").starts_with("true"));
    let plain = folder.join("plain");
    std::fs::write(&plain, "precious").unwrap();
    assert!(listen(&plain, "").starts_with("false"));
    assert_eq!(std::fs::read_to_string(&plain).unwrap(), "precious");
    assert!(listen(&folder, "").starts_with("false"));
    assert!(listen(&folder.join("no/such/folder"), "").contains("No such file"));
    for mode in [", 700", ", '0888'", ", ''", ", '01777'", ", 'rw'"] {
        assert!(
            listen(&folder.join("mode"), mode).contains("an octal string"),
            "{mode}"
        );
    }
    assert!(!folder.join("mode").exists());
    let long = folder.join("x".repeat(200));
    assert!(listen(&long, "").starts_with("false"));
}

#[test]
fn a_closed_listener_removes_its_socket_file() {
    let path = crate::support::process::folder("sock").join("s");
    let mut stage = Stage::before(1);
    stage.lua(&format!("ul = dpm.listener_unix('{}')", path.display()));
    assert!(path.exists());
    stage.lua("dpm.close(ul)");
    eventually("it is gone", || !path.exists());
}

#[test]
fn what_is_queued_is_flushed_before_the_socket_closes() {
    let mut stage = Stage::before(1);
    let mut wire = stage.client(PLAIN);
    stage.lua(
        "clients[1]:register(dpm.MYC_SENT_CMD, function(cmd, id, conn)
           local rset, field, row = dpm.new_rset_pkt(), dpm.new_field_pkt(), dpm.new_row_pkt()
           field:name('x') rset:add_field(field) rset:pack_row(row, { ('x'):rep(8000000) })
           for _, p in ipairs { rset, field, dpm.new_eof_pkt(), row, dpm.new_eof_pkt() } do
             dpm.wire_packet(conn, p)
           end
           print('closed', dpm.close(conn), dpm.close(conn), conn:pending() > 0)
           return dpm.DPM_NOPROXY
         end)",
    );
    wire.command(3, b"x");
    stage.dpm.line("closed\t1\tnil\ttrue");
    match wire.answer() {
        Answer::Rows { rows, .. } => assert_eq!(rows[0][0].as_ref().unwrap().len(), 8_000_000),
        other => panic!("{other:?}"),
    }
    assert!(wire.closed());
}
