//! Recorded sessions, mutated in both directions, through a running program in which every callback is
//! armed. Whatever the peers send, the program goes on, a client beside them gets its own answers in time,
//! and nothing is left of them in the end.
//!
//! For a few seconds, or as many as DPM_FUZZ_SECONDS says; DPM_FUZZ_SEED repeats what a run has tried, whose
//! seed it printed.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::dpm::Launch;
use crate::support::wire::{Wire, caps};
use crate::support::{Over, PATIENCE, connect, eventually, mariadb};

/// Three listeners before the servers of the recordings, and one before a real server.
const SCRIPT: &str = "
    local dpml, h = require 'dpml', require 'harness'
    local REAL = { arg[1], tonumber(arg[2]) }

    -- Calls all that reads something.
    local function look(packet)
      local class = type(packet) == 'userdata' and debug.getmetatable(packet)
      if not class or type(class.__index) ~= 'table' then return end
      for name, method in pairs(class.__index) do
        if not name:match('^add_') and not name:match('^remove_') then pcall(method, packet) end
      end
    end

    local function callbacks(pattern, more)
      local all = {}
      for value, name in pairs(h.names) do
        if name:match(pattern) then all[value] = look end
      end
      for value, fn in pairs(more) do all[value] = fn end
      return all
    end

    -- Each callback of the raw API, on each of the mock servers.
    local armed = {}
    local function arm(port)
      local listener = dpm.listener('127.0.0.1', 0)
      listener:register(dpm.MYC_CONNECT, function(c)
        local s, rset = dpm.connect('127.0.0.1', port), nil
        local client = callbacks('^MYC_', { [dpm.MYC_CONNECT] = false })
        client[dpm.MYC_CONNECT] = nil
        h.register(c, client)
        h.register(s, callbacks('^MYS_', {
          [dpm.MYS_SENT_RSET] = function(packet) rset = packet look(packet) end,
          [dpm.MYS_SENDING_ROWS] = function(row)
            pcall(rset.parse_row_array, rset, row)
            pcall(rset.parse_row_table, rset, row)
          end,
        }))
        c:track_statements(true)
        s:track_session(true)
        local id = c:id()
        armed[id] = { c, s }
        c:on_close(function() armed[id] = nil end)
        dpm.proxy_connect(c, s)
      end)
      h.keep[#h.keep + 1] = listener
      return listener
    end

    -- A plug-in that looks at everything, between those of the library.
    local looks = {}
    for _, name in ipairs { 'new_command', 'new_result', 'new_field', 'finished_result', 'failed_command' } do
      looks[name] = look
    end
    looks.new_row = function(row, _, _, rset) pcall(rset.parse_row_array, rset, row) end
    local chain = dpml.chain {
      dpml.slowlog { threshold_ms = 0, report = function() end },
      dpml.firewall { file = arg[3] .. '/learnt', learn = true, max_entries = 100 },
      looks,
      dpml.mask { columns = { 'rec.a', 'rec.b' } },
    }
    local function plugins(port)
      local listener = dpm.listener('127.0.0.1', 0)
      dpml.passthrough_new_clients(listener, chain, { '127.0.0.1', port })
      return listener
    end

    -- A service before the real server.
    local function service()
      local listener = dpm.listener('127.0.0.1', 0)
      dpml.accept_clients(listener, {
        users = { happy = { password = 'wheefun' } },
        handler = dpml.coalesce { host = REAL[1], port = REAL[2], user = 'meek', password = 'meek' },
        all_commands = true,
      })
      return listener
    end

    h.keep = {}
    local bystanders = h.listen(function() end)
    dpml.passthrough_new_clients(bystanders, dpml.slowlog { threshold_ms = 60000 }, REAL)
    for i = 4, #arg do
      for kind, listener in pairs { armed = arm(tonumber(arg[i])), plugins = plugins(tonumber(arg[i])), service = service() } do
        print(('listener %d %s %d'):format(i - 4, kind, listener:socket_port()))
      end
    end";

/// What one end says before the other one speaks.
#[derive(Clone)]
struct Turn {
    of_client: bool,
    bytes: Vec<u8>,
}

/// The recordings in tests/sessions, by their names.
fn recordings() -> Vec<(String, Vec<Turn>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sessions");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .expect("the recordings")
        .map(|entry| {
            let path = entry.expect("a recording").path();
            let text = std::fs::read_to_string(&path).expect("text");
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            (name.into_owned(), text.lines().map(turn).collect())
        })
        .collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

fn turn(line: &str) -> Turn {
    let (who, hex) = line.split_once(' ').expect("who and what");
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    Turn {
        of_client: who == "C",
        bytes: digits.map(|pair| byte(pair).expect("a byte")).collect(),
    }
}

/// One change of a session. Most of what matters is at the front of a packet.
fn mutate(turns: &mut Vec<Turn>, dice: &mut StdRng) {
    const TELLING: [u8; 8] = [0, 1, 2, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF];
    if turns.is_empty() {
        return;
    }
    let which = dice.random_range(0..turns.len());
    let front = dice.random_ratio(3, 4);
    let bytes = &mut turns[which].bytes;
    let most = if front {
        bytes.len().min(48)
    } else {
        bytes.len()
    };
    let at = dice.random_range(0..=most);
    match dice.random_range(0..12) {
        0..3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.random_range(0..8);
            }
        }
        3..6 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = *TELLING.choose(dice).expect("one of them");
            }
        }
        6 => {
            let length: u32 = *[0, 1, 7, 64, 0xFFFF, 0xFF_FFFF].choose(dice).expect("one");
            for (byte, lie) in bytes.iter_mut().take(3).zip(length.to_le_bytes()) {
                *byte = lie;
            }
        }
        7 => bytes.truncate(at),
        8 => {
            let more: Vec<u8> = (0..dice.random_range(1..40))
                .map(|_| dice.random())
                .collect();
            bytes.splice(at..at, more);
        }
        9 => drop(turns.remove(which)),
        10 => {
            let twice = turns[which].clone();
            turns.insert(which, twice);
        }
        _ => {
            let with = dice.random_range(0..turns.len());
            turns.swap(which, with);
        }
    }
}

