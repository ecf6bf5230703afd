//! What TLS towards servers needs, remembered for each destination.

use std::collections::HashMap;
use std::fs;
use std::rc::Rc;
use std::time::SystemTime;

use crate::net::{TlsClient, TlsClientOptions};
use crate::proxy::error::ProxyError;

/// How many configurations are cached. Beyond that the cache is cleared.
const REMEMBERED: usize = 256;

/// When a file was changed, and how long it is.
type Stamp = Option<(SystemTime, u64)>;

/// TLS configurations towards servers, by options and destination. Connections to the same
/// destination can resume each other's sessions, and files are read again only if they have
/// changed.
#[derive(Debug, Default)]
pub(crate) struct TlsClients(HashMap<(TlsClientOptions, String), (Vec<Stamp>, Rc<TlsClient>)>);

impl TlsClients {
    /// What goes to this destination needs.
    pub fn get(
        &mut self,
        options: &TlsClientOptions,
        host: &str,
        port: u16,
    ) -> Result<Rc<TlsClient>, ProxyError> {
        let stamps: Vec<Stamp> = options
            .files()
            .map(|file| {
                let data = fs::metadata(file).ok()?;
                Some((data.modified().ok()?, data.len()))
            })
            .collect();
        let key = (options.clone(), format!("{host}:{port}"));
        if let Some((known, client)) = self.0.get(&key)
            && *known == stamps
        {
            return Ok(client.clone());
        }
        let client = Rc::new(TlsClient::new(options, host)?);
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(key, (stamps, client.clone()));
        Ok(client)
    }
}
