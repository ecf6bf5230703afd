//! Answers that clients get from the proxy itself.

use crate::pool::answers::made_up::Results;
use crate::proxy::{ConnId, Packet, Proxy};
use crate::wire::{Eof, ResultsetHeader, Status};

/// Sends a whole result to a client that waits for one.
pub(super) fn send_results(
    proxy: &Proxy,
    client: ConnId,
    results: &Results,
    status: Status,
    warnings: u16,
) {
    let header = ResultsetHeader {
        columns: results.columns.len() as u64,
        ..ResultsetHeader::default()
    };
    let after_columns = Eof {
        status,
        warnings: 0,
    };
    let end = Eof { status, warnings };
    let mut packets = vec![Packet::ResultsetHeader(&header)];
    packets.extend(results.columns.iter().map(Packet::Column));
    packets.push(Packet::Eof(&after_columns));
    packets.extend(results.rows.iter().map(|row| Packet::Row(row)));
    packets.push(Packet::Eof(&end));
    for packet in packets {
        // It fails if the client is gone.
        if let Err(error) = proxy.send(client, packet) {
            log::debug!("connection {}: {error}", client.serial());
            return;
        }
    }
}
