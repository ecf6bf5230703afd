//! Passwords that go from one Lua state of this process to another, by words that stand for them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::auth::Secret;

/// How many may wait.
const MOST: usize = 10_000;

/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// The passwords, by the words that they are given out for.
#[derive(Debug, Default)]
pub struct Deposit(RefCell<HashMap<String, (Secret, Instant)>>);

impl Deposit {
    /// Keeps a password. Returns the word for it; `None` if there are too many.
    pub fn put(&self, secret: Secret) -> Option<String> {
        let mut kept = self.0.borrow_mut();
        if kept.len() >= MOST {
            kept.retain(|_, (_, since)| since.elapsed() < PATIENCE);
        }
        if kept.len() >= MOST {
            return None;
        }
        let word = format!("{:032x}", rand::random::<u128>());
        kept.insert(word.clone(), (secret, Instant::now()));
        Some(word)
    }

    /// Gives it out.
    pub fn take(&self, word: &str) -> Option<Secret> {
        let (secret, since) = self.0.borrow_mut().remove(word)?;
        (since.elapsed() < PATIENCE).then_some(secret)
    }
}
