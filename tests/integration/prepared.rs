//! Prepared statements in scripts.

use mysql::prelude::Queryable as _;
use mysql::{Params, Value};

use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{
    Dpm, Flavour, Server, Stage, both, connect, mariadb, mariadb11, mysql, process,
};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;
const MODERN: u32 = PLAIN | caps::DEPRECATE_EOF;

/// Shows a value with its type: `n:7`, `s:seven`, `NULL`.
const SHOW: &str = "
    function show(value)
      if value == nil or value == dpm.NULL then return 'NULL' end
      if value == dpm.LONG_DATA then return 'LONG' end
      if value == dpm.DEFAULT then return 'DEFAULT' end
      if value == dpm.IGNORE then return 'IGNORE' end
      if type(value) == 'number' then return ('n:%.17g'):format(value) end
      return 's:' .. h.quote(value)
    end
    function show_all(values, n)
      local shown = {}
      for i = 1, n do shown[i] = show(values[i]) end
      return table.concat(shown, ' ')
    end
    function fails(wanted, f, ...)
      local ok, message = pcall(f, ...)
      if ok then error('no error, wanted: ' .. wanted, 2) end
      if not tostring(message):find(wanted, 1, true) then
        error(tostring(message) .. ' does not have: ' .. wanted, 2)
      end
    end
    function equal(a, b)
      if a ~= b then error(('%s is not %s'):format(tostring(a), tostring(b)), 2) end
    end
    function new_field(name, type)
      local field = dpm.new_field_pkt()
      field:name(name, type or dpm.MYSQL_TYPE_VAR_STRING)
      return field
    end";

fn stage_before(server: &Server) -> Stage {
    let mut stage = Stage::before(server.port);
    stage.lua(SHOW);
    stage
}

/// A client whose executes the script sees decoded, in `seen`.
fn watched(server: &Server, shape: u32) -> (Stage, Wire) {
    let mut stage = stage_before(server);
    let wire = stage.client(shape);
    stage.server();
    stage.lua(
        "seen = {}
         clients[1]:track_statements(true, { long_data = 1000 })
         clients[1]:register(dpm.MYC_SENT_CMD, function(cmd, id, client)
           if cmd:command() ~= dpm.COM_STMT_EXECUTE then return end
           local statement = client:statement(cmd:statement_id())
           if not statement then seen[#seen + 1] = 'unknown' return end
           local ok, values, n = pcall(statement.decode, statement, cmd)
           seen[#seen + 1] = ok and show_all(values, n) or values
           if ok and again then
             dpm.wire_packet(servers[1], statement:encode(values))
             return dpm.DPM_NOPROXY
           end
         end)",
    );
    stage.link(1, 1);
    (stage, wire)
}

/// The head of a COM_STMT_EXECUTE's argument.
fn head(statement: u32, cursor: u8) -> Vec<u8> {
    let mut argument = statement.to_le_bytes().to_vec();
    argument.push(cursor);
    argument.extend_from_slice(&1u32.to_le_bytes());
    argument
}

/// One parameter: its type, whether it is unsigned, its bytes, and how scripts see it.
type Parameter = (u8, bool, &'static [u8], &'static str);

/// The extreme values of every type that both servers take.
const EVERY_TYPE: &[Parameter] = &[
    (1, false, b"\x80", "n:-128"),
    (1, false, b"\x7F", "n:127"),
    (1, true, b"\xFF", "n:255"),
    (2, false, b"\x00\x80", "n:-32768"),
    (2, true, b"\xFF\xFF", "n:65535"),
    (3, false, b"\x00\x00\x00\x80", "n:-2147483648"),
    (3, true, b"\xFF\xFF\xFF\xFF", "n:4294967295"),
    (8, false, b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "n:-1"),
    (
        8,
        false,
        b"\x00\x00\x00\x00\x00\x00\x20\x00",
        "n:9007199254740992",
    ),
    (
        8,
        false,
        b"\x01\x00\x00\x00\x00\x00\x20\x00",
        "s:9007199254740993",
    ),
    (
        8,
        false,
        b"\x00\x00\x00\x00\x00\x00\x00\x80",
        "s:-9223372036854775808",
    ),
    (
        8,
        true,
        b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        "s:18446744073709551615",
    ),
    (4, false, b"\x00\x00\x00\x3F", "n:0.5"),
    (4, false, b"\xFF\xFF\x7F\x7F", "n:3.4028234663852886e+38"),
    (4, false, b"\xCD\xCC\xCC\x3D", "n:0.10000000149011612"),
    (
        5,
        false,
        b"\x9A\x99\x99\x99\x99\x99\xB9\x3F",
        "n:0.10000000000000001",
    ),
    (
        5,
        false,
        b"\xFF\xFF\xFF\xFF\xFF\xFF\xEF\xFF",
        "n:-1.7976931348623157e+308",
    ),
    (10, false, b"\x04\x0F\x27\x0C\x1F", "s:9999-12-31"),
    (
        12,
        false,
        b"\x0B\xE8\x03\x01\x01\x00\x00\x00\x01\x00\x00\x00",
        "s:1000-01-01 00:00:00.000001",
    ),
    (12, false, b"\x04\xE8\x07\x02\x1D", "s:2024-02-29 00:00:00"),
    (
        7,
        false,
        b"\x07\xB2\x07\x01\x02\x03\x04\x05",
        "s:1970-01-02 03:04:05",
    ),
    (
        11,
        false,
        b"\x0C\x01\x22\x00\x00\x00\x16\x3B\x3A\x40\x42\x0F\x00",
        "",
    ),
    (
        11,
        false,
        b"\x08\x01\x22\x00\x00\x00\x16\x3B\x3B",
        "s:-838:59:59",
    ),
    (11, false, b"\x00", "s:00:00:00"),
    (
        246,
        false,
        b"\x1C-1234567890.1234567890123456",
        "s:-1234567890.1234567890123456",
    ),
    (0, false, b"\x031.5", "s:1.5"),
    (15, false, b"\x03abc", "s:abc"),
    (253, false, b"\x00", "s:"),
    (
        254,
        false,
        b"\x05\xC3\xBCn\xC3\xAF",
        "s:\\xc3\\xbcn\\xc3\\xaf",
    ),
    (252, false, b"\x03\x00\xFF'", "s:\\x00\\xff'"),
    (249, false, b"\x01x", "s:x"),
    (250, false, b"\x01x", "s:x"),
    (251, false, b"\x01x", "s:x"),
];

both! {
    /// What the client sent is what the script sees, and encoded again it gives the same result.
    fn every_type(server) {
        let (mut stage, mut wire) = watched(server, MODERN);
        let mut direct = Wire::login_empty(server.port, MODERN);
        let sql = "SELECT ?, ?, ?";
        let (here, there) = (wire.prepare(sql), direct.prepare(sql));
        let mut extra = Vec::new();
        if server.flavour == Flavour::MySql {
            extra.push((245, false, &b"\x08{\"a\": 1}"[..], "s:{\"a\": 1}"));
            extra.push((242, false, &b"\x04\x00\x00\x80\x3F"[..], "s:\\x00\\x00\\x80?"));
        }
        for again in [false, true] {
            stage.lua(&format!("again = {again}"));
            for (kind, unsigned, bytes, shown) in EVERY_TYPE.iter().chain(&extra) {
                if shown.is_empty() {
                    // A million microseconds is more than there are in a second: for another test.
                    continue;
                }
                let mut rest = vec![0b010, 1, *kind, u8::from(*unsigned) << 7, 6, 0, 8, 0];
                rest.extend_from_slice(bytes);
                rest.extend_from_slice(&77u64.to_le_bytes());
                let through = wire.exchange(com::STMT_EXECUTE, &[head(here, 0), rest.clone()].concat());
                let expected = direct.exchange(com::STMT_EXECUTE, &[head(there, 0), rest].concat());
                assert_eq!(through, expected, "type {kind} {bytes:?}, again: {again}");
                assert!(expected[0][0] != 0xFF, "type {kind} {bytes:?}: {expected:?}");
                assert_eq!(stage.lua("return seen[#seen]"), format!("{shown} NULL n:77"));
            }
        }
        stage.dpm.assert_no_errors();
    }
}

both! {
    /// A real client's values, in and out again, and the rows that come back.
    fn a_real_client(server) {
        let base = server.database();
        let dpm = Launch::script(&format!(
            "h = require('harness') {SHOW}
             dpml = require('dpml')
             dpml.passthrough_new_clients(dpm.listener('127.0.0.1', 0), {{}}, {{ arg[1], tonumber(arg[2]) }})
             h.listen(function(c)
               local s = dpm.connect(arg[1], tonumber(arg[2]))
               h.pairs[c:id()] = {{ c, s }}
               c:track_statements(true)
               c:register(dpm.MYC_SENT_CMD, function(cmd)
                 if cmd:command() ~= dpm.COM_STMT_EXECUTE then return end
                 local statement = c:statement(cmd:statement_id())
                 local values, n = statement:decode(cmd, dpm.NULL)
                 print('SEEN ' .. show_all(values, n))
                 dpm.wire_packet(s, statement:encode(values))
                 return dpm.DPM_NOPROXY
               end)
               dpm.proxy_connect(c, s)
             end)
             dpm.on_signal('USR1', h.print_stats)"
        ))
        .server(server)
        .start();
        let mut client = connect(dpm.port());
        let mut direct = connect(server.port);
        client.query_drop(format!("USE {base}")).unwrap();
        client
            .query_drop(
                "CREATE TABLE t (a BIGINT, b BIGINT UNSIGNED, c FLOAT, d DOUBLE, e DATETIME(6), f TIME(6),
                 g VARCHAR(100), h BLOB, i DECIMAL(20,5), j VARCHAR(5)) CHARSET utf8mb4",
            )
            .unwrap();
        let values = vec![
            Value::Int(i64::MIN),
            Value::UInt(u64::MAX),
            Value::Float(0.1),
            Value::Double(-1e300),
            Value::Date(2024, 2, 29, 23, 59, 59, 999_999),
            Value::Time(true, 34, 21, 59, 59, 1),
            Value::Bytes("ünï'\0".into()),
            Value::Bytes(vec![0, 255, 128]),
            Value::Bytes(b"-12345.67890".to_vec()),
            Value::NULL,
        ];
        for _ in 0..2 {
            client
                .exec_drop("INSERT INTO t VALUES (?,?,?,?,?,?,?,?,?,?)", Params::Positional(values.clone()))
                .unwrap();
        }
        let seen = "s:-9223372036854775808 s:18446744073709551615 n:0.10000000149011612 \
                    n:-1.0000000000000001e+300 s:2024-02-29 23:59:59.999999 s:-837:59:59.000001 \
                    s:\\xc3\\xbcn\\xc3\\xaf'\\x00 s:\\x00\\xff\\x80 s:-12345.67890 NULL";
        dpm.line(seen);
        assert_eq!(dpm.count(seen), 2);
        let rows: Vec<mysql::Row> = direct.exec(format!("SELECT * FROM {base}.t"), ()).unwrap();
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert_eq!(row.unwrap(), values);
        }
        // Nothing but executes takes another way, and statements are closed.
        for n in 0..50 {
            let back: Option<(i64, Option<String>)> = client
                .exec_first(format!("SELECT ? + {n}, ?"), (n, None::<String>))
                .unwrap();
            assert_eq!(back, Some((n * 2, None)));
        }
        drop(client);
        dpm.wait_until_idle();
        dpm.assert_no_errors();
    }
}

