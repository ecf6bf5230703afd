//! What a pool asks of the layer above, which knows addresses and passwords.

use std::rc::Rc;

use bitflags::bitflags;

use crate::pool::judging::reason::Reason;
use crate::pool::lending::key::Key;
use crate::proxy::ConnId;
use crate::wire::Com;

bitflags! {
    /// What a pool asks the layer above about: policies that a script has given. About others it asks nothing.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
    pub struct Policies: u8 {
        /// Whether connections are kept for clients: [`Above::on_hold`].
        const ON_HOLD = 1;
        /// Which server a command goes to: [`Above::choose`].
        const CHOOSE = 2;
    }
}

/// What becomes of a client that would keep its connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Overrule {
    /// It keeps it.
    Keep,
    /// Others may have the connection, which is reset before; so the client may lose what it would have kept it for.
    Release,
    /// The statement is refused; or if it turned out too late, what it has left is given up, and the client is told.
    Refuse,
}

/// The layer above a pool: it knows addresses and passwords.
pub trait Above {
    /// A connection is to be opened and logged in with this key's account and capabilities. It tells
    /// the result with the ticket's number.
    fn open(&self, ticket: u64, server: &str, key: &Key);

    /// Somebody's statement is to be ended, since its client is gone.
    fn kill(&self, server: &str, key: &Key, thread_id: u32);

    /// Somebody's statement is to be ended, as it has taken too long; its connection is pinned until the layer above has
    /// the server's answer.
    fn interrupt(&self, connection: ConnId, server: &str, key: &Key, thread_id: u32);

    /// What it wants to be asked about.
    fn policies(&self) -> Policies;

    /// A client keeps its connection for this reason, or its statement would make it do so.
    fn on_hold(&self, client: ConnId, reason: Reason, sql: &[u8]) -> Overrule;

    /// Which of these servers, by its place, a client's command goes to; `None` leaves it to the pool.
    fn choose(&self, client: ConnId, servers: &[Rc<str>]) -> Option<usize>;

    /// A client was lent this connection. Only told if the pool's options say so.
    fn lent(&self, client: ConnId, server: ConnId);

    /// A client has no longer this connection. Only told if the pool's options say so.
    fn taken(&self, client: ConnId, server: ConnId);

    /// A client logs in anew, or wants to kill one: the layer above answers this command.
    fn command(&self, client: ConnId, com: Com, argument: &[u8]);

    /// What belongs to a client's session was read, so that the session is known now; or the client is gone.
    fn parted(&self, client: ConnId);

    /// Something was learnt about a server that its roles and health should be looked at for.
    fn look_again(&self, server: &str);
}
