//! Whoever reads what the program writes cannot stop it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::process::{self, Process};
use crate::support::wire::{Wire, caps};
use crate::support::{PATIENCE, eventually, let_time_pass, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// The program, whose streams nobody reads yet.
struct Unread {
    child: Process,
    folder: PathBuf,
}

impl Unread {
    fn start(script: &str) -> Unread {
        let folder = process::folder("unread");
        let startfile = folder.join("start.lua");
        std::fs::write(&startfile, script).unwrap();
        let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
        command
            .arg("-s")
            .arg(&startfile)
            .args(["--", &folder.display().to_string()])
            .args([mariadb().host(), &mariadb().port.to_string()])
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = process::spawn(command);
        Unread { child, folder }
    }

    /// A passthrough that first runs this script, and then again with every timer.
    fn passthrough(flood: &str) -> Unread {
        Unread::start(&format!(
            r#"
            local function flood() {flood} end
            local listener = dpm.listener('127.0.0.1', 0)
            require('dpml').passthrough_new_clients(listener, {{}}, {{ arg[2], tonumber(arg[3]) }})
            local floods = 0
            dpm.new_timer():schedule(0, 1, function(timer)
                flood()
                floods = floods + 1
                if floods == 20 then
                    timer:cancel()
                    local file = assert(io.open(arg[1] .. '/port', 'w'))
                    file:write(listener:socket_port(), '\n')
                    file:close()
                end
            end)
            "#
        ))
    }

    /// The port, once the script has flooded its streams.
    fn port(&self) -> u16 {
        let file = self.folder.join("port");
        let read = || {
            std::fs::read_to_string(&file)
                .ok()
                .filter(|text| text.ends_with('\n'))
        };
        eventually("it has flooded its streams", || read().is_some());
        read().unwrap().trim().parse().unwrap()
    }

    fn assert_serves_and_stops(&mut self) {
        let port = self.port();
        assert_eq!(Wire::login(port, PLAIN).rows("SELECT 1"), [["1"]]);
        for fd in [1, 2] {
            let info = format!("/proc/{}/fdinfo/{fd}", self.child.id());
            let info = std::fs::read_to_string(Path::new(&info)).unwrap();
            let flags = info
                .lines()
                .find_map(|line| line.strip_prefix("flags:"))
                .unwrap();
            let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
            assert_eq!(flags & 0o4000, 0, "the descriptors of others stay blocking");
        }
        let begun = Instant::now();
        process::signal(&self.child, "TERM");
        let status = process::wait(&mut self.child, PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(0));
        assert!(
            begun.elapsed() < Duration::from_secs(9),
            "{:?}",
            begun.elapsed()
        );
    }
}

/// A megabyte in lines of a thousand bytes.
fn flood_by(call: &str) -> String {
    format!("for _ = 1, 1000 do {call} end")
}

#[test]
fn nobody_reads_the_log() {
    for call in [
        "dpm.log('error', ('x'):rep(999))",
        "io.stderr:write(('x'):rep(999), '\\n')",
    ] {
        Unread::passthrough(&flood_by(call)).assert_serves_and_stops();
    }
}

#[test]
fn nobody_reads_what_is_printed() {
    for call in [
        "print(('x'):rep(999))",
        "io.write(('x'):rep(999), '\\n')",
        "io.stdout:write(('x'):rep(999), '\\n')",
    ] {
        let mut unread = Unread::passthrough(&flood_by(call));
        unread.assert_serves_and_stops();
    }
}

#[test]
fn hostile_clients_fill_the_log_before_they_log_in() {
    let mut unread = Unread::passthrough("");
    let port = unread.port();
    for _ in 0..2000 {
        let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::io::Write::write_all(&mut client, b"\x01\0\0\x01x").unwrap();
    }
    unread.assert_serves_and_stops();
}

#[test]
fn dropped_lines_are_counted() {
    let mut unread = Unread::passthrough(&flood_by(
        "dpm.log('error', ('x'):rep(999)) print(('y'):rep(999))",
    ));
    unread.port();
    // Now it is read: by the same count as was written.
    let stdout = unread.child.stdout.take().unwrap();
    std::thread::spawn(move || BufReader::new(stdout).lines().count());
    let stderr = BufReader::new(unread.child.stderr.take().unwrap());
    let mut whole = 0;
    let mut dropped = 0;
    for line in stderr.lines().map(Result::unwrap) {
        if line.contains(&"x".repeat(999)) {
            whole += 1;
        } else if let Some(rest) = line.strip_prefix("dpm: ") {
            assert!(rest.contains("log lines were dropped"), "{line}");
            dropped += rest.split(' ').next().unwrap().parse::<u32>().unwrap();
        } else {
            // On a slow machine: that a callback took long.
            assert!(line.contains(" WARN "), "not a whole line: {line}");
        }
        if whole + dropped >= 20_000 {
            break;
        }
    }
    assert!(dropped > 5_000, "{dropped}");
    assert_eq!(Wire::login(unread.port(), PLAIN).rows("SELECT 1"), [["1"]]);
}

/// What a startfile prints before the loop is complete, however slowly it is read; and after it ends.
#[test]
fn a_startfile_waits_for_its_reader() {
    let mut unread = Unread::start("for n = 1, 300000 do print(n, ('x'):rep(90)) end");
    let_time_pass(Duration::from_millis(1500));
    let mut all = Vec::new();
    let mut stdout = unread.child.stdout.take().unwrap();
    stdout.read_to_end(&mut all).unwrap();
    let lines: Vec<_> = all.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 300_001);
    for (n, line) in lines.iter().take(300_000).enumerate() {
        assert!(
            line.starts_with(format!("{}\t", n + 1).as_bytes()),
            "line {n}"
        );
    }
    assert_eq!(
        process::wait(&mut unread.child, PATIENCE).unwrap().code(),
        Some(0)
    );
}

