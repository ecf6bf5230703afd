//! A pool's servers.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::pool::lending::budget::Budget;

/// What a server is for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It only answers reads.
    Replica,
}

/// Whether clients get connections to a server.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// They do.
    Up,
    /// It does not answer, or not as it should.
    Down,
    /// It is not in the list any more.
    Removed,
}

/// What the administrator lets clients do at a server. What is in use is not disturbed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// They get connections to it.
    Open,
    /// They wait, and connections stay open.
    Paused,
    /// They get none, and connections that nobody uses are closed.
    Drained,
}

/// A server.
#[derive(Debug)]
pub struct Server {
    /// Its name, under which the layer above knows its address.
    pub name: Rc<str>,
    /// What it is for.
    pub role: Role,
    /// Its share of the reads, compared with others.
    pub weight: u32,
    /// Whether clients get connections to it.
    pub health: Health,
    /// What the administrator lets clients do.
    pub access: Access,
    /// Its connections.
    pub shelf: Box<dyn Budget>,
    /// When to try again to open one, after one could not be opened.
    retry: Option<Retry>,
    /// Whether it is a node of Galera's.
    pub is_galera: bool,
    /// Until when it is not believed to be what it is said to be.
    distrusted: Option<Instant>,
}

/// When to try again.
#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    /// How many attempts have failed since the last that has not.
    failures: u32,
}

/// How long to wait after the first attempt that has failed, and at most. It doubles each time.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a server is left alone that has shown to be another than was thought, unless it is looked at before.
const DISTRUST: Duration = Duration::from_millis(500);

impl Server {
    /// A server without connections.
    pub fn new(
        name: &str,
        role: Role,
        weight: u32,
        health: Health,
        shelf: Box<dyn Budget>,
    ) -> Server {
        Server {
            name: name.into(),
            role,
            weight,
            health,
            access: Access::Open,
            shelf,
            retry: None,
            is_galera: false,
            distrusted: None,
        }
    }

    /// A connection is being opened. False if none may be opened now.
    pub fn begin_opening(&mut self, now: Instant) -> bool {
        self.may_try(now) && self.shelf.begin_opening(now)
    }

    /// Whether enough time has passed since one could not be opened.
    fn may_try(&self, now: Instant) -> bool {
        self.retry.is_none_or(|retry| retry.at <= now)
    }

    /// Says since when the first waits that needs one and gets none, and could be opened one if there were fewer.
    pub fn note_need(&mut self, since: Option<Instant>, now: Instant) {
        let since = since.filter(|_| self.may_try(now) && self.shelf.opening() == 0);
        self.shelf.need(since, now);
    }

    /// Whether a connection may be opened now, or one closed for another that somebody waits for.
    pub fn may_make_room(&self, now: Instant) -> bool {
        let has_room = match self.shelf.total() < self.shelf.size() {
            true => self.may_try(now),
            false => self.shelf.free() > 0,
        };
        has_room && self.shelf.opening() == 0
    }

    /// It has shown that it is not what it is said to be: it is left alone until more is known, or for a moment.
    pub fn distrust(&mut self, now: Instant) {
        self.distrusted = Some(now + DISTRUST);
    }

    /// The layer above has looked at it.
    pub fn is_known(&mut self, role: Role, weight: u32, health: Health) {
        (self.role, self.weight, self.health) = (role, weight, health);
        self.distrusted = None;
    }

    /// A connection could not be opened, or not be made ready.
    pub fn has_failed(&mut self, now: Instant) {
        let failures = self.retry.map_or(0, |retry| retry.failures);
        let pause = PAUSE
            .saturating_mul(1 << failures.min(10))
            .min(LONGEST_PAUSE);
        self.retry = Some(Retry {
            at: now + pause,
            failures: failures + 1,
        });
    }

    /// A connection is open and ready.
    pub fn has_opened(&mut self, now: Instant) {
        self.retry = None;
        self.shelf.opened(now);
    }

    /// Whether clients may be given connections to it.
    pub fn is_usable(&self) -> bool {
        self.access == Access::Open && self.is_well()
    }

    /// Whether nothing is wrong with it.
    fn is_well(&self) -> bool {
        self.health == Health::Up && self.distrusted.is_none()
    }

    /// Whether clients would be given connections to it if it were not paused.
    pub fn is_waited_for(&self) -> bool {
        self.access == Access::Paused && self.is_well()
    }

    /// It gets another chance.
    pub fn forgive(&mut self, now: Instant) {
        self.distrusted = self.distrusted.filter(|until| *until > now);
    }
}
