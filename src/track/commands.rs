//! A connection's unanswered commands, and its prepared statements.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::rc::Rc;

use super::fact::Doubt;
use crate::sql::Mode;
use crate::sql::effects::{Effects, List, Traces, effects};
use crate::wire::{ChangeUser, Com, LAST_PREPARED};

/// The most bytes of one text, and of all texts together, that are remembered; longer texts count
/// as opaque.
const MAX_TEXT: usize = 8 << 10;
const MAX_BYTES: usize = 64 << 10;
/// Beyond this many unanswered commands further ones are only counted.
const MAX_LOOKED_AT: usize = 64;
/// How many prepared statements are remembered.
const MAX_PREPARED: usize = 1024;

/// The effects of a text's statements. Of most texts that is one, for which no memory is allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    One(Effects),
    Others(Rc<[Effects]>),
}

impl Deref for Text {
    type Target = [Effects];

    fn deref(&self) -> &[Effects] {
        match self {
            Text::One(one) => std::slice::from_ref(one),
            Text::Others(others) => others,
        }
    }
}

impl From<List> for Text {
    fn from(list: List) -> Text {
        match list.into_inner() {
            Ok([one]) => Text::One(one),
            Err(others) => Text::Others(others.into_vec().into()),
        }
    }
}

impl FromIterator<Effects> for Text {
    fn from_iter<I: IntoIterator<Item = Effects>>(effects: I) -> Text {
        List::from_iter(effects).into()
    }
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// To execute these statements.
    Text(Text),
    /// To execute the statement that was prepared last, which is known only when the command is
    /// answered.
    ExecuteLast,
    /// To prepare this.
    Prepare(Text),
    Use(Vec<u8>),
    ChangeUser(Login),
    Reset,
    /// Something that changes neither the session nor the diagnostics.
    Nothing,
    /// Something that changes only the diagnostics.
    Quiet,
}

/// The contents of a COM_CHANGE_USER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub user: Vec<u8>,
    pub schema: Option<Vec<u8>>,
    pub collation: Option<u16>,
}

/// A command that is not yet answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub task: Task,
    /// What it uses may do, if that is known from elsewhere.
    pub hides: Option<Hides>,
    /// How many of its results are complete.
    pub results: usize,
}

/// What may be left behind by what does not show in the text.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Hides {
    pub traces: Traces,
    /// Anything may be left, for this reason.
    pub opaque: Option<Doubt>,
}

impl Hides {
    /// What a routine may do of which nothing is known.
    pub(super) const ANYTHING: Hides = Hides {
        traces: Traces::empty(),
        opaque: Some(Doubt::Routine),
    };
    /// What a text may do that is not understood.
    pub(super) const TEXT: Hides = Hides {
        traces: Traces::empty(),
        opaque: Some(Doubt::Text),
    };
}

impl Pending {
    fn of(task: Task) -> Pending {
        Pending {
            task,
            hides: None,
            results: 0,
        }
    }
}

/// A statement that is prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prepared {
    text: Text,
    hides: Option<Hides>,
}

/// The commands in the order in which they are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commands {
    pending: VecDeque<Pending>,
    /// How many commands follow those, of which nothing is known.
    behind: usize,
    prepared: BTreeMap<u32, Prepared>,
    last: Option<u32>,
    /// Bytes of all remembered texts.
    bytes: usize,
}

impl Commands {
    /// Whether every command was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Adds a command. `mode` is the session's, if no command before it may change that.
    pub(super) fn push(&mut self, com: Com, argument: &[u8], mode: Mode) {
        if com == Com::STMT_CLOSE {
            let id = argument.first_chunk().map(|id| u32::from_le_bytes(*id));
            if let Some(prepared) = id.and_then(|id| self.prepared.remove(&id)) {
                self.bytes = self.bytes.saturating_sub(size(&prepared.text));
            }
        }
        if !com.expects_answer() {
            return;
        }
        if self.behind > 0 || self.pending.len() >= MAX_LOOKED_AT {
            self.behind += 1;
            return;
        }
        let mode = match self.is_idle() {
            true => mode,
            false => Mode::default(),
        };
        let task = self.task(com, argument, mode);
        if let Task::Text(text) | Task::Prepare(text) = &task {
            self.bytes += size(text);
        }
        let hides = match com {
            Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE => self.hidden_by(argument),
            _ => None,
        };
        if self.pending.capacity() == 0 {
            // Most clients wait for each answer.
            self.pending.reserve_exact(1);
        }
        self.pending.push_back(Pending {
            hides,
            ..Pending::of(task)
        });
    }

    /// What the prepared statement hides that an argument begins with.
    fn hidden_by(&self, argument: &[u8]) -> Option<Hides> {
        let id = u32::from_le_bytes(*argument.first_chunk()?);
        self.prepared.get(&id)?.hides
    }

