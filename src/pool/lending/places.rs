//! How many connections to one server all workers of a program have together, and whose turn it is to open one.
//!
//! A connection belongs to the worker that has opened it, whose loop has its socket, for as long as it is open; what
//! goes from one worker to another is its *place*. A worker whose clients wait, and that may not open a connection as all
//! places are taken, says since when they wait. Another worker that has an idle connection then closes it, and its
//! place goes to whose clients have waited longest.
//!
//! A login costs more than most commands. So a worker keeps a connection that its own clients use again and again for a
//! turn, which lasts several times as long as it took to open one; then those go first, in whichever worker, who have
//! waited longest: nobody waits for ever, and only a small part of the time is lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bells::Bell;
use super::budget::DWELL;
use super::locks::lock;

/// A worker's turn lasts so many times as long as it takes to open a connection, but no shorter and no longer than this.
const TURN: u32 = 4;
const SHORTEST_TURN: Duration = Duration::from_millis(20);
const LONGEST_TURN: Duration = Duration::from_secs(1);

/// A worker that has not been heard of for so long has no claim to a place: its loop may not turn.
const PRESENCE: Duration = Duration::from_secs(1);

/// What was promised and has not come after this time has to be promised again.
const PROMISE: Duration = Duration::from_secs(1);

/// The places for connections to one server.
#[derive(Debug, Default)]
pub struct Places {
    size: AtomicUsize,
    taken: AtomicUsize,
    /// How many workers have clients that wait for a place.
    needs: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    last_id: u64,
    /// When connections were promised to others that are still to be closed.
    promises: VecDeque<Instant>,
    /// How long it takes to open one, of late.
    cost: Duration,
}

#[derive(Debug)]
struct Member {
    id: u64,
    bell: Arc<Bell>,
    taken: usize,
    need: Option<Need>,
}

#[derive(Debug, Clone, Copy)]
struct Need {
    /// Since when the first client waits.
    since: Instant,
    /// When the worker was heard of last.
    seen: Instant,
}

impl Need {
    fn is_present(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) < PRESENCE
    }
}

/// What becomes of a free connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It is the worker's.
    Kept,
    /// It is, but is to be looked at again then.
    KeptUntil(Instant),
    /// Its place is promised to another worker: it is to be closed.
    Made,
}

impl State {
    /// Since when others wait, the first of them first.
    fn others(&self, id: u64, now: Instant) -> Vec<Instant> {
        let others = self.members.iter().filter(|member| member.id != id);
        let needs = others.filter_map(|member| member.need);
        let present = needs.filter(|need| need.is_present(now));
        let mut all: Vec<_> = present.map(|need| need.since).collect();
        all.sort_unstable();
        all
    }

    fn member(&mut self, id: u64) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    /// Rings the others that this is true of.
    fn ring(&self, id: u64, of: impl Fn(&Member) -> bool) {
        for member in &self.members {
            if member.id != id && of(member) {
                member.bell.ring();
            }
        }
    }
}

/// One worker's part in the places, which are free again when this is dropped.
#[derive(Debug)]
pub struct Share {
    places: Arc<Places>,
    id: u64,
    needs: bool,
    /// When it has taken the place for the connection that is being opened.
    began: Option<Instant>,
    /// When a connection was ready last.
    ready: Option<Instant>,
}

impl Share {
    /// Takes part. There are so many places from now on.
    pub fn of(places: &Arc<Places>, size: usize, bell: Arc<Bell>) -> Share {
        let state = &mut *lock(&places.state);
        places.size.store(size, Ordering::Relaxed);
        state.last_id += 1;
        state.members.push(Member {
            id: state.last_id,
            bell,
            taken: 0,
            need: None,
        });
        Share {
            places: places.clone(),
            id: state.last_id,
            needs: false,
            began: None,
            ready: None,
        }
    }

