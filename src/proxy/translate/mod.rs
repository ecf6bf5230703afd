//! Changes of packets between two ends with different capabilities.
//!
//! - `translation`: for each capability whether packets are translated, the link is refused, or
//!   nothing need be done
//! - `ending`: OK and EOF in the receiver's form
//! - `redirect`: removes redirections that would send a client past the proxy

pub(super) mod ending;
pub(super) mod redirect;
pub(super) mod translation;
