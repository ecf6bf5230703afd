//! The attributes of a query: named values that travel in front of the SQL.

use crate::wire::statements::execute::Param;
use crate::wire::statements::param::{ParamType, ParamValue};
use crate::wire::values::reader::Reader;
use crate::wire::{DecodeError, ParamError, Put};
use bytes::BufMut;

const NAME: &str = "query attributes";

/// The most that are accepted; a statement's parameters, which are counted in two bytes, have this
/// limit too.
const MOST: u64 = 0xFFFF;

/// A named value that a client gives along with a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// Its name.
    pub name: Vec<u8>,
    /// Its type.
    pub param_type: ParamType,
    /// Its value.
    pub value: ParamValue,
}

/// The attributes at the start of what follows the command byte of COM_QUERY under
/// QUERY_ATTRIBUTES, and how many bytes they take. Behind them is the SQL.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html>
pub fn decode(argument: &[u8]) -> Result<(Vec<Attribute>, usize), DecodeError> {
    let mut reader = Reader::new(NAME, argument);
    let count = reader.lenenc("parameter_count")?;
    if count > MOST {
        return Err(reader.invalid("parameter_count", "more than are accepted"));
    }
    // How many sets of values there are. It has never been another number than 1.
    reader.lenenc("parameter_set_count")?;
    let mut attributes = Vec::new();
    if count > 0 {
        let count = count as usize;
        let nulls = reader.bytes("null bitmap", count.div_ceil(8))?;
        if reader.u8("new_params_bind_flag")? != 1 {
            return Err(reader.invalid("new_params_bind_flag", "not 1"));
        }
        // Without a capacity: the count is the peer's, and only what the payload has bytes for is
        // kept.
        let mut params = Vec::new();
        for _ in 0..count {
            params.push(Param {
                param_type: ParamType::from_bytes(reader.array("parameter_type")?),
                name: reader.lenenc_bytes("parameter_name")?.to_vec(),
            });
        }
        for (at, param) in params.into_iter().enumerate() {
            let null = nulls
                .get(at / 8)
                .is_some_and(|bits| bits >> (at % 8) & 1 == 1);
            let value = match null {
                true => ParamValue::Null,
                false => param.param_type.decode(&mut reader)?,
            };
            attributes.push(Attribute {
                name: param.name,
                param_type: param.param_type,
                value,
            });
        }
    }
    let size = argument.len() - reader.peek().len();
    Ok((attributes, size))
}

/// Appends attributes as [`decode`] takes them.
pub fn encode(attributes: &[Attribute], out: &mut Vec<u8>) -> Result<(), ParamError> {
    if attributes.len() as u64 > MOST {
        return Err(ParamError::Impossible(
            "there are more than 65535 attributes",
        ));
    }
    out.put_lenenc(attributes.len() as u64);
    out.put_lenenc(1);
    if attributes.is_empty() {
        return Ok(());
    }
    let mut nulls = vec![0; attributes.len().div_ceil(8)];
    for (at, attribute) in attributes.iter().enumerate() {
        if attribute.value == ParamValue::Null
            && let Some(bits) = nulls.get_mut(at / 8)
        {
            *bits |= 1 << (at % 8);
        }
    }
    out.put_slice(&nulls);
    out.put_u8(1);
    for attribute in attributes {
        out.put_slice(&attribute.param_type.to_bytes());
        out.put_lenenc_bytes(&attribute.name);
    }
    for (at, attribute) in attributes.iter().enumerate() {
        if attribute.value != ParamValue::Null {
            crate::wire::statements::execute::put(&attribute.value, attribute.param_type, at, out)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ColumnType;

    /// As the `mysql` client of 9.7 sends them: `query_attributes n val m x`.
    const TWO: &[u8] = b"\x02\x01\0\x01\xfe\0\x01n\xfe\0\x01m\x03val\x01x";

    #[test]
    fn attributes_come_in_front_of_the_sql() {
        let query = [TWO, b"SELECT 1"].concat();
        let (attributes, size) = decode(&query).unwrap();
        assert_eq!(&query[size..], b"SELECT 1");
        assert_eq!(attributes[0].name, b"n");
        assert_eq!(attributes[0].value, ParamValue::Bytes(b"val".to_vec()));
        assert_eq!(attributes[1].param_type.column_type, ColumnType::STRING);
        let mut out = Vec::new();
        encode(&attributes, &mut out).unwrap();
        assert_eq!(out, TWO);
    }

    #[test]
    fn none_are_two_counts() {
        assert_eq!(decode(b"\0\x01SELECT 1").unwrap(), (vec![], 2));
        let mut out = Vec::new();
        encode(&[], &mut out).unwrap();
        assert_eq!(out, b"\0\x01");
    }

    #[test]
    fn nulls_and_numbers() {
        let attributes =
            [(ParamValue::Null, "a"), (ParamValue::Signed(-7), "b")].map(|(value, name)| {
                Attribute {
                    name: name.into(),
                    param_type: ParamType::of(&value),
                    value,
                }
            });
        let mut out = Vec::new();
        encode(&attributes, &mut out).unwrap();
        assert_eq!(decode(&out).unwrap(), (attributes.to_vec(), out.len()));
    }

    #[test]
    fn what_lies_is_an_error() {
        for query in [
            &b""[..],
            b"\x01",
            b"\x01\x01",
            b"\xfd\xff\xff\xff\x01",
            b"\x01\x01\0\0\xfe\0\0\x01x",
            b"\x01\x01\0\x01\xfe\0\x7fn",
            b"\x01\x01\0\x01\xfe\0\x01n\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(decode(query).is_err(), "{}", query.escape_ascii());
        }
        for cut in 0..TWO.len() {
            assert!(decode(&TWO[..cut]).is_err());
        }
    }
}
