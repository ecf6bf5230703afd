//! Several functions for one state: their order, which of them see a packet, and removing them.

use crate::support::wire::{Answer, MockServer, Wire, caps};
use crate::support::{Stage, eventually, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;

/// `seen` notes who was called; `noted()` reads that and begins anew. `note(name)` is a function that notes
/// its name, and returns what it was given with it.
const NOTES: &str = "
    local notes = {}
    function seen(name) notes[#notes + 1] = name end
    function noted()
        local all = table.concat(notes, ' ')
        notes = {}
        return all
    end
    function note(name, verdict) return function() seen(name) return verdict end end
    c, s = clients[1], servers[1]";

/// A client that is linked to a real server, known to Lua as `c` and `s`.
fn linked() -> (Stage, Wire) {
    let mut stage = Stage::before(mariadb().port);
    let wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    stage.lua(NOTES);
    (stage, wire)
}

#[test]
fn the_registered_function_comes_first_then_the_others_in_their_order() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "for _, on in ipairs { { c, dpm.MYC_SENT_CMD }, { s, dpm.MYS_SENT_RSET }, { s, dpm.MYS_SENDING_ROWS },
                               { s, dpm.MYS_WAIT_CMD }, { c, dpm.MYC_WAITING } } do
           local conn, state = unpack(on)
           local name = dpm.state_name(state):match('_(.*)')
           conn:listen(state, note(name .. 1))
           conn:register(state, note(name))
           conn:listen(state, note(name .. 2))
         end",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    let all = "SENT_CMD SENT_CMD1 SENT_CMD2 SENT_RSET SENT_RSET1 SENT_RSET2 \
               SENDING_ROWS SENDING_ROWS1 SENDING_ROWS2 WAIT_CMD WAIT_CMD1 WAIT_CMD2 \
               WAITING WAITING1 WAITING2";
    assert_eq!(stage.lua("return noted()"), all);
    stage.dpm.assert_no_errors();
}

#[test]
fn all_are_given_the_same_packet() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "local first = {}
         for n = 1, 2 do
           for _, state in ipairs { dpm.MYC_SENT_CMD, dpm.MYS_SENDING_ROWS } do
             (state == dpm.MYC_SENT_CMD and c or s):listen(state, function(packet, id, conn)
               if n == 1 then first[state] = packet else seen(tostring(rawequal(first[state], packet))) end
               seen(tostring(conn:id() == id))
             end)
           end
         end",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    let noted = stage.lua("return noted()");
    assert_eq!(noted, "true true true true true true");
    stage.dpm.assert_no_errors();
}

#[test]
fn who_holds_back_a_packet_is_the_last_to_see_it() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "answering = function(cmd, id, conn)
           seen('answers')
           dpm.wire_packet(conn, dpm.new_ok_pkt())
           return dpm.DPM_NOPROXY
         end
         c:register(dpm.MYC_SENT_CMD, note('registered'))
         c:listen(dpm.MYC_SENT_CMD, answering)
         c:listen(dpm.MYC_SENT_CMD, note('never'))
         s:listen(dpm.MYS_GOT_CMD, note('got'))",
    );
    assert!(matches!(wire.query("SELECT 1"), Answer::Ok(_)));
    assert_eq!(stage.lua("return noted()"), "registered answers");

    // One that is registered goes before them all.
    stage.lua(
        "c:register(dpm.MYC_SENT_CMD, function(...) seen('registered') return answering(...) end)",
    );
    assert!(matches!(wire.query("SELECT 1"), Answer::Ok(_)));
    assert_eq!(stage.lua("return noted()"), "registered answers");

    // Rows.
    stage.lua(
        "c:register(dpm.MYC_SENT_CMD, nil)
         c:listen(dpm.MYC_SENT_CMD, note('cmd'))
         answering = nil
         for n = 1, 2 do
           s:listen(dpm.MYS_SENDING_ROWS, function(row)
             local value = rset:parse_row_array(row)[1]
             seen(n .. ':' .. value)
             if n == 1 and value == '2' then return dpm.DPM_NOPROXY end
           end)
         end
         s:listen(dpm.MYS_SENT_RSET, function(packet) rset = packet end)",
    );
    let mut other = stage.client(PLAIN);
    stage.lua("dpm.proxy_connect(clients[2], s)");
    let rows = other.rows("SELECT 1 UNION SELECT 2 UNION SELECT 3");
    assert_eq!(rows, [["1"], ["3"]]);
    assert_eq!(stage.lua("return noted()"), "got 1:1 2:1 1:2 1:3 2:3");
    stage.dpm.assert_no_errors();
}

#[test]
fn who_unlinks_is_the_last_to_see_the_packet() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "s:listen(dpm.MYS_WAIT_CMD, note('first'))
         s:listen(dpm.MYS_WAIT_CMD, note('unlinks', dpm.DPM_FLUSH_DISCONNECT))
         s:listen(dpm.MYS_WAIT_CMD, note('never'))",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "first unlinks");
    assert_eq!(stage.lua("return s:remote_id()"), "0");
    stage.dpm.assert_no_errors();
}

