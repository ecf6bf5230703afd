//! Changes COM_STMT_EXECUTE: for a server that negotiated otherwise than the client about
//! QUERY_ATTRIBUTES, and for one that does not know the types that its client has left out.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html>

use crate::wire::statements::execute_head::{ExecuteHead, execute_flags};
use crate::wire::statements::param::ParamType;
use crate::wire::values::reader::Reader;
use crate::wire::{BulkExecute, Capabilities, Com, DecodeError, Put};
use bytes::BufMut;

const NAME: &str = "execute";

/// The command, the statement, its flags, and the iterations.
const HEAD: usize = 1 + 4 + 1 + 4;
/// Where the flags are in the head.
const FLAGS: usize = 5;

/// Translates an execute that was sent under QUERY_ATTRIBUTES for a server without them: it gets no
/// count, no names and no attributes. `params` is how many parameters the statement has.
///
/// The values of the attributes stay in the packet, behind those of the parameters, where servers
/// do not look: to find where they begin one would need the types, which may not be in the packet.
pub fn without_attributes(payload: &[u8], params: u16) -> Result<Vec<u8>, DecodeError> {
    let mut reader = Reader::new(NAME, payload);
    let mut out = head(&mut reader)?;
    // The server reports it if a statement needs parameters and gets none.
    if params == 0 || reader.is_empty() {
        return Ok(out);
    }
    let count = count(&mut reader)?;
    let params = usize::from(params);
    if count < params {
        return Err(reader.invalid("parameter_count", "less than the statement has"));
    }
    let nulls = reader.bytes("null bitmap", count.div_ceil(8))?;
    out.put_slice(nulls.get(..params.div_ceil(8)).unwrap_or(nulls));
    let types_sent = reader.u8("new_params_bind_flag")?;
    out.put_u8(types_sent);
    if types_sent != 0 {
        for at in 0..count {
            let param_type = reader.bytes("parameter_type", 2)?;
            reader.lenenc_bytes("parameter_name")?;
            if at < params {
                out.put_slice(param_type);
            }
        }
    }
    out.put_slice(reader.rest());
    Ok(out)
}

/// Translates an execute that was sent without QUERY_ATTRIBUTES for a server that expects a count
/// and names.
pub fn with_count(payload: &[u8], params: u16) -> Result<Vec<u8>, DecodeError> {
    let mut reader = Reader::new(NAME, payload);
    let mut out = head(&mut reader)?;
    // The server reports it if a statement needs parameters and gets none.
    if params == 0 || reader.is_empty() {
        return Ok(out);
    }
    let params = usize::from(params);
    out.put_lenenc(params as u64);
    out.put_slice(reader.bytes("null bitmap", params.div_ceil(8))?);
    let types_sent = reader.u8("new_params_bind_flag")?;
    out.put_u8(types_sent);
    if types_sent != 0 {
        for _ in 0..params {
            out.put_slice(reader.bytes("parameter_type", 2)?);
            out.put_lenenc_bytes(b"");
        }
    }
    out.put_slice(reader.rest());
    Ok(out)
}

/// Puts the types of its parameters into an execute that leaves them out. There must be no
/// attributes in it, as their names are left out, too.
pub fn with_types(
    payload: &mut Vec<u8>,
    types: &[ParamType],
    capabilities: Capabilities,
) -> Result<(), DecodeError> {
    let argument = payload.get(1..).unwrap_or_default();
    let params = u16::try_from(types.len()).unwrap_or(u16::MAX);
    let head = ExecuteHead::read(argument, params, capabilities)?;
    if head.count != types.len() || head.count == 0 || head.types_sent() {
        let reader = Reader::new(NAME, argument);
        return Err(reader.invalid("parameter_type", "not those that were left out"));
    }
    let (at, named) = (1 + head.types_at, head.named);
    let mut inserted = vec![1];
    for param_type in types {
        inserted.put_slice(&param_type.to_bytes());
        if named {
            inserted.put_lenenc_bytes(b"");
        }
    }
    payload.splice(at..=at, inserted);
    Ok(())
}

