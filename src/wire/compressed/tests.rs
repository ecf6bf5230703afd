use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

/// Decodes `input`, given in pieces of `step` bytes, into a buffer of `room` bytes at a time.
fn decode(
    algorithm: Algorithm,
    numbers: &mut Numbers,
    input: &[u8],
    step: usize,
    room: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut toolbox = Toolbox::default();
    let mut decoder = Decoder::new(algorithm);
    let mut plain = Vec::new();
    let mut space = vec![0; room];
    for piece in input.chunks(step) {
        let mut at = 0;
        loop {
            let done = decoder.decode(&mut toolbox, numbers, &piece[at..], &mut space)?;
            plain.extend_from_slice(&space[..done.made]);
            at += done.used;
            if done.out_of_turn && done.made == 0 {
                return Err(FrameError::Sequence {
                    expected: numbers.expected(),
                    got: decoder.next_number().unwrap(),
                });
            }
            if done.made == 0 {
                assert_eq!(at, piece.len());
                break;
            }
        }
    }
    assert!(decoder.between_frames(), "a frame is not complete");
    Ok(plain)
}

/// Frames of so many bytes each, numbered from 0.
fn encode(algorithm: Algorithm, level: u8, plain: &[u8], size: usize) -> BytesMut {
    let mut toolbox = Toolbox::default();
    let encoder = Encoder::new(algorithm, level);
    let mut out = BytesMut::new();
    for (number, piece) in plain.chunks(size).enumerate() {
        let taken = encoder.frame(&mut toolbox, number as u8, piece, &mut out);
        assert_eq!(taken, piece.len());
    }
    out
}

fn frame(number: u8, size: usize, body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32).to_le_bytes()[..3].to_vec();
    out.push(number);
    out.extend_from_slice(&(size as u32).to_le_bytes()[..3]);
    out.extend_from_slice(body);
    out
}

/// What this compresses to, without the frame's header.
fn body(algorithm: Algorithm, plain: &[u8]) -> Vec<u8> {
    let out = encode(algorithm, 6, plain, MAX);
    assert_eq!(out[4..7], (plain.len() as u32).to_le_bytes()[..3]);
    out[HEADER..].to_vec()
}

// `mysql --compression-algorithms=zlib` and `=zstd`, asking MySQL 9.7:
// SELECT 'hello compressed world, this is a query that is longer than fifty bytes', REPEAT('ab', 100)
// The query is stored where zstd could not make it shorter.
const ZLIB_QUERY: &str = "\
    660000006a0000785e15c7310e40301806d08a8b7c5b490c1c41a49b417081e22f9252da8af4f62a79cb\
    538cb1942583684533826fa4b5c16c8ecb9273b4e035562f05fcb63b4412f74336c44bff5f9b7325fbf7\
    84da950f988227c70bf4a213f5987139c55465997fe2872135";
const ZLIB_RESULT: &str = "\
    9e000001b10100789c63646060648a656060624e494d63606070cf48cdc9c95748cecf2d284a2d2e4e4d\
    5128cf2fca49d15128c9c82c5600a24485c2d2d4a24a203fb104c4cfc9cf4b4f2d0271f314d232d34a2a\
    15922a4b528b1978fe33c8303230fc656490676050676060865a2018e41ae0ea18a2a19e98a4aea36068\
    60a00952aac00c54ca00522ac8c8c0422d479c484c1a1e909d8181f51f309280e107005fac8ed6";
const ZSTD_QUERY: &str = "\
    6a0000000000006600000003000153454c454354202768656c6c6f20636f6d7072657373656420776f72\
    6c642c207468697320697320612071756572792074686174206973206c6f6e676572207468616e206669\
    667479206279746573272c2052455045415428276162272c2031303029";
const ZSTD_RESULT: &str = "\
    a5000001b1010028b52ffd60b100dd0400c2c8202a90b5690cedee4ebfbbbbbb95208af65ef4db5623b2\
    24f433c5fbe5e77b42506c2964d012d3d75b6b3b05fff204842f486e60706bce9e5105042df47124e724\
    208cc8113d1ae69d47dcb26f870b0ccb9d98a4d8a42c4aafb8930bbee9aaa958dc0000752a2d955635f5\
    995e84023aad941b2b142851f8de568d9fda89593eb2b46f010700c39c1a853048c0164e57980c9e652e\
    ec59e71e";

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn captured_frames() {
    for (algorithm, query, result) in [
        (Algorithm::Zlib, ZLIB_QUERY, ZLIB_RESULT),
        (Algorithm::Zstd, ZSTD_QUERY, ZSTD_RESULT),
    ] {
        let (query, result) = (unhex(query), unhex(result));
        for (step, room) in [(1, 1), (1000, 1000), (3, 50)] {
            let mut numbers = Numbers::towards_client();
            let plain = decode(algorithm, &mut numbers, &query, step, room).unwrap();
            assert_eq!(plain[..5], [102, 0, 0, 0, 3]);
            assert!(plain.ends_with(b"fifty bytes', REPEAT('ab', 100)"));
            assert_eq!(plain.len(), 106);

            let mut numbers = Numbers::towards_server();
            numbers.send_command(true);
            numbers.give();
            let plain = decode(algorithm, &mut numbers, &result, step, room).unwrap();
            assert_eq!(plain[..5], [1, 0, 0, 1, 2]);
            assert!(plain.windows(200).any(|part| part == b"ab".repeat(100)));
            assert_eq!(plain.len(), 0x1B1);
        }
    }
}

