//! What has rows to show.

use std::cell::RefCell;
use std::rc::Rc;

use super::declaration::Table;
use super::rows::Row;

/// Something that has figures.
pub trait Source {
    /// Their declaration.
    fn table(&self) -> &Table;

    /// Some rows, from a position on: 0, or what the page before said. A page is short, so that whoever wants all rows of a
    /// large table can let others go on between two of them.
    fn page(&self, from: usize) -> Page;
}

/// Some rows of a table.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page begins; none if there are no more rows.
    pub next: Option<usize>,
}

impl Page {
    /// How many rows a page has at most.
    pub const ROWS: usize = 256;

    /// A page that has all rows.
    pub fn last(rows: Vec<Row>) -> Page {
        Page { rows, next: None }
    }
}

/// All that have figures, in the order in which they are listed.
#[derive(Default)]
pub struct Sources(RefCell<Vec<Rc<dyn Source>>>);

impl Sources {
    /// Adds one.
    pub fn add(&self, source: Rc<dyn Source>) {
        self.0.borrow_mut().push(source);
    }

    /// The one whose table has this name.
    pub fn named(&self, name: &str) -> Option<Rc<dyn Source>> {
        let sources = self.0.borrow();
        let mut sources = sources.iter();
        sources.find(|of| of.table().name == name).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Rc<dyn Source>> {
        self.0.borrow().clone()
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.all().into_iter().map(|of| of.table().name);
        f.debug_list().entries(names).finish()
    }
}
