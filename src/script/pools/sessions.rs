//! Logical sessions of a pool's clients, as strings.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Value};

use super::handle::PoolObject;
use crate::pool::{LogicalSession, NoSession};
use crate::script::connections::conn::connection;
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Methods, one, string};
use crate::script::runtime::Runtime;

/// The highest limit of connections for one user.
pub const MAX_CONNECTIONS: u64 = 1 << 31;

/// The longest session. The pool's own limit is below.
const MAX_SESSION: usize = 256 << 20;

/// `session(client)`: the session as a string; `nil, "reading"`, and `parted` will be called; or
/// `nil, why`, and true if that may change soon. `session_user(session)`: the user it is of; or `nil, why`. `resume_session(client, session,
/// account, max_connections)`: true; or `nil, why`.
pub fn add(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<PoolObject>("session", move |lua, _, args| {
        let client = connection(args, 0, "client")?.id;
        let why = match rt.pools.session(rt.proxy(), client) {
            Ok(None) => return not_now(lua, "reading"),
            Err(why @ NoSession::Busy) => return not_now(lua, &why.to_string()),
            Ok(Some(session)) => match (session.stays(), session.write()) {
                (Some(hold), _) => hold.to_string(),
                (None, Some(bytes)) => return string(lua, bytes),
                (None, None) => "it is too long".to_string(),
            },
            Err(why) => why.to_string(),
        };
        none(lua, &why)
    })?;
    methods.add::<PoolObject>(
        "session_user",
        move |lua, _, args| match LogicalSession::read(&args.bytes(0, "session", MAX_SESSION)?) {
            Ok(session) => string(lua, session.user.as_bytes()),
            Err(why) => none(lua, &why.to_string()),
        },
    )?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("resume_session", move |lua, pool, args| {
        let client = connection(args, 0, "client")?.id;
        let session = LogicalSession::read(&args.bytes(1, "session", MAX_SESSION)?);
        let account = args.text(2, "account")?;
        let max_connections = args.integer(3, "max_connections", MAX_CONNECTIONS)?;
        let max_connections = usize::try_from(max_connections).unwrap_or(usize::MAX);
        let session = match session {
            Ok(session) => session,
            Err(why) => return none(lua, &why.to_string()),
        };
        let pools = &rt.pools;
        match pools.adopt_session(
            rt.proxy(),
            pool.0,
            client,
            (&account, max_connections),
            session,
        ) {
            Ok(()) => one(Value::Boolean(true)),
            Err(why) => none(lua, &why.to_string()),
        }
    })
}

/// The same with true: it may be otherwise soon.
fn not_now(lua: &Lua, why: &str) -> Answer {
    let mut values = none(lua, why)?;
    values.push_back(Value::Boolean(true));
    Ok(values)
}

fn none(lua: &Lua, why: &str) -> Answer {
    let why = Value::String(lua.create_string(why)?);
    Ok(MultiValue::from_vec(vec![Value::Nil, why]))
}
