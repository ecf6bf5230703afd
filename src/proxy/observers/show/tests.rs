//! Observers and hooks over a recorded session.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::proxy::in_process::{feed, linked_pair, output};
use crate::proxy::tests::recordings::{RECORDINGS, Turns, turns};
use crate::proxy::{
    ConnId, ConnInfo, ConnKind, Hooks, Incoming, NoHooks, Observer, Packet, Proxy, Shown, Verdict,
};
use crate::session::{Event, EventSet};
use crate::wire::{Com, Command};

type Log = Rc<RefCell<Vec<String>>>;

/// An observer that records what it is told of commands.
struct Witness {
    name: &'static str,
    log: Log,
    /// What it wants to see of clients.
    wants: Cell<EventSet>,
    event: Verdict,
    settled: Option<Verdict>,
}

impl Witness {
    fn new(name: &'static str, log: &Log) -> Witness {
        Witness {
            name,
            log: log.clone(),
            wants: Cell::new(Event::ClientSentCommand.set()),
            event: Verdict::Forward,
            settled: None,
        }
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.log.borrow_mut().push(format!("{} {what}", self.name));
    }

    fn see(&self, packet: Option<Incoming<'_>>) -> Verdict {
        let com = packet.and_then(|packet| packet.command());
        self.note(com.map_or("?", Com::name));
        self.event
    }
}

impl Observer for Witness {
    fn wants(&self, _: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        match conn.kind {
            ConnKind::Client => self.wants.get(),
            _ => EventSet::NONE,
        }
    }

    fn event(&self, _: &Proxy, shown: Shown<'_>) -> Verdict {
        self.see(shown.packet)
    }

    fn settled(&self, _: &Proxy, _: Shown<'_>, verdict: Verdict) -> Verdict {
        self.note(format_args!("{verdict:?}"));
        self.settled.unwrap_or(verdict)
    }

    fn sent(&self, _: &Proxy, _: &Rc<ConnInfo>, packet: &Packet<'_>) {
        self.note(format_args!("{packet:?}"));
    }

    fn linked(&self, _: &Proxy, _: ConnId, _: ConnId) {
        self.note("linked");
    }

    fn unlinked(&self, _: &Proxy, _: ConnId, _: ConnId) {
        self.note("unlinked");
    }

    fn closing(&self, _: &Proxy, conn: &Rc<ConnInfo>) {
        self.note(format_args!("{:?} closing", conn.kind));
    }
}

impl Hooks for Witness {
    fn accepted(&self, _: &Rc<ConnInfo>, _: &Rc<ConnInfo>) -> Verdict {
        Verdict::Forward
    }

    fn event(&self, _: &Rc<ConnInfo>, _: Event, packet: Option<Incoming<'_>>) -> Verdict {
        self.see(packet)
    }

    fn closing(&self, conn: &Rc<ConnInfo>, _: bool) {
        self.note(format_args!("{:?} closing", conn.kind));
    }
}

/// A proxy with some observers, and hooks that want to see commands.
struct Scene {
    proxy: Proxy,
    log: Log,
    client: ConnId,
    server: ConnId,
    turns: Turns,
}

impl Scene {
    fn new(observers: impl FnOnce(&Log) -> Vec<Witness>, hooks: EventSet) -> Scene {
        let proxy = Proxy::new().expect("a poller");
        let log = Log::default();
        for observer in observers(&log) {
            proxy.observe(Rc::new(observer));
        }
        proxy.set_hooks(Rc::new(Witness::new("hooks", &log)));
        let (client, server) = linked_pair(&proxy, EventSet::NONE);
        proxy.arm(client, hooks);
        Scene {
            proxy,
            log,
            client,
            server,
            turns: turns(RECORDINGS[0].1),
        }
    }

    /// Feeds the turns up to the first command and returns what was recorded about it.
    fn first_command(&self) -> Vec<String> {
        self.log.borrow_mut().clear();
        for (from_client, bytes) in &self.turns {
            let id = match from_client {
                true => self.client,
                false => self.server,
            };
            feed(&self.proxy, id, bytes);
            if !self.log.borrow().is_empty() {
                break;
            }
        }
        self.log.take()
    }

    fn armed(&self, id: ConnId) -> EventSet {
        self.proxy.core().get(id).expect("a connection").armed
    }
}

const COMMAND: EventSet = Event::ClientSentCommand.set();

