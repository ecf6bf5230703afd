//! What is prepared on a connection to a server.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use super::pins::{Values, Version};
use super::shared::{Setting, Statement};
use crate::wire::ParamType;

/// A client's statement, as the one for which a server's statement is set apart.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub client: u64,
    pub id: u32,
}

/// Types that were bound, and the setting in which that was.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub types: Rc<[ParamType]>,
    pub setting: Rc<Setting>,
}

impl Bound {
    /// Whether a server reads values alike after either was bound.
    pub(super) fn reads_like(&self, other: &Bound) -> bool {
        (Rc::ptr_eq(&self.types, &other.types) || self.types == other.types)
            && (Rc::ptr_eq(&self.setting, &other.setting)
                || self.setting.reads_like(&other.setting))
    }
}

/// A statement of a server.
#[derive(Debug)]
pub(super) struct ServerStatement {
    /// Its id on the connection.
    pub id: u32,
    statement: Rc<Statement>,
    /// The only one that it serves, if it does not serve anyone.
    pub owner: Option<Owner>,
    /// Its owner has a cursor on it, or has sent long data to it.
    pub pending: bool,
    /// It goes on to serve its owner alone when nothing is pending.
    pub private: bool,
    /// The types that the server has got last.
    pub bound: Option<Bound>,
    /// What the server has made of it.
    pub version: Version,
    used: u64,
}

impl ServerStatement {
    /// It is not set apart any longer, unless it is private.
    pub(super) fn release(&mut self) {
        self.pending = false;
        if !self.private {
            self.owner = None;
        }
    }
}

/// Which server's statement a client's statement needs.
pub(super) struct Need<'a> {
    pub statement: &'a Statement,
    pub owner: Owner,
    /// The values of the execute.
    pub values: Values<'a>,
    /// What the client's own server has made of the statement.
    pub before: &'a Version,
    /// What it would have made of it by then.
    pub wanted: &'a Version,
    /// The setting that the connection is in.
    pub present: &'a Rc<Setting>,
    /// It must serve nobody else.
    pub private: bool,
}

impl Need<'_> {
    /// How well this statement of the right text serves; the less, the better.
    fn rank(&self, candidate: &ServerStatement) -> Option<u8> {
        let serves = self.is_served_by(&candidate.version);
        match candidate.owner {
            // What is pending is nowhere else.
            Some(owner) if owner == self.owner && candidate.pending => Some(0),
            Some(owner) if owner == self.owner => serves.then_some(1),
            Some(_) => None,
            None if serves => Some(2),
            // Long data comes before the values are known.
            None => (self.values.is_none() && candidate.version.pins.is_none()).then_some(3),
        }
    }

    /// Whether a server's statement of this version gives what the client's own would give.
    pub(super) fn is_served_by(&self, version: &Version) -> bool {
        let after = version.after(self.statement, self.values, self.present);
        let gives_like = |one: &Version, other| one.gives_like(other, self.statement, self.values);
        gives_like(&after, self.wanted)
            && (!self.begins_where_it_was() || gives_like(version, self.before))
    }

    /// Whether the client's own server would prepare it again now, coming from what can be had here: the values of such
    /// an execute are still read as before.
    fn begins_where_it_was(&self) -> bool {
        let new = Version::new(&self.before.setting);
        !Rc::ptr_eq(&self.before.setting, &self.wanted.setting)
            && new.gives_like(self.before, self.statement, self.values)
    }

    /// The setting to prepare it in, if it is not there; `None` if that would not serve.
    pub(super) fn setting(&self) -> Option<&Rc<Setting>> {
        let setting = match self.begins_where_it_was() {
            true => &self.before.setting,
            false => &self.wanted.setting,
        };
        // Otherwise it turns out once it is prepared.
        let is_certain = !self.values.is_none() && self.statement.is_defined();
        let serves = !is_certain || self.is_served_by(&Version::new(setting));
        serves.then_some(setting)
    }
}

/// The statements of a connection.
#[derive(Debug)]
pub struct ConnectionStatements {
    /// By the number of the statement and the id on the server.
    prepared: BTreeMap<(u64, u32), ServerStatement>,
    limit: usize,
    clock: u64,
}

/// How many statements a connection may have, if `configured` are allowed, the server allows `server` of
/// all its connections, and `connections` share them: half of what the server allows is left to others.
pub fn limit_per_connection(configured: usize, server: usize, connections: usize) -> usize {
    let share = server / 2 / connections.max(1);
    configured.min(share).max(1)
}

