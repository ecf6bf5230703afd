//! Packets, rows and whole results as objects.
//!
//! - `object`: packets, by tables of accessors, which are in `packets`, `field` and the other files
//! - `rset`, `row`: results and what is in their rows; `rowset`: many rows, sent again without Lua
//! - `arrived`: the object of a packet that callbacks are shown

pub(super) mod arrived;
pub(super) mod attributes;
pub(super) mod auth_data;
pub(super) mod change_user;
pub(super) mod command;
pub(super) mod field;
pub(super) mod object;
pub(super) mod packets;
pub(super) mod row;
pub(super) mod rowset;
pub(super) mod rset;
pub(super) mod session_changes;
