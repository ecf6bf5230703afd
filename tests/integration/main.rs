//! All tests with real servers, real clients and hostile peers, in one binary so that they share
//! the servers. One module for each topic.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod auth;
mod autoexplain;
mod autoexplain_plans;
mod budgets;
mod buffered;
mod callbacks;
mod capabilities;
mod certificates;
mod coalesce;
mod columns;
mod command_line;
mod commands;
mod compression;
mod deaths;
mod demos;
mod demos_queries;
mod demos_scripts;
mod demos_servers;
mod digests;
mod docs;
mod dpml;
mod dpml_hostile;
mod embedding;
mod errors;
mod figures;
mod firewall;
mod flow;
mod frameworks;
mod greetings;
mod growth;
mod guide;
mod half_closed;
mod hostile;
mod hostile_logins;
mod http;
mod http_requests;
mod kills;
mod large;
mod limits;
mod links;
mod listen;
mod logging;
mod login_relay;
mod lua_globals;
mod malformed;
mod mask;
mod metrics;
mod multiplexer;
mod multiplexer_answers;
mod mutated_sessions;
mod objects;
mod ownership;
mod passthrough;
mod patience;
mod pipelining;
mod plugins;
mod pool;
mod pool_admin;
mod pool_anew;
mod pool_asked;
mod pool_attacks;
mod pool_backends;
mod pool_catalogue;
mod pool_charsets;
mod pool_cluster;
mod pool_diagnostics;
mod pool_expectations;
mod pool_failover;
mod pool_hidden;
mod pool_idle;
mod pool_kills;
mod pool_limits;
mod pool_plugins;
mod pool_policies;
mod pool_reports;
mod pool_sessions;
mod pool_shared;
mod pool_split;
mod pool_state;
mod pool_statements;
mod pool_strangers;
mod pool_topology;
mod pool_twins;
mod pool_user_variables;
mod pool_workers;
mod pooling_page;
mod prepared;
mod proxied_logins;
mod proxy_protocol;
mod r5;
mod reentrancy;
mod reload;
mod reload_load;
mod replication;
mod runaways;
mod secrets;
mod server_accounts;
mod servers;
mod service_manager;
mod services;
mod session;
mod session_facts;
mod signals;
mod slices;
mod slowlog;
mod sockets;
mod sql;
mod standard_streams;
mod startup;
mod tasks;
mod tls;
mod tracing;
mod translation;
mod unfinished_logins;
mod unsolicited_errors;
mod upgrade;
mod workers;
mod workers_together;

/// Who waits for something by the clock waits too long, or not long enough: see `support`.
#[test]
fn no_test_sleeps() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration");
    let needle = ["thread", "sleep"].join("::");
    for entry in std::fs::read_dir(folder).expect("the tests") {
        let path = entry.expect("a file").path();
        // In folders there are statements and the like, no tests.
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(
            !text.contains(&needle),
            "{}: `eventually` and `settle` wait for what happens, `let_time_pass` is for stalls",
            path.display()
        );
    }
}
