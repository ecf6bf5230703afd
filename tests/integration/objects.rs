//! The objects of scripts: what they read and write, and what they refuse.

use crate::support::exchange::execute_argument;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Server, Stage, both, let_time_pass, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;

/// A stage whose Lua has `fails(wanted, f, …)` and `equal(a, b)`.
fn stage() -> Stage {
    stage_before(mariadb())
}

fn stage_before(server: &Server) -> Stage {
    let mut stage = Stage::before(server.port);
    stage.lua(
        "function fails(wanted, f, ...)
           local ok, message = pcall(f, ...)
           if ok then error('no error, wanted: ' .. wanted, 2) end
           if not tostring(message):find(wanted, 1, true) then
             error(tostring(message) .. ' does not have: ' .. wanted, 2)
           end
         end
         function equal(a, b)
           if a ~= b then error(('%s is not %s'):format(tostring(a), tostring(b)), 2) end
         end",
    );
    stage
}

#[test]
fn integers_read_write_and_refuse() {
    stage().lua(
        "local u8, u16, u32, u64 = 255, 65535, 4294967295, '18446744073709551615'
         for _, case in ipairs {
           { 'handshake', 'server_language', u8 }, { 'auth', 'max_packet_size', u32 },
           { 'auth', 'charset_number', u8 }, { 'ok', 'affected_rows', u64 }, { 'ok', 'insert_id', u64 },
           { 'ok', 'warning_count', u16 }, { 'err', 'errnum', u16 }, { 'cmd', 'command', u8 },
           { 'eof', 'warning_count', u16 }, { 'field', 'charset_number', u16 }, { 'field', 'length', u32 },
           { 'field', 'type', u8 }, { 'field', 'decimals', u8 }, { 'rset', 'field_count', u16 },
         } do
           local object, name, max = dpm['new_' .. case[1] .. '_pkt'](), case[2], case[3]
           local accessor, full = object[name], case[1] .. ':' .. name
           for _, value in ipairs { 0, 1, 200, max } do
             accessor(object, value)
             equal(accessor(object), value)
           end
           for _, wrong in ipairs { -1, 1.5, 0/0, 1/0, -1/0, true, {}, print, 'x', '', '-1', '1e3', ' 1', dpm.NULL } do
             fails(full, accessor, object, wrong)
           end
           fails(full, accessor, object, nil)
           equal(accessor(object), max)
           if max == u64 then
             fails(full, accessor, object, '18446744073709551616')
             fails('above 2^53', accessor, object, 2^53 + 2)
             for _, value in ipairs { '9007199254740993', '9223372036854775808' } do
               accessor(object, value) equal(accessor(object), value)
             end
             accessor(object, '12') equal(accessor(object), 12)
             accessor(object, 2^53) equal(accessor(object), 2^53)
           else
             fails('to ' .. max, accessor, object, max + 1)
             fails(full, accessor, object, '1')
           end
         end",
    );
}

#[test]
fn strings_read_write_and_refuse() {
    stage().lua(
        "for _, case in ipairs {
           { 'auth', 'user', 512, true }, { 'auth', 'databasename', 512, true }, { 'ok', 'message', 65535 },
           { 'err', 'message', 65535 }, { 'cmd', 'argument', 2^20 }, { 'stats', 'message', 2^20 },
           { 'field', 'table', 65535 }, { 'field', 'org_name', 65535 }, { 'field', 'db', 65535 },
         } do
           local object, name, max = dpm['new_' .. case[1] .. '_pkt'](), case[2], case[3]
           local accessor, full = object[name], case[1] .. ':' .. name
           for _, value in ipairs { '', 'x', '\\195\\164\\255', ('y'):rep(max) } do
             accessor(object, value)
             equal(accessor(object), value)
           end
           if case[4] then fails('without NUL', accessor, object, 'a\\0b')
           else accessor(object, 'a\\0b') equal(accessor(object), 'a\\0b') end
           local before = accessor(object)
           if max < 2^20 then fails(full, accessor, object, ('z'):rep(max + 1)) end
           for _, wrong in ipairs { 5, true, {}, print, dpm.NULL } do fails(full, accessor, object, wrong) end
           equal(accessor(object), before)
         end
         local err = dpm.new_err_pkt()
         for _, wrong in ipairs { '', '4200', '420000' } do fails('exactly 5', err.sqlstate, err, wrong) end
         equal(dpm.new_cmd_pkt():argument(), '')",
    );
}

