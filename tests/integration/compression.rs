//! Compression on each leg independently: with the real clients and servers, which check the
//! frames' numbers, and with peers that send wrong frames.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use ::mysql::prelude::Queryable;
use bytes::BytesMut;
use dpm::wire::compressed::{Algorithm, Decoder, Encoder, Numbers, Toolbox};

use crate::support::dpm::Launch;
use crate::support::server::mysql_available;
use crate::support::wire::{Answer, Greeting, MockServer, Wire, auth_packet, caps, com};
use crate::support::{Cli, Dpm, Flavour, Server, both, mariadb, mysql, options, process};

/// A passthrough that asks its servers for this, and prints at the end how both legs were
/// compressed.
fn legs(server: &Server, towards: &str) -> Dpm {
    passthrough(server, "", towards, "")
}

fn passthrough(server: &Server, listener: &str, towards: &str, more: &str) -> Dpm {
    let script = format!(
        "local h = require('harness')
         h.listen(function(c)
           local s = dpm.connect(arg[1], tonumber(arg[2]), {{ {towards} }})
           local id = c:id()
           h.pairs[id] = {{ c, s }}
           c:on_close(function()
             print('legs ' .. tostring(c:compression()) .. ' ' .. tostring(s:compression()))
             h.pairs[id] = nil
           end)
           {more}
           dpm.proxy_connect(c, s)
         end, {{ {listener} }})"
    );
    Launch::script(&script).server(server).start()
}

/// Callbacks for every state, on both ends.
const ALL_CALLBACKS: &str = "for value, name in pairs(h.names) do
    if name:match('^MYC_') and name ~= 'MYC_CONNECT' then c:register(value, function() end) end
    if name:match('^MYS_') then s:register(value, function() end) end
  end";

/// The command-line clients that support it, with this compression. (MariaDB's client fails in the
/// full authentication of `caching_sha2_password`.)
fn clients(server: &Server, algorithm: &str, port: u16) -> Vec<Cli> {
    let mut clients = Vec::new();
    if algorithm != "zstd" && server.flavour != Flavour::MySql {
        let cli = Cli::client(Flavour::MariaDb, port).arg("--max-allowed-packet=1G");
        clients.push(match algorithm {
            "nil" => cli,
            _ => cli.arg("--compress"),
        });
    }
    if mysql_available() {
        let cli = Cli::client(Flavour::MySql, port).arg("--max-allowed-packet=1G");
        clients.push(match algorithm {
            "nil" => cli,
            _ => cli.arg(format!("--compression-algorithms={algorithm}")),
        });
    }
    clients
}

fn server_kinds(server: &Server) -> &'static [&'static str] {
    match server.flavour {
        Flavour::MySql => &["nil", "zlib", "zstd"],
        _ => &["nil", "zlib"],
    }
}

fn towards(kind: &str) -> String {
    match kind {
        "nil" => String::new(),
        _ => format!("compression = '{kind}'"),
    }
}

/// With callbacks once is enough.
fn watched(kind: &str) -> &'static [&'static str] {
    match kind {
        "zlib" => &["", ALL_CALLBACKS],
        _ => &[""],
    }
}

/// Small and large, several results, errors, and what has no answer.
const BATTERY: &str = "SELECT 1;
SELECT REPEAT('abcdefghij', 100000), LENGTH(REPEAT('x', 20000000));
SELECT 'a' UNION SELECT NULL UNION SELECT '';
SELECT nothing;
DO 0;
PREPARE p FROM 'SELECT ? + 1'; SET @a = 41; EXECUTE p USING @a; DEALLOCATE PREPARE p;
SELECT COUNT(*) FROM information_schema.collations, information_schema.character_sets WHERE 1 = 0;
";

both! {
    fn each_leg_by_itself(server) {
        for kind in server_kinds(server) {
            let dpm = legs(server, &towards(kind));
            let mut expected = Vec::new();
            for algorithm in ["nil", "zlib", "zstd"] {
                for cli in clients(server, algorithm, dpm.port()) {
                    let done = cli.arg("--force").stdin(BATTERY).run();
                    let direct = Cli::client(server.flavour, server.port)
                        .arg("--force").stdin(BATTERY).run();
                    assert!(done.out() == direct.out(), "{algorithm} {kind}: {}", done.err());
                    assert!(done.err().contains("ERROR 1054"), "{}", done.err());
                    expected.push(format!("{algorithm} {kind}"));
                    dpm.wait_until_idle();
                }
            }
            assert_eq!(dpm.lines("legs "), expected);
            dpm.assert_no_errors();
        }
    }
}

