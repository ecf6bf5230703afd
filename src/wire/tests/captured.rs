//! Bytes of real servers and clients: MariaDB 10.11 and its command-line client, save where a test
//! names others.

use super::*;

const GREETING: &[u8] = b"\x0a5.5.5-10.11.19-MariaDB\x00\x03\x00\x00\x00\\zrOpf1`\x00\xfe\xf7-\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00o0@.f8#Dlu)f\x00mysql_native_password\x00";

/// From the documentation's example of MySQL 5.5.
const GREETING_MYSQL_5_5: &[u8] = b"\x0a5.5.2-m2\x00\x0b\x00\x00\x00\x64\x76\x48\x40\x49\x2d\x43\x4a\x00\xff\xf7\x08\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x2a\x34\x64\x7c\x63\x5a\x77\x6b\x34\x5e\x5d\x3a\x00";

const AUTH: &[u8] = b"\x8c\xa2\xbf\x00\x00\x00\x00\x10\x21\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00root\x00\x144#O\xcdS4\xa1\xb4\x84\xd0\xf0\xfd\x10\xce\xaf\xb5\x89\xa5NAdb\x00mysql_native_password\x00\x15\x03_os\x05Linux\x04_pid\x0516167";

#[test]
fn greeting_of_mariadb() {
    let packet: Handshake = captured(GREETING, AGREED);
    assert_eq!(packet.server_version, b"5.5.5-10.11.19-MariaDB");
    assert_eq!(packet.thread_id, 3);
    assert_eq!(packet.scramble, b"\\zrOpf1`o0@.f8#Dlu)f");
    assert_eq!(packet.character_set, 45);
    assert_eq!(packet.status, Status::AUTOCOMMIT);
    assert_eq!(
        packet.auth_plugin.as_deref(),
        Some(&b"mysql_native_password"[..])
    );
    assert!(
        packet
            .capabilities
            .contains(Capabilities::MARIADB_EXTENDED_METADATA)
    );
    assert!(!packet.capabilities.contains(Capabilities::LONG_PASSWORD));
    assert_eq!(packet.capabilities.extended(), 0x1d);
}

#[test]
fn masked_capabilities_take_mariadbs_along() {
    let mut packet = Handshake::decode(GREETING).unwrap();
    packet.capabilities &= Capabilities::USUAL;
    let again: Handshake = captured(&packet.to_bytes(AGREED), AGREED);
    assert_eq!(again, packet);
    assert_eq!(again.capabilities.extended(), 0);
    // All else is left as it was.
    let mut expected = GREETING.to_vec();
    let flags = expected.iter().position(|&b| b == 0xfe).unwrap();
    let low = packet.capabilities.low().to_le_bytes();
    expected[flags..flags + 2].copy_from_slice(&low[..2]);
    expected[flags + 5..flags + 7].copy_from_slice(&low[2..]);
    expected[flags + 14..flags + 18].fill(0);
    assert_eq!(packet.to_bytes(AGREED), expected);
}

#[test]
fn greeting_of_mysql_5_5_without_plugins() {
    let packet: Handshake = captured(GREETING_MYSQL_5_5, AGREED);
    assert_eq!(packet.scramble, b"dvH@I-CJ*4d|cZwk4^]:");
    assert_eq!(packet.auth_plugin, None);
}

#[test]
fn odd_greetings_survive() {
    // Ends behind the lower capabilities, as servers before 4.1 do.
    let packet: Handshake = captured(&GREETING_MYSQL_5_5[..25], AGREED);
    assert_eq!(packet.scramble, b"dvH@I-CJ");
    // A scramble without its NUL; a plugin name without its NUL.
    captured::<Handshake>(GREETING_MYSQL_5_5.strip_suffix(b"\0").unwrap(), AGREED);
    let packet: Handshake = captured(GREETING.strip_suffix(b"\0").unwrap(), AGREED);
    assert_eq!(
        packet.auth_plugin.as_deref(),
        Some(&b"mysql_native_password"[..])
    );
}

#[test]
fn other_protocol_versions_are_refused() {
    let error = Handshake::decode(b"\x093.20\0").unwrap_err();
    assert_eq!(
        error.to_string(),
        "handshake packet: field 'protocol_version': not 10"
    );
}

