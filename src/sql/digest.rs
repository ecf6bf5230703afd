//! The common form of statements that differ only in their values, whitespace and comments.

use std::cell::RefCell;

use sha2::{Digest as _, Sha256};

use super::Mode;
use super::tokens::{Doubts, Kind, Token, Tokens};
use super::words::{self, Known};

/// How much memory is kept for the next hash.
const MAX_SCRATCH: usize = 16 << 10;

thread_local! {
    /// Where texts are normalised of which only the hash is wanted.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A normalised statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The normalised text, not shortened.
    pub text: Vec<u8>,
    /// The first half of the text's SHA-256. A firewall relies on it, so it is a cryptographic
    /// hash, for which no attacker can construct a statement with a given value.
    pub hash: [u8; 16],
    /// Whether the server may read the text as another statement.
    pub ambiguous: bool,
}

/// The digest of a text.
pub fn digest(sql: &[u8], mode: Mode) -> Digest {
    normalise(sql, mode, Purpose::Statistics)
}

/// The hash of a text's digest alone, for which no memory is allocated.
pub fn digest_hash(sql: &[u8], mode: Mode) -> [u8; 16] {
    let text = SCRATCH.take();
    let mut digest = normalise_into(text, sql, mode, Purpose::Statistics);
    digest.text.shrink_to(MAX_SCRATCH);
    SCRATCH.set(digest.text);
    digest.hash
}

/// The digest by which a statement is let through: it also has what decides what the statement does
/// without being part of its grammar, namely optimizer hints, as they are written, and the names of
/// variables, however they are quoted.
pub fn guard_digest(sql: &[u8], mode: Mode) -> Digest {
    normalise(sql, mode, Purpose::Guard)
}

/// The first half of a text's SHA-256.
pub fn hash(text: &[u8]) -> [u8; 16] {
    let whole = Sha256::digest(text);
    let mut hash = [0; 16];
    hash.copy_from_slice(&whole[..16]);
    hash
}

/// What a digest is for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Purpose {
    Statistics,
    Guard,
}

/// Writes the text of a digest over what is in `out`, whose memory is used again.
pub fn write_digest(sql: &[u8], mode: Mode, out: &mut Vec<u8>) {
    out.clear();
    (*out, _) = write(std::mem::take(out), sql, mode, Purpose::Statistics);
}

fn normalise(sql: &[u8], mode: Mode, purpose: Purpose) -> Digest {
    let text = Vec::with_capacity(sql.len().min(1024));
    normalise_into(text, sql, mode, purpose)
}

/// The same in a buffer, which becomes the digest's text.
fn normalise_into(mut out: Vec<u8>, sql: &[u8], mode: Mode, purpose: Purpose) -> Digest {
    out.clear();
    let (text, ambiguous) = write(out, sql, mode, purpose);
    Digest {
        hash: hash(&text),
        text,
        ambiguous,
    }
}

/// Adds the text to `out`, which is empty; returns it, and whether it is ambiguous.
fn write(out: Vec<u8>, sql: &[u8], mode: Mode, purpose: Purpose) -> (Vec<u8>, bool) {
    let mut tokens = Tokens::new(sql, mode);
    let mut writer = Writer::new(out, sql, purpose);
    let mut waiting = None;
    // What a word is depends on the next token.
    for token in tokens.by_ref() {
        if writer.is_plain_comment(&token) || writer.is_plain_marker(&token) {
            continue;
        }
        if let Some(before) = waiting.replace(token) {
            writer.write(&before, Some(&token));
        }
    }
    if let Some(last) = waiting {
        writer.write(&last, None);
    }
    (writer.out, mode.is_in_doubt(tokens.doubts()))
}

/// An item of the output, as far as it matters for the next one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Item {
    Start,
    /// `?`, which stands for any value.
    Value,
    /// `?, ...`
    Values,
    /// `...`, in a text that is a digest already.
    Dots,
    Comma,
    /// A parenthesis; after a name that of a call or of a list of columns.
    Open,
    OpenCall,
    /// `IN (`
    OpenIn,
    /// `(?)` and `(?), ...`
    Row,
    Rows,
    /// `(...)` and `(...), ...`
    WideRow,
    WideRows,
    Close,
    /// Signs that belong to a number that may follow.
    Signs,
    Operator,
    /// A dot between names.
    Dot,
    /// A word after which an expression begins.
    Opening,
    /// A word that ends an expression.
    Constant,
    In,
    /// `IS`, `NOT`, `SET`: NULL, TRUE and FALSE are no values here.
    Is,
    /// A word after which a table's name follows, and never an expression.
    Naming,
    /// A word after which a name or an expression follows.
    NamingReserved,
    Word,
    Name,
}

