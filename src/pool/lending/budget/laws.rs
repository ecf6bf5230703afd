//! What every [`Budget`] has to keep to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Budget, Claim, DWELL, Fit, Place, Stage};
use crate::pool::lending::key::KeyId;
use crate::proxy::ConnId;

/// A step that somebody takes.
#[derive(Clone, Debug)]
enum Step {
    BeginOpening,
    FailToOpen,
    Opened(u8, Claim),
    Take(u8),
    TakeUnclaimed(u8),
    Return(u8, u8, Claim),
    TakeBack(u8),
    Close(u8),
    Replace(u8),
    LetTimePass(u8),
}

fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![Just(Claim::None), Just(Claim::Light), Just(Claim::Heavy)]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..3_u8;
    prop_oneof![
        4 => Just(Step::BeginOpening),
        1 => Just(Step::FailToOpen),
        4 => (key(), claim()).prop_map(|(key, claim)| Step::Opened(key, claim)),
        4 => key().prop_map(Step::Take),
        1 => key().prop_map(Step::TakeUnclaimed),
        4 => (any::<u8>(), key(), claim()).prop_map(|(at, key, claim)| Step::Return(at, key, claim)),
        1 => any::<u8>().prop_map(Step::TakeBack),
        1 => any::<u8>().prop_map(Step::Close),
        1 => key().prop_map(Step::Replace),
        2 => (0..4_u8).prop_map(Step::LetTimePass),
    ]
}

/// What is known of the connections from the steps alone.
struct Model {
    budget: Box<dyn Budget>,
    now: Instant,
    opening: usize,
    lent: Vec<ConnId>,
    free: BTreeMap<Place, (ConnId, Instant)>,
    serial: u32,
}

/// Connections that can never be used by those who ask; all others have to be changed.
fn fit(conn: ConnId) -> Fit {
    match conn.serial().is_multiple_of(5) {
        true => Fit::Never,
        false => Fit::Changeable,
    }
}

fn at<T: Copy>(list: &[T], index: u8) -> Option<T> {
    list.get(usize::from(index) % list.len().max(1)).copied()
}

