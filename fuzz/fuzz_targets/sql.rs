//! Texts of SQL: tokens, digests, what is proven about statements, and what they do to their session.
#![no_main]

use dpm_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mode = input.mode();
    dpm_fuzz::sql::all(input.rest(), mode);
});
