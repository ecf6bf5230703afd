//! What all Lua states of one proxy have in common: observers, which know connections whichever state has them, and
//! what is known of reloads.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::deposit::Deposit;

use crate::observe::{CollectedRows, Digests, Sessions, StatementMemory, Traces, WatchedCommands};
use crate::pool::Pools;
use crate::proxy::Proxy;

/// What all Lua states of one proxy have in common.
#[derive(Debug, Default)]
pub struct Commons {
    /// `dpml.digests`.
    pub digests: Rc<Digests>,
    /// `dpml.tracing`.
    pub traces: Rc<Traces>,
    /// The number of the state that sends spans: the newest one that has asked for traces.
    pub tracer: Cell<u32>,
    /// Pools of connections.
    pub pools: Rc<Pools>,
    /// The sessions of servers that scripts want followed.
    pub sessions: Rc<Sessions>,
    /// The statements of connections, and the columns of results.
    pub statements: Rc<StatementMemory>,
    /// `server:on_answer`.
    pub watched_commands: Rc<WatchedCommands>,
    /// `server:collect_rows`.
    pub rows: Rc<CollectedRows>,
    /// Passwords that go from one state to another.
    pub deposit: Deposit,
    /// What is known of reloads.
    pub reloads: Reloads,
}

/// What is known of reloads.
#[derive(Debug, Default)]
pub struct Reloads {
    /// Whether the program can reload its startfile.
    pub offered: Cell<bool>,
    /// How many reloads have succeeded, and failed.
    pub done: Cell<u64>,
    pub failed: Cell<u64>,
    /// How many clients have moved to a newer state.
    pub moved: Cell<u64>,
    /// How many states there are.
    pub states: Cell<usize>,
    /// Asked for, and not begun.
    pub wanted: RefCell<Vec<Answered>>,
}

/// What has become of a reload: nothing to say, or why it has failed.
pub type Outcome = Result<(), String>;

/// Is told what has become of a reload.
pub struct Answered(pub Box<dyn FnOnce(&Outcome)>);

impl std::fmt::Debug for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answered")
    }
}

impl Commons {
    /// Those of this proxy, which has had none.
    pub fn new(proxy: &Proxy) -> Rc<Commons> {
        let commons = Rc::new(Commons::default());
        // In front of all: it has to know what became of everything.
        proxy.observe(commons.digests.clone());
        proxy.observe(commons.traces.clone());
        // In front of the others: it holds commands back that the others see when there is a connection for them.
        proxy.observe(commons.pools.clone());
        // In front of those that may send another command in the place of a client's.
        proxy.observe(commons.sessions.clone());
        proxy.observe(commons.statements.clone());
        proxy.observe(commons.watched_commands.clone());
        proxy.observe(commons.rows.clone());
        commons
    }
}