impl Item {
    /// Whether a sign after it is not a binary operator.
    fn starts_expression(self) -> bool {
        use Item::*;
        matches!(
            self,
            Start
                | Comma
                | Open
                | OpenCall
                | OpenIn
                | Signs
                | Operator
                | Opening
                | In
                | Is
                | NamingReserved
        )
    }

    /// Whether a word after it may be a table's name even if it is a keyword.
    fn starts_name(self) -> bool {
        use Item::*;
        matches!(
            self,
            Comma | Open | OpenCall | Naming | NamingReserved | Dot
        )
    }

    /// Whether NULL after it is a value.
    fn starts_value(self) -> bool {
        use Item::*;
        matches!(
            self,
            Comma | Open | OpenCall | OpenIn | Signs | Operator | Opening | NamingReserved
        )
    }
}

/// How many of the last items are kept: as many as may be replaced by one (a list of rows, a comma,
/// and a row with its list and a comma).
const KEPT: usize = 16;

struct Writer<'a> {
    sql: &'a [u8],
    purpose: Purpose,
    out: Vec<u8>,
    /// The last items, and where each begins in the output.
    items: [(Item, usize); KEPT],
    count: usize,
    /// Whether the word before names only tables.
    names_tables: bool,
    /// Whether the statement's first word is still to come; and whether that word is one of a query
    /// or a change, which name columns.
    begins: bool,
    names_columns: bool,
    /// A semicolon is pending: it is written only if something follows it.
    semicolon: bool,
    /// Whether a version comment is open whose markers are part of the output.
    marked: bool,
}

