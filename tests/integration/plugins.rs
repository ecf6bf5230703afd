//! Plug-ins: what they see, where they can be used, and the addresses of their servers.

use std::fmt::Write as _;

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::wire::{self, Answer, MockServer, Wire, caps, com};
use crate::support::{
    Cli, Dpm, Flavour, PASSWORD, USER, both, connect_as, eventually, mariadb, options, process,
};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// A passthrough whose plug-in is this Lua expression.
fn through(plugin: &str, server: &crate::support::Server) -> Dpm {
    Dpm::start(
        &format!(
            "local dpml = require 'dpml'
             local listener = require('harness').listen(function() end)
             dpml.passthrough_new_clients(listener, {plugin}, {{ arg[1], tonumber(arg[2]) }})"
        ),
        server,
    )
}

/// A plug-in that prints what it sees, with its name.
const SHOWS: &str = "(function(name)
    return {
      new_client = function(client, server) print(name, 'client', client:remote_id() == server:id()) end,
      new_command = function(cmd) print(name, 'command', cmd:argument()) end,
      new_result = function(rset) print(name, 'result', rset:field_count()) end,
      new_field = function(field) print(name, 'field', (field:name())) end,
      new_row = function(row, _, _, rset) print(name, 'row', unpack((rset:parse_row_array(row)))) end,
      finished_result = function(packet) print(name, 'end', packet:warning_count()) end,
      failed_command = function(err) print(name, 'error', err:errnum()) end,
      finished_command = function(id, client) print(name, 'finished', id == client:id()) end,
      closing = function(id, client) print(name, 'closing', id == client:id()) end,
    }
  end)";

fn told(dpm: &Dpm) -> Vec<String> {
    dpm.lines("")
        .into_iter()
        .filter(|line| line.starts_with("a\t") || line.starts_with("b\t"))
        .collect()
}

both! {
    fn a_plugin_sees_commands_and_results(server) {
        let dpm = through(&format!("{SHOWS}('a')"), server);
        let mut wire = Wire::login_empty(dpm.port(), MODERN);
        assert_eq!(wire.rows("SELECT 1 AS x, 'y' AS y"), [["1", "y"]]);
        assert!(matches!(wire.query("DO 1"), Answer::Ok(_)));
        assert!(matches!(wire.query("SELEKT"), Answer::Err(1064, ..)));
        drop(wire);
        dpm.wait_until_idle();
        assert_eq!(told(&dpm), [
            "a\tclient\ttrue",
            "a\tcommand\tSELECT 1 AS x, 'y' AS y", "a\tresult\t2", "a\tfield\tx", "a\tfield\ty",
            "a\trow\t1\ty", "a\tend\t0", "a\tfinished\ttrue",
            "a\tcommand\tDO 1", "a\tend\t0", "a\tfinished\ttrue",
            "a\tcommand\tSELEKT", "a\terror\t1064", "a\tfinished\ttrue",
            "a\tclosing\ttrue",
        ]);
        dpm.assert_no_errors();
    }
}

