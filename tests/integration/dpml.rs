//! The Lua library.

use std::time::Duration;

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::wire::{self, Answer, MockServer, Wire, caps, com};
use crate::support::{
    Cli, Dpm, Flavour, PASSWORD, Server, USER, both, connect, connect_as, mariadb, options, process,
};

const PLAIN: u32 = caps::BASE | caps::MULTI;
const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// Runs a script that ends by itself, without a failed callback, and returns the lines that it
/// prints.
#[track_caller]
pub(super) fn run(script: &str, arguments: &[&str]) -> Vec<String> {
    let path = process::folder("dpml").join("start.lua");
    std::fs::write(&path, format!("local dpml = require 'dpml' {script}")).unwrap();
    let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
    command
        .arg("--startfile")
        .arg(path)
        .arg("--")
        .args(arguments)
        .env_remove("RUST_LOG");
    let done = process::run(command, Vec::new(), Duration::from_secs(20));
    assert_eq!(done.code, 0, "{}{}", done.out(), done.err());
    assert!(
        !done.err().contains("traceback"),
        "{}{}",
        done.out(),
        done.err()
    );
    done.out().lines().map(str::to_owned).collect()
}

/// Runs a script whose body has a logged-in `server`, which it must close.
#[track_caller]
fn with_server(body: &str) -> Vec<String> {
    let script = format!(
        "local function show(result)
           if not result then return 'nothing' end
           if not result.fields then
             return ('ok %d %s %s'):format(result.affected_rows, tostring(result.insert_id), result.message)
           end
           local lines = {{}}
           for i, field in ipairs(result.fields) do lines[i] = field.name end
           local all = {{ table.concat(lines, ',') }}
           for _, row in ipairs(result.rows) do
             local values = {{}}
             for i = 1, #result.fields do values[i] = tostring(row[i]) end
             all[#all + 1] = table.concat(values, ',')
           end
           return table.concat(all, ' | ')
         end
         local function body(server) {body} end
         dpml.connect_mysql_server {{
           host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}', db = 'test',
           callback = function(server, err) assert(server, err) body(server) end,
         }}"
    );
    run(&script, &["127.0.0.1", &mariadb().port.to_string()])
}

#[test]
fn a_query_is_answered_in_one_piece() {
    let base = mariadb().database();
    mariadb().sql(&format!(
        "USE {base}; CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20));
         DELIMITER //
         CREATE PROCEDURE p() BEGIN SELECT 1 AS one; SELECT 2 AS two, 3 AS three; DO 1; END //"
    ));
    let lines = with_server(&format!(
        "local queries = {{
           \"SELECT 1 AS a, NULL AS b, '' AS c, 'x' AS d UNION SELECT NULL, 2, NULL, NULL\",
           'SELECT 1 AS a FROM DUAL WHERE 0',
           \"INSERT INTO {base}.t (name) VALUES ('a'), ('b')\",
           'UPDATE {base}.t SET name = UPPER(name)',
           'SELECT * FROM nowhere.t',
           'SELECT id, name FROM {base}.t ORDER BY id',
         }}
         local at = 0
         local function next_query()
           at = at + 1
           if at > #queries then return dpm.close(server) end
           dpml.execute_query_buffered(server, queries[at], function(id, query, result, err)
             assert(id == server:id() and query == queries[at])
             print(err or show(result))
             next_query()
           end)
         end
         next_query()"
    ));
    assert_eq!(
        lines,
        [
            "a,b,c,d | 1,nil,,x | nil,2,nil,nil",
            "a",
            "ok 2 1 Records: 2  Duplicates: 0  Warnings: 0",
            "ok 2 0 Rows matched: 2  Changed: 2  Warnings: 0",
            "ERROR 1146 (42S02): Table 'nowhere.t' doesn't exist",
            "id,name | 1,A | 2,B",
        ]
    );
    let lines = with_server(&format!(
        "dpml.execute_query_buffered(server, 'CALL {base}.p()', function(_, _, result, err)
           assert(not err)
           while result do print(show(result)) result = result.next end
         end)
         dpml.execute_query_buffered(server, 'SELECT DATABASE() AS db', function(_, _, result)
           print(show(result), result.server_status, result.warning_count, result.fields[1].type)
           dpm.close(server)
         end)"
    ));
    assert_eq!(
        lines,
        [
            "one | 1",
            "two,three | 2,3",
            "ok 0 0 ",
            "db | test\t2\t0\t253"
        ]
    );
}

#[test]
fn queries_are_pipelined() {
    let lines = with_server(
        "local n = 0
         for i = 1, 200 do
           local sql = i % 7 == 0 and 'SELEKT ' .. i or 'SELECT ' .. i .. ' AS n'
           dpml.execute_query_buffered(server, sql, function(_, query, result, err)
             n = n + 1
             assert(query == sql and n == i)
             assert((err ~= nil) == (i % 7 == 0))
             if not err then assert(result.rows[1][1] == tostring(i)) end
             -- One more from inside of a callback goes to the end of the queue.
             if i == 1 then
               dpml.execute_query_buffered(server, 'SELECT 0', function()
                 print('last', n, server:package_register())
                 dpm.close(server)
               end)
             end
           end)
         end",
    );
    assert_eq!(lines, ["last\t200\tnil"]);
}

