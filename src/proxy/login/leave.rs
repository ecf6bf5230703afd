//! Logins that nobody goes on with: when their [dialogue](super::parting) begins, and how it is driven,
//! on a connection that is closing.

use std::io;
use std::time::Duration;

use bytes::BytesMut;

use super::parting::{Over, Parting, Reply, nobodys_auth};
use crate::proxy::id::ConnId;
use crate::proxy::table::channel::Channel;
use crate::proxy::table::conn::{Conn, Role, Socket};
use crate::proxy::table::core::Core;
use crate::proxy::table::sides::{FarEnd, Numbering};
use crate::session::LoginWaits;
use crate::wire::{Capabilities, Com, frame};

/// How long servers wait for an auth packet is their `connect_timeout`, 10 s by default, and then they
/// count it as an error of ours: so we are a little faster.
const SERVERS_PATIENCE: Duration = Duration::from_secs(9);

impl Conn {
    /// How long a server's login may take, for now: see [`go_on_with_login`](Self::go_on_with_login).
    pub fn limit_login(&mut self) -> Duration {
        let limit = self.options.handshake_timeout;
        let first = limit.min(SERVERS_PATIENCE);
        if let Some(login) = &mut self.login {
            login.patience = Some(limit - first).filter(|rest| !rest.is_zero());
        }
        first
    }

    /// How much longer the login may take although its first time limit has passed: none if the
    /// server is waiting for an auth packet.
    pub fn go_on_with_login(&mut self) -> Option<Duration> {
        let Role::Server(session) = &self.role else {
            return None;
        };
        let waits = session.login_waits();
        let rest = self.login.as_mut()?.patience.take();
        rest.filter(|_| waits != Some(LoginWaits::Auth))
    }

    /// What a server waits for whose login can be finished. On a unix socket nobody counts.
    fn owes_login(&self) -> Option<LoginWaits> {
        let Role::Server(session) = &self.role else {
            return None;
        };
        let counts = match &self.socket {
            Socket::Connecting(stream) => !stream.is_unix(),
            Socket::Open(channel) => !channel.stream.is_unix(),
            _ => false,
        };
        let can = counts && self.read.far_end == FarEnd::Open && self.login.is_some();
        session.login_waits().filter(|_| can)
    }

    /// Sends the auth packet that is to be denied, by TLS if that was decided.
    fn send_nobodys_auth(&mut self, offered: Capabilities) -> Result<(), Over> {
        let is_tls = self.is_tls();
        let login = self.login.as_mut().ok_or(Over)?;
        let with_tls = is_tls || login.tls.is_some() && offered.contains(Capabilities::SSL);
        if !with_tls {
            login.tls = None; // there is no secret in it
        }
        let auth = nobodys_auth(offered, with_tls);
        let mut payload = Vec::new();
        auth.encode(&mut payload);
        self.upgrade_before_auth(&payload, auth.capabilities)
            .map_err(|_| Over)?;
        self.queue(&payload, Numbering::GoesOn);
        Ok(())
    }

    /// Answers the server's next packet; false if it is not all there yet.
    fn part_from(&mut self) -> Result<bool, Over> {
        let login = self.login.as_mut().ok_or(Over)?;
        let parting = login.parting.as_mut().ok_or(Over)?;
        let Some((reply, seq)) = parting.step()? else {
            return Ok(false);
        };
        *self.seq() = seq;
        match reply {
            Reply::Auth(offered) => self.send_nobodys_auth(offered)?,
            Reply::Answer(answer) => self.queue(answer, Numbering::GoesOn),
            Reply::Quit => {
                frame::write(&[Com::QUIT.0], &mut 0, &mut self.write.output);
                return Err(Over);
            }
        }
        Ok(true)
    }
}

impl Core {
    /// Begins to finish the login of a server that is closing; false if there is none to finish.
    /// `input`: what it has sent, and nobody has looked at.
    pub fn begin_parting(&mut self, id: ConnId, input: BytesMut) -> bool {
        let Some(conn) = self.get_mut(id) else {
            return false;
        };
        let Some(waits) = conn.owes_login() else {
            return false;
        };
        let plugin = conn.relay.as_ref().map(|relay| relay.plugin.clone());
        let greeted = waits != LoginWaits::Greeting;
        let parting = Parting::new(input, greeted, plugin.unwrap_or_default());
        let answer = parting.answer();
        if let Some(login) = conn.login.as_mut() {
            login.parting = Some(Box::new(parting));
        }
        let begun = match (waits, &conn.role) {
            (LoginWaits::Auth, Role::Server(session)) => {
                let offered = session.really_offered();
                conn.send_nobodys_auth(offered)
            }
            (LoginWaits::Answer, _) => {
                conn.queue(answer, Numbering::GoesOn);
                Ok(())
            }
            _ => Ok(()),
        };
        if begun.is_err() {
            self.end_parting(id);
            return false;
        }
        self.schedule(id);
        self.touch(id);
        true
    }

    /// Something has happened on a closing connection, which may be such a one.
    pub fn part(&mut self, id: ConnId) {
        if !self.get(id).is_some_and(Conn::is_parting) {
            return;
        }
        if self.read_for_parting(id).is_err() {
            self.end_parting(id);
            if !self.get(id).is_some_and(Conn::unsent) {
                self.finish(id);
            }
        }
        self.touch(id);
    }

    fn end_parting(&mut self, id: ConnId) {
        if let Some(login) = self.get_mut(id).and_then(|conn| conn.login.as_mut()) {
            login.parting = None;
        }
    }

    fn read_for_parting(&mut self, id: ConnId) -> Result<(), Over> {
        let mut space = [0; 4096];
        loop {
            let conn = self.get_mut(id).ok_or(Over)?;
            while conn.part_from()? {}
            if let Socket::Connecting(stream) = &conn.socket {
                if stream.connected().map_err(|_| Over)?.is_none() {
                    return Ok(());
                }
                if let Socket::Connecting(stream) =
                    std::mem::replace(&mut conn.socket, Socket::None)
                {
                    conn.socket = Socket::Open(Channel::new(stream));
                }
            }
            let Socket::Open(channel) = &mut conn.socket else {
                return Err(Over);
            };
            let read = match channel.read(&mut space, false) {
                Ok(0) => return Err(Over),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.schedule(id);
                    return Ok(());
                }
                Err(_) => return Err(Over),
            };
            let parting = conn.login.as_mut().and_then(|it| it.parting.as_mut());
            parting
                .ok_or(Over)?
                .push(space.get(..read).unwrap_or_default())?;
        }
    }
}