both! {
    /// The `mysql` crate insists on the packets' numbers, and on those of servers, which behind a result
    /// begin anew with each frame.
    fn several_results_for_a_client_that_counts(server) {
        let dpm = Dpm::passthrough(server);
        let how = options(dpm.port()).compress(Some(::mysql::Compression::fast()));
        let mut conn = ::mysql::Conn::new(how).expect("a login");
        for round in 0..100 {
            let sql = format!("SELECT {round}; SELECT REPEAT('x', {round}); DO 1; SELECT 'last'");
            let mut results = conn.query_iter(sql).expect("an answer");
            let mut texts = Vec::new();
            while let Some(rows) = results.iter() {
                texts.extend(rows.map(|row| ::mysql::from_row::<String>(row.expect("a row"))));
            }
            assert_eq!(texts, [round.to_string(), "x".repeat(round), "last".to_owned()]);
        }
        dpm.assert_no_errors();
    }
}

both! {
    /// 20 MB either way, and packets that fill their frames to the byte.
    fn large_values(server) {
        let legs = match server.flavour {
            Flavour::MySql => [("zstd", "nil", ""), ("zlib", "zstd", ""), ("zstd", "zlib", ALL_CALLBACKS)],
            _ => [("nil", "zlib", ""), ("zlib", "nil", ""), ("zlib", "zlib", ALL_CALLBACKS)],
        };
        for (algorithm, kind, more) in legs {
            let dpm = passthrough(server, "", &towards(kind), more);
            let mut sql = String::new();
            let mut expected = String::new();
            // A command is one byte more than its text.
            for len in [20_000_000, 0xFF_FFFF - 2, 0xFF_FFFF - 1] {
                let value = "x".repeat(len - "SELECT LENGTH('')".len());
                writeln!(sql, "SELECT LENGTH('{value}');").unwrap();
                writeln!(expected, "{}", value.len()).unwrap();
            }
            // A row has four more bytes. (With compression, a row that fills its frame makes
            // MariaDB's client lose its connection, to any server.)
            let fills = match server.flavour {
                Flavour::MySql => 0xFF_FFFF - 4,
                _ => 0xFF_FFFF - 3,
            };
            for len in [fills, 20_000_000] {
                writeln!(sql, "SELECT REPEAT('y', {len});").unwrap();
                writeln!(expected, "{}", "y".repeat(len)).unwrap();
            }
            for cli in clients(server, algorithm, dpm.port()) {
                let done = cli.stdin(sql.clone()).run();
                assert!(done.out() == expected, "{algorithm} {kind}: {}", done.err());
            }
            dpm.wait_until_idle();
            dpm.assert_no_errors();
        }
    }
}

both! {
    fn many_rows(server) {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
            SELECT a.i, b.i, REPEAT('z', a.i % 20) FROM n a, n b WHERE b.i <= 100 ORDER BY 1, 2";
        let direct = Cli::client(server.flavour, server.port).arg("-e").arg(sql).ok();
        assert_eq!(direct.lines().count(), 100_000);
        for kind in server_kinds(server) {
            for more in watched(kind) {
                let dpm = passthrough(server, "", &towards(kind), more);
                for algorithm in ["nil", "zlib", "zstd"] {
                    for cli in clients(server, algorithm, dpm.port()) {
                        let said = cli.arg("-e").arg(sql).ok();
                        assert!(said == direct, "{algorithm} {kind}");
                    }
                }
                dpm.wait_until_idle();
                dpm.assert_no_errors();
            }
        }
    }
}

