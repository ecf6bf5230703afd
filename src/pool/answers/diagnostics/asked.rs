//! Which statements ask for the diagnostics of the statement before, and in which form.

use bitflags::bitflags;

use crate::pool::answers::reader::{Reader, selected};
use crate::sql::{Kind, Mode};
use crate::wire::column_flags;

bitflags! {
    /// Values of the statement before that a statement asks for.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Needs: u8 {
        /// Warnings and errors, or how many there are.
        const CONDITIONS = 1;
        /// `ROW_COUNT()`.
        const ROW_COUNT = 2;
        /// `FOUND_ROWS()`.
        const FOUND_ROWS = 4;
    }
}

/// A statement that asks for diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// SHOW WARNINGS and SHOW ERRORS.
    Conditions {
        /// SHOW ERRORS.
        errors_only: bool,
        /// How many are left out.
        offset: u64,
        /// How many are wanted at most.
        limit: u64,
    },
    /// A SELECT of nothing else, or SHOW COUNT(*).
    Values(Vec<Item<'a>>),
    /// In any other form.
    Other(Needs),
}

/// A value of a SELECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    pub(super) what: What,
    /// The column's name.
    pub(super) name: &'a [u8],
    /// Whether it is that of SHOW COUNT(*), which keeps the conditions on every server.
    is_count: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Warnings,
    Errors,
    RowCount,
    FoundRows,
}

impl What {
    fn needs(self) -> Needs {
        match self {
            What::Warnings | What::Errors => Needs::CONDITIONS,
            What::RowCount => Needs::ROW_COUNT,
            What::FoundRows => Needs::FOUND_ROWS,
        }
    }

    fn of_variable(name: &[u8]) -> Option<What> {
        let name = name.strip_prefix(b"`").unwrap_or(name);
        let name = name.strip_suffix(b"`").unwrap_or(name);
        match name {
            _ if name.eq_ignore_ascii_case(b"warning_count") => Some(What::Warnings),
            _ if name.eq_ignore_ascii_case(b"error_count") => Some(What::Errors),
            _ => None,
        }
    }

    fn of_function(name: &[u8]) -> Option<What> {
        match name {
            _ if name.eq_ignore_ascii_case(b"row_count") => Some(What::RowCount),
            _ if name.eq_ignore_ascii_case(b"found_rows") => Some(What::FoundRows),
            _ => None,
        }
    }
}

impl Item<'_> {
    /// The flags of its column.
    pub(super) fn flags(&self) -> u16 {
        match self.what {
            What::Warnings | What::Errors => column_flags::UNSIGNED | column_flags::BINARY,
            What::RowCount | What::FoundRows => column_flags::NOT_NULL | column_flags::BINARY,
        }
    }
}

impl Asked<'_> {
    /// The values that it asks for.
    pub fn needs(&self) -> Needs {
        match self {
            Asked::Conditions { .. } => Needs::CONDITIONS,
            Asked::Values(items) => items
                .iter()
                .map(|item| item.what.needs())
                .fold(Needs::empty(), |all, one| all | one),
            Asked::Other(needs) => *needs,
        }
    }

    /// Whether the conditions are still there after it, on MySQL.
    pub(super) fn keeps_conditions(&self) -> bool {
        match self {
            Asked::Conditions { .. } => true,
            Asked::Values(items) => items.iter().any(|item| item.is_count),
            Asked::Other(_) => false,
        }
    }
}

/// What a text asks for; `None` for nothing. Strings and comments do not count, nor does what a
/// definition says.
pub fn asked(sql: &[u8], mode: Mode) -> Option<Asked<'_>> {
    if !may_ask(sql) {
        return None;
    }
    let mut reader = Reader::new(sql, mode);
    let needs = needs(&mut reader);
    if needs.is_empty() {
        return None;
    }
    Some(plain(Reader::new(sql, mode)).unwrap_or(Asked::Other(needs)))
}

/// A quick look, which spares most texts the reading: whether any of the words is in it at all.
fn may_ask(sql: &[u8]) -> bool {
    let begins_with = |at: usize, word: &[u8]| {
        sql.get(at..at + word.len())
            .is_some_and(|part| part.eq_ignore_ascii_case(word))
    };
    let names_value = memchr::memchr_iter(b'_', sql)
        .any(|at| begins_with(at, b"_count") || begins_with(at, b"_rows"));
    names_value
        || [&b"warnings"[..], b"errors", b"diagnostics", b"resignal"]
            .iter()
            .any(|word| {
                let first = word.first().copied().unwrap_or_default();
                memchr::memchr2_iter(first, first.to_ascii_uppercase(), sql)
                    .any(|at| begins_with(at, word))
            })
}

