//! The system variables of a session.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::canonical;
use super::couplings::{canonical_name, coupled, is_telling, is_volatile, sharing};
use super::fact::{Doubt, Fact};
use crate::sql::effects::Value;

/// How many variables are remembered, and how many bytes of names and values.
const MAX_VARIABLES: usize = 256;
const MAX_BYTES: usize = 16 << 10;

/// Values of system variables, by their names in lower case; `None` for NULL.
pub type Values = BTreeMap<String, Option<Vec<u8>>>;

/// What is known of a variable that was mentioned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Variable {
    /// Its value; `None` for NULL.
    Is(Option<Vec<u8>>),
    /// It was set to this literal, and the value that the server makes of it is not known.
    Written(Vec<u8>),
    Doubted(Doubt),
}

impl Variable {
    fn fact(&self) -> Fact<Option<&[u8]>> {
        match self {
            Variable::Is(value) => Fact::Known(value.as_deref()),
            Variable::Written(_) => Fact::Unknown(Doubt::Expression),
            Variable::Doubted(doubt) => Fact::Unknown(*doubt),
        }
    }

    fn size(&self) -> usize {
        match self {
            Variable::Is(Some(value)) | Variable::Written(value) => value.len(),
            Variable::Is(None) | Variable::Doubted(_) => 0,
        }
    }
}

/// What is known of all system variables.
#[derive(Clone, Debug)]
pub(super) struct Variables {
    mentioned: BTreeMap<String, Variable>,
    bytes: usize,
    /// Why the others are not known, or have the values that the session began with.
    others: Doubt,
    /// The values that the session began with, if they were read.
    initial: Option<Rc<Values>>,
    /// Those that something else than a SET of the client has changed: the account may lack the
    /// privilege to do the same.
    imposed: BTreeSet<String>,
    /// How often any of this has changed.
    revision: u64,
    /// One was set that is not remembered, and makes a difference.
    is_odd: bool,
}

impl Variables {
    /// Nothing is known, for this reason.
    pub(super) fn unknown(why: Doubt) -> Variables {
        Variables {
            mentioned: BTreeMap::new(),
            bytes: 0,
            others: why,
            initial: None,
            imposed: BTreeSet::new(),
            revision: 0,
            is_odd: false,
        }
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self, why: Doubt) {
        *self = Variables {
            revision: self.revision + 1,
            ..Variables::unknown(why)
        };
    }

    /// The session began with these values, and none was mentioned since.
    pub(super) fn begin_with(&mut self, values: Rc<Values>) {
        self.forget(Doubt::Login);
        self.initial = Some(values);
    }

    /// How often any of this has changed.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Any of them may have changed. It is not forgotten which were mentioned.
    pub(super) fn doubt_all(&mut self, why: Doubt) {
        for variable in self.mentioned.values_mut() {
            *variable = Variable::Doubted(why);
        }
        self.bytes = self.mentioned.keys().map(String::len).sum();
        self.others = why;
        self.revision += 1;
    }

