//! The files of one layer form no circle: each can be read with nothing but those below it in mind.
//!
//! A file knows another if a path in it, in a `use` or elsewhere, leads to what that other file says.
//! Re-exports are followed to where the thing is defined, and are no knowledge of their own. Tests are
//! left out. Methods are not seen: that `impl Core` is written in many files, each of which may call what
//! the others add to it, is no circle here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::scan::{Import, Token, imports, paths, without_tests};
use super::{Source, sources};

/// A file, the one that it may know although that one (by way of others) knows it, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "proxy/observers/observer",
        "proxy/mod",
        "an observer is called with the proxy that has it on its list, so that it can act on what it sees",
    ),
    (
        "auth/method",
        "auth/credential",
        "a method judges a client by a credential, and a credential says which methods can",
    ),
];

#[test]
fn files_of_a_layer_form_no_circle() {
    let sources = sources();
    let crate_map = Crate::of(&sources);
    let mut knows = crate_map.knows();
    for (from, to, _) in EXCEPTIONS {
        let known = knows.get_mut(*from).is_some_and(|known| known.remove(*to));
        assert!(known, "src/{from} does not know src/{to}: no exception");
    }
    let mut complaints = String::new();
    for circle in circles(&knows) {
        writeln!(complaints, "  a circle of {}:", circle.len()).unwrap();
        for from in &circle {
            for to in knows[from].intersection(&circle) {
                writeln!(complaints, "    src/{from} knows src/{to}").unwrap();
            }
        }
    }
    assert!(
        complaints.is_empty(),
        "\nput what both need into a file below them:\n{complaints}"
    );
}

#[test]
fn each_exception_opens_a_circle() {
    let sources = sources();
    let knows = Crate::of(&sources).knows();
    for (from, to, _) in EXCEPTIONS {
        assert!(
            reachable(&knows, to).contains(from),
            "src/{to} knows nothing of src/{from}: take it off the list"
        );
    }
}

type Knows<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// One file's part in the crate.
struct Module<'a> {
    name: &'a str,
    /// The paths in it, as they are written.
    paths: Vec<String>,
    /// What its `use` declarations bring in, and under which name.
    imports: Vec<Import>,
}

/// The crate's modules by their paths, such as `proxy::table::conn`.
struct Crate<'a>(BTreeMap<String, Module<'a>>);

impl<'a> Crate<'a> {
    fn of(sources: &'a [Source]) -> Crate<'a> {
        let mut modules = BTreeMap::new();
        let mut tests = Vec::new();
        for source in sources {
            let path = module_path(&source.name);
            let tokens = super::tokens(&source.code);
            let (tokens, test_modules) = without_tests(tokens);
            tests.extend(test_modules.iter().map(|test| joined(&path, test)));
            let module = Module {
                name: unit(&source.name, sources),
                imports: imports(&tokens),
                paths: outside_of_uses(&tokens),
            };
            modules.insert(path, module);
        }
        modules.retain(|path, _| !tests.iter().any(|test| is_within(path, test)));
        Crate(modules)
    }

    /// Which files of their own layer files know.
    fn knows(&self) -> Knows<'a> {
        let mut knows = Knows::new();
        for (path, module) in &self.0 {
            let known = knows.entry(module.name).or_default();
            let used = module.imports.iter().filter(|import| !import.exported);
            let used = used.map(|import| &import.path).chain(&module.paths);
            for used in used {
                let target = self
                    .absolute(path, used)
                    .and_then(|used| self.defines(used));
                known.extend(target.filter(|target| {
                    layer(target).is_some() && layer(target) == layer(module.name)
                }));
            }
            known.remove(module.name);
        }
        knows
    }

