//! Each demo does what its header says: servers made of Lua, and scripts that change while they run.
//! And what all demos have in common.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{
    Cli, Dpm, Flavour, Over, PASSWORD, USER, both, connect_as, eventually, mariadb, process, python,
};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

fn demos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demos")
}

/// Every demo, and the text of it.
fn each_demo() -> Vec<(PathBuf, String)> {
    let mut found: Vec<_> = std::fs::read_dir(demos())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lua"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect();
    found.sort();
    assert!(found.len() > 20, "{} demos", found.len());
    found
}

/// The command-line client as the account that the scripts without a server let in.
fn as_dpm(flavour: Flavour, port: u16) -> Cli {
    Cli::client(flavour, port).args(["-udpm", "-pdpm"])
}

#[test]
fn service() {
    let dpm = Launch::file(demos().join("service.lua"))
        .arg("")
        .arg("")
        .arg(0)
        .start();
    let port = dpm.listening();
    let files = dpm.open_files();
    let mut first = as_dpm(Flavour::MariaDb, port).session();
    let line = first.ask("SELECT * FROM proxy.connections");
    assert!(line.contains("\tdpm\t127.0.0.1\t1\t"), "{line}");
    let mut second = as_dpm(Flavour::MariaDb, port).session();
    let both = [second.ask("select *\nfrom connections"), second.line()];
    assert!(
        both.iter()
            .all(|line| line.contains("\tdpm\t127.0.0.1\t1\t")),
        "{both:?}"
    );
    assert_eq!(second.ask("SHOW TABLES"), "connections");
    assert_eq!(second.line(), "stats");
    assert_eq!(first.quit(), 0);
    dpm.wait_for_open_files(files + 1);
    assert!(
        second
            .ask("SELECT * FROM connections")
            .contains("\t127.0.0.1\t3\t")
    );
    drop(second);

    let mut wire = Wire::login_as(port, "dpm", "dpm", MODERN);
    let Answer::Err(1064, state, message) = wire.query("DELETE FROM connections") else {
        panic!("an error")
    };
    assert_eq!(state, "42000");
    assert!(message.contains("SHOW TABLES"), "{message}");
    assert!(matches!(
        wire.query("SELECT * FROM proxy.nothing"),
        Answer::Err(1146, ..)
    ));
    let stats = wire.rows("SELECT * FROM stats");
    assert!(
        stats.iter().any(|row| row[0] == "clients" && row[1] == "1"),
        "{stats:?}"
    );
    assert!(matches!(wire.query("KILL 999999"), Answer::Err(1094, ..)));
    let mut victim = Wire::login_as(port, "dpm", "dpm", MODERN);
    let id = victim.rows("SELECT CONNECTION_ID()")[0][0].clone();
    assert!(matches!(wire.query(&format!("KILL {id}")), Answer::Ok(_)));
    assert!(victim.closed());
    drop((wire, victim));
    // As prepared statements, and as drivers ask.
    let said = python(
        port,
        "
with connect(user='dpm', password='dpm') as conn, conn.cursor() as cursor:
    cursor.execute('SELECT * FROM proxy.connections')
    print(cursor.fetchone()[1], [column[0] for column in cursor.description])
",
    );
    assert_eq!(
        said,
        "dpm ['id', 'user', 'address', 'queries', 'seconds']\n"
    );
    if Flavour::MySql.available() {
        let said = as_dpm(Flavour::MySql, port)
            .args(["-e", "SHOW TABLES"])
            .ok();
        assert_eq!(said, "connections\nstats\n");
    }
    for (user, password) in [("dpm", "wrong"), (USER, "dpm")] {
        let refused = connect_as(port, user, password).unwrap_err().to_string();
        assert!(refused.contains("1045"), "{refused}");
    }
    dpm.wait_for_open_files(files);
}

