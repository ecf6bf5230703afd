//! Every packet but those of logins, under any capabilities.
#![no_main]

use dpm::wire::Capabilities;
use dpm_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    // Without this one nobody can log in.
    let capabilities = input.capabilities() | Capabilities::PROTOCOL_41;
    dpm_fuzz::packets::all(input.rest(), capabilities);
});
