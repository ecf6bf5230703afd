//! The command line.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use log::LevelFilter;

use crate::logging;
use crate::manual::Manual;
use crate::output;
use crate::proxy::TRANSFER_FORMAT;
use crate::script::{ScriptError, with_large_stack};
use crate::start::Start;
use crate::workers::upgrade::Executable;
use crate::workers::{MAX_WORKERS, parallelism};

/// A Lua-scriptable proxy that speaks the MySQL wire protocol.
#[derive(Debug, Parser)]
#[command(name = "dpm", version, about)]
pub struct Arguments {
    /// The script to run (-: standard input); by default a built-in server that needs no database
    #[arg(value_name = "FILE", conflicts_with = "startfile", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// The same as FILE
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub startfile: Option<PathBuf>,

    /// More logging: 1 info, 2 debug, 3 trace; adds up if repeated (RUST_LOG wins)
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = "1",
        action = clap::ArgAction::Append,
        value_parser = clap::value_parser!(u8).range(0..=3),
    )]
    pub verbose: Vec<u8>,

    /// The same as --verbose 1, each time
    #[arg(short, action = clap::ArgAction::Count)]
    pub v: u8,

    /// How many threads serve clients, or auto: one for each processor that may be used; 1 by default, or as the
    /// script says
    #[arg(long, value_name = "N", value_parser = workers)]
    pub workers: Option<usize>,

    /// Append the log to FILE instead of writing it to standard error; SIGHUP opens it anew
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub log_file: Option<PathBuf>,

    /// How lines of the log look
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: logging::Format,

    /// Compile the startfile without running it; warn of undefined globals and missing modules
    #[arg(long)]
    pub check: bool,

    /// Print the manual page, or the completions of a shell, and leave
    #[arg(long, value_name = "WHAT", value_enum, hide = true, exclusive = true)]
    pub generate: Option<Manual>,

    /// Arguments after -- are the script's `arg`
    #[arg(last = true, value_name = "ARG")]
    pub script_arguments: Vec<String>,
}

impl Arguments {
    /// Reads the command line; what is wrong with it, or `--help`, ends the program.
    fn from_command_line() -> Arguments {
        Arguments::parse_from(number_verbose(std::env::args_os()))
    }

    /// The script to run, if one is given.
    fn script(&self) -> Option<&Path> {
        self.startfile.as_deref().or(self.file.as_deref())
    }

    fn start(&self) -> Start {
        Start {
            startfile: self.script().map(Path::to_path_buf),
            arguments: self.script_arguments.clone(),
            workers: self.workers,
            check: self.check,
            executable: self.executable(),
        }
    }

    /// What is started in an upgrade: this program as it is on disk then. A startfile from standard input cannot be read
    /// again.
    fn executable(&self) -> Option<Executable> {
        if self.script() == Some(Path::new("-")) {
            return None;
        }
        Executable::current(TRANSFER_FORMAT).ok()
    }

    /// What is logged if `RUST_LOG` does not say.
    pub fn level(&self) -> LevelFilter {
        let verbosity = self.verbose.iter().map(|n| u32::from(*n)).sum::<u32>() + u32::from(self.v);
        match verbosity {
            0 => LevelFilter::Warn,
            1 => LevelFilter::Info,
            2 => LevelFilter::Debug,
            _ => LevelFilter::Trace,
        }
    }
}

fn workers(text: &str) -> Result<usize, String> {
    let count = match text {
        "auto" => Some(parallelism()),
        _ => text.parse().ok(),
    };
    count
        .filter(|count| (1..=MAX_WORKERS).contains(count))
        .ok_or_else(|| format!("expected auto, or a number from 1 to {MAX_WORKERS}"))
}

/// Gives each `--verbose` its number, so that one before a FILE does not take the file for it.
fn number_verbose(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter().peekable();
    let mut numbered = Vec::new();
    let mut is_option = true;
    while let Some(argument) = arguments.next() {
        is_option &= argument != "--";
        let has_number = arguments
            .peek()
            .and_then(|next| next.to_str())
            .is_some_and(|next| next.starts_with(|first: char| first.is_ascii_digit()));
        numbered.push(match is_option && argument == "--verbose" && !has_number {
            true => "--verbose=1".into(),
            false => argument,
        });
    }
    numbered
}

/// The program: reads the command line, runs the startfile, serves. Returns the exit code.
pub fn main() -> i32 {
    let arguments = Arguments::from_command_line();
    if let Some(manual) = arguments.generate {
        let text = manual.text(Arguments::command());
        return i32::from(io::stdout().write_all(&text).is_err());
    }
    let log = logging::begin(
        arguments.level(),
        arguments.log_format,
        arguments.log_file.as_deref(),
    );
    logging::log_panics();
    let start = arguments.start();
    let result = log
        .map_err(ScriptError::new)
        .and_then(|()| with_large_stack(|| start.serve()));
    let code = match result {
        Ok(code) => code,
        Err(ScriptError(message)) => {
            logging::last_words(&message);
            1
        }
    };
    output::flush();
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::try_parse_from(number_verbose(line.split(' ').map(OsString::from))).unwrap()
    }

    #[test]
    fn verbosity_adds_up() {
        for (line, level) in [
            ("dpm", LevelFilter::Warn),
            ("dpm -v", LevelFilter::Info),
            ("dpm --verbose", LevelFilter::Info),
            ("dpm --verbose --startfile x", LevelFilter::Info),
            ("dpm -vv -s x", LevelFilter::Debug),
            ("dpm --verbose 2", LevelFilter::Debug),
            ("dpm --verbose=2", LevelFilter::Debug),
            ("dpm --verbose --verbose", LevelFilter::Debug),
            ("dpm -v -v -v", LevelFilter::Trace),
            ("dpm -v --verbose 2", LevelFilter::Trace),
        ] {
            assert_eq!(parse(line).level(), level, "{line}");
        }
        assert!(Arguments::try_parse_from(["dpm", "--verbose", "loud"]).is_err());
    }

    #[test]
    fn what_follows_two_dashes_is_the_scripts() {
        let arguments = parse("dpm -s x.lua --check -- -v --startfile y");
        assert_eq!(arguments.script_arguments, ["-v", "--startfile", "y"]);
        assert!(arguments.check);
    }

    #[test]
    fn workers_are_a_number_or_auto() {
        assert_eq!(parse("dpm x.lua").workers, None);
        assert_eq!(parse("dpm --workers 4 x.lua").workers, Some(4));
        assert_eq!(
            parse("dpm --workers=auto x.lua").workers,
            Some(parallelism())
        );
        for wrong in ["0", "65", "-1", "many", ""] {
            assert!(Arguments::try_parse_from(["dpm", "--workers", wrong]).is_err());
        }
    }

    #[test]
    fn the_startfile_needs_no_option() {
        for line in [
            "dpm x.lua",
            "dpm -v x.lua",
            "dpm --verbose x.lua -- a",
            "dpm --verbose 2 x.lua",
            "dpm x.lua --verbose -- --verbose",
            "dpm --startfile x.lua",
        ] {
            assert_eq!(parse(line).script(), Some(Path::new("x.lua")), "{line}");
        }
        assert_eq!(parse("dpm -").script(), Some(Path::new("-")));
        assert_eq!(
            parse("dpm x.lua -- --verbose").script_arguments,
            ["--verbose"]
        );
        for two in [["dpm", "x.lua", "y.lua"], ["dpm", "-sx.lua", "y.lua"]] {
            assert!(Arguments::try_parse_from(two).is_err(), "{two:?}");
        }
    }
}
