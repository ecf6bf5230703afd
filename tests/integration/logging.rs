//! The log: into a file or not, as text or as JSON.

use std::path::Path;
use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::process;
use crate::support::wire::{Wire, caps};
use crate::support::{Dpm, PASSWORD, eventually, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// Something to log whenever it gets USR2, and a timer that keeps the program alive.
const STARTFILE: &str = r#"
    dpm.on_signal("USR2", function() dpm.log("warn", "logged") end)
    dpm.new_timer():schedule(3600, 0, function() end)
    print("started")"#;

fn start(options: &[&str]) -> Dpm {
    let launch = Launch::script(STARTFILE).quiet();
    let launch = options
        .iter()
        .fold(launch, |launch, option| launch.option(option));
    let dpm = launch.start();
    dpm.line("started");
    dpm
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// Has the script log a line, and waits for it.
fn log_into(dpm: &Dpm, file: &Path) {
    let lines = || read(file).matches("logged").count();
    let before = lines();
    dpm.signal("USR2");
    eventually("the line is logged", || lines() > before);
}

#[test]
fn the_log_has_a_file() {
    let file = process::folder("log").join("dpm.log");
    std::fs::write(&file, "of another time\n").unwrap();
    let mut dpm = start(&["--log-file", &file.display().to_string()]);
    log_into(&dpm, &file);
    let log = read(&file);
    assert!(log.starts_with("of another time\n"), "{log}");
    assert!(log.contains(" WARN  lua] logged\n"), "{log}");
    assert!(!dpm.wrote("logged"));
    assert_eq!(dpm.stop().code(), Some(0));
}

/// As logrotate does it: rename, then tell.
#[test]
fn hup_begins_the_file_anew() {
    let folder = process::folder("log");
    let (file, old) = (folder.join("dpm.log"), folder.join("dpm.log.1"));
    let dpm = start(&["--log-file", &file.display().to_string()]);
    log_into(&dpm, &file);
    std::fs::rename(&file, &old).unwrap();
    log_into(&dpm, &old);
    dpm.signal("HUP");
    // Without anything to log, too: the old one's room on the disk is free then.
    eventually("the file is made", || file.exists());
    let before = read(&old);
    log_into(&dpm, &file);
    assert_eq!(read(&old), before);
}

#[test]
fn a_full_disk_stops_the_log_alone() {
    let mut dpm = start(&["--log-file", "/dev/full"]);
    dpm.signal("USR2");
    let told = dpm.line("cannot be written");
    assert!(told.contains("/dev/full") && told.contains("No space left"));
    dpm.signal("USR2");
    dpm.stats();
    assert_eq!(dpm.count("cannot be written"), 1);
    assert_eq!(dpm.stop().code(), Some(0));
}

#[test]
fn a_file_that_cannot_be_made_is_told_at_once() {
    let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
    command.args(["--log-file", "/nowhere/dpm.log"]);
    let done = process::run(command, Vec::new(), Duration::from_secs(20));
    assert_eq!(done.code, 1);
    assert!(done.err().contains("/nowhere/dpm.log"), "{}", done.err());
}

/// The time and the message of each line.
fn objects(log: &str) -> Vec<serde_json::Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    log.lines().map(parse).collect()
}

#[test]
fn json_has_an_object_a_line_whatever_is_logged() {
    let script = r#"
        dpm.log("warn", "two\nlines \"quoted\" \\ \27[2J \194\155 \255 \226\128\168 end")
        dpm.log("error", ("x"):rep(100000))
        error("the end\nof it")"#;
    let folder = process::folder("log");
    let startfile = folder.join("it.lua");
    std::fs::write(&startfile, script).unwrap();
    let file = folder.join("dpm.log");
    let run = |more: &[&str]| {
        let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
        command
            .arg(&startfile)
            .args(["--log-format", "json"])
            .args(more)
            .env_remove("RUST_LOG");
        process::run(command, Vec::new(), Duration::from_secs(20))
    };
    let done = run(&[]);
    assert_eq!(done.code, 1);
    let lines = objects(&done.err());
    assert_eq!(lines.len(), 3, "{}", done.err());
    assert_eq!(
        lines[0]["message"],
        "two\nlines \"quoted\" \\ \\u{1b}[2J \\u{9b} \u{fffd} \u{2028} end"
    );
    for (line, level) in lines.iter().zip(["WARN", "ERROR", "ERROR"]) {
        assert_eq!(line["level"], level);
        let time = line["time"].as_str().unwrap();
        assert!(time.contains('T') && time.ends_with('Z'), "{time}");
    }
    assert!(done.err().len() < 10_000);
    let last = lines[2]["message"].as_str().unwrap();
    assert!(last.contains("it.lua:4: the end\nof it"), "{last}");

    // Why it ends is told in the file and on the standard error.
    let done = run(&["--log-file", &file.display().to_string()]);
    assert_eq!(objects(&done.err()).len(), 1, "{}", done.err());
    assert_eq!(objects(&read(&file)).len(), 3);
}

/// What is logged for a client's queries, and for a server without a callback on either.
fn log_of_a_session(verbosity: &str) -> Vec<String> {
    let startfile = "require('harness').passthrough()";
    let launch = Launch::script(startfile).server(mariadb()).quiet();
    let mut dpm = launch.option(verbosity).start();
    let mut wire = Wire::login(dpm.port(), PLAIN);
    let rows = wire.rows("SELECT 'in nobodys log' FROM mysql.seq_1_to_100");
    assert_eq!(rows.len(), 100);
    drop(wire);
    dpm.wait_until_idle();
    dpm.stop();
    let log = dpm.lines("[");
    let secret = |line: &&String| line.contains("in nobodys log") || line.contains(PASSWORD);
    assert_eq!(log.iter().find(secret), None);
    log
}

/// Where in the log such lines are for the first time.
fn positions(log: &[String], needles: &[&str]) -> Vec<usize> {
    let position = |needle: &&str| {
        let found = log.iter().position(|line| line.ends_with(*needle));
        found.unwrap_or_else(|| panic!("{needle}: {log:#?}"))
    };
    needles.iter().map(position).collect()
}

#[test]
fn more_v_tell_states_then_packets() {
    let states = [
        ": MYS_CONNECT",
        ": MYS_WAIT_AUTH",
        ": MYC_SENT_CMD",
        ": MYS_GOT_CMD",
        ": MYS_SENT_RSET",
        ": MYS_SENDING_ROWS",
        ": MY_CLOSING",
    ];
    let packets = [
        "receives handshake",
        "is sent auth",
        "receives cmd COM_QUERY",
        "is sent cmd COM_QUERY",
        "receives rset",
        "receives field",
        "is sent field",
    ];
    let has = |log: &[String], what: &str| log.iter().any(|line| line.contains(what));

    let log = log_of_a_session("-v");
    assert!(has(&log, "connected to"));
    assert!(!has(&log, "MYC_") && !has(&log, "receives"));

    let log = log_of_a_session("-vv");
    let order = positions(&log, &states);
    assert!(order.is_sorted(), "{order:?} {log:#?}");
    assert!(!has(&log, "receives"));
    let rows = log
        .iter()
        .filter(|line| line.contains("MYS_SENDING_ROWS"))
        .count();
    assert_eq!(rows, 1);

    let log = log_of_a_session("-vvv");
    for packet in packets {
        assert!(has(&log, packet), "{packet}: {log:#?}");
    }
    assert!(has(&log, "rows") || has(&log, "receives row"));
}