both! {
    fn links_see_everything_in_their_order(server) {
        let dpm = through(
            &format!(
                "dpml.chain {{
                   {SHOWS}('a'),
                   {{ new_command = function(cmd, id, client)
                        if cmd:argument() == 'mine' then
                          dpml.send_ok(client)
                          return dpm.DPM_NOPROXY
                        elseif cmd:argument() == 'other' then
                          cmd:argument('SELECT 5 AS five')
                          return cmd
                        end
                      end,
                      -- Two rows in the place of one, and one at the end.
                      new_row = function(row, _, _, rset)
                        local values = rset:parse_row_array(row)
                        if values[1] ~= '5' then return end
                        local six = dpm.new_row_pkt()
                        rset:pack_row(six, {{ 6 }})
                        return row, six
                      end,
                      -- No error of this number gets by.
                      failed_command = function(err, _, client)
                        if err:errnum() == 1064 then
                          err:errnum(1065)
                          err:message('rewritten')
                          return err
                        end
                      end }},
                   function(client, server)
                     local mine, rows = client:id(), 0
                     return {{
                       new_row = function(row, client_id, _, rset)
                         assert(client_id == mine)
                         rows = rows + 1
                         print('c', 'row', rows, rset:parse_row_array(row)[1])
                         if rset:parse_row_array(row)[1] == '7' then return dpm.DPM_NOPROXY end
                       end,
                     }}
                   end,
                   {SHOWS}('b'),
                 }}"
            ),
            server,
        );
        let mut wire = Wire::login_empty(dpm.port(), MODERN);
        assert_eq!(wire.rows("other"), [["5"], ["6"]]);
        assert!(matches!(wire.query("mine"), Answer::Ok(_)));
        assert!(wire.rows("SELECT 7").is_empty());
        assert!(matches!(wire.query("SELEKT"), Answer::Err(1065, ..)));
        let mut second = Wire::login_empty(dpm.port(), MODERN);
        assert_eq!(second.rows("SELECT 8"), [["8"]]);
        drop((wire, second));
        dpm.wait_until_idle();
        let mut seen = String::new();
        for line in dpm.lines("") {
            if ["a\tcommand", "b\tcommand", "a\trow", "b\trow", "c\trow", "b\terror"].iter().any(|p| line.starts_with(p)) {
                writeln!(seen, "{line}").unwrap();
            }
        }
        assert_eq!(seen, "\
            a\tcommand\tother\nb\tcommand\tSELECT 5 AS five\n\
            a\trow\t5\nc\trow\t1\t5\nc\trow\t2\t6\nb\trow\t5\nb\trow\t6\n\
            a\tcommand\tmine\n\
            a\tcommand\tSELECT 7\nb\tcommand\tSELECT 7\na\trow\t7\nc\trow\t3\t7\n\
            a\tcommand\tSELEKT\nb\tcommand\tSELEKT\nb\terror\t1065\n\
            a\tcommand\tSELECT 8\nb\tcommand\tSELECT 8\na\trow\t8\nc\trow\t1\t8\nb\trow\t8\n");
        dpm.assert_no_errors();
    }
}

