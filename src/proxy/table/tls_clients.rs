//! What TLS towards servers needs, remembered for each destination.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

use crate::net::{TlsClient, TlsClientOptions};
use crate::proxy::error::ProxyError;

/// How many configurations are cached. Beyond that the cache is cleared.
const REMEMBERED: usize = 256;

/// Which file it is, when it was last changed in any way, and how long it is. The time of the last
/// change of its contents is not enough: a file that replaces another may be the older one.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    changed: (i64, i64),
    len: u64,
}

impl Stamp {
    fn of(file: &str) -> Option<Stamp> {
        let data = fs::metadata(file).ok()?;
        Some(Stamp {
            file: (data.dev(), data.ino()),
            changed: (data.ctime(), data.ctime_nsec()),
            len: data.len(),
        })
    }
}

/// The configuration for a destination.
#[derive(Debug)]
struct Known {
    /// The files as they were when they were last read, or could not be used.
    stamps: Vec<Option<Stamp>>,
    client: Rc<TlsClient>,
}

/// The configuration that was looked for.
#[derive(Debug)]
pub(crate) enum Found {
    /// The files are as they were.
    Known(Rc<TlsClient>),
    /// The files have been read.
    Read(Rc<TlsClient>),
}

/// TLS configurations towards servers, by options and destination. Connections to the same
/// destination can resume each other's sessions, and files are read again only if they have
/// changed.
#[derive(Debug, Default)]
pub(crate) struct TlsClients(HashMap<(TlsClientOptions, String), Known>);

impl TlsClients {
    /// What goes to this destination needs. If the files have changed but cannot be used, such as a
    /// certificate whose key is still the old one, what was read before stays in use.
    pub fn get(
        &mut self,
        options: &TlsClientOptions,
        host: &str,
        port: u16,
    ) -> Result<Found, ProxyError> {
        let stamps: Vec<_> = options.files().map(Stamp::of).collect();
        let key = (options.clone(), format!("{host}:{port}"));
        if let Some(known) = self.0.get_mut(&key) {
            if known.stamps == stamps {
                return Ok(Found::Known(known.client.clone()));
            }
            known.stamps = stamps;
            match TlsClient::new(options, host) {
                Ok(client) => known.client = Rc::new(client),
                Err(error) => {
                    log::warn!(
                        "tls.{error}; what was read before stays in use for {}",
                        key.1
                    );
                    return Ok(Found::Known(known.client.clone()));
                }
            }
            return Ok(Found::Read(known.client.clone()));
        }
        let client = Rc::new(TlsClient::new(options, host)?);
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        let known = client.clone();
        self.0.insert(
            key,
            Known {
                stamps,
                client: known,
            },
        );
        Ok(Found::Read(client))
    }

    /// What is wrong with the certificates that are shown to servers.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.0.values().flat_map(|known| known.client.warnings())
    }
}
