//! COM_CHANGE_USER: another login on a connection that is logged in already.

use crate::wire::values::reader::Reader;
use crate::wire::{Auth, Capabilities, Com, Command, DecodeError, Original, Put};
use bytes::{BufMut, Bytes};

const NAME: &str = "change user";

/// The argument of COM_CHANGE_USER: the second half of an auth packet.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_change_user.html>
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ChangeUser {
    /// The user's name.
    pub user: Vec<u8>,
    /// The answer to the challenge of the login; at most 255 bytes of it are sent.
    pub auth_response: Vec<u8>,
    /// The database; empty for none.
    pub database: Vec<u8>,
    /// The id of a collation. Clients of before 5.1 leave it out, and all that follows.
    pub character_set: Option<u16>,
    /// The plugin that made the answer.
    pub auth_plugin: Option<Vec<u8>>,
    /// Connection attributes, without the length before them.
    pub attributes: Option<Vec<u8>>,
}

impl std::fmt::Debug for ChangeUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeUser").finish_non_exhaustive()
    }
}

impl ChangeUser {
    /// Decodes a command's argument without knowing the capabilities: every client in use has
    /// SECURE_CONNECTION, and the plugin's name is there exactly if PLUGIN_AUTH is, so the length
    /// tells which fields there are.
    ///
    /// # Errors
    /// It ends too early.
    pub fn decode(argument: &[u8]) -> Result<ChangeUser, DecodeError> {
        let mut reader = Reader::new(NAME, argument);
        let user = reader.nul_terminated("user")?.to_vec();
        let len = usize::from(reader.u8("auth_response")?);
        let mut packet = ChangeUser {
            user,
            auth_response: reader.bytes("auth_response", len)?.to_vec(),
            database: reader.nul_or_end_terminated().to_vec(),
            ..ChangeUser::default()
        };
        if !reader.is_empty() {
            packet.character_set = Some(reader.u16("character_set")?);
        }
        if !reader.is_empty() {
            packet.auth_plugin = Some(reader.nul_or_end_terminated().to_vec());
        }
        if !reader.is_empty() {
            // MySQL ignores what else there may be.
            packet.attributes = reader.lenenc_bytes("attributes").ok().map(<[u8]>::to_vec);
        }
        Ok(packet)
    }

    /// The command, for a connection that has these capabilities.
    pub fn command(&self, capabilities: Capabilities) -> Command {
        let mut argument = Vec::new();
        argument.put_nul_terminated(&self.user);
        let fits = self.auth_response.get(..255).unwrap_or(&self.auth_response);
        argument.put_u8(fits.len() as u8);
        argument.put_slice(fits);
        argument.put_nul_terminated(&self.database);
        argument.put_u16_le(self.character_set.unwrap_or(45));
        if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            argument.put_nul_terminated(self.auth_plugin.as_deref().unwrap_or_default());
            if capabilities.contains(Capabilities::CONNECT_ATTRS) {
                argument.put_lenenc_bytes(self.attributes.as_deref().unwrap_or_default());
            }
        }
        Command {
            com: Com::CHANGE_USER,
            argument: Bytes::from(argument),
            ..Command::default()
        }
    }

    /// The auth packet of the same login, on a connection that has these capabilities.
    pub fn into_auth(self, capabilities: Capabilities) -> Auth {
        let mut auth = Auth {
            capabilities,
            character_set: self.character_set.unwrap_or(45),
            user: self.user,
            auth_response: self.auth_response,
            database: None,
            auth_plugin: self.auth_plugin,
            attributes: self.attributes,
            original: Original::default(),
            ..Auth::default()
        };
        auth.set_database(Some(self.database).filter(|name| !name.is_empty()));
        auth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        let packet = ChangeUser {
            user: b"happy".to_vec(),
            auth_response: vec![7; 20],
            database: b"test".to_vec(),
            character_set: Some(255),
            auth_plugin: Some(b"mysql_native_password".to_vec()),
            attributes: Some(b"\x03_os\x05Linux".to_vec()),
        };
        let all = Capabilities::PLUGIN_AUTH | Capabilities::CONNECT_ATTRS;
        let command = packet.command(all);
        assert_eq!(command.com, Com::CHANGE_USER);
        assert_eq!(ChangeUser::decode(&command.argument), Ok(packet.clone()));
        let shorter = packet.command(Capabilities::empty());
        let shorter = ChangeUser::decode(&shorter.argument).unwrap();
        assert_eq!((shorter.auth_plugin, shorter.attributes), (None, None));
        assert_eq!(shorter.character_set, Some(255));
    }

    #[test]
    fn old_clients_end_early() {
        let packet = ChangeUser::decode(b"happy\0\0test\0").unwrap();
        assert_eq!(packet.database, b"test");
        assert_eq!(packet.character_set, None);
        for cut in [
            &b""[..],
            b"happy",
            b"happy\0",
            b"happy\0\x14",
            b"h\0\0t\0\x01",
        ] {
            assert!(ChangeUser::decode(cut).is_err(), "{cut:?}");
        }
    }

    #[test]
    fn the_answer_is_not_shown() {
        let packet = ChangeUser {
            auth_response: b"secret".to_vec(),
            ..ChangeUser::default()
        };
        assert_eq!(format!("{packet:?}"), "ChangeUser { .. }");
    }
}
