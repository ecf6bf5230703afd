//! What a pool asks of the layer above, which knows addresses and passwords.

use crate::pool::lending::key::Key;
use crate::proxy::ConnId;
use crate::wire::Com;

/// The layer above a pool: it knows addresses and passwords.
pub trait Above {
    /// A connection is to be opened and logged in with this key's account and capabilities. It tells
    /// the result with the ticket's number.
    fn open(&self, ticket: u64, server: &str, key: &Key);

    /// Somebody's statement is to be ended, since its client is gone.
    fn kill(&self, server: &str, key: &Key, thread_id: u32);

    /// A client was lent this connection. Only told if the pool's options say so.
    fn lent(&self, client: ConnId, server: ConnId);

    /// A client has no longer this connection. Only told if the pool's options say so.
    fn taken(&self, client: ConnId, server: ConnId);

    /// A client logs in anew, or wants to kill one: the layer above answers this command.
    fn command(&self, client: ConnId, com: Com, argument: &[u8]);

    /// Something was learnt about a server that its roles and health should be looked at for.
    fn look_again(&self, server: &str);
}
