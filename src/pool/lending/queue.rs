//! Who waits for a connection at one worker.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::locks::lock;
use crate::pool::lending::key::KeyId;
use crate::pool::lending::users::UserId;
use crate::pool::lending::waiters::{Full, Line, MAX_BYTES, Waiter, Waiters, Want};
use crate::proxy::ConnId;

/// How many wait over all workers, of each user with a limit and of all others.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<HashMap<Option<UserId>, usize>>);

impl Waiting {
    /// One more waits. False if so many do already.
    fn enter(&self, user: Option<UserId>, most: usize) -> bool {
        let counts = &mut *lock(&self.0);
        let count = counts.entry(user).or_default();
        let may = *count < most;
        *count += usize::from(may);
        may
    }

    fn leave(&self, user: Option<UserId>, number: usize) {
        let counts = &mut *lock(&self.0);
        if let Some(count) = counts.get_mut(&user) {
            *count = count.saturating_sub(number);
            if *count == 0 {
                counts.remove(&user);
            }
        }
    }
}

/// Those who wait for connections of one pool.
#[derive(Debug)]
pub struct Queue {
    /// How many may wait, of each user with a limit and of all others.
    max: usize,
    /// How many do, over all workers.
    all: Arc<Waiting>,
    lines: BTreeMap<Line, VecDeque<Waiter>>,
    count: usize,
    /// How many there are of each user with a limit, and of all others.
    counts: HashMap<Option<UserId>, usize>,
    /// The length of all commands.
    bytes: usize,
    /// The line whose turn was last.
    last: Option<Line>,
}

impl Queue {
    /// For at most so many over all workers, of whom this keeps count.
    pub fn of(max: usize, all: Arc<Waiting>) -> Queue {
        Queue {
            max,
            all,
            lines: BTreeMap::new(),
            count: 0,
            counts: HashMap::new(),
            bytes: 0,
            last: None,
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= MAX_BYTES
    }

    /// The first waiters of the lines that wait for such a server with this key.
    fn fronts_of(&self, want: Want, key: KeyId) -> impl Iterator<Item = (Line, Waiter)> {
        let first = Line {
            want,
            key,
            user: None,
        };
        let same = self.lines.range(first..);
        let same = same.take_while(move |(line, _)| line.needs() == (want, key));
        same.filter_map(|(line, waiters)| Some((*line, *waiters.front()?)))
    }

    /// The first line for such a server with this key or a later one.
    fn first_from(&self, want: Want, key: KeyId) -> Option<Line> {
        let first = Line {
            want,
            key,
            user: None,
        };
        let mut lines = self.lines.range(first..);
        lines.next().map(|(line, _)| *line)
    }

    fn came(&mut self, line: Line, waiter: Waiter) {
        self.count += 1;
        *self.counts.entry(line.user).or_default() += 1;
        self.bytes += waiter.bytes;
    }

    fn went(&mut self, line: Line, waiter: Waiter) {
        self.count -= 1;
        self.bytes -= waiter.bytes;
        self.all.leave(line.user, 1);
        if let Some(count) = self.counts.get_mut(&line.user) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&line.user);
            }
        }
    }
}

impl Waiters for Queue {
    fn len(&self) -> usize {
        self.count
    }

    fn is_before(&self, line: Line, may: &dyn Fn(Option<UserId>) -> bool) -> bool {
        let first = Line { user: None, ..line };
        let same = self.lines.range(first..).map(|(other, _)| other);
        let mut same = same.take_while(|other| other.needs() == line.needs());
        same.any(|other| may(other.user))
    }

    fn push(&mut self, line: Line, waiter: Waiter) -> Result<(), Full> {
        if !self.has_room(waiter.bytes) || !self.all.enter(line.user, self.max) {
            return Err(Full);
        }
        self.lines.entry(line).or_default().push_back(waiter);
        self.came(line, waiter);
        Ok(())
    }

    fn push_front(&mut self, line: Line, waiter: Waiter) {
        self.lines.entry(line).or_default().push_front(waiter);
        self.all.enter(line.user, usize::MAX);
        self.came(line, waiter);
    }

    fn remove(&mut self, line: Line, client: ConnId) {
        let Some(waiters) = self.lines.get_mut(&line) else {
            return;
        };
        let found = waiters.iter().position(|waiter| waiter.client == client);
        let found = found.and_then(|at| waiters.remove(at));
        if waiters.is_empty() {
            self.lines.remove(&line);
        }
        if let Some(waiter) = found {
            self.went(line, waiter);
        }
    }

    fn fronts(&self, keys: &BTreeSet<KeyId>) -> Vec<(Line, Waiter)> {
        let wants = self.wants();
        let mut fronts: Vec<_> = match self.lines.len() <= keys.len() * wants.len() {
            true => {
                let lines = self.lines.iter();
                let lines = lines.filter(|(line, _)| keys.contains(&line.key));
                let front =
                    |(line, waiters): (&Line, &VecDeque<Waiter>)| Some((*line, *waiters.front()?));
                lines.filter_map(front).collect()
            }
            false => {
                let of = |want| keys.iter().flat_map(move |key| self.fronts_of(want, *key));
                wants.into_iter().flat_map(of).collect()
            }
        };
        let last = self.last.map(|line| line.needs());
        fronts.sort_by_key(|(line, waiter)| {
            let needs = line.needs();
            (Some(needs) <= last, needs, waiter.since)
        });
        fronts
    }

