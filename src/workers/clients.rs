//! The clients of a listener, counted over all workers that listen there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::lock;

/// How many clients there are, and from where.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Counts {
    fn leave(&mut self, ip: IpAddr, count: usize) {
        if let Some(clients) = self.by_address.get_mut(&ip) {
            *clients = clients.saturating_sub(count);
            if *clients == 0 {
                self.by_address.remove(&ip);
            }
        }
    }
}

/// The clients of one address on which one worker or several listen.
#[derive(Debug, Default)]
pub struct Clients(Mutex<Counts>);

/// Those of them that one worker has. They no longer count once this is dropped: when that worker listens no more.
#[derive(Debug, Default)]
pub struct ListenerClients {
    all: Arc<Clients>,
    own: Counts,
}

impl ListenerClients {
    /// None yet.
    pub fn of(all: Arc<Clients>) -> ListenerClients {
        ListenerClients {
            all,
            own: Counts::default(),
        }
    }

    /// Counts a client, unless there are as many as there may be.
    pub fn enter(&mut self, max: Option<usize>) -> bool {
        let counts = &mut *lock(&self.all.0);
        if max.is_some_and(|max| counts.all >= max) {
            return false;
        }
        counts.all += 1;
        self.own.all += 1;
        true
    }

    /// Counts a client for its address. Returns how many there are from there now.
    pub fn enter_from(&mut self, ip: IpAddr) -> usize {
        *self.own.by_address.entry(ip).or_default() += 1;
        let counts = &mut *lock(&self.all.0);
        let clients = counts.by_address.entry(ip).or_default();
        *clients += 1;
        *clients
    }

    /// How many clients come from this address.
    pub fn from(&self, ip: IpAddr) -> usize {
        let counts = lock(&self.all.0);
        counts.by_address.get(&ip).copied().unwrap_or_default()
    }

    /// A client has left, which was counted for this address.
    pub fn leave(&mut self, ip: Option<IpAddr>) {
        let counts = &mut *lock(&self.all.0);
        if self.own.all > 0 {
            self.own.all -= 1;
            counts.all = counts.all.saturating_sub(1);
        }
        if let Some(ip) = ip
            && self.own.by_address.contains_key(&ip)
        {
            self.own.leave(ip, 1);
            counts.leave(ip, 1);
        }
    }
}

impl Drop for ListenerClients {
    fn drop(&mut self) {
        let counts = &mut *lock(&self.all.0);
        counts.all = counts.all.saturating_sub(self.own.all);
        for (ip, own) in &self.own.by_address {
            counts.leave(*ip, *own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_forgotten_with_their_last_client() {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let mut clients = ListenerClients::default();
        assert!(clients.enter(Some(2)) && clients.enter(Some(2)) && !clients.enter(Some(2)));
        assert_eq!((clients.enter_from(ip), clients.enter_from(ip)), (1, 2));
        clients.leave(Some(ip));
        assert_eq!(clients.from(ip), 1);
        clients.leave(Some(ip));
        assert!(clients.own.by_address.is_empty() && lock(&clients.all.0).by_address.is_empty());
        assert_eq!(lock(&clients.all.0).all, 0);
    }

    #[test]
    fn all_workers_count_and_one_that_listens_no_more_does_not() {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let all = Arc::new(Clients::default());
        let mut one = ListenerClients::of(all.clone());
        let mut two = ListenerClients::of(all);
        assert!(one.enter(Some(2)) && two.enter(Some(2)) && !one.enter(Some(2)));
        assert_eq!((one.enter_from(ip), two.enter_from(ip)), (1, 2));
        drop(two);
        assert_eq!(one.from(ip), 1);
        assert!(one.enter(Some(2)));
    }
}
