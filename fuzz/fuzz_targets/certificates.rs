//! Certificates, keys and authorities from files, whose names and faults are put into words, and the RSA keys
//! of logins.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use dpm::auth::{is_certificate_proof, rsa};
use dpm::net::{TlsClient, TlsClientOptions, TlsServer, TlsServerOptions};
use libfuzzer_sys::fuzz_target;

/// A file in memory for the input.
fn file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| PathBuf::from(format!("/dev/shm/dpm-fuzz-{}.pem", std::process::id())))
}

fn check(text: &[u8]) {
    let path = file().to_string_lossy().into_owned();
    std::fs::write(file(), text).expect("a file in memory");
    let as_authority = TlsClientOptions {
        ca: Some(path.clone()),
        ..TlsClientOptions::default()
    };
    if let Err(error) = TlsClient::new(&as_authority, "localhost") {
        // It ends up in a line of the log.
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let as_identity = TlsServerOptions {
        identity: Some((path.clone(), path)),
        ..TlsServerOptions::default()
    };
    let server = TlsServer::new(&as_identity);
    std::fs::remove_file(file()).expect("the file");
    if let Ok(server) = server {
        assert!(
            !server
                .subject()
                .contains(|c: char| !(' '..='~').contains(&c))
        );
    }
}

fuzz_target!(|data: &[u8]| {
    let _ = is_certificate_proof(data);
    let _ = rsa::check_public(data);
    let _ = rsa::KeyPair::from_pem(data);
    check(data);
    // As a certificate, without the fuzzer having to write base64.
    check(pem::encode(&pem::Pem::new("CERTIFICATE", data)).as_bytes());
    let key = pem::encode(&pem::Pem::new("PUBLIC KEY", data));
    let _ = rsa::encrypt(key.as_bytes(), b"secret", b"nonce");
});
