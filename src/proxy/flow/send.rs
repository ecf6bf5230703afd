//! `wire_packet`: sends a script's packet.

use super::deliver::{Delivered, Leaving, Part};
use crate::proxy::Proxy;
use crate::proxy::error::ProxyError;
use crate::proxy::id::ConnId;
use crate::proxy::login::negotiation;
use crate::proxy::login::negotiation::ServerLeg;
use crate::proxy::options::Options;
use crate::proxy::outgoing::Packet;
use crate::proxy::table::conn::Role;
use crate::proxy::table::core::Core;
use crate::proxy::translate::ending;
use crate::proxy::translate::ending::Ending;
use crate::proxy::translate::{redirect, translation};
use crate::session::{ClientSession, PacketKind, ServerSession};
use crate::wire::row::TextRow;
use crate::wire::{Capabilities, Com};

/// The buffer that packets are encoded in is not kept if it has grown beyond this.
const KEPT: usize = 64 << 10;

impl Proxy {
    /// Queues a packet on a connection, steps its session, and fires the resulting events there
    /// before it returns.
    ///
    /// # Errors
    /// The connection is closed, or the state of the protocol does not allow the packet (nothing
    /// is sent then).
    pub fn send(&self, id: ConnId, packet: Packet<'_>) -> Result<(), ProxyError> {
        let delivered = self.core().wire(id, packet)?;
        if delivered.refused {
            let reason = match packet {
                Packet::Err(err) => format!(
                    "the login was refused: {} {}",
                    err.errnum,
                    String::from_utf8_lossy(&err.message)
                ),
                _ => "the login was refused".to_string(),
            };
            self.close_for(id, &reason);
            return Ok(());
        }
        let overflow = {
            let core = self.core();
            core.open(id)
                .filter(|conn| conn.pending() > conn.options.max_queue)
                .map(|conn| conn.options.max_queue)
        };
        if let Some(max) = overflow {
            self.close_for(id, &format!("more than max_queue ({max} bytes) is queued"));
            return Ok(());
        }
        self.tell_sent(id, &packet);
        self.fire_all(id, delivered.events);
        Ok(())
    }
}

impl Core {
    fn wire(&mut self, id: ConnId, packet: Packet<'_>) -> Result<Delivered, ProxyError> {
        let forbidden = |why: String| ProxyError::Forbidden {
            id: id.serial(),
            why,
        };
        let Some(conn) = self.open(id) else {
            let conn = self.get(id);
            return Err(ProxyError::Closed {
                id: id.serial(),
                reason: conn.map_or_else(|| "long ago".to_string(), |conn| conn.info.reason()),
            });
        };
        let max = conn.options.max_queue;
        if let Some(len) = packet.len().filter(|len| *len > max) {
            return Err(ProxyError::TooLong {
                id: id.serial(),
                len,
                max,
            });
        }
        self.takes_whole_packets(conn).map_err(forbidden)?;
        self.keeps_secret(id, packet).map_err(forbidden)?;
        if matches!(packet, Packet::Eof(_))
            && let Some(delivered) = self.end_withheld(id)
        {
            return Ok(delivered);
        }
        let mut payload = std::mem::take(&mut self.encoded);
        let Some(conn) = self.open_mut(id) else {
            return Ok(Delivered::default());
        };
        let encoded = match &mut conn.role {
            Role::Client(session) => to_client(id, session, &conn.options, packet, &mut payload),
            Role::Server(session) => {
                let leg = ServerLeg {
                    options: &conn.options,
                    tls: conn.login.as_ref().is_some_and(|it| it.tls.is_some()),
                };
                to_server(session, &leg, packet, &mut payload).map(Some)
            }
            Role::Listener(_) => Err("a listener takes no packets".into()),
        };
        let Some(part) = encoded.map_err(forbidden)? else {
            return Ok(Delivered::default());
        };
        let leaving = Leaving::new(part, &payload);
        let delivered = self.deliver(id, leaving).map_err(forbidden)?;
        if let Some(conn) = self.open_mut(id) {
            conn.follow_wired(packet, &payload).map_err(forbidden)?;
        }
        self.keep_encoded(payload);
        Ok(delivered)
    }

    /// Keeps a buffer for the next packet that is encoded.
    pub(crate) fn keep_encoded(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.shrink_to(KEPT);
        self.encoded = buffer;
    }
}

