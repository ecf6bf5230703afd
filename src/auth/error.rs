//! Why a login cannot go on, in words for a log or a Lua error.

use super::rsa::RsaError;

/// Why there is no answer. None of these shows a password, a hash or a challenge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A method that this crate does not have.
    #[error("authentication plugin '{0}' is not supported")]
    Unknown(String),
    /// The challenge is not one of the method's.
    #[error("{plugin}: expected a challenge of {wanted} bytes, got {got}")]
    Challenge {
        /// The method.
        plugin: &'static str,
        /// How long it would have to be.
        wanted: usize,
        /// How long it is.
        got: usize,
    },
    /// The server says something else than the method has there.
    #[error("{plugin}: expected {wanted}, got {got}")]
    Unexpected {
        /// The method.
        plugin: &'static str,
        /// What may come.
        wanted: &'static str,
        /// Its length and first byte.
        got: String,
    },
    /// The method may not be used as things are.
    #[error("{plugin}: {why}")]
    Refused {
        /// The method.
        plugin: &'static str,
        /// What would have to be otherwise.
        why: &'static str,
    },
    /// A key, or what should be one.
    #[error("{plugin}: {error}")]
    Rsa {
        /// The method.
        plugin: &'static str,
        /// What is wrong.
        error: RsaError,
    },
}

impl AuthError {
    /// A method that this crate does not have. Its name comes from the network, and is shown only
    /// as far as it can be shown.
    pub fn unknown(name: &[u8]) -> AuthError {
        let shown = name.get(..64).unwrap_or(name);
        AuthError::Unknown(shown.escape_ascii().to_string())
    }

    /// The server says something else than `wanted`.
    pub fn unexpected(plugin: &'static str, wanted: &'static str, data: &[u8]) -> AuthError {
        let got = match data {
            [] => "nothing".to_string(),
            [first, ..] => format!("{} bytes that begin with 0x{first:02X}", data.len()),
        };
        AuthError::Unexpected {
            plugin,
            wanted,
            got,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_network_are_shown_safely() {
        let error = AuthError::unknown(b"dia\nlog");
        let shown = "authentication plugin 'dia\\nlog' is not supported";
        assert_eq!(error.to_string(), shown);
        assert!(AuthError::unknown(&[b'x'; 5000]).to_string().len() < 120);
    }
}
