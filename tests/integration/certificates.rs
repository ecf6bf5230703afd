//! Certificates of our own: renewed while a listener listens, wrong ones, and those that end soon.

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose};

use crate::auth::own_address;
use crate::support::dpm::Launch;
use crate::support::pki::{self, Pki};
use crate::support::wire::{Wire, caps};
use crate::support::{Cli, Dpm, Flavour, PASSWORD, Stage, USER, mariadb, python};

/// A passthrough to MariaDB whose listener has this certificate, and what else is said.
fn listening(pki: &Pki, options: &str) -> Stage {
    Stage::with(
        &format!(
            "h.passthrough(nil, nil, {{ server_tls = false, tls = {{
               cert = '{}', key = '{}', {options} }} }})",
            pki.file("a.pem"),
            pki.file("a.key")
        ),
        mariadb().port,
    )
}

/// An authority that has signed the certificates `a` and `b` for this machine.
fn two() -> Pki {
    let pki = Pki::new("Two");
    pki.server("a", &["localhost", "127.0.0.1"]);
    pki.server("b", &["localhost", "127.0.0.1"]);
    pki
}

/// In Lua: the listener gets the certificate of one file with the key of another.
fn renewal(pki: &Pki, cert: &str, key: &str) -> String {
    let (cert, key) = (pki.file(cert), pki.file(key));
    format!("h.listener:tls {{ cert = '{cert}', key = '{key}' }}")
}

/// In Python: `shown()` logs in with TLS, and returns whose certificate was shown.
fn by_certificate(pki: &Pki) -> String {
    format!(
        "import ssl\n\
         context = ssl.create_default_context(cafile='{}')\n\
         def shown(**more):\n\
         \x20   c = connect(ssl=context, **more)\n\
         \x20   with c.cursor() as cursor:\n\
         \x20       cursor.execute('SELECT 1')\n\
         \x20   subject = c._sock.getpeercert()['subject']\n\
         \x20   c.close()\n\
         \x20   return subject[-1][0][1]\n",
        pki.file("ca.pem")
    )
}

#[test]
fn fifty_renewals_refuse_nobody() {
    let pki = two();
    let mut stage = listening(&pki, "");
    stage.lua(&format!(
        "renewals = 0
         local function renew()
           renewals = renewals + 1
           if renewals % 2 == 1 then {} else {} end
         end
         timer = dpm.new_timer()
         timer:schedule(0, 20, function(t)
           if renewals < 50 then renew() else t:cancel() end
         end)",
        renewal(&pki, "b.pem", "b.key"),
        renewal(&pki, "a.pem", "a.key"),
    ));
    let mut staying = Wire::login_empty(stage.dpm.port(), caps::BASE);
    // Four that connect without a pause, for longer than the renewals take.
    let said = python(
        stage.dpm.port(),
        &format!(
            "{}\
             import threading, time\n\
             seen, failed, end = [], [], time.monotonic() + 1.5\n\
             def run():\n\
             \x20   while time.monotonic() < end:\n\
             \x20       try: seen.append(shown())\n\
             \x20       except Exception as e: failed.append(repr(e))\n\
             threads = [threading.Thread(target=run) for _ in range(4)]\n\
             for t in threads: t.start()\n\
             for t in threads: t.join()\n\
             print(sorted(set(seen)), failed)\n",
            by_certificate(&pki)
        ),
    );
    assert_eq!(said, "['a', 'b'] []\n");
    stage.until("renewals == 50");
    assert_eq!(staying.rows("SELECT 5"), [["5"]]);
    stage.dpm.assert_no_errors();
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let pki = two();
    std::fs::write(pki.path("nothing"), "nothing").unwrap();
    let mut stage = listening(&pki, "required = true");
    let before = stage.lua("return h.listener:tls().fingerprint");
    let file = |name: &str| pki.file(name);
    for (options, why) in [
        (
            format!("cert = '{}', key = '{}'", file("b.pem"), file("a.key")),
            "(/CN=b): the key is not that of the certificate",
        ),
        (
            format!("cert = '{}', key = '{}'", file("nothing"), file("a.key")),
            "holds no certificate in PEM form",
        ),
        (
            format!("cert = '{}', key = '{}'", file("b.pem"), file("nothing")),
            "holds no private key in PEM form",
        ),
        (
            format!("cert = '{}', key = '/no/such'", file("b.pem")),
            "tls.key: cannot read /no/such",
        ),
        (format!("cert = '{}'", file("b.pem")), "tls.key: expected"),
        (
            "ca = '/no/such', verify = 'required'".into(),
            "tls.ca: cannot read",
        ),
        ("self_signed = false".into(), "tls: expected cert and key"),
        ("wrong = 1".into(), "there is no option tls.wrong"),
    ] {
        let said = stage.lua(&format!(
            "return pcall(function() h.listener:tls {{ {options} }} end)"
        ));
        assert!(said.starts_with("false\t") && said.contains(why), "{said}");
        let now = stage.lua("return h.listener:tls().fingerprint");
        assert_eq!(now, before, "{options}");
    }
    let port = stage.dpm.port();
    let shown = format!("{}print(shown())", by_certificate(&pki));
    assert_eq!(python(port, &shown), "a\n");
    for (conn, why) in [
        ("h.listener:tls(true)", "expected a table"),
        (
            "h.pairs[next(h.pairs)][1]:tls {}",
            "only a listener takes new certificates",
        ),
        (
            "local l = dpm.listener('127.0.0.1', 0, { tls = true }) dpm.close(l) l:tls {}",
            "is closed",
        ),
    ] {
        let _client = Wire::connect(port);
        stage.until("next(h.pairs) ~= nil");
        let said = stage.lua(&format!("return pcall(function() {conn} end)"));
        assert!(said.starts_with("false\t") && said.contains(why), "{said}");
    }
}

