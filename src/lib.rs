//! A Lua-scriptable, event-driven proxy that speaks the MySQL wire protocol.
//!
//! The layers, each of which knows only those to its right:
//! `script` → {`observe` → `proxy` → {`session` → `wire`, `auth` → `wire`, `net`}, `sql`}.

pub mod auth;
pub mod cli;
mod logging;
pub mod net;
pub mod observe;
pub mod proxy;
pub mod script;
pub mod session;
pub mod sql;
pub mod track;
pub mod wire;
