//! How many connections the clients of one user may use at a time, and how many they do use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::bells::{Bell, Bells};
use super::locks::lock;

/// The number of a user who has a limit.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(u32);

#[derive(Debug)]
struct User {
    limit: usize,
    used: usize,
    /// Somebody could not use one more.
    is_wanted: bool,
}

impl User {
    fn is_at_limit(&self) -> bool {
        self.used >= self.limit
    }
}

/// The users who have limits, of all workers' pools that are one to the program.
#[derive(Debug, Default)]
pub struct Table {
    users: Vec<User>,
    ids: HashMap<Box<str>, UserId>,
}

impl Table {
    fn of(&mut self, id: UserId) -> Option<&mut User> {
        self.users.get_mut(id.0 as usize)
    }
}

/// The users who have limits, as one worker's pool sees them.
#[derive(Debug)]
pub struct Users {
    table: Arc<Mutex<Table>>,
    bells: Arc<Bells>,
    bell: Arc<Bell>,
    /// How many connections of this worker each uses.
    own: HashMap<UserId, usize>,
}

impl Users {
    /// Those of this table. `bells` tell others that a user is not at the limit any more.
    pub fn of(table: Arc<Mutex<Table>>, bells: Arc<Bells>, bell: Arc<Bell>) -> Users {
        Users {
            table,
            bells,
            bell,
            own: HashMap::new(),
        }
    }

    /// The number of a user whose clients may use as many connections; `None` if there is no limit, which is what 0 means.
    pub fn id(&mut self, name: &str, limit: usize) -> Option<UserId> {
        let table = &mut *lock(&self.table);
        let known = table.ids.get(name).copied();
        let id = match known {
            Some(id) => id,
            None if limit == 0 => return None,
            None => {
                let id = UserId(u32::try_from(table.users.len()).ok()?);
                table.users.push(User {
                    limit,
                    used: 0,
                    is_wanted: false,
                });
                table.ids.insert(name.into(), id);
                id
            }
        };
        if let Some(user) = table.of(id) {
            // The last login tells; those who are in have the number already.
            user.limit = match limit {
                0 => usize::MAX,
                limit => limit,
            };
        }
        Some(id)
    }

    /// Whether a user's clients use as many connections as they may.
    pub fn is_at_limit(&self, user: Option<UserId>) -> bool {
        let Some(id) = user else {
            return false;
        };
        let table = &mut *lock(&self.table);
        table.of(id).is_some_and(|user| {
            user.is_wanted |= user.is_at_limit();
            user.is_at_limit()
        })
    }

    /// A connection is used by another user's client from now on, or by nobody's; `charged` is who it was used by.
    pub fn charge(&mut self, charged: &mut Option<UserId>, user: Option<UserId>) {
        if *charged == user {
            return;
        }
        let table = self.table.clone();
        let table = &mut *lock(&table);
        if let Some(before) = std::mem::replace(charged, user) {
            self.counts_less(table, before, 1);
            if let Some(own) = self.own.get_mut(&before) {
                *own = own.saturating_sub(1);
            }
        }
        if let Some(now) = user {
            if let Some(user) = table.of(now) {
                user.used += 1;
            }
            *self.own.entry(now).or_default() += 1;
        }
    }

    /// The same, unless the user's clients use as many as they may: then it is false, and nothing has changed.
    pub fn try_charge(&mut self, charged: &mut Option<UserId>, user: Option<UserId>) -> bool {
        let Some(id) = user.filter(|_| *charged != user) else {
            self.charge(charged, user);
            return true;
        };
        let table = self.table.clone();
        let table = &mut *lock(&table);
        let Some(of) = table.of(id) else {
            return false;
        };
        if of.is_at_limit() {
            of.is_wanted = true;
            return false;
        }
        of.used += 1;
        *self.own.entry(id).or_default() += 1;
        if let Some(before) = charged.replace(id) {
            self.counts_less(table, before, 1);
            if let Some(own) = self.own.get_mut(&before) {
                *own = own.saturating_sub(1);
            }
        }
        true
    }

    fn counts_less(&self, table: &mut Table, user: UserId, by: usize) {
        let Some(user) = table.of(user) else {
            return;
        };
        user.used = user.used.saturating_sub(by);
        if !user.is_at_limit() && std::mem::take(&mut user.is_wanted) {
            // (This worker looks at its own clients again whenever a connection is free.)
            self.bells.ring_others(&self.bell);
        }
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let table = self.table.clone();
        let table = &mut *lock(&table);
        for (user, used) in std::mem::take(&mut self.own) {
            self.counts_less(table, user, used);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::pool::lending::common::Common;

    #[test]
    fn connections_are_counted_for_who_uses_them() {
        let mut users = Common::default().users(&Bell::new(|| {}));
        assert_eq!(users.id("ann", 0), None);
        assert!(!users.is_at_limit(None));
        let (ann, bob) = (users.id("ann", 1), users.id("bob", 2));
        let mut charged = None;
        users.charge(&mut charged, ann);
        assert!(users.is_at_limit(ann) && !users.is_at_limit(bob));
        // Twice is once.
        users.charge(&mut charged, ann);
        users.charge(&mut charged, bob);
        assert!(!users.is_at_limit(ann) && !users.is_at_limit(bob));
        users.charge(&mut charged, None);
        users.charge(&mut charged, None);
        assert_eq!(users.id("bob", 1), bob);
        users.charge(&mut charged, bob);
        assert!(users.is_at_limit(bob));
        // The limit was lifted meanwhile.
        assert_eq!(users.id("bob", 0), bob);
        assert!(!users.is_at_limit(bob));
    }
    #[test]
    fn the_connections_of_all_workers_count_until_the_worker_ends() {
        let (common, rung) = (Common::default(), Arc::new(AtomicUsize::new(0)));
        let count = rung.clone();
        let bell = Bell::new(move || {
            count.fetch_add(1, Relaxed);
        });
        common.add(&bell);
        let mut one = common.users(&bell);
        let mut two = common.users(&Bell::new(|| {}));
        let ann = one.id("ann", 1);
        assert_eq!(two.id("ann", 1), ann);
        let (mut ones, mut twos) = (None, None);
        assert!(two.try_charge(&mut twos, ann));
        assert!(!one.try_charge(&mut ones, ann) && ones.is_none());
        assert!(two.try_charge(&mut twos, ann), "it has it");
        assert_eq!(rung.load(Relaxed), 0);
        drop(two);
        assert_eq!(rung.load(Relaxed), 1, "who has waited for it is told");
        assert!(one.try_charge(&mut ones, ann));
    }
}
