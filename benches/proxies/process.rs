//! What the kernel says about a running process.

use std::fs;
use std::io::{Error, Result};
use std::process::Command;
use std::time::Duration;

/// User and system CPU seconds of all its threads, to the nanosecond.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += number(text.split_whitespace().next())?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// User and system CPU seconds apart, to the clock tick (a hundredth of a second).
pub fn user_and_system(pid: u32) -> Result<(f64, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses, which may hold spaces.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = fields.split_whitespace().skip(11);
    let user = number(fields.next())?;
    let system = number(fields.next())?;
    Ok((user as f64 / 100.0, system as f64 / 100.0))
}

/// Resident kilobytes, exactly (the counter in `status` lags).
pub fn resident_kb(pid: u32) -> Result<u64> {
    keyed(pid, "smaps_rollup", "Rss:")
}

/// The most kilobytes that were resident at once since `forget_peak`.
pub fn peak_kb(pid: u32) -> Result<u64> {
    keyed(pid, "status", "VmHWM:")
}

pub fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn keyed(pid: u32, file: &str, key: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    number(value.and_then(|rest| rest.split_whitespace().next()))
}

fn number(text: Option<&str>) -> Result<u64> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::other("the kernel's figure is missing"))
}

/// How many system calls it makes during this time; `None` where nobody counts them.
pub fn system_calls(pid: u32, time: Duration) -> Option<u64> {
    let output = Command::new("perf")
        .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"])
        .arg(pid.to_string())
        .args(["--", "sleep"])
        .arg(time.as_secs_f64().to_string())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("sys_enter"))?;
    line.split(',').next()?.parse().ok()
}
