//! Free connections, those who wait for one, and who can use which.
//!
//! - `key`: what makes connections interchangeable
//! - `budget`, `waiters`: free connections and how many there may be, and those who wait for one, as the
//!   driver knows them
//! - `shelf`, `queue`: the same where there is one thread
//! - `users`: limits of all clients of one user

pub mod budget;
pub mod key;
pub mod queue;
pub mod shelf;
pub mod users;
pub mod waiters;