/// The far ends of a pair of connections.
struct Ends {
    client: TcpStream,
    /// `None`: the client has none of its own.
    server: Option<TcpStream>,
}

impl Ends {
    /// Both ends of a client that is passed on to this backend.
    fn linked(port: u16, backend: &TcpListener) -> Ends {
        let client = TcpStream::connect(("127.0.0.1", port)).expect("dpm accepts clients");
        let mut found = None;
        eventually("a connection to the mock server", || {
            found = backend.accept().ok();
            found.is_some()
        });
        let (server, _) = found.expect("it was found");
        server.set_nonblocking(false).expect("an option");
        Ends::hasty(client, Some(server))
    }

    /// A client that has logged in at the proxy itself.
    fn logged_in(port: u16) -> Ends {
        let mut wire = Wire::login(port, caps::BASE | caps::MULTI);
        let client = wire.stream().try_clone().expect("a descriptor");
        Ends::hasty(client, None)
    }

    /// They wait long enough for what is passed on, and not long for what is not.
    fn hasty(client: TcpStream, server: Option<TcpStream>) -> Ends {
        for end in [Some(&client), server.as_ref()].into_iter().flatten() {
            let patience = Some(Duration::from_millis(3));
            end.set_read_timeout(patience).expect("an option");
            end.set_write_timeout(Some(PATIENCE)).expect("an option");
        }
        Ends { client, server }
    }

    /// Says it in two pieces, and takes what arrives at the other end. An end may be closed already.
    fn say(&mut self, turn: &Turn, cut: usize) {
        let (from, to) = match (turn.of_client, &mut self.server) {
            (true, Some(server)) => (&mut self.client, server),
            (false, Some(server)) => (server, &mut self.client),
            (true, None) => {
                let _ = self.client.write_all(&turn.bytes);
                let _ = self.client.read(&mut [0; 65536]);
                return;
            }
            (false, None) => return,
        };
        let (front, back) = turn.bytes.split_at(cut.min(turn.bytes.len()));
        for part in [front, back] {
            let _ = from.write_all(part);
        }
        let _ = to.read(&mut [0; 65536]);
    }
}

/// What a player is about to try, for the message of a failure.
struct Attempt<'a> {
    seed: u64,
    player: usize,
    round: u64,
    recording: &'a str,
    kind: &'a str,
}

impl fmt::Display for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attempt {
            seed,
            player,
            round,
            recording,
            kind,
        } = self;
        write!(
            f,
            "seed {seed}: player {player}, round {round}: {recording} to {kind}"
        )
    }
}

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

