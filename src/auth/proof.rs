//! MariaDB's proof of a certificate: how a client without any certificate authority learns that
//! nobody intercepts its connection to the server (11.4 and later).
//!
//! The OK of the login carries a hash of what only client and server know (the password's hash), of
//! the login's challenge, and of the certificate that the server has shown. A proxy that terminates
//! TLS shows its own certificate, and can prove it if it knows the credential.
//!
//! <https://mariadb.com/docs/server/security/securing-mariadb/encryption/data-in-transit-encryption/secure-connections-overview>

use super::Credential;
use super::digest::sha256;

/// The only kind of hash in use: SHA-256.
const SHA256: char = '\u{1}';

/// The message of the OK for a client that has logged in by `mysql_native_password` with this
/// challenge and was shown the certificate with this SHA-256 fingerprint. `None` for an empty
/// password, and for a credential without that hash.
pub fn certificate_proof(
    credential: &Credential,
    nonce: &[u8],
    fingerprint: &[u8; 32],
) -> Option<String> {
    if credential.is_empty() {
        return None;
    }
    let secret = match credential {
        Credential::Password(_) | Credential::Native(_) => credential.native_hash(),
        Credential::Sha2(_) | Credential::Sha2Double(_) | Credential::Shown { .. } => return None,
    };
    let proof = sha256(&[&secret, nonce, fingerprint]);
    let digits: String = proof.iter().map(|byte| format!("{byte:02X}")).collect();
    Some(format!("{SHA256}{digits}"))
}

/// Whether the message of a login's OK is such a proof.
pub fn is_certificate_proof(message: &[u8]) -> bool {
    message.split_first().is_some_and(|(first, digits)| {
        *first == 1 && digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_what_only_the_two_know() {
        let nonce = b"dvH@I-CJ*4d|cZwk4^]:";
        let of = |credential: &Credential| certificate_proof(credential, nonce, &[7; 32]);
        let proof = of(&Credential::password(b"secret")).unwrap();
        assert_eq!(proof.len(), 65);
        assert!(proof.starts_with('\u{1}'));
        assert_eq!(of(&Credential::native(b"secret")), Some(proof.clone()));
        assert_ne!(of(&Credential::native(b"Secret")), Some(proof.clone()));
        let other = certificate_proof(&Credential::native(b"secret"), nonce, &[8; 32]);
        assert_ne!(other, Some(proof));
        assert_eq!(of(&Credential::sha2(b"secret")), None);
        assert_eq!(of(&Credential::password(b"")), None);
    }
}