both! {
    /// It learns who has logged in, alone and in a chain; and it can have methods.
    fn an_object_may_be_a_plugin(server) {
        let script = format!("
            local dpml = require 'dpml'
            local function listen() return dpm.listener('127.0.0.1', 0) end
            local Counter = {{}}
            Counter.__index = Counter
            function Counter:for_client(client, server)
              assert(client:remote_id() == 0 or client:remote_id() == server:id())
              return {{
                logged_in = function(auth, client_id, its_client)
                  assert(client_id == client:id() and its_client == client)
                  print(self.name .. ' let in ' .. auth:user())
                end,
                new_command = function() self.count = self.count + 1 print(self.name .. ' counts ' .. self:total()) end,
              }}
            end
            function Counter:total() return self.count end
            local counter = setmetatable({{ name = 'it', count = 0 }}, Counter)
            local link = setmetatable({{ name = 'link', count = 0 }}, Counter)
            local both = dpml.chain {{ counter, link }}
            listeners = {{ listen(), listen(), listen() }}
            dpml.passthrough_new_clients(listeners[1], counter, {{ arg[1], tonumber(arg[2]) }})
            dpml.proxy_new_clients(listeners[2], both, {{
              users = {{ ann = {{ password = 'secret' }} }},
              backend = {{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}' }},
            }})
            print(pcall(dpml.passthrough_new_clients, listeners[3], {{ for_client = 5 }}, {{ 'x' }}))
            print('ports', listeners[1]:socket_port(), listeners[2]:socket_port())");
        let dpm = Dpm::start(&script, server);
        let ports: Vec<u16> =
            dpm.line("ports\t").split('\t').skip(1).map(|port| port.parse().unwrap()).collect();
        dpm.line("dpml.passthrough_new_clients: for_client: expected a function, got number");
        let mut wire = Wire::login_empty(ports[0], MODERN);
        dpm.line("it let in ");
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        dpm.line("it counts 1");
        let refused = connect_as(ports[0], USER, "wrong").unwrap_err().to_string();
        assert!(refused.contains("1045"), "{refused}");
        let mut wire = Wire::login_as(ports[1], "ann", "secret", MODERN);
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        dpm.line("link counts 1");
        assert_eq!(dpm.lines("it counts ").len(), 2);
        assert_eq!(dpm.count("let in ann"), 2, "both links are told");
        assert_eq!(dpm.count(&format!("let in {USER}")), 0);
        dpm.assert_no_errors();
    }
}

/// How many rows a COM_STMT_FETCH brings.
fn fetch(wire: &mut Wire, id: u32, rows: u32) -> usize {
    let argument = [id.to_le_bytes(), rows.to_le_bytes()].concat();
    wire.exchange(com::STMT_FETCH, &argument).len() - 1
}

/// Prints each row, by its columns' names, and what was prepared.
const NAMES: &str = "{
    new_statement = function(prepared, _, client)
      print('statement ' .. prepared:columns() .. ' ' .. client:my_type())
    end,
    new_row = function(row, _, _, rset)
      local values = {}
      for name, value in pairs(rset:parse_row_table(row)) do values[#values + 1] = name .. '=' .. value end
      table.sort(values)
      print('row ' .. table.concat(values, ' '))
    end,
  }";

both! {
    /// The answer to a fetch has no columns: they are those of the execute that has opened the cursor.
    fn rows_of_cursors_have_their_own_resultset(server) {
        let base = server.database();
        server.sql(&format!(
            "CREATE TABLE {base}.t (a INT, b VARCHAR(9)); INSERT INTO {base}.t VALUES (1, 'x'), (2, 'y'), (3, 'z')"));
        for (plugin, shape) in [
            (NAMES.to_owned(), MODERN),
            (NAMES.to_owned(), caps::BASE | caps::MULTI),
            (format!("dpml.chain {{ {{}}, {NAMES}, {{ new_row = function() end }} }}"), MODERN),
        ] {
            let dpm = through(&plugin, server);
            let mut wire = Wire::login_empty(dpm.port(), shape);
            wire.exchange(com::INIT_DB, base.as_bytes());
            let numbers = wire.prepare("SELECT a AS n FROM t ORDER BY a");
            let both = wire.prepare("SELECT b AS text, a FROM t ORDER BY a");
            wire.exchange(com::STMT_EXECUTE, &execute_argument(numbers, 1, &[]));
            wire.exchange(com::STMT_EXECUTE, &execute_argument(both, 1, &[]));
            assert_eq!(fetch(&mut wire, numbers, 1), 1);
            assert_eq!(fetch(&mut wire, both, 2), 2);
            assert_eq!(wire.rows("SELECT 7 AS seven"), [["7"]]);
            assert_eq!(fetch(&mut wire, numbers, 5), 2);
            // One is closed, and one executed again.
            wire.exchange(com::STMT_CLOSE, &numbers.to_le_bytes());
            wire.exchange(com::STMT_EXECUTE, &execute_argument(both, 1, &[]));
            assert_eq!(fetch(&mut wire, both, 1), 1);
            let plain = wire.prepare("SELECT a AS p FROM t WHERE a > ?");
            wire.exchange(com::STMT_EXECUTE, &execute_argument(plain, 0, &[Some(b"2")]));
            assert_eq!(fetch(&mut wire, both, 5), 2);
            drop(wire);
            dpm.wait_until_idle();
            dpm.assert_no_errors();
            assert_eq!(dpm.lines("row "), [
                "n=1", "a=1 text=x", "a=2 text=y", "seven=7", "n=2", "n=3",
                "a=1 text=x", "p=3", "a=2 text=y", "a=3 text=z",
            ]);
            assert_eq!(dpm.lines("statement ").len(), 3);
        }
    }
}

/// Beyond the limit of cursors the rows come at once.
#[test]
fn cursors_are_kept_within_a_limit() {
    let server = mariadb();
    let dpm = through(NAMES, server);
    let mut wire = Wire::login_empty(dpm.port(), MODERN);
    let columns = vec!["1"; 4000].join(",");
    let mut open = |n: usize| -> u32 {
        let id = wire.prepare(&format!("SELECT {columns} FROM (SELECT {n}) AS one"));
        wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 1, &[]));
        id
    };
    let opened: Vec<u32> = (0..5).map(&mut open).collect();
    assert!(dpm.lines("row ").is_empty(), "they wait to be fetched");
    let last = open(5);
    dpm.line("row ");
    wire.command(com::STMT_CLOSE, &opened[0].to_le_bytes());
    for id in [last, opened[1]] {
        wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 1, &[]));
    }
    assert_eq!(dpm.lines("row ").len(), 1, "there is room again");
    assert_eq!(fetch(&mut wire, last, 5), 1);
    eventually("its row", || dpm.lines("row ").len() == 2);
    dpm.assert_no_errors();
}