#[test]
fn auth_of_the_mariadb_client() {
    let packet: Auth = captured(AUTH, AGREED);
    assert_eq!(packet.user, b"root");
    assert_eq!(packet.auth_response.len(), 20);
    assert_eq!(packet.database.as_deref(), Some(&b"db"[..]));
    assert_eq!(
        packet.auth_plugin.as_deref(),
        Some(&b"mysql_native_password"[..])
    );
    assert_eq!(
        packet.attributes.as_deref(),
        Some(&b"\x03_os\x05Linux\x04_pid\x0516167"[..])
    );
    assert_eq!(packet.capabilities.extended(), 0x1d);
    assert_eq!(packet.max_packet_size, 1 << 28);
}

#[test]
fn auth_that_ends_early_survives() {
    let attributes = AUTH.len() - 22;
    for end in [attributes, attributes - 1, attributes - 22, attributes - 23] {
        let packet: Auth = captured(&AUTH[..end], AGREED);
        assert_eq!(packet.user, b"root");
        assert_eq!(packet.database.as_deref(), Some(&b"db"[..]));
        assert_eq!(packet.attributes, None);
    }
    captured::<Auth>(&[AUTH, b"trails"].concat(), AGREED);
}

#[test]
fn a_changed_user_changes_nothing_else() {
    let mut packet: Auth = captured(AUTH, AGREED);
    packet.user = b"other".to_vec();
    let expected = AUTH
        .to_vec()
        .escape_ascii()
        .to_string()
        .replace("root", "other");
    assert_eq!(packet.to_bytes(AGREED).escape_ascii().to_string(), expected);
    packet.set_database(None);
    let again: Auth = captured(&packet.to_bytes(AGREED), AGREED);
    assert_eq!(again.database, None);
    assert_eq!(again, packet);
}

#[test]
fn clients_before_4_1_are_named() {
    let error =
        Auth::decode(b"\x85\x24\x00\x00\x00old\x00\x47\x44\x53\x43\x51\x59\x52\x5f").unwrap_err();
    assert_eq!(
        error.to_string(),
        "auth packet: field 'capabilities': a HandshakeResponse320, of a client before 4.1"
    );
}

#[test]
fn ssl_request_is_not_an_auth() {
    let mut bytes = AUTH[..32].to_vec();
    assert!(!SslRequest::matches(&bytes));
    bytes[1] |= 0x08;
    let packet: SslRequest = captured(&bytes, AGREED);
    assert_eq!(packet.capabilities.extended(), 0x1d);
    assert!(Auth::decode(&bytes).is_err());
    assert!(!SslRequest::matches(AUTH));
}

#[test]
fn ok_with_and_without_message() {
    let packet: Ok = captured(b"\x00\x00\x00\x02\x00\x00\x00", AGREED);
    assert_eq!(packet, Ok::default());
    let packet: Ok = captured(
        b"\x00\x03\x01\x02\x00\x00\x00&Records: 3  Duplicates: 0  Warnings: 0",
        AGREED,
    );
    assert_eq!((packet.affected_rows, packet.insert_id), (3, 1));
    assert_eq!(packet.message, b"Records: 3  Duplicates: 0  Warnings: 0");
    // As the documentation has it, but servers do not.
    let packet: Ok = captured(b"\x00\x00\x00\x02\x00\x01\x00Rows", AGREED);
    assert_eq!((packet.warnings, &packet.message[..]), (1, &b"Rows"[..]));
    // An empty message, spelt out.
    let packet: Ok = captured(b"\x00\x00\x00\x02\x00\x00\x00\x00", AGREED);
    assert_eq!(packet.message, b"");
}

#[test]
fn ok_of_the_3_23_protocol() {
    let packet: Ok = captured(b"\x00\x01\x00\x02\x00", Capabilities::TRANSACTIONS);
    assert_eq!(packet.status, Status::AUTOCOMMIT);
    captured::<Ok>(b"\x00\x01\x00", Capabilities::empty());
}

#[test]
fn ok_with_session_changes() {
    let packet: Ok = captured(
        b"\x00\x00\x00\x02@\x00\x00\x00\x0a\x01\x08\x07dpmtest",
        TRACKED,
    );
    assert_eq!(packet.message, b"");
    assert_eq!(
        packet.session_changes.as_deref(),
        Some(&b"\x01\x08\x07dpmtest"[..])
    );
    let packet: Ok = captured(
        b"\x00\x02\x00\x01\x00\x00\x00(Rows matched: 2  Changed: 2  Warnings: 0",
        TRACKED,
    );
    assert_eq!(packet.session_changes, None);
    assert_eq!(packet.message, b"Rows matched: 2  Changed: 2  Warnings: 0");
    // Announced, but left out; and with more behind it.
    captured::<Ok>(b"\x00\x00\x00\x02@\x00\x00\x00", TRACKED);
    captured::<Ok>(b"\x00\x00\x00\x02@\x00\x00", TRACKED);
    captured::<Ok>(b"\x00\x00\x00\x02@\x00\x00\x00\x02\x01\x00trails", TRACKED);
}

