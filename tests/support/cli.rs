//! The real command-line clients, MariaDB's and MySQL's, and Python's PyMySQL.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Command};
use std::sync::mpsc;
use std::time::Duration;

use super::process::{self, Finished};
use super::server::Flavour;
use super::{PASSWORD, PATIENCE, USER};

/// A command-line client about to run.
pub struct Cli {
    command: Command,
    input: Vec<u8>,
    patience: Duration,
}

impl Cli {
    /// A program by its MySQL name ("mysql", "mysqldump", "mysqladmin", "mysqlbinlog"), without
    /// arguments.
    pub fn tool(flavour: Flavour, name: &str) -> Cli {
        Cli {
            command: process::command(flavour.program(name)),
            input: Vec::new(),
            patience: Duration::from_secs(60),
        }
    }

    /// A tool that logs in to a port of this host over TCP as [`USER`]. MySQL's tools may ask for
    /// the RSA key, which a `caching_sha2_password` login without TLS needs.
    pub fn login(flavour: Flavour, name: &str, port: u16) -> Cli {
        let cli = Cli::tool(flavour, name)
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1"])
            .arg(format!("-P{port}"))
            .arg(format!("-u{USER}"))
            .arg(format!("-p{PASSWORD}"));
        let cli = match flavour {
            Flavour::MariaDb | Flavour::MariaDb11 => cli,
            Flavour::MySql => cli.arg("--get-server-public-key"),
        };
        // Some were built for a folder that does not exist here.
        match flavour.client_plugins() {
            Some(folder) => cli.arg(format!("--plugin-dir={}", folder.display())),
            None => cli,
        }
    }

    /// The interactive client, logged in as above, printing tab-separated rows.
    pub fn client(flavour: Flavour, port: u16) -> Cli {
        Cli::interactive(flavour, port).args(["-N", "-B"])
    }

    /// The interactive client, logged in as above, as a person would start it.
    pub fn interactive(flavour: Flavour, port: u16) -> Cli {
        let cli = Cli::login(flavour, "mysql", port);
        match flavour {
            Flavour::MariaDb | Flavour::MariaDb11 => cli,
            // Without it MySQL 9's client ignores commands like `source`.
            Flavour::MySql => cli.arg("--commands"),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cli {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Cli {
        self.command.args(args);
        self
    }

    /// Sets its standard input.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Cli {
        self.input = input.into();
        self
    }

    /// Sets how long it may take; the default is 60 seconds.
    pub fn patience(mut self, patience: Duration) -> Cli {
        self.patience = patience;
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Finished {
        process::run(self.command, self.input, self.patience)
    }

    /// Runs it, expects success, and returns its standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        let what = format!("{:?}", self.command);
        let done = self.run();
        assert_eq!(
            done.code,
            0,
            "{what}:\n{}\n{}",
            process::clip(&done.stdout),
            process::clip(&done.stderr)
        );
        done.out()
    }

    /// Runs one or more statements with the interactive client.
    #[track_caller]
    pub fn query(flavour: Flavour, port: u16, statements: &str) -> String {
        Cli::client(flavour, port).arg("-e").arg(statements).ok()
    }

    /// Starts it and keeps it running; statements are sent one by one.
    pub fn session(self) -> Session {
        // Unbuffered, or the answers would only come at the end.
        let mut child = self.arg("--unbuffered").start();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Session {
            stdin: child.stdin.take(),
            child,
            lines,
        }
    }

    /// Starts it without waiting, with pipes.
    pub fn start(mut self) -> process::Process {
        use std::process::Stdio;
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        process::spawn(self.command)
    }
}

/// A command-line client that stays connected. Killed when dropped.
pub struct Session {
    child: process::Process,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Session {
    /// Sends a statement and does not wait.
    #[track_caller]
    pub fn send(&mut self, statement: &str) {
        let stdin = self.stdin.as_mut().expect("an open session");
        writeln!(stdin, "{statement};").expect("the client listens");
    }

    /// The next line that it prints.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    /// Sends a statement, and returns the first line of its answer.
    #[track_caller]
    pub fn ask(&mut self, statement: &str) -> String {
        self.send(statement);
        self.line()
    }

    /// Quits, and returns the exit code.
    #[track_caller]
    pub fn quit(mut self) -> i32 {
        drop(self.stdin.take());
        let status = process::wait(&mut self.child, PATIENCE).expect("it ends");
        status.code().unwrap_or(-1)
    }
}

/// Runs a Python program that has `connect(**more)`, PyMySQL logged in as [`USER`] on `port`.
#[track_caller]
pub fn python(port: u16, program: &str) -> String {
    let program = format!(
        "import pymysql, sys\n\
         def connect(**more):\n\
         \x20   return pymysql.connect(**dict(dict(host='127.0.0.1', port={port}, user='{USER}',\n\
         \x20       password='{PASSWORD}', read_timeout=30, write_timeout=30), **more))\n{program}"
    );
    // Debian's own, which has Debian's PyMySQL.
    let cli = Cli {
        command: process::command("/usr/bin/python3"),
        input: Vec::new(),
        patience: Duration::from_secs(60),
    };
    cli.args(["-c", &program]).ok()
}
