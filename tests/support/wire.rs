//! Clients and servers at the level of packets, for what real ones never do.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use sha1::{Digest, Sha1};

use super::{PASSWORD, USER};

/// Capability bits that the tests use.
pub mod caps {
    /// CLIENT_LONG_PASSWORD, CLIENT_LONG_FLAG, CLIENT_PROTOCOL_41, CLIENT_TRANSACTIONS,
    /// CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH: what every client and server has.
    pub const BASE: u32 = 0x1 | 0x4 | 0x200 | 0x2000 | 0x8000 | PLUGIN_AUTH;
    /// CLIENT_FOUND_ROWS
    pub const FOUND_ROWS: u32 = 0x2;
    /// CLIENT_IGNORE_SPACE
    pub const IGNORE_SPACE: u32 = 0x100;
    /// CLIENT_INTERACTIVE
    pub const INTERACTIVE: u32 = 0x400;
    /// CLIENT_CONNECT_WITH_DB
    pub const CONNECT_WITH_DB: u32 = 0x8;
    /// CLIENT_COMPRESS
    pub const COMPRESS: u32 = 0x20;
    /// CLIENT_LOCAL_FILES
    pub const LOCAL_FILES: u32 = 0x80;
    /// CLIENT_SSL
    pub const SSL: u32 = 0x800;
    /// CLIENT_MULTI_STATEMENTS, CLIENT_MULTI_RESULTS, CLIENT_PS_MULTI_RESULTS
    pub const MULTI: u32 = 0x1_0000 | 0x2_0000 | 0x4_0000;
    /// CLIENT_PLUGIN_AUTH
    pub const PLUGIN_AUTH: u32 = 0x8_0000;
    /// CLIENT_SESSION_TRACK
    pub const SESSION_TRACK: u32 = 0x80_0000;
    /// CLIENT_DEPRECATE_EOF
    pub const DEPRECATE_EOF: u32 = 0x100_0000;
    /// CLIENT_OPTIONAL_RESULTSET_METADATA
    pub const OPTIONAL_METADATA: u32 = 0x200_0000;
    /// CLIENT_QUERY_ATTRIBUTES
    pub const QUERY_ATTRIBUTES: u32 = 0x800_0000;

    /// Those that the clients of a pool have to agree in, by the names that SHOW POOLS has.
    pub fn of_pool(names: &str) -> u32 {
        let flag = |name| match name {
            "FOUND_ROWS" => FOUND_ROWS,
            "LOCAL_FILES" => LOCAL_FILES,
            "IGNORE_SPACE" => IGNORE_SPACE,
            "MULTI_RESULTS" => 0x2_0000,
            "PS_MULTI_RESULTS" => 0x4_0000,
            other => panic!("a new capability of pools: {other}"),
        };
        names.split_whitespace().map(flag).sum()
    }

    /// MariaDB's extended capabilities; they count only if the lowest bit of the others is clear.
    pub mod extended {
        /// MARIADB_CLIENT_PROGRESS
        pub const PROGRESS: u32 = 1;
        /// MARIADB_CLIENT_STMT_BULK_OPERATIONS
        pub const BULK: u32 = 4;
        /// MARIADB_CLIENT_EXTENDED_METADATA
        pub const METADATA: u32 = 8;
        /// MARIADB_CLIENT_CACHE_METADATA
        pub const CACHE: u32 = 16;
        /// MARIADB_CLIENT_BULK_UNIT_RESULTS
        pub const UNIT_RESULTS: u32 = 32;
    }
}

