//! `caching_sha2_password`: MySQL's default since 8.0.
//!
//! The *fast path* is a challenge and response for which the server needs
//! `SHA256(SHA256(password))`: the client answers a nonce with
//! `SHA256(password) XOR SHA256(SHA256(SHA256(password)) + nonce)`. What MySQL stores is a salted,
//! slow hash instead, so the first login after a start needs the password itself (*full
//! authentication*): in clear on a connection that nobody else can read, otherwise encrypted by
//! `rsa`.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html>

use super::digest::{equal, sha256, xor};
use super::rsa;
use super::rsa::KeyPair;
use super::{AuthError, Check, Claim, Login, Plugin, Secret};
use crate::wire::NONCE;

/// The method's name on the wire.
pub const NAME: &str = "caching_sha2_password";

/// The client asks for the server's RSA key.
const REQUEST_KEY: &[u8] = &[2];
/// The server has found the fast path's answer right.
const FAST_DONE: &[u8] = &[3];
/// The server wants the password itself.
const FULL: &[u8] = &[4];

/// `caching_sha2_password`.
#[derive(Debug)]
pub struct CachingSha2;

impl Plugin for CachingSha2 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn answer(&self, login: &Login<'_>) -> Result<Vec<u8>, AuthError> {
        if login.password.is_empty() {
            return Ok(Vec::new());
        }
        let nonce = login.nonce_of(NAME, NONCE)?;
        Ok(fast_answer(login.password, nonce).to_vec())
    }

    fn more(
        &self,
        login: &Login<'_>,
        said: &[u8],
        data: &[u8],
    ) -> Result<Option<Vec<u8>>, AuthError> {
        match data {
            FAST_DONE => Ok(None),
            FULL if login.secure => Ok(Some(login.cleartext())),
            FULL => match login.server_key {
                Some(key) => login.encrypted(NAME, key).map(Some),
                None => Ok(Some(REQUEST_KEY.to_vec())),
            },
            key if said == REQUEST_KEY && !login.secure => login.encrypted(NAME, key).map(Some),
            _ => Err(AuthError::unexpected(
                NAME,
                "\"fast path accepted\", \"full authentication\" or a key that was asked for",
                data,
            )),
        }
    }

    fn verifies(&self) -> bool {
        true
    }

    fn check(&self, claim: &Claim<'_>, said: &[u8], data: &[u8]) -> Result<Check, AuthError> {
        if said.is_empty() {
            return Ok(fast_check(claim, data));
        }
        let own = claim.key()?;
        let password = if data == REQUEST_KEY && said == FULL {
            return Ok(Check::More(own.public_pem().to_vec()));
        } else if claim.secure && said == FULL {
            let password = data.strip_suffix(b"\0");
            password.map(|password| Secret::new(password.to_vec()))
        } else {
            own.decrypt(data, claim.nonce)
        };
        Ok(claim.judge(password))
    }
}

fn fast_check(claim: &Claim<'_>, answer: &[u8]) -> Check {
    // Clients send the empty password as nothing or as a NUL.
    let empty = matches!(answer, [] | [0]);
    if empty && claim.credential.is_judged_elsewhere() {
        return claim.judge(Some(Secret::default()));
    }
    if empty || claim.credential.is_empty() {
        return Check::of(empty && claim.credential.is_empty());
    }
    let hash = claim.credential.sha2_double_hash();
    match fast_verify(answer, claim.nonce, &hash) {
        true => Check::Granted(Some(FAST_DONE.to_vec())),
        // Full authentication rather than a refusal, even if the password itself is known: MySQL's
        // servers do so, and some clients get the fast path wrong after an auth switch (PyMySQL
        // takes the NUL for part of the nonce).
        false => Check::More(FULL.to_vec()),
    }
}

/// `SHA256(SHA256(password))`, with which the fast path can be verified.
pub fn double_hash(password: &[u8]) -> [u8; 32] {
    sha256(&[&sha256(&[password])])
}

/// The fast path's answer to `nonce`.
pub fn fast_answer(password: &[u8], nonce: &[u8]) -> [u8; 32] {
    let stage1 = sha256(&[password]);
    let stage2 = sha256(&[&stage1]);
    xor(stage1, sha256(&[&stage2, nonce]))
}

/// Whether `answer` proves knowledge of the password whose double hash is `hash`.
pub fn fast_verify(answer: &[u8], nonce: &[u8], hash: &[u8; 32]) -> bool {
    let Ok(answer) = <[u8; 32]>::try_from(answer) else {
        return false;
    };
    let stage1 = xor(answer, sha256(&[hash, nonce]));
    equal(&sha256(&[&stage1]), hash)
}

impl<'a> Claim<'a> {
    /// The key to offer.
    fn key(&self) -> Result<&'a KeyPair, AuthError> {
        let plugin = NAME;
        match self.key {
            Some(key) => Ok(key),
            None => rsa::own_key().map_err(|error| AuthError::Rsa { plugin, error }),
        }
    }
}
