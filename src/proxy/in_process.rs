//! Connections without sockets, for tests and fuzz targets: what they receive is fed to them, and what is
//! sent to them stays in their queues.

use std::rc::Rc;

use super::Proxy;
use super::id::ConnId;
use super::info::ConnKind;
use super::options::{Compression, Options};
use super::table::conn::{Role, Socket};
use super::table::slice::Slice;
use crate::session::{ClientSession, EventSet, ServerSession};

/// A client and a server that are linked, with these events armed on both.
pub fn linked_pair(proxy: &Proxy, armed: EventSet) -> (ConnId, ConnId) {
    let (client, server) = pair(proxy);
    proxy.link(client, server).expect("a link");
    proxy.arm(client, armed);
    proxy.arm(server, armed);
    (client, server)
}

/// A client that has just been accepted, and a server that is connected.
pub fn pair(proxy: &Proxy) -> (ConnId, ConnId) {
    let insert = |kind, role| {
        let mut core = proxy.core();
        // Without TLS and compression, which need the sockets.
        let options = Rc::new(Options {
            compression: Some(Compression::default()),
            ..Options::default()
        });
        let info = core
            .insert(kind, role, Socket::None, options, ("nowhere".into(), 0))
            .expect("a slot");
        info.id
    };
    let client = insert(ConnKind::Client, Role::Client(ClientSession::default()));
    let server = insert(ConnKind::Server, Role::Server(ServerSession::default()));
    (client, server)
}

/// Does what [`Proxy::pump`] does, without a socket, for as many turns as the connection needs.
pub fn feed(proxy: &Proxy, id: ConnId, mut bytes: &[u8]) {
    loop {
        let mut data = {
            let mut core = proxy.core();
            core.slice = Slice::of(1);
            let Some(conn) = core.open_mut(id) else {
                return;
            };
            let mut data = conn.read.input.take().to_vec();
            data.extend_from_slice(std::mem::take(&mut bytes));
            data
        };
        let (used, need) = proxy.process(id, &mut data);
        let mut core = proxy.core();
        core.keep(id, data.get(used..).unwrap_or_default(), need);
        if !core.slice.is_spent() {
            return;
        }
    }
}

/// What is queued on a connection that is open, or still has to be flushed.
pub fn output(proxy: &Proxy, id: ConnId) -> Vec<u8> {
    let core = proxy.core();
    core.get(id).expect("a connection").write.output.to_vec()
}
