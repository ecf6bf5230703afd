//! The challenge that a greeting carries.

use rand::RngExt as _;

/// How long the challenge of each of MySQL's methods is.
pub const NONCE: usize = 20;

/// A fresh nonce of printable characters: no NUL, which would end it early, and no '$', which
/// servers avoid because it separates fields of stored hashes.
pub fn nonce() -> [u8; NONCE] {
    let mut rng = rand::rng();
    std::array::from_fn(|_| match rng.random_range(b'!'..b'~') {
        b'$' => b'~',
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_are_printable() {
        for _ in 0..200 {
            assert!(nonce().iter().all(|c| c.is_ascii_graphic() && *c != b'$'));
        }
    }
}
