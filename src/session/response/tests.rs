use super::*;

fn queried(packets: &[&[u8]]) -> Response {
    let mut response = Response::new(Com::QUERY);
    for packet in packets {
        let step = response.step(Head::of(packet), Capabilities::PROTOCOL_41);
        assert!(!step.expect("a part of the answer").done);
    }
    response
}

#[test]
fn what_begins_like_an_end_is_one_or_is_16_mb_long() {
    let column = b"\x03def\x00\x00\x00\x011\x00\x0c?\x00\x02\x00\x00\x00\x08\x81\x00\x00\x00\x00";
    let in_rows = queried(&[b"\x01", column, b"\xfe\x00\x00\x02\x00"]);
    let long = Head {
        len: MAX_PAYLOAD,
        ..Head::of(b"\xfe\x00\x00\x00\x01\x00\x00\x00\x00")
    };
    let mut response = in_rows;
    let step = response.step(long, Capabilities::PROTOCOL_41);
    assert_eq!(step.map(|step| step.kind), Ok(PacketKind::TextRow));
    // To a peer with DEPRECATE_EOF it would be the end.
    let short = Head::of(b"\xfe\x05\x00\x00\x00\x00\x00\x00\x00hello");
    let mut response = in_rows;
    assert!(response.step(short, Capabilities::PROTOCOL_41).is_err());
    let mut definitions = Response::new(Com::FIELD_LIST);
    assert!(definitions.step(short, Capabilities::PROTOCOL_41).is_err());
    for capabilities in [Capabilities::PROTOCOL_41, Capabilities::USUAL] {
        let mut binlog = Response::new(Com::BINLOG_DUMP);
        assert!(binlog.step(short, capabilities).is_err());
    }
}
