//! accounts = "server": clients log in at the proxy, and the servers judge.

use crate::support::dpm::Launch;
use crate::support::pki::Pki;
use crate::support::wire::{Answer, Greeting, Wire, auth_packet, caps, error};
use crate::support::{
    Cli, Dpm, Flavour, Server, both, connect_as, eventually, mariadb, mariadb11, mysql, python,
};

/// A proxy without a server behind it that answers every query with the user's name, and the
/// generation of its password.
fn proxy(server: &Server, listener: &str, backend: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml, h = require 'dpml', require 'harness'
         local server_accounts = require 'dpml.pool.server_accounts'
         local accounts = server_accounts.new {{
           servers = function() return {{ {{ host = '127.0.0.1', port = tonumber(arg[1]), {backend} }} }} end,
           changed = function(account) print('changed ' .. account.key) end,
         }}
         local users = {{}}
         h.listen(function() end, {{ {listener} }})
         dpml.authenticate_new_clients(h.listener, {{
           new_client = function(client, auth, ok, verdict)
             local _, generation = verdict.account:login()
             users[client:id()] = {{ auth:user() .. ' ' .. generation }}
           end,
           new_command = function(cmd, id, client)
             if cmd:command() == dpm.COM_QUIT then dpm.close(client)
             elseif cmd:argument():find('$$', 1, true) then dpml.send_error(client, '42000', 1064, 'which a client expects')
             elseif cmd:argument():find('^SELECT') then dpml.send_resultset(client, {{ fields = {{ 'user' }}, rows = {{ users[id] }} }})
             else dpml.send_resultset(client, {{}}) end
             return dpm.DPM_NOPROXY
           end,
           closing = function(id) users[id] = nil end,
         }}, accounts)"
    ))
    .arg(server.port)
    .start()
}

/// Creates accounts, whose password is "secret"; returns their names.
fn make(server: &Server, accounts: &[(&str, &str)]) {
    for (name, identified) in accounts {
        server.sql(&format!(
            "DROP USER IF EXISTS '{name}'@'%'; CREATE USER '{name}'@'%' IDENTIFIED {identified}"
        ));
    }
}

/// An account for each method that this server has.
fn every_method(server: &Server) -> Vec<&'static str> {
    let accounts: &[(&str, &str)] = match server.flavour {
        Flavour::MariaDb => &[
            ("own_native", "BY 'secret'"),
            ("own_ed25519", "VIA ed25519 USING PASSWORD('secret')"),
        ],
        Flavour::MariaDb11 => &[
            ("own_native", "BY 'secret'"),
            ("own_ed25519", "VIA ed25519 USING PASSWORD('secret')"),
            ("own_parsec", "VIA parsec USING PASSWORD('secret')"),
            (
                "own_caching",
                "VIA caching_sha2_password USING PASSWORD('secret')",
            ),
        ],
        Flavour::MySql => &[
            ("own_caching", "BY 'secret'"),
            ("own_sha256", "WITH sha256_password BY 'secret'"),
        ],
    };
    make(server, accounts);
    accounts.iter().map(|(name, _)| *name).collect()
}

/// The command-line client of a flavour, logged in as a user.
fn as_user(flavour: Flavour, port: u16, user: &str, password: &str) -> Cli {
    let cli = Cli::client(flavour, port);
    // Debian 12's client assumes that it uses TLS otherwise, see the docs.
    let cli = match flavour {
        Flavour::MySql => cli,
        _ => cli.arg("--skip-ssl"),
    };
    cli.arg(format!("-u{user}"))
        .arg(format!("-p{password}"))
        .args(["-e", "SELECT CURRENT_USER()"])
}

fn denied(user: &str) -> String {
    format!("ERROR 1045 (28000): Access denied for user '{user}'@'127.0.0.1' (using password: YES)")
}

