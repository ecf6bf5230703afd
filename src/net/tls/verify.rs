//! Which certificates are accepted, and error texts for those that are not.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{TlsError, TlsMode, certificate, provider};

/// Verifies servers as the modes of MySQL's clients do.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    mode: TlsMode,
    /// Present if the mode verifies.
    chain: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub fn new(mode: TlsMode, roots: Option<RootCertStore>) -> Result<ServerVerifier, TlsError> {
        let chain = match roots.filter(|_| mode.verifies()) {
            Some(roots) => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                    .build()
                    .map_err(|error| TlsError(format!("ca: {error}")))?,
            ),
            None => None,
        };
        Ok(ServerVerifier {
            mode,
            chain,
            algorithms: provider().signature_verification_algorithms,
        })
    }

    /// Whether the far end has the key of its certificate, in TLS 1.2. The certificate's other
    /// parts are not read: the modes that do not verify accept certificates that rustls cannot
    /// parse, such as those of X.509 version 1. rustls has no such function for TLS 1.2.
    fn signed_in_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let parsed = parse(certificate)?;
        let key = &parsed.tbs_certificate.subject_pki;
        let mut candidates = self
            .algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter());
        let valid = candidates.any(|algorithm| {
            algorithm
                .verify_signature(&key.subject_public_key.data, message, signed.signature())
                .is_ok()
        });
        match valid {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is checked last, so everything else is right.
            Err(error)
                if is_about_the_name(&error)
                    && (self.mode == TlsMode::VerifyCa
                        || is_common_name(end_entity, server_name)) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => Err(refused("server", end_entity, &error)),
            Ok(verified) => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed_in_tls12(message, cert, dss)
    }

    /// By rustls' own rules for TLS 1.3 (RFC 8446, 4.2.3: no PKCS #1 v1.5 signatures, and each
    /// scheme with its one curve), given the bare key for the same reason as in TLS 1.2.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let parsed = parse(cert)?;
        let key = SubjectPublicKeyInfoDer::from(parsed.tbs_certificate.subject_pki.raw);
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => Ok(parsed),
        Err(_) => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
    }
}

fn is_about_the_name(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

/// A certificate without alternative names is valid for its common name: OpenSSL, and so MySQL's
/// clients, still accept that.
fn is_common_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let has_names = match parsed.subject_alternative_name() {
        Ok(Some(names)) => names
            .value
            .general_names
            .iter()
            .any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_))),
        Ok(None) => false,
        Err(_) => true,
    };
    let ServerName::DnsName(name) = name else {
        return false;
    };
    let mut common = parsed.subject().iter_common_name();
    !has_names
        && common.any(|common| {
            common
                .as_str()
                .is_ok_and(|common| common.eq_ignore_ascii_case(name.as_ref()))
        })
}

/// Verifies clients as rustls does, and names the certificate in its errors.
#[derive(Debug)]
pub(super) struct ClientVerifier(pub Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }
    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| refused("client", end_entity, &error))
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The error text for a refused certificate, in a form that rustls passes on.
#[derive(Debug)]
struct Words(String);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Words {}

/// A certificate's owner decides how long its names are, and they go into the log and to clients.
fn shortened(mut name: String) -> String {
    const MOST: usize = 400;
    if let Some((at, _)) = name.char_indices().nth(MOST) {
        name.truncate(at);
        name.push('…');
    }
    name
}

fn refused(whose: &str, certificate: &CertificateDer<'_>, error: &Error) -> Error {
    let words = format!(
        "the {whose}'s certificate ({}, signed by {}): {}",
        shortened(certificate::subject(certificate)),
        shortened(certificate::issuer(certificate)),
        // rustls' text may contain the certificate's names unescaped.
        in_words(error).replace(char::is_control, "?")
    );
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Words(words)))))
}

/// Some names of a certificate are enough to tell that it is another one. Returns the error with these, and how many there are
/// besides.
fn with_few_names(error: &CertificateError) -> (CertificateError, String) {
    const SHOWN: usize = 10;
    match error {
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } if presented.len() > SHOWN => {
            let others = presented.len() - SHOWN;
            let presented = presented.iter().take(SHOWN).cloned().collect();
            let expected = expected.clone();
            let short = CertificateError::NotValidForNameContext {
                expected,
                presented,
            };
            (short, format!(" and {others} other names"))
        }
        error => (error.clone(), String::new()),
    }
}

/// The error in words that name its cause.
pub(super) fn in_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => {
                "no authority in `ca` has signed it, neither directly nor through intermediate certificates".into()
            }
            CertificateError::Other(other) => match other.0.to_string() {
                words if words == "UnsupportedCertVersion" => {
                    "it is an X.509 certificate of version 1 or 2, and only version 3 can be \
                     verified; make a new one"
                        .into()
                }
                words => words,
            },
            CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
                "its signature algorithm is not safe any more (MD5 or SHA-1, perhaps)".into()
            }
            CertificateError::BadSignature => "a signature is wrong".into(),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                let (why, others) = with_few_names(why);
                format!(
                    "{why}{others} (say with `server_name` which name it is to have, or leave names out with \
                     \"verify-ca\")"
                )
            }
            why => why.to_string(),
        },
        Error::NoCertificatesPresented => {
            "the client has shown no certificate, which is required here".into()
        }
        Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "the far end speaks no version of TLS that is allowed here (1.0 and 1.1 never are)"
            .into(),
        Error::AlertReceived(alert) => {
            format!("the far end ended the handshake: {alert:?}")
        }
        Error::InvalidMessage(why) => format!("expected TLS, got something else ({why:?})"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_with_many_or_long_names_is_told_in_short() {
        let presented: Vec<String> = (0..1500).map(|n| format!("\"host{n}.example\"")).collect();
        let error = Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("db.example").unwrap(),
            presented,
        });
        let words = in_words(&error);
        assert!(words.len() < 1000, "{words}");
        for part in [
            "db.example",
            "host0.example",
            "host9.example",
            "and 1490 other names",
            "server_name",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(!words.contains("host10.example"), "{words}");
        assert_eq!(shortened("x".repeat(400)), "x".repeat(400));
        assert_eq!(shortened("ä".repeat(401)), "ä".repeat(400) + "…");
    }
}
