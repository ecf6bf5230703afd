//! Logins that pass through where one leg is TLS and the other is not.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use mysql::prelude::Queryable as _;

use crate::support::pki;
use crate::support::process::Finished;
use crate::support::{self, Cli, Dpm, Flavour, Server, mariadb};

/// A MySQL with TLS, and one without; for one test at a time, since tests clear the servers' caches
/// of logins.
fn servers() -> Option<(&'static Server, &'static Server, MutexGuard<'static, ()>)> {
    static ONE: Mutex<()> = Mutex::new(());
    static SERVERS: OnceLock<(Server, Server)> = OnceLock::new();
    if !support::server::mysql_available() {
        return None;
    }
    let (with, without) = SERVERS.get_or_init(|| {
        let options = pki::shared().server_options("server");
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let with = Server::start_own(Flavour::MySql, &options);
        let without = Server::start_own(Flavour::MySql, &["--tls-version="]);
        for server in [&with, &without] {
            server.sql(
                "CREATE USER sha256 IDENTIFIED WITH sha256_password BY 'geheim';
                 CREATE USER caching IDENTIFIED WITH caching_sha2_password BY 'geheim';
                 CREATE USER other IDENTIFIED WITH caching_sha2_password BY 'other';
                 CREATE USER nothing IDENTIFIED WITH sha256_password BY ''",
            );
        }
        (with, without)
    });
    Some((
        with,
        without,
        ONE.lock().unwrap_or_else(PoisonError::into_inner),
    ))
}