fn log_in_with_every_client(server: &Server) {
    let dpm = proxy(server, "", "");
    let port = dpm.port();
    for user in every_method(server) {
        for client in [Flavour::MariaDb, Flavour::MariaDb11, Flavour::MySql] {
            if !client.available() {
                continue;
            }
            for _ in 0..2 {
                let said = as_user(client, port, user, "secret").ok();
                assert_eq!(said, format!("{user} 1\n"), "{client:?}");
            }
            for password in ["Secret", ""] {
                let refused = as_user(client, port, user, password).run().err();
                // By some methods a server cannot tell whether there is a password.
                let told = denied(user).replace(" (using password: YES)", "");
                assert!(refused.contains(&told), "{client:?}: {refused}");
            }
        }
        let said = python(
            port,
            &format!(
                "for password in ('secret', 'wrong', 'secret', ''):\n\
                 \x20   try:\n\
                 \x20       cursor = connect(user='{user}', password=password).cursor()\n\
                 \x20       cursor.execute('SELECT 1')\n\
                 \x20       print(cursor.fetchone()[0])\n\
                 \x20   except pymysql.err.OperationalError as error:\n\
                 \x20       print(error.args[0])\n"
            ),
        );
        assert_eq!(said, format!("{user} 1\n1045\n{user} 1\n1045\n"));
        // The crate knows the fast exchange.
        assert!(connect_as(port, user, "secret").is_ok());
    }
    assert_eq!(as_user(server.flavour, port, "empty", "").ok(), "empty 1\n");
    for (user, password) in [("nobody", "secret"), ("empty", "secret")] {
        let refused = as_user(server.flavour, port, user, password).run().err();
        assert!(refused.contains(&denied(user)), "{refused}");
    }
    dpm.assert_no_errors();
    for password in ["secret", "Secret"] {
        assert_eq!(dpm.count(password), 0, "nothing is logged");
    }
}

both! {
    fn clients_of_every_kind_log_in(server) {
        log_in_with_every_client(server);
    }
}

#[test]
fn clients_of_every_kind_log_in_at_mariadb_11() {
    if let Some(server) = mariadb11() {
        log_in_with_every_client(server);
    }
}

/// What a client is told that answers by its password's fast hash, packet by packet: "full" or "fast", and the end.
fn steps(port: u16, user: &str, password: &str) -> Vec<String> {
    let mut wire = Wire::connect(port);
    let greeting = Greeting::parse(&wire.read());
    let packet = fast_auth_packet(&greeting.nonce, user, password);
    wire.write(&packet);
    let mut steps = Vec::new();
    loop {
        let packet = wire.read();
        steps.push(match packet[..] {
            [1, 3] => "fast".into(),
            [1, 4] => "full".into(),
            [0, ..] => "in".into(),
            _ => match error(&packet) {
                Answer::Err(number, ..) => number.to_string(),
                other => panic!("{other:?}"),
            },
        });
        match &*steps[steps.len() - 1] {
            // Only a real client can go on from here.
            "full" => return steps,
            "fast" => {}
            _ => return steps,
        }
    }
}

fn fast_auth_packet(nonce: &[u8], user: &str, password: &str) -> Vec<u8> {
    let answer = dpm::auth::caching_sha2::fast_answer(password.as_bytes(), nonce);
    let mut packet = auth_packet(nonce, user, "", caps::BASE);
    packet.pop();
    packet.push(answer.len() as u8);
    packet.extend_from_slice(&answer);
    packet.extend_from_slice(b"caching_sha2_password\0");
    packet
}

