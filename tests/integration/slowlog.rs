//! The slow log, of what is not answered.

use std::time::Duration;

use crate::support::wire::{Wire, caps, com};
use crate::support::{Dpm, Flavour, Server, both, eventually, let_time_pass};

const LISTEN: &str = "
    local dpml = require 'dpml'
    slowlog = dpml.slowlog { threshold_ms = 100, report = function(digest, ms) print('slow', digest) end }
    listener = require('harness').listen(function() end)
    dpm.on_signal('HUP', function()
      for _, row in ipairs(slowlog:digests().rows) do print('counted', row[1], row[2]) end
      print('told')
    end)";
const PASSTHROUGH: &str =
    "dpml.passthrough_new_clients(listener, slowlog, { arg[1], tonumber(arg[2]) })";
const PROXY: &str = "dpml.proxy_new_clients(listener, slowlog, {
    users = { empty = { password = '' } },
    backend = { host = arg[1], port = tonumber(arg[2]), user = 'empty' } })";

fn counted(dpm: &Dpm) -> Vec<String> {
    let before = dpm.count("told");
    dpm.signal("HUP");
    eventually("it is told", || dpm.count("told") > before);
    dpm.lines("counted")
}

fn sleeps(dpm: &Dpm, server: &Server) -> Wire {
    let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    wire.command(com::QUERY, b"SELECT SLEEP(30)");
    eventually("it runs", || server.running("SELECT SLEEP(30)") == 1);
    let_time_pass(Duration::from_millis(120));
    wire
}

both! {
    fn a_statement_whose_connection_is_killed_counts(server) {
        for way in [PASSTHROUGH, PROXY] {
            let dpm = Dpm::start(&format!("{LISTEN} {way}"), server);
            let wire = sleeps(&dpm, server);
            server.sql("SELECT CONCAT('KILL ', id) INTO @kill FROM information_schema.processlist WHERE info = 'SELECT SLEEP(30)';
                        PREPARE k FROM @kill; EXECUTE k");
            dpm.line("slow\tSELECT SLEEP(?)");
            drop(wire);
            dpm.wait_until_idle();
            let all = counted(&dpm);
            assert_eq!(all.len(), 2, "{all:?}");
            assert!(all.contains(&"\tSELECT SLEEP(?)\t1".to_string()), "{all:?}");
            assert_eq!(dpm.count("slow\t"), 1);
            dpm.assert_no_errors();
        }
    }
}

#[test]
fn so_does_one_whose_server_dies() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    for way in [PASSTHROUGH, PROXY] {
        let dpm = Dpm::start(&format!("{LISTEN} {way}"), &server);
        let _wire = sleeps(&dpm, &server);
        server.kill();
        dpm.line("slow\tSELECT SLEEP(?)");
        assert!(counted(&dpm).contains(&"\tSELECT SLEEP(?)\t1".to_string()));
        dpm.assert_no_errors();
        server.restart(&[]);
    }
}
