//! `require`: where modules are found; and loading the startfile.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, Table, Value};

use super::error::ScriptError;

mod library {
    //! The Lua library, as it is in the binary: `FILES`.
    include!(concat!(env!("OUT_DIR"), "/library.rs"));
}

/// Where the library may be on disk, unless the environment says otherwise.
const FOLDERS: [&str; 2] = ["/usr/local/share/dpm/lua", "/usr/share/dpm/lua"];

/// The file of the library that runs without a startfile.
pub const STARTUP: &str = "startup.lua";

/// The startfile that is read from standard input.
const STANDARD_INPUT: &str = "-";

/// All of standard input. It is there once, however many states run it.
fn standard_input() -> Result<Vec<u8>, String> {
    static SOURCE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let read = || {
        let mut source = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut source);
        read.map(|_| source).map_err(|error| error.to_string())
    };
    SOURCE.get_or_init(read).clone()
}

/// The source of a file of the library.
pub fn embedded(name: &str) -> Option<&'static [u8]> {
    let file = library::FILES.iter().find(|(path, _)| *path == name);
    file.map(|(_, source)| *source)
}

/// A file of the library that is no module: on disk, or else the copy in the binary.
pub fn library_file(name: &str) -> Option<Cow<'static, [u8]>> {
    let embedded = embedded(name)?;
    let on_disk = library_folder().and_then(|folder| fs::read(folder.join(name)).ok());
    Some(on_disk.map_or(Cow::Borrowed(embedded), Cow::Owned))
}

/// Sets up `require`: the startfile's folder, `LUA_PATH` and `LUA_CPATH` (or LuaJIT's defaults),
/// the library's folder if there is one, and the copy of it in the binary.
pub fn install(lua: &Lua, startfile: Option<&Path>) -> mlua::Result<()> {
    let package: Table = lua.globals().get("package")?;
    let own = startfile.map(|file| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    });
    let shared = library_folder();

    let lua_files = |folder: &Path| patterns(folder, &["?.lua", "?/init.lua"]);
    let native = |folder: &Path| patterns(folder, &["?.so"]);
    for (field, before, after) in [
        (
            "path",
            own.as_deref().map(lua_files),
            shared.as_deref().map(lua_files),
        ),
        (
            "cpath",
            own.as_deref().map(native),
            shared.as_deref().map(native),
        ),
    ] {
        let path: mlua::LuaString = package.get(field)?;
        let parts: Vec<Vec<u8>> = [before, Some(path.as_bytes().to_vec()), after]
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect();
        package.set(field, lua.create_string(parts.join(&b';'))?)?;
    }

    let loaders: Table = package.get("loaders")?;
    loaders.push(lua.create_function(|lua, name: mlua::LuaString| search(lua, &name))?)
}

fn library_folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("DPM_LUA").filter(|folder: &OsString| !folder.is_empty())
    {
        return Some(PathBuf::from(folder));
    }
    FOLDERS
        .iter()
        .map(PathBuf::from)
        .find(|folder| folder.is_dir())
}

fn patterns(folder: &Path, patterns: &[&str]) -> Vec<u8> {
    let folder = folder.as_os_str().as_encoded_bytes();
    let parts: Vec<Vec<u8>> = patterns
        .iter()
        .map(|pattern| [folder, b"/", pattern.as_bytes()].concat())
        .collect();
    parts.join(&b';')
}

/// The last place where `require` looks: the binary.
fn search(lua: &Lua, name: &mlua::LuaString) -> mlua::Result<Value> {
    let path = name.to_string_lossy().replace('.', "/");
    for candidate in [format!("{path}.lua"), format!("{path}/init.lua")] {
        if let Some(function) = compiled(lua, &candidate)? {
            return Ok(Value::Function(function));
        }
    }
    let message = format!("\n\tno file '{path}.lua' in the dpm binary");
    Ok(Value::String(lua.create_string(message)?))
}

/// A file of the library in the binary. The first state of the program compiles it; for others (of workers, of reloaded startfiles)
/// its bytecode is at hand, as compiling all of the library takes longer than clients should wait at a reload.
fn compiled(lua: &Lua, path: &str) -> mlua::Result<Option<Function>> {
    static BYTECODE: Mutex<BTreeMap<String, Arc<[u8]>>> = Mutex::new(BTreeMap::new());
    let Some(source) = embedded(path) else {
        return Ok(None);
    };
    let name = format!("@dpm/{path}");
    let known = || BYTECODE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = known().get(path).cloned();
    if let Some(bytecode) = before {
        let chunk = lua.load(&*bytecode).set_name(name);
        return chunk.set_mode(ChunkMode::Binary).into_function().map(Some);
    }
    let function = compile(lua, source, &name)?;
    known().insert(path.to_owned(), function.dump(false).into());
    Ok(Some(function))
}

/// Compiles a chunk. A first line that begins with # is skipped.
fn compile(lua: &Lua, source: &[u8], name: &str) -> mlua::Result<Function> {
    let source = source.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(source);
    let source = match source.first() {
        // The line end stays, so that line numbers match the file.
        Some(b'#') => {
            let end = source.iter().position(|byte| *byte == b'\n');
            source
                .get(end.unwrap_or(source.len())..)
                .unwrap_or_default()
        }
        _ => source,
    };
    lua.load(source).set_name(name).into_function()
}

/// A startfile that was read once, for any number of workers.
#[derive(Debug, Clone)]
pub struct Startfile {
    /// How Lua's messages name it.
    name: String,
    source: Cow<'static, [u8]>,
}

/// How Lua's messages name a startfile.
fn name_of(path: Option<&Path>) -> String {
    match path {
        None => format!("@dpm/{STARTUP}"),
        Some(path) if path == Path::new(STANDARD_INPUT) => "=stdin".to_owned(),
        Some(path) => format!("@{}", path.display()),
    }
}

impl Startfile {
    /// Reads a startfile; without one, the built-in.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: Option<&Path>) -> Result<Startfile, ScriptError> {
        let source = match path {
            None => {
                return Ok(Startfile::of_source(
                    None,
                    embedded(STARTUP).unwrap_or_default(),
                ));
            }
            Some(path) if path == Path::new(STANDARD_INPUT) => standard_input(),
            Some(path) => fs::read(path).map_err(|error| error.to_string()),
        };
        let name = name_of(path);
        let shown = name.get(1..).unwrap_or_default();
        let source =
            source.map_err(|error| ScriptError::new(format!("cannot read {shown}: {error}")))?;
        Ok(Startfile::of_source(path, source))
    }

    /// One whose text is known.
    pub fn of_source(path: Option<&Path>, source: impl Into<Cow<'static, [u8]>>) -> Startfile {
        Startfile {
            name: name_of(path),
            source: source.into(),
        }
    }

    /// Its text.
    pub fn into_source(self) -> Vec<u8> {
        self.source.into_owned()
    }

    /// Reads a startfile that was read before.
    ///
    /// # Errors
    /// It cannot be read, or not a second time.
    pub fn read_again(path: Option<&Path>) -> Result<Startfile, ScriptError> {
        if path == Some(Path::new(STANDARD_INPUT)) {
            return Err(ScriptError::new(
                "standard input cannot be read a second time",
            ));
        }
        Startfile::read(path)
    }

    /// Compiles it.
    pub fn compile(&self, lua: &Lua) -> Result<Function, ScriptError> {
        let compiled = compile(lua, &self.source, &self.name);
        compiled.map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => ScriptError(message),
            other => other.into(),
        })
    }
}
