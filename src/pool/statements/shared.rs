//! The texts that clients have prepared, each once for all of them.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use super::pins::Pins;
use crate::pool::state::{Settings, Snapshot};
use crate::wire::{Column, Hidden, ParamType};

/// What a statement's meaning depends on when it is prepared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Setting {
    /// The default schema; `None` for none.
    pub schema: Option<Vec<u8>>,
    /// `sql_mode`.
    pub sql_mode: Vec<u8>,
    /// `character_set_client`.
    pub charset: Vec<u8>,
    /// `collation_connection`.
    pub collation: Vec<u8>,
}

impl Setting {
    /// That of a session with these settings, on connections that begin with this snapshot.
    pub fn of(settings: &Settings, snapshot: &Snapshot) -> Setting {
        let value = |name| match settings.variable(name) {
            Some(value) => value.unwrap_or_default().to_vec(),
            None => snapshot.value(name).flatten().unwrap_or_default().to_vec(),
        };
        Setting {
            schema: settings.schema().map(<[u8]>::to_vec),
            sql_mode: value("sql_mode"),
            charset: value("character_set_client"),
            collation: value("collation_connection"),
        }
    }

    /// The settings of a session, but for what they have of this.
    pub fn within(&self, settings: &Settings) -> Settings {
        let variables = [
            ("sql_mode", &self.sql_mode),
            ("character_set_client", &self.charset),
            ("collation_connection", &self.collation),
        ];
        let variables = variables.map(|(name, value)| (name, value.as_slice()));
        settings.with(self.schema.as_deref(), &variables)
    }

    /// Whether parameters are read alike.
    pub(super) fn reads_like(&self, other: &Setting) -> bool {
        self.charset == other.charset && self.collation == other.collation
    }

    /// Whether a text is parsed alike. (Servers remember a statement's schema, and parse its text there.)
    pub(super) fn parses_like(&self, other: &Setting) -> bool {
        self.sql_mode == other.sql_mode && self.reads_like(other)
    }
}

/// A text that clients have prepared in a setting.
pub struct Statement {
    /// Unlike that of any other.
    pub(super) number: u64,
    text: Rc<[u8]>,
    setting: Rc<Setting>,
    params: Cell<u16>,
    users: Cell<usize>,
    /// The types that were bound last: clients with the same ones share them.
    types: RefCell<Option<Rc<[ParamType]>>>,
    /// What a server resolves its parameters as when it prepares the text, where that matters; `None` if it is not known yet.
    initial: RefCell<Option<Rc<Pins>>>,
    /// What they were resolved as last: clients with the same share it.
    pins: RefCell<Option<Rc<Pins>>>,
}

impl fmt::Debug for Statement {
    /// Without the text, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("number", &self.number)
            .field("text", &Hidden(&self.text))
            .field("setting", &self.setting)
            .field("params", &self.params)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

impl Statement {
    /// Its SQL.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// What it is to be prepared in.
    pub fn setting(&self) -> &Rc<Setting> {
        &self.setting
    }

    /// How many parameters it takes; 0 until it was prepared once.
    pub fn params(&self) -> u16 {
        self.params.get()
    }

    /// How many statements of clients it stands for.
    pub fn users(&self) -> usize {
        self.users.get()
    }

    pub(super) fn set_params(&self, params: u16) {
        self.params.set(params);
    }

    /// These types, in memory that is shared with those who have bound the same.
    pub(super) fn share_types(
        &self,
        types: impl Iterator<Item = ParamType> + Clone,
    ) -> Rc<[ParamType]> {
        let mut last = self.types.borrow_mut();
        match &*last {
            Some(last) if last.iter().copied().eq(types.clone()) => last.clone(),
            _ => last.insert(types.collect()).clone(),
        }
    }

    /// The same for what its parameters are resolved as.
    pub(super) fn share_pins(&self, pins: Pins) -> Rc<Pins> {
        let mut last = self.pins.borrow_mut();
        match &*last {
            Some(last) if **last == pins => last.clone(),
            _ => last.insert(Rc::new(pins)).clone(),
        }
    }

    /// What a server resolves its parameters as when it prepares the text, or what is least certain to stay.
    pub(super) fn initial(&self) -> Rc<Pins> {
        let known = self.initial.borrow().clone();
        known.unwrap_or_else(|| Rc::new(Pins::unknown(self.params())))
    }

    /// Whether that is known.
    pub(super) fn is_defined(&self) -> bool {
        self.initial.borrow().is_some()
    }

