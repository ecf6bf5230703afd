//! TLS on either leg or both, with real servers and clients.

use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::pki::{self, Pki};
use crate::support::process::Finished;
use crate::support::wire::{Greeting, MockServer, caps, greeting};
use crate::support::{self, Cli, Dpm, Flavour, PASSWORD, Server, USER, Wire, mariadb};

/// A server of each kind that shows the shared authority's certificate.
fn secured(flavour: Flavour) -> &'static Server {
    static MARIADB: OnceLock<Server> = OnceLock::new();
    static MYSQL: OnceLock<Server> = OnceLock::new();
    let place = match flavour {
        Flavour::MySql => &MYSQL,
        _ => &MARIADB,
    };
    place.get_or_init(|| {
        let options = pki::shared().server_options("server");
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let server = Server::start_own(flavour, &options);
        // MySQL knows the account from now on, and takes the fast way also where nothing is encrypted.
        Cli::query(flavour, server.port, "DO 0");
        server
    })
}

/// A server of each kind that has none.
fn without(flavour: Flavour) -> &'static Server {
    static MYSQL: OnceLock<Server> = OnceLock::new();
    match flavour {
        Flavour::MySql => MYSQL.get_or_init(|| {
            let server = Server::start_own(flavour, &["--tls-version="]);
            // The server knows the account from now on, and takes the fast way.
            Cli::query(flavour, server.port, "DO 0");
            server
        }),
        _ => mariadb(),
    }
}

fn flavours() -> Vec<Flavour> {
    let mut flavours = vec![Flavour::MariaDb];
    if support::server::mysql_available() {
        flavours.push(Flavour::MySql);
    }
    flavours
}

/// A passthrough whose legs have these options, in Lua.
fn proxy(server: &Server, client: &str, towards: &str) -> Dpm {
    Dpm::start(
        &format!(
            "require('harness').passthrough({{
               [dpm.MYC_WAITING] = function(auth, id, c)
                 if type(auth) == 'number' then return end
                 local t = c:tls()
                 print('client', c:secure(), t and t.version, t and t.cipher, t and t.peer_subject, t and t.resumed)
               end
             }}, {{
               [dpm.MYS_WAIT_CMD] = function(_, id, s)
                 s:register(dpm.MYS_WAIT_CMD, nil)
                 local t = s:tls()
                 print('server', s:secure(), t and t.version, t and t.cipher, t and t.peer_subject, t and t.resumed)
               end,
               [dpm.MY_CLOSING] = function(id, s) print('closed: ' .. s:close_reason()) end
             }}, {{ tls = {client}, server_tls = {towards} }})"
        ),
        server,
    )
}

fn files() -> String {
    let pki = pki::shared();
    format!(
        "{{ cert = '{}', key = '{}' }}",
        pki.file("server.pem"),
        pki.file("server.key")
    )
}

/// A login of the server's own command-line client with these options.
fn cli(flavour: Flavour, port: u16, options: &[&str]) -> Finished {
    let mut cli = Cli::tool(flavour, "mysql")
        .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-N", "-B"])
        .arg(format!("-P{port}"))
        .arg(format!("-u{USER}"))
        .arg(format!("-p{PASSWORD}"))
        .args(options);
    cli = cli
        .arg("-e")
        .arg("SHOW STATUS LIKE 'Ssl_version'; SELECT 7");
    cli.run()
}

fn demand(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "--ssl-mode=REQUIRED",
        _ => "--ssl",
    }
}

#[test]
fn a_client_speaks_tls_in_front_of_a_server_without() {
    for flavour in flavours() {
        let server = without(flavour);
        let dpm = proxy(server, "true", "false");
        let done = cli(flavour, dpm.port(), &[demand(flavour)]);
        assert_eq!(done.code, 0, "{flavour:?} {}", done.err());
        assert_eq!(done.out(), "Ssl_version\t\n7\n");
        assert!(dpm.line("client\ttrue").contains("TLSv1.3\tTLS_AES_"));
        dpm.line("server\tfalse\tnil");
        dpm.wait_until_idle();
        dpm.assert_no_errors();
    }
}

#[test]
fn both_legs_and_either() {
    for flavour in flavours() {
        let server = secured(flavour);
        for (client, towards, options) in [
            ("true", "'required'", vec![demand(flavour)]),
            ("false", "'preferred'", vec![]),
            ("true", "'preferred'", vec![demand(flavour)]),
        ] {
            let dpm = proxy(server, client, towards);
            let done = cli(flavour, dpm.port(), &options);
            assert_eq!(done.code, 0, "{flavour:?} {}", done.err());
            assert_eq!(done.out(), "Ssl_version\tTLSv1.3\n7\n", "{flavour:?}");
            let line = dpm.line("server\ttrue\tTLSv1.3");
            assert!(line.contains("CN=server"), "{line}");
            dpm.wait_until_idle();
            dpm.assert_no_errors();
        }
    }
}

#[test]
fn the_modes_of_mysqls_clients_towards_a_server() {
    let pki = pki::shared();
    let other = Pki::new("Another Authority");
    let (ca, wrong) = (pki.file("ca.pem"), other.file("ca.pem"));
    for flavour in flavours() {
        let server = secured(flavour);
        for (towards, refusal) in [
            ("'disabled'".to_string(), None),
            ("false".to_string(), None),
            ("'preferred'".to_string(), None),
            ("'required'".to_string(), None),
            (format!("{{ mode = 'verify-ca', ca = '{ca}' }}"), None),
            // Its certificate is also for 127.0.0.1.
            (format!("{{ mode = 'verify-identity', ca = '{ca}' }}"), None),
            (
                format!("{{ mode = 'verify-identity', ca = '{ca}', server_name = 'localhost' }}"),
                None,
            ),
            // It does not matter where nothing is verified.
            (format!("{{ mode = 'required', ca = '{wrong}' }}"), None),
            (
                format!("{{ mode = 'verify-ca', ca = '{wrong}' }}"),
                Some(
                    "the server's certificate (/CN=server, signed by /CN=Test Authority): no authority in `ca`",
                ),
            ),
            (
                format!(
                    "{{ mode = 'verify-identity', ca = '{ca}', server_name = 'db.example.com' }}"
                ),
                Some("not valid for name \"db.example.com\""),
            ),
            (
                format!("{{ mode = 'verify-ca', ca = '{ca}', server_name = 'db.example.com' }}"),
                None,
            ),
        ] {
            let dpm = proxy(server, "true", &towards);
            let done = cli(flavour, dpm.port(), &[demand(flavour)]);
            match refusal {
                None => {
                    assert_eq!(done.code, 0, "{flavour:?} {towards}: {}", done.err());
                    let plain = towards == "false" || towards == "'disabled'";
                    let version = if plain { "" } else { "TLSv1.3" };
                    assert_eq!(
                        done.out(),
                        format!("Ssl_version\t{version}\n7\n"),
                        "{towards}"
                    );
                }
                Some(why) => {
                    let error = done.err();
                    assert!(
                        error.contains("SSL connection error: "),
                        "{flavour:?} {towards}: {error}"
                    );
                    assert!(error.contains(why), "{flavour:?} {towards}: {error}");
                    // Nothing of the login has left the proxy.
                    assert!(dpm.line("closed: TLS: ").contains(why), "{towards}");
                }
            }
            dpm.wait_until_idle();
        }
    }
}

