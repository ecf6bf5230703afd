//! Information about a TLS session.

use rustls::{Connection, HandshakeKind, ProtocolVersion};

use super::certificate;

/// What was negotiated for a TLS session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// The version as MySQL's `Ssl_version` shows it: "TLSv1.3".
    pub version: &'static str,
    /// The cipher as OpenSSL, and so MySQL's `Ssl_cipher`, calls it.
    pub cipher: String,
    /// Whether it resumed an earlier session.
    pub resumed: bool,
    /// The far end's certificate.
    pub peer: Option<TlsPeer>,
    /// The server name that a client asked for (SNI).
    pub server_name: Option<String>,
    /// The SHA-256 of the certificate that a client was shown.
    pub shown: Option<[u8; 32]>,
}

/// The far end's certificate. Names are written as `REQUIRE SUBJECT` wants them: "/C=SE/CN=joe".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPeer {
    /// The certificate's subject.
    pub subject: String,
    /// The certificate's issuer.
    pub issuer: String,
    /// The SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
}

impl TlsInfo {
    pub(super) fn of(connection: &Connection) -> TlsInfo {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "unknown",
        };
        let cipher = connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .map(openssl_name)
            .unwrap_or_default();
        let peer = connection
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|certificate| TlsPeer {
                subject: certificate::subject(certificate),
                issuer: certificate::issuer(certificate),
                fingerprint: certificate::fingerprint(certificate),
            });
        let server_name = match connection {
            Connection::Server(server) => server.server_name().map(str::to_string),
            Connection::Client(_) => None,
        };
        TlsInfo {
            version,
            cipher,
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            peer,
            server_name,
            shown: None,
        }
    }
}

/// OpenSSL's name for a cipher suite of the TLS standards.
fn openssl_name(suite: &str) -> String {
    if let Some(rest) = suite.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    suite
        .trim_start_matches("TLS_")
        .replace("_WITH_", "_")
        .replace("AES_", "AES")
        .replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305")
        .replace('_', "-")
}

#[cfg(test)]
mod tests {
    #[test]
    fn ciphers_have_the_names_that_mysql_shows() {
        for (standard, shown) in [
            ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            (
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "ECDHE-RSA-AES256-GCM-SHA384",
            ),
            (
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
            ),
        ] {
            assert_eq!(super::openssl_name(standard), shown);
        }
    }
}
