//! What happens until a connection is logged in.
//!
//! - `negotiation`: the capabilities that are offered to clients and asked of servers
//! - `tls`: starting TLS on a connection, and handling its failure
//! - `login_relay`: logins that pass through between legs that are not equally safe; `exposure`:
//!   which of their packets may be forwarded; `own_key`: the RSA key of the process
//! - `parting`: the dialogue that finishes the login at a server whose client has left; `leave`: how it
//!   is driven
//! - `compression`: where compression begins; `follow`: how `login_relay` is driven, packet by packet

pub(super) mod compression;
pub(super) mod exposure;
pub(super) mod follow;
pub(super) mod leave;
pub(super) mod login_relay;
pub(super) mod negotiation;
pub(super) mod own_key;
pub(super) mod parting;
pub(super) mod tls;
