//! Which callback fires when, and what its verdict does.

use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Dpm, eventually, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;
const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// A passthrough that prints every state of both ends, each line beginning with "at ".
const TRACE: &str = "local h = require('harness')
h.passthrough(h.trace('at '))";

/// The states printed since `from`, once the exchange is complete.
#[track_caller]
fn states(dpm: &Dpm, from: usize) -> Vec<String> {
    let mut lines = Vec::new();
    eventually("MYC_WAITING", || {
        lines = dpm.lines("at ").split_off(from);
        lines.last().is_some_and(|last| last == "MYC_WAITING")
    });
    lines
}

/// Runs a command with every state registered, and returns the states that fired.
#[track_caller]
fn trace(dpm: &Dpm, wire: &mut Wire, command: u8, argument: &[u8]) -> String {
    let from = dpm.lines("at ").len();
    wire.exchange(command, argument);
    short(&states(dpm, from))
}

/// "MYC_SENT_CMD MYS_GOT_CMD" → "C:SENT_CMD S:GOT_CMD"
fn short(states: &[String]) -> String {
    states.join(" ").replace("MYC_", "C:").replace("MYS_", "S:")
}

#[test]
fn the_states_of_a_login() {
    let dpm = Dpm::start(TRACE, mariadb());
    let _wire = Wire::login(dpm.port(), MODERN);
    eventually("the whole login", || dpm.lines("at ").len() >= 7);
    assert_eq!(
        short(&states(&dpm, 0)),
        "S:CONNECT S:WAIT_AUTH C:WAIT_AUTH C:WAITING S:SENDING_OK S:WAIT_CMD C:WAITING"
    );
}

#[test]
fn the_states_of_every_kind_of_answer() {
    let server = mariadb();
    let base = server.database();
    server.sql(&format!(
        "USE {base}; CREATE TABLE t (a INT, b INT); INSERT INTO t VALUES (1, 2), (3, 4)"
    ));
    let dpm = Dpm::start(TRACE, server);
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login(dpm.port(), shape);
        eventually("the login", || dpm.count("at MYC_WAITING") >= 2);
        let row = "S:SENT_RSET S:SENDING_FIELDS S:SENT_FIELDS S:SENDING_ROWS";
        for (command, argument, answer) in [
            (com::PING, "", "S:WAIT_CMD"),
            (com::INIT_DB, base.as_str(), "S:WAIT_CMD"),
            (com::INIT_DB, "nowhere", "S:RECV_ERR"),
            (com::QUERY, "DO 0", "S:WAIT_CMD"),
            (com::QUERY, "SELECT nothing", "S:RECV_ERR"),
            (com::QUERY, "SELECT 1", &format!("{row} S:WAIT_CMD")),
            (
                com::QUERY,
                "SELECT a, b FROM t",
                "S:SENT_RSET S:SENDING_FIELDS S:SENDING_FIELDS S:SENT_FIELDS \
                 S:SENDING_ROWS S:SENDING_ROWS S:WAIT_CMD",
            ),
            (
                com::QUERY,
                "SELECT a FROM t WHERE a > 5",
                "S:SENT_RSET S:SENDING_FIELDS S:SENT_FIELDS S:WAIT_CMD",
            ),
            (
                com::QUERY,
                "SELECT 1; DO 0; SELECT 2",
                &format!("{row} S:SENDING_EOF S:SENDING_EOF {row} S:WAIT_CMD"),
            ),
            (
                com::QUERY,
                "SELECT 1; SELECT nothing",
                &format!("{row} S:SENDING_EOF S:RECV_ERR"),
            ),
            (com::STATISTICS, "", "S:SENDING_STATS S:WAIT_CMD"),
            (
                com::FIELD_LIST,
                "t\0",
                "S:SENDING_FIELDS S:SENDING_FIELDS S:SENT_FIELDS S:WAIT_CMD",
            ),
            (com::SET_OPTION, "\0\0", "S:WAIT_CMD"),
            (com::RESET_CONNECTION, "", "S:WAIT_CMD"),
        ] {
            let got = trace(&dpm, &mut wire, command, argument.as_bytes());
            let expected = format!("C:SENT_CMD S:GOT_CMD {answer} C:WAITING");
            assert_eq!(got, expected, "{command} {argument:?}");
        }
        drop(wire);
        dpm.wait_until_idle();
    }
    dpm.assert_no_errors();
}

