//! The short commands about prepared statements: COM_STMT_FETCH, COM_STMT_CLOSE, COM_STMT_RESET and
//! COM_STMT_SEND_LONG_DATA; and what they have in common with the two that execute.

use crate::wire::values::reader::Reader;
use crate::wire::{Com, Command, DecodeError, Hidden};
use bytes::{Bytes, BytesMut};
use std::fmt;

const NAME: &str = "statement command";

/// The statement id that stands for the one that was prepared last (MariaDB).
pub const LAST_PREPARED: u32 = u32::MAX;

/// A piece of a parameter's value.
#[derive(Clone, PartialEq, Eq)]
pub struct LongData<'a> {
    /// Which parameter, counted from 0.
    pub param: u16,
    /// The piece.
    pub data: &'a [u8],
}

impl fmt::Debug for LongData<'_> {
    /// Without the data, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongData")
            .field("param", &self.param)
            .field("data", &Hidden(self.data))
            .finish()
    }
}

impl Com {
    /// Whether the command's argument begins with a statement's id.
    pub const fn names_statement(self) -> bool {
        matches!(
            self,
            Self::STMT_EXECUTE
                | Self::STMT_SEND_LONG_DATA
                | Self::STMT_CLOSE
                | Self::STMT_RESET
                | Self::STMT_FETCH
                | Self::STMT_BULK_EXECUTE
        )
    }
}

impl Command {
    /// The statement that the command is about.
    pub fn statement_id(&self) -> Option<u32> {
        let (id, _) = self.argument.split_first_chunk()?;
        self.com
            .names_statement()
            .then_some(u32::from_le_bytes(*id))
    }

    /// The flags of COM_STMT_EXECUTE or COM_STMT_BULK_EXECUTE.
    pub fn execute_flags(&self) -> Option<u16> {
        let flags = self.argument.get(4..)?;
        match self.com {
            Com::STMT_EXECUTE => flags.first().map(|flags| u16::from(*flags)),
            Com::STMT_BULK_EXECUTE => flags.first_chunk().map(|flags| u16::from_le_bytes(*flags)),
            _ => None,
        }
    }

    /// How many rows a COM_STMT_FETCH asks for.
    pub fn fetch_rows(&self) -> Option<u32> {
        let rows = self.argument.get(4..)?.first_chunk()?;
        (self.com == Com::STMT_FETCH).then_some(u32::from_le_bytes(*rows))
    }

    /// What a COM_STMT_SEND_LONG_DATA carries.
    pub fn long_data(&self) -> Result<LongData<'_>, DecodeError> {
        let mut reader = Reader::new(NAME, &self.argument);
        reader.u32("statement_id")?;
        Ok(LongData {
            param: reader.u16("parameter")?,
            data: reader.rest(),
        })
    }

    /// Overwrites the argument with these bytes from offset `at` on; it grows if it is too short.
    pub fn set_at(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        let mut argument = BytesMut::from(std::mem::take(&mut self.argument));
        if argument.len() < end {
            argument.resize(end, 0);
        }
        if let Some(place) = argument.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
        self.argument = argument.freeze();
    }

    /// A command about a statement.
    pub fn of_statement(com: Com, statement_id: u32) -> Self {
        Self {
            com,
            argument: Bytes::copy_from_slice(&statement_id.to_le_bytes()),
            ..Self::default()
        }
    }
}
