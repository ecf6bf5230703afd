//! Length-encoded integers.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html>

/// The first byte that stands for SQL NULL in a text row, and for LOCAL INFILE in a result.
pub const NULL: u8 = 0xFB;

/// Reads the integer at the start of `bytes`: its value and the bytes it takes.
///
/// `None` means that it is not all there, or that its first byte is 0xFB or 0xFF, which begin no
/// integer. Values in a form longer than they need are accepted, as clients and servers do.
pub fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xFA => return Some((u64::from(first), 1)),
        0xFC => 2,
        0xFD => 3,
        0xFE => 8,
        0xFB | 0xFF => return None,
    };
    let mut value = [0; 8];
    value.get_mut(..width)?.copy_from_slice(rest.get(..width)?);
    Some((u64::from_le_bytes(value), width + 1))
}

/// How many bytes `value` takes.
pub const fn size(value: u64) -> usize {
    match value {
        0..=0xFA => 1,
        0xFB..=0xFFFF => 3,
        0x1_0000..=0xFF_FFFF => 4,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Put;
    use proptest::prelude::*;

    #[test]
    fn boundaries() {
        for (value, bytes) in [
            (0, &b"\x00"[..]),
            (250, b"\xfa"),
            (251, b"\xfc\xfb\x00"),
            (0xFFFF, b"\xfc\xff\xff"),
            (0x1_0000, b"\xfd\x00\x00\x01"),
            (0xFF_FFFF, b"\xfd\xff\xff\xff"),
            (0x100_0000, b"\xfe\x00\x00\x00\x01\x00\x00\x00\x00"),
            (u64::MAX, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"),
        ] {
            let mut out = Vec::new();
            out.put_lenenc(value);
            assert_eq!(out, bytes);
            assert_eq!(size(value), bytes.len());
            assert_eq!(decode(bytes), Some((value, bytes.len())));
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn null_and_err_are_no_integers() {
        assert_eq!(decode(b"\xfb12345678"), None);
        assert_eq!(decode(b"\xff12345678"), None);
    }

    proptest! {
        #[test]
        fn round_trip(value: u64, tail: Vec<u8>) {
            let mut out = Vec::new();
            out.put_lenenc(value);
            let size = out.len();
            out.extend(tail);
            prop_assert_eq!(decode(&out), Some((value, size)));
        }
    }
}
