//! Reads that see what was written before: a replica is asked to wait until it has applied a party's last write.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::pool::flavour::Flavour;
use crate::wire::session_changes::{SessionChange, change_type};

/// Whose writes a read has to see.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Nobody's: a replica may be late.
    #[default]
    None,
    /// The client's own.
    Session,
    /// Those of all clients with the same user, or with the same tag, which the layer above gives.
    Party,
}

/// The last write of a client or a party.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum LastWrite {
    /// None that a replica might not have.
    #[default]
    None,
    /// The one with this GTID.
    Seen(Rc<[u8]>),
    /// One of which the server has told no GTID: only the primary is sure to have it.
    Unseen,
}

/// How many parties' writes are remembered.
const MAX_PARTIES: usize = 10_000;

/// The last writes of all parties.
#[derive(Debug, Default)]
pub struct Parties {
    writes: HashMap<Rc<str>, LastWrite>,
    /// Some were forgotten: those who are not listed may have written, too.
    has_forgotten: bool,
}

impl Parties {
    /// A party's last write.
    pub fn last(&self, party: &str) -> LastWrite {
        let known = self.writes.get(party).cloned();
        known.unwrap_or(match self.has_forgotten {
            true => LastWrite::Unseen,
            false => LastWrite::None,
        })
    }

    /// A party has written.
    pub fn wrote(&mut self, party: &Rc<str>, write: LastWrite) {
        if self.writes.len() >= MAX_PARTIES && !self.writes.contains_key(party) {
            self.writes.clear();
            self.has_forgotten = true;
        }
        self.writes.insert(party.clone(), write);
    }
}

/// The GTID that an OK tells, if it tells one.
pub fn gtid_of(changes: &[SessionChange]) -> Option<Rc<[u8]>> {
    let tells = |change: &&SessionChange| {
        change.change_type == change_type::GTIDS
            || change.name.as_deref() == Some(b"last_gtid".as_slice())
    };
    let gtid = changes.iter().rfind(tells)?;
    Some(Rc::from(gtid.value.as_slice())).filter(|gtid: &Rc<[u8]>| !gtid.is_empty())
}

/// The query that waits on a replica until it has this write, but no longer than `limit`; `None` if there is none that
/// would do. It answers 0 in time.
pub fn wait_for(gtid: &[u8], flavour: Flavour, limit: Duration) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(gtid).ok()?;
    // Hexadecimal digits and what is between them.
    let is_gtid = |c: char| c.is_ascii_hexdigit() || matches!(c, '-' | ':' | ',');
    if !text.chars().all(is_gtid) {
        return None;
    }
    let limit = limit.as_secs_f64();
    Some(
        match flavour {
            Flavour::MariaDb => format!("SELECT MASTER_GTID_WAIT('{text}', {limit})"),
            Flavour::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{text}', {limit})"),
        }
        .into_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_asked_in_their_words() {
        let ask = |gtid: &[u8], flavour| {
            let sql = wait_for(gtid, flavour, Duration::from_millis(500));
            sql.map(|sql| String::from_utf8(sql).unwrap())
        };
        assert_eq!(
            ask(b"0-1-7", Flavour::MariaDb).as_deref(),
            Some("SELECT MASTER_GTID_WAIT('0-1-7', 0.5)")
        );
        assert_eq!(
            ask(b"3e11fa47-71ca-11e1-9e33-c80aa9429562:23", Flavour::MySql).as_deref(),
            Some(
                "SELECT WAIT_FOR_EXECUTED_GTID_SET('3e11fa47-71ca-11e1-9e33-c80aa9429562:23', 0.5)"
            )
        );
        assert_eq!(ask(b"0-1-7'", Flavour::MariaDb), None);
        assert_eq!(ask(b"\xff", Flavour::MariaDb), None);
    }

    #[test]
    fn who_is_forgotten_may_have_written() {
        let mut parties = Parties::default();
        assert_eq!(parties.last("ann"), LastWrite::None);
        let write = LastWrite::Seen(b"0-1-1".as_slice().into());
        parties.wrote(&"ann".into(), write.clone());
        assert_eq!(parties.last("ann"), write);
        for party in 0..MAX_PARTIES {
            parties.wrote(&party.to_string().into(), LastWrite::Unseen);
        }
        assert!(parties.writes.len() <= MAX_PARTIES);
        assert_eq!(parties.last("ann"), LastWrite::Unseen);
    }
}