both! {
    fn load_data_local(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (id INT, text VARCHAR(200))"));
        let path = process::folder("infile").join("data");
        let mut lines = String::new();
        for id in 0..60_000 {
            writeln!(lines, "{id}\t{}", "abc".repeat(id % 50)).unwrap();
        }
        std::fs::write(&path, lines).unwrap();
        let sql = format!(
            "TRUNCATE {base}.t; LOAD DATA LOCAL INFILE '{}' INTO TABLE {base}.t;
             SELECT COUNT(*), SUM(LENGTH(text)) FROM {base}.t;
             LOAD DATA LOCAL INFILE '/nowhere/at/all' INTO TABLE {base}.t;
             SELECT 'after'", path.display());
        for kind in server_kinds(server) {
            for more in watched(kind) {
                let dpm = passthrough(server, "", &towards(kind), more);
                for algorithm in ["nil", "zlib", "zstd"] {
                    for cli in clients(server, algorithm, dpm.port()) {
                        let done = cli.args(["--local-infile=1", "--force"]).stdin(sql.clone()).run();
                        assert_eq!(done.out(), "60000\t4410000\nafter\n", "{}", done.err());
                    }
                }
                dpm.wait_until_idle();
                dpm.assert_no_errors();
            }
        }
    }
}

/// A client that encodes its own frames.
struct Framed {
    wire: Wire,
    algorithm: Algorithm,
}

impl Framed {
    fn login(port: u16, algorithm: Algorithm) -> Framed {
        let wanted = caps::BASE | caps::CONNECT_WITH_DB | algorithm.flag().low();
        let wire = Wire::login_empty(port, wanted);
        assert_ne!(wire.capabilities & algorithm.flag().low(), 0);
        Framed { wire, algorithm }
    }

    /// A client that asks for a level of zstd.
    #[track_caller]
    fn login_at(port: u16, level: u8) -> Framed {
        let algorithm = Algorithm::Zstd;
        let mut wire = Wire::connect(port);
        let greeting = Greeting::parse(&wire.read());
        let wanted = caps::BASE | algorithm.flag().low();
        let mut packet = auth_packet(&greeting.nonce, "empty", "", wanted);
        packet.extend_from_slice(greeting.plugin.as_bytes());
        packet.extend_from_slice(&[0, level]);
        wire.write(&packet);
        assert_eq!(wire.read()[0], 0);
        Framed { wire, algorithm }
    }

    /// One frame as it comes: its number, and what is in it.
    #[track_caller]
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let (frame, plain) = self.frame_as_it_is();
        (frame[3], plain)
    }

    /// One frame, with its header, and what is in it.
    #[track_caller]
    fn frame_as_it_is(&mut self) -> (Vec<u8>, Vec<u8>) {
        let header = self.wire.exact(7);
        let int = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], 0]);
        let mut frame = header.clone();
        frame.extend_from_slice(&self.wire.exact(int(0) as usize));
        let size = if int(4) == 0 { int(0) } else { int(4) } as usize;
        let mut plain = vec![0; size];
        let mut numbers = Numbers::towards_client();
        // Whatever its number.
        while !numbers.accept(header[3]) {
            let next = numbers.expected();
            assert!(numbers.accept(next));
        }
        frame[3] = numbers.expected();
        let done = Decoder::new(self.algorithm)
            .decode(&mut Toolbox::default(), &mut numbers, &frame, &mut plain)
            .expect("a frame");
        assert_eq!((done.used, done.made), (frame.len(), size));
        frame[3] = header[3];
        (frame, plain)
    }

    /// The numbers of the frames of an answer, and what is in them; it ends with an OK or EOF.
    #[track_caller]
    fn numbers(&mut self) -> Vec<u8> {
        let mut numbers = Vec::new();
        let mut plain = Vec::new();
        loop {
            let (number, more) = self.frame();
            numbers.push(number);
            plain.extend_from_slice(&more);
            let mut rest = &plain[..];
            let mut eofs = 0;
            while rest.len() > 4 {
                let len = u32::from_le_bytes([rest[0], rest[1], rest[2], 0]) as usize;
                let Some(payload) = rest.get(4..4 + len) else {
                    break;
                };
                rest = &rest[4 + len..];
                assert_ne!(payload[0], 0xFF, "{}", String::from_utf8_lossy(payload));
                eofs += usize::from(payload[0] == 0xFE && len < 9);
                if (payload[0] == 0 && plain.len() == len + 4) || eofs == 2 {
                    assert!(rest.is_empty());
                    return numbers;
                }
            }
        }
    }
}

fn stored(number: u8, plain: &[u8]) -> Vec<u8> {
    let mut frame = (plain.len() as u32).to_le_bytes()[..3].to_vec();
    frame.extend_from_slice(&[number, 0, 0, 0]);
    frame.extend_from_slice(plain);
    frame
}

/// A frame that says it inflates to so much.
fn claims(number: u8, size: usize, body: &[u8]) -> Vec<u8> {
    let mut frame = stored(number, body);
    frame[4..7].copy_from_slice(&(size as u32).to_le_bytes()[..3]);
    frame
}

fn command(com: u8, argument: &[u8]) -> Vec<u8> {
    let mut packet = (argument.len() as u32 + 1).to_le_bytes()[..3].to_vec();
    packet.extend_from_slice(&[0, com]);
    packet.extend_from_slice(argument);
    packet
}

