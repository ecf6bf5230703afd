//! The state of a server's session, as far as it can be known from its packets.
//!
//! Values count as known only if they are certain; otherwise the reason is kept. Servers' reports
//! take precedence over the text of statements. Known faults of reports are taken into account:
//! MariaDB sometimes reports under another variable's name, SET NAMES … COLLATE is reported without
//! its collation, and errors report nothing.

mod apply;
mod learn;
mod told;

use super::canonical;
use super::client_collation::ClientCollation;
use super::commands::{Commands, Hides, Task};
use super::couplings::{coupled, is_mariadb, shares_names};
use super::fact::{Doubt, Fact};
use super::left::Left;
use super::transaction::{Begun, Transaction};
use super::variables::{Values, Variables};
use crate::sql::effects::Traces;
use crate::sql::{Mode, is_plain_charset};
use crate::wire::session_changes::{self, change_type};
use crate::wire::{Capabilities, Com, SessionChange, Status};

/// The contents of a login.
#[derive(Copy, Clone, Debug, Default)]
pub struct Login<'a> {
    /// The version in the server's handshake.
    pub version: &'a [u8],
    /// The negotiated capabilities.
    pub capabilities: Capabilities,
    /// Who.
    pub user: &'a [u8],
    /// The initial schema; empty for none.
    pub schema: &'a [u8],
    /// The collation that the client asks for, by number.
    pub collation: u16,
}

/// Whether changes without a trace in texts and reports are taken into account: views, triggers and
/// column defaults that change the session that uses their table; `init_connect`; and servers that
/// ignore the character set that a client asks for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum Hidden {
    /// Everything that they could change counts as unknown.
    #[default]
    Doubted,
    /// They are assumed not to exist.
    Trusted,
    /// Once [`Session::begin_reports`] was called, the server reports every change of the schema, of
    /// variables and of transactions, whatever caused it; before that they are doubted. Routines may
    /// still leave [`Traces`]; views, triggers and `init_connect` are assumed to leave none.
    Reported,
}

/// What the reports of a server are like.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Server {
    MySql,
    MariaDb,
    /// A MariaDB that reports variables that share their storage under one name.
    MariaDbSharing,
}

/// Whether the server reports all that [`Hidden::Reported`] is about.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Reports {
    /// Not yet: so far there were only commands that change nothing but the trackers.
    Awaited,
    All,
    /// The trackers were changed.
    Lost,
}

/// The end of a result.
#[derive(Copy, Clone, Debug)]
pub enum Ending<'a> {
    /// OK, also at the end of rows.
    Ok {
        /// The server's status.
        status: Status,
        /// The last insert id.
        insert_id: u64,
        /// How many warnings there are.
        warnings: u16,
        /// Changes of the session's state.
        changes: Option<&'a [u8]>,
    },
    /// EOF.
    Eof {
        /// The server's status.
        status: Status,
        /// How many warnings there are.
        warnings: u16,
    },
    /// ERR, with its number.
    Err(u16),
    /// Anything else, such as the answer to COM_STATISTICS, or the end of a prepared statement's
    /// definitions that is not on the wire.
    Other,
}

impl Ending<'_> {
    /// The OK of a statement outside of transactions that has nothing to tell.
    pub const PLAIN_OK: Ending<'static> = Ending::Ok {
        status: Status::AUTOCOMMIT,
        insert_id: 0,
        warnings: 0,
        changes: None,
    };
}

/// What is known of a session. It can be cloned, and takes a bounded number of bytes.
#[derive(Clone, Debug)]
pub struct Session {
    hidden: Hidden,
    reports: Reports,
    /// An error may have left changes that the server has not reported yet.
    unsettled: bool,
    /// Whether the open transaction has used no table yet.
    unused: bool,
    /// How often the schema, the autocommit mode or the characteristics have changed.
    revision: u64,
    server: Server,
    user: Vec<u8>,
    schema: Fact<Option<Vec<u8>>>,
    /// Whether the server has reported changes of the schema.
    reports_schema: bool,
    variables: Variables,
    client_collation: ClientCollation,
    transaction: Fact<Transaction>,
    autocommit: Fact<bool>,
    no_backslash_escapes: Option<bool>,
    characteristics: Fact<Vec<u8>>,
    last_insert_id: Fact<u64>,
    warnings: Fact<u16>,
    left: Left,
    commands: Commands,
}

impl Session {
    /// A session whose login has just been sent: its OK is the first [result](Session::result).
    pub fn new(login: &Login<'_>, hidden: Hidden) -> Session {
        // If it is not known, it is the more doubtful one.
        let server = match login.version {
            b"" => Server::MariaDbSharing,
            version if shares_names(version) => Server::MariaDbSharing,
            version if is_mariadb(version) => Server::MariaDb,
            _ => Server::MySql,
        };
        let mut session = Session {
            server,
            ..Session::unknown(hidden)
        };
        let names_schema = login.capabilities.contains(Capabilities::CONNECT_WITH_DB);
        let schema = if names_schema { login.schema } else { b"" };
        session.begin(login.user, schema, Some(login.collation));
        session
    }