#[test]
fn a_callback_that_fails_harms_nobody_else() {
    let script = format!(
        "local dpml = require 'dpml'
         require('harness').listen(function() end)
         dpml.connect_mysql_server {{
           host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}',
           callback = function(s)
             server = s
             dpml.execute_query_buffered(s, 'SELECT 1', function() error('oops') end)
             dpml.execute_query_buffered(s, 'SELECT 2', function(_, _, result, err)
               print('second', err or result.rows[1][1])
             end)
           end,
         }}"
    );
    let dpm = Dpm::start(&script, mariadb());
    dpm.line("oops");
    // It gets its answer, or an error that the connection is gone.
    dpm.line("second\t");
}

#[test]
fn the_package_in_place_is_put_back() {
    let lines = with_server(
        "local mine = dpm.new_callback()
         server:package_register(mine)
         mine:register(dpm.MYS_WAIT_CMD, function()
           -- Another library, from inside of this one's callback.
           mine:register(dpm.MYS_WAIT_CMD, function() print('wrong') end)
           for i = 1, 3 do
             dpml.execute_query_buffered(server, 'SELECT ' .. i, function(_, _, result)
               print(result.rows[1][1], server:package_register() == mine)
               if i == 3 then
                 server:package_register(nil)
                 dpml.execute_query_buffered(server, 'DO 1', function()
                   print('none', server:package_register())
                   dpm.close(server)
                 end)
               end
             end)
           end
           return dpm.DPM_NOPROXY
         end)
         local cmd = dpm.new_cmd_pkt()
         cmd:command(dpm.COM_PING)
         dpm.wire_packet(server, cmd)",
    );
    assert_eq!(lines, ["1\tfalse", "2\tfalse", "3\ttrue", "none\tnil"]);
}

/// Logs in to a server of ours and asks three queries.
const THREE: &str = "local function told(_, query, result, err)
       print(query, err or 'fine', result and result.rows and #result.rows or 'nothing')
     end
     dpml.connect_mysql_server { host = '127.0.0.1', port = tonumber(arg[1]), user = 'u', callback = function(s, err)
       assert(s, err)
       server = s
       dpml.execute_query_buffered(s, 'first', told)
       dpml.execute_query_buffered(s, 'second', told)
       s:on_close(function()
         dpml.execute_query_buffered(s, 'third', told)
       end)
     end }";

/// Who takes a connection over need not be the first to give it back.
#[test]
fn takeovers_end_in_any_order() {
    let lines = run(
        "local takeover = require 'dpml.servers.takeover'
         local conn = dpm.listener('127.0.0.1', 0)
         local names = {}
         local function new(name)
           local package = dpm.new_callback()
           names[package] = name
           return package
         end
         local function there() return names[conn:package_register()] or 'nothing' end
         local function told(name) return function(id, closed) print(name, 'closed', id == closed:id()) end end
         local own = new('own')
         conn:package_register(own)
         local a = takeover.begin(conn, new('a'), told('a'))
         local b = takeover.begin(conn, new('b'), told('b'))
         print(there())
         a:give_back()
         print(there())
         local c = takeover.begin(conn, new('c'), told('c'))
         print(there())
         c:give_back()
         c:give_back()
         print(there())
         b:give_back()
         print(there())
         conn:package_register(nil)
         local d = takeover.begin(conn, new('d'), told('d'))
         local e = takeover.begin(conn, new('e'), told('e'))
         d:give_back()
         print(there())
         dpm.close(conn)
         e:give_back()",
        &[],
    );
    assert_eq!(lines, ["b", "b", "c", "b", "own", "e", "e\tclosed\ttrue"]);
}

#[test]
fn a_server_that_dies_is_told_to_every_query() {
    let mock = MockServer::new();
    let port = mock.port.to_string();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = mock.accept_login(PLAIN);
            assert_eq!(server.read_command(), (com::QUERY, b"first".to_vec()));
            server.seq = 1;
            server.write(&[1]);
            server.write(&wire::column("c"));
            server.write(&wire::eof(2));
            server.write(&wire::pack_row(&[Some(b"x")]));
        });
        let lines = run(THREE, &[&port]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines[0].starts_with("first\tERROR 2013 (HY000): Lost connection"),
            "{lines:?}"
        );
        assert!(
            lines[0].ends_with("\t1"),
            "what came before the error is told: {lines:?}"
        );
        assert!(lines[1].starts_with("second\tERROR 2013"), "{lines:?}");
        assert!(lines[2].starts_with("third\tERROR 2006"), "{lines:?}");
    });
}

#[test]
fn a_file_is_refused() {
    let lines = with_server(
        "dpml.execute_query_buffered(server, 'CREATE TEMPORARY TABLE l (a INT)', function() end)
         dpml.execute_query_buffered(server, \"LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE l\",
           function(_, _, result, err) print(err.errnum) dpm.close(server) end)",
    );
    assert_eq!(lines.len(), 1);
    assert!(
        ["2013", "1148", "4166"].contains(&lines[0].as_str()),
        "{lines:?}"
    );
}

/// Tries to log in, and returns the callback's arguments.
#[track_caller]
pub(super) fn login(options: &str) -> String {
    let script = format!(
        "dpml.connect_mysql_server {{ {options}, callback = function(server, err)
           if err then
             assert(server == nil)
             print(err)
             assert(type(err.errnum) == 'number' and #err.sqlstate == 5 and #err.message > 0)
           else
             keep = server
             dpml.execute_query_buffered(server, 'SELECT CURRENT_USER(), DATABASE()', function(_, _, result)
               print(unpack(result.rows[1], 1, 2))
               dpm.close(server)
             end)
           end
         end }}"
    );
    let lines = run(&script, &[]);
    assert_eq!(lines.len(), 1, "told once: {lines:?}");
    lines[0].clone()
}

