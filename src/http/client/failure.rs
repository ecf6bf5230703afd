//! Why there is no answer.

use std::fmt;
use std::io;

/// Why a request has no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nobody answers at the address.
    Connect(io::Error),
    /// TLS failed, or could not be set up.
    Tls(String),
    /// It took too long; what was waited for.
    TimedOut(&'static str),
    /// The connection broke before the answer was complete.
    Broken(io::Error),
    /// The connection has ended before the answer was complete.
    Ended,
    /// What came is not HTTP/1.1, or could be understood in two ways.
    Malformed(&'static str),
    /// The answer is longer than it may be.
    TooLarge(usize),
    /// There are as many requests as there may be.
    TooMany(usize),
    /// Nobody wants the answer any more.
    Cancelled,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(error) => write!(
                f,
                "cannot connect: {error}; is the server running, and the port right?"
            ),
            Failure::Tls(problem) => write!(f, "{problem}"),
            Failure::TimedOut(what) => {
                write!(f, "no {what} in time; the option timeout allows it more")
            }
            Failure::Broken(error) => write!(f, "the connection broke: {error}"),
            Failure::Ended => {
                f.write_str("the server closed the connection before its answer was complete")
            }
            Failure::Malformed(problem) => write!(
                f,
                "the answer is not HTTP/1.1 as it should be: {problem}; does the port speak HTTP?"
            ),
            Failure::TooLarge(max) => write!(
                f,
                "the answer has more than {max} bytes; the option max_size allows more"
            ),
            Failure::TooMany(max) => {
                write!(f, "{max} requests are under way, and there may be no more")
            }
            Failure::Cancelled => f.write_str("it was cancelled"),
        }
    }
}

impl std::error::Error for Failure {}
