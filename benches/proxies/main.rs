//! Measures `dpm` against HAProxy, MySQL Router and a direct connection, in front of a private MariaDB.
//!
//! `benches/run.sh` prepares the machine and runs this; `HELP` says what it takes.

mod client;
mod database;
mod process;
mod report;
mod scenario;
mod servers;
mod tls;

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::available_parallelism;

use database::{Database, mysql_program};
use report::{
    CONNECTIONS, IDLE, POINTS, POOLED, POOLED_IDLE, Report, SHARED, STALL, STREAM, TLS_CONNECTIONS,
    TLS_STREAM,
};
use scenario::{Figures, Manner, Size, Target};
use servers::{Cores, Proxy, router_program};
use tls::Certificate;

const HELP: &str = "\
Usage: benches/run.sh [OPTION]...

  --runs N           runs of everything, interleaved (5)
  --only a,b,…       these scenarios only:
                       a  one long result             b  point selects
                       c  connections per second      d  memory of idle connections
                       e  a client that stalls        f  a, with Lua callbacks on rows
                       g  a, with TLS towards clients h  c, with TLS towards clients
                       i  a thousand clients' point selects, over 20 connections of a pool
                       j  i, with TLS towards clients, before MySQL
  --targets T,…      of direct, haproxy, dpm, router (all)
  --quick            little of everything, to see that it works
  --dpm FILE         measure this program instead of the one just built
  --before FILE      measure this older dpm, too, in the same runs
  --help             this text
";

