//! The names of what statements leave behind, so that it can be known when all of it is gone: what the
//! text says exactly, and nothing else.

use super::head::{Head, Item, name};
use super::{Name, Traces};
use crate::sql::Kind;

/// Something that is left behind, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is: one flag.
    pub trace: Traces,
    /// Of temporary tables with the schema if that is written; otherwise in lower case.
    pub name: Name,
}

impl Named {
    pub(super) fn size(&self) -> usize {
        size_of::<Named>() + self.name.schema.as_ref().map_or(0, Vec::len) + self.name.name.len()
    }
}

/// What a statement leaves behind and removes, by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Names {
    /// What is there afterwards, or may be: if a trace that may be left has no name here, there may be more
    /// of its kind.
    pub gained: Vec<Named>,
    /// What is certainly gone if the statement succeeds. It goes before the others come.
    pub lost: Vec<Named>,
}

impl Names {
    fn gain(trace: Traces, name: Option<Name>) -> Names {
        Names {
            gained: name.map(|name| Named { trace, name }).into_iter().collect(),
            lost: Vec::new(),
        }
    }

    fn lose(trace: Traces, names: impl IntoIterator<Item = Name>) -> Names {
        let lost = names.into_iter().map(|name| Named { trace, name });
        Names {
            gained: Vec::new(),
            lost: lost.collect(),
        }
    }
}

/// A name that servers compare without regard to case.
fn caseless(item: Option<&Item<'_>>) -> Option<Name> {
    let name = name(item?)?.to_ascii_lowercase();
    Some(Name { schema: None, name })
}

/// CREATE and DROP of tables and sequences, of which `place` is the word TABLE or SEQUENCE.
pub(super) fn of_tables(head: &Head<'_>, place: usize) -> Names {
    let trace = Traces::TEMPORARY_TABLES;
    let mut rest = head.items().get(place + 1..).unwrap_or_default();
    while let [item, behind @ ..] = rest
        && (item.is("IF") || item.is("NOT") || item.is("EXISTS"))
    {
        rest = behind;
    }
    if head.is(0, "CREATE") {
        let found = qualified(rest).map(|(name, _)| name);
        return Names::gain(trace, found);
    }
    let mut lost = Vec::new();
    loop {
        let Some((name, behind)) = qualified(rest) else {
            return Names::default();
        };
        lost.push(name);
        match behind {
            [comma, behind @ ..] if comma.is_operator(",") => rest = behind,
            [] if head.is_whole() => return Names::lose(trace, lost),
            [word] if head.is_whole() && (word.is("RESTRICT") || word.is("CASCADE")) => {
                return Names::lose(trace, lost);
            }
            _ => return Names::default(),
        }
    }
}

/// `name` or `schema.name`, and what follows.
fn qualified<'a, 'b>(items: &'b [Item<'a>]) -> Option<(Name, &'b [Item<'a>])> {
    match items {
        [schema, dot, table, behind @ ..] if dot.is_operator(".") => {
            let name = Name {
                schema: Some(name(schema)?),
                name: member(table)?,
            };
            Some((name, behind))
        }
        [table, behind @ ..] => {
            let name = Name {
                schema: None,
                name: name(table)?,
            };
            Some((name, behind))
        }
        [] => None,
    }
}

/// A name behind a dot, where no word is reserved.
fn member(item: &Item<'_>) -> Option<Vec<u8>> {
    match item.kind {
        Kind::Word => Some(item.text.to_vec()),
        _ => name(item),
    }
}

/// PREPARE.
pub(super) fn of_prepare(head: &Head<'_>) -> Names {
    Names::gain(Traces::PREPARED, caseless(head.items().get(1)))
}

/// DEALLOCATE PREPARE and DROP PREPARE.
pub(super) fn of_deallocate(head: &Head<'_>) -> Names {
    Names::lose(Traces::PREPARED, caseless(head.items().get(2)))
}

/// HANDLER: what it leaves, and the names. A handler is known by its alias.
pub(super) fn of_handler(head: &Head<'_>) -> (Traces, Names) {
    let trace = Traces::HANDLERS;
    let Some((table, behind)) = qualified(head.items().get(1..).unwrap_or_default()) else {
        return (trace, Names::default());
    };
    let table = Name {
        schema: None,
        name: table.name.to_ascii_lowercase(),
    };
    match behind {
        [open] if open.is("OPEN") => (trace, Names::gain(trace, Some(table))),
        [open, .., alias] if open.is("OPEN") => (trace, Names::gain(trace, caseless(Some(alias)))),
        [close, ..] if close.is("CLOSE") => (Traces::empty(), Names::lose(trace, Some(table))),
        [read, ..] if read.is("READ") => (Traces::empty(), Names::default()),
        _ => (trace, Names::default()),
    }
}

