//! Replicas that reach their source through the proxy: they replicate, whatever happens to the
//! proxy, and end equal to their source.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::{
    Cli, Dpm, Flavour, Over, PASSWORD, Server, USER, eventually, let_time_pass, process,
};

/// A source and its replica, which share one port for the proxies to come between them: a replica
/// finds its source again where it was.
struct Pair {
    source: Server,
    replica: Server,
    port: u16,
}

/// A proxy between the two, on the pair's port.
const PASSTHROUGH: &str = "
local h = require('harness')
local listen = dpm.listener
dpm.listener = function(ip, _, opts) return listen(ip, tonumber(arg[3]), opts) end
";

/// The pair of a kind, for one test at a time; `None` where there is no MySQL.
fn pair(flavour: Flavour) -> Option<MutexGuard<'static, Pair>> {
    static MARIADB: OnceLock<Mutex<Pair>> = OnceLock::new();
    static MYSQL: OnceLock<Mutex<Pair>> = OnceLock::new();
    static MARIADB11: OnceLock<Mutex<Pair>> = OnceLock::new();
    if !flavour.available() {
        return None;
    }
    let pair = match flavour {
        Flavour::MariaDb => &MARIADB,
        Flavour::MySql => &MYSQL,
        Flavour::MariaDb11 => &MARIADB11,
    };
    let pair = pair.get_or_init(|| Mutex::new(Pair::new(flavour)));
    // A test that failed leaves a pair that another may still use.
    Some(pair.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A test of both kinds.
macro_rules! pairs {
    ($(#[$meta:meta])* fn $name:ident($pair:ident) $body:block) => {
        $(#[$meta])*
        mod $name {
            use super::*;

            fn check($pair: &Pair) $body

            #[test]
            fn mariadb() {
                check(&pair(Flavour::MariaDb).expect("always there"));
            }

            #[test]
            fn mysql() {
                if let Some(pair) = pair(Flavour::MySql) {
                    check(&pair);
                }
            }
        }
    };
}

impl Pair {
    fn new(flavour: Flavour) -> Pair {
        let common = ["--binlog-format=ROW"];
        let own: &[&str] = match flavour {
            Flavour::MariaDb | Flavour::MariaDb11 => &["--gtid-strict-mode=1"],
            Flavour::MySql => &["--gtid-mode=ON", "--enforce-gtid-consistency=ON"],
        };
        let semi_sync = |side: &str| match flavour {
            Flavour::MariaDb | Flavour::MariaDb11 => Vec::new(),
            Flavour::MySql => vec![format!("--plugin-load-add=semisync_{side}.so")],
        };
        let start = |id: &str, more: Vec<String>| {
            let mut options = [&common[..], own].concat();
            options.extend(more.iter().map(String::as_str));
            options.push(id);
            Server::start_own(flavour, &options)
        };
        let (source, replica) = std::thread::scope(|scope| {
            let replica = scope.spawn(|| start("--server-id=2", semi_sync("replica")));
            (
                start("--server-id=1", semi_sync("source")),
                replica.join().expect("the replica starts"),
            )
        });
        // Both begin with the same data and an empty history.
        for server in [&source, &replica] {
            server.sql(match flavour {
                Flavour::MariaDb | Flavour::MariaDb11 => {
                    "RESET MASTER; SET GLOBAL gtid_slave_pos = ''"
                }
                Flavour::MySql => "RESET BINARY LOGS AND GTIDS",
            });
        }
        let pair = Pair {
            source,
            replica,
            port: process::free_port(),
        };
        let port = pair.port;
        pair.replica.sql(&match flavour {
            Flavour::MariaDb | Flavour::MariaDb11 => format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, \
                 MASTER_USER = '{USER}', MASTER_PASSWORD = '{PASSWORD}', \
                 MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, \
                 MASTER_HEARTBEAT_PERIOD = 0.2"
            ),
            Flavour::MySql => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, \
                 SOURCE_USER = '{USER}', SOURCE_PASSWORD = '{PASSWORD}', \
                 SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, \
                 SOURCE_RETRY_COUNT = 1000, SOURCE_HEARTBEAT_PERIOD = 0.2"
            ),
        });
        pair
    }

    fn flavour(&self) -> Flavour {
        self.source.flavour
    }

    /// A proxy on the pair's port; the script calls `h.passthrough`.
    fn dpm(&self, script: &str) -> Dpm {
        Launch::script(&format!("{PASSTHROUGH}{script}"))
            .server(&self.source)
            .arg(self.port)
            .start()
    }

    fn replicate(&self, verb: &str) {
        let what = match self.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => "SLAVE",
            Flavour::MySql => "REPLICA",
        };
        self.replica.sql(&format!("{verb} {what}"));
    }

    /// What a stopped replica asks of its connection.
    fn legs(&self, tls: bool, compressed: bool) {
        let tls = u8::from(tls);
        self.replica.sql(&match self.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => format!(
                "CHANGE MASTER TO MASTER_SSL = {tls}, MASTER_SSL_VERIFY_SERVER_CERT = 0; \
                 SET GLOBAL slave_compressed_protocol = {}",
                u8::from(compressed)
            ),
            Flavour::MySql => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_SSL = {tls}, \
                 SOURCE_COMPRESSION_ALGORITHMS = '{}'",
                if compressed { "zlib" } else { "uncompressed" }
            ),
        });
    }

    /// Starts following. What a test before this one left undone is forgotten.
    fn start(&self) {
        self.replicate("STOP");
        self.replicate("START");
    }

    /// Waits until the replica has all that the source has written, and compares the two.
    #[track_caller]
    fn equal(&self, database: &str) {
        let gtids = match self.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => "SELECT @@global.gtid_binlog_pos",
            Flavour::MySql => "SELECT @@global.gtid_executed",
        };
        let written = self.source.sql(gtids);
        let written = written.trim().replace("\\n", "");
        let wait = match self.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => {
                format!("SELECT MASTER_GTID_WAIT('{written}', 25)")
            }
            Flavour::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{written}', 25)"),
        };
        let waited = self.replica.sql(&wait);
        assert_eq!(waited, "0\n", "not there yet: {written}\n{}", self.status());
        let applied = self.replica.sql(match self.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => "SELECT @@global.gtid_slave_pos",
            Flavour::MySql => "SELECT @@global.gtid_executed",
        });
        assert_eq!(
            applied.trim().replace("\\n", ""),
            written,
            "{}",
            self.status()
        );
        let contents = |server: &Server| {
            let tables = server.sql(&format!("SHOW TABLES IN {database}"));
            let mut ask = format!("USE {database};");
            for table in tables.lines() {
                let _ = write!(
                    ask,
                    "CHECKSUM TABLE {table} EXTENDED; SHOW CREATE TABLE {table}; \
                     SELECT COUNT(*) FROM {table};"
                );
            }
            server.sql(&ask)
        };
        let (source, replica) = (contents(&self.source), contents(&self.replica));
        assert!(source.lines().count() > 5, "there is something: {source}");
        assert_eq!(source, replica);
    }

    /// What the replica says of itself.
    fn status(&self) -> String {
        let ask = match self.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => "SHOW SLAVE STATUS",
            Flavour::MySql => "SHOW REPLICA STATUS",
        };
        let socket = format!("--socket={}", self.replica.socket.display());
        Cli::tool(self.flavour(), "mysql")
            .args(["--no-defaults", "-uroot", "-E", "-e", ask, &socket])
            .ok()
    }

    /// Creates a database with tables for [`Pair::write`].
    fn database(&self) -> String {
        let name = self.source.database();
        self.source.sql(&format!(
            "USE {name};
             CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT, s VARCHAR(200), b LONGBLOB);
             CREATE TABLE loaded (a INT, b VARCHAR(50));"
        ));
        std::fs::write(self.source.folder().join("lines.tsv"), lines(2000)).expect("a file");
        name
    }

    /// One round of everything that comes in a binlog. `round` is not to come twice.
    fn write(&self, database: &str, round: u32, megabytes: usize) {
        let file = self.source.folder().join("lines.tsv");
        let file = file.display();
        self.source.sql(&format!(
            "USE {database};
             INSERT INTO t (n, s) VALUES ({round}, 'plain'), ({round} + 1, NULL), (-{round}, '€');
             INSERT INTO t (n, s) SELECT n * 2, CONCAT(s, {round}) FROM t LIMIT 100;
             UPDATE t SET n = n + {round}, s = CONCAT('u', LEFT(s, 50)) WHERE id % 3 = 0;
             DELETE FROM t WHERE id % 7 = 0;
             BEGIN;
             INSERT INTO t (n, b) SELECT {round}, RANDOM_BYTES(1000) FROM t LIMIT 300;
             INSERT INTO t (n, b) VALUES ({round}, REPEAT('0123456789abcdef', {megabytes} * 65536));
             UPDATE t SET s = 'in a transaction' WHERE n = {round};
             COMMIT;
             CREATE TABLE made{round} (a INT PRIMARY KEY, KEY (a));
             INSERT INTO made{round} VALUES ({round});
             ALTER TABLE made{round} ADD COLUMN b INT DEFAULT {round};
             DROP TABLE IF EXISTS made{before};
             LOAD DATA INFILE '{file}' INTO TABLE loaded;
             SET SESSION binlog_format = STATEMENT;
             LOAD DATA INFILE '{file}' INTO TABLE loaded;
             UPDATE loaded SET a = a + 1 WHERE a < 10;
             SET SESSION binlog_format = ROW;",
            before = round.wrapping_sub(3),
        ));
    }

    /// Writes round after round while `during` runs, from round `first` on.
    fn write_during(&self, database: &str, first: u32, during: impl FnOnce()) {
        let over = Over::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut round = first;
                while !over.is() {
                    self.write(database, round, 1);
                    round += 1;
                    let_time_pass(Duration::from_millis(50));
                }
            });
            let _ends = over.at_end();
            during();
        });
    }

    fn is_following(&self) -> bool {
        let status = self.status();
        let runs = |key: &str| {
            status
                .lines()
                .any(|line| line.trim() == format!("{key}: Yes"))
        };
        match self.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => {
                runs("Slave_IO_Running") && runs("Slave_SQL_Running")
            }
            Flavour::MySql => runs("Replica_IO_Running") && runs("Replica_SQL_Running"),
        }
    }
}

fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "{n}\tline {n}");
        text
    })
}

pairs! {
    fn a_replica_follows_and_ends_equal(pair) {
        let dpm = pair.dpm("h.passthrough()");
        dpm.port();
        pair.start();
        let database = pair.database();
        pair.write(&database, 1, 1);
        pair.equal(&database);
        assert!(pair.is_following(), "{}", pair.status());
        // An event of several frames.
        pair.write(&database, 2, 17);
        pair.write(&database, 3, 2);
        pair.equal(&database);
        // It lives on heartbeats.
        let_time_pass(Duration::from_millis(500));
        pair.source.sql(&format!("INSERT INTO {database}.loaded VALUES (1, 'late')"));
        pair.equal(&database);
        assert!(pair.is_following(), "{}", pair.status());
        dpm.assert_no_errors();
    }
}

pairs! {
    fn a_replica_survives_deaths_of_the_proxy(pair) {
        let mut dpm = pair.dpm("h.passthrough()");
        dpm.port();
        pair.start();
        let database = pair.database();
        let waits = || {
            eventually("the replica is back", || pair.is_following());
            let_time_pass(Duration::from_millis(300));
        };
        pair.write_during(&database, 1, || {
            for _ in 0..2 {
                waits();
                dpm.signal("KILL");
                dpm.wait_for_end();
                dpm = pair.dpm("h.passthrough()");
                dpm.port();
            }
            for _ in 0..2 {
                waits();
                let begun = std::time::Instant::now();
                assert!(dpm.stop().success());
                let took = begun.elapsed();
                // A stream that never ends is not waited for.
                assert!(took < Duration::from_secs(5), "stopped in {took:?}");
                dpm = pair.dpm("h.passthrough()");
                dpm.port();
            }
            waits();
        });
        pair.equal(&database);
        assert!(pair.is_following(), "{}", pair.status());
    }
}

