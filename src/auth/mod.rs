//! What a login says: the computations of each authentication method, towards servers and towards
//! clients. Pure: knows no sockets, states or scripts.
//!
//! - [`Plugin`]: the one trait. A method is known under its name on the wire: [`plugin()`] finds it.
//! - `native`: the method `mysql_native_password`
//! - `rsa`: passwords encrypted for whoever holds the key
//!
//! A plugin keeps nothing between the rounds of a login. What its next answer depends on is what it
//! said last, and that is handed back to it; so each answer is a function that a test can call
//! with what was recorded from a real server.

mod digest;
mod error;
pub mod native;
pub mod rsa;

use std::fmt;

pub use error::AuthError;

/// An authentication method.
pub trait Plugin: fmt::Debug + Sync {
    /// Its name on the wire.
    fn name(&self) -> &'static str;

    /// Our answer to a server's challenge, in the auth packet or behind a switch.
    ///
    /// # Errors
    /// The method cannot be used here, or not with this challenge.
    fn answer(&self, login: &Login<'_>) -> Result<Vec<u8>, AuthError>;

    /// Our answer to what the server says next, `said` being what we said last. `None`: it wants
    /// none.
    ///
    /// # Errors
    /// The server says what the method does not have there.
    fn more(
        &self,
        login: &Login<'_>,
        said: &[u8],
        data: &[u8],
    ) -> Result<Option<Vec<u8>>, AuthError> {
        let _ = (login, said);
        Err(AuthError::unexpected(self.name(), "no further data", data))
    }
}

/// What one who logs in at a server knows.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The password; empty for an account that has none.
    pub password: &'a [u8],
    /// The server's challenge, without the NUL behind it.
    pub nonce: &'a [u8],
    /// Whether nobody else can read the connection: it is TLS, or a unix socket.
    pub secure: bool,
    /// The server's RSA key, if it is known beforehand.
    pub server_key: Option<&'a [u8]>,
    /// Whether a method may show the password to the server as it is.
    pub allow_cleartext: bool,
}

impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("secure", &self.secure)
            .field("allow_cleartext", &self.allow_cleartext)
            .finish_non_exhaustive()
    }
}

/// All methods there are.
pub const PLUGINS: &[&dyn Plugin] = &[&native::Native];

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