#[test]
fn small_and_incompressible_bytes_are_stored() {
    let noise: Vec<u8> = (0..200u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for algorithm in Algorithm::ALL {
        for plain in [&b"x"[..], &[7; 49], &noise] {
            let out = encode(algorithm, 6, plain, MAX);
            assert_eq!(out[..], frame(0, 0, plain));
        }
        assert_ne!(encode(algorithm, 6, &[7; 50], MAX)[4..7], [0, 0, 0]);
    }
}

#[test]
fn the_largest_frame() {
    let plain = vec![b'a'; MAX + 10];
    for algorithm in Algorithm::ALL {
        let mut toolbox = Toolbox::default();
        let mut out = BytesMut::new();
        let taken = Encoder::new(algorithm, 1).frame(&mut toolbox, 0, &plain, &mut out);
        assert_eq!(taken, MAX);
        assert!(out.len() < 200_000);
        let back = decode(
            algorithm,
            &mut Numbers::towards_client(),
            &out,
            4096,
            1 << 16,
        )
        .unwrap();
        assert_eq!(back.len(), MAX);
    }
}

#[test]
fn lies_about_the_size_are_errors() {
    let plain = [b'a'; 1000];
    for algorithm in Algorithm::ALL {
        let body = body(algorithm, &plain);
        let mut trailing = body.clone();
        trailing.push(0);
        let truncated = &body[..body.len() - 1];
        let mut bent = body.clone();
        bent[2] ^= 0x55;
        for (bytes, expected) in [
            (frame(0, 999, &body), FrameError::TooMuch(999)),
            (
                frame(0, 1001, &body),
                FrameError::TooLittle {
                    expected: 1001,
                    got: 1000,
                },
            ),
            (frame(0, 1000, &trailing), FrameError::Trailing(1)),
        ] {
            for (step, room) in [(1, 1), (usize::MAX, 1 << 16), (7, 1000), (usize::MAX, 999)] {
                let got = decode(
                    algorithm,
                    &mut Numbers::towards_client(),
                    &bytes,
                    step,
                    room,
                );
                assert_eq!(got, Err(expected), "{algorithm:?} {step} {room}");
            }
        }
        for bytes in [
            frame(0, 1000, truncated),
            frame(0, 1000, &bent),
            frame(0, 1000, b""),
            frame(0, 1000, b"\0\0\0\0"),
            frame(0, 5, &[0xFF; 40]),
        ] {
            decode(algorithm, &mut Numbers::towards_client(), &bytes, 3, 100).unwrap_err();
        }
    }
}

#[test]
fn a_bomb_goes_off_in_small_pieces_or_not_at_all() {
    // zstd's header claims a window of 2 GB, which must not be allocated.
    let window = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8, 0x02, 0x00, 0x10, 0x61];
    let got = decode(
        Algorithm::Zstd,
        &mut Numbers::towards_client(),
        &frame(0, MAX, &window),
        100,
        100,
    );
    assert_eq!(got, Err(FrameError::Corrupt(Algorithm::Zstd)));
    for algorithm in Algorithm::ALL {
        // 64 MB that says it is 100 bytes.
        let mut toolbox = Toolbox::default();
        let bomb = vec![0; MAX];
        let bomb = body(algorithm, &bomb);
        let mut decoder = Decoder::new(algorithm);
        let mut space = [0; 4096];
        let bytes = frame(0, 100, &bomb);
        let got = decoder.decode(
            &mut toolbox,
            &mut Numbers::towards_client(),
            &bytes,
            &mut space,
        );
        assert_eq!(got, Err(FrameError::TooMuch(100)));
    }
}

#[test]
fn empty_frames_are_refused() {
    let bytes = [frame(0, 0, b"abc"), frame(1, 0, b"")].concat();
    let got = decode(
        Algorithm::Zlib,
        &mut Numbers::towards_client(),
        &bytes,
        100,
        100,
    );
    assert_eq!(got, Err(FrameError::Empty));
}

