//! Passwords encrypted with an RSA key, for connections that are not encrypted.
//!
//! `sha256_password` and `caching_sha2_password` send RSA-OAEP (with SHA-1) of the password and a
//! NUL, which are first combined with the challenge, so that a recorded ciphertext is of no use in
//! another login.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html>

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use pem::{EncodeConfig, LineEnding, Pem};

use zeroize::Zeroizing;

use super::Secret;
use super::digest::xor_repeating;

/// The label of a public key in PEM form.
const PUBLIC: &str = "PUBLIC KEY";
/// The longest PEM file that is accepted: longer than any key in use.
const PEM_MAX: usize = 16 * 1024;

/// Why a key or a password could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RsaError {
    /// What should be a public key is not one.
    #[error(
        "the public key: expected an RSA key of 2048 to 8192 bits in PEM, as in MySQL's \
         public_key.pem"
    )]
    PublicKey,
    /// What should be a private key is not one.
    #[error(
        "the private key: expected an RSA key of 2048 to 8192 bits in PKCS #8 PEM, as in MySQL's \
         private_key.pem"
    )]
    PrivateKey,
    /// The password does not fit into an RSA block.
    #[error("the password is too long for the key: expected at most {max} bytes, got {got}")]
    TooLong {
        /// The most bytes that fit.
        max: usize,
        /// The password's length.
        got: usize,
    },
    /// The operation failed, and the library does not say why.
    #[error("the RSA operation failed")]
    Failed,
}

/// The key of a server that receives passwords.
pub struct KeyPair {
    private: OaepPrivateDecryptingKey,
    public_pem: Vec<u8>,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

impl KeyPair {
    /// A fresh key of 2048 bits. Takes a tenth of a second or so: see [`own_key`].
    ///
    /// # Errors
    /// The library cannot make one.
    pub fn generate() -> Result<KeyPair, RsaError> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048);
        Self::new(key.map_err(|_| RsaError::Failed)?)
    }

    /// The key that a file holds, so that clients can be told its public half beforehand.
    ///
    /// # Errors
    /// There is no usable key in it.
    pub fn from_pem(text: &[u8]) -> Result<KeyPair, RsaError> {
        let key = unwrap(text, "PRIVATE KEY").ok_or(RsaError::PrivateKey)?;
        let key = PrivateDecryptingKey::from_pkcs8(&key).map_err(|_| RsaError::PrivateKey)?;
        Self::new(key)
    }

    fn new(key: PrivateDecryptingKey) -> Result<KeyPair, RsaError> {
        let public = key.public_key().as_der().map_err(|_| RsaError::Failed)?;
        let pem = Pem::new(PUBLIC, public.as_ref());
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        Ok(KeyPair {
            private: OaepPrivateDecryptingKey::new(key).map_err(|_| RsaError::Failed)?,
            public_pem: pem::encode_config(&pem, config).into_bytes(),
        })
    }

    /// The public half, as servers send it to those who ask for it.
    pub fn public_pem(&self) -> &[u8] {
        &self.public_pem
    }

    /// Decrypts what [`encrypt`] makes; returns the password without its NUL. `None` if it was
    /// encrypted for another key or another challenge.
    pub fn decrypt(&self, ciphertext: &[u8], nonce: &[u8]) -> Option<Secret> {
        let mut buffer = Zeroizing::new(vec![0; self.private.min_output_size()]);
        if ciphertext.len() != self.private.key_size_bytes() {
            return None;
        }
        let text = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, ciphertext, &mut buffer, None)
            .ok()?;
        xor_repeating(text, nonce);
        let password = text.strip_suffix(b"\0")?;
        Some(Secret::new(password.to_vec()))
    }
}

