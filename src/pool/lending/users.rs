//! How many connections the clients of one user may use at a time, and how many they do use.

use std::collections::HashMap;
use std::rc::Rc;

/// The number of a user who has a limit.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(u32);

#[derive(Debug)]
struct User {
    limit: usize,
    used: usize,
}

/// The users of a pool who have limits.
#[derive(Debug, Default)]
pub struct Users {
    users: Vec<User>,
    ids: HashMap<Rc<str>, UserId>,
}

impl Users {
    /// The number of a user whose clients may use as many connections; `None` if there is no limit, which is what 0 means.
    pub fn id(&mut self, name: &str, limit: usize) -> Option<UserId> {
        let known = self.ids.get(name).copied();
        let id = match known {
            Some(id) => id,
            None if limit == 0 => return None,
            None => {
                let id = UserId(u32::try_from(self.users.len()).ok()?);
                self.users.push(User { limit, used: 0 });
                self.ids.insert(name.into(), id);
                id
            }
        };
        if let Some(user) = self.users.get_mut(id.0 as usize) {
            // The last login tells; those who are in have the number already.
            user.limit = match limit {
                0 => usize::MAX,
                limit => limit,
            };
        }
        Some(id)
    }

    /// Whether nobody has a limit.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether a user's clients use as many connections as they may.
    pub fn is_at_limit(&self, user: Option<UserId>) -> bool {
        let user = user.and_then(|id| self.users.get(id.0 as usize));
        user.is_some_and(|user| user.used >= user.limit)
    }

    /// A connection is used by another user's client from now on, or by nobody's; `charged` is who it was used by.
    pub fn charge(&mut self, charged: &mut Option<UserId>, user: Option<UserId>) {
        let before = std::mem::replace(charged, user);
        if let Some(before) = self.of(before) {
            before.used = before.used.saturating_sub(1);
        }
        if let Some(now) = self.of(user) {
            now.used += 1;
        }
    }

    fn of(&mut self, id: Option<UserId>) -> Option<&mut User> {
        self.users.get_mut(id?.0 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_for_who_uses_them() {
        let mut users = Users::default();
        assert_eq!(users.id("ann", 0), None);
        assert!(users.is_empty() && !users.is_at_limit(None));
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
}