#[test]
fn a_client_counts_from_0_with_each_command() {
    let mut numbers = Numbers::towards_client();
    assert!(!numbers.accept(1));
    assert!(numbers.accept(0));
    assert!(numbers.accept(1));
    // The next command waits until this one is answered.
    assert!(!numbers.accept(0));
    assert_eq!(numbers.give(), 2);
    assert_eq!(numbers.give(), 3);
    // LOAD DATA LOCAL: the file goes on, and so does the answer.
    assert!(!numbers.accept(0));
    assert!(numbers.accept(4));
    assert_eq!(numbers.give(), 5);
    numbers.await_command();
    assert!(!numbers.accept(6));
    assert!(numbers.accept(0));
    assert_eq!(numbers.give(), 1);
}

#[test]
fn a_server_answers_each_command_from_where_it_ended() {
    let mut numbers = Numbers::towards_server();
    assert!(!numbers.accept(2));
    numbers.send_command(true);
    assert_eq!(numbers.give(), 0);
    assert_eq!(numbers.give(), 1);
    numbers.send_command(false);
    assert_eq!(numbers.give(), 0);
    numbers.send_command(true);
    assert_eq!(numbers.give(), 0);
    assert_eq!(numbers.expected(), 2);
    for wrong in [3, 200] {
        assert!(!numbers.accept(wrong), "{wrong}");
    }
    for right in [2, 3, 4] {
        assert!(numbers.accept(right), "{right}");
    }
    assert_eq!(numbers.expected(), 1);
    assert!(!numbers.accept(9));
    assert!(numbers.accept(1));
    // It asks for a file.
    numbers.send_more();
    assert_eq!((numbers.give(), numbers.give()), (2, 3));
    assert!(!numbers.accept(7));
    assert!(numbers.accept(4));
    numbers.send_command(true);
    assert_eq!(numbers.give(), 0);
    assert!(numbers.accept(1));
}

#[test]
fn packets_that_answer_no_command_are_numbered_0() {
    // Between commands, MySQL 9.7 numbers an ERR 4031 so.
    let mut numbers = Numbers::towards_server();
    numbers.send_command(true);
    assert_eq!(numbers.give(), 0);
    assert!(numbers.accept(1));
    assert!(numbers.accept(0));

    let mut numbers = Numbers::towards_client();
    assert!(numbers.accept(0));
    assert_eq!(numbers.give(), 1);
    numbers.send_anew(0);
    assert_eq!(numbers.give(), 0);
}

#[test]
fn a_replica_acknowledges_by_itself() {
    let mut numbers = Numbers::towards_client();
    assert!(numbers.accept(0));
    assert_eq!((numbers.give(), numbers.give()), (1, 2));
    for _ in 0..2 {
        numbers.await_acknowledgement();
        assert!(numbers.accept(0));
    }
    assert_eq!(numbers.give(), 3);
    numbers.send_anew(0);
    assert_eq!((numbers.give(), numbers.give()), (0, 1));
    numbers.await_command();
    assert!(numbers.accept(0));
    assert_eq!(numbers.give(), 1);
}

#[test]
fn a_source_begins_anew_behind_what_is_to_be_acknowledged() {
    let mut numbers = Numbers::towards_server();
    numbers.send_command(true);
    assert_eq!(numbers.give(), 0);
    for number in [1, 2, 3, 1, 2, 1, 1, 2] {
        assert!(numbers.accept(number), "{number}");
    }
    assert!(!numbers.accept(4));
    // The replica's acknowledgement has a count of its own.
    numbers.send_anew(0);
    assert_eq!(numbers.give(), 0);
    assert!(numbers.accept(1));
}

#[test]
fn a_server_may_have_seen_enough() {
    let mut numbers = Numbers::towards_server();
    numbers.send_command(true);
    for number in 0..100 {
        assert_eq!(numbers.give(), number);
    }
    assert!(numbers.accept(17));
    assert!(!numbers.accept(17));
    assert!(numbers.accept(18));
}

#[test]
fn numbers_wrap() {
    let mut numbers = Numbers::towards_client();
    for number in 0..=255 {
        assert!(numbers.accept(number));
    }
    assert!(numbers.accept(0));
    assert_eq!(numbers.give(), 1);

    let mut numbers = Numbers::towards_server();
    numbers.send_command(true);
    for number in 0..=255 {
        assert_eq!(numbers.give(), number);
    }
    assert_eq!(numbers.give(), 0);
    for number in 1..=255 {
        assert!(numbers.accept(number));
    }
    assert!(numbers.accept(0));
}