/// Nothing can be held back there, so all functions are called.
#[test]
fn without_a_packet_all_are_called_whatever_they_return() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "for n = 1, 3 do
           s:listen(dpm.MYS_GOT_CMD, note('got' .. n, dpm.DPM_NOPROXY))
           c:listen(dpm.MYC_WAITING, note('waiting' .. n, dpm.DPM_FLUSH_DISCONNECT))
         end",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    let noted = stage.lua("return noted()");
    assert_eq!(noted, "got1 got2 got3 waiting1 waiting2 waiting3");
    assert_eq!(wire.rows("SELECT 2"), [["2"]], "still linked");
    stage.dpm.assert_no_errors();
}

#[test]
fn one_that_fails_counts_as_the_registered_one_failing() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "c:register(dpm.MYC_SENT_CMD, note('registered'))
         failing = c:listen(dpm.MYC_SENT_CMD, function() error('as planned') end)
         c:listen(dpm.MYC_SENT_CMD, note('never'))",
    );
    assert!(matches!(wire.query("SELECT 1"), Answer::Err(1105, ..)));
    assert_eq!(stage.lua("return noted()"), "registered");
    assert_eq!(stage.lua("return dpm.stats().callback_errors"), "1");
    assert!(stage.dpm.wrote("as planned"));
    stage.lua("failing:remove()");
    assert_eq!(wire.rows("SELECT 2"), [["2"]]);
}

#[test]
fn a_package_silences_those_who_do_not_insist() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "c:register(dpm.MYC_SENT_CMD, note('registered'))
         c:listen(dpm.MYC_SENT_CMD, note('silent'))
         c:listen(dpm.MYC_SENT_CMD, note('always'), { always = true })
         s:listen(dpm.MYS_SENDING_ROWS, note('no row'), { always = false })
         s:listen(dpm.MYS_WAIT_CMD, note('end'), { always = true })
         for _, conn in ipairs { c, s } do
           conn:register(dpm.MY_CLOSING, note('closing'))
           conn:listen(dpm.MY_CLOSING, note('listens for closing'))
         end
         package = dpm.new_callback()
         c:package_register(package)
         s:package_register(package)",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "always end");
    // A function of the package comes where the registered one would.
    stage.lua("package:register(dpm.MYC_SENT_CMD, note('package'))");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "package always end");

    stage.lua("c:package_register(nil)");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    let noted = stage.lua("return noted()");
    assert_eq!(noted, "registered silent always end");

    // The package has no function for MY_CLOSING, and would give way if it had.
    stage.lua("dpm.close(s)");
    let noted = stage.lua("return noted()");
    assert_eq!(noted, "closing listens for closing");
    stage.dpm.assert_no_errors();
}

#[test]
fn what_is_removed_is_not_called_any_more() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "c:listen(dpm.MYC_SENT_CMD, function() seen('removes') second:remove() own:remove() end)
         second = c:listen(dpm.MYC_SENT_CMD, note('never'))
         own = c:listen(dpm.MYC_SENT_CMD, note('nor this'))
         last = c:listen(dpm.MYC_SENT_CMD, function() seen('last') last:remove() last:remove() end)",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "removes last");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "removes");
    stage.dpm.assert_no_errors();
}

/// Where a function was may be where the next one is: a handle must not remove that.
#[test]
fn a_handle_removes_its_own_function_once() {
    let (mut stage, mut wire) = linked();
    stage.lua("first = c:listen(dpm.MYC_SENT_CMD, note('first')) first:remove()");
    stage.lua("c:listen(dpm.MYC_SENT_CMD, note('second'))");
    stage.lua("first:remove()");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "second");

    // Nor does that of a connection that has closed remove another connection's.
    stage.lua("old = s:listen(dpm.MYS_WAIT_CMD, note('old')) refs = dpm.stats().lua_refs");
    stage.lua("dpm.close(s)");
    stage.server();
    stage.lua("new = servers[2]:listen(dpm.MYS_WAIT_CMD, note('new')) old:remove()");
    stage.link(1, 2);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "second new");
    stage.dpm.assert_no_errors();
}

#[test]
fn who_begins_to_listen_in_a_callback_sees_the_next_packet() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "c:listen(dpm.MYC_SENT_CMD, function()
           seen('old')
           -- One place is free now, and is not taken in the middle of a round.
           if stale then stale:remove() stale = nil end
           c:listen(dpm.MYC_SENT_CMD, note('new'))
         end)
         stale = c:listen(dpm.MYC_SENT_CMD, note('never'))",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "old");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "old new");
    stage.dpm.assert_no_errors();
}