/// The port of the admin demo for Lua.
fn admin_port(dpm: &Dpm) -> u16 {
    let line = dpm.line("dpm: admin: Lua on port ");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

both! {
    fn admin(server) {
        let dpm = Launch::demo("admin", server).arg(0).start();
        let (port, admin) = (dpm.listening(), admin_port(&dpm));
        let files = dpm.open_files();
        let mut client = Wire::login_empty(port, MODERN);
        let mut lua = Wire::login(admin, MODERN);
        assert_eq!(lua.rows("return 1 + 1"), [["2"]]);
        assert_eq!(lua.rows("1 + 1, 'two', nil == false, arg[0]:match('admin')"), [["2", "two", "false", "admin"]]);
        let Answer::Rows { rows, .. } = lua.query("1, nil") else { panic!("rows") };
        assert_eq!(rows, [[Some(b"1".to_vec()), None]]);
        assert!(lua.rows("dpm.stats()").iter().any(|row| row[0] == "clients" && row[1] == "2"));
        assert_eq!(lua.rows("{ 'a', 'b' }"), [["1", "a"], ["2", "b"]]);

        // It changes the running script, with a client connected.
        assert_eq!(client.rows("SELECT 5"), [["5"]]);
        assert!(matches!(lua.query("forbidden = 'SELECT'"), Answer::Ok(_)));
        assert!(matches!(client.query("SELECT 5"), Answer::Err(1142, ..)));
        assert!(matches!(client.query("DO 5"), Answer::Ok(_)));
        assert!(matches!(lua.query("forbidden = nil"), Answer::Ok(_)));
        assert_eq!(client.rows("SELECT 6"), [["6"]]);
        let count: u32 = lua.rows("return queries")[0][0].parse().unwrap();
        assert!(count >= 4, "{count}");

        let login = format!("{{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}' }}");
        let asked = lua.rows(&format!("dpml.connect({login}):query('SELECT 1 AS a UNION SELECT 2')"));
        assert_eq!(asked, [["1"], ["2"]]);

        // A mistake is only an error.
        let Answer::Err(1064, _, message) = lua.query("return +") else { panic!("an error") };
        assert!(message.contains("query:1:"), "{message}");
        let Answer::Err(1105, _, message) = lua.query("error('on purpose')") else { panic!("an error") };
        assert!(message.contains("on purpose"), "{message}");
        assert!(matches!(lua.query("nothing.at.all()"), Answer::Err(1105, ..)));
        // It may wait, and others go on meanwhile.
        lua.command(com::QUERY, b"dpml.sleep(500)");
        assert_eq!(Wire::login(admin, MODERN).rows("'meanwhile'"), [["meanwhile"]]);
        assert_eq!(client.rows("SELECT 7"), [["7"]]);
        assert!(matches!(lua.answer(), Answer::Ok(_)));
        let said = Cli::query(Flavour::MariaDb, admin, "return 'from', 'a person'");
        assert_eq!(said, "from\ta person\n");
        // A client that leaves while it waits does no harm.
        lua.command(com::QUERY, b"dpml.sleep(100) return 5");
        drop(lua);
        for (user, password) in [(USER, "wrong"), ("root", "")] {
            let refused = connect_as(admin, user, password).unwrap_err().to_string();
            assert!(refused.contains("1045"), "{refused}");
        }
        drop(client);
        dpm.wait_for_open_files(files);
    }
}

both! {
    fn operations(server) {
        let dpm = Launch::demo("operations", server).arg(0).start();
        let line = dpm.line("dpm: operations: administrators on port ");
        let admin = line.rsplit(' ').next().unwrap().parse().unwrap();
        let mut client = Wire::login_empty(dpm.listening(), MODERN);
        client.rows("SELECT 6 * 7");
        let shown = Cli::query(Flavour::MariaDb, admin, "SELECT user, calls, digest FROM digests");
        assert_eq!(shown, "empty\t1\tSELECT ? * ?\n");
        let mut operator = Wire::login(admin, MODERN);
        let id = operator.rows("SELECT client FROM clients WHERE user = 'empty'")[0][0].clone();
        let mut guest = Wire::login_as(admin, "guest", "guest", MODERN);
        assert!(matches!(guest.query(&format!("KILL {id}")), Answer::Err(1227, ..)));
        assert!(matches!(operator.query(&format!("KILL {id}")), Answer::Ok(_)));
        assert!(client.closed());
    }
}

#[test]
fn admin_wants_a_password() {
    let mut dpm = Launch::file(demos().join("admin.lua"))
        .arg("127.0.0.1")
        .arg(mariadb().port)
        .arg(0)
        .arg("admin")
        .start();
    assert_eq!(dpm.wait_for_end().code(), Some(1));
    dpm.line("give it a password");
}

both! {
    fn reload_all(server) {
        let folder = process::folder("reload_all");
        let file = folder.join("reload_all.lua");
        let original = std::fs::read_to_string(demos().join("reload_all.lua")).unwrap();
        std::fs::write(&file, &original).unwrap();
        let dpm = Launch::file(file.clone()).server(server).arg(0).start();
        let mut client = Wire::login_empty(dpm.listening(), MODERN);
        client.rows("SELECT 1");
        dpm.line("Hello, client 2: command 1");
        std::fs::write(&file, original.replace("\"Hello\"", "\"\"")).unwrap();
        dpm.signal("HUP");
        dpm.line("nobody is greeted");
        client.rows("SELECT 1");
        dpm.line("Hello, client 2: command 2");
        std::fs::write(&file, original.replace("Hello", "Welcome")).unwrap();
        dpm.signal("HUP");
        dpm.line("is in use");
        eventually("the next command is the new startfile's", || {
            client.rows("SELECT 1");
            dpm.wrote("Welcome, client 2: command")
        });
        assert!(!dpm.wrote("Welcome, client 2: command 1"), "it goes on with its count");
    }
}

both! {
    fn reload(server) {
        let folder = process::folder("reload");
        for name in ["reload.lua", "reload_plugin.lua"] {
            std::fs::copy(demos().join(name), folder.join(name)).unwrap();
        }
        let plugin = folder.join("reload_plugin.lua");
        let original = std::fs::read_to_string(&plugin).unwrap();
        let version = |n: usize| original.replace("version 1", &format!("version {n}"));
        let write = |text: &str| {
            // By a rename: an incomplete file would be reported as broken.
            let new = folder.join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &plugin).unwrap();
        };
        let dpm = Launch::file(folder.join("reload.lua")).server(server).arg(0).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        // What the server has been asked, with its comments.
        let whole = format!("SELECT info FROM information_schema.processlist WHERE id = CONNECTION_ID() AND '{USER}' <> ''");
        let has = |wire: &mut Wire, n: usize| {
            let said = wire.rows(&whole)[0][0].clone();
            assert!(said.starts_with(&format!("/* version {n} */ SELECT")), "{n}: {said}");
        };
        let mut old = Wire::login_empty(port, MODERN);
        has(&mut old, 1);

        let (over, asked) = (Over::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for at in 0..4 {
                let (over, asked) = (&over, &asked);
                scope.spawn(move || {
                    let mut wire = Wire::login_empty(port, MODERN);
                    while !over.is() {
                        let n = asked.fetch_add(1, Ordering::Relaxed).to_string();
                        assert_eq!(wire.rows(&format!("SELECT {n}")), [[n]]);
                        if at % 2 == 0 {
                            wire = Wire::login_empty(port, MODERN);
                        }
                    }
                });
            }
            let _ends = over.at_end();
            for n in 2..6 {
                write(&version(n));
                if n % 2 == 0 {
                    dpm.signal("HUP");
                }
                dpm.line(&format!("version {n} is in use"));
                has(&mut Wire::login_empty(port, MODERN), n);
                has(&mut old, 1);
            }
            // A file that is broken, or does not pass its own test, changes nothing.
            for (broken, why) in [
                ("return {", "reload_plugin.lua:1:"),
                ("error('on purpose')", "on purpose"),
                (&*version(6).replace("version 6", "*/"), "would end the comment"),
                ("return 5", "expected a plug-in"),
            ] {
                write(broken);
                dpm.signal("HUP");
                dpm.line(why);
                dpm.line("version 5 stays");
                has(&mut Wire::login_empty(port, MODERN), 5);
            }
            std::fs::remove_file(&plugin).unwrap();
            dpm.signal("HUP");
            dpm.line("No such file");
            has(&mut Wire::login_empty(port, MODERN), 5);
            write(&version(7));
            dpm.line("version 6 is in use"); // the sixth that was any good
            has(&mut Wire::login_empty(port, MODERN), 7);
        });
        assert!(asked.into_inner() > 100);
        has(&mut old, 1);
        drop(old);
        dpm.wait_for_open_files(files);
    }
}