both! {
    /// A script's own function for a state and those of several plug-ins do not take it from each other.
    fn a_state_has_room_for_all(server) {
        let dpm = through(
            "dpml.chain {
               { new_statement = function() print('a', 'statement') end,
                 new_row = function(_, _, _, rset) print('a', 'row', rset:field_count()) end,
                 new_command = function() print('a', 'command') end,
                 closing = function() print('a', 'closing') end },
               { new_statement = function() print('b', 'statement') end,
                 new_client = function(client, server)
                   server:register(dpm.MYS_STMT_PREPARED, function() print('a', 'own statement') end)
                   server:register(dpm.MYS_SENDING_ROWS, function() print('a', 'own row') end)
                   server:listen(dpm.MYS_STMT_PREPARED, function() print('a', 'third statement') end)
                   client:register(dpm.MYC_SENT_CMD, function() print('a', 'own command') end)
                   client:register(dpm.MY_CLOSING, function() print('a', 'own closing') end)
                 end },
             }",
            server,
        );
        let mut wire = Wire::login_empty(dpm.port(), MODERN);
        let id = wire.prepare("SELECT 1, 2");
        wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[]));
        drop(wire);
        dpm.wait_until_idle();
        assert_eq!(told(&dpm), [
            "a\town command", "a\tcommand",
            "a\town statement", "a\tthird statement", "a\tstatement", "b\tstatement",
            "a\town command", "a\tcommand", "a\town row", "a\trow\t2",
            "a\town closing", "a\tclosing",
        ]);
        dpm.assert_no_errors();
    }
}

/// What Lua keeps of a client that sits idle. (benches/memory.sh measures the whole process.)
#[test]
fn idle_clients_of_a_plugin_share_its_functions() {
    const CALLBACKS: &str =
        "{ new_command = f, new_result = f, finished_result = f, failed_command = f,
        finished_command = f, closing = f }";
    for plugin in [
        "{}",
        CALLBACKS,
        &format!("dpml.chain {{ {CALLBACKS}, {CALLBACKS} }}"),
    ] {
        let mock = MockServer::new();
        let dpm = Launch::script(&format!(
            "local dpml = require 'dpml'
             local function f() end
             dpml.passthrough_new_clients(require('harness').listen(function() end), {plugin}, {{ '127.0.0.1', tonumber(arg[1]) }})
             dpm.on_signal('HUP', function()
               collectgarbage() collectgarbage()
               print('kept ' .. dpm.stats().lua_memory)
             end)"
        ))
        .arg(mock.port)
        .start();
        let (port, mut ends) = (dpm.port(), Vec::new());
        let mut kept = |clients: usize| -> f64 {
            while ends.len() < 2 * clients {
                std::thread::scope(|scope| {
                    let client = scope.spawn(|| Wire::login_empty(port, MODERN));
                    ends.push(mock.accept_login(MODERN));
                    ends.push(client.join().unwrap());
                });
            }
            let before = dpm.lines("kept ").len();
            dpm.signal("HUP");
            eventually("memory is told", || dpm.lines("kept ").len() > before);
            dpm.lines("kept ")[before].parse().unwrap()
        };
        let few = kept(50);
        let each = (kept(250) - few) / 200.0;
        assert!(each < 600.0, "{plugin}: {each} bytes a client");
    }
}

