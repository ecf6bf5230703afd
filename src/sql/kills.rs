//! The KILL statements of a text, and whom they are for. A proxy gives its clients numbers of its own,
//! so it has to know where such a number is used.

use memchr::memchr2_iter;

use super::{Kind, Mode, Token, Tokens};

/// How many are looked at: nobody kills more at once.
const MOST: usize = 100;

/// One KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// Whether it ends a statement only, and not the connection.
    pub query_only: bool,
    /// Whom it is for.
    pub target: Target,
    /// Where its operand is.
    pub from: usize,
    /// The position of the byte after it.
    pub to: usize,
}

/// Whom a KILL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The connection with this number.
    Number(u64),
    /// What the server computes, by its own numbers: `CONNECTION_ID()`, a variable.
    Computed,
    /// What only the server can tell, or nobody: an expression of literals, a parameter, a KILL within a
    /// string, or one of very many.
    Unclear,
}

/// All KILLs by connection number; those by user or by query number are not among them.
pub fn kills(sql: &[u8], mode: Mode) -> Vec<Kill> {
    if !has_word(sql) {
        return Vec::new();
    }
    let mut found: Vec<Kill> = Vec::new();
    let mut tokens = Tokens::new(sql, mode)
        .filter(|token| token.kind.is_code())
        .peekable();
    let mut before = None;
    let mut is_prepared = false;
    while let Some(token) = tokens.next() {
        let text = &sql[token.from..token.to];
        if is_word(&token, text, b"PREPARE") || is_word(&token, text, b"IMMEDIATE") {
            is_prepared = true;
        } else if text == b";" {
            is_prepared = false;
        }
        let is_kill = is_word(&token, text, b"KILL") && before != Some(b".".as_slice());
        let in_string = is_prepared && token.kind == Kind::String && has_word(text);
        before = Some(text);
        if found.len() == MOST && (is_kill || in_string) {
            found[MOST - 1].target = Target::Unclear;
            break;
        } else if in_string {
            found.push(Kill {
                query_only: false,
                target: Target::Unclear,
                from: token.from,
                to: token.to,
            });
        } else if is_kill {
            let mut operand = Operand::default();
            while let Some(token) = tokens.next_if(|token| &sql[token.from..token.to] != b";") {
                operand.take(token, &sql[token.from..token.to]);
            }
            found.extend(operand.kill(sql));
        }
    }
    found
}

/// Whether the letters are anywhere in the text, which is all that most texts are asked.
fn has_word(text: &[u8]) -> bool {
    memchr2_iter(b'k', b'K', text).any(|at| {
        text.get(at..at + 4)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"kill"))
    })
}

fn is_word(token: &Token, text: &[u8], word: &[u8]) -> bool {
    token.kind == Kind::Word && text.eq_ignore_ascii_case(word)
}

/// What stands behind KILL.
#[derive(Default)]
struct Operand {
    /// HARD or SOFT, CONNECTION or QUERY.
    query_only: bool,
    /// By user or query number: not our business.
    is_other: bool,
    /// Whether there is more than such words.
    begun: bool,
    /// The only literal so far.
    literal: Option<(usize, usize)>,
    is_computed: bool,
    is_unclear: bool,
}

impl Operand {
    fn take(&mut self, token: Token, text: &[u8]) {
        let is = |word: &[u8]| is_word(&token, text, word);
        if !self.begun {
            if is(b"HARD") || is(b"SOFT") || is(b"CONNECTION") {
                return;
            } else if is(b"QUERY") {
                self.query_only = true;
                return;
            } else if is(b"USER") || is(b"ID") {
                self.is_other = true;
            }
        }
        self.begun = true;
        match token.kind {
            Kind::Number | Kind::String if self.literal.is_none() => {
                self.literal = Some((token.from, token.to));
            }
            Kind::Word | Kind::Quoted | Kind::Variable => self.is_computed = true,
            Kind::Operator if matches!(text, b"(" | b")") => {}
            _ => self.is_unclear = true,
        }
    }

