//! The program's log.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::output;
use crate::workers;

/// How many bytes of a message are logged: the first of them and the last, where an error has its
/// text and its traceback. Peers and scripts decide what is in a message.
const HEAD: usize = 3000;
const TAIL: usize = 1000;

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line: time (RFC 3339), level, target, message.
    Json,
}

/// Starts logging, filtered by `RUST_LOG`, or by this level without it; to the end of this file, or to
/// standard error.
///
/// # Errors
/// The file cannot be written.
pub fn begin(level: LevelFilter, format: Format, file: Option<&Path>) -> Result<(), String> {
    let environment = env_logger::Env::default().default_filter_or(level.as_str());
    let filter = env_logger::Builder::from_env(environment).build();
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Trace);
    if let Ok(style) = std::env::var("RUST_LOG_STYLE") {
        builder.parse_write_style(&style);
    }
    builder.target(env_logger::Target::Pipe(Box::new(ToLog)));
    if format == Format::Json {
        output::set_log_line(|message| {
            json_line(Level::Error, "dpm", &tidy(&format_args!("{message}")))
        });
        builder.format(|line, record| {
            let text = json_line(record.level(), record.target(), &record.args().to_string());
            line.write_all(text.as_bytes())
        });
    }
    let said = std::env::var("RUST_LOG_STYLE").is_ok_and(|style| style != "auto");
    if !said && std::env::var_os("NO_COLOR").is_none() && io::stderr().is_terminal() {
        builder.write_style(env_logger::WriteStyle::Always);
    }
    if let Some(file) = file {
        builder.write_style(env_logger::WriteStyle::Never);
        output::set_log_line(|message| {
            let time = jiff::Timestamp::now();
            format!("[{time:.0} ERROR dpm] {message}\n")
        });
        output::log_to_file(file)
            .map_err(|error| format!("cannot write the log {}: {error}", file.display()))?;
    }
    let level = filter.filter();
    let logger = Discreet {
        filter,
        level,
        writer: builder.build(),
    };
    // It fails if a program that embeds this library has installed its own logger, which is used
    // then.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

/// Tells why the program ends: whatever the log's level, and on standard error in any case.
pub fn last_words(message: &str) {
    let line = output::log_line(message);
    if !std::ptr::eq(output::log(), output::stderr()) {
        output::log().write(&line);
    }
    output::stderr().write(&line);
}

/// A line of the log as a JSON object.
fn json_line(level: Level, target: &str, message: &str) -> String {
    let time = jiff::Timestamp::now();
    let [target, message] = [target, message].map(|text| serde_json::Value::from(text).to_string());
    format!(
        "{{\"time\":\"{time:.6}\",\"level\":\"{level}\",\"target\":{target},\"message\":{message}}}\n"
    )
}

/// Has panics logged: the standard hook writes to stderr itself, and would wait for its reader.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => log::error!("{panic}\n{backtrace}"),
            _ => log::error!("{panic}"),
        }
    }));
}

/// Hands the lines over to the thread that writes them.
struct ToLog;

impl Write for ToLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        output::log().write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Drops the trace messages of all libraries, whatever `RUST_LOG` says: at that level they log the
/// data that they handle, such as rustls the messages of its handshakes. This crate's and its
/// scripts' remain.
///
/// The level that was begun with can be changed by [`log::set_max_level`]: then it holds for all, and the filter is left
/// out of account.
struct Discreet {
    filter: env_logger::Logger,
    /// The highest level of the filter.
    level: LevelFilter,
    /// Writes whatever it is given.
    writer: env_logger::Logger,
}

impl Discreet {
    fn admits(&self, metadata: &Metadata<'_>) -> bool {
        let origin = metadata.target().split("::").next().unwrap_or_default();
        metadata.level() <= Level::Debug || matches!(origin, "dpm" | "lua")
    }

    /// Whether the level was changed since the beginning.
    fn is_changed(&self) -> bool {
        log::max_level() != self.level
    }
}

impl Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.admits(metadata) && (self.is_changed() || self.filter.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.admits(record.metadata()) || !self.is_changed() && !self.filter.matches(record) {
            return;
        }
        let text = tidy(record.args());
        // Where there are several workers, each has connections, timers and errors of its own.
        let worker = workers::current().map(|number| format!("worker {number}: "));
        let worker = worker.unwrap_or_default();
        output::keep_line(record.level(), record.target(), &text);
        self.writer.log(
            &Record::builder()
                .metadata(record.metadata().clone())
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .args(format_args!("{worker}{text}"))
                .build(),
        );
    }

    fn flush(&self) {
        output::log().flush(output::LAST_FLUSH);
    }
}

/// A message as it is logged: not longer than is useful, and without control characters, which a
/// terminal would obey. Line ends stay, as a traceback has them: the logger indents what follows one, so
/// that it does not look like a message of its own.
fn tidy<'a>(message: &fmt::Arguments<'a>) -> Cow<'a, str> {
    let mut text = message
        .as_str()
        .map_or_else(|| Cow::Owned(message.to_string()), Cow::Borrowed);
    if text.len() > HEAD + TAIL {
        let boundary = |at: &usize| text.is_char_boundary(*at);
        let head = (0..=HEAD).rev().find(boundary).unwrap_or_default();
        let tail = (text.len() - TAIL..text.len())
            .find(boundary)
            .unwrap_or(text.len());
        let left_out = tail - head;
        text = Cow::Owned(format!(
            "{} [… {left_out} bytes …] {}",
            &text[..head],
            &text[tail..]
        ));
    }
    if text.contains(obeyed) {
        let mut escaped = String::with_capacity(text.len());
        for character in text.chars() {
            match obeyed(character) {
                true => escaped.extend(character.escape_default()),
                false => escaped.push(character),
            }
        }
        text = Cow::Owned(escaped);
    }
    text
}

fn obeyed(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_keep_their_traces_to_themselves() {
        let all = || env_logger::Builder::new().parse_filters("trace").build();
        let logger = Discreet {
            filter: all(),
            level: log::max_level(),
            writer: all(),
        };
        let enabled = |target, level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(enabled("dpm::proxy::close", Level::Trace));
        assert!(enabled("lua", Level::Trace));
        assert!(enabled("rustls::client", Level::Debug));
        assert!(!enabled("rustls::client", Level::Trace));
        assert!(!enabled("dpmx", Level::Trace));
    }

    #[test]
    fn json_is_one_line_that_reads_as_what_was_logged() {
        let message = "two\nlines, a \"quote\", \u{1b}[2J \u{2028} and ä";
        let line = json_line(Level::Warn, "lua", message);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\u{1b}'));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["message"], message);
        assert_eq!(
            (&read["level"], &read["target"]),
            (&"WARN".into(), &"lua".into())
        );
        let time = read["time"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn messages_are_short_and_harmless() {
        let tidied = |text: &str| tidy(&format_args!("{text}")).into_owned();
        for plain in ["", "x", "two\n\tlines", "ä 語", &"x".repeat(HEAD + TAIL)] {
            assert_eq!(tidied(plain), plain);
        }
        assert_eq!(tidied("\x1b[2J\r\0\u{9b}x"), "\\u{1b}[2J\\r\\u{0}\\u{9b}x");
        let long = format!("begin{}end", "語".repeat(100_000));
        let short = tidied(&long);
        assert!(short.len() < HEAD + TAIL + 50, "{}", short.len());
        assert!(short.starts_with("begin語") && short.ends_with("語end"));
        assert!(short.contains("bytes …] "));
    }
}
