//! The states of a proxy, and its hooks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use super::commons::Commons;
use super::under_way::UnderWay;
use crate::proxy::{ConnId, ConnInfo, Hooks, Incoming, Packed, Proxy, Verdict};
use crate::script::functions::traces;
use crate::script::hooks::LuaHooks;
use crate::script::runtime::{KEYS, Origin};
use crate::script::{Script, ScriptError};
use crate::session::Event;
use crate::workers::{Published, Rollout};

/// The startfile and its arguments.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// The file, if it is not the built-in one.
    pub startfile: Option<PathBuf>,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// The states of a proxy: the one in use, and older ones that still have clients.
#[derive(Debug)]
pub struct Scripts {
    pub(super) proxy: Proxy,
    pub(super) program: Invocation,
    pub(super) commons: Rc<Commons>,
    pub(super) present: RefCell<Rc<Script>>,
    /// The oldest first; the last may be one that is being prepared.
    pub(super) others: RefCell<Vec<Rc<Script>>>,
    pub(super) last_number: Cell<u32>,
    /// The reload that is under way in all workers.
    pub(super) under_way: RefCell<UnderWay>,
    /// Clients of older states that may be able to move.
    pub(super) candidates: RefCell<VecDeque<ConnId>>,
    /// Those that may be able to at the next look.
    pub(super) later: RefCell<Vec<ConnId>>,
    /// When a while began in which some clients that stay may be asked again, and how many were.
    pub(super) asked_again: Cell<(Instant, usize)>,
    /// The timer of the next look is set.
    pub(super) looks: Cell<bool>,
}

impl Scripts {
    /// Makes the first state of a proxy, and sets the proxy's hooks.
    ///
    /// # Errors
    /// The state cannot be set up.
    pub fn new(proxy: &Proxy, program: Invocation) -> Result<Rc<Scripts>, ScriptError> {
        let first = Scripts::state(proxy, &program, Origin::first())?;
        let commons = first.runtime.commons.clone();
        commons.reloads.offered.set(true);
        commons.reloads.states.set(1);
        let scripts = Rc::new(Scripts {
            proxy: proxy.clone(),
            program,
            commons,
            present: RefCell::new(Rc::new(first)),
            others: RefCell::default(),
            last_number: Cell::new(1),
            under_way: RefCell::default(),
            candidates: RefCell::default(),
            later: RefCell::default(),
            asked_again: Cell::new((Instant::now(), 0)),
            looks: Cell::new(false),
        });
        proxy.set_hooks(Rc::new(Dispatch(Rc::downgrade(&scripts))));
        Ok(scripts)
    }

    pub(super) fn state(
        proxy: &Proxy,
        program: &Invocation,
        origin: Origin,
    ) -> Result<Script, ScriptError> {
        let path = program.startfile.as_deref();
        let script = Script::with(proxy.clone(), path, origin)?;
        let name = path.map_or("startup.lua".into(), |file: &Path| {
            file.display().to_string()
        });
        script.set_arguments(&name, &program.arguments)?;
        Ok(script)
    }

    /// The state in use.
    pub fn present(&self) -> Rc<Script> {
        self.present.borrow().clone()
    }

    /// The state with this number.
    pub(super) fn of(&self, number: u32) -> Option<Rc<Script>> {
        let present = self.present.borrow();
        if present.runtime.number == number {
            return Some(present.clone());
        }
        let others = self.others.borrow();
        others
            .iter()
            .find(|other| other.runtime.number == number)
            .cloned()
    }

    /// All states, the oldest first.
    pub(super) fn all(&self) -> Vec<Rc<Script>> {
        let mut all = self.others.borrow().clone();
        all.push(self.present());
        all.sort_by_key(|script| script.runtime.number);
        all
    }
}

/// The hooks: each question goes to the state that it concerns.
struct Dispatch(Weak<Scripts>);

impl Dispatch {
    fn of(&self, number: u32) -> Option<LuaHooks> {
        let script = self.0.upgrade()?.of(number)?;
        Some(LuaHooks(Rc::downgrade(&script.runtime)))
    }

    fn script_of(&self, id: ConnId) -> Option<Rc<Script>> {
        let scripts = self.0.upgrade()?;
        scripts.of(scripts.proxy.info(id)?.owner.get())
    }

    fn of_conn(&self, info: &ConnInfo) -> Option<LuaHooks> {
        self.of(info.owner.get())
    }

