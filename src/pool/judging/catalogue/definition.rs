//! One definition: what it does by itself, and what it uses.

use super::graph::Object;
use super::{Hides, Needs};
use crate::sql::effects::{self, Action, Scope, Setting};
use crate::sql::{Access, Mode, Part, Ways, parts, tables};
use crate::track::{Doubt, Traces};

/// What a definition does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub hides: Hides,
    /// In its own schema, where no other is written.
    pub needs: Vec<Needs>,
}

impl Definition {
    /// One that cannot be judged.
    pub(super) fn opaque(why: Doubt) -> Definition {
        Definition {
            hides: Hides::opaque(why),
            needs: Vec::new(),
        }
    }

    /// The query of a view.
    pub(super) fn of_query(sql: &[u8], mode: Mode) -> Definition {
        let mut definition = Definition::nothing();
        definition.add(sql, mode, Doubt::Hidden);
        definition
    }

    /// The same view where it is written: then its tables are.
    pub(super) fn written(&self) -> Definition {
        let mut written = self.clone();
        for needs in &mut written.needs {
            if needs.object == Object::Read {
                needs.object = Object::Written;
            }
        }
        written
    }

    /// The body of a routine or a trigger.
    pub(super) fn of_body(body: &[u8], mode: Mode, why: Doubt) -> Definition {
        let Some(parts) = parts(body, mode) else {
            return Definition::opaque(why);
        };
        let mut definition = Definition::nothing();
        for part in parts {
            match part {
                Part::Statement(sql) => definition.add(sql, mode, why),
                Part::Expression(sql) => definition.add(&[b"DO ", sql].concat(), mode, why),
            }
            if definition.hides.opaque.is_some() {
                return Definition::opaque(why);
            }
        }
        definition
    }

    fn nothing() -> Definition {
        Definition {
            hides: Hides::NOTHING,
            needs: Vec::new(),
        }
    }

    /// A statement of it.
    fn add(&mut self, sql: &[u8], mode: Mode, why: Doubt) {
        for one in effects::effects(sql, mode) {
            // Transactions are known by the server's status.
            let traces = (one.leaves | one.may_leave) - Traces::XA - Traces::SAVEPOINTS;
            self.hides.traces |= traces;
            if let Action::Set(settings) = &one.action
                && settings.iter().any(is_unreported)
            {
                self.hides.traces |= Traces::UNREPORTED;
            }
            if matches!(one.action, Action::Opaque | Action::Unfamiliar) {
                self.hides.opaque = Some(why);
            }
        }
        let used = tables(sql, mode);
        if used.ways.contains(Ways::ANYTHING) {
            self.hides.opaque = Some(why);
        }
        for name in used.routines {
            let object = Object::Routine;
            self.needs.push(Needs { name, object });
        }
        for (name, access) in used.tables {
            let object = match access.contains(Access::WRITE) {
                true => Object::Written,
                false => Object::Read,
            };
            self.needs.push(Needs { name, object });
        }
    }
}

/// `@@x = …`
fn is_unreported(setting: &Setting) -> bool {
    matches!(setting, Setting::Variable(one) if one.scope == Scope::Unsaid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Definition {
        Definition::of_body(body.as_bytes(), Mode::default(), Doubt::Routine)
    }

    #[test]
    fn what_bodies_leave() {
        let temporary = Traces::TEMPORARY_TABLES;
        for (body, traces) in [
            ("RETURN a + 1", Traces::empty()),
            (
                "BEGIN DECLARE a INT; SET a = 1; SELECT 1 INTO a; END",
                Traces::empty(),
            ),
            (
                "BEGIN START TRANSACTION; SAVEPOINT a; COMMIT; END",
                Traces::empty(),
            ),
            ("SET NEW.a = OLD.a, NEW.b = 5", Traces::empty()),
            ("SET time_zone = '+00:00'", Traces::empty()),
            ("SET @@session.time_zone = '+00:00'", Traces::empty()),
            ("SET @@time_zone = '+00:00'", Traces::UNREPORTED),
            ("SELECT 1 INTO @a", Traces::USER_VARIABLES),
            ("SET NEW.a = 1, @b = 2", Traces::USER_VARIABLES),
            (
                "IF (@a := 5) THEN BEGIN END; END IF",
                Traces::USER_VARIABLES,
            ),
            ("CALL p(@a)", Traces::USER_VARIABLES),
            (
                "BEGIN CREATE TEMPORARY TABLE t SELECT 1; DROP TEMPORARY TABLE t; END",
                temporary,
            ),
            ("RETURN GET_LOCK('a', 1)", Traces::NAMED_LOCKS),
            ("DO RELEASE_LOCK('a')", Traces::empty()),
            (
                "BEGIN DECLARE a INT DEFAULT NEXTVAL(s); END",
                Traces::SEQUENCES,
            ),
            ("SET ROLE r", Traces::ROLE),
            ("SET profiling = 1", Traces::PROFILES),
            ("SET insert_id = 7", Traces::ONE_SHOT),
        ] {
            let found = of(body);
            assert_eq!(found.hides.opaque, None, "{body}");
            assert_eq!(found.hides.traces, traces, "{body}");
        }
    }

    #[test]
    fn what_is_opaque() {
        for body in [
            "BEGIN PREPARE s FROM @a; EXECUTE s; END",
            "EXECUTE IMMEDIATE 'SELECT 1'",
            "BEGIN p(); END",
            "SET STATEMENT a = 1 FOR nonsense",
            "nonsense",
        ] {
            assert_eq!(of(body).hides.opaque, Some(Doubt::Routine), "{body}");
        }
    }

    #[test]
    fn what_is_used() {
        let body =
            "BEGIN IF f(1) THEN INSERT INTO a.t SELECT g(x) FROM u; END IF; CALL p(h()); END";
        let mut used: Vec<_> = of(body)
            .needs
            .iter()
            .map(|needs| {
                let name = String::from_utf8_lossy(&needs.name.name).into_owned();
                format!("{name} {:?}", needs.object)
            })
            .collect();
        used.sort();
        assert_eq!(
            used,
            [
                "f Routine",
                "g Routine",
                "h Routine",
                "p Routine",
                "t Written",
                "u Read"
            ]
        );
    }
}
