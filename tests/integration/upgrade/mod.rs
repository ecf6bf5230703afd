//! The upgrade of the binary: another process takes the place of the one that serves.

mod moving;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dpm::net::{Line, Wanted};
use dpm::workers::upgrade::{Hello, kind};
use mysql::prelude::Queryable;

use crate::support::dpm::Launch;
use crate::support::wire::{Wire, caps};
use crate::support::{Dpm, Over, eventually, let_time_pass, mariadb, process};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// No process that a test leaves behind lives longer than this timer.
const FUSE: &str = "dpm.new_timer():schedule(150, 0, function() os.exit(1) end)
    require('ffi').cdef 'int getpid()'
    local function pid() return require('ffi').C.getpid() end ";

/// A program and those that have taken its place, all of which write to the same log.
struct Family(Dpm);

impl Family {
    fn start(launch: Launch) -> Family {
        Family(launch.start())
    }

    /// The processes that were started, in their order.
    fn pids(&self) -> Vec<u32> {
        let line = |line: &str| {
            let (_, rest) = line.split_once("upgrade: process ")?;
            rest.strip_suffix(" starts")?.parse().ok()
        };
        let log = String::from_utf8_lossy(&self.0.output()).into_owned();
        let started = log.lines().filter_map(line);
        std::iter::once(self.0.pid()).chain(started).collect()
    }

    fn last(&self) -> u32 {
        self.pids().pop().expect("a process")
    }

    /// Has the one that serves start another. Returns that one.
    fn begin_upgrade(&self) -> u32 {
        let before = self.pids();
        signal(before[before.len() - 1], "USR2");
        eventually("another process starts", || {
            self.pids().len() > before.len()
        });
        self.last()
    }

    /// The same, and waits until it serves.
    fn upgrade(&self) -> u32 {
        let before = self.0.count("the new process serves");
        let new = self.begin_upgrade();
        eventually("it serves", || {
            self.0.count("the new process serves") > before
        });
        new
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for pid in self.pids().into_iter().skip(1) {
            if runs(pid) {
                signal(pid, "KILL");
            }
        }
    }
}

fn signal(pid: u32, name: &str) {
    // It may be gone already.
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid} 2>/dev/null")])
        .status();
}

/// Whether this process of ours is there, and is no zombie.
fn runs(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains("Name:\tdpm") && !status.contains("State:\tZ")
}

fn gone(pid: u32) {
    eventually("the process has ended", || !runs(pid));
}

/// A passthrough whose clients can ask which process has them.
fn passthrough(more: &str) -> String {
    let own = "local h = require('harness')
        h.passthrough({ [dpm.MYC_SENT_CMD] = function(cmd, id, client)
            if cmd:command() == dpm.COM_PING then
                print('ping in ' .. pid())
            end
        end })";
    format!("{FUSE} {own} {more}")
}

fn launch(script: &str) -> Launch {
    Launch::script(script).server(mariadb())
}

/// Counts what clients do that connect, ask and leave, again and again.
#[derive(Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
}

