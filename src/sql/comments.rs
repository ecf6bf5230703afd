//! The comments of a text.

use super::{Kind, Mode, Tokens};

/// The comments that every server reads as such, without the marks around them. Where servers may read
/// the text differently the list ends: what looks like a comment may be part of a string there.
pub fn comments(sql: &[u8], mode: Mode) -> impl Iterator<Item = &[u8]> {
    let mut tokens = Tokens::new(sql, mode);
    std::iter::from_fn(move || {
        loop {
            let token = tokens.next()?;
            if mode.is_in_doubt(tokens.doubts()) || token.unterminated {
                return None;
            }
            if token.kind == Kind::Comment {
                return Some(inner(sql.get(token.from..token.to)?));
            }
        }
    })
}

fn inner(comment: &[u8]) -> &[u8] {
    let block = comment
        .strip_prefix(b"/*")
        .and_then(|rest| rest.strip_suffix(b"*/"));
    block
        .or_else(|| comment.strip_prefix(b"--"))
        .or_else(|| comment.strip_prefix(b"#"))
        .unwrap_or(comment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sql: &str) -> String {
        let all: Vec<_> = comments(sql.as_bytes(), Mode::default())
            .map(|one| String::from_utf8_lossy(one).into_owned())
            .collect();
        all.join("|")
    }

    #[test]
    fn comments_of_all_kinds() {
        assert_eq!(
            found("/* a */ SELECT 1 -- b\n, 2 # c\n/**//*+ d */"),
            " a | b| c||+ d "
        );
        assert_eq!(found("SELECT 1 /*!50000 + /* a */ 1 */"), " a ");
    }

    #[test]
    fn what_is_no_comment() {
        for sql in [
            "SELECT '/* a */', `/* a */`, 'it''s -- a'",
            "SELECT 1--a",
            "SELECT 1 /* a",
            "SELECT \"/* a */\"",
            // In another mode the string ends before it, or it is not a comment everywhere.
            "SELECT 'it\\' /* a */ , '",
            "SELECT /*!99999 1, */ 2 /* a */",
        ] {
            assert_eq!(found(sql), "", "{sql}");
        }
    }

    #[test]
    fn many_are_read_in_linear_time() {
        let sql = "/**/".repeat(500_000);
        assert_eq!(comments(sql.as_bytes(), Mode::default()).count(), 500_000);
    }
}
