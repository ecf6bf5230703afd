//! Data as bytes that say what they are: fields, each with a tag and a length, so that who does not know
//! a field skips it. A field may be a record of fields again.

use std::fmt;

/// How long a whole record may be.
pub const MAX_RECORD: usize = 128 << 20;

/// Writes a record.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// A field of bytes.
    pub fn bytes(&mut self, tag: u8, value: &[u8]) {
        self.out.push(tag);
        // What is longer than a length can say is too long for a record, too.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(value);
    }

    /// A field of bytes, which is left out if there is no value.
    pub fn optional(&mut self, tag: u8, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.bytes(tag, value);
        }
    }

    /// A number.
    pub fn number(&mut self, tag: u8, value: u64) {
        self.bytes(tag, &value.to_le_bytes());
    }

    /// A field without a value, which is there if something is so.
    pub fn flag(&mut self, tag: u8, is_so: bool) {
        if is_so {
            self.bytes(tag, b"");
        }
    }

    /// A record within this one.
    pub fn record(&mut self, tag: u8, fill: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.bytes(tag, &inner.out);
    }

    /// All of it; `None` if it is too long.
    pub fn finish(self) -> Option<Vec<u8>> {
        (self.out.len() <= MAX_RECORD).then_some(self.out)
    }
}

/// Why a record cannot be read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// These bytes are something else.
    Other,
    /// It was written by a program that is newer than this one.
    Newer {
        /// The version of what was written.
        version: u8,
        /// The newest that is known here.
        known: u8,
    },
    /// It ends too early, or a value is not what it can be.
    Malformed,
    /// It is longer, or has more of something, than can be.
    TooLong,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Other => f.write_str("these bytes are no session"),
            Unreadable::Newer { version, known } => write!(
                f,
                "this session was written by a newer program, as version {version}: version {known} is the \
                 newest that is understood here"
            ),
            Unreadable::Malformed => f.write_str("this session is damaged"),
            Unreadable::TooLong => f.write_str("this session is too long"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// A field of a record.
#[derive(Copy, Clone, Debug)]
pub struct Field<'a> {
    /// Which one.
    pub tag: u8,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The value, if it is a number.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self) -> Result<u64, Unreadable> {
        let bytes = self.value.try_into().map_err(|_| Unreadable::Malformed)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The value, if it is a number of this size.
    ///
    /// # Errors
    /// It is none, or too big.
    pub fn small<T: TryFrom<u64>>(&self) -> Result<T, Unreadable> {
        T::try_from(self.number()?).map_err(|_| Unreadable::Malformed)
    }

    /// The value, if it is text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.value).map_err(|_| Unreadable::Malformed)
    }

    /// The value as bytes of one's own.
    pub fn bytes(&self) -> Vec<u8> {
        self.value.to_vec()
    }

    /// The fields of the record that the value is.
    pub fn fields(&self) -> Fields<'a> {
        Fields(self.value)
    }
}

/// The fields of a record, in their order. After an error there are no more.
#[derive(Copy, Clone, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Those of a record.
    pub fn of(record: &'a [u8]) -> Fields<'a> {
        Fields(record)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, rest) = self.0.split_first()?;
        let field = rest.split_first_chunk().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        });
        match field {
            Some((value, rest)) => {
                self.0 = rest;
                Some(Ok(Field { tag: *tag, value }))
            }
            None => {
                self.0 = &[];
                Some(Err(Unreadable::Malformed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.number(1, 7);
        writer.optional(2, None);
        writer.record(3, |inner| inner.bytes(1, b"text"));
        writer.flag(4, true);
        writer.flag(5, false);
        let bytes = writer.finish().unwrap();
        let fields: Vec<_> = Fields::of(&bytes).map(Result::unwrap).collect();
        assert_eq!(
            fields.iter().map(|field| field.tag).collect::<Vec<_>>(),
            [1, 3, 4]
        );
        assert_eq!(fields[0].number(), Ok(7));
        assert_eq!(fields[0].small::<u8>(), Ok(7));
        let inner = fields[1].fields().next().unwrap().unwrap();
        assert_eq!(inner.text(), Ok("text"));
    }

    #[test]
    fn what_ends_too_early_is_damaged() {
        let mut writer = Writer::default();
        writer.bytes(1, b"text");
        let bytes = writer.finish().unwrap();
        for length in 1..bytes.len() {
            let fields: Vec<_> = Fields::of(&bytes[..length]).collect();
            assert!(matches!(fields[..], [Err(Unreadable::Malformed)]));
        }
    }
}
