//! What is decoded is encoded to the bytes it came from, and in its usual form decodes to the same values.

use std::fmt::Debug;

use dpm::wire::{Capabilities, DecodeError, Original};

/// A packet in the two forms that it has.
struct Both<P> {
    decoded: P,
    /// The same without the bytes that it came from.
    bare: P,
}

/// Checks one kind of packet: `bare` takes away the bytes that a packet was decoded from, if it keeps them.
fn check<P: PartialEq + Debug>(
    payload: &[u8],
    decode: impl Fn(&[u8]) -> Result<P, DecodeError>,
    encode: impl Fn(&P, &mut Vec<u8>),
    bare: impl Fn(&mut P),
) {
    let (Ok(decoded), Ok(mut copy)) = (decode(payload), decode(payload)) else {
        return;
    };
    bare(&mut copy);
    let both = Both {
        decoded,
        bare: copy,
    };
    let mut bytes = Vec::new();
    encode(&both.decoded, &mut bytes);
    assert_eq!(bytes, payload, "as it came: {:?}", both.decoded);
    let mut usual = Vec::new();
    encode(&both.bare, &mut usual);
    let mut again = decode(&usual).expect("what was encoded");
    bare(&mut again);
    bytes.clear();
    encode(&again, &mut bytes);
    assert_eq!(bytes, usual, "{:?} and {again:?}", both.bare);
}

/// Checks a kind of packet that is decoded by what was agreed on.
macro_rules! agreed {
    ($payload:expr, $capabilities:expr, $($packet:ident $($original:ident)?,)*) => {
        $(check(
            $payload,
            |bytes| dpm::wire::$packet::decode(bytes, $capabilities),
            |packet, out| packet.encode($capabilities, out),
            |packet| {
                let _ = packet;
                $(packet.$original = Original::default();)?
            },
        );)*
    };
}

/// The packets of a login, which negotiate the capabilities.
pub fn logins(payload: &[u8]) {
    use dpm::wire::{Auth, Handshake, SslRequest};
    check(payload, Handshake::decode, Handshake::encode, |packet| {
        packet.original = Original::default();
    });
    check(payload, Auth::decode, Auth::encode, |packet| {
        packet.original = Original::default();
    });
    check(payload, SslRequest::decode, SslRequest::encode, |_| {});
}

/// All other packets.
pub fn all(payload: &[u8], capabilities: Capabilities) {
    agreed! {
        payload, capabilities,
        Ok original,
        ErrPacket original,
        Eof,
        Command,
        ResultsetHeader original,
        Column original,
        PrepareOk original,
        AuthSwitch original,
        AuthMoreData,
        LocalInfile,
        Stats,
    }
}
