//! All listeners, servers or users that are counted.

use std::collections::HashMap;
use std::rc::Rc;

use super::tally::Tally;

/// How many of a kind are counted one by one. Only users that have logged in are, so names that are made up take no room.
const MAX: usize = 1000;

/// The name of those beyond.
const OTHERS: &[u8] = b"(others)";

/// All of a kind.
#[derive(Debug, Default)]
pub(crate) struct Group {
    by_name: HashMap<Box<[u8]>, Rc<Tally>>,
    /// In the order in which they came.
    pub all: Vec<Rc<Tally>>,
}

impl Group {
    /// The counters of the one with this name.
    pub fn tally(&mut self, name: &[u8]) -> Rc<Tally> {
        if let Some(known) = self.by_name.get(name) {
            return known.clone();
        }
        if self.all.len() >= MAX && name != OTHERS {
            return self.tally(OTHERS);
        }
        let tally = Rc::new(Tally::new(name));
        self.by_name.insert(name.into(), tally.clone());
        self.all.push(tally.clone());
        tally
    }
}

/// All that are counted.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub listeners: Group,
    pub servers: Group,
    pub users: Group,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_number_is_bounded() {
        let mut group = Group::default();
        for number in 0..3 * MAX {
            group.tally(format!("user{number}").as_bytes());
        }
        assert_eq!(group.all.len(), MAX + 1);
        assert_eq!(&*group.tally(b"user5").name, b"user5");
        assert_eq!(&*group.tally(b"user2999").name, OTHERS);
    }
}
