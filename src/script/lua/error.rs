//! The error of a function that a script calls.

use std::fmt::{self, Display};

use crate::proxy::ProxyError;

/// Becomes a Lua error: a string that begins with the script's file and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError(pub String);

impl ScriptError {
    /// An error with this message.
    pub fn new(message: impl Display) -> ScriptError {
        ScriptError(message.to_string())
    }
}

impl Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScriptError {}

impl From<ProxyError> for ScriptError {
    fn from(error: ProxyError) -> ScriptError {
        ScriptError::new(error)
    }
}

impl From<mlua::Error> for ScriptError {
    /// Only the message, without mlua's own traceback and category, since it becomes part of our
    /// messages.
    fn from(error: mlua::Error) -> ScriptError {
        match error {
            mlua::Error::RuntimeError(message) | mlua::Error::MemoryError(message) => {
                ScriptError(message)
            }
            mlua::Error::CallbackError { cause, .. } => cause.as_ref().clone().into(),
            other => ScriptError::new(other),
        }
    }
}

/// The result of a function that a script calls.
pub type Answer = Result<mlua::MultiValue, ScriptError>;
