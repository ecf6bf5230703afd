//! Workers: threads that share one program, each with a loop of its own (a [`Proxy`](crate::proxy::Proxy)),
//! and for programs with scripts a Lua state of its own.
//!
//! What a worker has, nobody else touches: connections, timers, Lua. What there is one of per program is in
//! one [`Program`], which all threads have, behind locks that nobody holds for long and never while Lua runs.
//! A worker reaches it through its [`Worker`]. A program with one worker (which is the default) has no thread
//! more than before: its listeners are in its own loop.
//!
//! - `program`: what there is one of, and the life of the workers: starting, serving, ended
//! - `worker`: what one worker sees of it
//! - `desks`: what others see of each worker
//! - `mailbox`: what others have for a worker, which its loop takes in its next pass
//! - `listeners`, `acceptor`: sockets that several workers listen on. One thread accepts, and hands each client
//!   over to the worker with the fewest
//! - `claims`: sockets that one worker has for all
//! - `clients`, `room`: how many clients a listener has, and how many sockets the process
//! - `channels`, `once`: messages for all workers, and what one of them does for all
//! - `shared`: dictionaries that all workers see; `commons`: whatever else the layers above have one of
//! - `upgrade`, `workforce`: another process that takes the place of this one
//! - `watchdog`: the thread that looks at what may hang; `pulse`, `loops`: whether a worker's loop turns, and what is done
//!   if it does not
//!
//! # The start
//!
//! Worker 1 is the thread that the program begins with. It runs the startfile, which may say how many workers
//! there are to be, before its first listener. When the startfile has come to its end, the others are started:
//! each runs the startfile for itself. Once all have done so, clients are accepted. A startfile that fails in
//! any worker ends the program, with one message.
//!
//! # The end
//!
//! A worker that is told to end (by a signal, which each gets, or by `dpm.exit` in any of them) tells the others.
//! Each ends in order, and the program with the last. A worker with nothing to wait for waits for the others'
//! messages, until no worker has anything to wait for.
//!
//! Knows sockets (`net`), nothing of the protocol and nothing of Lua.

mod acceptor;
mod channels;
mod claims;
mod clients;
mod commons;
mod desks;
mod listeners;
mod loops;
mod mailbox;
mod once;
mod program;
mod pulse;
mod rollout;
mod rollouts;
mod room;
pub mod shared;
pub mod upgrade;
mod watchdog;
mod worker;
mod workforce;

pub use channels::Reached;
pub use claims::{Claim, ForAll};
pub use clients::{Clients, ListenerClients};
pub use listeners::Membership;
pub use loops::watch_loops;
pub use mailbox::{HandedOver, ListenerKey, Message, Published, Stop};
pub use program::{CountError, Program, current, parallelism};
pub use pulse::{Patience, Pulse};
pub use rollout::{Decision, Rollout};
pub use room::RoomShare;
pub use shared::{Dictionary, SharedError, SharedValue, Usage, Written};
pub use watchdog::{Look, look_soon, watch};
pub use worker::{Listening, Worker};

/// The most workers that a program has: ids of connections have six bits for the number of a worker.
pub const MAX_WORKERS: usize = 64;

/// How many bits of a connection's number count; those above them have the number of the worker less one.
pub const SERIAL_BITS: u32 = 26;

/// Locks, whatever happened to another thread that had the lock: all that is locked here is whole between
/// two statements.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
