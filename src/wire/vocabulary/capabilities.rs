//! What client and server agree on in the handshake.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html>,
//! and for the bits from 32 on
//! <https://mariadb.com/docs/server/reference/clientserver-protocol/1-connecting/connection>

use bitflags::bitflags;

macro_rules! capabilities {
    ($($(#[doc = $doc:literal])* $name:ident = $bit:literal, $constant:literal;)*) => {
        bitflags! {
            /// Capability flags: MySQL's 32 bits, and MariaDB's extended ones above them. Bits
            /// that have no name here are kept.
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
            pub struct Capabilities: u64 {
                $($(#[doc = $doc])* const $name = 1 << $bit;)*
                const _ = !0;
            }
        }

        impl Capabilities {
            /// Every flag under the name by which scripts know it.
            pub const ALL: &[(&str, Self)] = &[$(($constant, Self::$name),)*];
        }
    };
}

capabilities! {
    /// The new long passwords; MariaDB reads the bit as "this is a MySQL, not a MariaDB".
    LONG_PASSWORD = 0, "CLIENT_LONG_PASSWORD";
    /// Affected rows counts found rows, not changed ones.
    FOUND_ROWS = 1, "CLIENT_FOUND_ROWS";
    /// Column flags take two bytes.
    LONG_FLAG = 2, "CLIENT_LONG_FLAG";
    /// The handshake response names a database.
    CONNECT_WITH_DB = 3, "CLIENT_CONNECT_WITH_DB";
    /// No `database.table.column`.
    NO_SCHEMA = 4, "CLIENT_NO_SCHEMA";
    /// The zlib compression protocol.
    COMPRESS = 5, "CLIENT_COMPRESS";
    /// An ODBC client.
    ODBC = 6, "CLIENT_ODBC";
    /// The client can answer LOAD DATA LOCAL.
    LOCAL_FILES = 7, "CLIENT_LOCAL_FILES";
    /// Spaces before '(' are ignored.
    IGNORE_SPACE = 8, "CLIENT_IGNORE_SPACE";
    /// The 4.1 protocol.
    PROTOCOL_41 = 9, "CLIENT_PROTOCOL_41";
    /// `interactive_timeout` instead of `wait_timeout`.
    INTERACTIVE = 10, "CLIENT_INTERACTIVE";
    /// TLS.
    SSL = 11, "CLIENT_SSL";
    /// The client ignores SIGPIPE.
    IGNORE_SIGPIPE = 12, "CLIENT_IGNORE_SIGPIPE";
    /// OK and EOF carry the server status.
    TRANSACTIONS = 13, "CLIENT_TRANSACTIONS";
    /// Once the flag of the 4.1 protocol.
    RESERVED = 14, "CLIENT_RESERVED";
    /// The 4.1 authentication; the scramble has 20 bytes.
    SECURE_CONNECTION = 15, "CLIENT_SECURE_CONNECTION";
    /// Several statements in one COM_QUERY.
    MULTI_STATEMENTS = 16, "CLIENT_MULTI_STATEMENTS";
    /// Several results for one COM_QUERY.
    MULTI_RESULTS = 17, "CLIENT_MULTI_RESULTS";
    /// Several results for one COM_STMT_EXECUTE, and OUT parameters.
    PS_MULTI_RESULTS = 18, "CLIENT_PS_MULTI_RESULTS";
    /// Authentication plugins have names.
    PLUGIN_AUTH = 19, "CLIENT_PLUGIN_AUTH";
    /// The handshake response carries connection attributes.
    CONNECT_ATTRS = 20, "CLIENT_CONNECT_ATTRS";
    /// The authentication response has a length-encoded length.
    PLUGIN_AUTH_LENENC_CLIENT_DATA = 21, "CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA";
    /// The client can live with an expired password.
    CAN_HANDLE_EXPIRED_PASSWORDS = 22, "CLIENT_CAN_HANDLE_EXPIRED_PASSWORDS";
    /// OK packets report changes of the session's state.
    SESSION_TRACK = 23, "CLIENT_SESSION_TRACK";
    /// An OK takes the place of EOF.
    DEPRECATE_EOF = 24, "CLIENT_DEPRECATE_EOF";
    /// Results may leave out their column definitions.
    OPTIONAL_RESULTSET_METADATA = 25, "CLIENT_OPTIONAL_RESULTSET_METADATA";
    /// The zstd compression protocol.
    ZSTD_COMPRESSION = 26, "CLIENT_ZSTD_COMPRESSION_ALGORITHM";
    /// Queries carry attributes.
    QUERY_ATTRIBUTES = 27, "CLIENT_QUERY_ATTRIBUTES";
    /// More than one factor of authentication.
    MULTI_FACTOR_AUTHENTICATION = 28, "MULTI_FACTOR_AUTHENTICATION";
    /// Reserved for more than 32 bits of flags.
    CAPABILITY_EXTENSION = 29, "CLIENT_CAPABILITY_EXTENSION";
    /// The client verifies the server's certificate.
    SSL_VERIFY_SERVER_CERT = 30, "CLIENT_SSL_VERIFY_SERVER_CERT";
    /// The client keeps its options after a failed connect.
    REMEMBER_OPTIONS = 31, "CLIENT_REMEMBER_OPTIONS";
    /// MariaDB: progress reports as ERR packets with code 0xFFFF.
    MARIADB_PROGRESS = 32, "MARIADB_CLIENT_PROGRESS";
    /// MariaDB: COM_MULTI.
    MARIADB_COM_MULTI = 33, "MARIADB_CLIENT_COM_MULTI";
    /// MariaDB: COM_STMT_BULK_EXECUTE.
    MARIADB_STMT_BULK_OPERATIONS = 34, "MARIADB_CLIENT_STMT_BULK_OPERATIONS";
    /// MariaDB: column definitions carry extended types.
    MARIADB_EXTENDED_METADATA = 35, "MARIADB_CLIENT_EXTENDED_METADATA";
    /// MariaDB: executes may leave out their column definitions.
    MARIADB_CACHE_METADATA = 36, "MARIADB_CLIENT_CACHE_METADATA";
    /// MariaDB: bulk executes return a result of each unit.
    MARIADB_BULK_UNIT_RESULTS = 37, "MARIADB_CLIENT_BULK_UNIT_RESULTS";
}

impl Capabilities {
    /// Flags that a client may set although the server has not offered them, as client libraries
    /// do: they ask for something and change no packet's form.
    pub const WISHES: Self = Self::from_bits_retain(
        Self::LONG_PASSWORD.bits()
            | Self::FOUND_ROWS.bits()
            | Self::LONG_FLAG.bits()
            | Self::NO_SCHEMA.bits()
            | Self::ODBC.bits()
            | Self::IGNORE_SPACE.bits()
            | Self::INTERACTIVE.bits()
            | Self::IGNORE_SIGPIPE.bits(),
    );

    /// MySQL's and MariaDB's flag under which a byte behind a result's column count says whether
    /// the definitions follow.
    pub const BARE_RESULTS: Self =
        Self::OPTIONAL_RESULTSET_METADATA.union(Self::MARIADB_CACHE_METADATA);

    /// What the proxy offers clients unless a script says otherwise: what any client library
    /// understands and any server has, so that clients of different kinds can be linked to the same
    /// servers.
    pub const USUAL: Self = Self::from_bits_retain(
        Self::LONG_PASSWORD.bits()
            | Self::FOUND_ROWS.bits()
            | Self::LONG_FLAG.bits()
            | Self::CONNECT_WITH_DB.bits()
            | Self::NO_SCHEMA.bits()
            | Self::ODBC.bits()
            | Self::LOCAL_FILES.bits()
            | Self::IGNORE_SPACE.bits()
            | Self::PROTOCOL_41.bits()
            | Self::INTERACTIVE.bits()
            | Self::IGNORE_SIGPIPE.bits()
            | Self::TRANSACTIONS.bits()
            | Self::RESERVED.bits()
            | Self::SECURE_CONNECTION.bits()
            | Self::MULTI_STATEMENTS.bits()
            | Self::MULTI_RESULTS.bits()
            | Self::PS_MULTI_RESULTS.bits()
            | Self::PLUGIN_AUTH.bits()
            | Self::CONNECT_ATTRS.bits()
            | Self::PLUGIN_AUTH_LENENC_CLIENT_DATA.bits()
            | Self::CAN_HANDLE_EXPIRED_PASSWORDS.bits()
            | Self::SESSION_TRACK.bits()
            | Self::DEPRECATE_EOF.bits()
            | Self::REMEMBER_OPTIONS.bits(),
    );

    /// What the proxy understands. A handshake that passes through is masked with it, so that
    /// client and server never agree on something that would change packets in a way unknown to the
    /// proxy: no COM_MULTI, and no bit without a name. (TLS and compression concern one leg alone.)
    pub const FOLLOWED: Self = Self::from_bits_retain(
        Self::USUAL.bits()
            | Self::OPTIONAL_RESULTSET_METADATA.bits()
            | Self::QUERY_ATTRIBUTES.bits()
            | Self::MULTI_FACTOR_AUTHENTICATION.bits()
            | Self::MARIADB_PROGRESS.bits()
            | Self::MARIADB_STMT_BULK_OPERATIONS.bits()
            | Self::MARIADB_EXTENDED_METADATA.bits()
            | Self::MARIADB_CACHE_METADATA.bits()
            | Self::MARIADB_BULK_UNIT_RESULTS.bits(),
    );

    /// The flags that can be sent: with LONG_PASSWORD the extended bits cannot.
    pub const fn sendable(self) -> Self {
        Self::from_halves(self.low(), self.sendable_extended())
    }

    /// The 32 bits of MySQL.
    pub const fn low(self) -> u32 {
        self.bits() as u32
    }

    /// MariaDB's extended bits, which are sent in a field of their own.
    pub const fn extended(self) -> u32 {
        (self.bits() >> 32) as u32
    }

    /// Puts the two halves together. The extended bits count only if LONG_PASSWORD
    /// (CLIENT_MYSQL, as MariaDB calls it) is clear.
    pub(crate) const fn from_halves(low: u32, extended: u32) -> Self {
        let capabilities = Self::from_bits_retain(low as u64);
        if capabilities.contains(Self::LONG_PASSWORD) {
            return capabilities;
        }
        Self::from_bits_retain(low as u64 | (extended as u64) << 32)
    }

    /// The extended bits as they may be sent: none if LONG_PASSWORD is set.
    pub(crate) const fn sendable_extended(self) -> u32 {
        if self.contains(Self::LONG_PASSWORD) {
            0
        } else {
            self.extended()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_documentation() {
        assert_eq!(Capabilities::PROTOCOL_41.bits(), 512);
        assert_eq!(Capabilities::PLUGIN_AUTH.bits(), 0x0008_0000);
        assert_eq!(Capabilities::DEPRECATE_EOF.bits(), 0x0100_0000);
        assert_eq!(Capabilities::MARIADB_EXTENDED_METADATA.bits(), 1 << 35);
        for (bit, (name, flag)) in Capabilities::ALL.iter().enumerate() {
            assert_eq!(flag.bits(), 1 << bit, "{name}");
        }
    }

    #[test]
    fn what_would_change_the_bytes_is_not_followed() {
        for flag in [
            Capabilities::SSL,
            Capabilities::COMPRESS,
            Capabilities::ZSTD_COMPRESSION,
            Capabilities::CAPABILITY_EXTENSION,
            Capabilities::MARIADB_COM_MULTI,
        ] {
            assert!(!Capabilities::FOLLOWED.contains(flag), "{flag:?}");
        }
        assert_eq!(Capabilities::FOLLOWED.extended() >> 6, 0);
        assert_eq!(Capabilities::USUAL.extended(), 0);
    }

    #[test]
    fn extended_bits_need_long_password_clear() {
        assert_eq!(Capabilities::from_halves(1, 8).bits(), 1);
        assert_eq!(
            Capabilities::from_halves(0, 8),
            Capabilities::MARIADB_EXTENDED_METADATA
        );
    }
}
