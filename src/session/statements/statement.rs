//! What is known of one prepared statement: the head of the answer to its prepare, the definitions,
//! the bound types, long data, and the columns of its last result. Shared by all connections that
//! know the statement.

use std::any::Any;
use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;

use super::budget::{Budget, MAX_CURSOR_COLUMNS, OVERHEAD, size_of};
use super::columns::Columns;
use crate::wire::{
    Bound, BulkExecute, Capabilities, Column, Com, Execute, Param, PrepareOk, ResultsetHeader,
    execute_flags,
};

/// The definitions of a statement's parameters and columns, as far as they have come.
#[derive(Debug, Default)]
pub struct Definitions {
    /// The parameters.
    pub params: Vec<Rc<Column>>,
    /// The columns of its result.
    pub columns: Vec<Rc<Column>>,
    /// There was more than the limit allows.
    cut: bool,
}

/// A parameter's long data.
#[derive(Default)]
pub struct LongData {
    /// How much was sent.
    pub size: u64,
    /// The data, unless there was too much.
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
    /// The execute that uses them has come: the next piece starts new data.
    executed: bool,
    /// There was more than the limit allows.
    cut: bool,
}

#[derive(Debug, Default)]
enum LastResult {
    /// No result yet: the columns are those of the prepare.
    #[default]
    None,
    /// The result's columns, and their memory.
    Columns(Rc<Columns>, usize),
    /// It had more columns than the limit allows.
    TooLarge,
}

/// The cursor that COM_STMT_FETCH reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Cursor {
    #[default]
    None,
    /// The current execute asks for one.
    Asked,
    /// There is one, and its result has this many columns.
    Open(u64),
}

/// See the module.
#[derive(Default)]
pub struct Statement {
    head: PrepareOk,
    sql: Option<Bytes>,
    definitions: Rc<RefCell<Definitions>>,
    /// The columns of the last result that had any; they apply to results without columns.
    result: RefCell<LastResult>,
    cursor: Cell<Cursor>,
    bound: RefCell<Vec<Param>>,
    /// Whether the server knows these bound types, so that an execute may leave them out.
    server_knows: Cell<bool>,
    sent: RefCell<Sent>,
    /// How many trackers remember it.
    kept: Cell<u32>,
    note: RefCell<Option<Rc<dyn Any>>>,
    budget: Rc<Budget>,
    /// How much of the budget this statement uses.
    remembered: Cell<usize>,
    long_data: Cell<usize>,
}

impl fmt::Debug for Statement {
    /// Without its text, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl Statement {
    /// Makes a statement with this text and this head of the answer.
    pub fn new(head: PrepareOk, sql: Option<Bytes>, budget: Rc<Budget>) -> Statement {
        let mut statement = Statement::default();
        statement.head = head;
        statement.budget = budget;
        statement.sql = sql.filter(|sql| statement.afford(sql.len()));
        statement
    }

    /// The same statement on another connection: it shares the definitions, but has its own bound
    /// types.
    pub fn elsewhere(&self, head: PrepareOk, sql: Option<Bytes>, budget: Rc<Budget>) -> Statement {
        let mut other = Statement::new(head, sql, budget);
        other.definitions = self.definitions.clone();
        *other.note.get_mut() = self.note.borrow().clone();
        other
    }

    /// The head of the answer to COM_STMT_PREPARE.
    pub fn head(&self) -> &PrepareOk {
        &self.head
    }

    /// Its text, if that is remembered.
    pub fn sql(&self) -> Option<&[u8]> {
        self.sql.as_deref()
    }

