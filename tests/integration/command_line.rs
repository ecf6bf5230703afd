//! The program itself: options, startfiles, signals.

use std::time::{Duration, Instant};

use crate::support::process::{self, Finished};
use crate::support::wire::{Wire, caps, com};
use crate::support::{Dpm, eventually, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// Runs the program to its end.
fn dpm(args: &[&str]) -> Finished {
    let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
    command.args(args).env_remove("RUST_LOG");
    process::run(command, Vec::new(), Duration::from_secs(20))
}

/// Writes a startfile and gives its path.
fn file(text: &str) -> String {
    let path = process::folder("startfile").join("it.lua");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn help_and_version() {
    let help = dpm(&["--help"]);
    assert_eq!(help.code, 0);
    for option in ["--startfile", "--verbose", "--check", "--version"] {
        assert!(help.out().contains(option), "{option}");
    }
    let version = dpm(&["--version"]);
    assert_eq!(version.code, 0);
    assert!(version.out().contains(env!("CARGO_PKG_VERSION")));
    assert_ne!(dpm(&["--nonsense"]).code, 0);
}

#[test]
fn a_startfile_without_anything_to_wait_for_ends_well() {
    let done = dpm(&["-s", &file("print('hello', #arg)"), "--", "a", "b"]);
    assert_eq!(
        (done.code, done.out().as_str()),
        (0, "hello\t2\n"),
        "{}",
        done.err()
    );
}

#[test]
fn arguments_reach_the_script() {
    let path = file("print(arg[0], arg[1], arg[2], arg[3])");
    let done = dpm(&["--startfile", &path, "--", "--x", "y z"]);
    assert_eq!(done.out(), format!("{path}\t--x\ty z\tnil\n"));
}

#[test]
fn an_error_in_the_startfile_has_file_line_and_traceback() {
    let path = file("local function f()\n  error('broken')\nend\nf()");
    let done = dpm(&["-s", &path]);
    assert_eq!(done.code, 1);
    for part in ["it.lua:2: broken", "stack traceback", "it.lua:4:"] {
        assert!(done.err().contains(part), "{part}: {}", done.err());
    }
    let done = dpm(&["-s", "/does/not/exist.lua"]);
    assert_eq!(done.code, 1);
    assert!(done.err().contains("/does/not/exist.lua"));
}

#[test]
fn check_compiles_and_does_not_run() {
    let done = dpm(&["--check", "-s", &file("print('ran') error('x')")]);
    assert_eq!((done.code, done.out().as_str()), (0, ""), "{}", done.err());
    let done = dpm(&["--check", "-s", &file("x = = 1")]);
    assert_eq!(done.code, 1);
    assert!(done.err().contains("it.lua:1:"), "{}", done.err());
}

/// The warnings of `--check`, without the file's name.
fn warnings(folder: &std::path::Path, script: &str) -> Vec<String> {
    let path = folder.join("it.lua");
    std::fs::write(&path, script).unwrap();
    let done = dpm(&["--check", &path.display().to_string()]);
    assert_eq!((done.code, done.out().as_str()), (0, ""), "{}", done.err());
    let prefix = format!("dpm: warning: {}/", folder.display());
    let warning = |line: &str| line.strip_prefix(&prefix).unwrap_or(line).to_string();
    done.err().lines().map(warning).collect()
}

#[test]
fn check_warns_of_globals_that_nobody_defines() {
    let folder = process::folder("check");
    let script = "
        local function f(conn)
          return function() return conn, clinet:id(), dpm.time(), print, arg, string.rep end
        end
        if false then undefined(f) end
        later = 1
        local t = { later, f, typo = 1 }
        t.typo, t[1] = typo, typo";
    assert_eq!(
        warnings(&folder, script),
        [
            "it.lua:5: the global 'undefined' is read, and nobody defines it",
            "it.lua:8: the global 'typo' is read, and nobody defines it",
            "it.lua:3: the global 'clinet' is read, and nobody defines it",
        ]
    );
    // Who defines them: other functions, modules, modules of modules, by whatever name of the table.
    std::fs::write(
        folder.join("one.lua"),
        "require 'two' from_one = 1 return typo_in_one",
    )
    .unwrap();
    std::fs::write(
        folder.join("two.lua"),
        "module(..., package.seeall) function g() end",
    )
    .unwrap();
    let script = "
        function set() set_later = 1 _G.by_table = 1 rawset(_G, 'by_rawset', 1) end
        require('one')
        print(set_later, by_table, by_rawset, from_one, two.g, rawget(_G, 'missing'))";
    assert_eq!(
        warnings(&folder, script),
        ["one.lua:1: the global 'typo_in_one' is read, and nobody defines it"]
    );
    let script = "for k, v in pairs(dpm) do _G[k] = v end print(COM_QUERY)";
    let told = warnings(&folder, script);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("computed names"), "{told:?}");
}

#[test]
fn check_warns_of_modules_that_cannot_be_found() {
    let folder = process::folder("check");
    std::fs::write(folder.join("broken.lua"), "x = = 1").unwrap();
    std::fs::write(folder.join("never_run.lua"), "error('it ran')").unwrap();
    std::fs::write(folder.join("native.so"), "is not loaded").unwrap();
    let script = "
        local dpml, ffi, new = require 'dpml', require('ffi'), require 'table.new'
        require 'never_run' require 'native' require 'native.part'
        local name = 'computed' require(name .. 'x')
        pcall(require, 'may_be_missing')
        local function f() return require('no.such') end
        require 'broken'
        return require 'neither'";
    let told = warnings(&folder, script);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with("it.lua:7: the module 'broken' cannot be loaded: "),
        "{told:?}"
    );
    assert!(told[0].contains("broken.lua:1:"), "{told:?}");
    assert_eq!(told[1], "it.lua:8: the module 'neither' cannot be found");
    assert_eq!(told[2], "it.lua:6: the module 'no.such' cannot be found");
    let script = "package.path = '/elsewhere/?.lua;' .. package.path require 'elsewhere'";
    assert_eq!(warnings(&folder, script), [""; 0]);
}