/// Command bytes that the tests use.
pub mod com {
    #![allow(missing_docs)]
    pub const QUIT: u8 = 1;
    pub const INIT_DB: u8 = 2;
    pub const QUERY: u8 = 3;
    pub const FIELD_LIST: u8 = 4;
    pub const CREATE_DB: u8 = 5;
    pub const DROP_DB: u8 = 6;
    pub const REFRESH: u8 = 7;
    pub const SHUTDOWN: u8 = 8;
    pub const STATISTICS: u8 = 9;
    pub const PROCESS_INFO: u8 = 10;
    pub const PROCESS_KILL: u8 = 12;
    pub const DEBUG: u8 = 13;
    pub const PING: u8 = 14;
    pub const CHANGE_USER: u8 = 17;
    pub const BINLOG_DUMP: u8 = 18;
    pub const REGISTER_SLAVE: u8 = 21;
    pub const STMT_PREPARE: u8 = 22;
    pub const STMT_EXECUTE: u8 = 23;
    pub const STMT_SEND_LONG_DATA: u8 = 24;
    pub const STMT_CLOSE: u8 = 25;
    pub const STMT_RESET: u8 = 26;
    pub const SET_OPTION: u8 = 27;
    pub const STMT_FETCH: u8 = 28;
    pub const BINLOG_DUMP_GTID: u8 = 30;
    pub const RESET_CONNECTION: u8 = 31;
    pub const STMT_BULK_EXECUTE: u8 = 0xFA;
}

const FULL: usize = 0xFF_FFFF;

/// One end of a connection, in packets. Reads time out.
pub struct Wire {
    stream: TcpStream,
    /// The sequence number of the next packet, either way.
    pub seq: u8,
    /// What was negotiated.
    pub capabilities: u32,
    /// MariaDB's extended capabilities that were negotiated.
    pub extended: u32,
    /// How many parameters each statement takes.
    pub statements: HashMap<u32, u16>,
    /// Whether any sequence number is accepted.
    pub lenient: bool,
    /// The number of the collation that it logs in with.
    pub charset: u8,
    /// The schema that it logs in with, if it has that capability.
    pub schema: String,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An OK, with its raw payload.
    Ok(Vec<u8>),
    /// An error: number, SQLSTATE, message.
    Err(u16, String, String),
    /// A text resultset: raw column definitions, rows of values, status flags of its end.
    Rows {
        columns: Vec<Vec<u8>>,
        rows: Vec<Vec<Option<Vec<u8>>>>,
        status: u16,
    },
}

impl Wire {
    /// Takes over a connected stream.
    pub fn new(stream: TcpStream) -> Wire {
        super::watchdog::watch();
        stream.set_nodelay(true).expect("an option");
        let wire = Wire {
            stream,
            seq: 0,
            capabilities: 0,
            extended: 0,
            statements: HashMap::new(),
            lenient: false,
            charset: 45,
            schema: "test".to_owned(),
        };
        wire.timeout(Duration::from_secs(20));
        wire
    }

    /// Connects to a port of this host and says nothing.
    #[track_caller]
    pub fn connect(port: u16) -> Wire {
        Wire::connect_to(("127.0.0.1", port))
    }

    /// Connects anywhere.
    #[track_caller]
    pub fn connect_to(address: impl ToSocketAddrs) -> Wire {
        Wire::new(TcpStream::connect(address).expect("a connection"))
    }

    /// How long a read or write may take.
    pub fn timeout(&self, patience: Duration) {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("an option");
        self.stream
            .set_write_timeout(Some(patience))
            .expect("an option");
    }

