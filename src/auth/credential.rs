//! What the proxy knows of an account in order to log clients in: its password, or a hash of it.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use super::digest::{equal, sha256};
use super::native::{native_hash, parse_native_hash, print_native_hash};
use super::{Plugin, Secret, caching_sha2, native, sha_crypt};

/// The longest password that MySQL's servers take.
pub const PASSWORD_MAX: usize = 256;

/// The prefix of MySQL's slow hash: "A" is SHA-crypt with SHA-256, and three hexadecimal digits say
/// how many thousand rounds.
const VERIFIER: &[u8] = b"$A$";
const SALT: usize = 20;
/// The length of the whole: `$A$005$`, salt and hash.
const VERIFIER_LEN: usize = 7 + SALT + sha_crypt::HASH;
/// The rounds of the servers' own hashes, in thousands.
const USUAL_ROUNDS: u32 = 5;
/// The most rounds that are accepted, in thousands: the event loop waits while they are computed.
const ROUNDS_MAX: u32 = 0x40;
/// The prefix of a double hash for the fast path, in a form of ours: no server prints one.
const DOUBLE: &str = "sha256d:";

/// The forms that [`Credential::parse`] reads, for error messages.
pub const WANTED: &str = "a password hash: '*' and 40 hexadecimal digits, a caching_sha2_password \
    verifier ('$A$005$...', or 0x and its hexadecimal digits), 'sha256d:' and 64 hexadecimal \
    digits, or '' for no password";

/// What is known of an account's password. Clones share what a login adds to it.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The password itself.
    Password(Secret),
    /// `SHA1(SHA1(password))`, which `mysql_native_password` can be verified with.
    Native([u8; 20]),
    /// What servers store for `caching_sha2_password`.
    Sha2(Rc<Verifier>),
    /// `SHA256(SHA256(password))`, which `caching_sha2_password`'s fast path can be verified with.
    Sha2Double([u8; 32]),
    /// Nothing is: the client has to show its password, which another judges. `known`: what it was
    /// found to be before; a client can prove that it knows it instead.
    Shown {
        /// The password.
        known: Option<Secret>,
    },
}

/// MySQL's slow hash.
#[derive(Clone, Eq)]
pub struct Verifier {
    /// In thousands.
    rounds: u32,
    salt: [u8; SALT],
    hash: [u8; sha_crypt::HASH],
    /// The double hash of the password, once a login has shown it. It allows the fast path from
    /// then on, like a server's cache.
    double: OnceCell<[u8; 32]>,
}

