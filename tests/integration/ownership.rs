//! Ownership: which connections, links, listeners, timers and packets the collector frees.

use crate::support::wire::{Answer, MockServer, Wire, caps, com};
use crate::support::{Stage, eventually, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;
const COLLECT: &str = "collectgarbage() collectgarbage()";

#[test]
fn a_client_that_nobody_holds_is_closed_without_its_object() {
    let mut stage = Stage::with(
        "h.listen(function(c)
           c:register(dpm.MY_CLOSING, function(id, conn) print('closing', id, conn) end)
           c:on_close(function(id, conn) print('on_close', id, conn) end)
           c:register(dpm.MYC_WAITING, function() print('fired') end)
           dpm.wire_packet(c, dpm.new_handshake_pkt())
         end)",
        1,
    );
    let mut wire = Wire::connect(stage.dpm.port());
    assert_eq!(wire.read()[0], 10, "what was wired still leaves");
    stage.lua(COLLECT);
    assert!(wire.closed());
    stage.dpm.line("closing\t4\tnil");
    stage.dpm.line("on_close\t4\tnil");
    assert_eq!(stage.dpm.count("closing\t4\tnil"), 1);
    assert!(!stage.dpm.wrote("fired"));
    stage.dpm.assert_no_errors();
}

#[test]
fn a_proxy_that_stands_idle_collects_too() {
    let stage = Stage::with(
        "h.listen(function(c) dpm.wire_packet(c, dpm.new_handshake_pkt()) end)",
        1,
    );
    let mut wire = Wire::connect(stage.dpm.port());
    wire.read();
    assert!(wire.closed(), "a while after the last callback");
}

#[test]
fn a_link_keeps_both_ends_while_one_is_held() {
    for (kept, dropped) in [("clients", "servers"), ("servers", "clients")] {
        let mut stage = Stage::before(mariadb().port);
        let mut wire = stage.client(PLAIN);
        stage.server();
        stage.link(1, 1);
        stage.lua(&format!("{dropped}[1] = nil"));
        stage.lua(COLLECT);
        assert_eq!(wire.rows("SELECT 1"), [["1"]], "{kept} keep {dropped}");
        stage.lua(&format!("{kept}[1] = nil"));
        stage.lua(COLLECT);
        assert!(wire.closed());
        stage.until("dpm.stats().servers == 0");
    }
}

#[test]
fn without_the_link_the_other_end_is_collected() {
    let mut stage = Stage::before(mariadb().port);
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    stage.lua("servers[1] = nil dpm.proxy_disconnect(clients[1])");
    stage.lua(COLLECT);
    stage.until("dpm.stats().servers == 0");
    assert!(
        matches!(wire.query("SELECT 1"), Answer::Err(1105, ..)),
        "the client stays"
    );
}

#[test]
fn a_listener_that_nobody_holds_stops_listening() {
    let mut stage = Stage::before(1);
    let port: u16 = stage
        .lua("another = dpm.listener('127.0.0.1', 0) return another:socket_port()")
        .parse()
        .unwrap();
    Wire::connect(port);
    stage.lua(&format!("another = nil {COLLECT}"));
    eventually("nobody listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    stage.client(PLAIN);
}

#[test]
fn scheduled_timers_keep_themselves_and_what_they_were_given() {
    let mut stage = Stage::before(1);
    stage.lua(
        "ticks = 0
         dpm.new_timer():schedule(0, 5, function(t, arg) ticks = ticks + arg.step end, { step = 2 })",
    );
    for _ in 0..5 {
        stage.lua(COLLECT);
    }
    stage.until("ticks >= 10");
    assert_eq!(stage.lua("return ticks % 2, dpm.stats().timers"), "0\t1");
}

#[test]
fn a_timer_that_was_cancelled_is_collected() {
    let mut stage = Stage::before(1);
    stage.lua(
        "seen = setmetatable({}, { __mode = 'k' })
         for i = 1, 100 do
           local t, arg = dpm.new_timer(), {}
           seen[t], seen[arg] = true, true
           t:schedule(3600, 0, function() return t end, arg)
           t:cancel()
         end",
    );
    stage.lua(COLLECT);
    assert_eq!(stage.lua("return next(seen), dpm.stats().timers"), "nil\t0");
}

#[test]
fn two_thousand_short_connections_leave_nothing_behind() {
    let mut stage = Stage::with(
        "local held = {}
         h.listen(function(c)
           held[c:id()] = c
           c:on_close(function(id) held[id] = nil end)
           c:register(dpm.MYC_WAITING, function(auth, id, conn)
             if conn then dpm.wire_packet(conn, dpm.new_ok_pkt()) end
           end)
           c:register(dpm.MYC_SENT_CMD, function(cmd, id, conn)
             if cmd:command() == dpm.COM_QUIT then return end
             local rset, field, row = dpm.new_rset_pkt(), dpm.new_field_pkt(), dpm.new_row_pkt()
             field:name('x') rset:add_field(field) rset:pack_row(row, { ('x'):rep(1000) })
             for _, p in ipairs { rset, field, dpm.new_eof_pkt(), row, dpm.new_eof_pkt() } do
               dpm.wire_packet(conn, p)
             end
             return dpm.DPM_NOPROXY
           end)
           dpm.wire_packet(c, dpm.new_handshake_pkt())
         end)",
        1,
    );
    let port = stage.dpm.port();
    let many = |count: usize| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..count / 4 {
                        let mut wire = Wire::login_empty(port, PLAIN);
                        assert!(matches!(wire.query("x"), Answer::Rows { .. }));
                        if n % 2 == 0 {
                            wire.command(com::QUIT, b"");
                        }
                    }
                });
            }
        });
    };
    let memory = |stage: &mut Stage| {
        stage.until("dpm.stats().clients == 1");
        stage.lua(COLLECT);
        stage.lua(COLLECT);
        let lua: f64 = stage.lua("return dpm.stats().lua_memory").parse().unwrap();
        (lua, stage.dpm.memory_kib("VmRSS"), stage.dpm.open_files())
    };
    many(400);
    let before = memory(&mut stage);
    many(2000);
    let after = memory(&mut stage);
    assert!(
        after.0 < before.0 + 100_000.0,
        "Lua: {} → {} bytes",
        before.0,
        after.0
    );
    assert!(
        after.1 < before.1 + 4000,
        "resident: {} → {} KiB",
        before.1,
        after.1
    );
    assert_eq!(before.2, after.2, "descriptors");
    stage.dpm.assert_no_errors();
}

