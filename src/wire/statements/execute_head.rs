//! The start of COM_STMT_EXECUTE up to the values, read without copying anything.

use crate::wire::statements::param::ParamType;
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError};

const NAME: &str = "execute";

/// The most that are accepted: as many parameters as a statement can have (65,535), and as many
/// attributes.
const MAX_PARAMS: u64 = 2 * 0xFFFF;

/// The flags of COM_STMT_EXECUTE.
pub mod execute_flags {
    /// A cursor to read by: the rows come by COM_STMT_FETCH.
    pub const CURSOR_TYPE_READ_ONLY: u8 = 1;
    /// A cursor to update by; no server has it.
    pub const CURSOR_TYPE_FOR_UPDATE: u8 = 2;
    /// A cursor that goes both ways; no server has it.
    pub const CURSOR_TYPE_SCROLLABLE: u8 = 4;
    /// The packet says how many parameters it has, attributes included.
    pub const PARAMETER_COUNT_AVAILABLE: u8 = 8;

    /// Every flag under its MySQL name.
    pub const ALL: &[(&str, u8)] = &[
        ("CURSOR_TYPE_READ_ONLY", CURSOR_TYPE_READ_ONLY),
        ("CURSOR_TYPE_FOR_UPDATE", CURSOR_TYPE_FOR_UPDATE),
        ("CURSOR_TYPE_SCROLLABLE", CURSOR_TYPE_SCROLLABLE),
        ("PARAMETER_COUNT_AVAILABLE", PARAMETER_COUNT_AVAILABLE),
    ];
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct ExecuteHead<'a> {
    /// Which statement.
    pub statement_id: u32,
    /// See [`execute_flags`].
    pub flags: u8,
    /// Always 1.
    pub iterations: u32,
    /// How many parameters the packet has, attributes included.
    pub count: usize,
    /// Where in the argument the byte is that says whether the types follow; its end if there are
    /// no parameters.
    pub types_at: usize,
    /// Whether types are followed by names.
    pub named: bool,
    nulls: &'a [u8],
    types: Option<&'a [u8]>,
    values: &'a [u8],
}

impl<'a> ExecuteHead<'a> {
    /// Reads a command's argument; `params` is how many parameters the statement takes.
    ///
    /// # Errors
    /// It is malformed.
    pub fn read(
        argument: &'a [u8],
        params: u16,
        capabilities: Capabilities,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, argument);
        let statement_id = reader.u32("statement_id")?;
        let flags = reader.u8("flags")?;
        let iterations = reader.u32("iterations")?;
        let named = capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let counted = flags & execute_flags::PARAMETER_COUNT_AVAILABLE != 0;
        let mut count = u64::from(params);
        // MySQL 9.7 expects the count where there are parameters, whether or not the flag is set.
        if named && (counted || count > 0) {
            count = reader.lenenc("parameter_count")?;
            if count > MAX_PARAMS {
                return Err(reader.invalid("parameter_count", "more than are accepted"));
            }
        }
        let mut head = Self {
            statement_id,
            flags,
            iterations,
            count: usize::try_from(count).unwrap_or(usize::MAX),
            types_at: argument.len(),
            named,
            nulls: &[],
            types: None,
            values: &[],
        };
        if head.count == 0 {
            // Servers ignore what follows.
            return Ok(head);
        }
        head.nulls = reader.bytes("null bitmap", head.count.div_ceil(8))?;
        head.types_at = argument.len() - reader.peek().len();
        match reader.u8("new_params_bind_flag")? {
            0 => {}
            1 => head.types = Some(head.read_types(&mut reader)?),
            _ => return Err(reader.invalid("new_params_bind_flag", "neither 0 nor 1")),
        }
        head.values = reader.rest();
        Ok(head)
    }

    fn read_types(&self, reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
        let start = reader.peek();
        for _ in 0..self.count {
            reader.bytes("parameter_type", 2)?;
            if self.named {
                reader.lenenc_bytes("parameter_name")?;
            }
        }
        let size = start.len() - reader.peek().len();
        Ok(start.get(..size).unwrap_or_default())
    }

    /// Whether the types are in the packet, rather than known from an earlier one.
    pub fn types_sent(&self) -> bool {
        self.types.is_some()
    }

    /// The types in the packet, with their names.
    pub fn types(&self) -> impl Iterator<Item = (ParamType, &'a [u8])> + Clone + use<'a> {
        let mut reader = Reader::new(NAME, self.types.unwrap_or_default());
        let named = self.named;
        std::iter::from_fn(move || {
            let param_type = ParamType::from_bytes(reader.array("parameter_type").ok()?);
            let name = match named {
                true => reader.lenenc_bytes("parameter_name").ok()?,
                false => &[],
            };
            Some((param_type, name))
        })
    }

    /// Whether a parameter, counted from 0, is NULL.
    pub fn is_null(&self, at: usize) -> bool {
        let bits = self.nulls.get(at / 8);
        bits.is_some_and(|bits| bits >> (at % 8) & 1 == 1)
    }

    /// The values.
    pub fn values(&self) -> &'a [u8] {
        self.values
    }
}
