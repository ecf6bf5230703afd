//! What a client is told of its session, as bytes for another thread or another program.

use super::variables::{Kinds, Listed, Trackers};
use crate::pool::flavour::Flavour;
use crate::record::{Fields, Unreadable, Writer};

const FLAVOUR: u8 = 1;
const SHARES_NAMES: u8 = 2;
const KINDS: u8 = 3;
/// If all variables are reported.
const ALL: u8 = 4;
const VARIABLE: u8 = 5;
const TOLD_BEGUN: u8 = 6;
/// Left out for NULL.
const LIST: u8 = 7;

/// More variables than any server has.
const MAX_VARIABLES: usize = 4096;

impl Trackers {
    /// Writes them as a record.
    pub fn write(&self, out: &mut Writer) {
        out.number(FLAVOUR, self.flavour.number());
        out.flag(SHARES_NAMES, self.shares_names);
        out.number(KINDS, self.kinds.bits().into());
        match &self.variables {
            Listed::All => out.flag(ALL, true),
            Listed::Some(names) => {
                for name in names.iter() {
                    out.bytes(VARIABLE, name);
                }
            }
        }
        out.flag(TOLD_BEGUN, self.told_begun);
        out.optional(LIST, self.list.as_deref());
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// It is damaged.
    pub fn of_record(fields: Fields<'_>) -> Result<Trackers, Unreadable> {
        let (mut flavour, mut names, mut lists_all) = (None, Vec::new(), false);
        let (mut kinds, mut list) = (Kinds::empty(), None);
        let (mut shares_names, mut told_begun) = (false, false);
        for field in fields {
            let field = field?;
            match field.tag {
                FLAVOUR => flavour = Flavour::of_number(field.number()?),
                SHARES_NAMES => shares_names = true,
                KINDS => kinds = Kinds::from_bits_truncate(field.small()?),
                ALL => lists_all = true,
                VARIABLE => {
                    names.push(Box::from(field.value));
                    if names.len() > MAX_VARIABLES {
                        return Err(Unreadable::TooLong);
                    }
                }
                TOLD_BEGUN => told_begun = true,
                LIST => list = Some(field.value.into()),
                _ => {}
            }
        }
        Ok(Trackers {
            flavour: flavour.ok_or(Unreadable::Malformed)?,
            shares_names,
            kinds,
            variables: match lists_all {
                true => Listed::All,
                false => Listed::Some(names.into()),
            },
            told_begun,
            list,
        })
    }
}
