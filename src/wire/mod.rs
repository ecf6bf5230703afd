//! The bytes of the protocol: frames, values and packets. Knows no sockets, states or scripts.
//!
//! - `values`: [`Reader`] reads a payload and never past its end; [`Put`] writes the protocol's types
//!   of values to any buffer; [`lenenc`] has the length-encoded integers. What cannot be decoded is
//!   a [`DecodeError`], which names packet, field and problem.
//! - Frames: [`frame`] has the four bytes in front of each payload, and splits large ones;
//!   [`compressed`] has the frames of the compressed protocol, around the whole stream of packets.
//! - `vocabulary`: [`Capabilities`], [`Status`], [`Com`], [`ColumnType`] and [`column_flags`], each
//!   with a table of MySQL's names.
//! - `login`: [`Handshake`] with its [`nonce`](nonce()), [`SslRequest`], [`Auth`],
//!   [`AuthSwitch`], [`AuthMoreData`]; [`ChangeUser`] for another login.
//! - `answers`, of any kind of command: [`Ok`], [`ErrPacket`], [`Eof`], [`session_changes`] at the end of an OK.
//! - `commands`: [`Command`], with [`query_attributes`] in front of COM_QUERY's SQL. COM_STATISTICS ([`Stats`]),
//!   COM_STMT_PREPARE ([`PrepareOk`]) and LOAD DATA LOCAL ([`LocalInfile`]) have their own kinds of
//!   answer; [`Progress`] may precede any.
//! - `statements`: [`Execute`] (or its [`ExecuteHead`] alone) and [`BulkExecute`], whose parameters are [`ParamValue`]s of a
//!   [`ParamType`]; the shorter commands about statements are accessors of [`Command`].
//! - `results`: [`ResultsetHeader`], [`Column`], rows of the text protocol ([`TextRow`],
//!   [`row::encode`]) and of the binary one ([`binary_row`], whose values read as text, too).
//!
//! A packet is a struct with `decode` and `encode`, which deal in payloads without their frames
//! and take the capabilities agreed on, save for the two packets that negotiate them. Decoding is
//! as tolerant as real clients and servers are; a packet that was decoded and not changed is
//! encoded to the very bytes it came from ([`Original`] says how). Only the session's state tells
//! which kind of packet a payload is: that is up to the layer above.
//!
//! Importing [`Ok`] does not hide the prelude's `Ok(…)`: one is a type, the other a value.

mod answers;
mod commands;
pub mod compressed;
pub mod frame;
mod login;
mod results;
mod statements;
#[cfg(test)]
mod tests;
mod values;
mod vocabulary;

pub use answers::eof::Eof;
pub use answers::err::ErrPacket;
pub use answers::local_infile::LocalInfile;
pub use answers::ok::Ok;
pub use answers::progress::Progress;
pub use answers::session_changes;
pub use answers::session_changes::SessionChange;
pub use answers::stats::Stats;
pub use commands::attributes::{read_attributes, write_attributes};
pub use commands::command::Command;
pub use commands::query_attributes;
pub use commands::query_attributes::Attribute;
pub use commands::statement_command::{LAST_PREPARED, LongData};
pub use login::auth::Auth;
pub use login::auth_data::{AuthMoreData, AuthSwitch};
pub use login::change_user::ChangeUser;
pub use login::handshake::Handshake;
pub use login::nonce::{NONCE, nonce};
pub use login::ssl_request::SslRequest;
pub use results::binary_row;
pub use results::binary_row::BinaryColumn;
pub use results::column::Column;
pub use results::resultset_header::ResultsetHeader;
pub use results::row;
pub use results::row::TextRow;
pub use statements::bulk_execute::{BulkExecute, BulkRows};
pub use statements::execute::{Bound, Execute, Param};
pub use statements::execute_form;
pub use statements::execute_head::{ExecuteHead, execute_flags};
pub use statements::param::{ParamError, ParamType, ParamValue};
pub use statements::prepare_ok::PrepareOk;
pub use values::error::{DecodeError, Problem};
pub use values::lenenc;
pub use values::original::Original;
pub use values::reader::Reader;
pub use values::writer::Put;
pub use vocabulary::capabilities::Capabilities;
pub use vocabulary::column_type::{ColumnType, column_flags};
pub use vocabulary::com::Com;
pub use vocabulary::hidden::Hidden;
pub use vocabulary::status::Status;