#[test]
fn packets_may_be_kept_for_long() {
    let mut stage = Stage::before(mariadb().port);
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    stage.lua(
        "rows, fields, cmds = {}, {}, {}
         h.register(clients[1], { [dpm.MYC_SENT_CMD] = function(cmd) cmds[#cmds + 1] = cmd end })
         h.register(servers[1], {
           [dpm.MYS_SENT_RSET] = function(p) rset = rset or p end,
           [dpm.MYS_SENDING_FIELDS] = function(f) fields[#fields + 1] = f end,
           [dpm.MYS_SENDING_ROWS] = function(row) rows[#rows + 1] = row end,
         })",
    );
    let sql =
        "SELECT 1 AS a, NULL AS b UNION ALL SELECT 2, REPEAT('x', 70000) UNION ALL SELECT 3, ''";
    assert!(matches!(wire.query(sql), Answer::Rows { .. }));
    for n in 0..50 {
        wire.query(&format!("SELECT {n}, REPEAT('y', {n} * 100)"));
    }
    stage.lua(COLLECT);
    assert_eq!(
        stage.lua("return #rows, #fields, #cmds, cmds[1]:argument()"),
        format!("53\t102\t51\t{sql}")
    );
    assert_eq!(
        stage.lua(
            "local out = {}
             for i = 1, 3 do
               local v, n = rset:parse_row_array(rows[i], dpm.NULL)
               out[i] = v[1] .. ' ' .. (v[2] == dpm.NULL and 'NULL' or #v[2]) .. ' ' .. n
             end
             return table.concat(out, ', '), fields[1]:name(), (fields[2]:name())"
        ),
        "1 NULL 2, 2 70000 2, 3 0 2\ta\tb"
    );
    // They can still be sent.
    stage.lua("dpm.wire_packet(servers[1], cmds[51])");
    stage.until("#rows == 54");
}

#[test]
fn a_held_packet_outlives_its_connection() {
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    stage.begin_server("");
    stage
        .lua("servers[1]:register(dpm.MYS_RECV_ERR, function(e, id, conn) kept = { e, conn } end)");
    let mut server = mock.accept_login(PLAIN);
    stage.ready();
    server.seq = 0;
    server.write(&crate::support::wire::err(4031, "HY000", "bye"));
    assert!(server.closed());
    stage.until("servers[1]:close_reason() ~= nil");
    stage.lua(COLLECT);
    assert_eq!(
        stage.lua("return kept[1]:errnum(), kept[1]:message(), kept[2]:id() == servers[1]:id(), dpm.close(kept[2])"),
        "4031\tbye\ttrue\tnil"
    );
}

/// A script's callbacks took several handles of the binding for each connection, of which there are 8,000.
#[test]
fn two_thousand_linked_pairs_with_callbacks_take_no_handles() {
    let mut stage = Stage::with(
        "pairs_of, fired = {}, 0
         local function f() fired = fired + 1 end
         inner = dpm.listener('127.0.0.1', 0)
         inner:register(dpm.MYC_CONNECT, function(c)
           local s = table.remove(waiting)
           for _, conn in ipairs { c, s } do
             conn:on_close(f)
             for _, state in ipairs { dpm.MYC_WAITING, dpm.MYS_WAIT_CMD, dpm.MYS_SENDING_ROWS, dpm.MY_CLOSING } do
               conn:register(state, function(...) return f(...) end)
             end
           end
           s:on_answer(f)
           dpm.proxy_connect(c, s)
           pairs_of[#pairs_of + 1] = c
         end)
         waiting = {}
         function more(count)
           for _ = 1, count do waiting[#waiting + 1] = dpm.connect('127.0.0.1', inner:socket_port()) end
         end
         h.serve()",
        1,
    );
    let mut handles = Vec::new();
    for (more, all) in [(10, 10), (1990, 2000)] {
        stage.lua(&format!("more({more})"));
        stage.until(&format!("#pairs_of == {all}"));
        handles.push(stage.lua("return dpm.stats().lua_handles"));
    }
    assert_eq!(handles[0], handles[1]);

    // Everything that is no longer referenced closes at once, and nothing is left.
    stage.lua("pairs_of = {} waiting = {}");
    stage.lua(COLLECT);
    stage.lua(COLLECT);
    stage.until("dpm.stats().servers == 0");
    stage.until("fired == 2 * 2 * 2000");
    let before = stage.lua("return dpm.stats().lua_refs");
    stage.lua("more(10)");
    stage.until("#pairs_of == 10");
    stage.lua("for _, c in ipairs(pairs_of) do dpm.close(c) end pairs_of = {}");
    stage.lua(COLLECT);
    stage.until("dpm.stats().servers == 0");
    assert_eq!(stage.lua("return dpm.stats().lua_refs"), before);
    assert_eq!(stage.lua("return dpm.stats().lua_handles"), handles[0]);
    stage.dpm.assert_no_errors();
}
