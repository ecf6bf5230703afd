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
//! - `scripts`: the states of a proxy, and the hooks; `swap`: the next state takes the place of the present one, in
//!   all workers (`under_way`); `moves`:
//!   which clients move, and when
//! - `moving`: one client leaves a state, and comes to one
//! - `staging`, `in_use`: what a startfile does to the program before it is in use; `ending`: the end of a state
//! - `commons`: what the states have in common, such as passwords that go from one to another (`deposit`)
//! - `functions`: `dpm.reload` and `dpm.on_move`

pub(super) mod commons;
mod deposit;
mod ending;
mod functions;
mod in_use;
mod moves;
pub(super) mod moving;
pub mod scripts;
pub(super) mod staging;
mod swap;
mod under_way;

pub(super) use functions::{on_move, reload};
