//! Scripts without a network: objects, accessors, conversions, `require`.

use super::*;

/// A script and its proxy, which never runs.
fn script() -> Script {
    Script::new(Proxy::new().unwrap(), None).unwrap()
}

/// Runs a chunk in which every `assert` must hold.
fn run(source: &str) {
    let script = script();
    let chunk = script.lua().load(source).set_name("=test");
    let helpers = "
        function fails(wanted, f, ...)
            local ok, message = pcall(f, ...)
            assert(not ok, 'no error, expected: ' .. wanted)
            assert(type(message) == 'string', 'the error is a ' .. type(message))
            assert(message:find(wanted, 1, true), message)
        end
        function equal(a, b)
            if a ~= b then error(('%s is not %s'):format(tostring(a), tostring(b)), 2) end
        end";
    script.lua().load(helpers).exec().unwrap();
    let chunk = chunk.into_function().unwrap();
    if let Err(error) = script.run(&chunk) {
        panic!("{error:?}");
    }
}

#[test]
fn accessors_read_and_write() {
    run("
        local ok = dpm.new_ok_pkt()
        ok:affected_rows(3) ok:insert_id(2^53) ok:warning_count(65535) ok:message('a\\0b')
        equal(ok:affected_rows(), 3)
        equal(ok:insert_id(), 2^53)
        equal(ok:warning_count(), 65535)
        equal(ok:message(), 'a\\0b')
        ok:insert_id('18446744073709551615')
        equal(ok:insert_id(), '18446744073709551615')

        local err = dpm.new_err_pkt()
        err:errnum(1064) err:sqlstate('42000') err:message('no')
        equal(err:errnum() .. err:sqlstate() .. err:message(), '106442000no')

        local cmd = dpm.new_cmd_pkt()
        equal(cmd:argument(), '')
        cmd:command(dpm.COM_INIT_DB) cmd:argument('db')
        equal(cmd:command(), dpm.COM_INIT_DB)
        equal(cmd:argument(), 'db')

        local auth = dpm.new_auth_pkt()
        equal(auth:databasename(), nil)
        equal(auth:client_flags(dpm.CLIENT_CONNECT_WITH_DB), false)
        auth:user('me') auth:databasename('db') auth:charset_number(33) auth:max_packet_size(2^32 - 1)
        equal(auth:user() .. auth:databasename() .. auth:charset_number(), 'medb33')
        equal(auth:client_flags(dpm.CLIENT_CONNECT_WITH_DB), true)
        equal(auth:max_packet_size(), 2^32 - 1)
        auth:databasename(nil)
        equal(auth:databasename(), nil)

        local handshake = dpm.new_handshake_pkt()
        equal(handshake:protocol_version(), 10)
        equal(#handshake:scramble_buff(), 20)
        handshake:server_language(8)
        equal(handshake:server_language(), 8)

        local stats = dpm.new_stats_pkt()
        stats:message('Uptime: 1')
        equal(stats:message(), 'Uptime: 1')
    ");
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    run("
        local ok, err = dpm.new_ok_pkt(), dpm.new_err_pkt()
        local auth, handshake = dpm.new_auth_pkt(), dpm.new_handshake_pkt()
        fails('ok:affected_rows: expected an integer from 0 to 18446744073709551615', ok.affected_rows, ok, {})
        fails('got string', ok.affected_rows, ok, 'x')
        fails('ok:affected_rows', ok.affected_rows, ok, 2^53 + 2)
        fails('ok:warning_count: expected an integer from 0 to 65535, got 65536', ok.warning_count, ok, 65536)
        fails('got -1', ok.warning_count, ok, -1)
        fails('got 1.5', ok.warning_count, ok, 1.5)
        fails('got nil', ok.warning_count, ok, nil)
        fails('got string', ok.warning_count, ok, '5')
        fails('ok:message: expected a string of at most 65535 bytes, got 65536 bytes',
            ok.message, ok, ('x'):rep(65536))
        fails('got 5', ok.message, ok, 5)
        fails('err:sqlstate: expected a string of exactly 5 bytes, got 6 bytes', err.sqlstate, err, '420000')
        fails('auth:user: expected a string of at most 512 bytes without NUL', auth.user, auth, 'a\\0b')
        fails('handshake:thread_id: expected no argument: it is read-only', handshake.thread_id, handshake, 1)
        fails('handshake:server_version', handshake.server_version, handshake, '5')
        assert(dpm.new_handshake_pkt('11.8.9-MariaDB'):server_version() == '11.8.9-MariaDB')
        fails('NUL', dpm.new_handshake_pkt, 'a\\0b')
        fails('of at most 255 bytes', dpm.new_handshake_pkt, ('x'):rep(256))
        fails('must be called on ok as ok:message(), not on err', ok.message, err)
        fails('must be called on ok', ok.message)
    ");
}

#[test]
fn errors_say_where_the_script_was() {
    run("
        local ok = dpm.new_ok_pkt()
        local _, message = pcall(function()
            ok:errnum(5)
        end)
        assert(message:find('^test:4:'), message)
        _, message = pcall(function()
            ok:warning_count('x')
        end)
        assert(message:find('^test:8: ok:warning_count'), message)
        _, message = pcall(function() dpm.close(5) end)
        equal(message, 'test:11: dpm.close: conn: expected a connection, got 5')
    ");
}

#[test]
fn flags_take_constants() {
    run("
        local eof = dpm.new_eof_pkt()
        equal(eof:server_status(), dpm.SERVER_STATUS_AUTOCOMMIT)
        equal(eof:server_status(dpm.SERVER_STATUS_IN_TRANS), false)
        eof:server_status(dpm.SERVER_STATUS_IN_TRANS, true)
        equal(eof:server_status(dpm.SERVER_STATUS_IN_TRANS), true)
        equal(eof:server_status(), 3)
        eof:server_status(dpm.SERVER_STATUS_AUTOCOMMIT, false)
        equal(eof:server_status(), dpm.SERVER_STATUS_IN_TRANS)
        fails('eof:server_status: flags: expected an integer', eof.server_status, eof, 'x')
        fails('eof:server_status: value: expected true or false', eof.server_status, eof, 1, 1)
        fails('eof:server_status', eof.server_status, eof, 65536, true)
        local field = dpm.new_field_pkt()
        field:flags(dpm.NOT_NULL_FLAG, true)
        equal(field:flags(dpm.NOT_NULL_FLAG), true)
        local handshake = dpm.new_handshake_pkt()
        equal(handshake:server_capabilities(dpm.CLIENT_PROTOCOL_41), true)
        handshake:server_capabilities(dpm.CLIENT_PROTOCOL_41, false)
        equal(handshake:server_capabilities(dpm.CLIENT_PROTOCOL_41), false)
    ");
}

#[test]
fn fields_read_and_write_all_at_once() {
    run("
        local field = dpm.new_field_pkt()
        field:name('id', dpm.MYSQL_TYPE_LONG)
        local name, kind = field:name()
        equal(name, 'id') equal(kind, dpm.MYSQL_TYPE_LONG)
        field:name('id2')
        equal(select(2, field:name()), dpm.MYSQL_TYPE_LONG)
        local all = field:full()
        equal(all.name, 'id2') equal(all.catalog, 'def') equal(all.decimals, 0)
        local copy = dpm.new_field_pkt()
        all.flags, all.table = dpm.NOT_NULL_FLAG, 't'
        copy:full(all)
        equal(copy:full().flags, dpm.NOT_NULL_FLAG)
        equal(copy:table(), 't')
        fails('field:full: no attribute is called nme', field.full, field, { nme = 'x' })
        fails('field:full: type: expected an integer from 0 to 255, got 256', field.full, field, { type = 256 })
        fails('field:full: flags: expected', copy.full, copy, { name = 'changed', flags = 'x' })
        equal(copy:name(), 'id2')
    ");
}

#[test]
fn rows_round_trip() {
    run("
        local rset, row = dpm.new_rset_pkt(), dpm.new_row_pkt()
        for _, name in ipairs{ 'a', 'b', 'c' } do
            local field = dpm.new_field_pkt()
            field:name(name, dpm.MYSQL_TYPE_VAR_STRING)
            rset:add_field(field)
        end
        equal(rset:field_count(), 3)
        equal(rset:pack_row(row, { 'x\\0y', nil, 1.5 }), row)
        equal(rset:parse_row_array(rset:pack_row{ 'new' })[1], 'new')
        local array, count = rset:parse_row_array(row)
        equal(count, 3) equal(array[1], 'x\\0y') equal(array[2], nil) equal(array[3], '1.5')
        array = rset:parse_row_array(row, dpm.NULL)
        equal(array[2], dpm.NULL)
        rset:pack_row(row, array)
        local named = rset:parse_row_table(row)
        equal(named.a, 'x\\0y') equal(named.b, nil) equal(named.c, '1.5')
        equal(rset:parse_row_table(row, dpm.NULL).b, dpm.NULL)

        -- In place, shorter and far longer than before; missing trailing values are NULL.
        rset:pack_row(row, { 2^53, true })
        array, count = rset:parse_row_array(row)
        equal(array[1], '9007199254740992') equal(array[2], '1') equal(array[3], nil) equal(count, 3)
        for _, length in ipairs{ 250, 251, 65535, 65536, 1, 300000, 0 } do
            local long = ('z'):rep(length)
            rset:pack_row(row, { long, long, '' })
            array = rset:parse_row_array(row)
            assert(array[1] == long and array[2] == long and array[3] == '')
        end

        fails('the row has 4 values, the resultset 3 fields', rset.pack_row, rset, row, { 1, 2, 3, 4 })
        fails('value 2: expected a string, a number or NULL, got table', rset.pack_row, rset, row, { 1, {} })
        fails('rset:pack_row: row: expected a row object, got 5', rset.pack_row, rset, 5, {})
        fails('rset:pack_row: values: expected a table, got nil', rset.pack_row, rset, row)
        fails('rset:parse_row_array: row: expected a row object', rset.parse_row_array, rset, rset)
        fails('rset:parse_row_array', rset.parse_row_array, rset)
        fails('must be called on rset', rset.parse_row_array, row, row)
        fails('null: expected dpm.NULL', rset.parse_row_array, rset, row, 5)
    ");
}

#[test]
fn rows_of_many_columns() {
    run("
        local rset, row, values = dpm.new_rset_pkt(), dpm.new_row_pkt(), {}
        for i = 1, 1000 do values[i] = i % 7 ~= 0 and tostring(i) or dpm.NULL end
        rset:field_count(1000)
        rset:pack_row(row, values)
        local array, count = rset:parse_row_array(row, dpm.NULL)
        equal(count, 1000)
        for i = 1, 1000 do equal(array[i], values[i]) end
        for n = 0, 70 do
            rset:field_count(n)
            rset:pack_row(row, {})
            local _, count = rset:parse_row_array(row)
            equal(count, n)
        end
        fails('give them with rset:add_field', rset.parse_row_table, rset, row)
    ");
}

#[test]
fn resultsets_count_their_fields() {
    run("
        local rset, fields = dpm.new_rset_pkt(), {}
        for i = 1, 3 do
            fields[i] = dpm.new_field_pkt()
            rset:add_field(fields[i])
        end
        rset:remove_field(fields[1])
        equal(rset:field_count(), 2)
        rset:remove_field(2)
        rset:remove_field()
        equal(rset:field_count(), 0)
        fails('there is no such field among the 0 added', rset.remove_field, rset)
        fails('rset:add_field: field: expected a field object, got rset', rset.add_field, rset, rset)
    ");
}

#[test]
fn a_field_is_shared_with_its_resultset() {
    run("
        local rset, field, row = dpm.new_rset_pkt(), dpm.new_field_pkt(), dpm.new_row_pkt()
        rset:add_field(field)
        rset:pack_row(row, { 'v' })
        field:name('later')
        equal(rset:parse_row_table(row).later, 'v')
    ");
}

#[test]
fn passwords() {
    run("
        local auth, handshake = dpm.new_auth_pkt(), dpm.new_handshake_pkt()
        dpm.crypt_pass(auth, handshake, 'dpm')
        local hash = '*8CE64ABA0405493B2F72B576CD63737B2524F631'
        equal(dpm.check_pass(auth, handshake, hash), 0)
        equal(dpm.check_pass(auth, handshake, hash:sub(2):lower()), 0)
        equal(dpm.hash_pass('dpm'), hash)
        equal(dpm.hash_pass(''), '')
        equal(dpm.check_pass(auth, handshake, ''), 1)
        equal(dpm.check_pass(auth, dpm.new_handshake_pkt(), hash), 1)
        dpm.crypt_pass(auth, handshake, '')
        equal(dpm.check_pass(auth, handshake, ''), 0)
        equal(dpm.check_pass(auth, handshake, hash), 1)
        fails('dpm.check_pass: stored_hash: expected what SELECT PASSWORD', dpm.check_pass, auth, handshake, 'abc')
        fails('dpm.check_pass: auth: expected an auth packet, got handshake', dpm.check_pass, handshake, handshake, '')
    ");
}

#[test]
fn callback_objects_hold_functions_by_state() {
    run("
        local callbacks, f = dpm.new_callback(), function() end
        callbacks:register(dpm.MYS_WAIT_CMD, f)
        equal(callbacks:register(dpm.MYS_WAIT_CMD), f)
        equal(callbacks:register(dpm.MYS_RECV_ERR), nil)
        callbacks:register(dpm.MYS_WAIT_CMD, nil)
        equal(callbacks:register(dpm.MYS_WAIT_CMD), nil)
        callbacks:register(dpm.MYS_SENT_HANDSHAKE, f)
        fails('callback:register: state: expected', callbacks.register, callbacks, 'x', f)
        fails('a state such as dpm.MYC_SENT_CMD', callbacks.register, callbacks, 1000, f)
        fails('callback:register: function: expected a function or nil, got 5',
            callbacks.register, callbacks, dpm.MYS_WAIT_CMD, 5)
    ");
}

#[test]
fn callback_objects_that_refer_to_themselves_are_collected() {
    run("
        local seen = setmetatable({}, { __mode = 'k' })
        for _ = 1, 10 do
            local callbacks = dpm.new_callback()
            callbacks:register(dpm.MYS_WAIT_CMD, function() return callbacks end)
            seen[callbacks] = true
        end
        collectgarbage() collectgarbage()
        equal(next(seen), nil)
    ");
}

#[test]
fn timers_are_scheduled_once() {
    run("
        local timer, f = dpm.new_timer(), function() end
        fails('timer:schedule: a delay of 0 s 0 ms', timer.schedule, timer, 0, 0, f)
        fails('timer:schedule: function: expected a function', timer.schedule, timer, 0, 1)
        timer:schedule(1, 500, f, 'x')
        fails('scheduled already', timer.schedule, timer, 1, 0, f)
        equal(dpm.stats().timers, 1)
        timer:cancel() timer:cancel()
        timer:schedule(1, 0, f)
        timer:cancel()
        equal(dpm.stats().timers, 0)
    ");
}

#[test]
fn connections_that_nobody_holds_close_and_links_keep_both_ends() {
    run("
        listener = dpm.listener('127.0.0.1', 0)
        equal(listener:listener(), 1)
        equal(listener:socket_address(), '127.0.0.1')
        assert(listener:socket_port() > 0)
        equal(listener:close_reason(), nil)
        local log = {}
        listener:register(dpm.MY_CLOSING, function(id, conn)
            equal(conn, listener)
            equal(conn:close_reason(), 'the script closed it')
            log[#log + 1] = 'closing'
        end)
        listener:on_close(function(id, conn)
            equal(id, listener:id())
            log[#log + 1] = 'on_close'
        end)
        listener:on_close(error)
        equal(dpm.close(listener), 1)
        equal(table.concat(log, ' '), 'closing on_close')
        equal(dpm.close(listener), nil)
        equal(listener:register(dpm.MY_CLOSING), nil)
        fails('is closed (the script closed it)', listener.on_close, listener, print)
        fails('dpm.listener: there is no option nope', dpm.listener, nil, 0, { nope = 1 })
        fails('max_clients: expected an integer from 1', dpm.listener, nil, 0, { max_clients = 0 })
    ");
}

#[test]
fn a_collected_connection_closes_at_the_end_of_the_tick() {
    let script = script();
    let chunk = "
        closed = nil
        local server = dpm.connect('127.0.0.1', 1)
        server:register(dpm.MY_CLOSING, function(id, conn) closed = { id, conn } end)
        server = nil
        collectgarbage() collectgarbage()
        assert(closed == nil)";
    script.lua().load(chunk).exec().unwrap();
    script.runtime.end_of_tick();
    script
        .lua()
        .load("assert(closed[1] > 0 and closed[2] == nil)")
        .exec()
        .unwrap();
}

#[test]
fn package_callbacks_nest_and_give_way_only_to_the_own_closing() {
    run("
        server = dpm.connect('127.0.0.1', 1)
        local a, b, log = dpm.new_callback(), dpm.new_callback(), {}
        equal(server:package_register(), nil)
        server:package_register(a)
        equal(server:package_register(), a)
        local found = server:package_register()
        server:package_register(b)
        server:package_register(found)
        equal(server:package_register(), a)
        a:register(dpm.MY_CLOSING, function() log[#log + 1] = 'package' end)
        server:register(dpm.MY_CLOSING, function() log[#log + 1] = 'own' end)
        dpm.close(server)
        equal(table.concat(log, ' '), 'own')
        fails('expected a callback object or nil, got 5', server.package_register, server, 5)

        server = dpm.connect('127.0.0.1', 1)
        server:package_register(a)
        dpm.close(server)
        equal(table.concat(log, ' '), 'own package')
    ");
}

#[test]
fn constants_and_functions_are_there() {
    run("
        for _, name in ipairs{ 'DPM_OK', 'DPM_NOPROXY', 'DPM_FLUSH_DISCONNECT', 'MYC_CONNECT', 'MYC_WAIT_AUTH',
            'MYC_WAITING', 'MYC_SENT_CMD', 'MYS_CONNECT', 'MYS_WAIT_AUTH', 'MYS_SENDING_OK', 'MYS_WAIT_CMD',
            'MYS_RECV_ERR', 'MYS_GOT_CMD', 'MYS_SENT_RSET', 'MYS_SENDING_FIELDS', 'MYS_SENT_FIELDS',
            'MYS_SENDING_ROWS', 'MYS_SENDING_EOF', 'MYS_SENDING_STATS', 'MY_CLOSING', 'MY_DRAINED',
            'MYS_SENT_HANDSHAKE', 'MYC_WAIT_HANDSHAKE', 'MYS_WAITING', 'MYS_SENDING_RSET', 'MYS_SENDING_HANDSHAKE',
            'COM_QUERY', 'CLIENT_PROTOCOL_41', 'MYSQL_TYPE_VAR_STRING', 'SERVER_STATUS_IN_TRANS',
            'NOT_NULL_FLAG', 'MY_CLIENT', 'MY_SERVER' } do
            equal(type(dpm[name]), 'number')
        end
        assert(dpm.MY_CLIENT ~= dpm.MY_SERVER and dpm.DPM_OK == 0 and dpm.NULL ~= nil)
        equal(dpm.state_name(dpm.MYS_WAIT_CMD), 'MYS_WAIT_CMD')
        local seconds, micros = dpm.gettimeofday()
        assert(seconds > 1e9 and micros < 1e6 and dpm.time() >= seconds)
        assert(dpm.time_hires() >= seconds * 1000 and dpm.monotonic() >= 0)
        dpm.log('debug', 'hello')
        fails('dpm.log: level: expected', dpm.log, 'loud', 'hello')
        dpm.config{ max_packet = 2^20, idle_timeout = 1.5, drain = 1 }
        fails('drain: expected seconds from 0', dpm.config, { drain = 'x' })
        fails('dpm.config: there is no option max_pocket', dpm.config, { max_pocket = 1 })
        fails('max_packet: expected an integer from 1 to 1073741824, got 0', dpm.config, { max_packet = 0 })
        dpm.on_signal('HUP', print)
        fails('name: expected \"HUP\", \"USR1\" or \"USR2\", got \"KILL\"', dpm.on_signal, 'KILL', print)
        fails('level: expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\", got \"fatal\"', dpm.log, 'fatal', '')
        fails('cleartext: expected \"refuse\", \"rsa\", \"allow\", got \"maybe\"', dpm.connect, 'x', 1, { cleartext = 'maybe' })
        for _, mode in ipairs { '0999', '08', '1777', '+7', '', 'rwx' } do
            fails('(digits from 0 to 7, at most \"0777\"), got \"' .. mode .. '\"', dpm.listener_unix, '/x', mode)
        end
        fails('(digits from 0 to 7, at most \"0777\"), got 700', dpm.listener_unix, '/x', 700)
        for _, f in ipairs{ module, setfenv, unpack, table.maxn, require('ffi').new, debug.traceback, jit.on } do
            equal(type(f), 'function')
        end
    ");
}

#[test]
fn require_finds_the_library_in_the_binary() {
    run("
        local dpml = require 'dpml'
        equal(type(dpml.send_resultset), 'function')
        equal(require 'dpml', dpml)
        fails(\"no file 'nowhere/at_all.lua' in the dpm binary\", require, 'nowhere.at_all')
    ");
}

#[test]
fn an_idle_proxy_closes_what_nobody_holds_and_ends() {
    let proxy = Proxy::new().unwrap();
    let script = Script::new(proxy.clone(), None).unwrap();
    let chunk = script
        .lua()
        .load("dpm.listener('127.0.0.1', 0)")
        .into_function()
        .unwrap();
    script.run(&chunk).unwrap();
    assert_eq!(proxy.run().unwrap(), 0);
}

#[test]
fn timers_run_until_they_are_cancelled_or_fail() {
    let proxy = Proxy::new().unwrap();
    let script = Script::new(proxy.clone(), None).unwrap();
    let chunk = "
        calls, failures = {}, 0
        dpm.new_timer():schedule(0, 5, function(self, arg)
            calls[#calls + 1] = arg.name
            if #calls == 3 then self:cancel() end
        end, { name = 'tick' })
        dpm.new_timer():schedule(0, 5, function()
            failures = failures + 1
            error('on purpose')
        end)
        once = dpm.new_timer()
        once:schedule(0, 1, function(self)
            self:cancel()
            self:schedule(0, 1, function(self) self:cancel() again = true end)
        end)
        collectgarbage()";
    let chunk = script.lua().load(chunk).into_function().unwrap();
    script.run(&chunk).unwrap();
    assert_eq!(proxy.run().unwrap(), 0);
    let check = "
        assert(table.concat(calls, ' ') == 'tick tick tick' and failures == 1 and again)
        assert(dpm.stats().callback_errors == 1)";
    script.lua().load(check).exec().unwrap();
}

#[test]
fn a_proxy_and_its_script_can_be_dropped() {
    let proxy = Proxy::new().unwrap();
    let script = Script::new(proxy.clone(), None).unwrap();
    let weak = Rc::downgrade(&script.runtime);
    script
        .lua()
        .load("c = dpm.connect('127.0.0.1', 1) t = dpm.new_timer()")
        .exec()
        .unwrap();
    drop(script);
    assert!(weak.upgrade().is_none());
    // Without a script its hooks refuse everything.
    proxy.run().unwrap();
}

/// The callbacks of closing connections nest: each closes the next.
#[test]
fn callbacks_nest_to_a_limit_with_a_clear_error() {
    run("
        local conns, deepest, problem = {}, 0
        for i = 1, 150 do
            conns[i] = dpm.connect('127.0.0.1', 1)
            conns[i]:on_close(function()
                deepest = i
                if i < 150 then
                    local ok, message = pcall(dpm.close, conns[i + 1])
                    problem = problem or not ok and message
                end
            end)
        end
        dpm.close(conns[1])
        equal(deepest, 100)
        assert(problem:find('dpm.close: callbacks are nested more than 100 deep', 1, true), problem)
        equal(conns[101]:close_reason(), nil)
    ");
}

#[test]
fn a_callback_cannot_yield_and_coroutines_may_call_anything() {
    run("
        local server, log = dpm.connect('127.0.0.1', 1), {}
        server:register(dpm.MY_CLOSING, function() coroutine.yield() end)
        server:on_close(function() log[#log + 1] = 'closed' end)
        local co = coroutine.create(function()
            dpm.close(server)
            coroutine.yield('yielded')
            return dpm.new_ok_pkt():affected_rows()
        end)
        equal(select(2, coroutine.resume(co)), 'yielded')
        equal(log[1], 'closed')
        equal(dpm.stats().callback_errors, 1)
        equal(select(2, coroutine.resume(co)), 0)
        equal(coroutine.status(co), 'dead')
    ");
}

/// mlua keeps a value for each of its handles on a stack that LuaJIT limits to 8,000 slots.
#[test]
fn the_number_of_handles_does_not_depend_on_what_there_is() {
    run("
        local listener = dpm.listener('127.0.0.1', 0)
        local states = { dpm.MYS_CONNECT, dpm.MYS_WAIT_CMD, dpm.MYS_SENDING_ROWS, dpm.MY_CLOSING }
        local function many(count)
            local before = dpm.stats()
            local conns, timers = {}, {}
            for i = 1, count do
                local conn = dpm.connect('127.0.0.1', listener:socket_port())
                for _, state in ipairs(states) do conn:register(state, function() end) end
                local handles = { conn:on_close(function() end), conn:on_answer(function() end) }
                for _, state in ipairs(states) do handles[#handles + 1] = conn:listen(state, function() end) end
                handles[1]:remove()
                conn:on_close(function() end)
                local package = dpm.new_callback()
                package:register(dpm.MYS_RECV_ERR, function() end)
                conn:package_register(package)
                conns[i] = conn
                timers[i] = dpm.new_timer()
                timers[i]:schedule(3600, 0, function() end, {})
            end
            local during = dpm.stats()
            assert(during.lua_refs >= before.lua_refs + count * 14, during.lua_refs)
            for i = 1, count do
                assert(dpm.close(conns[i]) == 1)
                timers[i]:cancel()
            end
            equal(dpm.stats().lua_refs, before.lua_refs)
            return during.lua_handles - before.lua_handles
        end
        equal(many(10), 0)
        equal(many(2000), 0)
    ");
}

#[test]
fn a_function_that_was_replaced_is_let_go() {
    run("
        local conn, seen = dpm.connect('127.0.0.1', 1), setmetatable({}, { __mode = 'k' })
        local function fresh()
            local f = function() return conn end
            seen[f] = true
            return f
        end
        for _ = 1, 10 do conn:register(dpm.MYS_CONNECT, fresh()) end
        equal(dpm.stats().lua_refs, 1)
        assert(seen[conn:register(dpm.MYS_CONNECT)])
        conn:register(dpm.MYS_CONNECT, nil)
        equal(conn:register(dpm.MYS_CONNECT), nil)
        equal(dpm.stats().lua_refs, 0)

        local package = dpm.new_callback()
        package:register(dpm.MYS_CONNECT, fresh())
        conn:package_register(package)
        conn:package_register(package)
        equal(conn:package_register(), package)
        equal(dpm.stats().lua_refs, 1)
        conn:package_register(nil)
        equal(dpm.stats().lua_refs, 0)
        package = nil
        collectgarbage() collectgarbage()
        equal(next(seen), nil)
    ");
}

#[test]
fn records_are_read_as_they_were_written_and_nothing_else_is_read() {
    run("
        local records = require 'dpml.support.records'
        local record = { text = 'a\\0:b', empty = '', number = 2^53, half = 0.5, yes = true, no = false,
            inner = { [1] = 'x', [3] = 'z', deeper = { n = -1 } } }
        local text = records.write(record)
        local back = records.read(text)
        equal(back.text, 'a\\0:b') equal(back.empty, '') equal(back.number, 2^53) equal(back.half, 0.5)
        equal(back.yes, true) equal(back.no, false)
        equal(back.inner[1], 'x') equal(back.inner[2], nil) equal(back.inner[3], 'z') equal(back.inner.deeper.n, -1)
        equal(next(records.read(records.write {})), nil)
        for length = 0, #text - 1 do
            equal(records.read(text:sub(1, length)), nil)
        end
        for at = 1, #text do
            for _, byte in ipairs { 0, 46, 48, 57, 58, 114, 255 } do
                local result = records.read(text:sub(1, at - 1) .. string.char(byte) .. text:sub(at + 1))
                assert(result == nil or type(result) == 'table')
            end
        end
        local nested = {}
        for _ = 1, 15 do nested = { inner = nested } end
        assert(records.read(records.write(nested)))
        fails('nested too deep', records.write, { inner = { inner = nested } })
        fails('no function', records.write, { f = print })
        local none, why = records.read('dpml-record 2\\n.')
        equal(none, nil) assert(why:find('not understood'))
    ");
}
