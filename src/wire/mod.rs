//! The bytes of the protocol: frames, values and packets. Knows no sockets, states or scripts.
//!
//! - Values: [`Reader`] reads a payload and never past its end; [`Put`] writes the protocol's types
//!   of values to any buffer; [`lenenc`] has the length-encoded integers. What cannot be decoded is
//!   a [`DecodeError`], which names packet, field and problem.
//! - Frames: [`frame`] has the four bytes in front of each payload, and splits large ones;
//!   [`compressed`] has the frames of the compressed protocol, around the whole stream of packets.
//! - Vocabulary: [`Capabilities`], [`Status`], [`Com`], [`ColumnType`] and [`column_flags`], each
//!   with a table of MySQL's names.
//! - Connecting: [`Handshake`] with its [`nonce`](nonce()), [`SslRequest`], [`Auth`],
//!   [`AuthSwitch`], [`AuthMoreData`].
//! - Answers of all kinds: [`Ok`], [`ErrPacket`], [`Eof`].
//! - Commands: [`Command`], and [`ChangeUser`] for another login. COM_STATISTICS ([`Stats`]),
//!   COM_STMT_PREPARE ([`PrepareOk`]) and LOAD DATA LOCAL ([`LocalInfile`]) have their own kinds of
//!   answer; [`Progress`] may precede any.
//! - Statements: [`Execute`] (or its [`ExecuteHead`] alone) and [`BulkExecute`], whose parameters are [`ParamValue`]s of a
//!   [`ParamType`]; the shorter commands about statements are accessors of [`Command`].
//! - Parts of other packets: [`query_attributes`] in front of COM_QUERY's SQL, [`session_changes`]
//!   at the end of an OK.
//! - Results: [`ResultsetHeader`], [`Column`], rows of the text protocol ([`TextRow`],
//!   [`row::encode`]) and of the binary one ([`binary_row`], whose values read as text, too).
//!
//! A packet is a struct with `decode` and `encode`, which deal in payloads without their frames
//! and take the capabilities agreed on, save for the two packets that negotiate them. Decoding is
//! as tolerant as real clients and servers are; a packet that was decoded and not changed is
//! encoded to the very bytes it came from ([`Original`] says how). Only the session's state tells
//! which kind of packet a payload is: that is up to the layer above.
//!
//! Importing [`Ok`] does not hide the prelude's `Ok(…)`: one is a type, the other a value.

mod attributes;
mod auth;
mod auth_data;
pub mod binary_row;
mod bulk_execute;
mod capabilities;
mod change_user;
mod column;
mod column_type;
mod com;
mod command;
pub mod compressed;
mod eof;
mod err;
mod error;
mod execute;
pub mod execute_form;
mod execute_head;
mod float_text;
pub mod frame;
mod handshake;
mod hidden;
pub mod lenenc;
mod local_infile;
mod nonce;
mod ok;
mod original;
mod param;
mod prepare_ok;
mod progress;
pub mod query_attributes;
mod reader;
mod resultset_header;
pub mod row;
pub mod session_changes;
mod ssl_request;
mod statement_command;
mod stats;
mod status;
mod temporal;
#[cfg(test)]
mod tests;
mod writer;

pub use attributes::{read_attributes, write_attributes};
pub use auth::Auth;
pub use auth_data::{AuthMoreData, AuthSwitch};
pub use binary_row::BinaryColumn;
pub use bulk_execute::{BulkExecute, BulkRows};
pub use capabilities::Capabilities;
pub use change_user::ChangeUser;
pub use column::Column;
pub use column_type::{ColumnType, column_flags};
pub use com::Com;
pub use command::Command;
pub use eof::Eof;
pub use err::ErrPacket;
pub use error::{DecodeError, Problem};
pub use execute::{Bound, Execute, Param};
pub use execute_head::{ExecuteHead, execute_flags};
pub use handshake::Handshake;
pub use hidden::Hidden;
pub use local_infile::LocalInfile;
pub use nonce::{NONCE, nonce};
pub use ok::Ok;
pub use original::Original;
pub use param::{ParamError, ParamType, ParamValue};
pub use prepare_ok::PrepareOk;
pub use progress::Progress;
pub use query_attributes::Attribute;
pub use reader::Reader;
pub use resultset_header::ResultsetHeader;
pub use row::TextRow;
pub use session_changes::SessionChange;
pub use ssl_request::SslRequest;
pub use statement_command::{LAST_PREPARED, LongData};
pub use stats::Stats;
pub use status::Status;
pub use writer::Put;
