//! The configuration for TLS with a server.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection};

use super::super::resolver::numeric_address;
use super::lifetime::Lifetime;
use super::verify::ServerVerifier;
use super::{TlsError, TlsSession, TlsVersion, certificate, lifetime, provider};

/// Whether a connection to a server uses TLS, and what is verified: the modes of MySQL's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsMode {
    /// No TLS.
    Disabled,
    /// TLS if the server offers it, with any certificate.
    #[default]
    Preferred,
    /// No connection without TLS; the server may have any certificate.
    Required,
    /// Like `Required`, and an authority must have signed the server's certificate.
    VerifyCa,
    /// Like `VerifyCa`, and the certificate must be for the server's name.
    VerifyIdentity,
}

impl TlsMode {
    /// Every mode by its name.
    pub const ALL: [(&'static str, TlsMode); 5] = [
        ("disabled", TlsMode::Disabled),
        ("preferred", TlsMode::Preferred),
        ("required", TlsMode::Required),
        ("verify-ca", TlsMode::VerifyCa),
        ("verify-identity", TlsMode::VerifyIdentity),
    ];

    /// Whether the connection fails without TLS.
    pub fn insists(self) -> bool {
        matches!(
            self,
            TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity
        )
    }

    /// Whether the server's certificate is verified.
    pub fn verifies(self) -> bool {
        matches!(self, TlsMode::VerifyCa | TlsMode::VerifyIdentity)
    }
}

/// The TLS options of a connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TlsClientOptions {
    /// How much TLS.
    pub mode: TlsMode,
    /// The file of the authorities that are trusted to sign servers' certificates; "system": the
    /// system's.
    pub ca: Option<String>,
    /// The files of our certificate (with its intermediate certificates) and of its key.
    pub identity: Option<(String, String)>,
    /// The name that the certificate must be for, if not the one that is connected to. It is
    /// also told to the server.
    pub server_name: Option<String>,
    /// The oldest version that is accepted.
    pub min_version: TlsVersion,
}

impl TlsClientOptions {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let identity = self.identity.as_ref();
        let identity = identity.map(|(certificate, key)| [certificate, key]);
        let files = self.ca.iter().chain(identity.into_iter().flatten());
        files.map(String::as_str)
    }
}

/// The TLS configuration of a connect. Connections that share it can resume each other's sessions.
#[derive(Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    mode: TlsMode,
    lifetimes: Vec<Lifetime>,
}

impl TlsClient {
    /// Reads the files. `host` is the server's name or address.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should, or the mode needs authorities and
    /// none are given.
    pub fn new(options: &TlsClientOptions, host: &str) -> Result<TlsClient, TlsError> {
        let roots = match &options.ca {
            Some(ca) => Some(certificate::authorities(ca)?),
            None if options.mode.verifies() => {
                return Err(TlsError(
                    "ca: expected a file, or \"system\", to verify the server's certificate \
                     with, got nothing"
                        .into(),
                ));
            }
            None => None,
        };
        let verifier = ServerVerifier::new(options.mode, roots)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(options.min_version.and_newer())
            .map_err(|error| TlsError(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut lifetimes = Vec::new();
        let mut config = match &options.identity {
            None => builder.with_no_client_auth(),
            Some((file, key)) => {
                let identity = certificate::load(file, key)?;
                let name = identity.chain.first().map(certificate::subject);
                lifetimes = Lifetime::of_chain(file, &identity.chain);
                builder
                    .with_client_auth_cert(identity.chain, identity.key)
                    .map_err(|error| {
                        certificate::unusable(file, &name.unwrap_or_default(), &error)
                    })?
            }
        };
        // MySQL servers hardly use the name, so it is sent only if the script sets one.
        config.enable_sni = options.server_name.is_some();
        // Certificates are for addresses without brackets and scopes.
        let bare = numeric_address(host, 0).map(|address| address.ip().to_string());
        let host = bare.as_deref().unwrap_or(host);
        let name = options.server_name.as_deref().unwrap_or(host);
        let name = match ServerName::try_from(name.to_string()) {
            Ok(name) => name,
            Err(_) if options.mode == TlsMode::VerifyIdentity => {
                return Err(TlsError(format!(
                    "server_name: no certificate can be for {name}"
                )));
            }
            // No name is verified, but rustls requires one.
            Err(_) => {
                ServerName::try_from("localhost").map_err(|error| TlsError(error.to_string()))?
            }
        };
        Ok(TlsClient {
            config: Arc::new(config),
            name,
            mode: options.mode,
            lifetimes,
        })
    }

    /// How much TLS.
    pub fn mode(&self) -> TlsMode {
        self.mode
    }

    /// What is wrong with the time in which our certificates are valid, one sentence for each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        lifetime::warnings(&self.lifetimes)
    }

    /// A session with a server.
    pub fn session(&self) -> Result<TlsSession, TlsError> {
        ClientConnection::new(self.config.clone(), self.name.clone())
            .map(|session| TlsSession::new(Connection::Client(session)))
            .map_err(|error| TlsError(error.to_string()))
    }
}
