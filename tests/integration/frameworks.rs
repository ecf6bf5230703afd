//! Applications made with frameworks share one connection with a stranger who has other settings, and takes it whenever they do
//! not hold it. Who is held, why, and how many commands the pool adds is what the table in doc/POOLING.md says.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::server::skipped;
use crate::support::wire::{Wire, caps};
use crate::support::{Dpm, PASSWORD, Server, USER, both, process};

/// An application needs a while where much else runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A pool of one connection.
struct Pool {
    dpm: Dpm,
    admin: Wire,
}

impl Pool {
    fn start(server: &Server) -> Pool {
        let dpm = Launch::script(&format!(
            "local dpml = require 'dpml'
             local users = {{ {USER} = {{ password = '{PASSWORD}' }} }}
             local listener = require('harness').listen(function() end)
             local servers = {{ {{ host = arg[1], port = tonumber(arg[2]) }} }}
             local pool = dpml.pool(listener, {{ servers = servers, users = users, size = 1, queue_timeout = 60 }})
             local admin = dpm.listener('127.0.0.1', 0)
             pool:admin(admin, {{ users = users }})
             print('admin ' .. admin:socket_port())"
        ))
        .server(server)
        .start();
        let port = dpm.line("admin ")["admin ".len()..].parse();
        let admin = Wire::login(port.expect("a port"), caps::BASE);
        Pool { dpm, admin }
    }

    /// Why clients keep the connection.
    fn held(&mut self) -> Vec<String> {
        self.admin.rows("SELECT Reason FROM held").concat()
    }

    /// How many commands of its own the pool has executed.
    fn own_commands(&mut self) -> u64 {
        let rows = self.admin.rows("SHOW STATUS LIKE 'own_commands'");
        rows[0][1].parse().expect("a number")
    }

    /// Someone who can use the application's connection takes it.
    #[track_caller]
    fn take_away(&mut self) {
        let groups = self
            .admin
            .rows("SELECT Capabilities FROM pools WHERE Clients > 0");
        // Hikari may just be between two connections.
        let Some(group) = groups.first() else { return };
        let capabilities = caps::BASE | caps::of_pool(&group[0]);
        let mut stranger = Wire::login(self.dpm.port(), capabilities);
        stranger.query("USE mysql");
        stranger.query("SET time_zone = '+09:00', sql_mode = 'ANSI', NAMES latin1");
        assert_eq!(stranger.rows("SELECT @@time_zone"), [["+09:00"]]);
    }
}

/// A running application, which says the name of each of its phases and waits for a line then.
struct Application {
    child: process::Process,
    stdin: ChildStdin,
    phases: mpsc::Receiver<String>,
    log: PathBuf,
}

impl Application {
    fn start(mut command: Command) -> Application {
        let log = process::folder("application").join("log");
        let errors = std::fs::File::create(&log).expect("a file");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut child = process::spawn(command);
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, phases) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let stdin = child.stdin.take().expect("a pipe");
        Application {
            child,
            stdin,
            phases,
            log,
        }
    }

    /// The name of the phase that it is in next; `None` if it has ended well.
    #[track_caller]
    fn phase(&mut self) -> Option<String> {
        match self.phases.recv_timeout(PATIENCE) {
            Ok(phase) => Some(phase),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let ended = process::wait(&mut self.child, PATIENCE).expect("an end");
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                assert!(ended.success(), "{ended}: {log}");
                None
            }
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no phase in {PATIENCE:?}"),
        }
    }

    fn go_on(&mut self) {
        writeln!(self.stdin, "go on").expect("it reads");
    }
}

/// What was seen in one phase.
#[derive(Debug)]
struct Seen {
    phase: String,
    held: Vec<String>,
    /// How many commands the pool has added to what led there from the phase before.
    added: u64,
}

