//! Authentication methods: what each computes, as the client of a server and as the server of a
//! client. Pure: knows no sockets, states or scripts.
//!
//! - [`Plugin`]: the one trait. A method is known under its name on the wire: [`plugin()`] finds it.
//! - `native`, `caching_sha2`, `sha256`, `clear` (MySQL's), `ed25519` and `parsec` (MariaDB's):
//!   the methods
//! - `rsa`: passwords encrypted for the holder of a key; `sha_crypt`: MySQL's slow hash
//! - [`Secret`]: a password in clear
//! - [`Credential`]: what is known of the password of a client that logs in here;
//!   [`certificate_proof`]: how such a client learns that nobody intercepts its connection
//!
//! A plugin keeps no state between the rounds of a login: its next answer depends only on what it
//! said last, which is passed to it. So each answer is a pure function, which a test can call with
//! data recorded from a real server.

pub mod caching_sha2;
pub mod clear;
mod credential;
mod digest;
mod ed25519;
mod error;
mod method;
pub mod native;
mod parsec;
mod proof;
pub mod rsa;
mod secret;
mod sha256;
mod sha_crypt;
#[cfg(test)]
mod tests;

pub use credential::{Credential, PASSWORD_MAX, WANTED, bytes_of};
pub use error::AuthError;
pub use method::{Check, Claim, Login, Plugin};
pub use proof::{certificate_proof, is_certificate_proof};
pub use secret::Secret;

/// All methods there are.
pub const PLUGINS: &[&dyn Plugin] = &[
    &native::Native,
    &caching_sha2::CachingSha2,
    &sha256::Sha256,
    &clear::Clear,
    &ed25519::Ed25519,
    &parsec::Parsec,
];

/// The method of this name.
///
/// # Errors
/// There is none: the error names it.
pub fn plugin(name: &[u8]) -> Result<&'static dyn Plugin, AuthError> {
    let found = PLUGINS
        .iter()
        .find(|plugin| plugin.name().as_bytes() == name);
    found.copied().ok_or_else(|| AuthError::unknown(name))
}