/// The same for a COM_STMT_BULK_EXECUTE.
pub fn bulk_with_types(payload: &mut Vec<u8>, types: &[ParamType]) -> Result<(), DecodeError> {
    let mut reader = Reader::new("bulk execute", payload);
    reader.bytes("statement_id", 5)?;
    let flags = reader.u16("flags")? | BulkExecute::SEND_TYPES;
    let mut inserted = flags.to_le_bytes().to_vec();
    for param_type in types {
        inserted.put_slice(&param_type.to_bytes());
    }
    payload.splice(5..7, inserted);
    Ok(())
}

/// The first bytes without the flag that announces a count.
fn head(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut head = reader.bytes("head", HEAD)?.to_vec();
    if let Some(flags) = head.get_mut(FLAGS) {
        *flags &= !execute_flags::PARAMETER_COUNT_AVAILABLE;
    }
    if head.first() != Some(&Com::STMT_EXECUTE.0) {
        return Err(reader.invalid("header", "another kind of packet"));
    }
    Ok(head)
}

fn count(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let count = reader.lenenc("parameter_count")?;
    // A parameter takes at least one bit of the bitmap of NULLs.
    if count > reader.peek().len() as u64 * 8 {
        return Err(reader.invalid("parameter_count", "more than the packet has room for"));
    }
    Ok(count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ColumnType;

    const PLAIN: &[u8] = b"\x17\x01\0\0\0\0\x01\0\0\0\x02\x01\xfd\0\xfd\0\x01a";

    #[test]
    fn a_count_comes_and_goes() {
        let counted = with_count(PLAIN, 2).unwrap();
        assert_eq!(
            counted,
            b"\x17\x01\0\0\0\0\x01\0\0\0\x02\x02\x01\xfd\0\0\xfd\0\0\x01a"
        );
        assert_eq!(without_attributes(&counted, 2).unwrap(), PLAIN);
    }

    #[test]
    fn attributes_go() {
        let packet =
            b"\x17\x01\0\0\0\x09\x01\0\0\0\x03\x02\x01\xfd\0\0\xfd\0\0\xfe\0\x01n\x01a\x01v";
        let plain = without_attributes(packet, 2).unwrap();
        assert_eq!(
            plain,
            b"\x17\x01\0\0\0\x01\x01\0\0\0\x02\x01\xfd\0\xfd\0\x01a\x01v"
        );
        let none = without_attributes(packet, 0).unwrap();
        assert_eq!(none, b"\x17\x01\0\0\0\x01\x01\0\0\0");
    }

    #[test]
    fn types_that_were_left_out_come() {
        let without = b"\x17\x01\0\0\0\0\x01\0\0\0\x02\0\x01a".to_vec();
        let types = [ParamType::new(ColumnType::VAR_STRING); 2];
        let mut payload = without.clone();
        with_types(&mut payload, &types, Capabilities::empty()).unwrap();
        assert_eq!(payload, PLAIN);
        assert!(with_types(&mut payload, &types, Capabilities::empty()).is_err());
        let mut counted = with_count(&without, 2).unwrap();
        with_types(&mut counted, &types, Capabilities::QUERY_ATTRIBUTES).unwrap();
        assert_eq!(counted, with_count(PLAIN, 2).unwrap());
        let mut bulk = b"\xfa\x01\0\0\0\x40\0\0\x01a\x01".to_vec();
        bulk_with_types(&mut bulk, &types).unwrap();
        assert_eq!(bulk, b"\xfa\x01\0\0\0\xc0\0\xfd\0\xfd\0\0\x01a\x01");
        assert!(bulk_with_types(&mut b"\xfa\x01\0\0\0\x40".to_vec(), &types).is_err());
    }

    #[test]
    fn what_lies_is_an_error() {
        assert!(
            without_attributes(
                b"\x17\x01\0\0\0\x08\x01\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
                1
            )
            .is_err()
        );
        assert!(without_attributes(b"\x17\x01\0\0\0\x08\x01\0\0\0\x01\0\x01", 2).is_err());
        assert!(with_count(b"\x17\x01\0", 2).is_err());
        for cut in (0..16).filter(|cut| *cut != HEAD) {
            assert!(with_count(&PLAIN[..cut], 2).is_err());
        }
    }
}
