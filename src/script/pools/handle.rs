//! A pool, as scripts hold it.

use crate::pool::PoolId;

/// A pool, which lives as long as the program.
#[derive(Debug)]
pub struct PoolObject(pub(super) PoolId);
