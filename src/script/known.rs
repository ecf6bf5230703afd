//! What is known of a prepared statement beyond its answer's first packet: the definitions behind
//! it, the types that were bound, and what was sent as long data. Shared by all objects of the
//! statement, and bounded: a peer can announce what it likes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;

use super::rset::Arrived;
use crate::wire::{BulkExecute, Capabilities, Column, Execute, Param, PrepareOk};

/// What all that is remembered of a connection's statements may take, long data excepted.
const MAX_REMEMBERED: usize = 16 << 20;
/// What a definition, a type or a piece takes beside its bytes.
const OVERHEAD: usize = 256;

/// What a connection's statements take, and may take.
#[derive(Debug, Default)]
pub struct Budget {
    remembered: Cell<usize>,
    long_data: Cell<usize>,
    /// How many bytes of long data are kept; beyond that only sizes are.
    pub keep_long_data: Cell<usize>,
}

/// The definitions of a statement's parameters and columns, as far as they have come.
#[derive(Debug, Default)]
pub struct Definitions {
    /// The parameters.
    pub params: Vec<Rc<Column>>,
    /// The columns of its result.
    pub columns: Vec<Rc<Column>>,
    /// There was more than is remembered.
    cut: bool,
}

/// A parameter's long data.
#[derive(Default)]
pub struct LongData {
    /// How much was sent.
    pub size: u64,
    /// All of it, unless it was too much.
    pub pieces: Option<Vec<Bytes>>,
}

impl fmt::Debug for LongData {
    /// Without the data, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LongData({} bytes)", self.size)
    }
}

#[derive(Debug, Default)]
struct Sent {
    /// By the parameter's number, from 0 on.
    params: BTreeMap<u16, LongData>,
    /// The execute that they were for has come: the next piece begins anew.
    executed: bool,
    /// There was more than is remembered.
    cut: bool,
}

#[derive(Debug, Default)]
enum LastResult {
    /// There was none: the columns are those that were prepared.
    #[default]
    None,
    /// With its columns, and what they take.
    Columns(Rc<Arrived>, usize),
    /// It had more columns than are remembered.
    TooLarge,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Known {
    definitions: Rc<RefCell<Definitions>>,
    /// The columns that came last with a result, which stand for those of results without any.
    result: RefCell<LastResult>,
    bound: RefCell<Vec<Param>>,
    /// The server goes by what is bound here, should an execute leave it out.
    pub server_knows: Cell<bool>,
    sent: RefCell<Sent>,
    budget: Rc<Budget>,
    /// What this statement has taken of the budget.
    remembered: Cell<usize>,
    long_data: Cell<usize>,
}

impl Known {
    /// Nothing yet.
    pub fn new(budget: Rc<Budget>) -> Known {
        let mut known = Known::default();
        known.budget = budget;
        known
    }

    /// The same statement as another connection knows it: the definitions are the same, what is
    /// bound is its own.
    pub fn elsewhere(&self, budget: Rc<Budget>) -> Known {
        let mut known = Known::new(budget);
        known.definitions = self.definitions.clone();
        known
    }

    /// The definitions so far.
    pub fn definitions(&self) -> std::cell::Ref<'_, Definitions> {
        self.definitions.borrow()
    }

    /// These columns come with a result of it.
    pub fn set_result(self: &Rc<Known>, columns: Rc<Arrived>) {
        columns.remembered_by(self);
        let before = self.result.replace(LastResult::Columns(columns, 0));
        if let LastResult::Columns(_, size) = before {
            self.refund(size);
        }
    }

    /// One more of them has come. If they are more than is remembered, none is: part of them would
    /// be taken for all.
    pub(super) fn result_grows(&self, columns: &Arrived, column: &Column) {
        let mut result = self.result.borrow_mut();
        let LastResult::Columns(current, size) = &mut *result else {
            return;
        };
        if !std::ptr::eq(&raw const **current, columns) {
            return;
        }
        let more = size_of(column);
        if self.afford(more) {
            *size += more;
        } else {
            self.refund(*size);
            *result = LastResult::TooLarge;
        }
    }

