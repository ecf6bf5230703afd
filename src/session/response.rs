//! Following one command's response, packet by packet.
//!
//! The same machine runs on both legs: over what a server sends, and over what is sent to a
//! client. <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>

use std::num::NonZeroU16;

use super::event::{Event, EventSet};
use super::step::{Head, PacketKind, Step, Violation};
use crate::wire::frame::MAX_PAYLOAD;
use crate::wire::{Capabilities, Com, Status, lenenc};

/// How far a command's response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    com: Com,
    /// The prepared statement that the command is about.
    statement: Option<u32>,
    phase: Phase,
    /// Whether a packet of it has passed.
    started: bool,
    /// Whether the EOF after the columns announced OUT parameters: then an OK follows the rows,
    /// even if the packet that ends the rows does not announce it.
    out_params: bool,
    /// Under CLIENT_DEPRECATE_EOF, after columns: how many EOFs a script may now send for them,
    /// which are not sent on the wire.
    eofs_due: u8,
    /// Whether the answer to COM_STMT_PREPARE has counts, but no definitions.
    bare: bool,
    /// The server's status in the last OK or EOF.
    status: Option<Status>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// OK, ERR, a file request or a column count.
    Result,
    /// (No server allows more than 4,096, and the counts of a statement have 16 bits.)
    Columns {
        left: u16,
        columns: u16,
    },
    ColumnsEof {
        columns: u16,
    },
    /// Of how many columns, unless that is unknown: the answer to COM_STMT_FETCH has no head.
    Rows {
        columns: Option<NonZeroU16>,
    },
    /// The client is to send the file.
    InfileData,
    InfileResult,
    /// OK, ERR or EOF.
    Simple,
    Statistics,
    FieldList,
    /// COM_CHANGE_USER: rounds of authentication.
    Authentication {
        client_may_speak: bool,
    },
    Prepare,
    Params {
        left: u16,
        columns: u16,
    },
    ParamsEof {
        columns: u16,
    },
    StatementColumns {
        left: u16,
    },
    StatementColumnsEof,
    Binlog,
}

fn rows(columns: u16) -> Phase {
    Phase::Rows {
        columns: NonZeroU16::new(columns),
    }
}

impl Response {
    /// The response to come for a command that has one.
    pub fn new(com: Com) -> Response {
        let phase = match com {
            Com::QUERY | Com::PROCESS_INFO | Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE => {
                Phase::Result
            }
            Com::STMT_FETCH => Phase::Rows { columns: None },
            Com::STMT_PREPARE => Phase::Prepare,
            Com::STATISTICS => Phase::Statistics,
            Com::FIELD_LIST => Phase::FieldList,
            Com::CHANGE_USER => Phase::Authentication {
                client_may_speak: false,
            },
            Com::BINLOG_DUMP | Com::BINLOG_DUMP_GTID => Phase::Binlog,
            _ => Phase::Simple,
        };
        Response {
            com,
            statement: None,
            phase,
            started: false,
            out_params: false,
            eofs_due: 0,
            bare: false,
            status: None,
        }
    }

    /// The same for a command about a prepared statement.
    pub fn about(self, statement: Option<u32>) -> Response {
        Response { statement, ..self }
    }

    /// The prepared statement that the command is about.
    pub fn statement(&self) -> Option<u32> {
        self.statement
    }

    /// The command that is being answered.
    pub fn com(&self) -> Com {
        self.com
    }

    /// Whether any of it has passed.
    pub fn started(&self) -> bool {
        self.started
    }

    /// Whether a result is complete, and another follows.
    pub fn between_results(&self) -> bool {
        self.started && self.phase == Phase::Result
    }

    /// Whether rows (text or binary) stream now, so that whole spans can be skimmed.
    pub fn in_rows(&self) -> bool {
        matches!(self.phase, Phase::Rows { .. })
    }

    /// How many values each row has, if rows stream now and that is known.
    pub fn row_values(&self) -> Option<u16> {
        match self.phase {
            Phase::Rows { columns } => columns.map(NonZeroU16::get),
            _ => None,
        }
    }

    /// Whether the server waits for the client's file.
    pub fn wants_file(&self) -> bool {
        self.phase == Phase::InfileData
    }

