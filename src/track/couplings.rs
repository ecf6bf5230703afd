//! Which system variables are the same, change together, or change by themselves: found out on
//! MariaDB 10.11 and 11.8 and MySQL 9.7, by setting each and reading all.

/// Two names of one variable; it is kept under the second.
const ALIASES: &[(&str, &str)] = &[
    ("identity", "last_insert_id"),
    ("log_slow_min_examined_row_limit", "min_examined_row_limit"),
    ("log_slow_query", "slow_query_log"),
    ("log_slow_query_time", "long_query_time"),
    ("max_insert_delayed_threads", "max_delayed_threads"),
    ("pseudo_slave_mode", "pseudo_replica_mode"),
    ("storage_engine", "default_storage_engine"),
    ("tmp_memory_table_size", "tmp_table_size"),
    ("tx_isolation", "transaction_isolation"),
    ("tx_read_only", "transaction_read_only"),
];

/// Groups of variables: setting one may change the others.
const GROUPS: &[&[&str]] = &[
    &["character_set_connection", "collation_connection"],
    &["character_set_server", "collation_server"],
    &["alter_algorithm", "old_alter_table"],
    &["max_join_size", "sql_big_selects"],
    &["old", "old_mode"],
    &["log_queries_not_using_indexes", "log_slow_filter"],
    &[
        "log_slow_admin_statements",
        "log_slow_slave_statements",
        "log_slow_disabled_statements",
    ],
    &[
        "default_master_connection",
        "max_relay_log_size",
        "slave_parallel_mode",
    ],
    &["wsrep_causal_reads", "wsrep_sync_wait"],
];

/// MariaDB 11 reports all variables that share these bits under the name that was used first. So a
/// report that the text does not explain may be about any of them.
const BITS: &[&str] = &[
    "autocommit",
    "big_tables",
    "check_constraint_checks",
    "explicit_defaults_for_timestamp",
    "foreign_key_checks",
    "profiling",
    "skip_parallel_replication",
    "skip_replication",
    "sql_auto_is_null",
    "sql_big_selects",
    "sql_buffer_result",
    "sql_if_exists",
    "sql_log_bin",
    "sql_log_off",
    "sql_notes",
    "sql_quote_show_create",
    "sql_safe_updates",
    "sql_warnings",
    "system_versioning_insert_history",
    "unique_checks",
];

/// Variables that change with each statement, or depend on something else.
const VOLATILE: &[&str] = &[
    "character_set_database",
    "collation_database",
    "error_count",
    "gtid_next",
    "gtid_owned",
    "gtid_seq_no",
    "in_transaction",
    "insert_id",
    "last_gtid",
    "last_insert_id",
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "statement_id",
    "timestamp",
    "warning_count",
];

/// The one name of a variable that has several.
pub fn canonical_name(name: &str) -> &str {
    let found = ALIASES.iter().find(|(alias, _)| *alias == name);
    found.map_or(name, |(_, name)| name)
}

/// The variables that may have changed together with this one.
pub(super) fn coupled(name: &str) -> impl Iterator<Item = &'static str> {
    let groups = GROUPS.iter().filter(move |group| group.contains(&name));
    groups.flat_map(move |group| group.iter().copied().filter(move |other| *other != name))
}

/// Whether a server of this version reports variables that share their storage under one name.
pub fn shares_names(version: &[u8]) -> bool {
    // MariaDB 10 says this of itself in its handshake.
    let version = version.strip_prefix(b"5.5.5-").unwrap_or(version);
    let digits = version.iter().position(|byte| !byte.is_ascii_digit());
    let major = version.get(..digits.unwrap_or(version.len()));
    let major = major.and_then(|major| std::str::from_utf8(major).ok());
    let major: Option<u32> = major.and_then(|major| major.parse().ok());
    is_mariadb(version) && major.is_none_or(|major| major >= 11)
}

/// Whether a server of this version is a MariaDB.
pub fn is_mariadb(version: &[u8]) -> bool {
    memchr::memmem::find(version, b"MariaDB").is_some()
}

/// The variables that a report under this name may be about.
pub(super) fn sharing(name: &str) -> &'static [&'static str] {
    match BITS.contains(&name) {
        true => BITS,
        false => &[],
    }
}

/// Of those, what makes a difference to what a session reads once it is set.
const TELLING: &[&str] = &[
    "character_set_database",
    "collation_database",
    "gtid_next",
    "gtid_seq_no",
    "insert_id",
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "timestamp",
];

/// Whether a session in which it was set is like no other.
pub(super) fn is_telling(name: &str) -> bool {
    TELLING.contains(&name)
}

/// Whether a variable is not remembered.
pub(super) fn is_volatile(name: &str) -> bool {
    VOLATILE.contains(&name)
}