    /// A session whose login was not seen: nothing is known at first.
    pub fn unknown(hidden: Hidden) -> Session {
        let why = Doubt::Login;
        Session {
            hidden,
            reports: Reports::Awaited,
            unsettled: false,
            unused: false,
            revision: 0,
            // This reason is the weaker one.
            server: Server::MariaDbSharing,
            user: Vec::new(),
            schema: Fact::Unknown(why),
            reports_schema: false,
            variables: Variables::unknown(why),
            client_collation: ClientCollation::AtLogin,
            transaction: Fact::Unknown(why),
            autocommit: Fact::Unknown(why),
            no_backslash_escapes: None,
            characteristics: Fact::Unknown(why),
            last_insert_id: Fact::Unknown(why),
            warnings: Fact::Unknown(why),
            left: Left::anything(why),
            commands: Commands::default(),
        }
    }

    /// The state after a login, or COM_CHANGE_USER.
    fn begin(&mut self, user: &[u8], schema: &[u8], collation: Option<u16>) {
        self.user = user.to_vec();
        self.reset(Doubt::Login);
        self.reports_schema = false;
        self.set_schema(schema);
        match self.hidden {
            Hidden::Trusted => {}
            Hidden::Doubted => {
                // init_connect may have done anything.
                return self.doubt_functions(Doubt::Login);
            }
            Hidden::Reported => return,
        }
        let asked = collation.and_then(|id| u8::try_from(id).ok());
        let Some((charset, collation)) =
            asked.and_then(|id| canonical::of_login(id, self.is_mariadb()))
        else {
            return;
        };
        for name in ["client", "connection", "results"] {
            self.variables.is(&format!("character_set_{name}"), charset);
        }
        if let Some(collation) = collation {
            self.variables.is("collation_connection", collation);
        }
    }

    /// The common part of logins and resets.
    fn reset(&mut self, why: Doubt) {
        self.reports = Reports::Awaited;
        self.unsettled = false;
        self.unused = false;
        self.variables.forget(why);
        self.learn_client_collation(ClientCollation::AtLogin);
        self.transaction = Fact::Known(Transaction::None);
        self.put_autocommit(Fact::Unknown(why));
        self.no_backslash_escapes = None;
        self.put_characteristics(Fact::Known(Vec::new()));
        self.last_insert_id = Fact::Known(0);
        self.warnings = Fact::Known(0);
        self.left.reset(
            match (why, self.hidden) {
                // Whoever pools connections closes those that may keep something hidden.
                (Doubt::Reset, Hidden::Reported) => Left::KEPT & self.known_to_be_left(),
                (Doubt::Reset, _) => Left::KEPT,
                _ => Traces::empty(),
            },
            why,
        );
        self.commands.forget_prepared();
    }

    /// A command goes to the server: for COM_QUERY, `argument` is the SQL alone.
    pub fn command(&mut self, com: Com, argument: &[u8]) {
        self.commands.push(com, argument, self.mode());
    }

    /// A command goes to the server whose contents are unknown.
    pub fn unseen_command(&mut self) {
        self.commands.push(Com::MULTI, b"", Mode::default());
    }

    /// What routines, views and triggers that the last command uses may leave behind, as is known from
    /// their definitions; `opaque` is why they may leave anything. Without this, routines may leave
    /// anything. A prepared statement hides when it is executed what was told when it was prepared.
    pub fn hides(&mut self, traces: Traces, opaque: Option<Doubt>) {
        self.commands.hides(Hides { traces, opaque });
    }

    /// A COM_STMT_PREPARE was answered with this id.
    pub fn prepared(&mut self, id: u32) {
        self.commands.prepared(id);
    }

    /// A result of the current command, or the login, is complete. `is_last`: and so is the whole
    /// answer.
    pub fn result(&mut self, ending: Ending<'_>, is_last: bool) {
        let failed = matches!(ending, Ending::Err(_));
        let Some(pending) = self.commands.begin_result() else {
            // The login's.
            return self.settle(ending, None);
        };
        self.settle(ending, Some(&pending));
        if let Task::Text(text) = &pending.task
            && is_last
            && !failed
            && pending.results + 1 < text.len()
        {
            // Fewer results than statements: the server has parsed the text differently.
            self.ran_anything(Doubt::Routine, Hides::ANYTHING);
        }
        if is_last || failed {
            self.commands.finish();
        }
    }

    /// The modes in which the texts of the session's commands are parsed.
    pub fn mode(&self) -> Mode {
        let sql_mode = self.variable("sql_mode");
        let sql_mode = sql_mode.known().copied().flatten();
        let has =
            |mode: &[u8], word: &[u8]| mode.split(|byte| *byte == b',').any(|one| one == word);
        let charset = self.variable("character_set_client");
        let charset = charset.known().copied().flatten();
        let charset = charset.and_then(|name| std::str::from_utf8(name).ok());
        Mode {
            no_backslash_escapes: self.no_backslash_escapes,
            ansi_quotes: sql_mode.map(|mode| has(mode, b"ANSI_QUOTES")),
            plain_charset: charset.and_then(is_plain_charset).unwrap_or(false),
        }
    }

