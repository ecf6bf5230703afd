//! The file of a unix socket: created with its final permissions, replaced only when no process
//! listens on it, and removed only by its owner.
//!
//! Permissions count when a client connects, and nobody can connect before `listen`. So the order
//! is: bind, make sure of the mode, listen. On Linux the file is even created with no wider mode
//! than asked for, because it inherits the mode of the socket's descriptor, which can be narrowed
//! before it is bound. Changing the umask is no alternative, because it belongs to the whole
//! process and would affect other threads. Nor is binding to a temporary name and renaming: the
//! kernel keeps the name that was bound, and every tool that lists sockets would show that one.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::BACKLOG;
use super::listening::another_serves;

/// How often to try to bind after a stale file was removed. More than one failure means that
/// another process wants the path too.
const ATTEMPTS: usize = 3;
/// How often a socket has to refuse connections before it counts as stale: one that another process
/// has just bound refuses too, until that process listens.
const PROBES: usize = 3;
/// The time between two probes. It is spent only at start-up after a crash.
const PROBE_PAUSE: Duration = Duration::from_millis(5);

/// The file of a listening unix socket, removed on drop if it is still the same one, and if this process serves.
///
/// To be dropped before the socket: while the socket is open the kernel cannot give the file's
/// inode number to another file, so comparing inode numbers is safe.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// The file of a socket that this process has got from another, unless it is gone.
    pub(super) fn of(path: &Path) -> io::Result<Option<SocketFile>> {
        let found = look_at(path)?.filter(|found| found.file_type().is_socket());
        let path = std::path::absolute(path)?;
        Ok(found.map(|found| SocketFile {
            path,
            device: found.dev(),
            inode: found.ino(),
        }))
    }

    fn is_there(&self) -> bool {
        match fs::symlink_metadata(&self.path) {
            Ok(found) => found.dev() == self.device && found.ino() == self.inode,
            Err(_) => false,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if another_serves() || !self.is_there() {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove the socket {}: {error}", self.path.display());
        }
    }
}

/// Makes a non-blocking listening socket at `path` with the permissions `mode`.
pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(SocketFile, UnixListener)> {
    // An empty path, or one that begins with a NUL, would ask Linux for a socket without a file.
    if path.as_os_str().is_empty() || path.as_os_str().as_bytes().contains(&0) {
        return Err(problem(
            io::ErrorKind::InvalidInput,
            path,
            "is not a path for a socket",
        ));
    }
    if mode & !0o777 != 0 {
        let what = format!("cannot have the mode {mode:o}: 777 is the largest");
        return Err(problem(io::ErrorKind::InvalidInput, path, &what));
    }
    // Absolute, so that a later change of the working folder does not matter to the drop.
    let absolute = std::path::absolute(path)?;
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let socket = narrow(socket, mode)?;

    bind_or_replace(&socket, &address, path)?;
    let made = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: absolute,
        device: made.dev(),
        inode: made.ino(),
    };
    if made.mode() & 0o777 != mode {
        // The umask has removed bits, or this system ignores the descriptor's mode.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    if !file.is_there() {
        // Another process took it for stale before it listened, in spite of its probes.
        return Err(problem(
            io::ErrorKind::AddrInUse,
            path,
            "was taken over by another process",
        ));
    }
    Ok((file, UnixListener::from(OwnedFd::from(socket))))
}

/// Sets the mode of the unbound socket, which Linux passes on to the file.
fn narrow(socket: Socket, mode: u32) -> io::Result<Socket> {
    let handle = File::from(OwnedFd::from(socket));
    if let Err(error) = handle.set_permissions(Permissions::from_mode(mode)) {
        // Other systems refuse. Then the file's mode is wider for a moment, in which no client can
        // connect yet.
        log::debug!("cannot set the mode of a socket before binding it: {error}");
    }
    Ok(Socket::from(OwnedFd::from(handle)))
}

fn bind_or_replace(socket: &Socket, address: &SockAddr, path: &Path) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        match socket.bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_if_stale(address, path)?;
            }
            result => return result,
        }
    }
    Err(problem(
        io::ErrorKind::AddrInUse,
        path,
        "is wanted by another process too",
    ))
}

