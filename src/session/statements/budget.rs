//! What all that is remembered of a connection's statements may take: a peer can announce what it
//! likes.

use std::cell::Cell;

use crate::wire::Column;

/// Bytes of all that is remembered, long data excepted.
pub(super) const MAX_REMEMBERED: usize = 16 << 20;
/// The overhead of a definition, a type or a piece.
pub(super) const OVERHEAD: usize = 256;
/// Columns of cursors that may be open; see [`Statement::may_open_cursor`](super::Statement).
pub(super) const MAX_CURSOR_COLUMNS: u64 = 16_384;

/// The memory of a connection's statements, and its limits.
#[derive(Debug, Default)]
pub struct Budget {
    pub(super) remembered: Cell<usize>,
    pub(super) long_data: Cell<usize>,
    pub(super) cursor_columns: Cell<u64>,
    keep_long_data: Cell<usize>,
}

impl Budget {
    /// Keeps so many bytes of long data; beyond that only sizes are kept.
    pub fn keep_long_data(&self, bytes: usize) {
        self.keep_long_data.set(bytes);
    }

    pub(super) fn affords_long_data(&self, size: usize) -> bool {
        self.long_data.get() + size <= self.keep_long_data.get()
    }

    pub(super) fn affords(&self, size: usize) -> bool {
        self.remembered.get() + size <= MAX_REMEMBERED
    }
}

/// What a definition takes.
pub(super) fn size_of(column: &Column) -> usize {
    let names = [
        &column.schema,
        &column.table,
        &column.org_table,
        &column.name,
        &column.org_name,
    ];
    OVERHEAD + names.iter().map(|name| name.len()).sum::<usize>() + column.extended.len()
}
