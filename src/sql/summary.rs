//! What a statement does and to which tables, in a few words: `SELECT orders customers`.

use super::tokens::{Kind, Tokens};
use super::{Mode, words};

/// Longer summaries end before the word that is too much.
const MAX: usize = 255;

/// Statements whose second word says what they are about.
const TWO_WORDS: [&str; 10] = [
    "ALTER", "CREATE", "DROP", "FLUSH", "LOAD", "LOCK", "SHOW", "START", "UNLOCK", "XA",
];

/// Words between those after which a name follows and the name.
const BEFORE_NAMES: [&str; 12] = [
    "DELAYED",
    "EXISTS",
    "FROM",
    "HIGH_PRIORITY",
    "IF",
    "IGNORE",
    "INTO",
    "LATERAL",
    "LOW_PRIORITY",
    "NOT",
    "QUICK",
    "TABLE",
];

/// Words that end a list of tables.
const BEHIND_TABLES: [&str; 12] = [
    "FOR",
    "GROUP",
    "HAVING",
    "INTO",
    "LIMIT",
    "ON",
    "ORDER",
    "PARTITION",
    "SET",
    "UNION",
    "VALUES",
    "WHERE",
];

/// A statement's words while it is read. What is said of parentheses has a bit for each level.
#[derive(Default)]
struct Reading {
    /// The statement's first word.
    operation: &'static str,
    /// A table's name is next.
    names: bool,
    /// The last word was a table's name, or a part of one.
    named: bool,
    /// A second word is next that belongs to the first.
    second: bool,
    /// Where a comma leads to another table.
    lists: u64,
    /// Where FROM is that of a SELECT or DELETE.
    reads: u64,
}

/// Writes the summary of a text, or of a digest, over what is in `out`, whose memory is used again. Of a text whose words are
/// not understood it may be empty.
pub fn write_summary(sql: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut reading = Reading::default();
    let mut after_dot = false;
    for token in Tokens::new(sql, Mode::default()) {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        let was_named = std::mem::take(&mut reading.named);
        match (token.kind, text) {
            (Kind::Comment | Kind::VersionComment, _) | (Kind::Word, b"...") => {
                reading.named = was_named;
                continue;
            }
            (Kind::Operator, b".") => {
                (after_dot, reading.named) = (true, was_named);
                continue;
            }
            (Kind::Word | Kind::Quoted, name) if after_dot => {
                if was_named {
                    continue_name(name, out);
                    reading.named = true;
                }
            }
            (Kind::Word, word) => reading.word(word, out),
            (Kind::Quoted, name) if reading.names => reading.name(name, out),
            (Kind::Quoted, _) => {}
            (Kind::Operator, sign) => reading.sign(sign),
            _ => reading.names = false,
        }
        after_dot = false;
        if out.len() >= MAX {
            break;
        }
    }
    if out.len() > MAX {
        let end = memchr::memrchr(b' ', out.get(..MAX).unwrap_or_default());
        out.truncate(end.unwrap_or(MAX));
    }
}

impl Reading {
    fn word(&mut self, word: &[u8], out: &mut Vec<u8>) {
        let known = words::lookup(word).map_or("", |known| known.name);
        if self.operation.is_empty() {
            return self.begin(word, known, out);
        }
        if std::mem::take(&mut self.second) {
            add(&word.to_ascii_uppercase(), out);
            self.names = matches!(known, "DATABASE" | "SCHEMA" | "TABLE" | "TABLES" | "VIEW")
                && self.operation != "SHOW";
            return;
        }
        if self.names && !BEFORE_NAMES.contains(&known) && known != "SELECT" {
            match known {
                "OUTFILE" | "DUMPFILE" => self.names = false,
                _ => self.name(word, out),
            }
            return;
        }
        if BEHIND_TABLES.contains(&known) {
            self.lists &= !1;
        }
        match known {
            "SELECT" => {
                add(b"SELECT", out);
                self.reads |= 1;
                self.names = false;
            }
            "FROM" | "JOIN" | "STRAIGHT_JOIN" if self.reads & 1 == 1 => {
                self.names = true;
                self.lists |= 1;
            }
            "INTO" => self.names = true,
            _ => {}
        }
    }

    /// The first word of a statement.
    fn begin(&mut self, word: &[u8], known: &'static str, out: &mut Vec<u8>) {
        self.operation = if known.is_empty() { "?" } else { known };
        match known {
            "WITH" | "VALUES" => self.reads = 0,
            "UPDATE" => (self.names, self.lists) = (true, 1),
            "INSERT" | "REPLACE" | "CALL" | "TRUNCATE" => self.names = true,
            "SELECT" | "DELETE" => self.reads = 1,
            _ => self.second = TWO_WORDS.contains(&known),
        }
        if known != "WITH" {
            add(&word.to_ascii_uppercase(), out);
        }
    }

