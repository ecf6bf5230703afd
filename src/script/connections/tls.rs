//! `conn:tls()`: what is known of a TLS session, and a listener's certificates.

use std::rc::Rc;

use mlua::{Lua, Value};

use super::conn::ConnObject;
use crate::proxy::{ConnInfo, TlsServer};
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, Methods, nothing, one};
use crate::script::options::tls_options;
use crate::script::runtime::Runtime;

pub fn add_methods(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let runtime = runtime.clone();
    methods.add::<ConnObject>("tls", move |lua, conn, args| match args.is_empty() {
        true => describe(lua, conn.info()),
        false => renew(&runtime, conn, args),
    })
}

/// New certificates for a listener. They are read before anything changes.
fn renew(runtime: &Runtime, listener: &ConnObject, args: &Args) -> Answer {
    let info = listener.info();
    if !info.kind.is_listener() {
        return Err(args.error("expected no argument: only a listener takes new certificates"));
    }
    let table = args.table(0, "tls")?;
    let tls = tls_options::renewed(args, table, info.tls_server().as_ref())?;
    if !runtime.proxy().set_listener_tls(info.id, tls) {
        let (id, reason) = (info.id.serial(), info.reason());
        return Err(args.error(format!("listener {id} is closed ({reason})")));
    }
    nothing()
}

/// A listener's certificate, or information about the connection's TLS session; nil without TLS.
fn describe(lua: &Lua, info: &ConnInfo) -> Answer {
    if let Some(tls) = info.tls_server() {
        return describe_certificate(lua, &tls);
    }
    let Some(session) = info.tls() else {
        return one(Value::Nil);
    };
    let table = lua.create_table()?;
    table.raw_set("version", session.version)?;
    table.raw_set("cipher", session.cipher.as_str())?;
    table.raw_set("resumed", session.resumed)?;
    table.raw_set("server_name", session.server_name.as_deref())?;
    table.raw_set("fingerprint", session.shown.as_ref().map(in_hex))?;
    if let Some(peer) = &session.peer {
        table.raw_set("peer_subject", peer.subject.as_str())?;
        table.raw_set("peer_issuer", peer.issuer.as_str())?;
        table.raw_set("peer_fingerprint", in_hex(&peer.fingerprint))?;
    }
    one(Value::Table(table))
}

fn describe_certificate(lua: &Lua, tls: &TlsServer) -> Answer {
    let table = lua.create_table()?;
    table.raw_set("certificate", tls.certificate())?;
    table.raw_set("subject", tls.subject())?;
    table.raw_set("fingerprint", in_hex(&tls.fingerprint()))?;
    one(Value::Table(table))
}

fn in_hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
