//! What the script layer knows of each connection: its callbacks, until it closes.

use std::rc::Rc;

use mlua::{AnyUserData, Function};

use super::answers::{self, Answers};
use super::callbacks::Callbacks;
use super::rowset::Rows;
use super::rset::Arrived;
use super::statements::{self, Preparing, Statements};
use crate::proxy::{ConnId, ConnInfo, ConnKind};
use crate::session::{Event, EventSet};

/// A library's callbacks, laid over the connection's own.
#[derive(Debug, Clone)]
pub struct Package {
    /// The object, to be given back.
    pub object: AnyUserData,
    /// Its functions.
    pub callbacks: Callbacks,
}

/// One open connection.
#[derive(Debug)]
pub struct Entry {
    /// What can be read of it.
    pub info: Rc<ConnInfo>,
    /// Its own callbacks, once there is one.
    pub own: Option<Callbacks>,
    /// Those laid over them.
    pub package: Option<Package>,
    /// What runs after `MY_CLOSING`.
    pub on_close: Vec<Function>,
    /// The other end of its link.
    pub peer: Option<ConnId>,
    /// The columns of the present result, if a script has its resultset.
    pub arrived: Option<Rc<Arrived>>,
    /// Its prepared statements, if a script wants them remembered.
    pub statements: Option<Box<Statements>>,
    /// Its statements, or those of the other end of its link, are remembered.
    pub statements_tracked: bool,
    /// Those who watch what it answers, if it is a server.
    pub answers: Option<Rc<Answers>>,
    /// It, or the other end of its link, has such.
    pub answers_told: bool,
    /// The statement whose definitions are on their way.
    pub preparing: Option<Preparing>,
    /// Where its rows go, instead of to a callback.
    pub collecting: Option<Rc<Rows>>,
}

impl Entry {
    /// The callbacks that fire.
    pub fn active(&self) -> Option<&Callbacks> {
        match &self.package {
            Some(package) => Some(&package.callbacks),
            None => self.own.as_ref(),
        }
    }

    /// Whether a script wants its statements remembered.
    pub fn asked_for_statements(&self) -> bool {
        self.statements.as_ref().is_some_and(|all| all.asked())
    }

    /// The callbacks with the function for `MY_CLOSING`: the connection's own go first there.
    pub fn closing(&self) -> Option<&Callbacks> {
        let package = self.package.as_ref().map(|package| &package.callbacks);
        let has = |callbacks: &&Callbacks| callbacks.set().has(Event::Closing);
        self.own.as_ref().filter(has).or(package.filter(has))
    }

    /// What the proxy has to show us.
    pub fn wanted(&self) -> EventSet {
        let set = self.active().map_or(EventSet::NONE, Callbacks::set);
        let mut wanted = set.with(statements::wanted(self.info.kind, self.statements_tracked));
        wanted = wanted.with(answers::wanted(self.info.kind, self.answers_told));
        if self.collecting.is_some() {
            wanted = wanted.with(Event::ServerSendingRows.set());
        }
        if set.has(Event::ServerSentResultset) {
            // Its columns too, so that the resultset knows them when rows are to be decoded.
            wanted = wanted.with(Event::ServerSendingFields.set());
        }
        // So that the object gets to know its definitions; and so do resultsets that come without
        // them, which they may where the statement has brought them before.
        if set.has(Event::ServerPrepared) || set.has(Event::ServerSentResultset) {
            wanted = wanted.with(statements::wanted(ConnKind::Server, true));
        }
        wanted
    }
}

/// The open connections, by their places in the proxy's table.
#[derive(Debug, Default)]
pub struct Registry(Vec<Option<Entry>>);

impl Registry {
    /// Enters a connection; what was in its place is given back.
    pub fn insert(&mut self, info: Rc<ConnInfo>) -> Option<Entry> {
        let slot = info.id.slot();
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        self.0.get_mut(slot)?.replace(Entry {
            info,
            own: None,
            package: None,
            on_close: Vec::new(),
            peer: None,
            arrived: None,
            statements: None,
            statements_tracked: false,
            preparing: None,
            answers: None,
            answers_told: false,
            collecting: None,
        })
    }

    /// The connection of this name, if it has not closed.
    pub fn get(&self, id: ConnId) -> Option<&Entry> {
        let entry = self.0.get(id.slot())?.as_ref()?;
        (entry.info.id == id).then_some(entry)
    }

    /// The connection of this name, if it has not closed.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Entry> {
        let entry = self.0.get_mut(id.slot())?.as_mut()?;
        (entry.info.id == id).then_some(entry)
    }

    /// Forgets a connection; what was known is given back, to be dropped without a borrow.
    pub fn remove(&mut self, id: ConnId) -> Option<Entry> {
        let place = self.0.get_mut(id.slot())?;
        place.take_if(|entry| entry.info.id == id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().flatten()
    }
}