    /// Whether the next packet of the client continues an authentication.
    pub fn wants_auth(&self) -> bool {
        self.phase
            == Phase::Authentication {
                client_may_speak: true,
            }
    }

    /// Whether this is a binlog stream, in which a replica may send acknowledgements, and which
    /// ends with a real EOF even under CLIENT_DEPRECATE_EOF.
    pub fn is_binlog(&self) -> bool {
        self.phase == Phase::Binlog
    }

    /// Whether the columns are complete except for the EOF that must follow on the wire.
    pub fn owes_columns_eof(&self) -> bool {
        matches!(
            self.phase,
            Phase::ColumnsEof { .. } | Phase::ParamsEof { .. } | Phase::StatementColumnsEof
        )
    }

    /// Under CLIENT_DEPRECATE_EOF: counts an EOF after columns, which is not sent on the wire.
    /// False if an EOF would mean something else now.
    pub fn swallow_eof(&mut self) -> bool {
        let swallowed = self.eofs_due > 0;
        self.eofs_due = self.eofs_due.saturating_sub(1);
        swallowed
    }

    /// How many EOFs after columns may still come that are not sent on the wire.
    pub fn eofs_due(&self) -> u8 {
        self.eofs_due
    }

    /// Whether the current result has OUT parameters, according to the EOF after its columns.
    pub fn is_of_out_params(&self) -> bool {
        self.out_params
    }

    /// The server's status in the response's last OK or EOF.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Whether an OK or EOF now would end rows (or definitions), and so has to have the form for
    /// that.
    pub fn awaits_terminator(&self) -> bool {
        matches!(
            self.phase,
            Phase::Rows { .. } | Phase::FieldList | Phase::Binlog
        )
    }