/// Only the binary and the demos, without the library's folder.
#[test]
fn a_lone_binary_runs_every_demo() {
    let folder = process::folder("bare");
    process::copy_program(&folder);
    for (demo, text) in each_demo() {
        std::fs::write(folder.join(demo.file_name().unwrap()), text).unwrap();
    }
    std::fs::write(folder.join("learnt"), "").unwrap();
    for (demo, text) in each_demo() {
        let copy = folder.join("start.lua");
        // A line of its own, so that it ends once all is set up.
        let is_startfile = !demo.to_string_lossy().ends_with("_plugin.lua");
        // (In front of what a startfile returns.)
        let text = match (is_startfile, text.rsplit_once("\nreturn ")) {
            (true, Some((body, result))) => format!("{body}\ndpm.exit(42)\nreturn {result}"),
            (true, None) => format!("{text}\ndpm.exit(42)\n"),
            (false, _) => text,
        };
        std::fs::write(&copy, text).unwrap();
        let mut command = process::command("env");
        command
            .args(["-i", "./dpm", "-s", "start.lua", "--", "127.0.0.1"])
            .args([&mariadb().port.to_string(), "0", USER, PASSWORD])
            .current_dir(&folder);
        let name = demo.file_stem().unwrap().to_string_lossy().into_owned();
        match &*name {
            "firewall" | "chain" => drop(command.arg("learnt")),
            "admin" | "metrics" | "operations" => drop(command.arg("0")),
            _ => {}
        }
        let done = process::run(command, Vec::new(), Duration::from_secs(20));
        let said = format!("{name}: {}{}", done.out(), done.err());
        assert_eq!(done.code, if is_startfile { 42 } else { 0 }, "{said}");
        let where_ = format!("dpm: {name} listening on 127.0.0.1:");
        assert_eq!(done.out().contains(&where_), is_startfile, "{said}");
    }
}