    fn name(&mut self, name: &[u8], out: &mut Vec<u8>) {
        (self.names, self.named) = (false, true);
        add(bare(name), out);
    }

    fn sign(&mut self, sign: &[u8]) {
        match sign {
            b"(" => {
                self.lists <<= 1;
                self.reads <<= 1;
                // What is joined may be in parentheses.
                self.lists |= u64::from(self.names);
                self.reads |= u64::from(self.names);
            }
            b")" => {
                self.lists >>= 1;
                self.reads >>= 1;
                self.names = false;
            }
            b"," => self.names = self.lists & 1 == 1,
            b";" => *self = Reading::default(),
            _ => self.names = false,
        }
    }
}

fn bare(name: &[u8]) -> &[u8] {
    let quoted = name
        .strip_prefix(b"`")
        .and_then(|name| name.strip_suffix(b"`"));
    quoted.unwrap_or(name)
}

fn add(word: &[u8], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b' ');
    }
    out.extend_from_slice(word);
}

fn continue_name(name: &[u8], out: &mut Vec<u8>) {
    out.push(b'.');
    out.extend_from_slice(bare(name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::write_digest;
    use proptest::prelude::*;

    fn summary(sql: &str) -> String {
        let mut out = Vec::new();
        write_summary(sql.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_statements_do() {
        for (sql, expected) in [
            (
                "select * from wuser_table where a = 1",
                "SELECT wuser_table",
            ),
            (
                "SELECT a FROM shop.orders o, `cust omers` c JOIN x ON a = b WHERE 1",
                "SELECT shop.orders cust omers x",
            ),
            (
                "SELECT * FROM (SELECT * FROM orders o JOIN c USING (id)) t",
                "SELECT SELECT orders c",
            ),
            (
                "INSERT INTO shipping (a, b) SELECT a, b FROM orders",
                "INSERT shipping SELECT orders",
            ),
            ("INSERT IGNORE t VALUES (1, 2), (3, 4)", "INSERT t"),
            ("REPLACE INTO a.t SET b = 1", "REPLACE a.t"),
            (
                "UPDATE LOW_PRIORITY a, b SET a.x = b.y WHERE a.id = b.id",
                "UPDATE a b",
            ),
            (
                "DELETE FROM t WHERE a IN (SELECT b FROM u)",
                "DELETE t SELECT u",
            ),
            (
                "SELECT EXTRACT(YEAR FROM d), TRIM('x' FROM y) FROM t FOR UPDATE",
                "SELECT t",
            ),
            ("SELECT 1", "SELECT"),
            ("SELECT a INTO @x FROM t", "SELECT t"),
            (
                "WITH c AS (SELECT 1 FROM a) SELECT * FROM c",
                "SELECT a SELECT c",
            ),
            ("CALL p.q(1)", "CALL p.q"),
            ("CREATE TABLE IF NOT EXISTS t (a INT)", "CREATE TABLE t"),
            ("DROP VIEW v", "DROP VIEW v"),
            ("SHOW TABLES FROM x", "SHOW TABLES"),
            ("SET NAMES utf8mb4", "SET"),
            ("START TRANSACTION", "START TRANSACTION"),
            ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "LOAD DATA t"),
            ("SELECT 1; UPDATE t SET a = 1", "SELECT UPDATE t"),
            ("/* c */ SELECT a FROM t -- d", "SELECT t"),
            ("SELECT * FROM a LEFT JOIN (b, c) ON 1", "SELECT a b c"),
            ("frobnicate all", "FROBNICATE"),
            ("", ""),
        ] {
            assert_eq!(summary(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_digest_has_the_same_one() {
        for sql in [
            "SELECT a FROM shop.orders o, c WHERE x IN (1, 2, 3)",
            "INSERT INTO t (a, b) VALUES (1, 2), (3, 4)",
            "UPDATE `t` SET a = 'x'",
        ] {
            let mut digest = Vec::new();
            write_digest(sql.as_bytes(), Mode::default(), &mut digest);
            let digest = String::from_utf8(digest).unwrap();
            assert_eq!(summary(&digest), summary(sql), "{digest}");
        }
    }

    #[test]
    fn it_is_short() {
        let tables: Vec<_> = (0..1000).map(|number| format!("table_{number}")).collect();
        let summary = summary(&format!("SELECT * FROM {}", tables.join(", ")));
        assert!(summary.len() <= MAX && summary.ends_with(|c: char| c.is_ascii_digit()));
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(sql in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            write_summary(&sql, &mut out);
            prop_assert!(out.len() <= MAX);
        }
    }
}
