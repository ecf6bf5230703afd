//! Values of tables, and how rows of several sources become one.

use std::collections::HashMap;

use super::declaration::{Kind, Merge, Table};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// There is none.
    Null,
    /// A number without a fraction.
    Integer(u64),
    /// A number.
    Real(f64),
    /// A text, which need not be UTF-8.
    Text(Box<[u8]>),
    /// How many values were at most so large, for each of these limits, from the smallest; and their sum. The last limit is
    /// infinite.
    Histogram(Vec<(f64, u64)>, f64),
}

/// The values of a row, one for each column.
pub type Row = Vec<Value>;

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Real(number)
    }
}

impl From<&[u8]> for Value {
    fn from(text: &[u8]) -> Value {
        Value::Text(text.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        text.as_bytes().into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text.into_bytes().into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// Adds up rows of several sources of the same table: those with the same labels become one.
pub fn add(table: &Table, rows: &mut Vec<Row>, more: Vec<Row>) {
    let mut places: HashMap<Vec<u8>, usize> = rows
        .iter()
        .enumerate()
        .map(|(place, row)| (key(table, row), place))
        .collect();
    for row in more {
        let place = *places.entry(key(table, &row)).or_insert(rows.len());
        match rows.get_mut(place) {
            Some(into) => add_row(table, into, row),
            None => rows.push(row),
        }
    }
}

/// What the row is about.
fn key(table: &Table, row: &Row) -> Vec<u8> {
    let columns = table.columns.iter().zip(row);
    let labels = columns.filter(|(column, _)| column.kind == Kind::Label);
    let mut key = Vec::new();
    for (_, value) in labels {
        match value {
            Value::Text(text) => {
                key.extend_from_slice(&text.len().to_le_bytes());
                key.extend_from_slice(text);
            }
            other => key.extend_from_slice(format!("{other:?}").as_bytes()),
        }
    }
    key
}

fn add_row(table: &Table, into: &mut Row, row: Row) {
    for ((column, into), value) in table.columns.iter().zip(into).zip(row) {
        if matches!(column.kind, Kind::Counter | Kind::Gauge | Kind::Histogram) {
            add_value(column.merge, into, value);
        }
    }
}

fn add_value(merge: Merge, into: &mut Value, value: Value) {
    match (&mut *into, value) {
        (_, Value::Null) => {}
        (Value::Integer(into), Value::Integer(value)) => {
            *into = match merge {
                Merge::Sum => into.saturating_add(value),
                Merge::Largest => value.max(*into),
                Merge::Smallest => value.min(*into),
            }
        }
        (Value::Real(into), Value::Real(value)) => {
            *into = match merge {
                Merge::Sum => *into + value,
                Merge::Largest => into.max(value),
                Merge::Smallest => into.min(value),
            }
        }
        (Value::Histogram(into, sum), Value::Histogram(counts, more)) => {
            for ((_, into), (_, count)) in into.iter_mut().zip(counts) {
                *into += count;
            }
            *sum += more;
        }
        (into, value) => *into = value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Column;

    #[test]
    fn rows_with_the_same_labels_become_one() {
        let table = Table::new(
            "users",
            "",
            vec![
                Column::label("user", ""),
                Column::counter("commands", ""),
                Column::gauge("longest", "").merged(Merge::Largest),
                Column::histogram("times", ""),
                Column::note("problem", ""),
            ],
        );
        let row = |user: &str, commands: u64, longest: Value| -> Row {
            let times = Value::Histogram(vec![(0.1, commands), (f64::INFINITY, commands)], 0.5);
            vec![user.into(), commands.into(), longest, times, "none".into()]
        };
        let mut rows = vec![row("ann", 1, Value::Null), row("bob", 2, 9u64.into())];
        add(
            &table,
            &mut rows,
            vec![row("bob", 3, 4u64.into()), row("cid", 4, Value::Null)],
        );
        add(&table, &mut rows, vec![row("ann", 10, 7u64.into())]);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0][..3], row("ann", 11, 7u64.into())[..3]);
        assert_eq!(rows[1][..3], row("bob", 5, 9u64.into())[..3]);
        let times = Value::Histogram(vec![(0.1, 5), (f64::INFINITY, 5)], 1.0);
        assert_eq!(rows[1][3], times);
        assert_eq!(rows[2], row("cid", 4, Value::Null));
    }
}
