//! A column's definition.

use crate::wire::values::original::{Original, lossless};
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, ColumnType, DecodeError, Put, lenenc};
use bytes::BufMut;

const NAME: &str = "column";

/// How many bytes the fields of fixed size take.
const FIXED: u8 = 12;

/// How many of them clients look at: two are unused.
const USED: usize = 10;

/// A column's definition.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_column_definition.html>,
/// <https://mariadb.com/docs/server/reference/clientserver-protocol/4-server-response-packets/result-set-packets#column-definition-packet>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Always "def".
    pub catalog: Vec<u8>,
    /// The database.
    pub schema: Vec<u8>,
    /// The table as the query calls it.
    pub table: Vec<u8>,
    /// The table's own name.
    pub org_table: Vec<u8>,
    /// The column as the query calls it.
    pub name: Vec<u8>,
    /// The column's own name.
    pub org_name: Vec<u8>,
    /// MariaDB's extended type information, under MARIADB_EXTENDED_METADATA.
    pub extended: Vec<u8>,
    /// The id of the values' collation.
    pub character_set: u16,
    /// The most bytes a value takes as text.
    pub length: u32,
    /// The type.
    pub column_type: ColumnType,
    /// See [`column_flags`](crate::wire::column_flags).
    pub flags: u16,
    /// Digits behind the point; 31 if they vary.
    pub decimals: u8,
    /// In answers to COM_FIELD_LIST alone, the default, which may be NULL.
    pub default: Option<Option<Vec<u8>>>,
    /// See [`Original`].
    pub original: Original,
}

impl Default for Column {
    /// A text column without a name.
    fn default() -> Self {
        Self {
            catalog: b"def".to_vec(),
            schema: Vec::new(),
            table: Vec::new(),
            org_table: Vec::new(),
            name: Vec::new(),
            org_name: Vec::new(),
            extended: Vec::new(),
            character_set: 45,
            length: 1024,
            column_type: ColumnType::VAR_STRING,
            flags: 0,
            decimals: 0,
            default: None,
            original: Original::default(),
        }
    }
}

lossless!(Column);

impl Column {
    /// Puts a definition into the form for other capabilities, without decoding its names.
    ///
    /// # Errors
    /// It is not a definition.
    pub fn translate(
        payload: &[u8],
        from: Capabilities,
        to: Capabilities,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        for name in [
            "catalog",
            "schema",
            "table",
            "org_table",
            "name",
            "org_name",
        ] {
            reader.lenenc_bytes(name)?;
        }
        let names = payload.len() - reader.peek().len();
        out.put_slice(payload.get(..names).unwrap_or_default());
        let mut extended = &[][..];
        if from.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            extended = reader.lenenc_bytes("extended")?;
        }
        if to.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            out.put_lenenc_bytes(extended);
        }
        let fixed = reader.peek();
        out.put_slice(fixed);
        if reader.lenenc_bytes("fixed fields")?.len() < USED {
            return Err(reader.invalid("fixed fields", "too few of them"));
        }
        Ok(())
    }

    fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        let catalog = reader.lenenc_bytes("catalog")?.to_vec();
        let schema = reader.lenenc_bytes("schema")?.to_vec();
        let table = reader.lenenc_bytes("table")?.to_vec();
        let org_table = reader.lenenc_bytes("org_table")?.to_vec();
        let name = reader.lenenc_bytes("name")?.to_vec();
        let org_name = reader.lenenc_bytes("org_name")?.to_vec();
        let mut extended = &[][..];
        if capabilities.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            extended = reader.lenenc_bytes("extended")?;
        }
        let mut fixed = Reader::new(NAME, reader.lenenc_bytes("fixed fields")?);
        let character_set = fixed.u16("character_set")?;
        let length = fixed.u32("length")?;
        let column_type = ColumnType(fixed.u8("column_type")?);
        let flags = fixed.u16("flags")?;
        let decimals = fixed.u8("decimals")?;
        // Two unused bytes end the fixed fields: no client looks at them.
        let default = match reader.peek() {
            [] => None,
            [lenenc::NULL] => Some(None),
            _ => {
                let value = reader.lenenc_bytes("default")?.to_vec();
                reader.finish()?;
                Some(Some(value))
            }
        };
        Ok(Self {
            catalog,
            schema,
            table,
            org_table,
            name,
            org_name,
            extended: extended.to_vec(),
            character_set,
            length,
            column_type,
            flags,
            decimals,
            default,
            original: Original::default(),
        })
    }

    fn encode_usual(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        for name in [
            &self.catalog,
            &self.schema,
            &self.table,
            &self.org_table,
            &self.name,
            &self.org_name,
        ] {
            out.put_lenenc_bytes(name);
        }
        if capabilities.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            out.put_lenenc_bytes(&self.extended);
        }
        out.put_u8(FIXED);
        out.put_u16_le(self.character_set);
        out.put_u32_le(self.length);
        out.put_u8(self.column_type.0);
        out.put_u16_le(self.flags);
        out.put_u8(self.decimals);
        out.put_u16_le(0);
        match &self.default {
            None => {}
            Some(None) => out.put_u8(lenenc::NULL),
            Some(Some(value)) => out.put_lenenc_bytes(value),
        }
    }
}
