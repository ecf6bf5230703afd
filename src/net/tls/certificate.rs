//! Certificates: read from files, described, and made.

use std::borrow::Cow;
use std::fs;

use aws_lc_rs::digest;
use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::TlsError;

/// The value of `ca` that stands for the system's authorities.
pub(super) const SYSTEM_CA: &str = "system";

/// For how many years a certificate made here is valid.
const YEARS: i32 = 10;

/// A certificate with its intermediate certificates, and its key.
pub(super) struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    /// The same in PEM form.
    pub pem: String,
    pub key: PrivateKeyDer<'static>,
}

fn read(what: &str, path: &str) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError(format!("{what}: cannot read {path}: {error}")))
}

fn read_certificates(what: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(what, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(TlsError(format!(
            "{what}: {path} holds no certificate in PEM form"
        ))),
        Err(error) => Err(TlsError(format!("{what}: {path}: {error}"))),
    }
}

/// Reads a certificate and its key.
pub(super) fn load(certificate: &str, key: &str) -> Result<Identity, TlsError> {
    let chain = read_certificates("cert", certificate)?;
    let pem = String::from_utf8_lossy(&read("cert", certificate)?).into_owned();
    let text = read("key", key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if text.windows(9).any(|w| w == b"ENCRYPTED") => TlsError(
            format!("key: {key} is encrypted; expected a key without a passphrase"),
        ),
        pem::Error::NoItemsFound => {
            TlsError(format!("key: {key} holds no private key in PEM form"))
        }
        error => TlsError(format!("key: {key}: {error}")),
    })?;
    Ok(Identity { chain, pem, key })
}

/// The error if a certificate cannot be used with its key.
pub(super) fn unusable(certificate: &str, identity: &str, error: &rustls::Error) -> TlsError {
    let why = match error {
        rustls::Error::InconsistentKeys(_) => "the key is not that of the certificate".to_string(),
        error => super::verify::in_words(error),
    };
    TlsError(format!("cert: {certificate} ({identity}): {why}"))
}

/// The authorities in this file, or the system's.
pub(super) fn authorities(path: &str) -> Result<RootCertStore, TlsError> {
    if path == SYSTEM_CA {
        return system_authorities();
    }
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("ca", path)? {
        let name = subject(&certificate);
        if let Err(error) = roots.add(certificate) {
            let why = super::verify::in_words(&error);
            return Err(TlsError(format!("ca: {path} ({name}): {why}")));
        }
    }
    Ok(roots)
}

/// The authorities that the system trusts, wherever it keeps them; SSL_CERT_FILE and SSL_CERT_DIR
/// name other ones, as for OpenSSL. Certificates that rustls cannot use are left out rather than
/// refused, since the script did not choose them.
fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    for certificate in found.certs {
        let name = subject(&certificate);
        if let Err(error) = roots.add(certificate) {
            log::debug!("the system's authority {name} is left out: {error}");
        }
    }
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(
            || "expected the system's authorities in the usual places, found none".to_string(),
            ToString::to_string,
        );
        return Err(TlsError(format!("ca: {why}")));
    }
    Ok(roots)
}

/// Makes a self-signed certificate for this machine. Its key is one on an elliptic curve, which is
/// made quickly and makes handshakes cheap.
pub(super) fn make() -> Result<Identity, TlsError> {
    let failed = |error: rcgen::Error| TlsError(format!("cannot make a certificate: {error}"));
    let mut names = vec!["localhost".to_string(), "127.0.0.1".into(), "::1".into()];
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if !host.is_empty() && host.is_ascii() && host != "localhost" {
        names.push(host.to_string());
    }
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "dpm, self-signed");
    params.is_ca = IsCa::NoCa;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let year = 1970 + i32::try_from(now / (365 * 86_400 + 20_926)).unwrap_or(0);
    // Valid from the past on, since not all clocks agree.
    params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + YEARS, 1, 1);
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|error| TlsError(format!("cannot make a certificate: {error}")))?;
    Ok(Identity {
        chain: vec![certificate.der().clone()],
        pem: certificate.pem(),
        key,
    })
}