#[test]
fn the_systems_authorities() {
    let pki = pki::shared();
    let launch = |authorities: &str| {
        let script = "require('harness').passthrough({}, {
            [dpm.MY_CLOSING] = function(_, s) print('closed: ' .. s:close_reason()) end
        }, { tls = false, server_tls = { mode = 'verify-ca', ca = 'system' } })";
        Launch::script(script)
            .env("SSL_CERT_FILE", authorities)
            .server(secured(Flavour::MariaDb))
            .start()
    };
    let dpm = launch(&pki.file("ca.pem"));
    let done = cli(Flavour::MariaDb, dpm.port(), &[]);
    assert_eq!(done.out(), "Ssl_version\tTLSv1.3\n7\n", "{}", done.err());

    let other = Pki::new("Another Authority");
    let dpm = launch(&other.file("ca.pem"));
    assert_ne!(cli(Flavour::MariaDb, dpm.port(), &[]).code, 0);
    assert!(dpm.line("closed: TLS: ").contains("no authority in `ca`"));
}

#[test]
fn no_connection_without_tls_where_it_is_required() {
    let server = mariadb();
    for mode in [
        "'required'".to_string(),
        format!(
            "{{ mode = 'verify-ca', ca = '{}' }}",
            pki::shared().file("ca.pem")
        ),
    ] {
        let dpm = proxy(server, "false", &mode);
        let done = cli(Flavour::MariaDb, dpm.port(), &[]);
        assert!(
            done.err().contains(
                "SSL connection error: SSL is required but the server doesn't support it"
            ),
            "{}",
            done.err()
        );
        dpm.line("closed: TLS is required, but the server does not offer it");
    }
    let dpm = proxy(server, "false", "'preferred'");
    assert_eq!(
        cli(Flavour::MariaDb, dpm.port(), &[]).out(),
        "Ssl_version\t\n7\n"
    );
    dpm.line("server\tfalse\tnil");
}

#[test]
fn a_server_s_own_login_fails_with_the_reason() {
    let pki = pki::shared();
    let other = Pki::new("Another Authority");
    let mut stage = support::Stage::before(secured(Flavour::MariaDb).port);
    stage.lua(&format!(
        "h.server(nil, nil, {{ tls = {{ mode = 'verify-ca', ca = '{}' }} }})",
        other.file("ca.pem")
    ));
    stage.until("servers[1]:close_reason() ~= nil");
    let reason = stage.lua("return servers[1]:close_reason()");
    assert!(
        reason.starts_with("TLS: the server's certificate (/CN=server"),
        "{reason}"
    );
    stage.lua(&format!(
        "h.server(nil, nil, {{ tls = {{ mode = 'verify-ca', ca = '{}' }} }})",
        pki.file("ca.pem")
    ));
    stage.until("servers[2]:state() == dpm.MYS_WAIT_CMD");
    assert_eq!(
        stage.lua("local t = servers[2]:tls() return servers[2]:secure(), t.version, t.cipher, t.peer_subject, t.peer_issuer, #t.peer_fingerprint, t.resumed"),
        "true\tTLSv1.3\tTLS_AES_256_GCM_SHA384\t/CN=server\t/CN=Test Authority\t64\tfalse"
    );
    // The tickets of the first session have come, and open the next.
    stage.lua(&format!(
        "h.server(nil, nil, {{ tls = {{ mode = 'verify-ca', ca = '{}' }} }})",
        pki.file("ca.pem")
    ));
    stage.until("servers[3]:state() == dpm.MYS_WAIT_CMD");
    assert_eq!(stage.lua("return servers[3]:tls().resumed"), "true");
}

#[test]
fn the_modes_of_the_clients() {
    let ca = format!("--ssl-ca={}", pki::shared().file("ca.pem"));
    let other = Pki::new("Another Authority");
    let wrong = format!("--ssl-ca={}", other.file("ca.pem"));
    let mut cases = vec![
        (
            Flavour::MariaDb,
            vec!["--ssl-verify-server-cert", &ca],
            true,
        ),
        (
            Flavour::MariaDb,
            vec!["--ssl-verify-server-cert", &wrong],
            false,
        ),
        (Flavour::MariaDb, vec!["--skip-ssl"], true),
    ];
    if support::server::mysql_available() {
        cases.extend([
            (Flavour::MySql, vec!["--ssl-mode=DISABLED"], true),
            (Flavour::MySql, vec!["--ssl-mode=PREFERRED"], true),
            (Flavour::MySql, vec!["--ssl-mode=REQUIRED"], true),
            (Flavour::MySql, vec!["--ssl-mode=VERIFY_CA", &ca], true),
            (Flavour::MySql, vec!["--ssl-mode=VERIFY_CA", &wrong], false),
            (
                Flavour::MySql,
                vec!["--ssl-mode=VERIFY_IDENTITY", &ca],
                true,
            ),
        ]);
    }
    for (flavour, options, works) in cases {
        let dpm = proxy(without(flavour), &files(), "false");
        let done = cli(flavour, dpm.port(), &options);
        assert_eq!(
            done.code == 0,
            works,
            "{flavour:?} {options:?}: {}",
            done.err()
        );
        if !works {
            assert!(done.err().contains("2026"), "{}", done.err());
        }
        dpm.wait_until_idle();
    }
}