both! {
    /// The numbers of each answer continue from its own command's frames, as in servers.
    fn pipelined_commands(server) {
        for kind in server_kinds(server) {
            for more in watched(kind) {
                let dpm = passthrough(server, "", &towards(kind), more);
                let mut client = Framed::login(dpm.port(), Algorithm::Zlib);
                let ping = command(com::PING, b"");
                let long = command(com::QUERY, format!("DO '{}'", "x".repeat(300_000)).as_bytes());
                let select = command(com::QUERY, b"SELECT REPEAT('y', 5000)");
                let (front, back) = long.split_at(100_000);
                let close = command(com::STMT_CLOSE, &[9, 0, 0, 0]);
                client.wire.raw(&[
                    stored(0, &ping),
                    stored(0, &close),
                    stored(0, front), stored(1, back),
                    stored(0, &select[..3]), stored(1, &select[3..]),
                    stored(0, &[ping.clone(), ping.clone()].concat()),
                    stored(0, &close),
                    stored(0, &ping),
                ].concat());
                assert_eq!(client.numbers(), [1]);
                assert_eq!(client.numbers(), [2]);
                assert_eq!(client.numbers()[0], 2);
                assert_eq!(client.numbers(), [1]);
                // It was in the frame of the one before.
                assert_eq!(client.numbers(), [2]);
                assert_eq!(client.numbers(), [1]);
                client.wire.raw(&stored(0, &command(com::QUIT, b"")));
                assert!(client.wire.closed());
                dpm.wait_until_idle();
                dpm.assert_no_errors();
            }
        }
    }
}

both! {
    fn half_closed_clients_are_answered(server) {
        for kind in server_kinds(server) {
            for more in watched(kind) {
                let dpm = passthrough(server, "", &towards(kind), more);
                let mut client = Framed::login(dpm.port(), Algorithm::Zlib);
                for _ in 0..3 {
                    client.wire.raw(&stored(0, &command(com::QUERY, b"DO SLEEP(0.02)")));
                }
                // What is cut short comes too late for those before it.
                client.wire.raw(&stored(0, &command(com::PING, b""))[..9]);
                client.wire.half_close();
                for _ in 0..3 {
                    assert_eq!(client.numbers(), [1]);
                }
                assert!(client.wire.closed());
                dpm.wait_until_idle();
            }
        }
    }
}

both! {
    /// A client without compression does not wait for answers, and its server is compressed.
    fn pipelined_towards_a_compressed_server(server) {
        for kind in &server_kinds(server)[1..] {
            let dpm = passthrough(server, "", &towards(kind), "");
            let mut client = Wire::login_empty(dpm.port(), caps::BASE);
            let mut bytes = Vec::new();
            for n in 0..300 {
                let filler = "x".repeat(if n % 100 == 50 { 700_000 } else { n });
                bytes.extend(command(com::QUERY, format!("SELECT {n}, LENGTH('{filler}')").as_bytes()));
                bytes.extend(command(com::STMT_CLOSE, &[9, 0, 0, 0]));
            }
            let mut writer = client.stream().try_clone().unwrap();
            let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
            for n in 0..300 {
                client.seq = 1;
                let Answer::Rows { rows, .. } = client.answer() else { panic!("{n}") };
                assert_eq!(rows[0][0].as_deref(), Some(n.to_string().as_bytes()));
            }
            writing.join().unwrap();
            drop(client);
            dpm.wait_until_idle();
            dpm.assert_no_errors();
        }
    }
}

#[test]
fn frames_out_of_turn() {
    let dpm = legs(mariadb(), "");
    let ping = command(com::PING, b"");
    let wrong: [&[Vec<u8>]; 4] = [
        &[stored(1, &ping)],
        &[stored(255, &ping)],
        &[stored(0, &ping[..2]), stored(0, &ping[2..])],
        &[stored(0, &ping[..2]), stored(2, &ping[2..])],
    ];
    for frames in wrong {
        let mut client = Framed::login(dpm.port(), Algorithm::Zlib);
        client.wire.raw(&frames.concat());
        assert!(client.wire.closed());
    }
    dpm.wait_until_idle();
    assert_eq!(dpm.count("WARN"), 4);
    assert_eq!(dpm.stat("protocol_errors"), 4.0);
    assert!(dpm.wrote("expected a compressed frame numbered 1, got one numbered 2"));
}