both! {
    fn types_may_be_left_out_once_they_are_known(server) {
        for shape in [PLAIN, MODERN] {
            let (mut stage, mut wire) = watched(server, shape);
            let statement = wire.prepare("SELECT ? + 0, ?");
            let mut first = head(statement, 0);
            first.extend_from_slice(&[0, 1, 3, 0x80, 253, 0, 0xFA, 0, 0, 0, 1, b'a']);
            let mut second = head(statement, 0);
            second.extend_from_slice(&[0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 2, b'b', b'c']);
            let mut third = head(statement, 0);
            third.extend_from_slice(&[2, 0, 1, 0, 0, 0]);
            wire.exchange(com::STMT_EXECUTE, &first);
            wire.exchange(com::STMT_EXECUTE, &second);
            assert_eq!(stage.lua("return table.concat(seen, ', ')"), "n:250 s:a, n:4294967295 s:bc");
            // Encoded again, with the same types, so that the client can go on leaving them out.
            stage.lua("again = true");
            wire.exchange(com::STMT_EXECUTE, &third);
            stage.lua("again = false");
            let rows = wire.exchange(com::STMT_EXECUTE, &second);
            assert_ne!(rows[0][0], 0xFF);
            assert_eq!(stage.lua("return seen[3] .. ', ' .. seen[4]"), "n:1 NULL, n:4294967295 s:bc");
            assert_eq!(
                stage.lua(
                    "local types = clients[1]:statement(clients[1]:statements()[1]):types()
                     return #types, types[1].type, types[1].unsigned, types[2].type, types[2].unsigned"
                ),
                "2\t3\ttrue\t253\tfalse"
            );
            stage.dpm.assert_no_errors();
        }
    }
}