/// BACKUP: what it leaves, and the names. A stage and a lock end apart from each other.
pub(super) fn of_backup(head: &Head<'_>) -> (Traces, Names) {
    let trace = Traces::BACKUP_LOCKS;
    let named = |name: &str| {
        let name = name.as_bytes().to_vec();
        Some(Name { schema: None, name })
    };
    if head.is(1, "UNLOCK") {
        return (Traces::empty(), Names::lose(trace, named("lock")));
    }
    if head.is(1, "STAGE") && head.is(2, "END") {
        return (Traces::empty(), Names::lose(trace, named("stage")));
    }
    let name = match head.is(1, "STAGE") {
        true => "stage",
        false => "lock",
    };
    (trace, Names::gain(trace, named(name)))
}

/// What the functions of named locks do.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Locks {
    /// Whether locks may be left.
    pub may_leave: bool,
    /// Whether all are given back.
    pub clears: bool,
    pub names: Names,
}

/// The locks that a statement takes and gives back. Exact are `SELECT f('name'), …` and `DO f('name'), …`:
/// elsewhere a function may be called several times, or never.
pub(super) fn of_locks(head: &Head<'_>) -> Locks {
    exact_locks(head).unwrap_or_else(|| {
        let takes = |item: &Item<'_>| {
            matches!(item.kind, Kind::Word | Kind::Quoted)
                && memchr::memmem::find(&item.text.to_ascii_uppercase(), b"GET_LOCK").is_some()
        };
        Locks {
            may_leave: !head.is_whole() || head.items().iter().any(takes),
            ..Locks::default()
        }
    })
}

fn exact_locks(head: &Head<'_>) -> Option<Locks> {
    let items = head.items();
    if !head.is_whole() || !(head.is(0, "SELECT") || head.is(0, "DO")) {
        return None;
    }
    let mut rest = items.get(1..)?;
    let mut locks = Locks::default();
    let mut others = false;
    let trace = Traces::NAMED_LOCKS;
    let is_number = |item: &Item<'_>| matches!(item.kind, Kind::Number | Kind::Placeholder);
    loop {
        let [function, open, call @ ..] = rest else {
            return None;
        };
        if !open.is_operator("(") {
            return None;
        }
        let (arguments, behind) = until_close(call)?;
        if function.is("GET_LOCK") {
            let lock = match arguments {
                [lock, comma, time] if comma.is_operator(",") && is_number(time) => lock,
                [lock, comma, minus, time]
                    if comma.is_operator(",") && minus.is_operator("-") && is_number(time) =>
                {
                    lock
                }
                _ => return None,
            };
            let name = lock_name(lock)?;
            locks.names.gained.push(Named { trace, name });
            locks.may_leave = true;
            others = true;
        } else if function.is("RELEASE_LOCK") {
            let [lock] = arguments else { return None };
            // Of a parameter it is not known which lock is given back: none is left by it.
            if lock.kind != Kind::Placeholder {
                let name = lock_name(lock)?;
                locks.names.lost.push(Named { trace, name });
            }
            others = true;
        } else if function.is("RELEASE_ALL_LOCKS") && arguments.is_empty() {
            locks.clears = true;
        } else {
            return None;
        }
        let behind = without_alias(behind);
        match behind {
            [] => break,
            [from, dual] if from.is("FROM") && dual.is("DUAL") => break,
            [comma, next @ ..] if comma.is_operator(",") => rest = next,
            _ => return None,
        }
    }
    locks.clears &= !others;
    Some(locks)
}

/// The items up to the parenthesis that closes, where none opens, and those behind it.
fn until_close<'a, 'b>(items: &'b [Item<'a>]) -> Option<(&'b [Item<'a>], &'b [Item<'a>])> {
    let end = items
        .iter()
        .position(|item| item.is_operator("(") || item.is_operator(")"))?;
    let (arguments, behind) = items.split_at(end);
    let (close, behind) = behind.split_first()?;
    close.is_operator(")").then_some((arguments, behind))
}

fn without_alias<'a, 'b>(items: &'b [Item<'a>]) -> &'b [Item<'a>] {
    match items {
        [word, alias, behind @ ..] if word.is("AS") && name(alias).is_some() => behind,
        [alias, behind @ ..] if name(alias).is_some() => behind,
        _ => items,
    }
}

