//! COM_STMT_BULK_EXECUTE: runs a statement once for each of many rows of values. MariaDB only.

use crate::wire::statements::execute::put;
use crate::wire::statements::param::{ParamError, ParamType, ParamValue};
use crate::wire::values::reader::Reader;
use crate::wire::{DecodeError, Hidden};
use bytes::{Buf, BufMut, Bytes};
use std::fmt;

const NAME: &str = "bulk execute";

/// The byte before each value.
mod indicator {
    pub(in crate::wire) const NONE: u8 = 0;
    pub(in crate::wire) const NULL: u8 = 1;
    pub(in crate::wire) const DEFAULT: u8 = 2;
    pub(in crate::wire) const IGNORE: u8 = 3;
}

/// A command that runs a statement many times.
///
/// <https://mariadb.com/docs/server/reference/clientserver-protocol/3-binary-protocol-prepared-statements/com_stmt_bulk_execute>
#[derive(Debug, Clone, PartialEq)]
pub struct BulkExecute {
    /// Which statement; 0xFFFFFFFF is the one that was prepared last.
    pub statement_id: u32,
    /// See the constants.
    pub flags: u16,
    /// The types of the parameters, sent here or known from an earlier execute.
    pub types: Vec<ParamType>,
}

impl BulkExecute {
    /// A result of each unit is wanted.
    pub const SEND_UNIT_RESULTS: u16 = 64;
    /// The types are in the packet.
    pub const SEND_TYPES: u16 = 128;

    /// Decodes a command's argument but for the rows, which the second value reads. `params` is
    /// how many parameters the statement takes, `types` what an earlier execute bound.
    pub fn decode(
        argument: &Bytes,
        params: u16,
        types: &[ParamType],
    ) -> Result<(Self, BulkRows), DecodeError> {
        let mut reader = Reader::new(NAME, argument);
        let mut bulk = Self {
            statement_id: reader.u32("statement_id")?,
            flags: reader.u16("flags")?,
            types: Vec::new(),
        };
        if params == 0 {
            return Err(reader.invalid("rows", "the statement takes no parameters"));
        }
        bulk.types = if bulk.flags & Self::SEND_TYPES != 0 {
            read_types(&mut reader, params)?
        } else {
            let known = types.get(..usize::from(params)).ok_or(reader.invalid(
                "parameter_type",
                "left out, and no execute that was seen before has sent it",
            ))?;
            known.to_vec()
        };
        let head = argument.len() - reader.peek().len();
        let rows = BulkRows {
            left: argument.slice(head..),
            types: bulk.types.clone(),
        };
        Ok((bulk, rows))
    }

    /// Decodes only the types in a command's argument; none if it leaves them out.
    pub fn decode_types(argument: &[u8], params: u16) -> Result<Vec<ParamType>, DecodeError> {
        let mut reader = Reader::new(NAME, argument);
        reader.u32("statement_id")?;
        if reader.u16("flags")? & Self::SEND_TYPES == 0 {
            return Ok(Vec::new());
        }
        read_types(&mut reader, params)
    }

    /// Appends the command's argument with these rows to `out`; nothing, if that fails.
    pub fn encode(&self, rows: &[Vec<ParamValue>], out: &mut Vec<u8>) -> Result<(), ParamError> {
        let start = out.len();
        let result = self.append(rows, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn append(&self, rows: &[Vec<ParamValue>], out: &mut Vec<u8>) -> Result<(), ParamError> {
        if self.types.is_empty() || rows.is_empty() {
            return Err(ParamError::Impossible(
                "a bulk execute needs parameters, and values for them",
            ));
        }
        out.put_u32_le(self.statement_id);
        out.put_u16_le(self.flags);
        if self.flags & Self::SEND_TYPES != 0 {
            for param_type in &self.types {
                out.put_slice(&param_type.to_bytes());
            }
        }
        for row in rows {
            if row.len() != self.types.len() {
                return Err(ParamError::Impossible(
                    "a row has more values than there are parameters, or fewer",
                ));
            }
            for (at, (value, param_type)) in row.iter().zip(&self.types).enumerate() {
                match value {
                    ParamValue::Null => out.put_u8(indicator::NULL),
                    ParamValue::Default => out.put_u8(indicator::DEFAULT),
                    ParamValue::Ignore => out.put_u8(indicator::IGNORE),
                    _ => {
                        out.put_u8(indicator::NONE);
                        put(value, *param_type, at, out)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn read_types(reader: &mut Reader<'_>, params: u16) -> Result<Vec<ParamType>, DecodeError> {
    (0..params)
        .map(|_| Ok(ParamType::from_bytes(reader.array("parameter_type")?)))
        .collect()
}

/// The rows of a bulk execute, one at a time: a packet of NULLs holds more rows than one would want
/// in memory at once.
#[derive(Clone)]
pub struct BulkRows {
    left: Bytes,
    types: Vec<ParamType>,
}

impl fmt::Debug for BulkRows {
    /// Without the values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkRows")
            .field("left", &Hidden(&self.left))
            .field("types", &self.types)
            .finish()
    }
}

impl BulkRows {
    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    fn row(&self, reader: &mut Reader<'_>) -> Result<Vec<ParamValue>, DecodeError> {
        let value = |param_type: &ParamType| match reader.u8("indicator")? {
            indicator::NONE => param_type.decode(reader),
            indicator::NULL => Ok(ParamValue::Null),
            indicator::DEFAULT => Ok(ParamValue::Default),
            indicator::IGNORE => Ok(ParamValue::Ignore),
            _ => Err(reader.invalid("indicator", "none of 0 to 3")),
        };
        self.types.iter().map(value).collect()
    }
}

impl Iterator for BulkRows {
    type Item = Result<Vec<ParamValue>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let mut reader = Reader::new(NAME, &self.left);
        let row = self.row(&mut reader);
        let taken = match row {
            Ok(_) => self.left.len() - reader.peek().len(),
            // After an error it is unknown where the next row begins, so all that is left is
            // consumed.
            Err(_) => self.left.len(),
        };
        self.left.advance(taken);
        Some(row)
    }
}
