//! Why a connection is held for its client, or a statement is refused.

/// Why. Names are stable: `SHOW HELD`, counters, errors and the documentation use them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// A transaction is open.
    Transaction,
    /// A transaction is open that began with a consistent snapshot, which cannot be had again.
    ConsistentSnapshot,
    /// An XA transaction is open, or prepared on a server that keeps it with its connection.
    Xa,
    /// Tables are locked.
    TableLocks,
    /// `FLUSH TABLES WITH READ LOCK`.
    GlobalReadLock,
    /// `BACKUP STAGE`, `BACKUP LOCK`, `LOCK INSTANCE FOR BACKUP`.
    BackupLock,
    /// `GET_LOCK()`.
    NamedLock,
    /// A temporary table exists.
    TemporaryTable,
    /// User variables are set.
    UserVariable,
    /// A statement was prepared by SQL.
    PreparedInSql,
    /// `HANDLER … OPEN`.
    Handler,
    /// Values of sequences, which `LASTVAL()` may ask for.
    Sequence,
    /// Variables of a package were set, in MariaDB's Oracle mode.
    PackageVariable,
    /// Another role than at the login.
    Role,
    /// `profiling` was switched on.
    Profiling,
    /// `optimizer_trace` was switched on.
    OptimizerTrace,
    /// `SET RESOURCE GROUP`.
    ResourceGroup,
    /// `gtid_next` was set.
    GtidNext,
    /// A variable that the next statement uses up: `insert_id`, `rand_seed1`, `timestamp`.
    OneShotVariable,
    /// A variable was changed that the account may not set back.
    NotRestorable,
    /// A prepared statement has an open cursor.
    Cursor,
    /// A part of a parameter was sent ahead.
    LongData,
    /// Further results of an answer are still to come.
    SeveralResults,
    /// `LOAD DATA LOCAL` waits for its file.
    LocalInfile,
    /// A binary log is sent.
    Replication,
    /// A stored routine was called that may leave anything behind.
    Routine,
    /// A view or a trigger was used that may leave anything behind.
    ViewOrTrigger,
    /// A loadable function was called, or one that is not known.
    LoadableFunction,
    /// A statement that is not understood.
    NotUnderstood,
    /// A statement asks for warnings or counts of the one before it.
    DiagnosticsWanted,
    /// A statement uses the variables by which reports are chosen, in a form that the proxy does not
    /// answer.
    SessionTrack,
    /// A hint in the statement, `dpm:hold`, or a script.
    Hint,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 32] = [
        Reason::Transaction,
        Reason::ConsistentSnapshot,
        Reason::Xa,
        Reason::TableLocks,
        Reason::GlobalReadLock,
        Reason::BackupLock,
        Reason::NamedLock,
        Reason::TemporaryTable,
        Reason::UserVariable,
        Reason::PreparedInSql,
        Reason::Handler,
        Reason::Sequence,
        Reason::PackageVariable,
        Reason::Role,
        Reason::Profiling,
        Reason::OptimizerTrace,
        Reason::ResourceGroup,
        Reason::GtidNext,
        Reason::OneShotVariable,
        Reason::NotRestorable,
        Reason::Cursor,
        Reason::LongData,
        Reason::SeveralResults,
        Reason::LocalInfile,
        Reason::Replication,
        Reason::Routine,
        Reason::ViewOrTrigger,
        Reason::LoadableFunction,
        Reason::NotUnderstood,
        Reason::DiagnosticsWanted,
        Reason::SessionTrack,
        Reason::Hint,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// When the connection can be shared again, or what to do about it: one sentence.
    pub fn advice(self) -> &'static str {
        self.words().1
    }

    /// Whether what it is about can be given up without the client's statements doing something else than they say: a
    /// transaction cannot be ended behind its client's back, nor an answer in its middle.
    pub fn can_be_given_up(self) -> bool {
        !matches!(
            self,
            Reason::Transaction
                | Reason::ConsistentSnapshot
                | Reason::Xa
                | Reason::Cursor
                | Reason::LongData
                | Reason::SeveralResults
                | Reason::LocalInfile
                | Reason::Replication
        )
    }

    /// The reason of this name.
    pub fn of_name(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|one| one.name() == name)
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Reason::Transaction => (
                "transaction",
                "shared again after COMMIT or ROLLBACK; keep transactions short, and commit after reads too where autocommit is off",
            ),
            Reason::ConsistentSnapshot => (
                "consistent-snapshot",
                "shared again after COMMIT or ROLLBACK; a plain START TRANSACTION is shared until its first use of a table",
            ),
            Reason::Xa => (
                "xa",
                "shared again after XA COMMIT or XA ROLLBACK, on MySQL after XA PREPARE",
            ),
            Reason::TableLocks => ("table-locks", "shared again after UNLOCK TABLES"),
            Reason::GlobalReadLock => ("global-read-lock", "shared again after UNLOCK TABLES"),
            Reason::BackupLock => (
                "backup-lock",
                "shared again after BACKUP STAGE END, BACKUP UNLOCK or UNLOCK INSTANCE",
            ),
            Reason::NamedLock => (
                "named-lock",
                "shared again after RELEASE_LOCK of the same name as a literal, or RELEASE_ALL_LOCKS()",
            ),
            Reason::TemporaryTable => (
                "temporary-table",
                "shared again after DROP TEMPORARY TABLE of all that were created",
            ),
            Reason::UserVariable => (
                "user-variable",
                "switch on restore_user_variables, or pass values as parameters; else until the client leaves",
            ),
            Reason::PreparedInSql => (
                "prepared-in-sql",
                "shared again after DEALLOCATE PREPARE; statements that the driver prepares (binary protocol) hold nothing",
            ),
            Reason::Handler => ("handler", "shared again after HANDLER … CLOSE"),
            Reason::Sequence => (
                "sequence",
                "if no client asks for LASTVAL(), say so with lastval = false; else until the client leaves",
            ),
            Reason::PackageVariable => (
                "package-variable",
                "until the client leaves; list the package as harmless if its variables are constants",
            ),
            Reason::Role => (
                "role",
                "until the client leaves, then the connection is closed; give accounts a default role instead",
            ),
            Reason::Profiling => (
                "profiling",
                "until the client leaves, then the connection is closed, as it remembers texts of statements",
            ),
            Reason::OptimizerTrace => (
                "optimizer-trace",
                "until the client leaves, then the connection is closed, as it remembers texts of statements",
            ),
            Reason::ResourceGroup => (
                "resource-group",
                "until the client leaves, then the connection is closed; the hint RESOURCE_GROUP() holds nothing",
            ),
            Reason::GtidNext => (
                "gtid-next",
                "until the client leaves, then the connection is closed; let tools that set it connect to the server itself",
            ),
            Reason::OneShotVariable => (
                "one-shot-variable",
                "until the client leaves; SET timestamp = DEFAULT ends that of timestamp",
            ),
            Reason::NotRestorable => (
                "not-restorable",
                "grant the account what it needs to set the variable, or do not let routines set it",
            ),
            Reason::Cursor => (
                "cursor",
                "shared again when the cursor is read to its end, or its statement closed or reset",
            ),
            Reason::LongData => (
                "long-data",
                "shared again after the statement was executed or reset",
            ),
            Reason::SeveralResults => ("several-results", "shared again after the last result"),
            Reason::LocalInfile => ("local-infile", "shared again after the file"),
            Reason::Replication => (
                "replication",
                "until the client leaves: it receives a binary log",
            ),
            Reason::Routine => (
                "routine",
                "let the pool's account read the routine's definition, or list it as harmless; hold_opaque = false holds for none of these",
            ),
            Reason::ViewOrTrigger => (
                "view-or-trigger",
                "let the pool's account read the definition (SHOW VIEW, TRIGGER), or list it as harmless; hold_opaque = false holds for none of these",
            ),
            Reason::LoadableFunction => (
                "loadable-function",
                "list the function as harmless if it changes no session",
            ),
            Reason::NotUnderstood => (
                "not-understood",
                "write the statement in another form; else until the client leaves",
            ),
            Reason::DiagnosticsWanted => (
                "diagnostics-wanted",
                "ask for warnings, ROW_COUNT() or FOUND_ROWS() within the transaction of the statement, or not at all",
            ),
            Reason::SessionTrack => (
                "session-track",
                "set session_track_… to literals other than ALL_GTIDS, and ask for them alone",
            ),
            Reason::Hint => ("hint", "the statement's hint or the script asked for it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_can_be_found() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason:?} is at its place");
            assert_eq!(Reason::of_name(reason.name()), Some(reason));
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            assert!(reason.name().bytes().all(fits), "{reason:?}");
            assert!(!reason.advice().is_empty() && !reason.advice().ends_with('.'));
        }
        assert_eq!(Reason::of_name("no-such-reason"), None);
    }
}
