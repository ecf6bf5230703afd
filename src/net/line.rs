//! The line between two processes of this program, of which the second was started by the first to take its place:
//! messages, with descriptors.
//!
//! It is a pair of sockets without a name, of which the second process inherits one as its standard input. So nobody
//! else can connect. Each end makes sure of the other all the same: the second process that its parent is
//! at the other end, the first that what it hears comes from the process that it has started.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, UCred, recvmsg, sendmsg, sockopt,
};
use rustix::process::{geteuid, getppid};

/// Names the process whose place the new one is to take.
const VARIABLE: &str = "DPM_UPGRADE_FROM";

/// How many descriptors one message can have.
const MAX_DESCRIPTORS: usize = 4;

/// How long a message may be.
const MAX_MESSAGE: usize = 128 << 20;

/// A message's head: its kind, how many descriptors it has, and how long it is.
const HEAD: usize = 6;

/// One end of the line. Messages can be sent by any thread; one thread receives.
#[derive(Debug)]
pub struct Line {
    socket: UnixStream,
    sending: Mutex<()>,
    /// The process at the far end, if whoever sends has to be that one.
    sender: Option<u32>,
}

/// A message.
#[derive(Debug)]
pub struct Parcel {
    /// What it is.
    pub kind: u8,
    /// What it says.
    pub content: Vec<u8>,
    /// What it hands over.
    pub descriptors: Vec<OwnedFd>,
}

/// The end of the line for a process that is still to be started.
#[derive(Debug)]
pub struct FarEnd(OwnedFd);

impl FarEnd {
    /// Lets the process have it that this command starts.
    pub fn give_to(self, command: &mut std::process::Command) {
        command.stdin(self.0);
        command.env(VARIABLE, std::process::id().to_string());
        // These two are for this process only.
        command.env_remove("WATCHDOG_PID").env_remove("LISTEN_PID");
    }
}

impl Line {
    /// A new line.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn pair() -> io::Result<(Line, FarEnd)> {
        let (near, far) = UnixStream::pair()?;
        // From here on the system says with each message who has sent it.
        sockopt::set_socket_passcred(&near, true)?;
        Ok((Line::of(near), FarEnd(far.into())))
    }

    fn of(socket: UnixStream) -> Line {
        Line {
            socket,
            sending: Mutex::default(),
            sender: None,
        }
    }

    /// The line to the process that has started this one to take its place; `None` if this process was not
    /// started so. The caller has to set another standard input.
    ///
    /// # Errors
    /// The system fails.
    pub fn inherited() -> io::Result<Option<Line>> {
        let Some(from) = std::env::var_os(VARIABLE) else {
            return Ok(None);
        };
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // The variable stays in the environment: another process that is started by a script is not meant.
        let is_meant = sockopt::socket_peercred(&socket).is_ok_and(|far_end| {
            let pid = far_end.pid.as_raw_nonzero().get().to_string();
            *from == *pid && Some(far_end.pid) == getppid() && far_end.uid == geteuid()
        });
        if !is_meant {
            return Ok(None);
        }
        Ok(Some(Line::of(socket)))
    }

    /// From now on what comes has to be sent by this process.
    pub fn expect(&mut self, pid: u32) {
        self.sender = Some(pid);
    }

    /// The process that has to be at the far end.
    pub fn expected(&self) -> Option<u32> {
        self.sender
    }

    /// How long sending, and if `None` not how long receiving, may take.
    ///
    /// # Errors
    /// The system fails.
    pub fn set_patience(&self, sending: Duration, receiving: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(Some(sending))?;
        self.socket.set_read_timeout(receiving)
    }

    /// Ends it, for both ends.
    pub fn close(&self) {
        if let Err(error) = self.socket.shutdown(std::net::Shutdown::Both) {
            log::debug!("upgrade: the line cannot be closed: {error}");
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The far end is gone, or does not read.
    pub fn send(&self, kind: u8, content: &[u8], with: &[BorrowedFd<'_>]) -> io::Result<()> {
        let too_much = || io::Error::from(io::ErrorKind::InvalidInput);
        let length = u32::try_from(content.len()).map_err(|_| too_much())?;
        let count = u8::try_from(with.len()).map_err(|_| too_much())?;
        if content.len() > MAX_MESSAGE || with.len() > MAX_DESCRIPTORS {
            return Err(too_much());
        }
        let mut head = [kind, count, 0, 0, 0, 0];
        head[2..].copy_from_slice(&length.to_le_bytes());
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !with.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(with));
        }
        let sent = loop {
            let pieces = [IoSlice::new(&head)];
            match sendmsg(&self.socket, &pieces, &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        let mut socket = &self.socket;
        socket.write_all(head.get(sent..).unwrap_or_default())?;
        socket.write_all(content)
    }

    /// The next message; `None` if the far end has closed the line.
    ///
    /// # Errors
    /// What comes is no message, or nothing comes for too long.
    pub fn receive(&self) -> io::Result<Option<Parcel>> {
        let mut head = [0; HEAD];
        let mut descriptors = Vec::new();
        let mut len = 0;
        while let Some(rest) = head.get_mut(len..).filter(|rest| !rest.is_empty()) {
            let (read, sender) = match self.receive_some(rest, &mut descriptors) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                other => other?,
            };
            if read == 0 {
                return match len {
                    0 => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            self.check(sender)?;
            len += read;
        }
        let [kind, count, l0, l1, l2, l3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if usize::from(count) != descriptors.len()
            || usize::try_from(length).map_or(true, |length| length > MAX_MESSAGE)
        {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // Grows as the bytes come.
        let mut content = Vec::new();
        let read = (&self.socket)
            .take(length.into())
            .read_to_end(&mut content)?;
        if u32::try_from(read) != Ok(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Parcel {
            kind,
            content,
            descriptors,
        }))
    }

    fn receive_some(
        &self,
        into: &mut [u8],
        descriptors: &mut Vec<OwnedFd>,
    ) -> io::Result<(usize, Option<UCred>)> {
        let mut space =
            [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(into)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.socket, &mut pieces, &mut control, flags)?;
        let mut sender = None;
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(rights) => descriptors.extend(rights),
                RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials),
                _ => {}
            }
        }
        Ok((received.bytes, sender))
    }

    fn check(&self, sender: Option<UCred>) -> io::Result<()> {
        let Some(expected) = self.sender else {
            return Ok(());
        };
        let is_right = sender.is_some_and(|sender| {
            u32::try_from(sender.pid.as_raw_nonzero().get()) == Ok(expected)
                && sender.uid == geteuid()
        });
        match is_right {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "another process has sent this",
            )),
        }
    }
}

