//! A client: a program that is started once and does one job after another.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Flavour, process};

/// A kind of client, and how its program is started.
pub struct Kind {
    /// Its name in filters and databases: letters and digits.
    pub name: &'static str,
    /// Its name in the document until its program has reported its version.
    pub title: &'static str,
    start: fn() -> Option<Command>,
}

/// Where tests/matrix/setup.sh has put what the clients need.
pub fn home() -> PathBuf {
    PathBuf::from(std::env::var_os("DPM_MATRIX_HOME").unwrap_or_default())
}

fn sources(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/matrix/clients")
        .join(of)
}

/// A [`process::command`], if the program is installed.
fn program(program: PathBuf) -> Option<Command> {
    (!program.is_absolute() || program.exists()).then(|| process::command(program))
}

fn python(script: &str, argument: &str) -> Option<Command> {
    let mut command = program(home().join("python/bin/python"))?;
    command
        .arg("-B")
        .arg(sources("python").join(script))
        .arg(argument);
    Some(command)
}

fn cli(flavour: Flavour) -> Option<Command> {
    let path = flavour.program("mysql");
    if path.is_absolute() && !path.exists() {
        return None;
    }
    let mut command = process::command("/usr/bin/python3");
    command.arg(sources("cli").join("client.py"));
    command.arg(if flavour.is_mariadb() {
        "mariadb"
    } else {
        "mysql"
    });
    command.arg(path);
    if let Some(folder) = flavour.client_plugins() {
        command.arg(format!("--plugin-dir={}", folder.display()));
    }
    Some(command)
}

fn node(script: &str) -> Option<Command> {
    let modules = home().join("node/node_modules");
    if !modules.exists() {
        return None;
    }
    let mut command = process::command("node");
    command
        .arg(sources("node").join(script))
        .env("NODE_PATH", modules);
    Some(command)
}

fn script(interpreter: &str, path: &str, argument: &str) -> Option<Command> {
    let mut command = process::command(interpreter);
    command.arg(sources(path)).arg(argument);
    Some(command)
}

/// All clients.
pub const ALL: &[Kind] = &[
    Kind {
        name: "mariadb10",
        title: "mariadb command line 10.11",
        start: || cli(Flavour::MariaDb),
    },
    Kind {
        name: "mariadb11",
        title: "mariadb command line 11.8",
        start: || cli(Flavour::MariaDb11),
    },
    Kind {
        name: "mysql9",
        title: "mysql command line 9.7",
        start: || cli(Flavour::MySql),
    },
    Kind {
        name: "pymysql",
        title: "PyMySQL",
        start: || python("pymysql_client.py", ""),
    },
    Kind {
        name: "connectorpure",
        title: "mysql-connector-python (pure)",
        start: || python("connector_client.py", "pure"),
    },
    Kind {
        name: "connectorc",
        title: "mysql-connector-python (c)",
        start: || python("connector_client.py", "c"),
    },
    Kind {
        name: "mysqlclient",
        title: "mysqlclient",
        start: || python("mysqlclient_client.py", ""),
    },
    Kind {
        name: "aiomysql",
        title: "aiomysql",
        start: || python("async_client.py", "aiomysql"),
    },
    Kind {
        name: "asyncmy",
        title: "asyncmy",
        start: || python("async_client.py", "asyncmy"),
    },
    Kind {
        name: "nodemysql2",
        title: "node mysql2",
        start: || node("mysql2_client.js"),
    },
    Kind {
        name: "nodemariadb",
        title: "node mariadb",
        start: || node("mariadb_client.js"),
    },
    Kind {
        name: "php",
        title: "PHP mysqli",
        start: || script("php", "php/client.php", ""),
    },
    Kind {
        name: "perlmysql",
        title: "Perl DBD::mysql",
        start: || script("perl", "perl/client.pl", "mysql"),
    },
    Kind {
        name: "perlmariadb",
        title: "Perl DBD::MariaDB",
        start: || script("perl", "perl/client.pl", "MariaDB"),
    },
    Kind {
        name: "java",
        title: "MariaDB Connector/J",
        start: || {
            let classes = home().join("java");
            let mut command = program("java".into())?;
            command.args(["-Xmx1g", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp"]);
            command.arg(format!(
                "{}:/usr/share/java/mariadb-java-client.jar",
                classes.display()
            ));
            command.arg("Client");
            classes.join("Client.class").exists().then_some(command)
        },
    },
    Kind {
        name: "go",
        title: "Go-MySQL-Driver",
        start: || program(home().join("go/client")),
    },
    Kind {
        name: "rustmysql",
        title: "Rust mysql",
        start: || program(home().join("rust-target/debug/client_mysql")),
    },
    Kind {
        name: "rustsqlx",
        title: "Rust sqlx",
        start: || program(home().join("rust-target/debug/client_sqlx")),
    },
];

/// The program, while it runs. Killed when dropped.
pub struct Client {
    kind: &'static Kind,
    /// The name and version that it reports.
    pub title: String,
    running: Option<Running>,
}

struct Running {
    child: process::Process,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Client {
    /// Starts it; the error says why it cannot be used.
    pub fn start(kind: &'static Kind) -> Result<Client, String> {
        let mut client = Client {
            kind,
            title: kind.title.to_owned(),
            running: None,
        };
        client.run()?;
        Ok(client)
    }

    fn run(&mut self) -> Result<(), String> {
        let mut command = (self.kind.start)().ok_or("it is not installed")?;
        let log = process::root().join(format!("{}.log", self.kind.name));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = process::spawn(command);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let stdin = child.stdin.take().unwrap();
        let running = Running {
            child,
            stdin,
            lines,
        };
        let hello = running.lines.recv_timeout(Duration::from_secs(60));
        self.running = Some(running);
        let hello: Value = hello
            .ok()
            .and_then(|line| serde_json::from_str(&line).ok())
            .ok_or_else(|| format!("it does not start: {}", self.log()))?;
        if let Some(title) = hello["client"].as_str() {
            self.title = title.to_owned();
        }
        Ok(())
    }

    /// The end of what it wrote to its standard error.
    fn log(&self) -> String {
        let log = process::root().join(format!("{}.log", self.kind.name));
        process::clip(&std::fs::read(log).unwrap_or_default())
    }

    /// Does a job. If the program itself fails, that is the answer.
    pub fn job(&mut self, job: &Value) -> Value {
        if self.running.is_none()
            && let Err(error) = self.run()
        {
            return Value::String(error);
        }
        let running = self.running.as_mut().expect("it runs");
        let sent = writeln!(running.stdin, "{job}").and_then(|()| running.stdin.flush());
        let answer = match sent {
            Ok(()) => running
                .lines
                .recv_timeout(Duration::from_secs(100))
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        answer
            .and_then(|line| serde_json::from_str(&line).map_err(|e| format!("{e}: {line}")))
            .unwrap_or_else(|error| {
                drop(self.running.take());
                Value::String(format!("the client died or hung: {error}: {}", self.log()))
            })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
