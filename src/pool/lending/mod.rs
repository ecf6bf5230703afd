//! Free connections, those who wait for one, and who can use which.
//!
//! - `key`: what makes connections interchangeable
//! - `budget`, `waiters`: free connections and how many there may be, and those who wait for one, as the
//!   driver knows them; `shelf`, `queue`: what does so
//! - `users`: limits of all clients of one user
//!
//! Each worker has its own connections and its own clients that wait. What the pools of all workers have in common is
//! in one [`Common`](common::Common), and is reached by all threads:
//!
//! - `places`: how many connections there may be, and to whom the place of an idle one goes
//! - `bells`: how one worker's pool tells another's that something has changed

pub mod bells;
pub mod budget;
pub mod common;
pub mod key;
mod locks;
pub mod places;
pub mod queue;
pub mod shelf;
pub mod users;
pub mod waiters;