    /// The columns of a result that comes without.
    pub fn result_columns(&self) -> Vec<Column> {
        match &*self.result.borrow() {
            LastResult::Columns(arrived, _) => return arrived.columns.borrow().clone(),
            LastResult::TooLarge => return Vec::new(),
            LastResult::None => {}
        }
        let definitions = self.definitions.borrow();
        definitions
            .columns
            .iter()
            .map(|column| (**column).clone())
            .collect()
    }

    /// The types that were bound last; empty if none were.
    pub fn bound(&self) -> std::cell::Ref<'_, Vec<Param>> {
        self.bound.borrow()
    }

    /// The parameters that were sent as long data, in ascending order; `None` if there were too
    /// many.
    pub fn long_params(&self) -> Option<Vec<u16>> {
        let sent = self.sent.borrow();
        (!sent.cut).then(|| sent.params.keys().copied().collect())
    }

    /// Runs `f` on a parameter's long data.
    pub fn long_data<R>(&self, param: u16, f: impl FnOnce(&LongData) -> R) -> Option<R> {
        self.sent.borrow().params.get(&param).map(f)
    }

    /// Takes note of a definition that came, if it is one of those announced.
    pub fn note(&self, announced: &PrepareOk, column: &Column, is_param: bool) {
        let mut definitions = self.definitions.borrow_mut();
        if definitions.cut {
            return;
        }
        let most = match is_param {
            true => announced.params,
            false => announced.columns,
        };
        // Those behind would stand in its place.
        definitions.cut = !self.afford(size_of(column));
        if definitions.cut {
            return;
        }
        let list = match is_param {
            true => &mut definitions.params,
            false => &mut definitions.columns,
        };
        if list.len() < usize::from(most) {
            list.push(Rc::new(column.clone()));
        }
    }

    /// Adds a definition that a script made; returns how many there are.
    pub fn add(&self, column: Column, is_param: bool) -> usize {
        let mut definitions = self.definitions.borrow_mut();
        let list = match is_param {
            true => &mut definitions.params,
            false => &mut definitions.columns,
        };
        list.push(Rc::new(column));
        list.len()
    }

    /// Takes note of what an execute binds, and that it has come.
    pub fn executed(&self, argument: &[u8], params: u16, capabilities: Capabilities) {
        if let Ok(Some(types)) = Execute::decode_types(argument, params, capabilities) {
            self.bind(types);
            self.server_knows.set(false);
        }
        let mut sent = self.sent.borrow_mut();
        if std::mem::replace(&mut sent.executed, true) {
            self.clear(&mut sent);
        }
    }

    /// Takes note of what a bulk execute binds.
    pub fn bulk_executed(&self, argument: &[u8], params: u16) {
        if let Ok(types) = BulkExecute::decode_types(argument, params)
            && !types.is_empty()
        {
            let types = types.into_iter().map(|param_type| Param {
                param_type,
                name: Vec::new(),
            });
            self.bind(types.collect());
        }
    }

    /// Takes note of the types that are bound from now on.
    pub fn bind(&self, types: Vec<Param>) {
        let size = |types: &[Param]| -> usize {
            types
                .iter()
                .map(|param| OVERHEAD / 8 + param.name.len())
                .sum()
        };
        let mut bound = self.bound.borrow_mut();
        if *bound == types {
            return;
        }
        self.refund(size(&bound));
        *bound = match self.afford(size(&types)) {
            true => types,
            false => Vec::new(),
        };
    }

    /// Takes note of a piece of long data.
    pub fn long_data_sent(&self, params: u16, param: u16, data: &[u8]) {
        let mut sent = self.sent.borrow_mut();
        if std::mem::replace(&mut sent.executed, false) {
            self.clear(&mut sent);
        }
        // The server refuses those that there are not.
        if param >= params || sent.cut {
            return;
        }
        if !sent.params.contains_key(&param) && !self.afford(OVERHEAD) {
            sent.cut = true;
            return;
        }
        let long = sent.params.entry(param).or_insert_with(|| LongData {
            size: 0,
            pieces: Some(Vec::new()),
        });
        long.size += data.len() as u64;
        let kept = self.budget.long_data.get();
        let keeps = kept + data.len() + OVERHEAD <= self.budget.keep_long_data.get();
        match &mut long.pieces {
            Some(pieces) if keeps => {
                pieces.push(Bytes::copy_from_slice(data));
                let size = data.len() + OVERHEAD;
                self.budget.long_data.set(kept + size);
                self.long_data.set(self.long_data.get() + size);
            }
            pieces => *pieces = None,
        }
    }

    /// The client has taken back its long data.
    pub fn reset(&self) {
        let mut sent = self.sent.borrow_mut();
        sent.executed = false;
        self.clear(&mut sent);
    }

    fn clear(&self, sent: &mut Sent) {
        self.refund(sent.params.len() * OVERHEAD);
        sent.params = BTreeMap::new();
        sent.cut = false;
        self.refund_long_data();
    }

    fn refund_long_data(&self) {
        let size = self.long_data.take();
        let budget = &self.budget.long_data;
        budget.set(budget.get().saturating_sub(size));
    }

    fn afford(&self, size: usize) -> bool {
        let all = self.budget.remembered.get() + size;
        if all > MAX_REMEMBERED {
            return false;
        }
        self.budget.remembered.set(all);
        self.remembered.set(self.remembered.get() + size);
        true
    }

    fn refund(&self, size: usize) {
        self.remembered
            .set(self.remembered.get().saturating_sub(size));
        let all = &self.budget.remembered;
        all.set(all.get().saturating_sub(size));
    }
}

