//! `conn:session()`: what is known of a server's session.

use std::rc::Rc;

use mlua::{Lua, MultiValue, UserData, UserDataFields, Value};

use super::conn::ConnObject;
use crate::proxy::{ConnId, ConnInfo, ConnKind};
use crate::script::lua::convert::integer;
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one, string};
use crate::script::lua::option_table::OptionTable;
use crate::script::runtime::Runtime;
use crate::track::{Begun, Fact, Hidden, Session, Traces, Transaction};

/// What may be left on a connection, by the names that scripts know.
const TRACES: [(&str, Traces); 20] = [
    ("user_variables", Traces::USER_VARIABLES),
    ("temporary_tables", Traces::TEMPORARY_TABLES),
    ("table_locks", Traces::TABLE_LOCKS),
    ("backup_locks", Traces::BACKUP_LOCKS),
    ("named_locks", Traces::NAMED_LOCKS),
    ("handlers", Traces::HANDLERS),
    ("prepared", Traces::PREPARED),
    ("role", Traces::ROLE),
    ("sequences", Traces::SEQUENCES),
    ("resource_group", Traces::RESOURCE_GROUP),
    ("xa", Traces::XA),
    ("global_read_lock", Traces::GLOBAL_READ_LOCK),
    ("profiles", Traces::PROFILES),
    ("optimizer_traces", Traces::OPTIMIZER_TRACES),
    ("gtid_next", Traces::GTID_NEXT),
    ("one_shot", Traces::ONE_SHOT),
    ("timestamp", Traces::TIMESTAMP),
    ("package_variables", Traces::PACKAGE_VARIABLES),
    ("savepoints", Traces::SAVEPOINTS),
    ("schema_charset", Traces::SCHEMA_CHARSET),
];

/// Longer names are no system variables'.
const MAX_NAME: usize = 256;

/// The session on a connection to a server, as long as it is open.
#[derive(Debug)]
pub struct SessionObject(ConnId);

impl UserData for SessionObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "session");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "session")?;
            add_facts(&methods, &runtime)?;
            Ok(methods.table)
        });
    }
}

/// What a method reads, before it is made into a value of Lua.
enum Read {
    Text(Vec<u8>),
    Null,
    Boolean(bool),
    Number(u64),
    /// What was left, and what may be.
    Left(Traces, Traces),
    /// It is not known, for this reason.
    Unknown(&'static str),
}

impl Read {
    fn of<T>(fact: Fact<T>, read: impl FnOnce(T) -> Read) -> Read {
        match fact {
            Fact::Known(known) => read(known),
            Fact::Unknown(doubt) => Read::Unknown(doubt.name()),
        }
    }

    fn text(text: impl AsRef<[u8]>) -> Read {
        Read::Text(text.as_ref().to_vec())
    }

    fn answer(self, lua: &Lua) -> Answer {
        match self {
            Read::Text(text) => string(lua, text),
            Read::Null => one(Value::NULL),
            Read::Boolean(is_so) => one(Value::Boolean(is_so)),
            Read::Number(number) => one(integer(lua, number)?),
            Read::Left(left, may_be_left) => {
                let table = lua.create_table()?;
                for (name, trace) in TRACES {
                    if left.contains(trace) {
                        table.raw_set(name, true)?;
                    } else if may_be_left.contains(trace) {
                        table.raw_set(name, "maybe")?;
                    }
                }
                one(Value::Table(table))
            }
            Read::Unknown(why) => {
                let why = Value::String(lua.create_string(why)?);
                Ok(MultiValue::from_vec(vec![Value::Nil, why]))
            }
        }
    }
}

/// How a fact is read of a session.
type Reader = fn(&Session) -> Read;

/// How each method without arguments reads its fact.
const FACTS: [(&str, Reader); 11] = [
    ("user", |session| Read::text(session.user())),
    ("schema", |session| {
        Read::of(session.schema(), |schema| {
            Read::text(schema.unwrap_or_default())
        })
    }),
    ("transaction", |session| {
        Read::of(session.transaction(), |transaction| {
            Read::text(name_of(transaction))
        })
    }),
    ("in_transaction", |session| {
        Read::of(session.transaction(), |transaction| {
            Read::Boolean(transaction != Transaction::None)
        })
    }),
    ("read_only", |session| {
        Read::of(session.transaction(), |transaction| {
            Read::Boolean(matches!(
                transaction,
                Transaction::Open {
                    read_only: true,
                    ..
                }
            ))
        })
    }),
    ("autocommit", |session| {
        Read::of(session.autocommit(), Read::Boolean)
    }),
    ("characteristics", |session| {
        Read::of(session.characteristics(), Read::text)
    }),
    ("last_insert_id", |session| {
        Read::of(session.last_insert_id(), Read::Number)
    }),
    ("warnings", |session| {
        Read::of(session.warnings(), |count| Read::Number(count.into()))
    }),
    ("left", |session| {
        Read::Left(session.left(), session.may_be_left().0)
    }),
    ("likeness", |session| match session.likeness() {
        Ok(likeness) => Read::Text(likeness),
        Err(doubt) => Read::Unknown(doubt.name()),
    }),
];

fn name_of(transaction: Transaction) -> &'static str {
    match transaction {
        Transaction::None => "none",
        Transaction::Open { begun, .. } => match begun {
            Begun::Explicitly => "explicit",
            Begun::Implicitly => "implicit",
            Begun::Unclear => "open",
        },
    }
}

