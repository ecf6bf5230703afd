//! Packets as Lua objects, whose accessors are listed in tables.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use mlua::{Lua, UserData, UserDataFields, Value};

use crate::script::lua::convert::{integer, integer_wanted, to_integer};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one};
use crate::wire::Hidden;

/// A packet that scripts can hold: shared, because a resultset shares its fields.
#[derive(Debug, Clone)]
pub struct Held<T>(pub Rc<RefCell<T>>);

impl<T> Held<T> {
    /// Makes a packet object.
    pub fn new(packet: T) -> Held<T> {
        Held(Rc::new(RefCell::new(packet)))
    }
}

/// A packet's Lua side.
pub trait PacketObject: Clone + 'static {
    /// Its name in messages.
    const NAME: &'static str;

    /// What can be read and written.
    fn accessors() -> Vec<Accessor<Self>>;

    /// Further methods.
    fn methods(methods: &Methods<'_>) -> mlua::Result<()> {
        let _ = methods;
        Ok(())
    }
}

type Get<T, V> = fn(&T) -> V;
type Set<T, V> = fn(&mut T, V);

/// What an accessor reads and writes.
#[derive(Debug)]
pub enum Access<T> {
    /// An integer up to the limit.
    Integer(u64, Get<T, u64>, Option<Set<T, u64>>),
    /// A string up to the limit.
    Bytes(usize, fn(&T) -> &[u8], Option<Set<T, Vec<u8>>>),
    /// A string up to the limit, or nil.
    Optional(usize, fn(&T) -> Option<&[u8]>, Set<T, Option<Vec<u8>>>),
    /// A string of exactly so many bytes.
    Exactly(usize, fn(&T) -> &[u8], Set<T, Vec<u8>>),
    /// True or false.
    Boolean(fn(&T) -> bool, Set<T, bool>),
    /// Flags: with a constant reads one flag, with a constant and a boolean writes it; without
    /// arguments reads all.
    Flags(u64, Get<T, u64>, Set<T, u64>),
}

impl<T> Clone for Access<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Access<T> {}

/// A method that reads without an argument and writes with one.
#[derive(Debug)]
pub struct Accessor<T> {
    /// The connection's id.
    pub name: &'static str,
    /// What it does.
    pub access: Access<T>,
    /// The string must not contain NUL, which ends it on the wire.
    pub no_nul: bool,
}

impl<T> Accessor<T> {
    fn new(name: &'static str, access: Access<T>) -> Self {
        let no_nul = false;
        Accessor {
            name,
            access,
            no_nul,
        }
    }

    /// An integer.
    pub fn integer(name: &'static str, max: u64, get: Get<T, u64>, set: Set<T, u64>) -> Self {
        Self::new(name, Access::Integer(max, get, Some(set)))
    }

    /// An integer that scripts cannot change.
    pub fn constant(name: &'static str, get: Get<T, u64>) -> Self {
        Self::new(name, Access::Integer(u64::MAX, get, None))
    }

    /// A string.
    pub fn bytes(
        name: &'static str,
        max: usize,
        get: fn(&T) -> &[u8],
        set: Set<T, Vec<u8>>,
    ) -> Self {
        Self::new(name, Access::Bytes(max, get, Some(set)))
    }

    /// A string that scripts cannot change.
    pub fn constant_bytes(name: &'static str, get: fn(&T) -> &[u8]) -> Self {
        Self::new(name, Access::Bytes(usize::MAX, get, None))
    }

    /// True or false.
    pub fn boolean(name: &'static str, get: fn(&T) -> bool, set: Set<T, bool>) -> Self {
        Self::new(name, Access::Boolean(get, set))
    }

    /// A string of a fixed length.
    pub fn exactly(
        name: &'static str,
        len: usize,
        get: fn(&T) -> &[u8],
        set: Set<T, Vec<u8>>,
    ) -> Self {
        Self::new(name, Access::Exactly(len, get, set))
    }

    /// A string or nil.
    pub fn optional(
        name: &'static str,
        max: usize,
        get: fn(&T) -> Option<&[u8]>,
        set: Set<T, Option<Vec<u8>>>,
    ) -> Self {
        Self::new(name, Access::Optional(max, get, set))
    }

    /// Flags.
    pub fn flags(name: &'static str, max: u64, get: Get<T, u64>, set: Set<T, u64>) -> Self {
        Self::new(name, Access::Flags(max, get, set))
    }

    /// The same for a string that NUL ends on the wire, and so must not be in it.
    pub fn without_nul(mut self) -> Self {
        self.no_nul = true;
        self
    }

    /// The value as scripts see it.
    pub fn read(&self, lua: &Lua, packet: &T) -> mlua::Result<Value> {
        match self.access {
            Access::Integer(_, get, _) | Access::Flags(_, get, _) => integer(lua, get(packet)),
            Access::Bytes(_, get, _) | Access::Exactly(_, get, _) => {
                Ok(Value::String(lua.create_string(get(packet))?))
            }
            Access::Boolean(get, _) => Ok(Value::Boolean(get(packet))),
            Access::Optional(_, get, _) => match get(packet) {
                Some(bytes) => Ok(Value::String(lua.create_string(bytes)?)),
                None => Ok(Value::Nil),
            },
        }
    }