#[test]
fn observers_see_events_in_their_order_and_before_the_hooks() {
    let scene = Scene::new(
        |log| vec![Witness::new("one", log), Witness::new("two", log)],
        COMMAND,
    );
    let told = scene.first_command();
    let name = told[0].strip_prefix("one ").expect("the first");
    assert_eq!(
        told,
        [
            format!("one {name}"),
            format!("two {name}"),
            format!("hooks {name}"),
            "two Forward".into(),
            "one Forward".into(),
        ]
    );
}

#[test]
fn who_holds_a_packet_back_is_the_last_to_see_it() {
    for (verdict, passes) in [
        (Verdict::Hold, false),
        (Verdict::Forward, true),
        (Verdict::FlushDisconnect, true),
    ] {
        let scene = Scene::new(
            |log| {
                let one = Witness::new("one", log);
                let two = Witness {
                    event: verdict,
                    ..Witness::new("two", log)
                };
                vec![one, two, Witness::new("three", log)]
            },
            COMMAND,
        );
        let told = scene.first_command();
        let seen_by_all = told.iter().any(|line| line.starts_with("hooks"));
        assert_eq!(seen_by_all, verdict == Verdict::Forward, "{told:?}");
        assert!(told.contains(&format!("one {verdict:?}")), "{told:?}");
        let output = output(&scene.proxy, scene.server);
        assert_eq!(output.len() > login_size(&scene.turns), passes);
    }
}

/// How many bytes the client sends before its first command.
fn login_size(turns: &Turns) -> usize {
    let first = turns.iter().find(|turn| turn.0).expect("a login");
    first.1.len()
}

#[test]
fn a_packet_can_be_held_back_after_all() {
    let scene = Scene::new(
        |log| {
            let one = Witness {
                settled: Some(Verdict::Hold),
                ..Witness::new("one", log)
            };
            vec![Witness::new("zero", log), one]
        },
        COMMAND,
    );
    let told = scene.first_command();
    assert_eq!(told[2][..6], *"hooks ");
    assert_eq!(told[3..], ["one Forward", "zero Hold"]);
    let output = output(&scene.proxy, scene.server);
    assert_eq!(output.len(), login_size(&scene.turns));
}

#[test]
fn wishes_are_united_and_taken_back() {
    let log = Log::default();
    let late = Rc::new(Witness::new("late", &log));
    let scene = Scene::new(|_| Vec::new(), Event::Drained.set());
    assert_eq!(scene.armed(scene.client), Event::Drained.set());
    scene.proxy.observe(late.clone());
    assert_eq!(
        scene.armed(scene.client),
        COMMAND.with(Event::Drained.set())
    );
    assert_eq!(scene.armed(scene.server), EventSet::NONE);
    scene.proxy.arm(scene.client, EventSet::NONE);
    assert_eq!(scene.armed(scene.client), COMMAND);
    late.wants.set(EventSet::NONE);
    scene.proxy.rearm(scene.client);
    assert_eq!(scene.armed(scene.client), EventSet::NONE);
    scene.proxy.arm(scene.client, COMMAND);
    assert_eq!(scene.armed(scene.client), COMMAND);
}

#[test]
fn hooks_do_not_see_what_only_an_observer_wants() {
    let scene = Scene::new(|log| vec![Witness::new("one", log)], Event::Drained.set());
    let told = scene.first_command();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], "one Forward");
}

#[test]
fn observers_are_told_of_links_ends_and_what_others_send() {
    let scene = Scene::new(|log| vec![Witness::new("one", log)], EventSet::NONE);
    assert_eq!(scene.log.take(), ["one linked"]);
    scene.first_command();
    let ping = Command {
        com: Com::PING,
        ..Command::default()
    };
    // It wants nothing of servers.
    scene
        .proxy
        .send(scene.server, Packet::Command(&ping))
        .expect("a command");
    assert!(scene.log.take().is_empty());
    scene
        .proxy
        .send(scene.client, Packet::Ok(&crate::wire::Ok::default()))
        .expect("an answer");
    assert_eq!(scene.log.take(), ["one Packet(Ok)"]);
    scene.proxy.close(scene.client, "the test is over");
    let told = scene.log.take();
    assert_eq!(
        told[..3],
        ["hooks Client closing", "one Client closing", "one unlinked"]
    );
    scene.proxy.set_hooks(Rc::new(NoHooks));
}
