//! Dictionaries that all workers see, bounded in bytes: what was not used for longest is evicted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::RandomState;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::lock;

/// What an entry takes in addition to its key and its text: the entry itself, and its places in the map and in
/// the order of use.
const ENTRY: usize = 160;

/// The fewest bytes that a dictionary may have.
pub const MIN_BYTES: usize = 4 << 10;
/// The longest key.
pub const MAX_KEY: usize = 1024;
/// The longest text.
pub const MAX_TEXT: usize = 1 << 20;

/// A value of a dictionary.
#[derive(Debug, Clone, PartialEq)]
pub enum SharedValue {
    /// A text.
    Text(Arc<[u8]>),
    /// A number.
    Number(f64),
    /// True or false.
    Boolean(bool),
}

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedError {
    /// It takes more than the whole dictionary may have.
    TooLarge {
        /// How much it takes.
        bytes: usize,
        /// How much the dictionary may have.
        most: usize,
    },
    /// What is there is no number.
    NoNumber,
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SharedError::TooLarge { bytes, most } => {
                write!(f, "an entry of {bytes} bytes is too large for {most} bytes")
            }
            SharedError::NoNumber => f.write_str("the value is no number"),
        }
    }
}

/// How full a dictionary is, and what has left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The entries, those included that have expired and were not looked at since.
    pub entries: usize,
    /// The bytes that they take.
    pub bytes: usize,
    /// The bytes that they may take.
    pub most: usize,
    /// Entries that were evicted to make room.
    pub evicted: u64,
}

#[derive(Debug)]
struct Stored {
    value: SharedValue,
    expires: Option<Instant>,
}

#[derive(Debug)]
struct Content {
    /// The least recently used at the end. Hashed as keys that strangers choose are.
    entries: LruCache<Box<[u8]>, Stored, RandomState>,
    bytes: usize,
    evicted: u64,
}

/// A dictionary. Each method is one step that no other worker sees half of.
#[derive(Debug)]
pub struct Dictionary {
    most: usize,
    content: Mutex<Content>,
}

/// What a write has done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Written<T> {
    /// Its result.
    pub result: T,
    /// How many other entries were evicted to make room.
    pub evicted: usize,
}

impl Dictionary {
    /// An empty one that has at most so many bytes.
    pub fn new(most: usize) -> Dictionary {
        Dictionary {
            most: most.max(MIN_BYTES),
            content: Mutex::new(Content {
                entries: LruCache::unbounded_with_hasher(RandomState::new()),
                bytes: 0,
                evicted: 0,
            }),
        }
    }

    /// How many bytes it may have.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The value of a key.
    pub fn value(&self, key: &[u8]) -> Option<SharedValue> {
        let content = &mut *lock(&self.content);
        content.look_up(key).map(|stored| stored.value.clone())
    }

    /// Sets a value, for this time if there is one.
    ///
    /// # Errors
    /// It is too large.
    pub fn set(
        &self,
        key: &[u8],
        value: SharedValue,
        ttl: Option<Duration>,
    ) -> Result<Written<()>, SharedError> {
        self.check(key, &value)?;
        let content = &mut *lock(&self.content);
        let evicted = content.store(self.most, key, value, expiry(ttl));
        Ok(Written {
            result: (),
            evicted,
        })
    }

    /// Sets a value unless there is one. True if there was none.
    ///
    /// # Errors
    /// It is too large.
    pub fn add(
        &self,
        key: &[u8],
        value: SharedValue,
        ttl: Option<Duration>,
    ) -> Result<Written<bool>, SharedError> {
        self.check(key, &value)?;
        let content = &mut *lock(&self.content);
        let is_new = content.look_up(key).is_none();
        let evicted = match is_new {
            true => content.store(self.most, key, value, expiry(ttl)),
            false => 0,
        };
        Ok(Written {
            result: is_new,
            evicted,
        })
    }

    /// Adds to a number, or where there is none to `init`, which is then set for this time. The sum, or nothing if
    /// there is neither.
    ///
    /// # Errors
    /// The value is no number; or it is too large.
    pub fn add_to(
        &self,
        key: &[u8],
        step: f64,
        init: Option<f64>,
        ttl: Option<Duration>,
    ) -> Result<Written<Option<f64>>, SharedError> {
        self.check(key, &SharedValue::Number(0.0))?;
        let content = &mut *lock(&self.content);
        if let Some(stored) = content.look_up(key) {
            let SharedValue::Number(number) = &mut stored.value else {
                return Err(SharedError::NoNumber);
            };
            *number += step;
            return Ok(Written {
                result: Some(*number),
                evicted: 0,
            });
        }
        let Some(init) = init else {
            return Ok(Written {
                result: None,
                evicted: 0,
            });
        };
        let sum = init + step;
        let evicted = content.store(self.most, key, SharedValue::Number(sum), expiry(ttl));
        Ok(Written {
            result: Some(sum),
            evicted,
        })
    }