impl ConnectionStatements {
    /// None so far; there will be at most `limit`, unless so many are in use.
    pub fn new(limit: usize) -> ConnectionStatements {
        ConnectionStatements {
            prepared: BTreeMap::new(),
            limit: limit.max(1),
            clock: 0,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.prepared.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.prepared.is_empty()
    }

    /// Sets the limit; [`make_room`](Self::make_room) gets down to it.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// The server has prepared `statement` in its own setting, under this id.
    pub fn prepared(&mut self, statement: &Rc<Statement>, id: u32) {
        self.prepared_in(statement.setting(), statement, id);
    }

    /// The same in this setting.
    pub fn prepared_in(&mut self, setting: &Rc<Setting>, statement: &Rc<Statement>, id: u32) {
        self.clock += 1;
        let prepared = ServerStatement {
            id,
            statement: statement.clone(),
            owner: None,
            pending: false,
            private: false,
            bound: None,
            version: Version::new(setting),
            used: self.clock,
        };
        self.prepared.insert((statement.number, id), prepared);
    }

    /// A server's statement that should be closed before another is prepared: the one that was not used
    /// for the longest time, of those that no client has any more, if there are any. It is forgotten
    /// here. `None`: there is room. What is in use is never closed.
    pub fn make_room(&mut self) -> Option<u32> {
        if self.prepared.len() < self.limit {
            return None;
        }
        self.evict()
    }

    /// The same, whether or not there is room: the server as a whole has too many. `None`: all are in
    /// use, or there are none.
    pub fn evict(&mut self) -> Option<u32> {
        let candidates = self.prepared.iter().filter(|(_, one)| !one.pending);
        let (key, _) = candidates.min_by_key(|(_, one)| (one.statement.users() > 0, one.used))?;
        let key = *key;
        self.prepared.remove(&key).map(|one| one.id)
    }

    /// A statement that no client has any more; it is to be closed, and forgotten here.
    pub fn unused(&mut self) -> Option<u32> {
        let mut all = self.prepared.iter();
        let (key, _) = all.find(|(_, one)| !one.pending && one.statement.users() == 0)?;
        let key = *key;
        self.prepared.remove(&key).map(|one| one.id)
    }

    /// The connection was reset, or its user changed: there are none any more.
    pub fn clear(&mut self) {
        self.prepared.clear();
    }

    /// A client is gone, or has left the connection: what is set apart for it is to be closed, and is
    /// forgotten here.
    pub fn forget_client(&mut self, client: u64) -> Vec<u32> {
        let owned = |one: &ServerStatement| one.owner.is_some_and(|owner| owner.client == client);
        self.take((0, 0)..=(u64::MAX, u32::MAX), owned)
    }

    /// The statements that are set apart for this one of a client; they are forgotten here.
    pub(super) fn take_owned(&mut self, statement: &Statement, owner: Owner) -> Vec<u32> {
        let number = statement.number;
        self.take((number, 0)..=(number, u32::MAX), |one| {
            one.owner == Some(owner)
        })
    }

    /// The statement that is set apart for this one of a client, if there is one: of several the one with something
    /// pending.
    pub(super) fn owned(
        &mut self,
        statement: &Statement,
        owner: Owner,
    ) -> Option<&mut ServerStatement> {
        let number = statement.number;
        let all = self.prepared.range_mut((number, 0)..=(number, u32::MAX));
        let owned = all.filter(|(_, one)| one.owner == Some(owner));
        let (_, owned) = owned.min_by_key(|(_, one)| !one.pending)?;
        Some(owned)
    }

    fn best(&self, need: &Need<'_>) -> Option<(u64, u32)> {
        let number = need.statement.number;
        let all = self.prepared.range((number, 0)..=(number, u32::MAX));
        let ranked = all.filter_map(|(key, one)| Some((need.rank(one)?, *key)));
        ranked.min().map(|(_, key)| key)
    }

    /// Whether one serves.
    pub(super) fn has(&self, need: &Need<'_>) -> bool {
        self.best(need).is_some()
    }

    /// The one that serves best, which counts as used.
    pub(super) fn find(&mut self, need: &Need<'_>) -> Option<&mut ServerStatement> {
        let key = self.best(need)?;
        self.clock += 1;
        let found = self.prepared.get_mut(&key)?;
        found.used = self.clock;
        if need.private && found.owner.is_none() {
            found.private = true;
            found.owner = Some(need.owner);
        }
        Some(found)
    }

    pub(super) fn get(&mut self, statement: &Statement, id: u32) -> Option<&mut ServerStatement> {
        self.prepared.get_mut(&(statement.number, id))
    }

    /// The server does not have it.
    pub(super) fn forget(&mut self, statement: &Statement, id: u32) {
        self.prepared.remove(&(statement.number, id));
    }

    /// Another was prepared from the same text: those that serve anyone are to be closed, and are
    /// forgotten here.
    pub(super) fn supersede(&mut self, statement: &Statement) -> Vec<u32> {
        let number = statement.number;
        let all = (number, 0)..=(number, u32::MAX);
        self.take(all, |one| one.owner.is_none())
    }

    /// The ids of those that meet a condition; they are forgotten here.
    fn take(
        &mut self,
        keys: RangeInclusive<(u64, u32)>,
        goes: impl Fn(&ServerStatement) -> bool,
    ) -> Vec<u32> {
        let all = self.prepared.range(keys);
        let keys: Vec<_> = all
            .filter(|(_, one)| goes(one))
            .map(|(key, _)| *key)
            .collect();
        for key in &keys {
            self.prepared.remove(key);
        }
        keys.into_iter().map(|(_, id)| id).collect()
    }
}
