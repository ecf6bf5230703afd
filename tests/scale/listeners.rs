//! As many clients as there is room for on each kind of listener, all of them answered rightly.

use crate::crowd::Crowd;
use crate::echo::Echo;
use crate::support::{PASSWORD, USER, eventually};
use crate::{alone, clients, proxy, row};

/// A kind of listener.
struct Kind {
    name: &'static str,
    script: &'static str,
    /// Options of the listener.
    options: &'static str,
    question: fn(usize) -> String,
    answer: fn(usize) -> String,
    /// How many ask at the same time.
    at_once: usize,
}

/// Clients that ask a server for their own number.
const PLAIN: Kind = Kind {
    name: "",
    script: "",
    options: "",
    question: |n| format!("SELECT client {n}"),
    answer: |n| format!("client {n}"),
    at_once: usize::MAX,
};

#[track_caller]
fn serves(kind: &Kind) {
    let _alone = alone();
    let echo = Echo::start();
    let script = kind
        .script
        .replace(
            "USERS",
            &format!("{{ {USER} = {{ password = '{PASSWORD}' }} }}"),
        )
        .replace(
            "LOGIN",
            &format!(
                "host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}'"
            ),
        );
    let dpm = proxy(&script, kind.options, echo.port);
    let mut crowd = Crowd::new(dpm.port(), kind.options.contains("tls"));
    let count = clients();
    let few = count / 9;

    // What the rest takes, the first ones have been through all of it.
    crowd.log_in(few, 200);
    crowd.ask(kind.at_once, kind.question, kind.answer);
    dpm.stats();
    let before = dpm.memory_kib("VmRSS");
    let login = crowd.log_in(count - few, 200);
    let all = crowd.ask(kind.at_once, kind.question, kind.answer);
    // Those who came first are still there, and so are their callbacks.
    crowd.ask(kind.at_once, kind.question, kind.answer);
    let stats = dpm.stats();
    assert_eq!(stats["clients"], count as f64, "{stats:?}");
    assert_eq!(stats["clients_refused"], 0.0, "{stats:?}");
    dpm.assert_no_errors();
    let grown = dpm.memory_kib("VmRSS").saturating_sub(before) as f64 / (count - few) as f64;
    row(
        kind.name,
        &[
            ("clients", count.to_string()),
            ("login ms", login.all.as_millis().to_string()),
            ("answers ms", all.all.as_millis().to_string()),
            ("the longest", all.longest.as_millis().to_string()),
            ("KiB each", format!("{grown:.1}")),
        ],
    );
    crowd.leave();
    eventually("all have left", || dpm.stat("clients") == 0.0);
    // And somebody new is served.
    let mut crowd = Crowd::new(dpm.port(), kind.options.contains("tls"));
    crowd.log_in(1, 1);
    crowd.ask(1, kind.question, kind.answer);
}

#[test]
fn passthrough() {
    serves(&Kind {
        name: "passthrough, {}",
        script: "dpml.passthrough_new_clients(listener, {}, { arg[1], tonumber(arg[2]) })",
        ..PLAIN
    });
}

#[test]
fn passthrough_with_rows() {
    serves(&Kind {
        name: "passthrough, rows",
        script: "
            dpml.passthrough_new_clients(listener, function()
              local seen = 0
              return {
                new_row = function(row, id, client, rset)
                  seen = seen + 1
                  rset:pack_row(row, { rset:parse_row_array(row)[1] .. ' seen' })
                  return row
                end,
                closing = function() assert(seen > 0) end,
              }
            end, { arg[1], tonumber(arg[2]) })",
        answer: |n| format!("client {n} seen"),
        ..PLAIN
    });
}

#[test]
fn passthrough_with_a_chain() {
    serves(&Kind {
        name: "passthrough, chain",
        script: "
            local function rows(suffix)
              return function()
                return { new_row = function(row, id, client, rset)
                  rset:pack_row(row, { rset:parse_row_array(row)[1] .. suffix })
                  return row
                end }
              end
            end
            local commands = { new_command = function(cmd)
              if cmd:command() ~= dpm.COM_QUERY then return end
              cmd:argument((cmd:argument():gsub('client', 'chained')))
              return cmd
            end }
            local ends = { finished_command = function() end, closing = function() end }
            dpml.passthrough_new_clients(listener, dpml.chain { commands, rows(' one'), ends, rows(' two') },
              { arg[1], tonumber(arg[2]) })",
        answer: |n| format!("chained {n} one two"),
        ..PLAIN
    });
}

#[test]
fn proxied() {
    serves(&Kind {
        name: "proxied",
        script: "dpml.proxy_new_clients(listener, {}, { users = USERS, backend = { LOGIN } })",
        ..PLAIN
    });
}

#[test]
fn authenticated() {
    serves(&Kind {
        name: "authenticated",
        script: "
            dpml.authenticate_new_clients(listener, { new_command = function(cmd, id, client)
              local said = cmd:argument():sub(8)
              dpml.send_resultset(client, { fields = { 'said' }, rows = { { said } } })
              return dpm.DPM_NOPROXY
            end }, USERS)",
        ..PLAIN
    });
}

#[test]
fn service() {
    serves(&Kind {
        name: "service",
        script: "
            dpml.accept_clients(listener, { users = USERS, new_command = function(cmd, client, session)
              session.asked = (session.asked or 0) + 1
              return { fields = { 'said' }, rows = { { cmd:argument():sub(8) } } }
            end })",
        ..PLAIN
    });
}

#[test]
fn multiplexer() {
    serves(&Kind {
        name: "multiplexer",
        script: "dpml.multiplex(listener, { users = USERS, fleet = { { LOGIN, name = 'one' } } })",
        question: |n| format!("QUERY one 60 SELECT {n}"),
        answer: |n| format!("one\t{n}"),
        // No more than a thousand may wait for a server, and no more than a hundred results are kept.
        at_once: 50,
        ..PLAIN
    });
}

#[test]
fn raw_callbacks_on_every_state() {
    serves(&Kind {
        name: "every state",
        script: "
            listener:register(dpm.MYC_CONNECT, function(client)
              local server = dpm.connect(arg[1], tonumber(arg[2]))
              local fired, rset = 0, nil
              for state, name in pairs(h.names) do
                local function here() fired = fired + 1 end
                if not name:match('^MYS_') then client:register(state, here) end
                if not name:match('^MYC_') then server:register(state, here) end
              end
              server:register(dpm.MYS_SENT_RSET, function(packet) rset = packet end)
              server:register(dpm.MYS_SENDING_ROWS, function(row)
                local seen = fired > 5 and ' seen' or ' not seen'
                rset:pack_row(row, { rset:parse_row_array(row)[1] .. seen })
                dpm.wire_packet(client, row)
                return dpm.DPM_NOPROXY
              end)
              dpm.proxy_connect(client, server)
            end)",
        answer: |n| format!("client {n} seen"),
        ..PLAIN
    });
}

#[test]
fn tls() {
    serves(&Kind {
        name: "passthrough, TLS",
        script: "dpml.passthrough_new_clients(listener, {}, { arg[1], tonumber(arg[2]) })",
        options: "tls = true",
        ..PLAIN
    });
}