#[test]
fn a_client_that_demands_tls_of_a_listener_without_hears_what_a_server_without_says() {
    for flavour in flavours() {
        let server = without(flavour);
        let dpm = proxy(server, "false", "false");
        let direct = cli(flavour, server.port, &[demand(flavour)]);
        let through = cli(flavour, dpm.port(), &[demand(flavour)]);
        // MariaDB's client of this age does not insist.
        assert_eq!(through.code == 0, flavour == Flavour::MariaDb);
        assert_eq!(direct.err(), through.err(), "{flavour:?}");
    }
    let dpm = proxy(mariadb(), "false", "false");
    // A client that ignores what is offered.
    let mut wire = Wire::connect(dpm.port());
    wire.read();
    wire.write(&ssl_request());
    let refused = support::wire::error(&wire.read());
    assert!(format!("{refused:?}").contains("1043"), "{refused:?}");
    assert!(wire.closed());
}

#[test]
fn a_listener_that_requires_tls() {
    let dpm = proxy(
        mariadb(),
        "{ self_signed = true, required = true }",
        "false",
    );
    let done = cli(Flavour::MariaDb, dpm.port(), &["--skip-ssl"]);
    assert!(done.err().contains("3159"), "{}", done.err());
    assert_eq!(cli(Flavour::MariaDb, dpm.port(), &["--ssl"]).code, 0);
}

#[test]
fn certificates_of_clients() {
    let pki = pki::shared();
    let other = Pki::new("Another Authority");
    other.client("stranger", "stranger");
    let listener = |verify: &str| {
        format!(
            "{{ cert = '{}', key = '{}', ca = '{}', verify = '{verify}' }}",
            pki.file("server.pem"),
            pki.file("server.key"),
            pki.file("ca.pem")
        )
    };
    let known = [
        format!("--ssl-cert={}", pki.file("client.pem")),
        format!("--ssl-key={}", pki.file("client.key")),
    ];
    let unknown = [
        format!("--ssl-cert={}", other.file("stranger.pem")),
        format!("--ssl-key={}", other.file("stranger.key")),
    ];
    for flavour in flavours() {
        for (verify, with, works, subject) in [
            ("optional", None, true, "nil"),
            ("optional", Some(&known), true, "/O=Tests/CN=joe"),
            ("optional", Some(&unknown), false, ""),
            ("required", Some(&known), true, "/O=Tests/CN=joe"),
            ("required", Some(&unknown), false, ""),
            ("required", None, false, ""),
            ("none", Some(&unknown), true, "nil"),
        ] {
            let dpm = proxy(without(flavour), &listener(verify), "false");
            let mut options = vec![demand(flavour)];
            options.extend(
                with.iter()
                    .flat_map(|files| files.iter().map(String::as_str)),
            );
            let done = cli(flavour, dpm.port(), &options);
            assert_eq!(
                done.code == 0,
                works,
                "{flavour:?} {verify} {with:?}: {}",
                done.err()
            );
            match works {
                true => assert!(dpm.line("client\ttrue").contains(subject)),
                false if with.is_some() => {
                    dpm.line("TLS: the client's certificate (/");
                }
                false => {
                    dpm.line("TLS: the client has shown no certificate");
                }
            }
        }
    }
}

#[test]
fn our_certificate_for_a_server_that_asks() {
    let pki = pki::shared();
    for flavour in flavours() {
        let server = secured(flavour);
        let name = "needs_cert";
        server.sql(&format!(
            "CREATE USER IF NOT EXISTS {name}@'%' IDENTIFIED BY '' REQUIRE SUBJECT '/O=Tests/CN=joe'"
        ));
        let with = format!(
            "{{ mode = 'required', cert = '{}', key = '{}' }}",
            pki.file("client.pem"),
            pki.file("client.key")
        );
        for (towards, works) in [(with.as_str(), true), ("'required'", false)] {
            let dpm = proxy(server, "false", towards);
            let done = Cli::tool(flavour, "mysql")
                .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-N", "-B"])
                .arg(format!("-P{}", dpm.port()))
                .args([&format!("-u{name}"), "-e", "SELECT 8"])
                .run();
            assert_eq!(
                done.code == 0,
                works,
                "{flavour:?} {towards} {}",
                done.err()
            );
        }
    }
}

#[test]
fn versions() {
    let server = secured(Flavour::MariaDb);
    let dpm = proxy(server, "true", "'required'");
    let done = cli(
        Flavour::MariaDb,
        dpm.port(),
        &["--ssl", "--tls-version=TLSv1.2"],
    );
    assert_eq!(done.code, 0, "{}", done.err());
    assert!(
        dpm.line("client\ttrue")
            .contains("TLSv1.2\tECDHE-ECDSA-AES")
    );
    drop(dpm);
    let dpm = proxy(
        server,
        "{ self_signed = true, min_version = '1.3' }",
        "{ min_version = '1.3' }",
    );
    let done = cli(
        Flavour::MariaDb,
        dpm.port(),
        &["--ssl", "--tls-version=TLSv1.2"],
    );
    assert_ne!(done.code, 0);
    dpm.line("TLS: the far end speaks no version of TLS that is allowed here");
    assert_eq!(
        cli(Flavour::MariaDb, dpm.port(), &["--ssl"]).out(),
        "Ssl_version\tTLSv1.3\n7\n"
    );

    let options = pki::shared().server_options("server");
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.push("--tls-version=TLSv1.2");
    let old = Server::start_own(Flavour::MariaDb, &options);
    let dpm = proxy(&old, "false", "'required'");
    assert_eq!(
        cli(Flavour::MariaDb, dpm.port(), &[]).out(),
        "Ssl_version\tTLSv1.2\n7\n"
    );
    assert_eq!(
        cli(Flavour::MariaDb, dpm.port(), &[]).out(),
        "Ssl_version\tTLSv1.2\n7\n"
    );
    let dpm = proxy(&old, "false", "{ mode = 'required', min_version = '1.3' }");
    let done = cli(Flavour::MariaDb, dpm.port(), &[]);
    assert!(
        done.err().contains("SSL connection error"),
        "{}",
        done.err()
    );
}