both! {
    /// Who has shown a password once proves it from then on, and who has another is asked to show it.
    fn a_password_is_shown_once(server) {
        make(server, &[("own_once", "BY 'secret'")]);
        let dpm = proxy(server, "", "");
        let port = dpm.port();
        assert_eq!(steps(port, "own_once", "secret"), ["full"]);
        assert_eq!(steps(port, "own_nobody", "secret"), ["full"]);
        as_user(server.flavour, port, "own_once", "secret").ok();
        assert_eq!(steps(port, "own_once", "secret"), ["fast", "in"]);
        assert_eq!(steps(port, "own_once", "Secret"), ["full"]);
        as_user(server.flavour, port, "own_once", "Secret").run();
        assert_eq!(steps(port, "own_once", "secret"), ["fast", "in"], "a wrong guess takes nothing away");
        assert_eq!(as_user(server.flavour, port, "own_once", "secret").ok(), "own_once 1\n");
        // The server is asked each time.
        server.sql("ALTER USER own_once@'%' IDENTIFIED BY 'another'");
        assert_eq!(steps(port, "own_once", "secret"), ["fast", "1045"]);
        assert_eq!(steps(port, "own_once", "secret"), ["full"], "it is forgotten");
        assert_eq!(as_user(server.flavour, port, "own_once", "another").ok(), "own_once 2\n");
        assert_eq!(steps(port, "own_once", "another"), ["fast", "in"]);
        server.sql("DROP USER own_once@'%'");
        assert_eq!(steps(port, "own_once", "another"), ["fast", "1045"]);
        dpm.assert_no_errors();
    }
}

both! {
    /// What else the server says no for.
    fn locked_and_expired_accounts(server) {
        make(server, &[("own_locked", "BY 'secret'"), ("own_old", "BY 'secret'")]);
        let dpm = proxy(server, "", "");
        let port = dpm.port();
        for user in ["own_locked", "own_old"] {
            as_user(server.flavour, port, user, "secret").ok();
        }
        server.sql("ALTER USER own_locked@'%' ACCOUNT LOCK; ALTER USER own_old@'%' PASSWORD EXPIRE");
        for port in [server.port, port] {
            let refused = as_user(server.flavour, port, "own_locked", "secret").run().err();
            let told = match server.flavour.is_mariadb() {
                true => "ERROR 4151 (HY000): Access denied, this account is locked",
                false => "ERROR 3118 (HY000): Access denied for user 'own_locked'@'127.0.0.1'. Account is locked.",
            };
            assert!(refused.contains(told), "{refused}");
        }
        // A client that can handle it gets in directly, but can only change the password.
        let done = as_user(server.flavour, port, "own_old", "secret").run();
        let (told, refused) = match server.flavour.is_mariadb() {
            true => ("ERROR 1862 (HY000): Your password has expired", done.err()),
            // MySQL's client has its own words for it.
            false => ("--connect-expired-password", done.out()),
        };
        assert!(refused.contains(told), "{refused}");
        server.sql("ALTER USER own_locked@'%' ACCOUNT UNLOCK; ALTER USER own_old@'%' IDENTIFIED BY 'secret'");
        for user in ["own_locked", "own_old"] {
            assert_eq!(as_user(server.flavour, port, user, "secret").ok(), format!("{user} 1\n"));
        }
        server.sql("DROP USER own_locked@'%', own_old@'%'");
    }
}

/// A client that comes by TLS to 127.0.0.1.
fn over_tls(flavour: Flavour, port: u16, user: &str, password: &str) -> Cli {
    let cli = Cli::tool(flavour, "mysql").args(["--no-defaults", "--protocol=tcp", "-N", "-B"]);
    let cli = match (flavour, flavour.client_plugins()) {
        (Flavour::MySql, _) => cli.arg("--ssl-mode=REQUIRED"),
        (_, Some(folder)) => cli
            .arg(format!("--plugin-dir={}", folder.display()))
            .arg("--ssl"),
        (_, None) => cli.arg("--ssl"),
    };
    cli.arg("-h127.0.0.1")
        .arg(format!("-P{port}"))
        .arg(format!("-u{user}"))
        .arg(format!("-p{password}"))
        .args(["-e", "SELECT CURRENT_USER()"])
}

