//! SQL helpers: `dpm.tokenize`, `dpm.find_word`, `dpm.trim_sql`, `dpm.digest`, `dpm.statement_kind`
//! and `dpm.mode_after`.

use std::collections::HashSet;

use mlua::{Lua, MultiValue, Value};

use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, nothing, one, string};
use crate::script::lua::option_table::OptionTable;
use crate::sql::{self, Changes, Kind, Mode, Tokens, effects, is_plain_charset};

/// The default limit on the length of a digest's text.
const MAX_LENGTH: usize = 4096;

/// A character set for those in which texts are read alike, as half of no character is ASCII.
const PLAIN: &str = "utf8mb4";

/// The most tokens that become Lua tables. Each takes a quarter of a kilobyte, and a client's text may
/// have one in every byte.
const MOST_TOKENS: usize = 100_000;

/// The options of all these functions.
pub(super) struct Options {
    pub(super) mode: Mode,
    max_length: usize,
    /// Only tokens of this kind are returned.
    kind: Option<String>,
    /// The most tokens that are returned.
    limit: usize,
    /// Whether hints are part of a digest.
    hints: bool,
    /// Whether a digest's hash is that of the text itself.
    exact: bool,
}

pub(super) const MODES: &[&str] = &["no_backslash_escapes", "ansi_quotes", "charset"];
const TOKENS: &[&str] = &[
    "no_backslash_escapes",
    "ansi_quotes",
    "charset",
    "kind",
    "limit",
];
const DIGEST: &[&str] = &[
    "no_backslash_escapes",
    "ansi_quotes",
    "charset",
    "max_length",
    "hints",
    "exact",
];

pub(super) fn options(args: &Args, index: usize, known: &[&str]) -> Result<Options, ScriptError> {
    let mut options = Options {
        mode: Mode::default(),
        max_length: MAX_LENGTH,
        kind: None,
        limit: MOST_TOKENS + 1,
        hints: false,
        exact: false,
    };
    let Some(table) = OptionTable::argument(args, index, known)? else {
        return Ok(options);
    };
    options.mode.no_backslash_escapes = table.boolean("no_backslash_escapes")?;
    options.mode.ansi_quotes = table.boolean("ansi_quotes")?;
    let wanted = "the name of a character set, such as \"utf8mb4\"";
    let charset = table.read("charset", wanted, |value| {
        is_plain_charset(&value.as_string()?.to_string_lossy())
    })?;
    options.mode.plain_charset = charset.unwrap_or(options.mode.plain_charset);
    options.kind = table.text("kind")?;
    let limit = table.positive("limit", MOST_TOKENS as u64)?;
    options.limit = limit.unwrap_or(options.limit);
    options.hints = table.boolean("hints")?.unwrap_or(false);
    options.exact = table.boolean("exact")?.unwrap_or(false);
    let max_length = table.positive("max_length", 1 << 30)?;
    options.max_length = max_length.unwrap_or(options.max_length);
    Ok(options)
}

fn boolean(boolean: bool) -> Value {
    Value::Boolean(boolean)
}

/// A position as Lua counts it.
fn place(at: usize) -> Value {
    Value::Number((at + 1) as f64)
}

/// An array of tokens. Those of a text that has too many are refused, rather than given in part: who
/// judges a text by its tokens must see all of them.
pub fn tokenize(lua: &Lua, args: &Args) -> Answer {
    let sql = args.string(0, "sql")?.as_bytes();
    let options = options(args, 1, TOKENS)?;
    let names = ["kind", "text", "from", "to", "unterminated"];
    let [kind, text, from, to, unterminated] = names.map(|name| lua.create_string(name));
    let (kind, text, from, to, unterminated) = (kind?, text?, from?, to?, unterminated?);
    let result = lua.create_table()?;
    let mut tokens = Tokens::new(&sql, options.mode);
    let mut opener = None;
    let mut left = options.limit;
    while let Some(token) = tokens.next() {
        let wanted = options.kind.as_deref();
        if wanted.is_some_and(|kind| kind != token.kind.name()) {
            continue;
        }
        if left == 0 {
            break;
        }
        left -= 1;
        if left == 0 && options.limit > MOST_TOKENS {
            return Err(args.error(format_args!("the text has more than {MOST_TOKENS} tokens")));
        }
        let entry = lua.create_table_with_capacity(0, 4)?;
        entry.raw_set(&kind, token.kind.name())?;
        entry.raw_set(&text, lua.create_string(&sql[token.from..token.to])?)?;
        entry.raw_set(&from, place(token.from))?;
        entry.raw_set(&to, token.to as f64)?;
        if token.unterminated {
            entry.raw_set(&unterminated, true)?;
        }
        result.raw_push(&entry)?;
        if token.kind == Kind::VersionComment {
            opener = tokens.in_version_comment().then_some(entry);
        }
    }
    if let Some(opener) = opener {
        opener.raw_set(&unterminated, true)?;
    }
    one(Value::Table(result))
}

