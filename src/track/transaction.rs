//! The transaction that is open, and the characteristics of the next one.

use crate::sql::effects::Characteristics;

/// How a transaction began.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// By a statement.
    Explicitly,
    /// With the first use of a table, because autocommit is off.
    Implicitly,
    /// Either way.
    Unclear,
}

/// Whether a transaction is open.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// None.
    None,
    /// One.
    Open {
        /// How it began.
        begun: Begun,
        /// It only reads.
        read_only: bool,
    },
}

/// The statements that add these characteristics to those of the next transaction, in the servers'
/// form; `None` if the existing ones are not in that form.
pub(super) fn with_next(before: &[u8], next: Characteristics) -> Option<Vec<u8>> {
    let mut isolation = None;
    let mut access = None;
    for statement in before.split(|byte| *byte == b';') {
        match statement.trim_ascii().strip_prefix(b"SET TRANSACTION ") {
            Some(level) if level.starts_with(b"ISOLATION LEVEL ") => isolation = Some(level),
            Some(b"READ ONLY") => access = Some(&b"READ ONLY"[..]),
            Some(b"READ WRITE") => access = Some(&b"READ WRITE"[..]),
            None if statement.trim_ascii().is_empty() => {}
            _ => return None,
        }
    }
    let level = next
        .isolation
        .map(|level| format!("ISOLATION LEVEL {level}"));
    let isolation = level.as_deref().map(str::as_bytes).or(isolation);
    let access = match next.read_only {
        Some(true) => Some(&b"READ ONLY"[..]),
        Some(false) => Some(&b"READ WRITE"[..]),
        None => access,
    };
    let statements = isolation.into_iter().chain(access);
    let written: Vec<Vec<u8>> = statements
        .map(|what| [b"SET TRANSACTION ", what, b";"].concat())
        .collect();
    Some(written.join(&b" "[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characteristics_add_up() {
        let next = |isolation, read_only| Characteristics {
            isolation,
            read_only,
        };
        let one = with_next(b"", next(Some("READ COMMITTED"), Some(true))).unwrap();
        let text = b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET TRANSACTION READ ONLY;";
        assert_eq!(one, text);
        let two = with_next(&one, next(None, Some(false))).unwrap();
        let text = b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET TRANSACTION READ WRITE;";
        assert_eq!(two, text);
        assert_eq!(with_next(b"START TRANSACTION;", next(None, None)), None);
    }
}