/// Sets the standard input of this process.
///
/// # Errors
/// The system fails.
pub fn set_standard_input(from: impl AsFd) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stdin(from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// Both ends in one process, of which the second is what a child would have.
    fn line() -> (Line, Line) {
        let (near, FarEnd(far)) = Line::pair().unwrap();
        (near, Line::of(far.into()))
    }

    #[test]
    fn messages_arrive_with_their_descriptors() {
        let (near, far) = line();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "what is in it").unwrap();
        let file = File::open(&path).unwrap();
        let long = vec![7; 1 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                near.send(1, b"", &[]).unwrap();
                near.send(2, &long, &[file.as_fd(), file.as_fd()]).unwrap();
                near.send(3, b"x", &[file.as_fd()]).unwrap();
                near.close();
            });
            let parcel = far.receive().unwrap().unwrap();
            assert_eq!((parcel.kind, parcel.descriptors.len()), (1, 0));
            let parcel = far.receive().unwrap().unwrap();
            assert_eq!((parcel.kind, parcel.descriptors.len()), (2, 2));
            assert_eq!(parcel.content, long);
            let mut parcel = far.receive().unwrap().unwrap();
            let mut text = String::new();
            let mut file = File::from(parcel.descriptors.pop().unwrap());
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "what is in it");
            assert!(far.receive().unwrap().is_none());
        });
    }

    #[test]
    fn another_sender_is_refused() {
        let (mut near, far) = line();
        near.expect(std::process::id());
        far.send(1, b"", &[]).unwrap();
        assert!(near.receive().unwrap().is_some());
        near.expect(1);
        far.send(1, b"", &[]).unwrap();
        let error = near.receive().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for (bytes, kind) in [
            (&[1, 0, 9, 0, 0, 0, 1][..], io::ErrorKind::UnexpectedEof),
            (&[1, 0, 9], io::ErrorKind::UnexpectedEof),
            (&[1, 0, 0, 0, 0, 255], io::ErrorKind::InvalidData),
            (&[1, 1, 0, 0, 0, 0], io::ErrorKind::InvalidData),
        ] {
            let (near, far) = line();
            (&near.socket).write_all(bytes).unwrap();
            drop(near);
            assert_eq!(far.receive().unwrap_err().kind(), kind, "{bytes:?}");
        }
    }
}