/// A program in Python that has `tls(session=None)`: a TLS connection to the proxy, made by hand.
fn by_hand(port: u16, program: &str) -> String {
    support::python(
        port,
        &format!(
            "import socket, ssl, struct, hashlib\n\
             context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n\
             context.check_hostname = False\n\
             context.verify_mode = ssl.CERT_NONE\n\
             def packet(s):\n\
             \x20   head = b''\n\
             \x20   while len(head) < 4: head += s.recv(4 - len(head)) or exit('closed')\n\
             \x20   n, body = head[0] | head[1] << 8 | head[2] << 16, b''\n\
             \x20   while len(body) < n: body += s.recv(n - len(body)) or exit('closed')\n\
             \x20   return body\n\
             CAPS = {caps}\n\
             START = struct.pack('<IIB23x', CAPS, 1 << 24, 45)\n\
             def tls(session=None, context=context):\n\
             \x20   s = socket.create_connection(('127.0.0.1', {port}))\n\
             \x20   s.settimeout(20)\n\
             \x20   packet(s)\n\
             \x20   s.sendall(b'\\x20\\0\\0\\1' + START)\n\
             \x20   return context.wrap_socket(s, session=session, suppress_ragged_eofs=False)\n\
             def login(s):\n\
             \x20   auth = START + b'empty\\0\\0'\n\
             \x20   s.sendall(struct.pack('<I', len(auth) | 2 << 24) + auth)\n\
             \x20   answer = packet(s)\n\
             \x20   if answer[0] == 0xfe:\n\
             \x20       s.sendall(b'\\0\\0\\0\\4')\n\
             \x20       answer = packet(s)\n\
             \x20   assert answer[0] == 0, answer\n\
             def query(s, sql):\n\
             \x20   s.sendall(struct.pack('<I', len(sql) + 1) + b'\\3' + sql.encode())\n\
             {program}",
            caps = caps::BASE | caps_ssl(),
        ),
    )
}

fn caps_ssl() -> u32 {
    1 << 11
}

fn ssl_request() -> Vec<u8> {
    let mut request = (caps::BASE | caps_ssl()).to_le_bytes().to_vec();
    request.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    request.push(45);
    request.extend_from_slice(&[0; 23]);
    request
}

#[test]
fn clients_resume_their_sessions() {
    let dpm = proxy(mariadb(), "true", "false");
    for version in ["TLSv1_2", "TLSv1_3"] {
        let said = by_hand(
            dpm.port(),
            &format!(
                "context.minimum_version = context.maximum_version = ssl.TLSVersion.{version}\n\
                 one = tls()\n\
                 login(one)\n\
                 two = tls(one.session)\n\
                 login(two)\n\
                 print(one.session_reused, two.session_reused)\n"
            ),
        );
        assert_eq!(said, "False True\n", "{version}");
    }
    dpm.line("\tnil\ttrue");
}

#[test]
fn the_end_is_told_both_ways() {
    let dpm = proxy(mariadb(), "true", "false");
    // COM_QUIT: the proxy says in TLS that it ends. Then a client that does so, and one that just goes.
    let said = by_hand(
        dpm.port(),
        "s = tls()\n\
         login(s)\n\
         s.sendall(b'\\1\\0\\0\\0\\1')\n\
         print(s.recv(1))\n\
         s = tls()\n\
         login(s)\n\
         s.unwrap()\n\
         s = tls()\n\
         login(s)\n\
         s.close()\n",
    );
    assert_eq!(said, "b''\n");
    dpm.wait_until_idle();
}

/// With a close_notify, without, and with an end of TLS alone.
#[test]
fn half_closed_clients_are_answered() {
    for callbacks in ["", "client:register(dpm.MYC_SENT_CMD, function() end)"] {
        let dpm = Launch::script(&format!(
            "require('harness').listen(function(client)
               local server = dpm.connect(arg[1], tonumber(arg[2]), {{ tls = false }})
               {callbacks}
               dpm.proxy_connect(client, server)
             end, {{ tls = true }})"
        ))
        .server(mariadb())
        .start();
        let said = by_hand(
            dpm.port(),
            "import os\n\
             def half(s):\n\
             \x20   socket.socket(fileno=os.dup(s.fileno())).shutdown(socket.SHUT_WR)\n\
             def notify(s):\n\
             \x20   s.settimeout(0)\n\
             \x20   try: s._sslobj.shutdown()\n\
             \x20   except ssl.SSLWantReadError: pass\n\
             \x20   s.settimeout(20)\n\
             def end(s):\n\
             \x20   try:\n\
             \x20       while s.recv(100): pass\n\
             \x20   except ssl.SSLZeroReturnError: pass\n\
             for ends in [half], [notify, half], [notify]:\n\
             \x20   s = tls()\n\
             \x20   login(s)\n\
             \x20   query(s, 'DO SLEEP(0.2)')\n\
             \x20   query(s, 'DO 1')\n\
             \x20   for how in ends: how(s)\n\
             \x20   print(packet(s)[0], packet(s)[0], end(s))\n",
        );
        assert_eq!(said, "0 0 None\n".repeat(3));
        dpm.wait_until_idle();
    }
}

#[test]
fn half_a_packet_is_not_a_packet_whatever_ends_it() {
    let dpm = proxy(mariadb(), "true", "false");
    by_hand(
        dpm.port(),
        "s = tls()\n\
         login(s)\n\
         s.sendall(b'\\x20\\0\\0\\0\\3SELECT')\n\
         s.unwrap()\n\
         s = tls()\n\
         login(s)\n\
         s.sendall(b'\\x20\\0\\0\\0\\3SELECT')\n\
         s.close()\n",
    );
    dpm.wait_until_idle();
    assert_eq!(dpm.count("in the middle of a packet"), 2);
}

/// The proxy learns of the bytes and of the end at once, since it stands still meanwhile.
#[test]
fn who_dies_in_the_middle_of_a_record_is_gone() {
    let dpm = proxy(mariadb(), "true", "false");
    by_hand(
        dpm.port(),
        &format!(
            "import os, signal, time\n\
             for end in (b'', b'\\x17\\3\\3\\1\\0abc'):\n\
             \x20   s = tls()\n\
             \x20   login(s)\n\
             \x20   query(s, 'DO 1')\n\
             \x20   packet(s)\n\
             \x20   raw = socket.socket(fileno=s.detach())\n\
             \x20   os.kill({pid}, signal.SIGSTOP)\n\
             \x20   time.sleep(0.1)\n\
             \x20   raw.sendall(end)\n\
             \x20   raw.close()\n\
             \x20   time.sleep(0.1)\n\
             \x20   os.kill({pid}, signal.SIGCONT)\n",
            pid = dpm.pid(),
        ),
    );
    dpm.wait_until_idle();
}

