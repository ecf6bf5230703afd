//! What spans have of statements.

use std::rc::Rc;

use super::options::{Statements, TraceOptions};
use crate::sql::{self, Mode};

/// How much of a statement is looked at for its digest.
const LOOKED_AT: usize = 16 << 10;

/// What is kept of a query until it ends: its digest is made only then, if there is to be a span.
pub(super) fn kept<'a>(sql: &'a [u8], options: &TraceOptions) -> &'a [u8] {
    let most = match options.statements {
        Statements::Digests => LOOKED_AT,
        Statements::Texts => options.max_text,
    };
    sql.get(..most).unwrap_or(sql)
}

/// What spans have of a statement that is prepared.
pub(super) fn of_prepared(sql: &[u8], options: &TraceOptions) -> Rc<[u8]> {
    match options.statements {
        Statements::Texts => kept(sql, options).into(),
        Statements::Digests => {
            let mut digest = Vec::new();
            write_digest(sql, options.max_text, &mut digest);
            digest.into()
        }
    }
}

/// Writes the digest of a text over what is in `out`.
pub(super) fn write_digest(sql: &[u8], max: usize, out: &mut Vec<u8>) {
    let head = sql.get(..LOOKED_AT).unwrap_or(sql);
    sql::write_digest(head, Mode::default(), out);
    if out.len() > max {
        out.truncate(max);
        out.extend_from_slice(b"...");
    }
}