    /// The change that a value makes, or what is wrong with the value.
    pub fn write(&self, value: &Value) -> Result<Change<T>, String> {
        match self.access {
            Access::Integer(max, _, Some(set)) | Access::Flags(max, _, set) => {
                let integer = to_integer(value, max).ok_or_else(|| integer_wanted(max))?;
                Ok(Change::Integer(set, integer))
            }
            Access::Bytes(max, _, Some(set)) => Ok(Change::Bytes(set, self.checked(value, max)?)),
            Access::Exactly(len, _, set) => match value {
                Value::String(bytes) if bytes.as_bytes().len() == len => {
                    Ok(Change::Bytes(set, bytes.as_bytes().to_vec()))
                }
                _ => Err(format!("a string of exactly {len} bytes")),
            },
            Access::Boolean(_, set) => match value {
                Value::Boolean(value) => Ok(Change::Boolean(set, *value)),
                _ => Err("true or false".to_string()),
            },
            Access::Optional(_, _, set) if value.is_nil() => Ok(Change::Optional(set, None)),
            Access::Optional(max, _, set) => {
                Ok(Change::Optional(set, Some(self.checked(value, max)?)))
            }
            Access::Integer(_, _, None) | Access::Bytes(_, _, None) => {
                Err("no argument: it is read-only".to_string())
            }
        }
    }

    fn checked(&self, value: &Value, max: usize) -> Result<Vec<u8>, String> {
        let nul = if self.no_nul { " without NUL" } else { "" };
        let wanted = || format!("a string of at most {max} bytes{nul}");
        let Value::String(bytes) = value else {
            return Err(wanted());
        };
        let bytes = bytes.as_bytes();
        if bytes.len() > max || (self.no_nul && bytes.contains(&0)) {
            return Err(wanted());
        }
        Ok(bytes.to_vec())
    }

    fn call(&self, lua: &Lua, packet: &RefCell<T>, args: &Args) -> Answer {
        if args.is_empty() {
            return one(self.read(lua, &*reading(packet, args)?)?);
        }
        if let Access::Flags(max, get, set) = self.access {
            let flags = args.integer(0, "flags", max)?;
            if args.len() == 1 {
                let is_set = get(&*reading(packet, args)?) & flags == flags;
                return one(Value::Boolean(is_set));
            }
            let on = args.boolean(1, "value")?;
            let mut packet = writing(packet, args)?;
            let before = get(&packet);
            set(
                &mut packet,
                if on { before | flags } else { before & !flags },
            );
            return nothing();
        }
        let change = self
            .write(args.get(0))
            .map_err(|wanted| wrong_value(args, &wanted))?;
        change.apply(&mut *writing(packet, args)?);
        nothing()
    }
}

/// Of a string that is too long the message has the length, of other values the type.
fn wrong_value(args: &Args, wanted: &str) -> ScriptError {
    match args.get(0) {
        Value::String(got) if wanted.starts_with("a string") => {
            let len = got.as_bytes().len();
            args.error(format!("expected {wanted}, got {len} bytes"))
        }
        _ => args.expected(0, "", wanted),
    }
}

/// A checked value on its way into a packet.
pub enum Change<T> {
    /// A number.
    Integer(Set<T, u64>, u64),
    /// A string.
    Bytes(Set<T, Vec<u8>>, Vec<u8>),
    /// True or false.
    Boolean(Set<T, bool>, bool),
    /// A string or nil.
    Optional(Set<T, Option<Vec<u8>>>, Option<Vec<u8>>),
}

impl<T> Change<T> {
    /// Makes the change.
    pub fn apply(self, packet: &mut T) {
        match self {
            Change::Integer(set, value) => set(packet, value),
            Change::Bytes(set, value) => set(packet, value),
            Change::Boolean(set, value) => set(packet, value),
            Change::Optional(set, value) => set(packet, value),
        }
    }
}

/// Borrows a packet for reading. That fails if a finalizer writes to it meanwhile: an error rather
/// than a panic.
pub fn reading<'a, T>(
    packet: &'a RefCell<T>,
    args: &Args,
) -> Result<std::cell::Ref<'a, T>, ScriptError> {
    packet
        .try_borrow()
        .map_err(|_| args.error("the packet is being written to"))
}

/// The same for writing.
pub fn writing<'a, T>(
    packet: &'a RefCell<T>,
    args: &Args,
) -> Result<std::cell::RefMut<'a, T>, ScriptError> {
    packet
        .try_borrow_mut()
        .map_err(|_| args.error("the packet is being read"))
}

impl<T: PacketObject> UserData for Held<T> {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", T::NAME);
        // A table instead of mlua's own methods: a plain lookup, and our own errors.
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let methods = Methods::new(lua, &raiser, T::NAME)?;
            for accessor in T::accessors() {
                methods.add::<Held<T>>(accessor.name, move |lua, packet, args| {
                    accessor.call(lua, &packet.0, args)
                })?;
            }
            T::methods(&methods)?;
            Ok(methods.table)
        });
    }
}

/// A packet that is only bytes.
#[derive(Clone, Default)]
pub struct Blob<const KIND: u8>(pub Vec<u8>);

impl<const KIND: u8> fmt::Debug for Blob<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blob").field(&Hidden(&self.0)).finish()
    }
}

impl<const KIND: u8> From<&[u8]> for Blob<KIND> {
    fn from(bytes: &[u8]) -> Self {
        Blob(bytes.to_vec())
    }
}

/// The answer to COM_STATISTICS.
pub type StatsPacket = Blob<0>;
/// A piece of a file or of a binlog.
pub type DataPacket = Blob<1>;

/// The longest payload that a script can make: what the proxy gathers at most.
pub const PAYLOAD: usize = (1 << 30) - 1;

impl<const KIND: u8> PacketObject for Blob<KIND> {
    const NAME: &'static str = match KIND {
        0 => "stats",
        _ => "data",
    };

    fn accessors() -> Vec<Accessor<Self>> {
        let name = if KIND == 0 { "message" } else { "data" };
        vec![Accessor::bytes(name, PAYLOAD, |p| &p.0, |p, v| p.0 = v)]
    }
}
