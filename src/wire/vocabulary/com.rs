//! Command codes: the first byte of what a client sends.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>, and for
//! the codes from 0xFA on
//! <https://mariadb.com/docs/server/reference/clientserver-protocol/2-text-protocol>

/// A command code. Every byte is one, whether it has a name or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Com(pub u8);

macro_rules! commands {
    ($($name:ident = $code:literal, $constant:literal;)*) => {
        impl Com {
            $(#[doc = $constant] pub const $name: Self = Self($code);)*

            /// Every command under its MySQL name.
            pub const ALL: &[(&'static str, Self)] = &[$(($constant, Self::$name),)*];

            /// The command's MySQL name, or `COM_UNKNOWN`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $constant,)*
                    _ => "COM_UNKNOWN",
                }
            }
        }
    };
}

commands! {
    SLEEP = 0x00, "COM_SLEEP";
    QUIT = 0x01, "COM_QUIT";
    INIT_DB = 0x02, "COM_INIT_DB";
    QUERY = 0x03, "COM_QUERY";
    FIELD_LIST = 0x04, "COM_FIELD_LIST";
    CREATE_DB = 0x05, "COM_CREATE_DB";
    DROP_DB = 0x06, "COM_DROP_DB";
    REFRESH = 0x07, "COM_REFRESH";
    SHUTDOWN = 0x08, "COM_SHUTDOWN";
    STATISTICS = 0x09, "COM_STATISTICS";
    PROCESS_INFO = 0x0A, "COM_PROCESS_INFO";
    CONNECT = 0x0B, "COM_CONNECT";
    PROCESS_KILL = 0x0C, "COM_PROCESS_KILL";
    DEBUG = 0x0D, "COM_DEBUG";
    PING = 0x0E, "COM_PING";
    TIME = 0x0F, "COM_TIME";
    DELAYED_INSERT = 0x10, "COM_DELAYED_INSERT";
    CHANGE_USER = 0x11, "COM_CHANGE_USER";
    BINLOG_DUMP = 0x12, "COM_BINLOG_DUMP";
    TABLE_DUMP = 0x13, "COM_TABLE_DUMP";
    CONNECT_OUT = 0x14, "COM_CONNECT_OUT";
    REGISTER_SLAVE = 0x15, "COM_REGISTER_SLAVE";
    STMT_PREPARE = 0x16, "COM_STMT_PREPARE";
    STMT_EXECUTE = 0x17, "COM_STMT_EXECUTE";
    STMT_SEND_LONG_DATA = 0x18, "COM_STMT_SEND_LONG_DATA";
    STMT_CLOSE = 0x19, "COM_STMT_CLOSE";
    STMT_RESET = 0x1A, "COM_STMT_RESET";
    SET_OPTION = 0x1B, "COM_SET_OPTION";
    STMT_FETCH = 0x1C, "COM_STMT_FETCH";
    DAEMON = 0x1D, "COM_DAEMON";
    BINLOG_DUMP_GTID = 0x1E, "COM_BINLOG_DUMP_GTID";
    RESET_CONNECTION = 0x1F, "COM_RESET_CONNECTION";
    CLONE = 0x20, "COM_CLONE";
    SUBSCRIBE_GROUP_REPLICATION_STREAM = 0x21, "COM_SUBSCRIBE_GROUP_REPLICATION_STREAM";
    STMT_BULK_EXECUTE = 0xFA, "COM_STMT_BULK_EXECUTE";
    MULTI = 0xFE, "COM_MULTI";
}

impl Com {
    /// Whether the proxy can follow the answer. The exceptions switch to a protocol of their own
    /// (COM_TABLE_DUMP, COM_CLONE, group replication), bring several commands in one packet
    /// (COM_MULTI), or have no name.
    pub const fn is_known(self) -> bool {
        !matches!(
            self,
            Self::TABLE_DUMP | Self::CLONE | Self::SUBSCRIBE_GROUP_REPLICATION_STREAM | Self::MULTI
        ) && matches!(self.0, 0x00..=0x21 | 0xFA)
    }

    /// Whether the rows that answer it are in the binary protocol's encoding.
    pub const fn has_binary_rows(self) -> bool {
        matches!(
            self,
            Self::STMT_EXECUTE | Self::STMT_FETCH | Self::STMT_BULK_EXECUTE
        )
    }

    /// Whether the server answers at all.
    pub const fn expects_answer(self) -> bool {
        !matches!(
            self,
            Self::QUIT | Self::STMT_CLOSE | Self::STMT_SEND_LONG_DATA
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_answers() {
        assert_eq!(Com(3).name(), "COM_QUERY");
        assert_eq!(Com(0x80).name(), "COM_UNKNOWN");
        assert!(!Com(0x80).is_known());
        assert!(Com::QUERY.is_known() && Com::QUERY.expects_answer());
        assert!(!Com::STMT_CLOSE.expects_answer());
        for (name, com) in Com::ALL {
            assert_eq!(com.name(), *name);
        }
    }
}