/// A passthrough with callbacks written in the test. `S(id)` and `C(id)` are the two ends by the
/// client's id, `client` and `server` the tables of callbacks.
fn scripted(body: &str) -> Dpm {
    let script = format!(
        "local h = require('harness')
         local client, server = {{}}, {{}}
         local function C(id) return h.pairs[id] and h.pairs[id][1] end
         local function S(id) return h.pairs[id] and h.pairs[id][2] end
         {body}
         h.passthrough(client, server)"
    );
    Dpm::start(&script, mariadb())
}

#[test]
fn a_command_is_rewritten() {
    let dpm = scripted(
        "client[dpm.MYC_SENT_CMD] = function(cmd, id)
           print('command', cmd:command(), cmd:argument())
           if cmd:command() == dpm.COM_QUERY and cmd:argument() == 'HELLO' then
             cmd:argument('SELECT 1 + 1')
             dpm.wire_packet(S(id), cmd)
             return dpm.DPM_NOPROXY
           end
         end",
    );
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login(dpm.port(), shape);
        assert_eq!(wire.rows("HELLO"), [["2"]]);
        assert_eq!(wire.rows("SELECT 'as it is'"), [["as it is"]]);
    }
    dpm.line("command\t3\tHELLO");
    dpm.assert_no_errors();
}

#[test]
fn a_command_is_answered_by_the_script() {
    let dpm = scripted(
        "client[dpm.MYC_SENT_CMD] = function(cmd, id, conn)
           if cmd:argument() == 'ok' then
             local ok = dpm.new_ok_pkt()
             ok:affected_rows(7) ok:insert_id(4294967296) ok:message('done')
             dpm.wire_packet(conn, ok)
             return dpm.DPM_NOPROXY
           elseif cmd:argument() == 'err' then
             local err = dpm.new_err_pkt()
             err:errnum(1234) err:sqlstate('45000') err:message('not today')
             dpm.wire_packet(conn, err)
             return dpm.DPM_NOPROXY
           end
         end",
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    let Answer::Ok(ok) = wire.query("ok") else {
        panic!("an OK")
    };
    assert_eq!(&ok[..11], b"\0\x07\xfe\0\0\0\0\x01\0\0\0");
    assert!(ok.ends_with(b"done"));
    assert_eq!(
        wire.query("err"),
        Answer::Err(1234, "45000".into(), "not today".into())
    );
    assert_eq!(
        wire.rows("SELECT 5"),
        [["5"]],
        "the server was not disturbed"
    );
    dpm.assert_no_errors();
}

#[test]
fn a_held_command_is_sent_later() {
    let dpm = scripted(
        "client[dpm.MYC_SENT_CMD] = function(cmd, id)
           if cmd:command() ~= dpm.COM_QUERY then return end
           local t = dpm.new_timer()
           t:schedule(0, 50, function(t, held)
             t:cancel()
             dpm.wire_packet(S(id), held)
           end, cmd)
           return dpm.DPM_NOPROXY
         end",
    );
    let mut wire = Wire::login(dpm.port(), MODERN);
    let begun = std::time::Instant::now();
    assert_eq!(wire.rows("SELECT 'late'"), [["late"]]);
    assert!(begun.elapsed().as_millis() >= 50);
    dpm.assert_no_errors();
}

#[test]
fn rows_are_dropped_changed_and_added() {
    let dpm = scripted(
        "local rset
         server[dpm.MYS_SENT_RSET] = function(packet) rset = packet end
         server[dpm.MYS_SENDING_FIELDS] = function(field, id, conn)
           local name = field:name()
           field:name('my ' .. name)
           dpm.wire_packet(C(conn:remote_id()), field)
           return dpm.DPM_NOPROXY
         end
         server[dpm.MYS_SENDING_ROWS] = function(row, id, conn)
           local values, n = rset:parse_row_array(row)
           if n ~= 2 then error('two columns') end
           if values[1] == '2' then return dpm.DPM_NOPROXY end
           local c = C(conn:remote_id())
           rset:pack_row(row, { values[1] .. '!', values[2] })
           dpm.wire_packet(c, row)
           local added = dpm.new_row_pkt()
           rset:pack_row(added, { 'after ' .. values[1] })
           dpm.wire_packet(c, added)
           return dpm.DPM_NOPROXY
         end",
    );
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login(dpm.port(), shape);
        let sql = "SELECT 1 AS a, NULL AS b UNION SELECT 2, 'x' UNION SELECT 3, ''";
        let Answer::Rows { columns, rows, .. } = wire.query(sql) else {
            panic!("rows")
        };
        assert!(columns[0].windows(4).any(|w| w == b"my a"));
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            rows,
            [
                [some("1!"), None],
                [some("after 1"), None],
                [some("3!"), some("")],
                [some("after 3"), None],
            ]
        );
        assert!(matches!(wire.query("DO 1"), Answer::Ok(_)));
    }
    dpm.assert_no_errors();
}

