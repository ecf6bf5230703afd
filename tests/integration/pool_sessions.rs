//! Sessions of pooled clients, written down and gone on with: in the same pool, as another program would, and
//! in another pool.

use mysql::Conn;
use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps};
use crate::support::{Dpm, Server, all, connect_as, eventually};

/// Two pools of one connection each, and a port for Lua: "ann" logs in to the first.
struct Pools {
    dpm: Dpm,
    admin: Wire,
    steals: u32,
}

impl Pools {
    fn new(server: &Server) -> Pools {
        server.sql(
            "CREATE USER IF NOT EXISTS pooled@'%' IDENTIFIED BY 'b'; GRANT ALL ON *.* TO pooled@'%'",
        );
        let dpm = Launch::script(
            "local dpml, harness = require 'dpml', require 'harness'
             harness.admin()
             local function new(listener)
               return dpml.pool(listener, {
                 servers = { { host = '127.0.0.1', port = tonumber(arg[1]) } },
                 users = { ann = { password = 'p' }, bob = { password = 'p' } },
                 backend = { user = 'pooled', password = 'b' }, size = 1 })
             end
             local other = dpm.listener('127.0.0.1', 0)
             print('other ' .. other:socket_port())
             one, two = new(harness.listen(function() end)), new(other)
             local logins = require 'dpml.logins'
             -- The client of a pool, or its last one.
             function client_of(pool, user)
               local found
               for _, each in ipairs(pool:status('clients')) do
                 if each.user == user then found = logins.client(each.client) end
               end
               return found
             end
             -- Writes the session of a user's client down, and keeps it; says why if there is none.
             function write_down(pool, user)
               dpml.spawn(function()
                 local why
                 session, why = pool:session(client_of(pool, user))
                 print('session ' .. (session and 'written' or why))
               end)
             end
             function go_on(pool, client)
               dpml.spawn(function()
                 local done, why = pool:adopt(client, session)
                 print('adopted ' .. (done and 'yes' or why))
               end)
             end",
        )
        .arg(server.port)
        .start();
        let port = dpm
            .line("admin ")
            .trim_start_matches("admin ")
            .parse()
            .unwrap();
        Pools {
            dpm,
            admin: Wire::login(port, caps::BASE),
            steals: 0,
        }
    }

    fn lua(&mut self, chunk: &str, wanted: &str) {
        let answer = self.admin.query(chunk);
        assert!(matches!(answer, Answer::Ok(_)), "{answer:?}");
        self.dpm.line(wanted);
    }

    fn connect(&self, user: &str) -> Conn {
        connect_as(self.dpm.port(), user, "p").unwrap()
    }

    /// Another client gets the connection of the first pool, and leaves other things there.
    fn steal(&mut self) {
        let mut other = self.connect("bob");
        self.steals += 1;
        other
            .query_drop("SET time_zone = '-03:00', sql_mode = 'ANSI_QUOTES', last_insert_id = 99")
            .unwrap();
        other.query_drop("USE information_schema").unwrap();
    }
}

/// A client that has set, prepared and inserted something, and whose last statement has a warning.
fn settle(client: &mut Conn, table: &str) -> mysql::Statement {
    client.query_drop("USE test").unwrap();
    client
        .query_drop(format!("DROP TABLE IF EXISTS {table}"))
        .unwrap();
    client
        .query_drop(format!(
            "CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, a INT)"
        ))
        .unwrap();
    client
        .query_drop("SET time_zone = '+05:00', sql_mode = '', session_track_schema = 0")
        .unwrap();
    let statement = client
        .prep(format!(
            "SELECT ?, COUNT(*), @@time_zone, DATABASE() FROM {table}"
        ))
        .unwrap();
    client
        .query_drop(format!("INSERT INTO {table} VALUES (41, 1)"))
        .unwrap();
    client
        .query_drop(format!("INSERT INTO {table} (a) VALUES (2), ('x')"))
        .unwrap();
    statement
}