#[test]
fn logging_in_to_a_server() {
    let (port, socket) = (mariadb().port, mariadb().socket.display());
    let account = format!("user = '{USER}', pass = '{PASSWORD}'");
    let happy = format!("{USER}@%");
    assert_eq!(
        login(&format!("host = '127.0.0.1', port = {port}, {account}")),
        format!("{happy}\tnil")
    );
    assert_eq!(
        login(&format!(
            "host = 'localhost', port = {port}, {account}, db = 'test'"
        )),
        format!("{happy}\ttest")
    );
    assert_eq!(
        login(&format!("path = '{socket}', {account}")),
        format!("{happy}\tnil")
    );
    assert_eq!(
        login(&format!("host = '{socket}', {account}")),
        format!("{happy}\tnil")
    );
    assert_eq!(
        login(&format!("port = {port}, user = 'empty'")),
        "empty@%\tnil"
    );

    let refused = login(&format!("port = {port}, user = '{USER}', pass = 'wrong'"));
    assert!(
        refused.starts_with("ERROR 1045 (28000): Access denied for user 'happy'"),
        "{refused}"
    );
    let refused = login(&format!("port = {port}, {account}, db = 'nowhere'"));
    assert!(
        refused.starts_with("ERROR 1049 (42000): Unknown database"),
        "{refused}"
    );
}

/// Today's words, and an address in each of its forms.
#[test]
fn an_address_is_written_in_any_way() {
    let (port, socket) = (mariadb().port, mariadb().socket.display());
    let account = format!("user = '{USER}', password = '{PASSWORD}', database = 'test'");
    for address in [
        format!("host = '127.0.0.1', port = {port}"),
        format!("'127.0.0.1', {port}"),
        format!("'127.0.0.1', port = {port}"),
        format!("path = '{socket}'"),
        format!("'{socket}'"),
    ] {
        let said = login(&format!("{address}, {account}"));
        assert_eq!(said, format!("{USER}@%\ttest"), "{address}");
        let dpm = Launch::script(&format!(
            "local dpml = require 'dpml'
             local l = require('harness').listen(function() end)
             dpml.passthrough_new_clients(l, {{}}, {{ {address} }})
             local backend = {{ {address}, {account} }}
             local second = dpm.listener('127.0.0.1', 0)
             dpml.proxy_new_clients(second, {{}}, {{ users = {{ u = {{ password = 'p' }} }}, backend = backend }})
             print('second ' .. second:socket_port())"
        ))
        .start();
        let one: Option<i64> = connect(dpm.port()).query_first("SELECT 1").unwrap();
        assert_eq!(one, Some(1), "{address}");
        let second: u16 = dpm.line("second ").replace("second ", "").parse().unwrap();
        let one: Option<i64> = connect_as(second, "u", "p")
            .unwrap()
            .query_first("SELECT 1")
            .unwrap();
        assert_eq!(one, Some(1), "{address}");
    }
    // As two arguments, and from a function.
    for backends in [
        format!("'127.0.0.1', {port}"),
        format!("function() return '127.0.0.1', {port} end"),
        format!("{{ {{ host = '127.0.0.1', port = 1 }}, {{ path = '{socket}' }} }}"),
    ] {
        let dpm = Launch::script(&format!(
            "local dpml = require 'dpml'
             dpml.passthrough_new_clients(require('harness').listen(function() end), {{}}, {backends})"
        ))
        .start();
        let one: Option<i64> = connect(dpm.port()).query_first("SELECT 1").unwrap();
        assert_eq!(one, Some(1), "{backends}");
    }
}

#[test]
fn a_server_that_cannot_be_logged_in_to() {
    let dead = process::free_port();
    let told = login(&format!("port = {dead}"));
    assert!(
        told.starts_with(&format!(
            "ERROR 2003 (HY000): Can't connect to server on '127.0.0.1:{dead}' ("
        )),
        "{told}"
    );
    // Not a name at all, so that no name server is asked.
    let told = login("host = 'no..such..host', port = 3306");
    assert!(
        told.starts_with("ERROR 2003 (HY000): Can't connect to server on 'no..such..host:3306' ("),
        "{told}"
    );
    let told = login("path = '/no/such/socket'");
    assert!(
        told.starts_with("ERROR 2003 (HY000): Can't connect to server on '/no/such/socket' ("),
        "{told}"
    );

    // What a mock server does, and the error that results.
    type Behaviour = fn(&mut Wire);
    let cases: [(Behaviour, &str); 5] = [
        // An error in place of a handshake has no SQLSTATE.
        (
            |server| server.write(b"\xff\x10\x04Too many connections"),
            "ERROR 1040 (HY000): Too many connections",
        ),
        (
            |_| {},
            "ERROR 2003 (HY000): Can't connect to server on '127.0.0.1:",
        ),
        (
            |server| server.write(b"nonsense"),
            "ERROR 2003 (HY000): Can't connect to server on '127.0.0.1:",
        ),
        (
            |server| {
                server.write(&wire::greeting(PLAIN));
                server.read();
            },
            "ERROR 2003 (HY000): Can't connect to server on '127.0.0.1:",
        ),
        (
            |server| {
                server.write(&wire::greeting(PLAIN));
                server.read();
                server.write(b"\xfesome_plugin\0abcdefghijklmnopqrst\0");
                assert!(server.closed());
            },
            "ERROR 2059 (HY000): Authentication plugin 'some_plugin' is not supported",
        ),
    ];
    for (behaviour, expected) in cases {
        let mock = MockServer::new();
        std::thread::scope(|scope| {
            scope.spawn(|| behaviour(&mut mock.accept()));
            let told = login(&format!("port = {}", mock.port));
            assert!(told.starts_with(expected), "{told}");
        });
    }
}

