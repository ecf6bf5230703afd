//! The workers of this process, as an upgrade sees them.

use std::fmt;

use super::messages::Moving;

/// See the module.
pub trait Workforce: fmt::Debug + Send + Sync {
    /// How many clients all have.
    fn clients(&self) -> usize;

    /// Whether they were told to end.
    fn is_stopping(&self) -> bool;

    /// Tells all of them.
    fn tell_all(&self, moving: &dyn Fn() -> Moving);

    /// Tells the one that has a connection with this number.
    fn tell_owner(&self, serial: u32, moving: Moving);

    /// Tells the first.
    fn tell_first(&self, moving: Moving);

    /// Tells the one with the fewest clients. False if there is none.
    fn tell_least_busy(&self, moving: Moving) -> bool;

    /// They accept clients again.
    fn listen_again(&self);

    /// They end, and this process with them.
    fn leave(&self);
}