struct Options {
    runs: usize,
    only: Vec<String>,
    targets: Vec<String>,
    size: Size,
    quick: bool,
    dpm: String,
    before: Option<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let mut options = Self {
            runs: 5,
            only: list("a,b,c,d,e,f,g,h,i,j"),
            targets: list("direct,haproxy,dpm,router"),
            size: Size::FULL,
            quick: false,
            dpm: env!("CARGO_BIN_EXE_dpm").into(),
            before: None,
        };
        while let Some(option) = args.next() {
            let mut value = || args.next().ok_or(format!("{option} needs a value"));
            match option.as_str() {
                "--runs" => options.runs = value()?.parse().map_err(|_| "--runs needs a number")?,
                "--only" => options.only = list(&value()?),
                "--targets" => options.targets = list(&value()?),
                "--quick" => {
                    options.size = Size::QUICK;
                    options.quick = true;
                }
                "--dpm" => options.dpm = value()?,
                "--before" => options.before = Some(value()?),
                "--bench" => {} // from cargo
                "--help" => return Ok(None),
                _ => return Err(format!("unknown option {option}\n\n{HELP}")),
            }
        }
        Ok(Some(options))
    }

    fn wants(&self, scenario: &str) -> bool {
        self.only.iter().any(|only| only == scenario)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Direct,
    Haproxy,
    /// `dpm` with this script.
    Dpm(&'static str),
    /// The older `dpm` with this script.
    Before(&'static str),
    /// This and the next terminate the clients' TLS.
    Router,
    DpmTls,
    /// The same, with the pool of this script.
    DpmPoolTls,
    RouterPool,
}

/// How many connections pools have.
const POOL: usize = 20;

const PLAIN: [(&str, Kind); 4] = [
    ("direct", Kind::Direct),
    ("haproxy", Kind::Haproxy),
    ("dpm", Kind::Dpm("passthrough.lua")),
    ("before", Kind::Before("passthrough.lua")),
];
const ROWS: [(&str, Kind); 4] = [
    ("dpm no-op rows", Kind::Dpm("row-noop.lua")),
    ("dpm parsed rows", Kind::Dpm("row-parse.lua")),
    ("before no-op rows", Kind::Before("row-noop.lua")),
    ("before parsed rows", Kind::Before("row-parse.lua")),
];

const POOLS: [(&str, Kind); 3] = [
    ("haproxy", Kind::Haproxy),
    ("dpm", Kind::Dpm("passthrough.lua")),
    ("dpm pool", Kind::Dpm("pool.lua")),
];

const SHARING: [(&str, Kind); 3] = [
    ("router", Kind::RouterPool),
    ("dpm", Kind::DpmTls),
    ("dpm pool", Kind::DpmPoolTls),
];

const TLS: [(&str, Kind); 2] = [("router", Kind::Router), ("dpm", Kind::DpmTls)];

type Measure = Box<dyn Fn(Target, &Size) -> io::Result<Figures>>;

/// What is behind a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    MariaDb,
    MySql,
}

/// One cell of the table.
struct Job {
    scenario: &'static str,
    target: &'static str,
    kind: Kind,
    behind: Behind,
    measure: Measure,
}

fn jobs(options: &Options) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut add = |scenario, targets: &[(&'static str, Kind)], measure: fn() -> Measure| {
        for &(target, kind) in targets {
            let family = target.split(' ').next().unwrap_or(target);
            let wanted = match family {
                "before" => options.before.is_some(),
                _ => options.targets.iter().any(|wanted| wanted == family),
            };
            if wanted {
                jobs.push(Job {
                    scenario,
                    target,
                    kind,
                    behind: match SHARED.contains(&scenario) {
                        true => Behind::MySql,
                        false => Behind::MariaDb,
                    },
                    measure: measure(),
                });
            }
        }
    };

    if options.wants("a") {
        add(STREAM, &PLAIN, || Box::new(scenario::stream));
    } else if options.wants("f") {
        // The baseline for the callbacks.
        add(STREAM, &PLAIN[2..], || Box::new(scenario::stream));
    }
    if options.wants("f") {
        add(STREAM, &ROWS, || Box::new(scenario::stream));
    }
    if options.wants("b") {
        let [(_, one), (_, sixteen), (_, many)] = POINTS;
        add(one, &PLAIN, || points(POINTS[0].0));
        add(sixteen, &PLAIN, || points(POINTS[1].0));
        add(many, &PLAIN, || points(POINTS[2].0));
    }
    if options.wants("c") {
        add(CONNECTIONS, &PLAIN, || Box::new(scenario::connections));
    }
    if options.wants("d") {
        add(IDLE, &PLAIN[1..], || {
            Box::new(|target, size| scenario::idle(target, size, size.idle))
        });
    }
    if options.wants("e") {
        add(STALL, &PLAIN, || Box::new(scenario::stall));
    }
    if options.wants("g") {
        add(TLS_STREAM, &TLS, || Box::new(scenario::stream));
    }
    if options.wants("h") {
        add(TLS_CONNECTIONS, &TLS, || Box::new(scenario::connections));
    }
    if options.wants("i") {
        let [query, zones, prepared] = POOLED;
        add(query, &POOLS, || pooled(Manner::Query));
        add(zones, &POOLS[2..], || pooled(Manner::TimeZones));
        add(prepared, &POOLS, || pooled(Manner::Prepared));
        add(POOLED_IDLE, &POOLS[2..], || {
            Box::new(|target, size| scenario::idle(target, size, size.pooled_idle))
        });
    }
    // It needs the same folder of Debian sid that Router is in.
    if options.wants("j") && options.targets.iter().any(|target| target == "router") {
        let [query, zones, prepared] = SHARED;
        add(query, &SHARING, || pooled(Manner::Query));
        add(zones, &[SHARING[0], SHARING[2]], || {
            pooled(Manner::TimeZones)
        });
        add(prepared, &SHARING, || pooled(Manner::Prepared));
    }
    jobs
}

fn points(clients: u64) -> Measure {
    Box::new(move |target, size| scenario::points(target, size, clients, Manner::Query))
}

fn pooled(manner: Manner) -> Measure {
    Box::new(move |target, size| scenario::points(target, size, size.pooled, manner))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if !args.iter().any(|arg| arg == "--bench") {
        println!("nothing is measured: use benches/run.sh");
        return Ok(());
    }
    let Some(options) = Options::parse(args.into_iter())? else {
        print!("{HELP}");
        return Ok(());
    };

    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let folder = Folder::new()?;
    let cores = Cores::split(available_parallelism()?.get());
    stay_on(&cores.rest)?;
    let certificate = Certificate::create(&folder.0)?;
    let mut report = Report::default();
    let jobs = jobs(&options);
    let points = options.size.points;
    let needs = |behind| jobs.iter().any(|job| job.behind == behind);
    eprintln!("starting the databases");
    let mariadb = needs(Behind::MariaDb).then(|| Database::mariadb(&folder.0, &cores, points));
    let mariadb = mariadb.transpose()?;
    let mysql = needs(Behind::MySql).then(|| Database::mysql(&folder.0, &cores, points));
    let mysql = mysql.transpose()?;

    for run in 0..options.runs {
        // Each run begins with a different job, so that none has the same position in all of them.
        for at in 0..jobs.len() {
            let job = &jobs[(at + run) % jobs.len()];
            eprintln!(
                "run {} of {}: {}, {}",
                run + 1,
                options.runs,
                job.scenario,
                job.target
            );
            let database = match job.behind {
                Behind::MariaDb => &mariadb,
                Behind::MySql => &mysql,
            };
            let Some(database) = database else { continue };
            let proxy = start(
                job.kind,
                &options,
                &folder.0,
                &cores,
                database,
                &certificate,
            )?;
            let target = Target {
                address: proxy
                    .as_ref()
                    .map_or(database.address, |proxy| proxy.address),
                tls: proxy.as_ref().is_some_and(|proxy| proxy.tls),
                pid: proxy.as_ref().map(Proxy::pid),
            };
            let figures = (job.measure)(target, &options.size)
                .map_err(|error| format!("{}, {}: {error}", job.scenario, job.target))?;
            report.add(job.scenario, job.target, figures);
        }
    }

    let facts = facts(&options, &cores, load);
    for (name, value) in &facts {
        println!("{name}: {value}");
    }
    println!("{}", report.table());
    let goals = report.goals(options.size.rows);
    if !goals.is_empty() {
        println!("goals, of medians\n{goals}");
    }
    println!("{}", report.json(&facts));
    Ok(())
}

fn start(
    kind: Kind,
    options: &Options,
    folder: &Path,
    cores: &Cores,
    database: &Database,
    certificate: &Certificate,
) -> io::Result<Option<Proxy>> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let database = database.address;
    let run = |program: &str, script, certificate| {
        let script = scripts.join(script);
        Proxy::dpm(folder, cores, database, program, &script, certificate)
    };
    let proxy = match kind {
        Kind::Direct => return Ok(None),
        Kind::Haproxy => Proxy::haproxy(folder, cores, database)?,
        Kind::Router => Proxy::router(folder, cores, database, certificate, None)?,
        Kind::RouterPool => Proxy::router(folder, cores, database, certificate, Some(POOL))?,
        Kind::Dpm(script) => run(&options.dpm, script, None)?,
        Kind::Before(script) => {
            let before = options.before.as_deref();
            run(before.unwrap_or(&options.dpm), script, None)?
        }
        Kind::DpmTls => run(&options.dpm, "tls.lua", Some(certificate))?,
        Kind::DpmPoolTls => run(&options.dpm, "pool.lua", Some(certificate))?,
    };
    Ok(Some(proxy))
}

