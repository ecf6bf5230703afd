//! The next state takes the place of the present one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mlua::{Function, MultiValue, Value};

use super::commons::Answered;
use super::scripts::Scripts;
use super::staging::{Listening, Opened};
use super::under_way::{LOOK, TOO_LATE, UnderWay};
use crate::script::runtime::Origin;
use crate::script::{Script, ScriptError, Startfile};
use crate::workers::{Decision, Rollout};

/// How long a startfile and its self-test may run for: clients wait meanwhile.
const LONGEST: Duration = Duration::from_secs(5);

/// How long all workers may take to prepare a startfile.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many states may live beside the one in use.
const MAX_OTHERS: usize = 8;

impl Scripts {
    /// The work of the end of a tick: a reload that was asked for, moves, the ends of states.
    pub(super) fn end_of_tick(&self) {
        let wanted = self.commons.reloads.wanted.take();
        if !wanted.is_empty() {
            self.reload(wanted);
        }
        self.move_clients();
        self.end_states();
    }

    /// SIGHUP, and the script has no function for it. All workers get the signal, and one is enough.
    pub(super) fn hung_up(&self) {
        if self.proxy.worker().number() != 1 {
            return;
        }
        match Startfile::read_again(self.program.startfile.as_deref()) {
            Err(ScriptError(why)) => log::warn!("signal HUP: the startfile is not reloaded: {why}"),
            Ok(_) => self.reload(Vec::new()),
        }
    }

    /// A timer of the reload's own is due.
    pub(super) fn due(&self, key: u64) {
        if key == LOOK {
            return self.look();
        }
        let under_way = &mut *self.under_way.borrow_mut();
        under_way.timer = None;
        if let Some(rollout) = &under_way.rollout {
            self.proxy.worker().give_up(rollout);
        }
    }

    /// Runs the startfile in a new state, which is in use from then on, or everything stays as it was. With several workers
    /// that is known later.
    fn reload(&self, asked: Vec<Answered>) {
        let startfile = Startfile::read_again(self.program.startfile.as_deref());
        let startfile = startfile.map_err(|ScriptError(why)| why);
        let worker = self.proxy.worker();
        if worker.count() == 1 {
            let prepared = startfile.and_then(|startfile| self.prepare(&startfile));
            return self.conclude(prepared, asked);
        }
        let begun = startfile.and_then(|startfile| {
            let begun = worker.roll_out(startfile.into_source());
            begun.ok_or_else(|| "another reload is under way".to_owned())
        });
        match begun {
            Err(problem) => self.conclude(Err(problem), asked),
            Ok(rollout) => {
                let under_way = &mut *self.under_way.borrow_mut();
                under_way.rollout = Some(rollout);
                under_way.asked.extend(asked);
                under_way.timer = Some(self.proxy.schedule(PATIENCE, TOO_LATE));
            }
        }
    }

    /// A startfile is to be prepared, or it was decided about.
    pub(super) fn rollout(&self, rollout: &Arc<Rollout>) {
        let worker = self.proxy.worker();
        if rollout.waits_for(worker.number()) {
            let path = self.program.startfile.as_deref();
            let startfile = Startfile::of_source(path, rollout.content.clone());
            let prepared = self.prepare(&startfile);
            let result = prepared.as_ref().map(|_| ()).map_err(Clone::clone);
            {
                let under_way = &mut *self.under_way.borrow_mut();
                under_way.prepared = prepared.ok();
                under_way.rollout.get_or_insert_with(|| rollout.clone());
            }
            return worker.report(rollout, result);
        }
        let decided = match rollout.decision() {
            Decision::Open => return,
            Decision::Use => Ok(()),
            Decision::Drop(why) => Err(why),
        };
        let (prepared, asked) = {
            let under_way = &mut *self.under_way.borrow_mut();
            let is_this = |one: &Arc<Rollout>| Arc::ptr_eq(one, rollout);
            if !under_way.rollout.as_ref().is_some_and(is_this) {
                return;
            }
            let UnderWay {
                prepared,
                asked,
                timer,
                ..
            } = std::mem::take(under_way);
            if let Some(timer) = timer {
                self.proxy.cancel(timer);
            }
            (prepared, asked)
        };
        match (decided, prepared) {
            (Ok(()), Some(script)) => self.conclude(Ok(script), asked),
            (decided, prepared) => {
                if let Some(script) = prepared {
                    self.end(&script);
                }
                let why = decided
                    .err()
                    .unwrap_or_else(|| "it is not prepared".to_owned());
                self.conclude(Err(why), asked);
            }
        }
    }

