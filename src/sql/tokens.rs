//! Splits SQL into tokens, as the servers' own lexers do.

use bitflags::bitflags;
use memchr::{memchr, memchr2};

use super::Mode;

/// What a token is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or an unquoted name; also `\N`.
    Word,
    /// A name in backquotes, or in double quotes where those quote names.
    Quoted,
    /// `'x'`, `"x"`, `N'x'`, `x'AB'`, `b'01'`.
    String,
    /// `1`, `1.5e+10`, `0xAB`, `0b01`.
    Number,
    /// `?`.
    Placeholder,
    /// `@x`, `@'x'`, `@@global.x`.
    Variable,
    /// Any other code.
    Operator,
    /// A comment that no server executes.
    Comment,
    /// Either end of a comment that servers may execute: `/*!50000` or `*/`.
    VersionComment,
}

impl Kind {
    /// The name that scripts use.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Word => "word",
            Kind::Quoted => "quoted",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Placeholder => "placeholder",
            Kind::Variable => "variable",
            Kind::Operator => "operator",
            Kind::Comment => "comment",
            Kind::VersionComment => "version_comment",
        }
    }

    /// Whether it is more than a comment to a server.
    pub fn is_code(self) -> bool {
        !matches!(self, Kind::Comment | Kind::VersionComment)
    }
}

/// A piece of SQL.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub from: usize,
    /// Where it ends: the position of the byte after it.
    pub to: usize,
    /// Whether the input ended before the token did.
    pub unterminated: bool,
}

bitflags! {
    /// Why another reader may read the same text differently.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
    pub struct Doubts: u8 {
        /// A quote after a backslash: its meaning depends on `NO_BACKSLASH_ESCAPES`.
        const ESCAPED_QUOTE = 1;
        /// A double quote: its meaning depends on `ANSI_QUOTES`.
        const DOUBLE_QUOTE = 2;
        /// A comment that some servers execute and others skip.
        const CONDITIONAL = 4;
        /// A byte that in some character sets is half of a character.
        const CHARSET = 8;
        /// Input that is an error on servers, or that they do not all read in the same way.
        const ODD = 16;
    }
}

/// All servers in use (from MySQL 5.6 and MariaDB 10.0 on) execute comments up to this version.
/// Beyond it they differ: MariaDB skips comments for MySQL 5.7 and later.
const EXECUTED_BY_ALL: u32 = 50_600;

/// An iterator over the tokens of SQL, including comments. Only whitespace is skipped.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
    /// Whether backslashes are escapes in strings.
    escapes: bool,
    ansi_quotes: bool,
    /// Whether a version comment is open, whose contents are code.
    in_version_comment: bool,
    /// Where the last word ended, and the last dot.
    word_end: usize,
    dot_end: usize,
    doubts: Doubts,
}

