//! Packets of 16 MB and more, which are split, both ways and through callbacks.

use crate::support::exchange::execute_argument;
use crate::support::wire::{MockServer, Wire, caps, column, com, eof, ok, pack_row};
use crate::support::{Dpm, Stage, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;
const FULL: usize = 0xFF_FFFF;

/// Around where a packet is split, and where an empty frame ends it.
const SIZES: [usize; 4] = [FULL - 1, FULL, FULL + 1, 2 * FULL];

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    let tile: Vec<u8> = (0..=250u8).map(|byte| byte & 0x7F).collect();
    let mut bytes = tile.repeat(len / tile.len() + 1);
    bytes.truncate(len);
    bytes
}

/// Sends commands and rows of all sizes through, with these callbacks.
fn passes(callbacks: &str) {
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    let mut wire = stage.client(PLAIN);
    stage.begin_server("");
    let mut server = mock.accept_login(PLAIN);
    stage.ready();
    stage.link(1, 1);
    stage.lua(callbacks);
    for size in SIZES {
        let argument = pattern(size - 1);
        // A row of that size: its value has a length in front.
        let row = pack_row(&[Some(&pattern(size - if size > FULL + 4 { 9 } else { 4 }))]);
        assert_eq!(row.len(), size);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (command, got) = server.read_command();
                assert!(
                    command == com::QUERY && got == argument,
                    "a command of {size} bytes"
                );
                server.write(&[1]);
                server.write(&column("c"));
                server.write(&eof(2));
                server.write(&row);
                server.write(b"\x01x");
                server.write(&eof(2));
            });
            let answer = wire.exchange(com::QUERY, &argument);
            assert_eq!(answer.len(), 6);
            assert!(answer[3] == row, "a row of {size} bytes");
            assert_eq!(answer[4], b"\x01x", "{size}");
        });
        wire.command(com::PING, b"");
        assert_eq!(server.read_command().0, com::PING);
        server.write(&ok());
        assert_eq!(wire.read(), ok());
    }
    stage.dpm.assert_no_errors();
}

#[test]
fn past_lua() {
    passes("");
}

#[test]
fn through_callbacks_that_only_look() {
    passes(
        "clients[1]:register(dpm.MYC_SENT_CMD, function(cmd) cmd:argument() end)
         servers[1]:register(dpm.MYS_SENT_RSET, function(p) rset = p end)
         servers[1]:register(dpm.MYS_SENDING_ROWS, function(row) rset:parse_row_array(row) end)",
    );
}

#[test]
fn with_a_callback_for_something_else() {
    passes(
        "clients[1]:register(dpm.MYC_WAITING, function() end)
         servers[1]:register(dpm.MYS_WAIT_CMD, function() end)",
    );
}

#[test]
fn wired_by_the_script() {
    passes(
        "clients[1]:register(dpm.MYC_SENT_CMD, function(cmd)
           local copy = dpm.new_cmd_pkt()
           copy:command(cmd:command()) copy:argument(cmd:argument())
           dpm.wire_packet(servers[1], copy)
           return dpm.DPM_NOPROXY
         end)
         servers[1]:register(dpm.MYS_SENT_RSET, function(p) rset = p end)
         servers[1]:register(dpm.MYS_SENDING_ROWS, function(row)
           local copy = dpm.new_row_pkt()
           rset:pack_row(copy, (rset:parse_row_array(row)))
           dpm.wire_packet(clients[1], copy)
           return dpm.DPM_NOPROXY
         end)",
    );
}

#[test]
fn pipelined_behind_one_another() {
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    let mut wire = stage.client(PLAIN);
    stage.begin_server("");
    let mut server = mock.accept_login(PLAIN);
    stage.ready();
    stage.link(1, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for size in [FULL, 5, FULL + 1, 1, 2 * FULL] {
                let (_, got) = server.read_command();
                assert_eq!(got.len(), size - 1);
                server.write(&ok());
            }
        });
        for size in [FULL, 5, FULL + 1, 1, 2 * FULL] {
            wire.command(
                if size == 1 { com::PING } else { com::QUERY },
                &pattern(size - 1),
            );
        }
        // The answer to a split command is numbered behind its last frame.
        for frames in [2, 1, 2, 1, 3] {
            wire.seq = frames;
            assert_eq!(wire.read(), ok());
        }
    });
}

/// Long values of a real server's, in text and binary, unequal ends included.
#[test]
fn of_a_real_server() {
    for (without, shape) in [
        ("", PLAIN | caps::DEPRECATE_EOF | caps::SESSION_TRACK),
        ("", PLAIN),
        ("dpm.CLIENT_DEPRECATE_EOF", PLAIN | caps::DEPRECATE_EOF),
    ] {
        let mut stage = Stage::before(mariadb().port);
        let mut wire = stage.client(shape);
        stage.server_without(without);
        stage.link(1, 1);
        for len in [FULL - 4, 20 << 20] {
            let sql = format!("SELECT REPEAT('x', {len}), 1");
            let text = wire.exchange(com::QUERY, sql.as_bytes());
            let statement = wire.prepare(&sql);
            let binary = wire.exchange(com::STMT_EXECUTE, &execute_argument(statement, 0, &[]));
            for answer in [text, binary] {
                let row = &answer[answer.len() - 2];
                let at = row.iter().position(|byte| *byte == b'x').unwrap();
                let whole = row.get(at..at + len) == Some(&vec![b'x'; len][..]);
                assert!(whole, "{len}: {without} {shape:#x}");
            }
        }
        stage.dpm.assert_no_errors();
    }
}

#[test]
fn a_wired_packet_beyond_max_queue_is_an_error() {
    let mut stage = Stage::with(
        "dpm.config { max_queue = 1000000 } h.serve()",
        mariadb().port,
    );
    stage.server();
    let said = stage.lua(
        "local cmd = dpm.new_cmd_pkt()
         cmd:command(dpm.COM_QUERY) cmd:argument(('x'):rep(1000001))
         return pcall(dpm.wire_packet, servers[1], cmd)",
    );
    assert!(
        said.contains("1000001") && said.contains("max_queue"),
        "{said}"
    );
    let _ = Wire::login(stage.dpm.port(), PLAIN);
}

#[test]
fn packets_that_callbacks_have_seen_do_not_pile_up() {
    let script = "require('harness').passthrough({ [dpm.MYC_SENT_CMD] = function(cmd) end })";
    let dpm = Dpm::start(script, mariadb());
    let mut wire = Wire::login(dpm.port(), caps::BASE);
    let query = [&b"SELECT 1 -- "[..], &vec![b'x'; 1 << 20]].concat();
    let mut ask = |times: usize| {
        for _ in 0..times {
            wire.command(com::QUERY, &query);
            wire.answer();
        }
    };
    ask(40);
    let before = dpm.memory_kib("VmHWM");
    ask(300);
    let grown = dpm.memory_kib("VmHWM") - before;
    assert!(grown < 24 << 10, "grown by {grown} KiB");
}
