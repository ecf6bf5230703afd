//! The interface to the layer above the proxy.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::id::ConnId;
use super::info::ConnInfo;
use crate::session::{Event, PacketKind};
use crate::wire::{Capabilities, Com, Hidden};
use crate::workers::{Published, Rollout};

/// What to do with the packet that a hook was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it to the linked peer, if there is one.
    Forward,
    /// Do not forward it: it was handled, replaced or kept.
    Hold,
    /// Forward it, then unlink client and server.
    FlushDisconnect,
    /// The hook failed (and has said so in the log).
    Failed,
}

/// A packet as a hook sees it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Incoming<'a> {
    /// What it is.
    pub kind: PacketKind,
    /// Its payload, in a buffer that is reused: copy what is to be kept.
    pub payload: &'a [u8],
    /// The capabilities of the connection that it came from, by which it is decoded.
    pub capabilities: Capabilities,
    /// The command that it answers, if it answers one.
    pub answers: Option<Com>,
    /// The prepared statement that this command is about.
    pub statement: Option<u32>,
}

impl fmt::Debug for Incoming<'_> {
    /// Without secrets, which a payload may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("kind", &self.kind)
            .field("payload", &Hidden(self.payload))
            .field("capabilities", &self.capabilities)
            .field("answers", &self.answers)
            .field("statement", &self.statement)
            .finish()
    }
}

/// What the layer above says when a client is to leave it for another process, or another part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packed {
    /// What it knows of the client.
    Text(Vec<u8>),
    /// The client stays, for this reason.
    Stays(String),
    /// The client may leave soon.
    NotNow,
}

/// The layer above: scripts, or a Rust program that embeds the proxy.
///
/// No borrow of the proxy is held while a hook runs, so a hook may do anything to any connection.
/// [Observers](super::Observer) are shown each event before the hooks are.
pub trait Hooks {
    /// A client was accepted. `Failed` closes it.
    fn accepted(&self, listener: &Rc<ConnInfo>, client: &Rc<ConnInfo>) -> Verdict;

    /// Something happened that was [armed](super::Proxy::arm).
    fn event(&self, _conn: &Rc<ConnInfo>, _event: Event, _packet: Option<Incoming<'_>>) -> Verdict {
        Verdict::Forward
    }

    /// The connection closes: called exactly once, armed or not. `collected`: because nothing
    /// refers to it any more.
    fn closing(&self, _conn: &Rc<ConnInfo>, _collected: bool) {}

    /// A client and a server were linked.
    fn linked(&self, _client: ConnId, _server: ConnId) {}

    /// Their link is gone.
    fn unlinked(&self, _client: ConnId, _server: ConnId) {}

    /// A timer is due.
    fn timer(&self, _key: u64) {}

    /// The addresses of a name that was [looked up](super::Proxy::look_up).
    fn resolved(&self, _key: u64, _addresses: io::Result<Vec<IpAddr>>) {}

    /// The process got this signal ("HUP", "USR1", "USR2"). Whether it was handled: USR2 begins an
    /// [upgrade](super::Proxy::upgrade) otherwise.
    fn signal(&self, _name: &'static str) -> bool {
        false
    }

    /// A message was published on a channel that this worker has subscribed to.
    fn published(&self, _message: &Published) {}

    /// This worker is the one of all that does what it has offered to do under this name.
    fn once(&self, _name: &str) {}

    /// Something new is to be prepared by all workers, or it was decided about.
    fn rollout(&self, _rollout: &Arc<Rollout>) {}

    /// What is known of a client that [rests](super::Proxy::rests), for whoever goes on with it.
    fn pack(&self, _client: ConnId) -> Packed {
        Packed::Stays("nobody knows how to move clients".to_owned())
    }

    /// A client has come that was packed elsewhere, with the server that it is linked to, if any. Both are logged in. It
    /// counts as one of this listener.
    ///
    /// # Errors
    /// Why it cannot be gone on with.
    fn adopt(
        &self,
        _listener: ConnId,
        _client: ConnId,
        _server: Option<ConnId>,
        _text: &[u8],
    ) -> Result<(), String> {
        Err("nobody knows how to take clients in".to_owned())
    }

    /// A client that was packed is gone on with elsewhere. It will close here without having left.
    fn let_go(&self, _client: ConnId) {}

    /// All events have been handled, and the loop is about to wait.
    fn end_of_tick(&self) {}
}
