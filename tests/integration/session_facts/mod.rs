//! What servers tell, keep and hide of a session, as far as the pool relies on it. A server version that
//! does otherwise is noticed here, by name, before any client of a pool gets a wrong answer.
//!
//! The facts are in text files beside this one:
//!
//! ```text
//! == the fact in words; each begins with a connection of its own
//! SET NAMES utf8mb4          a command that must not fail
//! M: SET x=1                 the same on MariaDB only (M10, M11: on one version; MY9: on MySQL only)
//! USE other                  what is indented says what servers answer:
//!     all  SCHEMA other STATE
//! ```
//!
//! Commands other than COM_QUERY are written with their names. `track LIST` switches the trackers on with
//! an explicit list of variables, `count` tells only how many rows a query gives; `as NAME` goes on with another
//! connection.
//! `DPM_SHOW_FACTS=1 cargo test session_facts -- --nocapture` prints all that the servers tell: the way to
//! look at a new version.

/// Defines the tests of one thing on each server.
macro_rules! on_all {
    ($name:ident, $check:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn mariadb() {
                $check(Flavour::MariaDb);
            }

            #[test]
            fn mariadb11() {
                $check(Flavour::MariaDb11);
            }

            #[test]
            fn mysql() {
                $check(Flavour::MySql);
            }
        }
    };
}

mod reader;
mod restoring;
mod volatile;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use reader::Facts;

use crate::support::{Flavour, Server};

/// The servers with what the facts need: GTIDs, and the tables about other sessions.
fn server(flavour: Flavour) -> Option<&'static Server> {
    static SERVERS: [OnceLock<Server>; 3] = [const { OnceLock::new() }; 3];
    let options: &[&str] = match flavour {
        Flavour::MySql => &[
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--performance-schema=ON",
            "--log-bin-trust-function-creators=1",
        ],
        Flavour::MariaDb | Flavour::MariaDb11 => &["--log-bin-trust-function-creators=1"],
    };
    if !flavour.available() {
        return None;
    }
    Some(SERVERS[flavour as usize].get_or_init(|| Server::start_own(flavour, options)))
}

/// Some facts are about locks that all of a server's sessions feel, so its files take turns.
fn turn(flavour: Flavour) -> MutexGuard<'static, ()> {
    static TURNS: [Mutex<()>; 3] = [const { Mutex::new(()) }; 3];
    let turn = &TURNS[flavour as usize];
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(flavour: Flavour, file: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/session_facts");
    let text = std::fs::read_to_string(folder.join(format!("{file}.txt"))).expect("the facts");
    let Some(server) = server(flavour) else {
        return;
    };
    let _turn = turn(flavour);
    let differences = Facts::parse(&text).compare(server, file);
    assert!(
        differences.is_empty(),
        "{} of {file} are not so on {}:\n{}",
        differences.len(),
        reader::version(server),
        differences.join("\n")
    );
}

/// Defines the tests of one file.
macro_rules! facts {
    ($($name:ident)*) => {
        $(on_all!($name, |flavour| {
            check(flavour, stringify!($name));
        });)*
    };
}

facts! {
    trackers
    reported
    resets
    insert_ids
    user_variables
    gtids
    prepared
}