    /// A path from the crate's root, or none if it leads out of the crate. It may begin with what a `use`
    /// declaration brought in.
    fn absolute(&self, from: &str, path: &str) -> Option<String> {
        let (first, rest) = path.split_once("::").unwrap_or((path, ""));
        self.rooted(from, path).or_else(|| {
            let imports = &self.0.get(from)?.imports;
            let import = imports.iter().find(|import| import.name == first)?;
            Some(joined(&self.rooted(from, &import.path)?, rest))
        })
    }

    /// The same for a path as `use` declarations have them.
    fn rooted(&self, from: &str, path: &str) -> Option<String> {
        let (first, rest) = path.split_once("::").unwrap_or((path, ""));
        match first {
            "crate" | "dpm" => Some(rest.to_string()),
            "self" => Some(joined(from, rest)),
            "super" => {
                let mut parent = parent(from);
                let mut rest = rest;
                while let Some(further) = rest.strip_prefix("super::") {
                    parent = self::parent(parent);
                    rest = further;
                }
                Some(joined(parent, rest))
            }
            _ => {
                let is_child = self.0.contains_key(&joined(from, first));
                is_child.then(|| joined(from, path))
            }
        }
    }

    /// The file that defines what a path from the root leads to.
    fn defines(&self, mut path: String) -> Option<&'a str> {
        // A circle of re-exports would not compile, and each leads on at least once.
        for _ in 0..16 {
            let (at, module) = self.innermost(&path)?;
            let rest = path[at.len()..].trim_start_matches("::");
            let (name, further) = rest.split_once("::").unwrap_or((rest, ""));
            let import = module.imports.iter().find(|import| import.name == name);
            let Some(import) = import.filter(|_| !name.is_empty()) else {
                return Some(module.name);
            };
            let Some(next) = self.rooted(&at, &import.path) else {
                return Some(module.name);
            };
            path = joined(&next, further);
        }
        None
    }

    /// The module that a path leads into, with its own path.
    fn innermost(&self, path: &str) -> Option<(String, &Module<'a>)> {
        let mut at = path;
        while !at.is_empty() {
            if let Some(module) = self.0.get(at) {
                return Some((at.to_string(), module));
            }
            at = parent(at);
        }
        None
    }
}

/// Every path of at least two words that is not in a `use` declaration.
fn outside_of_uses(tokens: &[Token<'_>]) -> Vec<String> {
    let mut rest = Vec::new();
    let mut in_use = false;
    for token in tokens {
        in_use = (in_use || token.text == "use") && token.text != ";";
        if !in_use {
            rest.push(*token);
        }
    }
    let found = paths(&rest).into_iter().map(|(_, path)| path);
    found.filter(|path| path.contains("::")).collect()
}

/// What a file is a part of: the file that has a folder of its name, or itself.
fn unit<'a>(name: &'a str, sources: &'a [Source]) -> &'a str {
    let name = name.trim_end_matches(".rs");
    let owner = name
        .match_indices('/')
        .map(|(at, _)| &name[..at])
        .find(|folder| {
            let mut owners = sources.iter();
            owners.any(|source| source.name.strip_suffix(".rs") == Some(folder))
        });
    owner.unwrap_or(name)
}

fn module_path(name: &str) -> String {
    let path = name.trim_end_matches(".rs").replace('/', "::");
    let path = path.strip_suffix("::mod").unwrap_or(&path);
    path.to_string()
}

fn layer(name: &str) -> Option<&str> {
    name.split_once('/').map(|(layer, _)| layer)
}

fn parent(path: &str) -> &str {
    path.rsplit_once("::").map_or("", |(parent, _)| parent)
}

fn joined(path: &str, rest: &str) -> String {
    match (path.is_empty(), rest.is_empty()) {
        (true, _) => rest.to_string(),
        (_, true) => path.to_string(),
        _ => format!("{path}::{rest}"),
    }
}

fn is_within(path: &str, module: &str) -> bool {
    let inside = path.strip_prefix(module);
    inside.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// All that a file knows, by way of others, too.
fn reachable<'a>(knows: &Knows<'a>, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&'a str> = knows.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = next.pop() {
        if seen.insert(file) {
            next.extend(knows.get(file).into_iter().flatten());
        }
    }
    seen
}

