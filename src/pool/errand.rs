//! Commands of the pool's own on a connection, whose answers nobody else gets.

use bytes::Bytes;

use crate::wire::{Column, Com, Command, ErrPacket, PrepareOk};

/// The most bytes of rows that an errand may bring.
const MAX_BYTES: usize = 4 << 20;
/// The same for definitions of routines, of which there may be many.
const MAX_DEFINITIONS: usize = 256 << 20;

/// A row of the text protocol; `None` for NULL.
pub type Row = Vec<Option<Vec<u8>>>;

/// What a server has answered to one command.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The columns of a result.
    pub columns: Vec<Column>,
    /// The rows, if there are any.
    pub rows: Vec<Row>,
    /// The statement that was prepared.
    pub prepared: Option<PrepareOk>,
    /// The error that it has failed with.
    pub error: Option<ErrPacket>,
}

/// Commands that are sent together, and their answers so far.
#[derive(Debug)]
pub struct Errand {
    commands: usize,
    answers: Vec<Answer>,
    current: Answer,
    bytes: usize,
    max_bytes: usize,
}

impl Errand {
    /// Of so many commands.
    pub fn new(commands: usize) -> Errand {
        Errand {
            commands,
            answers: Vec::new(),
            current: Answer::default(),
            bytes: 0,
            max_bytes: MAX_BYTES,
        }
    }

    /// One that brings many definitions.
    pub fn with_definitions(self) -> Errand {
        Errand {
            max_bytes: MAX_DEFINITIONS,
            ..self
        }
    }

    /// A row of the present command's answer. False if there is too much.
    pub fn row<'a>(&mut self, values: impl Iterator<Item = Option<&'a [u8]>>) -> bool {
        let row: Row = values.map(|value| value.map(<[u8]>::to_vec)).collect();
        let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len) + 24;
        self.bytes += row.iter().map(size).sum::<usize>();
        self.current.rows.push(row);
        self.bytes <= self.max_bytes
    }

    /// A column of the present command's answer.
    pub fn column(&mut self, column: Column) {
        self.current.columns.push(column);
    }

    /// The present command has prepared a statement.
    pub fn prepared(&mut self, ok: PrepareOk) {
        self.current.prepared = Some(ok);
    }

    /// The present command is answered. True if that was the last one.
    pub fn answered(&mut self, error: Option<ErrPacket>) -> bool {
        let mut answer = std::mem::take(&mut self.current);
        answer.error = error;
        self.answers.push(answer);
        self.is_over()
    }

    /// Whether all commands are answered.
    pub fn is_over(&self) -> bool {
        self.answers.len() >= self.commands
    }

    /// The answers, in the order of the commands.
    pub fn into_answers(self) -> Vec<Answer> {
        self.answers
    }
}

/// A query as a command.
pub fn query(sql: &[u8]) -> Command {
    command(Com::QUERY, sql)
}

/// Any command.
pub fn command(com: Com, argument: &[u8]) -> Command {
    Command {
        com,
        argument: Bytes::copy_from_slice(argument),
        ..Command::default()
    }
}
