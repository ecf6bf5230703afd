//! OK and EOF in the form that a client has negotiated.

use crate::session::ClientSession;
use crate::wire::{Capabilities, Eof, Ok, Original};

/// An OK or EOF from a script, or from a server that has negotiated something else.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending<'a> {
    Ok(&'a Ok),
    Eof(&'a Eof),
}

/// The payload for this client; `None` if nothing is sent. Under CLIENT_DEPRECATE_EOF no EOF
/// follows columns, and rows end with an OK with the header 0xFE.
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html>
pub(crate) fn encode(
    session: &mut ClientSession,
    ending: Ending<'_>,
    mut payload: Vec<u8>,
) -> Option<Vec<u8>> {
    let capabilities = session.capabilities();
    let deprecate_eof = capabilities.contains(Capabilities::DEPRECATE_EOF)
        && !session.response().is_some_and(|r| r.is_binlog());
    let ends_rows = session
        .response()
        .is_some_and(|response| response.awaits_terminator());
    match ending {
        Ending::Eof(_) if session.swallow_eof() => return None,
        Ending::Eof(eof) if deprecate_eof => Ok {
            header: 0xFE,
            status: eof.status,
            warnings: eof.warnings,
            ..Ok::default()
        }
        .encode(capabilities, &mut payload),
        Ending::Eof(eof) => eof.encode(capabilities, &mut payload),
        Ending::Ok(ok) if ends_rows && !deprecate_eof => Eof {
            status: ok.status,
            warnings: ok.warnings,
        }
        .encode(capabilities, &mut payload),
        Ending::Ok(ok) => Ok {
            header: if ends_rows { 0xFE } else { 0x00 },
            // Its original bytes may be those for other capabilities.
            original: Original::default(),
            ..ok.clone()
        }
        .encode(capabilities, &mut payload),
    }
    Some(payload)
}

/// A server's OK in place of an EOF, translated for a client without DEPRECATE_EOF.
pub(crate) fn translate_eof(
    session: &mut ClientSession,
    eof: &Eof,
    ok: &Ok,
    mut payload: Vec<u8>,
) -> Option<Vec<u8>> {
    let capabilities = session.capabilities();
    if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
        return encode(session, Ending::Eof(eof), payload);
    }
    Ok {
        original: Original::default(),
        ..ok.clone()
    }
    .encode(capabilities, &mut payload);
    Some(payload)
}