#[test]
fn what_no_plugin_asks_for_does_not_enter_lua() {
    let dpm = through(
        "dpml.chain { { new_command = function() end }, { closing = function() end } }",
        mariadb(),
    );
    let mut wire = Wire::login_empty(dpm.port(), MODERN);
    let before = dpm.stat("callbacks");
    let rows = wire.rows("SELECT 1 FROM information_schema.collations");
    assert!(rows.len() > 100);
    assert!(dpm.stat("callbacks") - before < 5.0, "one for the command");
}

both! {
    fn several_servers_are_tried_in_turn(server) {
        let full = MockServer::new();
        let script = "
            local dpml = require 'dpml'
            local function nowhere() return { '127.0.0.1', 1 } end
            local list = { nowhere(), { '127.0.0.1', tonumber(arg[3]) }, { arg[1], tonumber(arg[2]) } }
            local listener = require('harness').listen(function() end)
            dpml.passthrough_new_clients(listener, {
              new_client = function(client, server) print('new', server:socket_port()) end,
              closing = function() print('closing') end,
            }, function(client)
              if not tried then tried = true return list end
              return { nowhere(), { '/nowhere/socket' } }
            end)";
        let dpm = Launch::script(script).server(server).arg(full.port).start();
        let port = dpm.port();
        std::thread::scope(|scope| {
            // The second has no room: an error in the place of its greeting.
            scope.spawn(|| full.accept().write(&wire::err(1040, "08004", "Too many connections")));
            let mut wire = Wire::login_empty(port, MODERN);
            assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        });
        dpm.line(&format!("new\t{}", server.port));
        dpm.line("closing");
        let refused = connect_as(port, USER, PASSWORD).unwrap_err().to_string();
        assert!(refused.contains("ERROR 1105 (08S01): Can't connect to MySQL server on '/nowhere/socket' (No such file"), "{refused}");
        dpm.wait_until_idle();
        assert_eq!(dpm.lines("closing").len(), 1);
        dpm.assert_no_errors();
    }
}

#[test]
fn a_client_that_does_not_wait_for_its_server() {
    let slow = MockServer::new();
    let dpm = Launch::script(
        "local listener = require('harness').listen(function() end)
         require('dpml').passthrough_new_clients(listener, { closing = function() print('closing') end },
           { '127.0.0.1', tonumber(arg[1]) })",
    )
    .arg(slow.port)
    .start();
    let client = Wire::connect(dpm.port());
    let mut server = slow.accept();
    drop(client);
    assert!(server.closed());
    dpm.wait_until_idle();
    assert!(dpm.lines("closing").is_empty());
    // The client gets errors that the server sends before, or instead of, its handshake.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = slow.accept();
            server.write(&wire::err(1129, "HY000", "Host is blocked"));
        });
        let refused = connect_as(dpm.port(), USER, PASSWORD)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("1129"), "{refused}");
        assert!(refused.contains("Host is blocked"), "{refused}");
    });
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}

