//! Recorded streams, whole and mutated, sent through a proxy.

pub(super) mod noise;
pub(super) mod replay;
