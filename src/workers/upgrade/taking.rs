//! The process that was started to take the place of another.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::messages::{Carried, Hello, Moving, about, kind, read_listener};
use super::workforce::Workforce;
use crate::net::{
    Line, close_unused_sockets, let_another_serve, set_standard_input, take_over_socket,
};

/// How long the old process may take for an answer.
const ANSWERS: Duration = Duration::from_secs(20);

/// How many connections may be on their way at once.
const ON_THEIR_WAY: u32 = 64;

/// The process whose place this one takes.
#[derive(Debug)]
pub struct Predecessor {
    line: Line,
    /// Whether both write connections down in the same way.
    is_understood: bool,
    /// No connection of it has a higher number.
    last_serial: u32,
}

/// Where connections come from that the process before has had.
#[derive(Debug)]
pub struct Arrivals {
    line: Line,
    /// The process before has come to its end, or was left.
    is_over: AtomicBool,
}

impl Predecessor {
    /// The one, if this process was started so: takes its listening sockets over, and its standard input. To be called
    /// before there are listeners. From here on [another process serves](crate::net::another_serves).
    ///
    /// # Errors
    /// It does not hand over what it should.
    pub fn find(format: u8) -> io::Result<Option<Predecessor>> {
        let Some(line) = Line::inherited()? else {
            return Ok(None);
        };
        line.set_patience(ANSWERS, Some(ANSWERS))?;
        line.send(kind::HELLO, &Hello::own(format, 0).write(), &[])?;
        let (mut written, mut last_serial) = (None, 0);
        loop {
            let Some(mut parcel) = line.receive()? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let descriptor = parcel.descriptors.pop();
            match (parcel.kind, descriptor) {
                (kind::WELCOME, Some(input)) => {
                    set_standard_input(input)?;
                    let hello = Hello::read(&parcel.content).map_err(io::Error::other)?;
                    written = Some(hello.format);
                    last_serial = hello.last_serial;
                }
                (kind::LISTENER, Some(socket)) => {
                    let listener = read_listener(&parcel.content, socket);
                    take_over_socket(listener.map_err(io::Error::other)?)?;
                }
                (kind::ALL_LISTENERS, None) => break,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        let_another_serve(true);
        Ok(Some(Predecessor {
            line,
            // An older process writes what a newer one reads.
            is_understood: written.is_some_and(|written| written <= format),
            last_serial,
        }))
    }

    /// No connection of it has a higher number, the bits for its worker left out.
    pub fn last_serial(&self) -> u32 {
        self.last_serial
    }

    /// This process can serve, and does from here on. Connections may arrive before this has returned.
    ///
    /// # Errors
    /// The process before does not let it.
    pub fn take_over(self, workers: &Arc<dyn Workforce>) -> io::Result<Arc<Arrivals>> {
        let line = self.line;
        line.send(kind::SERVING, b"", &[])?;
        match line.receive()? {
            Some(parcel) if parcel.kind == kind::TAKE_OVER => {}
            Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            None => log::warn!("upgrade: the process before has ended before its time"),
        }
        for address in close_unused_sockets() {
            log::warn!("upgrade: nothing listens on {address} any more");
        }
        let_another_serve(false);
        workers.listen_again();
        line.set_patience(ANSWERS, None)?;
        let arrivals = Arc::new(Arrivals {
            line,
            is_over: AtomicBool::new(false),
        });
        match self.is_understood {
            true => arrivals.say(kind::PULL, &about(ON_THEIR_WAY, "")),
            false => log::warn!(
                "upgrade: the process before writes connections down in a way that is not understood here: they stay \
                 there until they leave"
            ),
        }
        let (workers, known) = (Arc::downgrade(workers), arrivals.clone());
        let listen = move || {
            while let Ok(Some(parcel)) = arrivals.line.receive() {
                let Some(workers) = workers.upgrade() else {
                    return;
                };
                match parcel.kind {
                    kind::CONNECTION => {
                        let Some(carried) = Carried::of(parcel) else {
                            break;
                        };
                        let serial = carried.serial;
                        if !workers.tell_owner_or_another(Moving::Arrival(carried), serial) {
                            arrivals.refuse(serial, "no worker takes it");
                        }
                    }
                    kind::PROMOTED => workers.tell_first(Moving::Promoted),
                    _ => {}
                }
            }
            log::warn!("upgrade: the process before has ended");
            arrivals.is_over.store(true, Ordering::SeqCst);
            arrivals.line.close();
            if let Some(workers) = workers.upgrade() {
                workers.tell_first(Moving::Promoted);
            }
        };
        let listener = thread::Builder::new().name("upgrade's line".to_owned());
        listener.spawn(listen)?;
        Ok(known)
    }
}

impl Arrivals {
    /// This process has a connection from here on. It must not have read or written a byte of it.
    ///
    /// # Errors
    /// The process before does not hear it: then this process does not have the connection.
    pub fn acknowledge(&self, serial: u32) -> io::Result<()> {
        self.line.send(kind::ACKNOWLEDGED, &about(serial, ""), &[])
    }

    /// This process does not take a connection.
    pub fn refuse(&self, serial: u32, why: &str) {
        self.say(kind::REFUSED, &about(serial, why));
    }

    /// This process leaves in order: the one before, if there still is one, is not to serve again.
    pub fn leave(&self) {
        if !self.is_over.swap(true, Ordering::SeqCst) {
            self.say(kind::FAREWELL, b"");
        }
    }

    fn say(&self, kind: u8, content: &[u8]) {
        if let Err(error) = self.line.send(kind, content, &[]) {
            log::info!("upgrade: the process before does not listen: {error}");
        }
    }
}
