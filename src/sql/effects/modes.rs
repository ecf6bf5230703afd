//! What a text does to the mode that the texts after it are read in.

use super::{Action, Assignment, Charset, Scope, Setting, Value, effects};
use crate::sql::{Mode, is_plain_charset};

/// SQL modes that stand for several, of which one is `ANSI_QUOTES`.
const WITH_ANSI_QUOTES: [&str; 7] = [
    "ANSI_QUOTES",
    "ANSI",
    "DB2",
    "MAXDB",
    "MSSQL",
    "ORACLE",
    "POSTGRESQL",
];

/// What servers begin with unless they are told otherwise.
const INITIAL: Mode = Mode {
    no_backslash_escapes: Some(false),
    ansi_quotes: Some(false),
    plain_charset: true,
};

/// What is known of the session's mode once this text has succeeded, in a session that had this
/// mode before. Stored routines, and what tables bring with them, are taken to leave it as it is,
/// and `DEFAULT` to stand for what servers begin with.
pub fn mode_after(sql: &[u8], mode: Mode) -> Mode {
    effects(sql, mode)
        .iter()
        .fold(mode, |mode, one| match &one.action {
            Action::Set(settings) => settings.iter().fold(mode, after),
            Action::Unfamiliar | Action::Opaque => Mode::default(),
            _ => mode,
        })
}

fn after(mode: Mode, setting: &Setting) -> Mode {
    match setting {
        Setting::Charset(Charset::Names(charset, _)) => Mode {
            plain_charset: is_plain(charset),
            ..mode
        },
        Setting::Charset(Charset::CharacterSet) => Mode {
            plain_charset: false,
            ..mode
        },
        Setting::Variable(one) => assigned(mode, one),
        Setting::Transaction(_) | Setting::Other => mode,
    }
}

fn assigned(mode: Mode, one: &Assignment) -> Mode {
    let next = match one.name.as_slice() {
        b"character_set_client" => Mode {
            plain_charset: is_plain(&one.value),
            ..mode
        },
        b"sql_mode" => with_sql_mode(mode, &one.value),
        _ => return mode,
    };
    match one.scope {
        Scope::Session | Scope::Unsaid => next,
        Scope::Unclear => mode.common(next),
    }
}

fn is_plain(charset: &Value) -> bool {
    match charset {
        Value::Default => INITIAL.plain_charset,
        Value::Literal(name) => {
            std::str::from_utf8(name).is_ok_and(|name| is_plain_charset(name) == Some(true))
        }
        Value::Expression => false,
    }
}

fn with_sql_mode(mode: Mode, value: &Value) -> Mode {
    let (no_backslash_escapes, ansi_quotes) = match value {
        Value::Default => (INITIAL.no_backslash_escapes, INITIAL.ansi_quotes),
        // A number is a set of bits.
        Value::Literal(list) if !list.iter().any(u8::is_ascii_digit) || list == b"DB2" => {
            let has = |wanted: &[&str]| {
                Some(list.split(|byte| *byte == b',').any(|one| {
                    wanted
                        .iter()
                        .any(|each| one.trim_ascii().eq_ignore_ascii_case(each.as_bytes()))
                }))
            };
            (has(&["NO_BACKSLASH_ESCAPES"]), has(&WITH_ANSI_QUOTES))
        }
        Value::Literal(_) | Value::Expression => (None, None),
    };
    Mode {
        no_backslash_escapes,
        ansi_quotes,
        ..mode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSI: Mode = Mode {
        ansi_quotes: Some(true),
        ..INITIAL
    };
    const NO_ESCAPES: Mode = Mode {
        no_backslash_escapes: Some(true),
        ..INITIAL
    };
    const HALVES: Mode = Mode {
        plain_charset: false,
        ..INITIAL
    };
    const NOT_KNOWN: Mode = Mode {
        no_backslash_escapes: None,
        ansi_quotes: None,
        plain_charset: true,
    };

    #[test]
    fn what_statements_leave() {
        for (sql, wanted) in [
            ("SELECT 1", INITIAL),
            ("SET NAMES utf8", INITIAL),
            ("SET NAMES 'latin1' COLLATE latin1_bin", INITIAL),
            ("SET NAMES DEFAULT", INITIAL),
            ("SET names GBK", HALVES),
            ("SET /* x */ NAMES 'sjis'", HALVES),
            ("/*!40101 SET NAMES big5 */", HALVES),
            ("SET a = 1, NAMES cp932", HALVES),
            ("SET NAMES gb18030; SELECT 1", HALVES),
            ("SET NAMES new_one", HALVES),
            ("SET CHARACTER SET utf8", HALVES),
            ("SET CHARSET gbk", HALVES),
            ("SET character_set_client = gbk", HALVES),
            ("SET @@character_set_client := 'gbk'", HALVES),
            ("SET @@session.character_set_client = 28", HALVES),
            ("SET @@session.`character_set_client` = 'gbk'", HALVES),
            ("SET LOCAL character_set_client = @x", HALVES),
            ("SET GLOBAL a = 1, character_set_client = gbk", HALVES),
            ("SET GLOBAL character_set_client = gbk", INITIAL),
            ("SET character_set_results = gbk", INITIAL),
            ("SET sql_mode = ''", INITIAL),
            ("SET sql_mode = 'STRICT_TRANS_TABLES, ansi_quotes'", ANSI),
            ("SET SESSION sql_mode = ANSI", ANSI),
            ("SET @@sql_mode = 'ORACLE'", ANSI),
            ("SET sql_mode = 'DB2'", ANSI),
            ("SET sql_mode = 'NO_BACKSLASH_ESCAPES'", NO_ESCAPES),
            ("SET sql_mode = 4", NOT_KNOWN),
            ("SET sql_mode = CONCAT(@@sql_mode, ',ANSI')", NOT_KNOWN),
            ("SET sql_mode = @x", NOT_KNOWN),
            ("SET STATEMENT sql_mode = 'ANSI' FOR SELECT 1", INITIAL),
            ("EXECUTE p", Mode::default()),
            ("EXECUTE IMMEDIATE 'SET NAMES gbk'", Mode::default()),
            ("BEGIN NOT ATOMIC SET NAMES gbk; END", Mode::default()),
            ("CALL p()", INITIAL),
            ("BEGIN", INITIAL),
            ("PREPARE p FROM 'SET NAMES gbk'", INITIAL),
        ] {
            assert_eq!(mode_after(sql.as_bytes(), INITIAL), wanted, "{sql}");
        }
        assert_eq!(mode_after(b"SET NAMES utf8mb4", HALVES), INITIAL);
        assert_eq!(mode_after(b"SET sql_mode = DEFAULT", ANSI), INITIAL);
    }
}