#[test]
fn session_changes_need_the_capability() {
    let packet = Ok::decode(b"\x00\x00\x00\x02@\x00\x00\x02hi\x03\x01\x01x", TRACKED).unwrap();
    assert_eq!(packet.to_bytes(AGREED), b"\x00\x00\x00\x02@\x00\x00\x02hi");
}

#[test]
fn ok_in_place_of_eof() {
    let packet: Ok = captured(b"\xfe\x00\x00\x00\x00\x00\x00", TRACKED);
    assert_eq!(packet.header, Ok::HEADER_EOF);
}

#[test]
fn the_status_can_be_had_alone() {
    let long = b"\x00\xfe12345678\xfe12345678\x0a\x00";
    assert_eq!(
        Ok::peek_status(long),
        Some(Status::AUTOCOMMIT | Status::MORE_RESULTS_EXISTS)
    );
    assert_eq!(Ok::peek_status(&long[..20]), None);
    assert_eq!(
        Eof::peek_status(b"\xfe\x01\x00\x0a\x00"),
        Ok::peek_status(long)
    );
    assert_eq!(Eof::peek_status(b"\xfe"), None);
}

#[test]
fn eof() {
    let packet: Eof = captured(b"\xfe\x00\x00\"\x00", AGREED);
    assert_eq!(packet.status, Status::AUTOCOMMIT | Status::NO_INDEX_USED);
    captured::<Eof>(b"\xfe", Capabilities::empty());
    assert!(Eof::decode(b"\xfe\0\0\0", AGREED).is_err());
    assert!(Eof::decode(b"\xfe\0\0\0\0\0", AGREED).is_err());
}

#[test]
fn err_with_and_without_sqlstate() {
    let packet: ErrPacket = captured(b"\xff\x17\x04#08S01Unknown command", AGREED);
    assert_eq!(packet.errnum, 1047);
    assert_eq!(packet.sqlstate, Some(*b"08S01"));
    assert_eq!(packet.message, b"Unknown command");
    // In place of the greeting, whatever the caller believes is agreed on.
    for capabilities in [AGREED, Capabilities::empty()] {
        let packet: ErrPacket = captured(b"\xff\x10\x04Too many connections", capabilities);
        assert_eq!(packet.errnum, 1040);
        assert_eq!(packet.sqlstate, None);
        assert_eq!(packet.message, b"Too many connections");
        captured::<ErrPacket>(b"\xff\x10\x04#08004Too many connections", capabilities);
        captured::<ErrPacket>(b"\xff\x10\x04#08", capabilities);
    }
    let fresh = ErrPacket::default();
    assert_eq!(fresh.to_bytes(AGREED), b"\xff\x51\x04#HY000Unknown error");
    assert_eq!(
        fresh.to_bytes(Capabilities::empty()),
        b"\xff\x51\x04Unknown error"
    );
}

#[test]
fn progress_report_of_mariadb() {
    let packet: ErrPacket = captured(b"\xff\xff\xff\x01\x01\x02\x10\x27\x00\x07copying", AGREED);
    assert!(packet.is_progress_report());
    assert_eq!(packet.sqlstate, None);
}

#[test]
fn commands() {
    let packet: Command = captured(b"\x03select 1", AGREED);
    assert_eq!(
        (packet.com, &packet.argument[..]),
        (Com::QUERY, &b"select 1"[..])
    );
    captured::<Command>(b"\x01", AGREED);
    assert!(Command::decode(b"", AGREED).is_err());
}

#[test]
fn resultset_headers() {
    assert_eq!(captured::<ResultsetHeader>(b"\x03", AGREED).columns, 3);
    // With MariaDB's byte that says whether definitions follow.
    assert_eq!(
        captured::<ResultsetHeader>(b"\x03\x01", AGREED).trailing,
        b"\x01"
    );
    captured::<ResultsetHeader>(b"\xfc\x03\x00", AGREED);
    assert!(ResultsetHeader::decode(b"\xfbfile", AGREED).is_err());
}