impl<'a> Writer<'a> {
    fn new(out: Vec<u8>, sql: &'a [u8], purpose: Purpose) -> Writer<'a> {
        Writer {
            sql,
            purpose,
            out,
            items: [(Item::Start, 0); KEPT],
            count: 0,
            names_tables: false,
            begins: true,
            names_columns: false,
            semicolon: false,
            marked: false,
        }
    }

    /// The item this far back; 1 is the last one.
    fn last(&self, back: usize) -> Item {
        match self.count.checked_sub(back) {
            Some(at) if back <= KEPT => self.items[at % KEPT].0,
            _ => Item::Start,
        }
    }

    fn push(&mut self, item: Item, from: usize) {
        self.items[self.count % KEPT] = (item, from);
        self.count += 1;
    }

    /// Removes the last items and their output.
    fn pop(&mut self, count: usize) {
        for _ in 0..count {
            self.count -= 1;
            self.out.truncate(self.items[self.count % KEPT].1);
        }
    }

    /// Writes an item, after a space where one belongs.
    fn put(&mut self, item: Item, text: &[u8]) {
        let from = self.out.len();
        if self.wants_space(item) {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(text);
        self.push(item, from);
    }

    fn wants_space(&self, item: Item) -> bool {
        use Item::*;
        match self.last(1) {
            Start => !self.out.is_empty(),
            Open | OpenCall | OpenIn | Dot => false,
            _ => !matches!(item, Comma | Close | OpenCall | Dot),
        }
    }

    fn text(&self, token: &Token) -> &'a [u8] {
        &self.sql[token.from..token.to]
    }

    /// Whether it is a comment that is no part of the digest.
    fn is_plain_comment(&self, token: &Token) -> bool {
        let is_hint = || self.purpose == Purpose::Guard && self.text(token).starts_with(b"/*+");
        token.kind == Kind::Comment && !is_hint()
    }

    /// Whether it is a marker of a comment that every server executes, whose contents are ordinary
    /// code. The markers of a comment that only some servers execute are part of the digest:
    /// otherwise a statement with conditions in such a comment would have the digest of one that
    /// has them everywhere.
    fn is_plain_marker(&mut self, token: &Token) -> bool {
        if token.kind != Kind::VersionComment {
            return false;
        }
        let text = self.text(token);
        if text == b"*/" {
            return !std::mem::take(&mut self.marked);
        }
        let mut reader = Tokens::new(text, Mode::default());
        reader.next();
        self.marked |= reader.doubts().contains(Doubts::CONDITIONAL);
        !self.marked
    }

    fn write(&mut self, token: &Token, next: Option<&Token>) {
        let text = self.text(token);
        if text == b";" && token.kind == Kind::Operator {
            self.semicolon = true;
            return;
        }
        if std::mem::take(&mut self.semicolon) && !self.out.is_empty() {
            self.out.push(b';');
            self.push(Item::Start, self.out.len());
            self.names_tables = false;
            (self.begins, self.names_columns) = (true, false);
        }
        let names_tables = std::mem::take(&mut self.names_tables);
        match token.kind {
            Kind::Number => {
                if self.last(1) == Item::Signs {
                    self.pop(1);
                }
                self.value();
            }
            Kind::String | Kind::Placeholder => self.value(),
            Kind::Word => self.word(text, next, names_tables),
            Kind::Quoted => self.quoted(token, next, names_tables),
            Kind::Variable => self.variable(token),
            Kind::Operator => self.operator(text, next),
            Kind::Comment => {
                self.put(Item::Start, text);
                self.names_tables = names_tables;
            }
            Kind::VersionComment => self.put(Item::Start, text),
        }
    }

    fn value(&mut self) {
        let list = matches!(self.last(2), Item::Value | Item::Values);
        if !list || self.last(1) != Item::Comma {
            return self.put(Item::Value, b"?");
        }
        self.more(Item::Values);
    }

    /// The list in the output stands for one more entry: removes the comma, and writes the list
    /// item.
    fn more(&mut self, list: Item) {
        self.pop(1);
        if self.last(1) != list {
            let (_, from) = self.items[(self.count - 1) % KEPT];
            self.count -= 1;
            self.out.extend_from_slice(b", ...");
            self.push(list, from);
        }
    }

    fn operator(&mut self, text: &[u8], next: Option<&Token>) {
        use Item::*;
        match text {
            b"," => self.put(Comma, text),
            b"(" => match self.last(1) {
                In => self.put(OpenIn, text),
                Name => self.put(OpenCall, text),
                _ => self.put(Open, text),
            },
            b")" => self.close(),
            b"." if self.last(1) == Name && next.is_some_and(|next| self.is_member(next)) => {
                self.put(Dot, text);
            }
            b"..." => match (self.last(2), self.last(1)) {
                (Value | Values, Comma) => self.more(Values),
                (Row | Rows, Comma) => self.more(Rows),
                (WideRow | WideRows, Comma) => self.more(WideRows),
                _ => self.put(Dots, text),
            },
            b"+" | b"-" if self.last(1) == Signs => {
                self.out.push(b' ');
                self.out.extend_from_slice(text);
            }
            b"+" | b"-" if self.last(1).starts_expression() => self.put(Signs, text),
            b"<>" => self.put(Operator, b"!="),
            b"*" if matches!(self.last(1), Dot) => self.put(Constant, text),
            _ => self.put(Operator, text),
        }
    }

    /// Whether the token directly follows a dot that directly follows a name.
    fn is_member(&self, next: &Token) -> bool {
        let text = self.text(next);
        match next.kind {
            // A number after a quoted name.
            Kind::Word if text[0].is_ascii_digit() => self.out.last() != Some(&b'`'),
            Kind::Word => text != b"\\N",
            Kind::Quoted => true,
            _ => text == b"*",
        }
    }

    fn close(&mut self) {
        use Item::*;
        let (row, rows) = match (self.last(2), self.last(1)) {
            (Open | OpenIn | OpenCall, Value) => (Row, Rows),
            (Open | OpenIn | OpenCall, Values | Dots) => (WideRow, WideRows),
            _ => return self.put(Close, b")"),
        };
        let open = self.last(2);
        if row == WideRow || open == OpenIn {
            self.pop(1);
            self.out.extend_from_slice(b"...");
        } else {
            self.count -= 1;
        }
        self.out.push(b')');
        let (_, from) = self.items[(self.count - 1) % KEPT];
        self.count -= 1;
        if open != Open {
            return self.push(Close, from);
        }
        let more = self.last(1) == Comma && (self.last(2) == row || self.last(2) == rows);
        self.push(row, from);
        if more {
            self.pop(1);
            self.more(rows);
        }
    }

    fn word(&mut self, text: &[u8], next: Option<&Token>, names_tables: bool) {
        if text == b"\\N" {
            return self.value();
        }
        let Some(known) = self.keyword(text, next, names_tables) else {
            self.begins = false;
            return self.put(Item::Name, text);
        };
        if std::mem::take(&mut self.begins) {
            self.names_columns = matches!(
                known.name,
                "SELECT"
                    | "WITH"
                    | "INSERT"
                    | "REPLACE"
                    | "UPDATE"
                    | "DELETE"
                    | "EXPLAIN"
                    | "DESCRIBE"
                    | "DESC"
            );
        }
        let item = match known.name {
            "NULL" | "TRUE" | "FALSE" if self.last(1).starts_value() => return self.value(),
            "IN" => Item::In,
            "IS" | "NOT" | "SET" => Item::Is,
            "NULL" | "TRUE" | "FALSE" | "MAXVALUE" | "DUAL" | "DEFAULT" => Item::Constant,
            _ if known.naming => {
                self.names_tables = known.names_tables;
                match known.reserved {
                    true => Item::NamingReserved,
                    false => Item::Naming,
                }
            }
            // INSERT … VALUE (…), (…)
            "VALUE" => Item::Word,
            _ if known.opens => Item::Opening,
            _ if known.reserved => Item::Word,
            _ if next.is_some_and(|next| self.text(next) == b"(") => Item::Name,
            _ => Item::Word,
        };
        self.put(item, known.name.as_bytes());
    }

    /// What this word is here, if it is not a name.
    fn keyword(
        &self,
        text: &[u8],
        next: Option<&Token>,
        names_tables: bool,
    ) -> Option<&'static Known> {
        let next = next.map_or(&b""[..], |next| self.text(next));
        if self.last(1) == Item::Dot || next == b"." {
            return None;
        }
        let known = words::lookup(text)?;
        if known.reserved || known.name == "DUPLICATE" {
            return Some(known);
        }
        // The server's configuration decides whether table names are case sensitive, so names keep
        // their case, and so do keywords where they may be names. Names of functions are case
        // insensitive.
        let may_be_name = match next {
            b"(" => names_tables,
            _ if !known.keyword || self.last(1).starts_name() => true,
            _ => self.names_columns && !known.syntax,
        };
        (!may_be_name).then_some(known)
    }

