//! What a statement asks of the pool: `/* dpm:replica */`, or the same as a query attribute.

use crate::pool::routing::servers::Role;
use crate::sql::{Mode, comments};

/// What begins each hint.
const PREFIX: &[u8] = b"dpm:";
/// Longer names are no server's.
const MAX_NAME: usize = 255;

/// The hints of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hints {
    /// `dpm:primary` or `dpm:replica`. Whoever asks for both gets the primary.
    pub role: Option<Role>,
    /// `dpm:server=NAME`: the first one.
    pub server: Option<Vec<u8>>,
    /// `dpm:hold`: the connection is held for the client.
    pub hold: bool,
    /// The first hint that is none of these.
    pub unknown: Option<Vec<u8>>,
}

impl Hints {
    /// The hints in the comments of a text.
    pub fn of(sql: &[u8], mode: Mode) -> Hints {
        let mut hints = Hints::default();
        if memchr::memmem::find(sql, PREFIX).is_some() {
            for comment in comments(sql, mode) {
                for word in words(comment) {
                    hints.take(word);
                }
            }
        }
        hints
    }

    /// Adds a query attribute: `dpm` with hints as its value, or a hint as its name, such as
    /// `dpm:server` with a server's name as its value.
    pub fn add_attribute(&mut self, name: &[u8], value: &[u8]) {
        if name == b"dpm" {
            for word in value.split(is_between).filter(|word| !word.is_empty()) {
                self.hint(word.strip_prefix(PREFIX).unwrap_or(word));
            }
        } else if name == b"dpm:server" {
            self.hint(&[b"server=", value].concat());
        } else {
            self.take(name);
        }
    }

    fn take(&mut self, word: &[u8]) {
        if let Some(hint) = word.strip_prefix(PREFIX) {
            self.hint(hint);
        }
    }

    /// A hint without its prefix.
    fn hint(&mut self, hint: &[u8]) {
        match hint {
            b"primary" => self.role = Some(Role::Primary),
            b"replica" => self.role = self.role.or(Some(Role::Replica)),
            b"hold" => self.hold = true,
            _ => match hint.strip_prefix(b"server=") {
                Some(name) if is_name(name) => {
                    self.server.get_or_insert_with(|| name.to_vec());
                }
                _ => {
                    let shown = hint.get(..MAX_NAME).unwrap_or(hint);
                    self.unknown.get_or_insert_with(|| shown.to_vec());
                }
            },
        }
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(is_between)
}

fn is_between(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b'+')
}

/// Whether it may be a server's name: a host, an address, a port behind it.
fn is_name(name: &[u8]) -> bool {
    let fits = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']' | b'/')
    };
    !name.is_empty() && name.len() <= MAX_NAME && name.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Hints {
        Hints::of(sql.as_bytes(), Mode::default())
    }

    #[test]
    fn hints_in_comments() {
        assert_eq!(of("SELECT 1"), Hints::default());
        for sql in [
            "/* dpm:replica */ SELECT 1",
            "SELECT /*dpm:replica*/ 1",
            "SELECT 1 -- dpm:replica",
            "SELECT 1 # seen by dpm:replica, mostly\n",
            "/*+ dpm:replica */ SELECT 1",
        ] {
            let wanted = Hints {
                role: Some(Role::Replica),
                ..Hints::default()
            };
            assert_eq!(of(sql), wanted, "{sql}");
        }
        let all = of(
            "/* dpm:hold dpm:server=db-1.example:3306, dpm:replica */ SELECT /* dpm:primary */ 1",
        );
        assert_eq!(all.role, Some(Role::Primary));
        assert!(all.hold);
        assert_eq!(all.server.as_deref(), Some(&b"db-1.example:3306"[..]));
        assert_eq!(all.unknown, None);
        let first = of("/* dpm:server=a dpm:server=b */ SELECT 1").server;
        assert_eq!(first.as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn what_is_no_hint() {
        for sql in [
            "SELECT 'dpm:hold', `/* dpm:hold */`, '/* dpm:hold */'",
            "SELECT 'it\\'s /* dpm:hold */'",
            "SELECT 'a\\' /* dpm:hold */, '",
            "SELECT 1 /* predpm:hold */",
            "SELECT dpm:hold",
            "SELECT 1 /* DPM:HOLD */",
            "SELECT 1 /* dpm:hold",
        ] {
            assert_eq!(of(sql), Hints::default(), "{sql}");
        }
    }

    #[test]
    fn what_is_misspelt_is_told() {
        for (sql, unknown) in [
            ("/* dpm:master */ SELECT 1", "master"),
            ("/* dpm:server= */ SELECT 1", "server="),
            ("/* dpm:server=a'b */ SELECT 1", "server=a'b"),
            ("/* dpm: */ SELECT 1", ""),
            ("/* dpm:holds dpm:hold */ SELECT 1", "holds"),
        ] {
            let hints = of(sql);
            assert_eq!(hints.unknown.as_deref(), Some(unknown.as_bytes()), "{sql}");
        }
        let long = format!("/* dpm:server={} */ SELECT 1", "a".repeat(100_000));
        assert_eq!(of(&long).server, None);
        assert!(of(&long).unknown.unwrap().len() <= MAX_NAME);
    }

    #[test]
    fn query_attributes() {
        let mut hints = Hints::default();
        hints.add_attribute(b"traceparent", b"dpm:hold");
        assert_eq!(hints, Hints::default());
        hints.add_attribute(b"dpm", b"replica, dpm:hold");
        hints.add_attribute(b"dpm:server", b"db-2");
        assert_eq!(hints.role, Some(Role::Replica));
        assert!(hints.hold);
        assert_eq!(hints.server.as_deref(), Some(&b"db-2"[..]));
        hints.add_attribute(b"dpm:primary", b"");
        assert_eq!(hints.role, Some(Role::Primary));
        hints.add_attribute(b"dpm", b"slow");
        assert_eq!(hints.unknown.as_deref(), Some(&b"slow"[..]));
    }
}