#[test]
fn what_is_not_named_stays() {
    let pki = two();
    pki.client("joe", "joe");
    let ca = pki.file("ca.pem");
    let mut stage = listening(
        &pki,
        &format!("ca = '{ca}', verify = 'required', required = true, min_version = '1.3'"),
    );
    let port = stage.dpm.port();
    stage.lua(&renewal(&pki, "b.pem", "b.key"));
    let attempts = format!(
        "{}\
         def tried(**more):\n\
         \x20   try: return shown(**more)\n\
         \x20   except Exception as e: return 'refused'\n\
         refused = tried()\n\
         context.load_cert_chain('{}', '{}')\n\
         works = tried()\n\
         context.maximum_version = ssl.TLSVersion.TLSv1_2\n\
         old = tried()\n\
         try: connect(ssl_disabled=True); open = 'works'\n\
         except Exception as e: open = e.args[0]\n\
         print(refused, works, old, open)",
        by_certificate(&pki),
        pki.file("joe.pem"),
        pki.file("joe.key")
    );
    assert_eq!(python(port, &attempts), "refused b refused 3159\n");
    // The same files again, whose contents are others now.
    std::fs::copy(pki.path("a.pem"), pki.path("b.pem")).unwrap();
    std::fs::copy(pki.path("a.key"), pki.path("b.key")).unwrap();
    stage.lua("h.listener:tls {}");
    assert_eq!(python(port, &attempts), "refused a refused 3159\n");
    // A listener that had none.
    stage.lua(&format!(
        "h.listener = dpm.listener('127.0.0.1', 0) {}",
        renewal(&pki, "a.pem", "a.key")
    ));
    assert_eq!(stage.lua("return h.listener:tls().subject"), "/CN=a");
    let none = stage.lua("return pcall(function() dpm.listener('127.0.0.1', 0):tls {} end)");
    assert!(
        none.contains("tls: expected cert and key, or self_signed"),
        "{none}"
    );
}

/// The certificate `name`, valid for these days from now, counted from today.
fn valid(pki: &Pki, name: &str, from: i64, until: i64) {
    let now = std::time::SystemTime::now();
    let day = |days: i64| {
        let time = std::time::Duration::from_secs(days.unsigned_abs() * 86_400 + 3_600);
        if days < 0 { now - time } else { now + time }
    };
    let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = day(from).into();
    params.not_after = day(until).into();
    pki.sign(name, &params);
}