/// Encrypts `password` for the holder of the key in `pem`.
///
/// # Errors
/// `pem` is not a public key, or the password is too long for it (2048 bits hold 213 bytes).
pub fn encrypt(pem: &[u8], password: &[u8], nonce: &[u8]) -> Result<Vec<u8>, RsaError> {
    let key = unwrap(pem, PUBLIC).ok_or(RsaError::PublicKey)?;
    let key = PublicEncryptingKey::from_der(&key).map_err(|_| RsaError::PublicKey)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| RsaError::PublicKey)?;

    let max = key.max_plaintext_size(&OAEP_SHA1_MGF1SHA1) - 1;
    if password.len() > max {
        let got = password.len();
        return Err(RsaError::TooLong { max, got });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(password.len() + 1));
    text.extend_from_slice(password);
    text.push(0);
    xor_repeating(&mut text, nonce);
    let mut ciphertext = vec![0; key.ciphertext_size()];
    let len = key
        .encrypt(&OAEP_SHA1_MGF1SHA1, &text, &mut ciphertext, None)
        .map_err(|_| RsaError::Failed)?
        .len();
    ciphertext.truncate(len);
    Ok(ciphertext)
}

/// Whether `pem` is a public key that [`encrypt`] can use.
///
/// # Errors
/// It is not.
pub fn check_public(pem: &[u8]) -> Result<(), RsaError> {
    encrypt(pem, b"", b"").map(|_| ())
}

/// The key of this process, for clients that ask for one: made when it is first needed, and the
/// same from then on. Making it takes long, so code that will need it has it made in advance, on
/// another thread (`proxy::prepare_own_key`); a caller that needs it before it is ready waits.
///
/// # Errors
/// The library could not make one.
pub fn own_key() -> Result<&'static KeyPair, RsaError> {
    static KEY: OnceLock<Result<KeyPair, RsaError>> = OnceLock::new();
    KEY.get_or_init(KeyPair::generate).as_ref().map_err(|e| *e)
}

/// The bytes between the lines of a PEM file, if it is of this kind.
fn unwrap(text: &[u8], kind: &str) -> Option<Vec<u8>> {
    if text.len() > PEM_MAX {
        return None;
    }
    let pem = pem::parse(text).ok()?;
    (pem.tag() == kind).then(|| pem.into_contents())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &[u8] = b"dvH@I-CJ*4d|cZwk4^]:";

    #[test]
    fn only_the_key_and_the_nonce_bring_the_password_back() {
        let key = own_key().unwrap();
        let sent = encrypt(key.public_pem(), b"secret", NONCE).unwrap();
        assert_eq!(sent.len(), 256);
        assert_eq!(
            key.decrypt(&sent, NONCE),
            Some(Secret::new(b"secret".to_vec()))
        );
        assert_eq!(key.decrypt(&sent, b"12345678901234567890"), None);
        let other = KeyPair::generate().unwrap();
        assert_eq!(other.decrypt(&sent, NONCE), None);
        for wrong in [&sent[..255], &[], &[0; 256], &[0xFF; 4096]] {
            assert_eq!(key.decrypt(wrong, NONCE), None);
        }
    }

    #[test]
    fn a_password_fits_or_is_refused() {
        let key = own_key().unwrap();
        let longest = [b'x'; 213];
        let sent = encrypt(key.public_pem(), &longest, NONCE).unwrap();
        let got = key.decrypt(&sent, NONCE);
        assert_eq!(got.as_ref().map(Secret::bytes), Some(&longest[..]));
        let error = encrypt(key.public_pem(), &[b'x'; 214], NONCE).unwrap_err();
        assert_eq!(error, RsaError::TooLong { max: 213, got: 214 });
        assert!(encrypt(key.public_pem(), b"", NONCE).is_ok());
    }

    #[test]
    fn what_is_no_key_is_an_error() {
        for text in [
            &b""[..],
            b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            b"\xFF\xFE",
        ] {
            assert_eq!(encrypt(text, b"secret", NONCE), Err(RsaError::PublicKey));
            assert_eq!(KeyPair::from_pem(text).unwrap_err(), RsaError::PrivateKey);
        }
        assert_eq!(check_public(own_key().unwrap().public_pem()), Ok(()));
    }

    #[test]
    fn the_key_shows_no_secret() {
        assert_eq!(format!("{:?}", own_key().unwrap()), "KeyPair { .. }");
    }
}
