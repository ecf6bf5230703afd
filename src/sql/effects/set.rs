//! Parses SET.

use super::head::{Head, Item};
use super::{Action, Characteristics, Effects, Statement, Traces};
use crate::sql::Kind;

/// The scope in which a variable is set.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// For the session.
    Session,
    /// `@@x` without a scope: for the next transaction only if it is a transaction characteristic,
    /// otherwise for the session.
    Unsaid,
    /// For the session or not: after GLOBAL servers differ.
    Unclear,
}

/// The value that a variable is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A literal or a word, without quotes.
    Literal(Vec<u8>),
    /// The current global value, or that at the login.
    Default,
    /// Anything else.
    Expression,
}

/// A system variable of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// In lower case.
    pub name: Vec<u8>,
    /// For whom.
    pub scope: Scope,
    /// To what.
    pub value: Value,
}

/// SET NAMES and SET CHARACTER SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charset {
    /// SET NAMES, and its COLLATE.
    Names(Value, Option<Value>),
    /// SET CHARACTER SET.
    CharacterSet,
}

/// One part of a SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A system variable.
    Variable(Assignment),
    /// Several of them.
    Charset(Charset),
    /// `SET SESSION TRANSACTION`.
    Transaction(Characteristics),
    /// Not a variable of the session: a user variable, or one of the whole server.
    Other,
}

impl Setting {
    /// Its approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        let of = |value: &Value| match value {
            Value::Literal(text) => text.len(),
            _ => 0,
        };
        size_of::<Setting>()
            + match self {
                Setting::Variable(one) => one.name.len() + of(&one.value),
                Setting::Charset(Charset::Names(charset, collation)) => {
                    of(charset) + collation.as_ref().map_or(0, of)
                }
                _ => 0,
            }
    }
}

/// What a SET statement does.
pub(super) fn set(head: &Head<'_>, about: &Statement) -> Effects {
    let items = head.items().get(1..).unwrap_or_default();
    if !head.is_whole() {
        return Effects::opaque();
    }
    let mut effects = Effects::of(Action::Plain);
    effects.tables = about.has_select;
    let first = |word: &str| items.first().is_some_and(|item| item.is(word));
    let is_variable = items.get(1).is_some_and(is_assignment);
    if first("TRANSACTION") && !is_variable {
        effects.action = match characteristics(items.get(1..).unwrap_or_default()) {
            Some(next) => Action::NextTransaction(next),
            None => Action::Opaque,
        };
        return effects;
    }
    let of_session = first("SESSION") || first("LOCAL");
    if (of_session || first("GLOBAL")) && items.get(1).is_some_and(|item| item.is("TRANSACTION")) {
        let all = characteristics(items.get(2..).unwrap_or_default());
        effects.action = match all {
            Some(all) if of_session => Action::Set(vec![Setting::Transaction(all)]),
            Some(_) => Action::Set(vec![Setting::Other]),
            None => Action::Opaque,
        };
        return effects;
    }
    if first("PASSWORD") && !is_variable {
        return effects;
    }
    if first("DEFAULT") && items.get(1).is_some_and(|item| item.is("ROLE")) {
        return effects;
    }
    if first("ROLE") && !is_variable {
        effects.leaves = Traces::ROLE;
        return effects;
    }
    if first("RESOURCE") && !is_variable {
        effects.leaves = Traces::RESOURCE_GROUP;
        return effects;
    }
    let mut settings = Vec::new();
    let mut scope = Scope::Session;
    for part in split(items) {
        match setting(part, &mut scope) {
            Some(Found::Setting(setting)) => settings.push(setting),
            Some(Found::UserVariable) => {
                effects.leaves |= Traces::USER_VARIABLES;
                settings.push(Setting::Other);
            }
            None => return Effects::opaque(),
        }
    }
    for setting in &settings {
        if let Setting::Variable(one) = setting {
            leave_trace(&mut effects, one);
        }
    }
    effects.action = Action::Set(settings);
    effects
}

