//! How queries are traced.

use std::time::Duration;

use super::sampling::Ratio;

/// How queries are traced.
#[derive(Debug, Clone, Copy)]
pub struct TraceOptions {
    /// The share of traces that is recorded, if nobody has decided before.
    pub ratio: Ratio,
    /// Queries that take so long are recorded, too.
    pub slower_than: Option<Duration>,
    /// What is told of statements.
    pub statements: Statements,
    /// What servers are told.
    pub comments: Comments,
    /// How long a statement may be in a span, in bytes.
    pub max_text: usize,
    /// How many spans may wait to be sent.
    pub queue: usize,
    /// How many are sent together.
    pub batch: usize,
}

/// What spans have of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statements {
    /// Their digests, and of errors their numbers: no values.
    Digests,
    /// Their texts, and the messages of errors.
    Texts,
}

/// Whether servers are told of traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comments {
    /// Statements are forwarded as they are.
    None,
    /// The context of its span is in front of a query's text, as a comment.
    Context,
}