    /// Sets a value, or removes it, if it is what is expected, or if none is there where none is. True if it was.
    ///
    /// # Errors
    /// It is too large.
    pub fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&SharedValue>,
        value: Option<SharedValue>,
        ttl: Option<Duration>,
    ) -> Result<Written<bool>, SharedError> {
        if let Some(value) = &value {
            self.check(key, value)?;
        }
        let content = &mut *lock(&self.content);
        let is_expected = content.look_up(key).map(|stored| &stored.value) == expected;
        let evicted = match value {
            Some(value) if is_expected => content.store(self.most, key, value, expiry(ttl)),
            None if is_expected => {
                content.remove(key);
                0
            }
            _ => 0,
        };
        Ok(Written {
            result: is_expected,
            evicted,
        })
    }

    /// Removes a key. True if it was there.
    pub fn delete(&self, key: &[u8]) -> bool {
        let content = &mut *lock(&self.content);
        let is_there = content.look_up(key).is_some();
        content.remove(key);
        is_there
    }

    /// The keys that were used last, at most so many.
    pub fn keys(&self, most: usize) -> Vec<Box<[u8]>> {
        let now = Instant::now();
        let content = lock(&self.content);
        let looked_at = content.entries.iter().take(most);
        let valid = looked_at.filter(|(_, stored)| !stored.has_expired(now));
        valid.map(|(key, _)| key.clone()).collect()
    }

    /// How long a key still has: nothing if it is not there, and no time if it stays.
    pub fn ttl(&self, key: &[u8]) -> Option<Option<Duration>> {
        let now = Instant::now();
        let content = lock(&self.content);
        let stored = content.entries.peek(key);
        let stored = stored.filter(|stored| !stored.has_expired(now))?;
        Some(
            stored
                .expires
                .map(|expires| expires.saturating_duration_since(now)),
        )
    }

    /// Gives a key this time, or lets it stay. False if it is not there.
    pub fn set_ttl(&self, key: &[u8], ttl: Option<Duration>) -> bool {
        let content = &mut *lock(&self.content);
        let Some(stored) = content.look_up(key) else {
            return false;
        };
        stored.expires = expiry(ttl);
        true
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        let content = lock(&self.content);
        Usage {
            entries: content.entries.len(),
            bytes: content.bytes,
            most: self.most,
            evicted: content.evicted,
        }
    }

    fn check(&self, key: &[u8], value: &SharedValue) -> Result<(), SharedError> {
        let bytes = size(key, value);
        match bytes > self.most {
            true => Err(SharedError::TooLarge {
                bytes,
                most: self.most,
            }),
            false => Ok(()),
        }
    }
}

impl Content {
    /// An entry, which counts as used; not one that has expired, which is removed.
    fn look_up(&mut self, key: &[u8]) -> Option<&mut Stored> {
        let now = Instant::now();
        if self.entries.peek(key)?.has_expired(now) {
            self.remove(key);
            return None;
        }
        self.entries.get_mut(key)
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(stored) = self.entries.pop(key) {
            self.bytes -= size(key, &stored.value);
        }
    }

    /// Returns how many others were evicted.
    fn store(
        &mut self,
        most: usize,
        key: &[u8],
        value: SharedValue,
        expires: Option<Instant>,
    ) -> usize {
        self.remove(key);
        self.bytes += size(key, &value);
        let now = Instant::now();
        let mut evicted = 0;
        while self.bytes > most
            && let Some((key, stored)) = self.entries.pop_lru()
        {
            self.bytes -= size(&key, &stored.value);
            evicted += usize::from(!stored.has_expired(now));
        }
        self.evicted += evicted as u64;
        self.entries.push(key.into(), Stored { value, expires });
        evicted
    }
}

