//! Certificates for the tests: an authority, and certificates that it signs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::process;

/// A folder with the files of an authority: `ca.pem`, and a pair `NAME.pem`, `NAME.key` of each
/// certificate that was asked for.
pub struct Pki {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// The authority that the tests share.
pub fn shared() -> &'static Pki {
    static SHARED: OnceLock<Pki> = OnceLock::new();
    SHARED.get_or_init(|| {
        let pki = Pki::new("Test Authority");
        pki.server("server", &["localhost", "127.0.0.1"]);
        pki.client("client", "joe");
        pki
    })
}

impl Pki {
    /// A new authority.
    pub fn new(name: &str) -> Pki {
        let folder = process::folder("pki");
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Pki { folder, issuer }
    }

    /// Makes a server's certificate for these names.
    pub fn server(&self, file: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(file, &params);
    }

    /// Makes a client's certificate.
    pub fn client(&self, file: &str, name: &str) {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Tests");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(file, &params);
    }

    /// Signs these, for a new key.
    pub fn sign(&self, file: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// Where a file is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The same as text.
    pub fn file(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The options of a server that uses this certificate and accepts clients' certificates of the
    /// authority.
    pub fn server_options(&self, file: &str) -> Vec<String> {
        vec![
            format!("--ssl-ca={}", self.file("ca.pem")),
            format!("--ssl-cert={}", self.file(&format!("{file}.pem"))),
            format!("--ssl-key={}", self.file(&format!("{file}.key"))),
        ]
    }
}
