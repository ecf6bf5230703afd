//! `dpm.to_utf8` and `dpm.integrity`.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mlua::{Lua, Value};
use sha2::{Digest as _, Sha256};

use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, one, string};

/// The text itself if it is UTF-8. Bytes that are not are written as servers write them, `\xFF`.
pub fn to_utf8(lua: &Lua, args: &Args) -> Answer {
    let text = args.string(0, "text")?;
    let bytes = text.as_bytes();
    if std::str::from_utf8(&bytes).is_ok() {
        return one(Value::String(text.clone()));
    }
    string(lua, readable(&bytes))
}

/// The hash of a script or a style, in the form that pages and their policies have.
pub fn integrity(lua: &Lua, args: &Args) -> Answer {
    let text = args.string(0, "text")?;
    let hash = STANDARD.encode(Sha256::digest(text.as_bytes()));
    string(lua, format!("sha256-{hash}"))
}

fn readable(bytes: &[u8]) -> Vec<u8> {
    let mut readable = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        readable.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            // Writing to a vector does not fail.
            let _ = write!(readable, "\\x{byte:02X}");
        }
    }
    readable
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn what_is_no_utf8_is_written_in_hexadecimal() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            (b"caf\xC3\xA9", "caf\u{e9}"),
            (b"caf\xE9 au lait", "caf\\xE9 au lait"),
            (b"\xFF\xFE\0", "\\xFF\\xFE\0"),
            (b"cut \xE2\x82", "cut \\xE2\\x82"),
        ] {
            assert_eq!(String::from_utf8(readable(bytes)).unwrap(), text);
        }
    }
}
