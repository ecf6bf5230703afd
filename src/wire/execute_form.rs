//! Translates COM_STMT_EXECUTE between a client and a server of which only one has
//! QUERY_ATTRIBUTES.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html>

use super::reader::Reader;
use super::{Com, DecodeError, Put, execute_flags};
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
