//! What a statement does to its session if it succeeds, according to its text.
//!
//! Session tracking relies on this, so a text that is not understood is [`Action::Opaque`]:
//! anything may have happened. Views and triggers do not show in the text; [`Effects::tables`] says
//! that tables are used.

mod effect;
mod head;
mod inserted;
mod modes;
mod names;
mod set;

use smallvec::{SmallVec, smallvec};

use super::statement::{Changes, Statement, other_modes, statement};
use super::tables::Name;
use super::tokens::{Doubts, Kind, Tokens};
use super::{Mode, tokens::Token};
pub use effect::{Action, Characteristics, Effects, Traces};
use head::Head;
pub use inserted::Inserted;
pub use modes::mode_after;
pub use names::{Named, Names};
pub use set::{Assignment, Charset, Scope, Setting, Value};

/// Effects of the statements of a text: most texts are one statement, for which no memory is allocated.
pub type List = SmallVec<[Effects; 1]>;

/// The most statements in one text that are examined.
pub const MAX_STATEMENTS: usize = 64;

/// The effects of each statement of a text, in order. The list ends after a statement that may have
/// several results, since it is unknown which results belong to the statements after it. If that one is
/// unfamiliar, what follows is one entry more: a server that does not understand a text executes none of it.
pub fn effects(sql: &[u8], mode: Mode) -> List {
    let (found, doubts) = read(sql, mode);
    let tried = Doubts::ESCAPED_QUOTE | Doubts::DOUBLE_QUOTE;
    if mode.is_in_doubt(doubts - tried) {
        return smallvec![Effects::opaque()];
    }
    if !doubts.intersects(tried) {
        return found;
    }
    let readings = other_modes(mode).map(|other| read(sql, other).0);
    let found = readings.fold(found, |found, reading| match found.len() == reading.len() {
        true => found
            .into_iter()
            .zip(reading)
            .map(|(one, two)| one.either(two))
            .collect(),
        false => smallvec![Effects::opaque()],
    });
    // What is unclear between the readings may have several results, too.
    up_to_several_results(found)
}

/// Ends the list with a statement that may have several results.
fn up_to_several_results(mut found: List) -> List {
    let has_several = |one: &Effects| one.action.may_be_anything();
    let Some(last) = found.iter().position(has_several) else {
        return found;
    };
    let after: List = found.drain(last + 1..).collect();
    let Some(first) = found.pop() else {
        return found;
    };
    match after.iter().try_fold(first.clone(), Effects::and_then) {
        Some(all) => found.push(all),
        // If the server does not understand the first, it executes none of them.
        None if first.action == Action::Unfamiliar => found.extend([first, Effects::opaque()]),
        None => found.push(Effects::opaque()),
    }
    found
}

/// The text parsed in one mode.
fn read(sql: &[u8], mode: Mode) -> (List, Doubts) {
    let mut tokens = Tokens::new(sql, mode);
    let mut parts = SmallVec::<[(usize, usize); 4]>::new();
    let mut from = 0;
    // Signs that a server would parse the text differently, or not at all.
    let mut is_broken = false;
    for token in tokens.by_ref() {
        is_broken |= token.unterminated;
        if sql.get(token.from..token.to) == Some(b";") && token.kind == Kind::Operator {
            parts.push((from, token.from));
            from = token.to;
            if parts.len() > MAX_STATEMENTS {
                is_broken = true;
                break;
            }
        }
    }
    parts.push((from, sql.len()));
    is_broken |= tokens.in_version_comment();
    let doubts = tokens.doubts();
    if is_broken {
        // What no server can read to its end executes nothing, but for the statements before it.
        let broken = match parts.len() {
            1 => Effects::unfamiliar(),
            _ => Effects::opaque(),
        };
        return (smallvec![broken], doubts);
    }

    let whole = (parts.len() > 1).then(|| statement(sql, mode)).flatten();
    let mut found = List::new();
    for (from, to) in parts {
        let Some(part) = sql.get(from..to) else {
            continue;
        };
        found.extend(statement(part, mode).map(|about| of_one(part, mode, &about)));
    }
    match whole {
        // Whether it has a body, in which semicolons do not end the statement.
        Some(whole) if whole.multi == 1 && found.len() > 1 => {
            return (smallvec![of_one(sql, mode, &whole)], doubts);
        }
        Some(whole) if whole.multi != found.len() => return (smallvec![Effects::opaque()], doubts),
        _ => {}
    }
    (up_to_several_results(found), doubts)
}

