//! Compressed frames, on each leg by itself: with the real clients and servers, which check the
//! frames' numbers, and with peers that lie.

use std::fmt::Write as _;

use crate::support::dpm::Launch;
use crate::support::server::mysql_available;
use crate::support::{Cli, Dpm, Flavour, Server, both, process};

/// A passthrough that asks its servers for this, and tells at the end how both legs were compressed.
fn legs(server: &Server, towards: &str) -> Dpm {
    passthrough(server, "", towards, "")
}

fn passthrough(server: &Server, listener: &str, towards: &str, more: &str) -> Dpm {
    let script = format!(
        "local h = require('harness')
         h.listen(function(c)
           local s = dpm.connect(arg[1], tonumber(arg[2]), {{ {towards} }})
           local id = c:id()
           h.pairs[id] = {{ c, s }}
           c:on_close(function()
             print('legs ' .. tostring(c:compression()) .. ' ' .. tostring(s:compression()))
             h.pairs[id] = nil
           end)
           {more}
           dpm.proxy_connect(c, s)
         end, {{ {listener} }})"
    );
    Launch::script(&script).server(server).start()
}

/// Every callback there is, on both ends: no packet passes unseen.
const ALL_CALLBACKS: &str = "for value, name in pairs(h.names) do
    if name:match('^MYC_') and name ~= 'MYC_CONNECT' then c:register(value, function() end) end
    if name:match('^MYS_') then s:register(value, function() end) end
  end";

/// The command-line clients that can do it, told to compress so. (MariaDB's does not get past the
/// full exchange of `caching_sha2_password`.)
fn clients(server: &Server, algorithm: &str, port: u16) -> Vec<Cli> {
    let mut clients = Vec::new();
    if algorithm != "zstd" && server.flavour != Flavour::MySql {
        let cli = Cli::client(Flavour::MariaDb, port).arg("--max-allowed-packet=1G");
        clients.push(match algorithm {
            "nil" => cli,
            _ => cli.arg("--compress"),
        });
    }
    if mysql_available() {
        let cli = Cli::client(Flavour::MySql, port).arg("--max-allowed-packet=1G");
        clients.push(match algorithm {
            "nil" => cli,
            _ => cli.arg(format!("--compression-algorithms={algorithm}")),
        });
    }
    clients
}

fn server_kinds(server: &Server) -> &'static [&'static str] {
    match server.flavour {
        Flavour::MySql => &["nil", "zlib", "zstd"],
        _ => &["nil", "zlib"],
    }
}

fn towards(kind: &str) -> String {
    match kind {
        "nil" => String::new(),
        _ => format!("compression = '{kind}'"),
    }
}

/// With callbacks once is enough.
fn watched(kind: &str) -> &'static [&'static str] {
    match kind {
        "zlib" => &["", ALL_CALLBACKS],
        _ => &[""],
    }
}

/// Small and large, several results, errors, and what has no answer.
const BATTERY: &str = "SELECT 1;
SELECT REPEAT('abcdefghij', 100000), LENGTH(REPEAT('x', 20000000));
SELECT 'a' UNION SELECT NULL UNION SELECT '';
SELECT nothing;
DO 0;
PREPARE p FROM 'SELECT ? + 1'; SET @a = 41; EXECUTE p USING @a; DEALLOCATE PREPARE p;
SELECT COUNT(*) FROM information_schema.collations, information_schema.character_sets WHERE 1 = 0;
";

both! {
    fn each_leg_by_itself(server) {
        for kind in server_kinds(server) {
            let dpm = legs(server, &towards(kind));
            let mut expected = Vec::new();
            for algorithm in ["nil", "zlib", "zstd"] {
                for cli in clients(server, algorithm, dpm.port()) {
                    let done = cli.arg("--force").stdin(BATTERY).run();
                    let direct = Cli::client(server.flavour, server.port)
                        .arg("--force").stdin(BATTERY).run();
                    assert!(done.out() == direct.out(), "{algorithm} {kind}: {}", done.err());
                    assert!(done.err().contains("ERROR 1054"), "{}", done.err());
                    expected.push(format!("{algorithm} {kind}"));
                    dpm.wait_until_idle();
                }
            }
            assert_eq!(dpm.lines("legs "), expected);
            dpm.assert_no_errors();
        }
    }
}

