//! New certificates for listeners, and warnings about certificates of our own that have expired, are
//! not valid yet, or expire soon: when they are read, and once a day.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::net::TlsServer;
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::options::Options;
use crate::proxy::table::core::{Core, TimerKey};

/// The time between two checks of all certificates in use.
const DAY: Duration = Duration::from_secs(86_400);

impl Proxy {
    /// Replaces the TLS configuration of a listener, for clients that connect from now on. False if
    /// it is closed, or no listener.
    pub fn set_listener_tls(&self, id: ConnId, tls: TlsServer) -> bool {
        let mut core = self.core();
        let conn = core.open_mut(id);
        let Some(conn) = conn.filter(|conn| conn.info.kind.is_listener()) else {
            return false;
        };
        conn.info.set_tls_server(tls.clone());
        let mut options = Options::clone(&conn.options);
        options.tls_server = Some(tls);
        // Its clients keep the options that they shared with it until now, and so the certificate
        // that they have been shown.
        conn.options = Rc::new(options);
        log::info!("connection {}: new certificates", id.serial);
        core.warn_of_listener(id);
        true
    }
}

impl Core {
    /// Has certificates in use checked in a day.
    pub fn check_certificates_later(&mut self) {
        let due = Instant::now() + DAY;
        self.timers.insert(due, TimerKey::Certificates);
    }

    /// Logs what is wrong with the certificates in use.
    pub fn check_certificates(&mut self) {
        self.certificates.clear();
        let open = self.all_open();
        for id in open {
            self.warn_of_listener(id);
        }
        for warning in self.tls_clients.warnings() {
            self.certificates.add(warning);
        }
        self.check_certificates_later();
    }

    /// Logs what is wrong with the certificates of a listener.
    pub fn warn_of_listener(&mut self, id: ConnId) {
        let listener = self.open(id).filter(|conn| conn.info.kind.is_listener());
        let tls = listener.and_then(|conn| conn.options.tls_server.clone());
        for warning in tls.iter().flat_map(TlsServer::warnings) {
            self.certificates.add(warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::TlsServerOptions;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn certificates_are_checked_once_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        params.not_after = date_time_ymd(2020, 1, 1);
        let key = KeyPair::generate().unwrap();
        std::fs::write(file("cert"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        let options = Options {
            tls_server: Some(
                TlsServer::new(&TlsServerOptions {
                    identity: Some((file("cert"), file("key"))),
                    ..TlsServerOptions::default()
                })
                .unwrap(),
            ),
            ..Options::default()
        };
        let proxy = Proxy::new().unwrap();
        let listener = proxy.listen_tcp(Some("127.0.0.1"), 0, options).unwrap();
        let told = || proxy.core().certificates.told();
        assert_eq!(told(), 1, "when it was made");
        let mut core = proxy.core();
        core.certificates.clear();
        core.check_certificates();
        let due = core.timers.next_deadline().expect("the next check");
        assert!(due > Instant::now() + DAY / 2);
        drop(core);
        assert_eq!(told(), 1, "again");
        proxy.close(listener.id, "the test is over");
        proxy.core().check_certificates();
        assert_eq!(told(), 0, "what is not in use is not told");
    }
}
