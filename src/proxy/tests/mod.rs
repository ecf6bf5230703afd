//! Recorded streams, whole and mutated, sent through a proxy.

pub(super) mod mutated_streams;
mod panics;
pub(super) mod recordings;