    fn kill(self, sql: &[u8]) -> Option<Kill> {
        if self.is_other || !self.begun {
            return None;
        }
        let (from, to) = self.literal.unwrap_or_default();
        let number = sql.get(from..to).and_then(number);
        let target = match number {
            _ if self.is_computed => Target::Computed,
            Some(number) if !self.is_unclear => Target::Number(number),
            _ => Target::Unclear,
        };
        Some(Kill {
            query_only: self.query_only,
            target,
            from,
            to,
        })
    }
}

/// A literal's whole number, if it is one without doubt.
fn number(literal: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(literal).ok()?;
    let text = text
        .strip_prefix(['\'', '"'])
        .and_then(|text| text.strip_suffix(['\'', '"']))
        .unwrap_or(text);
    match text.strip_prefix("0x") {
        Some(digits) if literal.starts_with(b"0x") => u64::from_str_radix(digits, 16).ok(),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(sql: &str) -> Vec<Target> {
        let found = kills(sql.as_bytes(), Mode::default());
        found.iter().map(|kill| kill.target).collect()
    }

    #[test]
    fn numbers_in_all_forms() {
        for (sql, query_only) in [
            ("KILL 17", false),
            ("kill query 17", true),
            ("/* a */ Kill Connection 17 ;", false),
            ("-- a\nKILL HARD QUERY 17", true),
            ("KILL SOFT 17", false),
            ("/*!50000 KILL QUERY 17 */", true),
            ("KILL /*!50000 QUERY */ 17 # b", true),
            ("KILL (17)", false),
            ("KILL '17'", false),
            ("KILL 0x11", false),
            ("SELECT 'a;b'; KILL QUERY 17; SELECT 2", true),
            (
                "SET STATEMENT max_statement_time = 1 FOR KILL QUERY 17",
                true,
            ),
            ("BEGIN NOT ATOMIC KILL QUERY 17; END", true),
        ] {
            let found = kills(sql.as_bytes(), Mode::default());
            assert_eq!(found.len(), 1, "{sql}");
            assert_eq!(found[0].target, Target::Number(17), "{sql}");
            assert_eq!(found[0].query_only, query_only, "{sql}");
            let operand = &sql[found[0].from..found[0].to];
            assert!(
                matches!(operand, "17" | "'17'" | "0x11"),
                "{sql}: {operand}"
            );
        }
        assert_eq!(
            targets("KILL 1; KILL 2"),
            [Target::Number(1), Target::Number(2)]
        );
    }

    #[test]
    fn what_is_no_number() {
        for sql in [
            "KILL CONNECTION_ID()",
            "KILL QUERY @x",
            "KILL @@pseudo_thread_id",
            "KILL (SELECT 5)",
            "KILL 5 + f()",
        ] {
            assert_eq!(targets(sql), [Target::Computed], "{sql}");
        }
        for sql in [
            "KILL 5 + 0",
            "KILL -5",
            "KILL 5.0",
            "KILL 5e0",
            "KILL ?",
            "KILL 99999999999999999999999",
            "KILL /*!99999 5 */ 6",
            "PREPARE s FROM 'KILL 5'",
            "EXECUTE IMMEDIATE \"kill query 5\"",
        ] {
            assert_eq!(targets(sql), [Target::Unclear], "{sql}");
        }
        for sql in [
            "KILL",
            "KILL USER ann",
            "KILL QUERY ID 5",
            "SELECT 'KILL 5'",
            "SELECT `kill`, t.kill FROM t",
            "SELECT killed FROM skills",
            "/* KILL 5 */ SELECT 1",
            "PREPARE s FROM 'SELECT 5'",
        ] {
            assert_eq!(targets(sql), [], "{sql}");
        }
    }

    #[test]
    fn many_are_not_all_told() {
        let found = kills("KILL 5;".repeat(100_000).as_bytes(), Mode::default());
        assert_eq!(found.len(), MOST);
        assert_eq!(found[MOST - 1].target, Target::Unclear);
    }
}