/// A server that accepts every login and answers by the script's `answer(sql, client)`.
fn answering(answer: &str) -> Dpm {
    let script = format!(
        "local dpml = require 'dpml'
         local function answer(sql, client) {answer} end
         local l = require('harness').listen(function() end)
         dpml.authenticate_new_clients(l, {{
           new_command = function(cmd, id, client)
             if cmd:command() == dpm.COM_QUIT then dpm.close(client) else answer(cmd:argument(), client) end
             return dpm.DPM_NOPROXY
           end,
         }}, {{ [''] = '', me = dpm.hash_pass('secret') }})"
    );
    Launch::script(&script).start()
}

#[test]
fn results_are_sent() {
    let dpm = answering(
        "local results = {
           rows = {
             fields = {
               'text',
               { name = 'number', type = dpm.MYSQL_TYPE_LONGLONG, flags = dpm.NOT_NULL_FLAG },
               { name = 'more', org_name = 'm', table = 't', org_table = 'tt', db = 'd' },
             },
             rows = { { 'a', 1, true }, { nil, 2.5 }, { dpm.NULL, nil, 'x\\0y' }, {} },
             warning_count = 3, server_status = dpm.SERVER_STATUS_IN_TRANS,
           },
           none = { fields = { 'a' }, rows = {} },
           missing = { fields = { 'a' } },
           ok = { affected_rows = 300, insert_id = '18446744073709551615', message = 'done', warning_count = 1 },
           many = { fields = { 'a' }, rows = { { 1 } }, next = {
                    affected_rows = 2, next = { fields = { 'b' }, rows = { { 3 } } } } },
         }
         if sql == 'error' then return dpml.send_error(client, '45000', 1644, 'as you wish') end
         if sql == 'wrong' then return dpml.send_error(client, '450', 70000, 'x') end
         dpml.send_resultset(client, results[sql])",
    );
    let port = dpm.port();
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login_as(port, "me", "secret", shape);
        let Answer::Rows {
            columns,
            rows,
            status,
        } = wire.query("rows")
        else {
            panic!("rows")
        };
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            rows,
            [
                [some("a"), some("1"), some("1")],
                [None, some("2.5"), None],
                [None, None, some("x\0y")],
                [None, None, None],
            ]
        );
        assert_eq!(status & 1, 1, "in a transaction");
        assert!(
            columns[2].starts_with(b"\x03def\x01d\x01t\x02tt\x04more\x01m"),
            "{:?}",
            columns[2]
        );
        for empty in ["none", "missing"] {
            assert!(wire.rows(empty).is_empty());
        }
        let Answer::Ok(ok) = wire.query("ok") else {
            panic!("an OK")
        };
        assert!(
            ok.starts_with(b"\0\xfc\x2c\x01\xfe\xff\xff\xff\xff\xff\xff\xff\xff"),
            "{ok:?}"
        );
        assert!(ok.ends_with(b"done"));
        assert_eq!(wire.rows("many"), [["1"]]);
        let Answer::Ok(ok) = wire.answer() else {
            panic!("an OK")
        };
        assert_eq!(ok[1], 2);
        let Answer::Rows { rows, status, .. } = wire.answer() else {
            panic!("rows")
        };
        assert_eq!((rows.len(), status & 8), (1, 0), "the last one");
        assert_eq!(
            wire.query("error"),
            Answer::Err(1644, "45000".into(), "as you wish".into())
        );
        assert!(
            matches!(wire.query("wrong"), Answer::Err(1105, ..)),
            "what cannot be sent is not"
        );
        assert_eq!(wire.rows("many"), [["1"]]);
    }
    dpm.line("dpml.send_error: sqlstate: expected a string of 5 characters, got 450");
    let said = Cli::tool(Flavour::MariaDb, "mysql")
        .args([
            "--no-defaults",
            "--protocol=tcp",
            "-h127.0.0.1",
            "-ume",
            "-psecret",
            "-N",
            "-B",
            "--comments",
        ])
        .arg(format!("-P{port}"))
        .args(["-e", "rows; many"])
        .ok();
    assert_eq!(
        said,
        "a\t1\t1\nNULL\t2.5\tNULL\nNULL\tNULL\tx\\0y\nNULL\tNULL\tNULL\n1\n3\n"
    );
}

#[test]
fn accounts() {
    let dpm = answering("dpml.send_resultset(client, {})");
    let port = dpm.port();
    assert!(matches!(
        Wire::login_as(port, "me", "secret", MODERN).query("x"),
        Answer::Ok(_)
    ));
    assert!(matches!(
        Wire::login_as(port, "", "", PLAIN).query("x"),
        Answer::Ok(_)
    ));
    for (user, password) in [
        ("me", "wrong"),
        ("me", ""),
        ("you", "secret"),
        ("", "secret"),
    ] {
        let login = options(port).user(Some(user)).pass(Some(password));
        let refused = mysql::Conn::new(login).unwrap_err().to_string();
        assert!(
            refused.contains("1045") && refused.contains("127.0.0.1"),
            "{refused}"
        );
    }
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}

