//! Which system variables a session can set, and what is particular about each: found out on MariaDB
//! 10.11 and 11.8 and MySQL 9.7, by setting each and reading all.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Names, to be looked up once for each variable of each new connection.
type Words = LazyLock<HashSet<&'static str>>;

fn words(list: &'static str) -> HashSet<&'static str> {
    list.split_ascii_whitespace().collect()
}

/// The variables of sessions that can be set, of all servers, under all their names.
static SESSION: Words = Words::new(|| {
    words(
        "alter_algorithm analyze_max_length analyze_sample_percentage aria_repair_threads \
    aria_sort_buffer_size aria_stats_method auto_increment_increment auto_increment_offset \
    autocommit big_tables binlog_alter_two_phase binlog_annotate_row_events \
    binlog_direct_non_transactional_updates binlog_format binlog_row_image \
    binlog_row_value_options binlog_rows_query_log_events binlog_transaction_compression \
    binlog_transaction_compression_level_zstd block_encryption_mode bulk_insert_buffer_size \
    character_set_client character_set_collations character_set_connection \
    character_set_database character_set_filesystem character_set_results character_set_server \
    check_constraint_checks collation_connection collation_database collation_server \
    column_compression_threshold column_compression_zlib_level column_compression_zlib_strategy \
    column_compression_zlib_wrap completion_type connection_memory_chunk_size \
    connection_memory_limit cte_max_recursion_depth deadlock_search_depth_long \
    deadlock_search_depth_short deadlock_timeout_long deadlock_timeout_short \
    default_collation_for_utf8mb4 default_master_connection default_regex_flags \
    default_storage_engine default_table_encryption default_tmp_storage_engine \
    default_week_format div_precision_increment enable_cascade_triggers \
    enable_secondary_engine_statistics end_markers_in_json enforce_storage_engine \
    eq_range_index_dive_limit expensive_subquery_limit explain_format \
    explain_json_format_version explicit_defaults_for_timestamp \
    external_table_secondary_storage_engine external_table_storage_engine foreign_key_checks \
    generated_random_password_length global_connection_memory_tracking group_concat_max_len \
    group_replication_consistency gtid_domain_id gtid_next gtid_seq_no \
    histogram_generation_max_mem_size histogram_size histogram_type identity \
    idle_readonly_transaction_timeout idle_transaction_timeout idle_write_transaction_timeout \
    immediate_server_version in_predicate_conversion_threshold information_schema_stats_expiry \
    innodb_compression_default innodb_ddl_buffer_size innodb_ddl_threads \
    innodb_default_encryption_key_id innodb_ft_enable_stopword innodb_ft_user_stopword_table \
    innodb_lock_wait_timeout innodb_parallel_read_threads innodb_snapshot_isolation \
    innodb_strict_mode innodb_table_locks innodb_tmpdir insert_id interactive_timeout \
    internal_tmp_mem_storage_engine join_buffer_size join_buffer_space_limit join_cache_level \
    keep_files_on_create last_insert_id lc_messages lc_time_names lock_wait_timeout \
    log_disabled_statements log_queries_not_using_indexes log_slow_admin_statements \
    log_slow_always_query_time log_slow_disabled_statements log_slow_filter \
    log_slow_max_warnings log_slow_min_examined_row_limit log_slow_query log_slow_query_time \
    log_slow_rate_limit log_slow_slave_statements log_slow_verbosity log_warnings \
    long_query_time low_priority_updates max_delayed_threads max_error_count max_execution_time \
    max_heap_table_size max_insert_delayed_threads max_join_size max_length_for_sort_data \
    max_points_in_geometry max_recursive_iterations max_relay_log_size max_rowid_filter_size \
    max_seeks_for_key max_session_mem_used max_sort_length max_sp_recursion_depth \
    max_statement_time max_tmp_session_space_usage max_tmp_tables mhnsw_default_distance \
    mhnsw_default_m mhnsw_ef_search min_examined_row_limit mrr_buffer_size myisam_repair_threads \
    myisam_sort_buffer_size myisam_stats_method net_read_timeout net_retry_count \
    net_write_timeout new_mode note_verbosity old old_alter_table old_mode old_passwords \
    optimizer_adjust_secondary_key_costs optimizer_extra_pruning_depth \
    optimizer_join_limit_pref_ratio optimizer_max_sel_arg_weight optimizer_max_sel_args \
    optimizer_max_subgraph_pairs optimizer_prune_level optimizer_scan_setup_cost \
    optimizer_search_depth optimizer_selectivity_sampling_limit optimizer_switch optimizer_trace \
    optimizer_trace_features optimizer_trace_limit optimizer_trace_max_mem_size \
    optimizer_trace_offset optimizer_use_condition_selectivity optimizer_where_cost \
    original_commit_timestamp original_server_version parser_max_mem_size preload_buffer_size \
    print_identified_with_as_hex profiling profiling_history_size progress_report_time \
    pseudo_replica_mode pseudo_slave_mode pseudo_thread_id query_alloc_block_size \
    query_cache_strip_comments query_cache_type query_cache_wlock_invalidate query_prealloc_size \
    rand_seed1 rand_seed2 range_alloc_block_size range_optimizer_max_mem_size rbr_exec_mode \
    read_buffer_size read_rnd_buffer_size redirect_url require_row_format \
    restrict_fk_on_non_standard_key resultset_metadata rowid_merge_buff_size \
    secondary_engine_cost_threshold select_into_buffer_size select_into_disk_sync \
    select_into_disk_sync_delay server_id session_track_gtids session_track_schema \
    session_track_state_change session_track_system_variables session_track_transaction_info \
    set_operations_buffer_size show_create_table_skip_secondary_engine \
    show_create_table_verbosity show_gipk_in_create_table_and_information_schema \
    skip_parallel_replication skip_replication slow_query_log sort_buffer_size sql_auto_is_null \
    sql_big_selects sql_buffer_result sql_generate_invisible_primary_key sql_if_exists \
    sql_log_bin sql_log_off sql_mode sql_notes sql_quote_show_create sql_require_primary_key \
    sql_safe_updates sql_select_limit sql_slave_skip_counter sql_warnings standard_compliant_cte \
    storage_engine system_versioning_alter_history system_versioning_asof \
    system_versioning_insert_history tcp_nodelay terminology_use_previous thread_pool_priority \
    time_zone timestamp tmp_disk_table_size tmp_memory_table_size tmp_table_size \
    transaction_alloc_block_size transaction_allow_batching transaction_isolation \
    transaction_prealloc_size transaction_read_only tx_isolation tx_read_only unique_checks \
    updatable_views_with_limit use_secondary_engine use_stat_tables wait_timeout \
    windowing_use_high_precision wsrep_causal_reads wsrep_dirty_reads wsrep_gtid_seq_no wsrep_on \
    wsrep_osu_method wsrep_retry_autocommit wsrep_sync_wait wsrep_trx_fragment_size \
    wsrep_trx_fragment_unit xa_detach_on_prepare",
    )
});

/// Those of MariaDB that need a privilege.
static PRIVILEGED_ON_MARIADB: Words = Words::new(|| {
    words(
        "binlog_annotate_row_events binlog_direct_non_transactional_updates binlog_format \
    binlog_row_image enforce_storage_engine gtid_domain_id gtid_seq_no innodb_tmpdir \
    log_disabled_statements pseudo_thread_id server_id sql_log_bin sql_log_off wsrep_on",
    )
});

/// Those of MySQL that need a privilege.
static PRIVILEGED_ON_MYSQL: Words = Words::new(|| {
    words(
        "binlog_direct_non_transactional_updates binlog_format binlog_row_image \
    binlog_row_value_options binlog_rows_query_log_events binlog_transaction_compression \
    binlog_transaction_compression_level_zstd bulk_insert_buffer_size character_set_database \
    character_set_filesystem connection_memory_chunk_size connection_memory_limit \
    global_connection_memory_tracking gtid_next histogram_generation_max_mem_size \
    immediate_server_version innodb_strict_mode innodb_tmpdir internal_tmp_mem_storage_engine \
    low_priority_updates max_delayed_threads max_error_count max_insert_delayed_threads \
    min_examined_row_limit original_commit_timestamp original_server_version preload_buffer_size \
    pseudo_replica_mode pseudo_slave_mode pseudo_thread_id select_into_buffer_size \
    select_into_disk_sync_delay sql_generate_invisible_primary_key sql_log_bin sql_log_off \
    sql_require_primary_key xa_detach_on_prepare",
    )
});

/// Not part of a session's settings: they change by themselves, are used up by the next statement,
/// follow from the schema, or name the connection.
static PASSING: Words = Words::new(|| {
    words(
        "character_set_database collation_database gtid_next gtid_seq_no identity \
    immediate_server_version insert_id last_gtid last_insert_id max_relay_log_size \
    original_commit_timestamp original_server_version pseudo_thread_id rand_seed1 rand_seed2 sql_slave_skip_counter timestamp \
    wsrep_gtid_seq_no",
    )
});

/// Setting the other one sets them as well.
static DERIVED: Words = Words::new(|| words("character_set_connection character_set_server"));

/// Those that the pool keeps for itself.
static OWN: Words = Words::new(|| {
    words(
        "session_track_gtids session_track_schema session_track_state_change \
    session_track_system_variables session_track_transaction_info",
    )
});

/// How long a connection may be idle: the pool acts on it where the client is, and never sets it on
/// a connection that others use.
static IDLE: Words = Words::new(|| words("wait_timeout"));

/// Those that can be NULL, which servers report as an empty value.
static NULLABLE: Words = Words::new(|| {
    words(
        "character_set_results default_tmp_storage_engine enforce_storage_engine \
    external_table_secondary_storage_engine external_table_storage_engine \
    innodb_ft_user_stopword_table innodb_tmpdir",
    )
});

/// Setting one of a group may set the others, so that these must be set again, in the order of their
/// names.
const GROUPS: &[&[&str]] = &[
    &["alter_algorithm", "old_alter_table"],
    &["max_join_size", "sql_big_selects"],
    &["old", "old_mode"],
    &["log_queries_not_using_indexes", "log_slow_filter"],
    &[
        "log_slow_admin_statements",
        "log_slow_slave_statements",
        "log_slow_disabled_statements",
    ],
    &["wsrep_causal_reads", "wsrep_sync_wait"],
];

/// Whether a session can set it.
pub(super) fn is_of_session(name: &str) -> bool {
    SESSION.contains(name)
}

/// Whether its value says nothing of the session.
pub(super) fn is_passing(name: &str) -> bool {
    PASSING.contains(name)
}

/// Whether it is part of a session's settings.
pub(super) fn is_setting(name: &str) -> bool {
    ![&PASSING, &DERIVED, &OWN]
        .iter()
        .any(|list| list.contains(name))
}

/// Whether connections never take it over from a client.
pub(super) fn stays_with_client(name: &str) -> bool {
    IDLE.contains(name)
}

/// Whether an empty value stands for NULL.
pub(super) fn is_nullable(name: &str) -> bool {
    NULLABLE.contains(name)
}

/// The variables that may change with this one, and itself.
pub(super) fn follow(name: &str) -> &'static [&'static str] {
    let found = GROUPS.iter().find(|group| group.contains(&name));
    found.copied().unwrap_or_default()
}

/// Whether an account needs a privilege to set this variable for its session.
pub(super) fn needs_privilege(name: &str, is_mariadb: bool) -> bool {
    match is_mariadb {
        true => PRIVILEGED_ON_MARIADB.contains(name),
        false => PRIVILEGED_ON_MYSQL.contains(name),
    }
}
