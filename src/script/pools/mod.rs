//! Pools: `dpm.new_pool`.
//!
//! - `object`: the pool object and its methods; `handle`: what scripts hold of it
//! - `options`: its options as a table
//! - `sessions`: logical sessions as strings
//! - `above`: the script's functions that a pool calls
//! - `tables`: what is told of a pool, as tables

mod above;
mod handle;
pub mod object;
mod options;
mod sessions;
mod tables;