    fn of_id(&self, id: ConnId) -> Option<LuaHooks> {
        let info = self.0.upgrade()?.proxy.info(id)?;
        self.of_conn(&info)
    }

    fn present(&self) -> Option<LuaHooks> {
        let script = self.0.upgrade()?.present();
        Some(LuaHooks(Rc::downgrade(&script.runtime)))
    }
}

impl Hooks for Dispatch {
    fn accepted(&self, listener: &Rc<ConnInfo>, client: &Rc<ConnInfo>) -> Verdict {
        let hooks = self.of_conn(listener);
        hooks.map_or(Verdict::Failed, |hooks| hooks.accepted(listener, client))
    }

    fn event(&self, conn: &Rc<ConnInfo>, event: Event, packet: Option<Incoming<'_>>) -> Verdict {
        let hooks = self.of_conn(conn);
        hooks.map_or(Verdict::Failed, |hooks| hooks.event(conn, event, packet))
    }

    fn closing(&self, conn: &Rc<ConnInfo>, collected: bool) {
        if let Some(hooks) = self.of_conn(conn) {
            hooks.closing(conn, collected);
        }
    }

    fn linked(&self, client: ConnId, server: ConnId) {
        if let Some(hooks) = self.of_id(client) {
            hooks.linked(client, server);
        }
    }

    fn unlinked(&self, client: ConnId, server: ConnId) {
        // One of the two may have closed.
        if let Some(hooks) = self.of_id(client).or_else(|| self.of_id(server)) {
            hooks.unlinked(client, server);
        }
    }

    fn timer(&self, key: u64) {
        let number = u32::try_from(key >> KEYS).unwrap_or_default();
        match (number, self.0.upgrade()) {
            (0, Some(scripts)) => scripts.due(key),
            _ => self
                .of(number)
                .into_iter()
                .for_each(|hooks| hooks.timer(key)),
        }
    }

    fn resolved(&self, key: u64, addresses: io::Result<Vec<IpAddr>>) {
        let number = u32::try_from(key >> KEYS).unwrap_or_default();
        if let Some(hooks) = self.of(number) {
            hooks.resolved(key, addresses);
        }
    }

    fn signal(&self, name: &'static str) -> bool {
        let Some(scripts) = self.0.upgrade() else {
            return false;
        };
        let present = scripts.present();
        let is_own = present.runtime.signals.0.borrow().contains_key(name);
        if name == "HUP" && !is_own {
            scripts.hung_up();
            return true;
        }
        self.present().is_some_and(|hooks| hooks.signal(name))
    }

    fn published(&self, message: &Published) {
        let Some(scripts) = self.0.upgrade() else {
            return;
        };
        for script in scripts.all() {
            LuaHooks(Rc::downgrade(&script.runtime)).published(message);
        }
    }

    fn rollout(&self, rollout: &Arc<Rollout>) {
        if let Some(scripts) = self.0.upgrade() {
            scripts.rollout(rollout);
        }
    }

    fn once(&self, name: &str) {
        if let Some(hooks) = self.present() {
            hooks.once(name);
        }
    }

    fn pack(&self, client: ConnId) -> Packed {
        let script = self.script_of(client);
        script.map_or(Packed::NotNow, |script| script.pack(client))
    }

    fn adopt(
        &self,
        listener: ConnId,
        client: ConnId,
        server: Option<ConnId>,
        text: &[u8],
    ) -> Result<(), String> {
        let closed = || "it has just closed".to_owned();
        let scripts = self.0.upgrade().ok_or_else(closed)?;
        let info = |id| scripts.proxy.info(id).ok_or_else(closed);
        let (client, server) = (info(client)?, server.map(info).transpose()?);
        let present = scripts.present();
        present.adopt(listener, &client, server.as_ref(), text)
    }

    fn let_go(&self, client: ConnId) {
        if let Some((script, scripts)) = self.script_of(client).zip(self.0.upgrade()) {
            script.let_go(client, scripts.proxy.peer(client));
        }
    }

    fn end_of_tick(&self) {
        let Some(scripts) = self.0.upgrade() else {
            return;
        };
        let others = scripts.others.borrow().clone();
        for script in others.iter().chain([&scripts.present()]) {
            traces::end_of_tick(&script.runtime);
            script.runtime.end_of_tick();
        }
        scripts.end_of_tick();
    }
}
