//! The classes of types that MySQL tells apart when it resolves a statement.
//!
//! MySQL (from 8.0.22 on) resolves a statement for the types that are bound to it, and again only if
//! others come that do not fit. So the result of an execute depends on the types of all executes
//! before it.

use crate::wire::{ColumnType, ExecuteHead, ParamType};

/// The class of a parameter's type.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It was always NULL so far, which fits everything.
    Unknown,
    Signed,
    Unsigned,
    Decimal,
    Double,
    Date,
    Time,
    DateTime,
    Text,
    Blob,
    /// It has been of several classes.
    Several,
}

impl Class {
    /// All of them; the place of each is the number by which it is written down.
    const ALL: [Class; 11] = [
        Class::Unknown,
        Class::Signed,
        Class::Unsigned,
        Class::Decimal,
        Class::Double,
        Class::Date,
        Class::Time,
        Class::DateTime,
        Class::Text,
        Class::Blob,
        Class::Several,
    ];

    fn number(self) -> u8 {
        let place = Class::ALL.iter().position(|one| *one == self);
        place
            .and_then(|place| place.try_into().ok())
            .unwrap_or(u8::MAX)
    }

    pub(super) fn of(param_type: ParamType) -> Class {
        match param_type.column_type {
            ColumnType::NULL => Class::Unknown,
            ColumnType::TINY
            | ColumnType::SHORT
            | ColumnType::INT24
            | ColumnType::LONG
            | ColumnType::LONGLONG
            | ColumnType::YEAR => match param_type.unsigned {
                true => Class::Unsigned,
                false => Class::Signed,
            },
            ColumnType::DECIMAL | ColumnType::NEWDECIMAL => Class::Decimal,
            ColumnType::FLOAT | ColumnType::DOUBLE => Class::Double,
            ColumnType::DATE | ColumnType::NEWDATE => Class::Date,
            ColumnType::TIME => Class::Time,
            ColumnType::DATETIME | ColumnType::TIMESTAMP => Class::DateTime,
            ColumnType::TINY_BLOB
            | ColumnType::MEDIUM_BLOB
            | ColumnType::LONG_BLOB
            | ColumnType::BLOB
            | ColumnType::VECTOR => Class::Blob,
            _ => Class::Text,
        }
    }

    /// Both, one after the other.
    fn and(self, later: Class) -> Class {
        match (self, later) {
            (Class::Unknown, other) | (other, Class::Unknown) => other,
            (one, other) if one == other => one,
            _ => Class::Several,
        }
    }
}

/// The classes of all types that were ever bound to each parameter.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Classes(Box<[Class]>);

impl Classes {
    /// These, and those of an execute with these types; `None` if that adds nothing.
    pub(super) fn with(&self, head: &ExecuteHead<'_>, types: &[ParamType]) -> Option<Classes> {
        let bound = |at: usize| match types.get(at) {
            Some(param_type) if !head.is_null(at) => Class::of(*param_type),
            _ => Class::Unknown,
        };
        let known = |at: usize| self.0.get(at).copied().unwrap_or(Class::Unknown);
        if (0..types.len()).all(|at| known(at).and(bound(at)) == known(at)) {
            return None;
        }
        let classes = (0..types.len()).map(|at| known(at).and(bound(at)));
        Some(Classes(classes.collect()))
    }

    /// These as bytes, one for each parameter.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(|class| class.number()).collect()
    }

    /// Those that were written so.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Classes> {
        let class = |number: &u8| Class::ALL.get(usize::from(*number)).copied();
        bytes.iter().map(class).collect::<Option<_>>().map(Classes)
    }

    /// Whether a parameter has been of several classes.
    pub(super) fn are_mixed(&self) -> bool {
        self.0.contains(&Class::Several)
    }

    /// Whether a statement that was resolved for these gives the same results as one that was
    /// resolved for those.
    pub(super) fn fit(&self, other: &Classes) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        !self.are_mixed()
            && !other.are_mixed()
            && pairs
                .into_iter()
                .all(|(one, other)| one.and(*other) != Class::Several)
    }

    /// Both; `None` if the others add nothing.
    pub(super) fn and(&self, other: &Classes) -> Option<Classes> {
        let of =
            |classes: &Classes, at: usize| classes.0.get(at).copied().unwrap_or(Class::Unknown);
        let count = self.0.len().max(other.0.len());
        let both = (0..count).map(|at| of(self, at).and(of(other, at)));
        if both.clone().eq(self.0.iter().copied()) {
            return None;
        }
        Some(Classes(both.collect()))
    }
}
