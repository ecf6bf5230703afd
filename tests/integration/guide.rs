//! Runs each step of doc/GUIDE.md, and compares the output with what the guide shows.
//!
//! Of its blocks, `lua` is a file by the name on its first line; `sql` is for the server; `console` is
//! input at a shell ("$ ") or in the client ("mysql> "), and its output; `text` is what dpm writes.

use std::path::{Path, PathBuf};

use crate::support::dpm::Launch;
use crate::support::{Cli, Dpm, Flavour, Server, both, process};

/// The blocks of a page with their language, by steps; what comes before the first step is the first.
pub fn steps(page: &str) -> Vec<Vec<(String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = |step: &str| {
        step.split("```")
            .skip(1)
            .step_by(2)
            .filter_map(|block| block.split_once('\n'))
            .map(|(language, block)| (language.to_owned(), block.to_owned()))
            .collect()
    };
    text.split("\n## ").map(blocks).collect()
}

/// A line without what differs from run to run: durations, ids, times of day, column widths.
fn plain(line: &str) -> String {
    const UNITS: [&str; 5] = ["µs", "ms", "s", "sec", "min"];
    let line = match line.strip_prefix("[20") {
        Some(rest) => rest.split_once("Z ").map_or(rest, |(_, rest)| rest),
        None => line,
    };
    // MySQL warns of tables that are about to move.
    let line = &line.replace(", 1 warning", "");
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    for at in 0..words.len() {
        let follows_name = at > 0 && ["client", "port"].contains(&words[at - 1].as_str());
        let next = words.get(at + 1).cloned().unwrap_or_default();
        let unit = next.trim_matches(|c: char| !c.is_alphabetic());
        let first_digit = words[at].find(|c: char| c.is_ascii_digit());
        if let Some(first_digit) = first_digit
            && (follows_name || UNITS.contains(&unit))
        {
            words[at].truncate(first_digit);
            words[at].push('N');
            if UNITS.contains(&unit) {
                words[at + 1] = next.replace(unit, "time");
            }
        }
    }
    if words.first().is_some_and(|word| word.starts_with("+--")) {
        return "+--+".to_owned();
    }
    words.join(" ")
}

/// A reader's machine: the files that have been written, and the proxy that runs.
pub struct Reader {
    server: &'static Server,
    folder: PathBuf,
    dpm: Option<Dpm>,
    /// How much of dpm's output the guide has shown.
    seen: usize,
}

impl Reader {
    pub fn new(server: &'static Server) -> Reader {
        Reader {
            server,
            folder: process::folder("guide"),
            dpm: None,
            seen: 0,
        }
    }

    fn write(&self, block: &str) {
        let name = block.lines().next().unwrap().trim_start_matches("-- ");
        let text = block
            .replace("5500", "0")
            .replace("5501", "0")
            .replace("3306", &self.server.port.to_string())
            .replace("schedule(60, 0", "schedule(1, 0");
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    pub fn dpm(&self) -> &Dpm {
        self.dpm.as_ref().expect("a running dpm")
    }

    /// dpm's output, with paths relative to the folder.
    fn output(&self) -> Vec<String> {
        let output = String::from_utf8_lossy(&self.dpm().output()).into_owned();
        let folder = format!("{}/", self.folder.display());
        output
            .lines()
            .map(|line| plain(&line.replace(&folder, "")))
            .collect()
    }

    /// Waits for these lines of dpm's, in this order; others may come between them. "…" ends what is shown
    /// of one.
    fn expect_output(&mut self, block: &str) {
        for line in block.lines() {
            let line = plain(line);
            crate::support::eventually(&format!("dpm writes {line:?}"), || {
                let output = self.output();
                let found =
                    output[self.seen..]
                        .iter()
                        .position(|written| match line.strip_suffix('…') {
                            Some(beginning) => written.starts_with(beginning),
                            None => *written == line,
                        });
                if let Some(found) = found {
                    self.seen += found + 1;
                }
                found.is_some()
            });
        }
    }

    pub fn client(&self) -> Cli {
        let port = self
            .dpm()
            .wait_for(crate::support::PATIENCE, "its port", |line| {
                line.strip_prefix("listening on port ").map(str::to_owned)
            });
        // MySQL's asks for more by itself, which would be in the proxy's statistics.
        Cli::tool(Flavour::MariaDb, "mysql")
            .args([
                "--no-defaults",
                "--protocol=tcp",
                "-h127.0.0.1",
                "-uapp",
                "-psecret",
                "--skip-ssl",
            ])
            .arg(format!("-P{port}"))
    }

    /// The statements of the block, by one client, and what it prints.
    fn statements(&self, block: &str) {
        let statements: Vec<&str> = block
            .lines()
            .filter_map(|line| line.strip_prefix("mysql> "))
            .collect();
        let expected: Vec<String> = block
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("mysql> "))
            .map(plain)
            .collect();
        let done = self
            .client()
            .args(["-t", "-n", "-vvv", "--force", "shop"])
            .stdin(statements.join("\n"))
            .run();
        // In a batch, statements are echoed between lines of dashes, and errors have a stream of their own.
        let out = done.out();
        let answers = out
            .split("--------------\n")
            .step_by(2)
            .flat_map(str::lines);
        let mut lines: Vec<String> = answers
            .filter(|line| !line.is_empty() && *line != "Bye")
            .map(plain)
            .collect();
        let errors = done.err();
        let errors = errors
            .lines()
            .filter(|line| line.starts_with("ERROR"))
            .map(|line| {
                let (before, after) = line
                    .split_once(" at line ")
                    .unwrap_or_else(|| panic!("{line}"));
                plain(&format!(
                    "{before}{}",
                    after.trim_start_matches(|c: char| c.is_ascii_digit())
                ))
            });
        lines.extend(errors);
        let mut expected_lines: Vec<String> = expected
            .iter()
            .filter(|line| !line.starts_with("ERROR"))
            .cloned()
            .collect();
        expected_lines.extend(
            expected
                .iter()
                .filter(|line| line.starts_with("ERROR"))
                .cloned(),
        );
        assert_eq!(lines, expected_lines, "{block}\n{out}\n{}", done.err());
    }

