//! The commands about prepared statements: what real clients sent, and properties.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const WITH_ATTRIBUTES: Capabilities = AGREED.union(Capabilities::QUERY_ATTRIBUTES);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn bound(params: u16) -> Bound<'static> {
    Bound {
        params,
        ..Bound::default()
    }
}

fn text(text: &str) -> ParamValue {
    ParamValue::Bytes(text.into())
}

/// Without the byte that says which command it is.
fn argument(payload: &[u8]) -> &[u8] {
    payload.get(1..).unwrap_or_default()
}

fn bulk(payload: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(argument(payload))
}

/// Decodes, and makes sure that it is encoded to the same bytes.
fn execute(payload: &[u8], known: Bound<'_>, capabilities: Capabilities) -> Execute {
    let execute = Execute::decode(argument(payload), known, capabilities).unwrap();
    let mut again = Vec::new();
    execute.encode(capabilities, &mut again).unwrap();
    assert_eq!(again, argument(payload));
    execute
}

/// mysql-connector-python to MySQL 9.7, with CLIENT_QUERY_ATTRIBUTES: eight values.
#[test]
fn values_of_mysql_connector() {
    // As captured, but for the flag that this client leaves out.
    let captured = execute(
        &hex(
            "17 01000000 08 01000000 08 20 01
              018000 030000 088000 050000 fe0000 060000 0c0000 000000
              01 90eefeff ffffffffffffff7f 9a9999999999b93f 05c3bc6ec3af 0be807021d173b3b01000000 052d312e3530",
        ),
        bound(8),
        WITH_ATTRIBUTES,
    );
    assert_eq!(
        captured.values,
        [
            ParamValue::Unsigned(1),
            ParamValue::Signed(-70000),
            ParamValue::Unsigned(i64::MAX as u64),
            ParamValue::Double(0.1),
            text("ünï"),
            ParamValue::Null,
            text("2024-02-29 23:59:59.000001"),
            text("-1.50"),
        ]
    );
    let captured = execute(
        &hex("17 01000000 08 01000000 08 20 01
              088000 018000 018000 050000 fe0000 060000 0b0000 0a0000
              ffffffffffffffff 00 05 9c7500883ce4377e 0200ff 080103000000000005 0401000101"),
        bound(8),
        WITH_ATTRIBUTES,
    );
    assert_eq!(captured.values[0], ParamValue::Unsigned(u64::MAX));
    assert_eq!(captured.values[3], ParamValue::Double(1e300));
    assert_eq!(captured.values[6], text("-72:00:05"));
    assert_eq!(captured.values[7], text("0001-01-01"));
}

/// The flag is not needed where there are parameters: MySQL 9.7 wants the count all the same.
#[test]
fn the_count_is_there_without_its_flag() {
    let payload = hex("17 01000000 00 01000000 01 00 01 fe00 00 0178");
    let decoded = Execute::decode(argument(&payload), bound(1), WITH_ATTRIBUTES).unwrap();
    assert_eq!(decoded.values, [text("x")]);
    // But where there are none nothing follows, unless the flag is set.
    let payload = hex("17 01000000 00 01000000");
    let decoded = Execute::decode(argument(&payload), bound(0), WITH_ATTRIBUTES).unwrap();
    assert!(decoded.values.is_empty());
    let payload = hex("17 01000000 08 01000000 00");
    let decoded = Execute::decode(argument(&payload), bound(0), WITH_ATTRIBUTES).unwrap();
    assert!(decoded.values.is_empty());
}

/// mysql-connector-python: one parameter, two attributes; then a parameter sent as long data.
#[test]
fn attributes_and_long_data() {
    let captured = execute(
        &hex("17 01000000 08 01000000 03 00 01 fe0000 fe00057472616365 0180016e 0178 03616263 07"),
        bound(1),
        WITH_ATTRIBUTES,
    );
    assert_eq!(captured.params[1].name, b"trace");
    assert_eq!(
        captured.values,
        [text("x"), text("abc"), ParamValue::Unsigned(7)]
    );
    let captured = execute(
        &hex(
            "17 02000000 08 01000000 04 00 01 fc0000 fe0000 fe00057472616365 0180016e 0179 03616263 07",
        ),
        Bound {
            params: 2,
            types: &[],
            long_data: &[0],
        },
        WITH_ATTRIBUTES,
    );
    assert_eq!(captured.values[0], ParamValue::LongData);
    assert_eq!(captured.values[1], text("y"));

    let long = Command::decode(
        &hex("18 02000000 0000 6c6f6e672064617461206c6f6e672064617461206c6f6e67206461746120"),
        WITH_ATTRIBUTES,
    )
    .unwrap();
    assert_eq!(long.statement_id(), Some(2));
    let piece = long.long_data().unwrap();
    assert_eq!(
        (piece.param, piece.data),
        (0, &b"long data long data long data "[..])
    );
}

#[test]
fn types_are_left_out_once_they_are_known() {
    let first = Execute::decode(
        argument(&hex("17 01000000 00 01000000 00 01 0380 0700 fa000000 00")),
        bound(2),
        AGREED,
    )
    .unwrap();
    assert!(first.types_sent);
    let known = Bound {
        params: 2,
        types: &first.params,
        long_data: &[],
    };
    let again = execute(
        &hex("17 01000000 00 01000000 02 00 ffffffff"),
        known,
        AGREED,
    );
    assert_eq!(
        again.values,
        [ParamValue::Unsigned(u32::MAX.into()), ParamValue::Null]
    );
    let error = Execute::decode(
        argument(&hex("17 01000000 00 01000000 02 00 ffffffff")),
        bound(2),
        AGREED,
    );
    assert!(error.unwrap_err().to_string().contains("left out"));
}

#[test]
fn counts_that_lie() {
    for payload in [
        // A trillion parameters; more than are accepted; more than there are bytes for.
        "17 01000000 08 01000000 fe0000000000010000",
        "17 01000000 08 01000000 fdffffff",
        "17 01000000 08 01000000 fcffff 00 01",
        // A type that no one can send; a string longer than the packet; too short; too long.
        "17 01000000 08 01000000 01 00 01 1400 00 00",
        "17 01000000 08 01000000 01 00 01 fd00 00 fe ffffffffffffffff 00",
        "17 01000000 08 01000000 01 00 01 0800 00 00",
        "17 01000000 08 01000000 01 00 01 0100 00 0000",
        "17 01000000 08 01000000 01 00 02 0100 00 00",
    ] {
        let decoded = Execute::decode(argument(&hex(payload)), bound(1), WITH_ATTRIBUTES);
        assert!(decoded.is_err(), "{payload}: {decoded:?}");
    }
}

#[test]
fn types_hold_what_they_hold_without_loss() {
    use ColumnType as T;
    let unsigned = |column_type| ParamType {
        column_type,
        unsigned: true,
    };
    let signed = ParamType::new;
    for (param_type, value, fits) in [
        (signed(T::TINY), ParamValue::Signed(-128), true),
        (signed(T::TINY), ParamValue::Signed(128), false),
        (unsigned(T::TINY), ParamValue::Unsigned(255), true),
        (unsigned(T::TINY), ParamValue::Signed(-1), false),
        (signed(T::LONGLONG), ParamValue::Unsigned(u64::MAX), false),
        (unsigned(T::LONGLONG), text("18446744073709551615"), true),
        (unsigned(T::LONGLONG), text("18446744073709551616"), false),
        (signed(T::LONG), ParamValue::Double(7.0), true),
        (signed(T::LONG), ParamValue::Double(7.5), false),
        (signed(T::LONG), ParamValue::Double(f64::NAN), false),
        (signed(T::FLOAT), ParamValue::Double(0.5), true),
        (signed(T::FLOAT), ParamValue::Double(0.1), false),
        (signed(T::FLOAT), text("0.1"), true),
        (signed(T::DOUBLE), ParamValue::Signed(1 << 53), true),
        (signed(T::DOUBLE), ParamValue::Signed((1 << 53) + 1), false),
        (signed(T::DATE), text("2024-02-29"), true),
        (signed(T::DATE), text("today"), false),
        (signed(T::TIME), text("-838:59:59.000001"), true),
        (signed(T::VAR_STRING), ParamValue::Signed(-5), true),
        (signed(T::NULL), text(""), false),
        (signed(T::GEOMETRY), text(""), false),
        (signed(T::JSON), text("{}"), true),
        (signed(T::VECTOR), text("abcd"), true),
        (signed(T::LONG), ParamValue::Null, true),
        (signed(T::LONG), ParamValue::Default, false),
    ] {
        assert_eq!(
            param_type.holds(&value),
            fits,
            "{value:?} in {param_type:?}"
        );
    }
}

#[test]
fn what_does_not_fit_is_told_but_not_shown() {
    let execute = Execute {
        statement_id: 1,
        flags: 0,
        iterations: 1,
        types_sent: true,
        params: vec![Param {
            param_type: ParamType {
                column_type: ColumnType::LONG,
                unsigned: true,
            },
            name: Vec::new(),
        }],
        values: vec![text("secret")],
    };
    let mut out = b"before".to_vec();
    let error = execute.encode(AGREED, &mut out).unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter 1: a string of 6 bytes does not fit unsigned MYSQL_TYPE_LONG"
    );
    assert_eq!(out, b"before");
}

