//! Connection attributes: what a client tells about itself, as pairs of names and values.

use crate::wire::values::reader::Reader;
use crate::wire::{DecodeError, Put};

/// A name and a value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// The pairs in their order.
///
/// # Errors
/// A length leads beyond the end.
pub fn read_attributes(bytes: &[u8]) -> Result<Vec<Attribute>, DecodeError> {
    let mut reader = Reader::new("auth", bytes);
    let mut attributes = Vec::new();
    while !reader.is_empty() {
        let name = reader.lenenc_bytes("attribute name")?.to_vec();
        attributes.push((name, reader.lenenc_bytes("attribute value")?.to_vec()));
    }
    Ok(attributes)
}

/// What [`read_attributes`] reads.
pub fn write_attributes<'a>(attributes: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in attributes {
        bytes.put_lenenc_bytes(name);
        bytes.put_lenenc_bytes(value);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back() {
        let pairs = [(&b"_os"[..], &b"Linux"[..]), (b"empty", b"")];
        let bytes = write_attributes(pairs);
        assert_eq!(bytes, b"\x03_os\x05Linux\x05empty\x00");
        let read = read_attributes(&bytes).unwrap();
        let expected = pairs.map(|(name, value)| (name.to_vec(), value.to_vec()));
        assert_eq!(read, expected);
        assert!(read_attributes(b"\x03_os").is_err());
        assert!(read_attributes(b"\xFE\xFF").is_err());
    }
}