/// Variables whose values are not all that they leave behind.
fn leave_trace(effects: &mut Effects, one: &Assignment) {
    let is = |words: &[&str]| match &one.value {
        Value::Default => words.contains(&"DEFAULT"),
        Value::Literal(text) => {
            let is_word = |word: &&str| text.eq_ignore_ascii_case(word.as_bytes());
            words.iter().any(is_word)
        }
        Value::Expression => false,
    };
    let (trace, is_harmless, ends) = match one.name.as_slice() {
        b"profiling" => (Traces::PROFILES, is(&["DEFAULT", "0", "OFF"]), false),
        b"optimizer_trace" => {
            let is_off = is(&["DEFAULT", "enabled=off"]);
            (Traces::OPTIMIZER_TRACES, is_off, false)
        }
        b"gtid_next" => {
            let is_automatic = is(&["DEFAULT", "AUTOMATIC"]);
            (Traces::GTID_NEXT, is_automatic, is_automatic)
        }
        b"timestamp" => {
            let is_clock = is(&["DEFAULT", "0"]);
            (Traces::TIMESTAMP, is_clock, is_clock)
        }
        // Choosing a schema sets them again.
        b"character_set_database" | b"collation_database" => (Traces::SCHEMA_CHARSET, false, false),
        b"insert_id" | b"rand_seed1" | b"rand_seed2" => (Traces::ONE_SHOT, false, false),
        _ => return,
    };
    match (one.scope, is_harmless, ends) {
        (Scope::Unclear, false, _) => effects.may_leave |= trace,
        (Scope::Unclear, true, true) => effects.may_clear |= trace,
        (_, false, _) => {
            effects.leaves |= trace;
            effects.clears -= trace;
        }
        // What was set before in the same statement is no longer there.
        (_, true, true) => {
            effects.clears |= trace;
            effects.leaves -= trace;
        }
        (_, true, false) => {}
    }
}

/// What is certain if the server may have parsed it in either of two ways.
pub(super) fn either(one: Vec<Setting>, two: &[Setting]) -> Option<Vec<Setting>> {
    if one.len() != two.len() {
        return None;
    }
    let pairs = one.into_iter().zip(two);
    pairs
        .map(|pair| match pair {
            (one, two) if one == *two => Some(one),
            (Setting::Variable(one), Setting::Variable(two))
                if one.name == two.name && one.scope == two.scope =>
            {
                Some(Setting::Variable(Assignment {
                    value: Value::Expression,
                    ..one
                }))
            }
            (Setting::Charset(_), Setting::Charset(_)) => {
                Some(Setting::Charset(Charset::CharacterSet))
            }
            _ => None,
        })
        .collect()
}

/// The parts between commas, except those within parentheses.
fn split<'a, 'b>(items: &'b [Item<'a>]) -> impl Iterator<Item = &'b [Item<'a>]> {
    let mut depth = 0_usize;
    items.split(move |item| {
        if item.is_operator("(") {
            depth += 1;
        } else if item.is_operator(")") {
            depth = depth.saturating_sub(1);
        }
        depth == 0 && item.is_operator(",")
    })
}

enum Found {
    Setting(Setting),
    UserVariable,
}

fn is_assignment(item: &Item<'_>) -> bool {
    item.is_operator("=") || item.is_operator(":=")
}

