//! Statements that set what is reported, or ask for it.

use super::variables::Tracker;
use crate::pool::answers::reader::{Reader, selected};
use crate::sql::effects::Value;
use crate::sql::{Kind, Mode};

/// What all of the names begin with.
const PREFIX: &[u8] = b"session_track_";
/// The longest pattern of a SHOW VARIABLES that the proxy answers.
const MAX_PATTERN: usize = 64;

/// One variable that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which.
    pub tracker: Tracker,
    /// To what.
    pub value: Value,
    /// Whether the value was in quotes.
    pub is_quoted: bool,
}

/// What a statement says about trackers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// Nothing.
    Nothing,
    /// It sets some.
    Sets {
        /// Which.
        settings: Vec<Setting>,
        /// The statement without them, if it sets something else, too.
        rest: Option<Vec<u8>>,
    },
    /// It asks for nothing else: which they are, and the columns' names.
    Selects(Vec<(Tracker, &'a [u8])>),
    /// SHOW VARIABLES with a pattern that nothing else fits.
    Lists(Vec<u8>),
    /// It uses them in a form that only a server could answer, and the server has other values.
    Otherwise,
}

/// What a text says about trackers. Strings and comments do not count, nor does what a definition
/// says.
pub fn said(sql: &[u8], mode: Mode) -> Said<'_> {
    if !mentions(sql) {
        return Said::Nothing;
    }
    let mut reader = Reader::new(sql, mode);
    if reader.is("SET") {
        reader.step();
        if let Some(said) = set(reader.clone()) {
            return said;
        }
    } else if reader.takes("SELECT") {
        if let Some(items) = selected(&mut reader.clone(), item) {
            return Said::Selects(items);
        }
    } else if reader.takes("SHOW") {
        return match list(&mut reader) {
            Some(pattern) => Said::Lists(pattern),
            None => Said::Nothing,
        };
    } else if reader.is("CREATE") || reader.is("ALTER") {
        return Said::Nothing;
    }
    match uses(reader) {
        true => Said::Otherwise,
        false => Said::Nothing,
    }
}