/// Encodes a packet for a client. `None`: it puts nothing on the wire.
fn to_client(
    id: ConnId,
    session: &mut ClientSession,
    options: &Options,
    packet: Packet<'_>,
    payload: &mut Vec<u8>,
) -> Result<Option<Part>, String> {
    let capabilities = session.capabilities();
    match packet {
        Packet::Handshake(handshake) => {
            let mut handshake = handshake.clone();
            negotiation::offer(&mut handshake, options);
            if handshake.thread_id == 0 {
                handshake.thread_id = id.serial();
            }
            handshake.encode(payload);
            return Ok(Some(Part::Handshake(handshake.capabilities)));
        }
        Packet::Ok(ok) => {
            let login = !session.authenticated();
            let other = (!options.allow_redirect).then(|| redirect::without(ok, login));
            let ok = other.as_ref().and_then(Option::as_ref).unwrap_or(ok);
            match ending::encode(session, Ending::Ok(ok), std::mem::take(payload)) {
                Some(encoded) => *payload = encoded,
                None => return Ok(None),
            }
        }
        Packet::Eof(eof) => {
            match ending::encode(session, Ending::Eof(eof), std::mem::take(payload)) {
                Some(encoded) => *payload = encoded,
                None => return Ok(None),
            }
        }
        // Before the capabilities are negotiated it is not known whether the client understands an
        // SQLSTATE, so it is sent.
        Packet::Err(err) => err.encode(capabilities | Capabilities::PROTOCOL_41, payload),
        Packet::ResultsetHeader(header) => {
            translation::check_definitions(header.definitions, capabilities)?;
            header.encode(capabilities, payload);
        }
        Packet::Column(column) => column.encode(capabilities, payload),
        Packet::Prepared(prepared) => {
            translation::check_definitions(prepared.definitions, capabilities)?;
            prepared.encode(capabilities, payload);
        }
        Packet::Infile(infile) => infile.encode(capabilities, payload),
        // A client that did not ask for reports would take one for an ERR.
        Packet::Progress(_) if !capabilities.contains(Capabilities::MARIADB_PROGRESS) => {
            return Ok(None);
        }
        Packet::Progress(progress) => progress.encode(capabilities, payload),
        Packet::Row(bytes) => {
            check_row(session, bytes)?;
            payload.extend_from_slice(bytes);
        }
        Packet::Stats(bytes) | Packet::AuthData(bytes) | Packet::Data(bytes) => {
            payload.extend_from_slice(bytes)
        }
        Packet::Auth(_) => return Err("an auth packet goes to a server".into()),
        Packet::Command(_) | Packet::EncodedCommand(_) => {
            return Err("a command goes to a server".into());
        }
    }
    Ok(Some(Part::Own(packet.kind())))
}

/// A row needs as many values as the client was told of columns. (Of a row in the binary protocol
/// only the start tells.)
fn check_row(session: &ClientSession, row: &[u8]) -> Result<(), String> {
    let Some(response) = session.response() else {
        return Ok(());
    };
    let Some(columns) = response.row_values().map(usize::from) else {
        return Ok(());
    };
    if response.com().has_binary_rows() {
        let start = 1 + (columns + 9) / 8;
        if row.first() != Some(&0) || row.len() < start {
            return Err(format!(
                "its result has rows of {columns} values in the binary protocol"
            ));
        }
        return Ok(());
    }
    let mut values = 0;
    for value in TextRow::new(row) {
        value.map_err(|error| error.to_string())?;
        values += 1;
    }
    match values == columns {
        true => Ok(()),
        false => Err(format!(
            "the row has {values} values, the result {columns} columns"
        )),
    }
}

/// Encodes a packet for a server.
fn to_server(
    session: &ServerSession,
    leg: &ServerLeg<'_>,
    packet: Packet<'_>,
    payload: &mut Vec<u8>,
) -> Result<Part, String> {
    match packet {
        Packet::Auth(auth) => {
            let mut auth = auth.clone();
            negotiation::ask(&mut auth, session, leg);
            auth.encode(payload);
            Ok(Part::Auth(auth.capabilities))
        }
        Packet::Command(command) => {
            if !command.com.is_known() {
                return Err(format!(
                    "nobody knows what would answer command 0x{:02x}",
                    command.com.0
                ));
            }
            command.encode(session.capabilities(), payload);
            Ok(Part::Own(PacketKind::Command))
        }
        Packet::EncodedCommand(bytes) => {
            let com = bytes.first().map_or(Com::SLEEP, |com| Com(*com));
            if !com.is_known() || com == Com::CHANGE_USER {
                return Err(format!("command 0x{:02x} cannot be sent so", com.0));
            }
            payload.extend_from_slice(bytes);
            Ok(Part::Own(PacketKind::Command))
        }
        Packet::AuthData(bytes) => {
            payload.extend_from_slice(bytes);
            Ok(Part::Own(PacketKind::AuthData))
        }
        Packet::Data(bytes) => {
            payload.extend_from_slice(bytes);
            Ok(Part::Own(PacketKind::Data))
        }
        other => Err(format!(
            "the {} packet goes to a client",
            other.kind().name()
        )),
    }
}
