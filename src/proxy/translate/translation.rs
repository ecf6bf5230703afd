//! Translation where client and server have negotiated different capabilities: the one place that
//! knows of each capability whether packets are translated, a link is refused, or nothing need be
//! done.
//!
//! | capability | the client alone has it | the server alone has it |
//! | --- | --- | --- |
//! | DEPRECATE_EOF | EOFs go, or become OKs | EOFs come, OKs become EOFs |
//! | SESSION_TRACK | the OK's message changes its form | the changes go |
//! | QUERY_ATTRIBUTES | counts and attributes go | counts come |
//! | OPTIONAL_RESULTSET_METADATA, MARIADB_CACHE_METADATA | the byte comes, and says that definitions follow | refused: definitions could be left out |
//! | MARIADB_EXTENDED_METADATA | comes, empty | goes |
//! | MARIADB_PROGRESS | nothing: no report comes | reports go |
//! | MULTI_RESULTS, PS_MULTI_RESULTS, LOCAL_FILES, MULTI_FACTOR_AUTHENTICATION | nothing: the server does not | refused: the server would |
//! | MARIADB_STMT_BULK_OPERATIONS, MARIADB_BULK_UNIT_RESULTS, MULTI_STATEMENTS | nothing: the server says ERR, or does without | nothing: the client does not ask |
//! | all others | concern the login, or no packet's form | likewise |

use super::ending;
use super::ending::Ending;
use crate::proxy::table::received::Received;
use crate::session::{ClientSession, Event, Head, PacketKind, ServerSession};
use crate::wire::{
    Capabilities, Column, Com, Command, DecodeError, Eof, Ok as OkPacket, PrepareOk,
    ResultsetHeader, Status, execute_form,
};

/// Capabilities under which the server sends something that its client must expect: a difference in
/// these cannot be translated.
pub(crate) const SERVER_INITIATIVE: Capabilities = Capabilities::MULTI_RESULTS
    .union(Capabilities::PS_MULTI_RESULTS)
    .union(Capabilities::LOCAL_FILES)
    .union(Capabilities::MULTI_FACTOR_AUTHENTICATION)
    .union(Capabilities::BARE_RESULTS);

/// Whether a server's packet of this kind has to be changed for a client with this difference in
/// capabilities. `ends`: an EOF follows it, on the wire or not.
pub(crate) fn changes(kind: PacketKind, ends: bool, difference: Capabilities) -> bool {
    let changed_by = match kind {
        PacketKind::Ok => Capabilities::DEPRECATE_EOF.union(Capabilities::SESSION_TRACK),
        // (At the end of OUT parameters MySQL's flags differ from those under DEPRECATE_EOF, and
        // clients expect the usual ones.)
        PacketKind::Eof => Capabilities::DEPRECATE_EOF,
        PacketKind::ResultsetHeader => Capabilities::BARE_RESULTS,
        PacketKind::Prepared => Capabilities::OPTIONAL_RESULTSET_METADATA,
        PacketKind::Column => Capabilities::MARIADB_EXTENDED_METADATA,
        PacketKind::Progress => Capabilities::MARIADB_PROGRESS,
        _ => return false,
    };
    difference.intersects(changed_by) || ends && difference.intersects(Capabilities::DEPRECATE_EOF)
}

/// The same for a client's command to its server.
pub(crate) fn changes_command(com: Com, difference: Capabilities) -> bool {
    matches!(com, Com::QUERY | Com::STMT_EXECUTE)
        && difference.intersects(Capabilities::QUERY_ATTRIBUTES)
}

/// A packet in the form for the other end.
pub(crate) enum Translated {
    /// Unchanged.
    Same,
    /// Not sent.
    Nothing,
    /// This payload instead.
    Other(Vec<u8>),
}

/// The statement that a client executes, if its command has to be translated, but the statement's
/// number of parameters is unknown: because there is no such statement, or because the answer to
/// its COM_STMT_PREPARE is still to come.
pub(crate) fn unknown_statement(
    client: &ClientSession,
    server: &ServerSession,
    command: Head<'_>,
) -> Option<u32> {
    let com = Com(command.first()?);
    let difference = client.capabilities() ^ server.capabilities();
    if com != Com::STMT_EXECUTE || !changes_command(com, difference) {
        return None;
    }
    let id = command.statement()?;
    params_of(client, server, id).is_none().then_some(id)
}

/// How many parameters a statement takes, according to the end that has QUERY_ATTRIBUTES.
fn params_of(client: &ClientSession, server: &ServerSession, id: u32) -> Option<u16> {
    let by_server = server
        .capabilities()
        .contains(Capabilities::QUERY_ATTRIBUTES);
    match by_server {
        true => server.statement_params(id),
        false => client.statement_params(id),
    }
}

