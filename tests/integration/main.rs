//! Every test against real servers, real clients and peers that misbehave: one binary, so that all
//! of them share two servers. One module a theme.

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod passthrough;
mod servers;
