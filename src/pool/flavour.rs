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

    /// The number by which it is written down.
    pub fn number(self) -> u64 {
        match self {
            Flavour::MariaDb => 1,
            Flavour::MySql => 2,
        }
    }

    /// The one that was written down so.
    pub fn of_number(number: u64) -> Option<Flavour> {
        [Flavour::MariaDb, Flavour::MySql]
            .into_iter()
            .find(|one| one.number() == number)
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
