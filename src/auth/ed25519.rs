//! `client_ed25519`: MariaDB's signatures with Ed25519.
//!
//! The challenge is signed with a key made from the password. It is not a private key in the form
//! of RFC 8032: SHA-512 of the *password* takes the place of SHA-512 of a seed of 32 bytes, so the
//! library must accept an expanded secret key.
//!
//! <https://mariadb.com/docs/server/reference/clientserver-protocol/1-connecting/connection#client_ed25519-plugin>

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use sha2::Sha512;

use super::digest::sha512;
use super::{AuthError, Login, Plugin};

const NAME: &str = "client_ed25519";
/// Longer than those of MySQL's methods.
const CHALLENGE: usize = 32;

/// `client_ed25519`.
#[derive(Debug)]
pub struct Ed25519;

impl Plugin for Ed25519 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn answer(&self, login: &Login<'_>) -> Result<Vec<u8>, AuthError> {
        let challenge = login.nonce_of(NAME, CHALLENGE)?;
        let secret = ExpandedSecretKey::from_bytes(&sha512(&[login.password]));
        let public = VerifyingKey::from(&secret);
        Ok(raw_sign::<Sha512>(&secret, challenge, &public)
            .to_bytes()
            .to_vec())
    }
}
