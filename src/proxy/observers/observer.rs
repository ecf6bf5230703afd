//! Those who watch traffic, or act on it, beside the [hooks](crate::proxy::Hooks).

use std::rc::Rc;

use crate::proxy::Proxy;
use crate::proxy::hooks::{Incoming, Verdict};
use crate::proxy::id::ConnId;
use crate::proxy::info::ConnInfo;
use crate::proxy::outgoing::Packet;
use crate::session::{Event, EventSet};

/// An event that an observer is shown.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Shown<'a> {
    /// The connection that it happened on.
    pub conn: &'a Rc<ConnInfo>,
    /// What happened.
    pub event: Event,
    /// The packet that caused it, if any.
    pub packet: Option<Incoming<'a>>,
}

/// An observer. There may be any number of them; the proxy shows them traffic before it calls its
/// hooks.
///
/// Every method has a default, so an observer implements only the methods that it needs. Observers
/// are called in the order in which [`Proxy::observe`] was called. No borrow of the proxy is held
/// meanwhile, so an observer may do anything to any connection. Each method gets the proxy, so that
/// the observer need not store it.
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

    /// The events of this connection that it wants to see. Called when the connection opens, when
    /// it is linked or unlinked, and on [`Proxy::rearm`]. If neither an observer nor the hooks want
    /// any, packets are forwarded without being parsed.
    fn wants(&self, _proxy: &Proxy, _conn: &Rc<ConnInfo>) -> EventSet {
        EventSet::NONE
    }

    /// An event that it wants to see. Unless it returns `Forward`, neither the observers after it
    /// nor the hooks are shown this event.
    fn event(&self, _proxy: &Proxy, _shown: Shown<'_>) -> Verdict {
        Verdict::Forward
    }

    /// Called after an event that it was shown, with the verdict of the observers after it and the
    /// hooks, or with its own if they were not shown the event. The result replaces that verdict,
    /// so that the observer can still hold back a packet, for example after sending another one. If
    /// one packet causes several events, this is called for each.
    fn settled(&self, _proxy: &Proxy, _shown: Shown<'_>, verdict: Verdict) -> Verdict {
        verdict
    }

    /// The hooks or an observer have [sent](Proxy::send) a packet to this connection, of which this
    /// observer wants some event.
    fn sent(&self, _proxy: &Proxy, _conn: &Rc<ConnInfo>, _packet: &Packet<'_>) {}

    /// A client and a server were linked.
    fn linked(&self, _proxy: &Proxy, _client: ConnId, _server: ConnId) {}

    /// Their link is gone.
    fn unlinked(&self, _proxy: &Proxy, _client: ConnId, _server: ConnId) {}

    /// Why this connection cannot go over to another process without that something is lost which only this observer knows.
    fn keeps(&self, _proxy: &Proxy, _conn: ConnId) -> Option<&'static str> {
        None
    }

    /// All events have been handled, and the loop is about to wait; called after the hooks. What is
    /// sent here leaves before that.
    fn end_of_tick(&self, _proxy: &Proxy) {}

    /// The connection closes, and the hooks have been told. Data about it should be dropped now.
    /// Its link, if any, still exists. Clients that were refused have never opened.
    fn closing(&self, _proxy: &Proxy, _conn: &Rc<ConnInfo>) {}
}
