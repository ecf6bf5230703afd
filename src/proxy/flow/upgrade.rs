//! Upgrades, as this loop takes part in them.

use std::sync::Arc;

use crate::net::ServiceManager;
use crate::proxy::Proxy;
use crate::proxy::table::conn::Socket;
use crate::workers::upgrade::{Moving, UpgradeError};

impl Proxy {
    /// Starts the program anew, as it is on disk now, so that it takes the place of this process without that anybody
    /// notices.
    ///
    /// # Errors
    /// That cannot begin now. What fails later is logged, and this process serves on.
    pub fn upgrade(&self) -> Result<(), UpgradeError> {
        let worker = self.worker();
        worker.begin_upgrade()
    }

    /// The signal for an upgrade, which no script takes for its own.
    pub(super) fn upgrade_by_signal(&self) {
        // Each worker gets it.
        if self.core().worker.number() != 1 {
            return;
        }
        if let Err(error) = self.upgrade() {
            log::warn!("upgrade: {error}");
        }
    }

    pub(super) fn moving(&self, moving: Moving) {
        match moving {
            Moving::Replaced => self.core().service_manager = None,
            Moving::Promoted => self.be_the_service(),
            Moving::Begins => self.open_departures(),
            Moving::Pull(room) => self.make_room_for_departures(room),
            Moving::Moved(serial) => self.moved(serial),
            Moving::Refused(serial, why) => self.refused(serial, &why),
            Moving::Ends => self.close_departures(),
            Moving::Failed => self.call_back(),
            Moving::Arrival(carried) => self.arrive(carried),
        }
    }

    /// The service manager takes this process for the service from now on.
    fn be_the_service(&self) {
        let core = &mut *self.core();
        if core.service_manager.is_some() {
            return;
        }
        match ServiceManager::from_environment() {
            Ok(Some(service_manager)) => {
                service_manager.store_listeners();
                service_manager.ready();
                let service_manager = Arc::new(service_manager);
                core.worker.tell_alive(&service_manager);
                core.service_manager = Some(service_manager);
            }
            Ok(None) => {}
            Err(error) => log::warn!("the service manager cannot be reached: {error}"),
        }
    }

    /// Clients that have come while another process served were not seen.
    pub(super) fn listen_again(&self) {
        let core = &mut *self.core();
        let mut listeners = Vec::new();
        for (_, conn) in core.conns.iter_mut() {
            if matches!(conn.socket, Socket::Listening(_)) {
                conn.read.readable = true;
                listeners.push(conn.id());
            }
        }
        listeners.into_iter().for_each(|id| core.schedule(id));
        core.guests.queue_all();
    }
}
