//! Logins that pass through where one leg is TLS and the other is not.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use mysql::prelude::Queryable as _;

use crate::support::pki;
use crate::support::process::Finished;
use crate::support::{self, Cli, Dpm, Flavour, Server, mariadb};

/// A MySQL with TLS, and one without; for one test at a time, since each has the servers forget whom
/// they know.
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

/// A passthrough that tells what the script sees of the rounds.
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

/// Makes the server forget who was there, so that it wants the password and not its hash.
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
        // A password that is wrong is the server's to refuse.
        let done = Cli::tool(Flavour::MySql, "mysql")
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-pwrong"])
            .args([&format!("-P{}", dpm.port()), &format!("-u{user}")])
            .args(OPEN)
            .args(["-e", "SELECT 1"])
            .run();
        assert!(done.err().contains("1045"), "{user}: {}", done.err());
    }
    // What the script sees is what each end has said.
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
        // Told otherwise, it goes on as it would have without TLS: encrypted.
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

#[test]
fn clear_text_methods() {
    let Some(_servers) = servers() else { return };
    // A server that asks for the password in clear.
    let ask = b"\xFEmysql_clear_password\0";
    for (client, cleartext, arrives) in [
        ("true", "nil", false),
        ("true", "'rsa'", false),
        ("true", "'allow'", true),
        // Its own choice: it was told to send it in clear, and does on its own leg.
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
    // Its methods reveal nothing, and pass as they are.
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
