//! What a server tells with an answer: each result with its flags, insert id and session-track blocks.
//!
//! This is decoded here once more, not by the proxy's own code: it judges that code.

use std::fmt;
use std::io;

use super::exchange::{CURSOR_EXISTS, MORE_RESULTS, PS_OUT_PARAMS};
use super::wire::{Answer, Wire, caps, com, error, lenenc};

/// SERVER_STATUS_IN_TRANS
pub const IN_TRANS: u16 = 1;
/// SERVER_STATUS_AUTOCOMMIT
pub const AUTOCOMMIT: u16 = 2;
/// SERVER_STATUS_DB_DROPPED
pub const DB_DROPPED: u16 = 256;
/// SERVER_STATUS_METADATA_CHANGED
pub const METADATA_CHANGED: u16 = 1024;
/// SERVER_SESSION_STATE_CHANGED
pub const STATE_CHANGED: u16 = 0x4000;

/// One result of a command's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An OK.
    Ok(Told),
    /// An error: number, SQLSTATE, message.
    Err(u16, String, String),
    /// A resultset: raw column definitions, raw rows, and its end.
    Rows {
        columns: Vec<Vec<u8>>,
        rows: Vec<Vec<u8>>,
        end: Told,
    },
    /// A prepared statement: its id, and the raw definitions of its parameters and columns.
    Prepared {
        statement: u32,
        parameters: Vec<Vec<u8>>,
        columns: Vec<Vec<u8>>,
    },
    /// What is neither, such as the text that COM_STATISTICS gives.
    Other(Vec<u8>),
}

/// What an OK, or the end of a resultset, tells of the session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub affected: u64,
    pub insert_id: u64,
    pub status: u16,
    pub warnings: u16,
    pub info: Vec<u8>,
    pub blocks: Vec<Block>,
}

/// A session-track block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// SESSION_TRACK_SYSTEM_VARIABLES
    Variable(String, String),
    /// SESSION_TRACK_SCHEMA
    Schema(String),
    /// SESSION_TRACK_STATE_CHANGE
    State,
    /// SESSION_TRACK_GTIDS
    Gtids(String),
    /// SESSION_TRACK_TRANSACTION_CHARACTERISTICS
    Characteristics(String),
    /// SESSION_TRACK_TRANSACTION_STATE
    Transaction(String),
    /// Any other kind.
    Unknown(u8, Vec<u8>),
}

impl Wire {
    /// Sends a command and reads its whole answer.
    #[track_caller]
    pub fn outcomes(&mut self, command: u8, argument: &[u8]) -> Vec<Outcome> {
        self.try_outcomes(command, argument)
            .unwrap_or_else(|error| panic!("no answer to command {command}: {error}"))
    }

    /// The same; an error if the connection ends meanwhile.
    pub fn try_outcomes(&mut self, command: u8, argument: &[u8]) -> io::Result<Vec<Outcome>> {
        self.send_command(command, argument)?;
        self.read_outcomes(command)
    }

    /// Sends a command, whose answer is to be read.
    pub fn send_command(&mut self, command: u8, argument: &[u8]) -> io::Result<()> {
        self.seq = 0;
        let mut payload = vec![command];
        if self.capabilities & caps::QUERY_ATTRIBUTES != 0 && command == com::QUERY {
            payload.extend_from_slice(&[0, 1]);
        }
        payload.extend_from_slice(argument);
        self.try_write(&payload)
    }

    /// Reads the whole answer to a command that has been sent.
    pub fn read_outcomes(&mut self, command: u8) -> io::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        match command {
            com::QUIT | com::STMT_CLOSE | com::STMT_SEND_LONG_DATA => {}
            com::STMT_PREPARE => outcomes.push(self.prepared()?),
            com::STMT_FETCH => outcomes.push(self.rows_of(Vec::new(), None)?),
            _ => {
                while {
                    let (outcome, more) = self.outcome()?;
                    outcomes.push(outcome);
                    more
                } {}
            }
        }
        Ok(outcomes)
    }

    /// Reads one result, and says whether another follows.
    fn outcome(&mut self) -> io::Result<(Outcome, bool)> {
        let head = self.try_read()?;
        match head.first() {
            Some(0) => {
                let told = Told::parse(&head, self.capabilities);
                let more = told.status & MORE_RESULTS != 0;
                Ok((Outcome::Ok(told), more))
            }
            Some(0xFF) => Ok((Outcome::error(&head), false)),
            Some(0xFE) if head.len() < 9 => Ok((
                Outcome::Ok(Told::parse_end(&head, self.capabilities)),
                false,
            )),
            // One byte, or with nothing behind it: a number of columns.
            Some(_) if lenenc(&head).1 == head.len() => {
                let columns = self.definitions(lenenc(&head).0)?;
                let early = match self.capabilities & caps::DEPRECATE_EOF {
                    0 => Some(Told::parse_end(&self.try_read()?, self.capabilities)),
                    _ => None,
                };
                let rows = self.rows_of(columns, early.as_ref())?;
                let more = match &rows {
                    Outcome::Rows { end, .. } => {
                        let out = early.is_some_and(|early| early.status & PS_OUT_PARAMS != 0);
                        out || end.status & MORE_RESULTS != 0
                    }
                    _ => false,
                };
                Ok((rows, more))
            }
            _ => Ok((Outcome::Other(head), false)),
        }
    }

    fn definitions(&mut self, count: u64) -> io::Result<Vec<Vec<u8>>> {
        (0..count).map(|_| self.try_read()).collect()
    }

    /// Reads rows up to their end; there are none if a cursor was opened.
    fn rows_of(&mut self, columns: Vec<Vec<u8>>, early: Option<&Told>) -> io::Result<Outcome> {
        let mut rows = Vec::new();
        if let Some(end) = early.filter(|end| end.status & CURSOR_EXISTS != 0) {
            let end = end.clone();
            return Ok(Outcome::Rows { columns, rows, end });
        }
        let longest = match self.capabilities & caps::DEPRECATE_EOF {
            0 => 9,
            _ => 0xFF_FFFF,
        };
        loop {
            let packet = self.try_read()?;
            match packet.first() {
                Some(0xFF) => return Ok(Outcome::error(&packet)),
                Some(0xFE) if packet.len() < longest => {
                    let end = Told::parse_end(&packet, self.capabilities);
                    return Ok(Outcome::Rows { columns, rows, end });
                }
                _ => rows.push(packet),
            }
        }
    }

    fn prepared(&mut self) -> io::Result<Outcome> {
        let head = self.try_read()?;
        if head[0] == 0xFF {
            return Ok(Outcome::error(&head));
        }
        let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let statement = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        self.statements.insert(statement, number(7));
        let mut both = [Vec::new(), Vec::new()];
        for (definitions, count) in both.iter_mut().zip([number(7), number(5)]) {
            *definitions = self.definitions(count.into())?;
            if count > 0 && self.capabilities & caps::DEPRECATE_EOF == 0 {
                self.try_read()?;
            }
        }
        let [parameters, columns] = both;
        Ok(Outcome::Prepared {
            statement,
            parameters,
            columns,
        })
    }
}