#[test]
fn commands_can_be_pipelined() {
    let server = secured(Flavour::MariaDb);
    let dpm = proxy(server, "true", "'required'");
    let said = by_hand(
        dpm.port(),
        "s = tls()\n\
         login(s)\n\
         for i in range(200): query(s, 'DO %d' % i)\n\
         s.sendall(b'\\1\\0\\0\\0\\1')\n\
         n = 0\n\
         while True:\n\
         \x20   head = s.recv(4)\n\
         \x20   if not head: break\n\
         \x20   while len(head) < 4: head += s.recv(4 - len(head))\n\
         \x20   body = b''\n\
         \x20   while len(body) < head[0]: body += s.recv(head[0] - len(body))\n\
         \x20   assert body[0] == 0, body\n\
         \x20   n += 1\n\
         print(n)\n",
    );
    assert_eq!(said, "200\n");
}

#[test]
fn what_is_injected_behind_the_request_is_never_taken_for_the_clients() {
    let dpm = proxy(mariadb(), "true", "false");
    // A whole login in clear directly after the request, as an attacker on the network would insert
    // it.
    let mut wire = Wire::connect(dpm.port());
    let greeting = Greeting::parse(&wire.read());
    let mut bytes = support::wire::frames(&ssl_request(), &mut 1);
    let auth = support::wire::auth_packet(&greeting.nonce, USER, PASSWORD, caps::BASE);
    bytes.extend(support::wire::frames(&auth, &mut 2));
    bytes.extend(support::wire::frames(b"\x03SELECT 1", &mut 0));
    wire.raw(&bytes);
    assert!(wire.closed());
    dpm.line("TLS: expected TLS, got something else");
    assert!(!dpm.wrote("client\t"));
    dpm.wait_until_idle();
}

#[test]
fn what_is_injected_behind_the_servers_handshake_is_never_taken_for_the_servers() {
    let mock = MockServer::new();
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         for i = 1, 2 do
           dpml.connect_mysql_server{{
             host = '127.0.0.1', port = {}, user = 'u', pass = 'p',
             tls = {{ mode = 'verify-identity', ca = '{}' }},
             callback = function(server, err) print('login', server, err and err.message) end,
           }}
         end
         idle = dpm.new_timer()
         idle:schedule(3600, 0, function() end)",
        mock.port,
        pki::shared().file("ca.pem"),
    ))
    .start();
    let mut clear = support::wire::frames(&greeting(caps::BASE | caps::SSL), &mut 0);
    // A whole packet behind it, and the beginning of one.
    for behind in [
        support::wire::frames(&support::wire::ok(), &mut 4),
        vec![7, 0],
    ] {
        let mut wire = mock.accept();
        let greeting = clear.len();
        clear.extend(behind);
        wire.raw(&clear);
        clear.truncate(greeting);
        dpm.line("login\tnil");
        dpm.line("the server sent more than its handshake in clear");
    }
}

#[test]
fn nor_in_a_passthrough() {
    let mock = MockServer::new();
    let dpm = Launch::script(
        "require('harness').passthrough({}, {}, { server_tls = { mode = 'required' } })",
    )
    .arg("127.0.0.1")
    .arg(mock.port)
    .start();
    let mut client = Wire::connect(dpm.port());
    let mut server = mock.accept();
    let mut clear = support::wire::frames(&greeting(caps::BASE | caps::SSL), &mut 0);
    // It waits for the rest of its packet, which could then come out of TLS.
    clear.extend([7, 0]);
    server.raw(&clear);
    let greeting = Greeting::parse(&client.read());
    client.authenticate(&greeting, USER, PASSWORD, caps::BASE);
    assert!(client.closed());
    dpm.line("the server sent more than its handshake in clear");
    assert!(server.closed());
}

/// A ClientHello, such as a client really sends.
fn client_hello() -> Vec<u8> {
    let mock = MockServer::new();
    let port = mock.port;
    let thread = std::thread::spawn(move || {
        let mut socket = mock.accept();
        let head = socket.exact(5);
        let hello = socket.exact(usize::from(u16::from_be_bytes([head[3], head[4]])));
        [head, hello].concat()
    });
    by_hand(
        port,
        &format!(
            "s = socket.create_connection(('127.0.0.1', {port}))\n\
             try: context.wrap_socket(s)\n\
             except OSError: pass\n"
        ),
    );
    thread.join().unwrap()
}

#[test]
fn clients_that_die_or_talk_nonsense_in_the_handshake_cost_one_connection() {
    let dpm = proxy(mariadb(), "true", "false");
    let port = dpm.port();
    let before = dpm.open_files();
    let hello = client_hello();
    let begin = || {
        let mut wire = Wire::connect(port);
        wire.read();
        wire.seq = 1;
        wire.write(&ssl_request());
        wire
    };
    for cut in (0..hello.len()).step_by(7) {
        begin().raw(&hello[..cut]);
    }
    // A byte turned over, anywhere.
    for at in (0..hello.len()).step_by(5) {
        let mut wrong = hello.clone();
        wrong[at] ^= 0x55;
        let mut wire = begin();
        wire.raw(&wrong);
        let _ = wire.stream().shutdown(std::net::Shutdown::Write);
        assert!(wire.closed(), "{at}");
    }
    // A record that never ends, and records without end.
    let mut wire = begin();
    wire.raw(&[0x16, 3, 1, 0xFF, 0xFF]);
    assert!(wire.closed());
    let mut wire = begin();
    let _ = wire.stream().write_all(&[0x16, 3, 1, 0, 0].repeat(100_000));
    assert!(wire.closed());
    dpm.wait_until_idle();
    dpm.wait_for_open_files(before);
    assert_eq!(cli(Flavour::MariaDb, port, &["--ssl"]).code, 0);
}

#[test]
fn servers_that_die_or_talk_nonsense_in_the_handshake() {
    let mock = MockServer::new();
    let dpm = Launch::script(
        "require('harness').passthrough(nil, { [dpm.MY_CLOSING] = function(id, s) print('closed: ' .. s:close_reason()) end },
           { server_tls = 'required', handshake_timeout = 2 })",
    )
    .arg("127.0.0.1")
    .arg(mock.port)
    .start();
    let answers: [&[u8]; 5] = [
        b"",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x07\0\0\x02\0\0\0\x02\0\0\0",
        b"\x16\x03\x03\xFF\xFF",
    ];
    for answer in answers {
        let port = dpm.port();
        let client = std::thread::spawn(move || {
            let done = cli(Flavour::MariaDb, port, &["--skip-ssl"]);
            assert!(
                done.err().contains("SSL connection error: TLS: "),
                "{}",
                done.err()
            );
        });
        let mut wire = mock.accept();
        wire.write(&greeting(caps::BASE | caps_ssl()));
        let request = wire.read();
        assert_eq!(request.len(), 32, "the request for TLS comes alone");
        wire.raw(answer);
        // What comes is a ClientHello, and never anything of the login.
        if answer.is_empty() {
            assert_eq!(wire.exact(1), [0x16]);
        }
        drop(wire);
        client.join().unwrap();
    }
    // One that says nothing more.
    let port = dpm.port();
    let client = std::thread::spawn(move || cli(Flavour::MariaDb, port, &["--skip-ssl"]));
    let mut wire = mock.accept();
    wire.write(&greeting(caps::BASE | caps_ssl()));
    wire.read();
    dpm.line("took longer than handshake_timeout");
    assert_ne!(client.join().unwrap().code, 0);
    dpm.wait_until_idle();
}