    /// The stream itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads one packet, reassembled if it was split. Its sequence numbers must continue ours.
    pub fn try_read(&mut self) -> io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let mut head = [0; 4];
            self.stream.read_exact(&mut head)?;
            let len = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
            if !self.lenient {
                assert_eq!(head[3], self.seq, "the sequence number of a packet");
            }
            self.seq = head[3].wrapping_add(1);
            let at = payload.len();
            payload.resize(at + len, 0);
            self.stream.read_exact(&mut payload[at..])?;
            if len < FULL {
                return Ok(payload);
            }
        }
    }

    /// Reads one packet, which must come.
    #[track_caller]
    pub fn read(&mut self) -> Vec<u8> {
        self.try_read()
            .unwrap_or_else(|error| panic!("no packet: {error}"))
    }

    /// Writes one packet, split if it must be.
    pub fn try_write(&mut self, payload: &[u8]) -> io::Result<()> {
        let bytes = frames(payload, &mut self.seq);
        self.stream.write_all(&bytes)
    }

    /// Writes one packet.
    #[track_caller]
    pub fn write(&mut self, payload: &[u8]) {
        self.try_write(payload)
            .unwrap_or_else(|error| panic!("cannot write: {error}"));
    }

    /// Writes raw bytes.
    #[track_caller]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .unwrap_or_else(|error| panic!("cannot write: {error}"));
    }

    /// Writes raw bytes, if the far end still takes them.
    pub fn try_write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads this many raw bytes.
    #[track_caller]
    pub fn exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream
            .read_exact(&mut bytes)
            .unwrap_or_else(|error| panic!("cannot read: {error}"));
        bytes
    }

    /// Closes the sending side only.
    #[track_caller]
    pub fn half_close(&mut self) {
        let half = std::net::Shutdown::Write;
        self.stream.shutdown(half).expect("a shutdown");
    }

    /// Whether the far end has closed, after reading all that it still sent.
    #[track_caller]
    pub fn closed(&mut self) -> bool {
        let mut sink = [0; 65536];
        loop {
            match self.stream.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return true,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return true,
                Err(_) => return false,
            }
        }
    }

    /// Whether nothing arrives for this long, with the connection still open.
    pub fn silent(&mut self, patience: Duration) -> bool {
        let mut byte = [0];
        self.timeout(patience);
        let silent = matches!(self.stream.peek(&mut byte), Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut));
        self.timeout(Duration::from_secs(20));
        silent
    }

    /// Waits until something can be read, and does not read it.
    #[track_caller]
    pub fn wait_for_data(&mut self) {
        let waiting = self.stream.peek(&mut [0]).expect("something to read");
        assert_eq!(waiting, 1, "something to read, not the end");
    }

    // As a client.

    /// Reads a greeting and logs in by `mysql_native_password` as [`USER`].
    #[track_caller]
    pub fn login(port: u16, capabilities: u32) -> Wire {
        Wire::login_as(port, USER, PASSWORD, capabilities)
    }

    /// Logs in as "empty", which has no password and so works on either kind of server.
    #[track_caller]
    pub fn login_empty(port: u16, capabilities: u32) -> Wire {
        Wire::login_as(port, "empty", "", capabilities)
    }

    /// The same with some of MariaDB's extended capabilities.
    #[track_caller]
    pub fn login_extended(port: u16, capabilities: u32, extended: u32) -> Wire {
        let mut wire = Wire::connect(port);
        let greeting = Greeting::parse(&wire.read());
        wire.extended = extended & greeting.extended;
        // MariaDB takes a client with the lowest bit for a MySQL one.
        wire.authenticate(&greeting, "empty", "", capabilities & !1);
        let answer = wire.read();
        assert_eq!(answer.first(), Some(&0), "{}", answer.escape_ascii());
        wire
    }

    /// Reads a greeting and logs in.
    #[track_caller]
    pub fn login_as(port: u16, user: &str, password: &str, capabilities: u32) -> Wire {
        Wire::login_in(port, user, password, capabilities, 45)
    }

    /// The same with a collation.
    #[track_caller]
    pub fn login_in(port: u16, user: &str, password: &str, capabilities: u32, charset: u8) -> Wire {
        let mut wire = Wire::connect(port);
        wire.charset = charset;
        let greeting = Greeting::parse(&wire.read());
        wire.authenticate(&greeting, user, password, capabilities);
        let answer = wire.read();
        assert_eq!(
            answer.first(),
            Some(&0),
            "the login: {}",
            String::from_utf8_lossy(&answer)
        );
        wire
    }

    /// Sends the auth packet that answers a greeting.
    #[track_caller]
    pub fn authenticate(&mut self, greeting: &Greeting, user: &str, password: &str, wanted: u32) {
        self.capabilities = wanted & greeting.capabilities;
        let mut packet = auth_packet(&greeting.nonce, user, password, self.capabilities);
        if self.capabilities & caps::CONNECT_WITH_DB != 0 {
            packet.truncate(packet.len() - b"test\0".len());
            packet.extend_from_slice(self.schema.as_bytes());
            packet.push(0);
        }
        packet[8] = self.charset;
        packet[28..32].copy_from_slice(&self.extended.to_le_bytes());
        if self.capabilities & caps::PLUGIN_AUTH != 0 {
            // Without a password the answer is empty with any plugin.
            let plugin = if password.is_empty() {
                &greeting.plugin
            } else {
                "mysql_native_password"
            };
            packet.extend_from_slice(plugin.as_bytes());
            packet.push(0);
        }
        self.write(&packet);
    }

    /// Changes the user by `mysql_native_password`, and returns the packet that ends the exchange.
    #[track_caller]
    pub fn change_user(&mut self, user: &str, password: &str) -> Vec<u8> {
        let argument = format!("{user}\0\0test\0\x2d\0mysql_native_password\0");
        self.command(com::CHANGE_USER, argument.as_bytes());
        let mut answer = self.read();
        if answer[0] == 0xFE && password.is_empty() {
            // The answer to any challenge.
            self.write(&[]);
            answer = self.read();
        } else if answer[0] == 0xFE {
            let challenge = answer.strip_prefix(b"\xFEmysql_native_password\0");
            let challenge = challenge.expect("a challenge for that plugin");
            self.write(&native_answer(password, &challenge[..20]));
            answer = self.read();
        }
        answer
    }

    /// Sends a command. A new exchange, so sequence number 0.
    #[track_caller]
    pub fn command(&mut self, com: u8, argument: &[u8]) {
        self.seq = 0;
        let mut payload = vec![com];
        if self.capabilities & caps::QUERY_ATTRIBUTES == 0 {
            payload.extend_from_slice(argument);
        } else if com == com::QUERY {
            payload.extend_from_slice(&[0, 1]);
            payload.extend_from_slice(argument);
        } else if com == com::STMT_EXECUTE {
            payload.extend(self.counted(argument));
        } else {
            payload.extend_from_slice(argument);
        }
        self.write(&payload);
    }

    /// Converts the argument of a COM_STMT_EXECUTE to its form under CLIENT_QUERY_ATTRIBUTES.
    fn counted(&self, argument: &[u8]) -> Vec<u8> {
        let id = u32::from_le_bytes(argument[..4].try_into().unwrap());
        let params = usize::from(self.statements.get(&id).copied().unwrap_or_default());
        if params == 0 {
            return argument.to_vec();
        }
        assert!(params < 251, "a count of one byte");
        let types = 9 + params.div_ceil(8) + 1;
        let mut counted = argument[..9].to_vec();
        counted.push(params as u8);
        counted.extend_from_slice(&argument[9..types]);
        for kind in argument[types..types + 2 * params].chunks(2) {
            counted.extend_from_slice(kind);
            counted.push(0);
        }
        counted.extend_from_slice(&argument[types + 2 * params..]);
        counted
    }

    /// Sends a query and reads the first answer.
    #[track_caller]
    pub fn query(&mut self, sql: &str) -> Answer {
        self.command(com::QUERY, sql.as_bytes());
        self.answer()
    }

    /// A statement that is refused with this number, and a message that has this text.
    #[track_caller]
    pub fn refuses(&mut self, sql: &str, number: u16, text: &str) {
        match self.query(sql) {
            Answer::Err(found, _, message) => {
                assert_eq!(found, number, "{sql}: {message}");
                assert!(message.contains(text), "{sql}: {message}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The text values of a query's rows.
    #[track_caller]
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        match self.query(sql) {
            Answer::Rows { rows, .. } => rows
                .into_iter()
                .map(|row| {
                    row.into_iter()
                        .map(|value| {
                            value
                                .map_or("NULL".into(), |v| String::from_utf8_lossy(&v).into_owned())
                        })
                        .collect()
                })
                .collect(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// Reads one whole answer: OK, ERR or a text resultset.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let first = self.read();
        match first.first() {
            Some(0) => Answer::Ok(first),
            Some(0xFF) => error(&first),
            _ => {
                let deprecate_eof = self.capabilities & caps::DEPRECATE_EOF != 0;
                let (count, _) = lenenc(&first);
                let columns = (0..count).map(|_| self.read()).collect();
                if !deprecate_eof {
                    let eof = self.read();
                    assert!(eof[0] == 0xFE && eof.len() < 9, "an EOF after the columns");
                }
                let mut rows = Vec::new();
                loop {
                    let packet = self.read();
                    if packet[0] == 0xFF {
                        return error(&packet);
                    }
                    if packet[0] == 0xFE && packet.len() < if deprecate_eof { FULL } else { 9 } {
                        // Where an EOF has the warnings an OK has two lengths of one byte, so the
                        // status is at the same place.
                        let status = u16::from_le_bytes([packet[3], packet[4]]);
                        return Answer::Rows {
                            columns,
                            rows,
                            status,
                        };
                    }
                    rows.push(text_row(&packet));
                }
            }
        }
    }
}

/// Decodes an ERR packet.
pub fn error(packet: &[u8]) -> Answer {
    let number = u16::from_le_bytes([packet[1], packet[2]]);
    let (state, message) = match packet.get(3) {
        Some(b'#') => (&packet[4..9], &packet[9..]),
        _ => (&packet[..0], &packet[3..]),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer::Err(number, text(state), text(message))
}

/// Decodes a row of the text protocol.
pub fn text_row(mut packet: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut values = Vec::new();
    while !packet.is_empty() {
        if packet[0] == 0xFB {
            values.push(None);
            packet = &packet[1..];
        } else {
            let (len, size) = lenenc(packet);
            values.push(Some(packet[size..size + len as usize].to_vec()));
            packet = &packet[size + len as usize..];
        }
    }
    values
}

/// A length-encoded number and its size.
pub fn lenenc(bytes: &[u8]) -> (u64, usize) {
    let number = |n: usize| {
        let mut all = [0; 8];
        all[..n].copy_from_slice(&bytes[1..=n]);
        (u64::from_le_bytes(all), n + 1)
    };
    match bytes[0] {
        0xFC => number(2),
        0xFD => number(3),
        0xFE => number(8),
        small => (u64::from(small), 1),
    }
}

/// A payload as frames.
pub fn frames(payload: &[u8], seq: &mut u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 8);
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(FULL));
        out.extend_from_slice(&(now.len() as u32).to_le_bytes()[..3]);
        out.push(*seq);
        *seq = seq.wrapping_add(1);
        out.extend_from_slice(now);
        rest = later;
        if now.len() < FULL {
            return out;
        }
    }
}

/// The parts of a server's greeting that a client needs.
pub struct Greeting {
    pub version: String,
    pub thread: u32,
    pub nonce: Vec<u8>,
    pub capabilities: u32,
    pub extended: u32,
    pub plugin: String,
}

impl Greeting {
    /// Decodes a greeting of protocol 10.
    #[track_caller]
    pub fn parse(packet: &[u8]) -> Greeting {
        assert_eq!(
            packet[0],
            10,
            "a greeting: {}",
            String::from_utf8_lossy(packet)
        );
        let end = 1 + packet[1..].iter().position(|&b| b == 0).expect("a version");
        let rest = &packet[end + 1..];
        let low = u16::from_le_bytes([rest[13], rest[14]]);
        let high = u16::from_le_bytes([rest[18], rest[19]]);
        let mut nonce = rest[4..12].to_vec();
        nonce.extend_from_slice(&rest[31..43]);
        let plugin = &rest[44..];
        let plugin = plugin.split(|&b| b == 0).next().unwrap_or_default();
        Greeting {
            version: String::from_utf8_lossy(&packet[1..end]).into_owned(),
            thread: u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]),
            nonce,
            capabilities: u32::from(low) | u32::from(high) << 16,
            extended: u32::from_le_bytes([rest[27], rest[28], rest[29], rest[30]]),
            plugin: String::from_utf8_lossy(plugin).into_owned(),
        }
    }
}

