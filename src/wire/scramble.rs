//! The challenge and response of `mysql_native_password`.
//!
//! The server keeps `SHA1(SHA1(password))`; the client answers a nonce with
//! `SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password)))`.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods_native_password_authentication.html>

use rand::RngExt as _;
use sha1::{Digest as _, Sha1};

/// A fresh nonce of printable characters: no NUL, which would end it early, and no '$', which
/// servers avoid because it separates fields of stored hashes.
pub fn nonce() -> [u8; 20] {
    let mut rng = rand::rng();
    std::array::from_fn(|_| match rng.random_range(b'!'..b'~') {
        b'$' => b'~',
        other => other,
    })
}

/// The answer to `nonce` of who knows `password`. With an empty password the answer is empty
/// instead, which is the caller's to see to.
pub fn native_answer(password: &[u8], nonce: &[u8]) -> [u8; 20] {
    let stage1 = sha1(&[password]);
    let stage2 = sha1(&[&stage1]);
    xor(stage1, sha1(&[nonce, &stage2]))
}

/// What the server keeps of `password`: `SHA1(SHA1(password))`.
pub fn native_hash(password: &[u8]) -> [u8; 20] {
    sha1(&[&sha1(&[password])])
}

/// Prints a hash as `SELECT PASSWORD('x')` does: a `*` and 40 hexadecimal digits.
pub fn print_native_hash(hash: &[u8; 20]) -> String {
    let digits: String = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("*{digits}")
}

/// Reads what `SELECT PASSWORD('x')` prints: 40 hexadecimal digits, with or without a `*` before
/// them.
pub fn parse_native_hash(text: &str) -> Option<[u8; 20]> {
    let digits = text.strip_prefix('*').unwrap_or(text).as_bytes();
    if digits.len() != 40 {
        return None;
    }
    let mut hash = [0; 20];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |value, &digit| {
            Some(value << 4 | char::from(digit).to_digit(16)? as u8)
        })?;
    }
    Some(hash)
}

/// Whether `answer` proves knowledge of the password whose hash is `hash`. Takes the same time
/// wherever the two differ.
pub fn native_verify(answer: &[u8], nonce: &[u8], hash: &[u8; 20]) -> bool {
    let Ok(answer) = <[u8; 20]>::try_from(answer) else {
        return false;
    };
    let stage1 = xor(answer, sha1(&[nonce, hash]));
    let proof = sha1(&[&stage1]);
    proof
        .iter()
        .zip(hash)
        .fold(0, |differences, (a, b)| differences | (a ^ b))
        == 0
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut digest = Sha1::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

fn xor(mut a: [u8; 20], b: [u8; 20]) -> [u8; 20] {
    for (a, b) in a.iter_mut().zip(b) {
        *a ^= b;
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_is_what_a_server_prints() {
        // SELECT PASSWORD('secret')
        let printed = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7";
        assert_eq!(print_native_hash(&native_hash(b"secret")), printed);
        assert_eq!(parse_native_hash(printed), Some(native_hash(b"secret")));
        assert_eq!(
            parse_native_hash(&printed[1..]),
            Some(native_hash(b"secret"))
        );
        assert_eq!(
            parse_native_hash(&printed.to_lowercase()),
            Some(native_hash(b"secret"))
        );
    }

    #[test]
    fn other_texts_are_no_hashes() {
        for text in [
            "",
            "*",
            "*14E65567",
            "*14E65567ABDB5135D0CFD9A70B3032C179A49EEG",
            "ä",
        ] {
            assert_eq!(parse_native_hash(text), None, "{text}");
        }
    }

    #[test]
    fn nonces_are_printable() {
        for _ in 0..200 {
            assert!(nonce().iter().all(|c| c.is_ascii_graphic() && *c != b'$'));
        }
    }

    proptest! {
        #[test]
        fn only_the_password_answers(password: Vec<u8>, other: Vec<u8>, nonce: Vec<u8>) {
            let hash = native_hash(&password);
            prop_assert!(native_verify(&native_answer(&password, &nonce), &nonce, &hash));
            if password != other {
                prop_assert!(!native_verify(&native_answer(&other, &nonce), &nonce, &hash));
            }
            prop_assert!(!native_verify(&other, &nonce, &hash) || other.len() == 20);
        }
    }
}
