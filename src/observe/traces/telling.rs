//! A span is made of what has been answered.

use std::time::SystemTime;

use super::batches::Room;
use super::client::{Client, Running, What};
use super::figures::count;
use super::options::Statements;
use super::sampling::{Decision, Ids};
use super::span::{self, Failure, Span};
use super::{Scratch, Traces, texts};
use crate::proxy::{ConnInfo, Proxy};
use crate::sql;

impl Traces {
    /// Makes a span of what has been answered, if there is to be one.
    pub(super) fn tell(
        &self,
        proxy: &Proxy,
        conn: &ConnInfo,
        client: &Client,
        running: &mut Running,
        failure: Option<Failure<'_>>,
    ) {
        let Some(options) = self.options.get() else {
            return;
        };
        let took = running.began.elapsed();
        let ids = match running.decision {
            Decision::Recorded(ids) => ids,
            Decision::IfSlow(low) if options.slower_than.is_some_and(|least| took >= least) => {
                Ids::alone(low)
            }
            _ => return,
        };
        count(&self.counts.recorded, 1);
        let room = Room {
            queue: options.queue,
            batch: options.batch,
        };
        let mut batches = self.batches.borrow_mut();
        if !batches.has_room(room) {
            return count(&self.counts.dropped, 1);
        }
        let Scratch {
            digest,
            summary,
            place,
            ..
        } = &mut *self.scratch.borrow_mut();
        let mut text = client.text.as_slice();
        if running.what == What::Query && options.statements == Statements::Digests {
            texts::write_digest(text, options.max_text, digest);
            text = digest;
        }
        sql::write_summary(text, summary);
        if running.what == What::Fetch {
            summary.splice(..0, *b"FETCH ");
        }
        place.clear();
        let server = running.server.and_then(|server| proxy.info(server));
        if let Some(server) = &server {
            server.write_place(place);
        }
        let is_mariadb = running
            .server
            .and_then(|server| self.servers.with(server, |server| server.is_mariadb));
        let system = match is_mariadb {
            Some(true) => "mariadb",
            _ => "mysql",
        };
        let in_server = running.forwarded.zip(running.answered);
        let of_server = running
            .outcome
            .error
            .map(|number| Failure::Error(number, &client.message));
        let address = conn.address();
        let span = Span {
            ids,
            name: if summary.is_empty() {
                system.as_bytes()
            } else {
                summary
            },
            ended: SystemTime::now(),
            took,
            client: span::Client {
                id: conn.id.serial(),
                address,
                port: conn.port.get(),
                user: &client.identity.user,
                schema: &client.identity.schema,
            },
            system,
            server: server.is_some().then_some(place),
            summary,
            text,
            waited: running
                .forwarded
                .map_or(took, |at| at.duration_since(running.began)),
            in_server: in_server.map(|(from, to)| to.saturating_duration_since(from)),
            rows: running.outcome.rows,
            affected: running.outcome.affected,
            bytes: running.outcome.bytes,
            failure: of_server.or(failure),
        };
        batches.add(room, |out| span.write(out));
        self.counts.waiting.set(batches.count() as u64);
    }
}