    fn start(&mut self, options: &[&str], output: &str) {
        self.dpm = None;
        self.seen = 0;
        let launch = Launch::file(self.folder.join("start.lua"));
        self.dpm = Some(
            options
                .iter()
                .fold(launch, |launch, option| launch.option(option))
                .start(),
        );
        self.expect_output(output);
    }

    /// Runs dpm to its end in the folder, and gives its exit code and what it wrote to stderr.
    fn run(&self, options: &[&str]) -> (i32, String) {
        let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
        command
            .current_dir(&self.folder)
            .args(options)
            .env_remove("RUST_LOG");
        let done = process::run(command, Vec::new(), crate::support::PATIENCE);
        (done.code, done.err())
    }

    fn shell(&mut self, block: &str) {
        let (command, rest) = block.split_once('\n').unwrap();
        match command.trim_start_matches("$ ") {
            "dpm --startfile start.lua" => self.start(&[], rest),
            "dpm -v --startfile start.lua" => self.start(&["-v"], rest),
            "dpm --check --startfile start.lua" => {
                assert_eq!(
                    self.run(&["--check", "--startfile", "start.lua"]),
                    (0, rest.to_owned())
                );
            }
            "mysql -h 127.0.0.1 -P 5500 -u app -psecret shop" => {
                assert!(rest.starts_with("ERROR 2013 (HY000)"), "{rest}");
                let told = self.client().run().err();
                assert!(told.contains("ERROR 2013 (HY000)"), "{told}");
            }
            "echo \"this is no Lua\" >> guard.lua" => {
                assert_eq!(rest, "$ kill -HUP $(pidof dpm)\n");
                let guard = self.folder.join("guard.lua");
                let text = std::fs::read_to_string(&guard).unwrap();
                std::fs::write(&guard, format!("{text}this is no Lua\n")).unwrap();
                self.dpm().signal("HUP");
            }
            "kill -USR1 $(pidof dpm)" => {
                // A client that has just left is still counted for a moment.
                crate::support::eventually("the client has gone", || {
                    self.dpm().signal("USR1");
                    self.dpm().count("0 clients now") > 0
                });
            }
            other => panic!("the guide has an unknown command: {other}"),
        }
    }

    /// Does what a block says, or compares what it shows.
    pub fn read(&mut self, language: &str, block: &str) {
        match language {
            "sql" => {
                // Another page that is read at the same time has the same database and account.
                let block = block
                    .replace("CREATE DATABASE ", "CREATE DATABASE IF NOT EXISTS ")
                    .replace("CREATE USER ", "CREATE USER IF NOT EXISTS ");
                self.server.sql(&block);
            }
            "lua" => self.write(block),
            "text" if block.starts_with("start.lua:") => self.misspelt(block),
            "text" => self.expect_output(block),
            "console" if block.starts_with("mysql> ") => self.statements(block),
            "console" => self.shell(block),
            other => panic!("a block of {other:?} in the guide"),
        }
    }

    /// The plug-in of step 3, had its callback been misspelt.
    fn misspelt(&self, message: &str) {
        let start = self.folder.join("start.lua");
        let right = std::fs::read_to_string(&start).unwrap();
        std::fs::write(&start, right.replace("new_command", "new_comand")).unwrap();
        let (code, told) = self.run(&["--startfile", "start.lua"]);
        std::fs::write(&start, right).unwrap();
        assert_eq!(code, 1);
        assert!(
            told.contains(message.trim_end().trim_end_matches('…')),
            "{told}"
        );
    }
}

both! {
    fn the_guide(server) {
        let steps = steps("doc/GUIDE.md");
        assert_eq!(steps.len(), 13, "what comes first, eleven steps, and where to go next");
        let mut reader = Reader::new(server);
        for (step, blocks) in steps.iter().enumerate() {
            println!("step {step}");
            for (language, block) in blocks {
                reader.read(language, block);
            }
        }
    }
}
