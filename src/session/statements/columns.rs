//! The columns of a result.

use std::cell::{Ref, RefCell};
use std::rc::{Rc, Weak};

use super::Statement;
use crate::wire::{Column, ResultsetHeader};

/// The columns of a result as they come from the server.
#[derive(Debug, Default)]
pub struct Columns {
    known: RefCell<Vec<Column>>,
    /// How many there will be.
    announced: u64,
    /// The statement whose last result it is, which counts its memory.
    statement: RefCell<Weak<Statement>>,
}

impl Columns {
    /// Those that this header announces.
    pub fn announced(header: &ResultsetHeader) -> Columns {
        Columns {
            announced: match header.definitions {
                true => header.columns,
                false => 0,
            },
            ..Columns::default()
        }
    }

    /// Those that have come.
    pub fn known(&self) -> Ref<'_, Vec<Column>> {
        self.known.borrow()
    }

    /// Adds a column, unless all have come and it belongs to something else.
    pub fn note(&self, column: Column) {
        if self.known.borrow().len() as u64 >= self.announced {
            return;
        }
        let statement = self.statement.borrow().upgrade();
        if let Some(statement) = statement {
            statement.result_grows(self, &column);
        }
        self.known.borrow_mut().push(column);
    }

    /// These are the columns of a result that comes without them.
    pub(super) fn fill(&self, columns: Vec<Column>) {
        *self.known.borrow_mut() = columns;
    }

    /// Columns that arrive are also kept for this statement.
    pub(super) fn remembered_by(&self, statement: &Rc<Statement>) {
        *self.statement.borrow_mut() = Rc::downgrade(statement);
    }
}
