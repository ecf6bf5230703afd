//! What the service manager (systemd) is told: the protocol of `sd_notify`.
//!
//! Messages are datagrams to a socket that the environment names. Nothing here waits: where the service manager
//! does not read them, they are lost.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sd_notify::NotifyState;
use socket2::{Domain, SockAddr, Socket, Type};

/// The variable with the socket's path, or after an @ its name in the abstract namespace.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The service manager that has started this process, and waits for its messages.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Socket,
    /// The longest silence that it takes for life.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names; `None` if nobody waits for messages.
    ///
    /// # Errors
    /// Its socket cannot be reached.
    pub fn from_environment() -> io::Result<Option<ServiceManager>> {
        let Some(name) = std::env::var_os(SOCKET).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let service_manager = ServiceManager {
            socket: connect(&name)?,
            watchdog: sd_notify::watchdog_enabled(),
        };
        Ok(Some(service_manager))
    }

    /// How often it wants to hear that this process is alive: twice in the time after which it ends a
    /// silent one.
    pub fn pulse(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The start, or a reload, is over.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// A reload begins.
    pub fn reloading(&self) {
        // Both in one message: newer versions take the first for an error without the second.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, now]);
        }
    }

    /// The process is about to end, in order.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Another process is the service from now on.
    pub fn replaced_by(&self, process: u32) {
        self.tell(&[NotifyState::MainPid(process)]);
    }

    /// It is to keep this listening socket, under this name. Whether it was told.
    pub(super) fn store(&self, name: &str, socket: BorrowedFd<'_>) -> bool {
        let message = format!("FDSTORE=1\nFDNAME={name}");
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket];
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        let pieces = [IoSlice::new(message.as_bytes())];
        match sendmsg(&self.socket, &pieces, &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => true,
            Err(error) => {
                log::warn!("the service manager cannot be given {name}: {error}");
                false
            }
        }
    }

    /// It is to drop the socket of this name.
    pub(super) fn forget(&self, name: &str) {
        let name = format!("FDNAME={name}");
        let remove = NotifyState::Custom("FDSTOREREMOVE=1");
        self.tell(&[remove, NotifyState::Custom(&name)]);
    }

    /// The loop has come round.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let message = message(states);
        if let Err(error) = self.socket.send(message.as_bytes()) {
            log::warn!("the service manager cannot be told {message:?}: {error}");
        }
    }
}

fn message(states: &[NotifyState<'_>]) -> String {
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn connect(name: &OsStr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    let mut name = name.as_bytes().to_vec();
    if let Some(first) = name.first_mut().filter(|first| **first == b'@') {
        *first = 0;
    }
    socket.connect(&SockAddr::unix(OsStr::from_bytes(&name))?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    #[test]
    fn both_kinds_of_names_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let hidden = format!("dpm-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&hidden).unwrap();
        for (receiver, name) in [
            (UnixDatagram::bind(&path), path.display().to_string()),
            (UnixDatagram::bind_addr(&address), format!("@{hidden}")),
        ] {
            let receiver = receiver.unwrap();
            let service_manager = ServiceManager {
                socket: connect(OsStr::new(&name)).unwrap(),
                watchdog: None,
            };
            service_manager.reloading();
            service_manager.ready();
            let heard = || {
                let mut message = [0; 100];
                let len = receiver.recv(&mut message).unwrap();
                String::from_utf8_lossy(&message[..len]).into_owned()
            };
            assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
            assert_eq!(heard(), "READY=1");
        }
        connect(folder.path().join("nobody").as_os_str()).unwrap_err();
    }

    /// It may be busy, and must not keep us.
    #[test]
    fn one_that_does_not_read_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _unread = UnixDatagram::bind(&path).unwrap();
        let service_manager = ServiceManager {
            socket: connect(path.as_os_str()).unwrap(),
            watchdog: None,
        };
        for _ in 0..5000 {
            service_manager.alive();
        }
    }
}
