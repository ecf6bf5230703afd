//! What is changed in packets between two ends that negotiated differently.
//!
//! - `translation`: of each capability what is translated, refused, or harmless
//! - `ending`: OK and EOF in the receiver's form
//! - `redirect`: what would send a client past the proxy, and goes

pub(super) mod ending;
pub(super) mod redirect;
pub(super) mod translation;