#[test]
fn tables_are_dumped() {
    let lines = run(
        "local t = { 'a', 'b\"\\n\\0', [10] = true, x = { 1, { deep = dpm.NULL ~= nil } }, empty = {}, n = 0.5 }
         t.self = t
         t.x.up = t.x
         t.again = t.empty
         t[false] = 'no'
         dpml.dump_table(t)
         dpml.dump_table({})
         dpml.dump_table('text')
         dpml.dump_table(nil)
         assert(not next(t.empty))",
        &[],
    );
    let expected = r#"{
    [1] = "a"
    [2] = "b\"\n\0"
    [10] = true
    [false] = "no"
    ["again"] = {}
    ["empty"] = {}
    ["n"] = 0.5
    ["self"] = <a table above>
    ["x"] = {
        [1] = 1
        [2] = {
            ["deep"] = true
        }
        ["up"] = <a table above>
    }
}
{
}
"text"
nil"#;
    assert_eq!(lines.join("\n"), expected);
}

#[test]
fn callbacks_are_registered_by_the_table() {
    let lines = run(
        "local function a() end
         local function b() end
         local listener, object = dpm.listener('127.0.0.1', 0), dpm.new_callback()
         for _, each in ipairs { listener, object } do
           dpml.register_callbacks(each, { [dpm.MYC_CONNECT] = a, [dpm.MY_CLOSING] = b })
           print(each:register(dpm.MYC_CONNECT) == a, each:register(dpm.MY_CLOSING) == b)
           dpml.register_callbacks(each, {})
         end
         print(pcall(dpml.register_callbacks, object, { [12345] = a }))
         dpm.close(listener)",
        &[],
    );
    assert_eq!(lines[..2], ["true\ttrue", "true\ttrue"]);
    assert!(
        lines[2].starts_with("false\t") && lines[2].contains("a state"),
        "{lines:?}"
    );
}

#[test]
fn listeners_are_held_until_they_are_closed() {
    let lines = run(
        "local users = { u = { password = 'p' } }
         local function nothing() end
         local ways = {
           function(l) dpml.passthrough_new_clients(l, {}, { '127.0.0.1', 1 }) end,
           function(l) dpml.authenticate_new_clients(l, {}, users) end,
           function(l) dpml.proxy_new_clients(l, {}, { users = users, backend = { host = '127.0.0.1' } }) end,
           function(l) dpml.accept_clients(l, { users = users, new_command = nothing }) end,
           function(l) dpml.multiplex(l, { users = users }) end,
           function(l) dpml.autoexplain { side = {} }:admin(l, { users = users }) end,
           function(l) dpml.register_callbacks(l, { [dpm.MYC_CONNECT] = nothing }) end,
           function(l) l:register(dpm.MYC_CONNECT, nothing) end, -- which is the script's to hold
         }
         local listeners = setmetatable({}, { __mode = 'v' })
         for i, way in ipairs(ways) do
           local listener = dpm.listener('127.0.0.1', 0)
           listeners[i] = listener
           way(listener)
         end
         -- In another tick: a listener that nobody holds closes at the end of the one in which it is collected.
         local ticks = 0
         dpm.new_timer():schedule(0, 5, function(timer)
           collectgarbage() collectgarbage()
           ticks = ticks + 1
           if ticks < 3 then return end
           timer:cancel()
           for i in ipairs(ways) do
             local listener = listeners[i]
             print(i, listener ~= nil and not listener:close_reason() and dpm.close(listener))
           end
         end)",
        &[],
    );
    let held = (1..=7).map(|i| format!("{i}\t1"));
    let expected: Vec<String> = held.chain(["8\tfalse".to_owned()]).collect();
    assert_eq!(lines, expected);
}

both! {
    fn clients_are_passed_through(server) {
        let dpm = Dpm::start(
            "local dpml = require 'dpml'
             local l = require('harness').listen(function() end)
             local servers = {}
             dpml.passthrough_new_clients(l, {
               new_client = function(client, server)
                 servers[client:id()] = server:id()
                 print('new', client:remote_id() == server:id(), server:remote_id() == client:id())
               end,
               new_command = function(cmd, id, client)
                 print('command', cmd:argument(), id == client:id())
                 if cmd:argument() == 'no' then
                   dpml.send_error(client, '42000', 1142, 'no')
                   return dpm.DPM_NOPROXY
                 end
               end,
               finished_command = function(id, client) print('finished', id == client:id()) end,
               closing = function(id, client) print('closing', servers[id] == client:remote_id()) end,
             }, { arg[1], tonumber(arg[2]) })",
            server,
        );
        let mut wire = Wire::login_empty(dpm.port(), MODERN);
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        assert!(matches!(wire.query("no"), Answer::Err(1142, ..)));
        assert_eq!(wire.rows("SELECT 2"), [["2"]]);
        drop(wire);
        dpm.wait_until_idle();
        let told: Vec<String> = dpm.lines("").into_iter().filter(|l| l.contains("true")).collect();
        assert_eq!(told, [
            "new\ttrue\ttrue",
            "command\tSELECT 1\ttrue", "finished\ttrue",
            "command\tno\ttrue", "finished\ttrue",
            "command\tSELECT 2\ttrue", "finished\ttrue",
            "closing\ttrue",
        ]);
        dpm.assert_no_errors();

        // When one end closes, so does the other.
        let mut wire = Wire::login_empty(dpm.port(), MODERN);
        let _ = wire.query("KILL CONNECTION_ID()");
        assert!(wire.closed());
        dpm.wait_until_idle();
    }
}

