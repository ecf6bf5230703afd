//! Prepared statements, shared by clients and server connections: pure data and functions.
//!
//! A client's statement is not tied to a connection. The pool gives the client an id of its own, and
//! prepares the text again on whichever connection the client gets next. One statement of a server
//! serves all clients with the same text in the same [`Setting`], one after the other.
//!
//! - [`SharedStatements`]: the texts that clients have prepared, each once
//! - [`ClientStatements`]: a client's ids, and what it has bound to its statements
//! - [`ConnectionStatements`]: what is prepared on a connection, and under which id
//! - [`Portable`]: a client's statements as data, for another thread or another program
//! - [`Dialect`]: what MariaDB and MySQL do differently, such as the errors of ids that are unknown
//!
//! # How a command passes
//!
//! 1. [`ClientStatements::command`] says what a client's command needs: often no server at all.
//! 2. For [`Action::Prepare`], [`ClientStatements::begin_prepare`] takes the text, the command goes to
//!    the server, and its answer to [`ClientStatements::prepared`], which gives the client's id.
//! 3. For [`Action::WithStatement`], [`ClientStatements::send`] writes the command for the client's
//!    connection, or asks that the statement be prepared there first, in its own setting.
//! 4. [`ClientStatements::ended`] is told how the server has answered.
//!
//! # Why statements are not simply shared
//!
//! What a server keeps of a statement belongs to the client that executes it:
//!
//! - **Cursors and long data** are a client's: meanwhile the connection is held, and the statement
//!   serves nobody else.
//! - **Bound types** may be left out of an execute, if they are the same as before. The server takes
//!   those that came last, in the character set that was in place then. So both ends' last types are
//!   known here, and put into an execute for which the server would take others.
//! - **MySQL's resolved types** depend on all types that were ever bound: `SELECT ?` with a DOUBLE,
//!   then with the integer 5, is 5.0. What a client's own server would have made of its statement is
//!   followed (`pins`), and only a server's statement that has become the same serves it. If one that is
//!   prepared anew cannot become the same, numbers are sent in the type that the client's server has made of
//!   them (`converting`), and other values are refused.
//! - **The session's setting**: servers prepare a statement again by themselves after ALTER, in the
//!   modes of that moment. A client whose modes are not those of its prepare gets a statement for
//!   itself. It is executed in the client's present modes, which it can observe: whether INSERT is
//!   strict depends on the mode at that moment.

mod client;
mod connection;
mod converting;
mod dialect;
mod parsing;
mod pins;
mod portable;
mod sending;
mod shared;
#[cfg(test)]
mod tests;

pub use client::{Action, ClientStatements, Limits, Outcome, Sharing};
pub use connection::{ConnectionStatements, limit_per_connection};
pub use dialect::Dialect;
pub use portable::Portable;
pub use sending::{Form, Sending, Then};
pub use shared::{Setting, SharedStatements, Statement};
