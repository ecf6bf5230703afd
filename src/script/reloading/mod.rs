//! Reloading the startfile: one proxy has several Lua states for a while.
//!
//! The new startfile runs in a state of its own. When it has, its listeners take the places of those before it, and new
//! clients go to it. Clients of an older state move one by one, each when it waits for nothing, if both states know how;
//! others stay until they leave. A state without clients ends.
//!
//! Every connection, timer and listener belongs to one state, whose number is in
//! [`ConnInfo::owner`](crate::proxy::ConnInfo::owner) and in the timer's key; [`Scripts`](scripts::Scripts) implements the
//! proxy's hooks, and asks the state that is concerned.
//!
//! - `scripts`: the states of a proxy, and the hooks; `swap`: the next state takes the place of the present one; `moves`:
//!   which clients move, and when
//! - `moving`: one client leaves a state, and comes to one
//! - `staging`: what a startfile does to the program before it is in use; `ending`: the end of a state
//! - `commons`: what the states have in common

pub(super) mod commons;
mod ending;
mod functions;
mod moves;
pub(super) mod moving;
pub mod scripts;
pub(super) mod staging;
mod swap;

pub(super) use functions::{on_move, reload};