fn come_and_go(port: u16, over: &Over, counts: &Counts) {
    while !over.is() {
        let asked = crate::support::client::connect_as(
            port,
            crate::support::USER,
            crate::support::PASSWORD,
        )
        .and_then(|mut conn| conn.query_first::<u32, _>("SELECT 1"));
        match asked {
            Ok(Some(1)) => counts.done.fetch_add(1, Ordering::Relaxed),
            other => {
                eprintln!("a client has failed: {other:?}");
                counts.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

#[test]
fn clients_that_come_during_upgrades_are_all_served() {
    for workers in ["1", "3"] {
        let launch = launch(&passthrough(""))
            .option("--workers")
            .option(workers)
            .quiet();
        let family = Family::start(launch);
        let port = family.0.port();
        let (over, counts) = (Over::default(), Counts::default());
        std::thread::scope(|scope| {
            let _end = over.at_end();
            for _ in 0..4 {
                scope.spawn(|| come_and_go(port, &over, &counts));
            }
            let mut old = family.0.pid();
            for _ in 0..3 {
                let before = counts.done.load(Ordering::Relaxed);
                let new = family.upgrade();
                gone(old);
                old = new;
                eventually("clients come", || {
                    counts.done.load(Ordering::Relaxed) > before + 20
                });
            }
        });
        assert_eq!(
            counts.failed.load(Ordering::Relaxed),
            0,
            "{workers} workers"
        );
        assert!(runs(family.last()));
    }
}

#[test]
fn clients_that_cannot_go_over_stay_until_they_leave() {
    let family = Family::start(launch(&passthrough("")));
    let port = family.0.port();
    let mut stays = Wire::login(port, PLAIN);
    let old = family.0.pid();
    let new = family.upgrade();
    let mut comes = Wire::login(port, PLAIN);
    for (client, has_it) in [(&mut stays, old), (&mut comes, new)] {
        client.command(crate::support::wire::com::PING, b"");
        client.read();
        family.0.line(&format!("ping in {has_it}"));
    }
    assert!(runs(old));
    drop(stays);
    gone(old);
    assert_eq!(comes.rows("SELECT 7"), [["7"]]);
    // The next one inherits the same.
    drop(comes);
    family.upgrade();
    gone(new);
    assert_eq!(Wire::login(port, PLAIN).rows("SELECT 8"), [["8"]]);
}

#[test]
fn the_time_for_those_that_stay_ends() {
    let script = passthrough("dpm.config { upgrade_drain = 1, drain = 1 }");
    let mut family = Family::start(launch(&script));
    let mut stays = Wire::login(family.0.port(), PLAIN);
    family.upgrade();
    assert!(stays.closed());
    assert_eq!(family.0.wait_for_end().code(), Some(0));
}

#[test]
fn unix_sockets_are_handed_over_with_their_files() {
    let path = process::folder("socket").join("s");
    let listens = format!(
        "local other = dpm.listener_unix('{}')
         other:register(dpm.MYC_CONNECT, function(client) print('asked ' .. pid()) return dpm.DPM_NOPROXY end)",
        path.display()
    );
    let family = Family::start(launch(&passthrough(&listens)));
    family.0.port();
    let asked = |pid: u32| {
        let _client = UnixStream::connect(&path).expect("somebody listens");
        family.0.line(&format!("asked {pid}"));
    };
    eventually("it listens there, too", || path.exists());
    asked(family.0.pid());
    let new = family.upgrade();
    gone(family.0.pid());
    asked(new);
    signal(new, "TERM");
    gone(new);
    assert!(!path.exists(), "the last one that served removes the file");
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let script = passthrough("");
    let family = Family::start(launch(&script));
    let port = family.0.port();
    let mut client = Wire::login(port, PLAIN);
    let startfile = family.0.folder.join("start.lua");
    let path = process::folder("socket").join("s");
    for broken in [
        "error('as the test wants it')".to_owned(),
        "this is no Lua".to_owned(),
        "os.exit(0)".to_owned(),
        format!("dpm.listener_unix('{}') error('late')", path.display()),
        format!(
            "{FUSE} dpm.listener('127.0.0.1', 0) require('ffi').cdef 'int kill(int, int)' require('ffi').C.kill(pid(), 9)"
        ),
    ] {
        fs::write(&startfile, &broken).unwrap();
        let before = family.0.count("this process serves on");
        let new = family.begin_after_failure();
        gone(new);
        eventually("it says so", || {
            family.0.count("this process serves on") > before
        });
        assert_eq!(client.rows("SELECT 7"), [["7"]]);
        assert_eq!(Wire::login(port, PLAIN).rows("SELECT 8"), [["8"]]);
    }
    fs::write(&startfile, script).unwrap();
    let new = family.begin_after_failure();
    family.0.line("the new process serves");
    drop(client);
    gone(family.0.pid());
    assert!(runs(new));
}

impl Family {
    /// This process begins an upgrade, whatever has become of those that it has started before. Waits until the new one
    /// serves.
    fn begin_upgrade_of(&self, pid: u32) -> u32 {
        let before = self.0.count("the new process serves");
        let started = self.pids().len();
        signal(pid, "USR2");
        eventually("another process starts", || self.pids().len() > started);
        eventually("it serves", || {
            self.0.count("the new process serves") > before
        });
        self.last()
    }

    /// The first process begins an upgrade, whatever has become of those that it has started before.
    fn begin_after_failure(&self) -> u32 {
        let before = self.pids().len();
        self.0.signal("USR2");
        eventually("another process starts", || self.pids().len() > before);
        self.last()
    }
}

#[test]
fn a_new_process_that_is_killed_leaves_the_old_one_serving() {
    let family = Family::start(launch(&passthrough("")));
    let port = family.0.port();
    let mut client = Wire::login(port, PLAIN);
    for round in 1..=3 {
        let before = family.0.count("the new process serves");
        let new = family.begin_after_failure();
        eventually("it serves", || {
            family.0.count("the new process serves") > before
        });
        signal(new, "KILL");
        eventually("the old one serves on", || {
            family.0.count("this process serves on") == round
        });
        assert_eq!(client.rows("SELECT 7"), [["7"]]);
        assert_eq!(Wire::login(port, PLAIN).rows("SELECT 8"), [["8"]]);
    }
}

#[test]
fn the_old_process_may_be_killed() {
    let family = Family::start(launch(&passthrough("")));
    let port = family.0.port();
    let _stays = Wire::login(port, PLAIN);
    let new = family.upgrade();
    let mut client = Wire::login(port, PLAIN);
    family.0.signal("KILL");
    family.0.line("the process before has ended");
    assert_eq!(client.rows("SELECT 7"), [["7"]]);
    let next = family.upgrade();
    drop(client);
    gone(new);
    assert!(runs(next));
}

#[test]
fn an_end_is_no_beginning() {
    // The new process is still in its startfile when the old one is told to end.
    let folder = process::folder("flag");
    let waits = format!(
        "{FUSE} local flag = io.open('{}')
         if flag then print('waits') while true do end end
         require('harness').passthrough()",
        folder.join("flag").display()
    );
    let mut family = Family::start(launch(&waits));
    family.0.port();
    fs::write(folder.join("flag"), "").unwrap();
    let new = family.begin_upgrade();
    family.0.line("waits");
    family.0.signal("TERM");
    family.0.wait_for_end();
    gone(new);
}

#[test]
fn a_scripts_own_signal_is_its_own() {
    let family = Family::start(launch(&passthrough(
        "dpm.on_signal('USR2', function() print('mine') end)",
    )));
    family.0.port();
    family.0.signal("USR2");
    family.0.line("mine");
    family.0.stats();
    assert_eq!(family.pids().len(), 1);
}

#[test]
fn a_startfile_from_standard_input_cannot_be_read_again() {
    let script = "dpm.new_timer():schedule(0, 1, function()
        print(pcall(dpm.upgrade))
        require('ffi').cdef 'int kill(int, int); int getpid();'
        require('ffi').C.kill(require('ffi').C.getpid(), 12)
        dpm.new_timer():schedule(0, 200, function() dpm.exit(0) end)
    end)";
    let path = process::folder("stdin").join("s.lua");
    fs::write(&path, script).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dpm"))
        .args(["-s", "-"])
        .stdin(fs::File::open(&path).unwrap())
        .output()
        .unwrap();
    let (out, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        out.starts_with("false") && out.contains("cannot start itself anew"),
        "{out}"
    );
    assert!(
        log.contains("upgrade: this program cannot start itself anew"),
        "{log}"
    );
}

/// A copy of the program that can be replaced.
fn installed() -> PathBuf {
    let path = process::folder("bin").join("dpm");
    fs::copy(env!("CARGO_BIN_EXE_dpm"), &path).expect("room for a copy");
    path
}

#[test]
fn what_is_on_disk_is_started() {
    let path = installed();
    let family = Family::start(launch(&passthrough("")).runs(&path));
    let port = family.0.port();
    // Something else, and something that does not know what it is asked for.
    for other in ["#!/bin/sh\nexit 3\n", "no program"] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, other).unwrap();
        Command::new("chmod").arg("+x").arg(&path).status().unwrap();
        let before = family.0.count("this process serves on");
        family.0.signal("USR2");
        eventually("it fails", || {
            family.0.count("this process serves on") > before
        });
        assert_eq!(Wire::login(port, PLAIN).rows("SELECT 8"), [["8"]]);
    }
    fs::remove_file(&path).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_dpm"), &path).unwrap();
    let new = family.begin_after_failure();
    gone(family.0.pid());
    assert!(fs::read_link(format!("/proc/{new}/exe")).unwrap() == path);
}

/// A program of another version, whose listeners are handed over: the test plays it.
#[test]
fn versions_that_do_not_understand_each_other_hand_over_listeners() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let startfile = process::folder("startfile").join("s.lua");
    let script = format!(
        "{FUSE} local l = dpm.listener('127.0.0.1', {port}) print('listens') l:register(dpm.MYC_CONNECT, function() print('a client') return dpm.DPM_NOPROXY end)"
    );
    fs::write(&startfile, script).unwrap();
    let (line, far_end) = Line::pair().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dpm"));
    command.arg(&startfile);
    far_end.give_to(&mut command);
    let mut child = command.spawn().unwrap();
    drop(command);
    let _kill = KillAtEnd(child.id());
    let said = |wanted: u8| {
        let parcel = line.receive().unwrap().expect("a message");
        assert_eq!(parcel.kind, wanted);
        parcel
    };
    let hello = Hello::read(&said(kind::HELLO).content).unwrap();
    let newer = Hello {
        version: "99".to_owned(),
        format: hello.format + 1,
        last_serial: 0,
    };
    let input = fs::File::open("/dev/null").unwrap();
    line.send(kind::WELCOME, &newer.write(), &[input.as_fd()])
        .unwrap();
    let listener = dpm::net::HandedOver {
        socket: socket.into(),
        wanted: Some(Wanted::Tcp(None, 1)),
        name: None,
    };
    let content = dpm::workers::upgrade::write_listener(&listener);
    line.send(kind::LISTENER, &content, &[listener.socket.as_fd()])
        .unwrap();
    line.send(kind::ALL_LISTENERS, b"", &[]).unwrap();
    said(kind::SERVING);
    line.send(kind::TAKE_OVER, b"", &[]).unwrap();
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    // It asks for no connections, and serves on after our end.
    line.set_patience(Duration::from_secs(1), Some(Duration::from_millis(300)))
        .unwrap();
    assert!(line.receive().is_err(), "silence");
    drop(line);
    let_time_pass(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none());
    signal(child.id(), "TERM");
    child.wait().unwrap();
}

struct KillAtEnd(u32);

impl Drop for KillAtEnd {
    fn drop(&mut self) {
        if Path::new(&format!("/proc/{}", self.0)).exists() && runs(self.0) {
            signal(self.0, "KILL");
        }
    }
}