#[test]
fn columns() {
    let packet: Column = captured(
        b"\x03def\x07dpmtest\x01t\x01t\x02id\x02id\x0c?\x00\x0a\x00\x00\x00\x03cB\x00\x00\x00",
        AGREED,
    );
    assert_eq!(packet.schema, b"dpmtest");
    assert_eq!(packet.name, b"id");
    assert_eq!(packet.character_set, 63);
    assert_eq!(packet.length, 10);
    assert_eq!(packet.column_type, ColumnType::LONG);
    assert_eq!(
        packet.flags & column_flags::AUTO_INCREMENT,
        column_flags::AUTO_INCREMENT
    );
    assert_eq!(packet.default, None);
}

#[test]
fn columns_of_field_list_have_defaults() {
    let packet: Column = captured(b"\x03def\x07dpmtest\x01t\x01t\x01v\x01v\x0c-\x00P\x00\x00\x00\xfd\x00\x00\x00\x00\x00\x01x", AGREED);
    assert_eq!(packet.default, Some(Some(b"x".to_vec())));
    let packet: Column = captured(b"\x03def\x07dpmtest\x01t\x01t\x01w\x01w\x0c?\x00\x0b\x00\x00\x00\x03\x00\x00\x00\x00\x00\xfb", AGREED);
    assert_eq!(packet.default, Some(None));
}

#[test]
fn columns_with_mariadbs_extended_types() {
    let agreed = AGREED | Capabilities::MARIADB_EXTENDED_METADATA;
    let packet: Column = captured(b"\x03def\x07dpmtest\x01j\x01j\x01g\x01g\x07\x00\x05point\x0c?\x00\xff\xff\xff\xff\xff\x90\x00\x00\x00\x00", agreed);
    assert_eq!(packet.extended, b"\x00\x05point");
    assert_eq!(packet.column_type, ColumnType::GEOMETRY);
}

#[test]
fn text_rows() {
    let values: Result<Vec<_>, _> = TextRow::new(b"\x0a0000000003\xfb\x00").collect();
    let values = values.unwrap();
    assert_eq!(values, [Some(&b"0000000003"[..]), None, Some(b"")]);
    let mut out = Vec::new();
    row::encode(values.into_iter(), &mut out);
    assert_eq!(out, b"\x0a0000000003\xfb\x00");
    let mut cut = TextRow::new(b"\x01a\x05b");
    assert_eq!(cut.next(), Some(Ok(Some(&b"a"[..]))));
    assert!(cut.next().unwrap().is_err());
    assert_eq!(cut.next(), None);
}

#[test]
fn prepare_ok() {
    let packet: PrepareOk = captured(b"\x00\x01\x00\x00\x00\x02\x00\x02\x00\x00\x00\x00", AGREED);
    assert_eq!(
        (packet.statement_id, packet.columns, packet.params),
        (1, 2, 2)
    );
    captured::<PrepareOk>(b"\x00\x01\x00\x00\x00\x02\x00\x02\x00", AGREED);
    captured::<PrepareOk>(
        b"\x00\x01\x00\x00\x00\x02\x00\x02\x00\x00\x01\x00\x01",
        AGREED,
    );
}

#[test]
fn auth_switch() {
    let packet: AuthSwitch = captured(
        b"\xfemysql_native_password\x00dvH@I-CJ*4d|cZwk4^]:\x00",
        AGREED,
    );
    assert_eq!(packet.plugin, b"mysql_native_password");
    assert_eq!(packet.scramble(), b"dvH@I-CJ*4d|cZwk4^]:");
    // Of a plugin whose data is binary and ends without a NUL.
    let packet: AuthSwitch = captured(b"\xfeclient_ed25519\x00\xee\x1b\xb7\x0c\xed\x90wz\xcd\xbe\xb3\xbc\x03\xd0\x0f*%\xebc\xc1\x1a\x11\xa7z\x98B3\x97~s\x7f\xae", AGREED);
    assert_eq!(packet.data.len(), 32);
    assert_eq!(
        captured::<AuthSwitch>(b"\xfe", AGREED).plugin,
        b"mysql_old_password"
    );
    assert_eq!(captured::<AuthMoreData>(b"\x01\x03", AGREED).data, b"\x03");
}

#[test]
fn local_infile_and_stats() {
    assert_eq!(
        captured::<LocalInfile>(b"\xfbsome/file", AGREED).filename,
        b"some/file"
    );
    captured::<Stats>(b"Uptime: 69  Threads: 2", AGREED);
}
