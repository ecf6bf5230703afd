//! Reads all tables of options.
//!
//! A reader has the list of names that a table may have, so that a misspelt name is an error at the
//! script's line. Every message names the function, the option, what was expected, and what was
//! got.

use std::time::Duration;

use mlua::{Table, Value};

use super::convert::{
    describe, describe_word, integer_wanted, number, seconds_wanted, to_integer, to_seconds,
};
use super::error::ScriptError;
use super::function::Args;

/// A table of options while it is read.
#[derive(Debug)]
pub struct OptionTable<'a> {
    args: &'a Args,
    /// The prefix of names in messages: the option whose value the table is.
    prefix: &'static str,
    table: &'a Table,
}

impl<'a> OptionTable<'a> {
    /// The options that are an argument, which may be left out.
    pub fn argument(
        args: &'a Args,
        index: usize,
        known: &[&str],
    ) -> Result<Option<OptionTable<'a>>, ScriptError> {
        match args.get(index) {
            Value::Nil => Ok(None),
            _ => OptionTable::of(args, args.table(index, "options")?, "", known).map(Some),
        }
    }

    /// The options in a table; `prefix` is "tls." if the table is the value of the option `tls`.
    pub fn of(
        args: &'a Args,
        table: &'a Table,
        prefix: &'static str,
        known: &[&str],
    ) -> Result<OptionTable<'a>, ScriptError> {
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            let key = match &key {
                Value::String(key) => key.to_string_lossy(),
                other => describe(other),
            };
            if !known.contains(&key.as_str()) {
                let known = known.join(", ");
                return Err(args.error(format!("there is no option {prefix}{key}, only {known}")));
            }
        }
        Ok(OptionTable {
            args,
            prefix,
            table,
        })
    }

    /// The value of an option; nil if it is not there.
    pub fn value(&self, key: &str) -> Result<Value, ScriptError> {
        Ok(self.table.raw_get(key)?)
    }

    /// An error about an option's value.
    pub fn error(&self, key: &str, problem: impl std::fmt::Display) -> ScriptError {
        self.args.error(format!("{}{key}: {problem}", self.prefix))
    }

    /// The error of an option whose value is of the wrong kind.
    pub fn wrong(&self, key: &str, wanted: impl std::fmt::Display, value: &Value) -> ScriptError {
        self.error(key, format!("expected {wanted}, got {}", describe(value)))
    }

    /// The error of an option whose value is none of certain words.
    fn wrong_word(&self, key: &str, wanted: impl std::fmt::Display, value: &Value) -> ScriptError {
        let got = describe_word(value);
        self.error(key, format!("expected {wanted}, got {got}"))
    }

    /// The result of `read` for the value, if that is not nil; `None` from `read` means the wrong
    /// kind of value.
    pub fn read<T>(
        &self,
        key: &str,
        wanted: impl std::fmt::Display,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ScriptError> {
        let value = self.value(key)?;
        if value.is_nil() {
            return Ok(None);
        }
        let found = read(&value).ok_or_else(|| self.wrong(key, wanted, &value))?;
        Ok(Some(found))
    }

    /// True or false.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ScriptError> {
        self.read(key, "true or false", Value::as_boolean)
    }

    /// A string of at most `max` bytes.
    pub fn bytes(&self, key: &str, max: usize) -> Result<Option<Vec<u8>>, ScriptError> {
        let wanted = format!("a string of at most {max} bytes");
        self.read(key, wanted, |value| {
            let bytes = value.as_string()?.as_bytes();
            (bytes.len() <= max).then(|| bytes.to_vec())
        })
    }

    /// A string of at most `max` bytes without NUL, which ends it on the wire.
    pub fn bytes_without_nul(&self, key: &str, max: usize) -> Result<Option<Vec<u8>>, ScriptError> {
        let bytes = self.bytes(key, max)?;
        match bytes {
            Some(bytes) if bytes.contains(&0) => {
                Err(self.wrong(key, "a string without NUL", &self.value(key)?))
            }
            bytes => Ok(bytes),
        }
    }

    /// A string as text.
    pub fn text(&self, key: &str) -> Result<Option<String>, ScriptError> {
        self.read(key, "a string", |value| {
            value.as_string().map(mlua::LuaString::to_string_lossy)
        })
    }

    /// An integer from 1 to `max`.
    pub fn positive(&self, key: &str, max: u64) -> Result<Option<usize>, ScriptError> {
        self.read(key, format!("an integer from 1 to {max}"), |value| {
            let number = to_integer(value, max).filter(|number| *number > 0)?;
            usize::try_from(number).ok()
        })
    }

    /// An integer from 0 to `max`.
    pub fn integer(&self, key: &str, max: u64) -> Result<Option<u64>, ScriptError> {
        self.read(key, integer_wanted(max), |value| to_integer(value, max))
    }

    /// Seconds, with fractions; 0 is no limit.
    pub fn seconds(&self, key: &str) -> Result<Option<Duration>, ScriptError> {
        self.read(key, seconds_wanted(), to_seconds)
    }

    /// Milliseconds, with fractions.
    pub fn milliseconds(&self, key: &str) -> Result<Option<Duration>, ScriptError> {
        self.read(key, "a number of milliseconds", |value| {
            let ms = number(value).filter(|ms| (0.0..1e12).contains(ms))?;
            Some(Duration::from_secs_f64(ms / 1000.0))
        })
    }

    /// A table.
    pub fn table(&self, key: &str) -> Result<Option<Table>, ScriptError> {
        self.read(key, "a table", |value| value.as_table().cloned())
    }

    /// One of these words.
    pub fn one_of<T: Copy>(
        &self,
        key: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, ScriptError> {
        let quoted: Vec<_> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let value = self.value(key)?;
        if value.is_nil() {
            return Ok(None);
        }
        let word = value.as_string().map(mlua::LuaString::to_string_lossy);
        let found = words
            .iter()
            .find(|(name, _)| word.as_deref() == Some(*name));
        let found = found.ok_or_else(|| self.wrong_word(key, quoted.join(", "), &value))?;
        Ok(Some(found.1))
    }
}