    /// How many places there are.
    pub fn size(&self) -> usize {
        self.places.size.load(Ordering::Relaxed)
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.places.taken.load(Ordering::Relaxed)
    }

    /// Takes a place. False if none is free but for those who wait for one, and have done so for longer.
    pub fn take(&mut self, now: Instant) -> bool {
        let places = self.places.clone();
        let state = &mut *lock(&places.state);
        let free = self.size().saturating_sub(self.taken());
        let own = state.member(self.id).and_then(|member| member.need);
        let since = own.map_or(now, |need| need.since);
        let others = state.others(self.id, now);
        let before = others.iter().filter(|other| **other < since).count();
        if free <= before {
            return false;
        }
        if let Some(member) = state.member(self.id) {
            member.taken += 1;
            member.need = None;
        }
        self.places.taken.fetch_add(1, Ordering::Relaxed);
        self.note(false);
        self.began = Some(now);
        true
    }

    /// The connection for the place that was taken last is ready: the worker's turn begins.
    pub fn opened(&mut self, now: Instant) {
        self.ready = Some(now);
        if let Some(began) = self.began.take() {
            let took = now.saturating_duration_since(began);
            let state = &mut *lock(&self.places.state);
            state.cost = (state.cost * 3 + took) / 4;
        }
    }

    /// A place that was taken is free again.
    pub fn give_back(&mut self) {
        let state = &mut *lock(&self.places.state);
        let Some(member) = state.member(self.id).filter(|member| member.taken > 0) else {
            return;
        };
        member.taken -= 1;
        state.promises.pop_front();
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        state.ring(self.id, |member| member.need.is_some());
    }

    /// The first of the worker's clients that would be helped by a place waits since then; or nobody does.
    pub fn need(&mut self, since: Option<Instant>, now: Instant) {
        if since.is_none() && !self.needs {
            return;
        }
        let places = self.places.clone();
        let state = &mut *lock(&places.state);
        let Some(member) = state.member(self.id) else {
            return;
        };
        let is_new = since.is_some() && member.need.map(|need| need.since) != since;
        member.need = since.map(|since| Need { since, seen: now });
        if is_new {
            state.ring(self.id, |member| member.taken > 0);
        }
        self.note(since.is_some());
    }

    /// Whether clients of other workers wait for a place.
    pub fn is_asked(&self) -> bool {
        self.places.needs.load(Ordering::Relaxed) > usize::from(self.needs)
    }

    /// Decides about a connection that has been free since `idle_since`; the first of the worker's own clients that wait has
    /// come at `own`.
    pub fn promise(&mut self, own: Option<Instant>, idle_since: Instant, now: Instant) -> Promise {
        if !self.is_asked() {
            return Promise::Kept;
        }
        let state = &mut *lock(&self.places.state);
        let is_due = |made: &Instant| now.saturating_duration_since(*made) >= PROMISE;
        while state.promises.front().is_some_and(is_due) {
            state.promises.pop_front();
        }
        let free = self.size().saturating_sub(self.taken());
        let provided = free + state.promises.len();
        let Some(first) = state.others(self.id, now).get(provided).copied() else {
            return Promise::Kept;
        };
        let turn = (state.cost * TURN).clamp(SHORTEST_TURN, LONGEST_TURN);
        let end = self.ready.map_or(now, |ready| ready + turn);
        let due = match own {
            Some(own) if own <= first => return Promise::Kept,
            Some(_) => end,
            None => end.min(idle_since + DWELL),
        };
        if now < due {
            return Promise::KeptUntil(due);
        }
        state.promises.push_back(now);
        Promise::Made
    }

