//! The servers with their rows, the relays, the program, and what everybody knows of them.

use std::sync::Mutex;
use std::time::Duration;

use mysql::prelude::Queryable as _;

use crate::record::Record;
use crate::relay::Relay;
use crate::support::dpm::Launch;
use crate::support::{Dpm, Flavour, Server, connect, process};

const START: &str = include_str!("start.lua");

/// A power cut must not lose what was committed, or rows would rightly be missing.
pub const DURABLE: &[&str] = &[
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-lock-wait-timeout=5",
];

/// How many clients have rows of their own.
pub const CLIENTS: usize = 64;
/// How many rows each of them has.
pub const ROWS: usize = 100;

/// What one of those rows has in each column but the numbers.
pub fn value(server: usize, client: usize, n: usize) -> String {
    let mixed = (n * 7919 + client * 104_729 + server * 1_299_709) % 1_000_003;
    format!("s{server} c{client} n{n} {mixed}")
}

/// Where a client can connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// "plain-mariadb" and so on.
    pub name: String,
    /// The port of the relay before the program.
    pub port: u16,
    /// Which server is behind it.
    pub server: usize,
}

impl Way {
    /// Whether values are masked there.
    pub fn masks(&self) -> bool {
        self.name.starts_with("chain-")
    }
}

/// What the events do at the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Nothing: each command has its answer.
    Calm,
    /// Anything: each command has its answer or an error.
    Storm,
}

/// All of it.
pub struct Scene {
    pub servers: Vec<Server>,
    /// Before each server.
    pub server_relays: Vec<Relay>,
    /// Before each listener of the program.
    pub client_relays: Vec<Relay>,
    pub ways: Vec<Way>,
    pub dpm: Dpm,
    pub record: Record,
    weather: Mutex<Weather>,
}

impl Scene {
    pub fn new(seed: u64) -> Scene {
        let record = Record::new(seed);
        record.say(format!("DPM_SOAK_SEED={seed}"));
        let flavours = [(Flavour::MariaDb, "mariadb"), (Flavour::MySql, "mysql")];
        let flavours: Vec<_> = flavours
            .into_iter()
            .filter(|(flavour, _)| flavour.available())
            .collect();
        let servers: Vec<_> = flavours
            .iter()
            .map(|(flavour, _)| Server::start_own(*flavour, DURABLE))
            .collect();
        for (which, server) in servers.iter().enumerate() {
            fill(which, server);
        }
        let server_relays: Vec<_> = (0..)
            .zip(&servers)
            .map(|(which, server)| Relay::before(server.port, seed ^ which))
            .collect();
        let mut launch = Launch::script(START)
            .quiet()
            .arg(process::folder("soak").display());
        for (((_, name), server), relay) in flavours.iter().zip(&servers).zip(&server_relays) {
            launch = launch.arg(name).arg(relay.port).arg(server.port);
        }
        let dpm = launch.start();
        dpm.line("way multiplexer ");
        let (mut ways, mut client_relays) = (Vec::new(), Vec::new());
        for line in dpm.lines("way ") {
            let (name, port) = line.split_once(' ').expect("a name and a port");
            let port = port.parse().expect("a port");
            let relay = Relay::before(port, seed ^ u64::from(port));
            let behind = flavours
                .iter()
                .position(|(_, flavour)| name.ends_with(flavour));
            ways.push(Way {
                name: name.to_owned(),
                port: relay.port,
                server: behind.unwrap_or_default(),
            });
            client_relays.push(relay);
        }
        Scene {
            servers,
            server_relays,
            client_relays,
            ways,
            dpm,
            record,
            weather: Mutex::new(Weather::Calm),
        }
    }

    pub fn weather(&self) -> Weather {
        *self.weather.lock().expect("the weather")
    }

    pub fn set_weather(&self, weather: Weather) {
        *self.weather.lock().expect("the weather") = weather;
        for relay in self.server_relays.iter().chain(&self.client_relays) {
            relay.set_wild(weather == Weather::Storm);
        }
    }

    /// The ways of this kind, such as "plain".
    pub fn ways_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Way> {
        self.ways
            .iter()
            .filter(move |way| way.name.starts_with(kind))
    }

    /// A client got an error rather than an answer. It has failed the test if nothing can have caused it.
    #[track_caller]
    pub fn excuse(&self, who: &str, doing: &str, error: &mysql::Error) {
        self.record.note(format!("{who}: {doing}: {error}"));
        if self.weather() == Weather::Calm {
            panic!("{who}, while nothing happens: {doing}: {error}");
        }
        assert!(is_excusable(error), "{who}: {doing}: {error}");
    }
}

/// Whether a killed query or connection, a dead server or a cut connection can cause this error: nobody can
/// cause one about the statement or about the protocol.
fn is_excusable(error: &mysql::Error) -> bool {
    match error {
        mysql::Error::IoError(_) => true,
        mysql::Error::CodecError(error) => error.to_string().starts_with("IO error"),
        mysql::Error::DriverError(error) => matches!(
            error,
            mysql::DriverError::CouldNotConnect(_)
                | mysql::DriverError::ConnectTimeout
                | mysql::DriverError::Timeout
        ),
        mysql::Error::MySqlError(error) => is_excusable_number(error.code),
        _ => false,
    }
}

/// Too many connections, a server that shuts down, the proxy's own errors about connections, packets that
/// were cut, waits for a lock of a connection that is not known to be gone yet, and KILL.
pub fn is_excusable_number(number: u16) -> bool {
    const NUMBERS: [u16; 15] = [
        1040, 1053, 1077, 1105, 1152, 1158, 1159, 1160, 1161, 1184, 1205, 1213, 1317, 1927, 3169,
    ];
    NUMBERS.contains(&number)
}

/// Gives a server the clients' rows.
fn fill(which: usize, server: &Server) {
    server.sql(
        "CREATE DATABASE soak;
         CREATE TABLE soak.own (client INT, n INT, v VARCHAR(64), secret VARCHAR(20), PRIMARY KEY (client, n)) ENGINE=InnoDB;
         CREATE TABLE soak.counter (client INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB;",
    );
    let mut conn = connect(server.port);
    for client in 0..CLIENTS {
        let rows: Vec<_> = (0..ROWS)
            .map(|n| format!("({client}, {n}, '{}', 'hush{n}')", value(which, client, n)))
            .collect();
        let filled = conn
            .query_drop(format!("INSERT INTO soak.own VALUES {}", rows.join(", ")))
            .and_then(|()| {
                conn.query_drop(format!("INSERT INTO soak.counter VALUES ({client}, 0)"))
            });
        filled.expect("rows");
    }
}

/// How long a client may wait for an answer: longer than any freeze and any restart.
pub const ANSWER: Duration = Duration::from_secs(30);
