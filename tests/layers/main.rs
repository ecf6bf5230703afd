//! Which layer may depend on which, enforced from the source text.
//!
//! `script` → `observe` → {`proxy` → {`session` → `wire`, `auth` → `wire`, `net` → `output`}, `sql`}: dependencies point down
//! only, `wire` and `net` never meet, and the Lua binding, the reactor and `unsafe` are used in one
//! place each. `doc/ARCHITECTURE.md` says why.

mod circles;
mod scan;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use scan::{paths, tokens, without_comments_and_literals};

/// A folder under `src/`.
struct Layer {
    name: &'static str,
    /// The layers it may name.
    knows: &'static [&'static str],
    /// Paths that it must not use, and what they would bring in.
    avoids: &'static [(&'static str, &'static str)],
}

const LUA: (&str, &str) = ("mlua", "Lua: only src/script/ speaks to it");
const REACTOR: (&str, &str) = ("mio", "the reactor: only src/net/ speaks to it");
const SIGNALS: (&str, &str) = ("signal_hook", "signals: only src/net/ takes them");
const SOCKET_OPTIONS: (&str, &str) = ("socket2", "sockets: only src/net/ has them");
const TLS: (&str, &str) = ("rustls", "TLS: only src/net/ speaks it");
const SOCKETS: (&str, &str) = ("std::net", "sockets: this layer has no I/O");
const SYSTEM: (&str, &str) = ("std::os", "the system: this layer has no I/O");
const IO: (&str, &str) = ("std::io", "streams: this layer has no I/O");
const FILES: (&str, &str) = ("std::fs", "files: this layer has no I/O");
const THREADS: (&str, &str) = ("std::thread", "threads: this layer has none");

/// From the top down. `knows` includes the layer itself.
const LAYERS: &[Layer] = &[
    Layer {
        name: "script",
        // Not `net`: `proxy` re-exports what scripts need of it (such as `TimerId`).
        knows: &[
            "observe", "pool", "http", "proxy", "auth", "session", "track", "wire", "sql",
            "workers", "output", "metrics", "record",
        ],
        avoids: &[REACTOR, SIGNALS, SOCKET_OPTIONS, TLS],
    },
    Layer {
        // Watches traffic for whoever is above: scripts, or a program in Rust.
        name: "observe",
        knows: &[
            "proxy", "session", "track", "wire", "sql", "metrics", "record",
        ],
        avoids: &[LUA, REACTOR, SIGNALS, SOCKET_OPTIONS, TLS],
    },
    Layer {
        // Many clients over few connections to servers.
        name: "pool",
        knows: &[
            "proxy", "session", "track", "wire", "sql", "metrics", "record",
        ],
        avoids: &[LUA, REACTOR, SIGNALS, SOCKET_OPTIONS, TLS],
    },
    Layer {
        // A service beside MySQL's in the same loop: of the proxy it knows the loop alone.
        name: "http",
        knows: &["proxy", "auth", "workers", "net"],
        avoids: &[LUA, REACTOR, SIGNALS, SOCKET_OPTIONS, TLS],
    },
    Layer {
        name: "proxy",
        knows: &[
            "auth", "session", "wire", "workers", "net", "output", "metrics", "record",
        ],
        avoids: &[LUA, REACTOR, SIGNALS, SOCKET_OPTIONS, TLS],
    },
    Layer {
        // Computes the data of logins; `script` and `proxy` send it.
        name: "auth",
        knows: &["wire"],
        avoids: PURE,
    },
    Layer {
        name: "session",
        knows: &["wire"],
        avoids: PURE,
    },
    Layer {
        name: "wire",
        knows: &[],
        avoids: PURE,
    },
    Layer {
        // What is known of a session, from what passes by.
        name: "track",
        knows: &["wire", "sql"],
        avoids: PURE,
    },
    Layer {
        // Only text: knows nothing of connections.
        name: "sql",
        knows: &[],
        avoids: PURE,
    },
    Layer {
        // How figures are declared: plain data.
        name: "metrics",
        knows: &[],
        avoids: PURE,
    },
    Layer {
        // Data as bytes that say what they are.
        name: "record",
        knows: &[],
        avoids: PURE,
    },
    Layer {
        // What several loops have in common.
        name: "workers",
        knows: &["net", "record"],
        avoids: &[LUA, REACTOR, SIGNALS, SOCKET_OPTIONS, TLS],
    },
    Layer {
        name: "net",
        knows: &["output"],
        avoids: &[LUA],
    },
    Layer {
        // The standard streams, whoever writes to them.
        name: "output",
        knows: &[],
        avoids: &[LUA, REACTOR, SIGNALS, SOCKET_OPTIONS, TLS, SOCKETS],
    },
];

const PURE: &[(&str, &str)] = &[
    LUA,
    REACTOR,
    SIGNALS,
    SOCKET_OPTIONS,
    TLS,
    SOCKETS,
    SYSTEM,
    IO,
    FILES,
    THREADS,
];

/// `main.rs` and similar files connect the layers, but use nothing below them directly.
const TOP_AVOIDS: &[(&str, &str)] = &[LUA, REACTOR, SIGNALS, SOCKET_OPTIONS, TLS];

/// Where `unsafe` is allowed. Each file gives its reasons at its head. Three modules are enough.
const UNSAFE: &[&str; 4] = &[
    "script/lua/state.rs",
    "script/lua/fast.rs",
    "script/lua/fast/rows.rs",
    "script/lua/interrupt.rs",
];

