//! What MariaDB remembers of `character_set_client` beside its name.

/// The collation that came with `character_set_client`. MariaDB compares texts that are bound to prepared statements by it,
/// as long as the connection has the same character set, and shows it in no variable: `SET NAMES … COLLATE` and logins set it,
/// `SET collation_connection` does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCollation {
    /// That of the connection's login.
    #[default]
    AtLogin,
    /// The default one of the character set.
    OfCharset,
    /// This one.
    Named(Vec<u8>),
}

impl ClientCollation {
    /// What `SET NAMES` makes of it; `collation`: as it was written, if it was.
    pub(super) fn of_names(collation: Option<&[u8]>) -> ClientCollation {
        match collation.map(<[u8]>::to_ascii_lowercase) {
            Some(name) if is_name(&name) && name != b"default" => ClientCollation::Named(name),
            _ => ClientCollation::OfCharset,
        }
    }

    /// Its name, which can be written in a statement as it is, if it is one of this character set.
    pub fn within(&self, charset: &[u8]) -> Option<&[u8]> {
        let ClientCollation::Named(name) = self else {
            return None;
        };
        let rest = name.strip_prefix(charset)?;
        let is_of = rest.is_empty() || rest.starts_with(b"_");
        (is_of && is_name(name)).then_some(name)
    }
}

fn is_name(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && name.len() <= 64 && name.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collation_belongs_to_its_character_set() {
        let bin = ClientCollation::of_names(Some(b"UTF8MB4_BIN"));
        assert_eq!(bin.within(b"utf8mb4"), Some(&b"utf8mb4_bin"[..]));
        assert_eq!(bin.within(b"utf8"), None);
        assert_eq!(ClientCollation::of_names(None).within(b"utf8mb4"), None);
        let hostile = ClientCollation::of_names(Some(b"utf8mb4_bin, autocommit=0"));
        assert_eq!(hostile, ClientCollation::OfCharset);
    }
}
