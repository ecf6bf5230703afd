//! The server status of OK and EOF packets.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/mysql__com_8h.html> (SERVER_STATUS_flags_enum)

use bitflags::bitflags;

macro_rules! status {
    ($($(#[doc = $doc:literal])* $name:ident = $value:literal, $constant:literal;)*) => {
        bitflags! {
            /// Server status flags. Bits that have no name here are kept.
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
            pub struct Status: u16 {
                $($(#[doc = $doc])* const $name = $value;)*
                const _ = !0;
            }
        }

        impl Status {
            /// Every flag under its MySQL name.
            pub const ALL: &[(&str, Self)] = &[$(($constant, Self::$name),)*];
        }
    };
}

status! {
    /// A transaction is open.
    IN_TRANS = 1, "SERVER_STATUS_IN_TRANS";
    /// Each statement commits itself.
    AUTOCOMMIT = 2, "SERVER_STATUS_AUTOCOMMIT";
    /// Another result follows.
    MORE_RESULTS_EXISTS = 8, "SERVER_MORE_RESULTS_EXISTS";
    /// The query used no good index.
    NO_GOOD_INDEX_USED = 16, "SERVER_QUERY_NO_GOOD_INDEX_USED";
    /// The query used no index.
    NO_INDEX_USED = 32, "SERVER_QUERY_NO_INDEX_USED";
    /// A cursor is open: rows come by COM_STMT_FETCH.
    CURSOR_EXISTS = 64, "SERVER_STATUS_CURSOR_EXISTS";
    /// The cursor has no more rows.
    LAST_ROW_SENT = 128, "SERVER_STATUS_LAST_ROW_SENT";
    /// A database was dropped.
    DB_DROPPED = 256, "SERVER_STATUS_DB_DROPPED";
    /// A backslash is no escape.
    NO_BACKSLASH_ESCAPES = 512, "SERVER_STATUS_NO_BACKSLASH_ESCAPES";
    /// A prepared statement was re-prepared with other columns.
    METADATA_CHANGED = 1024, "SERVER_STATUS_METADATA_CHANGED";
    /// The query took longer than `long_query_time`.
    QUERY_WAS_SLOW = 2048, "SERVER_QUERY_WAS_SLOW";
    /// This result holds OUT parameters.
    PS_OUT_PARAMS = 4096, "SERVER_PS_OUT_PARAMS";
    /// The open transaction is read only.
    IN_TRANS_READONLY = 8192, "SERVER_STATUS_IN_TRANS_READONLY";
    /// The OK packet tells of changes of the session's state.
    SESSION_STATE_CHANGED = 16384, "SERVER_SESSION_STATE_CHANGED";
    /// A double quote begins a name. MariaDB's; MySQL does not tell.
    ANSI_QUOTES = 32768, "SERVER_STATUS_ANSI_QUOTES";
}
