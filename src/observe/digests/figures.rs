//! The tables that show digests.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::rc::Rc;

use super::table::{Key, Table};
use crate::metrics::{self, Column, Kind, Merge, Page, Row, Source, Unit, Value};

/// The columns of numbers, which a digest and all statements together have.
pub(super) fn numbers() -> Vec<Column> {
    let time = |name, help| {
        Column::note(name, help)
            .of(metrics::Type::Integer)
            .unit(Unit::Microseconds)
    };
    vec![
        Column::counter("calls", "How many there were."),
        Column::counter("errors", "How many failed."),
        Column::counter("rows_sent", "Rows in results."),
        Column::counter("rows_affected", "Rows that were changed."),
        Column::counter("bytes", "Bytes of the answers.")
            .unit(Unit::Bytes)
            .metric("answer"),
        Column::counter(
            "total_us",
            "The sum of their times, from the command to the end of its answer.",
        )
        .unit(Unit::Microseconds)
        .metric("busy"),
        time("min_us", "The shortest time.").merged(Merge::Smallest),
        time("mean_us", "The mean time."),
        time("max_us", "The longest time.").merged(Merge::Largest),
        // No less than those of all workers together.
        time("p50_us", "Half of them took no longer.").merged(Merge::Largest),
        time("p95_us", "95 of 100 took no longer.").merged(Merge::Largest),
        time("p99_us", "99 of 100 took no longer.").merged(Merge::Largest),
        Column::histogram("time", "The distribution of their times.").unit(Unit::Microseconds),
    ]
}

/// What the digest is of.
fn labels() -> [Column; Key::PARTS] {
    [
        Column::label("digest", "The statement without its values."),
        Column::label("user", "Who has sent it, if that is told apart."),
        Column::label("schema", "Where it was executed, if that is told apart."),
        Column::label("server", "Who has answered it, if that is told apart."),
    ]
}

/// The digests, one by one.
pub(super) struct EachDigest(pub Rc<RefCell<Table>>, metrics::Table);

impl EachDigest {
    pub fn new(digests: Rc<RefCell<Table>>) -> EachDigest {
        let columns = labels().into_iter().chain(numbers()).collect();
        let table = metrics::Table::new("digests", "statements by their digests", columns);
        EachDigest(digests, table.for_people().ordered_by("total_us"))
    }
}

fn row(bytes: &[u8], counted: &super::table::Counted) -> Row {
    let parts = Key::parts(bytes, &counted.ends).into_iter().enumerate();
    let parts = parts.map(|(place, part)| match (place, part) {
        (1.., []) => Value::Null,
        _ => part.into(),
    });
    parts.chain(counted.entry.row()).collect()
}

impl Source for EachDigest {
    fn table(&self) -> &metrics::Table {
        &self.1
    }

    fn page(&self, from: usize) -> Page {
        let table = self.0.borrow();
        let entries = table.entries.iter().skip(from).take(Page::ROWS);
        let rows: Vec<Row> = entries
            .map(|(bytes, counted)| row(bytes, counted))
            .collect();
        let next = from + rows.len();
        Page {
            next: (next < table.entries.len()).then_some(next),
            rows,
        }
    }
}

/// The rows of the first `count` digests by a column, from the largest; none if there is no such column.
pub(super) fn top(table: &Table, count: usize, column: &str) -> Option<Vec<Row>> {
    let all = table.entries.iter();
    let mut all: Vec<_> = all
        .map(|entry| Some((entry.1.entry.number(column)?, entry)))
        .collect::<Option<_>>()?;
    if all.is_empty() && table.all.number(column).is_none() {
        return None;
    }
    all.sort_by_key(|(number, _)| Reverse(*number));
    let first = all.into_iter().take(count);
    Some(
        first
            .map(|(_, (bytes, counted))| row(bytes, counted))
            .collect(),
    )
}

/// All statements together.
pub(super) struct AllQueries(pub Rc<RefCell<Table>>, metrics::Table);

impl AllQueries {
    pub fn new(digests: Rc<RefCell<Table>>) -> AllQueries {
        let more = [
            Column::gauge("digests", "How many digests there are."),
            Column::counter(
                "evicted",
                "Digests that have gone since there were too many.",
            ),
        ];
        let columns = numbers().into_iter().chain(more).collect();
        let help = "all statements together, while digests are counted";
        AllQueries(
            digests,
            metrics::Table::new("queries", help, columns).as_list(),
        )
    }
}

impl Source for AllQueries {
    fn table(&self) -> &metrics::Table {
        &self.1
    }

    fn page(&self, _: usize) -> Page {
        let table = self.0.borrow();
        let mut row = table.all.row();
        row.push((table.entries.len() as u64).into());
        row.push(table.evicted.into());
        Page::last(vec![row])
    }
}

/// The names of the columns by which digests can be sorted.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let columns = numbers().into_iter();
    columns
        .filter(|column| column.kind != Kind::Histogram)
        .map(|column| column.name)
}
