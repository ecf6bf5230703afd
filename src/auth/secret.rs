//! Passwords in clear: wiped when nobody holds them any more, and never printed.

use std::fmt;
use std::rc::Rc;

use zeroize::Zeroizing;

use super::digest::{equal, sha256};

/// A password. Clones share it.
#[derive(Clone)]
pub struct Secret(Rc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes it over, so that there is no other copy.
    pub fn new(password: Vec<u8>) -> Secret {
        Secret(Rc::new(Zeroizing::new(password)))
    }

    /// The password itself.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for Secret {
    /// No password.
    fn default() -> Self {
        Secret::new(Vec::new())
    }
}

impl PartialEq for Secret {
    /// Hashed, so that the time of the comparison depends neither on where they differ nor on the
    /// lengths.
    fn eq(&self, other: &Self) -> bool {
        equal(&sha256(&[self.bytes()]), &sha256(&[other.bytes()]))
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_compared_and_not_shown() {
        let secret = Secret::new(b"secret".to_vec());
        assert_eq!(secret, Secret::new(b"secret".to_vec()));
        assert_ne!(secret, Secret::new(b"Secret".to_vec()));
        assert_ne!(secret, Secret::default());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
