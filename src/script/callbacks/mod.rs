//! The functions that scripts give connections.
//!
//! - `functions`: those of one connection, and the object that holds a library's; `registry`: all of them
//! - `handle`: takes one away; `watched_commands`: `on_answer`
//! - `package`: the object that holds a library's functions; `timers`, `look_ups`, `signals`, `subscriptions`, `moving`: what those call
//! - `span_sender`: the function that is told of spans
//! - `subject`: what a callback is for, in words; `watchdog`: tells of those that do not return, and ends them

pub(super) mod functions;
pub(super) mod handle;
pub(super) mod look_ups;
pub(super) mod moving;
pub(super) mod package;
pub(super) mod registry;
pub(super) mod signals;
pub(super) mod span_sender;
pub(super) mod subject;
pub(super) mod subscriptions;
pub(super) mod timers;
pub(super) mod watchdog;
pub(super) mod watched_commands;