/// The effects of a single statement.
fn of_one(sql: &[u8], mode: Mode, about: &Statement) -> Effects {
    let head = Head::new(sql, mode);
    let mut effects = by_kind(sql, mode, about, &head);
    match effects.action {
        Action::Opaque => return Effects::opaque(),
        Action::Call | Action::Unfamiliar => return effects,
        _ => {}
    }
    // A definition executes nothing, unless it also inserts rows into a table.
    let defines = matches!(
        about.kind,
        "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "RENAME"
    ) || matches!(effects.action, Action::Definition);
    let inserts = about.has_select && matches!(head.object(), Some("TABLE" | "TABLES"));
    if defines && !inserts {
        return effects;
    }
    let changes = about.changes;
    if changes.contains(Changes::CALL) {
        effects.action = Action::Function;
        // MariaDB's functions have parameters that return values.
        effects.may_leave |= variables(sql, mode);
    }
    if changes.contains(Changes::ASSIGNMENT) && !matches!(effects.action, Action::Set(_)) {
        effects.leaves |= Traces::USER_VARIABLES;
    }
    if changes.contains(Changes::SEQUENCE) {
        effects.leaves |= Traces::SEQUENCES;
    }
    if changes.contains(Changes::NAMED_LOCK) {
        let locks = names::of_locks(&head);
        effects.may_leave.set(Traces::NAMED_LOCKS, locks.may_leave);
        effects.clears.set(Traces::NAMED_LOCKS, locks.clears);
        effects.names = locks.names;
    }
    effects.sets_insert_id |= changes.contains(Changes::LAST_INSERT_ID);
    effects
}

