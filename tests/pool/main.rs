//! Random sessions through a pool, and beside each the same on a connection of its own: every answer must be
//! the same, or the pool has refused with its reason.
//!
//! `DPM_POOL_STATEMENTS=300000 DPM_POOL_SEED=7 cargo test --test pool` runs as many statements on each server as one
//! likes; the seed of a failure and the shortest sequence of operations that shows it are printed, which is looked for as many
//! seconds as `DPM_POOL_PATIENCE` says.

#[path = "../support/mod.rs"]
mod support;

mod antagonists;
mod compare;
mod deaths;
mod operation;
mod run;
mod scene;
mod sessions;
mod shrink;
mod statements;
mod twin;

use std::time::Duration;

use run::{Course, Dying};
use scene::Before;
use support::Flavour;

/// How many statements prove the generator, on each server.
const STATEMENTS: usize = 1_000;
/// How many prove the pool.
const OF_POOL: usize = 2_500;
/// How long a statement may take on a busy machine, with all that is done about it.
const PATIENCE: Duration = Duration::from_millis(60);

/// A number from the environment.
fn asked(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

fn check(flavour: Flavour, before: Before, dying: Dying, clients: usize, statements: usize) {
    let Some(server) = scene::server(flavour) else {
        return;
    };
    let statements = asked("DPM_POOL_STATEMENTS").unwrap_or(statements);
    support::watchdog::watch();
    support::watchdog::extend(PATIENCE * statements.try_into().expect("a number of statements"));
    let course = Course {
        before,
        clients,
        statements,
        seed: asked("DPM_POOL_SEED").unwrap_or(1) as u64,
        dying,
    };
    let report = course.run(server);
    println!("{flavour:?}: {report}");
    assert!(
        report.refused_once_learnt() < 1000,
        "more than 0.1 % are refused: {report}"
    );
}

/// Defines a test on each of the servers.
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

// Equal by construction: what this finds is wrong with the generator, or with the comparison.
on_all!(a_passthrough_changes_nothing, |flavour| {
    check(flavour, Before::Passthrough, Dying::Nobody, 20, STATEMENTS);
});

on_all!(pooled_clients_see_what_direct_ones_see, |flavour| {
    check(
        flavour,
        Before::Pool { size: 4 },
        Dying::Nobody,
        40,
        OF_POOL,
    );
});

// On demand.
on_all!(what_dies_is_noticed_by_nobody_else, |flavour| {
    if asked("DPM_POOL_STATEMENTS").is_some() {
        check(flavour, Before::Pool { size: 4 }, Dying::Connections, 40, 0);
    }
});