#[test]
fn a_server_whose_frames_are_out_of_turn() {
    let mock = MockServer::new();
    let script = "h = require('harness') h.listen(function(c)
        pair = { c, dpm.connect(arg[1], tonumber(arg[2]), { compression = 'zlib' }) }
        dpm.proxy_connect(pair[1], pair[2])
      end)";
    let dpm = Launch::script(script)
        .arg("127.0.0.1")
        .arg(mock.port)
        .start();
    for number in [2, 200] {
        let port = dpm.port();
        let client = std::thread::spawn(move || {
            let mut wire = Wire::login(port, caps::BASE);
            wire.query("DO 1")
        });
        let mut server = mock.accept_login(caps::BASE | caps::COMPRESS);
        assert_eq!(server.exact(7)[3], 0);
        server.exact(9);
        server.raw(&stored(number, b"\x07\0\0\x01\0\0\0\x02\0\0\0"));
        assert!(matches!(client.join().unwrap(), Answer::Err(1105, state, _) if state == "08S01"));
    }
    assert!(dpm.wrote("expected a compressed frame numbered 1, got one numbered 200"));
    assert_eq!(dpm.stat("protocol_errors"), 2.0);
}

#[test]
fn lies_and_bombs_cost_one_connection_and_little_memory() {
    let dpm = legs(mariadb(), "");
    let mut other = Wire::login_empty(dpm.port(), caps::BASE);
    for algorithm in Algorithm::ALL {
        let mut zeros = BytesMut::new();
        // One long query: empty packets would be commands of their own, each with an answer.
        let mut plain = b"\xFB\xFF\xFF\0\x03".to_vec();
        plain.resize(0xFF_FFFF, 0);
        Encoder::new(algorithm, 9).frame(&mut Toolbox::default(), 0, &plain, &mut zeros);
        let bomb = &zeros[7..];
        assert!(bomb.len() < 100_000);
        let mut trailing = bomb.to_vec();
        trailing.push(0);
        for frame in [
            claims(0, 100, bomb),
            claims(0, 0xFF_FFFF, &trailing),
            claims(0, 0xFF_FFFF, &bomb[..bomb.len() - 1]),
            claims(
                0,
                0xFF_FFFF,
                &[0x28, 0xB5, 0x2F, 0xFD, 0, 0xA8, 2, 0, 0x10, 0x61],
            ),
            claims(0, 1000, b""),
            claims(0, 1000, &[0xFF; 1000]),
        ] {
            let mut client = Framed::login(dpm.port(), algorithm);
            client.wire.raw(&frame);
            let _ = client.wire.stream().shutdown(std::net::Shutdown::Write);
            assert!(client.wire.closed());
        }
    }
    let before = dpm.memory_kib("VmRSS");
    // Two gigabytes of zeros, as parts of commands for a server that does not read.
    let mock = MockServer::new();
    let stalled = Dpm::passthrough_to(mock.port);
    for algorithm in Algorithm::ALL {
        let port = stalled.port();
        let login = std::thread::spawn(move || Framed::login(port, algorithm));
        let server = mock.accept_login(caps::BASE);
        let mut client = login.join().unwrap();
        let plain = vec![0; 0xFF_FFFF];
        let encoder = Encoder::new(algorithm, 9);
        let mut toolbox = Toolbox::default();
        let mut bomb = BytesMut::new();
        encoder.frame(&mut toolbox, 0, &plain, &mut bomb);
        let mut first = BytesMut::new();
        encoder.frame(&mut toolbox, 0, b"\xFF\xFF\xFF\0\x03", &mut first);
        client.wire.raw(&first);
        let stream = client.wire.stream();
        stream
            .set_write_timeout(Some(Duration::from_millis(700)))
            .unwrap();
        let mut written = 0;
        for number in 1..128 {
            bomb[3] = number;
            if stream.write_all(&bomb).is_err() {
                break;
            }
            written += 1;
        }
        assert!(written > 3, "{written}");
        let peak = stalled.memory_kib("VmHWM");
        assert!(
            peak < before + 48 * 1024,
            "{algorithm:?}: {before} KiB, then {peak}"
        );
        drop((client, server));
    }
    assert_eq!(other.rows("SELECT 1"), [["1"]]);
}

/// Empty frames, until the connection is closed.
#[test]
fn who_sends_nothing_does_not_keep_the_proxy_busy() {
    let dpm = legs(mariadb(), "");
    let mut other = Wire::login_empty(dpm.port(), caps::BASE);
    let mut client = Framed::login(dpm.port(), Algorithm::Zlib);
    let flood = std::thread::spawn(move || {
        let round: Vec<u8> = (0..=255).flat_map(|number| stored(number, b"")).collect();
        let rounds = round.repeat(200);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            if client.wire.stream().write_all(&rounds).is_err() {
                return true;
            }
        }
        false
    });
    assert_eq!(other.rows("SELECT 1"), [["1"]]);
    assert!(flood.join().expect("an end"));
    assert!(dpm.wrote("expected a compressed frame with something in it, got an empty one"));
}