fn by_kind(sql: &[u8], mode: Mode, about: &Statement, head: &Head<'_>) -> Effects {
    let plain = Effects::of(Action::Plain);
    let reads = Effects {
        tables: true,
        ..plain.clone()
    };
    match about.kind {
        "SELECT" | "TABLE" | "VALUES" => Effects {
            tables: has_tables(sql, mode),
            // Into variables, or into a file.
            may_leave: match about.into {
                true => variables(sql, mode),
                false => Traces::empty(),
            },
            action: match head.names_diagnostics() {
                true => Action::Diagnostics,
                false => Action::Plain,
            },
            ..plain
        },
        "SHOW" if head.is_about_diagnostics() => Effects::of(Action::Diagnostics),
        "SHOW" | "HELP" => reads,
        // Some forms of EXPLAIN execute the statement, and all may execute subqueries.
        "EXPLAIN" if about.read_only => reads,
        "GET" => Effects {
            may_leave: variables(sql, mode),
            ..Effects::of(Action::Diagnostics)
        },
        "DO" => Effects {
            tables: about.has_select,
            ..plain
        },
        "UPDATE" | "DELETE" => reads,
        "INSERT" | "REPLACE" => Effects {
            action: Action::Insert(inserted::inserted(sql, mode)),
            ..reads
        },
        "LOAD" => Effects {
            action: Action::Insert(Inserted::Hidden),
            may_leave: variables(sql, mode),
            ..reads
        },
        "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "RENAME" => definition(about, head),
        "GRANT" | "REVOKE" | "CHECK" | "CHECKSUM" | "OPTIMIZE" | "REPAIR" => {
            Effects::of(Action::Definition)
        }
        // What administrators do to the whole server.
        "CACHE" | "CHANGE" | "INSTALL" | "PURGE" | "RESET" | "START" | "STOP" | "UNINSTALL" => {
            Effects::of(Action::Definition)
        }
        "ANALYZE" if head.is_analyze_table() => Effects::of(Action::Definition),
        // Tables that were locked by name no longer are.
        "BEGIN" => Effects {
            clears: Traces::TABLE_LOCKS | Traces::SAVEPOINTS,
            ..Effects::of(Action::Begin)
        },
        "SAVEPOINT" => Effects {
            leaves: Traces::SAVEPOINTS,
            ..Effects::of(Action::Transaction)
        },
        "ROLLBACK" if head.has("TO") => Effects::of(Action::Transaction),
        "COMMIT" | "ROLLBACK" => Effects {
            clears: Traces::SAVEPOINTS,
            ..Effects::of(Action::Transaction)
        },
        "RELEASE" => Effects::of(Action::Transaction),
        "XA" => xa(head),
        "USE" => match head.name(1) {
            Some(name) => Effects {
                clears: Traces::SCHEMA_CHARSET,
                ..Effects::of(Action::Use(name))
            },
            None => Effects::opaque(),
        },
        "SET" if head.sets_for_statement() => passing(sql, mode),
        "SET" => set::set(head, about),
        "PREPARE" => Effects {
            leaves: Traces::PREPARED,
            names: names::of_prepare(head),
            ..plain
        },
        "DEALLOCATE" => Effects {
            may_clear: Traces::PREPARED,
            names: names::of_deallocate(head),
            ..plain
        },
        "LOCK" => Effects {
            leaves: match head.is(1, "INSTANCE") {
                true => Traces::BACKUP_LOCKS,
                false => Traces::TABLE_LOCKS,
            },
            ..Effects::of(Action::Definition)
        },
        // It commits only if tables were locked.
        "UNLOCK" => Effects {
            clears: match head.is(1, "INSTANCE") {
                true => Traces::BACKUP_LOCKS,
                false => Traces::TABLE_LOCKS | Traces::GLOBAL_READ_LOCK,
            },
            ..Effects::of(Action::Definition)
        },
        "FLUSH" => Effects {
            leaves: flushed(head),
            ..Effects::of(Action::Definition)
        },
        "BACKUP" => {
            let (leaves, names) = names::of_backup(head);
            Effects {
                leaves,
                names,
                ..Effects::of(Action::Definition)
            }
        }
        "HANDLER" => {
            let (leaves, names) = names::of_handler(head);
            Effects {
                leaves,
                names,
                ..reads
            }
        }
        "KILL" | "RESIGNAL" | "SIGNAL" => plain,
        // Parameters may return values.
        "CALL" => Effects {
            may_leave: variables(sql, mode),
            tables: true,
            ..Effects::of(Action::Call)
        },
        "OTHER" => Effects::unfamiliar(),
        _ => Effects::opaque(),
    }
}