impl<'a> Tokens<'a> {
    /// The tokens of this text. What the mode leaves open is as in servers by default.
    pub fn new(sql: &'a [u8], mode: Mode) -> Tokens<'a> {
        Tokens {
            sql,
            at: 0,
            escapes: !mode.no_backslash_escapes.unwrap_or(false),
            ansi_quotes: mode.ansi_quotes.unwrap_or(false),
            in_version_comment: false,
            word_end: usize::MAX,
            dot_end: usize::MAX,
            doubts: Doubts::empty(),
        }
    }

    /// What has been found so far that may be read differently.
    pub fn doubts(&self) -> Doubts {
        self.doubts
    }

    /// Whether a version comment is open: at the end of the input, it is unterminated.
    pub fn in_version_comment(&self) -> bool {
        self.in_version_comment
    }

    /// The byte at this distance; 0 beyond the end.
    fn peek(&self, offset: usize) -> u8 {
        self.sql.get(self.at + offset).copied().unwrap_or(0)
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.sql.len()
    }

    /// In GBK and similar character sets a backslash or a backquote may be the second half of a
    /// character.
    fn doubt_half(&mut self, at: usize) {
        if at > 0 && self.sql[at - 1] >= 0x80 {
            self.doubts |= Doubts::CHARSET;
        }
    }

    fn skip_while(&mut self, class: u8) {
        while self.at < self.sql.len() && CLASS[usize::from(self.sql[self.at])] & class != 0 {
            self.at += 1;
        }
    }

    fn operator(&mut self, len: usize) -> (Kind, bool) {
        self.at += len;
        (Kind::Operator, true)
    }

    fn word(&mut self) -> (Kind, bool) {
        self.skip_while(NAME);
        self.word_end = self.at;
        (Kind::Word, true)
    }

    /// Reads a string, from the opening quote on.
    fn string(&mut self) -> bool {
        let quote = self.sql[self.at];
        if !self.escapes {
            return self.until_quote();
        }
        self.at += 1;
        while let Some(found) = self
            .sql
            .get(self.at..)
            .and_then(|rest| memchr2(quote, b'\\', rest))
        {
            let at = self.at + found;
            if self.sql[at] == quote {
                self.at = at + 1;
                if self.peek(0) != quote || self.is_at_end() {
                    return true;
                }
                self.at += 1;
                continue;
            }
            self.doubt_half(at);
            if self.sql.get(at + 1) == Some(&quote) {
                self.doubts |= Doubts::ESCAPED_QUOTE;
            }
            self.at = at + 2;
        }
        self.at = self.sql.len();
        false
    }

    /// The same where only doubling escapes a quote.
    fn until_quote(&mut self) -> bool {
        let quote = self.sql[self.at];
        self.at += 1;
        while let Some(found) = self.sql.get(self.at..).and_then(|rest| memchr(quote, rest)) {
            self.at += found + 1;
            if self.sql.get(self.at) != Some(&quote) {
                return true;
            }
            self.at += 1;
        }
        self.at = self.sql.len();
        false
    }

    fn backquoted(&mut self) -> bool {
        self.doubt_half(self.at);
        let from = self.at;
        let terminated = self.until_quote();
        // Any backquote in it may be the second half of a character.
        let inside = &self.sql[from + 1..self.at];
        let halves = || {
            inside
                .windows(2)
                .any(|pair| pair[0] >= 0x80 && pair[1] == b'`')
        };
        if !self.doubts.contains(Doubts::CHARSET) && halves() {
            self.doubts |= Doubts::CHARSET;
        }
        terminated
    }

    fn double_quoted(&mut self) -> (Kind, bool) {
        self.doubts |= Doubts::DOUBLE_QUOTE;
        if self.ansi_quotes {
            return (Kind::Quoted, self.until_quote());
        }
        (Kind::String, self.string())
    }

    /// To the end of the line or to a NUL, where servers end it, too.
    fn line_comment(&mut self) -> (Kind, bool) {
        let rest = &self.sql[self.at..];
        self.at += memchr2(b'\n', 0, rest).unwrap_or(rest.len());
        (Kind::Comment, true)
    }

    fn slash(&mut self) -> (Kind, bool) {
        if self.peek(1) != b'*' {
            return self.operator(1);
        }
        let mariadb_only = self.peek(2) == b'M' && self.peek(3) == b'!';
        if mariadb_only || self.peek(2) == b'!' {
            return self.open_version_comment(mariadb_only);
        }
        let from = self.at;
        let rest = &self.sql[from + 2..];
        let len = memchr::memmem::find(rest, b"*/");
        self.at = len.map_or(self.sql.len(), |len| from + 2 + len + 2);
        // Servers parse optimizer hints by separate rules, in which quotes have a meaning.
        let is_quote = |byte: &u8| matches!(byte, b'`' | b'"' | b'\'');
        if self.sql.get(from + 2) == Some(&b'+') && self.sql[from..self.at].iter().any(is_quote) {
            self.doubts |= Doubts::ODD;
        }
        (Kind::Comment, len.is_some())
    }

    /// `/*!` or `/*M!`, and the version after it, if any.
    fn open_version_comment(&mut self, mariadb_only: bool) -> (Kind, bool) {
        self.at += if mariadb_only { 4 } else { 3 };
        let rest = &self.sql[self.at..];
        let digits = rest
            .iter()
            .take(6)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let version = rest[..digits]
            .iter()
            .fold(0, |version, digit| version * 10 + u32::from(digit - b'0'));
        if digits >= 5 {
            self.at += digits;
        }
        // Old servers treat the sixth digit as code.
        let by_all = digits < 5 || digits == 5 && version <= EXECUTED_BY_ALL;
        if mariadb_only || !by_all {
            self.doubts |= Doubts::CONDITIONAL;
        }
        self.in_version_comment = true;
        (Kind::VersionComment, true)
    }

    fn minus(&mut self) -> (Kind, bool) {
        match (self.peek(1), self.peek(2)) {
            (b'-', next) if self.at + 2 >= self.sql.len() || next <= b' ' || next == 0x7F => {
                self.line_comment()
            }
            (b'-', 0x80..) => {
                // Whitespace in some character sets.
                self.doubts |= Doubts::CHARSET;
                self.operator(1)
            }
            (b'>', b'>') => self.operator(3),
            (b'>', _) => self.operator(2),
            _ => self.operator(1),
        }
    }

    /// From a digit on, or from a dot before one.
    fn number(&mut self) -> (Kind, bool) {
        let from = self.at;
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'b') {
            let class = if self.peek(1) == b'x' { HEX } else { BINARY };
            self.at += 2;
            self.skip_while(class);
            if self.at > from + 2 && !is(self.peek(0), NAME) {
                return (Kind::Number, true);
            }
            self.at = from;
            return self.word();
        }
        self.skip_while(DIGIT);
        if self.peek(0) != b'.' && is(self.peek(0), NAME) {
            // `1e5` is a number, `1e` and `1a` are names.
            if !self.exponent() {
                self.at = from;
                return self.word();
            }
            return (Kind::Number, true);
        }
        if self.peek(0) != b'.' || self.peek(0) == b'.' && self.peek(1) == b'.' && self.at > from {
            return (Kind::Number, true);
        }
        self.at += 1;
        self.skip_while(DIGIT);
        if matches!(self.peek(0), b'e' | b'E') && !self.exponent() {
            // Some versions read `1.e` as one token, and what follows as the next one.
            self.doubts |= Doubts::ODD;
        }
        (Kind::Number, true)
    }

