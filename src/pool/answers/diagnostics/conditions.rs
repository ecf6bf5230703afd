//! Warnings and errors, as SHOW WARNINGS lists them.

use crate::pool::answers::made_up::Charset;

/// The most bytes of a list that is carried.
const MAX_BYTES: usize = 64 << 10;

/// A warning, a note or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `Note`, `Warning` or `Error`.
    pub level: Vec<u8>,
    /// Its number.
    pub code: u16,
    /// Its text.
    pub message: Vec<u8>,
}

impl Condition {
    /// An error.
    pub fn error(code: u16, message: &[u8]) -> Condition {
        Condition {
            level: b"Error".to_vec(),
            code,
            message: message.to_vec(),
        }
    }

    /// What MySQL says of each call of `FOUND_ROWS()`.
    pub(super) fn found_rows_is_deprecated() -> Condition {
        Condition {
            level: b"Warning".to_vec(),
            code: 1287,
            message:
                b"FOUND_ROWS() is deprecated and will be removed in a future release. Consider \
                using COUNT(*) instead."
                    .to_vec(),
        }
    }

    fn is_error(&self) -> bool {
        self.level == b"Error"
    }

    fn size(&self) -> usize {
        size_of::<Condition>() + self.level.len() + self.message.len()
    }
}

/// A list of them and how many there were, which can be more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    pub(super) list: Option<Box<List>>,
    /// `@@warning_count`, if it is known.
    pub warnings: Option<u64>,
    /// `@@error_count`, if it is known.
    pub errors: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) all: Vec<Condition>,
    bytes: usize,
    /// The character set of the texts; `None` for NULL, in which they are as they were made.
    pub(super) charset: Option<Vec<u8>>,
}

impl Conditions {
    /// None at all.
    pub fn none() -> Conditions {
        Conditions {
            list: None,
            warnings: Some(0),
            errors: Some(0),
        }
    }

    /// Whether there are certainly none.
    pub fn is_empty(&self) -> bool {
        self.list.is_none() && self.warnings == Some(0)
    }

    /// From the rows of SHOW WARNINGS: level, number, text. `limit` is how many a server lists.
    /// `None` if these are no such rows, or too many, or texts with other than ASCII characters in a character set whose ASCII
    /// is wide.
    pub(super) fn read<'a>(
        rows: impl Iterator<Item = Vec<Option<&'a [u8]>>>,
        (set, charset): (Charset, Option<&[u8]>),
        limit: u64,
    ) -> Option<Conditions> {
        let mut list = List::new(charset.map(<[u8]>::to_vec));
        for row in rows {
            let [Some(level), Some(code), Some(message)] = row[..] else {
                return None;
            };
            let code = set.parse(code)?;
            let level = set.ascii(level)?;
            let message = match set.is_wide() {
                true => set.ascii(message)?,
                false => message.to_vec(),
            };
            let condition = Condition {
                level,
                code,
                message,
            };
            if !list.push(condition) {
                return None;
            }
        }
        let listed = list.all.len() as u64;
        let errors = list.all.iter().filter(|one| one.is_error()).count() as u64;
        // A list that is full may lack some.
        let is_whole = listed < limit;
        Some(Conditions {
            list: (listed > 0).then(|| Box::new(list)),
            warnings: is_whole.then_some(listed),
            errors: is_whole.then_some(errors),
        })
    }

    /// Adds one; false if there are too many.
    pub(super) fn push(&mut self, condition: Condition) -> bool {
        let add = |count: &mut Option<u64>| *count = count.map(|count| count + 1);
        add(&mut self.warnings);
        if condition.is_error() {
            add(&mut self.errors);
        }
        let list = &mut self.list;
        list.get_or_insert_with(|| Box::new(List::new(None)))
            .push(condition)
    }

    /// The conditions that are asked for, for a client whose results are in this character set.
    /// `None` if the texts are in another one.
    pub(super) fn list(
        &self,
        errors_only: bool,
        offset: u64,
        limit: u64,
        charset: Option<&[u8]>,
    ) -> Option<Vec<&Condition>> {
        let Some(list) = &self.list else {
            return Some(Vec::new());
        };
        let is_ascii = || list.all.iter().all(|one| one.message.is_ascii());
        if list.charset.as_deref() != charset && !is_ascii() {
            return None;
        }
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let chosen = list.all.iter().filter(|one| !errors_only || one.is_error());
        Some(chosen.skip(number(offset)).take(number(limit)).collect())
    }
}

impl List {
    /// Without any, in this character set.
    pub(super) fn new(charset: Option<Vec<u8>>) -> List {
        List {
            all: Vec::new(),
            bytes: 0,
            charset,
        }
    }

    /// Adds one; false if there are too many.
    pub(super) fn push(&mut self, condition: Condition) -> bool {
        self.bytes += condition.size();
        self.all.push(condition);
        self.bytes <= MAX_BYTES
    }
}