#[test]
fn bulk_rows() {
    let payload = hex("fa 07000000 8000 0300 fd00 00 01000000 00 0161 01 02 00 ffffffff 03");
    let (decoded, rows) = BulkExecute::decode(&bulk(&payload), 2, &[]).unwrap();
    assert_eq!(decoded.statement_id, 7);
    let rows: Vec<_> = rows.collect::<Result<_, _>>().unwrap();
    assert_eq!(
        rows,
        [
            vec![ParamValue::Signed(1), text("a")],
            vec![ParamValue::Null, ParamValue::Default],
            vec![ParamValue::Signed(-1), ParamValue::Ignore],
        ]
    );
    let mut again = Vec::new();
    decoded.encode(&rows, &mut again).unwrap();
    assert_eq!(again, argument(&payload));

    // Types known from before.
    let payload = hex("fa ffffffff 4000 00 02000000 01");
    let (decoded, rows) = BulkExecute::decode(&bulk(&payload), 2, &decoded.types).unwrap();
    assert_eq!(decoded.statement_id, LAST_PREPARED);
    assert_eq!(
        rows.collect::<Result<Vec<_>, _>>().unwrap(),
        [[ParamValue::Signed(2), ParamValue::Null]]
    );

    for bad in ["fa 07000000 8000 0300", "fa 07000000 0000 00", "fa 0700"] {
        assert!(
            BulkExecute::decode(&bulk(&hex(bad)), 2, &[]).is_err(),
            "{bad}"
        );
    }
    let payload = hex("fa 07000000 8000 0300 09 00");
    let (_, mut rows) = BulkExecute::decode(&bulk(&payload), 1, &[]).unwrap();
    assert!(rows.next().unwrap().is_err());
    assert!(rows.next().is_none());
}

