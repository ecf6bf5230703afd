//! What clients send.

pub mod attributes;
pub mod command;
pub mod query_attributes;
pub mod statement_command;