#[test]
fn dependencies_point_down() {
    let mut complaints = String::new();
    for file in sources() {
        let layer = LAYERS.iter().find(|layer| layer.name == file.folder());
        for (line, path) in paths(&tokens(&file.code)) {
            for why in objections(layer, &path) {
                writeln!(complaints, "  src/{}:{line}: `{path}`: {why}", file.name).unwrap();
            }
        }
    }
    assert!(
        complaints.is_empty(),
        "\nthe layers are script → observe → {{proxy → {{session → wire, auth → wire, net}}, sql}}:\n{complaints}"
    );
}

#[test]
fn every_folder_is_a_layer() {
    let known: BTreeSet<_> = LAYERS.iter().map(|layer| layer.name).collect();
    for file in sources() {
        let folder = file.folder();
        assert!(
            folder.is_empty() || known.contains(folder),
            "src/{}: the folder `{folder}` is no layer yet: say in tests/layers/main.rs whom it may \
             know, and in doc/ARCHITECTURE.md why",
            file.name
        );
    }
}

#[test]
fn unsafe_code_is_where_it_is_argued_for() {
    let mut complaints = String::new();
    for file in sources() {
        let allowed = UNSAFE.contains(&&*file.name);
        for token in tokens(&file.code) {
            if matches!(token.text, "unsafe" | "unsafe_code") && !allowed {
                writeln!(
                    complaints,
                    "  src/{}:{}: `{}`",
                    file.name, token.line, token.text
                )
                .unwrap();
            }
        }
        let argued = file
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .any(|line| line.contains("`unsafe`"));
        assert!(
            !allowed || argued,
            "src/{}: a file that is allowed `unsafe` argues for it in its `//!` head",
            file.name
        );
    }
    assert!(
        complaints.is_empty(),
        "\n`unsafe` belongs into {UNSAFE:?} alone:\n{complaints}"
    );

    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains("unsafe_code = \"deny\""),
        "Cargo.toml: the lint `unsafe_code` is to be \"deny\""
    );
}

#[test]
fn the_list_of_unsafe_files_is_not_stale() {
    if !root().join("src/script").exists() {
        return;
    }
    for name in UNSAFE {
        let used = sources().into_iter().any(|file| {
            file.name == *name && tokens(&file.code).iter().any(|t| t.text == "unsafe")
        });
        assert!(
            used,
            "src/{name} has no `unsafe` any more: take it off the list"
        );
    }
}

/// What is wrong with this path in a file of this layer (`None`: `main.rs` and similar).
fn objections(layer: Option<&Layer>, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let avoids = layer.map_or(TOP_AVOIDS, |layer| layer.avoids);
    for (avoided, why) in avoids {
        let inside = path.strip_prefix(avoided);
        if inside.is_some_and(|rest| rest.is_empty() || rest.starts_with("::")) {
            found.push(format!("brings in {why}"));
        }
    }
    let Some(layer) = layer else {
        return found;
    };
    let mut segments = path.split("::");
    let root = segments.next().unwrap_or_default();
    let named = segments.find(|segment| *segment != "super");
    let is_layer = |name: &str| LAYERS.iter().any(|layer| layer.name == name);
    match (root, named) {
        ("crate" | "dpm", Some(name)) if name != layer.name && !layer.knows.contains(&name) => {
            found.push(if is_layer(name) {
                format!("`{}` must not know `{name}`", layer.name)
            } else {
                format!(
                    "`{}` must not know what stands above the layers",
                    layer.name
                )
            });
        }
        ("super", Some(name)) if is_layer(name) => {
            found.push(format!("a layer is named from the root: `crate::{name}`"));
        }
        _ => {}
    }
    found
}

struct Source {
    /// Its path below `src/`, with slashes.
    name: String,
    text: String,
    /// The text without comments and literals.
    code: String,
}

impl Source {
    /// The layer's folder; empty for what lies in `src/` itself.
    fn folder(&self) -> &str {
        self.name.split_once('/').map_or("", |(folder, _)| folder)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
                files.push(Source {
                    name: name.replace('\\', "/"),
                    code: without_comments_and_literals(&text),
                    text,
                });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(files.len() > 20, "there is more in src/ than this");
    files
}

#[test]
fn the_rules_object_to_what_they_should() {
    let objects = |layer: &str, path: &str| {
        let layer = LAYERS.iter().find(|l| l.name == layer);
        !objections(layer, path).is_empty()
    };
    for (layer, path) in [
        ("wire", "crate::net::Stream"),
        ("sql", "crate::wire::Command"),
        ("proxy", "crate::sql::Tokens"),
        ("net", "crate::wire::Ok"),
        ("session", "crate::proxy"),
        ("session", "super::super::proxy::Proxy"),
        ("session", "std::net::TcpStream"),
        ("proxy", "mlua::Lua"),
        ("proxy", "crate::script"),
        ("proxy", "crate::observe::Rows"),
        ("observe", "crate::script::Script"),
        ("observe", "mlua::Lua"),
        ("script", "mio"),
        ("script", "crate::net::Poller"),
        ("net", "crate::cli::Arguments"),
        ("", "mlua::Lua"),
    ] {
        assert!(objects(layer, path), "{path} in {layer}");
    }
    for (layer, path) in [
        ("script", "crate::wire::Ok"),
        ("script", "crate::observe::Rows"),
        ("observe", "crate::proxy::Observer"),
        ("script", "mlua::Lua"),
        ("proxy", "crate::net::Stream"),
        ("proxy", "std::net::SocketAddr"),
        ("session", "crate::session::Event"),
        ("session", "super::response::Response"),
        ("wire", "mio_like::Thing"),
        ("net", "mio::Poll"),
        ("", "crate::proxy::Proxy"),
    ] {
        assert!(!objects(layer, path), "{path} in {layer}");
    }
}
