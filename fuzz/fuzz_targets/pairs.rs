//! Connections that come from another process, from bytes: what can be read is written as something that is read as the same.
#![no_main]

use dpm::proxy::Pair;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(pair) = Pair::read(bytes) else {
        return;
    };
    let written = pair.write().expect("what was read is short enough");
    assert_eq!(Pair::read(&written).as_ref(), Ok(&pair));
});
