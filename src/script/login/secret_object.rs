//! Passwords as objects, so that scripts can hand them on without seeing them.

use mlua::{AnyUserData, Lua, MetaMethod, UserData, UserDataFields, UserDataMethods, Value};

use crate::auth::Secret;

/// A password that a client has shown.
struct SecretObject(Secret);

impl UserData for SecretObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "password");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("a password"));
        methods.add_meta_method(MetaMethod::Eq, |_, own, other: AnyUserData| {
            let other = other.borrow::<SecretObject>();
            Ok(other.is_ok_and(|other| own.0 == other.0))
        });
    }
}

/// It as an object.
pub fn object(lua: &Lua, secret: Secret) -> mlua::Result<Value> {
    Ok(Value::UserData(lua.create_userdata(SecretObject(secret))?))
}

/// The password that such an object holds; `None` for any other value.
pub fn secret_in(value: &Value) -> Option<Secret> {
    let object = value.as_userdata()?.borrow::<SecretObject>().ok()?;
    Some(object.0.clone())
}