    /// Reads an exponent, if there is one here.
    fn exponent(&mut self) -> bool {
        if !matches!(self.peek(0), b'e' | b'E') {
            return false;
        }
        let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
        if !self.peek(1 + sign).is_ascii_digit() {
            return false;
        }
        self.at += 1 + sign;
        self.skip_while(DIGIT);
        true
    }

    fn dot(&mut self) -> (Kind, bool) {
        let names = self.word_end == self.at;
        if self.peek(1).is_ascii_digit() && !names {
            return self.number();
        }
        // Not SQL, but digests contain it.
        if self.peek(1) == b'.' && self.peek(2) == b'.' {
            return self.operator(3);
        }
        self.dot_end = self.at + 1;
        self.operator(1)
    }

    fn variable(&mut self) -> (Kind, bool) {
        match self.peek(1) {
            b'@' => self.system_variable(),
            b'`' => {
                self.at += 1;
                (Kind::Variable, self.backquoted())
            }
            b'\'' => {
                self.at += 1;
                (Kind::Variable, self.string())
            }
            b'"' => {
                self.at += 1;
                let (_, terminated) = self.double_quoted();
                (Kind::Variable, terminated)
            }
            next if is(next, VARIABLE) => {
                self.at += 1;
                self.skip_while(VARIABLE);
                (Kind::Variable, true)
            }
            _ => self.operator(1),
        }
    }

    fn system_variable(&mut self) -> (Kind, bool) {
        self.at += 2;
        loop {
            if self.peek(0) == b'`' {
                if !self.backquoted() {
                    return (Kind::Variable, false);
                }
            } else {
                self.skip_while(NAME);
            }
            let next = self.peek(1);
            if self.peek(0) != b'.' || !(is(next, NAME) || next == b'`') {
                return (Kind::Variable, true);
            }
            self.at += 1;
        }
    }