    /// Says what the last command hides, if it is looked at.
    pub(super) fn hides(&mut self, hides: Hides) {
        if self.behind == 0
            && let Some(last) = self.pending.back_mut()
        {
            last.hides = Some(hides);
        }
    }

    fn task(&self, com: Com, argument: &[u8], mode: Mode) -> Task {
        match com {
            Com::QUERY => Task::Text(self.read(argument, mode)),
            Com::STMT_PREPARE => {
                let text = self.read(argument, mode);
                Task::Prepare(text.iter().map(Effects::for_later).collect())
            }
            Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE => {
                let id = argument.first_chunk().map(|id| u32::from_le_bytes(*id));
                match id {
                    Some(LAST_PREPARED) => Task::ExecuteLast,
                    id => Task::Text(self.find(id, com == Com::STMT_BULK_EXECUTE)),
                }
            }
            Com::INIT_DB if argument.len() <= MAX_TEXT => Task::Use(argument.to_vec()),
            Com::CHANGE_USER => match ChangeUser::decode(argument) {
                Ok(login) if argument.len() <= MAX_TEXT => Task::ChangeUser(Login {
                    user: login.user,
                    schema: (!login.database.is_empty()).then_some(login.database),
                    collation: login.character_set,
                }),
                _ => Task::Text(opaque_text()),
            },
            Com::RESET_CONNECTION => Task::Reset,
            Com::PING | Com::STATISTICS | Com::STMT_RESET | Com::SET_OPTION => Task::Nothing,
            Com::STMT_FETCH
            | Com::FIELD_LIST
            | Com::PROCESS_INFO
            | Com::PROCESS_KILL
            | Com::DEBUG => Task::Quiet,
            _ => Task::Text(opaque_text()),
        }
    }

    fn read(&self, sql: &[u8], mode: Mode) -> Text {
        let text = effects(sql, mode);
        let size = text.iter().map(Effects::size).sum::<usize>();
        match size <= MAX_TEXT && self.bytes + size <= MAX_BYTES {
            true => text.into(),
            false => opaque_text(),
        }
    }

    fn find(&self, id: Option<u32>, is_bulk: bool) -> Text {
        let found = id.and_then(|id| self.prepared.get(&id));
        match found.map(|prepared| &prepared.text) {
            Some(text) if is_bulk => text.iter().map(Effects::for_many).collect(),
            Some(text) => text.clone(),
            None => opaque_text(),
        }
    }

    /// A statement was prepared.
    pub(super) fn prepared(&mut self, id: u32) {
        self.last = Some(id);
        if let Some(before) = self.prepared.remove(&id) {
            self.bytes = self.bytes.saturating_sub(size(&before.text));
        }
        // A statement that is not remembered counts as opaque when it is executed.
        if let Some(pending) = self.pending.front()
            && let Task::Prepare(text) = &pending.task
            && self.prepared.len() < MAX_PREPARED
            && self.bytes + size(text) <= MAX_BYTES
        {
            self.bytes += size(text);
            let prepared = Prepared {
                text: text.clone(),
                hides: pending.hides,
            };
            self.prepared.insert(id, prepared);
        }
    }

    /// The command that is being answered; finds out its statement if that was not known before.
    pub(super) fn begin_result(&mut self) -> Option<Pending> {
        let last = self.last;
        let found = match &self.pending.front()?.task {
            Task::ExecuteLast => {
                let hides = last.and_then(|id| self.prepared.get(&id)?.hides);
                Some((self.find(last, false), hides))
            }
            _ => None,
        };
        let pending = self.pending.front_mut()?;
        if let Some((text, hides)) = found {
            self.bytes += size(&text);
            pending.task = Task::Text(text);
            pending.hides = hides;
        }
        let now = pending.clone();
        pending.results += 1;
        Some(now)
    }

    /// The command at the front is answered.
    pub(super) fn finish(&mut self) {
        if let Some(pending) = self.pending.pop_front()
            && let Task::Text(text) | Task::Prepare(text) = &pending.task
        {
            self.bytes = self.bytes.saturating_sub(size(text));
        }
        if !self.pending.is_empty() {
            return;
        }
        if self.pending.capacity() > 1 {
            self.pending = VecDeque::new();
        }
        if self.behind > 0 {
            self.behind -= 1;
            let task = Task::Text(opaque_text());
            self.pending.push_back(Pending::of(task));
        }
    }

    /// No statement is prepared any more.
    pub(super) fn forget_prepared(&mut self) {
        for prepared in std::mem::take(&mut self.prepared).values() {
            self.bytes = self.bytes.saturating_sub(size(&prepared.text));
        }
        self.last = None;
    }

    /// How many bytes of texts are remembered.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(text: &[Effects]) -> usize {
    text.iter().map(Effects::size).sum()
}

fn opaque_text() -> Text {
    Text::One(Effects::opaque())
}