#[test]
fn mutated_sessions_cost_their_own_connections() {
    const PLAYERS: usize = 4;
    let time = Duration::from_secs(asked("DPM_FUZZ_SECONDS").unwrap_or(5));
    let seed = asked("DPM_FUZZ_SEED").unwrap_or_else(rand::random);
    println!("DPM_FUZZ_SEED={seed}");
    let backends: Vec<TcpListener> = (0..PLAYERS)
        .map(|_| {
            let backend = TcpListener::bind("127.0.0.1:0").expect("a port");
            backend.set_nonblocking(true).expect("an option");
            backend
        })
        .collect();
    // A mutated command may be COM_SHUTDOWN, or KILL: the service has an account of little power.
    let server = mariadb();
    server.sql(
        "CREATE USER IF NOT EXISTS meek@'%' IDENTIFIED BY 'meek'; CREATE DATABASE IF NOT EXISTS meek;
         GRANT ALL ON meek.* TO meek@'%'",
    );
    let mut launch = Launch::script(SCRIPT)
        .quiet()
        .server(server)
        .arg(crate::support::process::folder("learnt").display());
    for backend in &backends {
        launch = launch.arg(backend.local_addr().expect("an address").port());
    }
    let mut dpm = launch.start();
    let port_of = |player: usize, kind: &str| -> u16 {
        let line = dpm.line(&format!("listener {player} {kind} "));
        let port = line.rsplit(' ').next().expect("a port");
        port.parse().expect("a number")
    };
    let kinds = ["armed", "plugins", "service"];
    let ports: Vec<_> = (0..PLAYERS)
        .map(|player| kinds.map(|kind| port_of(player, kind)))
        .collect();
    let recordings = recordings();
    let play = |player: usize, rounds: std::ops::Range<u64>, over: &Over| {
        let mut done = rounds.start;
        for round in rounds {
            if over.is() {
                break;
            }
            // Each round has dice of its own, so that one can be repeated without those before it.
            let stream = (player as u64) << 56 ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut dice = StdRng::seed_from_u64(seed ^ stream);
            let (recording, turns) = recordings.choose(&mut dice).expect("one");
            let which = dice.random_range(0..kinds.len());
            let attempt = Attempt {
                seed,
                player,
                round,
                recording,
                kind: kinds[which],
            };
            // Shown by the test's runner if the test fails.
            println!("{attempt}");
            let mut turns = turns.clone();
            let port = ports[player][which];
            let mut ends = match kinds[which] {
                "service" => {
                    // It has logged in by itself: the recorded login is not said.
                    turns.retain(|turn| turn.of_client);
                    turns = turns.split_off(turns.len().min(1));
                    Ends::logged_in(port)
                }
                _ => Ends::linked(port, &backends[player]),
            };
            for _ in 0..dice.random_range(1..6) {
                mutate(&mut turns, &mut dice);
            }
            for turn in &turns {
                ends.say(turn, dice.random_range(0..40));
            }
            if dice.random_ratio(1, 4) {
                let _ = ends.client.shutdown(Shutdown::Write);
                let _ = ends.client.read(&mut [0; 65536]);
            }
            done = round + 1;
        }
        done
    };
    let bystander = |over: &Over| {
        let (mut asked, mut longest) = (0u64, Duration::ZERO);
        while !over.is() {
            let mut conn = connect(dpm.port());
            for _ in 0..50 {
                let begun = Instant::now();
                let answer: Vec<(u64, String)> = conn
                    .query(format!("SELECT {asked}, REPEAT('x', {})", asked % 5000))
                    .expect("the bystander's answer");
                assert_eq!(answer.len(), 1);
                assert_eq!(answer[0].0, asked, "the bystander's own answer");
                assert_eq!(answer[0].1.len() as u64, asked % 5000);
                longest = longest.max(begun.elapsed());
                asked += 1;
            }
        }
        (asked, longest)
    };
    // What is made once is made now.
    let never = Over::default();
    for player in 0..PLAYERS {
        play(player, 0..30, &never);
    }
    dpm.wait_until_idle();
    let (before, files) = (dpm.stats(), dpm.open_files());
    let memory = dpm.memory_kib("VmRSS");

    let over = Over::default();
    let (rounds, (asked, longest)) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| bystander(&over));
        let (play, over) = (&play, &over);
        let players: Vec<_> = (0..PLAYERS)
            .map(|player| {
                scope.spawn(move || {
                    let _ends = over.at_end();
                    play(player, 30..u64::MAX, over)
                })
            })
            .collect();
        let begun = Instant::now();
        while begun.elapsed() < time && !over.is() {
            crate::support::let_time_pass(Duration::from_millis(50));
        }
        over.declare();
        let rounds: u64 = players
            .into_iter()
            .map(|one| one.join().expect("a player"))
            .sum();
        (rounds, beside.join().expect("the bystander"))
    });
    assert!(dpm.runs(), "it goes on");
    dpm.wait_until_idle();
    dpm.wait_for_open_files(files);
    let after = dpm.stats();
    let (most, now) = (dpm.memory_kib("VmHWM"), dpm.memory_kib("VmRSS"));
    println!(
        "{rounds} sessions; the bystander asked {asked} times and waited for {longest:?} at most; \
         {memory} -> {now} KiB, {most} KiB at most; {} protocol errors",
        after["protocol_errors"]
    );
    assert!(!dpm.wrote("panicked"), "nothing panics");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    assert!(
        most < memory + 200_000 && now < memory + 60_000,
        "{memory} -> {now} KiB, {most} at most"
    );
    for count in ["lua_handles", "lua_refs"] {
        assert!(
            after[count] <= before[count],
            "{count}: {before:?}, then {after:?}"
        );
    }
}
