//! What a client can do, as data: it can be printed, left out, and done again.

use std::fmt;

/// One thing that a client does. In texts `{db}` stands for the name of the client's own database, of which
/// its twin has another.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Logs in, with these capabilities besides the usual ones; leaves first if it is there.
    Connect(u32),
    /// COM_QUERY
    Query(String),
    /// COM_INIT_DB
    InitDb(String),
    /// COM_STMT_PREPARE, into one of the client's places for statements.
    Prepare(usize, String),
    /// COM_STMT_EXECUTE
    Execute(usize, Execution),
    /// COM_STMT_SEND_LONG_DATA for a parameter.
    LongData(usize, u16, Vec<u8>),
    /// COM_STMT_FETCH of some rows.
    Fetch(usize, u32),
    /// COM_STMT_RESET
    Reset(usize),
    /// COM_STMT_CLOSE
    Close(usize),
    /// COM_PING
    Ping,
    /// COM_SET_OPTION: whether several statements in one text are allowed.
    MultiStatements(bool),
    /// COM_RESET_CONNECTION
    ResetConnection,
    /// COM_CHANGE_USER to the same account, with this database.
    ChangeUser(String),
}

/// How a prepared statement is executed.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub parameters: Vec<Parameter>,
    pub types: Types,
    pub rows: Rows,
}

/// Whether an execute says which types its parameters have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Types {
    Sent,
    /// They are those of the execute before.
    AsBefore,
}

/// How the rows come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rows {
    AtOnce,
    /// By a read-only cursor.
    ByCursor,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    Null,
    Integer(i64),
    Double(f64),
    Text(Vec<u8>),
    /// Sent before, by COM_STMT_SEND_LONG_DATA.
    Long,
}

impl Parameter {
    /// Its type, as in an execute.
    fn kind(&self) -> u8 {
        match self {
            Parameter::Null => 6,
            Parameter::Integer(_) => 8,
            Parameter::Double(_) => 5,
            Parameter::Text(_) => 0xFD,
            Parameter::Long => 0xFC,
        }
    }
}

impl Execution {
    /// The argument of the command.
    pub fn argument(&self, statement: u32) -> Vec<u8> {
        let mut bytes = statement.to_le_bytes().to_vec();
        bytes.push((self.rows == Rows::ByCursor).into());
        bytes.extend_from_slice(&1u32.to_le_bytes());
        if self.parameters.is_empty() {
            return bytes;
        }
        let mut nulls = vec![0u8; self.parameters.len().div_ceil(8)];
        for (at, parameter) in self.parameters.iter().enumerate() {
            if *parameter == Parameter::Null {
                nulls[at / 8] |= 1 << (at % 8);
            }
        }
        bytes.extend_from_slice(&nulls);
        bytes.push((self.types == Types::Sent).into());
        if self.types == Types::Sent {
            for parameter in &self.parameters {
                bytes.extend_from_slice(&[parameter.kind(), 0]);
            }
        }
        for parameter in &self.parameters {
            match parameter {
                Parameter::Null | Parameter::Long => {}
                Parameter::Integer(number) => bytes.extend_from_slice(&number.to_le_bytes()),
                Parameter::Double(number) => bytes.extend_from_slice(&number.to_le_bytes()),
                Parameter::Text(text) => {
                    assert!(text.len() < 251, "a short text");
                    bytes.push(text.len() as u8);
                    bytes.extend_from_slice(text);
                }
            }
        }
        bytes
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Query(sql) => write!(out, "{sql}"),
            Operation::Connect(capabilities) => write!(out, "connect, {capabilities:#x}"),
            Operation::InitDb(name) => write!(out, "COM_INIT_DB {name}"),
            Operation::Prepare(place, sql) => write!(out, "COM_STMT_PREPARE [{place}] {sql}"),
            Operation::Execute(place, how) => write!(out, "COM_STMT_EXECUTE [{place}] {how:?}"),
            Operation::LongData(place, at, data) => {
                write!(
                    out,
                    "COM_STMT_SEND_LONG_DATA [{place}] {at}: {}",
                    data.escape_ascii()
                )
            }
            Operation::Fetch(place, rows) => write!(out, "COM_STMT_FETCH [{place}] {rows}"),
            Operation::Reset(place) => write!(out, "COM_STMT_RESET [{place}]"),
            Operation::Close(place) => write!(out, "COM_STMT_CLOSE [{place}]"),
            Operation::Ping => write!(out, "COM_PING"),
            Operation::MultiStatements(on) => write!(out, "COM_SET_OPTION {on}"),
            Operation::ResetConnection => write!(out, "COM_RESET_CONNECTION"),
            Operation::ChangeUser(name) => write!(out, "COM_CHANGE_USER {name}"),
        }
    }
}
