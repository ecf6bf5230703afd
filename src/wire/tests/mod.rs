//! Tests that go over all packets: what real peers sent, and properties of any bytes.

mod captured;
mod properties;
mod statements;

use super::*;

/// What this test's server and clients had agreed on, unless a test says otherwise.
const AGREED: Capabilities =
    Capabilities::USUAL.difference(Capabilities::SESSION_TRACK.union(Capabilities::DEPRECATE_EOF));

/// The same with session tracking, and without EOF.
const TRACKED: Capabilities = Capabilities::USUAL;

/// Gives packets with and without capabilities one shape.
trait Coded: Sized + PartialEq + std::fmt::Debug {
    fn from_bytes(payload: &[u8], capabilities: Capabilities) -> Result<Self, DecodeError>;
    fn append(&self, capabilities: Capabilities, out: &mut Vec<u8>);

    fn to_bytes(&self, capabilities: Capabilities) -> Vec<u8> {
        let mut out = Vec::new();
        self.append(capabilities, &mut out);
        out
    }
}

macro_rules! packets {
    (agreed: $($packet:ident)*) => {
        $(impl Coded for $packet {
            fn from_bytes(payload: &[u8], c: Capabilities) -> Result<Self, DecodeError> {
                Self::decode(payload, c)
            }
            fn append(&self, c: Capabilities, out: &mut Vec<u8>) {
                self.encode(c, out);
            }
        })*
    };
    (negotiating: $($packet:ident)*) => {
        $(impl Coded for $packet {
            fn from_bytes(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
                Self::decode(payload)
            }
            fn append(&self, _: Capabilities, out: &mut Vec<u8>) {
                self.encode(out);
            }
        })*
    };
}

packets! { agreed: Ok Eof ErrPacket Command ResultsetHeader Column Stats AuthSwitch AuthMoreData PrepareOk LocalInfile }
packets! { negotiating: Handshake Auth SslRequest }

/// Decodes what a real peer sent, and makes sure that it goes out as it came in.
fn captured<P: Coded>(payload: &[u8], capabilities: Capabilities) -> P {
    let packet = P::from_bytes(payload, capabilities).unwrap();
    let again = packet.to_bytes(capabilities);
    assert_eq!(
        again.escape_ascii().to_string(),
        payload.escape_ascii().to_string()
    );
    packet
}
