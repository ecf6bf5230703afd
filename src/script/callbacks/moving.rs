//! The functions for clients that move from one Lua state to another.

use mlua::Function;

/// What the script has given to `dpm.on_move`.
#[derive(Debug, Clone)]
pub struct Moving {
    /// `pack(client)`
    pub pack: Function,
    /// `adopt(listener, client, server, text)`
    pub adopt: Function,
    /// `ready(listener)`
    pub ready: Option<Function>,
}
