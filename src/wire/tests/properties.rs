//! Properties of any bytes and of any values.

use super::*;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

/// Any capabilities, the likely ones more often.
fn capabilities() -> impl Strategy<Value = Capabilities> {
    prop_oneof![
        Just(AGREED),
        Just(TRACKED),
        any::<u64>().prop_map(Capabilities::from_bits_retain),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

/// Bytes that can stand before a NUL.
fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 0..40)
}

/// Payloads from random bytes to well-formed packets with a few bytes changed, cut or added.
fn payload(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damaged = (
        prop::sample::select(seeds.clone()),
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<prop::sample::Index>(),
        bytes(),
        0u8..4,
    )
        .prop_map(|(mut seed, changes, cut, tail, how)| {
            for (at, byte) in changes {
                if !seed.is_empty() {
                    let at = at.index(seed.len());
                    seed[at] = byte;
                }
            }
            match how {
                0 => seed.truncate(cut.index(seed.len() + 1)),
                1 => seed.extend(tail),
                _ => {}
            }
            seed
        });
    let headed = (prop::sample::select(seeds), bytes())
        .prop_map(|(seed, noise)| [seed.get(..1).unwrap_or_default(), &noise].concat());
    prop_oneof![3 => damaged, 2 => headed, 1 => bytes()]
}

/// Decoding never panics, and what decodes is encoded to the bytes it came from.
fn check_bytes<P: Coded>(payload: &[u8], capabilities: Capabilities) -> Result<(), TestCaseError> {
    if let Ok(packet) = P::from_bytes(payload, capabilities) {
        prop_assert_eq!(packet.to_bytes(capabilities), payload);
        // For other capabilities it must not panic either.
        packet.to_bytes(capabilities.complement());
    }
    Ok(())
}

/// What is encoded decodes to the same values.
fn check_values<P: Coded>(packet: &P, capabilities: Capabilities) -> Result<(), TestCaseError> {
    let payload = packet.to_bytes(capabilities);
    let again = P::from_bytes(&payload, capabilities);
    prop_assert_eq!(again.as_ref(), Ok(packet));
    prop_assert_eq!(again.unwrap().to_bytes(capabilities), payload);
    Ok(())
}

macro_rules! lossless_bytes {
    ($($name:ident: $packet:ty, $($seed:expr),+;)*) => {
        proptest! {
            $(#[test]
            fn $name(
                payload in payload(vec![$($seed),+]),
                capabilities in capabilities(),
            ) {
                check_bytes::<$packet>(&payload, capabilities)?;
            })*
        }
    };
}

fn full_auth() -> Auth {
    Auth {
        capabilities: Capabilities::USUAL | Capabilities::ZSTD_COMPRESSION,
        user: b"root".to_vec(),
        auth_response: vec![7; 20],
        database: Some(b"db".to_vec()),
        attributes: Some(b"\x03_os\x05Linux".to_vec()),
        zstd_level: Some(3),
        ..Auth::default()
    }
}

lossless_bytes! {
    bytes_handshake: Handshake, Handshake::default().to_bytes(AGREED), {
        let mut packet = Handshake::default();
        packet.capabilities.remove(Capabilities::LONG_PASSWORD);
        packet.to_bytes(AGREED)
    };
    bytes_auth: Auth, Auth::default().to_bytes(AGREED), full_auth().to_bytes(AGREED);
    bytes_ssl_request: SslRequest,
        SslRequest { capabilities: Capabilities::SSL, ..SslRequest::default() }.to_bytes(AGREED);
    bytes_ok: Ok, Ok::default().to_bytes(AGREED), b"\x00\x00\x00\x02@\x00\x00\x02hi\x03\x01\x01x".to_vec(),
        b"\xfe\x00\x00\x02\x00\x00\x00\x02hi".to_vec();
    bytes_eof: Eof, Eof::default().to_bytes(AGREED);
    bytes_err: ErrPacket, ErrPacket::default().to_bytes(AGREED);
    bytes_command: Command, b"\x03select 1".to_vec();
    bytes_resultset_header: ResultsetHeader, b"\xfc\x03\x00".to_vec(), b"\x01".to_vec();
    bytes_column: Column, Column::default().to_bytes(AGREED), {
        Column { default: Some(Some(b"x".to_vec())), ..Column::default() }.to_bytes(AGREED)
    };
    bytes_stats: Stats, b"Uptime".to_vec();
    bytes_auth_switch: AuthSwitch, b"\xfemysql_native_password\x00dvH@I-CJ*4d|cZwk4^]:\x00".to_vec();
    bytes_auth_more_data: AuthMoreData, b"\x01\x03".to_vec();
    bytes_prepare_ok: PrepareOk, PrepareOk::default().to_bytes(AGREED);
    bytes_local_infile: LocalInfile, b"\xfbfile".to_vec();
}

