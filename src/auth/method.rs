//! What a method of authentication is, what it is told, and what it answers.

use std::fmt;

use super::credential::{Credential, PASSWORD_MAX};
use super::error::AuthError;
use super::rsa;
use super::rsa::KeyPair;
use super::secret::Secret;
use crate::wire::NONCE;

/// An authentication method.
pub trait Plugin: fmt::Debug + Sync {
    /// Its name on the wire.
    fn name(&self) -> &'static str;

    /// Our answer to a server's challenge, in the auth packet or after an auth switch.
    ///
    /// # Errors
    /// The method cannot be used here, or not with this challenge.
    fn answer(&self, login: &Login<'_>) -> Result<Vec<u8>, AuthError>;

    /// Our answer to the server's next data, `said` being what we said last. `None`: it expects
    /// none.
    ///
    /// # Errors
    /// The data is not what the method expects at this point.
    fn more(
        &self,
        login: &Login<'_>,
        said: &[u8],
        data: &[u8],
    ) -> Result<Option<Vec<u8>>, AuthError> {
        let _ = (login, said);
        Err(AuthError::unexpected(self.name(), "no further data", data))
    }

    /// Whether clients can log in here with it.
    fn verifies(&self) -> bool {
        false
    }

    /// Judges what a client that logs in here has sent (`data`). `said` is what we told it last;
    /// empty if `data` is its answer to the challenge.
    ///
    /// # Errors
    /// The method cannot verify clients, or it needs an RSA key and there is none.
    fn check(&self, claim: &Claim<'_>, said: &[u8], data: &[u8]) -> Result<Check, AuthError> {
        let _ = (claim, said, data);
        Err(AuthError::Refused {
            plugin: self.name(),
            why: "clients cannot log in here with it",
        })
    }
}

/// What we know when we log in at a server.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The password; empty for an account that has none.
    pub password: &'a [u8],
    /// The server's challenge, without the NUL behind it.
    pub nonce: &'a [u8],
    /// Whether nobody else can read the connection: it is TLS, or a unix socket.
    pub secure: bool,
    /// Whether it is TLS.
    pub tls: bool,
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

impl<'a> Login<'a> {
    /// The first `wanted` bytes of the challenge.
    pub(super) fn nonce_of(
        &self,
        plugin: &'static str,
        wanted: usize,
    ) -> Result<&'a [u8], AuthError> {
        let got = self.nonce.len();
        self.nonce.get(..wanted).ok_or(AuthError::Challenge {
            plugin,
            wanted,
            got,
        })
    }

    /// The password in clear with its NUL, for a connection that nobody else can read.
    pub(super) fn cleartext(&self) -> Vec<u8> {
        [self.password, b"\0"].concat()
    }

    /// The password encrypted for the holder of a key.
    pub(super) fn encrypted(&self, plugin: &'static str, key: &[u8]) -> Result<Vec<u8>, AuthError> {
        let nonce = self.nonce_of(plugin, NONCE)?;
        rsa::encrypt(key, self.password, nonce).map_err(|error| AuthError::Rsa { plugin, error })
    }
}

/// What is known of a client that logs in here.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// What its password is verified against.
    pub credential: &'a Credential,
    /// The challenge that was sent to it, without the NUL behind it.
    pub nonce: &'a [u8],
    /// Whether nobody else can read the connection: it is TLS, or a unix socket.
    pub secure: bool,
    /// The RSA key to offer; `None` for the process's own.
    pub key: Option<&'a KeyPair>,
}

impl Claim<'_> {
    /// Judges the password that the client has shown; `None`: what it has sent is none.
    pub(super) fn judge(&self, password: Option<Secret>) -> Check {
        let arrived = password.is_some();
        let password = password.unwrap_or_default();
        if self.credential.is_judged_elsewhere() {
            let fits = arrived && password.bytes().len() <= PASSWORD_MAX;
            return match fits {
                true => Check::Shown(password),
                false => Check::Refused,
            };
        }
        // Hashes something even if no password arrived, so that the time does not tell.
        let right = self.credential.is_password(password.bytes()) && arrived;
        if right {
            self.credential.learn(password.bytes());
        }
        Check::of(right)
    }
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("credential", self.credential)
            .field("secure", &self.secure)
            .finish_non_exhaustive()
    }
}

/// The state of a client's login after a round.
#[derive(Clone, PartialEq, Eq)]
pub enum Check {
    /// It knows the password. These bytes, if any, are to be sent to it before the OK.
    Granted(Option<Vec<u8>>),
    /// This is its password, which another judges.
    Shown(Secret),
    /// It does not know the password.
    Refused,
    /// This is to be sent to it, and it will answer.
    More(Vec<u8>),
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::Granted(None) => "Granted",
            Check::Granted(Some(_)) => "Granted, after more",
            Check::Shown(_) => "Shown",
            Check::Refused => "Refused",
            Check::More(_) => "More",
        })
    }
}

impl Check {
    pub(super) fn of(right: bool) -> Check {
        match right {
            true => Check::Granted(None),
            false => Check::Refused,
        }
    }
}