#[test]
fn clients_are_passed_through_without_any_callback() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    for address in ["{ arg[1], tonumber(arg[2]) }", "{ arg[3] }"] {
        let dpm = Launch::script(&format!(
            "local l = require('harness').listen(function() end)
             require('dpml').passthrough_new_clients(l, {{}}, {address})"
        ))
        .server(&server)
        .arg(server.socket.display())
        .start();
        assert_eq!(Cli::query(Flavour::MariaDb, dpm.port(), "SELECT 1"), "1\n");
        dpm.wait_until_idle();
        assert!(
            dpm.stat("callbacks") <= 2.0,
            "nothing but connects enters Lua"
        );
    }
    let dpm = Launch::script(
        "local l = require('harness').listen(function() end)
         require('dpml').passthrough_new_clients(l, { closing = function() print('closing') end }, { arg[1], tonumber(arg[2]) })",
    )
    .server(&server)
    .start();
    let mut wire = Wire::login(dpm.port(), PLAIN);
    server.kill();
    assert!(wire.closed());
    dpm.line("closing");
    let refused = connect_as(dpm.port(), USER, PASSWORD)
        .unwrap_err()
        .to_string();
    let said = format!(
        "ERROR 1105 (08S01): Can't connect to MySQL server on '127.0.0.1:{}' (Connection refused",
        server.port
    );
    assert!(refused.contains(&said), "{refused}");
    dpm.wait_until_idle();
    assert_eq!(dpm.lines("closing").len(), 1, "of those that got a server");
    dpm.assert_no_errors();
}

#[test]
fn what_is_misspelt_is_an_error() {
    let dpm = Launch::script(
        "local dpml = require 'dpml'
         local function complaint(...) print('complaint', select(2, pcall(...))) end
         local function nothing() end
         complaint(dpml.connect_mysql_server, { hsot = '127.0.0.1', callback = nothing })
         complaint(dpml.connect_mysql_server, { passwort = 'said', callback = nothing })
         complaint(dpml.connect_mysql_server, { host = '127.0.0.1' })
         -- What is made when clients come is noticed when they come.
         local listener = dpm.listener('127.0.0.1', 0)
         dpml.passthrough_new_clients(listener, {}, function() return { '127.0.0.1', 1, tsl = 'required' } end)
         print('port ' .. listener:socket_port())
         kept = listener",
    )
    .start();
    dpm.line("there is no option hsot, only");
    dpm.line("there is no option passwort, only");
    dpm.line("callback: expected a function, got nil");
    assert!(Wire::connect(dpm.port()).closed());
    dpm.line("dpml.passthrough_new_clients: there is no option tsl, only allow_redirect, ");
    assert!(!dpm.wrote("said"));
}

