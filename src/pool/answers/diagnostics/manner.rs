//! What a command does to the diagnostics of the statement before it.
//!
//! Measured on MariaDB 10.11, MariaDB 11.8 and MySQL 9.7. What is not certain is
//! [unclear](Treatment::Unclear).

use crate::pool::flavour::Flavour;
use crate::sql::{self, Changes, Kind, Mode, Tokens};
use crate::wire::Com;

/// What becomes of a value.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It stays.
    Keeps,
    /// It stays, unless the answer tells of others.
    KeepsUnlessTold,
    /// It is replaced, by what the answer tells.
    Replaces,
    /// It is replaced, by something that the answer does not tell.
    Hides,
    /// It stays, or is replaced by something that the answer does not tell.
    Unclear,
}

/// What a command does to the diagnostics.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Manner {
    pub(super) conditions: Treatment,
    pub(super) row_count: Treatment,
    pub(super) found_rows: Treatment,
    /// What becomes of `FOUND_ROWS()` if there is a single row: MariaDB keeps it if it has found the
    /// row of an aggregate without reading.
    pub(super) found_one_row: Treatment,
    /// Whether it has `SQL_CALC_FOUND_ROWS`.
    pub(super) counts_rows: bool,
    /// Whether MySQL goes on to announce the conditions, in the OKs of commands that keep them.
    pub(super) announces: bool,
}

const UNCLEAR: Manner = Manner {
    conditions: Treatment::Unclear,
    row_count: Treatment::Replaces,
    found_rows: Treatment::Unclear,
    found_one_row: Treatment::Unclear,
    counts_rows: false,
    announces: true,
};

const KEEPS_ROWS: Manner = Manner {
    found_rows: Treatment::Keeps,
    found_one_row: Treatment::Keeps,
    ..UNCLEAR
};

/// The manner of a command. `sql` is that of a query, or of the prepared statement that is executed.
/// `None` for commands that leave everything alone, and have no answer to look at.
pub fn manner(com: Com, sql: Option<&[u8]>, mode: Mode, flavour: Flavour) -> Option<Manner> {
    let replaces_on_mysql = match flavour {
        Flavour::MariaDb => Treatment::Unclear,
        Flavour::MySql => Treatment::Replaces,
    };
    Some(match com {
        Com::QUERY | Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE => match sql {
            Some(sql) => of_text(sql, mode, flavour),
            None => UNCLEAR,
        },
        Com::STMT_CLOSE | Com::STATISTICS | Com::STMT_SEND_LONG_DATA | Com::QUIT => return None,
        Com::PING | Com::INIT_DB | Com::STMT_RESET => Manner {
            conditions: Treatment::Keeps,
            announces: com != Com::STMT_RESET,
            ..KEEPS_ROWS
        },
        // Answered by an EOF, which under DEPRECATE_EOF may look like an OK.
        Com::SET_OPTION => Manner {
            conditions: Treatment::Keeps,
            row_count: Treatment::Hides,
            ..KEEPS_ROWS
        },
        // What it warns of is not told in its answer.
        Com::STMT_FETCH => Manner {
            conditions: Treatment::Hides,
            ..UNCLEAR
        },
        Com::STMT_PREPARE => Manner {
            conditions: replaces_on_mysql,
            row_count: Treatment::Keeps,
            ..KEEPS_ROWS
        },
        Com::RESET_CONNECTION | Com::CHANGE_USER => Manner {
            conditions: Treatment::Replaces,
            ..KEEPS_ROWS
        },
        _ => UNCLEAR,
    })
}

/// What is found in a text.
#[derive(Debug, Default)]
struct Words<'a> {
    first: &'a [u8],
    second: &'a [u8],
    /// Whether there is another statement.
    has_several: bool,
    has_select: bool,
    has_parenthesis: bool,
    has_group: bool,
    /// Whether rows may be counted, or the least or greatest be found, without reading them.
    has_aggregate: bool,
    counts_rows: bool,
    limit: Limit,
    /// Whether a table is named behind a FROM outside of parentheses.
    has_from: bool,
    /// Whether a FROM is anywhere.
    may_have_table: bool,
    /// Whether rows of several queries are combined, or analysed.
    combines: bool,
}

/// How many rows are asked for.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum Limit {
    #[default]
    None,
    /// So many.
    Plain,
    /// With an offset, or in other words.
    Other,
}

fn words(sql: &[u8], mode: Mode) -> Words<'_> {
    let mut words = Words::default();
    let mut depth = 0_usize;
    let mut before: &[u8] = b"";
    let mut ended = false;
    let tokens = Tokens::new(sql, mode).filter(|token| token.kind.is_code());
    for (place, token) in tokens.enumerate() {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        words.has_several |= ended;
        match place {
            0 => words.first = text,
            1 => words.second = text,
            _ => {}
        }
        let follows = |word: &[u8]| before.eq_ignore_ascii_case(word);
        if follows(b"FROM") && depth == 0 && !text.eq_ignore_ascii_case(b"DUAL") {
            words.has_from |= matches!(token.kind, Kind::Word | Kind::Quoted);
        }
        match token.kind {
            Kind::Operator => match text {
                b"(" => {
                    depth += 1;
                    words.has_parenthesis = true;
                }
                b")" => depth = depth.saturating_sub(1),
                b";" => ended = true,
                b"," if words.limit == Limit::Plain => words.limit = Limit::Other,
                _ => {}
            },
            Kind::Word => words.note(text, depth),
            _ => {}
        }
        before = text;
    }
    words
}