impl PartialEq for Verifier {
    fn eq(&self, other: &Self) -> bool {
        (self.rounds, self.salt, self.hash) == (other.rounds, other.salt, other.hash)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Password(_) => "Password(..)",
            Credential::Native(_) => "Native(..)",
            Credential::Sha2(_) => "Sha2(..)",
            Credential::Sha2Double(_) => "Sha2Double(..)",
            Credential::Shown { .. } => "Shown(..)",
        })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// The password itself.
    pub fn password(password: &[u8]) -> Credential {
        Credential::Password(Secret::new(password.to_vec()))
    }

    /// Reads a hash. The empty text stands for the empty password.
    pub fn parse(text: &[u8]) -> Option<Credential> {
        if text.is_empty() {
            return Some(Credential::password(b""));
        }
        if text.starts_with(VERIFIER) {
            return Verifier::parse(text).map(|verifier| Credential::Sha2(Rc::new(verifier)));
        }
        let text = std::str::from_utf8(text).ok()?;
        if let Some(digits) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
            let verifier = Verifier::parse(&bytes_of(digits)?)?;
            return Some(Credential::Sha2(Rc::new(verifier)));
        }
        if let Some(digits) = text.strip_prefix(DOUBLE) {
            let hash = bytes_of(digits)?.try_into().ok()?;
            return Some(Credential::Sha2Double(hash));
        }
        parse_native_hash(text).map(Credential::Native)
    }

    /// The hash as text that [`parse`](Self::parse) reads. `None` for a password, which should not
    /// be stored.
    pub fn print(&self) -> Option<String> {
        match self {
            Credential::Password(password) => password.bytes().is_empty().then(String::new),
            Credential::Native(hash) => Some(print_native_hash(hash)),
            Credential::Sha2(verifier) => Some(format!("0x{}", digits_of(&verifier.print()))),
            Credential::Sha2Double(hash) => Some(format!("{DOUBLE}{}", digits_of(hash))),
            Credential::Shown { .. } => None,
        }
    }

    /// What a server stores for `mysql_native_password`.
    pub fn native(password: &[u8]) -> Credential {
        Credential::Native(native_hash(password))
    }

    /// What a server stores for `caching_sha2_password`, with a fresh salt.
    pub fn sha2(password: &[u8]) -> Credential {
        let salt = crate::wire::nonce();
        let hash = sha_crypt::hash(password, &salt, USUAL_ROUNDS * 1000);
        Credential::Sha2(Rc::new(Verifier {
            rounds: USUAL_ROUNDS,
            salt,
            hash,
            double: OnceCell::new(),
        }))
    }

    /// Enough for the fast path of `caching_sha2_password`.
    pub fn sha2_double(password: &[u8]) -> Credential {
        Credential::Sha2Double(caching_sha2::double_hash(password))
    }

    /// A credential of the same kind that no password fits, for users who do not exist: their
    /// logins then take the same packets and the same time as those with a wrong password.
    pub fn decoy(&self) -> Credential {
        match self {
            Credential::Password(password) if password.bytes().is_empty() => self.clone(),
            Credential::Password(_) => Credential::password(&rand::random::<[u8; 16]>()),
            Credential::Native(_) => Credential::Native(rand::random()),
            Credential::Sha2(verifier) => {
                let seed: [u8; 32] = rand::random();
                let mut hash = verifier.hash;
                for (byte, random) in hash.iter_mut().zip(seed.iter().cycle()) {
                    *byte = *random;
                }
                Credential::Sha2(Rc::new(Verifier {
                    rounds: verifier.rounds,
                    salt: crate::wire::nonce(),
                    hash,
                    double: OnceCell::new(),
                }))
            }
            Credential::Sha2Double(_) => Credential::Sha2Double(rand::random()),
            Credential::Shown { .. } => Credential::Shown { known: None },
        }
    }

    /// Whether the account has no password.
    pub fn is_empty(&self) -> bool {
        matches!(self, Credential::Password(password) if password.bytes().is_empty())
    }

    /// Whether another judges the password that the client shows.
    pub fn is_judged_elsewhere(&self) -> bool {
        matches!(self, Credential::Shown { .. })
    }

    /// The method that this credential can be verified with. `None`: any.
    pub fn plugin(&self) -> Option<&'static dyn Plugin> {
        match self {
            Credential::Password(_) => None,
            Credential::Native(_) => Some(&native::Native),
            Credential::Sha2(_) | Credential::Sha2Double(_) | Credential::Shown { .. } => {
                Some(&caching_sha2::CachingSha2)
            }
        }
    }

    /// Whether this is the password.
    pub fn is_password(&self, password: &[u8]) -> bool {
        // A password that is too long is not hashed, so it cannot take more time.
        let fits = password.len() <= PASSWORD_MAX;
        let password = if fits { password } else { b"" };
        let right = match self {
            // Hashed, so that the time of the comparison does not depend on the length either.
            Credential::Password(own) => equal(&sha256(&[own.bytes()]), &sha256(&[password])),
            Credential::Native(hash) => equal(&native_hash(password), hash),
            Credential::Sha2(verifier) => {
                let rounds = verifier.rounds * 1000;
                equal(
                    &sha_crypt::hash(password, &verifier.salt, rounds),
                    &verifier.hash,
                )
            }
            Credential::Sha2Double(hash) => equal(&caching_sha2::double_hash(password), hash),
            // That is for the one who judges to say.
            Credential::Shown { .. } => false,
        };
        right && fits
    }

    /// `SHA1(SHA1(password))`; for a credential of another kind a random one, which no password
    /// has.
    pub(super) fn native_hash(&self) -> [u8; 20] {
        match self {
            Credential::Password(password) => native_hash(password.bytes()),
            Credential::Native(hash) => *hash,
            Credential::Sha2(_) | Credential::Sha2Double(_) | Credential::Shown { .. } => {
                rand::random()
            }
        }
    }

    /// `SHA256(SHA256(password))`; if it is not known, a random one, which no password has.
    pub(super) fn sha2_double_hash(&self) -> [u8; 32] {
        match self {
            Credential::Password(password)
            | Credential::Shown {
                known: Some(password),
            } => caching_sha2::double_hash(password.bytes()),
            Credential::Sha2Double(hash) => *hash,
            Credential::Sha2(verifier) => match verifier.double.get() {
                Some(hash) => *hash,
                None => rand::random(),
            },
            Credential::Native(_) | Credential::Shown { known: None } => rand::random(),
        }
    }

    /// Whether the first answer can be verified without asking for the password itself.
    pub fn judges_at_once(&self) -> bool {
        !matches!(self, Credential::Sha2(_) | Credential::Shown { .. })
    }

    /// Remembers the double hash, so that the next login with this password takes the fast path.
    pub(super) fn learn(&self, password: &[u8]) {
        if let Credential::Sha2(verifier) = self {
            let _ = verifier.double.set(caching_sha2::double_hash(password));
        }
    }
}

