//! What uses what: a routine's verdict is that of all that it leads to.

use std::collections::HashMap;

use super::definition::Definition;
use super::{Harmless, Hides, lower};
use crate::sql::Name;
use crate::track::Doubt;

/// The schema whose views and routines are not read: they set variables of their own, and their names are
/// common words.
pub(super) const SYS: &[u8] = b"sys";

/// How something is used.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Object {
    /// A function or a procedure is called.
    Routine,
    /// A table or a view is read.
    Read,
    /// It is written, too, or only that.
    Written,
}

/// What has a definition.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Defined {
    Function,
    Procedure,
    /// A package of MariaDB's Oracle mode.
    Package,
    View,
    /// The same where it is written, and so are its tables.
    WrittenView,
    /// All triggers of a table.
    Triggers,
}

/// Schema and name, in lower case.
type Key = (Vec<u8>, Vec<u8>);

#[derive(Clone, Debug)]
struct Node {
    defined: Defined,
    key: Key,
    hides: Hides,
}

/// All definitions, judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    by_key: HashMap<(Defined, Key), usize>,
    /// The same without the schema.
    by_name: HashMap<Vec<u8>, Vec<usize>>,
    /// Loadable functions, in lower case.
    loadable: std::collections::HashSet<Vec<u8>>,
    harmless: Harmless,
    is_unread: bool,
}

/// Definitions that are not judged yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Builder {
    graph: Graph,
    definitions: Vec<Vec<Definition>>,
}

impl Builder {
    pub(super) fn new(harmless: Harmless) -> Builder {
        let graph = Graph {
            harmless,
            ..Graph::default()
        };
        Builder {
            graph,
            definitions: Vec::new(),
        }
    }

    /// Whether this was declared harmless.
    pub(super) fn is_harmless(&self, schema: &[u8], name: &[u8]) -> bool {
        self.graph.is_harmless(Some(&lower(schema)), &lower(name))
    }

    pub(super) fn add_loadable(&mut self, name: &[u8]) {
        self.graph.loadable.insert(lower(name));
    }

    /// Adds a definition. A table has those of all its triggers.
    pub(super) fn add(
        &mut self,
        defined: Defined,
        schema: &[u8],
        name: &[u8],
        all: Vec<Definition>,
    ) {
        let key = (lower(schema), lower(name));
        let graph = &mut self.graph;
        let next = graph.nodes.len();
        let place = *graph.by_key.entry((defined, key.clone())).or_insert(next);
        if place == next {
            graph.by_name.entry(key.1.clone()).or_default().push(next);
            let hides = Hides::NOTHING;
            graph.nodes.push(Node {
                defined,
                key,
                hides,
            });
            self.definitions.push(Vec::new());
        }
        if let Some(definitions) = self.definitions.get_mut(place) {
            definitions.extend(all);
        }
    }

    /// Judges all: what is used is part of what uses it. Each verdict can change only a few times, so that
    /// this takes linear time, also where definitions use each other in circles.
    pub(super) fn finish(self) -> Graph {
        let Builder {
            mut graph,
            definitions,
        } = self;
        let mut used_by: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
        let mut verdicts = Vec::with_capacity(graph.nodes.len());
        for (place, all) in definitions.iter().enumerate() {
            let mut hides = Hides::NOTHING;
            let schema = graph.nodes.get(place).map(|node| node.key.0.clone());
            for definition in all {
                hides = hides.and(definition.hides);
                for needs in &definition.needs {
                    let found = graph.find(&needs.name, needs.object, schema.as_deref());
                    hides = hides.and(found.unknown);
                    hides.calls |= found.calls;
                    for used in found.places {
                        if let Some(users) = used_by.get_mut(used) {
                            users.push(place);
                        }
                    }
                }
            }
            verdicts.push(hides);
        }
        let mut waiting: Vec<usize> = (0..verdicts.len()).collect();
        while let Some(place) = waiting.pop() {
            let hides = verdicts.get(place).copied().unwrap_or(Hides::NOTHING);
            for user in used_by.get(place).into_iter().flatten() {
                if let Some(verdict) = verdicts.get_mut(*user) {
                    let both = verdict.and(hides);
                    if both != *verdict {
                        *verdict = both;
                        waiting.push(*user);
                    }
                }
            }
        }
        for (node, hides) in graph.nodes.iter_mut().zip(verdicts) {
            node.hides = hides;
        }
        graph
    }
}