both! {
    /// Columns of a prepare, and of COM_FIELD_LIST, are not shown.
    fn columns_are_those_of_results(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (a INT, b INT); INSERT INTO {base}.t VALUES (1, 2)"));
        for more in ["", ", new_row = function(row, _, _, rset) print('row ' .. rset:parse_row_table(row).b) end"] {
            let dpm = through(
                &format!("{{ new_field = function(field) print('field ' .. field:name()) end {more} }}"), server);
            let mut wire = Wire::login_empty(dpm.port(), MODERN);
            wire.exchange(com::INIT_DB, base.as_bytes());
            for _ in 0..2 {
                let id = wire.prepare("SELECT a, b FROM t WHERE a = ?");
                wire.exchange(com::FIELD_LIST, b"t\0");
                let argument = execute_argument(id, 0, &[Some(b"1")]);
                wire.exchange(com::STMT_EXECUTE, &argument);
                assert_eq!(wire.rows("SELECT b FROM t"), [["2"]]);
            }
            drop(wire);
            dpm.wait_until_idle();
            dpm.assert_no_errors();
            assert_eq!(dpm.lines("field "), ["a", "b", "b", "a", "b", "b"]);
            assert_eq!(dpm.lines("row ").len(), if more.is_empty() { 0 } else { 4 });
        }
    }
}