#[test]
fn what_is_read_only_says_so() {
    let mut stage = stage();
    let _client = stage.client(PLAIN);
    stage.lua(
        "local handshake = dpm.new_handshake_pkt()
         for _, name in ipairs { 'protocol_version', 'server_version', 'thread_id', 'scramble_buff' } do
           fails('handshake:' .. name, handshake[name], handshake, 1)
           fails('read-only', handshake[name], handshake, 'x')
         end
         local conn = clients[1]
         for _, name in ipairs { 'id', 'remote_id', 'listener', 'my_type', 'socket_address', 'socket_port',
             'secure', 'state', 'close_reason' } do
           fails('conn:' .. name, conn[name], conn, 1)
         end
         fails('must be called on conn', conn.id)
         fails('must be called on conn', conn.id, handshake)",
    );
}

#[test]
fn flags_read_and_write_bit_by_bit() {
    stage().lua(
        "for _, case in ipairs {
           { 'ok', 'server_status', 'SERVER_STATUS_IN_TRANS', 65535 },
           { 'eof', 'server_status', 'SERVER_MORE_RESULTS_EXISTS', 65535 },
           { 'handshake', 'server_status', 'SERVER_STATUS_IN_TRANS', 65535 },
           { 'handshake', 'server_capabilities', 'CLIENT_DEPRECATE_EOF' },
           { 'auth', 'client_flags', 'CLIENT_FOUND_ROWS' },
           { 'field', 'flags', 'PRI_KEY_FLAG', 65535 },
         } do
           local object, flag = dpm['new_' .. case[1] .. '_pkt'](), dpm[case[3]]
           local f = object[case[2]]
           f(object, flag, false)
           local without = f(object)
           equal(f(object, flag), false)
           f(object, flag, true)
           equal(f(object, flag), true)
           equal(f(object), without + flag)
           f(object, flag, true)
           equal(f(object), without + flag)
           f(object, flag, false)
           equal(f(object), without)
           for _, wrong in ipairs { -1, 1.5, 'x', {}, true } do fails(case[1] .. ':' .. case[2], f, object, wrong) end
           for _, wrong in ipairs { 1, 'true', {}, dpm.NULL } do fails('true or false', f, object, flag, wrong) end
           if case[4] then fails(case[1], f, object, case[4] + 1) end
         end",
    );
}

#[test]
fn connections_tell_what_they_are() {
    let mut stage = stage();
    let _client = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    stage.lua(
        "local c, s, l = clients[1], servers[1], h.listener
         equal(c:my_type(), dpm.MY_CLIENT) equal(s:my_type(), dpm.MY_SERVER)
         equal(c:listener(), 0) equal(s:listener(), 0) equal(l:listener(), 1)
         equal(c:socket_address(), '127.0.0.1') equal(s:socket_port(), tonumber(arg[2]))
         equal(c:secure(), false) equal(s:secure(), false) equal(l:secure(), false)
         equal(c:remote_id(), s:id()) equal(s:remote_id(), c:id()) equal(l:remote_id(), 0)
         assert(c:id() ~= s:id() and c:id() > 0)
         equal(c:close_reason(), nil) equal(c:pending(), 0)
         equal(c:state(), dpm.MYC_WAITING) equal(s:state(), dpm.MYS_WAIT_CMD)
         local f = function() end
         c:register(dpm.MYC_SENT_CMD, f)
         equal(c:register(dpm.MYC_SENT_CMD), f)
         c:register(dpm.MYC_SENT_CMD, nil)
         equal(c:register(dpm.MYC_SENT_CMD), nil)
         fails('conn:register: state', c.register, c, 'MYC_SENT_CMD', f)
         fails('conn:register: function', c.register, c, dpm.MYC_SENT_CMD, 5)
         fails('conn:on_close', c.on_close, c)
         fails('conn:package_register', c.package_register, c, {})
         equal(dpm.close(s), 1) equal(dpm.close(s), nil)
         equal(s:close_reason(), 'the script closed it')
         assert(tostring(c):find('client', 1, true) and tostring(l):find('listener', 1, true))",
    );
}

