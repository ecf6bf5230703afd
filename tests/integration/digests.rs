//! Statistics of statements by their digests, whoever answers them.

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Dpm, Server, both, eventually};

/// Prints what was counted, on HUP.
const TELL: &str = "
    dpm.on_signal('HUP', function()
      for _, row in ipairs(counted:top(20, 'calls')) do
        print('counted', row.digest, row.calls, row.errors, row.rows_sent, row.rows_affected, row.user, row.schema,
            row.server == arg[1] .. ':' .. arg[2])
        assert(row.min_us <= row.p50_us and row.p50_us <= row.max_us and row.max_us <= row.total_us and row.bytes > 0)
        assert(row.time[#row.time][2] == row.calls and row.time.sum == row.total_us)
      end
      print('told')
    end)";

fn passthrough(server: &Server, options: &str) -> Dpm {
    Dpm::start(
        &format!(
            "local dpml = require 'dpml'
             counted = dpml.digests {{ {options} }}
             listener = require('harness').listen(function() end)
             dpml.passthrough_new_clients(listener, {{}}, {{ arg[1], tonumber(arg[2]) }})
             {TELL}"
        ),
        server,
    )
}

fn counted(dpm: &Dpm) -> Vec<String> {
    let before = dpm.count("told");
    let printed = dpm.count("counted");
    dpm.signal("HUP");
    eventually("it is told", || dpm.count("told") > before);
    dpm.lines("counted").split_off(printed)
}

fn prepare(wire: &mut Wire, sql: &str) -> u32 {
    wire.command(com::STMT_PREPARE, sql.as_bytes());
    let head = wire.read();
    assert_eq!(head[0], 0, "{sql}: {head:?}");
    for count in [&head[7..9], &head[5..7]] {
        let count = u16::from_le_bytes([count[0], count[1]]);
        for _ in 0..count {
            wire.read();
        }
        if count > 0 {
            wire.read();
        }
    }
    u32::from_le_bytes([head[1], head[2], head[3], head[4]])
}

fn execute(wire: &mut Wire, id: u32) {
    let mut argument = id.to_le_bytes().to_vec();
    argument.extend_from_slice(&[0, 1, 0, 0, 0]);
    wire.command(com::STMT_EXECUTE, &argument);
    let mut ends = 0;
    while ends < 2 {
        let packet = wire.read();
        assert_ne!(packet[0], 0xFF, "{packet:?}");
        ends += usize::from(packet[0] == 0xFE && packet.len() < 9);
    }
}

both! {
    fn statements_are_counted(server) {
        let dpm = passthrough(server, "by = { 'user', 'schema', 'server' }");
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE | caps::MULTI);
        for number in 1..=3 {
            wire.rows(&format!("SELECT {number} FROM (SELECT 1 UNION SELECT 2) t"));
        }
        assert!(matches!(wire.query("SELECT nobody"), Answer::Err(..)));
        assert!(matches!(wire.query("USE mysql"), Answer::Ok(_)));
        assert!(matches!(wire.query("CREATE TEMPORARY TABLE test.digested AS SELECT 1 a UNION SELECT 2"), Answer::Ok(_)));
        assert!(matches!(wire.query("UPDATE test.digested SET a = 7"), Answer::Ok(_)));
        let id = prepare(&mut wire, "SELECT 5 + 5");
        execute(&mut wire, id);
        execute(&mut wire, id);
        let told = counted(&dpm);
        let find = |digest: &str| {
            let found = told.iter().find(|line| line.starts_with(&format!("\t{digest}\t")));
            found.unwrap_or_else(|| panic!("{digest}: {told:#?}")).clone()
        };
        assert_eq!(find("SELECT ? FROM (SELECT ? UNION SELECT ?) t").matches('\t').count(), 8);
        assert!(find("SELECT ? FROM (SELECT ? UNION SELECT ?) t").ends_with("\t3\t0\t6\t0\tempty\tnil\ttrue"));
        assert!(find("SELECT nobody").ends_with("\t1\t1\t0\t0\tempty\tnil\ttrue"));
        assert!(find("UPDATE test.digested SET a = ?").ends_with("\t1\t0\t0\t2\tempty\tmysql\ttrue"));
        assert!(find("SELECT ? + ?").ends_with("\t2\t0\t2\t0\tempty\tmysql\ttrue"));
        dpm.assert_no_errors();
    }
}

both! {
    fn pooled_statements_are_counted(server) {
        let dpm = Launch::script(&format!(
            "local dpml = require 'dpml'
             counted = dpml.digests {{}}
             listener = require('harness').listen(function() end)
             dpml.pool(listener, {{ size = 1, servers = {{ {{ host = arg[1], port = tonumber(arg[2]) }} }},
                 users = {{ empty = {{ password = '' }} }} }})
             {TELL}"
        ))
        .server(server)
        .start();
        let mut wires = [(); 3].map(|()| Wire::login_empty(dpm.port(), caps::BASE));
        let ids: Vec<_> = wires
            .iter_mut()
            .enumerate()
            .map(|(number, wire)| [prepare(wire, "SELECT 5 + 5"), prepare(wire, &format!("SELECT 1 AS a{number}"))])
            .collect();
        for (wire, ids) in wires.iter_mut().zip(ids) {
            wire.rows("SELECT 1");
            execute(wire, ids[0]);
            execute(wire, ids[1]);
        }
        let told = counted(&dpm);
        assert_eq!(told.len(), 5, "the pool's own commands are not counted: {told:#?}");
        assert!(told.iter().any(|line| line.starts_with("\tSELECT ?\t3\t0\t3\t0\t")), "{told:#?}");
        assert!(told.iter().any(|line| line.starts_with("\tSELECT ? + ?\t3\t0\t3\t0\t")), "{told:#?}");
        assert!(told.iter().any(|line| line.starts_with("\tSELECT ? AS a2\t1\t0\t1\t0\t")), "{told:#?}");
    }
}

both! {
    fn digests_are_bounded_and_reset(server) {
        let dpm = Dpm::start(
            "local dpml = require 'dpml'
             counted = dpml.digests { max = 5, max_length = 20 }
             listener = require('harness').listen(function() end)
             dpml.passthrough_new_clients(listener, {}, { arg[1], tonumber(arg[2]) })
             print(pcall(counted.top, counted, 1, 'nothing'))
             print(pcall(dpml.digests, { by = { 'host' } }))
             print(pcall(dpml.digests, { max = 0 }))
             dpm.on_signal('HUP', function()
                 local all = dpm.stats('queries')
                 print('digests', #dpm.stats('digests'), all.digests, all.calls, all.evicted)
                 print('longest', #counted:top(1)[1].digest)
                 counted:reset()
                 print('left', #dpm.stats('digests'), dpm.stats('queries').calls, #counted:top())
             end)",
            server,
        );
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
        for number in 0..50 {
            wire.rows(&format!("SELECT 1 AS a_name_{number}_that_is_too_long"));
        }
        dpm.signal("HUP");
        let line = dpm.line("digests\t5\t5\t50\t");
        let evicted: u32 = line.rsplit('\t').next().unwrap().parse().unwrap();
        assert!(evicted >= 5, "{line}");
        dpm.line("longest\t23");
        dpm.line("left\t0\t0\t0");
        dpm.line("there is no column nothing, only calls");
        dpm.line("there is no thing to tell digests apart by: host");
        dpm.line("max: expected at least 1");
    }
}
