//! `parsec`: MariaDB's "Password Authentication using Response Signed with Elliptic Curve", from
//! 11.6 on.
//!
//! The client asks for the salt with an empty packet. Its key is an ordinary Ed25519 one whose seed
//! PBKDF2 makes of password and salt, and it signs the server's challenge followed by one of its own.
//!
//! <https://mariadb.com/docs/server/reference/plugins/authentication-plugins/authentication-plugin-parsec>

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA512, derive};
use aws_lc_rs::signature::Ed25519KeyPair;

use super::{AuthError, Login, Plugin};

const NAME: &str = "parsec";
/// The length of each side's challenge.
const CHALLENGE: usize = 32;
/// The only key derivation function in use: PBKDF2.
const PBKDF2: u8 = b'P';
/// The limit of the salt's second byte: 0 stands for 1,024 rounds, and each step doubles them.
/// Servers choose small ones; the limit keeps a hostile server from wasting our time.
const FACTOR_MAX: u8 = 7;
/// The longest salt that is accepted. Servers' have 18 bytes.
const SALT_MAX: usize = 64;

/// `parsec`.
#[derive(Debug)]
pub struct Parsec;

impl Plugin for Parsec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn answer(&self, login: &Login<'_>) -> Result<Vec<u8>, AuthError> {
        login.nonce_of(NAME, CHALLENGE)?;
        Ok(Vec::new())
    }

    fn more(
        &self,
        login: &Login<'_>,
        said: &[u8],
        data: &[u8],
    ) -> Result<Option<Vec<u8>>, AuthError> {
        if !said.is_empty() {
            let wanted = "nothing more behind the salt";
            return Err(AuthError::unexpected(NAME, wanted, data));
        }
        match data {
            [PBKDF2, factor @ 0..=FACTOR_MAX, salt @ ..]
                if (1..=SALT_MAX).contains(&salt.len()) =>
            {
                sign(login, *factor, salt, &rand::random()).map(Some)
            }
            _ => {
                let wanted = "a salt for PBKDF2, of 1,024 to 131,072 rounds";
                Err(AuthError::unexpected(NAME, wanted, data))
            }
        }
    }
}

/// Our challenge and the signature over both.
pub(super) fn sign(
    login: &Login<'_>,
    factor: u8,
    salt: &[u8],
    own: &[u8; CHALLENGE],
) -> Result<Vec<u8>, AuthError> {
    let refused = |why| AuthError::Refused { plugin: NAME, why };
    let theirs = login.nonce_of(NAME, CHALLENGE)?;
    let rounds = NonZeroU32::new(1024 << factor).ok_or_else(|| refused("no rounds at all"))?;
    let mut seed = [0; 32];
    derive(PBKDF2_HMAC_SHA512, rounds, salt, login.password, &mut seed);
    let key =
        Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| refused("no key came of it"))?;
    let signature = key.sign(&[theirs, own].concat());
    Ok([own, signature.as_ref()].concat())
}
