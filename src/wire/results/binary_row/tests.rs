use super::*;
use crate::wire::TextRow;
use proptest::prelude::*;

mod captured;

fn column(code: u8, flags: u16, decimals: u8, length: u32) -> BinaryColumn {
    BinaryColumn {
        column_type: ColumnType(code),
        flags,
        decimals,
        length,
    }
}

fn show(value: Option<&[u8]>) -> String {
    value.map_or("NULL".into(), |value| value.escape_ascii().to_string())
}

/// A FLOAT whose decimals vary.
fn is_float(column: &BinaryColumn) -> bool {
    column.column_type == ColumnType::FLOAT && column.decimals >= 31
}

#[test]
fn values_read_as_the_server_prints_them() {
    for &(label, code, flags, decimals, length, text, binary) in captured::ROWS {
        let column = column(code, flags, decimals, length);
        let expected = TextRow::new(text).next().unwrap().unwrap();
        let values = decode(binary, &[column]).unwrap();
        let value = values[0].as_deref();
        match (is_float(&column), value, expected) {
            (true, Some(value), Some(expected)) => {
                // The server shows six digits at most.
                let number = |text| str::from_utf8(text).unwrap().parse::<f64>().unwrap();
                let (value, expected) = (number(value), number(expected));
                let near = (value - expected).abs() <= expected.abs() * 1e-5;
                assert!(near || value.abs() < 1e-37, "{label}: {value}, {expected}");
            }
            _ => assert_eq!(show(value), show(expected), "{label}"),
        }
    }
}

/// What was decoded encodes to the same bytes, save for fixed decimals, which may hide some.
#[test]
fn text_goes_back_to_the_servers_bytes() {
    for &(label, code, flags, decimals, length, text, binary) in captured::ROWS {
        let column = column(code, flags, decimals, length);
        let mut value = TextRow::new(text).next().unwrap().unwrap();
        let decoded = decode(binary, &[column]).unwrap();
        if is_float(&column) {
            value = decoded[0].as_deref();
        }
        let mut out = Vec::new();
        encode([value].into_iter(), &[column], &mut out).unwrap();
        let inexact =
            matches!(column.column_type, ColumnType::FLOAT | ColumnType::DOUBLE) && decimals < 31;
        if inexact {
            let again = decode(&out, &[column]).unwrap();
            assert_eq!(show(again[0].as_deref()), show(value), "{label}");
        } else {
            assert_eq!(show(Some(&out)), show(Some(binary)), "{label}");
        }
    }
}

#[test]
fn texts_that_do_not_fit_are_refused_and_leave_no_bytes() {
    let unsigned = column_flags::UNSIGNED;
    for (code, flags, text) in [
        (1, 0, "128"),
        (1, unsigned, "-1"),
        (2, 0, "x"),
        (3, unsigned, "4294967296"),
        (8, 0, ""),
        (5, 0, "inf"),
        (4, 0, "1e39"),
        (5, 0, "1,5"),
        (6, 0, ""),
        (10, 0, "2024-02"),
        (10, 0, "2024-02-29-1"),
        (10, 0, "+2024-02-29"),
        (12, 0, "2024-02-29 10:00"),
        (12, 0, "2024-02-29 256:00:00"),
        (11, 0, "10:00:00.1234567"),
        (11, 0, "--10:00:00"),
        (13, 0, "65536"),
    ] {
        let mut out = b"before".to_vec();
        let error = encode(
            [Some(text.as_bytes())].into_iter(),
            &[column(code, flags, 0, 0)],
            &mut out,
        );
        let expected = EncodeError::Unfit {
            column: 1,
            column_type: ColumnType(code),
        };
        assert_eq!(error, Err(expected), "{code} {text}");
        assert_eq!(out, b"before");
    }
}

