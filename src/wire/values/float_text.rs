//! Floating-point numbers as the server prints them.
//!
//! The shortest digits that read back as the same number; in scientific form from 1e15 up and
//! below 1e-15. Columns with a fixed number of decimals are never in scientific form.

/// The number of decimals that says that they vary (the server's NOT_FIXED_DEC).
const VARYING: u8 = 31;

/// Where the server changes to scientific form (its MAX_DECPT_FOR_F_FORMAT).
const POINT_LIMIT: i32 = 15;

/// A DOUBLE as text.
pub(in crate::wire) fn double(value: f64, decimals: u8) -> String {
    match decimals {
        _ if !value.is_finite() => "0".to_owned(),
        VARYING.. => general(&format!("{value:e}")),
        _ => fixed(value, decimals),
    }
}

/// A FLOAT as text. A server prints six digits at most; these read back as the same number.
pub(in crate::wire) fn float(value: f32, decimals: u8) -> String {
    match decimals {
        _ if !value.is_finite() => "0".to_owned(),
        VARYING.. => general(&format!("{value:e}")),
        _ => fixed(value.into(), decimals),
    }
}

/// The shortest digits, filled up with zeros rather than with the digits of the exact value.
fn fixed(value: f64, decimals: u8) -> String {
    let decimals = usize::from(decimals);
    let mut text = value.to_string();
    let had = text
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    if had > decimals {
        return format!("{value:.decimals$}");
    }
    if decimals > 0 {
        if had == 0 {
            text.push('.');
        }
        text.extend(std::iter::repeat_n('0', decimals - had));
    }
    text
}

/// From Rust's scientific form (`-1.25e-7`) to the server's.
fn general(scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(|&c| c != '.').collect();
    let digits = digits.trim_end_matches('0');
    let Some(first) = digits.get(..1) else {
        return format!("{sign}0");
    };
    // The point stands behind so many digits.
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let len = digits.len() as i32;
    if !(1 - POINT_LIMIT..=POINT_LIMIT).contains(&point) {
        let rest = digits.get(1..).unwrap_or_default();
        let dot = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{dot}{rest}e{}", point - 1);
    }
    if point <= 0 {
        return format!(
            "{sign}0.{}{digits}",
            "0".repeat(point.unsigned_abs() as usize)
        );
    }
    if point >= len {
        return format!("{sign}{digits}{}", "0".repeat((point - len) as usize));
    }
    let (whole, fraction) = digits.split_at(point as usize);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn doubles_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(double(value, 31).parse::<f64>().unwrap().to_bits(), bits);
            double(value, (bits % 32) as u8);
        }

        #[test]
        fn floats_read_back(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(float(value, 31).parse::<f32>().unwrap().to_bits(), bits);
            float(value, (bits % 32) as u8);
        }
    }
}
