//! Bytes that no log may show.

use std::fmt;

/// Bytes whose `Debug` tells how many they are and nothing else: passwords, the challenges and
/// answers that stand for them, and what may hold such. The `Debug` of every packet that has some
/// goes through this.
pub struct Hidden<'a>(pub &'a [u8]);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Auth, AuthMoreData, AuthSwitch, Com, Command, Handshake};

    #[test]
    fn no_packet_of_a_login_shows_its_secrets() {
        let secret = b"wheefunwheefunwheefu";
        let packets = [
            format!("{:?}", Hidden(secret)),
            format!(
                "{:?}",
                Handshake {
                    scramble: secret.to_vec(),
                    ..Handshake::default()
                }
            ),
            format!(
                "{:?}",
                Auth {
                    auth_response: secret.to_vec(),
                    ..Auth::default()
                }
            ),
            format!(
                "{:?}",
                AuthSwitch {
                    data: secret.to_vec(),
                    ..AuthSwitch::default()
                }
            ),
            format!(
                "{:?}",
                AuthMoreData {
                    data: secret.to_vec()
                }
            ),
            // The whole login of COM_CHANGE_USER, or SQL that sets a password.
            format!(
                "{:?}",
                Command {
                    com: Com::CHANGE_USER,
                    argument: secret.to_vec().into(),
                    ..Command::default()
                }
            ),
        ];
        for text in packets {
            assert!(text.contains("<20 bytes>"), "{text}");
            assert!(!text.contains("wheefun"), "{text}");
            assert!(!text.contains("119, 104"), "{text}");
        }
    }
}
