//! Why a login cannot go on, in words for a log or a Lua error.

use super::rsa::RsaError;

/// Why there is no answer. No message shows a password, a hash or a challenge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A method that this crate does not have.
    #[error("authentication plugin '{0}' is not supported")]
    Unknown(String),
    /// The challenge is not one for the method.
    #[error("{plugin}: expected a challenge of {wanted} bytes, got {got}")]
    Challenge {
        /// The method.
        plugin: &'static str,
        /// How long it would have to be.
        wanted: usize,
        /// How long it is.
        got: usize,
    },
    /// The server's data is not what the method expects at this point.
    #[error("{plugin}: expected {wanted}, got {got}")]
    Unexpected {
        /// The method.
        plugin: &'static str,
        /// What may come.
        wanted: &'static str,
        /// Its length and first byte.
        got: String,
    },
    /// The method may not be used here.
    #[error("{plugin}: {why}")]
    Refused {
        /// The method.
        plugin: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// A key cannot be used.
    #[error("{plugin}: {error}")]
    Rsa {
        /// The method.
        plugin: &'static str,
        /// What is wrong.
        error: RsaError,
    },
}

impl AuthError {
    /// A method that this crate does not have. The name comes from the network: it is escaped and
    /// shortened.
    pub fn unknown(name: &[u8]) -> AuthError {
        let shown = name.get(..64).unwrap_or(name);
        AuthError::Unknown(shown.escape_ascii().to_string())
    }

    /// The server's data is not `wanted`.
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