#[test]
fn a_client_that_stalls_in_the_handshake_is_closed() {
    let dpm = Launch::script(
        "require('harness').passthrough(nil, nil, { tls = true, handshake_timeout = 1 })",
    )
    .server(mariadb())
    .start();
    let mut wire = Wire::connect(dpm.port());
    wire.read();
    wire.seq = 1;
    wire.write(&ssl_request());
    assert!(wire.closed());
    dpm.line("the login took longer than handshake_timeout");
}

#[test]
fn large_results_both_ways_with_a_slow_reader() {
    for flavour in flavours() {
        let server = secured(flavour);
        let base = server.database();
        server.sql(&format!(
            "CREATE TABLE {base}.t (b LONGBLOB); SET GLOBAL max_allowed_packet = 1 << 30"
        ));
        for (client, towards) in [
            ("true", "'required'"),
            ("true", "false"),
            ("false", "'required'"),
        ] {
            let dpm = proxy(server, client, towards);
            let ssl = match client {
                "true" => ", ssl={'check_hostname': False}",
                _ => "",
            };
            let said = support::python(
                dpm.port(),
                &format!(
                    "import time, hashlib, ssl\n\
                     with connect(max_allowed_packet=1 << 30{ssl}) as conn, conn.cursor() as cursor:\n\
                     \x20   big = bytes(range(256)) * (70 << 10)\n\
                     \x20   cursor.execute('DELETE FROM {base}.t')\n\
                     \x20   cursor.execute('INSERT INTO {base}.t VALUES (_binary %s)', (big,))\n\
                     \x20   conn.commit()\n\
                     \x20   cursor.execute('SELECT SHA2(b, 256) FROM {base}.t')\n\
                     \x20   assert cursor.fetchone()[0] == hashlib.sha256(big).hexdigest()\n\
                     \x20   conn._execute_command(3, 'SELECT b FROM {base}.t UNION ALL SELECT b FROM {base}.t')\n\
                     \x20   time.sleep(1)\n\
                     \x20   r = pymysql.connections.MySQLResult(conn)\n\
                     \x20   r.read()\n\
                     \x20   assert [row[0] for row in r.rows] == [big, big]\n\
                     \x20   print(len(r.rows))\n"
                ),
            );
            assert_eq!(said, "2\n", "{flavour:?} {client} {towards}");
            dpm.wait_until_idle();
            // Two values of 17 MB have passed through a reader that slept.
            let peak = dpm.memory_kib("VmHWM");
            assert!(peak < 60 << 10, "{peak} KiB");
        }
    }
}

#[test]
fn unix_sockets_take_tls_too() {
    let server = secured(Flavour::MariaDb);
    let folder = support::process::folder("unix-tls");
    let path = folder.join("s");
    let dpm = Launch::script(&format!(
        "local conns = {{}}
         l = dpm.listener_unix('{}', '0700', {{ tls = true }})
         l:register(dpm.MYC_CONNECT, function(c)
           local s = dpm.connect_unix('{}', {{ tls = 'required' }})
           conns[c] = s
           print('secure', c:secure(), s:secure(), c:tls())
           s:register(dpm.MYS_WAIT_CMD, function(_, id, s) print('server', s:tls().version) end)
           dpm.proxy_connect(c, s)
         end)",
        path.display(),
        server.socket.display()
    ))
    .start();
    support::eventually("it listens", || path.exists());
    let said = Cli::tool(Flavour::MariaDb, "mysql")
        .args(["--no-defaults", "-N", "-B", "--ssl"])
        .arg(format!("--socket={}", path.display()))
        .arg(format!("-u{USER}"))
        .arg(format!("-p{PASSWORD}"))
        .args(["-e", "SHOW STATUS LIKE 'Ssl_version'"])
        .ok();
    assert_eq!(said, "Ssl_version\tTLSv1.3\n");
    dpm.line("secure\ttrue\ttrue\tnil");
    dpm.line("server\tTLSv1.3");
}

