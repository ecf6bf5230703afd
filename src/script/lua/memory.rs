//! How much memory Lua may take.
//!
//! Where the system has no more memory to give, the process ends. So Lua's own heap is limited, and
//! a script that reaches the limit gets the error "not enough memory" instead.
//!
//! The limit is on while Lua's code runs, and off while ours does: what Rust makes in Lua's heap is bounded
//! elsewhere, and such an error could not pass through Rust.

use std::fs;
use std::path::Path;

use mlua::Lua;
use rlimit::Resource;

/// Runs Lua code under a limit (0: none).
pub fn limited<R>(lua: &Lua, limit: usize, code: impl FnOnce() -> R) -> R {
    // (It cannot fail: the state is ours.)
    let before = lua.set_memory_limit(limit).unwrap_or_default();
    let result = code();
    let _ = lua.set_memory_limit(before);
    result
}

/// Half of the memory that the process may have, which leaves as much for connections; 0 if that is not known. Of the
/// address space, half of what is left: threads have reserved some of it, and will not use it.
pub fn default_limit() -> usize {
    let reserved = address_space().unwrap_or_default();
    let left = |limit: u64| limit.saturating_sub(reserved).max(1);
    let resources = [
        Resource::AS.get_soft().ok().map(left),
        Resource::DATA.get_soft().ok(),
    ];
    let limits = resources.into_iter().chain([control_group(), machine()]);
    let most = limits.flatten().min().unwrap_or_default() / 2;
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// The machine's memory.
fn machine() -> Option<u64> {
    kibibytes("/proc/meminfo", "MemTotal:")
}

/// The address space in use.
fn address_space() -> Option<u64> {
    kibibytes("/proc/self/status", "VmSize:")
}

/// A line of one of the kernel's lists, in bytes.
fn kibibytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// The limit of the process's control group, and of those around it.
fn control_group() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folders = Path::new("/sys/fs/cgroup").join(group);
    let limit = |folder: &Path| -> Option<u64> {
        let text = fs::read_to_string(folder.join("memory.max")).ok()?;
        text.trim().parse().ok()
    };
    folders.ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_limit() {
        assert!(machine().is_some_and(|bytes| bytes > 1 << 20));
        assert!(default_limit() > 1 << 20);
    }

    #[test]
    fn beyond_the_limit_is_an_error_and_the_limit_is_lifted_again() {
        let lua = Lua::new();
        let code = "local t = {} for i = 1, 1e9 do t[i] = {} end";
        let limit = lua.used_memory() + (1 << 20);
        let error = limited(&lua, limit, || lua.load(code).exec()).unwrap_err();
        assert!(error.to_string().contains("not enough memory"), "{error}");
        assert_eq!(lua.set_memory_limit(0).unwrap(), 0);
    }
}