/// It sees all of that.
#[track_caller]
fn is_as_before(client: &mut Conn, statement: &mysql::Statement) {
    let warnings: Vec<(String, u16, String)> = client.query("SHOW WARNINGS").unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].1, 1366);
    let row: (u64, String, String, String) = client
        .query_first("SELECT LAST_INSERT_ID(), @@time_zone, @@sql_mode, DATABASE()")
        .unwrap()
        .unwrap();
    assert_eq!(row, (42, "+05:00".into(), "".into(), "test".into()));
    let tracks: Option<u8> = client.query_first("SELECT @@session_track_schema").unwrap();
    assert_eq!(tracks, Some(0));
    let row: (u32, u32, String, String) = client.exec_first(statement, (7,)).unwrap().unwrap();
    assert_eq!(row, (7, 3, "+05:00".into(), "test".into()));
}

all! {
    /// A session is written down, its client is forgotten, and goes on with what was written.
    fn a_session_is_gone_on_with(server) {
        let mut pools = Pools::new(server);
        let mut ann = pools.connect("ann");
        let statement = settle(&mut ann, "written_down");
        pools.lua("write_down(one, 'ann')", "session written");
        pools.steal();
        pools.lua("go_on(one, client_of(one, 'ann'))", "adopted yes");
        pools.steal();
        is_as_before(&mut ann, &statement);
    }
}

all! {
    /// A client goes on in another pool, with another connection.
    fn a_client_changes_its_pool(server) {
        let mut pools = Pools::new(server);
        let mut ann = pools.connect("ann");
        let statement = settle(&mut ann, "changed_pool");
        pools.lua("write_down(one, 'ann')", "session written");
        pools.lua("go_on(two, client_of(one, 'ann'))", "adopted yes");
        is_as_before(&mut ann, &statement);
        pools.lua("print('clients', #one:status('clients'), #two:status('clients'))", "clients\t0\t1");
        drop(ann);
        eventually("nobody is left", || {
            pools.admin.query("print('left', #two:status('clients'))");
            pools.dpm.wrote("left\t0")
        });
    }
}

all! {
    /// Another client's connection goes on with a session, as that of a client would that was handed over.
    fn another_connection_goes_on(server) {
        let mut pools = Pools::new(server);
        let mut ann = pools.connect("ann");
        ann.query_drop("SET time_zone = '+05:00'").unwrap();
        ann.query_drop("SET last_insert_id = 7").unwrap();
        pools.lua("write_down(one, 'ann')", "session written");
        drop(ann);
        let mut again = pools.connect("ann");
        pools.lua("go_on(one, client_of(one, 'ann'))", "adopted yes");
        let row: Option<(String, u64)> = again.query_first("SELECT @@time_zone, LAST_INSERT_ID()").unwrap();
        assert_eq!(row, Some(("+05:00".into(), 7)));
        // A reset leads back to the login's session, which was that of the first.
        again.reset().unwrap();
        let row: Option<(String, u64)> = again.query_first("SELECT @@time_zone, LAST_INSERT_ID()").unwrap();
        assert_eq!(row.map(|row| row.1), Some(0));
        let bob = pools.connect("bob");
        pools.lua("go_on(one, client_of(one, 'bob'))", "adopted it is the session of another user");
        drop(bob);
        pools.lua("session = 'dpm-session\\255' .. session:sub(13)", "");
        pools.lua("go_on(one, client_of(one, 'ann'))", "adopted this session was written by a newer program");
    }
}

all! {
    /// Whoever is held cannot move, and is told why; nor can anybody who waits for an answer.
    fn who_is_held_stays(server) {
        let mut pools = Pools::new(server);
        let mut ann = pools.connect("ann");
        ann.query_drop("CREATE TEMPORARY TABLE test.held_here (a INT)").unwrap();
        pools.lua("write_down(one, 'ann')", "session temporary-table: shared again after DROP TEMPORARY TABLE");
        ann.query_drop("INSERT INTO test.held_here VALUES (1)").unwrap();
        let mut bob = Wire::login_as(pools.dpm.port(), "bob", "p", caps::BASE);
        bob.command(3, b"SELECT 1");
        eventually("bob waits", || {
            pools.admin.query(
                "local waiting = 0
                 for _, each in ipairs(one:status('pools')) do waiting = waiting + each.waiting end
                 print('waiting', waiting)",
            );
            pools.dpm.wrote("waiting\t1")
        });
        pools.lua("write_down(one, 'bob')", "session a command of the client's waits or is being executed");
        ann.query_drop("DROP TEMPORARY TABLE test.held_here").unwrap();
        assert!(matches!(bob.answer(), Answer::Rows { .. }));
        pools.lua("write_down(one, 'ann')", "session written");
    }
}
