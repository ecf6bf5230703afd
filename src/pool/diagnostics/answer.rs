//! Answers to questions about diagnostics that the proxy gives in a server's place.

use super::asked::{Item, Needs};
use super::conditions::Condition;
use crate::pool::flavour::Flavour;
use crate::pool::reason::Reason;
use crate::wire::{Column, ColumnType, ErrPacket, column_flags, row};

/// How a statement that asks for diagnostics is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// By the client's server.
    Server,
    /// By the proxy, with this.
    Own(Results),
    /// Not at all, as these values are lost.
    Refused(Needs),
}

/// The columns and rows of a result in the text protocol. It ends without warnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// The columns.
    pub columns: Vec<Column>,
    /// The payload of each row.
    pub rows: Vec<Vec<u8>>,
}

/// A character set that results can be in.
struct Charset {
    /// The number of the collation that servers announce with it.
    number: u16,
    /// The most bytes that a character has.
    bytes: u32,
}

/// The character set of texts in results, by the value of `character_set_results`.
fn charset(flavour: Flavour, name: Option<&[u8]>) -> Option<Charset> {
    // The system's own, if nothing is converted.
    let Some(name) = name else {
        return Some(Charset {
            number: 33,
            bytes: 3,
        });
    };
    let name = std::str::from_utf8(name).ok()?;
    let (_, number, bytes) = CHARSETS
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
    let number = match (flavour, *number) {
        (Flavour::MySql, 45) => 255,
        (_, number) => number,
    };
    Some(Charset {
        number,
        bytes: *bytes,
    })
}

/// Names, default collations and sizes of characters. Of utf8mb4, MySQL has another default.
const CHARSETS: &[(&str, u16, u32)] = &[
    ("utf8mb4", 45, 4),
    ("utf8mb3", 33, 3),
    ("utf8", 33, 3),
    ("latin1", 8, 1),
    ("binary", 63, 1),
    ("ascii", 11, 1),
    ("armscii8", 32, 1),
    ("big5", 1, 2),
    ("cp1250", 26, 1),
    ("cp1251", 51, 1),
    ("cp1256", 57, 1),
    ("cp1257", 59, 1),
    ("cp850", 4, 1),
    ("cp852", 40, 1),
    ("cp866", 36, 1),
    ("cp932", 95, 2),
    ("dec8", 3, 1),
    ("eucjpms", 97, 3),
    ("euckr", 19, 2),
    ("gb18030", 248, 4),
    ("gb2312", 24, 2),
    ("gbk", 28, 2),
    ("geostd8", 92, 1),
    ("greek", 25, 1),
    ("hebrew", 16, 1),
    ("hp8", 6, 1),
    ("keybcs2", 37, 1),
    ("koi8r", 7, 1),
    ("koi8u", 22, 1),
    ("latin2", 9, 1),
    ("latin5", 30, 1),
    ("latin7", 41, 1),
    ("macce", 38, 1),
    ("macroman", 39, 1),
    ("sjis", 13, 2),
    ("swe7", 10, 1),
    ("tis620", 18, 1),
    ("ucs2", 35, 2),
    ("ujis", 12, 3),
    ("utf16", 54, 4),
    ("utf16le", 56, 4),
    ("utf32", 60, 4),
];

/// Level, number and text of conditions. `None` if the texts' character set is not known.
pub(super) fn conditions(
    flavour: Flavour,
    charset: Option<&[u8]>,
    conditions: Vec<&Condition>,
) -> Option<Results> {
    let set = self::charset(flavour, charset)?;
    let text = |name: &[u8], characters: u32| Column {
        name: name.to_vec(),
        character_set: set.number,
        length: characters * set.bytes,
        column_type: ColumnType::VAR_STRING,
        flags: column_flags::NOT_NULL,
        decimals: match flavour {
            Flavour::MariaDb => 39,
            Flavour::MySql => 31,
        },
        ..Column::default()
    };
    let code = Column {
        name: b"Code".to_vec(),
        character_set: 63,
        length: match flavour {
            Flavour::MariaDb => 4,
            Flavour::MySql => 5,
        },
        column_type: ColumnType::LONG,
        flags: column_flags::NOT_NULL | column_flags::UNSIGNED | column_flags::BINARY,
        ..Column::default()
    };
    let columns = vec![text(b"Level", 7), code, text(b"Message", 512)];
    let rows = conditions
        .into_iter()
        .map(|one| {
            let code = one.code.to_string();
            row_of([&one.level, code.as_bytes(), &one.message].into_iter())
        })
        .collect();
    Some(Results { columns, rows })
}

/// One row of numbers.
pub(super) fn values(values: &[(&Item<'_>, String)]) -> Results {
    let columns = values
        .iter()
        .map(|(item, _)| Column {
            name: item.name.to_vec(),
            character_set: 63,
            length: 21,
            column_type: ColumnType::LONGLONG,
            flags: item.flags(),
            ..Column::default()
        })
        .collect();
    let row = row_of(values.iter().map(|(_, value)| value.as_bytes()));
    Results {
        columns,
        rows: vec![row],
    }
}

fn row_of<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    row::encode(values.map(Some), &mut payload);
    payload
}

/// The error for a client that asks for values that are lost.
pub fn refusal(needs: Needs) -> ErrPacket {
    let what: Vec<_> = [
        (Needs::CONDITIONS, "the warnings"),
        (Needs::ROW_COUNT, "ROW_COUNT()"),
        (Needs::FOUND_ROWS, "FOUND_ROWS()"),
    ]
    .into_iter()
    .filter(|(one, _)| needs.contains(*one))
    .map(|(_, name)| name)
    .collect();
    let reason = Reason::DiagnosticsWanted;
    let message = format!(
        "{}: {} of the statement before cannot be had in this form, as another client has used its \
         connection since. From now on it is kept after a statement like that one; or {}",
        reason.name(),
        what.join(" and "),
        reason.advice()
    );
    ErrPacket::new(1105, b"HY000", message)
}