/// The `mysql_native_password` answer to a nonce.
pub fn native_answer(password: &str, nonce: &[u8]) -> Vec<u8> {
    let once = Sha1::digest(password.as_bytes());
    let twice = Sha1::digest(once);
    let mut salted = Sha1::new();
    salted.update(nonce);
    salted.update(twice);
    let mask = salted.finalize();
    once.iter().zip(mask.iter()).map(|(a, b)| a ^ b).collect()
}

/// A client's auth packet, up to where the plugin's name would be.
pub fn auth_packet(nonce: &[u8], user: &str, password: &str, capabilities: u32) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend_from_slice(&capabilities.to_le_bytes());
    packet.extend_from_slice(&(1u32 << 30).to_le_bytes());
    packet.push(45);
    packet.extend_from_slice(&[0; 23]);
    packet.extend_from_slice(user.as_bytes());
    packet.push(0);
    if password.is_empty() {
        packet.push(0);
    } else {
        packet.push(20);
        packet.extend_from_slice(&native_answer(password, nonce));
    }
    if capabilities & caps::CONNECT_WITH_DB != 0 {
        packet.extend_from_slice(b"test\0");
    }
    packet
}

/// A server that the test plays itself.
pub struct MockServer {
    listener: TcpListener,
    /// Where it listens.
    pub port: u16,
}

