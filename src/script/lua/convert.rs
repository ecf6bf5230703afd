//! Conversion between Lua's values and ours. Values that do not fit are errors.

use std::time::Duration;

use mlua::{Lua, Value};

/// Above this a Lua number does not hold every integer.
pub const EXACT: u64 = 1 << 53;

/// An integer as scripts read it: a number, or above 2^53 its decimal digits.
pub fn integer(lua: &Lua, value: u64) -> mlua::Result<Value> {
    if value > EXACT {
        return Ok(Value::String(lua.create_string(value.to_string())?));
    }
    Ok(Value::Number(value as f64))
}

/// The integer that a script wrote, if it is one from 0 to `max`. A string of digits is accepted if
/// `max` is beyond what Lua's numbers hold exactly.
pub fn to_integer(value: &Value, max: u64) -> Option<u64> {
    let integer = match value {
        Value::Integer(integer) => u64::try_from(*integer).ok().filter(|i| *i <= EXACT)?,
        Value::Number(number) => {
            let whole = number.fract() == 0.0 && (0.0..=EXACT as f64).contains(number);
            whole.then_some(*number as u64)?
        }
        Value::String(digits) if max > EXACT => {
            let digits = digits.as_bytes();
            if !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            std::str::from_utf8(&digits).ok()?.parse().ok()?
        }
        _ => return None,
    };
    (integer <= max).then_some(integer)
}

/// What `to_integer` expects, for messages.
pub fn integer_wanted(max: u64) -> String {
    if max > EXACT {
        format!("an integer from 0 to {max} (above 2^53 as a decimal string)")
    } else {
        format!("an integer from 0 to {max}")
    }
}

/// A description of a value that a script gave, for messages.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Integer(integer) => integer.to_string(),
        Value::Number(number) => number.to_string(),
        Value::LightUserData(_) if is_null(value) => "dpm.NULL".to_string(),
        Value::UserData(object) => object
            .type_name()
            .map_or_else(|_| "userdata".to_string(), |name| name.to_string_lossy()),
        other => other.type_name().to_string(),
    }
}

/// A longer time-out is probably a mistake.
const MAX_SECONDS: f64 = 86_400.0 * 365.0;

/// A number, of either kind.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// Seconds, with fractions.
pub fn to_seconds(value: &Value) -> Option<Duration> {
    let seconds = number(value).filter(|n| (0.0..=MAX_SECONDS).contains(n))?;
    Some(Duration::from_secs_f64(seconds))
}

/// What [`to_seconds`] takes, for messages.
pub fn seconds_wanted() -> String {
    format!("seconds from 0 to {MAX_SECONDS}")
}

/// A value for the message that it is not one of certain words: a word itself says most.
pub fn describe_word(value: &Value) -> String {
    match value {
        Value::String(word) if word.as_bytes().len() <= 40 => {
            format!("{:?}", word.to_string_lossy())
        }
        other => describe(other),
    }
}

/// Whether a value is `dpm.NULL`.
pub fn is_null(value: &Value) -> bool {
    matches!(value, Value::LightUserData(pointer) if pointer.0.is_null())
}

/// A number as text for a row: integers without an exponent, others so that they read back as the
/// same number.
pub fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() <= EXACT as f64 {
        return (number as i64).to_string();
    }
    // Rust's `{}` never writes an exponent: 1e300 would have 301 digits.
    if number != 0.0 && !(1e-5..1e17).contains(&number.abs()) {
        return format!("{number:e}");
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_or_refused() {
        let lua = Lua::new();
        let string = |s: &str| Value::String(lua.create_string(s).unwrap());
        for (value, max, result) in [
            (Value::Integer(0), 255, Some(0)),
            (Value::Integer(255), 255, Some(255)),
            (Value::Integer(256), 255, None),
            (Value::Integer(-1), u64::MAX, None),
            (Value::Number(3.0), 255, Some(3)),
            (Value::Number(3.5), 255, None),
            (Value::Number(f64::NAN), 255, None),
            (Value::Number(f64::INFINITY), u64::MAX, None),
            (
                Value::Number(9_007_199_254_740_992.0),
                u64::MAX,
                Some(EXACT),
            ),
            (Value::Number(9_007_199_254_740_994.0), u64::MAX, None),
            (string("18446744073709551615"), u64::MAX, Some(u64::MAX)),
            (string("18446744073709551616"), u64::MAX, None),
            (string("5"), 255, None),
            (string(""), u64::MAX, None),
            (string("+5"), u64::MAX, None),
            (string("x"), u64::MAX, None),
            (Value::Nil, u64::MAX, None),
            (Value::Boolean(true), u64::MAX, None),
        ] {
            assert_eq!(to_integer(&value, max), result, "{value:?} up to {max}");
        }
    }

    #[test]
    fn integers_read_as_numbers_up_to_2_53() {
        let lua = Lua::new();
        assert_eq!(integer(&lua, EXACT).unwrap(), Value::Number(EXACT as f64));
        let above = integer(&lua, EXACT + 1).unwrap();
        assert_eq!(above.to_string().unwrap(), "9007199254740993");
    }

    #[test]
    fn numbers_as_text() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (42.0, "42"),
            (-7.0, "-7"),
            (1e15, "1000000000000000"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e300, "1e300"),
            (1.5e-9, "1.5e-9"),
        ] {
            assert_eq!(number_text(number), text);
        }
    }
}
