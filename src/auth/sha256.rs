//! `sha256_password`: the predecessor of `caching_sha2_password`, without its fast path. Servers take
//! the password itself over TLS only: on a unix socket they go on with RSA.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods_sha256_password_authentication.html>

use super::{AuthError, Login, Plugin};

const NAME: &str = "sha256_password";

/// The client asks for the server's RSA key.
const REQUEST_KEY: &[u8] = &[1];

/// `sha256_password`.
#[derive(Debug)]
pub struct Sha256;

impl Plugin for Sha256 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn answer(&self, login: &Login<'_>) -> Result<Vec<u8>, AuthError> {
        if login.password.is_empty() {
            // An empty answer would ask for an auth switch instead.
            return Ok(vec![0]);
        }
        match login.server_key {
            _ if login.tls => Ok(login.cleartext()),
            Some(key) => login.encrypted(NAME, key),
            None => Ok(REQUEST_KEY.to_vec()),
        }
    }

    fn more(
        &self,
        login: &Login<'_>,
        said: &[u8],
        data: &[u8],
    ) -> Result<Option<Vec<u8>>, AuthError> {
        if said != REQUEST_KEY || login.tls {
            let wanted = "no further data but a key that was asked for";
            return Err(AuthError::unexpected(NAME, wanted, data));
        }
        login.encrypted(NAME, data).map(Some)
    }
}
