//! What servers report at the end of results.

use super::apply::{is_characteristic, names_of};
use super::{
    Begun, ClientCollation, Doubt, Ending, Fact, Server, Session, SessionChange, Status, Task,
    Traces, Transaction, change_type, coupled, session_changes,
};
use crate::sql::effects::{Action, Effects, Inserted, Setting};
use crate::track::commands::Pending;
use crate::track::couplings::{canonical_name, sharing};

/// A count of warnings of this value may stand for more.
const MANY_WARNINGS: u16 = u16::MAX;
/// Longer characteristics are not kept.
const MAX_CHARACTERISTICS: usize = 4 << 10;

impl Session {
    /// What a server reports at the end of a result takes precedence over the text.
    pub(super) fn told(
        &mut self,
        ending: Ending<'_>,
        pending: Option<&Pending>,
        effects: Option<&Effects>,
    ) {
        let task = pending.map(|pending| &pending.task);
        let (status, warnings) = match ending {
            Ending::Ok {
                status, warnings, ..
            }
            | Ending::Eof { status, warnings } => (status, warnings),
            _ => return self.told_nothing(task),
        };
        let changes = match ending {
            Ending::Ok { changes, .. } => changes,
            _ => None,
        };
        let changes = match changes.map(session_changes::decode) {
            Some(Ok(changes)) => changes,
            Some(Err(_)) => {
                self.doubt_all(Doubt::Overflow);
                Vec::new()
            }
            None => Vec::new(),
        };
        // MariaDB sends what it owes only with a report of something else.
        if !self.is_mariadb() || !changes.is_empty() {
            self.settled();
        }
        self.schema_told(&changes, status, effects);
        let is_judged = pending.is_some_and(|pending| pending.hides.is_some());
        self.variables_told(&changes, effects, is_judged);
        self.transaction_told(&changes, status, effects);
        self.put_autocommit(Fact::Known(status.contains(Status::AUTOCOMMIT)));
        self.no_backslash_escapes = Some(status.contains(Status::NO_BACKSLASH_ESCAPES));
        self.warnings_told(warnings, task, effects);
        if let (
            Ending::Ok { insert_id, .. },
            Some(Effects {
                action: Action::Insert(inserted),
                sets_insert_id: false,
                ..
            }),
        ) = (ending, effects)
        {
            self.inserted(insert_id, inserted);
        } else if let Some(Effects {
            action: Action::Insert(_),
            ..
        }) = effects
        {
            // It has returned rows.
            self.last_insert_id = Fact::Unknown(Doubt::Expression);
        }
    }

    fn told_nothing(&mut self, task: Option<&Task>) {
        if let Some(Task::Prepare(_) | Task::Quiet) = task {
            self.warnings_told(0, task, None);
        }
    }

    fn schema_told(
        &mut self,
        changes: &[SessionChange],
        status: Status,
        effects: Option<&Effects>,
    ) {
        let told = changes
            .iter()
            .rfind(|change| change.change_type == change_type::SCHEMA);
        if let Some(change) = told {
            self.reports_schema = true;
            self.put_schema(Fact::Known(
                (!change.value.is_empty()).then(|| change.value.clone()),
            ));
            return;
        }
        let is_dropped = status.contains(Status::DB_DROPPED);
        let may_change = match effects.map(|effects| &effects.action) {
            // A routine can name no other schema to MySQL.
            Some(Action::Call) if !self.is_mariadb() => is_dropped,
            Some(action) if action.may_be_anything() => is_dropped || !self.reports_schema,
            _ => false,
        };
        if may_change {
            self.put_schema(Fact::Unknown(Doubt::Routine));
        }
    }