impl Words<'_> {
    fn note(&mut self, word: &[u8], depth: usize) {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        // Most words are none of these, and are told by their first letters.
        match word.first().map(u8::to_ascii_uppercase) {
            Some(b'S') => {
                self.has_select |= is("SELECT");
                self.counts_rows |= is("SQL_CALC_FOUND_ROWS");
            }
            Some(b'L') if is("LIMIT") => {
                self.limit = match (self.limit, depth) {
                    (Limit::None, 0) => Limit::Plain,
                    _ => Limit::Other,
                };
            }
            Some(b'O') if is("OFFSET") => self.limit = Limit::Other,
            Some(b'F') if is("FETCH") => self.limit = Limit::Other,
            Some(b'F') => self.may_have_table |= is("FROM"),

            Some(b'G') => self.has_group |= is("GROUP"),
            Some(b'U') => self.combines |= is("UNION"),
            Some(b'E') => self.combines |= is("EXCEPT"),
            Some(b'I') => self.combines |= is("INTERSECT"),
            Some(b'M') => {
                self.combines |= is("MINUS");
                self.has_aggregate |= is("MIN") || is("MAX");
            }
            Some(b'C') => self.has_aggregate |= is("COUNT"),
            Some(b'P') => self.combines |= is("PROCEDURE"),
            _ => {}
        }
    }

    fn is_one_of(&self, verbs: &[&str]) -> bool {
        verbs
            .iter()
            .any(|verb| self.first.eq_ignore_ascii_case(verb.as_bytes()))
    }

    fn is_followed_by(&self, words: &[&str]) -> bool {
        words
            .iter()
            .any(|word| self.second.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn is_query(&self) -> bool {
        self.is_one_of(&["SELECT", "WITH", "("])
    }

    /// SHOW WARNINGS and the like, which leave the conditions alone.
    fn lists_conditions(&self) -> bool {
        self.is_one_of(&["SHOW"]) && self.is_followed_by(&["WARNINGS", "ERRORS", "COUNT"])
    }

    /// Statements that have nothing to do with tables or functions.
    fn is_plain(&self) -> bool {
        const PLAIN: &[&str] = &[
            "SET",
            "BEGIN",
            "START",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT",
            "RELEASE",
            "USE",
        ];
        self.is_one_of(PLAIN) && !self.has_select && !self.has_parenthesis
    }

    fn found_rows(&self) -> Treatment {
        if self.is_query() {
            return Treatment::Replaces;
        }
        let lists = self.lists_conditions() && !self.is_followed_by(&["COUNT"]);
        const CHANGES: &[&str] = &["INSERT", "REPLACE", "CREATE", "DROP", "ALTER", "TRUNCATE"];
        let changes = self.is_one_of(CHANGES) && !self.has_select;
        match lists || changes || self.is_plain() || self.is_one_of(&["GET"]) {
            true => Treatment::Keeps,
            false => Treatment::Unclear,
        }
    }

    /// Whether it is sure to use a table, or what MariaDB makes one of: then it forgets the conditions.
    fn uses_table(&self) -> bool {
        const LISTED: &[&str] = &[
            "COLUMNS",
            "DATABASES",
            "FULL",
            "GLOBAL",
            "INDEX",
            "LOCAL",
            "SESSION",
            "STATUS",
            "TABLES",
            "VARIABLES",
        ];
        const DEFINED: &[&str] = &["CREATE", "ALTER", "DROP", "TRUNCATE", "OPTIMIZE"];
        self.is_one_of(&["INSERT", "UPDATE", "DELETE", "REPLACE"])
            || self.is_query() && self.has_from
            || self.is_one_of(DEFINED) && self.is_followed_by(&["TABLE", "TEMPORARY"])
            || self.is_one_of(&["SHOW"]) && self.is_followed_by(LISTED)
    }

    /// Whether it is sure to use no table.
    fn uses_none(&self, sql: &[u8], mode: Mode) -> bool {
        let calls = || {
            let about = sql::statement(sql, mode);
            about.is_none_or(|about| about.changes.contains(Changes::CALL))
        };
        (self.is_query() || self.is_one_of(&["DO"]))
            && !self.may_have_table
            && !(self.has_parenthesis && calls())
    }

    fn conditions(&self, sql: &[u8], mode: Mode, flavour: Flavour) -> Treatment {
        if self.lists_conditions() || self.is_one_of(&["GET"]) {
            return Treatment::Keeps;
        }
        let unclear = ["RESIGNAL", "EXECUTE", "HELP"];
        match flavour {
            Flavour::MySql if !self.is_one_of(&unclear) => Treatment::Replaces,
            Flavour::MySql => Treatment::Unclear,
            Flavour::MariaDb if self.is_plain() => Treatment::KeepsUnlessTold,
            Flavour::MariaDb => {
                if self.uses_table() {
                    Treatment::Replaces
                } else if self.uses_none(sql, mode) {
                    Treatment::KeepsUnlessTold
                } else {
                    Treatment::Unclear
                }
            }
        }
    }
}

fn of_text(sql: &[u8], mode: Mode, flavour: Flavour) -> Manner {
    let words = words(sql, mode);
    if words.has_several {
        return UNCLEAR;
    }
    let hides_rows = words.counts_rows
        || words.limit == Limit::Other
        || words.combines && words.limit != Limit::None;
    let found_rows = match words.found_rows() {
        Treatment::Replaces if hides_rows => Treatment::Hides,
        other => other,
    };
    let may_be_kept = flavour == Flavour::MariaDb && words.has_aggregate && !words.has_group;
    let conditions = words.conditions(sql, mode, flavour);
    Manner {
        conditions,
        row_count: match words.is_one_of(&["GET"]) {
            true => Treatment::Keeps,
            false => Treatment::Replaces,
        },
        found_rows,
        found_one_row: match may_be_kept {
            true => Treatment::Unclear,
            false => found_rows,
        },
        counts_rows: words.counts_rows,
        announces: conditions != Treatment::Keeps,
    }
}
