//! The connection object, as which scripts hold connections and give them as arguments.

use std::cell::RefCell;
use std::rc::Rc;

use crate::proxy::{ConnId, ConnInfo, ProxyError};
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::Args;

/// A script's object for a connection. When it is collected, its drop notes the connection's id;
/// the connection is closed at the end of the tick, when nothing is borrowed.
#[derive(Debug)]
pub struct ConnObject {
    info: Rc<ConnInfo>,
    collected: Rc<RefCell<Vec<ConnId>>>,
}

impl ConnObject {
    /// Makes the object; a connection has only one.
    pub fn new(info: Rc<ConnInfo>, collected: Rc<RefCell<Vec<ConnId>>>) -> ConnObject {
        ConnObject { info, collected }
    }

    /// The connection's id.
    pub fn id(&self) -> ConnId {
        self.info.id
    }

    /// The connection's information.
    pub fn info(&self) -> &Rc<ConnInfo> {
        &self.info
    }
}

impl Drop for ConnObject {
    fn drop(&mut self) {
        if !self.info.closed.get() {
            self.collected.borrow_mut().push(self.info.id);
        }
    }
}

/// The proxy's error, after the function's name.
pub fn named(args: &Args, error: &ProxyError) -> ScriptError {
    args.error(error)
}

/// The connection that is an argument.
pub fn connection(args: &Args, index: usize, what: &str) -> Result<Rc<ConnInfo>, ScriptError> {
    args.object(index, what, "a connection", |conn: &ConnObject| {
        conn.info().clone()
    })
}
