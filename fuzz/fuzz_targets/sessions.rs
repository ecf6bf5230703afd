//! Logical sessions, from bytes: what can be read is written as something that is read as the same.
#![no_main]

use dpm::pool::LogicalSession;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(session) = LogicalSession::read(bytes) else {
        return;
    };
    let written = session.write().expect("what was read is short enough");
    assert_eq!(LogicalSession::read(&written).as_ref(), Ok(&session));
});