impl Stored {
    fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

fn expiry(ttl: Option<Duration>) -> Option<Instant> {
    ttl.and_then(|ttl| Instant::now().checked_add(ttl))
}

fn size(key: &[u8], value: &SharedValue) -> usize {
    let text = match value {
        SharedValue::Text(text) => text.len(),
        SharedValue::Number(_) | SharedValue::Boolean(_) => 0,
    };
    ENTRY + key.len() + text
}

/// The dictionaries of a program by their names.
#[derive(Debug, Default)]
pub struct Dictionaries(Mutex<HashMap<Box<str>, Arc<Dictionary>>>);

impl Dictionaries {
    /// The dictionary of this name, which is made if it is not there yet.
    ///
    /// # Errors
    /// It is there, and may have this many bytes instead.
    pub fn of(
        &self,
        name: &str,
        most: Option<usize>,
        default: usize,
    ) -> Result<Arc<Dictionary>, usize> {
        match lock(&self.0).entry(name.into()) {
            Entry::Vacant(vacant) => {
                let dictionary = Arc::new(Dictionary::new(most.unwrap_or(default)));
                Ok(vacant.insert(dictionary).clone())
            }
            Entry::Occupied(there) => {
                let dictionary = there.get();
                match most {
                    Some(most) if most != dictionary.most() => Err(dictionary.most()),
                    _ => Ok(dictionary.clone()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: usize) -> SharedValue {
        SharedValue::Text(vec![b'x'; len].into())
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let dictionary = Dictionary::new(MIN_BYTES);
        let value = MIN_BYTES / 4 - ENTRY - 1;
        for key in [b"a", b"b", b"c", b"d"] {
            assert_eq!(dictionary.set(key, text(value), None).unwrap().evicted, 0);
        }
        assert_eq!(dictionary.usage().bytes, MIN_BYTES);
        assert!(dictionary.value(b"a").is_some(), "which is used so");
        assert_eq!(dictionary.set(b"e", text(value), None).unwrap().evicted, 1);
        assert_eq!(dictionary.value(b"b"), None);
        let most = MIN_BYTES - ENTRY - 1;
        assert_eq!(dictionary.set(b"a", text(most), None).unwrap().evicted, 3);
        assert_eq!(dictionary.keys(9), [Box::from(*b"a")]);
        let usage = dictionary.usage();
        assert_eq!(
            (usage.bytes, usage.entries, usage.evicted),
            (MIN_BYTES, 1, 4)
        );
        let too_large = dictionary.set(b"a", text(most + 1), None);
        assert_eq!(
            too_large.unwrap_err().to_string(),
            "an entry of 4097 bytes is too large for 4096 bytes"
        );
        assert!(dictionary.value(b"a").is_some(), "and changes nothing");
        assert!(dictionary.delete(b"a") && !dictionary.delete(b"a"));
        assert_eq!(dictionary.usage().bytes, 0);
    }

    #[test]
    fn what_has_expired_is_not_there() {
        let dictionary = Dictionary::new(MIN_BYTES);
        let (short, long) = (Some(Duration::ZERO), Some(Duration::from_secs(3600)));
        dictionary.set(b"a", text(1), short).unwrap();
        assert_eq!(dictionary.keys(9).len(), 0);
        assert_eq!(dictionary.ttl(b"a"), None);
        assert!(!dictionary.set_ttl(b"a", None));
        dictionary.set(b"a", text(1), long).unwrap();
        assert!(
            dictionary
                .ttl(b"a")
                .flatten()
                .is_some_and(|left| left > Duration::from_secs(3500))
        );
        assert!(dictionary.set_ttl(b"a", None));
        assert_eq!(dictionary.ttl(b"a"), Some(None));
        assert!(dictionary.set_ttl(b"a", short));
        let added = dictionary.add(b"a", SharedValue::Boolean(true), None);
        assert!(added.unwrap().result);
        let again = dictionary.add(b"a", SharedValue::Boolean(true), None);
        assert!(!again.unwrap().result);
        assert_eq!(dictionary.usage().entries, 1);
    }

    #[test]
    fn numbers_are_added_to_and_values_compared() {
        let dictionary = Dictionary::new(MIN_BYTES);
        let add = |init| dictionary.add_to(b"n", 2.0, init, None).unwrap().result;
        assert_eq!(
            (add(None), add(Some(5.0)), add(Some(5.0))),
            (None, Some(7.0), Some(9.0))
        );
        let nine = SharedValue::Number(9.0);
        let change = |from: Option<&_>, to| {
            let written = dictionary.compare_and_set(b"n", from, to, None);
            written.unwrap().result
        };
        assert!(!change(None, Some(text(1))), "there is a value");
        assert!(!change(Some(&text(1)), None));
        assert!(change(Some(&nine), Some(text(1))));
        assert_eq!(
            dictionary.add_to(b"n", 1.0, None, None),
            Err(SharedError::NoNumber)
        );
        assert!(change(Some(&text(1)), None));
        assert!(change(None, Some(nine.clone())));
        assert_eq!(dictionary.value(b"n"), Some(nine));
    }

    #[test]
    fn all_threads_see_each_step_whole() {
        let dictionaries = Arc::new(Dictionaries::default());
        let threads = (0..4).map(|_| {
            let dictionaries = dictionaries.clone();
            std::thread::spawn(move || {
                let dictionary = dictionaries.of("d", None, MIN_BYTES).unwrap();
                for _ in 0..1000 {
                    dictionary.add_to(b"n", 1.0, Some(0.0), None).unwrap();
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().for_each(|it| it.join().unwrap());
        let dictionary = dictionaries.of("d", Some(MIN_BYTES), 1).unwrap();
        assert_eq!(dictionary.value(b"n"), Some(SharedValue::Number(4000.0)));
        assert_eq!(
            dictionaries.of("d", Some(1 << 20), 1).unwrap_err(),
            MIN_BYTES
        );
    }
}
