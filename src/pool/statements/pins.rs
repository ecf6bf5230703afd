//! What MySQL has resolved the parameters of a statement as.
//!
//! MySQL (from 8.0.22 on) resolves each parameter by the statement's text. When a value comes that what was resolved does not
//! take, the server prepares the statement once more, for that value, in the session's modes of that moment. So what an
//! execute gives depends on the types of all executes before it. The rule here was measured on MySQL 9.7.

use std::rc::Rc;

use super::parsing::parses_same;
use super::shared::{Setting, Statement};
use crate::wire::{Column, ColumnType, ExecuteHead, ParamType, column_flags};

/// What a parameter is resolved as.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// A text, or what has no rule of its own.
    Text,
    Signed,
    Unsigned,
    Decimal,
    Double,
    Date,
    Time,
    DateTime,
    /// A text that has come when the statement was prepared again, where the server would not have expected one.
    TextAgain,
}

impl Pin {
    /// All of them; the place of each is the number by which it is written down.
    const ALL: [Pin; 9] = [
        Pin::Text,
        Pin::Signed,
        Pin::Unsigned,
        Pin::Decimal,
        Pin::Double,
        Pin::Date,
        Pin::Time,
        Pin::DateTime,
        Pin::TextAgain,
    ];

    fn number(self) -> u8 {
        let place = Pin::ALL.iter().position(|one| *one == self);
        place
            .and_then(|place| place.try_into().ok())
            .unwrap_or_default()
    }

    /// The one for values of this type.
    pub(super) fn of(param_type: ParamType) -> Pin {
        match param_type.column_type {
            ColumnType::TINY
            | ColumnType::SHORT
            | ColumnType::INT24
            | ColumnType::LONG
            | ColumnType::LONGLONG
            | ColumnType::YEAR => match param_type.unsigned {
                true => Pin::Unsigned,
                false => Pin::Signed,
            },
            ColumnType::DECIMAL | ColumnType::NEWDECIMAL => Pin::Decimal,
            ColumnType::FLOAT | ColumnType::DOUBLE => Pin::Double,
            ColumnType::DATE | ColumnType::NEWDATE => Pin::Date,
            ColumnType::TIME => Pin::Time,
            ColumnType::DATETIME | ColumnType::TIMESTAMP => Pin::DateTime,
            _ => Pin::Text,
        }
    }

    /// What follows from a value of this type.
    pub(super) fn after(self, value: Pin) -> Pin {
        use Pin::{Date, DateTime, Decimal, Double, Signed, Text, TextAgain, Time, Unsigned};
        let is_taken = match value {
            Text | TextAgain => true,
            Signed => !matches!(self, Text | TextAgain | Unsigned),
            Unsigned => !matches!(self, Text | TextAgain | Signed),
            Decimal => !matches!(self, Text | TextAgain | Signed | Unsigned),
            Double => matches!(self, Double | Date | Time | DateTime),
            Date => matches!(self, Date | DateTime),
            Time => matches!(self, Time | DateTime),
            DateTime => matches!(self, Time | DateTime),
        };
        match is_taken {
            true => self,
            false => value,
        }
    }
}

/// What each parameter is resolved as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pins(Box<[Pin]>);

impl Pins {
    /// So many of which nothing is known.
    pub(super) fn unknown(params: u16) -> Pins {
        Pins(vec![Pin::Text; params.into()].into())
    }

    /// As the server tells in its answer to a prepare, by the definitions of the parameters.
    pub(super) fn of_definitions<'a>(definitions: impl Iterator<Item = &'a Column>) -> Pins {
        let of = |column: &Column| ParamType {
            column_type: column.column_type,
            unsigned: column.flags & column_flags::UNSIGNED != 0,
        };
        Pins(definitions.map(|column| Pin::of(of(column))).collect())
    }

    /// That of one parameter.
    pub(super) fn get(&self, at: usize) -> Option<Pin> {
        self.0.get(at).copied()
    }

    /// How many parameters there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What follows from an execute with values of these types; `None` if they stay. Once one is not taken, all are what they
    /// are resolved as when the statement is prepared for these values. `initial`: without any.
    pub(super) fn after(&self, values: Values<'_>, initial: &Pins) -> Option<Pins> {
        let pins = self.0.iter().enumerate();
        let is_taken = |(at, pin): (usize, &Pin)| match values.of(at) {
            Some(value) => pin.after(value) == *pin,
            None => true,
        };
        if pins.clone().all(is_taken) {
            return None;
        }
        let again = |(at, initial): (usize, &Pin)| match (values.of(at), initial) {
            (None, _) | (Some(Pin::Text), Pin::Text) => *initial,
            (Some(Pin::Text), _) => Pin::TextAgain,
            (Some(value), _) => value,
        };
        Some(Pins(initial.0.iter().enumerate().map(again).collect()))
    }

    /// Whether these give what those would for these values. (What a NULL is resolved as makes no difference, but for the type
    /// of a column that is nothing else.)
    pub(super) fn serve(&self, others: &Pins, values: Values<'_>) -> bool {
        let pairs = self.0.iter().zip(&others.0).enumerate();
        self.0.len() == others.0.len()
            && pairs
                .into_iter()
                .all(|(at, (one, other))| one == other || values.is_null(at))
    }

    /// As bytes, one for each parameter.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(|pin| pin.number()).collect()
    }

    /// Those that were written so.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Pins> {
        let pin = |number: &u8| Pin::ALL.get(usize::from(*number)).copied();
        bytes.iter().map(pin).collect::<Option<_>>().map(Pins)
    }
}

