//! A command that was held back, and is handled now as if it had just arrived.

use std::borrow::Cow;

use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::table::conn::Role;
use crate::proxy::table::received::Received;
use crate::session::{Event, EventSet, Head, PacketKind, Step};
use crate::wire::{Com, Status};

impl Proxy {
    /// Shows a client's command again, which an observer has held back, to all observers and the
    /// hooks, and forwards it over the client's link as it stands then. False if the client waits for
    /// no answer any more, and nothing was shown.
    pub fn show_again(&self, client: ConnId, payload: &[u8]) -> bool {
        let received = {
            let mut core = self.core();
            let Some(conn) = core.open_mut(client) else {
                return false;
            };
            let Role::Client(session) = &conn.role else {
                return false;
            };
            let is_owed = session.response().is_some_and(|answer| !answer.started());
            let head = Head::of(payload);
            let com = Com(head.first().unwrap_or_default());
            if com.expects_answer() && !is_owed || !session.authenticated() {
                return false;
            }
            Received {
                info: conn.info.clone(),
                step: Step {
                    kind: PacketKind::Command,
                    events: Event::ClientSentCommand.set(),
                    synthesised: EventSet::NONE,
                    done: false,
                },
                payload: Cow::Borrowed(payload),
                capabilities: conn.capabilities(),
                unsolicited: false,
                passthrough: false,
                discard: false,
                numbering: conn.numbering(PacketKind::Command, 0, 0),
                out_params: false,
                status: Status::AUTOCOMMIT,
                answers: None,
                statement: head.statement(),
                flaw: None,
            }
        };
        self.handle(received);
        true
    }

    /// Whether a client waits for an answer of which nothing has been sent to it yet.
    pub fn is_owed_all(&self, client: ConnId) -> bool {
        let core = self.core();
        core.open(client).is_some_and(|conn| match &conn.role {
            Role::Client(session) => session.response().is_some_and(|answer| !answer.started()),
            _ => false,
        })
    }

    /// Whether nothing is under way on a connection to a server, in either direction: nothing that
    /// was read of it is still to be looked at, and the poller has not said that there is more.
    pub fn is_quiet(&self, server: ConnId) -> bool {
        let core = self.core();
        core.open(server)
            .is_some_and(|conn| conn.idle() && conn.is_quiet())
    }
}