    /// What the response waits for, in words.
    pub fn expects(&self) -> &'static str {
        match self.phase {
            Phase::Result => "OK, ERR, a file request or a column count",
            Phase::Columns { .. } => "a column definition",
            Phase::ColumnsEof { .. } => "the EOF behind the columns",
            Phase::Rows { .. } => "a row or the end of the rows",
            Phase::InfileData => "the client's file",
            Phase::InfileResult | Phase::Simple => "OK or ERR",
            Phase::Statistics => "the statistics text",
            Phase::FieldList => "a column definition or EOF",
            Phase::Authentication { .. } => "OK, ERR or a round of authentication",
            Phase::Prepare => "the answer to COM_STMT_PREPARE",
            Phase::Params { .. } => "a parameter definition",
            Phase::ParamsEof { .. } => "the EOF behind the parameters",
            Phase::StatementColumns { .. } => "a column definition",
            Phase::StatementColumnsEof => "the EOF behind the columns",
            Phase::Binlog => "a binlog packet",
        }
    }

    /// Takes the next packet of the response.
    pub fn step(&mut self, head: Head<'_>, capabilities: Capabilities) -> Result<Step, Violation> {
        let step = self.classify(head, capabilities)?;
        // After a progress report an ERR may still be the whole answer.
        self.started |= step.kind != PacketKind::Progress;
        Ok(step)
    }

    /// Takes the client's empty data packet: its file is complete.
    pub fn file_complete(&mut self) {
        self.phase = Phase::InfileResult;
    }

    /// Takes a client's answer to a round of authentication.
    pub fn auth_answered(&mut self) {
        self.phase = Phase::Authentication {
            client_may_speak: false,
        };
    }

    fn classify(&mut self, head: Head<'_>, capabilities: Capabilities) -> Result<Step, Violation> {
        let expected = self.expects();
        let violation = || Violation::by(expected, head);
        let first = head.first().ok_or_else(violation)?;
        let deprecate_eof = capabilities.contains(Capabilities::DEPRECATE_EOF);

        // No other packet of a response begins with 0xFF: the text of COM_STATISTICS is ASCII.
        if first == 0xFF && self.phase != Phase::InfileData {
            if is_progress(head, capabilities) {
                return Ok(next(PacketKind::Progress, Event::ServerSendingProgress));
            }
            return Ok(last(PacketKind::Err, Event::ServerReceivedError));
        }
        match self.phase {
            Phase::Result => match first {
                0x00 => self.result_end(PacketKind::Ok, ok_status(head).ok_or_else(violation)?),
                0xFB => {
                    self.phase = Phase::InfileData;
                    Ok(next(PacketKind::Infile, Event::ServerSentInfile))
                }
                _ => {
                    let (columns, size) = lenenc::decode(head.bytes).ok_or_else(violation)?;
                    let left = u16::try_from(columns)
                        .ok()
                        .filter(|columns| *columns > 0)
                        .ok_or_else(violation)?;
                    let mut step = next(PacketKind::ResultsetHeader, Event::ServerSentResultset);
                    // The byte follows the count, in MySQL as in MariaDB (MySQL's documentation has
                    // it before the count).
                    if capabilities.intersects(Capabilities::BARE_RESULTS)
                        && head.bytes.get(size) == Some(&0)
                    {
                        self.columns_end(left, deprecate_eof, &mut step);
                    } else {
                        self.phase = Phase::Columns {
                            left,
                            columns: left,
                        };
                    }
                    Ok(step)
                }
            },
            Phase::Columns { left, columns } => {
                let mut step = next(PacketKind::Column, Event::ServerSendingFields);
                match left {
                    2.. => {
                        self.phase = Phase::Columns {
                            left: left - 1,
                            columns,
                        };
                    }
                    _ => self.columns_end(columns, deprecate_eof, &mut step),
                }
                Ok(step)
            }
            Phase::ColumnsEof { columns } => {
                let status = self.noted(eof_status(head)).ok_or_else(violation)?;
                let mut step = next(PacketKind::Eof, Event::ServerSentFields);
                // A cursor was opened: its rows come by COM_STMT_FETCH. (A prepared CALL with OUT
                // parameters sets this flag, too, but then also MORE_RESULTS.)
                if status.contains(Status::CURSOR_EXISTS)
                    && !status.contains(Status::MORE_RESULTS_EXISTS)
                {
                    step.events = step.events.with(Event::ServerWaitCommand.set());
                    step.done = true;
                }
                self.out_params = status.contains(Status::PS_OUT_PARAMS);
                self.phase = rows(columns);
                Ok(step)
            }
            Phase::Rows { .. } => match terminator(head, deprecate_eof) {
                None if is_neither(head) => Err(violation()),
                None => {
                    self.eofs_due = 0;
                    Ok(next(self.row_kind(), Event::ServerSendingRows))
                }
                Some((kind, status)) => {
                    self.eofs_due = 0;
                    let more = std::mem::take(&mut self.out_params);
                    let mut status = status.ok_or_else(violation)?;
                    status.set(
                        Status::MORE_RESULTS_EXISTS,
                        more || status.contains(Status::MORE_RESULTS_EXISTS),
                    );
                    self.result_end(kind, status)
                }
            },
            Phase::InfileData => Err(violation()),
            Phase::InfileResult => match first {
                0x00 => self.result_end(PacketKind::Ok, ok_status(head).ok_or_else(violation)?),
                _ => Err(violation()),
            },
            Phase::Simple => match first {
                0x00 => {
                    self.noted(ok_status(head));
                    Ok(last(PacketKind::Ok, Event::ServerWaitCommand))
                }
                0xFE => match terminator(head, deprecate_eof) {
                    Some((kind, status)) => {
                        self.noted(status);
                        Ok(last(kind, Event::ServerWaitCommand))
                    }
                    None => Err(violation()),
                },
                _ => Err(violation()),
            },
            Phase::Statistics => {
                let mut step = last(PacketKind::Stats, Event::ServerWaitCommand);
                step.events = step.events.with(Event::ServerSendingStats.set());
                Ok(step)
            }
            Phase::FieldList => match terminator(head, deprecate_eof) {
                None if is_neither(head) => Err(violation()),
                None => Ok(next(PacketKind::Column, Event::ServerSendingFields)),
                Some((kind, _)) => {
                    let mut step = last(kind, Event::ServerWaitCommand);
                    step.events = step.events.with(Event::ServerSentFields.set());
                    Ok(step)
                }
            },
            Phase::Authentication { .. } => match first {
                0x00 => Ok(last(PacketKind::Ok, Event::ServerWaitCommand)),
                // A switch, more data, or the next factor.
                0xFE | 0x01 | 0x02 => {
                    self.phase = Phase::Authentication {
                        client_may_speak: wants_auth_answer(head),
                    };
                    Ok(next(PacketKind::AuthData, Event::ServerSendingAuth))
                }
                _ => Err(violation()),
            },
            Phase::Prepare => {
                // OK(1) id(4) columns(2) parameters(2) 0 warnings(2)
                let &[0x00, _, _, _, _, c0, c1, p0, p1, ..] = head.bytes else {
                    return Err(violation());
                };
                let columns = u16::from_le_bytes([c0, c1]);
                let params = u16::from_le_bytes([p0, p1]);
                let mut step = next(PacketKind::Prepared, Event::ServerPrepared);
                // A further byte says whether definitions follow; MariaDB has none here.
                self.bare = capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA)
                    && head.bytes.get(12) == Some(&0);
                match (params, columns) {
                    (1.., _) | (_, 1..) if self.bare => {
                        self.bare_prepared(params, columns, deprecate_eof, &mut step);
                    }
                    (0, 0) => {
                        step.synthesised = Event::ServerWaitCommand.set();
                        step.done = true;
                    }
                    (0, left) => self.phase = Phase::StatementColumns { left },
                    (left, columns) => self.phase = Phase::Params { left, columns },
                }
                Ok(step)
            }
            Phase::Params { left, columns } => {
                let mut step = next(PacketKind::Column, Event::ServerSendingParams);
                if left > 1 {
                    self.phase = Phase::Params {
                        left: left - 1,
                        columns,
                    };
                } else if deprecate_eof {
                    self.eofs_due = 1;
                    step.synthesised = Event::ServerSentParams.set();
                    self.params_end(columns, &mut step);
                } else {
                    self.phase = Phase::ParamsEof { columns };
                }
                Ok(step)
            }
            Phase::ParamsEof { columns } => {
                self.noted(eof_status(head)).ok_or_else(violation)?;
                let mut step = next(PacketKind::Eof, Event::ServerSentParams);
                if columns == 0 {
                    step.events = step.events.with(Event::ServerWaitCommand.set());
                    step.done = true;
                } else if self.bare {
                    self.phase = Phase::StatementColumnsEof;
                } else {
                    self.phase = Phase::StatementColumns { left: columns };
                }
                Ok(step)
            }
            Phase::StatementColumns { left } => {
                self.eofs_due = 0;
                let mut step = next(PacketKind::Column, Event::ServerSendingFields);
                if left > 1 {
                    self.phase = Phase::StatementColumns { left: left - 1 };
                } else if deprecate_eof {
                    self.eofs_due = 1;
                    step.synthesised = Event::ServerSentFields
                        .set()
                        .with(Event::ServerWaitCommand.set());
                    step.done = true;
                } else {
                    self.phase = Phase::StatementColumnsEof;
                }
                Ok(step)
            }
            Phase::StatementColumnsEof => {
                self.noted(eof_status(head)).ok_or_else(violation)?;
                let mut step = last(PacketKind::Eof, Event::ServerWaitCommand);
                step.events = step.events.with(Event::ServerSentFields.set());
                Ok(step)
            }
            // CLIENT_DEPRECATE_EOF or not, both servers end a dump with an EOF
            // (Protocol_classic::send_eof() of MySQL, net_send_eof()'s caller in MariaDB).
            Phase::Binlog => match terminator(head, false) {
                None if is_neither(head) => Err(violation()),
                None => Ok(next(PacketKind::Data, Event::ServerSendingBinlog)),
                Some((kind, _)) => Ok(last(kind, Event::ServerWaitCommand)),
            },
        }
    }

    /// Whether its rows are text or binary ones.
    pub fn row_kind(&self) -> PacketKind {
        match self.com.has_binary_rows() {
            true => PacketKind::BinaryRow,
            false => PacketKind::TextRow,
        }
    }

    /// A result is complete: either the whole response is, or another result follows.
    fn result_end(&mut self, kind: PacketKind, status: Status) -> Result<Step, Violation> {
        self.status = Some(status);
        if status.contains(Status::MORE_RESULTS_EXISTS) && self.com != Com::STMT_FETCH {
            self.phase = Phase::Result;
            Ok(next(kind, Event::ServerSendingEof))
        } else {
            Ok(last(kind, Event::ServerWaitCommand))
        }
    }

    /// A result's columns are complete, or were left out.
    fn columns_end(&mut self, columns: u16, deprecate_eof: bool, step: &mut Step) {
        if deprecate_eof {
            self.eofs_due = 1;
            step.synthesised = Event::ServerSentFields.set();
            self.phase = rows(columns);
        } else {
            self.phase = Phase::ColumnsEof { columns };
        }
    }

    /// A statement was prepared whose definitions are left out. The EOFs after them are not.
    fn bare_prepared(&mut self, params: u16, columns: u16, deprecate_eof: bool, step: &mut Step) {
        if !deprecate_eof {
            self.phase = match params {
                0 => Phase::StatementColumnsEof,
                _ => Phase::ParamsEof { columns },
            };
            return;
        }
        let mut synthesised = Event::ServerWaitCommand.set();
        for (count, event) in [
            (params, Event::ServerSentParams),
            (columns, Event::ServerSentFields),
        ] {
            if count > 0 {
                self.eofs_due += 1;
                synthesised = synthesised.with(event.set());
            }
        }
        step.synthesised = synthesised;
        step.done = true;
    }

    /// Notes the server's status in a packet.
    fn noted(&mut self, status: Option<Status>) -> Option<Status> {
        self.status = status.or(self.status);
        status
    }

    /// A statement's parameters are complete without an EOF on the wire.
    fn params_end(&mut self, columns: u16, step: &mut Step) {
        if columns == 0 {
            step.synthesised = step.synthesised.with(Event::ServerWaitCommand.set());
            step.done = true;
        } else {
            self.phase = Phase::StatementColumns { left: columns };
        }
    }
}

