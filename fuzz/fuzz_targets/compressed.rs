//! Compressed frames: any bytes as frames, in pieces of any size; and what is compressed here is decoded to
//! the same bytes, or to nothing more than it announces if a byte of it has changed.
#![no_main]

use bytes::BytesMut;
use dpm::wire::compressed::{Algorithm, Decoder, Encoder, FrameError, Numbers, Toolbox};
use dpm_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

/// Decodes frames that arrive in pieces of `step` bytes, into a buffer of `room` bytes.
fn decode(
    algorithm: Algorithm,
    toolbox: &mut Toolbox,
    frames: &[u8],
    step: usize,
    room: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut decoder = Decoder::new(algorithm);
    let mut numbers = Numbers::towards_client();
    let (mut all, mut buffer) = (Vec::new(), vec![0; room]);
    for piece in frames.chunks(step) {
        let mut at = 0;
        loop {
            let done = decoder.decode(toolbox, &mut numbers, &piece[at..], &mut buffer)?;
            at += done.used;
            all.extend_from_slice(&buffer[..done.made]);
            if done.out_of_turn || all.len() > 1 << 20 {
                return Ok(all);
            }
            if done.used == 0 && done.made == 0 {
                break;
            }
        }
        assert_eq!(at, piece.len(), "all of it is used");
    }
    Ok(all)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let how = input.u8();
    let algorithm = Algorithm::ALL[usize::from(how & 1)];
    let step = usize::from(input.u8()).max(1);
    let room = usize::from(input.u8()).max(1) * 16;
    let (at, mask) = (usize::from(input.u16()), input.u8());
    let body = input.rest();
    let mut toolbox = Toolbox::default();
    if how & 2 == 0 {
        let small = decode(algorithm, &mut toolbox, body, step, room);
        let large = decode(algorithm, &mut toolbox, body, 1 << 20, 1 << 16);
        if let (Ok(small), Ok(large)) = (&small, &large) {
            assert!(small == large, "the pieces make no difference");
        }
        assert_eq!(small.is_err(), large.is_err());
        return;
    }
    let encoder = Encoder::new(algorithm, how >> 2);
    let (mut frames, mut number, mut rest) = (BytesMut::new(), 0, body);
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(room * 4)];
        let taken = encoder.frame(&mut toolbox, number, piece, &mut frames);
        rest = &rest[taken..];
        number = number.wrapping_add(1);
    }
    let again = decode(algorithm, &mut toolbox, &frames, step, room);
    assert_eq!(again.as_deref(), Ok(body));
    if let Some(byte) = frames.get_mut(at) {
        *byte ^= mask;
    }
    let _ = decode(algorithm, &mut toolbox, &frames, step, room);
});