proptest! {
    #[test]
    fn values_handshake(
        server_version in text(),
        thread_id: u32,
        scramble in vec(1u8.., 20..200),
        bits: u64,
        character_set: u8,
        status: u16,
        plugin in text(),
    ) {
        let mut capabilities = Capabilities::from_bits_retain(bits);
        if capabilities.contains(Capabilities::LONG_PASSWORD) {
            capabilities = Capabilities::from_bits_retain(u64::from(capabilities.low()));
        }
        let named = capabilities.contains(Capabilities::PLUGIN_AUTH);
        check_values(&Handshake {
            server_version,
            thread_id,
            scramble,
            capabilities,
            character_set,
            status: Status::from_bits_retain(status),
            auth_plugin: named.then_some(plugin),
            ..Handshake::default()
        }, AGREED)?;
    }

    #[test]
    fn values_auth(
        bits: u64,
        user in text(),
        auth_response in vec(1u8.., 0..255),
        database in text(),
        plugin in text(),
        attributes in bytes(),
        level: u8,
        max_packet_size: u32,
        character_set: u8,
    ) {
        let mut capabilities = Capabilities::from_bits_retain(bits) | Capabilities::PROTOCOL_41;
        if capabilities.contains(Capabilities::LONG_PASSWORD) {
            capabilities = Capabilities::from_bits_retain(u64::from(capabilities.low()));
        }
        let if_set = |flag| capabilities.contains(flag);
        check_values(&Auth {
            capabilities,
            max_packet_size,
            character_set: character_set.into(),
            user,
            auth_response,
            database: if_set(Capabilities::CONNECT_WITH_DB).then_some(database),
            auth_plugin: if_set(Capabilities::PLUGIN_AUTH).then_some(plugin),
            attributes: if_set(Capabilities::CONNECT_ATTRS).then_some(attributes),
            zstd_level: if_set(Capabilities::ZSTD_COMPRESSION).then_some(level),
            original: Original::default(),
        }, AGREED)?;
    }

    #[test]
    fn values_ok(
        eof: bool,
        affected_rows: u64,
        insert_id: u64,
        status: u16,
        warnings: u16,
        message in bytes(),
        changes in bytes(),
        tracked: bool,
    ) {
        let status = Status::from_bits_retain(status);
        let changed = tracked && status.contains(Status::SESSION_STATE_CHANGED);
        check_values(&Ok {
            header: if eof { Ok::HEADER_EOF } else { Ok::HEADER },
            affected_rows,
            insert_id,
            status,
            warnings,
            message,
            session_changes: changed.then_some(changes),
            original: Original::default(),
        }, if tracked { TRACKED } else { AGREED })?;
    }

    #[test]
    fn values_err(errnum: u16, sqlstate in "[0-9A-Z]{5}", message in bytes()) {
        let sqlstate = sqlstate.into_bytes().try_into().ok();
        check_values(&ErrPacket { errnum, sqlstate, message, ..ErrPacket::default() }, AGREED)?;
    }

    #[test]
    fn values_eof(warnings: u16, status: u16) {
        let status = Status::from_bits_retain(status);
        check_values(&Eof { warnings, status }, AGREED)?;
    }

    #[test]
    fn values_command(com: u8, argument in bytes()) {
        check_values(&Command { com: Com(com), argument: Bytes::from(argument), ..Command::default() }, AGREED)?;
    }

    #[test]
    fn values_column(
        names in [bytes(), bytes(), bytes(), bytes(), bytes(), bytes(), bytes()],
        numbers: (u16, u32, u8, u16, u8),
        default in prop::option::of(prop::option::of(bytes())),
        mariadb: bool,
    ) {
        let [catalog, schema, table, org_table, name, org_name, extended] = names;
        let (character_set, length, column_type, flags, decimals) = numbers;
        let mut capabilities = AGREED;
        capabilities.set(Capabilities::MARIADB_EXTENDED_METADATA, mariadb);
        check_values(&Column {
            catalog, schema, table, org_table, name, org_name,
            extended: if mariadb { extended } else { Vec::new() },
            character_set,
            length,
            column_type: ColumnType(column_type),
            flags,
            decimals,
            default,
            original: Original::default(),
        }, capabilities)?;
    }

    #[test]
    fn values_prepare_ok(statement_id: u32, columns: u16, params: u16, warnings: u16) {
        check_values(
            &PrepareOk { statement_id, columns, params, warnings, ..PrepareOk::default() },
            AGREED,
        )?;
    }

    #[test]
    fn values_auth_switch(plugin in text(), data in bytes()) {
        check_values(&AuthSwitch { plugin, data, ..AuthSwitch::default() }, AGREED)?;
    }

    #[test]
    fn values_text_row(values in vec(prop::option::of(bytes()), 0..20)) {
        let mut out = Vec::new();
        row::encode(values.iter().map(Option::as_deref), &mut out);
        let again: Result<Vec<_>, _> = TextRow::new(&out).collect();
        prop_assert!(again.unwrap().into_iter().eq(values.iter().map(Option::as_deref)));
    }

    #[test]
    fn any_bytes_are_a_row_or_an_error(payload in bytes()) {
        let errors = TextRow::new(&payload).filter(Result::is_err).count();
        prop_assert!(errors <= 1);
        prop_assert!(TextRow::new(&payload).count() <= payload.len());
    }

    #[test]
    fn frames_carry_any_payload(payload in bytes(), first: u8) {
        let mut seq = first;
        let mut out = ::bytes::BytesMut::new();
        frame::write(&payload, &mut seq, &mut out);
        let header = frame::Header::parse(&out).unwrap();
        prop_assert_eq!(header, frame::Header { len: payload.len(), seq: first });
        prop_assert_eq!(&out[frame::HEADER..], &payload[..]);
        prop_assert_eq!(seq, first.wrapping_add(1));
    }
}