/// A literal without escapes. It keeps its case: two names that a server takes for one then count as two,
/// of which one seems to be left.
fn lock_name(item: &Item<'_>) -> Option<Name> {
    let [b'\'' | b'"', inner @ .., _] = item.text else {
        return None;
    };
    let is_plain = item.kind == Kind::String
        && !inner
            .iter()
            .any(|byte| matches!(byte, b'\\' | b'\'' | b'"'));
    is_plain.then(|| Name {
        schema: None,
        name: inner.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use crate::sql::Mode;
    use crate::sql::effects::{Effects, Traces, effects};

    fn one(sql: &str) -> Effects {
        let mut all = effects(sql.as_bytes(), Mode::default());
        assert_eq!(all.len(), 1, "{sql}: {all:?}");
        all.remove(0)
    }

    /// What is gained and lost, as text.
    fn named(sql: &str) -> (Vec<String>, Vec<String>) {
        let names = one(sql).names;
        let text = |all: &[super::Named]| {
            let one = |named: &super::Named| {
                let name = String::from_utf8_lossy(&named.name.name).into_owned();
                match &named.name.schema {
                    Some(schema) => format!("{}.{name}", String::from_utf8_lossy(schema)),
                    None => name,
                }
            };
            all.iter().map(one).collect()
        };
        (text(&names.gained), text(&names.lost))
    }

    #[test]
    fn what_has_a_name() {
        for (sql, gained, lost) in [
            ("CREATE TEMPORARY TABLE t (a INT)", "t", ""),
            (
                "CREATE TEMPORARY TABLE IF NOT EXISTS `a b`.`T` SELECT 1",
                "a b.T",
                "",
            ),
            (
                "CREATE OR REPLACE TEMPORARY TABLE a.select LIKE u",
                "a.select",
                "",
            ),
            ("CREATE TEMPORARY SEQUENCE s", "s", ""),
            ("CREATE TABLE t (a INT)", "", ""),
            ("DROP TEMPORARY TABLE IF EXISTS t, a.u", "", "t a.u"),
            ("DROP TABLES t, u CASCADE", "", "t u"),
            ("DROP TABLE t WAIT 5", "", ""),
            ("DROP TEMPORARY SEQUENCE s", "", "s"),
            ("ALTER TABLE t RENAME TO u", "", ""),
            ("PREPARE S FROM 'x'", "s", ""),
            ("DEALLOCATE PREPARE s", "", "s"),
            ("DROP PREPARE `S`", "", "s"),
            ("HANDLER a.T OPEN", "t", ""),
            ("HANDLER t OPEN AS H", "h", ""),
            ("HANDLER t OPEN h", "h", ""),
            ("HANDLER H CLOSE", "", "h"),
            ("HANDLER h READ FIRST LIMIT 5", "", ""),
            ("BACKUP STAGE START", "stage", ""),
            ("BACKUP STAGE END", "", "stage"),
            ("BACKUP LOCK t", "lock", ""),
            ("BACKUP UNLOCK", "", "lock"),
            ("SELECT GET_LOCK('a', 10)", "a", ""),
            (
                "SELECT get_lock('a', -1) AS x, GET_LOCK('b', ?) FROM DUAL",
                "a b",
                "",
            ),
            ("DO RELEASE_LOCK('a')", "", "a"),
            ("SELECT RELEASE_LOCK('a') FROM t", "", ""),
            ("SELECT RELEASE_LOCK(?)", "", ""),
            ("SELECT GET_LOCK(?, 1)", "", ""),
            ("SELECT GET_LOCK('it''s', 1)", "", ""),
            ("SELECT IF(RELEASE_LOCK('a'), 1, 0)", "", ""),
            ("SELECT GET_LOCK(CONCAT('a', 'b'), 1)", "", ""),
        ] {
            let (found, left) = named(sql);
            assert_eq!(found.join(" "), gained, "{sql}");
            assert_eq!(left.join(" "), lost, "{sql}");
        }
    }

    #[test]
    fn what_remains_of_them() {
        for (sql, may_leave) in [
            ("SELECT GET_LOCK('a', 1)", Traces::NAMED_LOCKS),
            ("SELECT GET_LOCK(?, ?)", Traces::NAMED_LOCKS),
            ("SELECT `get_lock`('a', 1) FROM t", Traces::NAMED_LOCKS),
            ("SELECT RELEASE_LOCK(?)", Traces::empty()),
            ("SELECT RELEASE_LOCK('a') FROM t", Traces::empty()),
            ("SELECT RELEASE_ALL_LOCKS()", Traces::empty()),
            ("HANDLER t OPEN", Traces::HANDLERS),
            ("HANDLER t READ NEXT", Traces::empty()),
            ("HANDLER t CLOSE", Traces::empty()),
            ("BACKUP STAGE BLOCK_DDL", Traces::BACKUP_LOCKS),
            ("BACKUP STAGE END", Traces::empty()),
        ] {
            let effects = one(sql);
            assert_eq!(effects.leaves | effects.may_leave, may_leave, "{sql}");
        }
        let all = Traces::NAMED_LOCKS;
        assert_eq!(one("SELECT RELEASE_ALL_LOCKS()").clears, all);
        let both = one("DO RELEASE_ALL_LOCKS(), GET_LOCK('a', 1)");
        assert_eq!(both.clears, Traces::empty(), "the order is not looked at");
        let long = format!("SELECT {}GET_LOCK('a', 1)", "1, ".repeat(1000));
        assert_eq!(one(&long).may_leave, all);
        assert!(one(&long).names.gained.is_empty());
    }

    #[test]
    fn what_a_mode_leaves_open_is_gained_but_not_lost() {
        let drops = "DROP TEMPORARY TABLE \"t\"";
        assert_eq!(one(drops).names.lost, [], "{:?}", one(drops));
        let locks = "SELECT GET_LOCK(\"a\", 1)";
        assert_eq!(one(locks).may_leave, Traces::NAMED_LOCKS);
    }
}