    /// A server that resolves parameters has prepared it, and has told of these parameters.
    pub fn defined_as(&self, parameters: &[Column]) {
        if parameters.len() == usize::from(self.params()) && !parameters.is_empty() {
            let pins = Pins::of_definitions(parameters.iter());
            self.initial.replace(Some(Rc::new(pins)));
        }
    }

    /// Its setting once a server has prepared it again in the present one: the schema stays.
    pub(super) fn prepared_again_in(&self, present: &Rc<Setting>) -> Rc<Setting> {
        if self.setting.schema == present.schema {
            return present.clone();
        }
        Rc::new(Setting {
            schema: self.setting.schema.clone(),
            ..(**present).clone()
        })
    }
}

/// One client's use of a statement, which is counted.
#[derive(Debug)]
pub(super) struct Used(Rc<Statement>);

impl Used {
    pub(super) fn new(statement: Rc<Statement>) -> Used {
        statement.users.set(statement.users.get() + 1);
        Used(statement)
    }

    pub(super) fn statement(&self) -> &Rc<Statement> {
        &self.0
    }
}

impl Deref for Used {
    type Target = Statement;

    fn deref(&self) -> &Statement {
        &self.0
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.0.users.set(self.0.users.get().saturating_sub(1));
    }
}

type ByText = HashMap<Rc<[u8]>, Rc<Statement>>;

/// All statements of a pool's clients.
#[derive(Debug)]
pub struct SharedStatements {
    settings: HashSet<Rc<Setting>>,
    statements: HashMap<Rc<Setting>, ByText>,
    newest: u64,
    count: usize,
    bytes: usize,
    max_bytes: usize,
    /// At this number those that nobody needs any more are dropped.
    sweep_at: usize,
}

/// Statements, or settings, below which it is not worth looking for those that nobody needs.
const FEW: usize = 256;
/// What a statement takes beside its text.
const OVERHEAD: usize = 256;

impl SharedStatements {
    /// Without any; their texts may take so many bytes.
    pub fn new(max_bytes: usize) -> SharedStatements {
        SharedStatements {
            settings: HashSet::new(),
            statements: HashMap::new(),
            newest: 0,
            count: 0,
            bytes: 0,
            max_bytes,
            sweep_at: FEW,
        }
    }

    /// A setting, each in one place: equal ones are the same.
    pub fn setting(&mut self, setting: Setting) -> Rc<Setting> {
        if let Some(known) = self.settings.get(&setting) {
            return known.clone();
        }
        if self.settings.len() >= FEW && self.settings.len().is_power_of_two() {
            self.sweep();
        }
        let setting = Rc::new(setting);
        self.settings.insert(setting.clone());
        setting
    }

    /// The statement with this text in this setting; `None` if there is no room for it.
    pub fn statement(&mut self, text: &[u8], setting: &Rc<Setting>) -> Option<Rc<Statement>> {
        let known = self.statements.get(setting).and_then(|of| of.get(text));
        if let Some(known) = known {
            return Some(known.clone());
        }
        let size = text.len() + OVERHEAD;
        if self.count >= self.sweep_at || self.bytes + size > self.max_bytes {
            self.sweep();
        }
        if self.bytes + size > self.max_bytes {
            return None;
        }
        self.newest += 1;
        let text: Rc<[u8]> = text.into();
        let statement = Rc::new(Statement {
            number: self.newest,
            text: text.clone(),
            setting: setting.clone(),
            params: Cell::new(0),
            users: Cell::new(0),
            types: RefCell::default(),
            initial: RefCell::default(),
            pins: RefCell::default(),
        });
        let of_setting = self.statements.entry(setting.clone()).or_default();
        of_setting.insert(text, statement.clone());
        self.count += 1;
        self.bytes += size;
        Some(statement)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Drops what neither a client nor a connection needs.
    fn sweep(&mut self) {
        let (mut count, mut bytes) = (0, 0);
        self.statements.retain(|_, of_setting| {
            of_setting.retain(|text, statement| {
                let needed = Rc::strong_count(statement) > 1;
                if needed {
                    count += 1;
                    bytes += text.len() + OVERHEAD;
                }
                needed
            });
            !of_setting.is_empty()
        });
        self.settings
            .retain(|setting| Rc::strong_count(setting) > 1);
        (self.count, self.bytes) = (count, bytes);
        self.sweep_at = (count * 2).max(FEW);
    }
}
