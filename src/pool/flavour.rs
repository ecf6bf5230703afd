//! Which kind of server it is.

/// The two kinds of server, whose sessions differ.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// MariaDB.
    MariaDb,
    /// MySQL, and whatever else does not call itself MariaDB.
    MySql,
}

impl Flavour {
    /// By the version in a server's greeting.
    pub fn of_version(version: &[u8]) -> Flavour {
        match memchr::memmem::find(version, b"MariaDB") {
            Some(_) => Flavour::MariaDb,
            None => Flavour::MySql,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_tell() {
        let of = Flavour::of_version;
        assert_eq!(of(b"5.5.5-10.11.19-MariaDB-log"), Flavour::MariaDb);
        assert_eq!(of(b"9.7.4"), Flavour::MySql);
        assert_eq!(of(b""), Flavour::MySql);
    }
}