/// A port at which nobody answers, as that of a host that is dead: the queue of its listener is full.
pub struct DeadServer {
    _listener: socket2::Socket,
    _queue: Vec<TcpStream>,
    /// The port.
    pub port: u16,
}

impl DeadServer {
    /// On a free port.
    pub fn new() -> DeadServer {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).expect("a free port");
        listener.listen(0).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let address = address.as_socket().expect("an address of IP");
        let patience = Duration::from_millis(200);
        let connect = || TcpStream::connect_timeout(&address, patience).ok();
        let queue: Vec<_> = std::iter::from_fn(connect).take(50).collect();
        assert!(queue.len() < 50, "its queue is small");
        DeadServer {
            _listener: listener,
            _queue: queue,
            port: address.port(),
        }
    }
}

/// The nonce of a [`MockServer`]'s greeting.
pub const NONCE: &[u8; 20] = b"abcdefghijklmnopqrst";

impl MockServer {
    /// Listens on a free port.
    pub fn new() -> MockServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        MockServer { listener, port }
    }

    /// Waits for the next connection and says nothing.
    #[track_caller]
    pub fn accept(&self) -> Wire {
        // A listener has no timeout of its own.
        self.listener.set_nonblocking(true).expect("an option");
        let mut found = None;
        super::eventually("a connection to the mock server", || {
            found = self.listener.accept().ok();
            found.is_some()
        });
        let (stream, _) = found.unwrap();
        stream.set_nonblocking(false).expect("an option");
        Wire::new(stream)
    }

    /// Waits for the next connection, greets it, and accepts any login.
    #[track_caller]
    pub fn accept_login(&self, capabilities: u32) -> Wire {
        let mut wire = self.accept();
        wire.write(&greeting(capabilities));
        let auth = wire.read();
        wire.capabilities = capabilities & u32::from_le_bytes([auth[0], auth[1], auth[2], auth[3]]);
        wire.write(&ok());
        wire
    }
}