    /// These values, and no others, were mentioned.
    pub(super) fn mention_only<'a>(
        &mut self,
        values: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    ) {
        self.mentioned = BTreeMap::new();
        self.bytes = 0;
        self.imposed = BTreeSet::new();
        self.others = Doubt::Login;
        self.revision += 1;
        for (name, value) in values {
            self.put(name, Variable::Is(value.map(<[u8]>::to_vec)));
        }
    }

    /// The variables that were mentioned, and why the others may have changed.
    pub(super) fn mentioned(&self) -> impl Iterator<Item = (&str, Fact<Option<&[u8]>>)> {
        let all = self.mentioned.iter();
        all.map(|(name, variable)| (name.as_str(), variable.fact()))
    }

    /// Those that something else than a SET of the client has changed.
    pub(super) fn imposed(&self) -> impl Iterator<Item = &str> {
        self.imposed.iter().map(String::as_str)
    }

    /// Whether a SET of the client has changed a variable, or something else has.
    pub(super) fn changed_by(&mut self, name: &str, is_own: bool) {
        let name = canonical_name(name);
        if is_own {
            self.imposed.remove(name);
        } else if self.mentioned.contains_key(name) {
            self.imposed.insert(name.to_string());
        }
    }

    /// Why those that were not mentioned may have other values than at the beginning.
    pub(super) fn others(&self) -> Option<Doubt> {
        (!self.are_initial() || self.initial.is_none()).then_some(self.others)
    }

    fn are_initial(&self) -> bool {
        matches!(self.others, Doubt::Login | Doubt::Reset)
    }

    /// What a variable's value is; `None` for NULL.
    pub(super) fn get(&self, name: &str) -> Fact<Option<&[u8]>> {
        let name = canonical_name(name);
        if is_volatile(name) {
            return Fact::Unknown(Doubt::Volatile);
        }
        if let Some(variable) = self.mentioned.get(name) {
            return variable.fact();
        }
        let initial = self.initial.as_ref().filter(|_| self.are_initial());
        match initial.and_then(|values| values.get(name)) {
            Some(value) => Fact::Known(value.as_deref()),
            None => Fact::Unknown(self.others),
        }
    }

    /// The server has reported a value.
    pub(super) fn reported(&mut self, name: &str, value: &[u8]) {
        // NULL is reported as an empty value for variables that can be NULL.
        let is_null = name == "character_set_results" && value.is_empty();
        self.put(name, Variable::Is((!is_null).then(|| value.to_vec())));
    }

    /// A value was read.
    pub(super) fn learn(&mut self, name: &str, value: Option<&[u8]>) {
        let may_be_unchanged = !sharing(name).is_empty()
            && self.mentioned.get(name) == Some(&Variable::Doubted(Doubt::Coupled));
        let initial = self.initial.as_ref().and_then(|values| values.get(name));
        if may_be_unchanged && initial.map(Option::as_deref) == Some(value) {
            // It was not this one that the report was about.
            self.bytes = self.bytes.saturating_sub(name.len());
            self.mentioned.remove(name);
            self.imposed.remove(name);
            self.revision += 1;
            return;
        }
        self.put(name, Variable::Is(value.map(<[u8]>::to_vec)));
    }

    /// Sets a value that is known for another reason.
    pub(super) fn is(&mut self, name: &str, value: &str) {
        self.put(name, Variable::Is(Some(value.as_bytes().to_vec())));
    }

    /// A statement has set it, so that the variables coupled to it are not known any more.
    pub(super) fn set(&mut self, name: &str, value: &Value) {
        let name = canonical_name(name);
        for other in coupled(name) {
            self.doubt(other, Doubt::Coupled);
        }
        let variable = match value {
            Value::Literal(literal) => match canonical::value(name, literal) {
                Some(value) => Variable::Is(value),
                None => Variable::Written(literal.clone()),
            },
            Value::Default | Value::Expression => Variable::Doubted(Doubt::Expression),
        };
        self.put(name, variable);
    }

    /// Marks a variable as unknown.
    pub(super) fn doubt(&mut self, name: &str, why: Doubt) {
        self.put(name, Variable::Doubted(why));
    }

    /// A report that no statement explains, from a server that mixes up names: marks all variables
    /// that it may be about as unknown.
    pub(super) fn doubt_sharing(&mut self, name: &str) {
        for other in sharing(canonical_name(name)) {
            self.doubt(other, Doubt::Coupled);
            self.changed_by(other, false);
        }
    }

    fn put(&mut self, name: &str, variable: Variable) {
        let name = canonical_name(name);
        if is_volatile(name) {
            self.is_odd |= is_telling(name);
            return;
        }
        if self.mentioned.get(name) == Some(&variable) {
            return;
        }
        self.revision += 1;
        let adds = name.len() + variable.size();
        if let Some(before) = self.mentioned.remove(name) {
            self.bytes = self.bytes.saturating_sub(name.len() + before.size());
        }
        if self.mentioned.len() >= MAX_VARIABLES || self.bytes + adds > MAX_BYTES {
            self.mentioned = BTreeMap::new();
            self.imposed = BTreeSet::new();
            self.bytes = 0;
            self.others = Doubt::Overflow;
            return;
        }
        self.bytes += adds;
        self.mentioned.insert(name.to_string(), variable);
    }

    /// A key that is equal for sessions with the same values, if they began with the same ones;
    /// `None` if that is not known.
    pub(super) fn likeness(&self) -> Result<Vec<u8>, Doubt> {
        if self.others != Doubt::Login {
            return Err(self.others);
        }
        if self.is_odd {
            return Err(Doubt::Volatile);
        }
        let mut all = Vec::new();
        for (name, variable) in &self.mentioned {
            let (mark, value) = match variable {
                Variable::Is(None) => (b'n', &[][..]),
                Variable::Is(Some(value)) => (b'=', value.as_slice()),
                Variable::Written(value) => (b'~', value.as_slice()),
                Variable::Doubted(doubt) => return Err(*doubt),
            };
            all.extend_from_slice(name.as_bytes());
            all.push(mark);
            all.extend_from_slice(&(value.len() as u64).to_le_bytes());
            all.extend_from_slice(value);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_one_and_couples_move_together() {
        let mut all = Variables::unknown(Doubt::Login);
        assert_eq!(all.get("sql_mode"), Fact::Unknown(Doubt::Login));
        all.reported("tx_isolation", b"SERIALIZABLE");
        assert_eq!(
            all.get("transaction_isolation"),
            Fact::Known(Some(&b"SERIALIZABLE"[..]))
        );
        all.reported("collation_connection", b"latin1_bin");
        all.set(
            "character_set_connection",
            &Value::Literal(b"utf8mb4".to_vec()),
        );
        assert_eq!(
            all.get("collation_connection"),
            Fact::Unknown(Doubt::Coupled)
        );
        all.reported("character_set_results", b"");
        assert_eq!(all.get("character_set_results"), Fact::Known(None));
        all.reported("timestamp", b"1");
        assert_eq!(all.get("timestamp"), Fact::Unknown(Doubt::Volatile));
    }

    #[test]
    fn what_is_too_much_is_forgotten() {
        let mut all = Variables::unknown(Doubt::Login);
        for n in 0..MAX_VARIABLES {
            all.reported(&format!("v{n}"), b"x");
        }
        assert_eq!(all.get("v0"), Fact::Known(Some(&b"x"[..])));
        all.reported("one more", b"x");
        assert_eq!(all.get("v0"), Fact::Unknown(Doubt::Overflow));
        all.reported("big", &[b'x'; MAX_BYTES]);
        assert_eq!(all.get("big"), Fact::Unknown(Doubt::Overflow));
    }
}