#[test]
fn short_commands() {
    let mut fetch = Command::of_statement(Com::STMT_FETCH, 5);
    assert_eq!((fetch.statement_id(), fetch.fetch_rows()), (Some(5), None));
    fetch.set_at(4, &100u32.to_le_bytes());
    assert_eq!(fetch.fetch_rows(), Some(100));
    fetch.set_at(0, &6u32.to_le_bytes());
    assert_eq!(fetch.argument[..], hex("06000000 64000000"));
    let query = Command {
        com: Com::QUERY,
        argument: "SELECT 1".into(),
        ..Command::default()
    };
    assert_eq!(query.statement_id(), None);
    assert_eq!(query.execute_flags(), None);
    let cut = Command {
        com: Com::STMT_SEND_LONG_DATA,
        argument: vec![1, 0, 0, 0, 1].into(),
        ..Command::default()
    };
    assert!(cut.long_data().is_err());
}

/// A type, and a value that it holds.
fn typed() -> impl Strategy<Value = (ParamType, ParamValue)> {
    use ColumnType as T;
    let int = |column_type, bits: u32| {
        any::<(bool, u64)>().prop_map(move |(unsigned, value)| {
            let value = value >> (64 - bits);
            let value = match unsigned {
                true => ParamValue::Unsigned(value),
                false => ParamValue::Signed((value << (64 - bits)).cast_signed() >> (64 - bits)),
            };
            (
                ParamType {
                    column_type,
                    unsigned,
                },
                value,
            )
        })
    };
    let of = |column_type| Just(ParamType::new(column_type));
    let date = (0u16..=9999, 0u8..=12, 0u8..=31);
    let clock = (0u8..24, 0u8..60, 0u8..60, 0u32..1_000_000);
    let fraction = |micros| match micros {
        0 => String::new(),
        _ => format!(".{micros:06}"),
    };
    prop_oneof![
        int(T::TINY, 8),
        int(T::SHORT, 16),
        int(T::LONG, 32),
        int(T::LONGLONG, 64),
        (of(T::FLOAT), any::<f32>().prop_map(ParamValue::Float)),
        (of(T::DOUBLE), any::<f64>().prop_map(ParamValue::Double)),
        (of(T::DATE), date.clone())
            .prop_map(|(t, (y, m, d))| (t, text(&format!("{y:04}-{m:02}-{d:02}")))),
        (of(T::DATETIME), date, clock.clone()).prop_map(move |(t, (y, m, d), (h, i, s, f))| {
            let fraction = fraction(f);
            (
                t,
                text(&format!(
                    "{y:04}-{m:02}-{d:02} {h:02}:{i:02}:{s:02}{fraction}"
                )),
            )
        }),
        (of(T::TIME), any::<bool>(), 0u16..839, clock).prop_map(
            move |(t, minus, h, (_, i, s, f))| {
                let sign = if minus && (h, i, s, f) != (0, 0, 0, 0) {
                    "-"
                } else {
                    ""
                };
                let fraction = fraction(f);
                (t, text(&format!("{sign}{h:02}:{i:02}:{s:02}{fraction}")))
            }
        ),
        (
            prop::sample::select(vec![
                T::NEWDECIMAL,
                T::VAR_STRING,
                T::BLOB,
                T::JSON,
                T::VECTOR
            ]),
            vec(any::<u8>(), 0..400),
        )
            .prop_map(|(t, bytes)| (ParamType::new(t), ParamValue::Bytes(bytes))),
        (of(T::LONG), Just(ParamValue::Null)),
        (of(T::NULL), Just(ParamValue::Null)),
        (of(T::LONG_BLOB), Just(ParamValue::LongData)),
    ]
}