/// The certificate's subject.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> String {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => in_slashes(parsed.subject()),
        Err(_) => "a certificate that cannot be read".to_string(),
    }
}

/// The certificate's issuer.
pub(super) fn issuer(certificate: &CertificateDer<'_>) -> String {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => in_slashes(parsed.issuer()),
        Err(_) => "an unknown issuer".to_string(),
    }
}

/// A name in the form of `REQUIRE SUBJECT`: what is not printable ASCII is written as `\xC3`, like
/// OpenSSL's `X509_NAME_oneline` does. OpenSSL leaves `/`, `=` and `\` alone; here they are escaped
/// too, or one value could look like several, and one name be taken for another.
fn in_slashes(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for attribute in name.iter_attributes() {
        let kind = oid2abbrev(attribute.attr_type(), oid_registry());
        text.push('/');
        match kind {
            Ok(kind) => text.push_str(kind),
            Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
        }
        text.push('=');
        escape(&bytes_of(attribute.attr_value()), &mut text);
    }
    text
}

/// A value's text: converted to UTF-8, if its type has characters of several bytes.
fn bytes_of<'a>(value: &Any<'a>) -> Cow<'a, [u8]> {
    let text = match value.tag() {
        Tag::BmpString => {
            let units = value.data.chunks(2);
            let units = units.map(|unit| unit.iter().fold(0, |all, b| all << 8 | u16::from(*b)));
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect::<String>()
        }
        Tag::UniversalString => {
            let units = value.data.chunks(4);
            let units = units.map(|unit| unit.iter().fold(0, |all, b| all << 8 | u32::from(*b)));
            units
                .map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => return Cow::Borrowed(value.data),
    };
    Cow::Owned(text.into_bytes())
}

fn escape(value: &[u8], text: &mut String) {
    for byte in value {
        match byte {
            b'/' | b'=' | b'\\' => text.push_str(&format!("\\x{byte:02X}")),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\x{byte:02X}")),
        }
    }
}

/// The SHA-256 of a certificate.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, certificate);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use rcgen::DnValue;
    use rcgen::string::{BmpString, UniversalString};

    use super::*;

    fn subject_of(names: Vec<(DnType, DnValue)>) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind, value);
        }
        let key = KeyPair::generate().unwrap();
        subject(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn names_are_one_line_that_can_be_read_in_one_way() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_string());
        let common = |value| subject_of(vec![(DnType::CommonName, value)]);
        assert_eq!(
            subject_of(vec![
                (DnType::OrganizationName, utf8("Acme, Inc.")),
                (DnType::CommonName, utf8("joe")),
            ]),
            "/O=Acme, Inc./CN=joe"
        );
        assert_eq!(
            common(utf8("x/O=Acme/CN=joe\\x2F")),
            r"/CN=x\x2FO\x3DAcme\x2FCN\x3Djoe\x5Cx2F"
        );
        assert_eq!(
            common(utf8("x\n[2026 ERROR]\r\x1b[2J\u{7f}\0")),
            r"/CN=x\x0A[2026 ERROR]\x0D\x1B[2J\x7F\x00"
        );
        // As OpenSSL writes it; and no control character that reverses the text behind it.
        assert_eq!(
            common(utf8("J\u{f6}rg\u{202e}")),
            r"/CN=J\xC3\xB6rg\xE2\x80\xAE"
        );
        let wide = "J\u{f6}rg/";
        for value in [
            DnValue::BmpString(BmpString::try_from(wide).unwrap()),
            DnValue::UniversalString(UniversalString::try_from(wide).unwrap()),
        ] {
            assert_eq!(common(value), r"/CN=J\xC3\xB6rg\x2F");
        }
    }
}