both! {
    /// Without a key, as the password comes in clear; by either method that shows it so.
    fn over_tls_the_password_comes_in_clear(server) {
        make(server, &[("own_tls", "BY 'secret'")]);
        let dpm = proxy(server, "tls = true", "");
        for client in [Flavour::MariaDb, Flavour::MariaDb11, Flavour::MySql] {
            if !client.available() {
                continue;
            }
            for _ in 0..2 {
                assert_eq!(over_tls(client, dpm.port(), "own_tls", "secret").ok(), "own_tls 1\n", "{client:?}");
            }
            let refused = over_tls(client, dpm.port(), "own_tls", "Secret").run().err();
            assert!(refused.contains(&denied("own_tls")), "{client:?}: {refused}");
            let clear = |password| {
                let cli = over_tls(client, dpm.port(), "own_tls", password).arg("--default-auth=mysql_clear_password");
                match client {
                    Flavour::MySql => cli.arg("--enable-cleartext-plugin"),
                    _ => cli,
                }
            };
            assert_eq!(clear("secret").ok(), "own_tls 1\n", "{client:?}");
            let refused = clear("Secret").run().err();
            assert!(refused.contains(&denied("own_tls")), "{client:?}: {refused}");
        }
        dpm.assert_no_errors();
        for password in ["secret", "Secret"] {
            assert_eq!(dpm.count(password), 0, "nothing is logged");
        }
    }
}

/// Over a connection that others can read nobody is asked for clear text, whatever he names.
#[test]
fn clear_text_is_never_asked_for_in_the_open() {
    let server = mariadb();
    make(server, &[("own_open", "BY 'secret'")]);
    let dpm = proxy(server, "", "");
    let mut wire = Wire::connect(dpm.port());
    let greeting = Greeting::parse(&wire.read());
    let mut packet = auth_packet(&greeting.nonce, "own_open", "", caps::BASE);
    packet.pop();
    packet.extend_from_slice(b"\x07secret\0mysql_clear_password\0");
    wire.write(&packet);
    let asked = wire.read();
    assert!(
        asked.starts_with(b"\xFEcaching_sha2_password\0"),
        "{}",
        asked.escape_ascii()
    );
    wire.write(&[7; 32]);
    assert_eq!(wire.read(), [1, 4]);
    wire.write(b"secret\0");
    assert!(matches!(error(&wire.read()), Answer::Err(1045, ..)));
}

both! {
    /// What the account requires of connections holds for the client's own, although the proxy comes by TLS.
    fn an_account_that_requires_tls(server) {
        let pki = Pki::new("required");
        pki.server("server", &["127.0.0.1"]);
        let options = pki.server_options("server");
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let own = Server::start_own(server.flavour, &options);
        make(&own, &[("own_plain", "BY 'secret'"), ("own_safe", "BY 'secret' REQUIRE SSL"), ("own_x509", "BY 'secret' REQUIRE X509")]);
        let own_tls = "tls = 'required'";
        for (listener, is_tls) in [("", false), ("tls = true", true)] {
            let dpm = proxy(&own, listener, own_tls);
            let client = |user| match is_tls {
                true => over_tls(server.flavour, dpm.port(), user, "secret"),
                false => as_user(server.flavour, dpm.port(), user, "secret"),
            };
            assert_eq!(client("own_plain").ok(), "own_plain 1\n");
            match is_tls {
                true => assert_eq!(client("own_safe").ok(), "own_safe 1\n"),
                false => assert!(client("own_safe").run().err().contains(&denied("own_safe"))),
            }
            assert!(client("own_x509").run().err().contains(&denied("own_x509")));
        }
        own.sql("SET GLOBAL require_secure_transport = 1");
        let dpm = proxy(&own, "", own_tls);
        let refused = as_user(server.flavour, dpm.port(), "own_plain", "secret").run().err();
        let direct = as_user(server.flavour, own.port, "own_plain", "secret");
        let direct = match server.flavour {
            Flavour::MySql => direct.arg("--ssl-mode=DISABLED"),
            _ => direct,
        };
        let direct = direct.run().err();
        assert!(direct.lines().any(|line| line.starts_with("ERROR") && refused.contains(line)), "{direct}{refused}");
    }
}