#[test]
fn demos_have_headers_and_are_short_and_named() {
    let read = |path: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
    };
    let (readme, page) = (read("README.md"), read("doc/DEMOS.md"));
    for (demo, text) in each_demo() {
        let name = demo.file_name().unwrap().to_string_lossy().into_owned();
        let header: Vec<&str> = text.lines().take(3).collect();
        assert!(
            header[0].starts_with(&format!("-- {name}: ")),
            "{name}: what"
        );
        let startfile = name.replace("_plugin", "");
        // Beside a demo in Rust lies a program of its own.
        let program = match demo.with_extension("rs").exists() {
            true => format!("cargo run --example {} --", startfile.replace(".lua", "")),
            false => "dpm".to_string(),
        };
        assert!(
            header[1].starts_with("-- Run: ")
                && header[1].contains(&format!("{program} --startfile demos/{startfile} -- ")),
            "{name}: how to run it"
        );
        assert!(
            header[2].starts_with("-- Look: "),
            "{name}: what to look at"
        );
        let lines = text.lines().count();
        assert!((10..=60).contains(&lines), "{name} has {lines} lines");
        assert!(
            text.lines().all(|line| line.len() <= 125),
            "{name}: a long line"
        );
        assert!(readme.contains(&name), "README.md does not name {name}");
        assert!(
            page.contains(&format!("`{name}`")),
            "doc/DEMOS.md does not name {name}"
        );
    }
}

/// Data about a client is freed with it: a megabyte for each of many clients would show.
#[test]
fn demos_forget_who_has_left() {
    let server = mariadb();
    let learnt = process::folder("forget").join("learnt");
    let filler = "x".repeat(1 << 20);
    for (demo, passes_login) in [
        ("rewrite", true),
        ("rows", true),
        ("slowlog", true),
        ("mask", true),
        ("firewall", true),
        ("chain", true),
        ("mirror", true),
        ("mirror_task", false),
        ("slowlog_task", false),
        ("coalesce", false),
        ("auth", false),
    ] {
        let launch = Launch::demo(demo, server);
        let dpm = match demo {
            "firewall" | "chain" => launch.arg(learnt.display()).arg("learn").start(),
            _ => launch.start(),
        };
        let port = dpm.listening();
        let round = || {
            let mut wire = match demo {
                "auth" => Wire::login_as(port, "ann", "ann", MODERN),
                _ if passes_login => Wire::login_empty(port, MODERN),
                _ => Wire::login(port, MODERN),
            };
            wire.rows(&format!("SELECT LENGTH('{filler}')"));
            let set = format!("SET @x = '{}'", &filler[..2000]);
            assert!(matches!(wire.query(&set), Answer::Ok(_)), "{demo}");
            wire.prepare(&format!("SELECT '{filler}', ?"));
        };
        (0..5).for_each(|_| round());
        let files = dpm.open_files();
        let before = dpm.memory_kib("VmRSS");
        (0..40).for_each(|_| round());
        let grown = dpm.memory_kib("VmRSS").saturating_sub(before) >> 10;
        assert!(grown < 35, "{demo}: {grown} MiB more after 40 clients");
        dpm.wait_for_open_files(files);
    }
}