/// A quick look, which spares most texts the reading.
fn mentions(sql: &[u8]) -> bool {
    // In a pattern an underscore may be escaped.
    memchr::memchr_iter(b'_', sql).any(|at| {
        let rest = sql.get(at + 1..).unwrap_or_default();
        let is_next = |word: &[u8]| {
            rest.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        let before = sql.get(..at).unwrap_or_default();
        let before = before.strip_suffix(b"\\").unwrap_or(before);
        is_next(b"track")
            && before.len() >= 7
            && before[before.len() - 7..].eq_ignore_ascii_case(b"session")
    })
}

/// Whether one of the variables is used anywhere in the rest.
fn uses(mut reader: Reader<'_>) -> bool {
    while reader.now.is_some() {
        let text = reader.text();
        let is_variable = reader.kind() == Some(Kind::Variable)
            && text.starts_with(b"@@")
            && text
                .to_ascii_lowercase()
                .windows(PREFIX.len())
                .any(|part| part == PREFIX);
        let is_scoped = reader.kind() == Some(Kind::Variable) && reader.next_text() == b".";
        if is_variable {
            return true;
        }
        if is_scoped {
            reader.step();
            reader.step();
            if name_of(reader.text())
                .to_ascii_lowercase()
                .starts_with(PREFIX)
            {
                return true;
            }
        }
        reader.step();
    }
    false
}

fn name_of(text: &[u8]) -> &[u8] {
    let name = text.strip_prefix(b"`").unwrap_or(text);
    name.strip_suffix(b"`").unwrap_or(name)
}

/// `@@session_track_schema` in a SELECT.
fn item(reader: &mut Reader<'_>) -> Option<(Tracker, usize)> {
    let text = reader.text().strip_prefix(b"@@")?;
    let lower = text.to_ascii_lowercase();
    let name = [&b"session."[..], b"local."]
        .iter()
        .find_map(|scope| lower.strip_prefix(*scope));
    let tracker = Tracker::of_name(name_of(name.unwrap_or(&lower)))?;
    let to = reader.now?.to;
    reader.step();
    Some((tracker, to))
}

/// Whether a text is a SHOW VARIABLES of the session's, the server's answer to which has the pool's values of
/// trackers among others.
pub fn lists_variables(sql: &[u8], mode: Mode) -> bool {
    // A quick look: most texts begin with other words, or comments.
    let may_show = matches!(
        sql.trim_ascii_start(),
        [b's' | b'S', b'h' | b'H', ..] | [b'/' | b'-' | b'#', ..]
    );
    let mut reader = match may_show {
        true => Reader::new(sql, mode),
        false => return false,
    };
    reader.takes("SHOW") && {
        let _ = reader.takes("SESSION") || reader.takes("LOCAL");
        reader.takes("VARIABLES")
    }
}

/// The pattern of SHOW VARIABLES LIKE, if it begins with the names' common part.
fn list(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let _ = reader.takes("SESSION") || reader.takes("LOCAL");
    reader.takes("VARIABLES").then_some(())?;
    reader.takes("LIKE").then_some(())?;
    let [b'\'' | b'"', pattern @ .., _] = reader.text() else {
        return None;
    };
    reader.step();
    let plain: Vec<u8> = pattern
        .iter()
        .copied()
        .filter(|byte| *byte != b'\\')
        .collect();
    let common = b"session_track";
    let fits = plain.len() >= common.len() && plain[..common.len()].eq_ignore_ascii_case(common);
    (fits && pattern.len() <= MAX_PATTERN && !pattern.contains(&b'\'') && reader.is_over())
        .then(|| pattern.to_vec())
}

/// Who a part of a SET is about.
enum Target {
    Tracker(Tracker),
    /// Anything else.
    Other,
    /// The variables of the whole server, from here on.
    Global,
}

/// `SET …`, from behind the SET on; `None` if no part sets a tracker, or what it does is not clear.
fn set(mut reader: Reader<'_>) -> Option<Said<'_>> {
    let mut settings = Vec::new();
    let mut others = Vec::new();
    let mut is_global = false;
    loop {
        let from = reader.now?.from;
        let said_scope = reader.is("SESSION") || reader.is("LOCAL");
        match target(&mut reader) {
            Target::Tracker(tracker) => {
                // After GLOBAL, servers differ in what is meant.
                let is_plain = sql_at(&reader, from) != b'@' && !said_scope;
                if is_global && is_plain {
                    return None;
                }
                settings.push(setting(&mut reader, tracker)?);
            }
            target => {
                is_global |= matches!(target, Target::Global);
                let to = skip_part(&mut reader)?;
                others.push(reader.sql.get(from..to)?);
            }
        }
        if !reader.takes_operator(b",") {
            break;
        }
    }
    if settings.is_empty() || !reader.is_over() {
        return None;
    }
    let rest = (!others.is_empty()).then(|| [b"SET ", &others.join(&b", "[..])[..]].concat());
    Some(Said::Sets { settings, rest })
}

fn sql_at(reader: &Reader<'_>, at: usize) -> u8 {
    reader.sql.get(at).copied().unwrap_or_default()
}

/// Reads the target of an assignment, if it is a tracker, and the sign after it.
fn target(reader: &mut Reader<'_>) -> Target {
    if ["GLOBAL", "PERSIST", "PERSIST_ONLY"]
        .iter()
        .any(|word| reader.is(word))
    {
        return Target::Global;
    }
    let mut ahead = reader.clone();
    let found = match ahead.kind() {
        Some(Kind::Variable) => item(&mut ahead).map(|(tracker, _)| tracker),
        _ => {
            if ahead.is("SESSION") || ahead.is("LOCAL") {
                ahead.step();
            }
            let tracker = Tracker::of_name(name_of(ahead.text()));
            ahead.step();
            tracker
        }
    };
    let Some(tracker) = found else {
        return Target::Other;
    };
    if ahead.takes_operator(b"=") || ahead.takes_operator(b":=") {
        *reader = ahead;
        return Target::Tracker(tracker);
    }
    Target::Other
}

/// The value of an assignment.
fn setting(reader: &mut Reader<'_>, tracker: Tracker) -> Option<Setting> {
    let from = reader.now?.from;
    let (kind, text) = (reader.kind()?, reader.text());
    let to = skip_part(reader)?;
    let is_single = from + text.len() == to;
    let value = match (kind, text) {
        (Kind::Word, _) if is_single && text.eq_ignore_ascii_case(b"DEFAULT") => Value::Default,
        (Kind::Word | Kind::Number, _) if is_single => Value::Literal(text.to_vec()),
        (Kind::String, [b'\'' | b'"', inner @ .., _])
            if is_single
                && !inner
                    .iter()
                    .any(|byte| matches!(byte, b'\\' | b'\'' | b'"')) =>
        {
            Value::Literal(inner.to_vec())
        }
        (Kind::Operator, b"-") => Value::Literal(reader.sql.get(from..to)?.to_vec()),
        _ => Value::Expression,
    };
    Some(Setting {
        tracker,
        value,
        is_quoted: kind == Kind::String,
    })
}

/// Skips what is left of a part, and tells where its text ends. `None` if it uses a tracker.
fn skip_part(reader: &mut Reader<'_>) -> Option<usize> {
    let mut depth = 0_usize;
    let mut to = reader.now?.from;
    while let Some(token) = reader.now {
        let text = reader.text();
        match (reader.kind(), text) {
            (Some(Kind::Operator), b"(") => depth += 1,
            (Some(Kind::Operator), b")") => depth = depth.saturating_sub(1),
            (Some(Kind::Operator), b"," | b";") if depth == 0 => break,
            (Some(Kind::Variable), _) if item(&mut reader.clone()).is_some() => return None,
            _ => {}
        }
        to = token.to;
        reader.step();
    }
    Some(to)
}