/// The first word or name of a text that is among those given, in upper case and without its quotes.
pub fn find_word(lua: &Lua, args: &Args) -> Answer {
    let sql = args.string(0, "sql")?.as_bytes();
    let mut wanted = HashSet::new();
    for pair in args.table(1, "words")?.pairs::<Value, Value>() {
        let (Value::String(word), _) = pair? else {
            return Err(args.expected(1, "words", "a table whose keys are words in upper case"));
        };
        wanted.insert(word.as_bytes().to_vec());
    }
    let options = options(args, 2, MODES)?;
    let mut word = Vec::new();
    for token in Tokens::new(&sql, options.mode) {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        let is_name = match token.kind {
            Kind::Word | Kind::Quoted => true,
            Kind::String => options.mode.ansi_quotes.is_none() && text.starts_with(b"\""),
            _ => false,
        };
        if !is_name {
            continue;
        }
        word.clear();
        word.extend(text.iter().filter(|byte| !matches!(byte, b'`' | b'"')));
        word.make_ascii_uppercase();
        if wanted.contains(&word) {
            return string(lua, &word);
        }
    }
    nothing()
}

/// The text without what is around its statements.
pub fn trim(lua: &Lua, args: &Args) -> Answer {
    let sql = args.string(0, "sql")?.as_bytes();
    let options = options(args, 1, MODES)?;
    one(Value::String(
        lua.create_string(sql::trim(&sql, options.mode))?,
    ))
}

/// The normalised text, its hash, and whether the server may read another statement.
pub fn digest(lua: &Lua, args: &Args) -> Answer {
    let options = options(args, 1, DIGEST)?;
    let sql = args.string(0, "sql")?.as_bytes();
    let mut digest = match options.hints {
        true => sql::guard_digest(&sql, options.mode),
        false => sql::digest(&sql, options.mode),
    };
    if options.exact {
        digest.hash = sql::hash(&sql);
    }
    let text = cut(&digest.text, options.max_length);
    let half = |half: u8| b"0123456789abcdef"[usize::from(half)];
    let mut hash = [0; 32];
    for (digits, byte) in hash.chunks_exact_mut(2).zip(digest.hash) {
        digits.copy_from_slice(&[half(byte >> 4), half(byte & 15)]);
    }
    Ok(MultiValue::from_vec(vec![
        Value::String(lua.create_string(text)?),
        Value::String(lua.create_string(hash)?),
        boolean(digest.ambiguous),
    ]))
}

/// The first bytes of a text, without a character of UTF-8 that is cut in two.
fn cut(text: &[u8], max: usize) -> &[u8] {
    if text.len() <= max {
        return text;
    }
    let is_inside = |at: usize| text[at] & 0xC0 == 0x80;
    let end = (max.saturating_sub(3)..=max)
        .rev()
        .find(|at| !is_inside(*at));
    &text[..end.unwrap_or(max)]
}

/// The verb, and a table of what is known of the text; nothing if it has no statement.
pub fn statement_kind(lua: &Lua, args: &Args) -> Answer {
    let options = options(args, 1, MODES)?;
    let statement = sql::statement(&args.string(0, "sql")?.as_bytes(), options.mode);
    let Some(statement) = statement else {
        return nothing();
    };
    let info = lua.create_table_with_capacity(0, 8)?;
    info.raw_set("read_only", statement.read_only)?;
    info.raw_set("locking", statement.locking)?;
    info.raw_set("into", statement.into)?;
    info.raw_set("selects_into", statement.selects_into)?;
    info.raw_set("assigns", statement.changes.contains(Changes::ASSIGNMENT))?;
    info.raw_set("has_select", statement.has_select)?;
    info.raw_set("multi", statement.multi as f64)?;
    info.raw_set("explainable", statement.explainable)?;
    info.raw_set("main_from", place(statement.main_from))?;
    info.raw_set("ambiguous", statement.ambiguous)?;
    Ok(MultiValue::from_vec(vec![
        Value::String(lua.create_string(statement.kind)?),
        Value::Table(info),
    ]))
}

/// What is known of a session's mode once a text has succeeded, in the form of these functions'
/// options.
pub fn mode_after(lua: &Lua, args: &Args) -> Answer {
    let before = options(args, 1, MODES)?.mode;
    let mode = effects::mode_after(&args.string(0, "sql")?.as_bytes(), before);
    let table = lua.create_table_with_capacity(0, 3)?;
    table.raw_set("no_backslash_escapes", mode.no_backslash_escapes)?;
    table.raw_set("ansi_quotes", mode.ansi_quotes)?;
    table.raw_set("charset", mode.plain_charset.then_some(PLAIN))?;
    one(Value::Table(table))
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut(b"abc", 3), b"abc");
        assert_eq!(cut(b"abc", 2), b"ab");
        assert_eq!(cut("aé".as_bytes(), 2), b"a");
        assert_eq!(cut("aé€".as_bytes(), 5), "aé".as_bytes());
        assert_eq!(cut(b"\x80\x80\x80\x80\x80\x80", 4), b"\x80\x80\x80\x80");
    }
}
