//! The report: on standard output, and as doc/COMPATIBILITY.md.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::ground::{Ground, Way};

/// The result of one way.
pub struct Verdict {
    /// The way.
    pub way: Way,
    /// What differed from the direct runs, if anything.
    pub failure: Option<String>,
}

/// One combination.
pub struct Cell {
    /// How the client authenticates.
    pub plugin: &'static str,
    /// The TLS mode.
    pub tls: &'static str,
    /// The compression.
    pub compression: &'static str,
    /// Empty if it does not work directly either.
    pub verdicts: Vec<Verdict>,
}

/// One client and one server.
pub struct Row {
    /// The client's short name.
    pub client: &'static str,
    /// Its name with its version.
    pub title: String,
    /// The server's name with its version.
    pub server: String,
    /// All combinations.
    pub cells: Vec<Cell>,
    /// The results of the battery. Empty if the client cannot connect at all.
    pub battery: Vec<Verdict>,
    /// How many steps of the battery the client can do.
    pub steps: usize,
    /// Whether the client is not installed.
    pub skipped: bool,
}

impl Row {
    /// The row of a client that is not installed.
    pub fn skipped(client: &'static str, title: &str, server: &str) -> Row {
        Row {
            client,
            title: title.to_owned(),
            server: server.to_owned(),
            cells: Vec::new(),
            battery: Vec::new(),
            steps: 0,
            skipped: true,
        }
    }
}

