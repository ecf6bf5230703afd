//! All digests, of which the least recently used go when there are too many.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::entry::{Entry, Outcome};

/// What a statement is counted under: the parts follow each other in one text, so that looking one up takes no memory.
#[derive(Debug, Default)]
pub(super) struct Key {
    bytes: Vec<u8>,
    ends: [u32; Key::PARTS],
}

impl Key {
    /// The digest's text, the user, the schema, the server.
    pub const PARTS: usize = 4;

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends = [0; Key::PARTS];
    }

    /// Sets a part, after those before it.
    pub fn set(&mut self, part: usize, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        for of in self.ends.iter_mut().skip(part) {
            *of = end;
        }
        self.bytes.push(0);
    }

    /// A key's parts.
    pub fn parts<'a>(bytes: &'a [u8], ends: &[u32; Key::PARTS]) -> [&'a [u8]; Key::PARTS] {
        let mut from = 0;
        ends.map(|end| {
            let end = end as usize;
            let part = bytes.get(from..end).unwrap_or_default();
            from = end + 1;
            part
        })
    }
}

/// A digest's entry.
#[derive(Debug)]
pub(super) struct Counted {
    pub ends: [u32; Key::PARTS],
    pub entry: Entry,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    pub entries: LruCache<Box<[u8]>, Counted>,
    /// All statements together.
    pub all: Entry,
    /// How many digests have gone.
    pub evicted: u64,
}

impl Table {
    /// Begins anew, with room for so many.
    pub fn restart(&mut self, max: NonZeroUsize) {
        self.reset();
        self.entries.resize(max);
    }

    pub fn add(&mut self, key: &Key, took: Duration, outcome: Outcome) {
        self.all.add(took, outcome);
        if let Some(known) = self.entries.get_mut(&*key.bytes) {
            return known.entry.add(took, outcome);
        }
        let mut entry = Entry::new();
        entry.add(took, outcome);
        let counted = Counted {
            ends: key.ends,
            entry,
        };
        let gone = self.entries.push(key.bytes.as_slice().into(), counted);
        self.evicted += u64::from(gone.is_some());
    }

    pub fn reset(&mut self) {
        self.entries.clear();
        self.all = Entry::new();
        self.evicted = 0;
    }
}

impl Default for Table {
    fn default() -> Table {
        Table {
            entries: LruCache::new(NonZeroUsize::MIN),
            all: Entry::new(),
            evicted: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: [&str; Key::PARTS]) -> Key {
        let mut key = Key::default();
        for (place, part) in parts.iter().enumerate() {
            key.set(place, |out| out.extend_from_slice(part.as_bytes()));
        }
        key
    }

    #[test]
    fn the_least_recently_used_goes() {
        let mut table = Table::default();
        table.restart(NonZeroUsize::new(2).unwrap());
        for sql in ["a", "b", "a", "c"] {
            let key = key([sql, "ann", "", "db1"]);
            table.add(&key, Duration::from_millis(1), Outcome::default());
        }
        let names = table.entries.iter().map(|(bytes, counted)| {
            Key::parts(bytes, &counted.ends).map(|part| String::from_utf8_lossy(part).into_owned())
        });
        let names: Vec<_> = names.collect();
        assert_eq!(names, [["c", "ann", "", "db1"], ["a", "ann", "", "db1"]]);
        assert_eq!((table.evicted, table.all.calls), (1, 4));
    }
}
