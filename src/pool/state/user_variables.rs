//! User variables: which a session has, what they are, and how another connection gets them.

use std::collections::BTreeMap;

use super::unknown::Row;
use crate::pool::flavour::Flavour;
use crate::wire::{Column, ColumnType, column_flags};

/// More than so many are not restored.
const MAX_COUNT: usize = 64;
/// The NULL that a variable is which was never set. The word alone would leave it its type.
const NOTHING: &str = "CAST(NULL AS BINARY)";
/// Nor are values that are longer together.
const MAX_BYTES: usize = 1 << 20;

/// A session's user variables: their names in lower case, and their values as SQL that every session reads alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserVariables(BTreeMap<String, String>);

/// The names of a session's user variables, whose values are being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

fn as_bytes(what: &str) -> String {
    format!("CAST(CONVERT({what} USING utf8mb4) AS BINARY)")
}

impl Names {
    /// The query that lists them. On MySQL the account needs a grant for that.
    pub fn query(flavour: Flavour) -> Vec<u8> {
        let name = as_bytes("VARIABLE_NAME");
        let limit = MAX_COUNT + 1;
        match flavour {
            Flavour::MariaDb => {
                format!("SELECT 1, {name} FROM information_schema.USER_VARIABLES LIMIT {limit}")
            }
            // One row more tells whether the server knows its sessions at all.
            Flavour::MySql => format!(
                "SELECT 1, {name} FROM performance_schema.user_variables_by_thread \
                 WHERE THREAD_ID = PS_CURRENT_THREAD_ID() \
                 UNION ALL SELECT @@performance_schema AND PS_CURRENT_THREAD_ID() IS NOT NULL, NULL LIMIT {limit}"
            ),
        }
        .into_bytes()
    }

