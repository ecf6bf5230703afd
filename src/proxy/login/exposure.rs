//! Which packets of a login may be forwarded: what the authentication methods reveal, and how safe
//! the legs are.
//!
//! If a client's leg is safe and its server's is not, an attacker may pose as the server and send
//! whatever makes clients reveal passwords. Not all clients follow the protocol strictly (some look
//! only at a first byte). So only what is known to reveal nothing is forwarded there, rather than
//! everything that is not known to reveal something.

use crate::proxy::options::Cleartext;

/// What an authentication method reveals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// The password, when the server does not know it yet: in clear over TLS and unix sockets,
    /// else encrypted.
    CachingSha2,
    /// The password, always: in clear over TLS, else encrypted.
    Sha256,
    /// The password, or a token that is as good as a password.
    Clear,
    /// Nothing that is of use to an eavesdropper.
    Proof,
    /// The client named none: it has no choice but the hash of `mysql_native_password`.
    Unnamed,
    /// Unknown.
    Unknown,
}

impl Method {
    pub fn of(plugin: &[u8]) -> Method {
        match plugin {
            b"caching_sha2_password" => Method::CachingSha2,
            b"sha256_password" => Method::Sha256,
            b"mysql_clear_password" | b"dialog" | b"authentication_openid_connect_client" => {
                Method::Clear
            }
            b"mysql_native_password"
            | b"client_ed25519"
            | b"parsec"
            | b"auth_gssapi_client"
            | b"authentication_kerberos_client"
            | b"authentication_ldap_sasl_client"
            | b"authentication_windows_client"
            | b"authentication_fido_client"
            | b"authentication_webauthn_client"
            | b"authentication_oci_client" => Method::Proof,
            b"" => Method::Unnamed,
            _ => Method::Unknown,
        }
    }

    /// The client's request for the server's key.
    pub fn key_request(self) -> &'static [u8] {
        match self {
            Method::Sha256 => &[1],
            _ => &[2],
        }
    }

    /// Whether the method has such a round from the server. With methods whose client reveals the
    /// password on request the server may send nothing else.
    pub fn has_round(self, payload: &[u8]) -> bool {
        let is_key = |data: &[u8]| data.starts_with(b"-----BEGIN ");
        match (self, payload) {
            (Method::CachingSha2, [1, data @ ..]) => matches!(data, [3 | 4]) || is_key(data),
            (Method::Sha256, [1, data @ ..]) => is_key(data),
            // The client's answer is checked in any case.
            (Method::Clear | Method::Proof, _) => true,
            _ => false,
        }
    }

    /// Whether a client's answer reveals nothing. `first`: it answers the challenge rather than a
    /// later round.
    pub fn hides(self, answer: &[u8], first: bool) -> bool {
        match (self, answer) {
            // The empty password, in the form that all methods share.
            (_, [] | [0]) | (Method::Proof, _) => true,
            (Method::CachingSha2, hash) => first && hash.len() == 32,
            (Method::Unnamed, hash) => first && hash.len() == 20,
            (Method::Sha256 | Method::Clear | Method::Unknown, _) => false,
        }
    }

    /// Whether an answer asks for a key, or is encrypted with one.
    pub fn by_key(self, answer: &[u8]) -> bool {
        matches!(self, Method::CachingSha2 | Method::Sha256)
            && (answer == self.key_request()
                // The size of a block of RSA. A password ends with its only NUL.
                || matches!(answer.len(), 128 | 256 | 384 | 512)
                    && answer.iter().position(|byte| *byte == 0) != Some(answer.len() - 1))
    }
}

/// How safe a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leg {
    pub tls: bool,
    pub unix: bool,
}

impl Leg {
    pub fn safe(self) -> bool {
        self.tls || self.unix
    }

    /// Whether the server takes a password in clear on it.
    pub fn takes_clear(self, method: Method) -> bool {
        match method {
            Method::Sha256 => self.tls,
            Method::CachingSha2 => self.safe(),
            Method::Clear | Method::Proof | Method::Unnamed | Method::Unknown => true,
        }
    }
}

/// The two legs of a login.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Legs {
    pub client: Leg,
    pub server: Leg,
    pub cleartext: Cleartext,
}

impl Legs {
    /// Whether the client's leg is safe and the server's is not, so that secrets must not be
    /// forwarded.
    pub fn exposed(&self) -> bool {
        self.client.safe() && !self.server.safe() && self.cleartext != Cleartext::Allow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_passes() {
        let caching = Method::CachingSha2;
        assert!(caching.has_round(&[1, 3]) && caching.has_round(&[1, 4]));
        assert!(caching.has_round(b"\x01-----BEGIN PUBLIC KEY-----"));
        for round in [&[1, 4, 0][..], &[4], &[1], &[], &[1, 5], b"-----BEGIN "] {
            assert!(!caching.has_round(round), "{round:?}");
        }
        assert!(!Method::Unknown.has_round(&[1, 4]) && !Method::Unnamed.has_round(&[1, 4]));
        // A password of 31 characters, with its NUL, is as long as a hash.
        assert!(caching.hides(&[7; 32], true) && !caching.hides(&[7; 32], false));
        assert!(!caching.hides(b"secret\0", true) && caching.hides(b"", false));
        assert!(Method::Unnamed.hides(&[7; 20], true) && !Method::Unknown.hides(&[7; 20], true));
        assert!(!Method::of(b"mysql_old_password").hides(&[7; 8], true));
        // One of 255 is as long as a block of RSA.
        let mut password = [7; 256];
        assert!(caching.by_key(&password) && caching.by_key(&[2]));
        password[255] = 0;
        assert!(!caching.by_key(&password));
    }
}
