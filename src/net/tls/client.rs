//! What a connect needs to speak TLS with its server.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection};

use super::verify::ServerVerifier;
use super::{TlsError, TlsSession, TlsVersion, certificate, provider};

/// How much TLS a connection to a server is to have: the modes of MySQL's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsMode {
    /// None.
    Disabled,
    /// If the server offers it. Whose certificate it shows does not matter.
    #[default]
    Preferred,
    /// No connection without it. Whose certificate the server shows does not matter.
    Required,
    /// The certificate must be vouched for.
    VerifyCa,
    /// The certificate must be vouched for, and be that of the server's name.
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

    /// Whether there is no connection without TLS.
    pub fn insists(self) -> bool {
        matches!(
            self,
            TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity
        )
    }

    /// Whether somebody must vouch for the server's certificate.
    pub fn verifies(self) -> bool {
        matches!(self, TlsMode::VerifyCa | TlsMode::VerifyIdentity)
    }
}

/// What the script says of a connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TlsClientOptions {
    /// How much TLS.
    pub mode: TlsMode,
    /// The file of the authorities that vouch for servers; "system": the system's.
    pub ca: Option<String>,
    /// The files of our certificate (and those that vouch for it) and of its key.
    pub identity: Option<(String, String)>,
    /// The name that the certificate must be for, if not the one that is connected to. It is
    /// also told to the server.
    pub server_name: Option<String>,
    /// The oldest version to be spoken.
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

/// A connect's side of TLS. Connections that share it take up each other's sessions.
#[derive(Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    mode: TlsMode,
}

impl TlsClient {
    /// Reads the files. `host` is what is connected to.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should, or nothing says whom to trust.
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
        let mut config = match &options.identity {
            None => builder.with_no_client_auth(),
            Some((file, key)) => {
                let identity = certificate::load(file, key)?;
                let name = identity.chain.first().map(certificate::subject);
                builder
                    .with_client_auth_cert(identity.chain, identity.key)
                    .map_err(|error| {
                        certificate::unusable(file, &name.unwrap_or_default(), &error)
                    })?
            }
        };
        // Servers of this protocol hardly know what to do with a name, so it is told if asked for.
        config.enable_sni = options.server_name.is_some();
        let name = options.server_name.as_deref().unwrap_or(host);
        let name = match ServerName::try_from(name.to_string()) {
            Ok(name) => name,
            Err(_) if options.mode == TlsMode::VerifyIdentity => {
                return Err(TlsError(format!(
                    "server_name: no certificate can be for {name}"
                )));
            }
            // Nobody looks at it, but rustls wants one.
            Err(_) => {
                ServerName::try_from("localhost").map_err(|error| TlsError(error.to_string()))?
            }
        };
        Ok(TlsClient {
            config: Arc::new(config),
            name,
            mode: options.mode,
        })
    }

    /// How much TLS.
    pub fn mode(&self) -> TlsMode {
        self.mode
    }

    /// A session with a server.
    pub fn session(&self) -> Result<TlsSession, TlsError> {
        ClientConnection::new(self.config.clone(), self.name.clone())
            .map(|session| TlsSession::new(Connection::Client(session)))
            .map_err(|error| TlsError(error.to_string()))
    }
}
