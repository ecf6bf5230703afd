//! The settings of a session, as pure data: read from what is known of a connection, and put on
//! another.
//!
//! - [`Snapshot`]: the variables of a connection right after its login or reset
//! - [`Settings`]: the schema, the variables and the characteristics of a session
//! - [`Unknown`]: what must be read of a connection before its settings are known
//! - [`differs`]: the commands that lead from one session's settings to another's
//! - [`UserVariables`]: user variables, if they are restored
//! - `variables`: which system variables there are, and how each is restored
//! - `written`: settings as bytes

mod differs;
mod settings;
mod snapshot;
mod unknown;
mod user_variables;
mod variables;
mod written;

pub use differs::{Obstacle, Side, Step, differs};
pub(super) use settings::has_movable_transaction;
pub use settings::{Access, Settings, is_restorable};
pub use snapshot::{Resets, Snapshot};
pub use unknown::{Row, Unknown};
pub use user_variables::{Names, UserVariables};

#[cfg(test)]
mod tests;