both! {
fn text_and_binary_rows_parse_to_the_same_values(server) {
    let base = server.database();
    server.sql(&format!(
        "USE {base}; SET sql_mode = '';
         CREATE TABLE t (a TINYINT, b TINYINT UNSIGNED, c SMALLINT, d MEDIUMINT, e INT UNSIGNED, f BIGINT,
           g BIGINT UNSIGNED, h DECIMAL(30,10), i DOUBLE, j DATE, k DATETIME, l DATETIME(6), m TIMESTAMP(3) NULL,
           n TIME, o TIME(6), p YEAR, q VARCHAR(50), r VARBINARY(50), s TEXT, t BLOB, u BIT(12), v ENUM('x','y'),
           w SET('p','q'), x CHAR(5), y BOOL, z INT(5) ZEROFILL);
         INSERT INTO t VALUES
           (-128, 255, -32768, -8388608, 4294967295, -9223372036854775808, 18446744073709551615,
            -12345678901234567890.0123456789, 0.1, '2024-02-29', '2024-02-29 23:59:59', '2024-02-29 23:59:59.000001',
            '2024-02-29 12:00:00.120', '-838:59:59', '12:34:56.000100', 2155, 'ünï', x'00FF', 'text', x'0001', b'101010101010',
            'y', 'p,q', 'ab', 1, 7),
           (127, 0, 32767, 8388607, 0, 9223372036854775807, 0, 0, -1e300, '0000-00-00', '0000-00-00 00:00:00',
            '1000-01-01 00:00:00', NULL, '00:00:00', '-00:00:00.500000', 1901, '', '', '', '', b'0', 'x', '', '', 0, 123456),
           (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
           (0, 1, 2, 3, 4, 5, 6, 7.5, 1e15, '2001-01-01', '2001-01-01 00:00:00', '2001-01-01 01:02:03.100000',
            '2001-01-01 00:00:00', '24:00:00', '100:00:00', 2000, 'x', 'y', 'z', 'b', b'1', 'x', 'q', 'abcde', 1, 0)"
    ));
    for shape in [PLAIN, PLAIN | caps::DEPRECATE_EOF] {
        let mut stage = stage_before(server);
        let mut wire = stage.client(shape);
        stage.server();
        stage.link(1, 1);
        stage.lua(
            "results = {}
             h.register(servers[1], {
               [dpm.MYS_SENT_RSET] = function(p) rset, rows = p, {} results[#results + 1] = rows end,
               [dpm.MYS_SENDING_ROWS] = function(row)
                 local values, count = rset:parse_row_array(row, dpm.NULL)
                 rows[#rows + 1] = { values, rset:parse_row_table(row, dpm.NULL), count }
               end,
             })",
        );
        wire.command(com::INIT_DB, base.as_bytes());
        wire.read();
        let sql = "SELECT * FROM t";
        assert!(matches!(wire.query(sql), Answer::Rows { .. }));
        let statement = wire.prepare(sql);
        wire.exchange(com::STMT_EXECUTE, &execute_argument(statement, 0, &[]));
        wire.exchange(com::STMT_EXECUTE, &execute_argument(statement, 1, &[]));
        wire.exchange(
            com::STMT_FETCH,
            &[statement.to_le_bytes(), 10u32.to_le_bytes()].concat(),
        );
        stage.lua(
            "equal(#results, 3)
             equal(#results[1], 4)
             for other = 2, 3 do
               equal(#results[other], 4)
               for r, text in ipairs(results[1]) do
                 local binary = results[other][r]
                 equal(text[3], 26) equal(binary[3], 26)
                 for i = 1, 26 do
                   if text[1][i] ~= binary[1][i] then
                     error(('row %d, column %d: %s, %s'):format(r, i, tostring(text[1][i]), tostring(binary[1][i])))
                   end
                 end
                 for name, value in pairs(text[2]) do equal(binary[2][name], value) end
               end
             end
             equal(results[1][3][1][1], dpm.NULL)",
        );
        stage.dpm.assert_no_errors();
    }
}
}

#[test]
fn null_reads_as_nil_or_as_what_fills_the_hole() {
    stage().lua(
        "local rset, row = dpm.new_rset_pkt(), dpm.new_row_pkt()
         for i = 1, 3 do
           local f = dpm.new_field_pkt() f:name('c' .. i) rset:add_field(f)
         end
         for _, values in ipairs { {}, { nil, nil, nil }, { dpm.NULL }, { dpm.NULL, nil, dpm.NULL } } do
           rset:pack_row(row, values)
           local array, count = rset:parse_row_array(row)
           equal(next(array), nil) equal(count, 3)
           array, count = rset:parse_row_array(row, dpm.NULL)
           for i = 1, 3 do equal(array[i], dpm.NULL) end
           equal(#array, 3) equal(count, 3)
         end
         rset:pack_row(row, { nil, 'x' })
         local array, count = rset:parse_row_array(row)
         equal(array[1], nil) equal(array[2], 'x') equal(count, 3)
         equal(rset:parse_row_table(row).c2, 'x')
         -- Numbers as Lua prints them, exactly.
         rset:pack_row(row, { 2^53, -1, 0.5 })
         equal(table.concat(rset:parse_row_array(row), ' '), '9007199254740992 -1 0.5')
         fails('rset:pack_row', rset.pack_row, rset, row, { print })",
    );
}

#[test]
fn passwords_of_known_hashes() {
    let mut stage = stage();
    let hash = mariadb().sql("SELECT PASSWORD('wheefun')");
    stage.lua(&format!(
        "local auth, hs = dpm.new_auth_pkt(), dpm.new_handshake_pkt()
         local hash = '{}'
         for _ = 1, 20 do
           hs = dpm.new_handshake_pkt()
           dpm.crypt_pass(auth, hs, 'wheefun')
           equal(dpm.check_pass(auth, hs, hash), 0)
           dpm.crypt_pass(auth, hs, 'wheefum')
           assert(dpm.check_pass(auth, hs, hash) ~= 0)
         end
         dpm.crypt_pass(auth, hs, '')
         equal(dpm.check_pass(auth, hs, ''), 0)
         assert(dpm.check_pass(auth, hs, hash) ~= 0)
         dpm.crypt_pass(auth, hs, 'x')
         assert(dpm.check_pass(auth, hs, '') ~= 0)
         fails('dpm.crypt_pass', dpm.crypt_pass, auth, hs)
         fails('dpm.crypt_pass', dpm.crypt_pass, hs, auth, 'x')
         fails('dpm.check_pass', dpm.check_pass, auth, hs)
         fails('dpm.check_pass', dpm.check_pass, auth, hs, hash .. '0')",
        hash.trim()
    ));
}

/// A script that accepts logins with the right password, for its own handshake.
#[test]
fn a_script_checks_passwords_of_clients() {
    let stage = Stage::with(
        "h.listen(function(c)
           clients[#clients + 1] = c
           local hs = dpm.new_handshake_pkt()
           c:register(dpm.MYC_WAITING, function(auth, id, conn)
             if not conn then return print('may speak') end
             local known = #auth:user() > 0 and dpm.check_pass(auth, hs, '') == 0
             if known then return h.let_in(conn) end
             local err = dpm.new_err_pkt()
             err:errnum(1045) err:sqlstate('28000') err:message('Access denied for ' .. auth:user())
             dpm.wire_packet(conn, err)
           end)
           dpm.wire_packet(c, hs)
         end)",
        1,
    );
    Wire::login_as(stage.dpm.port(), "me", "", PLAIN);
    let mut wire = Wire::connect(stage.dpm.port());
    let greeting = crate::support::wire::Greeting::parse(&wire.read());
    wire.authenticate(&greeting, "me", "wrong", PLAIN);
    let refused = wire.read();
    assert!(
        refused.ends_with(b"#28000Access denied for me"),
        "{refused:?}"
    );
    assert!(wire.closed());
}

#[test]
fn options_are_checked() {
    stage().lua(
        "for _, case in ipairs {
           { 'max_packet', 0 }, { 'max_packet', 2^31 }, { 'max_packet', 'x' }, { 'max_queue', -1 },
           { 'connect_timeout', -1 }, { 'connect_timeout', 'x' }, { 'handshake_timeout', 0/0 },
           { 'idle_timeout', 1/0 }, { 'drain', {} }, { 'max_clients', 5 }, { 'nope', 1 }, { 1, 2 },
         } do
           fails('dpm.config', dpm.config, { [case[1]] = case[2] })
         end
         fails('dpm.config', dpm.config)
         fails('dpm.config', dpm.config, 5)
         for _, case in ipairs { { 'max_clients', 0 }, { 'max_clients', 1.5 }, { 'connect_timeout', 5 }, { 'drain', 5 } } do
           fails('dpm.listener', dpm.listener, '127.0.0.1', 0, { [case[1]] = case[2] })
         end
         fails('dpm.listener', dpm.listener, '127.0.0.1', 0, 5)
         for _, port in ipairs { -1, 65536, 1.5, 'x', {} } do fails('dpm.listener', dpm.listener, nil, port) end",
    );
}

#[test]
fn the_counters() {
    let mut stage = stage();
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    wire.rows("SELECT 1");
    stage.lua(
        "local stats = dpm.stats()
         for _, name in ipairs { 'clients_accepted', 'clients_refused', 'servers_connected', 'clients', 'servers',
             'listeners', 'packets', 'commands', 'bytes_in', 'bytes_out', 'callbacks', 'callback_errors',
             'protocol_errors', 'timeouts', 'ticks', 'loop_lag_us', 'loop_lag_max_us', 'lua_memory', 'lua_handles', 'lua_refs',
             'timers' } do
           if type(stats[name]) ~= 'number' then error(name) end
         end
         equal(stats.clients, 2) equal(stats.servers, 1) equal(stats.listeners, 2)
         equal(stats.clients_accepted, 2) equal(stats.servers_connected, 1)
         assert(stats.commands >= 2 and stats.packets > 10 and stats.bytes_in > 100 and stats.bytes_out > 100)
         assert(stats.callbacks > 3 and stats.lua_memory > 1000 and stats.ticks > 0)
         equal(stats.callback_errors, 0) equal(stats.timers, 0)",
    );
}

#[test]
fn timers_have_a_fixed_delay_and_late_ticks_do_not_pile_up() {
    let mut stage = stage();
    stage.lua(
        "ticks = {}
         local t = dpm.new_timer()
         t:schedule(0, 20, function(self, arg)
           ticks[#ticks + 1] = dpm.monotonic()
           if #ticks == 1 then
             -- It is late now, five times over.
             while dpm.monotonic() - ticks[1] < 110 do end
           end
           if #ticks == 4 then self:cancel() end
         end)
         fails('timer:schedule', t.schedule, t, 1, 0, print)
         local u = dpm.new_timer()
         for _, wrong in ipairs { { 0, 0, print }, { -1, 0, print }, { 0, 1.5, print }, { 1, 0 }, { 1, 0, 'x' }, { 'x', 0, print } } do
           fails('timer:schedule', u.schedule, u, unpack(wrong))
         end
         u:cancel() u:cancel()",
    );
    stage.until("#ticks == 4");
    let_time_pass(std::time::Duration::from_millis(60));
    stage.lua(
        "equal(#ticks, 4)
         for i = 2, 4 do assert(ticks[i] - ticks[i - 1] >= 19, 'tick ' .. i .. ' came too soon') end",
    );
}

#[test]
fn a_failing_timer_is_cancelled_and_may_be_scheduled_again() {
    let mut stage = stage();
    stage.lua(
        "t, runs = dpm.new_timer(), 0
         t:schedule(0, 5, function() runs = runs + 1 error('on purpose') end)",
    );
    stage.until("runs == 1 and dpm.stats().timers == 0");
    stage.dpm.line("on purpose");
    stage.lua("t:schedule(0, 5, function(self) runs = runs + 1 self:cancel() end)");
    stage.until("runs == 2");
    assert_eq!(stage.lua("return dpm.stats().callback_errors"), "1");
}

#[test]
fn signals_logs_and_exits_are_checked() {
    let mut stage = stage();
    stage.lua(
        "for _, name in ipairs { 'HUP', 'USR2' } do
           dpm.on_signal(name, function() print('got', name) end)
         end
         for _, wrong in ipairs { 'TERM', 'SIGHUP', '', 5 } do fails('dpm.on_signal', dpm.on_signal, wrong, print) end
         fails('dpm.on_signal', dpm.on_signal, 'HUP', 5)
         for _, level in ipairs { 'error', 'warn', 'info', 'debug', 'trace' } do dpm.log(level, 'at ' .. level) end
         for _, wrong in ipairs { 'loud', '', 5 } do fails('dpm.log', dpm.log, wrong, 'x') end
         fails('dpm.log', dpm.log, 'info')
         for _, wrong in ipairs { -1, 256, 1.5, 'x' } do fails('dpm.exit', dpm.exit, wrong) end",
    );
    stage.dpm.line("at error");
    stage.dpm.line("at info");
    stage.dpm.signal("HUP");
    stage.dpm.line("got\tHUP");
    stage.dpm.signal("USR2");
    stage.dpm.line("got\tUSR2");
    stage.lua("dpm.exit(7)");
    assert_eq!(stage.dpm.wait_for_end().code(), Some(7));
}

#[test]
fn callbacks_that_call_each_other_without_end_are_stopped() {
    let mut stage = stage();
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    stage.lua(
        "depth = 0
         servers[1]:register(dpm.MYS_GOT_CMD, function(id, conn)
           depth = depth + 1
           local cmd = dpm.new_cmd_pkt()
           cmd:command(dpm.COM_PING)
           local ok, why = pcall(dpm.wire_packet, conn, cmd)
           if not ok then problem = problem or why end
         end)",
    );
    wire.command(com::PING, b"");
    stage.until("problem ~= nil");
    let why = stage.lua("return problem");
    assert!(why.contains("nested more than"), "{why}");
    let depth: usize = stage.lua("return depth").parse().unwrap();
    assert!((50..200).contains(&depth), "{depth}");
    // A Lua function without end is Lua's to stop.
    stage.lua(
        "fails('stack overflow', function() local function f() return f() + 1 end return f() end)",
    );
}