    fn note(&mut self, needs: bool) {
        match (self.needs, needs) {
            (false, true) => self.places.needs.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.places.needs.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.needs = needs;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let places = self.places.clone();
        let state = &mut *lock(&places.state);
        let taken = state.member(self.id).map_or(0, |member| member.taken);
        state.members.retain(|member| member.id != self.id);
        places.taken.fetch_sub(taken, Ordering::Relaxed);
        self.note(false);
        state.ring(self.id, |member| member.need.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares<const N: usize>(size: usize) -> [Share; N] {
        let places = Arc::new(Places::default());
        std::array::from_fn(|_| Share::of(&places, size, Bell::new(|| {})))
    }

    fn at(ms: u64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_millis(ms)
    }

    #[test]
    fn there_are_no_more_than_the_size_and_a_worker_that_ends_gives_back_what_it_has() {
        let [mut one, mut two] = shares(2);
        assert!(one.take(at(0)) && two.take(at(0)));
        assert!(!one.take(at(0)) && !two.take(at(0)));
        drop(one);
        assert_eq!(two.taken(), 1);
        assert!(two.take(at(0)) && !two.take(at(0)));
    }

    #[test]
    fn who_has_waited_longest_gets_the_place_that_becomes_free() {
        let [mut one, mut two, mut three] = shares(1);
        assert!(one.take(at(0)));
        three.need(Some(at(1)), at(2));
        two.need(Some(at(2)), at(2));
        one.give_back();
        assert!(!one.take(at(3)), "it was there later");
        assert!(!two.take(at(3)), "so was this one");
        assert!(three.take(at(3)));
        assert!(!two.is_asked(), "nobody but itself waits");
        three.give_back();
        assert!(two.take(at(4)));
    }

    #[test]
    fn an_idle_connection_is_promised_once_and_not_at_once() {
        let [mut one, mut two] = shares(2);
        assert!(one.take(at(0)) && one.take(at(0)));
        one.opened(at(0));
        assert_eq!(one.promise(None, at(0), at(9)), Promise::Kept);
        two.need(Some(at(10)), at(10));
        assert!(one.is_asked());
        let until = at(10) + DWELL;
        assert_eq!(one.promise(None, at(10), at(10)), Promise::KeptUntil(until));
        assert_eq!(one.promise(None, at(0), at(10)), Promise::Made);
        assert_eq!(
            one.promise(None, at(0), at(10)),
            Promise::Kept,
            "one is enough"
        );
        one.give_back();
        assert!(two.take(at(11)));
        assert!(!one.is_asked());
    }

    #[test]
    fn own_clients_go_first_for_a_turn_and_not_for_ever() {
        let [mut one, mut two] = shares(1);
        assert!(one.take(at(0)));
        one.opened(at(100));
        two.need(Some(at(10)), at(120));
        // A quarter of it counts, as it is the first: 4 × 25 ms.
        let until = Promise::KeptUntil(at(200));
        assert_eq!(one.promise(Some(at(20)), at(120), at(120)), until);
        // A client that comes back again and again does not keep it for ever, either.
        assert_eq!(one.promise(None, at(199), at(199)), until);
        assert_eq!(
            one.promise(Some(at(5)), at(200), at(200)),
            Promise::Kept,
            "it was there before"
        );
        assert_eq!(one.promise(Some(at(20)), at(200), at(200)), Promise::Made);
    }

    #[test]
    fn what_was_promised_and_does_not_come_is_promised_again() {
        let [mut one, mut two] = shares(2);
        assert!(one.take(at(0)) && one.take(at(0)));
        two.need(Some(at(10)), at(10));
        assert_eq!(one.promise(None, at(0), at(10)), Promise::Made);
        two.need(Some(at(10)), at(1500));
        assert_eq!(one.promise(None, at(0), at(1500)), Promise::Made);
    }

    #[test]
    fn a_worker_that_hangs_keeps_no_place_from_others() {
        let [mut one, mut two, mut three] = shares(1);
        two.need(Some(at(0)), at(0));
        assert!(!three.take(at(999)));
        assert!(three.take(at(1000)), "it was not heard of for a second");
        one.need(Some(at(1000)), at(1000));
        assert_eq!(three.promise(None, at(0), at(1000)), Promise::Made);
    }
}
