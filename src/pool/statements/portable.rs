//! A client's prepared statements as data, for another thread or another program.

use std::fmt;
use std::rc::Rc;

use super::client::{ClientStatement, ClientStatements, Limits};
use super::connection::Bound;
use super::dialect::Dialect;
use super::pins::{Pins, Version};
use super::shared::{Setting, SharedStatements, Used};
use crate::record::{Field, Fields, Unreadable, Writer};
use crate::wire::{ColumnType, Hidden, ParamType};

const NEWEST: u8 = 1;
const LAST: u8 = 2;
/// Statements mean settings by their places, and come after them.
const SETTING: u8 = 3;
const STATEMENT: u8 = 4;

/// Left out for none.
const SCHEMA: u8 = 1;
const SQL_MODE: u8 = 2;
const CHARSET: u8 = 3;
const COLLATION: u8 = 4;

const ID: u8 = 1;
const TEXT: u8 = 2;
const PREPARED_IN: u8 = 3;
const PARAMS: u8 = 4;
/// Two bytes for each parameter: the type, and 1 if it is unsigned.
const TYPES: u8 = 5;
const BOUND_IN: u8 = 6;
const COLUMNS: u8 = 8;
/// One byte for each parameter; left out if they are as when it was prepared.
const PINS: u8 = 9;
/// Left out if it is the one that it was prepared in.
const PARSED_IN: u8 = 10;

/// A client's prepared statements, without any connection that they are prepared on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portable {
    /// The id that was given last.
    newest: u32,
    /// The statement that was prepared last.
    last: Option<u32>,
    settings: Vec<Rc<Setting>>,
    statements: Vec<One>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct One {
    id: u32,
    text: Rc<[u8]>,
    /// The setting that it was prepared in, by its place.
    setting: usize,
    params: u16,
    columns: u16,
    /// The types that were bound last, and the setting in which that was.
    bound: Option<(Rc<[ParamType]>, usize)>,
    pins: Option<Pins>,
    /// The setting that it was parsed in last.
    parsed_in: usize,
}

impl fmt::Debug for One {
    /// Without the text, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("One")
            .field("id", &self.id)
            .field("text", &Hidden(&self.text))
            .field("setting", &self.setting)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

impl ClientStatements {
    /// These statements as data. What is pending on a connection (cursors, long data) is not among it.
    pub fn to_portable(&self) -> Portable {
        let mut portable = Portable {
            newest: self.newest,
            last: self.last,
            ..Portable::default()
        };
        for (id, one) in &self.by_id {
            let statement = &one.statement;
            let setting = portable.place(statement.setting());
            let parsed_in = portable.place(&one.version.setting);
            let bound = one.bound.as_ref();
            let bound = bound.map(|bound| (bound.types.clone(), portable.place(&bound.setting)));
            portable.statements.push(One {
                id: *id,
                text: statement.text().into(),
                setting,
                params: statement.params(),
                columns: one.columns,
                bound,
                pins: one.version.pins.as_deref().cloned(),
                parsed_in,
            });
        }
        portable
    }