    fn quoted(&mut self, token: &Token, next: Option<&Token>, names_tables: bool) {
        self.begins = false;
        let text = self.text(token);
        let quote = text[0];
        let inner = match token.unterminated {
            true => &text[1..],
            false => &text[1..text.len() - 1],
        };
        let is_plain = inner
            .first()
            .is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
            && inner
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'));
        let is_word = || match (self.last(1), words::lookup(inner)) {
            (Item::Dot, _) | (_, None) => false,
            (_, Some(known)) => known.reserved || self.keyword(inner, next, names_tables).is_some(),
        };
        if is_plain && !is_word() {
            return self.put(Item::Name, inner);
        }
        self.put(Item::Name, b"`");
        if quote == b'`' {
            self.out.extend_from_slice(inner);
        } else {
            let mut rest = inner;
            while let Some((byte, behind)) = rest.split_first() {
                let doubled = *byte == quote && behind.first() == Some(&quote);
                rest = if doubled { &behind[1..] } else { behind };
                self.out.push(*byte);
                if *byte == b'`' {
                    self.out.push(b'`');
                }
            }
        }
        self.out.push(b'`');
    }

    /// Both kinds of variables are case insensitive. With other quotes it may be the host of an
    /// account instead.
    fn variable(&mut self, token: &Token) {
        let text = self.text(token);
        if self.purpose == Purpose::Statistics && matches!(text.get(1), Some(b'\'' | b'"')) {
            self.put(Item::Operator, b"@");
            return self.value();
        }
        self.put(Item::Constant, b"");
        let from = self.out.len();
        let is_plain = |name: &[u8]| {
            let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.');
            !name.is_empty() && name.iter().all(fits)
        };
        let name = text.strip_prefix(b"@`");
        let name = name.map(|name| &name[..name.len() - usize::from(!token.unterminated)]);
        if let Some(name) = name.filter(|name| is_plain(name)) {
            self.out.push(b'@');
            self.out.extend_from_slice(name);
        } else {
            self.out.extend_from_slice(text);
            if token.unterminated {
                self.out.push(b'`');
            }
        }
        self.out[from..].make_ascii_lowercase();
    }
}

#[cfg(test)]
mod tests;
