//! The workers of this process, as an upgrade sees them.

use std::fmt;

use super::messages::Moving;

/// See the module.
pub trait Workforce: fmt::Debug + Send + Sync {
    /// How many clients all have.
    fn clients(&self) -> usize;

    /// No connection of theirs has a higher number, the bits for its worker left out.
    fn last_serial(&self) -> u32;

    /// Whether they were told to end.
    fn is_stopping(&self) -> bool;

    /// Tells all of them.
    fn tell_all(&self, moving: &dyn Fn() -> Moving);

    /// Tells the one that has a connection with this number.
    fn tell_owner(&self, serial: u32, moving: Moving);

    /// Tells the first.
    fn tell_first(&self, moving: Moving);

    /// Tells the one whose connections have numbers like this one; if there is none, the one with the fewest clients.
    /// False if there is none at all.
    fn tell_owner_or_another(&self, moving: Moving, serial: u32) -> bool;

    /// They accept clients again.
    fn listen_again(&self);

    /// They end, and this process with them.
    fn leave(&self);
}