/// `SET STATEMENT a = 1, b = 2 FOR SELECT …`. What follows is no other SET, which MariaDB would refuse.
fn passing(sql: &[u8], mode: Mode) -> Effects {
    let mut depth = 0_usize;
    let mut code = Tokens::new(sql, mode).filter(|token| token.kind.is_code());
    let begin = code.find(|token| {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        match text {
            b"(" => depth += 1,
            b")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.kind == Kind::Word && text.eq_ignore_ascii_case(b"FOR")
    });
    let Some(rest) = begin.and_then(|token| sql.get(token.to..)) else {
        return Effects::opaque();
    };
    let Some(about) = statement(rest, mode).filter(|about| about.kind != "SET") else {
        return Effects::opaque();
    };
    let effects = of_one(rest, mode, &about);
    match effects.action {
        Action::Unfamiliar | Action::Opaque => effects,
        _ => Effects {
            is_passing: true,
            // Even without reading it the statement may have been given another id.
            sets_insert_id: true,
            ..effects
        },
    }
}

/// CREATE, ALTER, DROP, TRUNCATE, RENAME.
fn definition(about: &Statement, head: &Head<'_>) -> Effects {
    let effects = Effects::of(Action::Definition);
    let drops = about.kind == "DROP";
    let is_temporary = head.has_before_object("TEMPORARY");
    // It generates ids for inserted or existing rows.
    let generates = about.has_select || about.kind == "ALTER";
    let names = match (about.kind, head.place_of_object()) {
        ("CREATE", Some((place, "TABLE" | "SEQUENCE"))) if is_temporary => {
            names::of_tables(head, place)
        }
        ("DROP", Some((place, "TABLE" | "TABLES" | "SEQUENCE"))) => names::of_tables(head, place),
        _ => Names::default(),
    };
    let (leaves, may_clear) = match about.kind {
        "CREATE" if is_temporary => (Traces::TEMPORARY_TABLES, Traces::empty()),
        "CREATE" => (Traces::empty(), Traces::empty()),
        _ => (Traces::empty(), Traces::TEMPORARY_TABLES),
    };
    match head.object() {
        Some("TABLE" | "TABLES" | "SEQUENCE") if is_temporary => Effects {
            leaves,
            may_clear,
            names,
            tables: about.has_select,
            sets_insert_id: generates,
            // It does not commit implicitly, so characteristics for the next transaction may stay.
            ..Effects::of(Action::Plain)
        },
        Some("TABLE" | "TABLES" | "SEQUENCE") => Effects {
            may_clear,
            names,
            tables: about.has_select,
            sets_insert_id: generates,
            ..effects
        },
        Some("DATABASE" | "SCHEMA") if drops => match head.name_of_dropped() {
            Some(name) => Effects::of(Action::DropSchema(name)),
            None => Effects::opaque(),
        },
        Some("ROLE" | "USER") => effects,
        Some("PREPARE") => Effects {
            may_clear: Traces::PREPARED,
            names: names::of_deallocate(head),
            ..Effects::of(Action::Plain)
        },
        Some(_) => effects,
        None if about.kind == "TRUNCATE" => effects,
        None => Effects::opaque(),
    }
}

/// XA in all its forms. Whether its transaction is still there after XA PREPARE depends on the server, and
/// its status tells.
fn xa(head: &Head<'_>) -> Effects {
    let effects = Effects::of(Action::Transaction);
    let verb = |words: &[&str]| words.iter().any(|word| head.is(1, word));
    if verb(&["START", "BEGIN"]) {
        return Effects {
            leaves: Traces::XA,
            ..effects
        };
    }
    if verb(&["COMMIT", "ROLLBACK"]) {
        return Effects {
            clears: Traces::XA | Traces::SAVEPOINTS,
            ..effects
        };
    }
    match verb(&["RECOVER"]) {
        true => Effects::of(Action::Plain),
        false => effects,
    }
}

/// The locks that FLUSH takes.
fn flushed(head: &Head<'_>) -> Traces {
    let from = match head.is(1, "LOCAL") || head.is(1, "NO_WRITE_TO_BINLOG") {
        true => 2,
        false => 1,
    };
    if head.is(from, "TABLES") || head.is(from, "TABLE") {
        if head.is(from + 1, "WITH") {
            return Traces::GLOBAL_READ_LOCK;
        }
        if head.has("LOCK") || head.has("EXPORT") || !head.is_whole() {
            return Traces::TABLE_LOCKS;
        }
    }
    Traces::empty()
}

/// The trace of a statement that stores values in what follows INTO, or in its arguments.
fn variables(sql: &[u8], mode: Mode) -> Traces {
    let is_user_variable = |token: Token| {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        match token.kind {
            Kind::Variable => !text.starts_with(b"@@"),
            Kind::Operator => text == b"@",
            _ => false,
        }
    };
    match Tokens::new(sql, mode).any(is_user_variable) {
        true => Traces::USER_VARIABLES,
        false => Traces::empty(),
    }
}

/// Whether a query names tables.
fn has_tables(sql: &[u8], mode: Mode) -> bool {
    Tokens::new(sql, mode).any(|token: Token| {
        let text = sql.get(token.from..token.to).unwrap_or_default();
        token.kind == Kind::Word
            && [&b"FROM"[..], b"TABLE", b"JOIN"]
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests;