/// The values of an execute, as far as their types go.
#[derive(Copy, Clone, Debug)]
pub(super) struct Values<'a> {
    /// Which of them are NULL. Without an execute, all are.
    pub head: Option<&'a ExecuteHead<'a>>,
    pub types: &'a [ParamType],
}

impl Values<'_> {
    /// No values.
    pub(super) const NONE: Values<'static> = Values {
        head: None,
        types: &[],
    };

    pub(super) fn is_none(self) -> bool {
        self.types.is_empty()
    }

    fn is_null(self, at: usize) -> bool {
        let is_typed = |one: &ParamType| one.column_type == ColumnType::NULL;
        self.head.is_some_and(|head| head.is_null(at)) || self.types.get(at).is_some_and(is_typed)
    }

    fn of(self, at: usize) -> Option<Pin> {
        let param_type = self.types.get(at).filter(|_| !self.is_null(at))?;
        Some(Pin::of(*param_type))
    }
}

/// What has become of a statement: of a client's on its own server, or of a server's.
#[derive(Clone, Debug)]
pub(super) struct Version {
    /// Where its text was parsed last.
    pub setting: Rc<Setting>,
    /// What its parameters are resolved as; `None`: as they were when it was prepared, or it does not matter.
    pub pins: Option<Rc<Pins>>,
}

impl Version {
    /// One that was prepared in this setting, and not executed yet.
    pub(super) fn new(setting: &Rc<Setting>) -> Version {
        Version {
            setting: setting.clone(),
            pins: None,
        }
    }

    /// What follows from an execute with these values in the present setting.
    pub(super) fn after(
        &self,
        of: &Statement,
        values: Values<'_>,
        present: &Rc<Setting>,
    ) -> Version {
        if values.is_none() {
            return self.clone();
        }
        let initial = of.initial();
        let pins = self.pins.as_ref().unwrap_or(&initial);
        match pins.after(values, &initial) {
            None => self.clone(),
            Some(pins) => Version {
                setting: of.prepared_again_in(present),
                pins: Some(of.share_pins(pins)),
            },
        }
    }

    /// Whether it has given, with these values, what the other would have given.
    pub(super) fn gives_like(&self, other: &Version, of: &Statement, values: Values<'_>) -> bool {
        let are_alike = match (&self.pins, &other.pins) {
            (None, None) => true,
            (Some(its), Some(others)) => its.serve(others, values),
            (Some(its), None) => its.serve(&of.initial(), values),
            (None, Some(others)) => of.initial().serve(others, values),
        };
        let is_same = Rc::ptr_eq(&self.setting, &other.setting);
        are_alike && (is_same || parses_same(of.text(), &self.setting, &other.setting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured: what is resolved, in rows, after a value, in columns; `-` if it stays.
    const MEASURED: [(Pin, &str); 9] = [
        (Pin::Text, "- S U N D d t T"),
        (Pin::Signed, "- - U N D d t T"),
        (Pin::Unsigned, "- S - N D d t T"),
        (Pin::Decimal, "- - - - D d t T"),
        (Pin::Double, "- - - - - d t T"),
        (Pin::Date, "- - - - - - t T"),
        (Pin::Time, "- - - - - d - -"),
        (Pin::DateTime, "- - - - - - - -"),
        (Pin::TextAgain, "- S U N D d t T"),
    ];

    /// Measured with `SELECT ?, ? + 1`, whose parameters are a text and an integer.
    #[test]
    fn all_parameters_are_resolved_again_together() {
        use Pin::{Double, Signed, Text, TextAgain};
        let after = |before: [Pin; 2], types: [ColumnType; 2]| {
            let types = types.map(ParamType::new);
            let values = Values {
                head: None,
                types: &types,
            };
            let pins = Pins(before.into()).after(values, &Pins([Text, Signed].into()));
            pins.map(|pins| [pins.0[0], pins.0[1]])
        };
        use ColumnType as Type;
        let texts = [Type::VAR_STRING; 2];
        assert_eq!(after([Text, Signed], texts), None);
        let one = after([Text, Signed], [Type::LONGLONG, Type::VAR_STRING]);
        assert_eq!(one, Some([Signed, TextAgain]));
        // An integer that would have been taken as a DOUBLE.
        let other = after([Double, Signed], [Type::LONGLONG, Type::DOUBLE]);
        assert_eq!(other, Some([Signed, Double]));
        let null = after([Signed, Double], [Type::DOUBLE, Type::NULL]);
        assert_eq!(null, Some([Double, Signed]));
        assert_eq!(
            after([Double, Signed], [Type::LONGLONG, Type::LONGLONG]),
            None
        );
    }

    #[test]
    fn what_values_make_of_a_parameter() {
        for (before, row) in MEASURED {
            // Nothing comes as the last of them.
            for (value, told) in Pin::ALL.into_iter().zip(row.split(' ')) {
                let letter = ["-", "S", "U", "N", "D", "d", "t", "T"];
                let wanted = match letter.iter().position(|one| *one == told) {
                    Some(0) | None => before,
                    Some(place) => Pin::ALL[place],
                };
                assert_eq!(before.after(value), wanted, "{before:?} after {value:?}");
            }
        }
    }
}
