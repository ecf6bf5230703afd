//! What the pools of all workers that are one to the program have in common.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::bells::{Bell, Bells};
use super::locks::lock;
use super::places::{Places, Share};
use super::queue::Waiting;
use super::users::{Table, Users};

/// What there is one of.
#[derive(Debug, Default)]
pub struct Common {
    bells: Arc<Bells>,
    users: Arc<Mutex<Table>>,
    waiting: Arc<Waiting>,
    servers: Mutex<HashMap<Box<str>, Arc<Places>>>,
}

impl Common {
    /// Another worker's pool takes part, which is told of changes by this.
    pub fn add(&self, bell: &Arc<Bell>) {
        self.bells.add(bell);
    }

    /// Its part in the places for connections to a server, of which there are so many.
    pub fn share(&self, server: &str, size: usize, bell: &Arc<Bell>) -> Share {
        let servers = &mut *lock(&self.servers);
        let places = match servers.get(server) {
            Some(places) => places,
            None => servers.entry(server.into()).or_default(),
        };
        Share::of(places, size, bell.clone())
    }

    /// Its view of users with limits.
    pub fn users(&self, bell: &Arc<Bell>) -> Users {
        Users::of(self.users.clone(), self.bells.clone(), bell.clone())
    }

    /// How many wait.
    pub fn waiting(&self) -> Arc<Waiting> {
        self.waiting.clone()
    }
}
