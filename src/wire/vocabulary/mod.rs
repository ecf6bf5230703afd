//! Flags and numbers by their names.

pub mod capabilities;
pub mod column_type;
pub mod com;
pub mod hidden;
pub mod status;
