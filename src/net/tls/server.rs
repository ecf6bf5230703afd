//! The configuration for TLS with a listener's clients.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Connection, ServerConfig, ServerConnection};

use super::lifetime::Lifetime;
use super::verify::ClientVerifier;
use super::{TlsError, TlsSession, TlsVersion, certificate, lifetime, provider};

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVerify {
    /// Clients are not asked for one.
    #[default]
    None,
    /// A client may send one, which is then verified.
    Optional,
    /// A client without one is refused.
    Required,
}

/// The TLS options of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsServerOptions {
    /// The files of the certificate (with its intermediate certificates) and of its key. `None`: a
    /// self-signed certificate is made.
    pub identity: Option<(String, String)>,
    /// The file of the authorities that are trusted to sign clients' certificates.
    pub ca: Option<String>,
    /// Whether clients are asked for a certificate.
    pub verify: TlsVerify,
    /// The oldest version that is accepted.
    pub min_version: TlsVersion,
    /// Whether a client without TLS is refused.
    pub required: bool,
}

/// The TLS configuration of a listener. All its sessions share the state that resumption needs.
#[derive(Debug, Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
    options: Arc<TlsServerOptions>,
}

/// Information about our own certificate.
#[derive(Debug)]
struct Certificate {
    pem: String,
    fingerprint: [u8; 32],
    subject: String,
    lifetimes: Vec<Lifetime>,
}

impl PartialEq for TlsServer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for TlsServer {}

impl TlsServer {
    /// Reads the files, or makes a certificate.
    ///
    /// # Errors
    /// A file cannot be read, or does not hold what it should.
    pub fn new(options: &TlsServerOptions) -> Result<TlsServer, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(options.min_version.and_newer())
            .map_err(|error| TlsError(error.to_string()))?;
        let builder = match (&options.ca, options.verify) {
            (_, TlsVerify::None) => builder.with_no_client_auth(),
            (None, _) => {
                return Err(TlsError(
                    "ca: expected the file of the authorities for clients' certificates, got nothing".into(),
                ));
            }
            (Some(ca), verify) => {
                let roots = Arc::new(certificate::authorities(ca)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = match verify {
                    TlsVerify::Required => verifier,
                    _ => verifier.allow_unauthenticated(),
                };
                let verifier = verifier
                    .build()
                    .map_err(|error| TlsError(format!("ca: {ca}: {error}")))?;
                builder.with_client_cert_verifier(Arc::new(ClientVerifier(verifier)))
            }
        };
        let (identity, file) = match &options.identity {
            Some((certificate, key)) => (certificate::load(certificate, key)?, certificate),
            None => (certificate::make()?, &"self-signed".to_string()),
        };
        let Some(first) = identity.chain.first().cloned() else {
            return Err(TlsError(format!("cert: {file} holds no certificate")));
        };
        let subject = certificate::subject(&first);
        let lifetimes = Lifetime::of_chain(file, &identity.chain);
        let pem = identity.pem;
        let mut config = builder
            .with_single_cert(identity.chain, identity.key)
            .map_err(|error| certificate::unusable(file, &subject, &error))?;
        // Resumption by tickets: the listener keeps no state for clients that may come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()
            .map_err(|error| TlsError(format!("cannot make a key for session tickets: {error}")))?;
        Ok(TlsServer {
            config: Arc::new(config),
            certificate: Arc::new(Certificate {
                pem,
                fingerprint: certificate::fingerprint(&first),
                subject,
                lifetimes,
            }),
            options: Arc::new(options.clone()),
        })
    }

    /// A session with a client that has asked for one.
    pub fn session(&self) -> Result<TlsSession, TlsError> {
        ServerConnection::new(self.config.clone())
            .map(|session| TlsSession::new(Connection::Server(session)))
            .map_err(|error| TlsError(error.to_string()))
    }

    /// Whether a client without TLS is refused.
    pub fn required(&self) -> bool {
        self.options.required
    }

    /// The options that it was made with.
    pub fn options(&self) -> &TlsServerOptions {
        &self.options
    }

    /// What is wrong with the time in which our certificates are valid, one sentence for each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        lifetime::warnings(&self.certificate.lifetimes)
    }

    /// The SHA-256 of the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.certificate.fingerprint
    }

    /// The certificate as PEM, for clients that are to trust it.
    pub fn certificate(&self) -> &str {
        &self.certificate.pem
    }

    /// The certificate's subject.
    pub fn subject(&self) -> &str {
        &self.certificate.subject
    }
}
