//! Dates and times of the binary protocol, and as text.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>

use crate::wire::values::reader::Reader;
use crate::wire::{ColumnType, DecodeError};
use bytes::BufMut;
use std::fmt::Write as _;

/// A DATE, DATETIME or TIMESTAMP. Fields a server leaves out are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::wire) struct DateTime {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

/// A TIME: an interval, with a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::wire) struct Time {
    negative: bool,
    days: u32,
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

impl DateTime {
    pub(in crate::wire) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = reader.u8("date")?;
        if !matches!(len, 0 | 4 | 7 | 11) {
            return Err(reader.invalid("date", "its length is none of 0, 4, 7 and 11"));
        }
        let mut value = Self::default();
        if len >= 4 {
            value.year = reader.u16("date")?;
            [value.month, value.day] = reader.array("date")?;
        }
        if len >= 7 {
            [value.hour, value.minute, value.second] = reader.array("date")?;
        }
        if len >= 11 {
            value.micros = micros("date", reader)?;
        }
        Ok(value)
    }

    pub(in crate::wire) fn encode(self, out: &mut Vec<u8>) {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros,
        } = self;
        let len = match () {
            () if micros != 0 => 11,
            () if (hour, minute, second) != (0, 0, 0) => 7,
            () if (year, month, day) != (0, 0, 0) => 4,
            () => 0,
        };
        out.put_u8(len);
        if len >= 4 {
            out.put_u16_le(year);
            out.put_slice(&[month, day]);
        }
        if len >= 7 {
            out.put_slice(&[hour, minute, second]);
        }
        if len >= 11 {
            out.put_u32_le(micros);
        }
    }

    /// As text; a DATE has no time of day.
    pub(in crate::wire) fn text(self, column_type: ColumnType, decimals: u8) -> String {
        let mut text = format!("{:04}-{:02}-{:02}", self.year, self.month, self.day);
        if !matches!(column_type, ColumnType::DATE | ColumnType::NEWDATE) {
            let Self {
                hour,
                minute,
                second,
                micros,
                ..
            } = self;
            let _ = write!(text, " {hour:02}:{minute:02}:{second:02}");
            fraction(micros, decimals, &mut text);
        }
        text
    }

    pub(in crate::wire) fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once([' ', 'T']) {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let mut value = Self {
            year: number(parts.next()?)?,
            month: number(parts.next()?)?,
            day: number(parts.next()?)?,
            ..Self::default()
        };
        if let Some(time) = time {
            let hours: u32;
            (hours, value.minute, value.second, value.micros) = clock(time)?;
            value.hour = hours.try_into().ok()?;
        }
        parts.next().is_none().then_some(value)
    }
}

impl Time {
    pub(in crate::wire) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = reader.u8("time")?;
        if !matches!(len, 0 | 8 | 12) {
            return Err(reader.invalid("time", "its length is none of 0, 8 and 12"));
        }
        let mut value = Self::default();
        if len >= 8 {
            value.negative = reader.u8("time")? != 0;
            value.days = reader.u32("time")?;
            [value.hour, value.minute, value.second] = reader.array("time")?;
        }
        if len >= 12 {
            value.micros = micros("time", reader)?;
        }
        Ok(value)
    }

    pub(in crate::wire) fn encode(self, out: &mut Vec<u8>) {
        if self == Self::default() {
            return out.put_u8(0);
        }
        out.put_u8(if self.micros == 0 { 8 } else { 12 });
        out.put_u8(u8::from(self.negative));
        out.put_u32_le(self.days);
        out.put_slice(&[self.hour, self.minute, self.second]);
        if self.micros != 0 {
            out.put_u32_le(self.micros);
        }
    }

    pub(in crate::wire) fn text(self, decimals: u8) -> String {
        let Self {
            negative,
            days,
            hour,
            minute,
            second,
            micros,
        } = self;
        let sign = if negative { "-" } else { "" };
        let hours = u64::from(days) * 24 + u64::from(hour);
        let mut text = format!("{sign}{hours:02}:{minute:02}:{second:02}");
        fraction(micros, decimals, &mut text);
        text
    }

    pub(in crate::wire) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (hours, minute, second, micros) = clock(text)?;
        let (days, hour) = (hours / 24, (hours % 24) as u8);
        Some(Self {
            negative,
            days,
            hour,
            minute,
            second,
            micros,
        })
    }
}

fn micros(field: &'static str, reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match reader.u32(field)? {
        micros @ 0..=999_999 => Ok(micros),
        _ => Err(reader.invalid(field, "more than 999999 microseconds")),
    }
}

/// Appends as many decimals of a second as the column has. Where their number is not known, all
/// are shown, if there are any.
fn fraction(micros: u32, decimals: u8, text: &mut String) {
    let digits = match decimals {
        0 => return,
        1..=6 => decimals,
        _ if micros == 0 => return,
        _ => 6,
    };
    let _ = write!(
        text,
        ".{:0width$}",
        micros / 10u32.pow(6 - u32::from(digits)),
        width = digits.into()
    );
}

/// Reads `hours:minutes:seconds[.fraction]`.
fn clock(text: &str) -> Option<(u32, u8, u8, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let (hours, minute, second) = (
        number(parts.next()?)?,
        number(parts.next()?)?,
        number(parts.next()?)?,
    );
    if parts.next().is_some() || fraction.len() > 6 {
        return None;
    }
    let micros = match fraction {
        "" => 0,
        _ => number::<u32>(fraction)? * 10u32.pow(6 - fraction.len() as u32),
    };
    Some((hours, minute, second, micros))
}

/// Digits alone, which `parse` would let a sign precede.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|c| c.is_ascii_digit())
        .then(|| text.parse().ok())?
}
