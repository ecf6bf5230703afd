//! Settings as bytes, for another thread or another program.

use super::settings::{Settings, Value, are_repeatable};
use crate::record::{Fields, Unreadable, Writer};
use crate::track::ClientCollation;

const SCHEMA: u8 = 1;
const VARIABLE: u8 = 2;
const CHARACTERISTICS: u8 = 3;
/// Left out for that of a connection's login; empty for that of the character set.
const CLIENT_COLLATION: u8 = 4;

const NAME: u8 = 1;
/// Left out for NULL.
const TEXT: u8 = 2;
const UNCERTAIN: u8 = 3;

/// More variables than any server has.
const MAX_VARIABLES: usize = 4096;

impl Settings {
    /// Writes them as a record.
    pub fn write(&self, out: &mut Writer) {
        out.optional(SCHEMA, self.schema.as_deref());
        for (name, value) in &self.variables {
            out.record(VARIABLE, |out| {
                out.bytes(NAME, name.as_bytes());
                match value {
                    Value::Text(text) => out.bytes(TEXT, text),
                    Value::Null => {}
                    Value::Uncertain => out.flag(UNCERTAIN, true),
                }
            });
        }
        match &self.client_collation {
            ClientCollation::AtLogin => {}
            ClientCollation::OfCharset => out.bytes(CLIENT_COLLATION, b""),
            ClientCollation::Named(name) => out.bytes(CLIENT_COLLATION, name),
        }
        out.bytes(CHARACTERISTICS, &self.characteristics);
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// It is damaged.
    pub fn of_record(fields: Fields<'_>) -> Result<Settings, Unreadable> {
        let mut settings = Settings::default();
        for field in fields {
            let field = field?;
            match field.tag {
                SCHEMA => settings.schema = Some(field.bytes()),
                VARIABLE => {
                    let (name, value) = variable(field.fields())?;
                    settings.variables.insert(name, value);
                    if settings.variables.len() > MAX_VARIABLES {
                        return Err(Unreadable::TooLong);
                    }
                }
                CLIENT_COLLATION => {
                    settings.client_collation = match field.value {
                        b"" => ClientCollation::OfCharset,
                        name => ClientCollation::Named(name.to_vec()),
                    };
                }
                // These become statements as they are.
                CHARACTERISTICS if are_repeatable(field.value) => {
                    settings.characteristics = field.bytes();
                }
                CHARACTERISTICS => return Err(Unreadable::Malformed),
                _ => {}
            }
        }
        Ok(settings)
    }
}

fn variable(fields: Fields<'_>) -> Result<(String, Value), Unreadable> {
    let (mut name, mut value) = (None, Value::Null);
    for field in fields {
        let field = field?;
        match field.tag {
            NAME => name = Some(field.text()?),
            TEXT => value = Value::Text(field.bytes()),
            UNCERTAIN => value = Value::Uncertain,
            _ => {}
        }
    }
    // Names become part of statements as they are.
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(is_part);
    let name = name.filter(is_name).ok_or(Unreadable::Malformed)?;
    Ok((name.to_string(), value))
}
