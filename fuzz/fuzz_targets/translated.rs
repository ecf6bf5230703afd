//! A proxy between a client and a server that negotiated differently: what each of them is sent makes sense
//! to it, and the client gets all its answers.
#![no_main]

use dpm::session::EventSet;
use dpm_fuzz::far_ends::FarEnds;
use dpm_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (of_client, of_server) = (input.capabilities(), input.capabilities());
    // Without hooks to be called, packets pass in spans.
    let armed = EventSet(input.u64());
    let Some(mut ends) = FarEnds::new(of_client, of_server, armed) else {
        return;
    };
    for sent in input.session() {
        ends.say(&sent);
        if !ends.open() {
            return;
        }
    }
    ends.nobody_waits();
});