#[test]
fn check_finds_nothing_in_what_we_ship() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(root.join("demos")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.chain([root.join("packaging/dpm.lua")]);
    let scripts = files.filter(|path| path.extension().is_some_and(|ending| ending == "lua"));
    for path in scripts {
        // This one's program defines a global.
        let expected = match path.ends_with("table_counter.lua") {
            true => "'counter'",
            false => "",
        };
        let done = dpm(&["--check", &path.display().to_string()]);
        let told = done.err();
        assert_eq!(done.code, 0, "{told}");
        let strange = told
            .lines()
            .find(|line| expected.is_empty() || !line.contains(expected));
        assert_eq!(strange, None);
    }
    assert_eq!(dpm(&["--check"]).err(), "");
}

#[test]
fn the_startfile_may_come_from_standard_input() {
    for arguments in [&["-s", "-"][..], &["-"], &["-", "--check"]] {
        let run = |script: &str| {
            let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
            command.args(arguments).env_remove("RUST_LOG");
            process::run(command, script.into(), Duration::from_secs(20))
        };
        let done = run("#!/usr/bin/dpm\nprint(arg[0], require('dpml') ~= nil)");
        let printed = match arguments.contains(&"--check") {
            true => "",
            false => "-\ttrue\n",
        };
        assert_eq!(
            (done.code, done.out().as_str()),
            (0, printed),
            "{}",
            done.err()
        );
        let done = run("\nx = = 1");
        assert_eq!(done.code, 1);
        assert!(done.err().contains("stdin:2:"), "{}", done.err());
    }
}

#[test]
fn it_is_luajit_with_lua_5_1_semantics() {
    let done = dpm(&[
        "-s",
        &file(
            "print(_VERSION, type(jit), type(setfenv), type(unpack), type(module), table.maxn { 1, 2 })",
        ),
    ]);
    assert_eq!(
        done.out(),
        "Lua 5.1\ttable\tfunction\tfunction\tfunction\t2\n"
    );
}

#[test]
fn require_looks_beside_the_startfile_first_then_in_the_binary() {
    let folder = process::folder("require");
    std::fs::write(folder.join("mine.lua"), "return 'beside'").unwrap();
    std::fs::write(
        folder.join("it.lua"),
        "print(require('mine'), type(require('dpml')), dpml == require('dpml'))",
    )
    .unwrap();
    let done = dpm(&["-s", &folder.join("it.lua").display().to_string()]);
    assert_eq!(done.out(), "beside\ttable\ttrue\n", "{}", done.err());
    std::fs::write(folder.join("dpml.lua"), "return 'own'").unwrap();
    std::fs::write(folder.join("it.lua"), "print(require('dpml'))").unwrap();
    let done = dpm(&["-s", &folder.join("it.lua").display().to_string()]);
    assert_eq!(done.out(), "own\n", "{}", done.err());
}

