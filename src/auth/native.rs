//! The challenge and response of `mysql_native_password`.
//!
//! The server keeps `SHA1(SHA1(password))`; the client answers a nonce with
//! `SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password)))`.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods_native_password_authentication.html>

use super::digest::{equal, sha1, xor};
use super::{AuthError, Check, Claim, Login, Plugin};
use crate::wire::NONCE;

/// `mysql_native_password`.
#[derive(Debug)]
pub struct Native;

impl Plugin for Native {
    fn name(&self) -> &'static str {
        "mysql_native_password"
    }

    fn answer(&self, login: &Login<'_>) -> Result<Vec<u8>, AuthError> {
        if login.password.is_empty() {
            return Ok(Vec::new());
        }
        // Servers before 4.1 send eight bytes, for an older method that reveals the password.
        let nonce = login.nonce_of(self.name(), NONCE)?;
        Ok(native_answer(login.password, nonce).to_vec())
    }

    fn verifies(&self) -> bool {
        true
    }

    fn check(&self, claim: &Claim<'_>, _: &[u8], data: &[u8]) -> Result<Check, AuthError> {
        let empty = data.is_empty();
        if empty || claim.credential.is_empty() {
            return Ok(Check::of(empty && claim.credential.is_empty()));
        }
        let hash = claim.credential.native_hash();
        Ok(Check::of(native_verify(data, claim.nonce, &hash)))
    }
}

/// The answer to `nonce` for `password`. With an empty password the answer is empty instead: the
/// caller has to take care of that.
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
    equal(&sha1(&[&stage1]), hash)
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

    fn login<'a>(password: &'a [u8], nonce: &'a [u8]) -> Login<'a> {
        Login {
            password,
            nonce,
            secure: false,
            tls: false,
            server_key: None,
            allow_cleartext: false,
        }
    }

    #[test]
    fn the_challenge_has_its_length() {
        let answer = |nonce: &[u8]| Native.answer(&login(b"secret", nonce));
        assert_eq!(answer(&[b'x'; 20]).unwrap().len(), 20);
        let error = answer(&[b'x'; 8]).unwrap_err().to_string();
        let wanted = "mysql_native_password: expected a challenge of 20 bytes, got 8";
        assert_eq!(error, wanted);
        assert_eq!(Native.answer(&login(b"", b"")), Ok(Vec::new()));
        assert!(
            Native
                .more(&login(b"x", &[b'x'; 20]), b"", b"data")
                .is_err()
        );
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