/// Prints failures and figures, writes the document if asked to, and gives the exit code.
pub fn print(
    rows: &[Row],
    grounds: &[Ground],
    took: Duration,
    fell_back: usize,
    whole: bool,
) -> i32 {
    let verdicts = rows.iter().flat_map(|row| {
        let of_cells = row.cells.iter().flat_map(|cell| &cell.verdicts);
        of_cells.chain(&row.battery)
    });
    let (passed, failed): (Vec<_>, Vec<_>) = verdicts.partition(|v| v.failure.is_none());
    let (passed, failed) = (passed.len(), failed.len() + fell_back);
    let cells = rows.iter().flat_map(|row| &row.cells);
    let dashes = cells.filter(|cell| cell.verdicts.is_empty()).count();
    let skipped: Vec<_> = rows
        .iter()
        .filter(|row| row.skipped)
        .map(|row| format!("{} × {}", row.title, row.server))
        .collect();
    if !skipped.is_empty() {
        println!("SKIPPED: {}", skipped.join(", "));
    }
    println!(
        "{dashes} combinations do not work directly either; {:.0} s",
        took.as_secs_f32()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = match std::env::var_os("DPM_MATRIX_WRITE") {
        Some(_) if whole => path.join("doc/COMPATIBILITY.md"),
        _ => Path::new(env!("CARGO_TARGET_TMPDIR")).join("COMPATIBILITY.md"),
    };
    std::fs::write(&path, document(rows, grounds)).expect("the document");
    println!("written: {}", path.display());
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored");
    i32::from(failed > 0)
}

/// Prints the failures among some verdicts.
pub fn say(client: &str, ground: &Ground, what: &str, verdicts: &[Verdict]) {
    for verdict in verdicts {
        if let Some(failure) = &verdict.failure {
            println!(
                "FAILED {client} × {} {what} [{}]: {failure}",
                ground.title,
                verdict.way.name()
            );
        }
    }
}

/// Compares a proxy's counts of connections with TLS and compression with the expected ones: a
/// client that silently falls back to a connection without them shows the same results. Returns the
/// number of counts that are too low.
pub fn fallbacks(rows: &[Row], server: &str, way: Way, stats: &HashMap<String, f64>) -> usize {
    let mut wanted: HashMap<String, f64> = HashMap::new();
    let cells = rows
        .iter()
        .filter(|row| row.server == server)
        .flat_map(|row| &row.cells);
    for cell in cells {
        let passed = |v: &Verdict| v.way == way && v.failure.is_none();
        if cell.verdicts.iter().any(passed) {
            let tls = if cell.tls == "off" { "off" } else { "tls" };
            *wanted
                .entry(format!("leg_{tls}_{}", cell.compression))
                .or_default() += 1.0;
        }
    }
    let mut missing = 0;
    for (leg, wanted) in wanted {
        let counted = stats.get(&leg).copied().unwrap_or_default();
        if counted < wanted {
            println!(
                "FAILED {server} [{}]: {counted} connections of {leg} instead of {wanted} or more",
                way.name()
            );
            missing += 1;
        }
    }
    missing
}

/// Prints what the pool before a server has done. Returns 1 if nobody's connection was ever taken away
/// although clients have passed the battery: then nothing was tested.
pub fn sharing(rows: &[Row], server: &str, stats: &HashMap<String, f64>) -> usize {
    let counted = |name: &str| stats.get(name).copied().unwrap_or_default();
    println!(
        "   {server} [pool]: {} times was a connection lent, {} times taken away, {} times changed, {} times read; \
         {} commands found their own; {} times was one held; {} connections were opened, {} closed for others; \
         {} statements answered, {} refused",
        counted("pool_borrowed"),
        counted("pool_stolen"),
        counted("pool_switched"),
        counted("pool_carried"),
        counted("pool_kept"),
        counted("pool_held"),
        counted("pool_opened"),
        counted("pool_closed_for_others"),
        counted("pool_answered"),
        counted("pool_refused_diagnostics"),
    );
    let is_used = rows
        .iter()
        .any(|row| row.server == server && !row.battery.is_empty());
    if is_used && counted("pool_stolen") < 100.0 {
        println!("FAILED {server} [pool]: hardly any connection was taken away");
        return 1;
    }
    0
}

const HEAD: &str = include_str!("head.md");

fn document(rows: &[Row], grounds: &[Ground]) -> String {
    let mut text = HEAD.to_owned();
    text += "\n## The battery\n\n| client |";
    for ground in grounds {
        let _ = write!(text, " {} |", ground.title);
    }
    text += "\n| --- |";
    text += &" --- |".repeat(grounds.len());
    let mut titles: Vec<_> = rows
        .iter()
        .map(|row| (row.client, row.title.as_str()))
        .collect();
    titles.dedup();
    for (client, title) in &titles {
        let _ = write!(text, "\n| {title} |");
        for ground in grounds {
            let row = rows
                .iter()
                .find(|row| row.client == *client && row.server == ground.title);
            let cell = row.map_or_else(String::new, |row| match row.battery.len() {
                _ if row.skipped => "not installed".into(),
                0 => "–".into(),
                _ => format!("{} steps{}", row.steps, failures(&row.battery)),
            });
            let _ = write!(text, " {cell} |");
        }
    }
    text += "\n";
    for ground in grounds {
        let _ = write!(text, "\n## {}\n\n| client | TLS |", ground.title);
        for plugin in &ground.plugins {
            let _ = write!(text, " {} |", plugin.name);
        }
        text += "\n| --- | --- |";
        text += &" --- |".repeat(ground.plugins.len());
        for (client, title) in &titles {
            let Some(row) = rows
                .iter()
                .find(|row| row.client == *client && row.server == ground.title)
            else {
                continue;
            };
            for tls in crate::TLS {
                let shown = if tls == crate::TLS[0] { *title } else { "" };
                let _ = write!(text, "\n| {shown} | {tls} |");
                for plugin in &ground.plugins {
                    let cells = row
                        .cells
                        .iter()
                        .filter(|cell| cell.tls == tls && cell.plugin == plugin.name);
                    let works: Vec<_> = cells
                        .filter(|cell| !cell.verdicts.is_empty())
                        .map(|cell| format!("{}{}", cell.compression, failures(&cell.verdicts)))
                        .collect();
                    let works = if row.skipped {
                        "not installed".into()
                    } else {
                        works.join(", ")
                    };
                    let _ = write!(text, " {} |", if works.is_empty() { "–" } else { &works });
                }
            }
        }
        text += "\n";
    }
    text
}

/// The ways that failed, as text; empty if none did.
fn failures(verdicts: &[Verdict]) -> String {
    let failed: Vec<_> = verdicts
        .iter()
        .filter(|v| v.failure.is_some())
        .map(|v| v.way.name())
        .collect();
    if failed.is_empty() {
        return String::new();
    }
    format!(" (**not** {})", failed.join(", "))
}