#[test]
fn an_error_is_replaced_by_a_result() {
    let dpm = scripted(
        "server[dpm.MYS_RECV_ERR] = function(err, id, conn)
           print('err', err:errnum(), err:sqlstate(), err:message())
           local c = C(conn:remote_id())
           local rset = dpm.new_rset_pkt()
           local field = dpm.new_field_pkt()
           field:name('answer', dpm.MYSQL_TYPE_VAR_STRING)
           rset:add_field(field)
           dpm.wire_packet(c, rset)
           dpm.wire_packet(c, field)
           dpm.wire_packet(c, dpm.new_eof_pkt())
           local row = dpm.new_row_pkt()
           rset:pack_row(row, { 'never mind' })
           dpm.wire_packet(c, row)
           dpm.wire_packet(c, dpm.new_eof_pkt())
           return dpm.DPM_NOPROXY
         end",
    );
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login(dpm.port(), shape);
        assert_eq!(wire.rows("SELEKT"), [["never mind"]]);
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    }
    dpm.line("err\t1064\t42000\t");
    dpm.assert_no_errors();
}

#[test]
fn the_end_of_an_answer_is_held_and_sent_later() {
    let dpm = scripted(
        "server[dpm.MYS_WAIT_CMD] = function(packet, id, conn)
           local c = C(conn:remote_id())
           local t = dpm.new_timer()
           t:schedule(0, 20, function(t) t:cancel() dpm.wire_packet(c, packet) end)
           return dpm.DPM_NOPROXY
         end",
    );
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login(dpm.port(), shape);
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        assert!(matches!(wire.query("DO 1"), Answer::Ok(_)));
    }
    dpm.assert_no_errors();
}

#[test]
fn a_command_that_was_answered_is_not_forwarded_too() {
    // A common mistake: the answer is wired, and the verdict forgotten.
    let dpm = scripted(
        "local dpml = require('dpml')
         client[dpm.MYC_SENT_CMD] = function(cmd, id, conn)
           if cmd:argument():find('forbidden') then
             dpml.send_error(conn, '42000', 1142, 'no')
           end
         end",
    );
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login(dpm.port(), shape);
        for _ in 0..2 {
            assert!(matches!(
                wire.query("SELECT 'forbidden'"),
                Answer::Err(1142, ..)
            ));
            assert_eq!(wire.rows("SELECT 1"), [["1"]], "its own answer");
        }
    }
    dpm.line("a callback answered a command without returning dpm.DPM_NOPROXY");
}

#[test]
fn what_is_no_number_forwards() {
    for result in [
        "",
        "nil",
        "true",
        "false",
        "'2'",
        "{}",
        "print",
        "dpm.DPM_OK",
    ] {
        let dpm = scripted(&format!(
            "local function fn() return {result} end
             client[dpm.MYC_SENT_CMD] = fn
             server[dpm.MYS_SENDING_ROWS] = fn
             server[dpm.MYS_WAIT_CMD] = fn"
        ));
        let mut wire = Wire::login(dpm.port(), PLAIN);
        assert_eq!(wire.rows("SELECT 1"), [["1"]], "{result}");
    }
}