impl Verifier {
    fn parse(text: &[u8]) -> Option<Verifier> {
        let rest = text.strip_prefix(VERIFIER)?;
        let (rounds, rest) = rest.split_at_checked(3)?;
        let (salt, hash) = rest.strip_prefix(b"$")?.split_first_chunk::<SALT>()?;
        let rounds = u32::from_str_radix(std::str::from_utf8(rounds).ok()?, 16).ok()?;
        if text.len() != VERIFIER_LEN || !sha_crypt::is_hash(hash) {
            return None;
        }
        (1..=ROUNDS_MAX).contains(&rounds).then_some(Verifier {
            rounds,
            salt: *salt,
            hash: hash.try_into().ok()?,
            double: OnceCell::new(),
        })
    }

    fn print(&self) -> Vec<u8> {
        let mut text = VERIFIER.to_vec();
        text.extend_from_slice(format!("{:03X}$", self.rounds).as_bytes());
        text.extend_from_slice(&self.salt);
        text.extend_from_slice(&self.hash);
        text
    }
}

fn digits_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The bytes that hexadecimal digits stand for.
pub fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || digits.len() > 2 * VERIFIER_LEN {
        return None;
    }
    let digits = digits.as_bytes().chunks_exact(2);
    digits
        .map(|pair| {
            pair.iter().try_fold(0, |value, &digit| {
                Some(value << 4 | char::from(digit).to_digit(16)? as u8)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of MySQL 9.7: CREATE USER ... IDENTIFIED BY 'secret', its authentication_string in
    /// hexadecimal.
    const STORED: &str = "0x244124303041243C04672520013C2E3D50514D1C3E0F48713441774972435A78577A6C49796D6A3364765A33385A33536C74696841303937784449414F6A555649514F5A612E";

    #[test]
    fn what_a_server_stores_is_understood() {
        let credential = Credential::parse(STORED.as_bytes()).unwrap();
        assert!(credential.is_password(b"secret"));
        assert!(!credential.is_password(b"Secret"));
        assert!(!credential.is_password(b""));
        assert_eq!(credential.print().as_deref(), Some(STORED));
        let raw = bytes_of(&STORED[2..]).unwrap();
        assert_eq!(Credential::parse(&raw), Some(credential));
    }

    #[test]
    fn what_is_printed_is_read() {
        for make in [
            Credential::native,
            Credential::sha2,
            Credential::sha2_double,
        ] {
            let credential = make(b"secret");
            let printed = credential.print().unwrap();
            assert_eq!(
                Credential::parse(printed.as_bytes()).as_ref(),
                Some(&credential)
            );
            assert!(credential.is_password(b"secret"));
            assert!(!credential.is_password(b"secre"));
            assert!(!credential.is_password(&[b'x'; 5000]));
            assert!(!credential.decoy().is_password(b"secret"));
            assert_eq!(
                credential.decoy().print().unwrap().len(),
                printed.len(),
                "a decoy is of the same kind"
            );
        }
        assert_eq!(Credential::password(b"secret").print(), None);
        assert!(Credential::password(b"secret").is_password(b"secret"));
        assert!(Credential::parse(b"").unwrap().is_empty());
    }

    #[test]
    fn other_texts_are_no_credentials() {
        let stored = bytes_of(&STORED[2..]).unwrap();
        let mut rounds = stored.clone();
        rounds[3..6].copy_from_slice(b"FFF");
        let mut kind = stored.clone();
        kind[1] = b'B';
        for text in [
            &b"secret"[..],
            b"*14E65567",
            b"0x",
            b"0x2",
            b"sha256d:00",
            &stored[..69],
            &rounds,
            &kind,
            &[0xFF; 70],
        ] {
            assert_eq!(Credential::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_shown() {
        let credential = Credential::password(b"secret");
        assert_eq!(format!("{credential:?}"), "Password(..)");
        let credential = Credential::sha2(b"secret");
        assert_eq!(format!("{credential:?}"), "Sha2(..)");
    }
}