/// Removes a socket that no process listens on. Anything else at the path is an error.
fn remove_if_stale(address: &SockAddr, path: &Path) -> io::Result<()> {
    let Some(found) = look_at(path)? else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        let what = "exists and is not a socket";
        return Err(problem(io::ErrorKind::AlreadyExists, path, what));
    }
    for probe in 0..PROBES {
        if probe > 0 {
            thread::sleep(PROBE_PAUSE);
        }
        if is_live(address)? {
            let what = "is in use: another process listens on it";
            return Err(problem(io::ErrorKind::AddrInUse, path, what));
        }
    }
    // Another process may have replaced it in the meantime. Inode numbers are soon reused, so the
    // time is compared, too. If it is another file, the next attempt to bind deals with it.
    let is_same = |now: &Metadata| {
        let identity = |file: &Metadata| (file.dev(), file.ino(), file.ctime(), file.ctime_nsec());
        identity(now) == identity(&found)
    };
    if !look_at(path)?.as_ref().is_some_and(is_same) {
        return Ok(());
    }
    log::info!("replacing the stale socket {}", path.display());
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn look_at(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a process listens there. An error if that cannot be found out, such as without
/// permission to connect.
fn is_live(address: &SockAddr) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Connecting to a live listener with a full queue must not block.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            _ => Err(error),
        },
    }
}

fn problem(kind: io::ErrorKind, path: &Path, what: &str) -> io::Error {
    io::Error::new(kind, format!("{} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        (folder, path)
    }

    fn kind_of_failure(path: &Path) -> io::ErrorKind {
        bind(path, 0o700).unwrap_err().kind()
    }

    #[test]
    fn the_mode_is_exact() {
        let (_folder, path) = folder();
        for mode in [0o700, 0o777, 0o600, 0o660, 0o000] {
            let bound = bind(&path, mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
            drop(bound);
            assert!(!path.exists());
        }
        assert_eq!(
            bind(&path, 0o1777).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    /// The file's mode must not be too wide even before it is set.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_file_is_born_narrow() {
        let (_folder, path) = folder();
        let socket = narrow(
            Socket::new(Domain::UNIX, Type::STREAM, None).unwrap(),
            0o600,
        )
        .unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o177, 0);
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_file, _listener) = bind(&path, 0o700).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_live_socket_is_not() {
        let (_folder, path) = folder();
        let (_file, listener) = bind(&path, 0o700).unwrap();
        assert_eq!(kind_of_failure(&path), io::ErrorKind::AddrInUse);
        listener.accept().unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_live_socket_with_a_full_queue_is_not() {
        let (_folder, path) = folder();
        let address = SockAddr::unix(&path).unwrap();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&address).unwrap();
        socket.listen(0).unwrap();
        let _first = UnixStream::connect(&path).unwrap();
        assert_eq!(kind_of_failure(&path), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[test]
    fn other_kinds_of_file_are_left_alone() {
        let (folder, path) = folder();
        fs::write(&path, b"precious").unwrap();
        assert_eq!(kind_of_failure(&path), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();

        fs::create_dir(&path).unwrap();
        assert_eq!(kind_of_failure(&path), io::ErrorKind::AlreadyExists);
        fs::remove_dir(&path).unwrap();

        // A symbolic link is never removed, even one to a stale socket: it was made for a reason
        // unknown here.
        let target = folder.path().join("target");
        drop(UnixListener::bind(&target).unwrap());
        symlink(&target, &path).unwrap();
        assert_eq!(kind_of_failure(&path), io::ErrorKind::AlreadyExists);
        assert!(target.exists());
        fs::remove_file(&path).unwrap();

        // A datagram socket: the probe cannot tell whether it is in use, so it stays.
        let _datagrams = UnixDatagram::bind(&path).unwrap();
        bind(&path, 0o700).unwrap_err();
        assert!(path.exists());
    }

    #[test]
    fn drop_removes_only_its_own_file() {
        let (_folder, path) = folder();
        let bound = bind(&path, 0o700).unwrap();
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
        drop(other);

        let bound = bind(&path, 0o700).unwrap();
        fs::remove_file(&path).unwrap();
        drop(bound);
    }

    #[test]
    fn paths_that_cannot_be() {
        let (folder, _) = folder();
        for path in ["", "\0abstract", "a\0b"] {
            assert_eq!(
                kind_of_failure(Path::new(path)),
                io::ErrorKind::InvalidInput
            );
        }
        assert_eq!(
            kind_of_failure(&folder.path().join("no/s")),
            io::ErrorKind::NotFound
        );
        let long = folder.path().join("x".repeat(200));
        assert_eq!(kind_of_failure(&long), io::ErrorKind::InvalidInput);
    }
}
