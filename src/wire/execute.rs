//! COM_STMT_EXECUTE: runs a statement with values for its parameters.

use super::param::{ParamError, ParamType, ParamValue};
use super::reader::Reader;
use super::{Capabilities, DecodeError, Put};
use bytes::BufMut;

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
        let Head {
            mut packet,
            count,
            nulls,
            mut reader,
        } = Head::read(argument, bound.params, capabilities)?;
        if count == 0 {
            // Servers ignore what follows.
            return Ok(packet);
        }
        if !packet.types_sent {
            let types = bound.types.get(..count).ok_or(reader.invalid(
                "parameter_type",
                "left out, and no execute that was seen before has sent it",
            ))?;
            packet.params = types.to_vec();
        }
        packet.values = (0..count)
            .zip(&packet.params)
            .map(|(at, param)| {
                let is_null = nulls
                    .get(at / 8)
                    .is_some_and(|bits| bits >> (at % 8) & 1 == 1);
                let is_long =
                    u16::try_from(at).is_ok_and(|at| bound.long_data.binary_search(&at).is_ok());
                match (is_long, is_null) {
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
        let packet = Head::read(argument, params, capabilities)?.packet;
        Ok(packet.types_sent.then_some(packet.params))
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

/// The part before the values.
struct Head<'a> {
    packet: Execute,
    count: usize,
    nulls: &'a [u8],
    reader: Reader<'a>,
}

impl<'a> Head<'a> {
    fn read(
        argument: &'a [u8],
        params: u16,
        capabilities: Capabilities,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, argument);
        let mut packet = Execute {
            statement_id: reader.u32("statement_id")?,
            flags: reader.u8("flags")?,
            iterations: reader.u32("iterations")?,
            types_sent: false,
            params: Vec::new(),
            values: Vec::new(),
        };
        let attributes = capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let counted = packet.flags & execute_flags::PARAMETER_COUNT_AVAILABLE != 0;
        let mut count = u64::from(params);
        // MySQL 9.7 expects the count where there are parameters, whether or not the flag is set.
        if attributes && (counted || count > 0) {
            count = reader.lenenc("parameter_count")?;
            if count > MAX_PARAMS {
                return Err(reader.invalid("parameter_count", "more than are accepted"));
            }
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut nulls = &[][..];
        if count > 0 {
            nulls = reader.bytes("null bitmap", count.div_ceil(8))?;
            packet.types_sent = match reader.u8("new_params_bind_flag")? {
                0 => false,
                1 => true,
                _ => return Err(reader.invalid("new_params_bind_flag", "neither 0 nor 1")),
            };
        }
        if packet.types_sent {
            // Without a capacity: the count is the peer's, and only what the payload has bytes for
            // is kept.
            for _ in 0..count {
                packet.params.push(Param {
                    param_type: ParamType::from_bytes(reader.array("parameter_type")?),
                    name: match attributes {
                        true => reader.lenenc_bytes("parameter_name")?.to_vec(),
                        false => Vec::new(),
                    },
                });
            }
        }
        Ok(Self {
            packet,
            count,
            nulls,
            reader,
        })
    }
}

/// Appends one value, or says why not.
pub(super) fn put(
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
