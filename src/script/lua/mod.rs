//! Lua itself, whatever it is used for.
//!
//! - `state`: the Lua state; `loader`: `require`; `fast`: rows and calls on the raw C API. `state`,
//!   `fast` and `interrupt` alone are `unsafe`
//! - `function`, `convert`, `error`, `option_table`: arguments, results and errors, without silent losses
//! - `stack`: the C stack below Lua's own; `memory`: how much of it Lua may take; `lua_library`: what
//!   takes the place of functions of Lua's own
//! - `interrupt`: ends code that runs for too long
//! - `check`: what can be known of a script without running it
//! - `refs`: what Rust holds of Lua, without a limit
//! - `idle`: collects garbage while nothing happens; `pressure`: when packets have piled up

pub(super) mod check;
pub(super) mod convert;
pub(super) mod error;
pub(super) mod fast;
pub(super) mod function;
pub(super) mod idle;
pub(super) mod interrupt;
pub(super) mod loader;
pub(super) mod lua_library;
pub(super) mod memory;
pub(super) mod option_table;
pub(super) mod pressure;
pub(super) mod refs;
pub(super) mod stack;
pub(super) mod state;