#[test]
fn certificates_that_end_soon_are_warned_about() {
    let pki = Pki::new("Ends");
    valid(&pki, "gone", -20, -10);
    valid(&pki, "early", 5, 50);
    valid(&pki, "soon", -50, 13);
    valid(&pki, "today", -1, 0);
    valid(&pki, "fine", -50, 15);
    let mut stage = Stage::before(1);
    let files = |name: &str| {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        format!("cert = '{}', key = '{}'", pki.file(&cert), pki.file(&key))
    };
    let warning = |dpm: &Dpm, name: &str, what: &str| {
        let line = dpm.line(&format!("{name}.pem (/CN={name}) {what}"));
        assert!(line.contains(" WARN "), "{line}");
    };
    stage.lua(&format!(
        "l = dpm.listener('127.0.0.1', 0, {{ tls = {{ {} }} }})",
        files("gone")
    ));
    warning(&stage.dpm, "gone", "has expired: it was valid until ");
    // Not an error: the clients decide.
    stage.lua(&format!("l:tls {{ {} }}", files("early")));
    warning(&stage.dpm, "early", "is not valid yet: it will be from ");
    stage.lua(&format!("l:tls {{ {} }}", files("soon")));
    warning(&stage.dpm, "soon", "expires in 13 days, on ");
    stage.lua(&format!("l:tls {{ {} }}", files("fine")));
    let connect = |name: &str| {
        format!(
            "dpm.connect('127.0.0.1', 1, {{ tls = {{ mode = 'required', {} }} }})",
            files(name)
        )
    };
    // Once, whatever the number of connections.
    for _ in 0..3 {
        stage.lua(&connect("today"));
    }
    warning(&stage.dpm, "today", "expires within a day, on ");
    stage.lua(&connect("fine"));
    stage.dpm.settle();
    assert_eq!(stage.dpm.count("today.pem (/CN=today)"), 1);
    assert!(!stage.dpm.wrote("fine.pem (/CN=fine)"));
}

/// What a connect shows to a server is what its files hold now.
#[test]
fn a_connects_files_may_change() {
    let pki = two();
    for name in ["joe", "jim"] {
        pki.client(name, name);
    }
    let (now, key) = (pki.path("now.pem"), pki.path("now.key"));
    let put = |cert: &str, of: &str| {
        // As renewals do it: another file under the same name.
        let next = pki.path("next");
        std::fs::copy(pki.path(&format!("{cert}.pem")), &next).unwrap();
        std::fs::rename(&next, &now).unwrap();
        std::fs::copy(pki.path(&format!("{of}.key")), &next).unwrap();
        std::fs::rename(&next, &key).unwrap();
    };
    put("joe", "joe");
    let dpm = Launch::script(&format!(
        "local h = require('harness')
         local dpml = require('dpml')
         -- In the server's place: it shows who has come.
         back = dpm.listener('127.0.0.1', 0, {{ tls = {{
           cert = '{}', key = '{}', ca = '{}', verify = 'required', required = true }} }})
         dpml.accept_clients(back, {{
           users = {{ happy = {{ password = 'secret' }}, empty = {{ password = '' }} }},
           new_command = function(_, client)
             return {{ fields = {{ 'who' }}, rows = {{ {{ client:tls().peer_subject }} }} }}
           end,
         }})
         local front = dpm.listener('127.0.0.1', 0)
         dpml.passthrough_new_clients(front, {{}}, {{
           '127.0.0.1', back:socket_port(), tls = {{ mode = 'required', cert = '{}', key = '{}' }} }})
         print('port ' .. front:socket_port())",
        pki.file("a.pem"),
        pki.file("a.key"),
        pki.file("ca.pem"),
        now.display(),
        key.display(),
    ))
    .start();
    let who = || Wire::login_empty(dpm.port(), caps::BASE).rows("SELECT who");
    assert_eq!(who(), [["/O=Tests/CN=joe"]]);
    // Half a renewal: what was read before stays in use, with a warning for it.
    put("jim", "joe");
    assert_eq!(who(), [["/O=Tests/CN=joe"]]);
    assert_eq!(who(), [["/O=Tests/CN=joe"]]);
    dpm.line(
        "the key is not that of the certificate; what was read before stays in use for 127.0.0.1",
    );
    assert_eq!(dpm.count("what was read before stays in use"), 1);
    put("jim", "jim");
    assert_eq!(who(), [["/O=Tests/CN=jim"]]);
    dpm.assert_no_errors();
}

