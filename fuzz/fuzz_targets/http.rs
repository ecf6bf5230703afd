//! Requests for HTTP, in pieces of any size.
#![no_main]

use dpm::http::{Conversation, Head, Next, Request, Response};
use libfuzzer_sys::fuzz_target;

/// The requests in these bytes, which come in pieces of this size.
fn requests(mut bytes: &[u8], piece: usize) -> Vec<Request> {
    let mut talk = Conversation::new(1000);
    let answer = Response::new(Head::new(200, Vec::new()).expect("a head"), Vec::new());
    let mut requests = Vec::new();
    loop {
        match talk.go_on() {
            Next::Request(request) => {
                requests.push(request);
                assert!(talk.answer(&answer));
            }
            Next::Input if !bytes.is_empty() => {
                let size = piece.min(talk.room()).min(bytes.len());
                assert!(size > 0, "it wants more, and has no room");
                let (next, rest) = bytes.split_at(size);
                talk.received(next);
                bytes = rest;
            }
            Next::Output => talk.sent(usize::MAX),
            Next::Answer => panic!("all is answered"),
            Next::Input | Next::Nothing => return requests,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let whole = requests(data, usize::MAX);
    assert_eq!(requests(data, 1), whole);
    assert!(whole.iter().all(|request| request.body.len() <= 1000));
    let _ = requests(data, 7);
});