/// A reader who goes away, such as `head`.
#[test]
fn a_closed_pipe_is_no_reason_to_end() {
    let mut unread = Unread::passthrough(&flood_by("print(('y'):rep(99)) dpm.log('error', 'x')"));
    drop(unread.child.stdout.take());
    drop(unread.child.stderr.take());
    unread.assert_serves_and_stops();
}

#[test]
fn everything_written_is_in_order_and_at_its_end() {
    let script = "
        print('a', nil, 1.5)
        io.write('b', 2, '\\n')
        io.stdout:write('c\\n')
        os.execute('echo d')
        print(io.popen('echo e'):read('*a'):sub(1, 1))
        print(pcall(io.write, {}))
        print(select(2, pcall(io.stdout.write, io.stdout, 'f', nil)))
        local tostring = tostring
        function _G.tostring(x) return 'T' .. tostring(x) end
        print(1)
        io.stderr:write('to stderr\\n')
        os.exit(7)";
    let folder = process::folder("order");
    std::fs::write(folder.join("it.lua"), script).unwrap();
    let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
    command
        .arg("-s")
        .arg(folder.join("it.lua"))
        .env_remove("RUST_LOG");
    let done = process::run(command, Vec::new(), PATIENCE);
    let path = folder.join("it.lua").display().to_string();
    let expected = [
        "a\tnil\t1.5",
        "b2",
        "c",
        "d",
        "e",
        "false\t7: bad argument #1 to 'write' (string expected, got table)",
        "8: bad argument #2 to 'write' (string expected, got nil)",
        "T1",
        "",
    ];
    assert_eq!(
        done.out().replace(&format!("{path}:"), ""),
        expected.join("\n")
    );
    assert_eq!((done.code, done.err().as_str()), (7, "to stderr\n"));
}

/// Peers and scripts decide what is in a message.
#[test]
fn log_lines_are_short_and_cannot_be_forged() {
    let folder = process::folder("long");
    let script = "dpm.log('error', 'begin' .. ('x'):rep(1e6) .. '\\27[2J\\n[2030-01-01T00:00:00Z ERROR dpm] forged')";
    std::fs::write(folder.join("it.lua"), script).unwrap();
    let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
    command
        .arg("-s")
        .arg(folder.join("it.lua"))
        .env_remove("RUST_LOG");
    let log = process::run(command, Vec::new(), PATIENCE).err();
    assert!(log.len() < 5000, "{}", log.len());
    assert!(
        log.contains("ERROR lua] beginxxx") && log.contains("\\u{1b}[2J\n    [2030"),
        "{log}"
    );
}