impl Wire {
    // As a server.

    /// Reads a command: its byte and its argument.
    #[track_caller]
    pub fn read_command(&mut self) -> (u8, Vec<u8>) {
        self.seq = 0;
        let packet = self.read();
        (packet[0], packet[1..].to_vec())
    }

    /// Sends a text resultset whose columns are VAR_STRINGs.
    #[track_caller]
    pub fn send_rows(&mut self, columns: &[&str], rows: &[&[Option<&[u8]>]]) {
        let deprecate_eof = self.capabilities & caps::DEPRECATE_EOF != 0;
        self.write(&[columns.len() as u8]);
        for name in columns {
            self.write(&column(name));
        }
        if !deprecate_eof {
            self.write(&eof(2));
        }
        for row in rows {
            self.write(&pack_row(row));
        }
        if deprecate_eof {
            self.write(&[0xFE, 0, 0, 2, 0, 0, 0]);
        } else {
            self.write(&eof(2));
        }
    }
}

/// A greeting packet.
pub fn greeting(capabilities: u32) -> Vec<u8> {
    let capabilities = capabilities.to_le_bytes();
    let mut packet = b"\x0a8.0.99-mock\0".to_vec();
    packet.extend_from_slice(&7u32.to_le_bytes());
    packet.extend_from_slice(&NONCE[..8]);
    packet.push(0);
    packet.extend_from_slice(&capabilities[..2]);
    packet.push(45);
    packet.extend_from_slice(&[2, 0]);
    packet.extend_from_slice(&capabilities[2..]);
    packet.push(21);
    packet.extend_from_slice(&[0; 10]);
    packet.extend_from_slice(&NONCE[8..]);
    packet.push(0);
    packet.extend_from_slice(b"mysql_native_password\0");
    packet
}