#[test]
fn a_state_that_nobody_listens_for_any_more_is_not_watched() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "handles = { c:listen(dpm.MYC_SENT_CMD, note('c')), s:listen(dpm.MYS_SENDING_ROWS, note('s')) }",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "c s");
    let calls = |stage: &mut Stage| -> f64 {
        // One call is this very query's.
        let calls = stage.lua("return dpm.stats().callbacks");
        calls.parse().expect("a number")
    };
    stage.lua("for _, handle in ipairs(handles) do handle:remove() end");
    let before = calls(&mut stage);
    let of_the_query = calls(&mut stage) - before;
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(calls(&mut stage) - before, 2.0 * of_the_query);
}

#[test]
fn register_knows_the_registered_function_alone() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "c:listen(dpm.MYC_SENT_CMD, note('listens'))
         assert(c:register(dpm.MYC_SENT_CMD) == nil)
         local registered = note('registered')
         c:register(dpm.MYC_SENT_CMD, registered)
         assert(c:register(dpm.MYC_SENT_CMD) == registered)
         c:register(dpm.MYC_SENT_CMD, nil)
         assert(c:register(dpm.MYC_SENT_CMD) == nil)",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "listens");
    stage.dpm.assert_no_errors();
}

#[test]
fn new_clients_have_several_who_await_them() {
    let mut stage = Stage::with(
        "listener = dpm.listener('127.0.0.1', 0)
         print('port ' .. listener:socket_port())
         function greet(client)
           seen('greets')
           clients[#clients + 1] = client
           dpm.wire_packet(client, dpm.new_handshake_pkt())
           return dpm.DPM_NOPROXY
         end",
        1,
    );
    stage.lua(NOTES);
    stage.lua(
        "listener:listen(dpm.MYC_CONNECT, note('first'))
         greeting = listener:listen(dpm.MYC_CONNECT, greet)
         listener:listen(dpm.MYC_CONNECT, note('only if nobody takes it'))",
    );
    let mut wire = Wire::connect(stage.dpm.port());
    assert_eq!(wire.read()[0], 10);
    assert_eq!(stage.lua("return noted()"), "first greets");
    stage.lua(
        "greeting:remove() listener:listen(dpm.MYC_CONNECT, function() error('as planned') end)",
    );
    assert!(Wire::connect(stage.dpm.port()).closed());
    let noted = stage.lua("return noted()");
    assert_eq!(noted, "first only if nobody takes it");
}

#[test]
fn at_a_close_everybody_hears_of_it() {
    let (mut stage, _wire) = linked();
    stage.lua(
        "s:register(dpm.MY_CLOSING, note('registered'))
         s:listen(dpm.MY_CLOSING, function() seen('fails') error('as planned') end)
         s:listen(dpm.MY_CLOSING, note('holds', dpm.DPM_NOPROXY))
         s:listen(dpm.MY_CLOSING, function(id, conn) seen(tostring(conn == s)) removed:remove() end)
         s:on_close(function() seen('on_close') later:remove() end)
         removed = s:on_close(note('never'))
         later = s:on_close(note('nor this'))
         s:on_close(note('last'))
         dpm.close(s)",
    );
    let noted = stage.lua("return noted()");
    assert_eq!(noted, "registered fails holds true on_close last");
    assert_eq!(stage.lua("return dpm.stats().callback_errors"), "1");
}

#[test]
fn answers_are_told_until_the_handle_is_removed() {
    let (mut stage, mut wire) = linked();
    stage.lua(
        "first = s:on_answer(function() seen('first') if stop then second:remove() end end)
         second = s:on_answer(note('second'))",
    );
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "first second");
    stage.lua("stop = true");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "first");
    stage.lua("first:remove() first:remove()");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "");
    stage.lua("s:on_answer(note('third'))");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert_eq!(stage.lua("return noted()"), "third");
    stage.dpm.assert_no_errors();
}

#[test]
fn what_cannot_listen_is_told() {
    let silent = MockServer::new();
    let mut stage = Stage::before(silent.port);
    let wire = stage.client(PLAIN);
    stage.lua(
        "function fails(wanted, ...)
           local ok, problem = pcall(...)
           assert(not ok and problem:find(wanted, 1, true), tostring(problem))
         end
         c = clients[1]
         fails('conn:listen: state: expected a state', c.listen, c, 'x', print)
         fails('conn:listen: function: expected a function, got nil', c.listen, c, dpm.MYC_SENT_CMD)
         fails('there is no option allways, only always', c.listen, c, dpm.MYC_SENT_CMD, print, { allways = true })
         fails('always: expected true or false, got', c.listen, c, dpm.MYC_SENT_CMD, print, { always = 1 })
         handle = c:listen(dpm.MYC_SENT_CMD, print)
         fails('must be called on handle as handle:remove()', handle.remove, {})",
    );
    drop(wire);
    eventually("the close", || {
        stage.lua("return c:close_reason()") != "nil"
    });
    stage.lua(
        "handle:remove()
         fails('is closed (', c.listen, c, dpm.MYC_SENT_CMD, print)",
    );
    stage.dpm.assert_no_errors();
}
