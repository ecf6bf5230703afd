//! What all [`Waiters`] have to keep to.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Full, Line, MAX_BYTES, Waiter, Waiters, Want};
use crate::pool::lending::bells::Bell;
use crate::pool::lending::common::Common;
use crate::pool::lending::key::KeyId;
use crate::pool::lending::users::UserId;
use crate::proxy::ConnId;

/// A step that somebody takes.
#[derive(Clone, Debug)]
enum Step {
    Push(u8, u8),
    /// The next whose turn it is gets a connection, and may come back as it could not be made ready.
    Serve {
        comes_back: bool,
    },
    ServeAnother(u8),
    Remove(u8),
    Take(u8),
    LetTimePass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..LINES, 0..4_u8).prop_map(|(line, size)| Step::Push(line, size)),
        4 => prop::bool::weighted(0.2).prop_map(|comes_back| Step::Serve { comes_back }),
        1 => any::<u8>().prop_map(Step::ServeAnother),
        1 => any::<u8>().prop_map(Step::Remove),
        1 => (0..3_u8).prop_map(Step::Take),
        2 => (1..4_u8).prop_map(Step::LetTimePass),
    ]
}

/// How many lines there are.
const LINES: u8 = 18;

/// Lines of three keys, which want one of two kinds of servers, of two users with limits and of all others.
fn line(number: u8) -> Line {
    Line {
        key: KeyId(u32::from(number) % 6 / 2),
        want: match number.is_multiple_of(2) {
            true => Want::Primary,
            false => Want::Replica,
        },
        user: user(number / 6),
    }
}

fn user(number: u8) -> Option<UserId> {
    let mut users = Common::default().users(&Bell::new(|| {}));
    let ids = ["ann", "bob"].map(|name| users.id(name, 1));
    number.checked_sub(1).and_then(|at| ids[usize::from(at)])
}

fn keys(numbers: std::ops::Range<u32>) -> BTreeSet<KeyId> {
    numbers.map(KeyId).collect()
}

/// What is known of those who wait from the steps alone.
struct Model {
    waiters: Box<dyn Waiters>,
    max: usize,
    now: Instant,
    /// In the order of their coming.
    all: Vec<(Line, Waiter)>,
    last: Option<Line>,
    serial: u32,
}

impl Model {
    fn take(&mut self, step: Step) {
        match step {
            Step::Push(number, size) => {
                self.push(line(number), usize::from(size) * (MAX_BYTES / 5))
            }
            Step::Serve { comes_back } => {
                let Some((line, waiter)) = self.waiters.fronts(&keys(0..3)).first().copied() else {
                    assert!(self.all.is_empty());
                    return;
                };
                assert!(self.waiters.serve(line, waiter.client));
                assert!(
                    !self.waiters.serve(line, waiter.client),
                    "it is served once"
                );
                let at = self
                    .all
                    .iter()
                    .position(|(_, one)| one.client == waiter.client);
                self.all.remove(at.expect("it has waited"));
                self.last = Some(line);
                if comes_back {
                    self.waiters.push_front(line, waiter);
                    self.all.insert(0, (line, waiter));
                }
            }
            Step::ServeAnother(index) => {
                if let Some((line, waiter)) = self.at(index) {
                    let is_first = self.fronts().contains(&(line, waiter));
                    assert_eq!(self.waiters.serve(line, waiter.client), is_first);
                    if is_first {
                        self.forget(waiter.client);
                        self.last = Some(line);
                    }
                }
            }
            Step::Remove(index) => {
                if let Some((line, waiter)) = self.at(index) {
                    self.waiters.remove(line, waiter.client);
                    self.forget(waiter.client);
                }
            }
            Step::Take(key) => {
                let key = KeyId(key.into());
                let taken: HashSet<_> = self.waiters.take(key).into_iter().collect();
                let of_key = self.all.iter().filter(|(line, _)| line.key == key);
                assert_eq!(taken, of_key.map(|(_, waiter)| waiter.client).collect());
                self.all.retain(|(line, _)| line.key != key);
            }
            Step::LetTimePass(ms) => self.now += Duration::from_millis(ms.into()),
        }
    }

