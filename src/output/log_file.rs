//! The log's file: opened anew when it is told so, and what a disk that fails does to it.
//!
//! Lines that cannot be written (the disk is full, or broken) are lost. That is told on standard error when it
//! begins, and in the file when it is over. The program goes on meanwhile: a proxy that cannot write its
//! log still has clients.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::log_line::log_line;
use super::stream::Sink;

/// Others may not read it: statements, and so data, may be in it.
const MODE: u32 = 0o640;

/// A file that grows at its end.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// How many bytes could not be written since the last ones that could.
    lost: u64,
    /// The last byte in it ends a line.
    line_is_whole: bool,
    /// Tells what the file cannot tell.
    complain: fn(&[u8]),
}

impl LogFile {
    /// Opens the file, or makes it. What it cannot tell itself goes to `complain`, as lines.
    pub fn open(path: &Path, complain: fn(&[u8])) -> io::Result<LogFile> {
        // Absolute, so that a script that changes the folder does not move the log.
        let path = std::path::absolute(path)?;
        let file = open(&path)?;
        Ok(LogFile {
            path,
            file,
            lost: 0,
            line_is_whole: true,
            complain,
        })
    }

    /// Tells that lines were lost, once something can be written again.
    fn confess(&mut self) -> io::Result<()> {
        let note = log_line(&format!(
            "{} bytes of the log are lost: they could not be written",
            self.lost
        ));
        let end: &[u8] = if self.line_is_whole { b"" } else { b"\n" };
        let note = [end, &note].concat();
        // All or nothing would be best. What is written of it in part is a line that is not whole.
        let written = self.file.write(&note)?;
        self.line_is_whole = written == note.len();
        self.lost = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.lost > 0 {
            self.confess()?;
        }
        let written = self.file.write(bytes)?;
        if let Some(last) = bytes.get(..written).and_then(<[u8]>::last) {
            self.line_is_whole = *last == b'\n';
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for LogFile {
    fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                self.line_is_whole = true;
            }
            Err(error) => {
                let path = self.path.display();
                let note = log_line(&format!(
                    "the log {path} cannot be opened anew, and goes on in the old file: {error}"
                ));
                (self.complain)(&note);
                // It is the best place there is for it; where it fails, standard error has it.
                let _ = self.file.write_all(&note);
            }
        }
    }

    fn lost(&mut self, bytes: &[u8], error: &io::Error) {
        if self.lost == 0 {
            let path = self.path.display();
            (self.complain)(&log_line(&format!(
                "the log {path} cannot be written, and lines are lost until it can: {error}"
            )));
        }
        self.lost += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn it_grows_at_its_end_and_is_not_for_everybody() {
        let folder = folder();
        let path = folder.path().join("log");
        for line in ["one\n", "two\n"] {
            LogFile::open(&path, |_| {})
                .unwrap()
                .write_all(line.as_bytes())
                .unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7, 0);
    }

    #[test]
    fn reopened_it_has_its_name_again() {
        let folder = folder();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path, |_| {}).unwrap();
        log.write_all(b"old\n").unwrap();
        fs::rename(&path, folder.path().join("log.1")).unwrap();
        log.write_all(b"old, too\n").unwrap();
        log.reopen();
        log.write_all(b"new\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
        assert_eq!(
            fs::read(folder.path().join("log.1")).unwrap(),
            b"old\nold, too\n"
        );
    }

    #[test]
    fn what_cannot_be_opened_anew_stays_as_it_is() {
        let folder = folder();
        let path = folder.path().join("folder/log");
        fs::create_dir(folder.path().join("folder")).unwrap();
        let mut log = LogFile::open(&path, |_| {}).unwrap();
        let moved = folder.path().join("moved");
        fs::rename(folder.path().join("folder"), &moved).unwrap();
        log.reopen();
        log.write_all(b"more\n").unwrap();
        let text = fs::read_to_string(moved.join("log")).unwrap();
        assert!(text.contains("cannot be opened anew"), "{text}");
        assert!(text.ends_with("more\n"), "{text}");
    }

    #[test]
    fn after_a_loss_a_line_is_begun_anew_and_tells_of_it() {
        let folder = folder();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path, |_| {}).unwrap();
        log.write_all(b"half a li").unwrap();
        log.lost(b"ne\n", &io::ErrorKind::StorageFull.into());
        log.lost(b"another\n", &io::ErrorKind::StorageFull.into());
        log.write_all(b"whole\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "half a li\ndpm: 11 bytes of the log are lost: they could not be written\nwhole\n"
        );
    }
}