#[test]
fn flush_disconnect_at_the_end_unlinks() {
    let dpm = scripted(
        "server[dpm.MYS_WAIT_CMD] = function(packet, id, conn)
           h.count = (h.count or 0) + 1
           print('end', h.count, conn:remote_id() > 0)
           if h.count == 2 then return dpm.DPM_FLUSH_DISCONNECT end
         end
         client[dpm.MYC_SENT_CMD] = function(cmd, id, conn)
           print('linked', conn:remote_id() > 0)
           if cmd:argument() == 'again' then
             dpm.proxy_connect(conn, S(id))
             cmd:argument('SELECT 2')
             dpm.wire_packet(S(id), cmd)
             return dpm.DPM_NOPROXY
           end
         end",
    );
    let mut wire = Wire::login(dpm.port(), MODERN);
    assert_eq!(wire.rows("SELECT 1"), [["1"]], "it is forwarded");
    dpm.line("end\t2\ttrue");
    match wire.query("SELECT 'nobody'") {
        Answer::Err(1105, state, _) => assert_eq!(state, "HY000"),
        other => panic!("{other:?}"),
    }
    dpm.line("linked\tfalse");
    assert_eq!(wire.rows("again"), [["2"]]);
    dpm.assert_no_errors();
}

#[test]
fn flush_disconnect_in_the_middle_drains_the_rest() {
    let dpm = scripted(
        "server[dpm.MYS_SENDING_ROWS] = function(row, id, conn)
           h.last = conn:remote_id()
           return dpm.DPM_FLUSH_DISCONNECT
         end
         server[dpm.MYS_WAIT_CMD] = function(packet, id, conn)
           print('drained', conn:remote_id())
           if h.last then
             local c = C(h.last)
             h.last = nil
             dpm.wire_packet(c, dpm.new_eof_pkt())
             dpm.proxy_connect(c, conn)
             server[dpm.MYS_SENDING_ROWS] = nil
             conn:register(dpm.MYS_SENDING_ROWS, nil)
           end
         end",
    );
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login(dpm.port(), shape);
        if shape == PLAIN {
            assert_eq!(wire.rows("SELECT 1 UNION SELECT 2 UNION SELECT 3"), [["1"]]);
            dpm.line("drained\t0");
        }
        assert_eq!(wire.rows("SELECT 4 UNION SELECT 5"), [["4"], ["5"]]);
    }
    dpm.assert_no_errors();
}

