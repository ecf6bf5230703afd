//! A small HTTP/1.1 service in the proxy's loop: for probes, metrics, a page, and what scripts answer; and a client, for what
//! scripts ask of others.
//!
//! It is bounded in everything that a client can make it hold: clients, the size of heads and bodies, what is
//! queued for a client that does not read, and the time that each step may take. It serves one request of a
//! connection after the other.
//!
//! - [`HttpListener`] listens, and asks a [`Handler`] for the answer of each [`Request`]; an [`Exchange`] is what the
//!   handler answers by, at once or later, with a [`Response`] or a stream.
//! - `conversation` is one connection without its socket: bytes in, requests out, answers in, bytes out. It
//!   consists of `head` (the request's head, from the parser of the crate `httparse`), `body` (its framing)
//!   and `response`; `refusal` is what is wrong with a request.
//! - `access`: who may ask.
//! - `field`: the lines of heads, which the client writes, too.
//! - `client`: requests to other servers.
//! - `connection`: a conversation with its socket and its deadlines, a [`Guest`](crate::proxy::Guest) of the loop.

mod access;
mod body;
mod client;
mod connection;
mod conversation;
mod exchange;
mod field;
mod head;
mod listener;
mod options;
mod refusal;
mod request;
mod response;
mod service;
#[cfg(test)]
mod tests;

pub use access::{Access, Account, Open};
pub use client::{Address, BadCall, Call, CallOptions, Failure, HttpClient, Reply, Underway};
pub use conversation::{Conversation, Next, Sent};
pub use exchange::{Exchange, Handler};
pub use listener::{HttpError, HttpListener};
pub use options::HttpOptions;
pub use refusal::Refusal;
pub use request::Request;
pub use response::{BadResponse, Head, Response};
