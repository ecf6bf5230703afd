//! Tables and columns.

/// A table of figures.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name, in lower case, with `_` between words.
    pub name: &'static str,
    /// What it shows, in one line.
    pub help: &'static str,
    /// What the names of its columns begin with for programs that watch, if that is not its name.
    pub prefix: Option<&'static str>,
    /// How it is shown.
    pub form: Form,
    /// Who it is for.
    pub audience: Audience,
    /// The column whose largest values come first, unless somebody asks for another order.
    pub order: Option<&'static str>,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// How a table is shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Row by row.
    Rows,
    /// It has one row of many columns, each of which is shown as a line with its name, value and meaning.
    List,
}

/// Who a table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// People and programs that watch: it has few rows.
    All,
    /// People: there may be as many rows as there are clients, which is too much for what stores each as a series.
    People,
}

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name, in lower case, with `_` between words.
    pub name: &'static str,
    /// What it means, in one line.
    pub help: &'static str,
    /// What part it has.
    pub kind: Kind,
    /// What values it has, beside NULL.
    pub of: Type,
    /// What its numbers count.
    pub unit: Unit,
    /// What becomes of its numbers in rows that are added up.
    pub merge: Merge,
    /// Its name for programs that watch, if that differs: without the unit.
    pub metric: Option<&'static str>,
}

/// The part of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It says what the row is about.
    Label,
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many values there were of which size.
    Histogram,
    /// It is for people only.
    Note,
}

/// The type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A text.
    Text,
    /// A number without a fraction.
    Integer,
    /// A number.
    Real,
    /// A point in time, as text: `2026-12-01 10:00:00`.
    Time,
}

/// What a column's numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    None,
    /// Seconds.
    Seconds,
    /// Millionths of a second.
    Microseconds,
    /// Bytes.
    Bytes,
}

/// What becomes of a column's numbers in rows that are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Their sum.
    Sum,
    /// The largest.
    Largest,
    /// The smallest.
    Smallest,
}

impl Table {
    /// A table that is shown row by row, to all.
    pub fn new(name: &'static str, help: &'static str, columns: Vec<Column>) -> Table {
        Table {
            name,
            help,
            prefix: None,
            form: Form::Rows,
            audience: Audience::All,
            order: None,
            columns,
        }
    }

    /// It has one row, which is shown as a list.
    pub fn as_list(mut self) -> Table {
        self.form = Form::List;
        self
    }

    /// The names of its columns begin with this for programs that watch.
    pub fn prefixed(mut self, prefix: &'static str) -> Table {
        self.prefix = Some(prefix);
        self
    }

    /// It may have as many rows as there are clients.
    pub fn for_people(mut self) -> Table {
        self.audience = Audience::People;
        self
    }

    /// The largest of this column come first.
    pub fn ordered_by(mut self, column: &'static str) -> Table {
        self.order = Some(column);
        self
    }
}

impl Column {
    const fn new(name: &'static str, help: &'static str, kind: Kind, of: Type) -> Column {
        Column {
            name,
            help,
            kind,
            of,
            unit: Unit::None,
            merge: Merge::Sum,
            metric: None,
        }
    }

    /// A text that says what the row is about.
    pub const fn label(name: &'static str, help: &'static str) -> Column {
        Column::new(name, help, Kind::Label, Type::Text)
    }

    /// A number that only grows.
    pub const fn counter(name: &'static str, help: &'static str) -> Column {
        Column::new(name, help, Kind::Counter, Type::Integer)
    }

    /// A number.
    pub const fn gauge(name: &'static str, help: &'static str) -> Column {
        Column::new(name, help, Kind::Gauge, Type::Integer)
    }

    /// A distribution.
    pub const fn histogram(name: &'static str, help: &'static str) -> Column {
        Column::new(name, help, Kind::Histogram, Type::Real)
    }

    /// A text for people.
    pub const fn note(name: &'static str, help: &'static str) -> Column {
        Column::new(name, help, Kind::Note, Type::Text)
    }

    /// Its values are of this type.
    pub const fn of(mut self, of: Type) -> Column {
        self.of = of;
        self
    }

    /// Its numbers count these.
    pub const fn unit(mut self, unit: Unit) -> Column {
        self.unit = unit;
        self
    }

    /// How its numbers are added up.
    pub const fn merged(mut self, merge: Merge) -> Column {
        self.merge = merge;
        self
    }

    /// Its name for programs that watch.
    pub const fn metric(mut self, name: &'static str) -> Column {
        self.metric = Some(name);
        self
    }
}