both! {
    /// 20 MB either way, and packets that fill their frames to the byte.
    fn large_values(server) {
        let legs = match server.flavour {
            Flavour::MySql => [("zstd", "nil", ""), ("zlib", "zstd", ""), ("zstd", "zlib", ALL_CALLBACKS)],
            _ => [("nil", "zlib", ""), ("zlib", "nil", ""), ("zlib", "zlib", ALL_CALLBACKS)],
        };
        for (algorithm, kind, more) in legs {
            let dpm = passthrough(server, "", &towards(kind), more);
            let mut sql = String::new();
            let mut expected = String::new();
            // A command is one byte more than its text.
            for len in [20_000_000, 0xFF_FFFF - 2, 0xFF_FFFF - 1] {
                let value = "x".repeat(len - "SELECT LENGTH('')".len());
                writeln!(sql, "SELECT LENGTH('{value}');").unwrap();
                writeln!(expected, "{}", value.len()).unwrap();
            }
            // A row has four bytes in front. (One that fills its frame makes MariaDB's client lose
            // its connection, to any server, if it is compressed.)
            let fills = match server.flavour {
                Flavour::MySql => 0xFF_FFFF - 4,
                _ => 0xFF_FFFF - 3,
            };
            for len in [fills, 20_000_000] {
                writeln!(sql, "SELECT REPEAT('y', {len});").unwrap();
                writeln!(expected, "{}", "y".repeat(len)).unwrap();
            }
            for cli in clients(server, algorithm, dpm.port()) {
                let done = cli.stdin(sql.clone()).run();
                assert!(done.out() == expected, "{algorithm} {kind}: {}", done.err());
            }
            dpm.wait_until_idle();
            dpm.assert_no_errors();
        }
    }
}

both! {
    fn many_rows(server) {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
            SELECT a.i, b.i, REPEAT('z', a.i % 20) FROM n a, n b WHERE b.i <= 100 ORDER BY 1, 2";
        let direct = Cli::client(server.flavour, server.port).arg("-e").arg(sql).ok();
        assert_eq!(direct.lines().count(), 100_000);
        for kind in server_kinds(server) {
            for more in watched(kind) {
                let dpm = passthrough(server, "", &towards(kind), more);
                for algorithm in ["nil", "zlib", "zstd"] {
                    for cli in clients(server, algorithm, dpm.port()) {
                        let said = cli.arg("-e").arg(sql).ok();
                        assert!(said == direct, "{algorithm} {kind}");
                    }
                }
                dpm.wait_until_idle();
                dpm.assert_no_errors();
            }
        }
    }
}

both! {
    fn load_data_local(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (id INT, text VARCHAR(200))"));
        let path = process::folder("infile").join("data");
        let mut lines = String::new();
        for id in 0..60_000 {
            writeln!(lines, "{id}\t{}", "abc".repeat(id % 50)).unwrap();
        }
        std::fs::write(&path, lines).unwrap();
        let sql = format!(
            "TRUNCATE {base}.t; LOAD DATA LOCAL INFILE '{}' INTO TABLE {base}.t;
             SELECT COUNT(*), SUM(LENGTH(text)) FROM {base}.t;
             LOAD DATA LOCAL INFILE '/nowhere/at/all' INTO TABLE {base}.t;
             SELECT 'after'", path.display());
        for kind in server_kinds(server) {
            for more in watched(kind) {
                let dpm = passthrough(server, "", &towards(kind), more);
                for algorithm in ["nil", "zlib", "zstd"] {
                    for cli in clients(server, algorithm, dpm.port()) {
                        let done = cli.args(["--local-infile=1", "--force"]).stdin(sql.clone()).run();
                        assert_eq!(done.out(), "60000\t4410000\nafter\n", "{}", done.err());
                    }
                }
                dpm.wait_until_idle();
                dpm.assert_no_errors();
            }
        }
    }
}
