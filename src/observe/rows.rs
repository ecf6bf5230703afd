//! Rows that are kept instead of forwarded.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::proxy::{ConnId, ConnInfo, Observer, PerConnection, Proxy, Shown, Verdict};
use crate::session::{Event, EventSet, PacketKind};

/// Limits; rows beyond them are only counted.
#[derive(Debug, Clone, Copy)]
pub struct RowLimits {
    /// Rows.
    pub rows: u64,
    /// Bytes of rows.
    pub bytes: u64,
    /// Bytes of these rows and of all their siblings' together.
    pub total: u64,
}

/// Rows of the text protocol, concatenated.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

/// The rows that connections collect.
#[derive(Debug)]
pub struct Rows {
    kept: RefCell<Kept>,
    limits: RowLimits,
    /// How many more bytes these and their siblings may take together.
    left: Rc<Cell<u64>>,
    /// How many rows were dropped because of the limits.
    cut: Cell<u64>,
}

impl Rows {
    /// None yet.
    pub fn new(limits: RowLimits) -> Rows {
        Rows {
            kept: RefCell::default(),
            limits,
            left: Rc::new(Cell::new(limits.total)),
            cut: Cell::new(0),
        }
    }

    /// None yet, with the same limits, and sharing the bytes of both.
    pub fn sibling(&self) -> Rows {
        Rows {
            kept: RefCell::default(),
            limits: self.limits,
            left: self.left.clone(),
            cut: Cell::new(0),
        }
    }

    /// Adds a row, unless a limit is reached.
    pub fn push(&self, payload: &[u8]) {
        let mut kept = self.kept.borrow_mut();
        let size = payload.len() as u64;
        let bytes = kept.bytes.len() as u64 + size;
        let left = self.left.get();
        if kept.ends.len() as u64 >= self.limits.rows || bytes > self.limits.bytes || size > left {
            self.cut.set(self.cut.get() + 1);
            return;
        }
        self.left.set(left - size);
        kept.bytes.extend_from_slice(payload);
        let end = kept.bytes.len();
        kept.ends.push(end);
    }

    /// Calls `f` with the row at this index, counted from 0. `f` must not push.
    pub fn with_row<R>(&self, index: usize, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let kept = self.kept.borrow();
        let end = *kept.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *kept.ends.get(before)?,
            None => 0,
        };
        kept.bytes.get(start..end).map(f)
    }

    /// How many rows are kept.
    pub fn count(&self) -> usize {
        self.kept.borrow().ends.len()
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.kept.borrow().bytes.len()
    }

    /// How many rows came beyond the limits.
    pub fn cut(&self) -> u64 {
        self.cut.get()
    }

    /// Drops all rows.
    pub fn clear(&self) {
        let kept = self.kept.take();
        self.left.set(self.left.get() + kept.bytes.len() as u64);
        self.cut.set(0);
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Collects the rows of servers, which are not forwarded.
#[derive(Debug, Default)]
pub struct CollectedRows(PerConnection<Rc<Rows>>);

impl CollectedRows {
    /// The rows of this server go here from now on; `None`: they are forwarded again.
    pub fn collect(&self, proxy: &Proxy, server: ConnId, rows: Option<Rc<Rows>>) {
        match rows {
            Some(rows) if proxy.info(server).is_some() => drop(self.0.insert(server, rows)),
            _ => drop(self.0.remove(server)),
        }
        proxy.rearm(server);
    }
}

impl Observer for CollectedRows {
    fn wants(&self, _: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        match self.0.has(conn.id) {
            true => Event::ServerSendingRows.set(),
            false => EventSet::NONE,
        }
    }

    fn event(&self, _: &Proxy, shown: Shown<'_>) -> Verdict {
        let id = shown.conn.id;
        let Some(packet) = shown.packet else {
            return Verdict::Forward;
        };
        if packet.kind == PacketKind::BinaryRow {
            log::error!(
                "connection {}: rows of the binary protocol cannot be collected",
                id.serial()
            );
            return Verdict::Failed;
        }
        let kept = self.0.with(id, |rows| rows.push(packet.payload));
        kept.map_or(Verdict::Forward, |()| Verdict::Hold)
    }

    fn closing(&self, _: &Proxy, conn: &Rc<ConnInfo>) {
        drop(self.0.remove(conn.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rows: u64, bytes: u64, total: u64) -> RowLimits {
        RowLimits { rows, bytes, total }
    }

    #[test]
    fn rows_are_kept_up_to_the_limits() {
        let rows = Rows::new(limits(2, 9, 10));
        rows.push(b"one");
        rows.push(b"");
        assert_eq!(rows.with_row(0, <[u8]>::to_vec), Some(b"one".to_vec()));
        assert_eq!(rows.with_row(1, <[u8]>::to_vec), Some(Vec::new()));
        assert_eq!(rows.with_row(2, <[u8]>::to_vec), None);
        rows.push(b"three");
        assert_eq!((rows.count(), rows.bytes(), rows.cut()), (2, 3, 1));
        let sibling = rows.sibling();
        sibling.push(b"12345678");
        assert_eq!(sibling.cut(), 1, "their bytes are shared");
        drop(rows);
        sibling.push(b"12345678");
        assert_eq!((sibling.count(), sibling.cut()), (1, 1));
        sibling.clear();
        assert_eq!((sibling.count(), sibling.cut()), (0, 0));
    }
}