/// An OK packet with the autocommit flag.
pub fn ok() -> Vec<u8> {
    vec![0, 0, 0, 2, 0, 0, 0]
}

/// An EOF packet with these status flags.
pub fn eof(status: u16) -> Vec<u8> {
    let status = status.to_le_bytes();
    vec![0xFE, 0, 0, status[0], status[1]]
}

/// An ERR packet.
pub fn err(number: u16, state: &str, message: &str) -> Vec<u8> {
    let mut packet = vec![0xFF];
    packet.extend_from_slice(&number.to_le_bytes());
    packet.push(b'#');
    packet.extend_from_slice(state.as_bytes());
    packet.extend_from_slice(message.as_bytes());
    packet
}

/// A column definition of type VAR_STRING.
pub fn column(name: &str) -> Vec<u8> {
    let mut packet = b"\x03def\0\0\0".to_vec();
    packet.push(name.len() as u8);
    packet.extend_from_slice(name.as_bytes());
    packet.extend_from_slice(&[0, 0x0C, 45, 0, 0xFF, 0, 0, 0, 0xFD, 0, 0, 0, 0, 0]);
    packet
}

/// A row of the text protocol.
pub fn pack_row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut packet = Vec::new();
    for value in values {
        match value {
            None => packet.push(0xFB),
            Some(bytes) => {
                match bytes.len() {
                    n @ 0..=250 => packet.push(n as u8),
                    n @ 251..=0xFFFF => {
                        packet.push(0xFC);
                        packet.extend_from_slice(&(n as u16).to_le_bytes());
                    }
                    n @ 0x1_0000..=0xFF_FFFF => {
                        packet.push(0xFD);
                        packet.extend_from_slice(&(n as u32).to_le_bytes()[..3]);
                    }
                    n => {
                        packet.push(0xFE);
                        packet.extend_from_slice(&(n as u64).to_le_bytes());
                    }
                }
                packet.extend_from_slice(bytes);
            }
        }
    }
    packet
}