/// Whether a round of authentication needs an answer: all do, except "fast path accepted" of
/// caching_sha2_password, after which the OK follows at once.
pub fn wants_auth_answer(head: Head<'_>) -> bool {
    head.bytes != [0x01, 0x03]
}

/// Whether what looks like an ERR is a progress report of MariaDB.
/// <https://mariadb.com/docs/server/reference/clientserver-protocol/4-server-response-packets/err_packet>
fn is_progress(head: Head<'_>, capabilities: Capabilities) -> bool {
    capabilities.contains(Capabilities::MARIADB_PROGRESS)
        && head.bytes.starts_with(&[0xFF, 0xFF, 0xFF])
}

fn next(kind: PacketKind, event: Event) -> Step {
    Step {
        kind,
        events: event.set(),
        synthesised: EventSet::NONE,
        done: false,
    }
}

fn last(kind: PacketKind, event: Event) -> Step {
    Step {
        done: true,
        ..next(kind, event)
    }
}

/// The end of rows or definitions, with its status flags (`None`: too short to have them); `None`
/// for anything that is not an end. 0xFE also begins a value of 16 MB and more, so the length
/// decides. <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_eof_packet.html>
fn terminator(head: Head<'_>, deprecate_eof: bool) -> Option<(PacketKind, Option<Status>)> {
    if head.first() != Some(0xFE) {
        return None;
    }
    if deprecate_eof && head.len < MAX_PAYLOAD {
        return Some((PacketKind::Ok, ok_status(head)));
    }
    if head.len < 9 {
        return Some((PacketKind::Eof, eof_status(head)));
    }
    None
}

/// Whether it is neither an end nor, as it is shorter than 16 MB, a value so long. Peers that negotiated
/// otherwise would take it for an end.
fn is_neither(head: Head<'_>) -> bool {
    head.first() == Some(0xFE) && head.len < MAX_PAYLOAD
}

/// The status flags of an EOF: header(1) warnings(2) status(2).
fn eof_status(head: Head<'_>) -> Option<Status> {
    match head.bytes {
        [0xFE, _, _, low, high, ..] if head.len < 9 => {
            Some(Status::from_bits_retain(u16::from_le_bytes([*low, *high])))
        }
        _ => None,
    }
}

/// The status flags of an OK, from its first bytes: header(1) affected rows(lenenc) insert id(lenenc) status(2).
pub fn ok_status(head: Head<'_>) -> Option<Status> {
    let rest = head.bytes.get(1..)?;
    let (_, size) = lenenc::decode(rest)?;
    let rest = rest.get(size..)?;
    let (_, size) = lenenc::decode(rest)?;
    let [low, high] = *rest.get(size..)?.first_chunk::<2>()?;
    Some(Status::from_bits_retain(u16::from_le_bytes([low, high])))
}

#[cfg(test)]
mod tests;