both! {
    /// A server that knows the user, but has no more room for it.
    fn a_user_that_has_all_its_connections_is_let_in_by_its_password(server) {
        make(server, &[("own_few", "BY 'secret' WITH MAX_USER_CONNECTIONS 1")]);
        let dpm = proxy(server, "", "");
        let client = |password| as_user(server.flavour, dpm.port(), "own_few", password);
        let taken = connect_as(server.port, "own_few", "secret");
        let taken = match taken {
            Ok(taken) => taken,
            // The server needs to see the password first, which the crate shows over TLS only.
            Err(_) => {
                as_user(server.flavour, server.port, "own_few", "secret").ok();
                connect_as(server.port, "own_few", "secret").unwrap()
            }
        };
        let refused = client("secret").run().err();
        assert!(refused.contains("ERROR 1226 (42000): User 'own_few' has exceeded the 'max_user_connections'"), "{refused}");
        drop(taken);
        eventually("the server has room", || client("secret").run().code == 0);
        let taken = connect_as(server.port, "own_few", "secret").unwrap();
        assert_eq!(client("secret").ok(), "own_few 1\n", "among the connections that the proxy has");
        let refused = client("Secret").run().err();
        assert!(refused.contains(&denied("own_few")), "{refused}");
        drop(taken);
    }
}

#[test]
fn two_passwords_that_are_both_valid() {
    let Some(server) = mysql() else { return };
    make(server, &[("own_two", "BY 'secret'")]);
    let dpm = proxy(server, "", "");
    let client = |password| as_user(Flavour::MySql, dpm.port(), "own_two", password);
    assert_eq!(client("secret").ok(), "own_two 1\n");
    server.sql("ALTER USER own_two@'%' IDENTIFIED BY 'another' RETAIN CURRENT PASSWORD");
    // It looks as if the password had changed, until the older one is right, too.
    for _ in 0..2 {
        assert_eq!(client("another").ok(), "own_two 2\n");
        assert_eq!(client("secret").ok(), "own_two 1\n");
        assert_eq!(dpm.count("changed own_two"), 1);
    }
    server.sql("ALTER USER own_two@'%' DISCARD OLD PASSWORD");
    assert!(client("secret").run().err().contains(&denied("own_two")));
    assert_eq!(dpm.count("changed own_two"), 2);
    assert_eq!(client("another").ok(), "own_two 2\n");
    assert_eq!(dpm.count("changed own_two"), 2);
}

/// Who comes before a login has been judged shares the next verdict; nobody gets one that is older than he is.
#[test]
fn many_who_come_at_once_are_judged_together() {
    let server = mariadb();
    make(server, &[("own_many", "BY 'secret'")]);
    let dpm = proxy(server, "", "");
    as_user(Flavour::MariaDb, dpm.port(), "own_many", "secret").ok();
    let count = || -> u64 {
        let said = server.sql("SHOW GLOBAL STATUS LIKE 'Connections'");
        said.split_whitespace().last().unwrap().parse().unwrap()
    };
    let before = count();
    let mut wires: Vec<(Wire, Vec<u8>)> = (0..200)
        .map(|_| {
            let mut wire = Wire::connect(dpm.port());
            let greeting = Greeting::parse(&wire.read());
            let packet = fast_auth_packet(&greeting.nonce, "own_many", "secret");
            (wire, packet)
        })
        .collect();
    for (wire, packet) in &mut wires {
        wire.write(packet);
    }
    for (wire, _) in &mut wires {
        assert_eq!(wire.read(), [1, 3]);
        assert_eq!(wire.read()[0], 0);
    }
    let made = count() - before;
    assert!(made < 150, "{made}");
    dpm.assert_no_errors();
}

#[test]
fn a_server_that_cannot_be_reached_judges_nobody() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    make(&server, &[("own_away", "BY 'secret'")]);
    let dpm = proxy(&server, "", "");
    as_user(Flavour::MariaDb, dpm.port(), "own_away", "secret").ok();
    server.kill();
    let refused = as_user(Flavour::MariaDb, dpm.port(), "own_away", "secret")
        .run()
        .err();
    assert!(
        refused.contains("ERROR 1105 (08S01): Can't connect to server"),
        "{refused}"
    );
    server.restart(&[]);
    assert_eq!(steps(dpm.port(), "own_away", "secret"), ["fast", "in"]);
}