    /// `is_judged`: what the text does not show is known from elsewhere.
    fn variables_told(
        &mut self,
        changes: &[SessionChange],
        effects: Option<&Effects>,
        is_judged: bool,
    ) {
        let mut assigned = Vec::new();
        if let Some(Effects {
            action: Action::Set(settings),
            ..
        }) = effects
        {
            assigned = settings.iter().flat_map(names_of).collect();
        }
        let name_of = |change: &SessionChange| {
            let name = change.name.as_deref()?.to_ascii_lowercase();
            String::from_utf8(name).ok()
        };
        let reported: Vec<(String, &[u8])> = changes
            .iter()
            .filter_map(|change| Some((name_of(change)?, change.value.as_slice())))
            .collect();
        let is_named = |name: &str| {
            let name = canonical_name(name);
            assigned.iter().any(|assigned| assigned == name)
                || reported.iter().any(|(reported, _)| reported == name)
        };
        for (name, _) in &reported {
            // A variable that shares its storage may be the one that has changed, unless the text
            // says which.
            let explained = sharing(name)
                .iter()
                .any(|other| assigned.iter().any(|one| one == other));
            if self.server == Server::MariaDbSharing && !explained {
                self.variables.doubt_sharing(name);
            }
            for other in coupled(name).filter(|other| !is_named(other)) {
                self.variables.doubt(other, Doubt::Coupled);
            }
        }
        // SET STATEMENT reports values that hold only for that statement.
        let may_pass = |effects: &Effects| effects.is_passing || effects.action == Action::Opaque;
        let is_passing = effects.is_some_and(may_pass) && self.is_mariadb();
        // A routine has set it, most likely without a collation.
        let is_own = |name: &str| assigned.iter().any(|assigned| assigned == name);
        let tells = |name: &str| reported.iter().any(|(reported, _)| reported == name);
        if tells("character_set_client") && !is_own("character_set_client") {
            self.has_client_collation(ClientCollation::OfCharset);
        }
        // The open transaction began with others.
        self.unused &= !reported
            .iter()
            .any(|(name, _)| is_characteristic(canonical_name(name)));
        // Without the trackers nothing is certain.
        if reported
            .iter()
            .any(|(name, value)| is_switched(name, value))
        {
            self.end_reports();
        }
        for (name, value) in &reported {
            match is_passing {
                true => self.variables.doubt(name, Doubt::Routine),
                false => self.variables.reported(name, value),
            }
            let is_own = assigned
                .iter()
                .any(|assigned| assigned == canonical_name(name));
            self.variables.changed_by(name, is_own);
        }
        let tells = |kind| changes.iter().any(|change| change.change_type == kind);
        // A prepared statement is executed in its own schema, and MariaDB shows what is in another by
        // changing to it: servers report that as a change. A variable that has changed explains it,
        // too, if nothing else is known to be hidden.
        let is_explained = tells(change_type::SCHEMA) || is_judged && !reported.is_empty();
        if tells(change_type::STATE_CHANGE) && is_silent(effects) && !is_explained {
            let volatile =
                Traces::USER_VARIABLES | Traces::TEMPORARY_TABLES | Traces::PREPARED | Traces::ROLE;
            self.left.hid(volatile, Doubt::Hidden);
        }
    }

    fn transaction_told(
        &mut self,
        changes: &[SessionChange],
        status: Status,
        effects: Option<&Effects>,
    ) {
        let before = self.transaction;
        let of = |kind| changes.iter().rfind(|change| change.change_type == kind);
        let reported =
            match of(change_type::TRANSACTION_STATE).and_then(|change| change.value.first()) {
                Some(b'T') => Some(Begun::Explicitly),
                Some(b'I') => Some(Begun::Implicitly),
                _ => None,
            };
        let is_open = status.contains(Status::IN_TRANS);
        if !is_open {
            self.left.remove(Traces::XA | Traces::SAVEPOINTS);
        }
        let action = effects.map(|effects| &effects.action);
        let begun = match (before, action) {
            _ if reported.is_some() => reported,
            (_, Some(Action::Begin)) => Some(Begun::Explicitly),
            (
                _,
                Some(
                    Action::Transaction
                    | Action::Definition
                    | Action::DropSchema(_)
                    | Action::Call
                    | Action::Unfamiliar
                    | Action::Opaque,
                ),
            ) => None,
            (Fact::Known(Transaction::Open { begun, .. }), _) => Some(begun),
            (Fact::Known(Transaction::None), _) if !status.contains(Status::AUTOCOMMIT) => {
                Some(Begun::Implicitly)
            }
            _ => None,
        };
        self.transaction = Fact::Known(match is_open {
            true => Transaction::Open {
                begun: begun.unwrap_or(Begun::Unclear),
                read_only: status.contains(Status::IN_TRANS_READONLY),
            },
            false => Transaction::None,
        });
        self.unused = match of(change_type::TRANSACTION_STATE) {
            Some(change) => is_unused(&change.value),
            None => self.unused && is_open,
        };
        let text = of(change_type::TRANSACTION_CHARACTERISTICS).map(|change| &change.value);
        match text {
            // MySQL reports this after CREATE TEMPORARY TABLE although the transaction continues.
            Some(text) if is_open && text.is_empty() => {
                self.put_characteristics(Fact::Unknown(Doubt::Volatile));
            }
            Some(text) if text.len() <= MAX_CHARACTERISTICS => {
                self.put_characteristics(Fact::Known(text.clone()));
            }
            Some(_) => self.put_characteristics(Fact::Unknown(Doubt::Overflow)),
            None if self.reports() => {
                let was_open = matches!(before, Fact::Known(Transaction::Open { .. }));
                if was_open && !is_open {
                    self.put_characteristics(Fact::Known(Vec::new()));
                }
            }
            None => self.characteristics_by_text(before, is_open, effects),
        }
    }

