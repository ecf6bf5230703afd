//! What the fuzz targets share. Each target gives any bytes to a room of the library and checks what must
//! hold for all of them; doc/TESTING.md says how to run them.
//!
//! - [`input`]: reads values and whole sessions out of the fuzzer's bytes
//! - [`packets`]: what is decoded is encoded to the same bytes, and decodes to the same values
//! - [`lockstep`]: the two legs of a session that is passed on
//! - [`far_ends`]: a client and a server at the ends of a proxy, who know what they have said
//! - [`sql`]: what is said about texts of SQL

pub mod far_ends;
pub mod input;
pub mod lockstep;
pub mod packets;
pub mod sql;
