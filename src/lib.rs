//! A Lua-scriptable, event-driven proxy that speaks the MySQL wire protocol.
//!
//! The program `dpm` runs scripts. The library is for programs in Rust that embed the proxy, with
//! scripts or (with `default-features = false`) without. This is a complete one: it forwards clients
//! to a server, and counts their commands.
//!
//! ```no_run
//! use std::cell::Cell;
//! use std::rc::Rc;
//!
//! use dpm::proxy::{
//!     ConnInfo, ConnKind, Hooks, Observer, Options, Proxy, Shown, Verdict,
//! };
//! use dpm::session::{Event, EventSet};
//!
//! /// Decides what becomes of a client.
//! struct Passthrough(Proxy);
//!
//! impl Hooks for Passthrough {
//!     fn accepted(&self, _listener: &Rc<ConnInfo>, client: &Rc<ConnInfo>) -> Verdict {
//!         let server = self.0.connect_tcp("127.0.0.1", 3306, Options::default());
//!         match server.and_then(|server| self.0.link(client.id, server.id)) {
//!             Ok(()) => Verdict::Forward,
//!             Err(_) => Verdict::Failed,
//!         }
//!     }
//! }
//!
//! /// An observer, of which there may be any number.
//! #[derive(Default)]
//! struct Commands(Cell<u64>);
//!
//! impl Observer for Commands {
//!     fn wants(&self, _: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
//!         match conn.kind {
//!             ConnKind::Client => Event::ClientSentCommand.set(),
//!             _ => EventSet::NONE,
//!         }
//!     }
//!
//!     fn event(&self, _: &Proxy, shown: Shown<'_>) -> Verdict {
//!         self.0.set(self.0.get() + 1);
//!         if let Some(sql) = shown.packet.and_then(|packet| packet.sql()) {
//!             println!("{}", String::from_utf8_lossy(sql));
//!         }
//!         Verdict::Forward
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let proxy = Proxy::new()?;
//!     proxy.set_hooks(Rc::new(Passthrough(proxy.clone())));
//!     proxy.observe(Rc::new(Commands::default()));
//!     proxy.listen_tcp(Some("127.0.0.1"), 5500, Options::default())?;
//!     std::process::exit(proxy.run()?);
//! }
//! ```
//!
//! `doc/EMBEDDING.md` says more.
//!
//! The layers, each of which knows only those to its right:
//! `script` → {{`observe`, `pool`, `http`} → `proxy` → {`session` → `wire`, `auth` → `wire`, `workers` → `net` → `output`}, `sql`}; `metrics`, which
//! knows nothing, by all that have figures, and `record`, which knows nothing either, by all that write down what they know.

pub mod auth;
#[cfg(feature = "lua")]
pub mod cli;
pub mod http;
#[cfg(feature = "lua")]
mod logging;
#[cfg(feature = "lua")]
mod manual;
pub mod metrics;
pub mod net;
pub mod observe;
pub mod output;
pub mod pool;
pub mod proxy;
pub mod record;
#[cfg(feature = "lua")]
pub mod script;
pub mod session;
pub mod sql;
#[cfg(feature = "lua")]
mod start;
pub mod track;
pub mod wire;
pub mod workers;
