//! Both legs of a session that is passed on.
#![no_main]

use dpm_fuzz::input::Input;
use dpm_fuzz::lockstep::{Legs, Passed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut legs = Legs::default();
    for sent in Input::new(data).session() {
        if legs.pass(&sent) == Passed::Closed {
            return;
        }
    }
});
