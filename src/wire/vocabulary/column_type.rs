//! Column types and column flags.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html> and
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__column__definition__flags.html>

/// A column's type. Every byte is one, whether it has a name or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnType(pub u8);

macro_rules! types {
    ($($name:ident = $code:literal, $constant:literal;)*) => {
        impl ColumnType {
            $(#[doc = $constant] pub const $name: Self = Self($code);)*

            /// Every type under its MySQL name.
            pub const ALL: &[(&'static str, Self)] = &[$(($constant, Self::$name),)*];

            /// The type's MySQL name, or `MYSQL_TYPE_UNKNOWN`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $constant,)*
                    _ => "MYSQL_TYPE_UNKNOWN",
                }
            }
        }
    };
}

types! {
    DECIMAL = 0, "MYSQL_TYPE_DECIMAL";
    TINY = 1, "MYSQL_TYPE_TINY";
    SHORT = 2, "MYSQL_TYPE_SHORT";
    LONG = 3, "MYSQL_TYPE_LONG";
    FLOAT = 4, "MYSQL_TYPE_FLOAT";
    DOUBLE = 5, "MYSQL_TYPE_DOUBLE";
    NULL = 6, "MYSQL_TYPE_NULL";
    TIMESTAMP = 7, "MYSQL_TYPE_TIMESTAMP";
    LONGLONG = 8, "MYSQL_TYPE_LONGLONG";
    INT24 = 9, "MYSQL_TYPE_INT24";
    DATE = 10, "MYSQL_TYPE_DATE";
    TIME = 11, "MYSQL_TYPE_TIME";
    DATETIME = 12, "MYSQL_TYPE_DATETIME";
    YEAR = 13, "MYSQL_TYPE_YEAR";
    NEWDATE = 14, "MYSQL_TYPE_NEWDATE";
    VARCHAR = 15, "MYSQL_TYPE_VARCHAR";
    BIT = 16, "MYSQL_TYPE_BIT";
    TIMESTAMP2 = 17, "MYSQL_TYPE_TIMESTAMP2";
    DATETIME2 = 18, "MYSQL_TYPE_DATETIME2";
    TIME2 = 19, "MYSQL_TYPE_TIME2";
    TYPED_ARRAY = 20, "MYSQL_TYPE_TYPED_ARRAY";
    VECTOR = 242, "MYSQL_TYPE_VECTOR";
    JSON = 245, "MYSQL_TYPE_JSON";
    NEWDECIMAL = 246, "MYSQL_TYPE_NEWDECIMAL";
    ENUM = 247, "MYSQL_TYPE_ENUM";
    SET = 248, "MYSQL_TYPE_SET";
    TINY_BLOB = 249, "MYSQL_TYPE_TINY_BLOB";
    MEDIUM_BLOB = 250, "MYSQL_TYPE_MEDIUM_BLOB";
    LONG_BLOB = 251, "MYSQL_TYPE_LONG_BLOB";
    BLOB = 252, "MYSQL_TYPE_BLOB";
    VAR_STRING = 253, "MYSQL_TYPE_VAR_STRING";
    STRING = 254, "MYSQL_TYPE_STRING";
    GEOMETRY = 255, "MYSQL_TYPE_GEOMETRY";
}

/// The flags of a column definition.
pub mod column_flags {
    /// The column refuses NULL.
    pub const NOT_NULL: u16 = 1;
    /// Part of the primary key.
    pub const PRI_KEY: u16 = 2;
    /// Part of a unique key.
    pub const UNIQUE_KEY: u16 = 4;
    /// Part of another key.
    pub const MULTIPLE_KEY: u16 = 8;
    /// A blob.
    pub const BLOB: u16 = 16;
    /// Unsigned.
    pub const UNSIGNED: u16 = 32;
    /// Padded with zeros.
    pub const ZEROFILL: u16 = 64;
    /// Binary.
    pub const BINARY: u16 = 128;
    /// An enumeration.
    pub const ENUM: u16 = 256;
    /// Counts up by itself.
    pub const AUTO_INCREMENT: u16 = 512;
    /// A timestamp.
    pub const TIMESTAMP: u16 = 1024;
    /// A set.
    pub const SET: u16 = 2048;
    /// Has no default.
    pub const NO_DEFAULT_VALUE: u16 = 4096;
    /// Set to the time of an UPDATE.
    pub const ON_UPDATE_NOW: u16 = 8192;
    /// A number.
    pub const NUM: u16 = 32768;

    /// Every flag under its MySQL name.
    pub const ALL: &[(&str, u16)] = &[
        ("NOT_NULL_FLAG", NOT_NULL),
        ("PRI_KEY_FLAG", PRI_KEY),
        ("UNIQUE_KEY_FLAG", UNIQUE_KEY),
        ("MULTIPLE_KEY_FLAG", MULTIPLE_KEY),
        ("BLOB_FLAG", BLOB),
        ("UNSIGNED_FLAG", UNSIGNED),
        ("ZEROFILL_FLAG", ZEROFILL),
        ("BINARY_FLAG", BINARY),
        ("ENUM_FLAG", ENUM),
        ("AUTO_INCREMENT_FLAG", AUTO_INCREMENT),
        ("TIMESTAMP_FLAG", TIMESTAMP),
        ("SET_FLAG", SET),
        ("NO_DEFAULT_VALUE_FLAG", NO_DEFAULT_VALUE),
        ("ON_UPDATE_NOW_FLAG", ON_UPDATE_NOW),
        ("NUM_FLAG", NUM),
    ];
}
