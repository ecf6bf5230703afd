//! SQL as text: tokens, digests, and what a statement does as far as its words tell. Pure functions
//! on bytes.
//!
//! Why a tokenizer of our own: that of sqlparser takes `&str`, while statements may be in any
//! character set; fails on unterminated input; drops the versions of executable comments and
//! ignores `/*M! */`; reads `1e` and `0x` as numbers, has no SQL modes, and allocates for each
//! token (20 times slower).
//!
//! - [`Tokens`]: the tokens as the servers' own lexers read them, with [`Doubts`] where lexers
//!   would differ
//! - [`trim`]: a text without what is around its statements
//! - [`comments`]: its comments
//! - [`body`] and [`parts`]: the statements of a stored routine or trigger
//! - [`digest`]: the common form of statements that differ only in their values
//! - [`write_summary`]: what it does, and to which tables, in a few words
//! - [`statement`]: what a statement does, and what can be proven about it
//! - [`effects`]: what it does to its session
//! - [`kills`]: whom its KILLs are for
//! - [`tables`]: the tables that it reads and writes
//! - `words`: keywords and built-in functions

mod bodies;
mod comments;
mod digest;
pub mod effects;
mod kills;
mod statement;
mod summary;
mod tables;
mod tokens;
mod words;

#[cfg(test)]
mod properties;

pub use bodies::{Part, body, parts};
pub use comments::comments;
pub use digest::{Digest, digest, digest_hash, guard_digest, hash, write_digest};
pub use kills::{Kill, Target, kills};
pub use statement::{Changes, Statement, statement};
pub use summary::write_summary;
pub use tables::{Access, Name, Tables, Use, Ways, tables};
pub use tokens::{Doubts, Kind, Token, Tokens, trim};

/// Whether a word, unquoted, can be no name on one of the servers.
pub fn is_reserved(word: &[u8]) -> bool {
    words::lookup(word).is_some_and(|known| known.reserved)
}

/// What is known of the session that the text is sent in. It decides where strings end.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct Mode {
    /// `NO_BACKSLASH_ESCAPES`; assumed to be false if it is not known.
    pub no_backslash_escapes: Option<bool>,
    /// `ANSI_QUOTES`; assumed to be false if it is not known.
    pub ansi_quotes: Option<bool>,
    /// Whether the character set has no character whose second byte is ASCII.
    pub plain_charset: bool,
}

impl Mode {
    /// What is known of a session that has either this mode or the other.
    pub fn common(self, other: Mode) -> Mode {
        let both = |one: Option<bool>, two| one.filter(|_| one == two);
        Mode {
            no_backslash_escapes: both(self.no_backslash_escapes, other.no_backslash_escapes),
            ansi_quotes: both(self.ansi_quotes, other.ansi_quotes),
            plain_charset: self.plain_charset && other.plain_charset,
        }
    }
}

/// Whether a character set, by its name, has no character whose second byte is ASCII; `None` if
/// servers do not have it.
pub fn is_plain_charset(name: &str) -> Option<bool> {
    const PLAIN: &str = "utf8mb4 utf8mb3 utf8 latin1 ascii binary armscii8 cp1250 cp1251 cp1256 cp1257 \
        cp850 cp852 cp866 dec8 eucjpms euckr gb2312 geostd8 greek hebrew hp8 keybcs2 koi8r koi8u latin2 \
        latin5 latin7 macce macroman swe7 tis620 ujis";
    const OTHERS: &str = "big5 cp932 gb18030 gbk sjis";
    let is_in = |list: &str| {
        list.split_ascii_whitespace()
            .any(|one| one.eq_ignore_ascii_case(name))
    };
    match is_in(PLAIN) {
        true => Some(true),
        false => is_in(OTHERS).then_some(false),
    }
}