    fn characteristics_by_text(
        &mut self,
        before: Fact<Transaction>,
        is_open: bool,
        effects: Option<&Effects>,
    ) {
        let Some(effects) = effects else {
            return;
        };
        let was_open = before != Fact::Known(Transaction::None);
        match (was_open, is_open) {
            // It is still the same transaction, unless a statement has ended it and begun another.
            (true, true)
                if matches!(
                    effects.action,
                    Action::Plain
                        | Action::Diagnostics
                        | Action::Insert(_)
                        | Action::Use(_)
                        | Action::Set(_)
                ) => {}
            (_, true) => self.put_characteristics(Fact::Unknown(Doubt::Expression)),
            // A transaction that has ended leaves no characteristics for the next one.
            (true, false)
                if matches!(before, Fact::Known(_)) && !effects.action.may_be_anything() =>
            {
                self.put_characteristics(Fact::Known(Vec::new()));
            }
            (_, false) => match &effects.action {
                Action::NextTransaction(_) | Action::Use(_) | Action::Diagnostics => {}
                Action::Plain if !effects.tables => {}
                Action::Set(settings) if !settings.iter().any(is_about_transactions) => {}
                _ => self.doubt_characteristics(Doubt::Expression),
            },
        }
    }

    fn warnings_told(&mut self, warnings: u16, task: Option<&Task>, effects: Option<&Effects>) {
        let action = effects.map(|effects| &effects.action);
        let cleared = !self.is_mariadb() || matches!(action, Some(Action::Insert(_)));
        self.warnings = match (task, action) {
            (Some(Task::Nothing | Task::Use(_)), _) | (_, Some(Action::Diagnostics)) => return,
            (Some(Task::Prepare(_)), _) if self.is_mariadb() => return,
            (None | Some(Task::Reset | Task::ChangeUser(_)), _) => Fact::Known(0),
            (Some(Task::Text(text)), _) if text.is_empty() => return,
            (Some(Task::Text(_)), Some(action))
                if action.may_be_anything() || *action == Action::Function =>
            {
                Fact::Unknown(Doubt::Routine)
            }
            (Some(Task::Text(_)), _) if warnings == MANY_WARNINGS => Fact::Unknown(Doubt::Overflow),
            (Some(Task::Text(_)), _) if warnings > 0 || cleared => Fact::Known(warnings),
            // MariaDB sometimes reports those of an earlier statement.
            (Some(Task::Text(_)), _) if self.warnings == Fact::Known(0) => return,
            _ => Fact::Unknown(Doubt::Volatile),
        };
    }

    fn inserted(&mut self, id: u64, inserted: &Inserted) {
        self.last_insert_id = match inserted {
            Inserted::Hidden => Fact::Unknown(Doubt::Expression),
            _ if id == 0 => return,
            // A trigger may have given it.
            _ if self.doubts_tables() => Fact::Unknown(Doubt::Hidden),
            Inserted::Unless(given) if !given.contains(&id) => Fact::Known(id),
            _ => Fact::Unknown(Doubt::Expression),
        };
    }
}

/// Whether a tracker has another setting than while everything is reported.
fn is_switched(name: &str, value: &[u8]) -> bool {
    match name {
        "session_track_schema" | "session_track_state_change" => value != b"ON",
        "session_track_transaction_info" => value != b"CHARACTERISTICS",
        "session_track_system_variables" => true,
        _ => false,
    }
}

fn is_about_transactions(setting: &Setting) -> bool {
    match setting {
        Setting::Transaction(_) => true,
        Setting::Variable(assignment) => {
            let name = String::from_utf8_lossy(&assignment.name);
            is_characteristic(canonical_name(&name))
        }
        _ => false,
    }
}

/// Whether a transaction with this state was begun by a statement and has used no table: it may have
/// sent rows, and called functions.
fn is_unused(state: &[u8]) -> bool {
    matches!(state, [b'T', b'_', b'_', b'_', b'_', _, _, b'_'])
}

/// Whether nothing in the text explains that the state has changed.
fn is_silent(effects: Option<&Effects>) -> bool {
    effects.is_some_and(|effects| {
        matches!(
            effects.action,
            Action::Plain | Action::Diagnostics | Action::Insert(_)
        ) && (effects.leaves | effects.may_leave | effects.clears | effects.may_clear).is_empty()
    })
}
