//! What a server may answer to any command.

pub mod eof;
pub mod err;
pub mod local_infile;
pub mod ok;
pub mod progress;
pub mod session_changes;
pub mod stats;