#[test]
fn values_and_columns_are_of_a_number() {
    let columns = [column(3, 0, 0, 11); 2];
    let mut out = Vec::new();
    for count in [0, 1, 3] {
        let values = std::iter::repeat_n(Some(&b"1"[..]), count);
        assert_eq!(
            encode(values, &columns, &mut out),
            Err(EncodeError::Count {
                values: count,
                columns: 2
            })
        );
    }
    let error = encode([Some(&b"x"[..])].into_iter(), &columns[..1], &mut out).unwrap_err();
    assert_eq!(
        error.to_string(),
        "binary row: column 1: the text does not fit MYSQL_TYPE_LONG"
    );
}

#[test]
fn nulls_beyond_the_first_byte_of_the_bitmap() {
    let columns = [column(253, 0, 0, 11); 20];
    let values: Vec<Option<&[u8]>> = (0..20)
        .map(|i| if i % 3 == 0 { None } else { Some(&b"v"[..]) })
        .collect();
    let mut out = Vec::new();
    encode(values.iter().copied(), &columns, &mut out).unwrap();
    assert_eq!(out[..4], [0, 0b0010_0100, 0b0100_1001, 0b0001_0010]);
    let decoded = decode(&out, &columns).unwrap();
    assert!(decoded.iter().map(Option::as_deref).eq(values));
}

fn any_column() -> impl Strategy<Value = BinaryColumn> {
    let code = prop_oneof![0u8..20, 245u8..=255];
    (code, any::<u16>(), 0u8..40, any::<u32>())
        .prop_map(|(code, flags, decimals, length)| column(code, flags, decimals, length))
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        columns in proptest::collection::vec(any_column(), 0..12),
        mut payload in proptest::collection::vec(any::<u8>(), 0..200),
        tame: bool,
    ) {
        if tame && !payload.is_empty() {
            payload[0] = 0;
        }
        let _ = decode(&payload, &columns);
    }

    /// Whatever decodes can be encoded, and reads the same afterwards.
    #[test]
    fn text_is_stable(
        column in any_column(),
        mut value in proptest::collection::vec(any::<u8>(), 0..20),
        len in prop::sample::select(vec![0u8, 4, 7, 8, 11, 12]),
    ) {
        // Temporal values and strings begin with their length.
        if !value.is_empty() {
            value.truncate(usize::from(len) + 1);
            value[0] = len;
        }
        // No column holds infinity or NaN, and servers' text for them has no decimals.
        let infinite = match column.column_type.0 {
            4 => value.first_chunk().is_some_and(|four| !f32::from_le_bytes(*four).is_finite()),
            5 => value.first_chunk().is_some_and(|eight| !f64::from_le_bytes(*eight).is_finite()),
            _ => false,
        };
        if infinite {
            return Ok(());
        }
        let payload = [&[0, 0][..], &value].concat();
        let Ok(values) = decode(&payload, &[column]) else { return Ok(()) };
        let text = values[0].as_deref();
        let floats = matches!(column.column_type, ColumnType::FLOAT | ColumnType::DOUBLE);
        if floats && text.is_some_and(|text| text.iter().all(|digit| *digit == b'0')) {
            // Perhaps of a value that is not finite, which no server has: it reads as a bare 0.
            return Ok(());
        }
        let mut out = Vec::new();
        if encode([text].into_iter(), &[column], &mut out).is_err() {
            // So many days that their hours do not fit, or zeros before a minus sign, which a
            // column that is ZEROFILL but signed would have: no server sends it.
            return Ok(());
        }
        let again = decode(&out, &[column]).unwrap();
        prop_assert_eq!(show(again[0].as_deref()), show(text));
    }

    #[test]
    fn integers_round_trip(value: i64) {
        let column = column(8, 0, 0, 20);
        let text = value.to_string();
        let mut out = Vec::new();
        encode([Some(text.as_bytes())].into_iter(), &[column], &mut out).unwrap();
        let expected = [&[0, 0][..], &value.to_le_bytes()].concat();
        prop_assert_eq!(&out, &expected);
        let values = decode(&out, &[column]).unwrap();
        prop_assert_eq!(values[0].as_deref(), Some(text.as_bytes()));
    }

    #[test]
    fn random_texts_never_panic(column in any_column(), text: String) {
        let _ = encode([Some(text.as_bytes())].into_iter(), &[column], &mut Vec::new());
    }
}