fn add_facts(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    for (name, read) in FACTS {
        let rt = runtime.clone();
        methods.add::<SessionObject>(name, move |lua, object, _| {
            let read = rt.sessions.with(object.0, read);
            read.unwrap_or(Read::Unknown("closed")).answer(lua)
        })?;
    }
    let rt = runtime.clone();
    methods.add::<SessionObject>("variable", move |lua, object, args| {
        let name = args.bytes(0, "name", MAX_NAME)?.to_ascii_lowercase();
        let name = String::from_utf8_lossy(&name);
        let read = rt.sessions.with(object.0, |session| {
            Read::of(session.variable(&name), |value| {
                value.map_or(Read::Null, Read::text)
            })
        });
        read.unwrap_or(Read::Unknown("closed")).answer(lua)
    })
}

/// The methods of connections.
pub fn add_methods(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<ConnObject>("track_session", move |_, conn, args| {
        let server = server_of(&rt, conn, args)?;
        if args.is_empty() {
            let tracked = server.is_some_and(|server| rt.sessions.has(server.id));
            return one(Value::Boolean(tracked));
        }
        let on = args.boolean(0, "")?;
        let options = OptionTable::argument(args, 1, &["hidden", "schema"])?;
        let schema = options
            .as_ref()
            .map(|options| options.bytes("schema", MAX_NAME));
        let schema = schema.transpose()?.flatten();
        let hidden = options.map(|options| {
            options.read(
                "hidden",
                "\"doubted\" or \"trusted\"",
                |value| match &*value.as_string()?.to_string_lossy() {
                    "doubted" => Some(Hidden::Doubted),
                    "trusted" => Some(Hidden::Trusted),
                    _ => None,
                },
            )
        });
        let hidden = hidden.transpose()?.flatten().unwrap_or_default();
        match server {
            Some(server) if on => rt
                .sessions
                .track(rt.proxy(), &server, hidden, schema.as_deref()),
            Some(server) => rt.sessions.untrack(rt.proxy(), server.id),
            None => {
                return Err(args.error("the client is linked to no server, so it has no session"));
            }
        }
        nothing()
    })?;

    let rt = runtime.clone();
    methods.add::<ConnObject>("session", move |_, conn, args| {
        let Some(server) = server_of(&rt, conn, args)? else {
            return one(Value::Nil);
        };
        if server.closed.get() {
            return one(Value::Nil);
        }
        if !rt.sessions.has(server.id) {
            return Err(args.error(
                "the session is not tracked: call server:track_session(true), before its login",
            ));
        }
        one(Value::UserData(rt.create_lean(SessionObject(server.id))?))
    })
}

/// The server whose session it is: the connection itself, or the other end of its link.
fn server_of(
    runtime: &Runtime,
    conn: &ConnObject,
    args: &Args,
) -> Result<Option<Rc<ConnInfo>>, ScriptError> {
    let info = conn.info();
    match info.kind {
        ConnKind::Server => Ok(Some(info.clone())),
        ConnKind::Client => {
            let proxy = runtime.proxy();
            let server = proxy.peer(info.id);
            Ok(server.and_then(|server| proxy.info(server)))
        }
        ConnKind::TcpListener | ConnKind::UnixListener => {
            Err(args.error("a listener has no session"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trace_has_a_name() {
        let named = TRACES
            .iter()
            .fold(Traces::empty(), |all, (_, trace)| all | *trace);
        // That is about definitions, and never left on a session.
        assert_eq!(named, Traces::all() - Traces::UNREPORTED);
    }
}