impl Model {
    fn total(&self) -> usize {
        self.opening + self.lent.len() + self.free.len()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::BeginOpening => {
                let may = self.total() < self.budget.size() && self.opening == 0;
                assert_eq!(
                    self.budget.begin_opening(self.now),
                    may,
                    "one at a time, in the budget"
                );
                self.opening += usize::from(may);
            }
            Step::FailToOpen if self.opening > 0 => {
                self.budget.lost(Stage::Opening);
                self.opening -= 1;
            }
            Step::Opened(key, claim) if self.opening > 0 => {
                self.budget.opened(self.now);
                self.opening -= 1;
                self.serial += 1;
                self.put(ConnId::of(self.serial, self.serial), key, claim);
            }
            Step::Take(key) => self.lend(KeyId(key.into())),
            Step::TakeUnclaimed(key) => {
                let key = KeyId(key.into());
                if let Some(taken) = self.budget.take_unclaimed(key) {
                    let place = self.was_free(taken);
                    assert_eq!((place.key, place.claim), (key, Claim::None));
                    self.lent.push(taken);
                }
            }
            Step::Return(index, key, claim) => {
                if let Some(conn) = at(&self.lent, index) {
                    self.lent.retain(|one| *one != conn);
                    self.put(conn, key, claim);
                }
            }
            Step::TakeBack(index) => {
                let places: Vec<_> = self.free.keys().copied().collect();
                if let Some(place) = at(&places, index) {
                    assert!(self.budget.remove(place), "it was free");
                    assert!(!self.budget.remove(place), "it can be taken back once");
                    let (conn, _) = self.free.remove(&place).expect("it is known");
                    self.lent.push(conn);
                }
            }
            Step::Close(index) => {
                if let Some(conn) = at(&self.lent, index) {
                    self.lent.retain(|one| *one != conn);
                    self.budget.lost(Stage::Open);
                }
            }
            Step::Replace(key) => self.replace(KeyId(key.into())),
            Step::LetTimePass(ms) => self.now += Duration::from_millis(ms.into()),
            Step::FailToOpen | Step::Opened(..) => {}
        }
    }

    fn put(&mut self, conn: ConnId, key: u8, claim: Claim) {
        let place = self.budget.put(conn, KeyId(key.into()), claim, self.now);
        assert_eq!((place.key, place.claim), (KeyId(key.into()), claim));
        self.free.insert(place, (conn, self.now));
    }

    /// A connection that was free is not any more.
    fn was_free(&mut self, conn: ConnId) -> Place {
        let mut all = self.free.iter();
        let (place, _) = all.find(|(_, (one, _))| *one == conn).expect("it was free");
        let place = *place;
        self.free.remove(&place);
        place
    }

    fn lend(&mut self, key: KeyId) {
        let may_open = self.total() < self.budget.size();
        let (now, taken) = (self.now, self.budget.take(key, self.now, &fit));
        let is_offered = |(place, (conn, since)): &(&Place, &(ConnId, Instant))| {
            let is_over = now.saturating_duration_since(*since) >= DWELL;
            let goes = match place.claim {
                Claim::None => true,
                Claim::Light => !may_open || is_over,
                Claim::Heavy => !may_open,
            };
            place.key == key && goes && fit(*conn) != Fit::Never
        };
        // What nobody claims first; of the same claim what was idle longest.
        let best = self
            .free
            .iter()
            .filter(is_offered)
            .min_by_key(|(place, _)| **place);
        assert_eq!(taken, best.map(|(_, (conn, _))| *conn));
        if let Some(taken) = taken {
            self.was_free(taken);
            self.lent.push(taken);
        }
    }

    fn replace(&mut self, key: KeyId) {
        let is_spent = self.total() >= self.budget.size() && self.opening == 0;
        let is_useless = |(place, (conn, _)): &(&Place, &(ConnId, Instant))| {
            place.key != key || fit(*conn) == Fit::Never
        };
        let longest = self.free.iter().filter(is_useless);
        let longest = longest.min_by_key(|(place, _)| place.stamp);
        let longest = longest.filter(|_| is_spent).map(|(_, (conn, _))| *conn);
        assert_eq!(self.budget.replace(key, &fit), longest);
        if let Some(replaced) = longest {
            self.was_free(replaced);
            self.budget.lost(Stage::Open);
        }
    }

    fn check(&self) {
        let budget = &self.budget;
        assert_eq!(budget.count(), self.total());
        assert_eq!(budget.total(), self.total(), "there is one worker");
        assert_eq!(budget.free(), self.free.len());
        assert_eq!(budget.opening(), self.opening);
        assert!(budget.count() <= budget.size(), "no more than the size");
        let keys: BTreeSet<_> = self.free.keys().map(|place| place.key).collect();
        assert_eq!(budget.free_keys(), keys.into_iter().collect::<Vec<_>>());
        let idle = budget.idle_since(self.now);
        let mut all = budget.all_free();
        let mut known: Vec<_> = self.free.iter().collect();
        known.sort_unstable_by_key(|(place, _)| place.stamp);
        let known: Vec<_> = known.into_iter().map(|(_, (conn, _))| *conn).collect();
        assert_eq!(idle, known, "the longest idle first");
        all.sort_unstable_by_key(|conn| known.iter().position(|one| one == conn));
        assert_eq!(all, known);
    }
}

/// Panics unless budgets of this kind obey the laws.
pub fn obeys_the_laws<B: Budget + 'static>(new: impl Fn(usize) -> B) {
    let steps = prop::collection::vec(step(), 1..200);
    let mut runner = TestRunner::new(Config::with_cases(128));
    let result = runner.run(&(0..6_usize, steps), |(size, steps)| {
        let mut model = Model {
            budget: Box::new(new(size)),
            now: Instant::now(),
            opening: 0,
            lent: Vec::new(),
            free: BTreeMap::new(),
            serial: 0,
        };
        assert_eq!(model.budget.size(), size);
        for step in steps {
            model.take(step);
            model.check();
        }
        Ok(())
    });
    result.expect("the laws are obeyed");
}
