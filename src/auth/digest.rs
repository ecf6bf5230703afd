//! The few operations on bytes that all methods are made of.

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};

/// The SHA-1 of all parts together.
pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, parts)
}

/// The SHA-256 of all parts together.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    digest(&SHA256, parts)
}

/// The SHA-512 of all parts together.
pub fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    digest(&SHA512, parts)
}

fn digest<const LEN: usize>(algorithm: &'static Algorithm, parts: &[&[u8]]) -> [u8; LEN] {
    let mut context = Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; LEN];
    for (out, byte) in out.iter_mut().zip(context.finish().as_ref()) {
        *out = *byte;
    }
    out
}

/// Byte by byte.
pub fn xor<const LEN: usize>(mut a: [u8; LEN], b: [u8; LEN]) -> [u8; LEN] {
    for (a, b) in a.iter_mut().zip(b) {
        *a ^= b;
    }
    a
}

/// `bytes` combined with `key`, which begins again where it ends. An empty key changes nothing.
pub fn xor_repeating(bytes: &mut [u8], key: &[u8]) {
    for (byte, key) in bytes.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Whether both are the same, found out in a time that does not depend on where they differ.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}