/// All that a text asks for.
fn needs(reader: &mut Reader<'_>) -> Needs {
    let mut all = Needs::empty();
    // What the statements before have replaced, if the text has several.
    let mut replaced = Needs::empty();
    let mut replaces = Needs::empty();
    let mut begins = true;
    let mut after_dot = false;
    let mut in_variable = false;
    while reader.now.is_some() {
        if begins {
            if is_definition(reader) {
                return all;
            }
            replaced |= replaces;
            all |= of_statement(reader) - replaced;
            replaces = replaced_by(reader);
        }
        begins = reader.is_operator(b";");
        if reader.is("SQL_CALC_FOUND_ROWS") {
            replaces |= Needs::FOUND_ROWS;
        }
        let found = match reader.kind() {
            Some(Kind::Variable) => {
                let name = reader.text().strip_prefix(b"@@").unwrap_or_default();
                What::of_variable(name.rsplit(|byte| *byte == b'.').next().unwrap_or(name))
            }
            Some(Kind::Word | Kind::Quoted) if after_dot && in_variable => {
                What::of_variable(reader.text())
            }
            Some(Kind::Word) if !after_dot && reader.next_text() == b"(" => {
                What::of_function(reader.text())
            }
            _ => None,
        };
        if let Some(what) = found {
            all |= what.needs() - replaced;
        }
        let is_dot = reader.is_operator(b".");
        in_variable = reader.kind() == Some(Kind::Variable) || is_dot && in_variable;
        after_dot = is_dot;
        reader.step();
    }
    all
}

/// CREATE of a routine and the like, whose body is not executed.
fn is_definition(reader: &Reader<'_>) -> bool {
    let creates_table = ["TABLE", "TEMPORARY"]
        .iter()
        .any(|word| reader.next_text().eq_ignore_ascii_case(word.as_bytes()));
    reader.is("CREATE") && !creates_table || reader.is("ALTER")
}

/// What a statement asks for by its first words.
fn of_statement(reader: &Reader<'_>) -> Needs {
    let next_is = |word: &str| reader.next_text().eq_ignore_ascii_case(word.as_bytes());
    if reader.is("SHOW") && (next_is("WARNINGS") || next_is("ERRORS") || next_is("COUNT")) {
        return Needs::CONDITIONS;
    }
    if reader.is("RESIGNAL") {
        return Needs::CONDITIONS;
    }
    let is_about = next_is("DIAGNOSTICS") || next_is("CURRENT") || next_is("STACKED");
    if reader.is("GET") && is_about {
        return Needs::CONDITIONS | Needs::ROW_COUNT;
    }
    Needs::empty()
}

/// What is surely another value after a statement that begins like this.
fn replaced_by(reader: &Reader<'_>) -> Needs {
    if reader.is("GET") {
        return Needs::empty();
    }
    let changes = ["INSERT", "UPDATE", "DELETE", "REPLACE"];
    if changes.iter().any(|word| reader.is(word)) {
        return Needs::ROW_COUNT | Needs::CONDITIONS;
    }
    Needs::ROW_COUNT
}

/// The forms that the proxy answers.
fn plain(mut reader: Reader<'_>) -> Option<Asked<'_>> {
    if reader.takes("SELECT") {
        return select(reader);
    }
    if !reader.takes("SHOW") {
        return None;
    }
    if reader.takes("COUNT") {
        return count(reader);
    }
    let errors_only = reader.is("ERRORS");
    if !errors_only && !reader.is("WARNINGS") {
        return None;
    }
    reader.step();
    let (offset, limit) = match reader.takes("LIMIT") {
        true => limits(&mut reader)?,
        false => (0, u64::MAX),
    };
    reader.is_over().then_some(Asked::Conditions {
        errors_only,
        offset,
        limit,
    })
}

fn limits(reader: &mut Reader<'_>) -> Option<(u64, u64)> {
    let first = number(reader)?;
    if reader.takes_operator(b",") {
        return Some((first, number(reader)?));
    }
    if reader.takes("OFFSET") {
        return Some((number(reader)?, first));
    }
    Some((0, first))
}

fn number(reader: &mut Reader<'_>) -> Option<u64> {
    let text = std::str::from_utf8(reader.text()).ok()?;
    let number = (reader.kind() == Some(Kind::Number)).then(|| text.parse().ok())??;
    reader.step();
    Some(number)
}

/// `COUNT(*) WARNINGS`. Servers take no space before the parenthesis.
fn count(mut reader: Reader<'_>) -> Option<Asked<'_>> {
    for sign in [b"(", b"*", b")"] {
        reader.takes_operator(sign).then_some(())?;
    }
    let item = match reader.is("ERRORS") {
        true => (What::Errors, &b"@@session.error_count"[..]),
        false if reader.is("WARNINGS") => (What::Warnings, &b"@@session.warning_count"[..]),
        false => return None,
    };
    reader.step();
    let (what, name) = item;
    let item = Item {
        what,
        name,
        is_count: true,
    };
    reader.is_over().then(|| Asked::Values(vec![item]))
}

/// The values of a SELECT that asks for nothing else.
fn select(mut reader: Reader<'_>) -> Option<Asked<'_>> {
    let items = selected(&mut reader, value)?;
    let items = items.into_iter().map(|(what, name)| Item {
        what,
        name,
        is_count: false,
    });
    Some(Asked::Values(items.collect()))
}

/// A value, and where its text ends.
fn value(reader: &mut Reader<'_>) -> Option<(What, usize)> {
    if reader.kind() == Some(Kind::Variable) {
        let name = reader.text().strip_prefix(b"@@")?.to_ascii_lowercase();
        let scoped = [&b"session."[..], b"local."]
            .iter()
            .find_map(|scope| name.strip_prefix(*scope));
        let what = What::of_variable(scoped.unwrap_or(&name))?;
        let to = reader.now?.to;
        reader.step();
        return Some((what, to));
    }
    let what = What::of_function(reader.text())?;
    (reader.kind() == Some(Kind::Word)).then(|| reader.step())?;
    reader.takes_operator(b"(").then_some(())?;
    let to = reader.now?.to;
    reader.takes_operator(b")").then_some((what, to))
}
