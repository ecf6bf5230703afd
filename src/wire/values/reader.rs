//! A cursor over a payload that cannot read past its end.

use crate::wire::values::error::{DecodeError, Problem};
use crate::wire::values::lenenc;

/// Takes a payload apart from its front. What is not there is an error that names the packet and
/// the field, never a panic; nothing is allocated from an announced length.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    packet: &'static str,
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `payload`; `packet` names it in errors.
    pub const fn new(packet: &'static str, payload: &'a [u8]) -> Self {
        Self {
            packet,
            left: payload,
        }
    }

    /// The next `n` bytes, if there are as many.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(n)?;
        self.left = left;
        Some(taken)
    }

    /// The next `n` bytes.
    pub fn bytes(&mut self, field: &'static str, n: usize) -> Result<&'a [u8], DecodeError> {
        self.take(n).ok_or(self.error(field, Problem::Truncated))
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, left) = self
            .left
            .split_first_chunk()
            .ok_or(self.error(field, Problem::Truncated))?;
        self.left = left;
        Ok(*taken)
    }

    /// A one-byte integer.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_le_bytes)
    }

    /// A two-byte integer.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// A three-byte integer.
    pub fn u24(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let [a, b, c] = self.array(field)?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    /// A four-byte integer.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// An eight-byte integer.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A length-encoded integer.
    pub fn lenenc(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        if let Some((value, size)) = lenenc::decode(self.left) {
            self.left = self.left.get(size..).unwrap_or_default();
            return Ok(value);
        }
        Err(self.error(
            field,
            match self.left.first() {
                Some(0xFB | 0xFF) => Problem::Invalid("not a length-encoded integer"),
                _ => Problem::Truncated,
            },
        ))
    }

    /// A string behind its length-encoded length.
    pub fn lenenc_bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.lenenc(field)?;
        // A length beyond usize cannot be there either.
        self.bytes(field, usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// A string that ends before a NUL; the NUL is consumed.
    pub fn nul_terminated(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let end = memchr::memchr(0, self.left).ok_or(self.error(field, Problem::Truncated))?;
        let taken = self.bytes(field, end)?;
        self.left = self.left.get(1..).unwrap_or_default();
        Ok(taken)
    }

    /// A string that ends before a NUL, or where the packet ends, as some peers leave the NUL out.
    pub fn nul_or_end_terminated(&mut self) -> &'a [u8] {
        self.nul_terminated("").unwrap_or_else(|_| self.rest())
    }

    /// All that is left.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.left;
        self.left = &[];
        rest
    }

    /// What is left, without taking it.
    pub const fn peek(&self) -> &'a [u8] {
        self.left
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Checks that nothing trails.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left.len() {
            0 => Ok(()),
            n => Err(self.error("end", Problem::TrailingBytes(n))),
        }
    }

    /// Checks that the packet begins with `header`.
    pub fn header(&mut self, header: u8) -> Result<(), DecodeError> {
        if self.u8("header")? == header {
            return Ok(());
        }
        Err(self.invalid("header", "another kind of packet"))
    }

    /// An error in `field` of this packet.
    pub const fn error(&self, field: &'static str, problem: Problem) -> DecodeError {
        DecodeError::new(self.packet, field, problem)
    }

    /// An error that says why the value of `field` is not valid.
    pub const fn invalid(&self, field: &'static str, why: &'static str) -> DecodeError {
        DecodeError::invalid(self.packet, field, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_what_is_there() {
        let mut reader = Reader::new("test", b"\x01\x02\x00ab\x00\xfc\x02\x00xy");
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16("b"), Ok(2));
        assert_eq!(reader.nul_terminated("c"), Ok(&b"ab"[..]));
        assert_eq!(reader.lenenc_bytes("d"), Ok(&b"xy"[..]));
        assert_eq!(
            reader.u32("e").unwrap_err().to_string(),
            "test packet: field 'e': truncated"
        );
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_huge_announced_length_is_truncation() {
        let mut reader = Reader::new("test", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffx");
        assert_eq!(
            reader.lenenc_bytes("a").unwrap_err().problem,
            Problem::Truncated
        );
    }

    #[test]
    fn counts_what_trails() {
        let error = Reader::new("test", b"abc").finish().unwrap_err();
        assert_eq!(
            error.to_string(),
            "test packet: field 'end': 3 trailing bytes"
        );
    }
}
