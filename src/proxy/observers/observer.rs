//! Those who watch traffic, or act on it, beside the [hooks](crate::proxy::Hooks).

use std::rc::Rc;

use crate::proxy::Proxy;
use crate::proxy::flow::send::Packet;
use crate::proxy::hooks::{Incoming, Verdict};
use crate::proxy::id::ConnId;
use crate::proxy::info::ConnInfo;
use crate::session::{Event, EventSet};

/// An event, as an observer is shown it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Shown<'a> {
    /// The connection that it happened on.
    pub conn: &'a Rc<ConnInfo>,
    /// What happened.
    pub event: Event,
    /// The packet that it happened with, if there is one.
    pub packet: Option<Incoming<'a>>,
}

/// One of any number of observers, which the proxy shows traffic before it asks its hooks.
///
/// Every method has a default, so that an observer says only what it cares about. Observers are
/// called in the order in which [`Proxy::observe`] was called. No borrow of the proxy is held
/// meanwhile, so an observer may do anything to any connection. It is given the proxy each time, and
/// so need not keep it.
///
/// What an observer knows of each connection it keeps itself, for example in a
/// [`PerConnection`](crate::proxy::PerConnection).
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use dpm::proxy::{ConnInfo, ConnKind, Observer, Proxy, Shown, Verdict};
/// use dpm::session::{Event, EventSet};
///
/// /// Counts commands.
/// #[derive(Default)]
/// struct Commands(Cell<u64>);
///
/// impl Observer for Commands {
///     fn wants(&self, _: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
///         match conn.kind {
///             ConnKind::Client => Event::ClientSentCommand.set(),
///             _ => EventSet::NONE,
///         }
///     }
///
///     fn event(&self, _: &Proxy, _: Shown<'_>) -> Verdict {
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
    fn opened(&self, _proxy: &Proxy, _conn: &Rc<ConnInfo>) {}

    /// The events that it wants to see of this connection. Asked when the connection opens, when it
    /// is linked or unlinked, and whenever [`Proxy::rearm`] is called. Where nobody wants anything,
    /// packets pass without being looked at.
    fn wants(&self, _proxy: &Proxy, _conn: &Rc<ConnInfo>) -> EventSet {
        EventSet::NONE
    }

    /// Something happened that it wants to see. Unless it says `Forward`, neither the observers
    /// behind it nor the hooks are shown this event.
    fn event(&self, _proxy: &Proxy, _shown: Shown<'_>) -> Verdict {
        Verdict::Forward
    }

    /// What the observers behind it and the hooks have said of an event that it was shown; its own
    /// verdict if it did not let them see it. The result counts in place of that, so that it can
    /// still hold back a packet, having sent another one. Where one packet causes several events,
    /// this is said of each.
    fn settled(&self, _proxy: &Proxy, _shown: Shown<'_>, verdict: Verdict) -> Verdict {
        verdict
    }

    /// A packet that did not come from a peer was queued on this connection, of which the observer
    /// wants some event: the hooks, or an observer, have [sent](Proxy::send) it.
    fn sent(&self, _proxy: &Proxy, _conn: &Rc<ConnInfo>, _packet: &Packet<'_>) {}

    /// A client and a server were linked.
    fn linked(&self, _proxy: &Proxy, _client: ConnId, _server: ConnId) {}

    /// Their link is gone.
    fn unlinked(&self, _proxy: &Proxy, _client: ConnId, _server: ConnId) {}

    /// The connection closes, and the hooks have been told: what is kept of it is to go. Its link,
    /// if there is one, is still there. Clients that were refused have never opened.
    fn closing(&self, _proxy: &Proxy, _conn: &Rc<ConnInfo>) {}
}
