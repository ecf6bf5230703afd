//! What OK packets tell of changes of the session's state (CLIENT_SESSION_TRACK).
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html>,
//! <https://mariadb.com/docs/server/reference/clientserver-protocol/4-server-response-packets/ok_packet>

use crate::wire::values::reader::Reader;
use crate::wire::{DecodeError, Put};
use bytes::BufMut;

const NAME: &str = "session changes";

/// The system variable by which MariaDB sends clients to another server.
const REDIRECT_URL: &[u8] = b"redirect_url";

/// The types of changes.
pub mod change_type {
    /// A system variable was set.
    pub const SYSTEM_VARIABLES: u64 = 0;
    /// Another default database.
    pub const SCHEMA: u64 = 1;
    /// Whether something of the session's state has changed: "1", without a length of its own.
    pub const STATE_CHANGE: u64 = 2;
    /// The transactions' GTIDs.
    pub const GTIDS: u64 = 3;
    /// The statements that would start a transaction with the same characteristics.
    pub const TRANSACTION_CHARACTERISTICS: u64 = 4;
    /// The transaction's state, in eight letters.
    pub const TRANSACTION_STATE: u64 = 5;

    /// Every type under its MySQL name.
    pub const ALL: &[(&str, u64)] = &[
        ("SESSION_TRACK_SYSTEM_VARIABLES", SYSTEM_VARIABLES),
        ("SESSION_TRACK_SCHEMA", SCHEMA),
        ("SESSION_TRACK_STATE_CHANGE", STATE_CHANGE),
        ("SESSION_TRACK_GTIDS", GTIDS),
        (
            "SESSION_TRACK_TRANSACTION_CHARACTERISTICS",
            TRANSACTION_CHARACTERISTICS,
        ),
        ("SESSION_TRACK_TRANSACTION_STATE", TRANSACTION_STATE),
    ];
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionChange {
    /// What has changed, see [`change_type`]; there may be others.
    pub change_type: u64,
    /// The system variable.
    pub name: Option<Vec<u8>>,
    /// The new value; for a type without a name here, the whole block.
    pub value: Vec<u8>,
}

/// Takes the list of blocks apart. Types that have no name here are kept whole.
pub fn decode(blocks: &[u8]) -> Result<Vec<SessionChange>, DecodeError> {
    let mut changes = Vec::new();
    let mut reader = Reader::new(NAME, blocks);
    while !reader.is_empty() {
        let (change_type, data) = block(&mut reader)?;
        let mut data = Reader::new(NAME, data);
        match change_type {
            change_type::SYSTEM_VARIABLES => {
                // One, as a rule; MariaDB's clients read on to the block's end.
                while !data.is_empty() {
                    changes.push(SessionChange {
                        change_type,
                        name: Some(data.lenenc_bytes("name")?.to_vec()),
                        value: data.lenenc_bytes("value")?.to_vec(),
                    });
                }
                continue;
            }
            // The byte before the GTIDs says how they are encoded; it is always 0.
            change_type::GTIDS => {
                data.u8("encoding")?;
            }
            change_type::SCHEMA
            | change_type::TRANSACTION_CHARACTERISTICS
            | change_type::TRANSACTION_STATE => {}
            _ => {
                changes.push(SessionChange {
                    change_type,
                    name: None,
                    value: data.rest().to_vec(),
                });
                continue;
            }
        }
        changes.push(SessionChange {
            change_type,
            name: None,
            value: data.lenenc_bytes("value")?.to_vec(),
        });
    }
    Ok(changes)
}

/// The list as it travels.
pub fn encode(changes: &[SessionChange]) -> Vec<u8> {
    let mut blocks = Vec::new();
    for change in changes {
        let mut data = Vec::new();
        match change.change_type {
            change_type::SYSTEM_VARIABLES => {
                data.put_lenenc_bytes(change.name.as_deref().unwrap_or_default());
                data.put_lenenc_bytes(&change.value);
            }
            change_type::GTIDS => {
                data.put_u8(0);
                data.put_lenenc_bytes(&change.value);
            }
            change_type::SCHEMA
            | change_type::TRANSACTION_CHARACTERISTICS
            | change_type::TRANSACTION_STATE => data.put_lenenc_bytes(&change.value),
            _ => data.put_slice(&change.value),
        }
        blocks.put_lenenc(change.change_type);
        blocks.put_lenenc_bytes(&data);
    }
    blocks
}

/// The list without the changes that would redirect a client to another server; `None` if there are
/// none. A list that mentions a redirection and cannot be decoded becomes empty, since it could not
/// be told whether it redirects.
pub fn without_redirect(blocks: &[u8]) -> Option<Vec<u8>> {
    // The usual case, found out without decoding: nothing redirects.
    memchr::memmem::find(&blocks.to_ascii_lowercase(), REDIRECT_URL)?;
    let Ok(changes) = decode(blocks) else {
        return Some(Vec::new());
    };
    let is_redirect = |change: &SessionChange| {
        let name = change.name.as_deref().unwrap_or_default();
        name.eq_ignore_ascii_case(REDIRECT_URL)
    };
    if !changes.iter().any(is_redirect) {
        return None;
    }
    let kept: Vec<_> = changes
        .into_iter()
        .filter(|change| !is_redirect(change))
        .collect();
    Some(encode(&kept))
}

fn block<'a>(reader: &mut Reader<'a>) -> Result<(u64, &'a [u8]), DecodeError> {
    Ok((reader.lenenc("type")?, reader.lenenc_bytes("block")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of MariaDB 10.11.
    const CAPTURED: &[u8] =
        b"\x00\x1e\x1asession_track_state_change\x02ON\x02\x011\x01\x05\x04test\
        \x05\t\x08T_______\x04\x13\x12START TRANSACTION;\x63\x02xy";

    #[test]
    fn each_type_has_its_own_form() {
        let changes = decode(CAPTURED).unwrap();
        let seen: Vec<_> = changes
            .iter()
            .map(|change| (change.change_type, &*change.value))
            .collect();
        assert_eq!(
            seen,
            [
                (0, &b"ON"[..]),
                (2, b"1"),
                (1, b"test"),
                (5, b"T_______"),
                (4, b"START TRANSACTION;"),
                (0x63, b"xy"),
            ]
        );
        assert_eq!(
            changes[0].name.as_deref(),
            Some(&b"session_track_state_change"[..])
        );
        assert_eq!(decode(&encode(&changes)).unwrap(), changes);
    }

    #[test]
    fn only_a_redirect_goes() {
        assert_eq!(without_redirect(CAPTURED), None);
        let redirect = |name: &[u8], value: &[u8]| {
            encode(&[SessionChange {
                change_type: change_type::SYSTEM_VARIABLES,
                name: Some(name.to_vec()),
                value: value.to_vec(),
            }])
        };
        let with = [CAPTURED, &redirect(b"Redirect_URL", b"mysql://x:1")].concat();
        assert_eq!(
            without_redirect(&with).unwrap(),
            encode(&decode(CAPTURED).unwrap())
        );
        // Another variable's value.
        assert_eq!(
            without_redirect(&redirect(b"init_connect", b"set redirect_url")),
            None
        );
        // Cut short, so it cannot be decoded.
        let cut = &with[..with.len() - 1];
        assert_eq!(without_redirect(cut), Some(Vec::new()));
    }

    #[test]
    fn what_lies_is_an_error() {
        for cut in 1..7 {
            assert!(decode(&CAPTURED[..cut]).is_err());
        }
        assert!(decode(b"\x00\xfe\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    }
}
