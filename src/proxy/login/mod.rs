//! What is decided until a connection is logged in.
//!
//! - `negotiation`: what is offered to clients and asked of servers
//! - `tls`: when TLS begins on a connection, and what becomes of one where it cannot
//! - `login_relay`: logins that pass through where the two legs are not equally safe; `exposure`: which of
//!   their answers may go where; `own_key`: the RSA key of the process

pub(super) mod exposure;
pub(super) mod login_relay;
pub(super) mod negotiation;
pub(super) mod own_key;
pub(super) mod tls;