/// Every wrong call raises an error with the function's and the option's name, at the caller's
/// line.
#[test]
fn wrong_calls_are_told_where_they_are_made() {
    let calls: &[(&str, &str)] = &[
        (
            "dpml.spawn()",
            "dpml.spawn: fn: expected a function, got nil",
        ),
        (
            "dpml.sleep('1')",
            "dpml.sleep: milliseconds: expected a number, got string",
        ),
        (
            "dpml.sleep(1)",
            "dpml.sleep: it waits, and so must be called inside of dpml.spawn",
        ),
        (
            "dpml.with_timeout(function() end)",
            "dpml.with_timeout: milliseconds: expected a number, got function",
        ),
        (
            "dpml.with_timeout(1)",
            "dpml.with_timeout: fn: expected a function, got nil",
        ),
        (
            "dpml.wait_all(print)",
            "dpml.wait_all: list: expected a table, got function",
        ),
        (
            "dpml.wait_all { print, 7 }",
            "dpml.wait_all: 2: expected a function or a task, got number",
        ),
        (
            "dpml.wait_all { print, timout = 7 }",
            "dpml.wait_all: there is no option timout, only timeout_ms",
        ),
        (
            "dpml.wait_all { print, timeout = '7' }",
            "dpml.wait_all: timeout: expected a number, got string",
        ),
        (
            "dpml.connect()",
            "dpml.connect: options: expected a table, got nil",
        ),
        (
            "dpml.connect { hsot = 'x' }",
            "dpml.connect: there is no option hsot, only allow_cleartext, ",
        ),
        (
            "dpml.connect { pass = 'secret', password = 'said' }",
            "dpml.connect: password and pass are the same, and both are given",
        ),
        (
            "dpml.connect { port = '3306' }",
            "dpml.connect: port: expected an integer, got string",
        ),
        (
            "dpml.connect { timeout = 'long' }",
            "dpml.connect: timeout: expected a number, got string",
        ),
        (
            "dpml.connect_mysql_server { user = 7, callback = print }",
            "dpm.new_login: user: expected a string",
        ),
        (
            "dpml.connect_mysql_server { tls = 'tight', callback = print }",
            "dpm.connect: tls: expected \"disabled\", ",
        ),
        (
            "dpml.connect_mysql_server { port = 70000, callback = print }",
            "dpm.connect: port: expected",
        ),
        (
            "dpml.connect_mysql_server { callback = 'print' }",
            "dpml.connect_mysql_server: callback: expected a function, got string",
        ),
        (
            "dpml.execute_query_buffered(nil, 'DO 1', print)",
            "dpml.execute_query_buffered: server: expected a connection, got nil",
        ),
        (
            "dpml.execute_query_buffered(listener, 'DO 1')",
            "dpml.execute_query_buffered: callback: expected a function, got nil",
        ),
        (
            "dpml.execute_query_buffered(listener, 'DO 1', print)",
            "dpm.wire_packet: ",
        ),
        (
            "dpml.execute_prepared(listener, 1, {}, print)",
            "dpml.execute_prepared: query: expected a string, got number",
        ),
        (
            "dpml.execute_prepared(listener, 'DO 1', { timeout = 1 }, print)",
            "dpml.execute_prepared: params: expected an array or nil, got table",
        ),
        (
            "dpml.passthrough_new_clients(nil, {}, address)",
            "dpml.passthrough_new_clients: listener: expected a listener, got nil",
        ),
        (
            "dpml.passthrough_new_clients(7, {}, address)",
            "dpml.passthrough_new_clients: listener: expected a listener, got number",
        ),
        (
            "dpml.passthrough_new_clients(listener, nil, address)",
            "dpml.passthrough_new_clients: plug-in: expected a table or function, got nil",
        ),
        (
            "dpml.passthrough_new_clients(listener, { new_comand = print }, address)",
            "dpml.passthrough_new_clients: there is no callback new_comand, only closing, failed_command, finished_command, ",
        ),
        (
            "dpml.passthrough_new_clients(listener, { new_row = 7 }, address)",
            "dpml.passthrough_new_clients: new_row: expected a function, got number",
        ),
        (
            "dpml.passthrough_new_clients(listener, {})",
            "dpml.passthrough_new_clients: address: expected a table, got nil",
        ),
        (
            "dpml.passthrough_new_clients(listener, {}, {})",
            "dpml.passthrough_new_clients: host: expected a string, got nil",
        ),
        (
            "dpml.passthrough_new_clients(listener, {}, { '127.0.0.1', '3306' })",
            "dpml.passthrough_new_clients: port: expected an integer or nil, got string",
        ),
        (
            "dpml.passthrough_new_clients(listener, {}, { port = 3306 })",
            "dpml.passthrough_new_clients: host: expected a string, got nil",
        ),
        (
            "dpml.passthrough_new_clients(listener, {}, { address, { '127.0.0.1', tsl = true } })",
            "dpml.passthrough_new_clients: there is no option tsl, only allow_redirect, ",
        ),
        (
            "dpml.proxy_new_clients(listener, {}, { users = {} })",
            "dpml.proxy_new_clients: backend: expected a table or function, got nil",
        ),
        (
            "dpml.proxy_new_clients(listener, {}, { backend = {} })",
            "dpml.proxy_new_clients: who may log in? One of users and authenticate must be given",
        ),
        (
            "dpml.proxy_new_clients(listener, {}, { users = {}, backend = { prot = 1 } })",
            "dpml.proxy_new_clients: backend: there is no option prot, only",
        ),
        (
            "dpml.proxy_new_clients(listener, {}, { users = {}, backends = {} })",
            "dpml.proxy_new_clients: there is no option backends, only auth_plugin, ",
        ),
        (
            "dpml.proxy_new_clients(listener, { new_comand = print }, { users = {}, backend = {} })",
            "dpml.proxy_new_clients: there is no callback new_comand, only",
        ),
        (
            "dpml.accept_clients(listener, { users = {} })",
            "dpml.accept_clients: who answers? One of new_command and handler must be given",
        ),
        (
            "dpml.accept_clients(listener, { users = {}, new_comand = print })",
            "dpml.accept_clients: there is no option new_comand, only ",
        ),
        (
            "dpml.accept_clients(listener, { users = {}, new_command = 'x' })",
            "dpml.accept_clients: new_command: expected a function, got string",
        ),
        (
            "dpml.accept_clients(listener, { new_command = print })",
            "dpml.accept_clients: who may log in?",
        ),
        (
            "dpml.authenticate_new_clients(listener, { new_comand = print }, {})",
            "dpml.authenticate_new_clients: there is no callback new_comand, only auth_plugin, ",
        ),
        (
            "dpml.authenticate_new_clients(listener, {})",
            "dpml.authenticate_new_clients: accounts: expected a table or function, got nil",
        ),
        (
            "dpml.chain(print)",
            "dpml.chain: plug-ins: expected an array, got function",
        ),
        (
            "dpml.chain { {}, 'x' }",
            "dpml.chain: link 2: plug-in: expected a table or function, got string",
        ),
        (
            "dpml.chain { {}, nothing_of_this_name, {} }",
            "dpml.chain: link 2: plug-in: expected a table or function, got nil",
        ),
        (
            "dpml.chain { { new_comand = print } }",
            "dpml.chain: link 1: there is no callback new_comand, only",
        ),
        (
            "dpml.chain { first = {} }",
            "dpml.chain: plug-ins: expected an array, got table",
        ),
        (
            "dpml.mask { colums = {} }",
            "dpml.mask: there is no option colums, only columns",
        ),
        (
            "dpml.mask { columns = 'customers.email' }",
            "dpml.mask: columns: expected an array, got string",
        ),
        (
            "dpml.mask { columns = { 'customers.email', 'card' } }",
            "dpml.mask: columns: expected \"table.column\", got \"card\"",
        ),
        (
            "dpml.mask { columns = { 'customers.email', 5 } }",
            "dpml.mask: columns: number 2: expected a string, got number",
        ),
        (
            "dpml.firewall { learn = true }",
            "dpml.firewall: file: expected a string, got nil",
        ),
        (
            "dpml.firewall { file = '/no/such/file' }",
            "dpml.firewall: file: /no/such/file: No such file",
        ),
        (
            "dpml.slowlog { threshold_ms = '1s' }",
            "dpml.slowlog: threshold_ms: expected a number, got string",
        ),
        (
            "dpml.coalesce { host = 'x', db = 'shop' }",
            "dpml.coalesce: there is no option db, only allow_cleartext, ",
        ),
        (
            "dpml.reloadable()",
            "dpml.reloadable: path: expected a string, got nil",
        ),
        (
            "dpml.reloadable('/no/such/file.lua')",
            "/no/such/file.lua: No such file",
        ),
        (
            "dpml.send_error(listener, 1064, '42000', 'x')",
            "dpml.send_error: sqlstate: expected a string of 5 characters, got 1064",
        ),
        (
            "dpml.send_error(listener, '42000', 70000, 'x')",
            "dpml.send_error: errnum: expected an integer from 0 to 65535, got 70000",
        ),
        (
            "dpml.send_error(listener, '42000', 1064)",
            "dpml.send_error: message: expected a string, got nil",
        ),
        (
            "dpml.send_error(7, '42000', 1064, 'x')",
            "dpml.send_error: conn: expected a connection, got number",
        ),
        (
            "dpml.send_error(listener, '42000', 1064, 'x')",
            "dpm.wire_packet: ",
        ),
        (
            "dpml.new_error(1064, '42000', 'x')",
            "dpml.new_error: sqlstate: expected a string of 5 characters, got 1064",
        ),
        (
            "dpml.send_resultset(listener)",
            "dpml.send_resultset: result: expected a table, got nil",
        ),
        (
            "dpml.send_resultset(listener, { fileds = {} })",
            "dpml.send_resultset: there is no key fileds, only affected_rows, ",
        ),
        (
            "dpml.send_resultset(listener, { rows = { { 1 } } })",
            "dpml.send_resultset: columns: expected a table beside the rows, got nil",
        ),
        (
            "dpml.send_resultset(listener, { fields = {}, rows = 7 })",
            "dpml.send_resultset: rows: expected a table or function, got number",
        ),
        (
            "dpml.send_ok(listener, 7)",
            "dpml.send_ok: result: expected a table, got number",
        ),
        (
            "dpml.send_ok(listener, { afected_rows = 7 })",
            "dpml.send_ok: there is no key afected_rows, only affected_rows, ",
        ),
        (
            "dpml.register_callbacks(listener)",
            "dpml.register_callbacks: callbacks: expected a table, got nil",
        ),
        (
            "dpml.register_callbacks(listener, { [dpm.MYC_CONNECT] = 7 })",
            "conn:register: function: expected a function or nil, got 7",
        ),
        (
            "dpml.duration()",
            "dpml.duration: milliseconds: expected a number, got nil",
        ),
    ];
    let mut script =
        "listener = dpm.listener('127.0.0.1', 0) address = { '127.0.0.1', 1 }\n".to_owned();
    for (call, _) in calls {
        script += &format!("print(select(2, pcall(function() {call} end)))\n");
    }
    script += "dpm.close(listener)";
    let lines = run(&script, &[]);
    assert_eq!(lines.len(), calls.len());
    for (at, ((call, expected), line)) in calls.iter().zip(&lines).enumerate() {
        let place = format!("start.lua:{}: ", at + 2);
        let told = line
            .split_once(&place)
            .unwrap_or_else(|| panic!("{call}: {line}"))
            .1;
        assert!(told.starts_with(expected), "{call}: {line}");
    }
}