    /// What was prepared is in use, or everything stays as it was.
    fn conclude(&self, prepared: Result<Rc<Script>, String>, asked: Vec<Answered>) {
        let reloads = &self.commons.reloads;
        match &prepared {
            Ok(script) => {
                self.commit(script);
                reloads.done.set(reloads.done.get() + 1);
            }
            Err(problem) => {
                log::error!(
                    "the startfile is not reloaded, and everything stays as it was: {problem}"
                );
                reloads.failed.set(reloads.failed.get() + 1);
            }
        }
        let result = prepared.map(|_| ());
        for Answered(tell) in asked {
            tell(&result);
        }
    }

    /// Runs the startfile in a new state, and its self-test, without letting it change anything of the program.
    fn prepare(&self, startfile: &Startfile) -> Result<Rc<Script>, String> {
        let others = self.others.borrow().len();
        if others >= MAX_OTHERS {
            return Err(format!(
                "{others} older startfiles still have {} clients: SHOW CLIENTS tells why they stay",
                self.proxy.clients_of_others()
            ));
        }
        let text = |ScriptError(message): ScriptError| message;
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        let origin = Origin {
            commons: Some(self.commons.clone()),
            predecessor: Rc::downgrade(&self.present().runtime),
            number,
        };
        let script = Rc::new(Scripts::state(&self.proxy, &self.program, origin).map_err(text)?);
        let chunk = script.compile(startfile).map_err(text)?;
        for warning in script.check(&chunk).map_err(text)? {
            log::warn!("{warning}");
        }
        // From here on it may have connections.
        self.others.borrow_mut().push(script.clone());
        match run(&script, &chunk) {
            Ok(()) => Ok(script),
            Err(problem) => {
                self.end(&script);
                Err(problem)
            }
        }
    }

    /// The state is in use from now on.
    fn commit(&self, script: &Rc<Script>) {
        let (runtime, proxy) = (&script.runtime, &self.proxy);
        let number = runtime.number;
        let before = self.present.replace(script.clone());
        {
            let mut others = self.others.borrow_mut();
            others.retain(|other| other.runtime.number != number);
            others.push(before.clone());
            self.commons.reloads.states.set(others.len() + 1);
        }
        proxy.set_present_owner(number);
        let (effects, options) = runtime.staging.end();
        proxy.set_defaults(options.unwrap_or_default());
        for effect in effects {
            effect();
        }
        if runtime.sources.named("digests").is_none() {
            runtime.digests.stop(proxy);
        }
        let mut followed = Vec::new();
        for opened in runtime.staging.listeners() {
            take_place(self, &opened);
            followed.extend(opened.before);
        }
        let followed = |socket: &Listening| followed.iter().any(|other| other.is(socket));
        for opened in before.runtime.staging.listeners() {
            if !followed(&opened.socket) {
                self.close_listener(&opened.socket);
            }
        }
        log::info!(
            "startfile {number} is in use: {} clients are still with older ones",
            proxy.clients_of_others()
        );
        self.look_at_all();
    }

    fn close_listener(&self, socket: &Listening) {
        match socket {
            Listening::MySql(id) => {
                self.proxy
                    .close(*id, "the new startfile does not listen here");
            }
            Listening::Http(listener) => listener.close(),
        }
    }
}

/// A listener begins, where another one has been, if there was one.
fn take_place(scripts: &Scripts, opened: &Opened) {
    match (&opened.socket, &opened.before) {
        (Listening::MySql(id), Some(Listening::MySql(before))) => {
            scripts.proxy.succeed(*before, *id)
        }
        (Listening::MySql(id), _) => scripts.proxy.open_listener(*id),
        (Listening::Http(listener), Some(Listening::Http(before))) => {
            if let Err(error) = listener.succeed(before) {
                log::error!("http: {}:{}: {error}", listener.address(), listener.port());
            }
        }
        (Listening::Http(_), _) => {}
    }
}

/// Runs the startfile, and the function `selftest` of the table that it returns.
fn run(script: &Script, chunk: &Function) -> Result<(), String> {
    let runtime = &script.runtime;
    let call = || {
        let returned = chunk.call::<Value>(())?;
        let Value::Table(returned) = returned else {
            return Ok(());
        };
        let selftest = returned.get::<Option<Function>>("selftest")?;
        let results = match selftest {
            Some(selftest) => selftest.call::<MultiValue>(())?,
            None => return Ok(()),
        };
        let mut results = results.into_iter();
        if results.next() == Some(Value::Boolean(false)) {
            let why = results.next().and_then(|why| why.to_string().ok());
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            return Err(mlua::Error::runtime(format!(
                "its selftest has failed{why}"
            )));
        }
        Ok(())
    };
    runtime.evaluate(|| runtime.watchdog.limited(LONGEST, call)?)
}