/// What a definition takes.
fn size_of(column: &Column) -> usize {
    let names = [
        &column.schema,
        &column.table,
        &column.org_table,
        &column.name,
        &column.org_name,
    ];
    OVERHEAD + names.iter().map(|name| name.len()).sum::<usize>() + column.extended.len()
}

impl Drop for Known {
    fn drop(&mut self) {
        self.refund(self.remembered.get());
        self.refund_long_data();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::rset::Rset;
    use crate::wire::ResultsetHeader;

    fn result_of(known: &Rc<Known>, columns: u64, name: usize) -> Rc<Arrived> {
        let header = ResultsetHeader {
            columns,
            definitions: true,
            ..ResultsetHeader::default()
        };
        let arrived = Rset::arrived(header, true).columns();
        known.set_result(arrived.clone());
        for _ in 0..columns {
            arrived.note(&Column {
                name: vec![b'x'; name],
                ..Column::default()
            });
        }
        arrived
    }

    #[test]
    fn columns_of_results_are_bounded_over_all_statements() {
        let budget = Rc::new(Budget::default());
        let new = || Rc::new(Known::new(budget.clone()));
        let mut statements = Vec::new();
        for _ in 0..64 {
            let known = new();
            assert_eq!(result_of(&known, 4, 1 << 18).columns.borrow().len(), 4);
            statements.push(known);
        }
        assert!(budget.remembered.get() <= MAX_REMEMBERED);
        let kept = |known: &Rc<Known>| known.result_columns().len();
        assert_eq!(kept(&statements[0]), 4);
        assert_eq!(kept(&statements[63]), 0, "all or none");
        // The next result stands in the place of the last, and what ends makes room.
        for _ in 0..64 {
            result_of(&statements[0], 4, 1 << 18);
            assert_eq!(kept(&statements[0]), 4);
        }
        statements.truncate(1);
        assert_eq!(kept(&statements[0]), 4);
        let known = new();
        result_of(&known, 4, 1 << 18);
        assert_eq!(kept(&known), 4);
        // A result of before that goes on does not count any more.
        let before = result_of(&known, 2, 9);
        result_of(&known, 2, 9);
        let taken = budget.remembered.get();
        before.columns.borrow_mut().clear();
        before.note(&Column::default());
        assert_eq!(budget.remembered.get(), taken);
        drop((known, statements));
        assert_eq!(budget.remembered.get(), 0);
    }
}
