//! Properties of every text.

use proptest::prelude::*;

use super::{Mode, Tokens, digest, statement, tables};

/// Pieces that mean something to some server, in any order.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "select",
        "SELECT",
        "from",
        "t",
        "T",
        "status",
        "user",
        "concat",
        "count",
        "(",
        ")",
        ",",
        ",",
        "1",
        "2",
        "-1",
        "'x'",
        "'it''s'",
        "'a\\'b'",
        "\"q\"",
        "`b`",
        "`a``b`",
        "`select`",
        "`status`",
        "/*",
        "*/",
        "/*!",
        "/*!40101",
        "/*!80000",
        "/*M!",
        "/*+",
        "--",
        "-- ",
        "#",
        "\n",
        " ",
        ";",
        ".",
        "...",
        "@",
        "@x",
        "@`y`",
        "@'z'",
        "@@",
        "@@global.x",
        ":=",
        "->",
        "->>",
        "<=>",
        "<>",
        "-",
        "+",
        "*",
        "/",
        "?",
        "x'AB'",
        "0xAB",
        "0x",
        "1e5",
        "1e",
        "1.e",
        ".5",
        "1a",
        "null",
        "TRUE",
        "is",
        "not",
        "in",
        "values",
        "into",
        "for",
        "update",
        "with",
        "as",
        "explain",
        "analyze",
        "delete",
        "\\",
        "\\N",
        "\0",
        "\u{e9}",
        "[",
        "{",
        "}",
        "'",
        "\"",
        "`",
        "=",
        "and",
        "limit",
        "union",
        "set",
        "begin",
        "last_insert_id",
        "N'x'",
        "_utf8mb4",
        "x",
        "b",
        "5",
        "$",
        "&&",
        "||",
        "lock",
    ];
    prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        2 => Just(b" ".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

fn mode() -> impl Strategy<Value = Mode> {
    let known = || prop::option::of(any::<bool>());
    (known(), known(), any::<bool>()).prop_map(|(escapes, quotes, plain_charset)| Mode {
        no_backslash_escapes: escapes,
        ansi_quotes: quotes,
        plain_charset,
    })
}

/// The text of a digest.
fn readable(sql: &[u8], mode: Mode) -> String {
    String::from_utf8_lossy(&digest(sql, mode).text).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn tokens_tile_the_text_with_whitespace_between(sql in text(), mode in mode()) {
        let mut at = 0;
        for token in Tokens::new(&sql, mode) {
            prop_assert!(token.from >= at && token.to > token.from && token.to <= sql.len());
            prop_assert!(sql[at..token.from].iter().all(|b| matches!(b, b' ' | 9..=13)));
            prop_assert!(!token.unterminated || token.to == sql.len());
            at = token.to;
        }
        prop_assert!(sql[at..].iter().all(|b| matches!(b, b' ' | 9..=13)));
    }

    #[test]
    fn a_digest_is_its_own_digest(sql in text(), mode in mode()) {
        let once = digest(&sql, mode);
        let twice = digest(&once.text, mode);
        prop_assert_eq!(
            String::from_utf8_lossy(&once.text),
            String::from_utf8_lossy(&twice.text)
        );
        prop_assert_eq!(once.hash, twice.hash);
    }

    #[test]
    fn whitespace_and_comments_make_no_difference(sql in text(), mode in mode()) {
        // Only between tokens that are separated already: elsewhere they might split a token.
        let mut other = Vec::new();
        let mut at = 0;
        for token in Tokens::new(&sql, mode) {
            let was_apart = token.from > at;
            at = token.to;
            if token.kind.is_code() || token.kind == super::Kind::VersionComment {
                other.extend_from_slice(if was_apart { b" /* so */ -- and\n\t" } else { b"" });
                other.extend_from_slice(&sql[token.from..token.to]);
            } else {
                other.extend_from_slice(if was_apart { b"\n " } else { b"" });
                // Of the same kind, since another kind could change the meaning of the text before
                // it.
                other.extend_from_slice(match sql[token.from] {
                    b'#' => b"# another\n",
                    b'-' => b"-- another\n",
                    _ => b"/* another */",
                });
            }
            if token.unterminated {
                break;
            }
        }
        prop_assert_eq!(
            readable(&sql, mode),
            readable(&other, mode)
        );
    }

    #[test]
    fn values_make_no_difference(number in any::<u64>(), float in any::<f32>(), string in any::<Vec<u8>>(), rows in 2..5_usize) {
        let mut quoted = string;
        quoted.retain(|byte| !matches!(byte, b'\'' | b'\\'));
        let make = |number: &str, float: &str, string: &[u8], rows: usize| {
            let row = [b"(".as_slice(), number.as_bytes(), b", '", string, b"')"].concat();
            let rows = vec![row; rows].join(&b", "[..]);
            [
                b"INSERT INTO t SELECT * FROM u WHERE a IN (".as_slice(), number.as_bytes(), b", ", float.as_bytes(),
                b") AND b = '", string, b"' UNION VALUES ", &rows,
            ]
            .concat()
        };
        let one = make(&number.to_string(), &format!("{float:e}"), &quoted, rows);
        let two = make("0xAB", "-1.5", b"x''y", 2);
        prop_assume!(float.is_finite());
        prop_assert_eq!(
            readable(&one, Mode::default()),
            readable(&two, Mode::default())
        );
    }

    #[test]
    fn what_is_known_of_the_mode_never_makes_a_statement_worse(sql in text(), mode in mode()) {
        // If no mode is known, only what is proven in each mode counts as proven.
        let unknown = statement(&sql, Mode::default());
        let Some(unknown) = unknown else { return Ok(()) };
        if let Some(known) = statement(&sql, mode) {
            let fails = Tokens::new(&sql, mode).any(|token| token.unterminated);
            prop_assert!(!unknown.read_only || known.read_only || fails);
            prop_assert!(!unknown.explainable || known.explainable || fails);
        }
    }

    #[test]
    fn a_statement_that_writes_is_never_read_only(before in text(), after in text(), mode in mode()) {
        // If the text before is complete, what follows it is a separate statement.
        let tokens: Vec<_> = Tokens::new(&before, mode).collect();
        if tokens.last().is_some_and(|token| token.unterminated || token.kind == super::Kind::Comment) {
            return Ok(());
        }
        let sql = [before, b"\n;\nDELETE FROM t ".to_vec(), after].concat();
        if let Some(found) = statement(&sql, mode) {
            prop_assert!(!found.read_only);
        }
    }

    #[test]
    fn a_table_is_never_missing(before in text(), inside in text(), after in text(), mode in mode()) {
        // Whatever is before and behind: the server may get to the statement between.
        let tokens: Vec<_> = Tokens::new(&before, mode).collect();
        if tokens.last().is_some_and(|token| token.unterminated || token.kind == super::Kind::Comment) {
            return Ok(());
        }
        let names_it = |sql: &[u8]| {
            let found = tables(sql, mode);
            found.unknown.is_some() || found.tables.iter().any(|(name, _)| name.name == b"secret")
        };
        let sql = [before.as_slice(), b"\n;\nSELECT * FROM a, secret AS s ", &after].concat();
        prop_assert!(names_it(&sql), "{}", sql.escape_ascii());
        // In parentheses, behind anything that is complete.
        let is_complete = Tokens::new(&inside, mode).all(|token| {
            !token.unterminated && !matches!(inside[token.from..token.to], [b'(' | b')' | b';'] | [b'-' | b'#', ..])
        });
        if is_complete {
            let sql = [b"SELECT * FROM t WHERE ".as_slice(), &inside, b" = (SELECT 1 FROM secret)"].concat();
            prop_assert!(names_it(&sql), "{}", sql.escape_ascii());
        }
    }
}
