//! How values and packets are read and written: bytes in, bytes out.

pub mod error;
pub mod float_text;
pub mod lenenc;
pub mod original;
pub mod reader;
pub mod temporal;
pub mod writer;