/// The sets of files each of which knows, by way of others, all the others.
fn circles<'a>(knows: &Knows<'a>) -> BTreeSet<BTreeSet<&'a str>> {
    let all: BTreeMap<_, _> = knows
        .keys()
        .map(|file| (*file, reachable(knows, file)))
        .collect();
    let in_circle = all.iter().filter(|(file, known)| known.contains(*file));
    in_circle
        .map(|(file, known)| {
            let back = known.iter().copied();
            back.filter(|other| all[other].contains(file)).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::without_comments_and_literals;

    fn source((name, text): &(&str, &str)) -> Source {
        Source {
            name: (*name).to_string(),
            text: (*text).to_string(),
            code: without_comments_and_literals(text),
        }
    }

    /// Who knows whom in these files, as `a b` for each pair.
    fn pairs(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files.iter().map(source).collect();
        let knows = Crate::of(&sources).knows();
        let mut pairs = Vec::new();
        for (from, known) in &knows {
            pairs.extend(known.iter().map(|to| format!("{from} {to}")));
        }
        pairs
    }

    #[test]
    fn paths_lead_to_files() {
        let files = [
            (
                "l/mod.rs",
                "mod a; mod b; mod room; pub use a::A; use room::inner::Deep;",
            ),
            (
                "l/a.rs",
                "use super::b::{self, B as Other}; fn f() { b::g(); std::fs::read(); }",
            ),
            ("l/b.rs", "fn g() { let _: crate::l::room::inner::Deep; }"),
            ("l/room/mod.rs", "pub mod inner; pub mod outer;"),
            ("l/room/inner.rs", "use super::super::A; use core::mem;"),
            (
                "l/room/outer.rs",
                "use super::super::Deep; fn f() -> Deep { Deep::new() }",
            ),
            ("other/mod.rs", "use crate::l::a::A;"),
        ];
        assert_eq!(
            pairs(&files),
            [
                "l/a l/b",
                "l/b l/room/inner",
                "l/mod l/room/inner",
                "l/room/inner l/a",
                "l/room/outer l/room/inner",
            ]
        );
    }

    #[test]
    fn tests_know_what_they_like() {
        let files = [
            ("l/mod.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
            (
                "l/a.rs",
                "use super::b::B;\n#[cfg(test)]\nmod tests { use super::super::b; }",
            ),
            (
                "l/b.rs",
                "#[cfg(test)] use super::a::A; fn f() {} #[cfg(test)] mod tests { fn g() { super::super::a::f() } }",
            ),
            ("l/tests.rs", "use super::a::A;"),
        ];
        assert_eq!(pairs(&files), ["l/a l/b"]);
    }

    #[test]
    fn parts_are_one_with_their_file() {
        let files = [
            ("l/a.rs", "mod part; use part::Part; pub struct A;"),
            ("l/a/part.rs", "use super::A; use super::super::b::B;"),
            ("l/b.rs", "use super::a::A;"),
        ];
        assert_eq!(pairs(&files), ["l/a l/b", "l/b l/a"]);
    }

    #[test]
    fn circles_are_found() {
        let files = [
            ("l/a.rs", "use super::b::B;"),
            ("l/b.rs", "use super::c::C; use super::d::D;"),
            ("l/c.rs", "use super::a::A;"),
            ("l/d.rs", "use super::e::E;"),
            ("l/e.rs", "use super::d::D; use super::f::F;"),
            ("l/f.rs", ""),
        ];
        let sources: Vec<_> = files.iter().map(source).collect();
        let knows = Crate::of(&sources).knows();
        let found = circles(&knows);
        let found: Vec<Vec<_>> = found.into_iter().map(|c| c.into_iter().collect()).collect();
        assert_eq!(found, [vec!["l/a", "l/b", "l/c"], vec!["l/d", "l/e"]]);
    }
}
