//! The figures of all runs, as a table of medians, the goals and a JSON line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::scenario::Figures;

/// scenario → target → figure → one value per run; targets and figures in the order they came.
#[derive(Default)]
pub struct Report {
    scenarios: BTreeMap<&'static str, Vec<(&'static str, Columns)>>,
}

type Columns = Vec<(&'static str, Vec<f64>)>;

impl Report {
    pub fn add(&mut self, scenario: &'static str, target: &'static str, figures: Figures) {
        let targets = self.scenarios.entry(scenario).or_default();
        let at = targets.iter().position(|(name, _)| *name == target);
        let at = at.unwrap_or_else(|| {
            targets.push((target, Vec::new()));
            targets.len() - 1
        });
        let columns = &mut targets[at].1;
        for (name, value) in figures {
            match columns.iter_mut().find(|(column, _)| *column == name) {
                Some((_, values)) => values.push(value),
                None => columns.push((name, vec![value])),
            }
        }
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        for (scenario, targets) in &self.scenarios {
            let _ = writeln!(text, "\n{scenario}");
            let longest = targets
                .iter()
                .map(|(_, columns)| columns)
                .max_by_key(|columns| columns.len());
            let names = longest.into_iter().flatten().map(|(name, _)| *name);
            let names: Vec<_> = names.collect();
            let _ = write!(text, "  {:20}", "");
            for name in &names {
                let _ = write!(text, " {name:>18}");
            }
            text.push('\n');
            for (target, columns) in targets {
                let _ = write!(text, "  {target:20}");
                for name in &names {
                    let cell = values(columns, name).map_or_else(|| "-".into(), cell);
                    let _ = write!(text, " {cell:>18}");
                }
                text.push('\n');
            }
        }
        text
    }

    /// The project's goals, beside the measured values.
    pub fn goals(&self, rows: u64) -> String {
        let rows = rows as f64;
        let ratio_to = |other, scenario, figure| {
            Some(self.median(scenario, "dpm", figure)? / self.median(scenario, other, figure)?)
        };
        let ratio = |scenario, figure| ratio_to("haproxy", scenario, figure);
        let per_row = |target| {
            let extra =
                self.median(STREAM, target, "CPU s")? - self.median(STREAM, "dpm", "CPU s")?;
            Some(extra * 1e6 / rows)
        };
        let slower = || {
            let stalled = self.median(STALL, "dpm", "max ms")?;
            Some(stalled - self.median(STALL, "dpm", "unstalled max ms")?)
        };
        let beside = |scenario, figure, target, other| {
            let pooled = self.median(scenario, target, figure)?;
            Some(pooled / self.median(scenario, other, figure)?)
        };
        let pool = |scenario, other| beside(scenario, EACH, "dpm pool", other);
        let router = |scenario| beside(scenario, EACH, "dpm pool", "router");
        let goals = [
            ("(a) CPU / HAProxy's", 1.2, ratio(STREAM, "CPU s")),
            ("(b) 1: CPU / HAProxy's", 1.2, ratio(POINTS[0].1, EACH)),
            ("(b) 16: CPU / HAProxy's", 1.2, ratio(POINTS[1].1, EACH)),
            ("(b) 64: CPU / HAProxy's", 1.2, ratio(POINTS[2].1, EACH)),
            (
                "(d) KB a connection",
                4.0,
                self.median(IDLE, "dpm", "KB each"),
            ),
            (
                "(e) growth, KB",
                2048.0,
                self.median(STALL, "dpm", "growth KB"),
            ),
            ("(e) others slower by, ms", 50.0, slower()),
            ("(f) no-op, µs a row", 0.35, per_row("dpm no-op rows")),
            ("(f) parsed, µs a row", 0.8, per_row("dpm parsed rows")),
            (
                "(g) CPU / Router's",
                1.0,
                ratio_to("router", TLS_STREAM, "CPU s"),
            ),
            (
                "(h) CPU / Router's",
                1.0,
                ratio_to("router", TLS_CONNECTIONS, EACH),
            ),
            ("(i) CPU / passthrough's", 1.4, pool(POOLED[0], "dpm")),
            ("(i) prepared: the same", 1.4, pool(POOLED[2], "dpm")),
            (
                "(i) HAProxy's rate / pool's",
                1.0,
                beside(POOLED[0], RATE, "haproxy", "dpm pool"),
            ),
            ("(j) CPU / Router's", 1.0, router(SHARED[0])),
            ("(j) time zones: the same", 1.0, router(SHARED[1])),
            ("(j) prepared: the same", 1.0, router(SHARED[2])),
            (
                "(i) KB an idle client",
                2.0,
                self.median(POOLED_IDLE, "dpm pool", "KB each"),
            ),
        ];

        let mut text = String::new();
        for (goal, limit, found) in goals {
            let Some(found) = found else { continue };
            let verdict = if found <= limit { "met" } else { "MISSED" };
            let _ = writeln!(
                text,
                "  {goal:26} {found:10.2}, at most {limit:7.2}  {verdict}"
            );
        }
        text
    }

    /// `facts` are keys and values to put before the results.
    pub fn json(&self, facts: &[(&str, String)]) -> String {
        let facts = facts.iter().map(|(key, value)| member(key, &quoted(value)));
        let scenarios = self.scenarios.iter().map(|(scenario, targets)| {
            let targets = targets.iter().map(|(target, columns)| {
                let columns = columns.iter().map(|(name, values)| {
                    let values: Vec<_> = values.iter().map(|v| significant(*v)).collect();
                    member(name, &format!("[{}]", values.join(",")))
                });
                member(target, &object(columns))
            });
            member(scenario, &object(targets))
        });
        object(facts.chain([member("results", &object(scenarios))]))
    }

    fn median(&self, scenario: &str, target: &str, figure: &str) -> Option<f64> {
        let targets = self.scenarios.get(scenario)?;
        let (_, columns) = targets.iter().find(|(name, _)| *name == target)?;
        values(columns, figure).map(median)
    }
}

pub const STREAM: &str = "(a, f) one long result";
pub const POINTS: [(u64, &str); 3] = [
    (1, "(b) point selects, 1 connection"),
    (16, "(b) point selects, 16 connections"),
    (64, "(b) point selects, 64 connections"),
];
pub const CONNECTIONS: &str = "(c) connections";
pub const IDLE: &str = "(d) idle connections";
pub const STALL: &str = "(e) beside a client that stalls";
pub const TLS_STREAM: &str = "(g) one long result, TLS";
pub const TLS_CONNECTIONS: &str = "(h) connections, TLS";
/// By how clients ask.
pub const POOLED: [&str; 3] = [
    "(i) point selects, 1000 clients",
    "(i) with a time zone each",
    "(i) prepared",
];
pub const POOLED_IDLE: &str = "(i) 5000 idle clients of a pool";
/// The same with TLS, before MySQL.
pub const SHARED: [&str; 3] = [
    "(j) point selects, 1000 clients, TLS",
    "(j) with a time zone each, TLS",
    "(j) prepared, TLS",
];
const RATE: &str = "per s";
const EACH: &str = "CPU µs each";

fn values<'a>(columns: &'a Columns, name: &str) -> Option<&'a [f64]> {
    let column = columns.iter().find(|(column, _)| *column == name)?;
    Some(&column.1)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return sorted[middle];
    }
    (sorted[middle - 1] + sorted[middle]) / 2.0
}

/// The median, and half the spread between the extremes.
fn cell(values: &[f64]) -> String {
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| {
        (low.min(*v), high.max(*v))
    });
    let middle = median(values);
    let spread = (high - low) / 2.0;
    format!("{} ±{spread:.*}", significant(middle), decimals(middle))
}

/// Four digits that mean something.
fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "null".into();
    }
    format!("{value:.*}", decimals(value))
}

fn decimals(value: f64) -> usize {
    let whole = value.abs().max(1e-9).log10().floor() as i32;
    (3 - whole).clamp(0, 4) as usize
}

fn object(members: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn member(key: &str, value: &str) -> String {
    format!("{}:{value}", quoted(key))
}

fn quoted(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""))
}