pairs! {
    /// A callback sees every packet of the stream, whole.
    fn a_script_watches_the_binlog(pair) {
        let dpm = pair.dpm("
            local packets, bytes = 0, 0
            h.passthrough(nil, {
                [dpm.MYS_SENDING_BINLOG] = function(data)
                    packets, bytes = packets + 1, bytes + #data:data()
                end,
            })
            dpm.on_signal('USR2', function() print(('SEEN %d %d'):format(packets, bytes)) end)
        ");
        dpm.port();
        pair.start();
        let database = pair.database();
        pair.write(&database, 1, 1);
        pair.write(&database, 2, 17);
        pair.write(&database, 3, 1);
        pair.equal(&database);
        assert!(pair.is_following(), "{}", pair.status());
        dpm.assert_no_errors();
        dpm.signal("USR2");
        let line = dpm.line("SEEN ");
        let counts: Vec<u64> = line
            .split_whitespace()
            .filter_map(|count| count.parse().ok())
            .collect();
        assert!(counts[0] > 40 && counts[1] > 50 << 20, "{line}");
    }
}

pairs! {
    /// Every transaction waits for the replica's word that it has it, which comes back over the
    /// same connection, numbered by a count of its own.
    fn semi_synchronous_replication_is_acknowledged(pair) {
        let (source, replica) = match pair.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => ("rpl_semi_sync_master", "rpl_semi_sync_slave"),
            Flavour::MySql => ("rpl_semi_sync_source", "rpl_semi_sync_replica"),
        };
        let counter = |name: &str| {
            let said = pair.source.sql(&format!("SHOW GLOBAL STATUS LIKE '{source}_{name}'"));
            let value = said.split_whitespace().nth(1).expect("a counter");
            value.parse::<u64>().expect("a number")
        };
        let watched = |options: &str| format!("
            local acks = 0
            h.passthrough({{ [dpm.MYC_SENDING_DATA] = function() acks = acks + 1 end }},
                {{ [dpm.MYS_SENDING_BINLOG] = function() end }}, {{ {options} }})
            dpm.on_signal('USR2', function() print(('ACKS %d.'):format(acks)) end)
        ");
        // MariaDB's source has no certificate here, MySQL's has made itself one.
        let secured = match pair.flavour() {
            Flavour::MySql => "tls = true, server_tls = 'required'",
            _ => "tls = true, server_tls = false",
        };
        let database = pair.database();
        let modes = [
            ("h.passthrough()".to_owned(), false, false),
            (watched(""), false, false),
            ("h.passthrough(nil, nil, { compression = 'zlib' })".to_owned(), false, true),
            (watched(&format!("{secured}, compression = 'zlib'")), true, true),
        ];
        for (mode, (script, tls, compressed)) in modes.iter().enumerate() {
            let first = 100 * mode as u32 + 1;
            let mut dpm = pair.dpm(script);
            dpm.port();
            pair.replicate("STOP");
            pair.legs(*tls, *compressed);
            pair.replica.sql(&format!("SET GLOBAL {replica}_enabled = 1"));
            pair.source.sql(&format!(
                "SET GLOBAL {source}_enabled = 1; SET GLOBAL {source}_timeout = 20000"
            ));
            pair.replicate("START");
            eventually("the source has its replica", || counter("clients") == 1);
            pair.write(&database, first, if *compressed { 2 } else { 9 });
            let (yes, no) = (counter("yes_tx"), counter("no_tx"));
            // More packets than there are numbers.
            for batch in 0..3 {
                let rows: String = (0..100)
                    .map(|n| format!("INSERT INTO {database}.loaded VALUES ({batch}, '{n}');"))
                    .collect();
                pair.source.sql(&rows);
            }
            pair.write(&database, first + 1, 1);
            pair.equal(&database);
            assert!(pair.is_following(), "{}", pair.status());
            let acknowledged = counter("yes_tx") - yes;
            assert!(acknowledged > 300, "{acknowledged} transactions were acknowledged");
            assert_eq!(counter("no_tx"), no, "each was acknowledged in time");
            if script.contains("acks") {
                dpm.signal("USR2");
                let line = dpm.line("ACKS ");
                let count = line.trim_end_matches('.').split(' ').nth(1).expect("a count");
                assert!(count.parse::<u64>().expect("a number") > 300, "{line}");
            }
            dpm.assert_no_errors();
            // And when the proxy goes, only the wait for the replica to come back is lost.
            dpm.signal("KILL");
            dpm.wait_for_end();
            let dpm = pair.dpm(script);
            dpm.port();
            pair.source.sql(&format!("INSERT INTO {database}.loaded VALUES ({first}, 'killed')"));
            pair.equal(&database);
            eventually("the source has its replica again", || counter("clients") == 1);
            pair.replicate("STOP");
            pair.source.sql(&format!("SET GLOBAL {source}_enabled = 0"));
            pair.replica.sql(&format!("SET GLOBAL {replica}_enabled = 0"));
        }
        pair.legs(false, false);
    }
}

pairs! {
    /// Scripts may add packets to a stream and drop others: the replica goes on counting.
    fn a_script_that_drops_and_adds_packets_of_a_stream(pair) {
        let dpm = pair.dpm("
            local dropped, kept = 0, 0
            h.passthrough(nil, {
                [dpm.MYS_SENDING_BINLOG] = function(data, id, server)
                    -- OK(1) time(4) type(1): 27 is a heartbeat, 41 MySQL's longer one.
                    local kind = data:data():byte(6)
                    if kind == 27 or kind == 41 then
                        dropped = dropped + 1
                        print('DROPPED ' .. dropped)
                        return dpm.DPM_NOPROXY
                    end
                    -- Every other one goes as a copy.
                    kept = kept + 1
                    if kept % 2 == 0 then
                        for _, pair in pairs(h.pairs) do
                            if pair[2] == server then dpm.wire_packet(pair[1], data) end
                        end
                        return dpm.DPM_NOPROXY
                    end
                end,
            })
        ");
        dpm.port();
        pair.start();
        let database = pair.database();
        for round in 1..4 {
            dpm.line(&format!("DROPPED {}", round * 2));
            pair.write(&database, round, 1);
            pair.equal(&database);
        }
        assert!(pair.is_following(), "{}", pair.status());
        dpm.assert_no_errors();
    }
}

pairs! {
    /// A binlog is downloaded as it is.
    fn mysqlbinlog_reads_from_the_remote_server(pair) {
        pair.source.sql("FLUSH BINARY LOGS");
        let database = pair.database();
        pair.write(&database, 1, 9);
        let log = pair.source.sql(match pair.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => "SHOW MASTER STATUS",
            Flavour::MySql => "SHOW BINARY LOG STATUS",
        });
        let name = log.split_whitespace().next().expect("a file").to_owned();
        pair.source.sql("FLUSH BINARY LOGS");
        for script in ["h.passthrough()", "h.passthrough(h.trace(''))"] {
            let dpm = pair.dpm(script);
            let folder = process::folder("binlogs");
            let remote = match pair.flavour() {
                Flavour::MariaDb | Flavour::MariaDb11 => "--read-from-remote-server",
                Flavour::MySql => "--read-from-remote-source=BINLOG-DUMP-GTIDS",
            };
            Cli::login(pair.flavour(), "mysqlbinlog", dpm.port())
                .args([remote, "--raw", &name])
                .arg(format!("--result-file={}/", folder.display()))
                .ok();
            let got = std::fs::read(folder.join(&name)).expect("the binlog");
            let is = std::fs::read(pair.source.folder().join("data").join(&name)).expect("it");
            assert!(got.len() > 27 << 20);
            // The flag that says the file is in use is set in one of them.
            let differing: Vec<usize> = (0..got.len().max(is.len()))
                .filter(|&at| got.get(at) != is.get(at))
                .collect();
            assert!(differing.len() < 10, "{} bytes differ", differing.len());
            // And as text, which ends with the file.
            let text = Cli::login(pair.flavour(), "mysqlbinlog", dpm.port())
                .args(["--read-from-remote-server", "--to-last-log", &name])
                .ok();
            assert!(text.contains("made1"), "the statements are there");
            dpm.assert_no_errors();
        }
    }
}

pairs! {
    /// Each leg compressed by itself, and both; also where acknowledgements go to a compressed MariaDB.
    fn compressed_streams(pair) {
        let compress = |kind: &str| {
            pair.replicate("STOP");
            pair.replica.sql(&match pair.flavour() {
                Flavour::MariaDb | Flavour::MariaDb11 => {
                    format!("SET GLOBAL slave_compressed_protocol = {}", kind != "uncompressed")
                }
                Flavour::MySql => format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_COMPRESSION_ALGORITHMS = '{kind}'"
                ),
            });
        };
        let (source, replica) = match pair.flavour() {
            Flavour::MariaDb | Flavour::MariaDb11 => ("rpl_semi_sync_master", "rpl_semi_sync_slave"),
            Flavour::MySql => ("rpl_semi_sync_source", "rpl_semi_sync_replica"),
        };
        let semi_sync = |on: usize| {
            pair.replica.sql(&format!("SET GLOBAL {replica}_enabled = {on}"));
            pair.source.sql(&format!(
                "SET GLOBAL {source}_enabled = {on}; SET GLOBAL {source}_timeout = 20000"
            ));
        };
        let zstd = match pair.flavour() {
            Flavour::MySql => "zstd",
            _ => "zlib",
        };
        let database = pair.database();
        for (round, (kind, towards, acknowledged)) in [
            ("zlib", "false", 0),
            ("uncompressed", "'zlib'", 0),
            (zstd, "{ 'zstd', 'zlib' }", 0),
            ("uncompressed", "'zlib'", 1),
        ]
        .into_iter()
        .filter(|(_, _, acknowledged)| *acknowledged == 0 || pair.flavour() != Flavour::MySql)
        .enumerate()
        {
            let dpm = pair.dpm(&format!("local h, connect = require('harness'), dpm.connect
                dpm.connect = function(host, port)
                  local s = connect(host, port, {{ compression = {towards} }})
                  s:register(dpm.MYS_WAIT_CMD, function(_, _, conn)
                    local c = h.pairs[conn:remote_id()][1]
                    print('legs ' .. tostring(c:compression()) .. ' ' .. tostring(conn:compression()))
                  end)
                  return s
                end
                h.passthrough()"));
            dpm.port();
            compress(kind);
            semi_sync(acknowledged);
            pair.replicate("START");
            pair.write(&database, 10 * round as u32 + 1, 17);
            for n in 0..40 * acknowledged {
                pair.source.sql(&format!("INSERT INTO {database}.loaded VALUES ({n}, 'x')"));
            }
            pair.equal(&database);
            assert!(pair.is_following(), "{}", pair.status());
            let kind = kind.replace("uncompressed", "nil");
            dpm.line(&format!("legs {kind} "));
            dpm.assert_no_errors();
            assert_eq!(dpm.count("closing"), 0);
        }
        compress("uncompressed");
        semi_sync(0);
    }
}