/// The library knows the options of dpm.connect.
#[test]
fn the_options_of_a_connect_are_all_known() {
    let lines = run(
        "print(select(2, pcall(dpm.connect, '127.0.0.1', 1, { [''] = 1 })))
         print(select(2, pcall(dpml.connect, { [''] = 1 })))",
        &[],
    );
    let names = |line: &str| {
        let (_, names) = line.split_once(", only ").unwrap();
        names.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let known = names(&lines[1]);
    for name in names(&lines[0]) {
        assert!(known.contains(&name), "{name}: {}", lines[1]);
    }
}

/// If a plug-in's function fails, or returns something else than callbacks, only its client's
/// connection is closed, at once.
#[test]
fn a_plug_in_that_cannot_be_made_ends_its_client() {
    for (plugin, told) in [
        ("function() error('oops') end", "oops"),
        (
            "function() return { new_comand = print } end",
            "a plug-in's function: there is no callback new_comand, only",
        ),
        (
            "function() return 7 end",
            "a plug-in's function: what it returned: expected a table, got number",
        ),
        (
            "function() return dpml.slowlog() end",
            "a plug-in's function: what it returned: expected callbacks, got an object that makes them",
        ),
        (
            "dpml.chain { {}, function() return { new_comand = print } end }",
            "there is no callback new_comand",
        ),
    ] {
        for how in [
            "dpml.passthrough_new_clients(l, plugin, { arg[1], tonumber(arg[2]) })".to_owned(),
            format!("dpml.proxy_new_clients(l, plugin, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }},
                backend = {{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}' }} }})"),
        ] {
            let dpm = Dpm::start(
                &format!("local dpml = require 'dpml' local l = require('harness').listen(function() end)
                    local plugin = {plugin} {how}"),
                mariadb(),
            );
            let begun = std::time::Instant::now();
            assert!(connect_as(dpm.port(), USER, PASSWORD).is_err());
            dpm.line(told);
            dpm.wait_until_idle();
            assert!(begun.elapsed() < Duration::from_secs(5), "{plugin} {how}: {:?}", begun.elapsed());
        }
    }
}

#[test]
fn who_names_an_authority_means_it() {
    let script = "
        local dpml = require 'dpml'
        kept = dpml.connect_mysql_server{
          host = arg[1], port = tonumber(arg[2]), user = 'u', tls = { ca = arg[3] },
          callback = function(server, err) print('login', server, err and err.message) end,
        }";
    let Some(server) = crate::support::server::mysql() else {
        return;
    };
    let dpm = Launch::script(script)
        .server(server)
        .arg(crate::support::pki::shared().file("ca.pem"))
        .start();
    dpm.line("no authority in `ca` has signed it");
}