/// Translates a client's command for its server.
pub(crate) fn command(
    client: &ClientSession,
    server: &ServerSession,
    payload: &[u8],
) -> Result<Translated, String> {
    let bad = |error: DecodeError| error.to_string();
    let com = Com(payload.first().copied().unwrap_or_default());
    let from = client.capabilities();
    let to = server.capabilities();
    if !changes_command(com, from ^ to) {
        return Ok(Translated::Same);
    }
    let command = Command::decode(payload, from).map_err(bad)?;
    if com == Com::QUERY {
        let mut other = Vec::new();
        command.encode(to, &mut other);
        return Ok(Translated::Other(other));
    }
    let id = command.statement_id().unwrap_or_default();
    let params = params_of(client, server, id)
        .ok_or_else(|| format!("statement {id} is not known, so its execution has no form"))?;
    let other = match to.contains(Capabilities::QUERY_ATTRIBUTES) {
        true => execute_form::with_count(payload, params),
        false => execute_form::without_attributes(payload, params),
    };
    other.map(Translated::Other).map_err(bad)
}

/// Translates a server's packet for its client, with an empty buffer for that.
pub(crate) fn answer(
    session: &mut ClientSession,
    payload: &[u8],
    received: &Received<'_>,
    buffer: &mut Vec<u8>,
) -> Result<Translated, String> {
    let from = received.capabilities;
    let to = session.capabilities();
    let kind = received.step.kind;
    if !changes(kind, false, from ^ to) {
        return Ok(Translated::Same);
    }
    let bad = |error: DecodeError| error.to_string();
    match kind {
        PacketKind::Ok | PacketKind::Eof => return ending(session, payload, received, buffer),
        PacketKind::ResultsetHeader => {
            let header = ResultsetHeader::decode(payload, from).map_err(bad)?;
            check_definitions(header.definitions, to)?;
            header.encode(to, buffer);
        }
        PacketKind::Prepared => {
            let prepared = PrepareOk::decode(payload, from).map_err(bad)?;
            check_definitions(prepared.definitions, to)?;
            prepared.encode(to, buffer);
        }
        PacketKind::Column => {
            Column::translate(payload, from, to, buffer).map_err(bad)?;
        }
        _ if !to.contains(Capabilities::MARIADB_PROGRESS) => return Ok(Translated::Nothing),
        _ => return Ok(Translated::Same),
    }
    Ok(Translated::Other(std::mem::take(buffer)))
}

/// Definitions that were left out cannot be invented.
pub(crate) fn check_definitions(follow: bool, client: Capabilities) -> Result<(), String> {
    if follow || client.intersects(Capabilities::BARE_RESULTS) {
        return Ok(());
    }
    Err("the client has not agreed to results without column definitions".into())
}

/// An OK or EOF.
fn ending(
    session: &mut ClientSession,
    payload: &[u8],
    received: &Received<'_>,
    buffer: &mut Vec<u8>,
) -> Result<Translated, String> {
    let capabilities = received.capabilities;
    let mut more = Status::empty();
    if received.step.events.has(Event::ServerSendingEof) {
        // At the end of a procedure's OUT parameters the flags may lack that an OK follows, and
        // that these are OUT parameters: only the EOF after the columns has them, which not every
        // client gets.
        more.set(Status::MORE_RESULTS_EXISTS, true);
        more.set(Status::PS_OUT_PARAMS, received.out_params);
    }
    let encoded = if received.step.kind == PacketKind::Ok {
        let mut ok = OkPacket::decode(payload, capabilities).map_err(|e| e.to_string())?;
        ok.status |= more;
        // The end of rows, and the answer to some commands, is an EOF for a client without
        // DEPRECATE_EOF.
        if ok.header == 0xFE {
            let eof = Eof {
                warnings: ok.warnings,
                status: ok.status,
            };
            ending::translate_eof(session, &eof, &ok, std::mem::take(buffer))
        } else {
            ending::encode(session, Ending::Ok(&ok), std::mem::take(buffer))
        }
    } else {
        let mut eof = Eof::decode(payload, capabilities).map_err(|e| e.to_string())?;
        eof.status |= more;
        ending::encode(session, Ending::Eof(&eof), std::mem::take(buffer))
    };
    Ok(encoded.map_or(Translated::Nothing, Translated::Other))
}

/// The EOF after columns for a client that needs one, made when the packet after the columns has
/// come; `None` if that packet says that a cursor is open, so that no rows follow.
pub(crate) fn late_columns_eof(
    session: &ClientSession,
    payload: &[u8],
    received: &Received<'_>,
) -> Result<Option<Vec<u8>>, String> {
    let mut status = received.status;
    if received.step.kind == PacketKind::Ok {
        let ok = OkPacket::decode(payload, received.capabilities).map_err(|e| e.to_string())?;
        if ok.status.contains(Status::CURSOR_EXISTS)
            && !ok.status.contains(Status::MORE_RESULTS_EXISTS)
        {
            return Ok(None);
        }
        status = ok.status;
    }
    let mut eof = Vec::new();
    Eof {
        warnings: 0,
        status,
    }
    .encode(session.capabilities(), &mut eof);
    Ok(Some(eof))
}

/// The EOF that announces a cursor, made from the OK that does so.
pub(crate) fn cursor_eof(payload: &[u8], capabilities: Capabilities) -> Result<Vec<u8>, String> {
    let ok = OkPacket::decode(payload, capabilities).map_err(|error| error.to_string())?;
    let mut eof = Vec::new();
    Eof {
        warnings: ok.warnings,
        status: ok.status,
    }
    .encode(Capabilities::PROTOCOL_41, &mut eof);
    Ok(eof)
}
