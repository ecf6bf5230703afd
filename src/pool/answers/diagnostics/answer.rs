//! Answers to questions about diagnostics that the proxy gives in a server's place.

use super::asked::{Item, Needs};
use super::conditions::Condition;
use crate::pool::answers::made_up::{self, Results, row_of};
use crate::pool::flavour::Flavour;
use crate::pool::judging::reason::Reason;
use crate::wire::{Column, ColumnType, ErrPacket, column_flags};

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

/// Level, number and text of conditions. `None` if the texts' character set is not known.
pub(super) fn conditions(
    flavour: Flavour,
    charset: Option<&[u8]>,
    conditions: Vec<&Condition>,
) -> Option<Results> {
    let set = made_up::charset(flavour, charset)?;
    let text = |name: &[u8], characters: u32| Column {
        name: name.to_vec(),
        character_set: set.number,
        length: characters * set.bytes,
        column_type: ColumnType::VAR_STRING,
        flags: column_flags::NOT_NULL,
        decimals: made_up::decimals(flavour),
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
            let code = set.number(&one.code.to_string());
            let level = set.text(&one.level);
            // Texts in a character set whose ASCII is wide were read as ASCII.
            let message = match set.is_wide() {
                true => &set.text(&one.message),
                false => &one.message,
            };
            let values = [&level, &code, message];
            row_of(values.into_iter().map(|value| Some(&value[..])))
        })
        .collect();
    Some(Results { columns, rows }.defined_in(set))
}

/// One row of numbers. `None` if the character set of the columns' names is not known.
pub(super) fn values(
    flavour: Flavour,
    charset: Option<&[u8]>,
    values: &[(&Item<'_>, String)],
) -> Option<Results> {
    let set = made_up::charset(flavour, charset)?;
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
    let numbers: Vec<_> = values.iter().map(|(_, value)| set.number(value)).collect();
    let row = row_of(numbers.iter().map(|number| Some(&number[..])));
    let rows = vec![row];
    Some(Results { columns, rows }.defined_in(set))
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