proptest! {
    #[test]
    fn executes_read_back(
        typed in vec((typed(), vec(any::<u8>(), 0..20)), 0..40),
        own in 0usize..40,
        attributes: bool,
        types_sent: bool,
        cursor in 0u8..2,
    ) {
        let own = if attributes { own.min(typed.len()) } else { typed.len() };
        let capabilities = if attributes { WITH_ATTRIBUTES } else { AGREED };
        let params: Vec<Param> = typed
            .iter()
            .enumerate()
            .map(|(at, ((param_type, _), name))| Param {
                param_type: *param_type,
                name: if at < own { Vec::new() } else { name.clone() },
            })
            .collect();
        let values: Vec<ParamValue> = typed.iter().map(|((_, value), _)| value.clone()).collect();
        let long_data: Vec<u16> = (0u16..)
            .zip(&values)
            .filter(|(_, value)| **value == ParamValue::LongData)
            .map(|(at, _)| at)
            .collect();
        let flags = cursor | if attributes && !values.is_empty() { 8 } else { 0 };
        let types_sent = types_sent && !values.is_empty();
        let packet = Execute { statement_id: 9, flags, iterations: 1, types_sent, params, values };
        let mut out = Vec::new();
        packet.encode(capabilities, &mut out).unwrap();
        let known = Bound { params: own as u16, types: &packet.params, long_data: &long_data };
        prop_assert_eq!(&Execute::decode(&out, known, capabilities).unwrap(), &packet);
        for cut in 0..out.len() {
            let _ = Execute::decode(&out[..cut], known, capabilities);
        }
    }

    #[test]
    fn bulk_executes_read_back(typed in vec(typed(), 1..10), rows in 1usize..5) {
        let values: Vec<ParamValue> = typed.iter().map(|(_, value)| match value {
            ParamValue::LongData => ParamValue::Ignore,
            other => other.clone(),
        }).collect();
        let rows = vec![values; rows];
        let bulk = BulkExecute {
            statement_id: 3,
            flags: BulkExecute::SEND_TYPES,
            types: typed.iter().map(|(param_type, _)| *param_type).collect(),
        };
        let mut out = Vec::new();
        bulk.encode(&rows, &mut out).unwrap();
        let (again, read) = BulkExecute::decode(&out.into(), typed.len() as u16, &[]).unwrap();
        prop_assert_eq!(again, bulk);
        prop_assert_eq!(read.collect::<Result<Vec<_>, _>>().unwrap(), rows);
    }

    #[test]
    fn noise_is_refused_or_read(
        noise in vec(any::<u8>(), 0..200),
        params in 0u16..20,
        attributes: bool,
        long_data in vec(0u16..20, 0..3),
    ) {
        let capabilities = if attributes { WITH_ATTRIBUTES } else { AGREED };
        let types = vec![Param { param_type: ParamType::new(ColumnType::VAR_STRING), name: Vec::new() }; 10];
        let bound = Bound { params, types: &types, long_data: &long_data };
        for head in [&[1, 0, 0, 0, 8, 1, 0, 0, 0][..], &[]] {
            let payload = [head, &noise].concat();
            let _ = Execute::decode_types(&payload, params, capabilities);
            if let Ok(execute) = Execute::decode(&payload, bound, capabilities) {
                // A time of four billion days decodes but cannot be encoded.
                let _ = execute.encode(capabilities, &mut Vec::new());
            }
        }
        let payload = [&[1, 0, 0, 0, 128, 0][..], &noise].concat().into();
        if let Ok((_, rows)) = BulkExecute::decode(&payload, params, &[]) {
            let left = rows.left();
            prop_assert!(rows.count() <= left);
        }
    }
}
