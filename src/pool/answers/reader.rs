//! Reads statements that the proxy may answer by itself, token by token.

use crate::sql::{self, Kind, Mode, Token, Tokens};

/// The most values of one SELECT that are answered by the proxy.
const MAX_ITEMS: usize = 16;

/// The tokens of a text that are code: the present one and the next.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    pub(super) sql: &'a [u8],
    tokens: Tokens<'a>,
    pub(super) now: Option<Token>,
    next: Option<Token>,
}

impl<'a> Reader<'a> {
    /// Before the first token of this text.
    pub(super) fn new(sql: &'a [u8], mode: Mode) -> Reader<'a> {
        let mut reader = Reader {
            sql,
            tokens: Tokens::new(sql, mode),
            now: None,
            next: None,
        };
        reader.step();
        reader.step();
        reader
    }

    /// Steps to the next token.
    pub(super) fn step(&mut self) {
        self.now = self.next.take();
        self.next = self.tokens.by_ref().find(|token| token.kind.is_code());
    }

    fn text_of(&self, token: Option<Token>) -> &'a [u8] {
        token
            .and_then(|token| self.sql.get(token.from..token.to))
            .unwrap_or_default()
    }

    /// The text of the present token; empty at the end.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text_of(self.now)
    }

    /// That of the next one.
    pub(super) fn next_text(&self) -> &'a [u8] {
        self.text_of(self.next)
    }

    /// What the present token is.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.now.map(|token| token.kind)
    }

    /// Whether it is this word, which is in upper case.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind() == Some(Kind::Word) && self.text().eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether it is this operator.
    pub(super) fn is_operator(&self, sign: &[u8]) -> bool {
        self.kind() == Some(Kind::Operator) && self.text() == sign
    }

    /// Steps over this word.
    pub(super) fn takes(&mut self, word: &str) -> bool {
        let is_it = self.is(word);
        if is_it {
            self.step();
        }
        is_it
    }

    /// Steps over this operator.
    pub(super) fn takes_operator(&mut self, sign: &[u8]) -> bool {
        let is_it = self.is_operator(sign);
        if is_it {
            self.step();
        }
        is_it
    }

    /// Whether nothing follows but a semicolon.
    pub(super) fn is_over(&mut self) -> bool {
        self.takes_operator(b";");
        self.now.is_none()
    }
}

/// The list of a SELECT, to its end, with the name of each column. `value` reads one, and tells where
/// its text ends. `None` if there is anything else.
pub(super) fn selected<'a, T>(
    reader: &mut Reader<'a>,
    value: impl Fn(&mut Reader<'a>) -> Option<(T, usize)>,
) -> Option<Vec<(T, &'a [u8])>> {
    let mut items = Vec::new();
    loop {
        let from = reader.now?.from;
        let (what, to) = value(reader)?;
        let name = match alias(reader)? {
            Some(alias) => alias,
            None => reader.sql.get(from..to)?,
        };
        // A name in other characters would have to be converted.
        if !name.is_ascii() || items.len() >= MAX_ITEMS {
            return None;
        }
        items.push((what, name));
        if !reader.takes_operator(b",") {
            break;
        }
    }
    if reader.takes("FROM") {
        reader.takes("DUAL").then_some(())?;
    }
    reader.is_over().then_some(items)
}

/// A column's other name, if there is one; `None` for what is not understood.
fn alias<'a>(reader: &mut Reader<'a>) -> Option<Option<&'a [u8]>> {
    let is_said = reader.takes("AS");
    let text = reader.text();
    let name = match reader.kind() {
        Some(Kind::Quoted | Kind::String) => {
            let [quote @ (b'`' | b'"' | b'\''), inner @ .., last] = text else {
                return None;
            };
            let is_plain = |byte: &u8| byte != quote && *byte != b'\\';
            (quote == last && !inner.is_empty() && inner.iter().all(is_plain)).then_some(inner)?
        }
        // What is a keyword is left to the server, which may refuse it.
        Some(Kind::Word) if !sql::is_reserved(text) => text,
        Some(Kind::Word) if is_said || !reader.is("FROM") => return None,
        _ if is_said => return None,
        _ => return Some(None),
    };
    reader.step();
    Some(Some(name))
}
