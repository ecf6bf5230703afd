//! The process that is there: it starts the one that takes its place, and hands over.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::messages::{Carried, Hello, Moving, about, kind, read_about, write_listener};
use super::workforce::Workforce;
use crate::net::{Line, Parcel, ServiceManager, let_another_serve, sockets_to_hand_over};
use crate::workers::lock;

/// How long the new process may take until it serves.
const START: Duration = Duration::from_secs(60);

/// How long it may take to read what it is sent.
const READS: Duration = Duration::from_secs(20);

/// How often it is looked whether anybody is left.
const LOOK: Duration = Duration::from_millis(50);

/// When no connection has moved for so long, those that move at once have moved, and the service manager is told.
const SETTLED: Duration = Duration::from_secs(1);

/// What is started to take the place of this process.
#[derive(Debug, Clone)]
pub struct Executable {
    /// The program, as it is on disk by then.
    pub path: PathBuf,
    /// The name that it is called by, and its arguments.
    pub arguments: Vec<OsString>,
    /// The version of how connections are written down.
    pub format: u8,
}

impl Executable {
    /// This process's own.
    ///
    /// # Errors
    /// The system does not say.
    pub fn current(format: u8) -> io::Result<Executable> {
        Ok(Executable {
            path: std::env::current_exe()?,
            arguments: std::env::args_os().collect(),
            format,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some((name, arguments)) = self.arguments.split_first() {
            command.arg0(name).args(arguments);
        }
        command
    }
}

/// Why there is no upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpgradeError {
    /// The program is one that embeds the proxy.
    Impossible,
    /// There is one already.
    UnderWay,
    /// The program is about to end.
    Stopping,
    /// The system has no threads left.
    System(String),
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpgradeError::Impossible => f.write_str(
                "this program cannot start itself anew: it embeds the proxy, or its startfile came from standard input",
            ),
            UpgradeError::UnderWay => f.write_str("an upgrade is under way"),
            UpgradeError::Stopping => f.write_str("the program is about to end"),
            UpgradeError::System(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for UpgradeError {}

/// The upgrades that this process conducts, one at a time.
#[derive(Debug)]
pub struct Upgrades {
    executable: Mutex<Option<Executable>>,
    drain: Mutex<Duration>,
    under_way: Mutex<Option<UnderWay>>,
}

impl Default for Upgrades {
    fn default() -> Upgrades {
        Upgrades {
            executable: Mutex::default(),
            drain: Mutex::new(Duration::from_secs(600)),
            under_way: Mutex::default(),
        }
    }
}

#[derive(Debug)]
struct UnderWay {
    events: Sender<Event>,
    thread: JoinHandle<()>,
}

/// What the thread learns that conducts an upgrade.
#[derive(Debug)]
enum Event {
    Said(Parcel),
    /// Nothing more comes from the new process.
    Over(Option<io::Error>),
    Give(Carried),
    /// This process is about to end.
    Abort,
}

impl Upgrades {
    /// Says what is to be started.
    pub fn set_executable(&self, executable: Executable) {
        *lock(&self.executable) = Some(executable);
    }

    /// Says how long connections that cannot go over may stay.
    pub fn set_drain(&self, drain: Duration) {
        *lock(&self.drain) = drain;
    }

    /// Begins one.
    ///
    /// # Errors
    /// It cannot begin now. (What fails later is logged.)
    pub fn begin(&self, workers: Arc<dyn Workforce>) -> Result<(), UpgradeError> {
        let executable = lock(&self.executable).clone();
        let executable = executable.ok_or(UpgradeError::Impossible)?;
        let under_way = &mut *lock(&self.under_way);
        if under_way
            .as_ref()
            .is_some_and(|it| !it.thread.is_finished())
        {
            return Err(UpgradeError::UnderWay);
        }
        if workers.is_stopping() {
            return Err(UpgradeError::Stopping);
        }
        let (sender, events) = mpsc::channel();
        let giving = Giving {
            workers,
            executable,
            drain: *lock(&self.drain),
            sender: sender.clone(),
            stage: Stage::Starts,
            line: None,
            last_move: Instant::now(),
            is_replaced: false,
        };
        let thread = thread::Builder::new()
            .name("upgrade".to_owned())
            .spawn(move || giving.conduct(&events))
            .map_err(|error| UpgradeError::System(error.to_string()))?;
        *under_way = Some(UnderWay {
            events: sender,
            thread,
        });
        Ok(())
    }

    /// Gives a connection to the new process. Returns it if there is none.
    pub fn give(&self, carried: Carried) -> Result<(), Carried> {
        let under_way = lock(&self.under_way);
        let Some(under_way) = &*under_way else {
            return Err(carried);
        };
        let sent = under_way.events.send(Event::Give(carried));
        sent.map_err(|mpsc::SendError(event)| match event {
            Event::Give(carried) => carried,
            _ => unreachable!("it was sent just now"),
        })
    }

    /// This process ends. A new one that does not serve yet ends, too.
    pub fn end(&self) {
        let under_way = lock(&self.under_way).take();
        if let Some(under_way) = under_way {
            // (An upgrade that has come to its end hears nothing.)
            let _ = under_way.events.send(Event::Abort);
            if under_way.thread.join().is_err() {
                log::error!("upgrade: its thread has panicked, which is a bug");
            }
        }
    }
}

/// How far an upgrade is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The new process does not serve yet.
    Starts,
    /// It does, and takes connections.
    Moves,
    /// It takes nothing more.
    Drains,
}

/// Why an upgrade is over.
enum End {
    /// Nobody is left here.
    Left,
    /// This process was told to end.
    Told,
}

/// Conducts an upgrade.
struct Giving {
    workers: Arc<dyn Workforce>,
    executable: Executable,
    drain: Duration,
    sender: Sender<Event>,
    stage: Stage,
    line: Option<Arc<Line>>,
    last_move: Instant,
    /// The service manager takes the new process for the service.
    is_replaced: bool,
}

impl Giving {
    fn conduct(mut self, events: &Receiver<Event>) {
        let mut child = None;
        let result = self
            .start(&mut child)
            .and_then(|()| self.attend(events, Instant::now()));
        match result {
            Ok(End::Left) => {
                log::warn!("upgrade: no client is left here: leaving");
                self.workers.leave();
            }
            Ok(End::Told) if self.stage == Stage::Starts => end_child(child.as_mut()),
            Ok(End::Told) => {}
            Err(why) => {
                log::error!("upgrade: {why}; this process serves on");
                end_child(child.as_mut());
                if let Some(line) = &self.line {
                    line.close();
                }
                let_another_serve(false);
                self.tell(|| Moving::Failed);
                self.workers.listen_again();
            }
        }
    }

    fn start(&mut self, child: &mut Option<Child>) -> Result<(), String> {
        let path = self.executable.path.display();
        let failed = |error: io::Error| format!("{path} cannot be started: {error}");
        let (mut line, far_end) = Line::pair().map_err(failed)?;
        let mut command = self.executable.command();
        far_end.give_to(&mut command);
        let started = command.spawn();
        // It holds the far end, whose closing has to be seen.
        drop(command);
        let started = child.insert(started.map_err(failed)?);
        log::warn!("upgrade: process {} starts", started.id());
        line.expect(started.id());
        line.set_patience(READS, None).map_err(failed)?;
        let line = Arc::new(line);
        self.line = Some(line.clone());
        let sender = self.sender.clone();
        let listen = move || {
            loop {
                let (event, is_last) = match line.receive() {
                    Ok(Some(parcel)) => (Event::Said(parcel), false),
                    Ok(None) => (Event::Over(None), true),
                    Err(error) => (Event::Over(Some(error)), true),
                };
                if sender.send(event).is_err() || is_last {
                    return;
                }
            }
        };
        let listener = thread::Builder::new().name("upgrade's line".to_owned());
        listener.spawn(listen).map(drop).map_err(failed)
    }

    fn attend(&mut self, events: &Receiver<Event>, begun: Instant) -> Result<End, String> {
        loop {
            match events.recv_timeout(LOOK) {
                Ok(Event::Said(parcel)) => self.hear(&parcel)?,
                Ok(Event::Give(carried)) => self.pass_on(&carried)?,
                Ok(Event::Abort) => return Ok(End::Told),
                Ok(Event::Over(_)) if self.stage == Stage::Drains => {}
                Ok(Event::Over(None)) => return Err("the new process has ended".to_owned()),
                Ok(Event::Over(Some(error))) => {
                    return Err(format!("the new process cannot be understood: {error}"));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Told),
            }
            if self.stage == Stage::Starts {
                if begun.elapsed() > START {
                    let limit = START.as_secs();
                    return Err(format!("the new process does not serve after {limit} s"));
                }
                continue;
            }
            let clients = self.workers.clients();
            if !self.is_replaced && (clients == 0 || self.last_move.elapsed() > SETTLED) {
                self.is_replaced = true;
                self.replace();
            }
            if clients == 0 {
                return Ok(End::Left);
            }
            if begun.elapsed() > self.drain {
                log::warn!("upgrade: the time for {clients} clients that are left here is over");
                return Ok(End::Left);
            }
        }
    }

    fn hear(&mut self, parcel: &Parcel) -> Result<(), String> {
        let senseless = || format!("the new process says what makes no sense ({})", parcel.kind);
        match (parcel.kind, self.stage) {
            (kind::HELLO, Stage::Starts) => {
                let hello = Hello::read(&parcel.content).map_err(|_| senseless())?;
                self.welcome(&hello)
                    .map_err(|error| format!("the listeners cannot be handed over: {error}"))
            }
            (kind::SERVING, Stage::Starts) => {
                let_another_serve(true);
                self.stage = Stage::Moves;
                self.last_move = Instant::now();
                self.say(kind::TAKE_OVER, b"")?;
                log::warn!("upgrade: the new process serves");
                self.tell(|| Moving::Begins);
                Ok(())
            }
            (kind::PULL, Stage::Moves) => {
                let (count, _) = read_about(&parcel.content).ok_or_else(senseless)?;
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                self.tell(|| Moving::Pull(count));
                Ok(())
            }
            (kind::ACKNOWLEDGED | kind::REFUSED, Stage::Moves | Stage::Drains) => {
                let (serial, why) = read_about(&parcel.content).ok_or_else(senseless)?;
                self.last_move = Instant::now();
                let moving = match parcel.kind {
                    kind::ACKNOWLEDGED => Moving::Moved(serial),
                    _ => Moving::Refused(serial, why),
                };
                self.workers.tell_owner(serial, moving);
                Ok(())
            }
            (kind::FAREWELL, Stage::Moves | Stage::Drains) => {
                self.stage = Stage::Drains;
                self.tell(|| Moving::Ends);
                Ok(())
            }
            _ => Err(senseless()),
        }
    }

    fn welcome(&self, hello: &Hello) -> io::Result<()> {
        let own = Hello::own(self.executable.format, self.workers.last_serial());
        log::info!("upgrade: from version {} to {}", own.version, hello.version);
        let Some(line) = &self.line else {
            return Ok(());
        };
        line.send(kind::WELCOME, &own.write(), &[io::stdin().as_fd()])?;
        for listener in sockets_to_hand_over()? {
            let content = write_listener(&listener);
            line.send(kind::LISTENER, &content, &[listener.socket.as_fd()])?;
        }
        line.send(kind::ALL_LISTENERS, b"", &[])
    }

    /// A connection goes to the new process, or back.
    fn pass_on(&self, carried: &Carried) -> Result<(), String> {
        if self.stage == Stage::Drains {
            let moving = Moving::Refused(carried.serial, "nothing more goes over".to_owned());
            self.workers.tell_owner(carried.serial, moving);
            return Ok(());
        }
        let Some(line) = &self.line else {
            return Ok(());
        };
        let sent = carried.send(line);
        sent.map_err(|error| format!("the new process takes nothing: {error}"))
    }

    /// The service manager learns which process is the service now.
    fn replace(&self) {
        let manager = ServiceManager::from_environment().ok().flatten();
        let pid = self.line.as_ref().and_then(|line| line.expected());
        if let (Some(manager), Some(pid)) = (manager, pid) {
            self.tell(|| Moving::Replaced);
            manager.replaced_by(pid);
        }
        if let Err(why) = self.say(kind::PROMOTED, &about(0, "")) {
            log::debug!("upgrade: {why}");
        }
    }

    fn say(&self, kind: u8, content: &[u8]) -> Result<(), String> {
        let sent = self.line.iter().map(|line| line.send(kind, content, &[]));
        let sent: io::Result<()> = sent.collect();
        sent.map_err(|error| format!("the new process does not listen: {error}"))
    }

    fn tell(&self, moving: impl Fn() -> Moving) {
        self.workers.tell_all(&moving);
    }
}

fn end_child(child: Option<&mut Child>) {
    let Some(child) = child else {
        return;
    };
    // (It may have ended already.)
    let _ = child.kill();
    match child.wait() {
        Ok(status) => log::info!("upgrade: the new process has ended: {status}"),
        Err(error) => log::warn!("upgrade: the new process cannot be waited for: {error}"),
    }
}