/// What a name leads to.
#[derive(Debug)]
struct Found {
    places: Vec<usize>,
    /// For what is not there.
    unknown: Hides,
    /// A routine that is not declared harmless.
    calls: bool,
}

impl Graph {
    /// Nothing is known.
    pub(super) fn unread() -> Graph {
        Graph {
            is_unread: true,
            ..Graph::default()
        }
    }

    pub(super) fn is_unread(&self) -> bool {
        self.is_unread
    }

    /// Whether a name, in lower case, was declared harmless.
    pub(super) fn is_harmless(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        self.harmless.contains(schema, name)
    }

    /// The names, in lower case, whose use as a table may hide something.
    pub(super) fn telling_names(&self) -> impl Iterator<Item = Vec<u8>> {
        let is_telling = |node: &&Node| {
            let is_routine = matches!(
                node.defined,
                Defined::Function | Defined::Procedure | Defined::Package
            );
            !is_routine && !node.hides.is_nothing()
        };
        let telling = self.nodes.iter().filter(is_telling);
        telling.map(|node| node.key.1.clone()).chain([SYS.to_vec()])
    }

    /// What calling this does; `schema` is the default one, in lower case.
    pub(super) fn called(&self, routine: &Name, schema: Option<&[u8]>) -> Hides {
        self.judged(self.find(routine, Object::Routine, schema))
    }

    /// What using this table or view does.
    pub(super) fn used(&self, table: &Name, writes: bool, schema: Option<&[u8]>) -> Hides {
        let object = match writes {
            true => Object::Written,
            false => Object::Read,
        };
        self.judged(self.find(table, object, schema))
    }

    /// What anything of this name does, in lower case, in any schema.
    pub(super) fn anything_named(&self, name: &[u8]) -> Hides {
        let places = self.by_name.get(name).cloned().unwrap_or_default();
        self.judged(Found {
            places,
            unknown: Hides::NOTHING,
            calls: false,
        })
    }

    fn judged(&self, found: Found) -> Hides {
        let nodes = found
            .places
            .iter()
            .filter_map(|place| self.nodes.get(*place));
        let hides = nodes.fold(found.unknown, |hides, node| hides.and(node.hides));
        Hides {
            calls: hides.calls || found.calls,
            ..hides
        }
    }

    fn find(&self, name: &Name, object: Object, schema: Option<&[u8]>) -> Found {
        let own = name.schema.as_deref().map(lower);
        let place = own.as_deref().or(schema);
        let lower = lower(&name.name);
        let mut found = Found {
            places: Vec::new(),
            unknown: Hides::NOTHING,
            calls: false,
        };
        if self.is_harmless(place, &lower) {
            return found;
        }
        let wanted: &[Defined] = match object {
            Object::Routine => &[Defined::Function, Defined::Procedure],
            Object::Read => &[Defined::View],
            Object::Written => &[Defined::View, Defined::WrittenView, Defined::Triggers],
        };
        found.places = self.places(wanted, place, &lower);
        if object != Object::Routine {
            if self.is_unread || place == Some(SYS) {
                found.unknown = Hides::opaque(Doubt::Hidden);
            }
            return found;
        }
        found.calls = true;
        // A routine of a package is written as one of a schema.
        if let Some(package) = &own {
            found
                .places
                .extend(self.places(&[Defined::Package], schema, package));
        }
        let is_loadable = own.is_none() && self.loadable.contains(&lower);
        found.unknown = match (found.places.is_empty(), own.is_none()) {
            (true, true) => Hides::opaque(Doubt::Loadable),
            (true, false) if place == Some(SYS) => Hides::opaque(Doubt::Routine),
            (true, false) => Hides::opaque(Doubt::Missing),
            _ if is_loadable => Hides::opaque(Doubt::Loadable),
            _ => Hides::NOTHING,
        };
        found
    }

    /// What has this name, in this schema or, if that is not known, in any.
    fn places(&self, wanted: &[Defined], schema: Option<&[u8]>, name: &[u8]) -> Vec<usize> {
        if let Some(schema) = schema {
            let key = |defined: &Defined| (*defined, (schema.to_vec(), name.to_vec()));
            let find = |defined: &Defined| self.by_key.get(&key(defined)).copied();
            return wanted.iter().filter_map(find).collect();
        }
        let is_wanted = |place: &&usize| {
            let node = self.nodes.get(**place);
            node.is_some_and(|node| wanted.contains(&node.defined))
        };
        let all = self.by_name.get(name);
        all.into_iter()
            .flatten()
            .filter(is_wanted)
            .copied()
            .collect()
    }
}
