//! What makes connections of one server interchangeable.

use std::collections::HashMap;
use std::rc::Rc;

use crate::wire::Capabilities;

/// Capabilities that are agreed on at login, are visible to a client, and cannot be translated.
pub const OF_LOGIN: Capabilities = Capabilities::FOUND_ROWS
    .union(Capabilities::IGNORE_SPACE)
    .union(Capabilities::LOCAL_FILES)
    .union(Capabilities::MULTI_RESULTS)
    .union(Capabilities::PS_MULTI_RESULTS);

/// Connections of the same server and the same key can be used by the same clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name by which the layer above knows the account of the server's; no secret.
    pub account: Rc<str>,
    /// Those of [`OF_LOGIN`] that were agreed on.
    pub capabilities: Capabilities,
}

impl Key {
    /// For clients of this account that have negotiated these capabilities.
    pub fn new(account: Rc<str>, capabilities: Capabilities) -> Key {
        Key {
            account,
            capabilities: capabilities & OF_LOGIN,
        }
    }

    /// The names of its capabilities, with spaces between them.
    pub fn capability_names(&self) -> String {
        let names: Vec<_> = self
            .capabilities
            .iter_names()
            .map(|(name, _)| name)
            .collect();
        names.join(" ")
    }
}

/// A key's number in its pool.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

/// All keys of a pool, by their numbers.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
    ids: HashMap<Key, KeyId>,
    last: Option<KeyId>,
}

impl Keys {
    /// The number of a key, which is given one if it has none.
    pub fn id(&mut self, key: &Key) -> KeyId {
        let id = match self.ids.get(key) {
            Some(id) => *id,
            None => {
                let id = KeyId(u32::try_from(self.keys.len()).unwrap_or(u32::MAX));
                self.keys.push(key.clone());
                self.ids.insert(key.clone(), id);
                id
            }
        };
        self.last = Some(id);
        id
    }

    /// The number of the key that was asked for last.
    pub fn last(&self) -> Option<KeyId> {
        self.last
    }

    /// The key with this number.
    pub fn get(&self, id: KeyId) -> Option<&Key> {
        self.keys.get(id.0 as usize)
    }
}