    fn push(&mut self, line: Line, bytes: usize) {
        self.serial += 1;
        let waiter = Waiter {
            client: ConnId::of(self.serial, self.serial),
            since: self.now,
            bytes,
        };
        let present: usize = self.all.iter().map(|(_, waiter)| waiter.bytes).sum();
        let of_user = self.all.iter().filter(|(of, _)| of.user == line.user);
        let has_room = of_user.count() < self.max && (present == 0 || present + bytes <= MAX_BYTES);
        let wanted = if has_room { Ok(()) } else { Err(Full) };
        assert_eq!(
            self.waiters.push(line, waiter),
            wanted,
            "both limits are kept"
        );
        if has_room {
            self.all.push((line, waiter));
        }
    }

    fn at(&self, index: u8) -> Option<(Line, Waiter)> {
        let index = usize::from(index) % self.all.len().max(1);
        self.all.get(index).copied()
    }

    fn forget(&mut self, client: ConnId) {
        self.all.retain(|(_, waiter)| waiter.client != client);
    }

    /// The first of each line, by the order of what lines are for after the last, and of the coming of the first.
    fn fronts(&self) -> Vec<(Line, Waiter)> {
        let mut seen = HashSet::new();
        let mut fronts: Vec<_> = self
            .all
            .iter()
            .copied()
            .filter(|(line, _)| seen.insert(*line))
            .collect();
        let last = self.last.map(|line| line.needs());
        fronts.sort_by_key(|(line, waiter)| {
            let needs = line.needs();
            (Some(needs) <= last, needs, waiter.since, line.user)
        });
        fronts
    }

    fn check(&self) {
        let waiters = &self.waiters;
        assert_eq!(waiters.len(), self.all.len());
        assert_eq!(waiters.is_empty(), self.all.is_empty());
        let fronts = self.fronts();
        for keys in [keys(0..3), keys(1..2), keys(2..9), keys(0..0)] {
            let of_keys = fronts.iter().filter(|(line, _)| keys.contains(&line.key));
            assert_eq!(
                waiters.fronts(&keys),
                of_keys.copied().collect::<Vec<_>>(),
                "the order is kept in lines, and lines take turns"
            );
        }
        let mut wants = fronts.iter().map(|(line, _)| line.want).collect::<Vec<_>>();
        for want in [Want::Primary, Want::Replica] {
            let mut all = Vec::new();
            let mut next = waiters.next(want, None);
            while let Some((line, _)) = next.first() {
                let key = line.key;
                all.append(&mut next);
                next = waiters.next(want, Some(key));
            }
            let of_want = fronts.iter().filter(|(line, _)| line.want == want);
            assert_eq!(all, of_want.copied().collect::<Vec<_>>());
        }
        wants.sort();
        wants.dedup();
        let mut told = waiters.wants();
        told.sort();
        assert_eq!(told, wants);
        let lines: HashSet<_> = waiters.lines().into_iter().collect();
        assert_eq!(lines, self.all.iter().map(|(line, _)| *line).collect());
        assert_eq!(
            waiters.oldest(),
            self.all.iter().map(|(_, waiter)| waiter.since).min()
        );
        for number in 0..LINES {
            let line = line(number);
            let same = || lines.iter().filter(|of| of.needs() == line.needs());
            assert_eq!(waiters.is_before(line, &|_| true), same().count() > 0);
            let is_other = |user| user != line.user;
            assert_eq!(
                waiters.is_before(line, &is_other),
                same().any(|of| is_other(of.user)),
                "who is at a limit holds up nobody else"
            );
            let then = self.now - Duration::from_millis(3);
            let late = self
                .all
                .iter()
                .filter(|(of, waiter)| *of == line && waiter.since <= then);
            let late: Vec<_> = late.map(|(_, waiter)| waiter.client).collect();
            assert_eq!(
                waiters.waiting_since(line, then),
                late,
                "who waits for too long is found"
            );
        }
    }
}

/// Panics unless waiters of this kind obey the laws.
pub fn obey_the_laws<W: Waiters + 'static>(new: impl Fn(usize) -> W) {
    let steps = prop::collection::vec(step(), 1..200);
    let mut runner = TestRunner::new(Config::with_cases(128));
    let result = runner.run(&(0..20_usize, steps), |(max, steps)| {
        let mut model = Model {
            waiters: Box::new(new(max)),
            max,
            now: Instant::now() + Duration::from_secs(1),
            all: Vec::new(),
            last: None,
            serial: 0,
        };
        for step in steps {
            model.take(step);
            model.check();
        }
        Ok(())
    });
    result.expect("the laws are obeyed");
}
