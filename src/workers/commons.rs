//! What the layers above have one of per program, by its kind and its name.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::lock;

type Key = (TypeId, Box<str>);

/// Things that workers have in common. What was made stays for as long as the program runs.
#[derive(Default)]
pub struct Commons(Mutex<HashMap<Key, Arc<dyn Any + Send + Sync>>>);

impl fmt::Debug for Commons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Commons")
    }
}

impl Commons {
    /// The thing of this kind and this name, which is made if it is not there yet.
    pub fn of<T: Default + Send + Sync + 'static>(&self, name: &str) -> Arc<T> {
        let things = &mut *lock(&self.0);
        let key = (TypeId::of::<T>(), name.into());
        let thing = things.entry(key).or_insert_with(|| Arc::<T>::default());
        // The key has its type, so that it is never another.
        thing.clone().downcast().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn there_is_one_of_each_kind_and_name() {
        let commons = Commons::default();
        commons.of::<AtomicUsize>("a").store(1, Ordering::Relaxed);
        let value = |name| commons.of::<AtomicUsize>(name).load(Ordering::Relaxed);
        assert_eq!((value("a"), value("b")), (1, 0));
        assert_eq!(*commons.of::<usize>("a"), 0);
    }
}
