//! Diagnostics as bytes, for another thread or another program.

use super::conditions::{Condition, Conditions, List};
use super::{Diagnostics, Held};
use crate::pool::flavour::Flavour;
use crate::record::{Fields, Unreadable, Writer};

// What is left out is lost.
const FLAVOUR: u8 = 1;
const CONDITIONS: u8 = 2;
const ROW_COUNT: u8 = 3;
const FOUND_ROWS: u8 = 4;
const ANNOUNCED: u8 = 5;

const CONDITION: u8 = 1;
/// Left out for NULL.
const CHARSET: u8 = 2;
const WARNINGS: u8 = 3;
const ERRORS: u8 = 4;

const LEVEL: u8 = 1;
const CODE: u8 = 2;
const MESSAGE: u8 = 3;

impl Diagnostics {
    /// Writes as a record what is known without the client's connection.
    pub fn write(&self, out: &mut Writer) {
        out.number(FLAVOUR, self.flavour.number());
        if let Some(conditions) = self.conditions.known() {
            out.record(CONDITIONS, |out| conditions.write(out));
        }
        if let Some(count) = self.row_count.known() {
            out.bytes(ROW_COUNT, &count.to_le_bytes());
        }
        if let Some(rows) = self.found_rows.known() {
            out.number(FOUND_ROWS, *rows);
        }
        if let Some(count) = self.announced {
            out.number(ANNOUNCED, count.into());
        }
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// It is damaged.
    pub fn of_record(fields: Fields<'_>) -> Result<Diagnostics, Unreadable> {
        let mut read = Diagnostics {
            conditions: Held::Lost,
            row_count: Held::Lost,
            ..Diagnostics::new()
        };
        for field in fields {
            let field = field?;
            match field.tag {
                FLAVOUR => {
                    let flavour = Flavour::of_number(field.number()?);
                    read.flavour = flavour.ok_or(Unreadable::Malformed)?;
                }
                CONDITIONS => read.conditions = Held::Here(Conditions::of_record(field.fields())?),
                // The same bytes, of a number with a sign.
                ROW_COUNT => read.row_count = Held::Here(field.number()?.cast_signed()),
                ANNOUNCED => read.announced = Some(field.small()?),
                FOUND_ROWS => read.found_rows = Held::Here(field.number()?),
                _ => {}
            }
        }
        Ok(read)
    }
}

impl Conditions {
    fn write(&self, out: &mut Writer) {
        if let Some(list) = &self.list {
            out.optional(CHARSET, list.charset.as_deref());
            for condition in &list.all {
                out.record(CONDITION, |out| {
                    out.bytes(LEVEL, &condition.level);
                    out.number(CODE, condition.code.into());
                    out.bytes(MESSAGE, &condition.message);
                });
            }
        }
        for (tag, count) in [(WARNINGS, self.warnings), (ERRORS, self.errors)] {
            if let Some(count) = count {
                out.number(tag, count);
            }
        }
    }

    fn of_record(fields: Fields<'_>) -> Result<Conditions, Unreadable> {
        let mut list = List::new(None);
        let mut read = Conditions {
            list: None,
            warnings: None,
            errors: None,
        };
        for field in fields {
            let field = field?;
            match field.tag {
                CONDITION if !list.push(condition(field.fields())?) => {
                    return Err(Unreadable::TooLong);
                }
                CHARSET => list.charset = Some(field.bytes()),
                WARNINGS => read.warnings = Some(field.number()?),
                ERRORS => read.errors = Some(field.number()?),
                _ => {}
            }
        }
        read.list = (!list.all.is_empty()).then(|| Box::new(list));
        Ok(read)
    }
}

fn condition(fields: Fields<'_>) -> Result<Condition, Unreadable> {
    let mut read = Condition::error(0, b"");
    for field in fields {
        let field = field?;
        match field.tag {
            LEVEL => read.level = field.bytes(),
            CODE => read.code = field.small()?,
            MESSAGE => read.message = field.bytes(),
            _ => {}
        }
    }
    Ok(read)
}