impl Outcome {
    fn error(packet: &[u8]) -> Outcome {
        match error(packet) {
            Answer::Err(number, state, message) => Outcome::Err(number, state, message),
            other => panic!("not an error: {other:?}"),
        }
    }

    /// What its OK, or its end, tells.
    pub fn told(&self) -> Option<&Told> {
        match self {
            Outcome::Ok(told) | Outcome::Rows { end: told, .. } => Some(told),
            _ => None,
        }
    }
}

impl Told {
    /// Decodes an OK packet, whatever its header.
    fn parse(packet: &[u8], capabilities: u32) -> Told {
        let mut rest = Rest(&packet[1..]);
        let mut told = Told {
            affected: rest.number(),
            insert_id: rest.number(),
            status: rest.u16(),
            warnings: rest.u16(),
            ..Told::default()
        };
        if capabilities & caps::SESSION_TRACK == 0 {
            told.info = rest.0.to_vec();
            return told;
        }
        if !rest.0.is_empty() {
            told.info = rest.bytes().to_vec();
        }
        if told.status & STATE_CHANGED != 0 && !rest.0.is_empty() {
            let mut blocks = Rest(rest.bytes());
            while let Some((&kind, after)) = blocks.0.split_first() {
                blocks.0 = after;
                Block::parse(kind, blocks.bytes(), &mut told.blocks);
            }
        }
        told
    }

    /// Decodes the end of a resultset: an EOF, or an OK in its place.
    fn parse_end(packet: &[u8], capabilities: u32) -> Told {
        if capabilities & caps::DEPRECATE_EOF != 0 && packet.len() >= 7 {
            return Told::parse(packet, capabilities);
        }
        Told {
            warnings: u16::from_le_bytes([packet[1], packet[2]]),
            status: u16::from_le_bytes([packet[3], packet[4]]),
            ..Told::default()
        }
    }
}

impl Block {
    /// Decodes a block's data; the one of variables may have several of them.
    fn parse(kind: u8, data: &[u8], blocks: &mut Vec<Block>) {
        let mut rest = Rest(data);
        match kind {
            0 => {
                while !rest.0.is_empty() {
                    let name = rest.text();
                    blocks.push(Block::Variable(name, rest.text()));
                }
            }
            1 => blocks.push(Block::Schema(rest.text())),
            2 => blocks.push(Block::State),
            // The first byte says how they are encoded.
            3 => {
                rest.0 = &rest.0[1..];
                blocks.push(Block::Gtids(rest.text()));
            }
            4 => blocks.push(Block::Characteristics(rest.text())),
            5 => blocks.push(Block::Transaction(rest.text())),
            other => blocks.push(Block::Unknown(other, data.to_vec())),
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Block::Variable(name, value) => write!(out, "VAR {name}={value}"),
            Block::Schema(name) if name.is_empty() => write!(out, "SCHEMA none"),
            Block::Schema(name) => write!(out, "SCHEMA {name}"),
            Block::State => write!(out, "STATE"),
            Block::Gtids(gtids) => write!(out, "GTID {gtids}"),
            Block::Characteristics(sql) => write!(out, "TRXCHAR '{sql}'"),
            Block::Transaction(state) => write!(out, "TRXSTATE {state}"),
            Block::Unknown(kind, data) => write!(out, "BLOCK {kind} {}", data.escape_ascii()),
        }
    }
}

/// The part of a packet that has not been decoded yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn number(&mut self) -> u64 {
        let (number, size) = lenenc(self.0);
        self.0 = &self.0[size..];
        number
    }

    fn u16(&mut self) -> u16 {
        let (number, rest) = self.0.split_at(2);
        self.0 = rest;
        u16::from_le_bytes([number[0], number[1]])
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = self.number() as usize;
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}
