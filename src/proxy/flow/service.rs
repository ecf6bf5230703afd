//! A service among others: what the service manager is told, and what it asks for.

use std::io;
use std::sync::Arc;

use crate::net::{ServiceManager, inherit_sockets, unused_sockets};
use crate::output;
use crate::proxy::Proxy;
use crate::proxy::table::core::Core;

impl Proxy {
    /// From now on the service manager (systemd), if one has started the process, is told when the loop runs,
    /// reloads and stops, and that all loops turn; and listeners take over the sockets that it has made. To be called
    /// once in a process, before it has threads and listeners.
    ///
    /// # Errors
    /// The environment names a service manager that cannot be reached.
    pub fn serve_under_service_manager(&self) -> io::Result<()> {
        inherit_sockets();
        self.core().service_manager = ServiceManager::from_environment()?.map(Arc::new);
        Ok(())
    }

    /// The signal for a reload: the log has its name again, and scripts may do what they like.
    pub(super) fn reload(&self) {
        let service_manager = self.core().service_manager.clone();
        let tell =
            |what: fn(&ServiceManager)| service_manager.as_deref().into_iter().for_each(what);
        tell(ServiceManager::reloading);
        output::reopen_log();
        self.hooks().signal("HUP");
        tell(ServiceManager::ready);
    }
}

impl Core {
    /// The loop begins.
    pub(super) fn tell_ready(&mut self) {
        let is_first = self.worker.number() == 1;
        for address in unused_sockets().into_iter().filter(|_| is_first) {
            log::warn!(
                "the service manager listens on {address}, and no listener has this address"
            );
        }
        if let Some(service_manager) = &self.service_manager {
            service_manager.store_listeners();
            service_manager.ready();
            self.worker.tell_alive(service_manager);
        }
    }

    /// A listener was opened or closed: the service manager keeps those that are open, once it knows that the loop
    /// runs.
    pub fn listeners_changed(&self) {
        if let Some(service_manager) = &self.service_manager
            && self.stats.ticks > 0
            && !self.stopping
        {
            service_manager.store_listeners();
        }
    }

    /// The loop ends, as soon as all exchanges have.
    pub(super) fn tell_stopping(&self) {
        let service_manager = self.service_manager.as_deref();
        service_manager
            .into_iter()
            .for_each(ServiceManager::stopping);
    }
}
