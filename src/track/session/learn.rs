//! What a session is told by others than its commands and their answers.

use std::rc::Rc;

use super::{ClientCollation, Doubt, Fact, Hidden, Reports, Session, Values};

impl Session {
    /// The trackers were switched on, for all variables of the session, right after a login or a
    /// reset, before anything else was changed; `initial` has the values of that moment, by their [one name](crate::track::canonical_name).
    pub fn begin_reports(&mut self, initial: Rc<Values>) {
        self.variables.begin_with(initial);
        self.reports = match self.hidden {
            Hidden::Reported => Reports::All,
            Hidden::Doubted | Hidden::Trusted => Reports::Awaited,
        };
        self.last_insert_id = Fact::Known(0);
        self.reports_schema = true;
        self.unsettled = false;
        self.revision += 1;
    }

    /// The trackers have other settings now, so that reports may be missing.
    pub(super) fn end_reports(&mut self) {
        if self.reports() {
            self.reports = Reports::Lost;
            self.doubt_functions(Doubt::Routine);
        }
    }

    /// Whether the server reports every change of the schema, of variables and of transactions.
    pub fn reports(&self) -> bool {
        self.reports == Reports::All
    }

    /// A number that is another one whenever what is known of the schema, of the variables (other than
    /// those that change by themselves), of the autocommit mode or of the characteristics is
    /// something else, or if the last insert id is known no more. Its value does not matter.
    pub fn revision(&self) -> u64 {
        let changes = self.revision + self.variables.revision();
        let is_id_known = self.last_insert_id.known().is_some();
        changes << 2 | u64::from(self.unused) << 1 | u64::from(is_id_known)
    }

    /// The system variables that were mentioned since the session began, and what is known of each.
    pub fn mentioned(&self) -> impl Iterator<Item = (&str, Fact<Option<&[u8]>>)> {
        self.variables.mentioned()
    }

    /// The variables that something else than a SET of the client has changed, so that its account may
    /// lack the privilege to do the same.
    pub fn imposed(&self) -> impl Iterator<Item = &str> {
        self.variables.imposed()
    }

    /// Whether the variables that were not mentioned still have the values that the session began
    /// with, and those values were read.
    pub fn others_are_initial(&self) -> bool {
        self.variables.others().is_none()
    }

    /// Whether an error may have left changes that the server has not reported yet.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// The server has reported all that it had to.
    pub fn settled(&mut self) {
        if self.unsettled {
            self.unsettled = false;
            self.revision += 1;
        }
    }

    /// The value of a variable was read.
    pub fn learn_variable(&mut self, name: &str, value: Option<&[u8]>) {
        self.variables.learn(name, value);
    }

    /// These are the values of all variables that differ from those that the session began with.
    pub fn learn_variables<'a>(
        &mut self,
        values: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    ) {
        self.variables.mention_only(values);
    }

    /// `character_set_client` has this collation.
    pub fn learn_client_collation(&mut self, collation: ClientCollation) {
        if self.client_collation != collation {
            self.client_collation = collation;
            self.revision += 1;
        }
    }

    /// `LAST_INSERT_ID()` was read.
    pub fn learn_last_insert_id(&mut self, id: u64) {
        self.last_insert_id = Fact::Known(id);
    }

    /// The schema was read.
    pub fn learn_schema(&mut self, schema: Option<&[u8]>) {
        self.put_schema(Fact::Known(schema.map(<[u8]>::to_vec)));
    }

    pub(super) fn put_schema(&mut self, schema: Fact<Option<Vec<u8>>>) {
        if self.schema != schema {
            self.schema = schema;
            self.revision += 1;
        }
    }

    pub(super) fn put_autocommit(&mut self, autocommit: Fact<bool>) {
        if self.autocommit != autocommit {
            self.autocommit = autocommit;
            self.revision += 1;
        }
    }

    pub(super) fn put_characteristics(&mut self, characteristics: Fact<Vec<u8>>) {
        if self.characteristics != characteristics {
            self.characteristics = characteristics;
            self.revision += 1;
        }
    }
}
