//! Clients of other kinds: one that stalls, the multiplexer's, PyMySQL and the command-line clients, these
//! with TLS.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::scene::{ANSWER, ROWS, Scene, Way, Weather, is_excusable_number, value};
use crate::support::wire::{self, Answer, Greeting, Wire, caps, com};
use crate::support::{Cli, Over, PASSWORD, USER, let_time_pass, options, process};

/// How often somebody got an answer, and how often an error.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub answers: u64,
    pub errors: u64,
}

/// Asks for more than the sockets take, and reads it late, or not to its end.
pub fn stalls(scene: &Scene, way: &Way, number: usize, over: &Over) -> Tally {
    let mut dice = StdRng::seed_from_u64(scene.record.seed ^ number as u64);
    let mut tally = Tally::default();
    while !over.is() {
        match stall(scene, way, number, &mut dice) {
            Ok(()) => tally.answers += 1,
            Err(error) => {
                let who = format!("the client of {} that stalls", way.name);
                scene.excuse(&who, "reading late", &mysql::Error::IoError(error));
                tally.errors += 1;
            }
        }
    }
    tally
}

/// What has ended a connection, as an error of input and output.
fn ended(packet: &[u8]) -> std::io::Error {
    match wire::error(packet) {
        Answer::Err(number, _, text) => {
            assert!(is_excusable_number(number), "{number}: {text}");
            std::io::Error::other(text)
        }
        other => unreachable!("{other:?}"),
    }
}

const LONG: &str = "SELECT n, v, REPEAT('y', 60000) FROM soak.own WHERE client = ? ORDER BY n";
const MANY: &str = "SELECT a.n, a.v, b.v FROM soak.own a JOIN soak.own b USING (client)
    WHERE a.client = ? ORDER BY a.n, b.n";

fn stall(scene: &Scene, way: &Way, number: usize, dice: &mut StdRng) -> std::io::Result<()> {
    let mut wire = Wire::connect(way.port);
    wire.timeout(ANSWER);
    let greeting = wire.try_read()?;
    if greeting.first() == Some(&0xFF) {
        return Err(ended(&greeting));
    }
    // It has no password, as that works with any method.
    let capabilities = caps::BASE & !1;
    let greeting = Greeting::parse(&greeting);
    let mut packet = wire::auth_packet(&greeting.nonce, "empty", "", capabilities);
    packet.extend_from_slice(greeting.plugin.as_bytes());
    packet.push(0);
    wire.capabilities = capabilities & greeting.capabilities;
    wire.try_write(&packet)?;
    let answer = wire.try_read()?;
    if answer.first() == Some(&0xFF) {
        return Err(ended(&answer));
    }
    // Few long rows, or where what is computed is masked, many short ones.
    let (sql, rows) = match way.masks() {
        false => (LONG, ROWS),
        true => (MANY, ROWS * ROWS),
    };
    wire.seq = 0;
    let sql = sql.replace('?', &number.to_string());
    wire.try_write(&[&[com::QUERY], sql.as_bytes()].concat())?;
    let_time_pass(Duration::from_millis(dice.random_range(0..1500)));
    let leaves_at = dice.random_range(0..4 * rows);
    // The count of columns, the columns, and their EOF.
    for _ in 0..5 {
        let packet = wire.try_read()?;
        if packet.first() == Some(&0xFF) {
            return Err(ended(&packet));
        }
    }
    for at in 0..rows {
        if at == leaves_at {
            return Ok(());
        }
        let packet = wire.try_read()?;
        if packet.first() == Some(&0xFF) {
            return Err(ended(&packet));
        }
        let row: Vec<_> = wire::text_row(&packet)
            .into_iter()
            .map(|value| String::from_utf8(value.expect("a value")).expect("text"))
            .collect();
        let value = |n: usize| value(way.server, number, n);
        let n = at * ROWS / rows;
        let wanted = [
            n.to_string(),
            value(n),
            match way.masks() {
                false => "y".repeat(60_000),
                true => value(at % ROWS),
            },
        ];
        assert!(row == wanted, "row {at} of {}: {row:?}", way.name);
    }
    let packet = wire.try_read()?;
    match packet.first() {
        Some(0xFE) => Ok(()),
        Some(0xFF) => Err(ended(&packet)),
        other => panic!(
            "behind the rows of {}: {other:?}, seed {}",
            way.name, scene.record.seed
        ),
    }
}

/// Asks all servers at once.
pub fn multiplexes(scene: &Scene, way: &Way, over: &Over) -> Tally {
    let mut tally = Tally::default();
    let mut round = 0_usize;
    while !over.is() {
        if let Err(error) = multiplex(scene, way, over, &mut round, &mut tally) {
            scene.excuse("the multiplexer's client", "polling", &error);
            tally.errors += 1;
        }
    }
    tally
}

