//! Listening sockets that the service manager keeps (`FDSTORE=1`), so that clients wait while the service
//! starts again, and the next process gets them as it gets those that the service manager has made.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Mutex;

use super::listening::{self, Open, Wanted};
use super::service_manager::ServiceManager;

/// What the names of these sockets begin with.
const PREFIX: &str = "dpm-";

/// How long a name may be.
const MAX_NAME: usize = 200;

/// The names of those that it has got from this process.
static STORED: Mutex<Option<HashSet<String>>> = Mutex::new(None);

impl ServiceManager {
    /// Gives it the listening sockets that it does not have yet, and has it drop those that are closed.
    pub fn store_listeners(&self) {
        let open = listening::open();
        let own = open.iter().filter(|open| !is_its_own(open));
        let own: Vec<_> = own.map(|open| (name_of(open), open)).collect();
        let Ok(mut stored) = STORED.lock() else {
            return;
        };
        let stored = stored.get_or_insert_default();
        stored.retain(|name| {
            let is_open = own.iter().any(|(own, _)| own == name);
            if !is_open {
                self.forget(name);
            }
            is_open
        });
        for (name, open) in own {
            if !stored.contains(&name) && self.store(&name, open.socket.as_fd()) {
                stored.insert(name);
            }
        }
    }
}

/// Whether the service manager has made it. (Those that it has kept have our names.)
fn is_its_own(open: &Open) -> bool {
    open.name
        .as_ref()
        .is_some_and(|name| !name.starts_with(PREFIX))
}

fn name_of(open: &Open) -> String {
    let where_it_is = match &open.wanted {
        Wanted::Tcp(ip, _) => {
            let address = open.socket.local_addr().ok();
            let port = address.and_then(|address| Some(address.as_socket()?.port()));
            format!("{}-{}", ip.as_deref().unwrap_or("any"), port.unwrap_or(0))
        }
        Wanted::Unix(path) => path.display().to_string(),
    };
    // What systemd allows in a name.
    let allowed = |symbol: char| match symbol {
        ':' => '.',
        symbol if symbol.is_ascii_graphic() => symbol,
        _ => '_',
    };
    let symbols = where_it_is.chars().take(MAX_NAME);
    PREFIX.chars().chain(symbols.map(allowed)).collect()
}
