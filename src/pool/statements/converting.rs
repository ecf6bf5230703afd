//! Values in other types, for a server that would resolve their parameters otherwise than the client's own has done.
//!
//! A client has bound a DOUBLE, and binds an integer now: its own server takes that as a DOUBLE, and so would any other, if it
//! is sent as one.

use super::pins::{Pin, Pins, Values};
use crate::wire::{Bound, Capabilities, ColumnType, Com, Execute, Param, ParamType, ParamValue};

/// An execute in other types.
pub(super) struct Converted {
    /// The command.
    pub payload: Vec<u8>,
    /// The types in it.
    pub types: Vec<ParamType>,
    /// Those of values that are not NULL.
    of_values: Vec<ParamType>,
}

impl Converted {
    /// Its values.
    pub(super) fn values(&self) -> Values<'_> {
        Values {
            head: None,
            types: &self.of_values,
        }
    }
}

/// The command of a client that has bound these types, whose parameters are resolved as `initial` where the statement is
/// prepared, for a server that is to resolve them as `wanted`. `None` if it cannot be had.
pub(super) fn converted(
    payload: &[u8],
    types: &[ParamType],
    (initial, wanted): (&Pins, &Pins),
    capabilities: Capabilities,
) -> Option<Converted> {
    let argument = payload.get(1..)?;
    let named: Vec<_> = types.iter().map(|one| unnamed(*one)).collect();
    let bound = Bound {
        params: types.len().try_into().ok()?,
        types: &named,
        long_data: &[],
    };
    let mut execute = Execute::decode(argument, bound, capabilities).ok()?;
    // Attributes have no parameter of their own.
    if execute.params.len() != types.len() {
        return None;
    }
    let pairs = execute.values.iter_mut().zip(&mut execute.params);
    for (at, (value, param)) in pairs.enumerate() {
        let (initial, wanted) = (initial.get(at)?, wanted.get(at)?);
        let is_null = matches!(value, ParamValue::Null);
        if is_null || initial.after(Pin::of(param.param_type)) == wanted {
            continue;
        }
        (*value, param.param_type) = as_pin(value, wanted)?;
    }
    let types = execute.params.iter().map(|one| one.param_type);
    let of_value = |(value, one): (&ParamValue, ParamType)| match value {
        ParamValue::Null => ParamType::new(ColumnType::NULL),
        _ => one,
    };
    let of_values = execute
        .values
        .iter()
        .zip(types.clone())
        .map(of_value)
        .collect();
    let types = types.collect();
    execute.types_sent = true;
    let mut written = vec![Com::STMT_EXECUTE.0];
    execute.encode(capabilities, &mut written).ok()?;
    Some(Converted {
        payload: written,
        types,
        of_values,
    })
}

fn unnamed(param_type: ParamType) -> Param {
    Param {
        param_type,
        name: Vec::new(),
    }
}

/// A number as a server converts it that has resolved its parameter so; `None` for what is no plain number.
fn as_pin(value: &ParamValue, wanted: Pin) -> Option<(ParamValue, ParamType)> {
    let text = match value {
        ParamValue::Signed(number) => number.to_string(),
        ParamValue::Unsigned(number) => number.to_string(),
        ParamValue::Bytes(bytes) if is_plain(bytes) => String::from_utf8(bytes.clone()).ok()?,
        _ => return None,
    };
    let (value, column_type, unsigned) = match wanted {
        Pin::Double => (
            ParamValue::Double(text.parse().ok()?),
            ColumnType::DOUBLE,
            false,
        ),
        Pin::Decimal => (
            ParamValue::Bytes(text.into()),
            ColumnType::NEWDECIMAL,
            false,
        ),
        Pin::Signed => (
            ParamValue::Signed(text.parse().ok()?),
            ColumnType::LONGLONG,
            false,
        ),
        Pin::Unsigned => (
            ParamValue::Unsigned(text.parse().ok()?),
            ColumnType::LONGLONG,
            true,
        ),
        Pin::Text | Pin::TextAgain | Pin::Date | Pin::Time | Pin::DateTime => return None,
    };
    let param_type = ParamType {
        column_type,
        unsigned,
    };
    Some((value, param_type))
}

/// Whether a text is a number that every type of numbers reads alike.
fn is_plain(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut parts = digits.split(|byte| *byte == b'.');
    let is_number = |part: Option<&[u8]>| {
        part.is_none_or(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
    };
    let (whole, fraction) = (parts.next(), parts.next());
    text.len() <= 18 && is_number(whole) && is_number(fraction) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_alone() {
        for (text, is) in [
            ("5", true),
            ("-12.50", true),
            ("", false),
            (".", false),
            ("1e3", false),
            (" 5", false),
            ("5x", false),
            ("1.2.3", false),
        ] {
            assert_eq!(is_plain(text.as_bytes()), is, "{text}");
        }
        let text = ParamValue::Bytes(b"5".to_vec());
        let (value, param_type) = as_pin(&text, Pin::Double).unwrap();
        assert!(value == ParamValue::Double(5.0) && param_type.column_type == ColumnType::DOUBLE);
        assert!(as_pin(&ParamValue::Bytes(b"5.5".to_vec()), Pin::Signed).is_none());
        assert!(as_pin(&text, Pin::Date).is_none());
    }
}
