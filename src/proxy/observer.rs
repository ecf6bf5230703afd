//! Those who watch traffic, or act on it, beside the [hooks](super::Hooks).

use std::rc::Rc;

use super::conn::{ConnId, ConnInfo};
use super::hooks::{Incoming, Verdict};
use super::send::Packet;
use crate::session::{Event, EventSet};

/// One of any number of observers, which the proxy shows traffic before it asks its hooks.
///
/// Every method has a default, so that an observer says only what it cares about. Observers are
/// called in the order in which [`Proxy::observe`](super::Proxy::observe) was called. No borrow of
/// the proxy is held meanwhile, so an observer may do anything to any connection.
///
/// What an observer knows of each connection it keeps itself, for example in a
/// [`PerConnection`](super::PerConnection).
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use dpm::proxy::{ConnInfo, ConnKind, Incoming, Observer, Proxy, Verdict};
/// use dpm::session::{Event, EventSet};
///
/// /// Counts commands.
/// #[derive(Default)]
/// struct Commands(Cell<u64>);
///
/// impl Observer for Commands {
///     fn wants(&self, conn: &Rc<ConnInfo>) -> EventSet {
///         match conn.kind {
///             ConnKind::Client => Event::ClientSentCommand.set(),
///             _ => EventSet::NONE,
///         }
///     }
///
///     fn event(&self, _: &Rc<ConnInfo>, _: Event, _: Option<Incoming<'_>>) -> Verdict {
///         self.0.set(self.0.get() + 1);
///         Verdict::Forward
///     }
/// }
///
/// let proxy = Proxy::new()?;
/// let commands = Rc::new(Commands::default());
/// proxy.observe(commands.clone());
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Observer {
    /// A client was accepted, or a connection to a server begins.
    fn opened(&self, _conn: &Rc<ConnInfo>) {}

    /// The events that it wants to see of this connection. Asked when the connection opens, when it
    /// is linked or unlinked, and whenever [`Proxy::rearm`](super::Proxy::rearm) is called. Where
    /// nobody wants anything, packets pass without being looked at.
    fn wants(&self, _conn: &Rc<ConnInfo>) -> EventSet {
        EventSet::NONE
    }

    /// Something happened that it wants to see. Unless it says `Forward`, neither the observers
    /// behind it nor the hooks are shown this event.
    fn event(&self, _conn: &Rc<ConnInfo>, _event: Event, _packet: Option<Incoming<'_>>) -> Verdict {
        Verdict::Forward
    }

    /// What the observers behind it and the hooks have said of an event that it was shown; its own
    /// verdict if it did not let them see it. The result counts in place of that, so that it can
    /// still hold back a packet, having sent another one. Where one packet causes several events,
    /// this is said of each.
    fn settled(
        &self,
        _conn: &Rc<ConnInfo>,
        _event: Event,
        _packet: Option<Incoming<'_>>,
        verdict: Verdict,
    ) -> Verdict {
        verdict
    }

    /// A packet that did not come from a peer was queued on this connection, of which the observer
    /// wants some event: the hooks, or an observer, have [sent](super::Proxy::send) it.
    fn sent(&self, _conn: &Rc<ConnInfo>, _packet: &Packet<'_>) {}

    /// A client and a server were linked.
    fn linked(&self, _client: ConnId, _server: ConnId) {}

    /// Their link is gone.
    fn unlinked(&self, _client: ConnId, _server: ConnId) {}

    /// The connection closes, and the hooks have been told: what is kept of it is to go. Its link,
    /// if there is one, is still there. Clients that were refused have never opened.
    fn closing(&self, _conn: &Rc<ConnInfo>) {}
}