/// Runs an application to its end.
#[track_caller]
fn run(server: &Server, mut command: Command) -> Vec<Seen> {
    let mut pool = Pool::start(server);
    let port = pool.dpm.port().to_string();
    command.args(["127.0.0.1", &port, USER, PASSWORD, &server.database()]);
    let mut application = Application::start(command);
    let mut before = pool.own_commands();
    let mut all = Vec::new();
    while let Some(phase) = application.phase() {
        let added = pool.own_commands() - before;
        let held = pool.held();
        if held.is_empty() {
            pool.take_away();
        }
        before = pool.own_commands();
        all.push(Seen { phase, held, added });
        application.go_on();
    }
    all
}

/// Compares what was seen with the table's row of this framework.
#[track_caller]
fn compare(framework: &str, seen: &[Seen]) {
    println!("{framework}: {seen:#?}");
    assert!(seen.len() > 5, "{seen:?}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/POOLING.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let row = page
        .lines()
        .find(|line| line.starts_with(&format!("| {framework} ")));
    let row: Vec<&str> = row.expect("its row").split('|').map(str::trim).collect();
    let (between, within, added) = (row[2], row[3].trim_matches('`'), row[4]);
    assert_eq!(between, "no");
    for seen in seen {
        let is_within = matches!(&*seen.phase, "transaction" | "reading");
        let expected: &[&str] = if is_within { &[within] } else { &[] };
        assert_eq!(seen.held, expected, "{}", seen.phase);
    }
    let requests = seen.iter().filter(|seen| seen.phase.starts_with("created"));
    // The stranger's own timing adds a command now and then.
    let mut counts: Vec<u64> = requests.map(|seen| seen.added).collect();
    counts.sort_unstable();
    let usual = counts.get(counts.len() / 2).expect("requests");
    assert_eq!(
        usual.to_string(),
        added,
        "{framework}: commands added to a request"
    );
}

fn application(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/frameworks")
        .join(name)
}

fn script(program: &str, args: &[&str], name: &str) -> Command {
    let mut command = process::command(program);
    command.args(args).arg(application(name));
    command
}

/// What tests/matrix/setup.sh has installed under this name; if it has not, the test is skipped.
fn installed(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("DPM_MATRIX_HOME").map(PathBuf::from);
    let path = home
        .map(|home| home.join(name))
        .filter(|path| path.exists());
    if path.is_none() {
        skipped(name);
    }
    path
}

fn node(name: &str) -> Option<Command> {
    let mut command = script("node", &[], name);
    command.env("NODE_PATH", installed("node/node_modules")?);
    Some(command)
}

both! {
    fn django(server) {
        compare("Django", &run(server, script("/usr/bin/python3", &["-B"], "with_django.py")));
    }
}

both! {
    fn sqlalchemy(server) {
        compare("SQLAlchemy", &run(server, script("/usr/bin/python3", &["-B"], "with_sqlalchemy.py")));
    }
}

both! {
    fn laravel(server) {
        let strict = ["-d", "zend.assertions=1", "-d", "assert.exception=1"];
        compare("Laravel", &run(server, script("php", &strict, "with_laravel.php")));
    }
}

both! {
    fn hibernate(server) {
        let Some(list) = installed("hibernate/jars") else { return };
        let jars = std::fs::read_to_string(&list).expect("the list of jars");
        let classes = list.parent().expect("its folder");
        let mut command = process::command("java");
        command.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "--add-opens", "java.base/java.lang=ALL-UNNAMED", "-cp"]);
        command.arg(format!("{}:{}", classes.display(), jars.trim())).arg("WithHibernate");
        compare("Hibernate", &run(server, command));
    }
}

both! {
    fn go(server) {
        let Some(program) = installed("go/application") else { return };
        compare("go-sql-driver", &run(server, process::command(program)));
    }
}

both! {
    fn sqlx(server) {
        let Some(program) = installed("rust-target/debug/with_sqlx") else { return };
        compare("sqlx", &run(server, process::command(program)));
    }
}

both! {
    fn mysql2(server) {
        let Some(command) = node("with_mysql2.js") else { return };
        compare("mysql2", &run(server, command));
    }
}

both! {
    fn typeorm(server) {
        let Some(command) = node("with_typeorm.js") else { return };
        compare("TypeORM", &run(server, command));
    }
}