both! {
    /// A script that executes with other types, or answers instead of the server, does not make the
    /// server misread the client's later values.
    fn types_that_a_script_changed(server) {
        let (mut stage, mut wire) = watched(server, MODERN);
        let statement = wire.prepare("SELECT CONCAT(?, '|', ?)");
        let mut first = head(statement, 0);
        first.extend_from_slice(&[0, 1, 3, 0x80, 253, 0, 0xFA, 0, 0, 0, 1, b'a']);
        let mut later = head(statement, 0);
        later.extend_from_slice(&[0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 2, b'b', b'c']);
        let result = b"\0\0\x0d4294967295|bc";
        stage.lua(
            "function other(change)
               clients[1]:register(dpm.MYC_SENT_CMD, function(cmd, id, client)
                 if cmd:command() == dpm.COM_STMT_EXECUTE then
                   local statement = client:statement(cmd:statement_id())
                   return change(statement, statement:decode(cmd))
                 end
               end)
             end
             other(function(statement, values)
               dpm.wire_packet(servers[1], statement:encode({ 'x', values[2] }, { types = { dpm.MYSQL_TYPE_BLOB } }))
               return dpm.DPM_NOPROXY
             end)",
        );
        let rows = wire.exchange(com::STMT_EXECUTE, &first);
        assert_eq!(rows[2], b"\0\0\x03x|a");
        stage.lua("other(function() end)");
        for _ in 0..2 {
            assert_eq!(wire.exchange(com::STMT_EXECUTE, &later)[2], result);
        }
        // Nobody has told the server anything of this one.
        let statement = wire.prepare("SELECT CONCAT(?, '|', ?, '')");
        for argument in [&mut first, &mut later] {
            argument[..4].copy_from_slice(&statement.to_le_bytes());
        }
        stage.lua(
            "other(function()
               dpm.wire_packet(clients[1], dpm.new_ok_pkt())
               return dpm.DPM_NOPROXY
             end)",
        );
        wire.exchange(com::STMT_EXECUTE, &first);
        stage.lua("clients[1]:register(dpm.MYC_SENT_CMD, nil)");
        for _ in 0..2 {
            assert_eq!(wire.exchange(com::STMT_EXECUTE, &later)[2], result);
        }
        // With DPM_FLUSH_DISCONNECT it is sent, and then the two are unlinked.
        stage.lua("servers[1]:register(dpm.MYS_GOT_CMD, function() got = servers[1]:remote_id() end)
                   other(function(statement, values)
                     dpm.wire_packet(servers[1], statement:encode({ 'x', values[2] }, { types = { dpm.MYSQL_TYPE_BLOB } }))
                     return dpm.DPM_NOPROXY
                   end)");
        wire.exchange(com::STMT_EXECUTE, &later);
        stage.lua("other(function() return dpm.DPM_FLUSH_DISCONNECT end)
                   rows = {}
                   h.register(servers[1], {
                     [dpm.MYS_SENT_RSET] = function(p) rset = p end,
                     [dpm.MYS_SENDING_ROWS] = function(row) rows[1] = rset:parse_row_array(row)[1] end,
                   })");
        wire.command(com::STMT_EXECUTE, &later);
        stage.until("rows[1] ~= nil");
        assert_eq!(stage.lua("return rows[1], servers[1]:remote_id()"), "4294967295|bc\t0");
        stage.dpm.assert_no_errors();
    }
}

both! {
    fn long_data(server) {
        let (mut stage, mut wire) = watched(server, MODERN);
        let statement = wire.prepare("SELECT LENGTH(?), ?");
        let piece = |bytes: &[u8]| [&statement.to_le_bytes()[..], &[0, 0], bytes].concat();
        let mut execute = head(statement, 0);
        execute.extend_from_slice(&[0, 1, 251, 0, 8, 0]);
        execute.extend_from_slice(&5u64.to_le_bytes());
        for again in [false, true] {
            stage.lua(&format!("again = {again}"));
            wire.command(com::STMT_SEND_LONG_DATA, &piece(b"abc"));
            wire.command(com::STMT_SEND_LONG_DATA, &piece(b"de"));
            let rows = wire.exchange(com::STMT_EXECUTE, &execute);
            assert_eq!(rows[3][2..6], 5u32.to_le_bytes(), "{rows:?}");
            assert_eq!(
                stage.lua("local s = clients[1]:statement(clients[1]:statements()[1])
                           return seen[#seen], s:long_data(1)"),
                "LONG n:5\t5\tabcde"
            );
            assert_eq!(stage.lua("return clients[1]:statement(clients[1]:statements()[1]):long_data(2)"), "nil");
        }
        // What is too much to be kept is counted.
        wire.command(com::STMT_SEND_LONG_DATA, &piece(&[b'x'; 600]));
        wire.command(com::STMT_SEND_LONG_DATA, &piece(&[b'x'; 600]));
        let rows = wire.exchange(com::STMT_EXECUTE, &execute);
        assert_eq!(rows[3][2..6], 1200u32.to_le_bytes());
        assert_eq!(
            stage.lua("return clients[1]:statement(clients[1]:statements()[1]):long_data(1)"),
            "1200\tnil"
        );
        // Long data is for one execute, and COM_STMT_RESET drops it.
        execute.extend_from_slice(&[]);
        let mut with_value = head(statement, 0);
        with_value.extend_from_slice(&[0, 1, 253, 0, 8, 0, 2, b'h', b'i']);
        with_value.extend_from_slice(&5u64.to_le_bytes());
        wire.exchange(com::STMT_EXECUTE, &with_value);
        assert_eq!(stage.lua("return seen[#seen]"), "s:hi n:5");
        wire.command(com::STMT_SEND_LONG_DATA, &piece(b"abc"));
        wire.exchange(com::STMT_RESET, &statement.to_le_bytes());
        wire.exchange(com::STMT_EXECUTE, &with_value);
        assert_eq!(stage.lua("return seen[#seen]"), "s:hi n:5");
        stage.dpm.assert_no_errors();
    }
}

both! {
    fn what_is_remembered_and_forgotten(server) {
        let (mut stage, mut wire) = watched(server, MODERN);
        let known = "return table.concat(clients[1]:statements(), ' ')";
        let one = wire.prepare("SELECT 1 AS a, ? AS b");
        let two = wire.prepare("SELECT 2");
        assert_eq!(stage.lua(known), format!("{one} {two}"));
        assert_eq!(
            stage.lua(&format!(
                "local s = clients[1]:statement({one})
                 return s:statement_id() == {one}, s:params(), s:columns(), s:column(1):name(), s:column(3),
                   s:param(1) ~= nil, s:param(2), s:types()"
            )),
            "true\t1\t2\ta\t8\tnil\ttrue\tnil\tnil".replace("a\t8", "a")
        );
        assert_eq!(stage.lua("return clients[1]:statement(0xFFFFFFFF):columns()"), "1");
        wire.command(com::STMT_CLOSE, &two.to_le_bytes());
        wire.exchange(com::PING, b"");
        assert_eq!(stage.lua(known), one.to_string());
        // A statement that could not be prepared is not the last one.
        assert_eq!(wire.exchange(com::STMT_PREPARE, b"SELEC 1")[0][0], 0xFF);
        assert_eq!(stage.lua("return clients[1]:statement(0xFFFFFFFF)"), "nil");
        wire.exchange(com::RESET_CONNECTION, b"");
        assert_eq!(stage.lua(known), "");
        // The server refuses an execute of an unknown statement.
        assert_eq!(wire.exchange(com::STMT_EXECUTE, &execute_argument(one, 0, &[None]))[0][0], 0xFF);
        assert_eq!(stage.lua("return seen[#seen]"), "unknown");

        // A server's, likewise, and by either end; but nothing where nobody asked for it.
        stage.lua("fails('track_statements', servers[1].statement, servers[1], 1)");
        stage.lua("servers[1]:track_statements(true) clients[1]:track_statements(false)");
        assert_eq!(stage.lua("return clients[1]:track_statements(), servers[1]:track_statements()"), "false\ttrue");
        let three = wire.prepare("SELECT ?");
        stage.lua("fails('track_statements', clients[1].statement, clients[1], 1)");
        assert_eq!(stage.lua(&format!("return servers[1]:statement({three}):params()")), "1");
        wire.command(com::STMT_CLOSE, &three.to_le_bytes());
        wire.exchange(com::PING, b"");
        assert_eq!(stage.lua("return #servers[1]:statements()"), "0");
        stage.lua("fails('a listener', h.listener.track_statements, h.listener, true)
                   fails('true or false', clients[1].track_statements, clients[1], 1)
                   fails('long_data', clients[1].track_statements, clients[1], true, { long = 1 })
                   fails('bytes', clients[1].track_statements, clients[1], true, { long_data = 'x' })");
        stage.dpm.assert_no_errors();
    }
}

both! {
    /// What a script notes of a statement stays with it on both ends, and goes with it.
    fn what_is_noted_of_a_statement(server) {
        let (mut stage, mut wire) = watched(server, MODERN);
        stage.lua("servers[1]:register(dpm.MYS_STMT_PREPARED, function(prepared)
                     prepared:notes().seen = prepared:sql()
                   end)
                   refs = dpm.stats().lua_refs");
        let one = wire.prepare("SELECT ? AS one");
        let other = wire.prepare("SELECT ? AS other");
        stage.lua(&format!("one, other = {one}, {other}"));
        stage.lua("kept = clients[1]:statement(one)
                   equal(kept:sql(), 'SELECT ? AS one')
                   equal(kept:notes().seen, 'SELECT ? AS one')
                   kept:notes().mine = kept
                   equal(clients[1]:statement(one):notes().mine, kept)
                   equal(clients[1]:statement(other):notes().seen, 'SELECT ? AS other')
                   equal(clients[1]:statement(other):notes().mine, nil)");
        wire.command(com::STMT_CLOSE, &one.to_le_bytes());
        wire.exchange(com::PING, b"");
        stage.lua("equal(kept:notes(), nil)
                   equal(dpm.new_prepared_pkt():notes(), nil)
                   equal(kept:sql(), 'SELECT ? AS one')
                   equal(clients[1]:statement(other):notes().seen, 'SELECT ? AS other')
                   clients[1]:track_statements(false)
                   servers[1]:track_statements(true)");
        wire.prepare("SELECT ? AS third");
        stage.until("dpm.stats().lua_refs == refs + 1");
        stage.dpm.assert_no_errors();
    }
}

/// A client that changes its user has no statements any more.
#[test]
fn change_user_forgets() {
    let (mut stage, mut wire) = watched(mariadb(), MODERN);
    wire.prepare("SELECT 1");
    assert_eq!(stage.lua("return #clients[1]:statements()"), "1");
    wire.command(
        com::CHANGE_USER,
        b"empty\0\0\0\x2d\0mysql_native_password\0",
    );
    wire.read();
    stage.until("#clients[1]:statements() == 0");
}

/// MariaDB's connectors send prepare and execute in one go.
#[test]
fn the_last_prepared() {
    let (mut stage, mut wire) = watched(mariadb(), MODERN);
    let sql = b"SELECT ? AS a";
    let mut both = Vec::new();
    for (command, argument) in [
        (com::STMT_PREPARE, &sql[..]),
        (
            com::STMT_EXECUTE,
            &execute_argument(u32::MAX, 0, &[Some(b"here")]),
        ),
    ] {
        let payload = [&[command], argument].concat();
        both.extend_from_slice(&crate::support::wire::frames(&payload, &mut 0));
    }
    wire.raw(&both);
    wire.seq = 1;
    wire.packets(com::STMT_PREPARE);
    wire.seq = 1;
    let rows = wire.packets(com::STMT_EXECUTE);
    assert_eq!(rows[2], b"\0\0\x04here");
    assert_eq!(stage.lua("return seen[1]"), "s:here");
    stage.dpm.assert_no_errors();
}

/// A script without a server.
#[test]
fn a_service_in_lua() {
    let dpm = Launch::script(&format!(
        "h = require('harness') dpml = require('dpml') {SHOW}
         local function prepare(client, sql)
           local prepared = dpm.new_prepared_pkt()
           prepared:statement_id(7)
           prepared:add_param(new_field('?', dpm.MYSQL_TYPE_LONGLONG))
           prepared:add_param(new_field('?'))
           prepared:add_column(new_field('twice', dpm.MYSQL_TYPE_LONGLONG))
           prepared:add_column(new_field('when', dpm.MYSQL_TYPE_DATETIME))
           prepared:add_column(new_field('text'))
           dpml.send_prepared(client, prepared)
         end
         local commands = {{
           [dpm.COM_STMT_PREPARE] = function(cmd, client)
             if cmd:argument() == 'nothing' then
               local prepared = dpm.new_prepared_pkt()
               prepared:statement_id(8)
               return dpml.send_prepared(client, prepared)
             end
             prepare(client, cmd:argument())
           end,
           [dpm.COM_STMT_EXECUTE] = function(cmd, client)
             if cmd:statement_id() == 8 then return dpml.send_resultset(client, {{ affected_rows = 3 }}) end
             local values, n = client:statement(cmd:statement_id()):decode(cmd, dpm.NULL)
             print('SEEN ' .. show_all(values, n))
             dpml.send_resultset(client, {{
               fields = {{ {{ name = 'twice', type = dpm.MYSQL_TYPE_LONGLONG }}, {{ name = 'when', type = dpm.MYSQL_TYPE_DATETIME }}, 'text' }},
               rows = {{
                 {{ values[1] * 2, '2024-02-29 01:02:03', values[2] }},
                 {{ nil, dpm.NULL, ('x'):rep(300) }},
               }},
             }})
           end,
           [dpm.COM_STMT_CLOSE] = function() end,
         }}
         h.serve(function(client)
           client:track_statements(true)
           client:register(dpm.MYC_SENT_CMD, function(cmd, id, client)
             local command = commands[cmd:command()]
             if command then command(cmd, client) return dpm.DPM_NOPROXY end
             if cmd:command() == dpm.COM_QUERY then
               dpml.send_resultset(client, {{ fields = {{ 'a' }}, rows = {{ {{ 'text' }} }} }})
               return dpm.DPM_NOPROXY
             end
           end)
           h.let_in(client)
         end)
         dpm.on_signal('USR1', h.print_stats)"
    ))
    .start();
    let port = dpm.port();
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login_empty(port, shape);
        let answer = wire.exchange(com::STMT_PREPARE, b"whatever");
        assert_eq!(answer.len(), if shape == PLAIN { 8 } else { 6 });
        for _ in 0..2 {
            let mut execute = head(7, 0);
            execute.extend_from_slice(&[0, 1, 8, 0, 253, 0]);
            execute.extend_from_slice(&21u64.to_le_bytes());
            execute.extend_from_slice(b"\x02hi");
            let rows = wire.exchange(com::STMT_EXECUTE, &execute);
            let rows = &rows[if shape == PLAIN { 5 } else { 4 }..];
            assert_eq!(
                rows[0],
                [
                    &b"\0\0\x2a\0\0\0\0\0\0\0\x07\xe8\x07\x02\x1d\x01\x02\x03"[..],
                    b"\x02hi"
                ]
                .concat()
            );
            assert_eq!(rows[1][..5], *b"\0\x0c\xfc\x2c\x01");
            // A plain query in between is answered in text.
            assert_eq!(wire.rows("SELECT"), [["text"]]);
        }
        let answer = wire.exchange(com::STMT_PREPARE, b"nothing");
        assert_eq!(answer.len(), 1);
        assert_eq!(
            wire.exchange(com::STMT_EXECUTE, &head(8, 0))[0][..2],
            [0, 3]
        );
    }
    // And a real client.
    let mut client = mysql::Conn::new(
        crate::support::options(port)
            .user(Some("empty"))
            .pass(None::<&str>),
    )
    .unwrap();
    let row: (i64, Value, String) = client.exec_first("whatever", (-4, "ü")).unwrap().unwrap();
    let when = Value::Date(2024, 2, 29, 1, 2, 3, 0);
    assert_eq!(row, (-8, when, "ü".to_owned()));
    dpm.line("SEEN n:-4 s:\\xc3\\xbc");
    dpm.assert_no_errors();
}

both! {
    /// The script prepares, executes, reads rows, and closes, by the low-level objects.
    fn a_script_that_executes(server) {
        for without in ["", "dpm.CLIENT_DEPRECATE_EOF"] {
            let mut stage = stage_before(server);
            stage.server_without(without);
            stage.lua(
                "s = servers[1]
                 log = {}
                 h.register(s, {
                   [dpm.MYS_STMT_PREPARED] = function(p) statement = p end,
                   [dpm.MYS_SENT_RSET] = function(p) rset = p equal(p:binary(), true) end,
                   [dpm.MYS_SENDING_ROWS] = function(row)
                     log[#log + 1] = show_all(rset:parse_row_array(row))
                   end,
                   [dpm.MYS_RECV_ERR] = function(err) log[#log + 1] = err:message() ended = true end,
                   [dpm.MYS_WAIT_CMD] = function(p) ended = true end,
                 })
                 function send(cmd) ended = false dpm.wire_packet(s, cmd) end
                 function command(number, argument)
                   local cmd = dpm.new_cmd_pkt()
                   cmd:command(number)
                   cmd:argument(argument or '')
                   return cmd
                 end
                 send(command(dpm.COM_STMT_PREPARE, 'SELECT ? AS a, ? AS b, ? AS c'))",
            );
            stage.until("ended");
            assert_eq!(
                stage.lua("return statement:params(), statement:columns(), (statement:column(2):name()), statement:param(3) ~= nil"),
                "3\t3\tb\ttrue"
            );
            // Types by the values, and given.
            for (values, options, row) in [
                ("{ 1, 'x' }", "nil", "s:1 s:x NULL"),
                (
                    "{ 9007199254740992, -9007199254740992, true }",
                    "nil",
                    "s:9007199254740992 s:-9007199254740992 s:1",
                ),
                (
                    "{ '18446744073709551615', '-9223372036854775808', 'x' }",
                    "{ types = { { type = dpm.MYSQL_TYPE_LONGLONG, unsigned = true }, dpm.MYSQL_TYPE_LONGLONG } }",
                    "s:18446744073709551615 s:-9223372036854775808 s:x",
                ),
                (
                    "{ '2024-02-29 23:59:59.500001', '-837:59:59.000001', '2024-02-29' }",
                    "{ types = { dpm.MYSQL_TYPE_DATETIME, dpm.MYSQL_TYPE_TIME, dpm.MYSQL_TYPE_DATE } }",
                    "s:2024-02-29 23:59:59.500001 s:-837:59:59.000001 s:2024-02-29",
                ),
                ("{ 0.1, nil, dpm.NULL }", "nil", "s:0.1 NULL NULL"),
            ] {
                // A statement of its own: MySQL keeps the type that a parameter had first.
                stage.lua("send(command(dpm.COM_STMT_PREPARE, 'SELECT ? AS a, ? AS b, ? AS c'))");
                stage.until("ended");
                stage.lua(&format!(
                    "log = {{}} send(statement:encode({values}, {options}))"
                ));
                stage.until("ended");
                assert_eq!(stage.lua("return log[1]"), row, "{values}");
            }
            stage.lua(
                "fails('4 values, but the statement takes 3', statement.encode, statement, { 1, 2, 3, 4 })
                 fails('parameter 1: -1 does not fit unsigned MYSQL_TYPE_TINY', statement.encode, statement, { -1 },
                   { types = { { type = dpm.MYSQL_TYPE_TINY, unsigned = true } } })
                 fails('value 2: expected a string, a number or NULL, got table', statement.encode, statement, { 1, {} })
                 fails('there is no option type', statement.encode, statement, {}, { type = {} })
                 fails('types[1]: expected a type', statement.encode, statement, {}, { types = { 'LONG' } })
                 fails('cursor', statement.encode, statement, {}, { cursor = 'yes' })
                 fails('CLIENT_QUERY_ATTRIBUTES', statement.encode, statement, {}, { attributes = { a = 1 } })
                 fails('DEFAULT', statement.encode, statement, { dpm.DEFAULT })
                 fails('COM_QUERY', statement.decode, statement, command(dpm.COM_QUERY, 'SELECT 1'))
                 fails('truncated', statement.decode, statement, command(dpm.COM_STMT_EXECUTE, 'xy'))
                 fails('cmd object', statement.decode, statement, 7)
                 local cmd = statement:encode { 1 }
                 equal(cmd:command(), dpm.COM_STMT_EXECUTE)
                 equal(cmd:statement_id(), statement:statement_id())
                 equal(show_all(statement:decode(cmd)), 'n:1 NULL NULL')
                 cmd:statement_id(7) equal(cmd:statement_id(), 7)",
            );

            // A cursor: the rows come when they are asked for.
            stage.lua(
                "send(command(dpm.COM_STMT_PREPARE, 'SELECT 1 AS n UNION SELECT 2 UNION SELECT 3 ORDER BY n'))",
            );
            stage.until("ended");
            stage.lua(
                "log = {}
                 local cmd = statement:encode(nil, { cursor = dpm.CURSOR_TYPE_READ_ONLY })
                 equal(cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY), true)
                 send(cmd)",
            );
            stage.until("ended");
            assert_eq!(stage.lua("return #log"), "0");
            for (count, rows) in [("2", "s:1,s:2"), ("5", "s:1,s:2,s:3")] {
                stage.lua(&format!(
                    "local cmd = command(dpm.COM_STMT_FETCH)
                     cmd:statement_id(statement:statement_id())
                     cmd:fetch_rows({count}) equal(cmd:fetch_rows(), {count})
                     send(cmd)"
                ));
                stage.until("ended");
                assert_eq!(stage.lua("return table.concat(log, ',')"), rows);
            }
            stage.dpm.assert_no_errors();
        }
    }
}

both! {
    /// The types that only one of the servers has, or that no execute can bring: their rows read the
    /// same in either protocol, and pack to the same bytes.
    fn rows_of_rarer_types(server) {
        let base = server.database();
        let (columns, values) = match server.flavour {
            Flavour::MariaDb => (
                "u UUID, i INET6, j JSON",
                "'123e4567-e89b-12d3-a456-426655440000', '::ffff:192.0.2.1', '{\"a\": [1, null]}'",
            ),
            _ => (
                "j JSON, v VECTOR(3)",
                "'{\"a\": [1, null]}', STRING_TO_VECTOR('[1, -0.5, 3e38]')",
            ),
        };
        server.sql(&format!(
            "CREATE TABLE {base}.t ({columns}, g GEOMETRY, b BIT(64), d DECIMAL(65,30), f FLOAT, z FLOAT);
             INSERT INTO {base}.t VALUES ({values}, ST_GeomFromText('POINT(1 2)'), ~0,
               -99999999999999999999999999999999999.999999999999999999999999999999, 1.5, NULL);"
        ));
        let mut stage = stage_before(server);
        let mut wire = stage.client(MODERN);
        stage.server();
        stage.link(1, 1);
        stage.lua(
            "seen = {}
             h.register(servers[1], {
               [dpm.MYS_SENT_RSET] = function(p) rset = p end,
               [dpm.MYS_SENDING_ROWS] = function(row)
                 local values, n = rset:parse_row_array(row)
                 seen[#seen + 1] = show_all(values, n)
                 dpm.wire_packet(clients[1], rset:pack_row(values))
                 return dpm.DPM_NOPROXY
               end,
             })",
        );
        let sql = format!("SELECT * FROM {base}.t");
        assert!(matches!(wire.query(&sql), Answer::Rows { .. }));
        let statement = wire.prepare(&sql);
        let through = wire.exchange(com::STMT_EXECUTE, &head(statement, 0));
        let mut direct = Wire::login_empty(server.port, MODERN);
        let statement = direct.prepare(&sql);
        assert_eq!(through, direct.exchange(com::STMT_EXECUTE, &head(statement, 0)));
        assert_eq!(stage.lua("return #seen, seen[1] == seen[2]"), "2\ttrue");
        stage.dpm.assert_no_errors();
    }
}

both! {
    fn out_parameters(server) {
        let base = server.database();
        server.sql(&format!(
            "USE {base};\nDELIMITER //\nCREATE PROCEDURE p(IN a INT, OUT b INT, INOUT c VARCHAR(20)) BEGIN SELECT a AS first; SET b = a * 2, c = CONCAT(c, '!'); END //"
        ));
        for without in ["", "dpm.CLIENT_DEPRECATE_EOF"] {
            let mut stage = stage_before(server);
            stage.server_without(without);
            stage.lua(&format!(
                "s = servers[1]
                 results, out = {{}}, {{}}
                 h.register(s, {{
                   [dpm.MYS_STMT_PREPARED] = function(p) statement = p end,
                   [dpm.MYS_SENT_RSET] = function(p) rset = p end,
                   [dpm.MYS_SENT_FIELDS] = function(eof) early = eof:server_status(dpm.SERVER_PS_OUT_PARAMS) end,
                   [dpm.MYS_SENDING_ROWS] = function(row)
                     results[#results + 1] = show_all(rset:parse_row_array(row))
                   end,
                   [dpm.MYS_SENDING_EOF] = function(eof)
                     out[#out + 1] = tostring(early or eof:server_status(dpm.SERVER_PS_OUT_PARAMS))
                   end,
                   [dpm.MYS_WAIT_CMD] = function(p)
                     if statement and not sent then
                       sent = true
                       dpm.wire_packet(s, statement:encode {{ 21, nil, 'hey' }})
                     elseif sent then done = true end
                   end,
                 }})
                 local cmd = dpm.new_cmd_pkt()
                 cmd:command(dpm.COM_STMT_PREPARE) cmd:argument('CALL {base}.p(?, ?, ?)')
                 dpm.wire_packet(s, cmd)"
            ));
            stage.until("done");
            assert_eq!(stage.lua("return table.concat(results, ' | ')"), "s:21 | s:42 s:hey!");
            assert_eq!(stage.lua("return table.concat(out, ' ')"), "false true");
            stage.dpm.assert_no_errors();
        }
    }
}

/// Two clients that share a statement of one server, each with an id and with types of its own.
#[test]
fn a_statement_that_clients_share() {
    let mut stage = stage_before(mariadb());
    let mut wires = [stage.client(MODERN), stage.client(PLAIN)];
    stage.server();
    stage.lua(
        "server, asked = servers[1], nil
         local function to_client(packet)
           dpm.wire_packet(asked, packet)
           return dpm.DPM_NOPROXY
         end
         h.register(server, {
           [dpm.MYS_STMT_PREPARED] = function(p) shared = p end,
           [dpm.MYS_SENT_RSET] = to_client,
           [dpm.MYS_SENDING_FIELDS] = function(field) return asked and to_client(field) end,
           [dpm.MYS_SENT_FIELDS] = function(eof) return asked and to_client(eof) end,
           [dpm.MYS_SENDING_ROWS] = to_client,
           [dpm.MYS_WAIT_CMD] = function(packet)
             if asked then to_client(packet) asked = nil else ready = true end
           end,
         })
         local cmd = dpm.new_cmd_pkt()
         cmd:command(dpm.COM_STMT_PREPARE) cmd:argument(\"SELECT CONCAT(?, '|', ?)\")
         dpm.wire_packet(server, cmd)
         for n, client in ipairs(clients) do
           client:track_statements(true)
           client:register(dpm.MYC_SENT_CMD, function(cmd, id, client)
             if cmd:command() == dpm.COM_STMT_PREPARE then
               shared:statement_id(100 * n)
               dpml.send_prepared(client, shared)
             elseif cmd:command() == dpm.COM_STMT_EXECUTE then
               asked = client
               dpm.wire_packet(server, own:encode((client:statement(cmd:statement_id()):decode(cmd))))
             end
             return dpm.DPM_NOPROXY
           end)
         end",
    );
    stage.until("ready");
    // Encodes with the server's id, however the other object is changed for the clients.
    stage.lua(
        "dpml = require('dpml')
         server:track_statements(true)
         own = dpm.new_prepared_pkt()
         own:statement_id(shared:statement_id()) own:params(2)",
    );
    let number = [0, 1, 3, 0, 253, 0, 7, 0, 0, 0, 1, b'x'];
    let text = [0, 1, 253, 0, 253, 0, 1, b'a', 1, b'y'];
    let sent: [(&[u8], &[u8], &[u8]); 2] = [
        (&number, &[0, 0, 8, 0, 0, 0, 1, b'x'], b"\0\0\x038|x"),
        (&text, &[0, 0, 1, b'b', 1, b'z'], b"\0\0\x03b|z"),
    ];
    for (wire, id) in wires.iter_mut().zip([100, 200]) {
        assert_eq!(wire.prepare("whatever"), id);
    }
    for (wire, (first, _, _)) in wires.iter_mut().zip(sent) {
        let id = if wire.capabilities & caps::DEPRECATE_EOF != 0 {
            100
        } else {
            200
        };
        wire.exchange(com::STMT_EXECUTE, &[head(id, 0), first.to_vec()].concat());
    }
    for (wire, (_, later, row)) in wires.iter_mut().zip(sent) {
        let id = if wire.capabilities & caps::DEPRECATE_EOF != 0 {
            100
        } else {
            200
        };
        let rows = wire.exchange(com::STMT_EXECUTE, &[head(id, 0), later.to_vec()].concat());
        assert!(rows.iter().any(|packet| packet == row), "{rows:?}");
    }
    stage.dpm.assert_no_errors();
}

/// Bulk executes, as bytes: scripts can decode what they encode.
#[test]
fn bulk_rows() {
    let mut stage = stage_before(mariadb());
    stage.lua(
        "local p = dpm.new_prepared_pkt()
         p:statement_id(3) p:params(2)
         local cmd = p:encode_bulk({ { 1, 'a' }, { nil, dpm.DEFAULT }, { -5, dpm.IGNORE }, { 7, dpm.NULL } })
         equal(cmd:command(), dpm.COM_STMT_BULK_EXECUTE)
         equal(cmd:statement_id(), 3)
         equal(cmd:execute_flags(128), true) equal(cmd:execute_flags(64), false)
         local rows = {}
         for values, n in p:decode_bulk(cmd) do rows[#rows + 1] = show_all(values, n) end
         equal(table.concat(rows, ' | '), 'n:1 s:a | NULL DEFAULT | n:-5 IGNORE | n:7 NULL')
         -- A column of several kinds is sent as text.
         cmd = p:encode_bulk({ { 1, 2 }, { 'x', 0.5 } }, { unit_results = true })
         equal(cmd:execute_flags(64), true)
         rows = {}
         for values, n in p:decode_bulk(cmd) do rows[#rows + 1] = show_all(values, n) end
         equal(table.concat(rows, ' | '), 's:1 s:2 | s:x s:0.5')
         fails('a bulk execute needs', p.encode_bulk, p, {})
         fails('3 values, but the statement takes 2', p.encode_bulk, p, { { 1, 2, 3 } })
         fails('COM_STMT_EXECUTE', p.decode_bulk, p, p:encode {})
         cmd:argument(cmd:argument() .. '\\9')
         local iterate = p:decode_bulk(cmd)
         iterate() iterate()
         fails('indicator', iterate)
         equal(iterate(), nil)
         -- Commands about statements, by hand.
         local long = dpm.new_cmd_pkt()
         equal(long:statement_id(), nil) equal(long:execute_flags(), nil) equal(long:fetch_rows(), nil)
         equal(long:long_data(), nil)
         fails('COM_QUERY has none', long.statement_id, long, 1)
         long:command(dpm.COM_STMT_SEND_LONG_DATA)
         long:statement_id(9)
         long:long_data(2, 'abc')
         equal(long:argument(), '\\9\\0\\0\\0\\1\\0abc')
         local param, data = long:long_data()
         equal(param, 2) equal(data, 'abc')",
    );
}

/// What the script has printed, once it has paused.
fn lines(dpm: &Dpm, prefix: &str) -> Vec<String> {
    dpm.count(prefix);
    dpm.lines(prefix)
}

/// A proxy that clients log in through, whose executes `change(statement, cmd, server)` sees.
fn changing(server: &Server, change: &str) -> Dpm {
    Dpm::start(
        &format!(
            "h = require('harness') {SHOW}
             local function change(statement, cmd, server) {change} end
             h.listen(function(c)
               local s = dpm.connect(arg[1], tonumber(arg[2]))
               h.pairs[c:id()] = {{ c, s }}
               c:track_statements(true)
               c:register(dpm.MYC_SENT_CMD, function(cmd)
                 local com = cmd:command()
                 if com == dpm.COM_STMT_EXECUTE or com == dpm.COM_STMT_BULK_EXECUTE then
                   return change(c:statement(cmd:statement_id()), cmd, s)
                 end
               end)
               dpm.proxy_connect(c, s)
             end)
             dpm.on_signal('USR1', h.print_stats)"
        ),
        server,
    )
}

/// MariaDB's bulk executes: read, and made again.
#[test]
fn bulk_executes() {
    for server in [Some(mariadb()), mariadb11()].into_iter().flatten() {
        let base = server.database();
        server.sql(&format!(
            "CREATE TABLE {base}.t (a BIGINT, b VARCHAR(20) DEFAULT 'default')"
        ));
        let dpm = changing(
            server,
            "local rows = {}
             for values, n in statement:decode_bulk(cmd) do
               print('SEEN ' .. show_all(values, n))
               rows[#rows + 1] = values
             end
             dpm.wire_packet(server, statement:encode_bulk(rows))
             return dpm.DPM_NOPROXY",
        );
        let mut wire = Wire::login_extended(dpm.port(), MODERN, caps::extended::BULK);
        let id = wire.prepare(&format!("INSERT INTO {base}.t VALUES (?, ?)"));
        let rows =
            b"\0\x01\0\0\0\0\0\0\x80\0\x01a\x01\x02\0\xff\xff\xff\xff\xff\xff\xff\xff\0\x02bc";
        let mut bulk = id.to_le_bytes().to_vec();
        bulk.extend_from_slice(&[128, 0, 8, 0, 253, 0]);
        bulk.extend_from_slice(rows);
        let answer = wire.exchange(com::STMT_BULK_EXECUTE, &bulk);
        assert_eq!(answer[0][..2], [0, 3], "{answer:?}");
        // And with the types left out.
        let mut bulk = id.to_le_bytes().to_vec();
        bulk.extend_from_slice(&[0, 0]);
        bulk.extend_from_slice(b"\0\x05\0\0\0\0\0\0\0\x01");
        let answer = wire.exchange(com::STMT_BULK_EXECUTE, &bulk);
        assert_eq!(answer[0][..2], [0, 1], "{answer:?}");
        assert_eq!(
            lines(&dpm, "SEEN "),
            [
                "s:-9223372036854775807 s:a",
                "NULL DEFAULT",
                "n:-1 s:bc",
                "n:5 NULL"
            ]
        );
        assert_eq!(
            server.sql(&format!("SELECT * FROM {base}.t")),
            "-9223372036854775807\ta\nNULL\tdefault\n-1\tbc\n5\tNULL\n"
        );
        dpm.assert_no_errors();
    }
}

/// MySQL's query attributes come with an execute, and can be put into one.
#[test]
fn attributes_of_executes() {
    let Some(server) = mysql() else { return };
    let dpm = changing(
        server,
        "local values, n, attributes = statement:decode(cmd)
         print('SEEN ' .. show_all(values, n) .. ' trace=' .. show(attributes and attributes.trace))
         local more = { trace = (attributes and attributes.trace or 'none') .. '!', n = 7 }
         cmd = statement:encode(values, { attributes = more })
         values, n, attributes = statement:decode(cmd)
         print('SENT ' .. show_all(values, n) .. ' trace=' .. show(attributes.trace) .. ' n=' .. show(attributes.n))
         dpm.wire_packet(server, cmd)
         return dpm.DPM_NOPROXY",
    );
    let mut wire = Wire::login_empty(dpm.port(), MODERN | caps::QUERY_ATTRIBUTES);
    let id = wire.prepare("SELECT ?");
    let mut execute = vec![com::STMT_EXECUTE];
    execute.extend_from_slice(&head(id, 8));
    execute.extend_from_slice(b"\x02\0\x01\xfd\0\0\xfe\0\x05trace\x01x\x03abc");
    for _ in 0..2 {
        wire.seq = 0;
        wire.write(&execute);
        let rows = wire.packets(com::STMT_EXECUTE);
        assert_eq!(rows[2], b"\0\0\x01x", "{rows:?}");
    }
    // Without any, with the types left out, which the one before has sent for both.
    let mut execute = vec![com::STMT_EXECUTE];
    execute.extend_from_slice(&head(id, 8));
    execute.extend_from_slice(b"\x01\0\0\x01y");
    wire.seq = 0;
    wire.write(&execute);
    assert_eq!(wire.packets(com::STMT_EXECUTE)[2], b"\0\0\x01y");
    assert_eq!(
        lines(&dpm, "SENT "),
        [
            "s:x trace=s:abc! n=n:7",
            "s:x trace=s:abc! n=n:7",
            "s:y trace=s:none! n=n:7"
        ]
    );
    assert_eq!(lines(&dpm, "SEEN ")[2], "s:y trace=NULL");
    dpm.assert_no_errors();
}

/// MariaDB leaves out columns that the client has had before; MySQL leaves out all, if told to.
#[test]
fn results_without_columns() {
    let script = format!(
        "h = require('harness') {SHOW}
         local rset
         h.passthrough({{}}, {{
           [dpm.MYS_SENT_RSET] = function(p) rset = p end,
           [dpm.MYS_SENDING_ROWS] = function(row)
             local values, n = rset:parse_row_array(row)
             local named = rset:parse_row_table(row)
             assert(rset:field(1):name() == 'a' and rset:field(n + 1) == nil and rset:field(0) == nil)
             print('SEEN ' .. tostring(rset:fields_follow()) .. ' ' .. show_all(values, n) .. ' ' .. show(named.a))
           end,
         }})
         dpm.on_signal('USR1', h.print_stats)"
    );
    for server in [Some(mariadb()), mariadb11(), mysql()]
        .into_iter()
        .flatten()
    {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (a BIGINT, b DATE); INSERT INTO {base}.t VALUES (7, '2024-02-29')"));
        let dpm = Dpm::start(&script, server);
        let mut wire = match server.flavour {
            Flavour::MySql => Wire::login_empty(dpm.port(), MODERN | caps::OPTIONAL_METADATA),
            _ => Wire::login_extended(dpm.port(), MODERN, caps::extended::CACHE),
        };
        let one = wire.prepare(&format!("SELECT * FROM {base}.t"));
        let two = wire.prepare(&format!("SELECT 'x' AS a, t.* FROM {base}.t"));
        if server.flavour == Flavour::MySql {
            wire.exchange(com::QUERY, b"SET resultset_metadata = NONE");
        }
        for id in [one, two, one, two, one] {
            wire.exchange(com::STMT_EXECUTE, &head(id, 0));
        }
        let seen = lines(&dpm, "SEEN ");
        assert_eq!(seen.len(), 5);
        assert!(seen[4].starts_with("false "), "{seen:?}");
        for (at, line) in seen.iter().enumerate() {
            let (_, values) = line.split_once(' ').unwrap();
            let wanted = ["s:7 s:2024-02-29 s:7", "s:x s:7 s:2024-02-29 s:7"];
            // Of two columns of one name the last counts.
            assert_eq!(values, wanted[at % 2], "{seen:?}");
        }
        // Columns that have changed come again, where the server sends any.
        server.sql(&format!(
            "ALTER TABLE {base}.t MODIFY a VARCHAR(20), MODIFY b VARCHAR(20)"
        ));
        if server.flavour != Flavour::MySql {
            for _ in 0..2 {
                wire.exchange(com::STMT_EXECUTE, &head(one, 0));
            }
            let seen = lines(&dpm, "SEEN ");
            assert_eq!(seen[5], "true s:7 s:2024-02-29 s:7");
            assert_eq!(seen[6], "false s:7 s:2024-02-29 s:7");
        }
        dpm.assert_no_errors();
    }
}

/// Runs a script that has a logged-in `server`, which it must close, and gives what it prints.
#[track_caller]
fn with_server(server: &Server, body: &str) -> Vec<String> {
    let path = process::folder("prepared").join("start.lua");
    let script = format!(
        "local dpml = require 'dpml' h = {{ quote = tostring }} {SHOW}
         local function body(server) {body} end
         dpml.connect_mysql_server {{
           host = arg[1], port = tonumber(arg[2]), user = 'empty', pass = '', db = 'test',
           callback = function(server, err) assert(server, err) body(server) end,
         }}"
    );
    std::fs::write(&path, script).unwrap();
    let mut command = process::command(env!("CARGO_BIN_EXE_dpm"));
    command
        .arg("--startfile")
        .arg(path)
        .args(["--", "127.0.0.1", &server.port.to_string()])
        .env_remove("RUST_LOG");
    let done = process::run(command, Vec::new(), std::time::Duration::from_secs(20));
    assert_eq!(done.code, 0, "{}{}", done.out(), done.err());
    assert!(
        !done.err().contains("traceback"),
        "{}{}",
        done.out(),
        done.err()
    );
    done.out().lines().map(str::to_owned).collect()
}

both! {
    fn prepared_by_dpml(server) {
        let lines = with_server(
            server,
            "local left = 6
             local function finished(name)
               return function(id, sql, result, err)
                 equal(id, server:id())
                 local text = err and tostring(err) or ''
                 while result do
                   if result.fields then
                     for _, row in ipairs(result.rows) do text = text .. ' | ' .. show_all(row, #result.fields) end
                   else
                     text = text .. ' | ok ' .. result.affected_rows
                   end
                   result = result.next
                 end
                 print(name, text)
                 left = left - 1
                 if left == 0 then
                   dpml.execute_query_buffered(server, \"SHOW SESSION STATUS LIKE 'Com_stmt_%'\", function(_, _, result)
                     for _, row in ipairs(result.rows) do
                       if row[1]:match('prepare$') or row[1]:match('close$') or row[1]:match('execute$') then print(row[1], row[2]) end
                     end
                     dpm.close(server)
                   end)
                 end
               end
             end
             dpml.execute_prepared(server, 'SELECT ? AS a, ? AS b, ? AS c', { 1, nil, 'x' }, finished('select'))
             dpml.execute_query_buffered(server, 'SELECT 2', finished('query'))
             dpml.execute_prepared(server, 'SELECT nonsense(', { 1 }, finished('error'))
             dpml.execute_prepared(server, 'SELECT ?', { 1, 2 }, finished('too many'))
             dpml.execute_prepared(server, 'DO ?', { '18446744073709551615' }, finished('do'),
               { types = { { type = dpm.MYSQL_TYPE_LONGLONG, unsigned = true } } })
             dpml.execute_prepared(server, 'SELECT 1 FROM DUAL WHERE 0', nil, finished('empty'))",
        );
        assert!(
            lines.contains(&"select\t | s:1 NULL s:x".to_owned()),
            "{lines:?}"
        );
        assert!(lines.contains(&"query\t | s:2".to_owned()), "{lines:?}");
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("error\tERROR 1064 (42000): ")),
            "{lines:?}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("too many\tERROR 2034 (HY000): ")
                    && line.contains("there are 2 values, but the statement takes 1")),
            "{lines:?}"
        );
        assert!(lines.contains(&"do\t | ok 0".to_owned()), "{lines:?}");
        assert!(lines.contains(&"empty\t".to_owned()), "{lines:?}");
        // All that were prepared were closed.
        assert!(lines.contains(&"Com_stmt_close\t4".to_owned()), "{lines:?}");
        assert!(
            lines.contains(&"Com_stmt_execute\t3".to_owned()),
            "{lines:?}"
        );
    }
}

#[test]
fn execute_prepared_hears_of_a_death() {
    let lines = with_server(
        mariadb(),
        "dpml.execute_prepared(server, 'SELECT SLEEP(?)', { 30 }, function(_, _, result, err)
           print(tostring(result), err.errnum)
           dpml.execute_prepared(server, 'SELECT 1', {}, function(_, _, _, err) print(err.errnum) end)
         end)
         dpm.new_timer():schedule(0, 200, function(timer) timer:cancel() dpm.close(server) end)",
    );
    assert_eq!(lines, ["nil\t2013", "2006"]);
}

/// A row that is packed for a binary result before its first row has come is a binary row.
#[test]
fn rows_in_front_of_a_binary_result() {
    for shape in [PLAIN, MODERN] {
        let mut stage = stage_before(mariadb());
        let mut wire = stage.client(shape);
        stage.server();
        stage.link(1, 1);
        stage.lua(
            "h.register(servers[1], {
               [dpm.MYS_SENT_RSET] = function(p) rset = p end,
               [dpm.MYS_SENT_FIELDS] = function(eof)
                 if not rset then return end
                 dpm.wire_packet(clients[1], eof)
                 local row = dpm.new_row_pkt()
                 rset:pack_row(row, { 5, 'first' })
                 dpm.wire_packet(clients[1], row)
                 rset = nil
                 return dpm.DPM_NOPROXY
               end,
             })",
        );
        let statement = wire.prepare("SELECT CAST(7 AS SIGNED) AS a, 'second' AS b");
        let rows = wire.exchange(com::STMT_EXECUTE, &execute_argument(statement, 0, &[]));
        let rows = &rows[rows.len() - 3..];
        let (first, second) = (&rows[0], &rows[1]);
        assert_eq!(first.len() + 1, second.len(), "{rows:?}");
        assert_eq!(first[..2], [0, 0]);
        assert!(first.ends_with(b"\x05first") && second.ends_with(b"\x06second"));
        assert_eq!(
            wire.rows("SELECT 1 AS a, 'x' AS b"),
            [["5", "first"], ["1", "x"]]
        );
        stage.dpm.assert_no_errors();
    }
}

/// Malformed executes only cause an error.
#[test]
fn hostile_executes() {
    let (mut stage, mut wire) = watched(mariadb(), MODERN);
    let statement = wire.prepare("SELECT ?, ?");
    for rest in [
        &b""[..],
        b"\0",
        b"\0\x01\xfd",
        b"\0\x01\xfd\0\xfd\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\x01\x14\0\xfd\0\0",
        b"\0\0\0",
        b"\0\x01\x0c\0\xfd\0\x0b\xe8\x03\x01\x01\0\0\0\xff\xff\xff\xff\0",
        b"\0\x01\xfd\0\xfd\0\0\0trailing",
    ] {
        wire.exchange(
            com::STMT_EXECUTE,
            &[head(statement, 0), rest.to_vec()].concat(),
        );
        let seen = stage.lua("return seen[#seen]");
        assert!(
            seen.contains("prepared:decode: execute packet: field"),
            "{rest:?}: {seen}"
        );
    }
    // Long data for a parameter that there is not, and cut short.
    for argument in [
        &[statement.to_le_bytes(), [9, 0, 1, 2]].concat()[..],
        &[1, 0],
        &[],
    ] {
        wire.command(com::STMT_SEND_LONG_DATA, argument);
    }
    wire.exchange(com::STMT_RESET, &statement.to_le_bytes());
    let rows = wire.exchange(
        com::STMT_EXECUTE,
        &execute_argument(statement, 0, &[None, Some(b"x")]),
    );
    assert_ne!(rows[0][0], 0xFF);
    assert_eq!(stage.lua("return seen[#seen]"), "NULL s:x");
}

/// A client that prepares without end does not fill the memory.
#[test]
fn statements_are_bounded() {
    let dpm = Launch::script(
        "h = require('harness')
         h.serve(function(client)
           client:track_statements(true)
           local n = 0
           client:register(dpm.MYC_SENT_CMD, function(cmd, id, client)
             if cmd:command() == dpm.COM_STMT_PREPARE then
               n = n + 1
               local prepared = dpm.new_prepared_pkt()
               prepared:statement_id(n)
               dpm.wire_packet(client, prepared)
               return dpm.DPM_NOPROXY
             end
             local ids = client:statements()
             local ok = dpm.new_ok_pkt()
             ok:message(#ids .. ' ' .. ids[1] .. ' ' .. ids[#ids])
             dpm.wire_packet(client, ok)
             return dpm.DPM_NOPROXY
           end)
           h.let_in(client)
         end)",
    )
    .start();
    let mut wire = Wire::login_empty(dpm.port(), MODERN);
    for _ in 0..5000 {
        wire.prepare("");
    }
    match wire.query("") {
        Answer::Ok(packet) => assert!(packet.ends_with(b"4096 905 5000"), "{packet:?}"),
        other => panic!("{other:?}"),
    }
}

both! {
    fn the_demo(server) {
        let dpm = Launch::demo("prepared", server).start();
        let mut client = connect(dpm.listening());
        let sum: Option<i64> = client.exec_first("SELECT ? + LENGTH(?)", (40, "it's")).unwrap();
        assert_eq!(sum, Some(44));
        dpm.line(": SELECT ? + LENGTH(?) <- 40, 'it\\x27s'");
    }
}
