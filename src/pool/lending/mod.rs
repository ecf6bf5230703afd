//! Free connections, those who wait for one, and who can use which.
//!
//! - `key`: what makes connections interchangeable
//! - `shelf`: a server's free connections
//! - `queue`: clients that wait, in the order of their coming

pub mod key;
pub mod queue;
pub mod shelf;