#[test]
fn options_are_checked() {
    let mut stage = support::Stage::before(1);
    let pki = pki::shared();
    let nothing = pki.folder().join("nothing");
    std::fs::write(&nothing, "nothing").unwrap();
    let nothing = nothing.display();
    let (cert, key, ca) = (
        pki.file("server.pem"),
        pki.file("server.key"),
        pki.file("ca.pem"),
    );
    let client_key = pki.file("client.key");
    for (call, why) in [
        (
            "listener('127.0.0.1', 0, { tls = 1 })".to_string(),
            "tls: expected true, false or a table, got",
        ),
        (
            "listener('127.0.0.1', 0, { tls = {} })".into(),
            "tls: expected cert and key, or self_signed = true",
        ),
        (
            "listener('127.0.0.1', 0, { tls = { self_signed = 1 } })".into(),
            "tls.self_signed: expected true or false",
        ),
        (
            "listener('127.0.0.1', 0, { tls = { wrong = 1 } })".into(),
            "there is no option tls.wrong, only cert, key",
        ),
        (
            format!("listener('127.0.0.1', 0, {{ tls = {{ cert = '{cert}' }} }})"),
            "tls.key: expected the file",
        ),
        (
            format!(
                "listener('127.0.0.1', 0, {{ tls = {{ cert = '{cert}', key = '/no/such' }} }})"
            ),
            "tls.key: cannot read /no/such: No such file",
        ),
        (
            format!(
                "listener('127.0.0.1', 0, {{ tls = {{ cert = '{nothing}', key = '{key}' }} }})"
            ),
            "holds no certificate in PEM form",
        ),
        (
            format!(
                "listener('127.0.0.1', 0, {{ tls = {{ cert = '{cert}', key = '{nothing}' }} }})"
            ),
            "holds no private key in PEM form",
        ),
        (
            format!(
                "listener('127.0.0.1', 0, {{ tls = {{ cert = '{cert}', key = '{client_key}' }} }})"
            ),
            "(/CN=server): the key is not that of the certificate",
        ),
        (
            "listener('127.0.0.1', 0, { tls = { self_signed = true, verify = 'required' } })"
                .into(),
            "tls.ca: expected the file of the authorities for clients",
        ),
        (
            format!(
                "listener('127.0.0.1', 0, {{ tls = {{ self_signed = true, ca = '{ca}', verify = 'perhaps' }} }})"
            ),
            "tls.verify: expected \"none\", \"optional\", \"required\", got",
        ),
        (
            "listener('127.0.0.1', 0, { tls = { self_signed = true, min_version = '1.1' } })"
                .into(),
            "tls.min_version: expected \"1.2\", \"1.3\", got",
        ),
        (
            "connect('127.0.0.1', 1, { tls = true })".into(),
            "tls: expected \"disabled\", \"preferred\", \"required\", \"verify-ca\", \"verify-identity\", false or a table, got",
        ),
        (
            "connect('127.0.0.1', 1, { tls = 'verify-ca' })".into(),
            "tls: ca: expected a file, or \"system\"",
        ),
        (
            "connect('127.0.0.1', 1, { tls = { mode = 'verify-ca', ca = '/no/such' } })".into(),
            "tls: ca: cannot read /no/such",
        ),
        (
            format!(
                "connect('127.0.0.1', 1, {{ tls = {{ mode = 'verify-identity', ca = '{ca}', server_name = 'no name' }} }})"
            ),
            "server_name: no certificate can be for no name",
        ),
    ] {
        let said = stage.lua(&format!("return pcall(function() return dpm.{call} end)"));
        assert!(said.starts_with("false\t"), "{call}: {said}");
        assert!(said.contains(why), "{call}: {said}");
    }
    let said = stage.lua("l = dpm.listener('127.0.0.1', 0, { tls = true }) local t = l:tls() return l:tls().certificate:match('^%-+BEGIN CERTIFICATE'), t.subject, #t.fingerprint, h.listener:tls()");
    assert_eq!(
        said,
        "-----BEGIN CERTIFICATE\t/CN=dpm, self-signed\t64\tnil"
    );
}

/// Certificates that rustls cannot parse.
#[test]
fn a_certificate_of_version_1_serves_where_nothing_is_verified() {
    let pki = pki::shared();
    let folder = support::process::folder("v1");
    let done = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "cd {} && openssl ecparam -name prime256v1 -genkey -noout -out ca.key &&
             openssl req -x509 -new -key ca.key -subj /CN=OldCA -days 100 -out ca.pem &&
             openssl req -new -newkey rsa:2048 -nodes -keyout v1.key -subj /CN=old -out v1.csr &&
             openssl x509 -req -in v1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 100 -out v1.pem &&
             openssl x509 -in v1.pem -noout -text | grep -q 'Version: 1'",
            folder.display()
        ))
        .output();
    if !done.is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: no openssl that makes such a certificate");
        return;
    }
    let at = folder.display();
    let options = [
        format!("--ssl-ca={}", pki.file("ca.pem")),
        format!("--ssl-cert={at}/v1.pem"),
        format!("--ssl-key={at}/v1.key"),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::start_own(Flavour::MariaDb, &options);
    let dpm = proxy(&server, "false", "'required'");
    assert_eq!(
        cli(Flavour::MariaDb, dpm.port(), &[]).out(),
        "Ssl_version\tTLSv1.3\n7\n"
    );
    let dpm = proxy(
        &server,
        "false",
        &format!("{{ mode = 'verify-ca', ca = '{at}/ca.pem' }}"),
    );
    let done = cli(Flavour::MariaDb, dpm.port(), &[]);
    assert!(
        done.err()
            .contains("(/CN=old, signed by /CN=OldCA): it is an X.509 certificate of version 1"),
        "{}",
        done.err()
    );
}

#[test]
fn connections_without_tls_stay_as_they_are_beside_those_with() {
    let dpm = proxy(mariadb(), "true", "false");
    let mut plain = Wire::login_empty(dpm.port(), caps::BASE);
    assert_eq!(plain.rows("SELECT 5"), [["5"]]);
    dpm.line("client\tfalse\tnil");
    assert!(plain.silent(Duration::from_millis(20)));
}

/// The startfiles of doc/TLS.md, for a server at this port.
fn recipes(port: u16) -> Vec<String> {
    let text = std::fs::read_to_string("doc/TLS.md").unwrap();
    let recipes = text.split("```lua\n-- startfile\n").skip(1);
    let recipes = recipes.filter_map(|rest| rest.split("```").next());
    let pki = pki::shared().folder().display().to_string();
    recipes
        .map(|recipe| {
            let script = recipe
                .replace("nil, 3306", "'127.0.0.1', 0")
                .replace("\"127.0.0.1\", 3306", "'127.0.0.1', 0")
                .replace("\"db1.example.com\", 3306", &format!("'127.0.0.1', {port}"))
                .replace("/etc/dpm", &pki);
            format!("{script}\nprint('port ' .. listener:socket_port())")
        })
        .collect()
}

/// For each of these whether its server has TLS, and how clients can connect.
const RECIPES: [(bool, &[&str]); 5] = [
    (false, &["--ssl"]),
    (false, &["--ssl"]),
    (true, &["--skip-ssl"]),
    (false, &["--ssl", "CERTIFICATE"]),
    (true, &["--ssl"]),
];

/// "CERTIFICATE" stands for that of a client.
fn with_certificate(options: &[&str]) -> Vec<String> {
    let pki = pki::shared();
    let option = |option: &&str| match *option {
        "CERTIFICATE" => vec![
            format!("--ssl-cert={}", pki.file("client.pem")),
            format!("--ssl-key={}", pki.file("client.key")),
        ],
        other => vec![other.to_string()],
    };
    options.iter().flat_map(option).collect()
}

