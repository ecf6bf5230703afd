//! The harness of the integration tests: private servers, the proxy under test, clients, and peers
//! at the level of packets.
//!
//! Everything a test process makes is in one temporary folder and is removed with the process,
//! however it ends (see [`process`]). Servers are shared by the tests of the process and started by
//! the first test that needs one; a test that stops or kills a server starts its own.
//!
//! Every wait has a time limit: after it the test panics, and says what it waited for. If a test
//! hangs nevertheless, the test process ends and names it (see [`watchdog`]).

// Not every test binary uses every helper.
#![allow(unused_imports)]
#![allow(unused_macros)]
#![allow(dead_code)]

pub mod browser;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod collector;
pub mod dpm;
pub mod exchange;
pub mod http;
pub mod outcome;
pub mod pki;
pub mod process;
pub mod secrets;
pub mod server;
pub mod stage;
pub mod tap;
pub mod watchdog;
pub mod web;
pub mod wire;

pub use cli::{Cli, python};
pub use client::{connect, connect_as, options};
pub use dpm::Dpm;
pub use server::{Flavour, Server, mariadb, mariadb11, mysql};
pub use stage::Stage;
pub use tap::Tap;
pub use wire::{MockServer, Wire};

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The account that every server has, with every privilege. On MariaDB it is a
/// `mysql_native_password` one, on MySQL a `caching_sha2_password` one.
pub const USER: &str = "happy";
/// Its password.
pub const PASSWORD: &str = "wheefun";

/// How long a test waits for something that should happen at once: generous, for busy machines.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Repeats `condition` until it is true. Panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Lets time pass if the test is about that: a slow peer, a time-out that must not expire,
/// something that must not happen. Never to wait for something that does happen: that is what
/// [`eventually`] and [`Dpm::settle`] are for.
pub fn let_time_pass(time: Duration) {
    std::thread::sleep(time);
}

/// A flag that ends the loops of helper threads. A failing test has to end them, or
/// `std::thread::scope` would wait for them for ever.
#[derive(Default)]
pub struct Over(AtomicBool);

/// Sets [`Over`] when dropped, that is, at the end of the test's own part, and when that panics.
pub struct OverAtEnd<'a>(&'a Over);

impl Over {
    /// Whether the loops are to end.
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends the loops.
    pub fn declare(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Ends the loops when the result is dropped.
    #[must_use]
    pub fn at_end(&self) -> OverAtEnd<'_> {
        OverAtEnd(self)
    }

    /// Ends the loops when the result is dropped because its thread panics.
    #[must_use]
    pub fn at_end_of_panic(&self) -> OverAtPanic<'_> {
        OverAtPanic(self)
    }
}

/// Sets [`Over`] when dropped by a panic, so that a thread that fails ends the others.
pub struct OverAtPanic<'a>(&'a Over);

impl Drop for OverAtPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.declare();
        }
    }
}

impl Drop for OverAtEnd<'_> {
    fn drop(&mut self) {
        self.0.declare();
    }
}

/// Defines a test that runs against both kinds of server, as `NAME::mariadb` and `NAME::mysql`.
/// Where MySQL is not installed, its half counts itself as skipped.
macro_rules! both {
    ($(#[$meta:meta])* fn $name:ident($server:ident) $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn check($server: &'static $crate::support::Server) $body

            #[test]
            fn mariadb() {
                check($crate::support::mariadb());
            }

            #[test]
            fn mysql() {
                if let Some(server) = $crate::support::mysql() {
                    check(server);
                }
            }
        }
    };
}
pub(crate) use both;

/// The same for all three kinds of servers.
macro_rules! all {
    ($(#[$meta:meta])* fn $name:ident($server:ident) $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn check($server: &'static $crate::support::Server) $body

            #[test]
            fn mariadb() {
                check($crate::support::mariadb());
            }

            #[test]
            fn mariadb11() {
                if let Some(server) = $crate::support::mariadb11() {
                    check(server);
                }
            }

            #[test]
            fn mysql() {
                if let Some(server) = $crate::support::mysql() {
                    check(server);
                }
            }
        }
    };
}
pub(crate) use all;