    /// From the rows of the answer; `None` if they cannot be restored.
    pub fn of(rows: &[Row]) -> Option<Names> {
        let mut names = Vec::new();
        for row in rows {
            match row.as_slice() {
                [Some(known), Some(name)] if known == b"1" => {
                    let name = std::str::from_utf8(name).ok()?;
                    // Others would have to be said in the session's character set.
                    name.is_ascii().then_some(())?;
                    names.push(name.to_ascii_lowercase());
                }
                [Some(known), None] if known == b"1" => {}
                _ => return None,
            }
        }
        (names.len() <= MAX_COUNT).then_some(Names(names))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The queries that read them: their types, then their values.
    pub fn queries(&self) -> Vec<Vec<u8>> {
        let limit = MAX_BYTES / self.0.len().max(1);
        let variables: Vec<_> = self.0.iter().map(|name| variable(name)).collect();
        let values = variables.iter().map(|variable| {
            let hex = as_bytes(&format!(
                "IF(LENGTH({variable}) > {limit}, 'long', HEX({variable}))"
            ));
            let text = as_bytes(&format!(
                "IF(LENGTH({variable}) > 400, NULL, CAST({variable} AS CHAR))"
            ));
            let collation = as_bytes(&format!("COLLATION({variable})"));
            format!("{hex},{text},{collation}")
        });
        let values: Vec<_> = values.collect();
        vec![
            format!("SELECT {} LIMIT 0", variables.join(",")).into_bytes(),
            format!("SELECT {} LIMIT 1", values.join(",")).into_bytes(),
        ]
    }
}

fn variable(name: &str) -> String {
    format!("@`{}`", name.replace('`', "``"))
}

impl UserVariables {
    /// From the answers to [`Names::queries`]: the columns of the first, the row of the second. `None` if one of them cannot be
    /// restored.
    pub fn read(
        names: &Names,
        columns: &[Column],
        row: &[Option<Vec<u8>>],
    ) -> Option<UserVariables> {
        let mut variables = BTreeMap::new();
        let mut columns = columns.iter();
        let mut values = row.chunks_exact(3);
        for name in &names.0 {
            let (column, value) = (columns.next()?, values.next()?);
            let [hex, text, Some(collation)] = value else {
                return None;
            };
            let text = text
                .as_deref()
                .and_then(|text| std::str::from_utf8(text).ok());
            let collation = std::str::from_utf8(collation).ok()?;
            let value = written(column, hex.as_deref(), text.unwrap_or_default(), collation);
            variables.insert(name.clone(), value?);
        }
        Some(UserVariables(variables))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The statement that gives a session with the variables `from` these ones; `None` if nothing differs. What the
    /// session has beside them is NULL then, as if it had never been set.
    pub fn differs(&self, from: &UserVariables) -> Option<Vec<u8>> {
        let gone = from.0.keys().filter(|name| !self.0.contains_key(*name));
        let gone = gone.map(|name| format!("{}={NOTHING}", variable(name)));
        let new = self
            .0
            .iter()
            .filter(|(name, value)| from.0.get(*name) != Some(value));
        let new = new.map(|(name, value)| format!("{}={value}", variable(name)));
        let all: Vec<_> = gone.chain(new).collect();
        (!all.is_empty()).then(|| format!("SET {}", all.join(",")).into_bytes())
    }
}

/// A value of this type as SQL. `hex`: its bytes; `text`: the same if it is short, as text. NULL is none of both.
fn written(column: &Column, hex: Option<&[u8]>, text: &str, collation: &str) -> Option<String> {
    let is_unsigned = column.flags & column_flags::UNSIGNED != 0;
    let integer = if is_unsigned { "UNSIGNED" } else { "SIGNED" };
    let is_null = hex.is_none();
    let is_number = |more: &[u8]| {
        let is_part = |byte: &u8| byte.is_ascii_digit() || more.contains(byte);
        is_null || !text.is_empty() && text.bytes().all(|byte| is_part(&byte))
    };
    match column.column_type {
        ColumnType::LONGLONG | ColumnType::LONG if is_number(b"-") => Some(match is_null {
            true => format!("CAST(NULL AS {integer})"),
            false => format!("CAST({text} AS {integer})"),
        }),
        ColumnType::DOUBLE if is_number(b"-+.e") => Some(match is_null {
            true => "NULL+0e0".to_string(),
            false if text.contains('e') => text.to_string(),
            false => format!("{text}e0"),
        }),
        ColumnType::NEWDECIMAL if is_number(b"-.") => {
            let scale = text.split_once('.').map_or(0, |(_, digits)| digits.len());
            Some(match is_null {
                true => "CAST(NULL AS DECIMAL(65,0))".to_string(),
                false => format!("CAST('{text}' AS DECIMAL(65,{scale}))"),
            })
        }
        ColumnType::VAR_STRING
        | ColumnType::STRING
        | ColumnType::VARCHAR
        | ColumnType::TINY_BLOB
        | ColumnType::BLOB
        | ColumnType::MEDIUM_BLOB
        | ColumnType::LONG_BLOB => {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            collation.bytes().all(is_name).then_some(())?;
            let charset = collation.split('_').next()?;
            let is_binary = collation == "binary";
            let Some(hex) = hex else {
                return Some(match is_binary {
                    true => NOTHING.to_string(),
                    false => format!("CONVERT(NULL USING {charset}) COLLATE {collation}"),
                });
            };
            // What is too long is no hexadecimal number.
            hex.iter().all(u8::is_ascii_hexdigit).then_some(())?;
            let digits = std::str::from_utf8(hex).ok()?;
            Some(match is_binary {
                true => format!("_binary X'{digits}'"),
                false => format!("_{charset} X'{digits}' COLLATE {collation}"),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    fn column(column_type: ColumnType, flags: u16) -> Column {
        Column {
            column_type,
            flags,
            ..Column::default()
        }
    }

    #[test]
    fn values_are_written_with_their_types() {
        let unsigned = column_flags::UNSIGNED;
        for (kind, flags, hex, text, collation, expected) in [
            (
                ColumnType::LONGLONG,
                0,
                some("FF"),
                some("-1"),
                "binary",
                Some("CAST(-1 AS SIGNED)"),
            ),
            (
                ColumnType::LONGLONG,
                unsigned,
                some("5"),
                some("5"),
                "binary",
                Some("CAST(5 AS UNSIGNED)"),
            ),
            (
                ColumnType::LONGLONG,
                0,
                None,
                None,
                "binary",
                Some("CAST(NULL AS SIGNED)"),
            ),
            (
                ColumnType::DOUBLE,
                0,
                some("1"),
                some("1.5"),
                "binary",
                Some("1.5e0"),
            ),
            (
                ColumnType::DOUBLE,
                0,
                some("1"),
                some("-1e300"),
                "binary",
                Some("-1e300"),
            ),
            (
                ColumnType::NEWDECIMAL,
                0,
                some("2"),
                some("1.50"),
                "binary",
                Some("CAST('1.50' AS DECIMAL(65,2))"),
            ),
            (
                ColumnType::LONG_BLOB,
                0,
                some("00FF"),
                None,
                "binary",
                Some("_binary X'00FF'"),
            ),
            (
                ColumnType::VAR_STRING,
                0,
                some("61"),
                some("a"),
                "utf8mb4_bin",
                Some("_utf8mb4 X'61' COLLATE utf8mb4_bin"),
            ),
            (
                ColumnType::VAR_STRING,
                0,
                some(""),
                some(""),
                "latin1_swedish_ci",
                Some("_latin1 X'' COLLATE latin1_swedish_ci"),
            ),
            (
                ColumnType::VAR_STRING,
                0,
                None,
                None,
                "binary",
                Some(NOTHING),
            ),
            (ColumnType::LONG_BLOB, 0, some("long"), None, "binary", None),
            (
                ColumnType::LONGLONG,
                0,
                some("1"),
                some("1; DROP"),
                "binary",
                None,
            ),
            (
                ColumnType::VAR_STRING,
                0,
                some("61"),
                some("a"),
                "x' OR",
                None,
            ),
            (ColumnType::GEOMETRY, 0, some("00"), None, "binary", None),
        ] {
            let names = Names(vec!["a`b".into()]);
            let row = [hex, text, some(collation)];
            let read = UserVariables::read(&names, &[column(kind, flags)], &row);
            let set = read.map(|read| read.differs(&UserVariables::default()).unwrap());
            let set = set.map(|set| String::from_utf8(set).unwrap());
            assert_eq!(set, expected.map(|value| format!("SET @`a``b`={value}")));
        }
    }

    #[test]
    fn what_is_gone_is_null() {
        let of = |list: &[(&str, &str)]| {
            UserVariables(
                list.iter()
                    .map(|(name, value)| ((*name).into(), (*value).into()))
                    .collect(),
            )
        };
        let (one, two) = (of(&[("a", "1"), ("b", "2")]), of(&[("b", "3"), ("c", "4")]));
        assert_eq!(
            two.differs(&one).unwrap(),
            b"SET @`a`=CAST(NULL AS BINARY),@`b`=3,@`c`=4"
        );
        assert_eq!(
            UserVariables::default().differs(&one).unwrap(),
            b"SET @`a`=CAST(NULL AS BINARY),@`b`=CAST(NULL AS BINARY)"
        );
        assert_eq!(one.differs(&one), None);
    }

    #[test]
    fn names_are_listed_if_the_server_can() {
        let row = |known: &str, name: Option<&str>| {
            vec![some(known), name.map(|name| name.as_bytes().to_vec())]
        };
        let names = Names::of(&[row("1", Some("A")), row("1", None)]);
        assert_eq!(names, Some(Names(vec!["a".into()])));
        assert_eq!(Names::of(&[row("0", None)]), None);
        assert_eq!(Names::of(&[row("1", Some("\u{e9}"))]), None);
        assert_eq!(Names::of(&vec![row("1", Some("x")); MAX_COUNT + 1]), None);
    }
}
