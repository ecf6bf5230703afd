//! What MariaDB and MySQL do differently about prepared statements.

use crate::wire::{Com, ErrPacket, LAST_PREPARED};

/// Whose protocol a server speaks.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MariaDB.
    MariaDb,
    /// MySQL.
    MySql,
}

impl Dialect {
    /// That of the server with this version.
    pub fn of_version(version: &[u8]) -> Dialect {
        match memchr::memmem::find(version, b"MariaDB") {
            Some(_) => Dialect::MariaDb,
            None => Dialect::MySql,
        }
    }

    /// Whether this id stands for the statement that was prepared last.
    pub(super) fn means_last(self, id: u32) -> bool {
        self == Dialect::MariaDb && id == LAST_PREPARED
    }

    /// Whether a statement is resolved for the types that were bound to it, and remains so.
    pub(super) fn resolves_types(self) -> bool {
        self == Dialect::MySql
    }

    /// Whether it has this command.
    pub(super) fn knows(self, com: Com) -> bool {
        com != Com::STMT_BULK_EXECUTE || self == Dialect::MariaDb
    }

    /// There is no statement of this id.
    pub(super) fn unknown_statement(self, id: u32, com: Com) -> ErrPacket {
        let message = format!(
            "Unknown prepared statement handler ({id}) given to {}",
            self.function(com)
        );
        ErrPacket::new(1243, b"HY000", message)
    }

    /// A fetch without a cursor.
    pub(super) fn no_cursor(self, id: u32) -> ErrPacket {
        let message = format!(
            "The statement ({id}) has no open cursor{}",
            self.full_stop()
        );
        ErrPacket::new(1421, b"HY000", message)
    }

    /// Long data was sent for a parameter that does not exist.
    pub(super) fn wrong_long_data(self) -> ErrPacket {
        self.incorrect_arguments(Com::STMT_SEND_LONG_DATA)
    }

    /// The types of the parameters were left out, but never sent before.
    pub(super) fn nothing_bound(self, com: Com) -> ErrPacket {
        // MySQL names another function than elsewhere.
        Dialect::MariaDb.incorrect_arguments(com)
    }

    /// The parameters were left out altogether.
    pub(super) fn no_values(self, com: Com) -> ErrPacket {
        match self {
            Dialect::MariaDb => self.incorrect_arguments(com),
            Dialect::MySql => self.malformed(),
        }
    }

    /// The packet cannot be read.
    pub(super) fn malformed(self) -> ErrPacket {
        let message = format!("Malformed communication packet{}", self.full_stop());
        ErrPacket::new(1835, b"HY000", message)
    }

    fn incorrect_arguments(self, com: Com) -> ErrPacket {
        let message = format!("Incorrect arguments to {}", self.function(com));
        ErrPacket::new(1210, b"HY000", message)
    }

    /// The server's function that finds the error.
    fn function(self, com: Com) -> &'static str {
        match (self, com) {
            (Dialect::MySql, _) => "mysql_stmt_precheck",
            (_, Com::STMT_FETCH) => "mysqld_stmt_fetch",
            (_, Com::STMT_RESET) => "mysqld_stmt_reset",
            (_, Com::STMT_BULK_EXECUTE) => "mysqld_stmt_bulk_execute",
            (_, Com::STMT_SEND_LONG_DATA) => "mysqld_stmt_send_long_data",
            _ => "mysqld_stmt_execute",
        }
    }

    /// MySQL's messages end with one.
    fn full_stop(self) -> &'static str {
        match self {
            Dialect::MariaDb => "",
            Dialect::MySql => ".",
        }
    }
}

/// There are too many statements.
pub(super) fn too_many_statements(now: usize) -> ErrPacket {
    let message =
        format!("Can't create more than max_prepared_stmt_count statements (current value: {now})");
    ErrPacket::new(1461, b"42000", message)
}