/// Each startfile of doc/TLS.md does what its heading says.
#[test]
fn the_recipes_work() {
    let bad: [&[&str]; 5] = [&["--skip-ssl"], &["--skip-ssl"], &[], &["--ssl"], &[]];
    for (n, ((secure, good), bad)) in RECIPES.iter().zip(bad).enumerate() {
        let server = match secure {
            true => secured(Flavour::MariaDb),
            false => mariadb(),
        };
        let recipes = recipes(server.port);
        assert_eq!(recipes.len(), RECIPES.len());
        let recipe = &recipes[n];
        let dpm = Launch::script(recipe).start();
        let good = with_certificate(good);
        let good: Vec<&str> = good.iter().map(String::as_str).collect();
        let done = cli(Flavour::MariaDb, dpm.port(), &good);
        assert_eq!(done.code, 0, "{recipe}\n{}", done.err());
        if !bad.is_empty() {
            assert_ne!(cli(Flavour::MariaDb, dpm.port(), bad).code, 0, "{recipe}");
        }
        dpm.wait_until_idle();
    }
}

/// A client that can only reach one server, which is gone, sees that at once: its socket closes.
#[test]
fn the_recipes_leave_no_client_without_a_server() {
    let servers = [false, true].map(|secure| {
        let options = match secure {
            true => pki::shared().server_options("server"),
            false => Vec::new(),
        };
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Server::start_own(Flavour::MariaDb, &options)
    });
    let proof = include_str!("../../doc/AUTHENTICATION.md");
    let proof = proof
        .split("```lua\n")
        .find(|it| it.starts_with("-- proof.lua"));
    let proof = proof.unwrap().split("```").next().unwrap();
    let mut proxies: Vec<(Dpm, u16, Vec<String>)> = Vec::new();
    for (n, (secure, options)) in RECIPES.iter().enumerate() {
        let recipe = &recipes(servers[usize::from(*secure)].port)[n];
        let dpm = Launch::script(recipe).start();
        let port = dpm.port();
        proxies.push((dpm, port, with_certificate(options)));
    }
    for demo in ["direct", "tls"] {
        let dpm = Launch::demo(demo, &servers[0]).start();
        let port = dpm.listening();
        proxies.push((dpm, port, with_certificate(&["--skip-ssl"])));
    }
    let launch = Launch::script(proof).server(&servers[0]).arg(0);
    let dpm = launch.arg(USER).arg(PASSWORD).start();
    let port = dpm.listening();
    proxies.push((dpm, port, with_certificate(&["--ssl"])));
    let before: Vec<usize> = proxies.iter().map(|(dpm, ..)| dpm.open_files()).collect();
    let mut clients = Vec::new();
    for (_, port, options) in &proxies {
        let client = Cli::client(Flavour::MariaDb, *port).args(options);
        let mut client = client.session();
        assert_eq!(client.ask("SELECT 7"), "7");
        clients.push(client);
    }
    for server in &servers {
        server.kill();
    }
    for ((dpm, ..), files) in proxies.iter().zip(before) {
        dpm.wait_for_open_files(files);
    }
}

/// The handler of doc/TLS.md that renews a certificate.
#[test]
fn a_signal_renews_the_certificate() {
    let pki = Pki::new("Renewed");
    pki.server("server", &["localhost", "127.0.0.1"]);
    let recipe = recipes(mariadb().port).swap_remove(0);
    assert!(recipe.contains("on_signal(\"HUP\""), "{recipe}");
    let shared = pki::shared().folder().display().to_string();
    let recipe = recipe.replace(&shared, &pki.folder().display().to_string());
    let dpm = Launch::script(&recipe).start();
    let works = |authority: &str| {
        let authority = format!("--ssl-ca={authority}");
        let options = ["--ssl", "--ssl-verify-server-cert", &authority];
        cli(Flavour::MariaDb, dpm.port(), &options).code == 0
    };
    let other = Pki::new("Next");
    other.server("server", &["localhost", "127.0.0.1"]);
    assert!(works(&pki.file("ca.pem")) && !works(&other.file("ca.pem")));
    std::fs::copy(other.path("server.pem"), pki.path("server.pem")).unwrap();
    dpm.signal("HUP");
    dpm.line("tls.cert: ");
    assert!(works(&pki.file("ca.pem")), "half a renewal is none");
    std::fs::copy(other.path("server.key"), pki.path("server.key")).unwrap();
    dpm.signal("HUP");
    dpm.line("new certificate: ");
    assert!(!works(&pki.file("ca.pem")) && works(&other.file("ca.pem")));
}

#[test]
fn an_idle_connection_holds_little_memory() {
    let dpm = proxy(mariadb(), "true", "false");
    let said = by_hand(
        dpm.port(),
        &format!(
            "def rss(): return int([l.split()[1] for l in open('/proc/{pid}/status') if l.startswith('RssAnon')][0])\n\
             all = []\n\
             def one():\n\
             \x20   s = tls()\n\
             \x20   login(s)\n\
             \x20   query(s, 'SELECT REPEAT(1, 40000)')\n\
             \x20   n = 0\n\
             \x20   while n < 40000: n += len(s.recv(65536))\n\
             \x20   all.append(s)\n\
             for i in range(20): one()\n\
             before = rss()\n\
             for i in range(200): one()\n\
             print((rss() - before) // 200)\n",
            pid = dpm.pid()
        ),
    );
    // The server's connection included.
    let each: u64 = said.trim().parse().unwrap();
    assert!(each < 40, "{each} KiB for each pair");
}

/// MariaDB's clients from 11.4 on do not accept a certificate that no authority has signed, unless
/// the OK of the login proves it. With "localhost", since they accept any certificate of 127.0.0.1.
#[test]
fn the_servers_proof_of_its_certificate() {
    let Some(server) = support::mariadb11() else {
        return;
    };
    let login = |port: u16| {
        Cli::tool(Flavour::MariaDb11, "mysql")
            .args(["--no-defaults", "--protocol=tcp", "-hlocalhost", "-N", "-B"])
            .arg(format!("-P{port}"))
            .arg(format!("-u{USER}"))
            .arg(format!("-p{PASSWORD}"))
            .args(["-e", "SELECT 7"])
            .run()
    };
    let direct = login(server.port);
    assert_eq!(direct.code, 0, "{}", direct.err());

    // It is of the server's certificate, which is not the one that the client sees.
    let dpm = proxy(server, "true", "'preferred'");
    let done = login(dpm.port());
    assert!(done.err().contains("certificate"), "{}", done.err());

    // Unless it is the same.
    let options = pki::shared().server_options("server");
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let same = Server::start_own(Flavour::MariaDb11, &options);
    let dpm = proxy(&same, &files(), "'required'");
    let done = login(dpm.port());
    assert_eq!(done.code, 0, "{}", done.err());
}