/// Closing a listener and making another in its place, within one callback.
#[test]
fn a_listeners_address_is_free_at_once() {
    let pki = pki::shared();
    let path = pki.folder().join("again.sock");
    let mut stage = listening(&two(), "");
    let mut staying = Wire::login_empty(stage.dpm.port(), caps::BASE);
    assert_eq!(staying.rows("SELECT 4"), [["4"]]);
    stage.lua(&format!(
        "port = h.listener:socket_port()
         accept = h.listener:register(dpm.MYC_CONNECT)
         for n = 1, 20 do
           dpm.close(h.listener)
           h.listener = dpm.listener('127.0.0.1', port)
           h.listener:register(dpm.MYC_CONNECT, accept)
         end
         path = '{}'
         local_listener = dpm.listener_unix(path)
         for n = 1, 20 do
           dpm.close(local_listener)
           local_listener = dpm.listener_unix(path, '0777')
         end
         local_listener:register(dpm.MYC_CONNECT, accept)",
        path.display()
    ));
    stage.dpm.settle();
    assert!(path.exists());
    let local = format!(
        "c = connect(unix_socket='{}')\nprint(c.host_info)",
        path.display()
    );
    for _ in 0..3 {
        let mut wire = Wire::login_empty(stage.dpm.port(), caps::BASE);
        assert_eq!(wire.rows("SELECT 6"), [["6"]]);
        assert!(python(0, &local).starts_with("Localhost via UNIX socket"));
    }
    // Whoever is told of its end can take its address, too.
    stage.lua(
        "h.listener:on_close(function()
           h.listener = dpm.listener('127.0.0.1', port)
           h.listener:register(dpm.MYC_CONNECT, accept)
         end)
         local_listener:on_close(function()
           local_listener = dpm.listener_unix(path)
           local_listener:register(dpm.MYC_CONNECT, accept)
         end)
         dpm.close(h.listener)
         dpm.close(local_listener)",
    );
    let mut wire = Wire::login_empty(stage.dpm.port(), caps::BASE);
    assert_eq!(wire.rows("SELECT 8"), [["8"]]);
    assert!(python(0, &local).starts_with("Localhost via UNIX socket"));
    assert_eq!(staying.rows("SELECT 9"), [["9"]]);
    // The last one's file goes with it.
    stage.lua("dpm.close(local_listener)");
    stage.lua("dpm.close(h.listener)");
    assert!(!path.exists());
    stage.dpm.assert_no_errors();
}

/// MariaDB's newer clients have the certificate proven with their password: it is the one that they were shown.
#[test]
fn a_renewed_certificate_is_proven_to_clients() {
    let (true, Some(address)) = (Flavour::MariaDb11.available(), own_address()) else {
        return;
    };
    let mut stage = Stage::with(
        &format!(
            "listener = dpm.listener(nil, 0, {{ tls = true }})
             require('dpml').accept_clients(listener, {{
               users = {{ {USER} = {{ password = '{PASSWORD}' }} }},
               new_command = function() return {{ columns = {{ 'x' }}, rows = {{ {{ 7 }} }} }} end,
             }})
             print('port ' .. listener:socket_port())"
        ),
        1,
    );
    let port = stage.dpm.port();
    let login = || {
        let mut cli = Cli::tool(Flavour::MariaDb11, "mysql")
            .args(["--no-defaults", "--protocol=tcp", "-N", "-B"])
            .arg(format!("-h{address}"))
            .arg(format!("-P{port}"));
        if let Some(folder) = Flavour::MariaDb11.client_plugins() {
            cli = cli.arg(format!("--plugin-dir={}", folder.display()));
        }
        cli.arg(format!("-u{USER}"))
            .arg(format!("-p{PASSWORD}"))
            .args(["-e", "SELECT x"])
            .ok()
    };
    assert_eq!(login(), "7\n");
    let before = stage.lua("return listener:tls().fingerprint");
    stage.lua("listener:tls { self_signed = true }");
    assert_ne!(stage.lua("return listener:tls().fingerprint"), before);
    assert_eq!(login(), "7\n");
    stage.dpm.assert_no_errors();
}