    fn wants(&self) -> Vec<Want> {
        let mut wants = Vec::new();
        let mut next = self.lines.keys().next().copied();
        while let Some(Line { want, .. }) = next {
            wants.push(want);
            // Behind all of its lines, whose keys are lower.
            next = self.first_from(want, KeyId(u32::MAX));
        }
        wants.sort_by_key(|want| Some(*want) < self.last.map(|last| last.want));
        wants
    }

    fn next(&self, want: Want, after: Option<KeyId>) -> Vec<(Line, Waiter)> {
        let behind = |key: KeyId| KeyId(key.0.saturating_add(1));
        let last = self.last.filter(|last| last.want == want);
        let last = last.map(|last| last.key);
        // The line whose turn was last comes last again.
        let has_turned = after.is_some_and(|after| Some(after) <= last);
        let from = after.or(last).map_or(KeyId(0), behind);
        let line = self.first_from(want, from).filter(|line| line.want == want);
        let key = match line.map(|line| line.key) {
            Some(key) if has_turned && Some(key) > last => None,
            None if !has_turned => {
                let first = self.first_from(want, KeyId(0)).map(|line| line.key);
                first.filter(|key| Some(*key) <= last)
            }
            key => key,
        };
        let Some(key) = key else {
            return Vec::new();
        };
        let mut fronts: Vec<_> = self.fronts_of(want, key).collect();
        fronts.sort_by_key(|(_, waiter)| waiter.since);
        fronts
    }

    fn serve(&mut self, line: Line, client: ConnId) -> bool {
        let first = self.lines.get(&line).and_then(VecDeque::front);
        if first.is_none_or(|waiter| waiter.client != client) {
            return false;
        }
        self.remove(line, client);
        self.last = Some(line);
        true
    }

    fn lines(&self) -> Vec<Line> {
        self.lines.keys().copied().collect()
    }

    fn take(&mut self, key: KeyId) -> Vec<ConnId> {
        let mut taken = Vec::new();
        self.lines.retain(|line, waiters| {
            if line.key == key {
                taken.extend(waiters.iter().map(|waiter| (*line, *waiter)));
            }
            line.key != key
        });
        for (line, waiter) in &taken {
            self.went(*line, *waiter);
        }
        taken.into_iter().map(|(_, waiter)| waiter.client).collect()
    }

    fn waiting_since(&self, line: Line, then: Instant) -> Vec<ConnId> {
        // In the order of their coming, but for those that have come back to the front.
        let waiters = self.lines.get(&line).into_iter().flatten();
        waiters
            .take_while(|waiter| waiter.since <= then)
            .map(|waiter| waiter.client)
            .collect()
    }

    fn oldest(&self) -> Option<Instant> {
        let fronts = self.lines.values().filter_map(VecDeque::front);
        fronts.map(|waiter| waiter.since).min()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        for (user, count) in &self.counts {
            self.all.leave(*user, *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::lending::waiters::obey_the_laws;

    #[test]
    fn a_queue_obeys_the_laws_of_waiters() {
        obey_the_laws(|max| Queue::of(max, Arc::default()));
    }

    #[test]
    fn those_of_all_workers_count_until_the_worker_ends() {
        let line = Line {
            want: Want::Primary,
            key: KeyId(0),
            user: None,
        };
        let waiter = |client| Waiter {
            client: ConnId::of(client, client),
            since: Instant::now(),
            bytes: 1,
        };
        let all = Arc::<Waiting>::default();
        let mut one = Queue::of(2, all.clone());
        let mut two = Queue::of(2, all);
        assert_eq!(one.push(line, waiter(1)), Ok(()));
        assert_eq!(two.push(line, waiter(2)), Ok(()));
        assert_eq!(two.push(line, waiter(3)), Err(Full));
        drop(one);
        assert_eq!(two.push(line, waiter(3)), Ok(()));
        assert_eq!(two.push(line, waiter(4)), Err(Full));
    }

    /// With a look at each line at each hand-over this would take minutes.
    #[test]
    fn ten_thousand_accounts_are_served_in_time() {
        let mut queue = Queue::of(10_000, Arc::default());
        for nth in 0..10_000 {
            let line = Line {
                want: Want::Primary,
                key: KeyId(nth),
                user: None,
            };
            let waiter = Waiter {
                client: ConnId::of(nth + 1, nth),
                since: Instant::now(),
                bytes: 1,
            };
            assert_eq!(queue.push(line, waiter), Ok(()));
        }
        let begun = Instant::now();
        while let Some((line, waiter)) = queue.next(Want::Primary, None).first().copied() {
            let keys = [line.key, KeyId(20_000)].into();
            assert_eq!(queue.fronts(&keys), [(line, waiter)]);
            assert!(queue.serve(line, waiter.client));
        }
        assert_eq!(queue.len(), 0);
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    }
}