fn multiplex(
    scene: &Scene,
    way: &Way,
    over: &Over,
    round: &mut usize,
    tally: &mut Tally,
) -> mysql::Result<()> {
    let mut conn = Conn::new(options(way.port).read_timeout(Some(ANSWER)))?;
    loop {
        *round += 1;
        let (client, n) = (*round % 50, *round % ROWS);
        let rows: Vec<(String, usize, String)> = conn.query(format!(
            "QUERY ALL 5 SELECT {round} AS round, v FROM own WHERE client = {client} AND n = {n}"
        ))?;
        let missing: Vec<(String, u32, String)> = conn.query("SHOW WARNINGS")?;
        for (member, of_round, v) in &rows {
            let server = scene
                .ways_of("plain")
                .position(|way| way.name.ends_with(member));
            let server = server.expect("a member's name");
            assert_eq!(
                (*of_round, v),
                (*round, &value(server, client, n)),
                "of {member}"
            );
        }
        let (count, told) = (rows.len(), missing.len());
        assert_eq!(
            count + told,
            scene.servers.len(),
            "each member is in the rows or in the warnings: {rows:?} {missing:?}"
        );
        if scene.weather() == Weather::Calm {
            assert_eq!(told, 0, "while nothing happens: {missing:?}");
        }
        tally.answers += 1;
        if over.is() {
            return Ok(());
        }
        let_time_pass(Duration::from_millis(20));
    }
}

/// PyMySQL, over TLS where that is offered. It prints a line for each connection.
const PYTHON: &str = r"
import pymysql, ssl, sys, time
port, number, rows, server = map(int, sys.argv[1:5])
tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
def value(n):
    mixed = (n * 7919 + number * 104729 + server * 1299709) % 1000003
    return f's{server} c{number} n{n} {mixed}'
turn = 0
while True:
    asked = 0
    try:
        conn = pymysql.connect(host='127.0.0.1', port=port, user=sys.argv[5], password=sys.argv[6],
            database='soak', ssl=tls, read_timeout=30, write_timeout=30, autocommit=True)
        cursor = conn.cursor()
        for _ in range(20):
            turn += 1
            n = turn % rows
            cursor.execute('SELECT client, n, v FROM own WHERE client = %s AND n >= %s ORDER BY n', (number, n))
            got = cursor.fetchall()
            if got != tuple((number, i, value(i)) for i in range(n, rows)):
                print('WRONG', turn, got, flush=True)
                sys.exit(1)
            asked += 1
        conn.close()
        print('done', asked, flush=True)
    except (pymysql.err.InterfaceError, pymysql.err.OperationalError, OSError, ssl.SSLError) as error:
        print('error', asked, repr(error), flush=True)
        time.sleep(0.1)
    except pymysql.err.Error as error:
        # A query that was killed is such an error, too.
        number_of = error.args[0] if error.args else None
        print('error' if number_of in (1317, 1927, 1105, 1205) else 'WRONG', asked, repr(error), flush=True)
";

/// Runs PyMySQL until all is over.
pub fn python(scene: &Scene, way: &Way, number: usize, over: &Over) -> Tally {
    let mut command = process::command("/usr/bin/python3");
    command
        .args(["-c", PYTHON, &way.port.to_string(), &number.to_string()])
        .args([&ROWS.to_string(), &way.server.to_string(), USER, PASSWORD])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = process::spawn(command);
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut tally = Tally::default();
    for line in lines.map_while(Result::ok) {
        let asked = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        tally.answers += asked.unwrap_or(0);
        assert!(
            !line.starts_with("WRONG"),
            "PyMySQL at {}: {line}",
            way.name
        );
        if line.starts_with("error") {
            scene
                .record
                .note(format!("PyMySQL at {}: {line}", way.name));
            assert!(
                scene.weather() == Weather::Storm,
                "PyMySQL at {}, while nothing happens: {line}",
                way.name
            );
            tally.errors += 1;
        }
        if over.is() {
            break;
        }
    }
    assert!(over.is(), "PyMySQL at {} has ended", way.name);
    tally
}

/// Runs the command-line clients of both families, with TLS and compression.
pub fn command_lines(scene: &Scene, number: usize, over: &Over) -> Tally {
    let ways: Vec<&Way> = scene
        .ways_of("plain")
        .chain(scene.ways_of("proxied"))
        .collect();
    let mut tally = Tally::default();
    for turn in 0.. {
        // One at least, however slow the machine is.
        if over.is() && tally.answers + tally.errors > 0 {
            break;
        }
        let way = ways[turn % ways.len()];
        let flavour = scene.servers[way.server].flavour;
        let n = turn % ROWS;
        let sql = format!("SELECT v FROM soak.own WHERE client = {number} AND n >= {n} ORDER BY n");
        let cli =
            Cli::client(flavour, way.port)
                .patience(2 * ANSWER)
                .args(["-e", &sql, "--compress"]);
        let cli = match flavour.is_mariadb() {
            true => cli.arg("--ssl"),
            false => cli.arg("--ssl-mode=REQUIRED"),
        };
        let done = cli.run();
        if done.code == 0 {
            let wanted: String = (n..ROWS)
                .map(|n| value(way.server, number, n) + "\n")
                .collect();
            assert_eq!(done.out(), wanted, "{}", way.name);
            tally.answers += 1;
        } else {
            let said = done.err();
            scene
                .record
                .note(format!("{flavour:?}'s client at {}: {said}", way.name));
            assert!(
                scene.weather() == Weather::Storm,
                "{} while nothing happens: {said}",
                way.name
            );
            assert!(!said.contains("alformed"), "{}: {said}", way.name);
            tally.errors += 1;
        }
        let_time_pass(Duration::from_millis(300));
    }
    tally
}
