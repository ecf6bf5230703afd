//! Results: columns and rows.

pub mod binary_row;
pub mod column;
pub mod resultset_header;
pub mod row;