#[test]
fn the_next_command_is_not_decoded_before_its_turn() {
    let bytes = [frame(0, 0, b"abc"), frame(0, 0, b"def")].concat();
    let mut toolbox = Toolbox::default();
    let mut decoder = Decoder::new(Algorithm::Zlib);
    let mut numbers = Numbers::towards_client();
    let mut space = [0; 100];
    let first = decoder
        .decode(&mut toolbox, &mut numbers, &bytes, &mut space)
        .unwrap();
    assert_eq!((first.made, first.out_of_turn), (3, true));
    let rest = &bytes[first.used..];
    let again = decoder
        .decode(&mut toolbox, &mut numbers, rest, &mut space)
        .unwrap();
    assert_eq!((again.used, again.made, again.out_of_turn), (0, 0, true));
    assert_eq!(decoder.next_number(), Some(0));
    numbers.await_command();
    let second = decoder
        .decode(&mut toolbox, &mut numbers, rest, &mut space)
        .unwrap();
    assert_eq!((second.made, second.out_of_turn), (3, false));
    assert_eq!(&space[..3], b"def");
}

#[test]
fn both_asked_for_means_zlib() {
    let both = Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
    assert_eq!(Algorithm::agreed(both), Some(Algorithm::Zlib));
    let zstd = Capabilities::ZSTD_COMPRESSION;
    assert_eq!(Algorithm::agreed(zstd), Some(Algorithm::Zstd));
    assert_eq!(Algorithm::agreed(Capabilities::FOLLOWED), None);
}

/// Bytes of every sort: runs, text, noise.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    let run = (any::<u8>(), 0..2000usize).prop_map(|(byte, len)| vec![byte; len]);
    let noise = proptest::collection::vec(any::<u8>(), 0..300);
    proptest::collection::vec(prop_oneof![run, noise], 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out(
        plain in plain(),
        zstd: bool,
        level in 0..30u8,
        size in 1..5000usize,
        step in 1..3000usize,
        room in 1..3000usize,
    ) {
        let algorithm = if zstd { Algorithm::Zstd } else { Algorithm::Zlib };
        let bytes = encode(algorithm, level, &plain, size.max(plain.len() / 200 + 1));
        let back = decode(algorithm, &mut Numbers::towards_client(), &bytes, step, room).unwrap();
        prop_assert_eq!(back, plain);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        zstd: bool,
        at in 0..400usize,
        bent: u8,
    ) {
        let algorithm = if zstd { Algorithm::Zstd } else { Algorithm::Zlib };
        let mut good = encode(algorithm, 3, &[b'a'; 700], 100);
        let at = at % good.len();
        good[at] = bent;
        for bytes in [&bytes[..], &good] {
            let mut toolbox = Toolbox::default();
            let mut decoder = Decoder::new(algorithm);
            let mut numbers = Numbers::towards_client();
            let mut space = [0; 64];
            let mut used = 0;
            while let Ok(done) =
                decoder.decode(&mut toolbox, &mut numbers, &bytes[used..], &mut space)
            {
                used += done.used;
                if done.made == 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn frames_that_never_end_hold_but_so_much_together() {
    // The window is of 16 MB, and the first block fills 128 KiB of it.
    let begun = [
        0x28,
        0xB5,
        0x2F,
        0xFD,
        0,
        14 << 3,
        0x02,
        0x00,
        0x10,
        b'a',
        0x02,
        0x00,
        0x10,
        b'a',
    ];
    let mut bytes = frame(0, MAX, &begun);
    bytes[0] += 1;
    let mut toolbox = Toolbox::default();
    let meter = Meter::default();
    let mut space = vec![0; 1 << 20];
    let mut begin = || {
        let mut decoder = Decoder::metered(Algorithm::Zstd, meter.clone());
        let mut numbers = Numbers::towards_client();
        let done = decoder.decode(&mut toolbox, &mut numbers, &bytes, &mut space);
        done.map(|done| (decoder, done.made))
    };
    let mut held = Vec::new();
    let error = loop {
        match begin() {
            Ok((decoder, made)) => {
                assert_eq!(made, 256 << 10);
                held.push(decoder);
            }
            Err(error) => break error,
        }
        assert!(held.len() < 100);
    };
    assert!(matches!(error, FrameError::NoRoom { size, .. } if size > 16 << 20));
    assert!(held.len() > 20, "{}", held.len());
    held.pop();
    while let Ok((decoder, _)) = begin() {
        held.push(decoder);
    }
    // Frames that are not large go on meanwhile.
    let small = encode(Algorithm::Zstd, 22, &[b'a'; 300_000], MAX);
    let mut decoder = Decoder::metered(Algorithm::Zstd, meter.clone());
    let mut numbers = Numbers::towards_client();
    let done = decoder.decode(
        &mut Toolbox::default(),
        &mut numbers,
        &small,
        &mut [0; 1000],
    );
    assert_eq!(done.unwrap().made, 1000);
    drop(held);
    begin().unwrap();
}