/// One part. A scope applies to the parts after it, too.
fn setting(part: &[Item<'_>], scope: &mut Scope) -> Option<Found> {
    let found = |setting| Some(Found::Setting(setting));
    if let [set, rest @ ..] = part
        && !rest.first().is_some_and(is_assignment)
    {
        if set.is("NAMES") {
            let charset = names(rest)?;
            return found(Setting::Charset(charset));
        }
        if set.is("CHARSET") || set.is("CHARACTER") || set.is("CHAR") {
            return found(Setting::Charset(Charset::CharacterSet));
        }
        let is_global = ["GLOBAL", "PERSIST", "PERSIST_ONLY"]
            .iter()
            .any(|word| set.is(word));
        if is_global {
            *scope = Scope::Unclear;
            return found(Setting::Other);
        }
        if set.is("SESSION") || set.is("LOCAL") {
            *scope = Scope::Session;
            return variable(rest, Scope::Session).map(Found::Setting);
        }
    }
    let [item, ..] = part else {
        return None;
    };
    // A column of the row that a trigger is for; elsewhere it is an error.
    if item.is("NEW") && part.get(1).is_some_and(|dot| dot.is_operator(".")) {
        return found(Setting::Other);
    }
    if item.kind != Kind::Variable {
        return variable(part, *scope).map(Found::Setting);
    }
    let Some(name) = item.text.strip_prefix(b"@@") else {
        return Some(Found::UserVariable);
    };
    let lower = name.to_ascii_lowercase();
    let after = |prefix: &[u8]| lower.strip_prefix(prefix).map(<[u8]>::to_vec);
    if [&b"global."[..], b"persist.", b"persist_only."]
        .iter()
        .any(|prefix| lower.starts_with(prefix))
    {
        return found(Setting::Other);
    }
    let (name, scope) = match after(b"session.").or_else(|| after(b"local.")) {
        Some(name) => (name, Scope::Session),
        None => (lower.clone(), Scope::Unsaid),
    };
    // With quotes inside it is none of the plain names that are understood.
    let name = match name.as_slice() {
        [b'`', inner @ .., b'`'] => inner.to_vec(),
        _ => name,
    };
    assignment(name, scope, part.get(1..)?).map(Found::Setting)
}

/// `name = value`.
fn variable(part: &[Item<'_>], scope: Scope) -> Option<Setting> {
    let [name, rest @ ..] = part else {
        return None;
    };
    let name = super::head::name(name).or_else(|| match name.kind {
        Kind::Word => Some(name.text.to_vec()),
        _ => None,
    })?;
    assignment(name.to_ascii_lowercase(), scope, rest)
}

fn assignment(name: Vec<u8>, scope: Scope, rest: &[Item<'_>]) -> Option<Setting> {
    // A name with a dot, or with quotes inside, is something else.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if name.is_empty() || !name.iter().all(is_plain) {
        return None;
    }
    let [sign, value @ ..] = rest else {
        return None;
    };
    let value = is_assignment(sign).then(|| self::value(value))?;
    Some(Setting::Variable(Assignment { name, scope, value }))
}

fn value(items: &[Item<'_>]) -> Value {
    match items {
        [item] if item.is("DEFAULT") => Value::Default,
        [item] => match literal(item) {
            Some(text) => Value::Literal(text),
            None => Value::Expression,
        },
        [sign, item] if sign.is_operator("-") && item.kind == Kind::Number => {
            Value::Literal([b"-", item.text].concat())
        }
        _ => Value::Expression,
    }
}

/// The value of a literal or a word; `None` for other expressions.
fn literal(item: &Item<'_>) -> Option<Vec<u8>> {
    match item.kind {
        Kind::Word | Kind::Number if item.text.is_ascii() => Some(item.text.to_vec()),
        Kind::String => match item.text {
            [b'\'' | b'"', inner @ .., _]
                if inner.is_ascii()
                    && !inner
                        .iter()
                        .any(|byte| matches!(byte, b'\\' | b'\'' | b'"')) =>
            {
                Some(inner.to_vec())
            }
            _ => None,
        },
        _ => None,
    }
}

fn names(rest: &[Item<'_>]) -> Option<Charset> {
    Some(match rest {
        [charset] => Charset::Names(value(std::slice::from_ref(charset)), None),
        [charset, collate, collation] if collate.is("COLLATE") => Charset::Names(
            value(std::slice::from_ref(charset)),
            Some(value(std::slice::from_ref(collation))),
        ),
        _ => return None,
    })
}

/// `ISOLATION LEVEL …, READ …`
fn characteristics(items: &[Item<'_>]) -> Option<Characteristics> {
    let mut all = Characteristics::default();
    for part in split(items) {
        let is = |words: &[&str]| {
            part.len() == words.len() && part.iter().zip(words).all(|(item, word)| item.is(word))
        };
        match part {
            _ if is(&["READ", "ONLY"]) => all.read_only = Some(true),
            _ if is(&["READ", "WRITE"]) => all.read_only = Some(false),
            _ if is(&["ISOLATION", "LEVEL", "READ", "UNCOMMITTED"]) => {
                all.isolation = Some("READ UNCOMMITTED");
            }
            _ if is(&["ISOLATION", "LEVEL", "READ", "COMMITTED"]) => {
                all.isolation = Some("READ COMMITTED");
            }
            _ if is(&["ISOLATION", "LEVEL", "REPEATABLE", "READ"]) => {
                all.isolation = Some("REPEATABLE READ");
            }
            _ if is(&["ISOLATION", "LEVEL", "SERIALIZABLE"]) => {
                all.isolation = Some("SERIALIZABLE");
            }
            _ => return None,
        }
    }
    Some(all)
}
