//! Results that the proxy makes up in a server's place.

use crate::pool::flavour::Flavour;
use crate::wire::{Column, row};

/// The columns and rows of a result in the text protocol. It ends without warnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// The columns.
    pub columns: Vec<Column>,
    /// The payload of each row.
    pub rows: Vec<Vec<u8>>,
}

impl Results {
    /// The same with the definitions of its columns, all of which are ASCII, in this character set.
    pub(super) fn defined_in(mut self, set: Charset) -> Results {
        if !set.is_wide() {
            return self;
        }
        for column in &mut self.columns {
            for text in [
                &mut column.catalog,
                &mut column.schema,
                &mut column.table,
                &mut column.org_table,
                &mut column.name,
                &mut column.org_name,
            ] {
                *text = set.text(text);
            }
        }
        self
    }
}

/// A character set that results can be in.
#[derive(Copy, Clone, Debug)]
pub(super) struct Charset {
    flavour: Flavour,
    /// The number of the collation that servers announce with it.
    pub(super) number: u16,
    /// The most bytes that a character has.
    pub(super) bytes: u32,
}

impl Charset {
    /// Whether ASCII has more than one byte in it.
    pub(super) fn is_wide(self) -> bool {
        matches!(self.number, UCS2 | UTF16 | UTF16LE | UTF32)
    }

    /// A text of ASCII characters in it.
    pub(super) fn text(self, ascii: &[u8]) -> Vec<u8> {
        let wide = |form: fn(u8) -> Vec<u8>| ascii.iter().copied().flat_map(form).collect();
        match self.number {
            UCS2 | UTF16 => wide(|byte| vec![0, byte]),
            UTF16LE => wide(|byte| vec![byte, 0]),
            UTF32 => wide(|byte| vec![0, 0, 0, byte]),
            _ => ascii.to_vec(),
        }
    }

    /// A number as text in it, or as MySQL sends numbers: in ASCII, whatever the character set.
    pub(super) fn number(self, digits: &str) -> Vec<u8> {
        match self.flavour {
            Flavour::MariaDb => self.text(digits.as_bytes()),
            Flavour::MySql => digits.as_bytes().to_vec(),
        }
    }

    /// A number from its text.
    pub(super) fn parse<T: std::str::FromStr>(self, text: &[u8]) -> Option<T> {
        let digits = match self.flavour {
            Flavour::MariaDb => self.ascii(text)?,
            Flavour::MySql => text.to_vec(),
        };
        std::str::from_utf8(&digits).ok()?.parse().ok()
    }

    /// The ASCII characters of a text that is in it; `None` if there are others.
    pub(super) fn ascii(self, text: &[u8]) -> Option<Vec<u8>> {
        let size = match self.number {
            UCS2 | UTF16 | UTF16LE => 2,
            UTF32 => 4,
            _ => 1,
        };
        let characters = text.chunks(size);
        let ascii: Vec<u8> = match self.number {
            UTF16LE => characters.filter_map(|of| of.first().copied()).collect(),
            _ => characters.filter_map(|of| of.last().copied()).collect(),
        };
        (ascii.is_ascii() && self.text(&ascii) == text).then_some(ascii)
    }
}

// The collations of character sets in which ASCII has more than one byte.
const UCS2: u16 = 35;
const UTF16: u16 = 54;
const UTF16LE: u16 = 56;
const UTF32: u16 = 60;

/// The character set of texts in results, by the value of `character_set_results`.
pub(super) fn charset(flavour: Flavour, name: Option<&[u8]>) -> Option<Charset> {
    // The system's own, if nothing is converted.
    let Some(name) = name else {
        return Some(Charset {
            flavour,
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
        flavour,
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
    ("ucs2", UCS2, 2),
    ("ujis", 12, 3),
    ("utf16", UTF16, 4),
    ("utf16le", UTF16LE, 4),
    ("utf32", UTF32, 4),
];

/// What servers announce as the decimals of a text that was made up.
pub(super) fn decimals(flavour: Flavour) -> u8 {
    match flavour {
        Flavour::MariaDb => 39,
        Flavour::MySql => 31,
    }
}

/// A row of texts; `None` is NULL.
pub(super) fn row_of<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> Vec<u8> {
    let mut payload = Vec::new();
    row::encode(values, &mut payload);
    payload
}
