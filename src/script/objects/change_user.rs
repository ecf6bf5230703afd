//! COM_CHANGE_USER as scripts see it: another login.

use mlua::Value;

use super::object::{Held, reading};
use crate::script::lua::function::{Methods, nothing, one};
use crate::wire::{Auth, ChangeUser, Com, Command};

/// `cmd:change_user()`: the command's contents as an auth packet; nil for other commands.
pub fn add(methods: &Methods<'_>) -> mlua::Result<()> {
    methods.add::<Held<Command>>("change_user", |lua, cmd, args| {
        let command = reading(&cmd.0, args)?.clone();
        if command.com != Com::CHANGE_USER {
            return nothing();
        }
        let login = ChangeUser::decode(&command.argument).map_err(|error| args.error(error))?;
        let auth = login.into_auth(Auth::default().capabilities);
        one(Value::UserData(lua.create_userdata(Held::new(auth))?))
    })
}
