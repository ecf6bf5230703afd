//! Pools: `dpm.new_pool`.
//!
//! - `object`: the pool object and its methods
//! - `options`: its options as a table
//! - `above`: the script's functions that a pool calls
//! - `tables`: what is told of a pool, as tables

mod above;
pub mod object;
mod options;
mod tables;
