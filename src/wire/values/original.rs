//! Encodes an unchanged packet to exactly the bytes it was decoded from, even if they are unusual.

use std::cell::RefCell;

use crate::wire::{Capabilities, DecodeError};

/// How much memory is kept for the next comparison.
const MAX_SCRATCH: usize = 16 << 10;

thread_local! {
    /// Where packets are encoded to be compared: most are only looked at, and need no memory of their own.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The bytes a packet was decoded from, kept only if the packet's values alone would be encoded
/// otherwise: a length in a longer form than needed, an absent field, bytes that trail.
///
/// A packet that is encoded unchanged, for the same capabilities, goes out as it came in; once a
/// value of it has changed, it goes out in the usual form. Leave it to `Default` in new packets.
/// It takes no part in comparisons.
#[derive(Clone, Default)]
pub struct Original(Option<Box<(Capabilities, Vec<u8>)>>);

impl Original {
    /// Keeps `payload` if it differs from the usual encoding of the packet's values.
    pub(crate) fn unless_usual(
        payload: &[u8],
        capabilities: Capabilities,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let is_usual = SCRATCH.with_borrow_mut(|usual| {
            usual.clear();
            encode(usual);
            let is_usual = payload == usual;
            usual.shrink_to(MAX_SCRATCH);
            is_usual
        });
        match is_usual {
            true => Self(None),
            false => Self(Some(Box::new((capabilities, payload.to_vec())))),
        }
    }

    /// The original bytes, if `packet` has not changed since they were decoded.
    pub(crate) fn still<P: PartialEq>(
        &self,
        packet: &P,
        capabilities: Capabilities,
        parse: impl Fn(&[u8], Capabilities) -> Result<P, DecodeError>,
    ) -> Option<&[u8]> {
        let (same, bytes) = self.0.as_deref()?;
        (*same == capabilities && parse(bytes, capabilities).as_ref() == Ok(packet))
            .then_some(bytes)
    }
}

impl PartialEq for Original {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Original {}

impl std::fmt::Debug for Original {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Original(kept)"
        } else {
            "Original"
        })
    }
}

/// Gives a packet its public `decode` and `encode` on top of the private `parse` and
/// `encode_usual`, which need not care about unusual forms.
macro_rules! lossless {
    ($packet:ty) => {
        impl $packet {
            /// Decodes a payload.
            pub fn decode(payload: &[u8], capabilities: Capabilities) -> Result<Self, DecodeError> {
                let mut packet = Self::parse(payload, capabilities)?;
                let encode = |out: &mut Vec<u8>| packet.encode_usual(capabilities, out);
                packet.original = Original::unless_usual(payload, capabilities, encode);
                Ok(packet)
            }

            /// Appends the payload to `out`.
            pub fn encode(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
                match self.original.still(self, capabilities, Self::parse) {
                    Some(bytes) => out.extend_from_slice(bytes),
                    None => self.encode_usual(capabilities, out),
                }
            }
        }
    };
}
pub(crate) use lossless;
