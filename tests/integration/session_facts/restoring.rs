//! Setting variables back: each session variable is changed, then set to the text that the tracker had
//! reported of it before. Those for which that does not work are named here; the pool must know them.

use std::collections::BTreeSet;

use super::{Flavour, reader, server, turn};
use crate::support::outcome::{Block, Outcome};
use crate::support::wire::{Answer, com};
use reader::Session;

/// What cannot be restored by the text that SHOW VARIABLES has, on any server.
const EXCEPTIONS: &[&str] = &[
    // NULL looks like an empty text.
    "character_set_results",
    // Take the collation with them, so that comes after them.
    "character_set_connection",
    "character_set_database",
    "character_set_server",
    // Used up by the next INSERT, or the present time unless it is set.
    "insert_id",
    "timestamp",
    // Shown as 0 on MySQL.
    "rand_seed1",
    "rand_seed2",
    // Waits for the one who owns the GTID.
    "gtid_next",
    // An account's privilege, or a plug-in that is not there.
    "pseudo_thread_id",
    "pseudo_replica_mode",
    "pseudo_slave_mode",
    // Empty, which cannot be set: DEFAULT or NULL can.
    "default_tmp_storage_engine",
    "enforce_storage_engine",
];

/// Values that differ from any that a server begins with.
const OTHERS: &[&str] = &[
    "ON",
    "OFF",
    "1",
    "0",
    "2",
    "4096",
    "65536",
    "7",
    "'latin1'",
    "'latin1_german1_ci'",
    "'+05:00'",
    "'SERIALIZABLE'",
    "'MyISAM'",
    "'de_DE'",
    "'ANSI'",
    "''",
    "1.5",
    "'OWN_GTID'",
    "'STATE'",
    "'NO'",
    "'LATIN1'",
    "'10.1.1.1'",
];

fn check(flavour: Flavour) {
    let Some(server) = server(flavour) else {
        return;
    };
    let _turn = turn(flavour);
    server.sql("CREATE DATABASE facts_restoring");
    let variables = Session::new(server, "facts_restoring")
        .wire
        .rows("SHOW SESSION VARIABLES");
    let mut session = Session::new(server, "facts_restoring");
    let (mut changed, mut failed) = (0, BTreeSet::new());
    for row in &variables {
        let (name, value) = (row[0].as_str(), row[1].as_str());
        if EXCEPTIONS.contains(&name) || name.starts_with("session_track_") {
            continue;
        }
        let Some(first) = now(&mut session, name) else {
            continue;
        };
        let other = OTHERS.iter().find(|other| {
            let set = session.wire.query(&format!("SET SESSION {name}={other}"));
            matches!(set, Answer::Ok(_)) && now(&mut session, name).as_ref() != Some(&first)
        });
        if other.is_none() {
            continue;
        }
        changed += 1;
        // A number must be bare, a text must be quoted: one of them works.
        let quoted = value.replace('\\', "\\\\").replace('\'', "''");
        let forms = [value.to_owned(), format!("'{quoted}'")];
        let restored = forms.iter().any(|form| {
            let sql = format!("SET SESSION {name}={form}");
            let set = session.wire.outcomes(com::QUERY, sql.as_bytes());
            matches!(&set[0], Outcome::Ok(told) if told.blocks.contains(&Block::State))
                && now(&mut session, name).as_ref() == Some(&first)
        });
        if !restored {
            failed.insert(name.to_owned());
            session = Session::new(server, "facts_restoring");
        }
    }
    let version = reader::version(server);
    assert!(failed.is_empty(), "not restored on {version}: {failed:?}");
    assert!(changed > 130, "only {changed} were changed on {version}");
}
on_all!(session_variables_are_set_back_by_their_text, check);

/// Its value, if it is one that can be selected. Not by SHOW: max_join_size and the like apply to that, too.
fn now(session: &mut Session, name: &str) -> Option<Vec<u8>> {
    match session.wire.query(&format!("SELECT @@session.{name}")) {
        Answer::Rows { rows, .. } => rows.into_iter().next()?.into_iter().next()?,
        _ => None,
    }
}
