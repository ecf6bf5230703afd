//! COM_STMT_EXECUTE: runs a statement with values for its parameters.

use crate::wire::statements::execute_head::{ExecuteHead, execute_flags};
use crate::wire::statements::param::{ParamError, ParamType, ParamValue};
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError, Put};
use bytes::BufMut;

const NAME: &str = "execute";

/// A command that runs a statement.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html>
#[derive(Debug, Clone, PartialEq)]
pub struct Execute {
    /// Which statement; 0xFFFFFFFF is the one that was prepared last (MariaDB).
    pub statement_id: u32,
    /// See [`execute_flags`].
    pub flags: u8,
    /// Always 1.
    pub iterations: u32,
    /// Whether the types are in the packet, rather than known from an earlier one.
    pub types_sent: bool,
    /// What the parameters are, the statement's own first, then the attributes.
    pub params: Vec<Param>,
    /// Their values, as many.
    pub values: Vec<ParamValue>,
}

/// A parameter's type and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its type.
    pub param_type: ParamType,
    /// An attribute's name; a statement's own parameters have none.
    pub name: Vec<u8>,
}

/// What must be known to decode an execute.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bound<'a> {
    /// How many parameters the statement takes.
    pub params: u16,
    /// What an earlier execute bound, for one that leaves it out.
    pub types: &'a [Param],
    /// Which parameters (counted from 0) were sent as long data, in ascending order.
    pub long_data: &'a [u16],
}

impl Execute {
    /// Decodes a command's argument.
    pub fn decode(
        argument: &[u8],
        bound: Bound<'_>,
        capabilities: Capabilities,
    ) -> Result<Self, DecodeError> {
        let head = ExecuteHead::read(argument, bound.params, capabilities)?;
        let mut reader = Reader::new(NAME, head.values());
        let mut packet = Self {
            statement_id: head.statement_id,
            flags: head.flags,
            iterations: head.iterations,
            types_sent: head.types_sent(),
            params: params(&head),
            values: Vec::new(),
        };
        if head.count > 0 && !packet.types_sent {
            let types = bound.types.get(..head.count).ok_or(reader.invalid(
                "parameter_type",
                "left out, and no execute that was seen before has sent it",
            ))?;
            packet.params = types.to_vec();
        }
        packet.values = (0..head.count)
            .zip(&packet.params)
            .map(|(at, param)| {
                let is_long =
                    u16::try_from(at).is_ok_and(|at| bound.long_data.binary_search(&at).is_ok());
                match (is_long, head.is_null(at)) {
                    (true, _) => Ok(ParamValue::LongData),
                    (_, true) => Ok(ParamValue::Null),
                    _ => param.param_type.decode(&mut reader),
                }
            })
            .collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(packet)
    }

    /// Decodes only the types that a command's argument binds, if any; `params` is how many
    /// parameters the statement takes.
    pub fn decode_types(
        argument: &[u8],
        params: u16,
        capabilities: Capabilities,
    ) -> Result<Option<Vec<Param>>, DecodeError> {
        let head = ExecuteHead::read(argument, params, capabilities)?;
        Ok(head.types_sent().then(|| self::params(&head)))
    }

    /// Appends the command's argument to `out`; nothing, if that fails. Whether it has the number
    /// of parameters depends on the capabilities, whatever the flags say.
    pub fn encode(&self, capabilities: Capabilities, out: &mut Vec<u8>) -> Result<(), ParamError> {
        let start = out.len();
        let result = self.append(capabilities, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn append(&self, capabilities: Capabilities, out: &mut Vec<u8>) -> Result<(), ParamError> {
        let attributes = capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let counted = attributes && !self.values.is_empty();
        out.put_u32_le(self.statement_id);
        out.put_u8(match counted {
            true => self.flags | execute_flags::PARAMETER_COUNT_AVAILABLE,
            false => self.flags & !execute_flags::PARAMETER_COUNT_AVAILABLE,
        });
        out.put_u32_le(self.iterations);
        if counted {
            out.put_lenenc(self.values.len() as u64);
        }
        if self.values.is_empty() {
            return Ok(());
        }
        if self.params.len() != self.values.len() {
            return Err(ParamError::Impossible(
                "there are more parameters than values, or fewer",
            ));
        }
        let nulls = out.len();
        out.put_bytes(0, self.values.len().div_ceil(8));
        out.put_u8(self.types_sent.into());
        for param in &self.params {
            if !attributes && !param.name.is_empty() {
                return Err(ParamError::Impossible(
                    "the server was not asked to take attributes (CLIENT_QUERY_ATTRIBUTES)",
                ));
            }
            if self.types_sent {
                out.put_slice(&param.param_type.to_bytes());
                if attributes {
                    out.put_lenenc_bytes(&param.name);
                }
            }
        }
        for (at, (value, param)) in self.values.iter().zip(&self.params).enumerate() {
            match value {
                ParamValue::LongData => {}
                ParamValue::Null => {
                    if let Some(bits) = out.get_mut(nulls + at / 8) {
                        *bits |= 1 << (at % 8);
                    }
                }
                _ => put(value, param.param_type, at, out)?,
            }
        }
        Ok(())
    }
}

/// The types and names in the packet. Without a capacity: the count is the peer's, and only what the
/// payload has bytes for is kept.
fn params(head: &ExecuteHead<'_>) -> Vec<Param> {
    let params = head.types().map(|(param_type, name)| Param {
        param_type,
        name: name.to_vec(),
    });
    params.collect()
}

/// Appends one value, or says why not.
pub(in crate::wire) fn put(
    value: &ParamValue,
    param_type: ParamType,
    at: usize,
    out: &mut Vec<u8>,
) -> Result<(), ParamError> {
    param_type
        .encode(value, out)
        .ok_or_else(|| ParamError::Unfit {
            param: at + 1,
            what: value.describe(),
            param_type,
        })
}
