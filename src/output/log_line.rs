//! How a line of the log looks that is about the log itself, or must not depend on its level.

use std::sync::OnceLock;

static LINE: OnceLock<fn(&str) -> String> = OnceLock::new();

/// Sets what makes a line of a message. Before this is called, and if it is not, it is text.
pub fn set_log_line(line: fn(&str) -> String) {
    let _ = LINE.set(line);
}

/// A line that tells this, in the log's form.
pub fn log_line(message: &str) -> Vec<u8> {
    let line = match LINE.get() {
        Some(line) => line(message),
        None => format!("dpm: {message}\n"),
    };
    line.into_bytes()
}