/// A large answer at a high level, which takes seconds: others are served meanwhile.
#[test]
fn an_answer_is_compressed_bit_by_bit() {
    let dpm = Launch::script(
        "local h, dpml = require('harness'), require('dpml')
         local rows, seed = {}, 1
         for i = 1, 4000 do
           local row = {}
           for j = 1, 60 do
             seed = (seed * 1103515245 + 12345) % 2147483648
             row[j] = ('%08x name%d'):format(seed, seed % 977)
           end
           rows[i] = { table.concat(row, '|') }
         end
         clients = {}
         h.listen(function(c)
           clients[#clients + 1] = c
           c:register(dpm.MYC_WAITING, function(auth)
             if type(auth) == 'userdata' and auth.user then
               dpm.wire_packet(c, dpm.new_ok_pkt())
               return dpm.DPM_NOPROXY
             end
           end)
           c:register(dpm.MYC_SENT_CMD, function()
             if c == clients[1] then
               dpml.send_resultset(c, { fields = { 'a' }, rows = rows })
             else
               dpm.wire_packet(c, dpm.new_ok_pkt())
             end
             return dpm.DPM_NOPROXY
           end)
           dpm.wire_packet(c, dpm.new_handshake_pkt())
         end, { compression = { 'zstd', level = 19 } })",
    )
    .start();
    let mut client = Framed::login_at(dpm.port(), 3);
    let mut other = Wire::login_empty(dpm.port(), caps::BASE);
    client.wire.raw(&stored(0, &command(com::QUERY, b"rows")));
    let began = Instant::now();
    let answer = std::thread::spawn(move || {
        client.wire.timeout(Duration::from_secs(60));
        client.numbers();
        began.elapsed()
    });
    let mut longest = Duration::ZERO;
    while !answer.is_finished() {
        let began = Instant::now();
        assert!(matches!(other.query("x"), Answer::Ok(..)));
        longest = longest.max(began.elapsed());
    }
    let all = answer.join().expect("an answer");
    println!("{longest:?} of {all:?}");
    assert!(longest < all / 2, "{longest:?} of {all:?}");
}

both! {
    /// A result of 38 MB for a reader that takes its time.
    fn a_slow_reader_stops_its_server(server) {
        for kind in server_kinds(server) {
            let dpm = legs(server, &towards(kind));
            let mut client = Framed::login(dpm.port(), Algorithm::Zlib);
            let before = dpm.memory_kib("VmRSS");
            // Hard to compress, or little would have to be sent.
            let sql = b"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                SELECT REPEAT(CONCAT(SHA2(a.i * 1000 + b.i, 256), SHA2(a.i, 256)), 3) FROM n a, n b WHERE b.i < 100";
            client.wire.raw(&stored(0, &command(com::QUERY, sql)));
            client.wire.wait_for_data();
            dpm.settle();
            let held = dpm.memory_kib("VmHWM") - before;
            assert!(held < 24 * 1024, "{kind}: {held} KiB");
            assert!(client.numbers().len() > 200);
        }
    }
}

#[test]
fn idle_connections_own_no_buffers() {
    let dpm = legs(mariadb(), "compression = 'zlib'");
    let connect = |count: usize| -> Vec<Framed> {
        (0..count)
            .map(|_| {
                let mut client = Framed::login(dpm.port(), Algorithm::Zlib);
                let sql = command(com::QUERY, b"SELECT REPEAT('abc', 100000)");
                client.wire.raw(&stored(0, &sql));
                client.numbers();
                client
            })
            .collect()
    };
    let some = connect(50);
    let before = dpm.memory_kib("VmRSS");
    let more = connect(200);
    let each = dpm.memory_kib("VmRSS").saturating_sub(before) as usize / more.len();
    assert!(each < 40, "{each} KiB for each client");
    drop((some, more));
    dpm.wait_until_idle();
}

both! {
    fn changing_the_user_stays_compressed(server) {
        for kind in server_kinds(server) {
            for more in watched(kind) {
                let dpm = passthrough(server, "", &towards(kind), more);
                let opts = options(dpm.port())
                    .compress(Some(::mysql::Compression::default()));
                let mut conn = ::mysql::Conn::new(opts).unwrap();
                for _ in 0..2 {
                    conn.change_user(::mysql::ChangeUserOpts::new().with_db_name(Some("test".into()))).unwrap();
                    let long: Option<String> = conn.query_first("SELECT REPEAT('ab', 100000)").unwrap();
                    assert_eq!(long.unwrap().len(), 200_000);
                    let sum: Option<i64> = conn.exec_first("SELECT ? + 1", (41,)).unwrap();
                    assert_eq!(sum, Some(42));
                }
                drop(conn);
                dpm.wait_until_idle();
                assert_eq!(dpm.lines("legs "), [format!("zlib {kind}")]);
                dpm.assert_no_errors();
            }
        }
    }
}

#[test]
fn an_error_that_nobody_has_asked_for() {
    // MySQL says why it closes, in a frame with the number 0.
    let Some(server) = mysql() else { return };
    for kind in server_kinds(server) {
        let dpm = legs(server, &towards(kind));
        let mut client = Framed::login(dpm.port(), Algorithm::Zstd);
        client.wire.raw(&stored(
            0,
            &command(com::QUERY, b"SET SESSION wait_timeout = 1"),
        ));
        assert_eq!(client.numbers(), [1]);
        let (number, error) = client.frame();
        assert_eq!(
            (number, error[4], error[5], error[6]),
            (0, 0xFF, 0xBF, 0x0F)
        );
        assert!(client.wire.closed());
        dpm.wait_until_idle();
    }
}

both! {
    fn inside_tls(server) {
        let dpm = passthrough(server, "tls = true", "compression = 'zlib', tls = 'preferred'", ALL_CALLBACKS);
        {
            let cli = Cli::client(server.flavour, dpm.port());
            let cli = match server.flavour {
                Flavour::MySql => cli.args(["--ssl-mode=REQUIRED", "--compression-algorithms=zlib"]),
                _ => cli.args(["--ssl", "--compress"]),
            };
            let said = cli.arg("-e").arg("SHOW STATUS LIKE 'Compression'; SELECT REPEAT('x', 3000000)").ok();
            assert_eq!(said, format!("Compression\tON\n{}\n", "x".repeat(3_000_000)));
        }
        dpm.wait_until_idle();
        assert_eq!(dpm.lines("legs "), ["zlib zlib"]);
        dpm.assert_no_errors();
    }
}

both! {
    /// What the options say, and what the far end can do.
    fn what_is_offered_and_asked_for(server) {
        let offered = |listener: &str| {
            let dpm = passthrough(server, listener, "", "");
            let greeting = Greeting::parse(&Wire::connect(dpm.port()).read());
            greeting.capabilities & (caps::COMPRESS | Algorithm::Zstd.flag().low())
        };
        let (zlib, zstd) = (caps::COMPRESS, Algorithm::Zstd.flag().low());
        assert_eq!(offered(""), zlib | zstd);
        assert_eq!(offered("compression = false"), 0);
        assert_eq!(offered("compression = 'zstd'"), zstd);
        assert_eq!(offered("compression = { 'zlib', level = 1 }"), zlib);

        let mysql = server.flavour == Flavour::MySql;
        for (asked, got) in [
            ("false", "nil"),
            ("{ 'zstd', 'zlib', level = 7 }", if mysql { "zstd" } else { "zlib" }),
            ("{ 'zlib', 'zstd' }", "zlib"),
            ("'zstd'", if mysql { "zstd" } else { "nil" }),
        ] {
            let dpm = passthrough(server, "", &format!("compression = {asked}"), "");
            // Both asked for means zlib.
            let mut client = Wire::login_empty(dpm.port(), caps::BASE | zlib | zstd);
            client.raw(&stored(0, &command(com::QUIT, b"")));
            assert!(client.closed());
            dpm.wait_until_idle();
            assert_eq!(dpm.lines("legs "), [format!("zlib {got}")]);
        }
    }
}

both! {
    /// A binlog streams through both.
    fn a_binlog(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (text LONGTEXT);
            INSERT INTO {base}.t VALUES (REPEAT('abc', 300000)), ('small')"));
        let dpm = legs(server, "compression = 'zlib'");
        let file = server.sql("SHOW BINARY LOGS");
        let file = file.lines().last().unwrap().split('\t').next().unwrap().to_owned();
        let read = |port: u16, compress: bool| {
            let mut cli = Cli::login(server.flavour, "mysqlbinlog", port)
                .args(["--read-from-remote-server", "--start-position=4"]);
            if compress {
                cli = match server.flavour {
                    Flavour::MySql => cli.arg("--compression-algorithms=zlib"),
                    _ => cli.arg("--compress"),
                };
            }
            let done = cli.arg(&file).run();
            (done.code, done.err(), done.out().contains("abcabc") || done.out().contains("BINLOG"))
        };
        let (code, err, some) = read(dpm.port(), server.flavour == Flavour::MySql);
        assert!(code == 0 && some, "{err}");
        dpm.wait_until_idle();
        dpm.assert_no_errors();
    }
}

#[test]
fn levels() {
    let Some(server) = mysql() else { return };
    for (asked, got) in [("'zstd'", 3), ("{ 'zstd', level = 19 }", 19)] {
        let dpm = legs(server, &format!("compression = {asked}"));
        for level in ["1", "22"] {
            let said = Cli::client(Flavour::MySql, dpm.port())
                .args([
                    "--compression-algorithms=zstd",
                    "--zstd-compression-level",
                    level,
                ])
                .args([
                    "-e",
                    "SHOW STATUS LIKE 'Compression_%'; SELECT REPEAT('x', 3000000)",
                ])
                .ok();
            let expected = format!(
                "Compression_algorithm\tzstd\nCompression_level\t{got}\n{}\n",
                "x".repeat(3_000_000)
            );
            assert!(said == expected, "{}", process::clip(said.as_bytes()));
        }
    }
}

/// The highest level makes the largest windows: 16 MB, where a statement is as large.
#[test]
fn large_statements_at_the_highest_level() {
    let Some(server) = mysql() else { return };
    let dpm = legs(server, "");
    let mut number = 1_u32;
    let piece: String = std::iter::repeat_with(|| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{:02x}{}", number >> 24, number >> 30)
    })
    .take(30_000)
    .collect();
    // Repeated, or it would take its client a minute.
    let value = piece.repeat(240);
    let said = Cli::client(Flavour::MySql, dpm.port())
        .args([
            "--compression-algorithms=zstd",
            "--zstd-compression-level=22",
            "--max-allowed-packet=1G",
        ])
        .stdin(format!("SELECT LENGTH('{value}');\n"))
        .patience(Duration::from_secs(120))
        .ok();
    assert_eq!(said, format!("{}\n", value.len()));
}

