//! How packets pass.
//!
//! - `run`: the loop; `pump`: a connection is read, and what came is dealt with
//! - `advance`: the hot path, which nobody looks at; `transit`: packets that leave before they are all
//!   there; `watched_rows`: rows that a hook looks at
//! - `packet`: any other packet that hooks look at: its session takes it (`take`), and it is put through
//!   to the peer (`put_through`)
//! - `send`: a packet of the hooks' own; `own_errors`: the proxy's own ERR packets
//! - `deliver`: the one way out, which every packet takes

pub(super) mod advance;
pub(super) mod deliver;
pub(super) mod own_errors;
pub(super) mod packet;
pub(super) mod pump;
pub(super) mod put_through;
pub(super) mod run;
pub(super) mod send;
pub(super) mod take;
pub(super) mod transit;
pub(super) mod watched_rows;
