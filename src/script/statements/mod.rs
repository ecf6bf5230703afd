//! Prepared statements and their values.
//!
//! - `statement`: the object; `memory`: the statements that a connection remembers
//! - `param`: a value; `execute_options`: what an execution may be told

pub(super) mod execute_options;
pub(super) mod memory;
pub(super) mod param;
pub(super) mod statement;