#[test]
fn a_command_goes_to_two_servers_and_a_result_to_two_clients() {
    let dpm = Dpm::start(
        "local h = require('harness')
         local waiting = {}
         -- The first client waits for what the second asks.
         h.passthrough({
           [dpm.MYC_SENT_CMD] = function(cmd, id, conn)
             if cmd:argument() == 'listen' then
               waiting[#waiting + 1] = conn
               return dpm.DPM_NOPROXY
             end
           end,
         }, (function()
           local copy = function(packet)
             for _, c in ipairs(waiting) do dpm.wire_packet(c, packet) end
           end
           return {
             [dpm.MYS_SENT_RSET] = copy, [dpm.MYS_SENDING_FIELDS] = copy,
             [dpm.MYS_SENT_FIELDS] = copy, [dpm.MYS_SENDING_ROWS] = copy,
             [dpm.MYS_WAIT_CMD] = function(packet) copy(packet) waiting = {} end,
           }
         end)())",
        mariadb(),
    );
    let port = dpm.port();
    // Each end with its own way to end a result.
    let mut listener = Wire::login(port, PLAIN);
    let mut other = Wire::login(port, MODERN);
    listener.command(com::QUERY, b"listen");
    let mut speaker = Wire::login(port, MODERN);
    other.command(com::QUERY, b"listen");
    dpm.settle();
    assert_eq!(speaker.rows("SELECT 1 UNION SELECT 2"), [["1"], ["2"]]);
    for wire in [&mut listener, &mut other] {
        match wire.answer() {
            Answer::Rows { rows, .. } => assert_eq!(rows.len(), 2),
            // The login of the speaker ended in an OK, which was copied too.
            Answer::Ok(_) => {}
            other => panic!("{other:?}"),
        }
    }
    dpm.assert_no_errors();
}

#[test]
fn package_callbacks_lie_over_the_connections_own() {
    let dpm = scripted(
        "local package = dpm.new_callback()
         package:register(dpm.MYS_SENDING_ROWS, function() print('package row') return dpm.DPM_NOPROXY end)
         client[dpm.MYC_SENT_CMD] = function(cmd, id)
           print('own command')
           if cmd:argument() == 'SELECT 1' then
             S(id):package_register(package)
             print('in place', S(id):package_register() == package)
           else
             S(id):package_register(nil)
             print('lifted', S(id):package_register())
           end
         end
         server[dpm.MYS_SENDING_ROWS] = function() print('own row') end
         server[dpm.MYS_WAIT_CMD] = function() print('own end') end
         server[dpm.MY_CLOSING] = function() print('own closing') end",
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    dpm.line("own end");
    assert!(wire.rows("SELECT 1").is_empty());
    dpm.line("in place\ttrue");
    dpm.line("package row");
    assert_eq!((dpm.count("own row"), dpm.count("own end")), (0, 1));
    assert_eq!(wire.rows("SELECT 2"), [["2"]]);
    dpm.line("lifted\tnil");
    eventually("its own callbacks again", || {
        (dpm.count("own row"), dpm.count("own end")) == (1, 2)
    });
    assert!(wire.rows("SELECT 1").is_empty());
    drop(wire);
    dpm.line("own closing");
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}

#[test]
fn closing_fires_once_with_the_link_still_readable() {
    let dpm = scripted(
        "client[dpm.MY_CLOSING] = function(id, conn)
           print('client closing', conn:id() == id, conn:remote_id() > 0, conn:close_reason() ~= nil)
           conn:on_close(function() print('never') end)
         end
         server[dpm.MY_CLOSING] = function(id, conn)
           print('server closing', conn:id() == id, dpm.close(conn))
         end
         client[dpm.MYC_SENT_CMD] = function(cmd, id, conn)
           if cmd:argument() == 'close' then
             conn:on_close(function(i) print('on close 1', i == id) end)
             conn:on_close(function(i) print('on close 2', i == id) end)
             print('close', dpm.close(conn), dpm.close(conn))
             return dpm.DPM_NOPROXY
           end
         end",
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    wire.command(com::QUERY, b"close");
    assert!(wire.closed());
    dpm.line("close\t1\tnil");
    dpm.line("client closing\ttrue\ttrue\ttrue");
    dpm.line("on close 1\ttrue");
    dpm.line("on close 2\ttrue");
    dpm.line("server closing\ttrue\tnil");
    dpm.wait_until_idle();
    assert_eq!(dpm.count("client closing"), 1);
    assert_eq!(dpm.count("server closing"), 1);
}

#[test]
fn a_row_behind_an_answer_that_the_script_has_ended_is_for_nobody() {
    let dpm = scripted(
        "server[dpm.MYS_SENDING_ROWS] = function(row, id, conn)
           if h.ended then return end
           h.ended = true
           local err = dpm.new_err_pkt()
           err:errnum(1234)
           dpm.wire_packet(C(conn:remote_id()), err)
         end
         server[dpm.MYS_WAIT_CMD] = function() h.ended = nil end",
    );
    for shape in [PLAIN, MODERN] {
        let mut wire = Wire::login(dpm.port(), shape);
        for _ in 0..3 {
            let sql = "SELECT 1 UNION SELECT 2 UNION SELECT 3";
            assert!(matches!(wire.query(sql), Answer::Err(1234, ..)));
            assert!(matches!(wire.query("DO 0"), Answer::Ok(_)));
        }
    }
    dpm.assert_no_errors();
}