    fn other(&mut self, first: u8) -> (Kind, bool) {
        let len = match (first, self.peek(1), self.peek(2)) {
            (b'<', b'=', b'>') => 3,
            (b'<', b'=' | b'>' | b'<', _)
            | (b'>', b'=' | b'>', _)
            | (b'!' | b':', b'=', _)
            | (b'&', b'&', _)
            | (b'|', b'|', _) => 2,
            // A NUL ends the text on some servers; brackets quote names in a mode of MariaDB.
            (0 | b'[', ..) => {
                self.doubts |= Doubts::ODD;
                1
            }
            _ => 1,
        };
        self.operator(len)
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_while(SPACE);
        let from = self.at;
        let first = *self.sql.get(from)?;
        let (kind, terminated) = if self.dot_end == from && is(first, NAME) {
            self.word()
        } else {
            match first {
                b'x' | b'X' | b'b' | b'B' | b'n' | b'N' if self.peek(1) == b'\'' => {
                    self.at += 1;
                    (Kind::String, self.string())
                }
                b'0'..=b'9' => self.number(),
                b'\'' => (Kind::String, self.string()),
                b'"' => self.double_quoted(),
                b'`' => (Kind::Quoted, self.backquoted()),
                b'.' => self.dot(),
                b'@' => self.variable(),
                b'?' => {
                    self.at += 1;
                    (Kind::Placeholder, true)
                }
                b'/' => self.slash(),
                b'*' if self.in_version_comment && self.peek(1) == b'/' => {
                    self.in_version_comment = false;
                    self.at += 2;
                    (Kind::VersionComment, true)
                }
                b'-' => self.minus(),
                b'#' => self.line_comment(),
                b'\\' => {
                    self.doubt_half(from);
                    let null = self.peek(1) == b'N';
                    self.at += 1 + usize::from(null);
                    (if null { Kind::Word } else { Kind::Operator }, true)
                }
                _ if is(first, NAME) => self.word(),
                _ => self.other(first),
            }
        };
        Some(Token {
            kind,
            from,
            to: self.at,
            unterminated: !terminated,
        })
    }
}

/// The text without the whitespace, comments and semicolons around it.
pub fn trim(sql: &[u8], mode: Mode) -> &[u8] {
    let is_around =
        |token: &Token| token.kind == Kind::Comment || &sql[token.from..token.to] == b";";
    let mut inside = Tokens::new(sql, mode).filter(|token| !is_around(token));
    let Some(first) = inside.next() else {
        return &[];
    };
    let end = inside.last().unwrap_or(first).to;
    &sql[first.from..end]
}

const SPACE: u8 = 1;
const NAME: u8 = 2;
const DIGIT: u8 = 4;
const HEX: u8 = 8;
const BINARY: u8 = 16;
const VARIABLE: u8 = 32;

static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if matches!(b, b' ' | 9..=13) {
            class[byte] |= SPACE;
        }
        if b.is_ascii_alphanumeric() || b == b'_' || b == b'$' {
            class[byte] |= NAME | VARIABLE;
        }
        if b >= 0x80 {
            class[byte] |= NAME | VARIABLE;
        }
        if b == b'.' {
            class[byte] |= VARIABLE;
        }
        if b.is_ascii_digit() {
            class[byte] |= DIGIT;
        }
        if b.is_ascii_hexdigit() {
            class[byte] |= HEX;
        }
        if matches!(b, b'0' | b'1') {
            class[byte] |= BINARY;
        }
        byte += 1;
    }
    class
};

fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

impl Mode {
    /// Whether the server may read a text with these doubts differently.
    pub(super) fn is_in_doubt(self, doubts: Doubts) -> bool {
        let decided = [
            (self.no_backslash_escapes.is_some(), Doubts::ESCAPED_QUOTE),
            (self.ansi_quotes.is_some(), Doubts::DOUBLE_QUOTE),
            (self.plain_charset, Doubts::CHARSET),
        ];
        let left = decided
            .iter()
            .filter(|(decided, _)| *decided)
            .fold(doubts, |left, (_, doubt)| left - *doubt);
        !left.is_empty()
    }
}

#[cfg(test)]
mod tests;