/// The proxy has only one thread, and level 22 takes 30 times as long as level 3.
#[test]
fn clients_do_not_choose_any_level() {
    for (listener, asked, got) in [
        ("", 2, 2),
        ("", 22, 6),
        ("compression = { 'zstd', level = 9 }", 22, 9),
    ] {
        let dpm = passthrough(mariadb(), listener, "", "");
        let mut client = Framed::login_at(dpm.port(), asked);
        let sql =
            b"SELECT GROUP_CONCAT(MD5(seq), ' ', seq SEPARATOR ' and ') FROM test.seq_1_to_3000";
        client.wire.raw(&stored(0, &command(com::QUERY, sql)));
        let (frame, plain) = std::iter::repeat_with(|| client.frame_as_it_is())
            .find(|(_, plain)| plain.len() > 10_000)
            .expect("a frame");
        let at = |level| {
            let mut out = BytesMut::new();
            let encoder = Encoder::new(Algorithm::Zstd, level);
            encoder.frame(&mut Toolbox::default(), frame[3], &plain, &mut out);
            out
        };
        assert!(frame == at(got)[..], "{listener} {asked}");
        assert!(
            [2, 6, 9, 22]
                .iter()
                .all(|&other| other == got || at(other) != at(got))
        );
    }
}

both! {
    /// Compressed packets have to be parsed, so an unknown command cannot make a link opaque.
    fn an_unknown_command(server) {
        for (client_kind, kind) in [(Some(Algorithm::Zlib), "nil"), (None, "zlib")] {
            let dpm = legs(server, &towards(kind));
            match client_kind {
                Some(algorithm) => {
                    let mut client = Framed::login(dpm.port(), algorithm);
                    client.wire.raw(&stored(0, &command(0x60, b"")));
                    let (number, error) = client.frame();
                    assert_eq!((number, &error[4..7]), (1, &[0xFF, 0x17, 0x04][..]));
                    client.wire.raw(&stored(0, &command(com::PING, b"")));
                    assert_eq!(client.numbers(), [1]);
                }
                None => {
                    let mut client = Wire::login_empty(dpm.port(), caps::BASE);
                    client.command(0x60, b"");
                    assert!(matches!(client.answer(), Answer::Err(1047, ..)));
                    assert_eq!(client.rows("SELECT 1"), [["1"]]);
                }
            }
        }
    }
}
