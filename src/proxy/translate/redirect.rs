//! Removes redirections: a server must not send its clients past the proxy.
//!
//! Two ways are known: MariaDB's system variable `redirect_url`, which travels among the changes of
//! the session's state (<https://mariadb.com/docs/server/reference/clientserver-protocol>), and, in
//! the OK of a login, a message that begins with `Location: mysql://` (Azure's).

use crate::session::{ClientSession, Head, ok_status};
use crate::wire::{Capabilities, Ok as OkPacket, Original, Status, session_changes};

/// The start of the message.
const LOCATION: &[u8] = b"location:";

/// Whether an OK has session changes, and so may redirect, by its head.
pub(crate) fn tracks(head: Head<'_>, capabilities: Capabilities) -> bool {
    capabilities.contains(Capabilities::SESSION_TRACK)
        && ok_status(head).is_some_and(|s| s.contains(Status::SESSION_STATE_CHANGED))
}

/// The OK without redirections; `None` if it has none.
pub(crate) fn without(ok: &OkPacket, login: bool) -> Option<OkPacket> {
    let changes = ok.session_changes.as_deref().unwrap_or_default();
    let kept = session_changes::without_redirect(changes);
    let start = ok.message.get(..LOCATION.len()).unwrap_or_default();
    let located = login && start.eq_ignore_ascii_case(LOCATION);
    if kept.is_none() && !located {
        return None;
    }
    let mut other = OkPacket {
        original: Original::default(),
        ..ok.clone()
    };
    if let Some(kept) = kept {
        if kept.is_empty() {
            other.status.remove(Status::SESSION_STATE_CHANGED);
        }
        other.session_changes = (!kept.is_empty()).then_some(kept);
    }
    if located {
        other.message.clear();
    }
    Some(other)
}

/// The same for an OK that goes to this client; `login`: it ends a login.
pub(crate) fn without_in(
    payload: &[u8],
    client: &ClientSession,
    login: bool,
) -> Result<Option<Vec<u8>>, String> {
    let capabilities = client.capabilities();
    let head = Head::of(payload);
    let is_ok = match head.first() {
        Some(0x00) => true,
        // For other clients it has become an EOF.
        _ => capabilities.contains(Capabilities::DEPRECATE_EOF),
    };
    let tracks = is_ok && tracks(head, capabilities);
    if !tracks && !login {
        return Ok(None);
    }
    let ok = match OkPacket::decode(payload, capabilities) {
        Ok(ok) => ok,
        // It is malformed, but has no changes that could redirect.
        Err(_) if !tracks => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    Ok(without(&ok, login).map(|ok| {
        let mut other = Vec::new();
        ok.encode(capabilities, &mut other);
        other
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::SessionChange;

    fn change(name: &str, value: &str) -> SessionChange {
        SessionChange {
            change_type: session_changes::change_type::SYSTEM_VARIABLES,
            name: Some(name.into()),
            value: value.into(),
        }
    }

    fn ok(message: &str, changes: &[SessionChange]) -> OkPacket {
        OkPacket {
            status: Status::AUTOCOMMIT | Status::SESSION_STATE_CHANGED,
            message: message.into(),
            session_changes: Some(session_changes::encode(changes)),
            ..OkPacket::default()
        }
    }

    #[test]
    fn only_what_redirects_goes() {
        let kept = [change("autocommit", "ON")];
        assert_eq!(without(&ok("Location: mysql://x", &kept), false), None);
        let packet = without(&ok("Location: mysql://x", &kept), true).unwrap();
        assert!(packet.message.is_empty() && packet.session_changes.is_some());
        let both = [
            change("redirect_url", "mysql://x"),
            change("autocommit", "ON"),
        ];
        assert_eq!(without(&ok("", &both), true), Some(ok("", &kept)));
        let packet = without(&ok("", &both[..1]), true).unwrap();
        assert_eq!(
            (packet.status, packet.session_changes),
            (Status::AUTOCOMMIT, None)
        );
    }
}
