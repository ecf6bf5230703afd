//! Rows that a hook watches: handled like any whole packet, but without what a row cannot change. A
//! row changes no state, so neither session is stepped, and what is the same for all rows of a
//! batch is looked up once.

use std::rc::Rc;

use crate::proxy::Proxy;
use crate::proxy::hooks::{Incoming, Verdict};
use crate::proxy::id::ConnId;
use crate::proxy::info::ConnInfo;
use crate::proxy::observers::observer::Shown;
use crate::proxy::table::conn::{Conn, Role};
use crate::proxy::table::core::Core;
use crate::proxy::table::sides::Stopped;
use crate::session::{Event, PacketKind, rows};
use crate::wire::frame::HEADER;
use crate::wire::{Capabilities, Com};

/// What is the same for all rows of a batch.
struct Batch {
    info: Rc<ConnInfo>,
    kind: PacketKind,
    capabilities: Capabilities,
    answers: Com,
    statement: Option<u32>,
    max_packet: usize,
}

impl Proxy {
    /// Shows the rows at the front of `data` to the hook, and forwards those that it lets pass.
    /// Returns how many bytes were processed; the rest is handled by the general path.
    pub(crate) fn watched_rows(&self, id: ConnId, data: &[u8]) -> usize {
        let Some(batch) = self.core().begin_rows(id) else {
            return 0;
        };
        let hooks = self.hooks();
        batch.info.enter(Event::ServerSendingRows);
        let mut at = 0;
        let mut count = 0;
        while let Some(frame) = data.get(at..).and_then(rows::whole_row) {
            let packet = Incoming {
                kind: batch.kind,
                payload: frame.get(HEADER..).unwrap_or_default(),
                capabilities: batch.capabilities,
                answers: Some(batch.answers),
                statement: batch.statement,
            };
            if packet.payload.len() > batch.max_packet {
                break;
            }
            let shown = Shown {
                conn: &batch.info,
                event: Event::ServerSendingRows,
                packet: Some(packet),
            };
            let verdict = self.show(&*hooks, shown);
            count += 1;
            at += frame.len();
            let go_on = match verdict {
                Verdict::Forward => self.core().end_row(id, Some(frame)),
                Verdict::Hold => self.core().end_row(id, None),
                Verdict::FlushDisconnect => {
                    self.core().end_row(id, Some(frame));
                    let peer = self.core().peer(id);
                    if let Some(peer) = peer
                        && self.unlink_if_linked(id, peer)
                    {
                        self.core().discard_responses(id, usize::MAX);
                    }
                    false
                }
                Verdict::Failed => {
                    self.core().stats.callback_errors += 1;
                    self.callback_failed(id);
                    false
                }
            };
            if !go_on {
                break;
            }
        }
        batch.info.add_rows(count);
        let mut core = self.core();
        core.stats.packets += count;
        core.stats.callbacks += count;
        if let Some(peer) = core.peer(id) {
            if let Some(session) = core.open_mut(peer).and_then(Conn::client) {
                session.swallow_eof();
            }
            core.after_queueing(peer);
        }
        at
    }
}

impl Core {
    /// Checks whether the packet at the front of this connection is a row that a hook wants to see,
    /// and that can be forwarded unchanged.
    fn begin_rows(&self, id: ConnId) -> Option<Batch> {
        let conn = self.open(id)?;
        let Role::Server(session) = &conn.role else {
            return None;
        };
        if !self.rows_pass(conn) {
            return None;
        }
        Some(Batch {
            info: conn.info.clone(),
            kind: session.response()?.row_kind(),
            answers: session.response()?.com(),
            statement: session.response()?.statement(),
            capabilities: session.capabilities(),
            max_packet: conn.options.max_packet,
        })
    }

    /// A hook has seen a row: forwards it, and returns whether the next one can be handled here,
    /// too.
    fn end_row(&mut self, id: ConnId, frame: Option<&[u8]>) -> bool {
        if let Some(frame) = frame
            && let Some(peer) = self.peer(id)
            && let Some((source, receiver)) = self.pair_mut(id, peer)
            // The hook may have ended the receiver's answer.
            && receiver.in_rows()
            && receiver.fits_rows_of(source)
            && let Some([l0, l1, l2, _, payload @ ..]) = frame.get(..)
        {
            let seq = receiver.seq();
            let header = [*l0, *l1, *l2, *seq];
            *seq = seq.wrapping_add(1);
            receiver.write.output.extend_from_slice(&header);
            receiver.write.output.extend_from_slice(payload);
        }
        !self.slice.is_over() && self.open(id).is_some_and(|conn| self.rows_pass(conn))
    }

    /// Whether rows of this server are watched and can be forwarded.
    fn rows_pass(&self, conn: &Conn) -> bool {
        conn.armed.has(Event::ServerSendingRows)
            && conn.read.discard == 0
            && conn.read.streaming.is_none()
            && !conn.read.stopped.contains(Stopped::PAUSED)
            && conn.in_rows()
            && match conn.peer.and_then(|peer| self.open(peer)) {
                None => true,
                Some(receiver) => {
                    receiver.in_rows()
                        && receiver.fits_rows_of(conn)
                        && receiver.write.inbound.is_none()
                }
            }
    }
}