    fn is_mariadb(&self) -> bool {
        self.server != Server::MySql
    }

    /// Whether tables may hide changes, in views and triggers.
    fn doubts_tables(&self) -> bool {
        self.hidden == Hidden::Doubted || self.reports == Reports::Lost
    }

    /// The user that has logged in.
    pub fn user(&self) -> &[u8] {
        &self.user
    }

    /// The default schema; `None` for none.
    pub fn schema(&self) -> Fact<Option<&[u8]>> {
        match &self.schema {
            _ if self.unsettled => Fact::Unknown(Doubt::Error),
            Fact::Known(schema) => Fact::Known(schema.as_deref()),
            Fact::Unknown(doubt) => Fact::Unknown(*doubt),
        }
    }

    /// A system variable by its name, in lower case; `None` for NULL.
    pub fn variable(&self, name: &str) -> Fact<Option<&[u8]>> {
        match (name, &self.autocommit) {
            ("autocommit", Fact::Known(true)) => Fact::Known(Some(b"ON")),
            ("autocommit", Fact::Known(false)) => Fact::Known(Some(b"OFF")),
            ("autocommit", Fact::Unknown(doubt)) => Fact::Unknown(*doubt),
            _ if self.unsettled => Fact::Unknown(Doubt::Error),
            _ => self.variables.get(name),
        }
    }

    /// The collation of the client's character set, on MariaDB.
    pub fn client_collation(&self) -> &ClientCollation {
        &self.client_collation
    }

    /// Whether a transaction is open.
    pub fn transaction(&self) -> Fact<Transaction> {
        self.transaction
    }

    /// Whether the open transaction, if there is one, was begun by a statement and has used no table
    /// yet, as the server reports.
    pub fn is_unused(&self) -> bool {
        self.unused && matches!(self.transaction, Fact::Known(Transaction::Open { .. }))
    }

    /// Whether each statement commits itself.
    pub fn autocommit(&self) -> Fact<bool> {
        self.autocommit
    }

    /// The statements that would start a transaction like the open one, or set the characteristics
    /// of the next one; empty if there are none.
    pub fn characteristics(&self) -> Fact<&[u8]> {
        match &self.characteristics {
            _ if self.unsettled => Fact::Unknown(Doubt::Error),
            Fact::Known(text) => Fact::Known(text),
            Fact::Unknown(doubt) => Fact::Unknown(*doubt),
        }
    }

    /// `LAST_INSERT_ID()`.
    pub fn last_insert_id(&self) -> Fact<u64> {
        self.last_insert_id
    }

    /// The number of warnings of the last statement that can have any.
    pub fn warnings(&self) -> Fact<u16> {
        self.warnings
    }

    /// What was left of these has been read, and is known by whoever has read it.
    pub fn were_read(&mut self, traces: Traces) {
        self.left.forget(traces);
    }

    /// What was left behind on the connection.
    pub fn left(&self) -> Traces {
        self.left.certain()
    }

    /// What may have been left behind, and why that is not certain.
    pub fn may_be_left(&self) -> (Traces, Doubt) {
        self.left.may_be()
    }

    /// What is known to have been left behind, or is likely to be: without what is opaque.
    pub fn known_to_be_left(&self) -> Traces {
        self.left.certain() | self.left.possible()
    }

    /// Why anything may have been left behind: a statement, or something that it has used, has hidden
    /// what it does.
    pub fn opaque(&self) -> Option<Doubt> {
        self.left.opaque()
    }

    /// Whether every command was answered.
    pub fn is_idle(&self) -> bool {
        self.commands.is_idle()
    }

    /// A key that is equal for sessions that are alike, given the same server, account and
    /// capabilities, and the same global variables at the login: such sessions get the same
    /// results.
    ///
    /// # Errors
    /// The session may differ from all others, for this reason.
    pub fn likeness(&self) -> Result<Vec<u8>, Doubt> {
        if !self.is_idle() || !self.left().is_empty() {
            return Err(Doubt::Volatile);
        }
        let (may_be_left, why) = self.may_be_left();
        if !may_be_left.is_empty() {
            return Err(why);
        }
        if self.unsettled {
            return Err(Doubt::Error);
        }
        match (self.transaction, self.autocommit, self.characteristics()) {
            (Fact::Known(Transaction::None), Fact::Known(true), Fact::Known(b"")) => {}
            (Fact::Unknown(why), _, _)
            | (_, Fact::Unknown(why), _)
            | (_, _, Fact::Unknown(why)) => return Err(why),
            _ => return Err(Doubt::Volatile),
        }
        let schema = match &self.schema {
            Fact::Known(schema) => schema,
            Fact::Unknown(why) => return Err(*why),
        };
        let mut likeness = self.variables.likeness()?;
        likeness.push(u8::from(schema.is_some()));
        likeness.extend_from_slice(schema.as_deref().unwrap_or_default());
        Ok(likeness)
    }
}

#[cfg(test)]
mod tests;