both! {
    fn clients_log_in_at_the_proxy(server) {
        let script = format!("
            local dpml = require 'dpml'
            local listener = require('harness').listen(function() end, {{ tls = true }})
            local here = {{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}' }}
            dpml.proxy_new_clients(listener, {{
              new_client = function(client, server, auth)
                print('new', client:remote_id() == server:id())
                print('user ' .. auth:user())
              end,
              new_command = function(cmd)
                if cmd:argument() == 'hello' then
                  cmd:argument('SELECT CURRENT_USER()')
                  return cmd
                end
              end,
              new_row = function(row, _, _, rset) print('row', rset:parse_row_array(row)[1]) end,
              finished_command = function() print('finished') end,
              closing = function() print('closing') end,
            }}, {{
              users = {{ ann = {{ password = 'ann' }}, bob = {{ password = 'bob' }}, eve = {{ password = 'eve' }}, zoe = {{ password = 'zoe' }} }},
              backend = function(client, auth)
                if auth:user() == 'ann' then return here end
                if auth:user() == 'bob' then return {{ {{ host = '127.0.0.1', port = 1, user = 'x' }}, here }} end
                if auth:user() == 'zoe' then return {{ host = '127.0.0.1', port = 1 }} end
              end,
            }})");
        let dpm = Dpm::start(&script, server);
        let port = dpm.port();
        let mut conn = mysql::Conn::new(options(port).user(Some("ann")).pass(Some("ann")).db_name(Some("test"))).unwrap();
        assert_eq!(conn.query_first("hello").unwrap(), Some(format!("{USER}@%")));
        assert_eq!(conn.query_first("SELECT DATABASE()").unwrap(), Some("test".to_owned()));
        assert_eq!(conn.exec_first("SELECT ? + 1", (2,)).unwrap(), Some(3));
        let id: u64 = conn.query_first("SELECT CONNECTION_ID()").unwrap().unwrap();
        conn.change_user(mysql::ChangeUserOpts::new().with_user(Some("bob".into())).with_pass(Some("bob".into()))).unwrap();
        assert_ne!(conn.query_first("SELECT CONNECTION_ID()").unwrap(), Some(id), "a server of its own");
        drop(conn);
        dpm.wait_until_idle();
        assert_eq!((dpm.lines("new\ttrue").len(), dpm.lines("closing").len()), (2, 2));
        assert_eq!(dpm.lines("user "), ["ann", "bob"]);
        // The server's death is the end of the pair, too; and MariaDB's clients take no number of their own.
        let mut conn = connect_as(port, "ann", "ann").unwrap();
        assert!(conn.query_drop("KILL CONNECTION_ID()").is_err());
        eventually("the plug-in is told", || dpm.lines("closing").len() == 3);
        drop(conn);
        let said = Cli::client(Flavour::MariaDb, port).args(["-uzoe", "-pzoe", "-e", "DO 0"]).run();
        assert!(said.err().contains("ERROR 1105 (08S01): Can't connect"), "{}", said.err());
        for (user, password, said) in [
            ("ann", "wrong", "ERROR 1045 (28000)"),
            ("eve", "eve", "There is no server for this user"),
            ("zoe", "zoe", "ERROR 1105 (08S01): Can't connect to server on '127.0.0.1:1'"),
        ] {
            let refused = connect_as(port, user, password).unwrap_err().to_string();
            assert!(refused.contains(said), "{user}: {refused}");
        }
        dpm.wait_until_idle();
        dpm.assert_no_errors();
    }
}

#[test]
fn a_file_is_read_again_when_it_changes() {
    let folder = process::folder("reload");
    let file = folder.join("plugin.lua");
    let version = |n: u32| {
        format!(
            "local version = {n}
             return {{
               new_command = function(cmd, id, client)
                 if cmd:argument() ~= 'version' then return end
                 dpml.send_resultset(client, {{ fields = {{ 'v' }}, rows = {{ {{ version }} }} }})
                 return dpm.DPM_NOPROXY
               end,
               selftest = function() assert(version ~= 4, 'four is unlucky') end,
             }}"
        )
    };
    std::fs::write(&file, version(1)).unwrap();
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         dpm.on_signal('HUP', function() print('the script hears of HUP, too') end)
         local listener = require('harness').listen(function() end)
         dpml.passthrough_new_clients(listener, dpml.chain { dpml.reloadable(arg[3], 0.05) }, { arg[1], tonumber(arg[2]) })
         local slow = dpml.reloadable(arg[3], 3600)
         local other = dpm.listener('127.0.0.1', 0)
         dpml.passthrough_new_clients(other, slow, { arg[1], tonumber(arg[2]) })
         print('other ' .. other:socket_port())
         kept = other
         print(pcall(dpml.reloadable, arg[3] .. '.not'))",
    )
    .server(mariadb())
    .arg(file.display())
    .start();
    let port = dpm.port();
    dpm.line("false\t");
    let other: u16 = dpm
        .line("other ")
        .trim_start_matches("other ")
        .parse()
        .unwrap();
    let mut first = Wire::login_empty(port, MODERN);
    assert_eq!(first.rows("version"), [["1"]]);
    std::fs::write(&file, version(2)).unwrap();
    dpm.line("version 2 is in use");
    assert_eq!(
        first.rows("version"),
        [["1"]],
        "it keeps what it began with"
    );
    let mut second = Wire::login_empty(port, MODERN);
    assert_eq!(second.rows("version"), [["2"]]);
    // A file that does not compile, returns no plug-in, fails its selftest or is missing changes
    // nothing.
    for (content, why) in [
        (
            Some("return {".to_owned()),
            "unexpected symbol near '<eof>'",
        ),
        (
            Some("return 3".to_owned()),
            "expected a plug-in to be returned, got number",
        ),
        (Some(version(4)), "four is unlucky"),
        (Some("error('at load')".to_owned()), "at load"),
        (
            Some("return {}, function() return false end".to_owned()),
            "its selftest has failed",
        ),
        (None, "No such file"),
    ] {
        match content {
            Some(content) => std::fs::write(&file, content).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let line = dpm.line(why);
        dpm.line("cannot be used, and version 2 stays");
        let mut next = Wire::login_empty(port, MODERN);
        assert_eq!(next.rows("version"), [["2"]], "{line}");
    }
    std::fs::write(&file, version(5)).unwrap();
    dpm.line("version 3 is in use");
    let mut next = Wire::login_empty(port, MODERN);
    assert_eq!(next.rows("version"), [["5"]]);
    // HUP is for those that are not looked at yet.
    let mut late = Wire::login_empty(other, MODERN);
    assert_eq!(late.rows("version"), [["1"]]);
    dpm.signal("HUP");
    dpm.line("the script hears of HUP, too");
    let mut late = Wire::login_empty(other, MODERN);
    assert_eq!(late.rows("version"), [["5"]]);
    assert_eq!(first.rows("version"), [["1"]]);
}
