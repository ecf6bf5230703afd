//! What of `dpm` is about the program's workers.
//!
//! - `channels`: messages to all of them; `once`: what one of them does
//! - `shared`: dictionaries that all of them see
//! - `count`: which worker this is, and how many there are

pub(super) mod channels;
pub(super) mod count;
pub(super) mod once;
pub(super) mod shared;