/// Keeps all further threads of this program off the proxy's core.
fn stay_on(cores: &str) -> io::Result<()> {
    if cores.is_empty() {
        eprintln!("warning: only one core, which the proxy shares with everything else");
        return Ok(());
    }
    let me = std::process::id().to_string();
    let output = Command::new("taskset")
        .args(["-acp", cores, &me])
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other("taskset failed"));
    }
    Ok(())
}

/// A folder for the database, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("dpm-bench-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// When, on what and how it was measured.
fn facts(options: &Options, cores: &Cores, load: String) -> Vec<(&'static str, String)> {
    let file = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = file("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": "));
    let medians = if options.quick { "quick, " } else { "" };
    vec![
        ("date", first_line("date", &["-u", "+%F %H:%M UTC"])),
        (
            "cpu",
            model.map_or("unknown", |(_, model)| model).to_owned(),
        ),
        ("proxy's core", cores.proxy.clone()),
        ("others' cores", cores.rest.clone()),
        (
            "kernel",
            file("/proc/sys/kernel/osrelease").trim().to_owned(),
        ),
        ("load before", load),
        ("mariadb", first_line("mariadbd", &["--version"])),
        ("mysql", first_line(&mysql_program(), &["--version"])),
        ("haproxy", first_line("haproxy", &["-v"])),
        ("router", first_line(&router_program(), &["--version"])),
        ("dpm", first_line(&options.dpm, &["--version"])),
        ("runs", format!("{medians}medians of {}", options.runs)),
    ]
}

fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let line = output
        .ok()
        .and_then(|text| text.lines().next().map(str::to_owned));
    line.unwrap_or_else(|| "unknown".into())
}
