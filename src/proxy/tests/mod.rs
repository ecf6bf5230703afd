//! Recorded streams, whole and mutated, sent through a proxy.

pub(super) mod mutated_streams;
pub(super) mod recordings;