    /// Statements of a client with this number from data. `None` if there is no room for them.
    pub fn of_portable(
        portable: &Portable,
        (number, dialect): (u64, Dialect),
        shared: &mut SharedStatements,
    ) -> Option<ClientStatements> {
        let mut statements = ClientStatements::new(number, dialect);
        (statements.newest, statements.last) = (portable.newest, portable.last);
        let settings = portable.settings.iter();
        let settings: Vec<_> = settings
            .map(|one| shared.setting((**one).clone()))
            .collect();
        for one in &portable.statements {
            let statement = Used::new(shared.statement(&one.text, settings.get(one.setting)?)?);
            if statement.params() == 0 {
                statement.set_params(one.params);
            }
            let bound = match &one.bound {
                Some((types, setting)) => Some(Bound {
                    types: statement.share_types(types.iter().copied()),
                    setting: settings.get(*setting)?.clone(),
                }),
                None => None,
            };
            let pins = one.pins.clone().map(|pins| statement.share_pins(pins));
            let setting = settings.get(one.parsed_in)?.clone();
            let version = Version { setting, pins };
            statements.bytes += statement.text().len();
            let one_of_client = ClientStatement {
                statement,
                columns: one.columns,
                bound,
                version,
            };
            statements.by_id.insert(one.id, one_of_client);
        }
        Some(statements)
    }
}

impl Portable {
    /// A setting's place among those that are written.
    fn place(&mut self, setting: &Rc<Setting>) -> usize {
        // Clients have few settings, and most often one.
        let found = self.settings.iter().rposition(|one| one == setting);
        found.unwrap_or_else(|| {
            self.settings.push(setting.clone());
            self.settings.len() - 1
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// Writes them as a record.
    pub fn write(&self, out: &mut Writer) {
        out.number(NEWEST, self.newest.into());
        if let Some(last) = self.last {
            out.number(LAST, last.into());
        }
        for setting in &self.settings {
            out.record(SETTING, |out| {
                out.optional(SCHEMA, setting.schema.as_deref());
                out.bytes(SQL_MODE, &setting.sql_mode);
                out.bytes(CHARSET, &setting.charset);
                out.bytes(COLLATION, &setting.collation);
            });
        }
        for one in &self.statements {
            out.record(STATEMENT, |out| one.write(out));
        }
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// It is damaged, or more than a client may have.
    pub fn of_record(fields: Fields<'_>) -> Result<Portable, Unreadable> {
        let limits = Limits::default();
        let (mut read, mut bytes) = (Portable::default(), 0);
        for field in fields {
            let field = field?;
            match field.tag {
                NEWEST => read.newest = field.small()?,
                LAST => read.last = Some(field.small()?),
                SETTING => read.settings.push(Rc::new(setting(field.fields())?)),
                STATEMENT => {
                    let one = One::of_record(field.fields(), read.settings.len())?;
                    bytes += one.text.len();
                    read.statements.push(one);
                }
                _ => {}
            }
            let has_too_many = read.statements.len() > limits.statements
                || read.settings.len() > 2 * limits.statements;
            if has_too_many || bytes > limits.bytes {
                return Err(Unreadable::TooLong);
            }
        }
        let is_known = |id: u32| read.statements.iter().any(|one| one.id == id);
        let is_ordered = read.statements.is_sorted_by(|one, next| one.id < next.id);
        if !is_ordered || read.last.is_some_and(|last| !is_known(last)) {
            return Err(Unreadable::Malformed);
        }
        Ok(read)
    }
}

fn setting(fields: Fields<'_>) -> Result<Setting, Unreadable> {
    let mut read = Setting::default();
    for field in fields {
        let field = field?;
        match field.tag {
            SCHEMA => read.schema = Some(field.bytes()),
            SQL_MODE => read.sql_mode = field.bytes(),
            CHARSET => read.charset = field.bytes(),
            COLLATION => read.collation = field.bytes(),
            _ => {}
        }
    }
    Ok(read)
}

impl One {
    fn write(&self, out: &mut Writer) {
        let place = |place: usize| place as u64;
        out.number(ID, self.id.into());
        out.bytes(TEXT, &self.text);
        out.number(PREPARED_IN, place(self.setting));
        out.number(PARAMS, self.params.into());
        out.number(COLUMNS, self.columns.into());
        if let Some((types, setting)) = &self.bound {
            let pairs = types
                .iter()
                .map(|one| [one.column_type.0, u8::from(one.unsigned)]);
            out.bytes(TYPES, pairs.collect::<Vec<_>>().as_flattened());
            out.number(BOUND_IN, place(*setting));
        }
        let pins = self.pins.as_ref().map(Pins::to_bytes);
        out.optional(PINS, pins.as_deref());
        if self.parsed_in != self.setting {
            out.number(PARSED_IN, place(self.parsed_in));
        }
    }

    /// `settings`: how many there are before.
    fn of_record(fields: Fields<'_>, settings: usize) -> Result<One, Unreadable> {
        let place = |field: Field<'_>| {
            let place: usize = field.small()?;
            (place < settings)
                .then_some(place)
                .ok_or(Unreadable::Malformed)
        };
        let mut read = One::default();
        let (mut prepared_in, mut parsed_in, mut types, mut bound_in) = (None, None, None, None);
        for field in fields {
            let field = field?;
            match field.tag {
                ID => read.id = field.small()?,
                TEXT => read.text = field.value.into(),
                PREPARED_IN => prepared_in = Some(place(field)?),
                PARAMS => read.params = field.small()?,
                COLUMNS => read.columns = field.small()?,
                TYPES => types = Some(types_of(field.value)?),
                BOUND_IN => bound_in = Some(place(field)?),
                PINS => {
                    let pins = Pins::of_bytes(field.value);
                    read.pins = Some(pins.ok_or(Unreadable::Malformed)?);
                }
                PARSED_IN => parsed_in = Some(place(field)?),
                _ => {}
            }
        }
        read.setting = prepared_in.ok_or(Unreadable::Malformed)?;
        read.parsed_in = parsed_in.unwrap_or(read.setting);
        read.bound = types.zip(bound_in);
        let has_all =
            |(types, _): &(Rc<[ParamType]>, usize)| types.len() == usize::from(read.params);
        let is_possible = read.id != 0 && read.bound.as_ref().is_none_or(has_all);
        let has_pins = |pins: &Pins| pins.len() == usize::from(read.params);
        let is_possible = is_possible && read.pins.as_ref().is_none_or(has_pins);
        is_possible.then_some(read).ok_or(Unreadable::Malformed)
    }
}

fn types_of(bytes: &[u8]) -> Result<Rc<[ParamType]>, Unreadable> {
    let (pairs, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(Unreadable::Malformed);
    }
    let types = pairs.iter().map(|[code, unsigned]| ParamType {
        column_type: ColumnType(*code),
        unsigned: *unsigned != 0,
    });
    Ok(types.collect())
}