/// A passthrough that prints the rounds that the script sees.
fn proxy(server: &Server, client: &str, towards: &str, cleartext: &str) -> Dpm {
    Dpm::start(
        &format!(
            "local h = require('harness')
             local function hex(s) return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) end)) end
             h.listen(function(c)
               local s = dpm.connect(arg[1], tonumber(arg[2]), {{ tls = {towards}, cleartext = {cleartext} }})
               h.pairs[c:id()] = {{ c, s }}
               c:register(dpm.MYC_SENT_AUTH, function(p) print('from client', #p:data(), hex(p:data():sub(1, 2))) end)
               s:register(dpm.MYS_SENDING_AUTH, function(p) print('from server', #p:data(), hex(p:data():sub(1, 2))) end)
               dpm.proxy_connect(c, s)
             end, {{ tls = {client} }})"
        ),
        server,
    )
}

fn login(port: u16, user: &str, options: &[&str]) -> Finished {
    Cli::tool(Flavour::MySql, "mysql")
        .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-N", "-B"])
        .arg(format!("-P{port}"))
        .args([&format!("-u{user}"), "-pgeheim", "--commands"])
        .args(options)
        .args(["-e", "SELECT CURRENT_USER()"])
        .run()
}

/// Clears the server's cache of logins, so that it needs the password rather than its hash.
fn forget(server: &Server) {
    server.sql("FLUSH PRIVILEGES");
}

const OPEN: &[&str] = &["--ssl-mode=DISABLED", "--get-server-public-key"];
const SAFE: &[&str] = &["--ssl-mode=REQUIRED"];

#[test]
fn a_client_in_clear_gets_the_proxys_key_where_the_server_has_tls() {
    let Some((server, _, _one)) = servers() else {
        return;
    };
    let dpm = proxy(server, "false", "'required'", "nil");
    for user in ["caching", "sha256"] {
        for _ in 0..2 {
            forget(server);
            let done = login(dpm.port(), user, OPEN);
            assert_eq!(done.code, 0, "{user}: {}", done.err());
            assert_eq!(done.out(), format!("{user}@%\n"));
        }
        // The server refuses a wrong password.
        let done = Cli::tool(Flavour::MySql, "mysql")
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-pwrong"])
            .args([&format!("-P{}", dpm.port()), &format!("-u{user}")])
            .args(OPEN)
            .args(["-e", "SELECT 1"])
            .run();
        assert!(done.err().contains("1045"), "{user}: {}", done.err());
    }
    // The script sees the packets that each end has sent.
    dpm.line("from server\t2\t0104");
    dpm.line("from client\t1\t02");
    dpm.line("from client\t256\t");
    // The fast way needs no translation.
    assert_eq!(login(dpm.port(), "caching", OPEN).code, 0);
    let before = dpm.count("from client\t256");
    assert_eq!(login(dpm.port(), "caching", OPEN).code, 0);
    assert_eq!(dpm.count("from client\t256"), before);
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}

#[test]
fn so_does_a_client_whose_own_method_is_sha256() {
    let Some((server, _, _one)) = servers() else {
        return;
    };
    let dpm = proxy(server, "false", "'required'", "nil");
    // Its very first packet asks for the key.
    for user in ["sha256", "nothing"] {
        let mut options = OPEN.to_vec();
        options.push("--default-auth=sha256_password");
        if user == "nothing" {
            options.push("--skip-password");
        }
        let done = login(dpm.port(), user, &options);
        assert_eq!(done.code, 0, "{user}: {}", done.err());
    }
}

#[test]
fn a_client_that_knows_the_servers_key_beforehand_is_told_why_it_cannot() {
    let Some((server, _, _one)) = servers() else {
        return;
    };
    let key = server.folder().join("data/public_key.pem");
    let pinned = format!("--server-public-key-path={}", key.display());
    for user in ["caching", "sha256"] {
        forget(server);
        let dpm = proxy(server, "false", "'required'", "nil");
        let options = ["--ssl-mode=DISABLED", &pinned];
        let done = login(dpm.port(), user, &options);
        assert!(
            done.err()
                .contains("encrypted with a key that is not the proxy's"),
            "{user}: {}",
            done.err()
        );
        dpm.wait_until_idle();
        // Between equal legs it works.
        let dpm = proxy(server, "false", "false", "nil");
        let done = login(dpm.port(), user, &options);
        assert_eq!(done.code, 0, "{user}: {}", done.err());
    }
}

#[test]
fn a_password_that_came_over_tls_does_not_go_on_in_clear() {
    let Some((_, server, _one)) = servers() else {
        return;
    };
    for user in ["caching", "sha256"] {
        forget(server);
        let dpm = proxy(server, "true", "'preferred'", "nil");
        let done = login(dpm.port(), user, SAFE);
        assert!(
            done.err().contains("ERROR 1105 (HY000): the proxy does not send a password over a connection that is not encrypted"),
            "{user}: {}",
            done.err()
        );
        dpm.wait_until_idle();
        // With the option, it is sent as without TLS: encrypted.
        for cleartext in ["'rsa'", "'allow'"] {
            forget(server);
            let dpm = proxy(server, "true", "false", cleartext);
            let done = login(dpm.port(), user, SAFE);
            assert_eq!(done.code, 0, "{user} {cleartext}: {}", done.err());
            assert_eq!(done.out(), format!("{user}@%\n"));
            // The key has come.
            dpm.line("from server\t452\t012d");
            dpm.wait_until_idle();
            dpm.assert_no_errors();
        }
    }
    let dpm = proxy(server, "true", "false", "'rsa'");
    let done = login(
        dpm.port(),
        "sha256",
        &["--ssl-mode=REQUIRED", "--default-auth=sha256_password"],
    );
    assert_eq!(done.code, 0, "{}", done.err());
}

#[test]
fn equal_legs_pass_as_they_are() {
    let Some((with, without, _one)) = servers() else {
        return;
    };
    for (server, client, towards, options) in [
        (with, "true", "'required'", SAFE),
        (with, "false", "false", OPEN),
        (without, "false", "false", OPEN),
    ] {
        for user in ["caching", "sha256"] {
            forget(server);
            let dpm = proxy(server, client, towards, "nil");
            let done = login(dpm.port(), user, options);
            assert_eq!(done.code, 0, "{user}: {}", done.err());
            dpm.wait_until_idle();
            dpm.assert_no_errors();
        }
    }
}

#[test]
fn a_change_of_user_is_followed_too() {
    let Some((with, without, _one)) = servers() else {
        return;
    };
    let dpm = proxy(with, "false", "'required'", "nil");
    let mut conn = support::connect(dpm.port());
    for (user, password) in [
        ("caching", "geheim"),
        ("other", "other"),
        ("caching", "geheim"),
    ] {
        forget(with);
        let options = mysql::ChangeUserOpts::new()
            .with_user(Some(user.to_string()))
            .with_pass(Some(password.to_string()));
        conn.change_user(options).unwrap();
        let who: Option<String> = conn.query_first("SELECT CURRENT_USER()").unwrap();
        assert_eq!(who, Some(format!("{user}@%")));
    }
    assert!(dpm.count("from client\t256") >= 3);
    drop(conn);
    dpm.wait_until_idle();
    dpm.assert_no_errors();
    for (server, towards) in [(without, "false"), (with, "'required'")] {
        for user in ["other", "sha256", "caching"] {
            let dpm = proxy(server, "true", towards, "'rsa'");
            let ssl = "ssl_disabled=False, ssl_verify_cert=False";
            let Some(said) = change_user(server, dpm.port(), ssl, user) else {
                return;
            };
            assert_eq!(said, format!("{user}@%\n"), "{towards}");
            dpm.wait_until_idle();
            dpm.assert_no_errors();
        }
    }
}

#[test]
fn a_change_of_user_that_waits_for_the_proxys_key_is_a_command_all_the_same() {
    let Some((server, _, _one)) = servers() else {
        return;
    };
    let dpm = proxy(server, "false", "'required'", "nil");
    let mut wire = support::Wire::connect(dpm.port());
    let greeting = support::wire::Greeting::parse(&wire.read());
    wire.authenticate(&greeting, "empty", "", support::wire::caps::BASE);
    assert_eq!(wire.read().first(), Some(&0));
    wire.command(
        support::wire::com::CHANGE_USER,
        b"sha256\0\x01\x01\0\x2d\0sha256_password\0",
    );
    let key = wire.read();
    let key = key.strip_prefix(b"\x01").expect("a key");
    let password = dpm::auth::rsa::encrypt(key, b"geheim", &greeting.nonce).unwrap();
    wire.write(&password);
    let mut answer = wire.read();
    if answer[0] == 0xFE {
        // The server goes by the account's method, with a challenge of its own.
        let nonce = answer.strip_prefix(b"\xFEsha256_password\0").unwrap()[..20].to_vec();
        wire.write(&[1]);
        let key = wire.read();
        let key = key.strip_prefix(b"\x01").expect("a key");
        wire.write(&dpm::auth::rsa::encrypt(key, b"geheim", &nonce).unwrap());
        answer = wire.read();
    }
    assert_eq!(answer.first(), Some(&0), "{}", answer.escape_ascii());
    assert_eq!(wire.rows("SELECT CURRENT_USER()"), [["sha256@%"]]);
}

/// With mysql-connector-python, which changes users; `None` where it is not installed.
fn change_user(server: &Server, port: u16, ssl: &str, user: &str) -> Option<String> {
    let password = if user == "other" { "other" } else { "geheim" };
    let program = format!(
        "try: import mysql.connector\n\
         except ImportError:\n\
         \x20   print('none')\n\
         \x20   sys.exit()\n\
         c = mysql.connector.connect(host='127.0.0.1', port={port}, user='happy', password='wheefun', use_pure=True, {ssl})\n\
         open('{flush}', 'w').close()\n\
         k = c.cursor()\n\
         k.execute('FLUSH PRIVILEGES')\n\
         k.close()\n\
         c.cmd_change_user('{user}', '{password}')\n\
         k = c.cursor()\n\
         k.execute('SELECT CURRENT_USER()')\n\
         print(k.fetchone()[0])\n",
        flush = server.folder().join("touched").display()
    );
    let said = support::python(port, &program);
    if said == "none\n" {
        eprintln!("SKIPPED: no mysql-connector-python");
        return None;
    }
    Some(said)
}

/// A passthrough whose script sends changed copies of these packets in the place of the packets.
fn rewiring(host: &str, port: u16, copied: &str, cleartext: &str) -> Dpm {
    support::dpm::Launch::script(&format!(
        "local h = require('harness')
         local copied = '{copied}'
         h.listen(function(c)
           local s = dpm.connect(arg[1], tonumber(arg[2]), {{ tls = false, cleartext = {cleartext} }})
           h.pairs[c:id()] = {{ c, s }}
           local function copy(what, from, state, to)
             if copied:find(what) then
               from:register(dpm[state], function(p)
                 if type(p) == 'userdata' then
                   print('copying ' .. what)
                   dpm.wire_packet(to, p)
                   return dpm.DPM_NOPROXY
                 end
               end)
             end
           end
           copy('greeting', s, 'MYS_WAIT_AUTH', c)
           copy('login', c, 'MYC_WAITING', s)
           copy('asked', s, 'MYS_SENDING_AUTH', c)
           copy('answer', c, 'MYC_SENT_AUTH', s)
           dpm.proxy_connect(c, s)
         end, {{ tls = true }})"
    ))
    .arg(host)
    .arg(port)
    .start()
}

#[test]
fn nor_where_a_script_sends_copies_of_the_logins_packets() {
    let Some((_, server, _one)) = servers() else {
        return;
    };
    for copied in ["login", "greeting login", "greeting login asked"] {
        for user in ["caching", "sha256"] {
            let cleartext = if copied == "login" { "'rsa'" } else { "nil" };
            forget(server);
            let dpm = rewiring(server.host(), server.port, copied, cleartext);
            let done = login(dpm.port(), user, SAFE);
            dpm.line("copying login");
            if cleartext == "'rsa'" {
                assert_eq!(done.out(), format!("{user}@%\n"), "{}", done.err());
                dpm.wait_until_idle();
                continue;
            }
            assert!(
                done.err()
                    .contains("ERROR 1105 (HY000): the proxy does not send"),
                "{copied}, {user}: {}",
                done.err()
            );
            dpm.wait_until_idle();
        }
    }
    // What the script itself sends must not show it either.
    for user in ["caching", "sha256"] {
        forget(server);
        let dpm = rewiring(server.host(), server.port, "answer", "nil");
        assert_ne!(login(dpm.port(), user, SAFE).code, 0);
        dpm.line("it may show a password");
        dpm.wait_until_idle();
    }
}

/// A greeting that names this method.
fn greeting_of(plugin: &str) -> Vec<u8> {
    let mut greeting = support::wire::greeting(support::wire::caps::BASE);
    greeting.truncate(greeting.len() - b"mysql_native_password\0".len());
    greeting.extend(plugin.as_bytes());
    greeting.push(0);
    greeting
}

#[test]
fn who_answers_on_the_open_leg_gets_no_password_by_strange_questions() {
    let strange: [&[u8]; 6] = [
        b"\x01\x04\x00",
        b"\x01\x04",
        b"\x04",
        b"\x01\x05",
        b"\xFEnobody_knows\0abcdefghijklmnopqrst\0",
        b"\xFEmysql_clear_password",
    ];
    for copied in ["", "login", "greeting", "greeting login asked", "answer"] {
        for (n, question) in strange.iter().enumerate() {
            let mock = support::MockServer::new();
            let dpm = rewiring("127.0.0.1", mock.port, copied, "nil");
            let port = dpm.port();
            // It sends the password after any packet that begins with `01 04`.
            let client = std::thread::spawn(move || {
                support::python(
                    port,
                    "import ssl\n\
                     try:\n\
                     \x20   connect(ssl=ssl._create_unverified_context(), password='hunter2')\n\
                     except Exception as e:\n\
                     \x20   print(e)\n",
                )
            });
            let mut wire = mock.accept();
            wire.write(&greeting_of("caching_sha2_password"));
            wire.read();
            wire.write(question);
            let mut told = Vec::new();
            while let Ok(packet) = wire.try_read() {
                told.push(packet);
            }
            let shown = |packet: &Vec<u8>| packet.windows(7).any(|w| w == b"hunter2");
            assert!(!told.iter().any(shown), "{copied}, question {n}");
            let said = client.join().unwrap();
            if copied.is_empty() && [0, 1, 3].contains(&n) {
                assert!(said.contains("1105"), "question {n}: {said}");
            }
            dpm.wait_until_idle();
        }
    }
}

#[test]
fn a_greeting_of_sha256_gets_no_password_in_a_copied_login() {
    for copied in ["", "login"] {
        let mock = support::MockServer::new();
        let dpm = rewiring("127.0.0.1", mock.port, copied, "nil");
        let port = dpm.port();
        let client = std::thread::spawn(move || {
            support::python(
                port,
                "import ssl\n\
                 try:\n\
                 \x20   connect(ssl=ssl._create_unverified_context(), password='hunter2')\n\
                 except Exception as e:\n\
                 \x20   print(e)\n",
            )
        });
        let mut wire = mock.accept();
        wire.write(&greeting_of("sha256_password"));
        // All that may come is the login of nobody, which the proxy finishes.
        if let Ok(told) = wire.try_read() {
            let nobody = b"client-left-before-its-login\0\0mysql_native_password\0";
            assert!(told.ends_with(nobody), "{copied}: {}", told.escape_ascii());
        }
        client.join().unwrap();
        dpm.wait_until_idle();
    }
}

#[test]
fn clear_text_methods() {
    let Some(_servers) = servers() else { return };
    // A server that asks for the password in clear.
    let ask = b"\xFEmysql_clear_password\0";
    for (client, cleartext, arrives) in [
        ("true", "nil", false),
        ("true", "'rsa'", false),
        ("true", "'allow'", true),
        // It was configured to send it in clear, and does so on its own leg.
        ("false", "nil", true),
    ] {
        let mock = support::MockServer::new();
        let dpm = support::dpm::Launch::script(&format!(
            "local h = require('harness')
             h.listen(function(c)
               local s = dpm.connect(arg[1], tonumber(arg[2]), {{ cleartext = {cleartext} }})
               h.pairs[c:id()] = {{ c, s }}
               dpm.proxy_connect(c, s)
             end, {{ tls = {client} }})"
        ))
        .arg("127.0.0.1")
        .arg(mock.port)
        .start();
        let port = dpm.port();
        let options: &[&str] = match client {
            "true" => &["--ssl-mode=REQUIRED", "--enable-cleartext-plugin"],
            _ => &["--ssl-mode=DISABLED", "--enable-cleartext-plugin"],
        };
        let client = std::thread::spawn(move || login(port, "joe", options));
        let mut wire = mock.accept();
        wire.write(&support::wire::greeting(support::wire::caps::BASE));
        wire.read();
        wire.write(ask);
        match arrives {
            true => {
                assert_eq!(wire.read(), b"geheim\0");
                wire.write(&support::wire::err(1045, "28000", "no"));
                client.join().unwrap();
            }
            false => {
                assert!(wire.closed());
                let done = client.join().unwrap();
                assert!(
                    done.err().contains("cleartext = \"allow\""),
                    "{}",
                    done.err()
                );
            }
        }
    }
}

#[test]
fn mariadb_through_unequal_legs() {
    // Its methods reveal nothing, and pass unchanged.
    let dpm = proxy(mariadb(), "true", "false", "nil");
    let said = Cli::client(Flavour::MariaDb, dpm.port())
        .args(["--ssl", "-e", "SELECT CURRENT_USER()"])
        .ok();
    assert_eq!(said, "happy@%\n");
}

#[test]
fn nonsense_in_place_of_a_password() {
    let Some((server, _, _one)) = servers() else {
        return;
    };
    for answer in [
        &b""[..],
        &[0xFF; 300],
        &[0x02; 255],
        &[7; 256],
        &[7; 70_000],
    ] {
        forget(server);
        let dpm = proxy(server, "false", "'required'", "nil");
        let mut wire = support::Wire::connect(dpm.port());
        let greeting = support::wire::Greeting::parse(&wire.read());
        let caps = support::wire::caps::BASE;
        let mut auth = support::wire::auth_packet(&greeting.nonce, "caching", "", caps);
        // A scramble that the server cannot check for want of a cached hash.
        let at = auth.windows(8).position(|w| w == b"caching\0").unwrap() + 8;
        auth.truncate(at);
        auth.push(32);
        auth.extend([1; 32]);
        auth.extend(b"caching_sha2_password\0");
        wire.write(&auth);
        assert_eq!(wire.read(), [1, 4]);
        wire.write(&[2]);
        let key = wire.read();
        assert!(key.starts_with(b"\x01-----BEGIN PUBLIC KEY-----"));
        wire.write(answer);
        let refused = wire.read();
        assert_eq!(refused[0], 0xFF);
        assert!(wire.closed());
        assert_eq!(login(dpm.port(), "caching", OPEN).code, 0);
    }
}