    /// The definitions so far.
    pub fn definitions(&self) -> Ref<'_, Definitions> {
        self.definitions.borrow()
    }

    /// A note about it, see [`set_note`](Self::set_note).
    pub fn note(&self) -> Option<Rc<dyn Any>> {
        self.note.borrow().clone()
    }

    /// Sets a note, which is kept as long as a tracker remembers the statement. False if none does.
    pub fn set_note(&self, note: Rc<dyn Any>) -> bool {
        let kept = self.kept.get() > 0;
        if kept {
            drop(self.note.replace(Some(note)));
        }
        kept
    }

    /// The types that were bound last; empty if none were.
    pub fn bound(&self) -> Ref<'_, Vec<Param>> {
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

    // Definitions ---------------------------------------------------------------------------------

    /// Adds a definition, if it is one of those announced.
    pub fn define(&self, column: Column, is_param: bool) {
        let mut definitions = self.definitions.borrow_mut();
        if definitions.cut {
            return;
        }
        let most = match is_param {
            true => self.head.params,
            false => self.head.columns,
        };
        // A later definition would be taken for this one.
        definitions.cut = !self.afford(size_of(&column));
        if definitions.cut {
            return;
        }
        let list = match is_param {
            true => &mut definitions.params,
            false => &mut definitions.columns,
        };
        if list.len() < usize::from(most) {
            list.push(Rc::new(column));
        }
    }

    /// Adds a definition of a script's own; returns how many there are.
    pub fn add(&self, column: Column, is_param: bool) -> usize {
        let mut definitions = self.definitions.borrow_mut();
        let list = match is_param {
            true => &mut definitions.params,
            false => &mut definitions.columns,
        };
        list.push(Rc::new(column));
        list.len()
    }

    // Results -------------------------------------------------------------------------------------

    /// A result begins. If its header announces no definitions, it has the columns of an earlier
    /// result, or of the prepare.
    pub fn result_begins(self: &Rc<Self>, columns: &Rc<Columns>, header: &ResultsetHeader) {
        self.count_cursor(header.columns);
        if !header.definitions {
            columns.fill(self.result_columns());
            return;
        }
        columns.remembered_by(self);
        let new = LastResult::Columns(columns.clone(), 0);
        if let LastResult::Columns(_, size) = self.result.replace(new) {
            self.refund(size);
        }
    }

    /// Another column of its result has come. If there are more than the limit allows, none are
    /// kept, since a part could be taken for all.
    pub(super) fn result_grows(&self, columns: &Columns, column: &Column) {
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

    /// The columns for a result that comes without any.
    fn result_columns(&self) -> Vec<Column> {
        match &*self.result.borrow() {
            LastResult::Columns(columns, _) => return columns.known().clone(),
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

    // Cursors -------------------------------------------------------------------------------------

    /// Whether it may be executed with a cursor. The rows of a cursor are fetched later, and to
    /// decode them the columns have to be remembered until then. So the number of columns of all
    /// cursors of a connection is limited, and beyond it no further statement gets a cursor. A
    /// statement that had a cursor keeps it, since MySQL returns no rows for a statement that is
    /// executed first with a cursor and later without.
    pub fn may_open_cursor(&self) -> bool {
        matches!(self.cursor.get(), Cursor::Open(_))
            || self.budget.cursor_columns.get() <= MAX_CURSOR_COLUMNS
    }

    fn count_cursor(&self, columns: u64) {
        let total = &self.budget.cursor_columns;
        match self.cursor.get() {
            Cursor::Asked => {
                total.set(total.get() + columns);
                self.cursor.set(Cursor::Open(columns));
            }
            Cursor::Open(before) => {
                // A CALL has several results.
                total.set(total.get().saturating_sub(before) + columns);
                self.cursor.set(Cursor::Open(columns));
            }
            Cursor::None => {}
        }
    }

    fn drop_cursor(&self) {
        if let Cursor::Open(columns) = self.cursor.take() {
            let total = &self.budget.cursor_columns;
            total.set(total.get().saturating_sub(columns));
        }
    }

    // Commands ------------------------------------------------------------------------------------

    /// A client's command about it arrives; `argument` is what follows the command's byte.
    pub fn command(&self, com: Com, argument: &[u8], capabilities: Capabilities) {
        match com {
            Com::STMT_EXECUTE => self.executed(argument, capabilities),
            Com::STMT_BULK_EXECUTE => self.bulk_executed(argument),
            Com::STMT_SEND_LONG_DATA => {
                if let Some(([a, b], data)) = argument.get(4..).and_then(<[u8]>::split_first_chunk)
                {
                    self.long_data_sent(u16::from_le_bytes([*a, *b]), data);
                }
            }
            Com::STMT_RESET => self.reset(),
            _ => {}
        }
    }

    /// An execute goes to the server. Returns whether the server will read it correctly: an execute
    /// without types is read with those that the server got last, which may not be the client's
    /// last ones.
    pub fn goes_to_server(&self, argument: &[u8], capabilities: Capabilities) -> bool {
        let asks = argument
            .get(4)
            .is_some_and(|flags| flags & execute_flags::CURSOR_TYPE_READ_ONLY != 0);
        match (asks, self.cursor.get()) {
            (true, Cursor::None) => self.cursor.set(Cursor::Asked),
            (false, Cursor::Asked) => self.cursor.set(Cursor::None),
            _ => {}
        }
        let types = Execute::decode_types(argument, self.head.params, capabilities);
        match types.ok().flatten() {
            Some(types) => self.server_knows.set(types == *self.bound.borrow()),
            None if self.bound.borrow().is_empty() => self.server_knows.set(true),
            None => return self.server_knows.get(),
        }
        true
    }

    /// The server has got the bound types.
    pub fn server_was_told(&self) {
        self.server_knows.set(true);
    }

    /// Decodes the argument of a COM_STMT_EXECUTE.
    ///
    /// # Errors
    /// It is malformed, or more was sent as long data than is remembered.
    pub fn decode(
        &self,
        params: u16,
        argument: &[u8],
        capabilities: Capabilities,
    ) -> Result<Execute, String> {
        let long_data = (self.long_params())
            .ok_or("more was sent as long data than is remembered".to_string())?;
        let types = self.bound();
        let bound = Bound {
            params,
            types: &types,
            long_data: &long_data,
        };
        let execute =
            Execute::decode(argument, bound, capabilities).map_err(|error| error.to_string())?;
        drop(types);
        if execute.types_sent {
            // For later executes, in case this one was not noted.
            self.bind(execute.params.clone());
        }
        Ok(execute)
    }

    /// The argument of the same COM_STMT_EXECUTE, with its types, for a server that has negotiated
    /// `to`.
    ///
    /// # Errors
    /// As for [`decode`](Self::decode).
    pub fn with_types(
        &self,
        argument: &[u8],
        from: Capabilities,
        to: Capabilities,
    ) -> Result<Vec<u8>, String> {
        let params = self.head.params;
        let mut execute = self.decode(params, argument, from)?;
        execute.types_sent = true;
        if !to.contains(Capabilities::QUERY_ATTRIBUTES) {
            execute.params.truncate(params.into());
            execute.values.truncate(params.into());
        }
        let mut out = Vec::with_capacity(argument.len() + 64);
        execute
            .encode(to, &mut out)
            .map_err(|error| error.to_string())?;
        Ok(out)
    }

    fn executed(&self, argument: &[u8], capabilities: Capabilities) {
        let types = Execute::decode_types(argument, self.head.params, capabilities);
        if let Ok(Some(types)) = types {
            self.bind(types);
            self.server_knows.set(false);
        }
        let mut sent = self.sent.borrow_mut();
        if std::mem::replace(&mut sent.executed, true) {
            self.clear(&mut sent);
        }
    }

    fn bulk_executed(&self, argument: &[u8]) {
        if let Ok(types) = BulkExecute::decode_types(argument, self.head.params)
            && !types.is_empty()
        {
            let types = types.into_iter().map(|param_type| Param {
                param_type,
                name: Vec::new(),
            });
            self.bind(types.collect());
        }
    }

    /// Sets the bound types.
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

    fn long_data_sent(&self, param: u16, data: &[u8]) {
        let mut sent = self.sent.borrow_mut();
        if std::mem::replace(&mut sent.executed, false) {
            self.clear(&mut sent);
        }
        // The server refuses a parameter that does not exist.
        if param >= self.head.params || sent.cut {
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
        let size = data.len() + OVERHEAD;
        match &mut long.pieces {
            Some(pieces) if self.budget.affords_long_data(size) => {
                pieces.push(Bytes::copy_from_slice(data));
                let kept = &self.budget.long_data;
                kept.set(kept.get() + size);
                self.long_data.set(self.long_data.get() + size);
            }
            pieces => *pieces = None,
        }
    }

    /// COM_STMT_RESET: drops the long data.
    fn reset(&self) {
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
        let affords = self.budget.affords(size);
        if affords {
            let all = &self.budget.remembered;
            all.set(all.get() + size);
            self.remembered.set(self.remembered.get() + size);
        }
        affords
    }

    fn refund(&self, size: usize) {
        self.remembered
            .set(self.remembered.get().saturating_sub(size));
        let all = &self.budget.remembered;
        all.set(all.get().saturating_sub(size));
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        self.drop_cursor();
        self.refund(self.remembered.get());
        self.refund_long_data();
    }
}

/// A statement that a tracker remembers. When the last tracker forgets it, its note is dropped,
/// even if the statement itself is still in use.
#[derive(Debug)]
pub struct Kept(Rc<Statement>);

impl Kept {
    /// Another tracker remembers it.
    pub fn new(statement: Rc<Statement>) -> Kept {
        statement.kept.set(statement.kept.get() + 1);
        Kept(statement)
    }

    /// The statement.
    pub fn statement(&self) -> &Rc<Statement> {
        &self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let kept = self.0.kept.get().saturating_sub(1);
        self.0.kept.set(kept);
        if kept == 0 {
            self.0.drop_cursor();
            drop(self.0.note.take());
        }
    }
}