#[test]
fn a_native_lua_module_loads() {
    let pattern = std::fs::read_dir("/usr/lib")
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("lua/5.1"))
        .find(|path| path.join("cjson.so").exists())
        .expect("lua-cjson is installed");
    let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
    command
        .args([
            "-s",
            &file("print(require('cjson').encode { 1, 'two', true })"),
        ])
        .env("LUA_CPATH", format!("{}/?.so", pattern.display()));
    let done = process::run(command, Vec::new(), Duration::from_secs(20));
    assert_eq!(done.out(), "[1,\"two\",true]\n", "{}", done.err());
}

#[test]
fn exit_leaves_in_order_with_a_code() {
    let done = dpm(&["-s", &file("dpm.exit(7)")]);
    assert_eq!(done.code, 7);
    let done = dpm(&[
        "-s",
        &file(
            "local t = dpm.new_timer() t:schedule(0, 10, function() print('bye') dpm.exit(3) end)",
        ),
    ]);
    assert_eq!((done.code, done.out().as_str()), (3, "bye\n"));
}

#[test]
fn a_timer_keeps_it_alive_until_it_is_cancelled() {
    let done = dpm(&[
        "-s",
        &file(
            "
        local n = 0
        dpm.new_timer():schedule(0, 5, function(t, what)
          n = n + 1
          print(what, n)
          if n == 3 then t:cancel() end
        end, 'tick')
        collectgarbage()",
        ),
    ]);
    assert_eq!(
        (done.code, done.out().as_str()),
        (0, "tick\t1\ntick\t2\ntick\t3\n"),
        "{}",
        done.err()
    );
}

#[test]
fn signals_reach_the_script() {
    let dpm = Dpm::start(
        "for _, name in ipairs { 'HUP', 'USR2' } do
           dpm.on_signal(name, function() print('got ' .. name) end)
         end
         require('harness').passthrough()",
        mariadb(),
    );
    dpm.port();
    dpm.signal("HUP");
    dpm.line("got HUP");
    dpm.signal("USR2");
    dpm.line("got USR2");
    dpm.signal("PIPE");
    assert_eq!(Wire::login(dpm.port(), PLAIN).rows("SELECT 1"), [["1"]]);
}

#[test]
fn sigterm_lets_exchanges_finish() {
    for name in ["TERM", "INT"] {
        let mut dpm = Dpm::passthrough(mariadb());
        let port = dpm.port();
        let mut idle = Wire::login(port, PLAIN);
        let mut busy = Wire::login(port, PLAIN);
        let latch = mariadb().latch();
        busy.command(com::QUERY, latch.query.as_bytes());
        eventually("it runs", || mariadb().running(&latch.query) == 1);
        dpm.signal(name);
        assert!(idle.closed(), "an idle client is not waited for");
        assert!(
            std::net::TcpStream::connect(("127.0.0.1", port)).is_err(),
            "it accepts no more"
        );
        latch.open();
        assert!(matches!(
            busy.answer(),
            crate::support::wire::Answer::Rows { .. }
        ));
        assert!(busy.closed());
        assert_eq!(dpm.wait_for_end().code(), Some(0), "{name}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut dpm = Dpm::passthrough(mariadb());
    let port = dpm.port();
    let mut busy = Wire::login(port, PLAIN);
    busy.command(com::QUERY, b"SELECT SLEEP(60), 'second'");
    eventually("it runs", || {
        mariadb().running("SELECT SLEEP(60), 'second'") == 1
    });
    let begun = Instant::now();
    dpm.signal("TERM");
    eventually("it accepts no more", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    assert!(dpm.runs());
    dpm.signal("TERM");
    dpm.wait_for_end();
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn the_drain_has_an_end() {
    let mut dpm = Dpm::start(
        "dpm.config { drain = 1 } require('harness').passthrough()",
        mariadb(),
    );
    let mut busy = Wire::login(dpm.port(), PLAIN);
    busy.command(com::QUERY, b"SELECT SLEEP(60), 'drain'");
    eventually("it runs", || {
        mariadb().running("SELECT SLEEP(60), 'drain'") == 1
    });
    let begun = Instant::now();
    assert_eq!(dpm.stop().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(busy.closed());
}
