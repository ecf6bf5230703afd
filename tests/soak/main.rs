//! Everything at once, for as long as one likes: real servers, drivers and plug-ins, while servers are
//! killed and frozen, connections are cut at random bytes, and clients stall. Each answer is checked by its
//! values: it is right, or it is an error that something has caused. In the end nothing is left.
//!
//! `tests/soak.sh [MINUTES [SEED]]` runs it. What it has done is kept if it fails: see [`record`].

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod everything;
mod mischief;
mod others;
mod record;
mod relay;
mod scene;
mod tasks;

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}
