//! The limit on file descriptors, and the errors when there are none left.

use std::io;

/// Too many files open in this process. The same number on every Unix.
const EMFILE: i32 = 24;
/// Too many files open in the whole system. The same number on every Unix.
const ENFILE: i32 = 23;
/// Out of memory. The same number on every Unix.
const ENOMEM: i32 = 12;
/// No buffer space. Linux has its own number, all others BSD's.
const ENOBUFS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    105
} else {
    55
};

/// Whether a failed accept or connect only means that the process, or the machine, has no room for
/// another socket now.
///
/// The connection then stays in the kernel's queue. There is no further event for it in an
/// edge-triggered loop, which has to try again by itself after a pause, or when it has closed
/// something.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(EMFILE | ENFILE | ENOMEM | ENOBUFS)
    )
}

/// How many files this process may have open.
pub fn descriptor_limit() -> io::Result<u64> {
    rlimit::Resource::NOFILE.get_soft()
}

/// Raises the soft limit on open files to the hard one, and returns the limit now in force.
///
/// The usual soft limit of 1024 is there for programs that call `select`. A proxy spends two
/// descriptors on each client and would be full at five hundred of them.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    rlimit::increase_nofile_limit(rlimit::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_errors_that_pass() {
        for number in [EMFILE, ENFILE, ENOMEM, ENOBUFS] {
            assert!(is_out_of_descriptors(&io::Error::from_raw_os_error(number)));
        }
        assert!(!is_out_of_descriptors(&io::ErrorKind::WouldBlock.into()));
        assert!(!is_out_of_descriptors(
            &io::ErrorKind::ConnectionAborted.into()
        ));
    }

    /// Checks the numbers above against the system's own texts.
    #[test]
    fn the_numbers_are_the_systems() {
        let text = |number| {
            io::Error::from_raw_os_error(number)
                .to_string()
                .to_lowercase()
        };
        assert!(text(EMFILE).contains("open files"), "{}", text(EMFILE));
        assert!(text(ENFILE).contains("open files"), "{}", text(ENFILE));
        assert!(text(ENOBUFS).contains("buffer space"), "{}", text(ENOBUFS));
        assert_eq!(
            io::Error::from_raw_os_error(ENOMEM).kind(),
            io::ErrorKind::OutOfMemory
        );
    }

    #[test]
    fn raises_the_soft_limit_to_the_hard_one() {
        let soft = raise_descriptor_limit().unwrap();
        let (now, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!((soft, descriptor_limit().unwrap()), (now, now));
        assert_eq!(now, hard);
    }
}
